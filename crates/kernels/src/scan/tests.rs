//! Scans beside a full scan by [`dot`]: the same slots and the same bits.

use super::*;
use proptest::prelude::*;
use std::convert::Infallible;

/// Rows with their codes.
struct Index {
    dim: usize,
    rows: Vec<Vec<f32>>,
    bytes: Vec<u8>,
    codes: Vec<u8>,
    scales: Vec<RowScale>,
}

impl Index {
    fn new(dim: usize, rows: Vec<Vec<f32>>) -> Self {
        let mut codes = vec![0; 1 + rows.len() * stride(dim)];
        let scales = rows
            .iter()
            .enumerate()
            .map(|(i, row)| encode(row, &mut codes[1 + i * stride(dim)..][..stride(dim)]));
        let scales = scales.collect();
        let bytes = rows.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
        Self { dim, rows, bytes, codes, scales }
    }

    fn allowed(&self, slot: usize, allowed: Option<&[u64]>) -> bool {
        allowed.is_none_or(|words| words[slot / 64] >> (slot % 64) & 1 == 1)
    }

    /// By a full scan.
    fn plain(&self, query: &[f32], top: usize, allowed: Option<&[u64]>) -> Vec<(u32, u32)> {
        let slots = (0..self.rows.len()).filter(|slot| self.allowed(*slot, allowed));
        let mut all: Vec<(u32, f32)> =
            slots.map(|slot| (slot as u32, dot(Level::Scalar, query, &self.rows[slot]))).collect();
        all.sort_by(|a, b| match (a.1.is_nan(), b.1.is_nan()) {
            (false, false) => b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)),
            (a_nan, b_nan) => a_nan.cmp(&b_nan).then(a.0.cmp(&b.0)),
        });
        all.truncate(top);
        all.into_iter().map(|(slot, score)| (slot, bits(score))).collect()
    }

    /// By scans of the blocks that begin at `starts`, by as many collectors as `threads`, which are then merged.
    fn scanned(
        &self,
        level: Level,
        queries: &[Query],
        top: usize,
        allowed: Option<&[u64]>,
        starts: &[usize],
        threads: usize,
    ) -> Vec<Vec<(u32, u32)>> {
        let mut starts: Vec<usize> = starts.iter().map(|start| start % (self.rows.len() + 1)).collect();
        starts.extend([0, self.rows.len()]);
        starts.sort_unstable();
        let mut found = vec![vec![Nearest::new(top); queries.len()]; threads];
        for (i, ends) in starts.windows(2).enumerate() {
            // A bitmap starts at the block's first row.
            let moved = allowed.map(|_| {
                let mut words = vec![0u64; (ends[1] - ends[0]).div_ceil(64)];
                for row in 0..ends[1] - ends[0] {
                    words[row / 64] |= u64::from(self.allowed(ends[0] + row, allowed)) << (row % 64);
                }
                words
            });
            let block = Block {
                first: ends[0] as u32,
                codes: &self.codes[1 + ends[0] * stride(self.dim)..1 + ends[1] * stride(self.dim)],
                scales: &self.scales[ends[0]..ends[1]],
                allowed: moved.as_deref(),
            };
            scan(level, queries, &block, &mut found[i % threads]);
        }
        let mut merged = found.pop().unwrap();
        for found in found {
            for (merged, found) in merged.iter_mut().zip(found) {
                merged.merge(found);
            }
        }
        let exact =
            |slot: u32| Ok::<_, Infallible>(&self.bytes[slot as usize * 4 * self.dim..][..4 * self.dim]);
        let finish = |(nearest, query): (Nearest, &Query)| {
            let found = nearest.finish(level, query, exact).unwrap();
            found.into_iter().map(|(slot, score)| (slot, bits(score))).collect()
        };
        merged.into_iter().zip(queries).map(finish).collect()
    }

    fn check(
        &self,
        queries: &[Vec<f32>],
        top: usize,
        allowed: Option<&[u64]>,
        starts: &[usize],
        threads: usize,
    ) {
        let expected: Vec<_> = queries.iter().map(|query| self.plain(query, top, allowed)).collect();
        let prepared: Vec<Query> = queries.iter().map(|query| Query::new(query)).collect();
        for level in Level::available() {
            let together = self.scanned(level, &prepared, top, allowed, starts, threads);
            assert_eq!(together, expected, "{level}, together");
            for (query, expected) in prepared.iter().zip(&expected) {
                let alone = self.scanned(level, std::slice::from_ref(query), top, allowed, starts, threads);
                assert_eq!(&alone[0], expected, "{level}, alone");
            }
        }
    }
}

/// Bits of a score, the same for every NaN.
fn bits(score: f32) -> u32 {
    if score.is_nan() { u32::MAX } else { score.to_bits() }
}

/// Kinds of vectors.
const KINDS: usize = 11;

/// A vector of a kind; those of kinds 1, 2 and 10 are near or equal to one another.
fn vector(random: &mut fastrand::Rng, kind: usize, dim: usize, i: usize) -> Vec<f32> {
    let mut common = fastrand::Rng::with_seed(5);
    let mut vector: Vec<f32> = (0..dim).map(|_| random.f32() - 0.5).collect();
    match kind {
        // Duplicates that differ in the last bits.
        1 => {
            for value in &mut vector {
                let (base, change) = (common.f32() - 0.5, random.u32(..40));
                *value = if change < 3 { f32::from_bits(base.to_bits() ^ (1 << change)) } else { base };
            }
        }
        2 => vector.iter_mut().for_each(|value| *value = common.f32() - 0.5),
        // One dominating coordinate.
        3 => vector[i % dim] *= 1e6,
        4 => vector.fill(0.0),
        // Norms over many orders of magnitude.
        5 => vector.iter_mut().for_each(|value| *value *= 10f32.powi(i as i32 % 60 - 30)),
        6 => vector.iter_mut().for_each(|value| *value = f32::MAX * value.signum()),
        7 => vector.iter_mut().for_each(|value| *value *= 1e-44),
        // Few distinct values: ties.
        8 => vector.iter_mut().for_each(|value| *value = (*value * 3.0).round()),
        // What codes leave out is parallel to kind 9, and decides between these rows and others that codes hold exactly.
        10 => {
            let (exact, most) = (i.is_multiple_of(2), random.f32() / 2.0);
            for (j, value) in vector.iter_mut().enumerate().skip(1) {
                let (whole, sign) = (f32::from(common.u8(20..100)), if j % 2 == 0 { 1.0 } else { -1.0 });
                let changed = if random.f32() < most { 1.0 } else { 0.0 };
                *value = whole + sign * if exact { changed } else { 0.499 };
            }
            vector[0] = 127.0;
        }
        // Signs that cancel.
        9 => {
            vector.iter_mut().enumerate().for_each(|(j, value)| *value = if j % 2 == 0 { 1.0 } else { -1.0 })
        }
        _ => {}
    }
    vector
}

fn any_dim() -> impl Strategy<Value = usize> {
    prop_oneof![Just(1), Just(3), Just(63), Just(64), Just(65), 2usize..200, Just(256), Just(600)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 60 } else { 400 }))]

    #[test]
    fn equals_a_full_scan(
        dim in any_dim(), count in 0usize..330, asked in 1usize..10, top in 0usize..40, seed: u64,
        kinds in prop::collection::vec(0..KINDS, 1..3), query_kinds in prop::collection::vec(0..KINDS, 1..3),
        starts in prop::collection::vec(0usize..1000, 0..6), threads in 1usize..4,
        filter in prop_oneof![Just(None), Just(Some(1u64)), Just(Some(7)), Just(Some(0))],
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let rows = (0..count).map(|i| vector(&mut random, kinds[i % kinds.len()], dim, i)).collect();
        let index = Index::new(dim, rows);
        let kind = |i: usize| query_kinds[i % query_kinds.len()];
        let queries: Vec<Vec<f32>> = (0..asked).map(|i| vector(&mut random, kind(i), dim, i)).collect();
        // One row in 2, 1/8 of the words, or none.
        let words: Option<Vec<u64>> = filter.map(|filter| {
            let word = |random: &mut fastrand::Rng| if filter > 0 && random.u64(..=filter) == 0 { random.u64(..) } else { 0 };
            (0..count.div_ceil(64)).map(|_| word(&mut random)).collect()
        });
        index.check(&queries, top, words.as_deref(), &starts, threads);
    }

    #[test]
    fn bounds_hold_where_they_are_tight(dim in 2usize..300, count in 2usize..200, top in 1usize..5, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        let rows = (0..count).map(|i| vector(&mut random, 10, dim, i)).collect();
        Index::new(dim, rows).check(&[vector(&mut random, 9, dim, 0)], top, None, &[], 1);
    }

    #[test]
    fn non_finite_values_are_ranked_as_by_a_full_scan(
        count in 1usize..100, top in 1usize..20, seed: u64, query in 0usize..3,
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 0.0];
        let rows = (0..count).map(|i| {
            let mut row = vector(&mut random, 0, 7, i);
            if i % 3 == 0 {
                row[random.usize(..7)] = special[random.usize(..5)];
            }
            row
        });
        let index = Index::new(7, rows.collect());
        let mut queries = vec![vector(&mut random, 0, 7, 0), vec![0.0; 7]];
        queries[0][2] = [queries[0][2], f32::NAN, f32::INFINITY][query];
        index.check(&queries, top, None, &[11], 1);
    }
}

/// Vectors near a few centres, as descriptors of places are.
fn clustered(random: &mut fastrand::Rng, dim: usize, count: usize) -> Vec<Vec<f32>> {
    let centres: Vec<Vec<f32>> = (0..20).map(|_| vector(random, 0, dim, 0)).collect();
    let near = |i: usize, random: &mut fastrand::Rng| -> Vec<f32> {
        let row: Vec<f32> = centres[i % 20].iter().map(|x| x + 0.4 * (random.f32() - 0.5)).collect();
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.into_iter().map(|x| x / norm).collect()
    };
    (0..count).map(|i| near(i, random)).collect()
}

#[test]
fn many_rows_and_queries() {
    let mut random = fastrand::Rng::with_seed(3);
    for (dim, count) in [(256, 3000), (8448, 100), (MAX_DIM, 9)] {
        let mut rows = clustered(&mut random, dim, count + 21);
        let queries = rows.split_off(count);
        let index = Index::new(dim, rows);
        index.check(&queries[..if dim > 256 { 5 } else { 21 }], 10, None, &[50, 1000], 2);
    }
}

#[test]
fn most_rows_are_excluded() {
    let mut random = fastrand::Rng::with_seed(4);
    let mut rows = clustered(&mut random, 256, 5001);
    let query = [Query::new(&rows.pop().unwrap())];
    let index = Index::new(256, rows);
    let block = Block { first: 0, codes: &index.codes[1..], scales: &index.scales, allowed: None };
    for level in Level::available() {
        let mut found = [Nearest::new(10)];
        scan(level, &query, &block, &mut found);
        let mut read = 0;
        let exact = |slot: u32| {
            read += 1;
            Ok::<_, Infallible>(&index.bytes[slot as usize * 1024..][..1024])
        };
        let [nearest] = found;
        assert!(nearest.candidates() < 500, "{level}: {}", nearest.candidates());
        nearest.finish(level, &query[0], exact).unwrap();
        assert!(read < 120, "{level}: {read}");
    }
}

#[test]
fn more_dimensions_than_sums_hold_are_rescored() {
    let dim = 3 * MAX_DIM;
    let rows = vec![vec![-1.0; dim], vec![1.0; dim], vec![0.5; dim]];
    Index::new(dim, rows).check(&[vec![1.0; dim]], 1, None, &[], 1);
}

#[test]
fn no_dimensions_no_rows_no_queries() {
    Index::new(0, vec![Vec::new(); 70]).check(&[Vec::new(), Vec::new()], 3, None, &[8], 2);
    Index::new(5, Vec::new()).check(&[vec![1.0; 5]], 3, None, &[], 1);
    let block = Block { first: 0, codes: &[], scales: &[], allowed: None };
    scan(Level::best(), &[], &block, &mut []);
}
