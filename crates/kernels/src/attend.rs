//! Attention with heads of 4, 8 or 16 dimensions, the reranker's: a GEMM kernel would be mostly overhead here.
//!
//! Queries are the lanes, keys are broadcast: a score costs one multiply-add per dimension and no sum runs across a
//! vector. The scores of a panel against [`KEY_TILE`] keys stay in L1 between the two products; no tokens x tokens
//! matrix exists.

use crate::buffer::{Floats, vectors, vectors_mut};
use crate::math::{exp2, exp2_above};
use crate::panel::{NR_VECTORS, panel_columns};
use pulp::{Simd, WithSimd};

#[cfg(target_arch = "x86_64")]
mod fixed;
mod heads;

pub(crate) use heads::Heads;

/// Head sizes for which the kernel is instantiated.
pub(crate) const HEAD_SIZES: [usize; 3] = [4, 8, 16];

/// Keys scored at a time with 16 registers.
const KEYS: usize = 6;

/// Keys scored at a time with 32 registers.
const KEYS_WIDE: usize = 12;

/// Keys whose exponentials are computed at a time, so that latencies overlap.
const EXP_KEYS: usize = 4;

/// Dimensions of the context accumulated in registers at a time.
const VALUE_DIMS: usize = 4;

/// Keys per tile, whose exponentials stay in L1 for the second product; a multiple of [`KEYS`] and [`KEYS_WIDE`].
const KEY_TILE: usize = 60;

/// The largest bound that is subtracted without computing the maximum score; a larger one could underflow every
/// exponential.
const SAFE_BOUND: f32 = 60.0;

/// The context of a panel of queries, for one head of `H` dimensions.
///
/// Queries are scaled by log2(e) / sqrt(`H`), so that the softmax takes powers of two. To be stable it subtracts an
/// upper bound of the scores, |q| max|k|; only where that exceeds [`SAFE_BOUND`] the true maximum is computed first.
#[derive(Debug)]
pub(crate) struct Attend<'a, const H: usize> {
    /// A panel `[H, NR]`.
    pub(crate) queries: &'a [f32],
    /// Keys `[tokens, H]`, then values `[tokens, H]`.
    pub(crate) keys: &'a [f32],
    /// The largest norm of a key.
    pub(crate) max_key_norm: f32,
    /// Scratch for the scores of a tile.
    pub(crate) scores: &'a mut Floats,
    /// A panel `[H, NR]`.
    pub(crate) context: &'a mut [f32],
}

impl<const H: usize> WithSimd for Attend<'_, H> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { queries, keys, max_key_norm, scores, context } = self;
        let queries = vectors::<S>(queries).as_chunks::<NR_VECTORS>().0;
        let context = vectors_mut::<S>(context).as_chunks_mut::<NR_VECTORS>().0;
        attend::<S, H>(simd, queries, keys, max_key_norm, scores, context);
    }
}

#[inline(always)]
fn attend<S: Simd, const H: usize>(
    simd: S,
    queries: &[[S::f32s; NR_VECTORS]],
    keys: &[f32],
    max_key_norm: f32,
    scores: &mut Floats,
    context: &mut [[S::f32s; NR_VECTORS]],
) {
    let (keys, values) = keys.split_at(keys.len() / 2);
    let (keys, values) = (keys.as_chunks::<H>().0, values.as_chunks::<H>().0);
    let mut square = [simd.splat_f32s(0.0); NR_VECTORS];
    for q in queries {
        for v in 0..NR_VECTORS {
            square[v] = simd.mul_add_e_f32s(q[v], q[v], square[v]);
        }
    }
    let mut bound = square;
    let mut largest_bound = simd.splat_f32s(0.0);
    for v in 0..NR_VECTORS {
        bound[v] = simd.mul_f32s(simd.sqrt_f32s(square[v]), simd.splat_f32s(max_key_norm));
        largest_bound = simd.max_f32s(largest_bound, bound[v]);
    }
    // A score is at least -|q| max|k|, so that the difference is at least -120: enough for `exp2_above`.
    let safe = simd.reduce_max_f32s(largest_bound) <= SAFE_BOUND;
    if !safe {
        bound = max_scores::<S, H>(simd, queries, keys);
    }
    for v in 0..NR_VECTORS {
        bound[v] = simd.neg_f32s(bound[v]);
    }
    scores.resize(KEY_TILE * panel_columns::<S>());
    let scores = vectors_mut::<S>(scores).as_chunks_mut::<NR_VECTORS>().0;
    if S::REGISTER_COUNT >= 32 {
        weighted_sum::<S, H, KEYS_WIDE>(simd, queries, keys, values, bound, safe, scores, context);
    } else {
        weighted_sum::<S, H, KEYS>(simd, queries, keys, values, bound, safe, scores, context);
    }
}

/// The context with `start` (minus the bound) added to every score; `safe` where no score then falls below -126.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "inlined into its only caller")]
fn weighted_sum<S: Simd, const H: usize, const K: usize>(
    simd: S,
    queries: &[[S::f32s; NR_VECTORS]],
    keys: &[[f32; H]],
    values: &[[f32; H]],
    start: [S::f32s; NR_VECTORS],
    safe: bool,
    scores: &mut [[S::f32s; NR_VECTORS]],
    context: &mut [[S::f32s; NR_VECTORS]],
) {
    let zero = simd.splat_f32s(0.0);
    for row in context.iter_mut() {
        *row = [zero; NR_VECTORS];
    }
    let mut sum = [zero; NR_VECTORS];
    for first in (0..keys.len()).step_by(KEY_TILE) {
        let end = keys.len().min(first + KEY_TILE);
        let (keys, values, scores) = (&keys[first..end], &values[first..end], &mut scores[..end - first]);
        let (groups, rest) = scores.as_chunks_mut::<K>();
        let (key_groups, other_keys) = keys.as_chunks::<K>();
        for (i, scores) in groups.iter_mut().enumerate() {
            score_keys::<S, H, K>(simd, queries, &key_groups[i], start, scores);
        }
        for (i, score) in rest.iter_mut().enumerate() {
            score_keys::<S, H, 1>(simd, queries, &[other_keys[i]], start, std::array::from_mut(score));
        }
        if safe {
            exponentials::<S, true>(simd, scores, &mut sum);
        } else {
            exponentials::<S, false>(simd, scores, &mut sum);
        }
        for (part, context) in context.as_chunks_mut::<VALUE_DIMS>().0.iter_mut().enumerate() {
            add_values(simd, part * VALUE_DIMS, values, scores, context);
        }
    }
    for v in 0..NR_VECTORS {
        let inverse = simd.div_f32s(simd.splat_f32s(1.0), sum[v]);
        for row in context.iter_mut() {
            row[v] = simd.mul_f32s(row[v], inverse);
        }
    }
}

/// Scores of K keys, held in registers.
#[inline(always)]
fn score_keys<S: Simd, const H: usize, const K: usize>(
    simd: S,
    queries: &[[S::f32s; NR_VECTORS]],
    keys: &[[f32; H]; K],
    start: [S::f32s; NR_VECTORS],
    scores: &mut [[S::f32s; NR_VECTORS]; K],
) {
    let mut sums = [start; K];
    for h in 0..H {
        let query = queries[h];
        for i in 0..K {
            let key = simd.splat_f32s(keys[i][h]);
            for v in 0..NR_VECTORS {
                sums[i][v] = simd.mul_add_e_f32s(query[v], key, sums[i][v]);
            }
        }
    }
    *scores = sums;
}

/// Replaces scores by their exponentials and adds those to `sum`; `SAFE` where no score is below -126.
#[inline(always)]
fn exponentials<S: Simd, const SAFE: bool>(
    simd: S,
    scores: &mut [[S::f32s; NR_VECTORS]],
    sum: &mut [S::f32s; NR_VECTORS],
) {
    let (groups, rest) = scores.as_chunks_mut::<EXP_KEYS>();
    for group in groups {
        exponentials_of::<S, SAFE, EXP_KEYS>(simd, group, sum);
    }
    for row in rest {
        exponentials_of::<S, SAFE, 1>(simd, std::array::from_mut(row), sum);
    }
}

/// [`exponentials`] of K keys.
#[inline(always)]
fn exponentials_of<S: Simd, const SAFE: bool, const K: usize>(
    simd: S,
    scores: &mut [[S::f32s; NR_VECTORS]; K],
    sum: &mut [S::f32s; NR_VECTORS],
) {
    let mut columns = [[simd.splat_f32s(0.0); K]; NR_VECTORS];
    for v in 0..NR_VECTORS {
        for i in 0..K {
            columns[v][i] = scores[i][v];
        }
        columns[v] = if SAFE { exp2_above(simd, columns[v]) } else { exp2(simd, columns[v]) };
        for i in 0..K {
            scores[i][v] = columns[v][i];
            sum[v] = simd.add_f32s(sum[v], columns[v][i]);
        }
    }
}

/// Adds the weighted values to dimensions `first..first + VALUE_DIMS` of the context.
#[inline(always)]
fn add_values<S: Simd, const H: usize>(
    simd: S,
    first: usize,
    values: &[[f32; H]],
    weights: &[[S::f32s; NR_VECTORS]],
    context: &mut [[S::f32s; NR_VECTORS]; VALUE_DIMS],
) {
    let mut sums = *context;
    for (key, value) in values.iter().enumerate() {
        for i in 0..VALUE_DIMS {
            let value = simd.splat_f32s(value[first + i]);
            for v in 0..NR_VECTORS {
                sums[i][v] = simd.mul_add_e_f32s(weights[key][v], value, sums[i][v]);
            }
        }
    }
    *context = sums;
}

/// The largest score of each query.
#[inline(always)]
fn max_scores<S: Simd, const H: usize>(
    simd: S,
    queries: &[[S::f32s; NR_VECTORS]],
    keys: &[[f32; H]],
) -> [S::f32s; NR_VECTORS] {
    let mut largest = [simd.splat_f32s(f32::NEG_INFINITY); NR_VECTORS];
    for key in keys {
        let zero = [simd.splat_f32s(0.0); NR_VECTORS];
        let mut score = [zero];
        score_keys::<S, H, 1>(simd, queries, &[*key], zero, &mut score);
        for v in 0..NR_VECTORS {
            largest[v] = simd.max_f32s(largest[v], score[0][v]);
        }
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;
    use proptest::prelude::*;

    const H: usize = 8;

    fn run(level: Level, query: &[f32], keys: &[f32]) -> Vec<f32> {
        let columns = level.columns();
        let norm = |key: &[f32; H]| key.iter().map(|v| v * v).sum::<f32>().sqrt();
        let max_key_norm = keys[..keys.len() / 2].as_chunks::<H>().0.iter().map(norm).fold(0.0, f32::max);
        let (mut queries, mut context) = (Floats::zeros(H * columns), Floats::zeros(H * columns));
        for (row, value) in queries.chunks_exact_mut(columns).zip(query) {
            row.fill(*value);
        }
        let scores = &mut Floats::default();
        level.run(Attend::<H> { queries: &queries, keys, max_key_norm, scores, context: &mut context });
        (0..H).map(|h| context[(h + 1) * columns - 1]).collect()
    }

    fn plain(query: &[f32], keys: &[f32]) -> Vec<f64> {
        let dot =
            |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let (keys, values) = keys.split_at(keys.len() / 2);
        let scores: Vec<f64> = keys.chunks_exact(H).map(|key| dot(query, key)).collect();
        let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|s| (s - most).exp2()).collect();
        let sum: f64 = weights.iter().sum();
        (0..H)
            .map(|h| {
                let values = values.chunks_exact(H).map(|value| f64::from(value[h]));
                weights.iter().zip(values).map(|(w, v)| w * v).sum::<f64>() / sum
            })
            .collect()
    }

    proptest! {
        #[test]
        fn contexts_equal_plain_softmax(
            count in 1usize..150,
            // Large scales leave the bound far above the scores.
            scale in prop::sample::select(vec![0.0f32, 0.3, 1.0, 4.0, 30.0]),
            seed in prop::collection::vec(-1.0f32..1.0, H + 150 * 2 * H),
        ) {
            let query: Vec<f32> = seed[..H].iter().map(|v| v * scale).collect();
            let keys: Vec<f32> = seed[H..H + count * 2 * H].iter().map(|v| v * scale.max(1.0)).collect();
            let expected = plain(&query, &keys);
            for level in Level::available() {
                let found = run(level, &query, &keys);
                for (a, b) in found.iter().zip(&expected) {
                    prop_assert!((f64::from(*a) - b).abs() < 2e-4 * f64::from(scale.max(1.0)), "{}: {} {}", level, a, b);
                }
            }
        }
    }
}
