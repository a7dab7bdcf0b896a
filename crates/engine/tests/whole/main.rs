//! The engine from outside, over the store's model and a receiver in memory, in paused time.

mod batch;
mod clock;
mod calendar;
mod harness;
mod pace;
mod parked;
mod shutdown;
mod trouble;
