//! What the tests of the cluster's index share.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test uses some of it"
)]

pub mod nodes;
pub mod stub;

pub use nodes::Nodes;

/// The index of the embedded store, whose images these tests use, too.
#[path = "../../../index/tests/common/mod.rs"]
pub mod images;
