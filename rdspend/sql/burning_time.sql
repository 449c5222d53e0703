-- GPU parts in use for one second, as occupancy. In: burning. Out: burning_time, a view.
CREATE OR REPLACE TEMP VIEW burning_time AS
SELECT cluster, '' AS month, '' AS day, job_key, gpu_parts AS gpu_part_seconds FROM burning
