//! The engine from outside, over the store's model and a receiver in memory, in paused time.

mod calendar;
mod harness;
mod parked;
mod shutdown;
mod trouble;
