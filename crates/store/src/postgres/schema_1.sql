-- Everything lies in the schema that comes first in the search path. Ids are UUIDs, times microseconds since the epoch, codes of
-- core::error::ErrorCode their stable text. Integrity between tables is kept by the store.
--
-- Events, attempts, labels and deliveries are partitioned by time: by their ids, which are UUIDs of version 7. What fits into no other partition is in
-- the one by default.
--
-- Of indexes that cost the same the planner takes the one that was made last; and all cost the same of a table that was empty when a statement was
-- planned. So keys, where other indexes have their column too, come behind those.

CREATE TABLE meta (
    key text PRIMARY KEY,
    value bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
INSERT INTO meta VALUES ('config_version', 0);

-- Partitions that are about to be dropped have it as a trigger: it notes that somebody has changed one since, and so it stays.
CREATE FUNCTION note_touched() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM meta WHERE key = 'touched ' || TG_TABLE_NAME) THEN
        INSERT INTO meta VALUES ('touched ' || TG_TABLE_NAME, 1) ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$;

CREATE SEQUENCE event_seq AS bigint;
CREATE SEQUENCE incarnations AS bigint;

-- Engines, by the number that their claims carry. One is alive while ended_at is NULL; whoever finds that its heartbeat stopped ends it, and
-- it never comes back under this number. Times of this table are the database's own: clocks of nodes may differ. lease_ms: after how long without
-- a heartbeat that is. resigned: it wants no slots: it has left all that it had, or has not asked for any yet.
CREATE TABLE nodes (
    incarnation bigint PRIMARY KEY,
    name text NOT NULL,
    address text,
    release text NOT NULL,
    lease_ms bigint NOT NULL DEFAULT 4000,
    resigned boolean NOT NULL DEFAULT true,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Those that are alive, once more. What stands before every COMMIT looks here: a row of nodes has a new version every second, and while somebody
-- holds an old snapshot none of them goes away.
CREATE TABLE living (
    incarnation bigint PRIMARY KEY
);
CREATE FUNCTION keep_living() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO living VALUES (NEW.incarnation);
    ELSE
        DELETE FROM living WHERE incarnation = OLD.incarnation;
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION keep_living() FROM PUBLIC;
CREATE TRIGGER came AFTER INSERT ON nodes FOR EACH ROW WHEN (NEW.ended_at IS NULL) EXECUTE FUNCTION keep_living();
CREATE TRIGGER went AFTER UPDATE OF ended_at ON nodes FOR EACH ROW WHEN (NEW.ended_at IS NOT NULL) EXECUTE FUNCTION keep_living();
CREATE TRIGGER forgotten AFTER DELETE ON nodes FOR EACH ROW EXECUTE FUNCTION keep_living();

-- Who sends to which endpoints: core::ports::Slot::of(endpoint) says in which slot one is. owner: the incarnation of the engine that has the slot,
-- or 0. clean: whether whoever had it before has left what there is to know of its endpoints in handovers; false where that one has died.
CREATE TABLE slots (
    slot smallint PRIMARY KEY,
    owner bigint NOT NULL DEFAULT 0,
    clean boolean NOT NULL DEFAULT true
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
INSERT INTO slots (slot) SELECT generate_series(0, 255);

-- What engines that left slots have left to know: of endpoints whose rate limits were not full when those are, and who still has exchanges with
-- them under way (holder, an incarnation; 0: nobody).
CREATE TABLE handovers (
    slot smallint NOT NULL,
    endpoint uuid NOT NULL,
    full_at timestamptz,
    holder bigint NOT NULL,
    PRIMARY KEY (slot, endpoint)
) WITH (autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_threshold = 1000);
CREATE INDEX handovers_held ON handovers (slot, endpoint) WHERE holder <> 0;

-- A row for each transaction that an engine has at a time: it changes it when it begins, so that one whose end nobody saw can be looked up.
CREATE SEQUENCE mark_places AS bigint;
CREATE TABLE marks (
    place bigint PRIMARY KEY,
    incarnation bigint NOT NULL,
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

-- A text that the first server has sealed under its keys of secrets: whoever cannot open it has other keys, and must not seal anything.
CREATE TABLE key_check (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    sealed bytea NOT NULL
);
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
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000);
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
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX requests_created ON requests (created_at);
CREATE INDEX requests_answered ON requests (owner, created_at) WHERE status IS NOT NULL;

-- Requests with an answer, and how large those are together.
CREATE TABLE answers (
    owner text PRIMARY KEY,
    n bigint NOT NULL,
    bytes bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

-- How many there are, of each kind (see tallies.rs), in three levels: of a subscription and an endpoint, of a namespace (both ids nil), and of
-- everything (an empty namespace besides). Each number is the sum over its shards, of which no two writers have the same.
CREATE SEQUENCE tally_shards AS bigint;
CREATE TABLE tallies (
    namespace text NOT NULL,
    subscription uuid NOT NULL,
    endpoint uuid NOT NULL,
    kind smallint NOT NULL,
    code text NOT NULL,
    shard bigint NOT NULL,
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

-- Events that applications have published in their own transactions and that no node has relayed yet, and those that cannot be relayed: `refused`
-- says why. Times are the database's own. Rows leave at the front, where the index is full of what is gone while an old transaction keeps it:
-- outbox.rs remembers up to where nothing comes any more. The relay walks along the key: an index of what waits alone would cost every publisher one
-- more, and without a key no row could be deleted while a publication has the table.
CREATE TABLE outbox (
    id bigserial PRIMARY KEY,
    namespace text NOT NULL,
    type text NOT NULL,
    payload text NOT NULL,
    labels jsonb NOT NULL DEFAULT '{}',
    metadata jsonb NOT NULL DEFAULT '{}',
    ttl interval,
    idempotency_key text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    refused_at timestamptz,
    refused text
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_insert_threshold = -1,
    autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000,
    toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 5000, toast.autovacuum_vacuum_cost_delay = 0);
CREATE INDEX outbox_refused ON outbox (refused_at, id) WHERE refused_at IS NOT NULL;

-- What the functions below see: this schema, and what a caller may have put into its own temporary one last. Nobody but the owner may create anything
-- in the schema (roles.rs); and what stands beside an operator or in a call has exactly the type that the server's own wants, so that nothing of
-- another's making would fit better.
SELECT set_config('search_path', concat_ws(', ', quote_ident(current_schema()), 'pg_temp'), true);

-- Refuses what the relay would refuse, as far as that depends on nothing but the row, with the words of the APIs. The rules are those of
-- core::event (Namespace, check_event_type, MAX_NAME_BYTES), core::signal (is_reserved), core::filter (check_labels) and of the server's
-- rpc/events/push.rs and items/events.rs (metadata, time to live, key) and http/json.rs (MAX_DEPTH); 64 MiB is the most that max_body can be.
-- Usual rows meet nothing but plain expressions, which cost little.
CREATE FUNCTION outbox_check() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    kind text;
    brackets text;
    wrong text[];
BEGIN
    wrong := CASE
        WHEN NEW.namespace IS NULL OR NEW.namespace COLLATE "C" !~ '^[A-Za-z0-9._-]{1,64}$' THEN
            ARRAY['namespace: a namespace is 1 to 64 characters of A-Z a-z 0-9 . _ -', 'Name the tenant as its API keys do.']
        WHEN NEW.type IS NULL OR octet_length(NEW.type) NOT BETWEEN 1 AND 255 OR NEW.type COLLATE "C" ~ '[^!-~]' THEN
            ARRAY['type: an event type is 1 to 255 visible ASCII characters without spaces', 'Choose one such as order.created.']
        WHEN strpos(NEW.type, '*'::text) > 0 THEN
            ARRAY['type: an event type has no "*", which is for subscriptions to several', 'Name one type, such as order.created.']
        WHEN starts_with(NEW.type, 'delivery.'::text) THEN
            ARRAY['type: event types that begin with delivery. are those of Postrider''s own events', 'Choose another beginning.']
        WHEN NEW.payload IS NULL THEN
            ARRAY['payload: is required', 'Give a JSON object, as jsonb, or as text whose bytes are delivered as they are.']
        WHEN octet_length(NEW.payload) > 67108864 THEN
            ARRAY['payload: is larger than 67108864 bytes', 'Send a reference to what is large; max_body of the nodes may be lower still.']
        WHEN jsonb_typeof(NEW.labels) IS DISTINCT FROM 'object' THEN
            ARRAY['labels: must be an object of strings', 'Write them as {"region": "eu"}.']
        WHEN jsonb_typeof(NEW.metadata) IS DISTINCT FROM 'object' THEN
            ARRAY['metadata: must be an object of strings', 'Write it as {"source": "billing"}.']
        WHEN extract(epoch FROM NEW.ttl) NOT BETWEEN 1::numeric AND 31622400::numeric THEN
            ARRAY['ttl: must be from 1 second to 366 days', 'Leave it NULL for an event that does not expire.']
        WHEN octet_length(NEW.idempotency_key) NOT BETWEEN 1 AND 255 OR NEW.idempotency_key COLLATE "C" ~ '[\u0001-\u001f\u007f-\u009f]' THEN
            ARRAY['idempotency_key: must have 1 to 255 bytes without control characters', 'Use a hash of what is longer, or NULL for none.']
    END;
    IF wrong IS NULL THEN
        BEGIN
            kind := json_typeof(NEW.payload::json);
            IF kind <> 'object' THEN
                wrong := ARRAY['payload: must be an object', 'Put the value into an object: {"value": ...}.'];
            END IF;
        EXCEPTION
            WHEN invalid_text_representation THEN
                wrong := ARRAY['payload: must be valid JSON', 'Build it with the functions for JSON of the database or of your language.'];
            WHEN statement_too_complex THEN
                kind := NULL; -- It lies deeper than anybody reads; what follows says so.
        END;
    END IF;
    IF wrong IS NULL AND length(NEW.payload) - length(translate(NEW.payload, '[{'::text, ''::text)) > 128 THEN
        -- Without its texts it is brackets within brackets: each turn takes the innermost away.
        brackets := regexp_replace(NEW.payload, '"(?:[^"\\]|\\.)*"'::text, ''::text, 'g'::text);
        brackets := regexp_replace(brackets, '[^][{}]+'::text, ''::text, 'g'::text);
        brackets := translate(brackets, '{}'::text, '[]'::text);
        FOR n IN 1..128 LOOP
            brackets := replace(brackets, '[]'::text, ''::text);
            EXIT WHEN brackets = '';
        END LOOP;
        IF brackets <> '' THEN
            wrong := ARRAY['payload: its arrays and objects lie deeper than 128 levels', 'Make it flatter: the parsers of receivers stop there too.'];
        END IF;
    END IF;
    IF wrong IS NULL AND NEW.labels <> '{}' THEN
        SELECT CASE
            WHEN count(*) > 20 THEN
                ARRAY['labels: there can be at most 20 labels', 'Keep those that filters ask for, and put the rest into metadata.']
            WHEN bool_or(jsonb_typeof(l.value) <> 'string') THEN
                ARRAY['labels: must be an object of strings', 'Write numbers and truth values as strings.']
            WHEN bool_or(l.key COLLATE "C" !~ '^[A-Za-z0-9._-]{1,64}$') THEN
                ARRAY['labels: a label''s key is 1 to 64 characters of A-Z a-z 0-9 . _ -', 'Rename the key.']
            WHEN bool_or(octet_length(l.value #>> '{}'::text[]) > 256 OR (l.value #>> '{}'::text[]) COLLATE "C" ~ '[\u0001-\u001f\u007f-\u009f]') THEN
                ARRAY['labels: a label''s value is at most 256 bytes without control characters', 'Put longer texts into metadata or the payload.']
        END INTO wrong FROM jsonb_each(NEW.labels) l;
    END IF;
    IF wrong IS NULL AND NEW.metadata <> '{}' THEN
        SELECT CASE
            WHEN count(*) > 50 THEN
                ARRAY['metadata: must have at most 50 entries', 'Put what receivers need into the payload.']
            WHEN bool_or(jsonb_typeof(m.value) <> 'string') THEN
                ARRAY['metadata: must be an object of strings', 'Write numbers and truth values as strings.']
            WHEN bool_or(m.key = '' OR octet_length(m.key) + octet_length(m.value #>> '{}'::text[]) > 1024) THEN
                ARRAY['metadata: must have keys that are not empty, and at most 1024 bytes of key and value together',
                    'Put what receivers need into the payload.']
        END INTO wrong FROM jsonb_each(NEW.metadata) m;
    END IF;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = wrong[1], HINT = wrong[2];
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER outbox_check BEFORE INSERT OR UPDATE OF namespace, type, payload, labels, metadata, ttl, idempotency_key ON outbox
    FOR EACH ROW EXECUTE FUNCTION outbox_check();

-- Publishes an event with the caller's transaction; answers its number in the outbox. The bytes of the payload are those that are delivered.
--
-- A transaction has its own number before it takes one of the outbox: so whoever sees that all transactions up to one have ended knows that no row
-- with a lower number comes any more. The nodes are told, once it is committed, on the channel and in the form of news.rs, unless the session has
-- SET postrider.notify = off.
CREATE FUNCTION publish(namespace text, type text, payload text, labels jsonb DEFAULT '{}', metadata jsonb DEFAULT '{}',
    ttl interval DEFAULT NULL, idempotency_key text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    number bigint;
BEGIN
    PERFORM pg_current_xact_id();
    INSERT INTO outbox AS o (namespace, type, payload, labels, metadata, ttl, idempotency_key)
    VALUES (publish.namespace, publish.type, publish.payload, coalesce(publish.labels, '{}'), coalesce(publish.metadata, '{}'),
        publish.ttl, publish.idempotency_key)
    RETURNING o.id INTO number;
    IF lower(current_setting('postrider.notify'::text, true)) IN ('off', 'false', 'no', '0') THEN
        RETURN number;
    END IF;
    PERFORM pg_notify(left('postrider_'::text || current_schema()::text, 63), '1 0 outbox'::text);
    RETURN number;
END
$$;

-- The same of other types. A literal or a parameter without a type is a text.
CREATE FUNCTION publish(namespace text, type text, payload jsonb, labels jsonb DEFAULT '{}', metadata jsonb DEFAULT '{}',
    ttl interval DEFAULT NULL, idempotency_key text DEFAULT NULL) RETURNS bigint
LANGUAGE sql RETURN publish(namespace, type, payload::text, labels, metadata, ttl, idempotency_key);

CREATE FUNCTION publish(namespace text, type text, payload json, labels jsonb DEFAULT '{}', metadata jsonb DEFAULT '{}',
    ttl interval DEFAULT NULL, idempotency_key text DEFAULT NULL) RETURNS bigint
LANGUAGE sql RETURN publish(namespace, type, payload::text, labels, metadata, ttl, idempotency_key);

CREATE FUNCTION publish(namespace text, type text, payload bytea, labels jsonb DEFAULT '{}', metadata jsonb DEFAULT '{}',
    ttl interval DEFAULT NULL, idempotency_key text DEFAULT NULL) RETURNS bigint
LANGUAGE sql RETURN publish(namespace, type, convert_from(payload, 'UTF8'::name), labels, metadata, ttl, idempotency_key);

-- Has what was refused tried again, all of it or what has this number, under new numbers: the relay does not look back. Answers how much that is.
CREATE FUNCTION retry_refused(number bigint DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    retried bigint;
BEGIN
    PERFORM pg_current_xact_id();
    UPDATE outbox o SET id = n.new, refused_at = NULL, refused = NULL
    FROM (SELECT r.id AS old, nextval('outbox_id_seq'::regclass) AS new FROM (SELECT w.id FROM outbox w
        WHERE w.refused_at IS NOT NULL AND (retry_refused.number IS NULL OR w.id = retry_refused.number) ORDER BY w.id FOR UPDATE) r) n
    WHERE o.id = n.old AND o.refused_at IS NOT NULL;
    GET DIAGNOSTICS retried = ROW_COUNT;
    IF lower(current_setting('postrider.notify'::text, true)) IN ('off', 'false', 'no', '0') THEN
        RETURN retried;
    END IF;
    PERFORM pg_notify(left('postrider_'::text || current_schema()::text, 63), '1 0 outbox'::text);
    RETURN retried;
END
$$;

-- Who may publish gets the right to, and no other: see roles.rs.
REVOKE ALL ON TABLE outbox FROM PUBLIC;
REVOKE ALL ON SEQUENCE outbox_id_seq FROM PUBLIC;
REVOKE ALL ON FUNCTION publish(text, text, text, jsonb, jsonb, interval, text), publish(text, text, jsonb, jsonb, jsonb, interval, text),
    publish(text, text, json, jsonb, jsonb, interval, text), publish(text, text, bytea, jsonb, jsonb, interval, text),
    retry_refused(bigint), outbox_check(), note_touched() FROM PUBLIC;
