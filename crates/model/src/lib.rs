//! R2Former (Zhu et al., CVPR 2023) defined once for CPU, GPU and training.
//!
//! An image becomes one global descriptor and up to K local features ([`R2Former::extract`]);
//! two images' local features become a score ([`Reranker`]). Everything that shapes a model
//! stands in its [`ModelConfig`], which travels in the header of the checkpoint.
//!
//! This crate opens checkpoints and nothing else: pixels come in as plain tensors.

pub mod backbone;
pub mod bits;
pub mod checkpoint;
pub mod config;
pub mod cost;
pub mod device;
pub mod error;
pub mod import;
pub mod layers;
pub mod local;
pub mod quantize;
pub mod r2former;
pub mod reranker;
pub mod weights;

pub use bits::Bits;
pub use checkpoint::{Checkpoint, load, save};
pub use config::{
    BackboneConfig, GlobalConfig, InputConfig, LocalConfig, ModelConfig, Pooling, PositionMode, Precision,
    RerankerConfig, ResNetConfig, ResizeMode, Trained, VitConfig,
};
pub use device::{Device, DeviceInfo, parse_device};
pub use error::{ModelError, Result};
pub use r2former::{Features, R2Former};
pub use reranker::Reranker;
