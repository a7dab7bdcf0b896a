-- Numbers over time, what is late, the heads of responses, and deliveries that are called off. A large file is not read for it.
--
-- Of the tables of the steps before: everything new is the writer's alone.

-- What happened, by steps of time: a core::series::Numbers. step: the number of core::series::Step. namespace: empty for everything. began_at: when
-- the step began. keep_until: when the numbers may go; said here, so that nobody has to look step by step for those that are old.
CREATE TABLE series (
    step INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    began_at INTEGER NOT NULL,
    keep_until INTEGER NOT NULL,
    numbers BLOB NOT NULL,
    PRIMARY KEY (step, namespace, began_at)
) STRICT, WITHOUT ROWID;
CREATE INDEX series_by_age ON series (keep_until);

-- What should have been attempted a while ago, as the engine of this incarnation sees it: of one that has ended it says nothing any more. There are
-- a thousand at the most.
CREATE TABLE late (
    namespace TEXT NOT NULL,
    endpoint BLOB NOT NULL,
    due_at INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    PRIMARY KEY (namespace, endpoint)
) STRICT, WITHOUT ROWID;

-- A core::attempt::HeadBlock, where the response is: in the attempt's row, or beside it. NULL where there was no response, or retention took it with
-- the bodies.
ALTER TABLE attempts ADD COLUMN response_head BLOB;
ALTER TABLE attempt_bodies ADD COLUMN response_head BLOB;

-- 1 where somebody called the delivery off while an engine had it in memory: what would have it wait ends it then. Only what is claimed waits for that;
-- of what rests it says nothing.
ALTER TABLE deliveries ADD COLUMN cancel_wanted INTEGER NOT NULL DEFAULT 0;
