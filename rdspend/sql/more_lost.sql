-- Lost stretches of jobs that are runs of a release as a whole come before that. In: lost_part, said_claim. More rows of said_claim.
INSERT INTO said_claim
SELECT c.release, c.job_key, 'lost', any_value(c.stage), l.first, NULL, any_value(c.weight), min(c.confidence),
    left(arg_min(c.evidence, c.rank), 700) || '; lost: ' || l.why, min(c.rank) - 1
FROM lost_part AS l JOIN said_claim AS c ON c.release = l.release AND c.job_key = l.node
WHERE c.first IS NULL AND c.last IS NULL AND c.role = 'run'
    AND NOT EXISTS (
        SELECT 1 FROM said_claim AS o WHERE o.release = c.release AND o.job_key = c.job_key AND o.rank < c.rank
            AND o.first IS NULL AND o.last IS NULL AND o.role <> 'run')
GROUP BY c.release, c.job_key, l.first, l.why
