//! The best matches of two images' local features, the reranker's input: forward and backward pass.
//!
//! Features are normalised, the best matches of each are found in the other image, and every match becomes a row of
//! channels, query first (paper section 3.3). Only the correlation has a gradient, which goes to the two features of the
//! match: neither pass needs the matrix of all similarities.

use super::rows::axpy;
use crate::correlate::{BestMatches, Correlate};
use crate::element::Element;
use crate::matrix::{Matrix, Packing};
use crate::side::{MIN_LENGTH, Side, add_sine_cosine, frequencies};
use crate::weights::MAX_NEIGHBOURS;
use crate::{KernelError, Level};
use rayon::prelude::*;

/// Channels of a match: x, y and attention of the query's feature, the same of the reference's, and their correlation.
pub const CHANNELS: usize = 7;

/// Sizes of the two sides of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatchShape {
    /// Dimensions of a local feature, without x, y and attention.
    pub feature: usize,
    /// Best matches per feature, 1 to 8 and at most the features of either side.
    pub neighbours: usize,
    /// Local features per query.
    pub query: usize,
    /// Local features per reference.
    pub reference: usize,
}

/// The matches of a batch of pairs.
#[derive(Debug)]
pub struct Matches {
    /// `[pairs, (query + reference) * neighbours, 7]`: first the matches of the query's features, then those of the
    /// reference's, best match first.
    pub channels: Vec<f32>,
    /// Index of the matched feature in the other image, for each row of `channels`.
    pub others: Vec<u32>,
}

impl MatchShape {
    /// Checks that these sizes are supported.
    ///
    /// # Errors
    /// [`KernelError::Unsupported`] for more than 8 neighbours, more neighbours than features of a side, or a zero.
    pub fn check(&self) -> Result<(), KernelError> {
        let k = self.neighbours;
        if self.feature == 0 || k == 0 || k > MAX_NEIGHBOURS || k > self.query.min(self.reference) {
            return Err(KernelError::Unsupported(format!(
                "{k} neighbours of {} and {} local features of {} dimensions",
                self.query, self.reference, self.feature
            )));
        }
        Ok(())
    }

    /// Values per row: x, y, attention, feature.
    fn row(&self) -> usize {
        3 + self.feature
    }

    /// Matches per pair.
    fn matches(&self) -> usize {
        (self.query + self.reference) * self.neighbours
    }

    /// Number of pairs in the rows of both sides.
    fn pairs(&self, query: &[f32], reference: &[f32]) -> Result<usize, KernelError> {
        self.check()?;
        let [of_query, of_reference] = [self.query, self.reference].map(|count| count * self.row());
        let pairs = query.len() / of_query;
        if query.len() != pairs * of_query || reference.len() != pairs * of_reference {
            return Err(KernelError::Input(format!(
                "{} and {} values are not pairs of {} and {} rows of {}",
                query.len(),
                reference.len(),
                self.query,
                self.reference,
                self.row()
            )));
        }
        Ok(pairs)
    }

    /// Query and reference index of match `at`, given the index of the other image's feature.
    fn ends(&self, at: usize, other: u32) -> [usize; 2] {
        let (own, other) = (at / self.neighbours, other as usize);
        if own < self.query { [own, other] } else { [other, own - self.query] }
    }
}

/// The forward pass: finds and describes the matches of a batch of pairs.
///
/// # Shapes
/// - query: `[pairs, query, 3 + feature]`, rows of x, y, attention, feature
/// - reference: `[pairs, reference, 3 + feature]`
///
/// # Errors
/// [`KernelError::Unsupported`] as [`MatchShape::check`], [`KernelError::Input`] for rows that do not fit the sizes.
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
                let packing = Packing::new(level, Element::F32);
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
                for (at, ((other, similarity), (row, match_index))) in found.zip(rows).enumerate() {
                    let [q, r] = shape.ends(at, *other);
                    row[..3].copy_from_slice(&of_query.places[q]);
                    row[3..6].copy_from_slice(&of_reference.places[r]);
                    row[6] = *similarity;
                    *match_index = *other;
                }
                Ok(())
            },
        )?;
    Ok(Matches { channels, others })
}

/// The backward pass: the gradients of both sides' rows. Those of x, y and attention are zero.
///
/// # Shapes
/// - others: [`Matches::others`] of the forward pass
/// - gradient: of [`Matches::channels`]
///
/// # Errors
/// [`KernelError::Unsupported`] or [`KernelError::Input`] for other sizes than in the forward pass.
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
        return Err(KernelError::Input(format!("{found} values are not a gradient of these matches")));
    }
    let mut gradients = [vec![0.0; query.len()], vec![0.0; reference.len()]];
    let [d_query, d_reference] = &mut gradients;
    query
        .par_chunks_exact(shape.query * row)
        .zip(reference.par_chunks_exact(shape.reference * row))
        .zip(d_query.par_chunks_exact_mut(shape.query * row))
        .zip(d_reference.par_chunks_exact_mut(shape.reference * row))
        .zip(others.par_chunks_exact(count))
        .zip(gradient.par_chunks_exact(count * CHANNELS))
        .try_for_each_init(
            || [Side::default(), Side::default()],
            |[of_query, of_reference], (((((query, reference), d_query), d_reference), others), gradient)| {
                of_query.read_floats(shape.feature, shape.neighbours, query)?;
                of_reference.read_floats(shape.feature, shape.neighbours, reference)?;
                let d_matches = gradient.as_chunks::<CHANNELS>().0;
                for (at, (other, d_channels)) in others.iter().zip(d_matches).enumerate() {
                    let [q, r] = shape.ends(at, *other);
                    axpy(
                        &mut d_query[q * row + 3..][..shape.feature],
                        d_channels[6],
                        of_reference.feature(r),
                    );
                    axpy(
                        &mut d_reference[r * row + 3..][..shape.feature],
                        d_channels[6],
                        of_query.feature(q),
                    );
                }
                for (side, rows, d_rows) in
                    [(of_query, query, d_query), (of_reference, reference, d_reference)]
                {
                    let rows = rows.chunks_exact(row).zip(d_rows.chunks_exact_mut(row));
                    for (i, (row, d_row)) in rows.enumerate() {
                        normalise_backward(&row[3..], side.feature(i), &mut d_row[3..]);
                    }
                }
                Ok(())
            },
        )?;
    Ok(gradients)
}

/// Backward pass of normalisation to unit length: replaces the gradient of `unit` by that of `x`.
fn normalise_backward(x: &[f32], unit: &[f32], gradient: &mut [f32]) {
    let length = x.iter().map(|v| v * v).sum::<f32>().sqrt();
    let scale = 1.0 / length.max(MIN_LENGTH);
    // A length that was clamped does not depend on the vector.
    let along = match length > MIN_LENGTH {
        true => unit.iter().zip(&*gradient).map(|(u, g)| u * g).sum::<f32>(),
        false => 0.0,
    };
    for (g, u) in gradient.iter_mut().zip(unit) {
        *g = scale * (*g - along * u);
    }
}

/// Positions per task, among which repeated ones are embedded once.
const CHUNK: usize = 1 << 10;

/// The sine-cosine embedding of positions (u, v), computed on all threads of the current rayon pool: for each coordinate
/// `dim / 4` sines, then `dim / 4` cosines, of frequencies 10000^(-j / (dim / 4)).
///
/// # Shapes
/// - output: `[positions, dim]`
pub fn sine_cosine(positions: &[[f32; 2]], dim: usize) -> Vec<f32> {
    let frequencies = frequencies(dim);
    let mut out = vec![0.0; positions.len() * dim];
    out.par_chunks_mut(CHUNK * dim).zip(positions.par_chunks(CHUNK)).for_each(|(out, positions)| {
        // Patches lie on a grid, so positions repeat.
        let mut known = std::collections::HashMap::with_capacity(CHUNK);
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

    /// Checks that the features `chosen` among all that have these cosines are the best, best first. Those whose cosines are
    /// equal in 32 bits may stand in any order.
    fn check_best(cosines: &[f64], chosen: &[u32]) {
        let value = |i: &u32| cosines[*i as usize];
        assert!(
            chosen.windows(2).all(|pair| value(&pair[0]) > value(&pair[1]) - 1e-6),
            "{chosen:?} of {cosines:?}"
        );
        let last = chosen.last().map_or(f64::INFINITY, value);
        for (i, cosine) in (0..).zip(cosines) {
            let count = chosen.iter().filter(|c| **c == i).count();
            assert!(count == 1 || (count == 0 && *cosine < last + 1e-6), "{i} in {chosen:?} of {cosines:?}");
        }
    }

    /// In plain f64: channels, and the gradients of a weighted sum of the correlations. `others` are the matches that were
    /// found, of which it checks that they are the best.
    fn plain(
        shape: MatchShape,
        query: &[f32],
        reference: &[f32],
        weights: &[f32],
        others: &[u32],
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
        let mut gradients = [vec![0.0; query.len()], vec![0.0; reference.len()]];
        let mut add_match = |i: usize, j: usize, weight: f64| {
            let s = cosine(&q[i], &r[j]);
            for v in q[i][..3].iter().chain(&r[j][..3]) {
                channels.push(v.clamp(0.0, 1.0));
            }
            channels.push(s);
            let (lq, lr) = (length(&q[i][3..]), length(&r[j][3..]));
            for d in 3..row {
                let (u, v) = (q[i][d] / lq, r[j][d] / lr);
                gradients[0][i * row + d] += weight * (v - s * u) / lq;
                gradients[1][j * row + d] += weight * (u - s * v) / lr;
            }
        };
        let mut at = 0;
        let mut next = || {
            at += 1;
            f64::from(weights[(at - 1) * CHANNELS + 6])
        };
        let (of_queries, of_references) = others.split_at(q.len() * shape.neighbours);
        for (i, chosen) in of_queries.chunks(shape.neighbours).enumerate() {
            check_best(&r.iter().map(|r| cosine(&q[i], r)).collect::<Vec<_>>(), chosen);
            chosen.iter().for_each(|j| add_match(i, *j as usize, next()));
        }
        for (j, chosen) in of_references.chunks(shape.neighbours).enumerate() {
            check_best(&q.iter().map(|q| cosine(q, &r[j])).collect::<Vec<_>>(), chosen);
            chosen.iter().for_each(|i| add_match(*i as usize, j, next()));
        }
        (channels, gradients)
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
                let gradients = match_features_backward(shape, &found.others, &q, &r, &weights).unwrap();
                for pair in 0..pairs {
                    let part = |rows: &[f32], count: usize| {
                        let size = count * (3 + feature);
                        rows[pair * size..][..size].to_vec()
                    };
                    let weights = &weights[pair * each..][..each];
                    let others = &found.others[pair * shape.matches()..][..shape.matches()];
                    let (channels, d_matches) =
                        plain(shape, &part(&q, query), &part(&r, reference), weights, others);
                    for (f, e) in found.channels[pair * each..].iter().zip(&channels) {
                        prop_assert!((f64::from(*f) - e).abs() < 1e-5, "{level}: {f}, not {e}");
                    }
                    let sides = [part(&gradients[0], query), part(&gradients[1], reference)];
                    for (f, e) in sides.iter().flatten().zip(d_matches.iter().flatten()) {
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
        let gradients = match_features_backward(shape, &found.others, &q, &r, &[1.0; 14]).unwrap();
        assert!(gradients.iter().flatten().all(|v| v.is_finite()));
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
