-- Event types, labels and checks of events, lists of deliveries, batches, and the health of endpoints; counters by subscription and endpoint.
--
-- A file that comes from step 1 may be large: it is read in the order in which it is stored, no table that grows with it is written anew, for
-- what a statement frees is kept in memory until its end, and nothing that grows with it is sorted, for that is done in memory. The one
-- exception is the index of deliveries that did not succeed, about 100 bytes for each of them.
--
-- Of the tables of step 1: the CLI writes config and meta, and with them health and health_tallies; everything else is the writer's alone.
-- config has one more kind: 3 event type (its id: the namespace of its registry, a slash, its name).

-- Whether the payload is what its type's schema says: 0 or 1, and NULL without a schema. These three take no place behind the payload, only
-- one in what comes before all columns, so that they are read without following a large payload's pages. Other values would not be.
ALTER TABLE events ADD COLUMN schema_valid INTEGER;
CREATE INDEX events_invalid ON events (namespace, created_at) WHERE schema_valid = 0;

-- Only of events that have labels, so that the others pay nothing for it.
CREATE TABLE event_labels (
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (namespace, key, value, created_at, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO event_labels (namespace, key, value, created_at, seq)
SELECT e.namespace, l.key, l.value, e.created_at, e.seq FROM events e CROSS JOIN json_each(e.labels) l WHERE e.labels IS NOT NULL;

-- Those that wait and have a time to live: the others pay nothing for it. It has all that is asked of it, so that nobody looks at the rows,
-- which may be many of an erased endpoint.
CREATE INDEX deliveries_expiring ON deliveries (expires_at, id, endpoint, due_at, claim)
    WHERE expires_at IS NOT NULL AND claim = 0 AND due_at IS NOT NULL;
-- Those that failed, expired or were cancelled: they are few, and what lists are asked for. An index of the others by subscription would
-- cost something at every change of their state.
CREATE INDEX deliveries_unsuccessful ON deliveries (subscription, endpoint, id, state, reason, created_at) WHERE state > 3;

-- Deliveries by subscription, whatever their state; those with lesser ids than deliveries_sorted says. The others gather, and many go to
-- their places together.
CREATE TABLE deliveries_by_subscription (
    subscription BLOB NOT NULL,
    endpoint BLOB NOT NULL,
    delivery BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (subscription, endpoint, delivery)
) STRICT, WITHOUT ROWID;
CREATE TABLE deliveries_sorted (
    below BLOB NOT NULL
) STRICT;
-- All but the newest are put there now: until they are, every list would look through all of them.
INSERT INTO deliveries_sorted VALUES (coalesce((SELECT max(id) FROM deliveries), zeroblob(16)));
INSERT INTO deliveries_by_subscription (subscription, endpoint, delivery, created_at)
SELECT subscription, endpoint, id, created_at FROM deliveries WHERE id < (SELECT below FROM deliveries_sorted);

-- What is done piece by piece. kind: 0 events are published again, 1 deliveries are tried again. state: 0 pending, 1 running, 2 cancelled,
-- 3 completed, 4 failed. namespace: NULL for those of several. entries: the numbers of events, each 8 bytes with the most significant first, or
-- the ids of deliveries, each 16; empty once it has ended. Last, so that what comes before it is read without it.
CREATE TABLE batches (
    id BLOB NOT NULL PRIMARY KEY,
    kind INTEGER NOT NULL,
    namespace TEXT,
    state INTEGER NOT NULL,
    total INTEGER NOT NULL,
    done INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    ended_at INTEGER,
    entries BLOB NOT NULL
) STRICT;
CREATE INDEX batches_open ON batches (namespace, state, created_at) WHERE ended_at IS NULL;
CREATE INDEX batches_running ON batches (id) WHERE state = 1;
CREATE INDEX batches_pending ON batches (created_at) WHERE state = 0;
CREATE INDEX batches_ended ON batches (ended_at) WHERE ended_at IS NOT NULL;

-- One row per subscription and endpoint (more than one where it was moved): deliveries in each state, attempts that ended in success and
-- otherwise, open dead letters. Deliveries describe the rows that exist; attempts are totals over the subscription's life, which retention
-- does not decrease. namespace: that of the subscription's events.
ALTER TABLE counters RENAME TO counters_1;
CREATE TABLE counters (
    subscription BLOB NOT NULL,
    endpoint BLOB NOT NULL,
    namespace TEXT NOT NULL,
    pending INTEGER NOT NULL,
    sending INTEGER NOT NULL,
    retrying INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    expired INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    attempts_succeeded INTEGER NOT NULL,
    attempts_failed INTEGER NOT NULL,
    dead_letters INTEGER NOT NULL,
    PRIMARY KEY (subscription, endpoint)
) STRICT, WITHOUT ROWID;
CREATE INDEX counters_by_endpoint ON counters (endpoint);
CREATE INDEX counters_by_namespace ON counters (namespace);
-- One by one and not by GROUP BY, which would sort them.
INSERT INTO counters
SELECT d.subscription, d.endpoint, e.namespace, d.state = 0, d.state = 1, d.state = 2, d.state = 3, d.state = 4, d.state = 5, d.state = 6, 0, 0, 0
FROM deliveries d CROSS JOIN events e ON e.seq = d.event WHERE true
ON CONFLICT (subscription, endpoint) DO UPDATE SET pending = pending + excluded.pending, sending = sending + excluded.sending,
    retrying = retrying + excluded.retrying, succeeded = succeeded + excluded.succeeded, failed = failed + excluded.failed,
    expired = expired + excluded.expired, cancelled = cancelled + excluded.cancelled;
INSERT INTO counters
SELECT subscription, endpoint, namespace, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 FROM dead_letters WHERE status = 0
ON CONFLICT (subscription, endpoint) DO UPDATE SET dead_letters = dead_letters + 1;
-- Which of them went where is not known any more: all count where the subscription sends to now.
INSERT INTO counters
SELECT o.subscription, s.endpoint, s.doc ->> '$.namespace', 0, 0, 0, 0, 0, 0, 0, o.attempts_succeeded, o.attempts_failed, 0
FROM counters_1 o CROSS JOIN config s ON s.kind = 1 AND s.id = o.subscription WHERE true
ON CONFLICT (subscription, endpoint) DO UPDATE SET attempts_succeeded = excluded.attempts_succeeded, attempts_failed = excluded.attempts_failed;
DROP TABLE counters_1;

-- How well endpoints do that are configured and not deleted: a core::health::HealthTally, and what it says. class: the number of
-- core::health::Health. ages_at: when the first of its hours leaves the window; NULL where it has none.
CREATE TABLE health (
    endpoint BLOB NOT NULL PRIMARY KEY,
    namespace TEXT NOT NULL,
    class INTEGER NOT NULL,
    ages_at INTEGER,
    tally BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX health_by_class ON health (class, endpoint);
CREATE INDEX health_by_namespace ON health (namespace, class, endpoint);
CREATE INDEX health_ages ON health (ages_at) WHERE ages_at IS NOT NULL;

-- How many of them are of which class. namespace: empty for all namespaces together.
CREATE TABLE health_tallies (
    namespace TEXT NOT NULL,
    class INTEGER NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (namespace, class)
) STRICT, WITHOUT ROWID;

-- Nothing is known of those that there are: attempts count from now on.
INSERT INTO health (endpoint, namespace, class, ages_at, tally)
SELECT id, doc ->> '$.namespace', 0, NULL, x'' FROM config WHERE kind = 0 AND gone_at IS NULL;
INSERT INTO health_tallies (namespace, class, n) SELECT namespace, 0, count(*) FROM health GROUP BY namespace;
INSERT INTO health_tallies (namespace, class, n) SELECT '', 0, count(*) FROM health HAVING count(*) > 0;
