//! The engine from outside, over the store's model and a receiver in memory, in paused time.

mod batch;
mod calendar;
mod clock;
mod erase;
mod expire;
mod harness;
mod health;
mod items;
mod jobs;
mod meta;
mod pace;
mod parked;
mod repush;
mod retry;
mod room;
mod sample;
mod several;
mod shutdown;
mod templates;
mod trouble;
