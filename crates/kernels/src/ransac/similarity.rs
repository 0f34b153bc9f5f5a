//! The similarity (a rotation, a scale and a shift) under which pairs agree best. It has half the parameters of a homography, so that
//! far fewer pairs agree by chance, and two pairs determine one, so that all of some sixty can be tried, and of more a fixed
//! part: nothing is random. How well pairs agree counts, too (MSAC; Torr and Zisserman 2000), since an error just within the tolerance says little.

use super::homography::{Columns, Correspondence, Fit, LANES};
use crate::Level;
use pulp::{Simd, WithSimd};

/// Pairs that agree at least.
const LEAST: usize = 4;

/// Similarities that are tried, about: every two pairs where there are at most 63.
const TRIED: usize = 2000;

/// Squares of the scales that are tried: others gather whatever lies around one point.
const SQUARED_SCALES: [f32; 2] = [1.0 / 16.0, 16.0];

/// The similarity under which pairs agree best, by the sum over its inliers of 1 - (error / tolerance)²; `None` where fewer than four pairs agree,
/// for points that coincide, and for coordinates that are not finite. The same at every level.
///
/// - `tolerance`: above it the transfer error of a pair is that of an outlier, in the unit of the reference's points.
///
/// ```
/// use r2former_kernels::Level;
/// use r2former_kernels::ransac::{Correspondence, similarity};
///
/// // A grid of points moved by (40, -10) pixels, and one outlier.
/// let mut pairs: Vec<Correspondence> = (0..20)
///     .map(|i| {
///         let [x, y] = [(i % 5 * 100) as f32, (i / 5 * 100) as f32];
///         Correspondence { query: [x, y], reference: [x + 40.0, y - 10.0] }
///     })
///     .collect();
/// pairs.push(Correspondence { query: [50.0, 50.0], reference: [600.0, 400.0] });
/// let fit = similarity(Level::best(), &pairs, 24.0).expect("four pairs and more");
/// assert_eq!(fit.count, 20);
/// assert!((fit.score - 20.0).abs() < 1e-3 && !fit.inliers[20]);
/// ```
pub fn similarity(level: Level, pairs: &[Correspondence], tolerance: f32) -> Option<Fit> {
    if pairs.len() < LEAST || !pairs.iter().all(Correspondence::is_finite) {
        return None;
    }
    let best = level.run(Search { pairs, tolerance })?;
    let errors = pairs.iter().map(|pair| best.squared_error(pair));
    let reach = tolerance * tolerance;
    let inliers: Vec<bool> = errors.clone().map(|error| error <= reach).collect();
    let score = errors.filter(|error| *error <= reach).map(|error| 1.0 - error / reach).sum();
    let Similarity { turn: [a, b], shift: [x, y] } = best;
    let matrix = [a, -b, x, b, a, y, 0.0, 0.0, 1.0].map(f64::from);
    let count = inliers.iter().filter(|inlier| **inlier).count();
    (count >= LEAST).then_some(Fit { matrix, count, inliers, score })
}

/// Maps (x, y) to (a x - b y, b x + a y) and shifts that.
#[derive(Debug, Clone, Copy)]
struct Similarity {
    turn: [f32; 2],
    shift: [f32; 2],
}

impl Similarity {
    fn squared_error(&self, pair: &Correspondence) -> f32 {
        let ([a, b], [x, y], [u, v]) = (self.turn, pair.query, pair.reference);
        let dx = a * x - b * y + self.shift[0] - u;
        let dy = b * x + a * y + self.shift[1] - v;
        dx * dx + dy * dy
    }
}

/// Scores similarities side by side. Its loops are written for the compiler to vectorise under the instructions of a level.
struct Search<'a> {
    pairs: &'a [Correspondence],
    tolerance: f32,
}

impl WithSimd for Search<'_> {
    type Output = Option<Similarity>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        let Self { pairs, tolerance } = self;
        let count = pairs.len();
        // Twice, so that pairs a step apart are read without a look at the end.
        let wrapped = 2 * count + LANES;
        let around: Vec<[f32; 4]> = (0..wrapped).map(|i| pairs[i % count].values()).collect();
        let columns: [Vec<f32>; 4] = std::array::from_fn(|c| around.iter().map(|values| values[c]).collect());
        let lanes = |first: usize| -> Columns {
            std::array::from_fn(|c| std::array::from_fn(|lane| columns[c][first + lane]))
        };
        let mut best: Option<(f32, Similarity)> = None;
        for step in steps(count).take(TRIED.div_ceil(count)) {
            for first in (0..count).step_by(LANES) {
                let [a, b, x, y] = through(&lanes(first), &lanes(first + step));
                let mut scores = [0.0; LANES];
                for [px, py, u, v] in &around[..count] {
                    for i in 0..LANES {
                        let dx = a[i] * px - b[i] * py + x[i] - u;
                        let dy = b[i] * px + a[i] * py + y[i] - v;
                        let left = tolerance * tolerance - (dx * dx + dy * dy);
                        // What is not a number is not above zero.
                        scores[i] += if left > 0.0 { left } else { 0.0 };
                    }
                }
                for i in 0..LANES {
                    if scores[i] > best.map_or(0.0, |(score, _)| score) {
                        best = Some((scores[i], Similarity { turn: [a[i], b[i]], shift: [x[i], y[i]] }));
                    }
                }
            }
        }
        Some(best?.1)
    }
}

/// The similarities that map the query's points of two pairs to the reference's: a, b and the shift. Not a number where there is
/// none, or one of a scale that is not tried.
#[inline(always)]
fn through([x, y, u, v]: &Columns, [other_x, other_y, other_u, other_v]: &Columns) -> Columns {
    let mut found = [[0.0; LANES]; 4];
    let [a, b, shift_x, shift_y] = &mut found;
    for i in 0..LANES {
        let [dx, dy] = [other_x[i] - x[i], other_y[i] - y[i]];
        let [du, dv] = [other_u[i] - u[i], other_v[i] - v[i]];
        let (from, to) = (dx * dx + dy * dy, du * du + dv * dv);
        let tried = (from > 0.0) & (to >= SQUARED_SCALES[0] * from) & (to <= SQUARED_SCALES[1] * from);
        let inverse = if tried { 1.0 / from } else { f32::NAN };
        a[i] = (dx * du + dy * dv) * inverse;
        b[i] = (dx * dv - dy * du) * inverse;
        shift_x[i] = u[i] - a[i] * x[i] + b[i] * y[i];
        shift_y[i] = v[i] - b[i] * x[i] - a[i] * y[i];
    }
    found
}

/// How far apart two pairs are that determine a similarity: from 1 to half of their number, so that every two pairs are reached, in
/// an order of which any beginning is spread out.
fn steps(count: usize) -> impl Iterator<Item = usize> {
    let half = (count / 2).max(1);
    let golden = (half as f64 * 0.618_033_988_75) as usize;
    let stride = (golden.max(1)..).find(|stride| greatest_common_divisor(*stride, half) == 1).unwrap_or(1);
    (1..=half).map(move |i| i * stride % half + 1)
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair(query: [f32; 2], reference: [f32; 2]) -> Correspondence {
        Correspondence { query, reference }
    }

    /// The best score of all similarities through two pairs, in 64 bits.
    fn reference_score(pairs: &[Correspondence], tolerance: f64) -> f64 {
        let point = |p: [f32; 2]| p.map(f64::from);
        let mut best = 0.0f64;
        for (i, one) in pairs.iter().enumerate() {
            for other in &pairs[..i] {
                let ([x, y], [u, v]) = (point(one.query), point(one.reference));
                let ([ox, oy], [ou, ov]) = (point(other.query), point(other.reference));
                let ([dx, dy], [du, dv]) = ([ox - x, oy - y], [ou - u, ov - v]);
                let (from, to) = (dx * dx + dy * dy, du * du + dv * dv);
                if from == 0.0 || !(from / 16.0..=from * 16.0).contains(&to) {
                    continue;
                }
                let (a, b) = ((dx * du + dy * dv) / from, (dx * dv - dy * du) / from);
                let score = pairs.iter().map(|p| {
                    let ([px, py], [pu, pv]) = (point(p.query), point(p.reference));
                    let error = (a * (px - x) - b * (py - y) + u - pu).powi(2)
                        + (b * (px - x) + a * (py - y) + v - pv).powi(2);
                    (1.0 - error / (tolerance * tolerance)).max(0.0)
                });
                best = best.max(score.sum());
            }
        }
        best
    }

    proptest! {
        #[test]
        fn all_levels_find_what_trying_all_finds(
            points in prop::collection::vec(prop::array::uniform4(0.0f32..288.0), 4..60), tolerance in 4.0f32..60.0,
        ) {
            let pairs: Vec<_> = points.iter().map(|p| pair([p[0], p[1]], [p[2], p[3]])).collect();
            let expected = reference_score(&pairs, f64::from(tolerance));
            let found: Vec<_> =
                Level::available().map(|level| similarity(level, &pairs, tolerance)).collect();
            for fit in &found {
                prop_assert_eq!(fit, &found[0]);
            }
            match &found[0] {
                Some(Fit { score, count, .. }) => {
                    let apart = (f64::from(*score) - expected).abs();
                    prop_assert!(*count >= LEAST && apart < 2e-3 * expected.max(1.0), "{} not {}", score, expected);
                }
                None => prop_assert!(expected < LEAST as f64, "{}", expected),
            }
        }

        #[test]
        fn a_planted_similarity_is_found_among_outliers(
            seed in any::<u64>(), angle in -3.0f32..3.0, scale in 0.4f32..2.5,
            shift in prop::array::uniform2(-150.0f32..150.0), inliers in 12usize..150, outliers in 0usize..150,
        ) {
            let (sin, cos) = angle.sin_cos();
            let mut random = fastrand::Rng::with_seed(seed);
            let mut point = || [random.f32() * 288.0, random.f32() * 288.0];
            let mut pairs = Vec::new();
            for _ in 0..inliers {
                let [x, y] = point();
                let to = [scale * (cos * x - sin * y) + shift[0], scale * (sin * x + cos * y) + shift[1]];
                pairs.push(pair([x, y], to));
            }
            pairs.extend((0..outliers).map(|_| pair(point(), point())));
            random.shuffle(&mut pairs);
            let fit = similarity(Level::best(), &pairs, 24.0).unwrap();
            prop_assert_eq!(fit.inliers.iter().filter(|i| **i).count(), fit.count);
            // Of many pairs not all are tried, and points that are close together determine a scale badly.
            prop_assert!(fit.score > 0.8 * inliers as f32, "{} of {}", fit.score, inliers);
        }
    }

    #[test]
    fn every_two_pairs_are_tried_once() {
        for count in 4..130 {
            let mut seen: Vec<usize> = steps(count).collect();
            seen.sort_unstable();
            assert_eq!(seen, (1..=count / 2).collect::<Vec<_>>(), "{count}");
        }
    }

    #[test]
    fn what_determines_no_similarity_has_none() {
        let spread = [[0.0, 0.0], [30.0, 0.0], [0.0, 40.0], [50.0, 60.0], [10.0, 20.0]];
        let all = |pairs: &[Correspondence]| -> Vec<Option<Fit>> {
            Level::available().map(|level| similarity(level, pairs, 18.0)).collect()
        };
        let three: Vec<_> = spread[..3].iter().map(|p| pair(*p, *p)).collect();
        let one_point: Vec<_> = spread.iter().map(|p| pair([7.0, 7.0], *p)).collect();
        let mut broken: Vec<_> = spread.iter().map(|p| pair(*p, *p)).collect();
        broken[2].reference[1] = f32::NAN;
        for pairs in [&three[..], &one_point, &broken, &[]] {
            assert!(all(pairs).iter().all(Option::is_none), "{pairs:?}");
        }
        let same: Vec<_> = spread.iter().map(|p| pair(*p, *p)).collect();
        for fit in all(&same) {
            let fit = fit.unwrap();
            assert_eq!((fit.count, fit.score), (5, 5.0));
        }
    }
}
