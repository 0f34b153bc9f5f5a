//! The homography with the most inliers, by RANSAC (Fischler and Bolles 1981) with the rules of OpenCV's
//! `findHomography(..., RANSAC, tolerance)`: samples of four pairs, drawn again if three points are collinear or the
//! orientation is inconsistent; an inlier is a pair with a transfer error within the tolerance; sampling stops once a
//! better sample is improbable; the result is refined over all inliers.

use super::refine::refine;
use crate::Level;
use pulp::{Simd, WithSimd};

/// A point of the query and a point of the reference that may show the same thing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Correspondence {
    /// x and y in the query, in any unit.
    pub query: [f32; 2],
    /// x and y in the reference, in the unit of [`RansacOptions::tolerance`].
    pub reference: [f32; 2],
}

impl Correspondence {
    pub(super) fn is_finite(&self) -> bool {
        self.values().iter().all(|v| v.is_finite())
    }

    /// x and y in the query, then in the reference.
    pub(super) fn values(&self) -> [f32; 4] {
        let ([x, y], [u, v]) = (self.query, self.reference);
        [x, y, u, v]
    }
}

/// When to stop, and which pairs are inliers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RansacOptions {
    /// Largest transfer error of an inlier, inclusive, in the unit of the reference's points.
    pub tolerance: f32,
    /// Largest number of samples.
    pub samples: usize,
    /// Probability, below 1, that a sample of inliers alone was drawn, at which sampling stops.
    pub confidence: f64,
    /// Seed of the samples: equal seeds give equal results.
    pub seed: u64,
}

impl RansacOptions {
    /// OpenCV's defaults: at most 2000 samples, confidence 0.995, seed 0.
    pub fn within(tolerance: f32) -> Self {
        Self { tolerance, samples: 2000, confidence: 0.995, seed: 0 }
    }
}

/// The transformation under which pairs agree best.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// The 3 x 3 matrix, row-major and up to scale, that maps (x, y, 1) of the query to the reference.
    pub matrix: [f64; 9],
    /// Whether each correspondence is an inlier of the matrix.
    pub inliers: Vec<bool>,
    /// Number of inliers.
    pub count: usize,
    /// How well pairs agree: of a homography the number of inliers; of a similarity each counts less, the larger its error.
    pub score: f32,
}

/// Pairs per sample.
const SAMPLE: usize = 4;
/// Attempts to draw a usable sample: collinear points have none.
const DRAWS: usize = 1000;

/// The homography with the most inliers; `None` for fewer than four pairs, collinear points or non-finite coordinates. The
/// same at every level. Its matrix is the best sample's, refined by least squares over its inliers.
pub fn ransac(level: Level, pairs: &[Correspondence], options: &RansacOptions) -> Option<Fit> {
    if pairs.len() < SAMPLE || !pairs.iter().all(Correspondence::is_finite) {
        return None;
    }
    let matrix = level.run(Search { pairs, columns: &columns(pairs), options })?;
    let inliers_of = |matrix: &[f64; 9]| -> Vec<bool> {
        let matrix = narrow(matrix);
        let inlier =
            |pair: &Correspondence| is_inlier(pair.query, pair.reference, &matrix, options.tolerance);
        pairs.iter().map(inlier).collect()
    };
    let sampled = inliers_of(&matrix);
    let members: Vec<Correspondence> =
        pairs.iter().zip(&sampled).filter_map(|(pair, inlier)| inlier.then_some(*pair)).collect();
    let matrix = refine(matrix, &members);
    let inliers = inliers_of(&matrix);
    let count = inliers.iter().filter(|inlier| **inlier).count();
    Some(Fit { matrix, count, inliers, score: count as f32 })
}

/// Pairs side by side: enough for the widest vectors.
pub(super) const LANES: usize = 16;

/// x, y, u and v of [`LANES`] pairs. The last ones are filled up with what is no inlier of any matrix.
pub(super) type Columns = [[f32; LANES]; 4];

fn columns(pairs: &[Correspondence]) -> Vec<Columns> {
    let side_by_side = |pairs: &[Correspondence]| {
        let mut columns = [[f32::NAN; LANES]; 4];
        for (i, pair) in pairs.iter().enumerate() {
            for (column, value) in columns.iter_mut().zip(pair.values()) {
                column[i] = value;
            }
        }
        columns
    };
    pairs.chunks(LANES).map(side_by_side).collect()
}

/// Draws samples, and returns the matrix of the one with the most inliers. Its loops are written for the compiler to vectorise
/// under the instructions of a level.
struct Search<'a> {
    pairs: &'a [Correspondence],
    /// The same.
    columns: &'a [Columns],
    options: &'a RansacOptions,
}

impl WithSimd for Search<'_> {
    type Output = Option<[f64; 9]>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        let Self { pairs, columns, options } = self;
        let mut random = fastrand::Rng::with_seed(options.seed);
        let mut best: Option<([f64; 9], usize)> = None;
        let (mut drawn, mut needed) = (0, options.samples);
        while drawn < needed {
            drawn += 1;
            let Some(sample) = draw(pairs, &mut random) else { break };
            let Some(matrix) = homography(&sample) else { continue };
            let count = count_inliers(columns, &matrix, options.tolerance);
            if count > best.map_or(SAMPLE - 1, |(_, count)| count) {
                best = Some((matrix, count));
                needed = samples_needed(count as f64 / pairs.len() as f64, options);
            }
        }
        Some(best?.0)
    }
}

/// Samples after which one of inliers alone has been drawn with the given confidence.
fn samples_needed(inlier_ratio: f64, options: &RansacOptions) -> usize {
    let all_inliers = inlier_ratio.powi(SAMPLE as i32);
    let needed = (1.0 - options.confidence).ln() / (1.0 - all_inliers).ln();
    // With inliers alone the logarithm is infinite and the number zero; with none it is infinite.
    if needed.is_finite() { (needed.round() as usize).min(options.samples) } else { options.samples }
}

/// Draws four pairs that determine a homography.
#[inline(always)]
fn draw(pairs: &[Correspondence], random: &mut fastrand::Rng) -> Option<[Correspondence; SAMPLE]> {
    for _ in 0..DRAWS {
        let mut indices = [0; SAMPLE];
        for i in 0..SAMPLE {
            indices[i] = loop {
                let index = random.usize(..pairs.len());
                if !indices[..i].contains(&index) {
                    break index;
                }
            };
        }
        let sample = indices.map(|n| pairs[n]);
        if usable(&sample) {
            return Some(sample);
        }
        if pairs.len() == SAMPLE {
            return None;
        }
    }
    None
}

/// Whether no three points are collinear, and the triangles keep their orientation between the images, or all change
/// it: a camera that sees a plane from one side preserves that.
#[inline(always)]
fn usable(sample: &[Correspondence; SAMPLE]) -> bool {
    let orientation = |points: [[f32; 2]; 3]| -> f64 {
        let [a, b, c] = points.map(|p| p.map(f64::from));
        (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    };
    let mut flipped = 0;
    for without in 0..SAMPLE {
        let rest = |i: usize| if i < without { sample[i] } else { sample[i + 1] };
        let query = orientation([0, 1, 2].map(|i| rest(i).query));
        let reference = orientation([0, 1, 2].map(|i| rest(i).reference));
        if query.abs() <= f64::from(f32::EPSILON) || reference.abs() <= f64::from(f32::EPSILON) {
            return false;
        }
        flipped += usize::from(query * reference < 0.0);
        // Most samples of wrong pairs end here.
        if flipped != 0 && flipped != without + 1 {
            return false;
        }
    }
    true
}

/// The homography of four pairs: from the query's points to the projective basis, and from there to the reference's.
#[inline(always)]
fn homography(sample: &[Correspondence; SAMPLE]) -> Option<[f64; 9]> {
    let to_query = from_basis(sample.map(|p| p.query))?;
    let to_reference = from_basis(sample.map(|p| p.reference))?;
    let matrix = product(&to_reference, &adjugate(&to_query));
    let largest = matrix.iter().fold(0.0f64, |most, v| most.max(v.abs()));
    (largest.is_finite() && largest > 0.0).then(|| matrix.map(|v| v / largest))
}

/// The matrix that maps (1,0,0), (0,1,0), (0,0,1) and (1,1,1) to four points.
#[inline(always)]
fn from_basis(points: [[f32; 2]; SAMPLE]) -> Option<[f64; 9]> {
    let [a, b, c, d] = points.map(|p| p.map(f64::from));
    let columns = [a[0], b[0], c[0], a[1], b[1], c[1], 1.0, 1.0, 1.0];
    let inverse = adjugate(&columns);
    let weights = [0, 3, 6].map(|i| inverse[i] * d[0] + inverse[i + 1] * d[1] + inverse[i + 2]);
    let scaled = std::array::from_fn(|i| columns[i] * weights[i % 3]);
    weights.iter().all(|w| *w != 0.0).then_some(scaled)
}

/// The inverse times the determinant; scale is irrelevant here.
#[inline(always)]
fn adjugate(m: &[f64; 9]) -> [f64; 9] {
    let minor = |a: usize, b: usize, c: usize, d: usize| m[a] * m[d] - m[b] * m[c];
    [
        minor(4, 5, 7, 8),
        -minor(1, 2, 7, 8),
        minor(1, 2, 4, 5),
        -minor(3, 5, 6, 8),
        minor(0, 2, 6, 8),
        -minor(0, 2, 3, 5),
        minor(3, 4, 6, 7),
        -minor(0, 1, 6, 7),
        minor(0, 1, 3, 4),
    ]
}

#[inline(always)]
fn product(a: &[f64; 9], b: &[f64; 9]) -> [f64; 9] {
    std::array::from_fn(|i| (0..3).map(|k| a[i / 3 * 3 + k] * b[k * 3 + i % 3]).sum())
}

#[inline(always)]
fn narrow(matrix: &[f64; 9]) -> [f32; 9] {
    matrix.map(|v| v as f32)
}

#[inline(always)]
fn count_inliers(columns: &[Columns], matrix: &[f64; 9], tolerance: f32) -> usize {
    let matrix = narrow(matrix);
    let mut counts = [0u32; LANES];
    for [x, y, u, v] in columns {
        for i in 0..LANES {
            counts[i] += u32::from(is_inlier([x[i], y[i]], [u[i], v[i]], &matrix, tolerance));
        }
    }
    counts.iter().sum::<u32>() as usize
}

/// Compares the transfer error without a division, multiplied by the homogeneous coordinate; without branches.
#[inline(always)]
fn is_inlier([x, y]: [f32; 2], [u, v]: [f32; 2], h: &[f32; 9], tolerance: f32) -> bool {
    let w = h[6] * x + h[7] * y + h[8];
    let dx = h[0] * x + h[1] * y + h[2] - u * w;
    let dy = h[3] * x + h[4] * y + h[5] - v * w;
    let reach = tolerance * w;
    (w != 0.0) & (dx * dx + dy * dy <= reach * reach)
}

#[cfg(test)]
#[path = "homography_tests.rs"]
mod tests;
