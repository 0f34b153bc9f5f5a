//! Panels of tokens.
//!
//! Tokens lie side by side in panels of [`WIDTH`] vectors: number `f` of all tokens of a panel is one row of
//! [`WIDTH`] vectors. Whatever a network does to each token alone (products, norms, activations) is then a
//! vertical operation, without a sum across a vector, and a panel of the reranker's sizes stays in the
//! nearest cache from end to end.

use pulp::Simd;

/// Vectors in a row of a panel.
pub(crate) const WIDTH: usize = 2;

/// Numbers in a row of a panel.
pub(crate) const fn columns_of<S: Simd>() -> usize {
    WIDTH * S::F32_LANES
}
