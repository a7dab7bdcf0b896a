//! `postrider.v1`: what the dashboard and the command line need beside the contract in `webhook`. Public as that is.
//!
//! | file | holds |
//! |---|---|
//! | `overview.rs` | `OverviewService`: who the caller is, how it does right now and did over time |
//! | `ledger.rs` | `LedgerService`: deliveries and events, live and afterwards |
//! | `endpoints.rs` | `EndpointService`: endpoints with how they do, and subscriptions whole |
//! | `dead_letters.rs` | `DeadLetterService`: what was given up |
//! | `schedule.rs` | `ScheduleService`: scheduled webhooks |
//! | `admin.rs` | `AdminService`: keys, nodes and settings |
//! | `page.rs` | sizes of pages and the tokens that say where they begin |
//! | `summary.rs` | what several of them show alike |
//! | `conditions.rs` | what a subscription asks of events, and whether an event has it |
//! | `words.rs` | numbers and spans of time as sentences have them |

pub(super) mod admin;
mod conditions;
pub(super) mod dead_letters;
pub(super) mod endpoints;
pub(super) mod ledger;
pub(super) mod overview;
mod page;
pub(super) mod schedule;
mod summary;
mod words;
