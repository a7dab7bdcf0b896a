//! The rules of webhook delivery.
//!
//! This crate decides and does nothing: it has no I/O, no runtime, no clock, no SQL and makes no HTTP exchange.
//! Time and randomness are passed in. The three [`ports`] are what the engine needs from the world.
//!
//! | module | rules about |
//! |---|---|
//! | [`id`], [`time`] | identifiers (UUIDv7, sequences, idempotency keys) and instants |
//! | [`event`], [`event_type`], [`endpoint`], [`subscription`], [`delivery`], [`attempt`], [`deadletter`], [`key`] | the nouns |
//! | [`delivery::transition`] | the one function that decides what becomes of a delivery |
//! | [`retry`], [`limit`] | when to try again, when to send at all |
//! | [`filter`] | which events a subscription wants |
//! | [`body`] | what is sent: field maps, formats, the envelope |
//! | [`template`] | bodies by templates in the language of Go's `text/template` |
//! | [`auth`] | credentials for receivers |
//! | [`signal`], [`catalog`], [`compatibility`], [`policy`] | what bindings of the Items API are made of |
//! | [`recurrence`] | when a scheduled webhook is due next |
//! | [`sign`], [`seal`] | signatures on the wire, secrets at rest |
//! | [`schema`] | what payloads of an event type must be like |
//! | [`health`] | how well an endpoint takes what it is sent |
//! | [`series`] | what happened over time, in numbers |
//! | [`guard`] | which addresses may be dialled |
//! | [`error`], [`invalid`] | stable error codes and the categories of outcomes; what is wrong with a value that was given |

pub mod attempt;
pub mod auth;
pub mod body;
pub mod catalog;
pub mod compatibility;
pub mod deadletter;
pub mod delivery;
pub mod endpoint;
pub mod error;
pub mod event;
pub mod event_type;
pub mod filter;
pub mod guard;
pub mod health;
pub mod hex;
pub mod id;
pub mod invalid;
mod json;
pub mod key;
pub mod limit;
pub mod policy;
pub mod ports;
pub mod recurrence;
pub mod retry;
pub mod schedule;
pub mod schema;
pub mod seal;
pub mod series;
pub mod sign;
pub mod signal;
pub mod subscription;
pub mod template;
pub mod time;
