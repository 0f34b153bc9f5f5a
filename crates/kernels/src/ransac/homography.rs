//! The homography that most correspondences agree on, by random sampling (Fischler and Bolles 1981), with the
//! rules of the field's usual tool, OpenCV's `findHomography(..., RANSAC, tolerance)`: four pairs a sample, samples
//! that turn inside out or lie on a line drawn again, an inlier where the query's point lands within the tolerance
//! of the reference's, an end once a better sample has become improbable, and a refinement over all inliers.

use super::refine::refine;

/// A point of the query and the one of the reference that it may show.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Correspondence {
    /// x and y in the query, in any unit.
    pub query: [f32; 2],
    /// x and y in the reference, in the unit of the tolerance.
    pub reference: [f32; 2],
}

/// When to stop, and what counts as agreement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RansacOptions {
    /// A pair agrees within this distance, inclusive, in the unit of the points.
    pub tolerance: f32,
    /// Samples drawn at most.
    pub samples: usize,
    /// Probability, below 1, with which a sample of four inliers shall have been among those drawn.
    pub confidence: f64,
    /// Where the random numbers begin: equal seeds give equal answers.
    pub seed: u64,
}

impl RansacOptions {
    /// What OpenCV does by default: at most 2000 samples, confidence 0.995.
    pub fn within(tolerance: f32) -> Self {
        Self { tolerance, samples: 2000, confidence: 0.995, seed: 0 }
    }
}

/// The best homography that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct HomographyFit {
    /// Rows of the 3 x 3 matrix that takes (x, y, 1) of the query to the reference, up to scale: the winning
    /// sample's, refined by least squares over its inliers.
    pub matrix: [f64; 9],
    /// Whether each correspondence agrees with the refined matrix.
    pub inliers: Vec<bool>,
    /// How many do.
    pub count: usize,
}

/// Pairs of a sample.
const SAMPLE: usize = 4;
/// Draws of one sample before it is given up: points on one line have none that will do.
const DRAWS: usize = 1000;

/// The homography with the most inliers, or none: fewer than four pairs, points all on a line, points that are not
/// finite.
pub fn ransac(pairs: &[Correspondence], options: &RansacOptions) -> Option<HomographyFit> {
    let finite = |p: &Correspondence| p.query.iter().chain(&p.reference).all(|v| v.is_finite());
    if pairs.len() < SAMPLE || !pairs.iter().all(finite) {
        return None;
    }
    let mut random = fastrand::Rng::with_seed(options.seed);
    let mut best: Option<([f64; 9], usize)> = None;
    let (mut drawn, mut wanted) = (0, options.samples);
    while drawn < wanted {
        drawn += 1;
        let Some(sample) = draw(pairs, &mut random) else { break };
        let Some(matrix) = through(&sample) else { continue };
        let count = count_inliers(pairs, &matrix, options.tolerance);
        if count > best.map_or(SAMPLE - 1, |(_, count)| count) {
            best = Some((matrix, count));
            wanted = samples_needed(count as f64 / pairs.len() as f64, options);
        }
    }
    let (matrix, _) = best?;
    let agreeing = |matrix: &[f64; 9]| -> Vec<bool> {
        let matrix = narrow(matrix);
        pairs.iter().map(|pair| agrees(pair, &matrix, options.tolerance)).collect()
    };
    let sampled = agreeing(&matrix);
    let members: Vec<Correspondence> =
        pairs.iter().zip(&sampled).filter_map(|(pair, agrees)| agrees.then_some(*pair)).collect();
    let matrix = refine(matrix, &members);
    let inliers = agreeing(&matrix);
    Some(HomographyFit { matrix, count: inliers.iter().filter(|agrees| **agrees).count(), inliers })
}

/// Samples after which one of inliers alone was among them with the wanted probability.
fn samples_needed(inlier_share: f64, options: &RansacOptions) -> usize {
    let all_inliers = inlier_share.powi(SAMPLE as i32);
    let needed = (1.0 - options.confidence).ln() / (1.0 - all_inliers).ln();
    // All pairs agree: the logarithm is infinite and the need zero. No share: the need is infinite.
    if needed.is_finite() { (needed.round() as usize).min(options.samples) } else { options.samples }
}

/// Four pairs from which a homography can be made.
fn draw(pairs: &[Correspondence], random: &mut fastrand::Rng) -> Option<[Correspondence; SAMPLE]> {
    for _ in 0..DRAWS {
        let mut numbers = [0; SAMPLE];
        for i in 0..SAMPLE {
            numbers[i] = loop {
                let number = random.usize(..pairs.len());
                if !numbers[..i].contains(&number) {
                    break number;
                }
            };
        }
        let sample = numbers.map(|n| pairs[n]);
        if usable(&sample) {
            return Some(sample);
        }
        if pairs.len() == SAMPLE {
            return None;
        }
    }
    None
}

/// No three points on a line, and each triangle turned the same way in both images, or each the other way:
/// whatever a camera sees of a plane in front of it keeps that.
fn usable(sample: &[Correspondence; SAMPLE]) -> bool {
    let turn = |points: [[f32; 2]; 3]| -> f64 {
        let [a, b, c] = points.map(|p| p.map(f64::from));
        (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    };
    let mut turned = 0;
    for without in 0..SAMPLE {
        let rest = |i: usize| if i < without { sample[i] } else { sample[i + 1] };
        let query = turn([0, 1, 2].map(|i| rest(i).query));
        let reference = turn([0, 1, 2].map(|i| rest(i).reference));
        if query.abs() <= f64::from(f32::EPSILON) || reference.abs() <= f64::from(f32::EPSILON) {
            return false;
        }
        turned += usize::from(query * reference < 0.0);
    }
    turned == 0 || turned == SAMPLE
}

/// The homography through four pairs: from the query's points to the projective basis, and from there to the
/// reference's.
fn through(sample: &[Correspondence; SAMPLE]) -> Option<[f64; 9]> {
    let to_query = from_basis(sample.map(|p| p.query))?;
    let to_reference = from_basis(sample.map(|p| p.reference))?;
    let matrix = product(&to_reference, &adjugate(&to_query));
    let largest = matrix.iter().fold(0.0f64, |most, v| most.max(v.abs()));
    (largest.is_finite() && largest > 0.0).then(|| matrix.map(|v| v / largest))
}

/// The matrix that takes (1,0,0), (0,1,0), (0,0,1) and (1,1,1) to four points.
fn from_basis(points: [[f32; 2]; SAMPLE]) -> Option<[f64; 9]> {
    let [a, b, c, d] = points.map(|p| p.map(f64::from));
    let columns = [a[0], b[0], c[0], a[1], b[1], c[1], 1.0, 1.0, 1.0];
    let inverse = adjugate(&columns);
    let weights = [0, 3, 6].map(|i| inverse[i] * d[0] + inverse[i + 1] * d[1] + inverse[i + 2]);
    let scaled = std::array::from_fn(|i| columns[i] * weights[i % 3]);
    weights.iter().all(|w| *w != 0.0).then_some(scaled)
}

/// The inverse times the determinant: scale means nothing here.
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

fn product(a: &[f64; 9], b: &[f64; 9]) -> [f64; 9] {
    std::array::from_fn(|i| (0..3).map(|k| a[i / 3 * 3 + k] * b[k * 3 + i % 3]).sum())
}

fn narrow(matrix: &[f64; 9]) -> [f32; 9] {
    matrix.map(|v| v as f32)
}

fn count_inliers(pairs: &[Correspondence], matrix: &[f64; 9], tolerance: f32) -> usize {
    let matrix = narrow(matrix);
    pairs.iter().filter(|pair| agrees(pair, &matrix, tolerance)).count()
}

/// The distance times the homogeneous coordinate, so that nothing is divided.
#[inline(always)]
fn agrees(pair: &Correspondence, h: &[f32; 9], tolerance: f32) -> bool {
    let [x, y] = pair.query;
    let [u, v] = pair.reference;
    let w = h[6] * x + h[7] * y + h[8];
    let dx = h[0] * x + h[1] * y + h[2] - u * w;
    let dy = h[3] * x + h[4] * y + h[5] - v * w;
    let reach = tolerance * w;
    w != 0.0 && dx * dx + dy * dy <= reach * reach
}

#[cfg(test)]
#[path = "homography_tests.rs"]
mod tests;
