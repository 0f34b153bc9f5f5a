//! The packed micro-panel, the layout of every token matrix in this crate.
//!
//! Where a BLIS GEMM computes `C = A B`, A is a weight matrix here and B the tokens. B and C are never stored
//! token by token: they stay in packed micro-panels of NR tokens from the first product to the last, so nothing is
//! packed between layers. A panel of `rows` features is `[rows, NR]`: feature 0 of NR tokens, then feature 1 of
//! the same tokens, and so on (token-minor, or structure of arrays). NR is two vectors ([`NR_VECTORS`]): 2, 8, 16
//! or 32 tokens at the levels scalar, NEON, AVX2 and AVX-512. Several panels follow one another; the last one is
//! padded with unused columns.
//!
//! Whatever a network does to each token on its own (layer norm, GELU, softmax over keys) is then a vertical
//! operation: token `c` is column `c` of its panel, and no sum ever runs across a vector.

use pulp::Simd;

/// Vectors in a row of a panel: NR over the lanes of a vector.
pub(crate) const NR_VECTORS: usize = 2;

/// NR, the tokens (columns) of a panel, at this vector width.
pub(crate) const fn panel_columns<S: Simd>() -> usize {
    NR_VECTORS * S::F32_LANES
}

/// Panels per task, 1 to 6: several, so that weights read from memory are used more than once, but few enough to keep
/// all threads busy.
pub(crate) fn panels_per_task(panels: usize, threads: usize) -> usize {
    let cost = |group: &usize| panels.div_ceil(*group).div_ceil(threads) * (10 * group + 3);
    (1..=6).min_by_key(cost).unwrap_or(1)
}

/// Values that are transposed at once by [`gather`].
const BLOCK: usize = 16;

/// Copies tokens to a panel `[rows, columns]`, one per column; zeros where there is none.
pub(crate) fn gather<'a>(columns: usize, panel: &mut [f32], token: impl Fn(usize) -> Option<&'a [f32]>) {
    gather_as(columns, panel, |value| value, token);
}

/// [`gather`] of tokens in other numbers, each made a float by `value`.
pub(crate) fn gather_as<'a, T: Copy + 'a>(
    columns: usize,
    panel: &mut [f32],
    value: impl Fn(T) -> f32,
    token: impl Fn(usize) -> Option<&'a [T]>,
) {
    for (b, block) in panel.chunks_mut(BLOCK * columns).enumerate() {
        for column in 0..columns {
            let places = block[column..].iter_mut().step_by(columns);
            match token(column) {
                Some(values) => {
                    let values = values.iter().skip(b * BLOCK);
                    places.zip(values).for_each(|(place, of)| *place = value(*of));
                }
                None => places.for_each(|place| *place = 0.0),
            }
        }
    }
}
