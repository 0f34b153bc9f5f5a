//! Attention with small heads: queries in the lanes, one key at a time.
//!
//! A key's few numbers are broadcast; a vector of queries then takes one multiply-add a number, and no sum
//! ever runs across a vector. Nothing of tokens x tokens numbers is kept.

use crate::math::{exp2, exp2_above};
use pulp::Simd;

/// Keys that are taken at a time, so that their exponentials overlap.
const KEYS: usize = 4;

/// Head sizes that are compiled.
pub(crate) const HEAD_SIZES: [usize; 3] = [4, 8, 16];

/// The largest bound that is subtracted unseen; a larger one could push every exponential to nothing.
const SAFE_BOUND: f32 = 60.0;

/// Context of one vector of queries under one head.
///
/// Scores are in powers of two: the queries carry log2(e) / sqrt(head size). The softmax needs a number that
/// no score exceeds: |q| max|k| is one. Only where it is too far above, the scores are looked at first.
///
/// # Shapes
/// - queries: one vector a number of the head, a query a lane
/// - keys: for each key its `H` numbers, then the `H` numbers of its value
/// - longest: the largest length of a key
#[inline(always)]
pub(crate) fn attend<S: Simd, const H: usize>(
    simd: S,
    queries: [S::f32s; H],
    keys: &[f32],
    longest: f32,
) -> [S::f32s; H] {
    let mut square = simd.splat_f32s(0.0);
    for q in queries {
        square = simd.mul_add_e_f32s(q, q, square);
    }
    let mut bound = simd.mul_f32s(simd.sqrt_f32s(square), simd.splat_f32s(longest));
    if simd.reduce_max_f32s(bound) <= SAFE_BOUND {
        // A score is at least -|q| max|k|, and twice that is above what `exp2_above` asks for.
        return weigh::<S, H, true>(simd, queries, keys, simd.neg_f32s(bound));
    }
    bound = largest::<S, H>(simd, queries, keys);
    weigh::<S, H, false>(simd, queries, keys, simd.neg_f32s(bound))
}

/// The context with a given number added to every score; `SAFE` where no sum falls below -126.
#[inline(always)]
fn weigh<S: Simd, const H: usize, const SAFE: bool>(
    simd: S,
    queries: [S::f32s; H],
    keys: &[f32],
    start: S::f32s,
) -> [S::f32s; H] {
    let mut sum = simd.splat_f32s(0.0);
    let mut context = [simd.splat_f32s(0.0); H];
    let mut groups = keys.chunks_exact(2 * H * KEYS);
    for group in &mut groups {
        let group = group.as_chunks::<H>().0;
        let mut score = [start; KEYS];
        for h in 0..H {
            for i in 0..KEYS {
                score[i] = simd.mul_add_e_f32s(queries[h], simd.splat_f32s(group[2 * i][h]), score[i]);
            }
        }
        score = if SAFE { exp2_above(simd, score) } else { exp2(simd, score) };
        for i in 0..KEYS {
            sum = simd.add_f32s(sum, score[i]);
        }
        for h in 0..H {
            for i in 0..KEYS {
                context[h] = simd.mul_add_e_f32s(score[i], simd.splat_f32s(group[2 * i + 1][h]), context[h]);
            }
        }
    }
    for key in groups.remainder().chunks_exact(2 * H) {
        let mut score = start;
        for h in 0..H {
            score = simd.mul_add_e_f32s(queries[h], simd.splat_f32s(key[h]), score);
        }
        [score] = exp2(simd, [score]);
        sum = simd.add_f32s(sum, score);
        for h in 0..H {
            context[h] = simd.mul_add_e_f32s(score, simd.splat_f32s(key[H + h]), context[h]);
        }
    }
    let share = simd.div_f32s(simd.splat_f32s(1.0), sum);
    for h in 0..H {
        context[h] = simd.mul_f32s(context[h], share);
    }
    context
}

/// The largest score of each query.
#[inline(always)]
fn largest<S: Simd, const H: usize>(simd: S, queries: [S::f32s; H], keys: &[f32]) -> S::f32s {
    let mut largest = simd.splat_f32s(f32::NEG_INFINITY);
    for key in keys.chunks_exact(2 * H) {
        let mut score = simd.splat_f32s(0.0);
        for h in 0..H {
            score = simd.mul_add_e_f32s(queries[h], simd.splat_f32s(key[h]), score);
        }
        largest = simd.max_f32s(largest, score);
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;
    use crate::buffer::{Floats, vectors, vectors_mut};
    use proptest::prelude::*;
    use pulp::WithSimd;

    const H: usize = 8;

    struct Run<'a> {
        query: &'a [f32],
        keys: &'a [f32],
    }

    impl WithSimd for Run<'_> {
        type Output = Vec<f32>;
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
            let longest =
                self.keys.chunks_exact(2 * H).map(|k| k[..H].iter().map(|v| v * v).sum::<f32>().sqrt());
            let longest = longest.fold(0.0, f32::max);
            let mut queries = Floats::zeros(H * S::F32_LANES);
            for (h, row) in queries.chunks_exact_mut(S::F32_LANES).enumerate() {
                row.fill(self.query[h]);
            }
            let queries: [S::f32s; H] = vectors::<S>(&queries).try_into().unwrap();
            let mut out = Floats::zeros(H * S::F32_LANES);
            vectors_mut::<S>(&mut out).copy_from_slice(&attend::<S, H>(simd, queries, self.keys, longest));
            (0..H).map(|h| out[(h + 1) * S::F32_LANES - 1]).collect()
        }
    }

    fn plain(query: &[f32], keys: &[f32]) -> Vec<f64> {
        let dot =
            |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let scores: Vec<f64> = keys.chunks_exact(2 * H).map(|key| dot(query, &key[..H])).collect();
        let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|s| (s - most).exp2()).collect();
        let sum: f64 = weights.iter().sum();
        (0..H)
            .map(|h| {
                let values = keys.chunks_exact(2 * H).map(|key| f64::from(key[H + h]));
                weights.iter().zip(values).map(|(w, v)| w * v).sum::<f64>() / sum
            })
            .collect()
    }

    proptest! {
        #[test]
        fn contexts_equal_plain_softmax(
            count in 1usize..70,
            // Large scales leave the bound far above the scores.
            scale in prop::sample::select(vec![0.0f32, 0.3, 1.0, 4.0, 30.0]),
            seed in prop::collection::vec(-1.0f32..1.0, H + 70 * 2 * H),
        ) {
            let query: Vec<f32> = seed[..H].iter().map(|v| v * scale).collect();
            let keys: Vec<f32> = seed[H..H + count * 2 * H].iter().map(|v| v * scale.max(1.0)).collect();
            let expected = plain(&query, &keys);
            for level in Level::available() {
                let found = level.run(Run { query: &query, keys: &keys });
                for (a, b) in found.iter().zip(&expected) {
                    prop_assert!((f64::from(*a) - b).abs() < 2e-4 * f64::from(scale.max(1.0)), "{}: {} {}", level, a, b);
                }
            }
        }
    }
}
