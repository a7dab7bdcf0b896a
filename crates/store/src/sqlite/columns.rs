//! Lists of columns, as macros so that statements are put together when compiling. `rows.rs` reads what they select.

/// Columns of `events` for [`super::rows::event_row`].
macro_rules! event_columns {
    () => {
        "seq, id, namespace, type, payload, labels, metadata, idempotency_key, ttl_us, created_at, schema_valid"
    };
}

/// How many columns `event_columns!` selects.
pub(super) const EVENT_COLUMNS: usize = 11;

/// Columns of `deliveries d` for [`super::rows::DeliveryRow::read`].
macro_rules! delivery_columns {
    () => {
        "d.id, d.event, d.subscription, d.endpoint, d.state, d.attempts, d.spent, d.created_at, d.due_at, d.last_attempt_at, d.expires_at, d.reason"
    };
}

/// How many columns `delivery_columns!` selects.
pub(super) const DELIVERY_COLUMNS: usize = 12;

/// Columns of `attempts a` and `attempt_bodies b` (joined by `attempt_body!`) for [`super::rows::attempt_row`].
macro_rules! attempt_columns {
    () => {
        attempt_columns_with!(
            "coalesce(a.request, b.request), coalesce(a.response, b.response), coalesce(a.response_head, b.response_head)"
        )
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

/// The join that puts large bodies beside their attempt.
macro_rules! attempt_body {
    () => {
        " LEFT JOIN attempt_bodies b ON b.delivery = a.delivery AND b.number = a.number "
    };
}

/// Columns of `dead_letters l` for [`super::rows::dead_letter_row`], and the attempt before it (joined by `last_attempt!`).
macro_rules! dead_letter_columns {
    () => {
        "l.id, l.delivery, l.code, l.message, l.attempts, l.failed_at, l.status, l.retried_as, p.id"
    };
}

/// How many columns `dead_letter_columns!` selects.
pub(super) const DEAD_LETTER_COLUMNS: usize = 9;

/// The join that puts the attempt after which its delivery ended beside a dead letter.
macro_rules! last_attempt {
    () => {
        " LEFT JOIN attempts p ON p.delivery = l.delivery AND p.number = l.attempts "
    };
}

/// The condition that what went to this endpoint may be seen: it was not erased.
macro_rules! not_erased {
    ($endpoint:literal) => {
        concat!(" ", $endpoint, " NOT IN (SELECT id FROM config INDEXED BY config_erased WHERE erased = 1) ")
    };
}

/// Columns of `scheduled` for [`super::rows::scheduled_row`].
macro_rules! scheduled_columns {
    () => {
        "id, namespace, subscription, payload, due_at, recurrence, anchor, status, delivery, created_at, updated_at"
    };
}
