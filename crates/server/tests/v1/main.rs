//! What is in package `postrider.v1` beside the contract, from outside.
//!
//! One program for all of them: each is compiled and linked once, and runs as a process of its own all the same.

#[path = "../common/mod.rs"]
mod common;

mod admin;
mod dead_letters;
mod endpoints;
mod events;
mod ledger;
mod overview;
mod schedule;
mod subscriptions;
mod watch;
