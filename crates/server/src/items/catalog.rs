//! `/v1/delivery/catalog/*`: what there is to put a binding together from (contract, section 9.4).

use super::gate::Caller;
use crate::http::json;
use axum::response::Response;
use http::StatusCode;
use postrider_core::catalog::CATALOG;
use serde::Serialize;

#[derive(Serialize)]
struct Table<T: 'static> {
    data: &'static [T],
    total: usize,
}

fn table<T: Serialize>(data: &'static [T]) -> Response {
    json(StatusCode::OK, &Table { data, total: data.len() })
}

/// Types of events.
pub(super) async fn signals(_: Caller) -> Response {
    table(CATALOG.signals)
}

/// What can be delivered.
pub(super) async fn deliverables(_: Caller) -> Response {
    table(CATALOG.deliverables)
}

/// In which formats.
pub(super) async fn serializers(_: Caller) -> Response {
    table(CATALOG.serializers)
}

/// Over what.
pub(super) async fn connectors(_: Caller) -> Response {
    table(CATALOG.connectors)
}
