//! The command line against a real server, as people type it.
//!
//! One program for all of them: each is compiled and linked once, and runs as a process of its own all the same.

#[path = "../common/mod.rs"]
mod common;

mod counted;
mod help;
mod lists;
mod rest;
mod session;
