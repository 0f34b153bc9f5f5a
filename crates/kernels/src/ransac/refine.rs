//! Refinement of a homography over all inliers: least squares of the transfer errors in the reference, by
//! Levenberg-Marquardt from the best sample's homography.

use super::Correspondence;

/// Iterations at most, as in OpenCV.
const STEPS: usize = 10;
/// Degrees of freedom of a homography.
const FREE: usize = 8;

/// A homography with a smaller error than `matrix`, or `matrix` if none is found.
pub(super) fn refine(matrix: [f64; 9], pairs: &[Correspondence]) -> [f64; 9] {
    if matrix[FREE].abs() < 1e-9 {
        return matrix;
    }
    let mut best: [f64; 9] = matrix.map(|v| v / matrix[FREE]);
    let Some(mut cost) = squared_error(&best, pairs) else { return matrix };
    let mut damping = 1e-3;
    for _ in 0..STEPS {
        let (mut normal, gradient) = normal_equations(&best, pairs);
        for i in 0..FREE {
            normal[i][i] *= 1.0 + damping;
        }
        let Some(step) = solve(normal, gradient) else { break };
        let mut next = best;
        for (value, change) in next.iter_mut().zip(step) {
            *value -= change;
        }
        match squared_error(&next, pairs) {
            Some(less) if less < cost => {
                let converged = cost - less < 1e-9 * cost;
                (best, cost, damping) = (next, less, damping / 10.0);
                if converged {
                    break;
                }
            }
            _ => damping *= 10.0,
        }
    }
    best
}

/// The image of a point, and its homogeneous coordinate.
fn project(h: &[f64; 9], [x, y]: [f32; 2]) -> ([f64; 2], f64) {
    let (x, y) = (f64::from(x), f64::from(y));
    let w = h[6] * x + h[7] * y + h[8];
    ([(h[0] * x + h[1] * y + h[2]) / w, (h[3] * x + h[4] * y + h[5]) / w], w)
}

/// Sum of squared transfer errors; `None` if a point is mapped to infinity.
fn squared_error(h: &[f64; 9], pairs: &[Correspondence]) -> Option<f64> {
    let sum: f64 = pairs
        .iter()
        .map(|pair| {
            let ([u, v], _) = project(h, pair.query);
            (u - f64::from(pair.reference[0])).powi(2) + (v - f64::from(pair.reference[1])).powi(2)
        })
        .sum();
    sum.is_finite().then_some(sum)
}

/// J^T J and J^T r of the transfer errors r, with the matrix's last element fixed at 1.
fn normal_equations(h: &[f64; 9], pairs: &[Correspondence]) -> ([[f64; FREE]; FREE], [f64; FREE]) {
    let (mut normal, mut gradient) = ([[0.0; FREE]; FREE], [0.0; FREE]);
    for pair in pairs {
        let [x, y] = pair.query.map(f64::from);
        let ([u, v], w) = project(h, pair.query);
        let (a, b, c) = (x / w, y / w, 1.0 / w);
        let rows = [
            ([a, b, c, 0.0, 0.0, 0.0, -a * u, -b * u], u - f64::from(pair.reference[0])),
            ([0.0, 0.0, 0.0, a, b, c, -a * v, -b * v], v - f64::from(pair.reference[1])),
        ];
        for (jacobian, residual) in rows {
            for i in 0..FREE {
                gradient[i] += jacobian[i] * residual;
                for j in 0..FREE {
                    normal[i][j] += jacobian[i] * jacobian[j];
                }
            }
        }
    }
    (normal, gradient)
}

/// Gaussian elimination with partial pivoting; `None` for a singular system.
fn solve(mut a: [[f64; FREE]; FREE], mut b: [f64; FREE]) -> Option<[f64; FREE]> {
    for column in 0..FREE {
        let pivot = (column..FREE).max_by(|i, j| a[*i][column].abs().total_cmp(&a[*j][column].abs()))?;
        a.swap(column, pivot);
        b.swap(column, pivot);
        let (head, value) = (a[column], b[column]);
        if head[column].abs() <= f64::MIN_POSITIVE || !head[column].is_finite() {
            return None;
        }
        for row in column + 1..FREE {
            let factor = a[row][column] / head[column];
            for k in column..FREE {
                a[row][k] -= factor * head[k];
            }
            b[row] -= factor * value;
        }
    }
    for column in (0..FREE).rev() {
        let known: f64 = (column + 1..FREE).map(|k| a[column][k] * b[k]).sum();
        b[column] = (b[column] - known) / a[column][column];
    }
    b.iter().all(|v| v.is_finite()).then_some(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_systems_are_solved() {
        let mut a = [[0.0; FREE]; FREE];
        let expected: [f64; FREE] = std::array::from_fn(|i| i as f64 - 3.0);
        let mut random = fastrand::Rng::with_seed(3);
        for row in &mut a {
            row.fill_with(|| random.f64() - 0.5);
        }
        let b = a.map(|row| row.iter().zip(expected).map(|(a, x)| a * x).sum());
        let found = solve(a, b).unwrap();
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-9);
        }
        assert_eq!(solve([[0.0; FREE]; FREE], [1.0; FREE]), None);
    }

    #[test]
    fn refinement_converges_to_the_true_homography() {
        let truth = [1.1, 0.1, 20.0, -0.05, 0.9, 5.0, 1e-4, -2e-4, 1.0];
        let mut random = fastrand::Rng::with_seed(4);
        let pairs: Vec<Correspondence> = (0..30)
            .map(|_| {
                let query = [random.f32() * 640.0, random.f32() * 480.0];
                let ([u, v], _) = project(&truth, query);
                Correspondence { query, reference: [u as f32, v as f32] }
            })
            .collect();
        let mut rough = truth;
        (rough[0], rough[2], rough[6]) = (1.13, 26.0, 1.3e-4);
        let found = refine(rough, &pairs);
        assert!(squared_error(&found, &pairs).unwrap() < 1e-3, "{found:?}");
    }
}
