//! The contract of the RPC API, `proto/webhook/webhook.proto` and what is in `proto/postrider/v1`, in Rust. Knows nothing of what answers it.
//!
//! | module | holds |
//! |---|---|
//! | [`webhook`] | the messages of the contract that other servers speak too, made from it by `build.rs` |
//! | [`v1`] | the messages of the package `postrider.v1`, which the dashboard and the command line need besides |
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

pub use contract::postrider::v1;
pub use contract::webhook;

/// The descriptors of both packages and of all that they import, as a `google.protobuf.FileDescriptorSet` with its comments.
pub const DESCRIPTORS: &[u8] = include_bytes!("../../../proto/webhook.binpb");
