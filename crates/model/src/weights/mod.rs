//! Named tensors going into and coming out of modules.
//!
//! Names and layouts are PyTorch's (a linear weight is `[out, in]`), so that checkpoints can be
//! read by other tools; modules keep Burn's layouts.

mod put;
mod take;
mod tensors;

pub use put::Put;
pub use take::{Init, Take, param_id};
pub use tensors::{RawTensor, Tensors};
