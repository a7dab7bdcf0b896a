-- Ids are the 16 bytes of a UUID, times microseconds since the epoch, codes of core::error::ErrorCode their stable text.
-- Integrity between tables is kept by the writer, which is the only one to write these tables (the CLI writes config and meta).

CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('config_version', 0), ('incarnation', 0), ('next_event', 1), ('probe', 0);

-- kind: 0 endpoint, 1 subscription, 2 key, 3 event type (its id: the namespace of its registry, a slash, its name). gone_at: since when it is deleted, or revoked and may be forgotten. endpoint: a subscription's.
-- erased: 1 for an endpoint whose history nobody gets to see any more, and retention removes.
CREATE TABLE config (
    kind INTEGER NOT NULL,
    id BLOB NOT NULL,
    gone_at INTEGER,
    endpoint BLOB,
    erased INTEGER NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX config_gone ON config (kind, id, gone_at) WHERE gone_at IS NOT NULL;
CREATE INDEX config_by_endpoint ON config (endpoint) WHERE endpoint IS NOT NULL;
CREATE INDEX config_erased ON config (erased, id) WHERE erased = 1;

CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    namespace TEXT NOT NULL,
    type TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    ttl_us INTEGER,
    fan_out_after BLOB,
    idempotency_key TEXT,
    labels TEXT,
    metadata TEXT,
    skipped TEXT,
    -- Whether the payload is what its type's schema says; NULL without a schema.
    schema_valid INTEGER,
    -- Last, so that what comes before it is read without following a large payload's pages.
    payload BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_id ON events (id);
CREATE UNIQUE INDEX events_key ON events (namespace, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX events_fan_out ON events (seq) WHERE fan_out_after IS NOT NULL;
CREATE INDEX events_by_namespace ON events (namespace, created_at);
CREATE INDEX events_by_type ON events (namespace, type, created_at);
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

-- Events without any delivery, and none to come: so retention finds them without a look at the others.
CREATE TABLE bare_events (
    id BLOB NOT NULL,
    event INTEGER NOT NULL,
    PRIMARY KEY (id, event)
) STRICT, WITHOUT ROWID;

-- state: the number of core::delivery::StateKind. due_at is set exactly while it waits.
-- keeps_rows: 1 where retention has another age for it and its attempts, or none.
-- claim: 0, or the incarnation of the engine that has it in memory; a resting delivery has none.
-- kept_letter: 1 where a replay kept its dead letter open. Then it does not rest, and how it ends may close that.
CREATE TABLE deliveries (
    id BLOB NOT NULL PRIMARY KEY,
    event INTEGER NOT NULL,
    subscription BLOB NOT NULL,
    endpoint BLOB NOT NULL,
    state INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    spent INTEGER NOT NULL,
    claim INTEGER NOT NULL,
    kept_letter INTEGER NOT NULL DEFAULT 0,
    keeps_rows INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    due_at INTEGER,
    last_attempt_at INTEGER,
    expires_at INTEGER,
    reason TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_event ON deliveries (event);
CREATE INDEX deliveries_held ON deliveries (id) WHERE claim <> 0;
CREATE INDEX deliveries_due ON deliveries (endpoint, due_at, id) WHERE claim = 0 AND due_at IS NOT NULL;
-- Those that wait and have a time to live: the others pay nothing for it.
CREATE INDEX deliveries_expiring ON deliveries (expires_at, id) WHERE expires_at IS NOT NULL AND claim = 0 AND due_at IS NOT NULL;
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
INSERT INTO deliveries_sorted VALUES (zeroblob(16));

-- Retention has looked at all deliveries with lesser ids, for each value of keeps_rows, and removed those that could go. The others of them
-- that are to go one day are in deliveries_left.
CREATE TABLE retention_marks (
    keeps_rows INTEGER NOT NULL PRIMARY KEY,
    below BLOB NOT NULL
) STRICT;
INSERT INTO retention_marks VALUES (0, zeroblob(16)), (1, zeroblob(16));
CREATE TABLE deliveries_left (
    keeps_rows INTEGER NOT NULL,
    id BLOB NOT NULL,
    PRIMARY KEY (keeps_rows, id)
) STRICT, WITHOUT ROWID;

-- Without finished_at it is under way. Bodies that are not in its row are in attempt_bodies, so that rows stay small: both here or both
-- there, or retention took them (stripped). Without a request the event's payload was sent, or nothing.
CREATE TABLE attempts (
    delivery BLOB NOT NULL,
    number INTEGER NOT NULL,
    id BLOB NOT NULL,
    namespace TEXT NOT NULL,
    subscription BLOB NOT NULL,
    endpoint BLOB NOT NULL,
    target_url TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    http_status INTEGER,
    error_code TEXT,
    error_message TEXT,
    dns_us INTEGER,
    tcp_us INTEGER,
    tls_us INTEGER,
    first_byte_us INTEGER,
    total_us INTEGER,
    request_truncated INTEGER NOT NULL,
    response_truncated INTEGER NOT NULL,
    stripped INTEGER NOT NULL DEFAULT 0,
    request BLOB,
    response BLOB,
    PRIMARY KEY (delivery, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX attempts_open ON attempts (id, namespace, subscription, endpoint, started_at) WHERE finished_at IS NULL;

-- Notes of attempts that ended, by the time at which they began: ids ascend with it. outcome: the code of its error, empty for a success.
-- Neighbours in time belong to many subscriptions, so that putting each note into its places at once would write two pages per attempt:
-- they gather in attempts_new, and many go to their places together.
CREATE TABLE attempts_new (
    seq INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    subscription BLOB NOT NULL,
    endpoint BLOB NOT NULL,
    outcome TEXT NOT NULL,
    id BLOB NOT NULL,
    delivery BLOB NOT NULL,
    number INTEGER NOT NULL,
    started_at INTEGER NOT NULL
) STRICT;
CREATE TABLE attempts_by_subscription (
    subscription BLOB NOT NULL,
    endpoint BLOB NOT NULL,
    outcome TEXT NOT NULL,
    id BLOB NOT NULL,
    delivery BLOB NOT NULL,
    number INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    PRIMARY KEY (subscription, endpoint, outcome, id, delivery, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE attempts_by_namespace (
    namespace TEXT NOT NULL,
    outcome TEXT NOT NULL,
    id BLOB NOT NULL,
    delivery BLOB NOT NULL,
    number INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    PRIMARY KEY (namespace, outcome, id, delivery, number)
) STRICT, WITHOUT ROWID;
-- For single ones, and for lists of everything: the master view.
CREATE TABLE attempts_by_outcome (
    outcome TEXT NOT NULL,
    id BLOB NOT NULL,
    delivery BLOB NOT NULL,
    number INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    PRIMARY KEY (outcome, id, delivery, number)
) STRICT, WITHOUT ROWID;

-- How many there are, by what lists can be narrowed to; so these say too which parts a list has. There are none with nothing in them.
-- kind: 0 notes in their places (code: the outcome), 1 open dead letters, 2 events (code: empty). The rest of the attempts are counted
-- where they are: in attempts_new and in attempts_open. tallies: of all namespaces together.
CREATE TABLE tallies (
    kind INTEGER NOT NULL,
    code TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (kind, code)
) STRICT, WITHOUT ROWID;
CREATE TABLE tallies_by_namespace (
    kind INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    code TEXT NOT NULL,
    n INTEGER NOT NULL,
    -- Of attempts: none with a lesser id has bodies any more; NULL if none has.
    bodies_from BLOB,
    PRIMARY KEY (kind, namespace, code)
) STRICT, WITHOUT ROWID;
CREATE INDEX tallies_with_bodies ON tallies_by_namespace (bodies_from) WHERE bodies_from IS NOT NULL;
CREATE TABLE tallies_by_subscription (
    kind INTEGER NOT NULL,
    subscription BLOB NOT NULL,
    endpoint BLOB NOT NULL,
    code TEXT NOT NULL,
    namespace TEXT NOT NULL,
    n INTEGER NOT NULL,
    -- Of attempts whose rows are not kept: there is none with a lesser id.
    goes_from BLOB,
    PRIMARY KEY (kind, subscription, endpoint, code)
) STRICT, WITHOUT ROWID;
CREATE INDEX tallies_by_endpoint ON tallies_by_subscription (kind, endpoint);
CREATE INDEX tallies_that_go ON tallies_by_subscription (goes_from) WHERE goes_from IS NOT NULL;

CREATE TABLE attempt_bodies (
    delivery BLOB NOT NULL,
    number INTEGER NOT NULL,
    request BLOB,
    response BLOB NOT NULL,
    PRIMARY KEY (delivery, number)
) STRICT, WITHOUT ROWID;

-- status: 0 open, 1 retried (retried_as says as what), 2 dismissed.
CREATE TABLE dead_letters (
    id BLOB NOT NULL PRIMARY KEY,
    delivery BLOB NOT NULL,
    namespace TEXT NOT NULL,
    subscription BLOB NOT NULL,
    endpoint BLOB NOT NULL,
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    failed_at INTEGER NOT NULL,
    status INTEGER NOT NULL,
    retried_as BLOB,
    closed_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX dead_letters_delivery ON dead_letters (delivery);
CREATE INDEX dead_letters_recent ON dead_letters (subscription, failed_at) WHERE status <> 2;
CREATE INDEX dead_letters_open ON dead_letters (subscription, failed_at) WHERE status = 0;
CREATE INDEX dead_letters_by_code ON dead_letters (code, failed_at) WHERE status = 0;
CREATE INDEX dead_letters_by_namespace ON dead_letters (namespace, code, failed_at) WHERE status = 0;
CREATE INDEX dead_letters_by_subscription ON dead_letters (subscription, endpoint, code, failed_at) WHERE status = 0;
CREATE INDEX dead_letters_closed ON dead_letters (closed_at) WHERE closed_at IS NOT NULL;

-- status: 0 pending, 1 completed (delivery says as what), 2 failed.
CREATE TABLE scheduled (
    id BLOB NOT NULL PRIMARY KEY,
    namespace TEXT NOT NULL,
    subscription BLOB NOT NULL,
    due_at INTEGER NOT NULL,
    recurrence TEXT NOT NULL,
    anchor INTEGER NOT NULL,
    status INTEGER NOT NULL,
    delivery BLOB,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    payload BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX scheduled_pending ON scheduled (due_at, id) WHERE status = 0;
-- For lists: those that are still to come apart from those that ended.
CREATE INDEX scheduled_by_due ON scheduled (status <> 0, due_at, id);
CREATE INDEX scheduled_by_namespace ON scheduled (namespace, status <> 0, due_at, id);
CREATE INDEX scheduled_by_subscription ON scheduled (subscription, status <> 0, due_at, id);
CREATE INDEX scheduled_ended ON scheduled (updated_at) WHERE status <> 0;

-- state: 0 running, 1 cancelled, 2 completed, 3 failed. error: a code of core::ports::JobError. filter: JSON, without the namespace, which is
-- the job's. cursor: the place of a dead letter.
CREATE TABLE jobs (
    id BLOB NOT NULL PRIMARY KEY,
    namespace TEXT NOT NULL,
    filter TEXT NOT NULL,
    state INTEGER NOT NULL,
    cursor_at INTEGER,
    cursor_id BLOB,
    matched INTEGER NOT NULL,
    replayed INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    gone INTEGER NOT NULL,
    error TEXT,
    rate INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    ended_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX jobs_by_namespace ON jobs (namespace);
CREATE INDEX jobs_running ON jobs (id) WHERE ended_at IS NULL;
CREATE INDEX jobs_ended ON jobs (ended_at) WHERE ended_at IS NOT NULL;

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
CREATE INDEX batches_open ON batches (id) WHERE ended_at IS NULL;
CREATE INDEX batches_pending ON batches (created_at) WHERE state = 0;
CREATE INDEX batches_ended ON batches (ended_at) WHERE ended_at IS NOT NULL;

-- Requests of an API by the client's key. Without a status it is being done by the engine of that incarnation, or was when that ended.
-- size: of the answer's headers and body, in bytes.
CREATE TABLE requests (
    owner TEXT NOT NULL,
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    seed BLOB NOT NULL,
    incarnation INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    status INTEGER,
    size INTEGER,
    headers TEXT,
    body BLOB,
    PRIMARY KEY (owner, scope, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_created ON requests (created_at);
CREATE INDEX requests_answered ON requests (owner, created_at) WHERE status IS NOT NULL;

-- Requests with an answer, and how large those are together.
CREATE TABLE answers (
    owner TEXT NOT NULL PRIMARY KEY,
    n INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row per subscription and endpoint (more than one where it was moved): deliveries in each state, attempts that ended in success and
-- otherwise, open dead letters. Deliveries describe the rows that exist; attempts are totals over the subscription's life, which retention
-- does not decrease. namespace: that of the subscription's events.
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
