-- What a server of schema 1 leaves behind, after it ended while it had a delivery in memory. Ids are written so that they can be told apart:
-- e1, e2 and e4 are endpoints (e2 is deleted), 51 and 52 subscriptions (51 went to e2 before it was moved to e1; 52 is of another
-- namespace), d1 to d6 deliveries, a1 to a4 attempts, 11 and 12 dead letters.

UPDATE meta SET value = 5 WHERE key = 'config_version';
UPDATE meta SET value = 1 WHERE key = 'incarnation';
UPDATE meta SET value = 5 WHERE key = 'next_event';

INSERT INTO config (kind, id, gone_at, endpoint, erased, doc) VALUES
    (0, x'000000000000000000000000000000e1', NULL, NULL, 0, '{"id":"00000000-0000-0000-0000-0000000000e1","namespace":"default","url":"https://a.test/","headers":[],"secrets":[],"schemes":["hub"],"http":{"timeout":{"secs":10,"nanos":0},"connect_timeout":{"secs":10,"nanos":0},"follow_redirects":false,"verify_tls":true,"user_agent":null,"response_cap":1024},"rate_limit":null,"concurrency":null,"status":{"status":"active"},"created_at":1,"updated_at":1,"deleted_at":null}'),
    (0, x'000000000000000000000000000000e2', 1700000000000000, NULL, 0, '{"id":"00000000-0000-0000-0000-0000000000e2","namespace":"default","url":"https://a.test/","headers":[],"secrets":[],"schemes":["hub"],"http":{"timeout":{"secs":10,"nanos":0},"connect_timeout":{"secs":10,"nanos":0},"follow_redirects":false,"verify_tls":true,"user_agent":null,"response_cap":1024},"rate_limit":null,"concurrency":null,"status":{"status":"active"},"created_at":1,"updated_at":1,"deleted_at":1700000000000000}'),
    (0, x'000000000000000000000000000000e4', NULL, NULL, 0, '{"id":"00000000-0000-0000-0000-0000000000e4","namespace":"acme","url":"https://a.test/","headers":[],"secrets":[],"schemes":["hub"],"http":{"timeout":{"secs":10,"nanos":0},"connect_timeout":{"secs":10,"nanos":0},"follow_redirects":false,"verify_tls":true,"user_agent":null,"response_cap":1024},"rate_limit":null,"concurrency":null,"status":{"status":"active"},"created_at":1,"updated_at":1,"deleted_at":null}'),
    (1, x'00000000000000000000000000000051', NULL, x'000000000000000000000000000000e1', 0, '{"id":"00000000-0000-0000-0000-000000000051","namespace":"default","endpoint":"00000000-0000-0000-0000-0000000000e1","origin":"items","patterns":["*"],"labels":{},"body":"raw","retry":{"max_attempts":5,"schedule":{"list":[{"secs":10,"nanos":0}]},"jitter_percent":0},"created_at":1,"updated_at":1,"deleted_at":null}'),
    (1, x'00000000000000000000000000000052', NULL, x'000000000000000000000000000000e4', 0, '{"id":"00000000-0000-0000-0000-000000000052","namespace":"acme","endpoint":"00000000-0000-0000-0000-0000000000e4","origin":"items","patterns":["*"],"labels":{},"body":"raw","retry":{"max_attempts":5,"schedule":{"list":[{"secs":10,"nanos":0}]},"jitter_percent":0},"created_at":1,"updated_at":1,"deleted_at":null}');

INSERT INTO events (seq, id, namespace, type, created_at, ttl_us, idempotency_key, labels, metadata, payload) VALUES
    (1, x'000000000000000000000000000000f1', 'default', 'order.created', 1700000000000001, NULL, 'first', '{"env":"prod","team":"a \"b\" \u00e9"}', '{"trace":"7"}', x'7b226e223a317d'),
    (2, x'000000000000000000000000000000f2', 'default', 'order.created', 1700000000000002, 3600000000, NULL, NULL, NULL, CAST(printf('{"n":"%.9000c"}', 'x') AS BLOB)),
    (3, x'000000000000000000000000000000f3', 'acme', 'order.deleted', 1700000000000003, NULL, 'first', '{"env":"prod"}', NULL, x'7b226e223a337d'),
    (4, x'000000000000000000000000000000f4', 'acme', 'order.created', 1700000000000004, NULL, NULL, NULL, NULL, x'7b226e223a347d');
INSERT INTO bare_events VALUES (x'000000000000000000000000000000f4', 4);

INSERT INTO deliveries (id, event, subscription, endpoint, state, attempts, spent, claim, keeps_rows, created_at, due_at, last_attempt_at, expires_at, reason) VALUES
    (x'000000000000000000000000000000d1', 1, x'00000000000000000000000000000051', x'000000000000000000000000000000e2', 3, 1, 1, 0, 1, 1700000000000001, NULL, 1700000000000010, NULL, NULL),
    (x'000000000000000000000000000000d2', 2, x'00000000000000000000000000000051', x'000000000000000000000000000000e1', 4, 2, 2, 0, 1, 1700000000000002, NULL, 1700000000000030, NULL, 'dns_error'),
    (x'000000000000000000000000000000d3', 2, x'00000000000000000000000000000051', x'000000000000000000000000000000e1', 2, 1, 1, 0, 1, 1700000000000002, 1700000000000050, 1700000000000040, 1700003600000002, NULL),
    (x'000000000000000000000000000000d4', 3, x'00000000000000000000000000000052', x'000000000000000000000000000000e4', 0, 0, 0, 1, 1, 1700000000000003, 1700000000000003, NULL, NULL, NULL),
    (x'000000000000000000000000000000d5', 3, x'00000000000000000000000000000052', x'000000000000000000000000000000e4', 5, 0, 0, 0, 1, 1700000000000003, NULL, NULL, 1700000000000004, NULL),
    (x'000000000000000000000000000000d6', 3, x'00000000000000000000000000000052', x'000000000000000000000000000000e4', 6, 0, 0, 0, 1, 1700000000000003, NULL, NULL, NULL, 'subscription_deleted');

INSERT INTO attempts (delivery, number, id, namespace, subscription, endpoint, target_url, started_at, finished_at, http_status, error_code, error_message,
    total_us, request_truncated, response_truncated, response) VALUES
    (x'000000000000000000000000000000d1', 1, x'000000000000000000000000000000a1', 'default', x'00000000000000000000000000000051', x'000000000000000000000000000000e2', 'https://a.test/', 1700000000000010, 1700000000000011, 200, NULL, NULL, 1, 0, 0, x'6f6b'),
    (x'000000000000000000000000000000d2', 1, x'000000000000000000000000000000a2', 'default', x'00000000000000000000000000000051', x'000000000000000000000000000000e1', 'https://a.test/', 1700000000000020, 1700000000000021, NULL, 'dns_error', 'no', 1, 0, 0, x'6f6b'),
    (x'000000000000000000000000000000d2', 2, x'000000000000000000000000000000a3', 'default', x'00000000000000000000000000000051', x'000000000000000000000000000000e1', 'https://a.test/', 1700000000000030, 1700000000000031, NULL, 'dns_error', 'no', 1, 0, 0, x'6f6b'),
    (x'000000000000000000000000000000d3', 1, x'000000000000000000000000000000a4', 'default', x'00000000000000000000000000000051', x'000000000000000000000000000000e1', 'https://a.test/', 1700000000000040, 1700000000000041, 500, 'connector_5xx', 'no', 1, 0, 0, x'6f6b');
INSERT INTO attempts_new (seq, namespace, subscription, endpoint, outcome, id, delivery, number, started_at) VALUES
    (1, 'default', x'00000000000000000000000000000051', x'000000000000000000000000000000e2', '', x'000000000000000000000000000000a1', x'000000000000000000000000000000d1', 1, 1700000000000010),
    (2, 'default', x'00000000000000000000000000000051', x'000000000000000000000000000000e1', 'dns_error', x'000000000000000000000000000000a2', x'000000000000000000000000000000d2', 1, 1700000000000020),
    (3, 'default', x'00000000000000000000000000000051', x'000000000000000000000000000000e1', 'dns_error', x'000000000000000000000000000000a3', x'000000000000000000000000000000d2', 2, 1700000000000030),
    (4, 'default', x'00000000000000000000000000000051', x'000000000000000000000000000000e1', 'connector_5xx', x'000000000000000000000000000000a4', x'000000000000000000000000000000d3', 1, 1700000000000040);

INSERT INTO dead_letters (id, delivery, namespace, subscription, endpoint, code, message, attempts, failed_at, status, closed_at) VALUES
    (x'00000000000000000000000000000011', x'000000000000000000000000000000d2', 'default', x'00000000000000000000000000000051', x'000000000000000000000000000000e1', 'dns_error', 'no', 2, 1700000000000031, 0, NULL),
    (x'00000000000000000000000000000012', x'000000000000000000000000000000d5', 'acme', x'00000000000000000000000000000052', x'000000000000000000000000000000e4', 'expired', '', 0, 1700000000000004, 2, 1700000000000060);
INSERT INTO tallies VALUES (1, 'dns_error', 1);
INSERT INTO tallies_by_namespace (kind, namespace, code, n) VALUES (1, 'default', 'dns_error', 1), (2, 'default', '', 2), (2, 'acme', '', 2);
INSERT INTO tallies_by_subscription (kind, subscription, endpoint, code, namespace, n) VALUES (1, x'00000000000000000000000000000051', x'000000000000000000000000000000e1', 'dns_error', 'default', 1);

-- Some attempts are of deliveries that retention has removed.
INSERT INTO counters VALUES
    (x'00000000000000000000000000000051', 0, 0, 1, 1, 1, 0, 0, 7, 9, 1),
    (x'00000000000000000000000000000052', 1, 0, 0, 0, 0, 1, 1, 0, 3, 0);

PRAGMA user_version = 1;
