//! `GET /v1/nodes`: who serves what is stored. Nodes are no tenant's, so that only a key that sees every namespace is told of them.

use super::gate::Caller;
use super::wire::time;
use crate::http::{App, Problem, json};
use crate::nodes::Node;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use std::sync::Arc;

/// The path of the list.
pub(super) const PATH: &str = "/v1/nodes";

#[derive(Serialize)]
struct Listed<'a> {
    nodes: Vec<Shown<'a>>,
}

#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    address: Option<&'a str>,
    release: &'a str,
    incarnation: i64,
    state: &'static str,
    started_at: String,
    last_heartbeat_at: String,
    ended_at: Option<String>,
    slots: u64,
    this: bool,
}

impl<'a> Shown<'a> {
    fn new(node: &'a Node) -> Self {
        Shown {
            name: &node.name,
            address: node.address.as_deref(),
            release: &node.release,
            incarnation: node.incarnation,
            state: if node.ended_at.is_none() { "alive" } else { "ended" },
            started_at: time(node.started_at),
            last_heartbeat_at: time(node.last_heartbeat_at),
            ended_at: node.ended_at.map(time),
            slots: node.slots,
            this: node.is_this,
        }
    }
}

/// Answers the nodes that are alive and those that ended lately, the newest first.
pub(super) async fn list(State(app): State<Arc<App>>, Caller(access): Caller) -> Result<Response, Problem> {
    if access.namespace.is_some() {
        let message = "nodes belong to no namespace: use a key without one (postrider keys create --scopes admin makes it)";
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", message));
    }
    let nodes = app.nodes.all(app.engine.now()).await.map_err(Problem::of_read)?;
    Ok(json(StatusCode::OK, &Listed { nodes: nodes.iter().map(Shown::new).collect() }))
}
