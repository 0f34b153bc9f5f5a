//! Imports and forward passes against other libraries: timm, torchvision, PyTorch
//! (`parity/README.md` says how the data come about).

mod common;
#[path = "parity/generate.rs"]
mod generate;
#[path = "parity/published.rs"]
mod published;
#[path = "parity/reranker.rs"]
mod reranker;
#[path = "parity/resnet.rs"]
mod resnet;
#[path = "parity/transformers.rs"]
mod transformers;

use std::path::PathBuf;

/// A file that the Python scripts wrote.
fn data(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity")).join(name)
}

/// A file that the published code wrote.
fn golden(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")).join(name)
}
