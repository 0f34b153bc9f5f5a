//! The CPU hot path: what r2former computes most, written once for every vector unit.
//!
//! Kernels know slices of numbers, neither images nor models. Each is written over `pulp`'s vector trait,
//! so that AVX-512, AVX2, NEON and plain scalar code are the same source; [`Level`] says which one runs and
//! can be forced, so that every one is tested on a machine that has it. Beside each kernel its test keeps a
//! plain reference.
//!
//! - [`Encoder`]: a vision transformer over one image, and what its last block attends to.
//! - [`Reranker`]: the whole reranker of one query against one candidate, from 8-bit local features to
//!   logits, without a tensor in between.
//! - [`gradient`]: a transformer block forward and backward, for training.

#![allow(
    clippy::needless_range_loop,
    reason = "registers are counted, and a closure may not be inlined into vector code"
)]

mod attend;
mod buffer;
mod correlate;
mod encoder;
mod finish;
pub mod gradient;
mod level;
mod math;
mod matrix;
mod norm;
mod pairs;
mod panel;
mod pool;
pub mod probe;
pub mod ransac;
mod rerank;
mod side;
mod stack;
mod tiles;
mod weights;

pub use encoder::{Encoded, Encoder, EncoderShape, PrecomputedPrefix};
pub use level::{Level, LevelError, MatmulPrecision};
pub use rerank::{Query, Reranker};
pub use weights::{KernelError, RerankerShape};
