//! Layers shared by backbone, heads and reranker.

mod adapter;
mod block;
mod block_op;
mod gelu;
mod gradient_kernels;
mod match_op;
mod position;
mod projection;
mod resident;
mod rope;
mod sincos;
mod values;

pub use adapter::{Adapter, CONVOLUTIONS};
pub use block::{Block, BlockConfig, Extras, PARALLEL};
pub(crate) use gelu::gelu;
pub(crate) use gradient_kernels::enabled as gradient_kernels;
pub use gradient_kernels::without as without_gradient_kernels;
pub(crate) use match_op::match_features;
pub use position::{bicubic_matrix, fit_position};
pub use projection::Projection;
pub(crate) use resident::numbers;
use resident::resident;
pub use rope::Rope;
pub(crate) use rope::angles as rotary_angles;
pub use sincos::{frequencies, sine_cosine};
pub use values::Values;
