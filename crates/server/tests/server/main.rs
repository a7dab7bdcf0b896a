//! The process itself: how it is configured, what it serves beside the APIs, what it does on faults of its machine.
//!
//! One program for all of them: each is compiled and linked once, and runs as a process of its own all the same.

#[path = "../common/mod.rs"]
mod common;

mod commands;
mod config;
mod dashboard;
mod docs;
mod doctor;
mod http_connections;
mod keys;
mod openapi;
mod restart;
mod secrets;
mod store_budget;
mod store_faults;
mod three_apis;
