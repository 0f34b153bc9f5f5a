//! Named tensors going into and coming out of modules.
//!
//! Names and layouts are PyTorch's (a linear weight is `[out, in]`), so that checkpoints can be
//! read by other tools; modules keep Burn's layouts.

mod reader;
mod tensors;
mod writer;

pub use reader::{Init, TensorReader, param_id};
pub use tensors::{RawTensor, Tensors};
pub use writer::TensorWriter;
