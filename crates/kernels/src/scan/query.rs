//! A query in the form that a scan multiplies.

use super::code::{RowScale, ZERO, above, code, encode, rounding, stride};
use super::{Line, MAX_DIM};

/// A query, prepared for any number of scans.
///
/// Its codes are the query in steps of the largest magnitude / 127. Rows that cannot be excluded by them are multiplied
/// with a second plane of codes, the rest of the query in steps 254 times as small: their bound then has nearly no
/// error from the query's side.
#[derive(Debug, Clone)]
pub struct Query {
    vector: Vec<f32>,
    pub(crate) coarse: Plane,
    pub(crate) fine: Plane,
    /// By the first plane alone.
    pub(crate) coarse_slack: Slack,
    /// By both planes.
    pub(crate) fine_slack: Slack,
}

/// Codes of a query, near `scale` times an integer within 127 of zero each.
#[derive(Debug, Clone)]
pub(crate) struct Plane {
    /// Aligned, and padded by zeros.
    pub(crate) codes: Vec<Line<i8>>,
    pub(crate) scale: f64,
    /// What the offset of a row's codes adds to the sum of products: 128 times the sum of the codes.
    pub(crate) offset: i32,
}

/// How far <q, x> as [`dot`](super::dot) computes it can be from the product of the codes, per norm of the row's codes
/// and per residual of the row.
///
/// With q^ and x^ what the codes stand for, <q, x> = <q^, x^> + <q - q^, x^> + <q, x - x^>, so by Cauchy-Schwarz
/// |<q, x> - <q^, x^>| <= ||q - q^|| ||x^|| + ||q|| ||x - x^||. Rounding adds, in units of 2^-53:
/// - the sum of `dot`: (dim / 16 + 5) ||q|| ||x||, where ||x|| <= ||x^|| + ||x - x^||; its products are exact;
/// - the products of codes, exact as integers, times scales: 16 ||q|| ||x^||, as neither plane is longer than 2 ||q||;
/// - the norm of x^ and the bound itself: 4 (||q|| ||x^|| + ||q - q^|| ||x^|| + ||q|| ||x - x^||).
///
/// Together they are less than [`rounding`] = 2 (dim + 16) units. The last rounding of `dot` and of a bound, to f32, is
/// the same function and never changes the order of two values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slack {
    pub(crate) per_norm: f64,
    pub(crate) per_residual: f64,
}

impl Slack {
    fn new(residual: f64, norm: f64, dim: usize) -> Self {
        let rounding = rounding(dim);
        Self { per_norm: residual + rounding * (norm + residual), per_residual: norm * (1.0 + rounding) }
    }
}

impl Query {
    /// Encodes a query. With a NaN or an infinite value, or with more than [`MAX_DIM`] dimensions, its scans exclude
    /// nothing, and every row is rescored.
    pub fn new(x: &[f32]) -> Self {
        let mut bytes = vec![ZERO; stride(x.len())];
        let RowScale { scale, residual } = encode(x, &mut bytes);
        let (scale, dim) = (f64::from(scale), x.len());
        let coarse: Vec<i8> = bytes.iter().map(|byte| (byte ^ ZERO) as i8).collect();
        let mut fine = vec![0; bytes.len()];
        let fine_scale = scale / 254.0;
        let (mut squares, mut all) = (0.0, 0.0);
        for ((x, coarse), fine) in x.iter().zip(&coarse).zip(&mut fine) {
            all += f64::from(*x) * f64::from(*x);
            let left = f64::from(*x) - scale * f64::from(*coarse);
            let code = code(left, fine_scale);
            *fine = code as i8;
            let left = left - fine_scale * code;
            squares += left * left;
        }
        // Where the first plane leaves an inexact rest, the difference is below a unit in the rest's last place, and
        // the second plane's products are rounded too.
        let rest = f64::from(residual) * 4.0 * f64::EPSILON;
        let within = residual.is_finite() && dim <= MAX_DIM;
        let coarse_residual = if within { f64::from(residual) } else { f64::INFINITY };
        let fine_residual = if within { above(squares.sqrt(), dim) + rest } else { f64::INFINITY };
        let norm = above(all.sqrt(), dim);
        Self {
            vector: x.to_vec(),
            coarse: Plane::new(&coarse, scale),
            fine: Plane::new(&fine, fine_scale),
            coarse_slack: Slack::new(coarse_residual, norm, dim),
            fine_slack: Slack::new(fine_residual, norm, dim),
        }
    }

    /// The vector itself.
    pub fn vector(&self) -> &[f32] {
        &self.vector
    }
}

impl Plane {
    fn new(codes: &[i8], scale: f64) -> Self {
        let sum: i32 = codes.iter().map(|code| i32::from(*code)).fold(0, i32::wrapping_add);
        let codes = codes.as_chunks().0.iter().map(|line| Line(*line)).collect();
        Self { codes, scale, offset: sum.wrapping_mul(i32::from(ZERO)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_planes_leave_a_hundredth_of_one() {
        let x: Vec<f32> = (0..300).map(|i| (i as f32 * 0.37).sin()).collect();
        let query = Query::new(&x);
        assert_eq!(query.vector(), &x);
        assert_eq!(query.coarse.codes.len(), 5);
        assert!(query.fine_slack.per_norm < query.coarse_slack.per_norm / 100.0);
        let at = |plane: &Plane, i: usize| plane.scale * f64::from(plane.codes[i / 64].0[i % 64]);
        for (i, x) in x.iter().enumerate() {
            let left = f64::from(*x) - at(&query.coarse, i) - at(&query.fine, i);
            assert!(left.abs() <= query.fine.scale * 0.501, "{i}: {left}");
        }
    }

    #[test]
    fn queries_without_a_bound_have_infinite_or_nan_slack() {
        for x in [vec![f32::NAN; 3], vec![f32::INFINITY], vec![1.0; MAX_DIM + 1]] {
            let slack = Query::new(&x).fine_slack;
            assert!(!slack.per_norm.is_finite());
        }
    }
}
