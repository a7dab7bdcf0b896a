//! The Items API from outside: the real binary, over real sockets.
//!
//! One program for all of them: each is compiled and linked once, and runs as a process of its own all the same.

#[path = "../common/mod.rs"]
mod common;

mod bad_input;
mod bodies;
mod destinations;
mod erase;
mod events;
mod isolation;
mod jobs;
mod keys;
mod limits;
mod once;
mod samples;
mod secrets;
mod seed;
mod settings;
