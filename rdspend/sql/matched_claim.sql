-- What releases name and jobs were found for. In: direct_claim, named_run, named_chain, lineage_node, named_claim, data_source.
SELECT row FROM direct_claim
UNION SELECT row FROM named_run WHERE job_key IS NOT NULL
UNION SELECT row FROM named_chain JOIN lineage_node USING (node) WHERE job_key IS NOT NULL
UNION SELECT row FROM named_claim AS c WHERE kind = 'dataset' AND EXISTS (
    SELECT 1 FROM data_source AS d WHERE d.release = c.release AND starts_with(d.evidence, c.at || ' names dataset ' || c.value || chr(59)))
