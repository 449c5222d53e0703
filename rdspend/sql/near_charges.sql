-- The charges that speak of one job, its nodes or their pools. In: charges, near_nodes, jobs. Out: near_charges (bill line).
CREATE OR REPLACE TEMP TABLE near_charges AS
SELECT * FROM charges
WHERE (basis = 'billed' AND resource_id IN (
        SELECT resource_id FROM near_nodes WHERE resource_id IS NOT NULL
        UNION ALL SELECT pool FROM near_nodes WHERE pool IS NOT NULL
        UNION ALL SELECT resource_id FROM jobs WHERE job_key = $job_key AND resource_id IS NOT NULL
    ))
    OR (basis = 'estimated' AND resource_name IN (SELECT cluster || '/' || node FROM near_nodes))
