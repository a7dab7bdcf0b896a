//! What the engine needs from the world: a [`Store`], a [`Transport`] and a [`Clock`].

mod store;
mod transport;

pub use store::*;
pub use transport::*;

use crate::time::Timestamp;
use std::future::Future;
use std::pin::Pin;

/// A future behind a port.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The time of day. The simulator's stands still until it is moved.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}
