-- Everything lies in the schema that comes first in the search path. Ids are UUIDs, times microseconds since the epoch, codes of
-- core::error::ErrorCode their stable text. Integrity between tables is kept by the store.
--
-- Events, attempts, labels and deliveries are partitioned by time: by their ids, which are UUIDs of version 7. What fits into no day's partition is in the
-- one by default.
--
-- Of indexes that cost the same the planner takes the one that was made last; and all cost the same of a table that was empty when a statement was
-- planned. So keys, where other indexes have their column too, come behind those.

CREATE TABLE meta (
    key text PRIMARY KEY,
    value bigint NOT NULL
);
INSERT INTO meta VALUES ('config_version', 0), ('probe', 0);

CREATE SEQUENCE event_seq AS bigint;
CREATE SEQUENCE incarnations AS bigint;

-- Engines, by the number that their claims carry. One is alive while ended_at is NULL; whoever finds that its heartbeat stopped ends it, and
-- it never comes back under this number. Times of this table are the database's own: clocks of nodes may differ.
CREATE TABLE nodes (
    incarnation bigint PRIMARY KEY,
    name text NOT NULL,
    address text,
    release text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz
) WITH (fillfactor = 50);

-- A row for each transaction that an engine can have at a time: it changes it when it begins, so that one whose end nobody saw can be looked up.
CREATE SEQUENCE mark_places AS bigint;
CREATE TABLE marks (
    place bigint PRIMARY KEY,
    incarnation bigint NOT NULL,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    n bigint NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0);

-- kind: 0 endpoint, 1 subscription, 2 key, 3 event type. id: the UUID's text; of an event type the namespace of its registry, a slash, its name.
-- gone_at: since when it is deleted, or revoked and may be forgotten. endpoint: a subscription's. namespace: NULL for keys and types of all.
CREATE TABLE config (
    kind smallint NOT NULL,
    id text NOT NULL,
    namespace text,
    gone_at bigint,
    endpoint uuid,
    doc text NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE INDEX config_gone ON config (kind, id) WHERE gone_at IS NOT NULL;
CREATE INDEX config_by_endpoint ON config (endpoint) WHERE endpoint IS NOT NULL;

-- Endpoints whose history nobody gets to see any more, and retention removes. There are few at a time.
CREATE TABLE erased_endpoints (
    endpoint uuid PRIMARY KEY
);

CREATE TABLE events (
    id uuid NOT NULL,
    seq bigint NOT NULL,
    namespace text NOT NULL,
    type text NOT NULL,
    created_at bigint NOT NULL,
    ttl_us bigint,
    -- NULL without a schema.
    schema_valid boolean,
    fan_out_after uuid,
    idempotency_key text,
    -- JSON; NULL where there is none.
    labels text,
    metadata text,
    skipped text,
    payload bytea NOT NULL,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE TABLE events_default PARTITION OF events DEFAULT;
CREATE INDEX events_by_time ON events (created_at, seq);
CREATE INDEX events_by_namespace ON events (namespace, created_at, seq);
CREATE INDEX events_by_type ON events (namespace, type, created_at, seq);
CREATE INDEX events_invalid ON events (namespace, created_at, seq) WHERE NOT schema_valid;
CREATE INDEX events_seq ON events (seq);
CREATE INDEX events_fan_out ON events (seq) WHERE fan_out_after IS NOT NULL;

-- One event of a namespace for each key.
CREATE TABLE event_keys (
    namespace text NOT NULL,
    key text NOT NULL,
    event uuid NOT NULL,
    PRIMARY KEY (namespace, key)
);

-- Only of events that have labels.
CREATE TABLE event_labels (
    event uuid NOT NULL,
    namespace text NOT NULL,
    key text NOT NULL,
    value text NOT NULL,
    created_at bigint NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (event, key)
) PARTITION BY RANGE (event);
CREATE TABLE event_labels_default PARTITION OF event_labels DEFAULT;
CREATE INDEX event_labels_by_value ON event_labels (namespace, key, value, created_at, seq);

-- Events without any delivery, and none to come, so that retention finds them without a look at the others.
CREATE TABLE bare_events (
    event uuid PRIMARY KEY
);

-- Every delivery. No index has a column that changes, so that a change of state writes one row and no index.
-- state: the number of core::delivery::StateKind. due_at is set exactly while it waits. keeps_rows: true where retention has another age for
-- it and its attempts, or none. kept_letter: true where a replay kept its dead letter open; then it does not rest.
CREATE TABLE deliveries (
    id uuid NOT NULL,
    event bigint NOT NULL,
    event_id uuid NOT NULL,
    namespace text NOT NULL,
    subscription uuid NOT NULL,
    endpoint uuid NOT NULL,
    state smallint NOT NULL,
    attempts integer NOT NULL,
    spent integer NOT NULL,
    kept_letter boolean NOT NULL DEFAULT false,
    keeps_rows boolean NOT NULL,
    created_at bigint NOT NULL,
    due_at bigint,
    last_attempt_at bigint,
    expires_at bigint,
    reason text
) PARTITION BY RANGE (id);
CREATE TABLE deliveries_default PARTITION OF deliveries DEFAULT WITH (fillfactor = 70);
CREATE INDEX deliveries_by_subscription ON deliveries (subscription, endpoint, id);
CREATE INDEX deliveries_by_namespace ON deliveries (namespace, id);
ALTER TABLE deliveries ADD PRIMARY KEY (id);
CREATE INDEX deliveries_event ON deliveries (event);

-- Exactly the deliveries that do not rest: who has them in memory, or when they are due. claim: 0, or the incarnation of the engine that has
-- it. due_at and expires_at are those of the delivery. A row is locked before its delivery is changed.
CREATE TABLE queue (
    id uuid PRIMARY KEY,
    endpoint uuid NOT NULL,
    claim bigint NOT NULL,
    due_at bigint,
    expires_at bigint
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0.2, autovacuum_analyze_scale_factor = 0.2);
CREATE INDEX queue_due ON queue (endpoint, due_at, id) WHERE claim = 0 AND due_at IS NOT NULL;
CREATE INDEX queue_held ON queue (claim, id) WHERE claim <> 0;
CREATE INDEX queue_expiring ON queue (expires_at, id, endpoint) WHERE expires_at IS NOT NULL AND claim = 0 AND due_at IS NOT NULL;

-- Deliveries that failed, expired or were cancelled: they are few, and what lists are asked for. state and reason are those of the delivery.
CREATE TABLE unsuccessful (
    id uuid NOT NULL,
    namespace text NOT NULL,
    subscription uuid NOT NULL,
    endpoint uuid NOT NULL,
    state smallint NOT NULL,
    reason text,
    created_at bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX unsuccessful_by_subscription ON unsuccessful (subscription, endpoint, id);
CREATE INDEX unsuccessful_by_namespace ON unsuccessful (namespace, id);
ALTER TABLE unsuccessful ADD PRIMARY KEY (id);

-- Without finished_at it is under way. Without a request the event's payload was sent, or nothing. stripped: retention took the bodies.
-- keeps_rows: that of its delivery.
CREATE TABLE attempts (
    id uuid NOT NULL,
    delivery uuid NOT NULL,
    number integer NOT NULL,
    namespace text NOT NULL,
    event bigint NOT NULL,
    subscription uuid NOT NULL,
    endpoint uuid NOT NULL,
    keeps_rows boolean NOT NULL,
    target_url text NOT NULL,
    started_at bigint NOT NULL,
    finished_at bigint,
    http_status smallint,
    error_code text,
    error_message text,
    dns_us bigint,
    tcp_us bigint,
    tls_us bigint,
    first_byte_us bigint,
    total_us bigint,
    request_truncated boolean NOT NULL,
    response_truncated boolean NOT NULL,
    stripped boolean NOT NULL DEFAULT false,
    request bytea,
    response bytea
) PARTITION BY RANGE (id);
CREATE TABLE attempts_default PARTITION OF attempts DEFAULT;
CREATE INDEX attempts_by_subscription ON attempts (subscription, endpoint, id);
CREATE INDEX attempts_by_namespace ON attempts (namespace, id);
CREATE INDEX attempts_open ON attempts (id) WHERE finished_at IS NULL;
-- Failures, which are what lists are asked for.
CREATE INDEX attempts_failed_by_subscription ON attempts (subscription, endpoint, error_code, id) WHERE error_code IS NOT NULL;
CREATE INDEX attempts_failed_by_namespace ON attempts (namespace, error_code, id) WHERE error_code IS NOT NULL;
CREATE INDEX attempts_failed ON attempts (error_code, id) WHERE error_code IS NOT NULL;
ALTER TABLE attempts ADD PRIMARY KEY (id);
CREATE INDEX attempts_delivery ON attempts (delivery, number);

-- status: 0 open, 1 retried (retried_as says as what), 2 dismissed.
CREATE TABLE dead_letters (
    id uuid PRIMARY KEY,
    delivery uuid NOT NULL,
    namespace text NOT NULL,
    subscription uuid NOT NULL,
    endpoint uuid NOT NULL,
    event bigint NOT NULL,
    code text NOT NULL,
    message text NOT NULL,
    attempts integer NOT NULL,
    failed_at bigint NOT NULL,
    status smallint NOT NULL,
    retried_as uuid,
    closed_at bigint
);
CREATE UNIQUE INDEX dead_letters_open_of ON dead_letters (delivery) WHERE status = 0;
CREATE INDEX dead_letters_delivery ON dead_letters (delivery);
CREATE INDEX dead_letters_recent ON dead_letters (subscription, failed_at, id) WHERE status <> 2;
CREATE INDEX dead_letters_open ON dead_letters (failed_at, id) WHERE status = 0;
CREATE INDEX dead_letters_by_code ON dead_letters (code, namespace, failed_at, id) WHERE status = 0;
CREATE INDEX dead_letters_by_namespace ON dead_letters (namespace, failed_at, id) WHERE status = 0;
CREATE INDEX dead_letters_by_subscription ON dead_letters (subscription, endpoint, failed_at, id) WHERE status = 0;
CREATE INDEX dead_letters_closed ON dead_letters (closed_at) WHERE closed_at IS NOT NULL;

-- status: 0 pending, 1 completed (delivery says as what), 2 failed.
CREATE TABLE scheduled (
    id uuid NOT NULL,
    namespace text NOT NULL,
    subscription uuid NOT NULL,
    due_at bigint NOT NULL,
    recurrence text NOT NULL,
    anchor bigint NOT NULL,
    status smallint NOT NULL,
    delivery uuid,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    payload bytea NOT NULL
);
CREATE INDEX scheduled_pending ON scheduled (due_at, id) WHERE status = 0;
CREATE INDEX scheduled_by_due ON scheduled ((status <> 0), due_at, id);
CREATE INDEX scheduled_by_namespace ON scheduled (namespace, (status <> 0), due_at, id);
CREATE INDEX scheduled_by_subscription ON scheduled (subscription, (status <> 0), due_at, id);
CREATE INDEX scheduled_ended ON scheduled (updated_at) WHERE status <> 0;
ALTER TABLE scheduled ADD PRIMARY KEY (id);

-- state: 0 running, 1 cancelled, 2 completed, 3 failed. error: a code of core::ports::JobError. filter: JSON, without the namespace, which is
-- the job's. cursor: the place of a dead letter.
CREATE TABLE jobs (
    id uuid NOT NULL,
    namespace text NOT NULL,
    filter text NOT NULL,
    state smallint NOT NULL,
    cursor_at bigint,
    cursor_id uuid,
    matched bigint NOT NULL,
    replayed bigint NOT NULL,
    skipped bigint NOT NULL,
    failed bigint NOT NULL,
    gone bigint NOT NULL,
    error text,
    rate bigint,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    ended_at bigint
);
CREATE INDEX jobs_by_namespace ON jobs (namespace, id);
CREATE INDEX jobs_running ON jobs (id) WHERE ended_at IS NULL;
CREATE INDEX jobs_ended ON jobs (ended_at) WHERE ended_at IS NOT NULL;
ALTER TABLE jobs ADD PRIMARY KEY (id);

-- What is done piece by piece. kind: 0 events are published again, 1 deliveries are tried again. state: 0 pending, 1 running, 2 cancelled,
-- 3 completed, 4 failed. namespace: NULL for those of several. entries: the numbers of events, each 8 bytes with the most significant first, or
-- the ids of deliveries, each 16; empty once it has ended.
CREATE TABLE batches (
    id uuid PRIMARY KEY,
    kind smallint NOT NULL,
    namespace text,
    state smallint NOT NULL,
    total bigint NOT NULL,
    done bigint NOT NULL,
    failed bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    ended_at bigint,
    entries bytea NOT NULL
);
CREATE INDEX batches_open ON batches (namespace, state, created_at) WHERE ended_at IS NULL;
CREATE INDEX batches_running ON batches (id) WHERE state = 1;
CREATE INDEX batches_pending ON batches (created_at) WHERE state = 0;
CREATE INDEX batches_ended ON batches (ended_at) WHERE ended_at IS NOT NULL;

-- Requests of an API by the client's key. Without a status it is being done by the engine of that incarnation, or was when that ended.
-- size: of the answer's headers and body, in bytes.
CREATE TABLE requests (
    owner text NOT NULL,
    scope text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    seed uuid NOT NULL,
    incarnation bigint NOT NULL,
    created_at bigint NOT NULL,
    status smallint,
    size bigint,
    headers text,
    body bytea,
    PRIMARY KEY (owner, scope, key)
);
CREATE INDEX requests_created ON requests (created_at);
CREATE INDEX requests_answered ON requests (owner, created_at) WHERE status IS NOT NULL;

-- Requests with an answer, and how large those are together.
CREATE TABLE answers (
    owner text PRIMARY KEY,
    n bigint NOT NULL,
    bytes bigint NOT NULL
);

-- How many there are, of each kind (see tallies.rs), in three levels: of a subscription and an endpoint, of a namespace (both ids nil), and of
-- everything (an empty namespace besides). Each number is the sum over its shards, so that writers do not wait for each other.
CREATE TABLE tallies (
    namespace text NOT NULL,
    subscription uuid NOT NULL,
    endpoint uuid NOT NULL,
    kind smallint NOT NULL,
    code text NOT NULL,
    shard smallint NOT NULL,
    n bigint NOT NULL,
    PRIMARY KEY (namespace, subscription, endpoint, kind, code, shard)
) WITH (fillfactor = 40, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX tallies_by_subscription ON tallies (subscription) WHERE subscription <> '00000000-0000-0000-0000-000000000000';
CREATE INDEX tallies_by_endpoint ON tallies (endpoint) WHERE endpoint <> '00000000-0000-0000-0000-000000000000';

-- How well endpoints do that are configured and not deleted: a core::health::HealthTally, and what it says. class: the number of
-- core::health::Health. ages_at: when the first of its hours leaves the window; NULL where it has none.
CREATE TABLE health (
    endpoint uuid NOT NULL,
    namespace text NOT NULL,
    class smallint NOT NULL,
    ages_at bigint,
    tally bytea NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX health_by_class ON health (class, endpoint);
CREATE INDEX health_by_namespace ON health (namespace, class, endpoint);
CREATE INDEX health_ages ON health (ages_at, endpoint) WHERE ages_at IS NOT NULL;
ALTER TABLE health ADD PRIMARY KEY (endpoint);
