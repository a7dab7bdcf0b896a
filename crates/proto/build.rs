//! Makes Rust from the descriptors of both packages of the contract, `proto/webhook.binpb`. Needs no other program; `scripts/proto` makes the descriptors.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    buffa_build::Config::new()
        .descriptor_set("../../proto/webhook.binpb")
        .files(&[
            "webhook/webhook.proto",
            "postrider/v1/admin.proto",
            "postrider/v1/dead_letters.proto",
            "postrider/v1/endpoints.proto",
            "postrider/v1/ledger.proto",
            "postrider/v1/overview.proto",
            "postrider/v1/schedule.proto",
        ])
        .generate_json(true)
        // A request is read once, into fields that are owned.
        .generate_views(false)
        // What is not understood is ignored, and takes no memory.
        .preserve_unknown_fields(false)
        .generate_with_setters(false)
        .file_per_package(true)
        // Types that keep what the published ones lose.
        .extern_path(".google.protobuf.Struct", "crate::Object")
        .extern_path(".google.protobuf.FieldMask", "crate::Mask")
        .include_file("contract.rs")
        .compile()
}
