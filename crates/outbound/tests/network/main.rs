//! The transport against real sockets. Every server is a local one that a test scripts byte by byte.

mod body;
mod exchange;
mod faults;
mod guard;
mod h2;
mod harness;
mod redirect;
mod timeouts;
mod tls;
