//! The engine from outside, over the store's model and a receiver in memory, in paused time.

mod batch;
mod calendar;
mod cancel;
mod clock;
mod erase;
mod expire;
mod harness;
mod health;
mod items;
mod jobs;
mod look_through;
mod meta;
mod pace;
mod parked;
mod repush;
mod retry;
mod room;
mod rotation;
mod sample;
mod series;
mod several;
mod shutdown;
mod templates;
mod trouble;
