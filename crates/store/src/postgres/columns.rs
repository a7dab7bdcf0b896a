//! Lists of columns, as macros so that statements are put together when compiling. `rows.rs` reads what they select.

/// Columns of `events e` for [`super::rows::event_row`].
macro_rules! event_columns {
    () => {
        "e.seq, e.id, e.namespace, e.type, e.payload, e.labels, e.metadata, e.idempotency_key, e.ttl_us, e.created_at, e.schema_valid"
    };
}

/// How many columns `event_columns!` selects.
pub(super) const EVENT_COLUMNS: usize = 11;

/// Columns of `deliveries d` for [`super::rows::delivery_row`].
macro_rules! delivery_columns {
    () => {
        "d.id, d.event, d.subscription, d.endpoint, d.state, d.attempts, d.spent, d.created_at, d.due_at, d.last_attempt_at, d.expires_at, \
         d.reason, d.namespace"
    };
}

/// How many columns `delivery_columns!` selects.
pub(super) const DELIVERY_COLUMNS: usize = 13;

/// Columns of `attempts a` for [`super::rows::attempt_row`].
macro_rules! attempt_columns {
    () => {
        attempt_columns_with!("a.request, a.response, a.response_head")
    };
}

/// The same with these for the bodies of request and response, and for the head of the response.
macro_rules! attempt_columns_with {
    ($bodies:literal) => {
        concat!(
            "a.id, a.delivery, a.subscription, a.endpoint, a.number, a.target_url, a.started_at, a.finished_at, a.http_status, a.error_code, \
             a.error_message, a.dns_us, a.tcp_us, a.tls_us, a.first_byte_us, a.total_us, a.request_truncated, a.response_truncated, ",
            $bodies
        )
    };
}

/// How many columns `attempt_columns!` selects.
pub(super) const ATTEMPT_COLUMNS: usize = 21;

/// Columns of `dead_letters l` for [`super::rows::dead_letter_row`].
macro_rules! dead_letter_columns {
    () => {
        "l.id, l.delivery, l.code, l.message, l.attempts, l.failed_at, l.status, l.retried_as"
    };
}

/// How many columns `dead_letter_columns!` selects.
pub(super) const DEAD_LETTER_COLUMNS: usize = 8;

/// The id of the last attempt of the delivery of `dead_letters l` that it can have ended after. Without `OFFSET` a walk over all attempts in their
/// order might be taken for the way to it.
macro_rules! last_attempt {
    () => {
        "(SELECT p.id FROM (SELECT id FROM attempts WHERE delivery = l.delivery AND number = l.attempts OFFSET 0) p ORDER BY p.id DESC LIMIT 1)"
    };
}

/// Columns of `scheduled s` for [`super::rows::scheduled_row`].
macro_rules! scheduled_columns {
    () => {
        "s.id, s.namespace, s.subscription, s.payload, s.due_at, s.recurrence, s.anchor, s.status, s.delivery, s.created_at, s.updated_at"
    };
}

/// Whether this column does not name an erased endpoint. There are few of them, and they are looked up once for a statement.
macro_rules! not_erased {
    ($endpoint:literal) => {
        concat!(" (", $endpoint, " <> ALL (ARRAY(SELECT endpoint FROM erased_endpoints))) ")
    };
}

/// Columns of `events e` for [`super::reads::event_in_list`].
macro_rules! listed_event_columns {
    () => {
        concat!(
            event_columns!(),
            ", e.skipped, e.fan_out_after IS NOT NULL, EXISTS (SELECT 1 FROM deliveries d WHERE d.event = e.seq AND",
            not_erased!("d.endpoint"),
            ")"
        )
    };
}
