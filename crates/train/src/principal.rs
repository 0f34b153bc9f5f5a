//! Principal directions of rows.

use crate::random::Rng;
use rand::Rng as _;
use rayon::prelude::*;

/// Directions beyond those asked for that the iteration carries, so that the last of them converge, too.
const SPARE: usize = 32;
/// Steps of the iteration.
const STEPS: usize = 30;

/// The mean of rows and their first principal directions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Principal {
    pub(crate) mean: Vec<f32>,
    /// Variances along the directions, the largest first.
    pub(crate) variances: Vec<f64>,
    /// Directions of unit length, one after the other.
    pub(crate) directions: Vec<f32>,
}

/// The first `count` principal directions of rows of `width` values, fewer where there are fewer rows, by subspace iteration:
/// the rows may be so wide that their covariance would be too large.
pub(crate) fn principal(rows: &[f32], width: usize, count: usize, rng: &mut Rng) -> Principal {
    let number = (rows.len() / width).max(1);
    let kept = count.min(width).min(number);
    let carried = (kept + SPARE).min(width);
    let mut mean = vec![0.0f64; width];
    for row in rows.chunks_exact(width) {
        mean.iter_mut().zip(row).for_each(|(sum, v)| *sum += f64::from(*v) / number as f64);
    }
    let mean: Vec<f32> = mean.into_iter().map(|v| v as f32).collect();
    let centred: Vec<f32> =
        rows.chunks_exact(width).flat_map(|row| row.iter().zip(&mean).map(|(v, m)| v - m)).collect();
    // Columns of the basis lie side by side: [width, carried].
    let mut basis: Vec<f32> = (0..width * carried).map(|_| rng.random_range(-1.0..1.0)).collect();
    orthonormalise(&mut basis, width, carried);
    for _ in 0..STEPS {
        let along = onto(&centred, width, &basis, carried);
        basis = back(&centred, width, &along, carried);
        orthonormalise(&mut basis, width, carried);
    }
    let along = onto(&centred, width, &basis, carried);
    let mut inner = vec![0.0f64; carried * carried];
    for row in along.chunks_exact(carried) {
        for (line, own) in inner.chunks_exact_mut(carried).zip(row) {
            let own = f64::from(*own) / number as f64;
            line.iter_mut().zip(row).for_each(|(sum, other)| *sum += own * f64::from(*other));
        }
    }
    let (mut variances, vectors) = eigen(inner, carried);
    variances.truncate(kept);
    let turn = |vector: &[f64]| -> Vec<f32> {
        let of = |line: &[f32]| line.iter().zip(vector).map(|(b, v)| f64::from(*b) * v).sum::<f64>() as f32;
        basis.chunks_exact(carried).map(of).collect()
    };
    let directions = vectors.chunks_exact(carried).take(kept).flat_map(turn).collect();
    Principal { mean, variances, directions }
}

/// Rows times a basis: `[rows, carried]`.
fn onto(rows: &[f32], width: usize, basis: &[f32], carried: usize) -> Vec<f32> {
    let mut out = vec![0.0f32; rows.len() / width * carried];
    out.par_chunks_exact_mut(carried).zip(rows.par_chunks_exact(width)).for_each(|(out, row)| {
        for (v, line) in row.iter().zip(basis.chunks_exact(carried)) {
            out.iter_mut().zip(line).for_each(|(sum, b)| *sum += v * b);
        }
    });
    out
}

/// Transposed rows times what they are along a basis: `[width, carried]`.
fn back(rows: &[f32], width: usize, along: &[f32], carried: usize) -> Vec<f32> {
    let mut out = vec![0.0f32; width * carried];
    out.par_chunks_exact_mut(carried).enumerate().for_each(|(d, out)| {
        for (row, along) in rows.chunks_exact(width).zip(along.chunks_exact(carried)) {
            out.iter_mut().zip(along).for_each(|(sum, a)| *sum += row[d] * a);
        }
    });
    out
}

/// Makes columns orthogonal and of unit length, one after the other, twice, since once leaves what rounding left.
fn orthonormalise(basis: &mut [f32], width: usize, columns: usize) {
    let mut turned: Vec<Vec<f64>> =
        (0..columns).map(|c| (0..width).map(|d| f64::from(basis[d * columns + c])).collect()).collect();
    for c in 0..columns {
        let (before, rest) = turned.split_at_mut(c);
        let own = &mut rest[0];
        for _ in 0..2 {
            for other in before.iter() {
                let dot: f64 = own.iter().zip(other).map(|(a, b)| a * b).sum();
                own.iter_mut().zip(other).for_each(|(a, b)| *a -= dot * b);
            }
        }
        let length = own.iter().map(|v| v * v).sum::<f64>().sqrt();
        // A direction that the others span already adds nothing.
        let scale = if length > 1e-20 { length.recip() } else { 0.0 };
        own.iter_mut().for_each(|v| *v *= scale);
    }
    for (c, column) in turned.iter().enumerate() {
        column.iter().enumerate().for_each(|(d, v)| basis[d * columns + c] = *v as f32);
    }
}

/// Eigenvalues of a symmetric matrix in descending order, and its eigenvectors as rows, by Jacobi's rotations.
pub(crate) fn eigen(mut a: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    /// Rounds over all pairs; about ten suffice.
    const ROUNDS: usize = 40;
    let mut vectors = vec![0.0f64; n * n];
    (0..n).for_each(|i| vectors[i * n + i] = 1.0);
    let whole: f64 = a.iter().map(|v| v * v).sum();
    for _ in 0..ROUNDS {
        let off: f64 =
            (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| a[i * n + j].powi(2)).sum();
        if off <= 1e-22 * whole {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                if a[p * n + q] == 0.0 {
                    continue;
                }
                let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * a[p * n + q]);
                let tangent = theta.signum() / (theta.abs() + theta.hypot(1.0));
                let cosine = tangent.hypot(1.0).recip();
                let sine = tangent * cosine;
                for k in 0..n {
                    let (x, y) = (a[k * n + p], a[k * n + q]);
                    (a[k * n + p], a[k * n + q]) = (cosine * x - sine * y, sine * x + cosine * y);
                }
                for of in [&mut a, &mut vectors] {
                    let (upper, lower) = of.split_at_mut(q * n);
                    for (x, y) in upper[p * n..][..n].iter_mut().zip(&mut lower[..n]) {
                        (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
                    }
                }
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|i, j| a[j * n + j].total_cmp(&a[i * n + i]));
    let values = order.iter().map(|i| a[i * n + i]).collect();
    (values, order.iter().flat_map(|i| vectors[i * n..][..n].to_vec()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Use, at};

    #[test]
    fn eigenvectors_diagonalise() {
        let n = 12;
        let rng = &mut at(1, Use::Image, [0, 0]);
        let half: Vec<f64> = (0..n * n).map(|_| rng.random_range(-1.0..1.0)).collect();
        let a: Vec<f64> = (0..n * n).map(|i| half[i] + half[i % n * n + i / n]).collect();
        let (values, vectors) = eigen(a.clone(), n);
        assert!(values.windows(2).all(|w| w[0] >= w[1]));
        for (value, vector) in values.iter().zip(vectors.chunks_exact(n)) {
            for (row, v) in a.chunks_exact(n).zip(vector) {
                let product: f64 = row.iter().zip(vector).map(|(a, b)| a * b).sum();
                assert!((product - value * v).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn wide_rows_have_the_directions_that_made_them() {
        let (width, number) = (60, 500);
        let rng = &mut at(5, Use::Image, [0, 0]);
        // Three directions of deviations 4, 2 and 1 among noise, around 7.
        let rows: Vec<f32> = (0..number)
            .flat_map(|_| {
                let ends: [f32; 3] = std::array::from_fn(|_| rng.random_range(-1.0..1.0) * 3f32.sqrt());
                let noise: Vec<f32> = (0..width).map(|_| rng.random_range(-0.01..0.01)).collect();
                let value = move |d: usize| match d {
                    10 => 4.0 * ends[0],
                    20 => 2.0 * ends[1],
                    30 => ends[2],
                    _ => 0.0,
                };
                (0..width).map(move |d| 7.0 + value(d) + noise[d])
            })
            .collect();
        let found = principal(&rows, width, 3, rng);
        assert!(found.mean.iter().all(|m| (m - 7.0).abs() < 0.6));
        for (i, (place, variance)) in [(10, 16.0), (20, 4.0), (30, 1.0)].into_iter().enumerate() {
            let direction = &found.directions[i * width..][..width];
            assert!(direction[place].abs() > 0.99, "{direction:?}");
            assert!((found.variances[i] / variance - 1.0).abs() < 0.2, "{:?}", found.variances);
        }
        // Fewer rows than directions: as many as there are.
        assert_eq!(principal(&rows[..4 * width], width, 50, rng).variances.len(), 4);
    }
}
