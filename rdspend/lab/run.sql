-- In: nodes_drawn, runs_drawn, placed (arrays, numbers only), kind, habit, person, and the macros of month.py.

-- Grain out: a span of a node; start and stop are cut to the month.
CREATE TEMP TABLE span AS
SELECT
    position AS span_id, queue_name(queue) AS queue, number, node_name(queue_name(queue), number) AS node,
    'syn-i-' || lpad(format('{:x}', mix(mix(position + 1) + seed())), 8, '0') || lpad(format('{:x}', position), 4, '0')
        AS resource_id,
    start AS start_all, "end" AS end_all, greatest(start, first_second()) AS start,
    least(CASE WHEN "end" = 0 THEN last_second() ELSE "end" END, last_second()) AS stop,
    -- A commitment is bought for nodes that stay all month.
    committed AND "end" = 0 AND start < first_second() AS committed,
    instance_type(queue_name(queue)) AS instance_type, list_price_units(queue_name(queue)) AS list_units,
    price_units(queue_name(queue)) AS contracted_units, commitment_price_units(queue_name(queue)) AS commitment_units
FROM (SELECT *, row_number() OVER () - 1 AS position FROM nodes_drawn)
ORDER BY position;

-- Grain out: a job, numbered in the order of first submits.
CREATE TEMP TABLE numbered AS
SELECT job, first_job_id() - 1 + row_number() OVER (ORDER BY min(submit), job) AS job_number
FROM runs_drawn GROUP BY job;

-- Grain out: a run that touches the month.
CREATE TEMP TABLE taken AS
SELECT * FROM (
    SELECT *, row_number() OVER () - 1 AS run,
        CASE WHEN never THEN submit + 60 + mix(submit) % 4000 ELSE start + seconds END AS stop
    FROM runs_drawn
) WHERE (start > 0 OR never) AND stop > first_second() AND submit < last_second();

-- Grain out: a run. Its nodes as Slurm writes them: syn-h100-[001-004,007].
CREATE TEMP TABLE host AS
WITH member AS (
    SELECT run, queue, number, number - row_number() OVER (PARTITION BY run ORDER BY number) AS island
    FROM placed JOIN (SELECT span_id AS node, queue, number FROM span) USING (node)
),
island AS (
    SELECT run, any_value(queue) AS queue, min(number) AS low, max(number) AS high, count(*) AS nodes
    FROM member GROUP BY run, island
)
SELECT run,
    CASE WHEN sum(nodes) = 1 THEN node_name(any_value(queue), any_value(low))
        ELSE 'syn-' || any_value(queue) || '-[' || string_agg(
            CASE WHEN low = high THEN padded(low) ELSE padded(low) || '-' || padded(high) END, ',' ORDER BY low) || ']'
    END AS hosts
FROM island GROUP BY run;

-- Grain out: a line of the job log.
CREATE TEMP TABLE entry AS
SELECT
    t.run, n.job_number,
    CASE WHEN t."array" < 0 THEN CAST(n.job_number AS VARCHAR) ELSE a.job_number || '_' || member END AS job_id,
    p.name AS person, p.team, k.activity, k.stage, h.opaque, t.pick, t.final, t.never,
    filled(h.name, pick, member, "array", p.name) AS name,
    filled(h.command, pick, member, "array", p.name) AS command,
    '/synthetic/' || filled(h.folder, pick, member, "array", p.name) AS work_dir,
    queue_name(t.queue) AS queue, t.submit, CASE WHEN NOT never THEN t.start END AS start,
    CASE WHEN stop <= log_second() THEN stop END AS stop,
    CASE WHEN stop <= log_second() THEN outcome_name(outcome) ELSE 'RUNNING' END AS state,
    row_number() OVER (PARTITION BY t.job ORDER BY t.submit) - 1 AS restarts,
    t.nodes AS want_nodes, coalesce(hosts, '') AS hosts,
    CASE WHEN t.queue = 2 OR never THEN 0 ELSE t.nodes * t.per_node END AS gpus,
    CASE WHEN never THEN 0 ELSE t.nodes * t.per_node * cpus_per_unit(queue_name(t.queue)) END AS cpus,
    CASE WHEN never THEN 0 ELSE t.nodes * t.per_node * (memory_gib(queue_name(t.queue)) // 8) END AS memory_gib
FROM taken AS t
JOIN numbered AS n USING (job) LEFT JOIN numbered AS a ON a.job = t."array"
JOIN kind AS k USING (kind) JOIN habit AS h USING (habit) JOIN person AS p ON p."user" = t."user"
LEFT JOIN host USING (run);
