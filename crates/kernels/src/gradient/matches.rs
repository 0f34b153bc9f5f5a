//! The best matches of two images' local features as the reranker takes them, and the way back.
//!
//! Features come to unit length, each looks for its best in the other image, and every match becomes a row of
//! channels, query first (METHOD: reranker, steps 1 and 2). Only the correlation has a gradient, and each match
//! passes it on to its own two features: no matrix of all similarities is there on either way.

use super::rows::axpy;
use crate::correlate::{BestMatches, Correlate};
use crate::matrix::{Matrix, Packing};
use crate::pairs::Words;
use crate::side::{SHORTEST, Side, add_sine_cosine, frequencies};
use crate::weights::MOST_NEIGHBOURS;
use crate::{KernelError, Level};
use rayon::prelude::*;

/// Numbers of a match: x, y, attention of the query's feature, of the reference's, and their correlation.
pub const CHANNELS: usize = 7;

/// Sizes of what is matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatchShape {
    /// Numbers in a local feature, without x, y and attention.
    pub feature: usize,
    /// Best matches of each feature, 1 to 8; each side has so many features at least.
    pub neighbours: usize,
    /// Local features of a query.
    pub query: usize,
    /// Local features of a reference.
    pub reference: usize,
}

/// What was found.
#[derive(Debug)]
pub struct Matches {
    /// `[pairs, (query + reference) * neighbours, 7]`: the query's features first, the best match of each first.
    pub channels: Vec<f32>,
    /// Numbers of the matched features in the other image, as the rows of `channels`.
    pub others: Vec<u32>,
}

impl MatchShape {
    /// Whether these sizes are covered.
    ///
    /// # Errors
    /// [`KernelError::Unsupported`] where a side has fewer features than neighbours, or more neighbours are asked for
    /// than are kept.
    pub fn check(&self) -> Result<(), KernelError> {
        let k = self.neighbours;
        if self.feature == 0 || k == 0 || k > MOST_NEIGHBOURS || k > self.query.min(self.reference) {
            return Err(KernelError::Unsupported(format!(
                "{k} neighbours of {} and {} local features of {} numbers",
                self.query, self.reference, self.feature
            )));
        }
        Ok(())
    }

    fn row(&self) -> usize {
        3 + self.feature
    }

    /// Matches of a pair.
    fn matches(&self) -> usize {
        (self.query + self.reference) * self.neighbours
    }

    /// Pairs in the two sides' rows.
    fn pairs(&self, query: &[f32], reference: &[f32]) -> Result<usize, KernelError> {
        self.check()?;
        let [of_query, of_reference] = [self.query, self.reference].map(|count| count * self.row());
        let pairs = query.len() / of_query;
        if query.len() != pairs * of_query || reference.len() != pairs * of_reference {
            return Err(KernelError::Input(format!(
                "{} and {} values are no pairs of {} and {} rows of {}",
                query.len(),
                reference.len(),
                self.query,
                self.reference,
                self.row()
            )));
        }
        Ok(pairs)
    }

    /// The two features of match number `at`, given the other image's.
    fn ends(&self, at: usize, other: u32) -> [usize; 2] {
        let (own, other) = (at / self.neighbours, other as usize);
        if own < self.query { [own, other] } else { [other, own - self.query] }
    }
}

/// The matches of pairs, from rows x, y, attention, feature.
///
/// # Errors
/// [`KernelError`] for sizes that do not belong together or are not covered.
pub fn match_features(
    level: Level,
    shape: MatchShape,
    query: &[f32],
    reference: &[f32],
) -> Result<Matches, KernelError> {
    let pairs = shape.pairs(query, reference)?;
    let (row, count) = (shape.row(), shape.matches());
    let mut channels = vec![0.0; pairs * count * CHANNELS];
    let mut others = vec![0; pairs * count];
    query
        .par_chunks_exact(shape.query * row)
        .zip(reference.par_chunks_exact(shape.reference * row))
        .zip(channels.par_chunks_exact_mut(count * CHANNELS))
        .zip(others.par_chunks_exact_mut(count))
        .try_for_each_init(
            || (Side::default(), Side::default(), BestMatches::default()),
            |(of_query, of_reference, matches), (((query, reference), channels), others)| {
                of_query.read_floats(shape.feature, shape.neighbours, query)?;
                of_reference.read_floats(shape.feature, shape.neighbours, reference)?;
                let packing = Packing::new(level, Words::Floats);
                let packed =
                    Matrix::pack(packing, shape.feature, &of_query.features, &vec![0.0; shape.query]);
                level.run(Correlate {
                    k: shape.neighbours,
                    depth: shape.feature,
                    query: &packed,
                    reference: &of_reference.features,
                    matches,
                });
                let found = matches.of_query.iter().chain(&matches.of_reference);
                let rows = channels.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(others);
                for (at, ((other, similarity), (row, number))) in found.zip(rows).enumerate() {
                    let [q, r] = shape.ends(at, *other);
                    row[..3].copy_from_slice(&of_query.places[q]);
                    row[3..6].copy_from_slice(&of_reference.places[r]);
                    row[6] = *similarity;
                    *number = *other;
                }
                Ok(())
            },
        )?;
    Ok(Matches { channels, others })
}

/// The gradients of both sides' rows, given that of the channels. Places and attention have none (METHOD).
///
/// # Errors
/// [`KernelError`] for other sizes than on the way forward.
pub fn match_features_backward(
    shape: MatchShape,
    others: &[u32],
    query: &[f32],
    reference: &[f32],
    gradient: &[f32],
) -> Result<[Vec<f32>; 2], KernelError> {
    let pairs = shape.pairs(query, reference)?;
    let (row, count) = (shape.row(), shape.matches());
    if others.len() != pairs * count || gradient.len() != pairs * count * CHANNELS {
        let found = gradient.len();
        return Err(KernelError::Input(format!("{found} values are no gradient of these matches")));
    }
    let mut back = [vec![0.0; query.len()], vec![0.0; reference.len()]];
    let [back_query, back_reference] = &mut back;
    query
        .par_chunks_exact(shape.query * row)
        .zip(reference.par_chunks_exact(shape.reference * row))
        .zip(back_query.par_chunks_exact_mut(shape.query * row))
        .zip(back_reference.par_chunks_exact_mut(shape.reference * row))
        .zip(others.par_chunks_exact(count))
        .zip(gradient.par_chunks_exact(count * CHANNELS))
        .try_for_each_init(
            || [Side::default(), Side::default()],
            |[of_query, of_reference], (((((query, reference), back_q), back_r), others), gradient)| {
                of_query.read_floats(shape.feature, shape.neighbours, query)?;
                of_reference.read_floats(shape.feature, shape.neighbours, reference)?;
                let slopes = gradient.as_chunks::<CHANNELS>().0;
                for (at, (other, slope)) in others.iter().zip(slopes).enumerate() {
                    let [q, r] = shape.ends(at, *other);
                    axpy(&mut back_q[q * row + 3..][..shape.feature], slope[6], of_reference.feature(r));
                    axpy(&mut back_r[r * row + 3..][..shape.feature], slope[6], of_query.feature(q));
                }
                for (side, rows, back) in [(of_query, query, back_q), (of_reference, reference, back_r)] {
                    let rows = rows.chunks_exact(row).zip(back.chunks_exact_mut(row));
                    for (i, (row, back)) in rows.enumerate() {
                        through_length(&row[3..], side.feature(i), &mut back[3..]);
                    }
                }
                Ok(())
            },
        )?;
    Ok(back)
}

/// The gradient of a vector from that of the same at unit length, in place.
fn through_length(x: &[f32], unit: &[f32], gradient: &mut [f32]) {
    let length = x.iter().map(|v| v * v).sum::<f32>().sqrt();
    let scale = 1.0 / length.max(SHORTEST);
    // Where the length was raised, it did not depend on the vector.
    let along = match length > SHORTEST {
        true => unit.iter().zip(&*gradient).map(|(u, g)| u * g).sum::<f32>(),
        false => 0.0,
    };
    for (g, u) in gradient.iter_mut().zip(unit) {
        *g = scale * (*g - along * u);
    }
}

/// Positions known before that are looked through for an equal one.
const KNOWN: usize = 1 << 10;

/// The sine-cosine embedding of positions (u, v), `dim` numbers each, on all cores: see METHOD, reranker.
pub fn sine_cosine(positions: &[[f32; 2]], dim: usize) -> Vec<f32> {
    let frequencies = frequencies(dim);
    let mut out = vec![0.0; positions.len() * dim];
    out.par_chunks_mut(KNOWN * dim).zip(positions.par_chunks(KNOWN)).for_each(|(out, positions)| {
        // Patches lie on a grid, so the same positions come again and again.
        let mut known = std::collections::HashMap::with_capacity(KNOWN);
        for (i, [u, v]) in positions.iter().enumerate() {
            match known.entry([u.to_bits(), v.to_bits()]) {
                std::collections::hash_map::Entry::Occupied(at) => {
                    let at: usize = *at.get();
                    out.copy_within(at * dim..(at + 1) * dim, i * dim);
                }
                std::collections::hash_map::Entry::Vacant(free) => {
                    free.insert(i);
                    add_sine_cosine(*u, *v, &frequencies, &mut out[i * dim..][..dim]);
                }
            }
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Plainly, in 64 bits: channels, matched features, and the gradient of a weighted sum of the correlations.
    fn plain(
        shape: MatchShape,
        query: &[f32],
        reference: &[f32],
        weights: &[f32],
    ) -> (Vec<f64>, [Vec<f64>; 2]) {
        let row = shape.row();
        let wide = |rows: &[f32]| -> Vec<Vec<f64>> {
            rows.chunks(row).map(|r| r.iter().map(|v| f64::from(*v)).collect()).collect()
        };
        let (q, r) = (wide(query), wide(reference));
        let length = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
        let cosine = |a: &[f64], b: &[f64]| {
            a[3..].iter().zip(&b[3..]).map(|(x, y)| x * y).sum::<f64>() / (length(&a[3..]) * length(&b[3..]))
        };
        let mut channels = Vec::new();
        let mut back = [vec![0.0; query.len()], vec![0.0; reference.len()]];
        let mut take = |i: usize, j: usize, weight: f64| {
            let s = cosine(&q[i], &r[j]);
            for v in q[i][..3].iter().chain(&r[j][..3]) {
                channels.push(v.clamp(0.0, 1.0));
            }
            channels.push(s);
            let (lq, lr) = (length(&q[i][3..]), length(&r[j][3..]));
            for d in 3..row {
                let (u, v) = (q[i][d] / lq, r[j][d] / lr);
                back[0][i * row + d] += weight * (v - s * u) / lq;
                back[1][j * row + d] += weight * (u - s * v) / lr;
            }
        };
        let mut at = 0;
        let mut next = || {
            at += 1;
            f64::from(weights[(at - 1) * CHANNELS + 6])
        };
        for i in 0..q.len() {
            let mut all: Vec<usize> = (0..r.len()).collect();
            all.sort_by(|a, b| cosine(&q[i], &r[*b]).total_cmp(&cosine(&q[i], &r[*a])));
            all[..shape.neighbours].iter().for_each(|j| take(i, *j, next()));
        }
        for j in 0..r.len() {
            let mut all: Vec<usize> = (0..q.len()).collect();
            all.sort_by(|a, b| cosine(&q[*b], &r[j]).total_cmp(&cosine(&q[*a], &r[j])));
            all[..shape.neighbours].iter().for_each(|i| take(*i, j, next()));
        }
        (channels, back)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn matches_are_the_plain_ones(
            seed in any::<u64>(),
            pairs in 1usize..4,
            (query, reference) in (1usize..60, 1usize..60),
            feature in 2usize..20,
            k in 1usize..=8,
        ) {
            let shape = MatchShape { feature, neighbours: k.min(query).min(reference), query, reference };
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut noise = |count: usize| -> Vec<f32> { (0..count).map(|_| rng.f32() * 3.0 - 1.0).collect() };
            let (q, r) = (noise(pairs * query * (3 + feature)), noise(pairs * reference * (3 + feature)));
            let weights = noise(pairs * shape.matches() * CHANNELS);
            let each = shape.matches() * CHANNELS;
            for level in Level::available() {
                let found = match_features(level, shape, &q, &r).unwrap();
                let back = match_features_backward(shape, &found.others, &q, &r, &weights).unwrap();
                for pair in 0..pairs {
                    let part = |rows: &[f32], count: usize| {
                        let size = count * (3 + feature);
                        rows[pair * size..][..size].to_vec()
                    };
                    let weights = &weights[pair * each..][..each];
                    let (channels, slopes) = plain(shape, &part(&q, query), &part(&r, reference), weights);
                    for (f, e) in found.channels[pair * each..].iter().zip(&channels) {
                        prop_assert!((f64::from(*f) - e).abs() < 1e-5, "{level}: {f}, not {e}");
                    }
                    let sides = [part(&back[0], query), part(&back[1], reference)];
                    for (f, e) in sides.iter().flatten().zip(slopes.iter().flatten()) {
                        prop_assert!((f64::from(*f) - e).abs() < 1e-3 * e.abs().max(1.0), "{level}: {f}, not {e}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_feature_of_zeros_has_no_direction() {
        let shape = MatchShape { feature: 2, neighbours: 1, query: 1, reference: 1 };
        let (q, r) = ([0.5, 2.0, -1.0, 0.0, 0.0], [0.1, 0.2, 0.3, 3.0, 4.0]);
        let found = match_features(Level::Scalar, shape, &q, &r).unwrap();
        assert_eq!(found.channels[..7], [0.5, 1.0, 0.0, 0.1, 0.2, 0.3, 0.0]);
        let back = match_features_backward(shape, &found.others, &q, &r, &[1.0; 14]).unwrap();
        assert!(back.iter().flatten().all(|v| v.is_finite()));
    }

    #[test]
    fn sizes_are_checked() {
        let shape = MatchShape { feature: 2, neighbours: 2, query: 2, reference: 1 };
        assert!(matches!(shape.check(), Err(KernelError::Unsupported(_))));
        let shape = MatchShape { reference: 2, ..shape };
        assert!(matches!(
            match_features(Level::Scalar, shape, &[0.0; 10], &[0.0; 5]),
            Err(KernelError::Input(_))
        ));
        assert!(matches!(
            match_features_backward(shape, &[0; 8], &[0.0; 10], &[0.0; 10], &[0.0; 3]),
            Err(KernelError::Input(_))
        ));
    }

    #[test]
    fn embeddings_repeat_where_positions_do() {
        let positions = [[0.1, 0.2], [0.3, 0.2], [0.1, 0.2], [0.2, 0.1]];
        let found = sine_cosine(&positions, 8);
        for (position, found) in positions.iter().zip(found.chunks(8)) {
            let mut expected = vec![0.0; 8];
            add_sine_cosine(position[0], position[1], &frequencies(8), &mut expected);
            assert_eq!(found, expected);
        }
    }
}
