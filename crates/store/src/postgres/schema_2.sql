-- Numbers over time, and what is late: tables of their own. Each of the next three steps changes one table that is there already, and writes none
-- anew, so that no step holds the lock of one table while it waits for another.

-- What happened, by steps of time: a core::series::Numbers. step: the number of core::series::Step. namespace: empty for everything. began_at: when
-- the step began. shard: the incarnation of the engine that saw it, so that none of them waits for another; what happened is the sum. keep_until: when
-- the numbers may go; said here, so that nobody has to look step by step for those that are old.
CREATE TABLE series (
    step smallint NOT NULL,
    namespace text NOT NULL,
    began_at bigint NOT NULL,
    shard bigint NOT NULL,
    keep_until bigint NOT NULL,
    numbers bytea NOT NULL,
    PRIMARY KEY (step, namespace, began_at, shard)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX series_by_age ON series (keep_until);

-- What should have been attempted a while ago, as the engine of this incarnation sees it: of one that is not in living it says nothing any more. Each
-- engine has a thousand at the most.
CREATE TABLE late (
    incarnation bigint NOT NULL,
    namespace text NOT NULL,
    endpoint uuid NOT NULL,
    due_at bigint NOT NULL,
    PRIMARY KEY (incarnation, endpoint)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX late_by_age ON late (due_at);
CREATE INDEX late_by_namespace ON late (namespace, due_at);
