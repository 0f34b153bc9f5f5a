//! Attention with small heads: queries in the lanes, a few keys at a time.
//!
//! A key's few numbers are broadcast; a vector of queries then takes one multiply-add a number, and no sum
//! ever runs across a vector. Nothing of tokens x tokens numbers is kept, only a panel's exponentials for a
//! few dozen keys.

use crate::buffer::{Floats, vectors, vectors_mut};
use crate::math::{exp2, exp2_above};
use crate::panel::{WIDTH, columns_of};
use pulp::{Simd, WithSimd};

/// Head sizes that are compiled.
pub(crate) const HEAD_SIZES: [usize; 3] = [4, 8, 16];

/// Keys whose scores are summed at a time with 16 registers, and with 32.
const KEYS: usize = 6;
const WIDE_KEYS: usize = 12;

/// Keys whose exponentials are computed at a time.
const TOGETHER: usize = 4;

/// Numbers of a value that are summed at a time.
const VALUES: usize = 4;

/// Keys whose exponentials wait in the nearest cache for the second product; a multiple of both numbers of
/// keys.
const WAITING: usize = 60;

/// The largest bound that is subtracted unseen; a larger one could push every exponential to nothing.
const SAFE_BOUND: f32 = 60.0;

/// Context of a panel of queries under one head of `H` numbers.
///
/// Scores are in powers of two: the queries carry log2(e) / sqrt(head size). The softmax needs a number that
/// no score exceeds: |q| max|k| is one. Only where it is too far above, the scores are looked at first.
#[derive(Debug)]
pub(crate) struct Attend<'a, const H: usize> {
    /// One row a number of the head, a query a column.
    pub(crate) queries: &'a [f32],
    /// `H` numbers of each key, then those of each value.
    pub(crate) keys: &'a [f32],
    /// The largest length of a key.
    pub(crate) longest: f32,
    pub(crate) waiting: &'a mut Floats,
    /// As `queries`.
    pub(crate) context: &'a mut [f32],
}

impl<const H: usize> WithSimd for Attend<'_, H> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { queries, keys, longest, waiting, context } = self;
        let queries = vectors::<S>(queries).as_chunks::<WIDTH>().0;
        let context = vectors_mut::<S>(context).as_chunks_mut::<WIDTH>().0;
        attend::<S, H>(simd, queries, keys, longest, waiting, context);
    }
}

#[inline(always)]
fn attend<S: Simd, const H: usize>(
    simd: S,
    queries: &[[S::f32s; WIDTH]],
    keys: &[f32],
    longest: f32,
    waiting: &mut Floats,
    context: &mut [[S::f32s; WIDTH]],
) {
    let (keys, values) = keys.split_at(keys.len() / 2);
    let (keys, values) = (keys.as_chunks::<H>().0, values.as_chunks::<H>().0);
    let mut square = [simd.splat_f32s(0.0); WIDTH];
    for q in queries {
        for v in 0..WIDTH {
            square[v] = simd.mul_add_e_f32s(q[v], q[v], square[v]);
        }
    }
    let mut bound = square;
    let mut most = simd.splat_f32s(0.0);
    for v in 0..WIDTH {
        bound[v] = simd.mul_f32s(simd.sqrt_f32s(square[v]), simd.splat_f32s(longest));
        most = simd.max_f32s(most, bound[v]);
    }
    // A score is at least -|q| max|k|, and twice that is above what `exp2_above` asks for.
    let safe = simd.reduce_max_f32s(most) <= SAFE_BOUND;
    if !safe {
        bound = largest::<S, H>(simd, queries, keys);
    }
    for v in 0..WIDTH {
        bound[v] = simd.neg_f32s(bound[v]);
    }
    waiting.resize(WAITING * columns_of::<S>());
    let waiting = vectors_mut::<S>(waiting).as_chunks_mut::<WIDTH>().0;
    if S::REGISTER_COUNT >= 32 {
        weigh::<S, H, WIDE_KEYS>(simd, queries, keys, values, bound, safe, waiting, context);
    } else {
        weigh::<S, H, KEYS>(simd, queries, keys, values, bound, safe, waiting, context);
    }
}

/// The context with a given number added to every score; `safe` where no sum falls below -126.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "inlined into its only caller")]
fn weigh<S: Simd, const H: usize, const K: usize>(
    simd: S,
    queries: &[[S::f32s; WIDTH]],
    keys: &[[f32; H]],
    values: &[[f32; H]],
    start: [S::f32s; WIDTH],
    safe: bool,
    waiting: &mut [[S::f32s; WIDTH]],
    context: &mut [[S::f32s; WIDTH]],
) {
    let zero = simd.splat_f32s(0.0);
    for row in context.iter_mut() {
        *row = [zero; WIDTH];
    }
    let mut sum = [zero; WIDTH];
    for first in (0..keys.len()).step_by(WAITING) {
        let end = keys.len().min(first + WAITING);
        let (keys, values, waiting) = (&keys[first..end], &values[first..end], &mut waiting[..end - first]);
        let (groups, rest) = waiting.as_chunks_mut::<K>();
        let (key_groups, other_keys) = keys.as_chunks::<K>();
        for (i, scores) in groups.iter_mut().enumerate() {
            score_keys::<S, H, K>(simd, queries, &key_groups[i], start, scores);
        }
        for (i, score) in rest.iter_mut().enumerate() {
            score_keys::<S, H, 1>(simd, queries, &[other_keys[i]], start, std::array::from_mut(score));
        }
        if safe {
            exponentials::<S, true>(simd, waiting, &mut sum);
        } else {
            exponentials::<S, false>(simd, waiting, &mut sum);
        }
        for (part, context) in context.as_chunks_mut::<VALUES>().0.iter_mut().enumerate() {
            add_values(simd, part * VALUES, values, waiting, context);
        }
    }
    for v in 0..WIDTH {
        let share = simd.div_f32s(simd.splat_f32s(1.0), sum[v]);
        for row in context.iter_mut() {
            row[v] = simd.mul_f32s(row[v], share);
        }
    }
}

/// Scores of a few keys.
#[inline(always)]
fn score_keys<S: Simd, const H: usize, const K: usize>(
    simd: S,
    queries: &[[S::f32s; WIDTH]],
    keys: &[[f32; H]; K],
    start: [S::f32s; WIDTH],
    scores: &mut [[S::f32s; WIDTH]; K],
) {
    let mut sums = [start; K];
    for h in 0..H {
        let query = queries[h];
        for i in 0..K {
            let key = simd.splat_f32s(keys[i][h]);
            for v in 0..WIDTH {
                sums[i][v] = simd.mul_add_e_f32s(query[v], key, sums[i][v]);
            }
        }
    }
    *scores = sums;
}

/// Scores to their exponentials, which are also added up; `SAFE` where none falls below -126.
#[inline(always)]
fn exponentials<S: Simd, const SAFE: bool>(
    simd: S,
    scores: &mut [[S::f32s; WIDTH]],
    sum: &mut [S::f32s; WIDTH],
) {
    let (groups, rest) = scores.as_chunks_mut::<TOGETHER>();
    for group in groups {
        exponentials_of::<S, SAFE, TOGETHER>(simd, group, sum);
    }
    for row in rest {
        exponentials_of::<S, SAFE, 1>(simd, std::array::from_mut(row), sum);
    }
}

/// [`exponentials`] of a few keys' scores, whose latencies overlap.
#[inline(always)]
fn exponentials_of<S: Simd, const SAFE: bool, const K: usize>(
    simd: S,
    scores: &mut [[S::f32s; WIDTH]; K],
    sum: &mut [S::f32s; WIDTH],
) {
    let mut columns = [[simd.splat_f32s(0.0); K]; WIDTH];
    for v in 0..WIDTH {
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

/// Adds to a few numbers of the context what the keys' values give.
#[inline(always)]
fn add_values<S: Simd, const H: usize>(
    simd: S,
    first: usize,
    values: &[[f32; H]],
    weights: &[[S::f32s; WIDTH]],
    context: &mut [[S::f32s; WIDTH]; VALUES],
) {
    let mut sums = *context;
    for (key, value) in values.iter().enumerate() {
        for i in 0..VALUES {
            let value = simd.splat_f32s(value[first + i]);
            for v in 0..WIDTH {
                sums[i][v] = simd.mul_add_e_f32s(weights[key][v], value, sums[i][v]);
            }
        }
    }
    *context = sums;
}

/// The largest score of each query.
#[inline(always)]
fn largest<S: Simd, const H: usize>(
    simd: S,
    queries: &[[S::f32s; WIDTH]],
    keys: &[[f32; H]],
) -> [S::f32s; WIDTH] {
    let mut largest = [simd.splat_f32s(f32::NEG_INFINITY); WIDTH];
    for key in keys {
        let zero = [simd.splat_f32s(0.0); WIDTH];
        let mut score = [zero];
        score_keys::<S, H, 1>(simd, queries, &[*key], zero, &mut score);
        for v in 0..WIDTH {
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
        let length = |key: &[f32; H]| key.iter().map(|v| v * v).sum::<f32>().sqrt();
        let longest = keys[..keys.len() / 2].as_chunks::<H>().0.iter().map(length).fold(0.0, f32::max);
        let (mut queries, mut context) = (Floats::zeros(H * columns), Floats::zeros(H * columns));
        for (row, value) in queries.chunks_exact_mut(columns).zip(query) {
            row.fill(*value);
        }
        let waiting = &mut Floats::default();
        level.run(Attend::<H> { queries: &queries, keys, longest, waiting, context: &mut context });
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
