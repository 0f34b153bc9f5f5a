//! Named tensors: [`TensorReader`] builds modules from them, [`TensorWriter`] collects them from modules.
//!
//! Names and layouts are PyTorch's (a linear weight is `[out, in]`), so that other tools can read checkpoints. Modules
//! use Burn's layouts.

mod reader;
mod tensors;
mod writer;

pub use reader::{Init, TensorReader, param_id};
pub use tensors::{RawTensor, StoredTensor, StoredTensors, StoredValues, Tensors, expanded};
pub use writer::TensorWriter;
pub(crate) use writer::values;
