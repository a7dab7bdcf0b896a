//! The Tasks API from outside: the real binary, over real sockets.
//!
//! One program for all of them: each is compiled and linked once, and runs as a process of its own all the same.

#[path = "../common/mod.rs"]
mod common;

mod auth;
mod dlq;
mod ingest;
mod scheduled;
mod seed;
mod subscriptions;
