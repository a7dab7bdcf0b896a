//! The RPC API from outside: the real binary, over real sockets.
//!
//! One program for all of them: each is compiled and linked once, and runs as a process of its own all the same.

#[path = "../common/mod.rs"]
mod common;

mod calls;
mod categories;
mod deliveries;
mod event_types;
mod events;
mod limits;
mod seed;
mod streams;
mod subscription_deliveries;
mod subscriptions;
mod template_functions;
mod webhook_deliveries;
mod webhook_health;
mod webhooks;
