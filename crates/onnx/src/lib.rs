//! Models as ONNX files (opset 17): the network from a normalised image to its descriptor and local features, and the
//! reranker, for ONNX Runtime and other runtimes.
//!
//! One builder walks the [`ModelConfig`](r2former_model::ModelConfig): every backbone, aggregation and local feature that a model
//! can have. Weights are written from the checkpoint, a piece at a time.
//!
//! ```
//! use r2former_model::{Checkpoint, Device, ModelConfig, R2Former};
//! use r2former_onnx::{Axis, ExportOptions, export};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut config = ModelConfig::preset("vit-tiny").ok_or("no such preset")?;
//! # if let r2former_model::BackboneConfig::Vit(vit) = &mut config.backbone {
//! #     vit.depth = 2;
//! # }
//! let tensors = R2Former::random(&config, 1, &Device::flex())?.to_tensors()?;
//! let model = Checkpoint { config, tensors, fingerprint: String::new() };
//!
//! let exported = export(&model, &ExportOptions::default())?;
//! let [image, descriptor] = [&exported.inputs[0], &exported.outputs[0]];
//! assert_eq!((image.name.as_str(), descriptor.name.as_str()), ("image", "descriptor"));
//! // Any number of images of any height and width that are multiples of the patch.
//! assert_eq!(
//!     image.shape,
//!     [Axis::Named("batch"), Axis::Fixed(3), Axis::Named("height"), Axis::Named("width")]
//! );
//! assert_eq!(descriptor.shape, [Axis::Named("batch"), Axis::Fixed(256)]);
//!
//! let folder = tempfile::tempdir()?;
//! let saved = exported.save(&folder.path().join("model.onnx"), false)?;
//! assert!(saved.bytes > 1_000_000 && saved.data.is_none());
//! # Ok(())
//! # }
//! ```

mod adapter;
mod aggregate;
mod backbone;
mod block;
mod error;
mod export;
mod file;
mod graph;
mod layers;
mod local;
mod metadata;
mod ops;
mod port;
pub mod proto;
mod reranker;
mod sizes;

pub use error::{OnnxError, Result};
pub use export::{ExportOptions, Exported, InputRange, OPSET, Saved, export, export_reranker};
pub use port::{Axis, Port};
