-- A resource that is a job which is cut is never one job's alone: its lines are spread day by day. In: resource, focus_cut.
UPDATE resource SET sole = NULL WHERE route = 1 AND sole IN (SELECT of_j FROM focus_cut)
