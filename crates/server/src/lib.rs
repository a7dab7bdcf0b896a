//! The binary `postrider`, as a library so that its tests can reach it.
//!
//! This crate translates and starts things; it decides nothing about deliveries.
//!
//! | module | is |
//! |---|---|
//! | [`cli`] | the command line, one file or folder per subcommand |
//! | [`config`] | flags over `POSTRIDER_*` over `postrider.toml` over defaults |
//! | [`boot`] | from a configuration to a running server and back down |
//! | [`http`] | the listener, the router, what every API shares |
//! | [`auth`] | who may do what: API keys and the development mode |
//! | [`key_limits`] | how often each key may ask |
//! | [`nodes`] | who serves what is stored |
//! | [`tasks`] | the Tasks API: `/subscriptions`, `/ingest`, `/deliveries`, `/dlq`, `/scheduled` |
//! | [`items`] | the Items API: `/v1/delivery`, `/v1/keys` and `/v1/nodes` |
//! | [`rpc`] | the RPC API: `/webhook.*Service` and `/postrider.v1.*Service` over Connect, gRPC and gRPC-Web; gRPC health checks and reflection |
//! | [`openapi`] | the document of both REST APIs, `openapi.json` |
//! | [`web`] | the pages at `/` and `/docs`, and `/openapi.json` |
//! | [`clock`], [`random`] | the only places that ask the operating system for the time and for randomness |
//! | [`observe`] | the log |
//! | [`receiver`] | a webhook receiver for `listen`, `bench` and tests |

pub mod auth;
pub mod boot;
pub mod cli;
pub mod clock;
pub mod config;
pub mod http;
pub mod items;
pub mod key_limits;
pub mod nodes;
pub mod observe;
pub mod openapi;
pub mod random;
pub mod receiver;
pub mod rpc;
pub mod tasks;
pub mod web;
