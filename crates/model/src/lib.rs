//! R2Former (Zhu et al., CVPR 2023) defined once for CPU, GPU and training.
//!
//! [`R2Former::extract`] turns an image into one global descriptor and up to K local features; [`Reranker`] scores the
//! local features of two images. A [`ModelConfig`] describes architecture and preprocessing and is stored in the header
//! of the [`checkpoint`]. [`import`] converts checkpoints of other projects.
//!
//! The only files that this crate opens are checkpoints: images come in as normalised tensors.
//!
//! # Examples
//!
//! A small random model describes two images and scores them as a pair:
//!
//! ```
//! use burn::tensor::{Distribution, Tensor};
//! use r2former_model::{BackboneConfig, Device, ModelConfig, R2Former, Reranker};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut config = ModelConfig::preset("vit-tiny").ok_or("no such preset")?;
//! if let BackboneConfig::Vit(vit) = &mut config.backbone {
//!     vit.depth = 2;
//! }
//! let device = Device::flex();
//! let model = R2Former::random(&config, 7, &device)?;
//!
//! let images = Tensor::<4>::random([2, 3, 96, 128], Distribution::Normal(0.0, 1.0), &device);
//! let features = model.extract(images)?;
//! assert_eq!(features.global.dims(), [2, 256]);
//! // One local feature per patch of 16 x 16 pixels, at most 500: x, y, attention and 128 dimensions.
//! let local = features.local.ok_or("the preset has local features")?;
//! assert_eq!(local.dims(), [2, 48, 131]);
//!
//! let reranker = model.reranker.as_ref().ok_or("the preset has a reranker")?;
//! let logits = reranker.forward(local.clone().narrow(0, 0, 1), local.narrow(0, 1, 1))?;
//! let score: f32 = Reranker::score(logits).into_scalar();
//! assert!((0.0..=1.0).contains(&score));
//! # Ok(())
//! # }
//! ```

pub mod aggregate;
pub mod average;
pub mod backbone;
pub mod bits;
pub mod catalog;
pub mod checkpoint;
pub mod config;
pub mod cost;
pub mod device;
pub mod error;
pub mod hub;
pub mod import;
pub mod layers;
pub mod local;
mod pooling;
pub mod quantize;
pub mod r2former;
pub mod reranker;
pub mod shorten;
mod stream;
pub mod weights;

pub use average::{Averaged, average};
pub use bits::Bits;
pub use checkpoint::{Checkpoint, load, save};
pub use config::{
    AdapterConfig, BackboneConfig, BoqConfig, Calibration, CalibrationSet, Clue, Clues, ConfidenceFit,
    CricaConfig, Facet, Fit, GemConfig, Geometry, GlobalConfig, ImageSize, InlierWeights, InputConfig,
    LocalConfig, LocalVladConfig, MixVprConfig, ModelConfig, NetVladConfig, Placement, Pooling, PositionMode,
    Precision, PrecisionCheck, RerankedCheck, RerankerCheck, RerankerConfig, ResNetConfig, ResizeMode,
    SaladConfig, Selection, Sides, SizeRule, Trained, TypicalCandidate, VitConfig, VladConfig,
};
pub use device::{Device, DeviceInfo, check_device_name, parse_device};
pub use error::{ModelError, Result};
pub use r2former::{Features, R2Former};
pub use reranker::Reranker;
