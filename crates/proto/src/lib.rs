//! The contract of the RPC API, `proto/webhook/webhook.proto`, in Rust. Knows nothing of what answers it.
//!
//! | module | holds |
//! |---|---|
//! | [`webhook`] | the messages, made from the contract by `build.rs` |
//! | [`service`] | a trait for each service, and [`Services`], which reads calls for them and writes their answers |
//! | [`object`] | [`Object`], a `google.protobuf.Struct` that keeps the bytes it was sent as |
//! | [`mask`] | [`Mask`], a `google.protobuf.FieldMask` as clients really write it |

pub mod mask;
pub mod object;
pub mod service;

pub use mask::Mask;
pub use object::Object;
pub use service::Services;

pub use buffa::Message;
pub use buffa_types::google::protobuf::Timestamp;

/// The messages.
#[allow(missing_docs, unused_qualifications, clippy::all, reason = "made by the compiler of the contract")]
mod contract {
    include!(concat!(env!("OUT_DIR"), "/contract.rs"));
}

pub use contract::webhook;

/// The descriptors of the contract and of all that it imports, as a `google.protobuf.FileDescriptorSet` with its comments.
pub const DESCRIPTORS: &[u8] = include_bytes!("../../../proto/webhook.binpb");
