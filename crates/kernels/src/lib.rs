//! The CPU hot path of r2former: a vision transformer, a reranker and their training kernels, written once for every
//! vector unit.
//!
//! Kernels work on slices of `f32` and know neither images nor models. Each is written over `pulp`'s vector trait, so
//! that AVX-512, AVX2, NEON and scalar code are the same source; a [`Level`] selects the instructions, and tests compare
//! every level of the machine with a plain reference.
//!
//! - [`Encoder`]: a vision transformer on one image, with the attention of its last block.
//! - [`Boq`] and [`Salad`]: aggregations of its tokens; [`Mix`]: MixVPR's of a map.
//! - [`ConvNet`]: a convolutional network on one image.
//! - [`Reranker`]: one query against one candidate, from (8-bit) local features to logits.
//! - [`gradient`]: forward and backward pass of a transformer block, for training.
//! - [`ransac`]: geometric verification without learning.
//! - [`scan`]: exact nearest neighbours over 8-bit codes.
//! - [`probe`]: single kernels, for benchmarks.
//!
//! # Examples
//!
//! Mutual nearest neighbours of two images' local features, at the best level of this machine:
//!
//! ```
//! use r2former_kernels::Level;
//! use r2former_kernels::ransac::{FeatureRows, MutualSearch};
//!
//! // Two features of two dimensions per image.
//! let query = [1.0, 0.0, 0.0, 1.0];
//! let reference = [0.6, 0.8, 1.0, 0.0];
//! let pairs = MutualSearch::new(Level::best(), 0, 2, &query).nearest(FeatureRows::Floats(&reference));
//! assert_eq!(pairs.iter().map(|pair| (pair.query, pair.reference)).collect::<Vec<_>>(), [(0, 1), (1, 0)]);
//! assert_eq!(pairs[0].similarity, 1.0);
//! ```

#![allow(
    clippy::needless_range_loop,
    reason = "loops over registers are unrolled by index; a closure may not be inlined into vector code"
)]

mod adapter;
mod attend;
mod boq;
mod buffer;
mod conv;
mod correlate;
mod element;
mod encoder;
mod epilogue;
#[cfg(target_arch = "x86_64")]
mod fixed;
mod gemv;
pub mod gradient;
mod half;
mod int8;
mod level;
mod math;
mod matrix;
mod mix;
mod norm;
mod panel;
mod pool;
mod prefetch;
pub mod probe;
mod project;
pub mod ransac;
mod rerank;
mod rotary;
mod salad;
pub mod scan;
mod side;
mod stack;
mod tiles;
mod values;
mod weights;

pub use adapter::AdapterShape;
pub use boq::{Boq, BoqOutput, BoqShape};
pub use conv::{ConvNet, Convolution, FeatureMap, Slot};
pub use encoder::{Encoded, Encoder, EncoderShape, PrecomputedPrefix};
pub use level::{Level, LevelError, MatmulPrecision, RerankerArithmetic};
pub use mix::{Mix, MixShape};
pub use rerank::{Query, Reranker};
pub use salad::{Salad, SaladOutput, SaladShape};
pub use values::TensorValues;
pub use weights::{KernelError, Lookup, RerankerShape};
