//! The bounds of a panel's scores. In f64: products of scales neither overflow nor underflow there, and rounding is small
//! beside what codes leave out.

use super::query::{Plane, Slack};
use super::{Nearest, Query, RowScale};
use crate::Level;
use pulp::{Simd, WithSimd};

/// The most rows of a panel.
pub(super) const PANEL: usize = 64;

/// The rows of a panel.
#[derive(Debug)]
pub(super) struct Rows {
    count: usize,
    /// Of each row, the sum of its squared codes.
    pub(super) squares: [i32; PANEL],
    scale: [f64; PANEL],
    /// An upper bound of ||x^||.
    norm: [f64; PANEL],
    residual: [f64; PANEL],
}

impl Default for Rows {
    fn default() -> Self {
        let zeros = [0.0; PANEL];
        Self { count: 0, squares: [0; PANEL], scale: zeros, norm: zeros, residual: zeros }
    }
}

impl Rows {
    /// Sets the panel's rows, whose squares are set already.
    pub(super) fn set(&mut self, level: Level, scales: &[RowScale]) {
        level.run(Set { rows: self, scales });
    }

    /// The queries for which the coarse bound of some row reaches the limit of the collector.
    pub(super) fn reaching(
        &self,
        level: Level,
        queries: &[Query],
        found: &[Nearest],
        sums: &[i32],
        hits: &mut Vec<usize>,
    ) {
        hits.clear();
        level.run(Reaching { rows: self, queries, found, sums, hits });
    }

    /// An upper bound of a row's score before it is rounded to f32, from its product with the first plane. May be NaN.
    #[inline(always)]
    pub(super) fn coarse_upper(&self, query: &Query, row: usize, sum: i32) -> f64 {
        let Query { coarse, coarse_slack, .. } = query;
        f64::from(sum) * self.scale[row] * coarse.scale + self.slack(coarse_slack, row)
    }

    /// A lower and an upper bound of a row's score, from its products with both planes. Neither is NaN or -0.
    pub(super) fn fine(&self, query: &Query, row: usize, coarse: i32, fine: i32) -> (f32, f32) {
        let times = |plane: &Plane, sum: i32| plane.scale * f64::from(sum);
        let score = self.scale[row] * (times(&query.coarse, coarse) + times(&query.fine, fine));
        let slack = self.slack(&query.fine_slack, row);
        let (lower, upper) = (score - slack, score + slack);
        // Adding zero makes -0 zero.
        let lower = if lower.is_nan() { f32::NEG_INFINITY } else { lower as f32 + 0.0 };
        let upper = if upper.is_nan() { f32::INFINITY } else { upper as f32 + 0.0 };
        (lower, upper)
    }

    #[inline(always)]
    fn slack(&self, slack: &Slack, row: usize) -> f64 {
        slack.per_norm * self.norm[row] + slack.per_residual * self.residual[row]
    }
}

struct Set<'a> {
    rows: &'a mut Rows,
    scales: &'a [RowScale],
}

impl WithSimd for Set<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { rows, scales } = self;
        rows.count = scales.len().min(PANEL);
        for (row, scale) in scales.iter().enumerate().take(PANEL) {
            rows.scale[row] = f64::from(scale.scale);
            rows.residual[row] = f64::from(scale.residual);
        }
        for row in 0..rows.count {
            // The root and the products are rounded.
            const ABOVE: f64 = 1.0 + 4.0 * f64::EPSILON;
            rows.norm[row] = f64::from(rows.squares[row]).sqrt() * rows.scale[row].abs() * ABOVE;
        }
    }
}

struct Reaching<'a> {
    rows: &'a Rows,
    queries: &'a [Query],
    found: &'a [Nearest],
    sums: &'a [i32],
    hits: &'a mut Vec<usize>,
}

impl WithSimd for Reaching<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { rows, queries, found, sums, hits } = self;
        if rows.count == 0 {
            return;
        }
        let sums = sums.chunks_exact(rows.count);
        for (index, ((query, nearest), sums)) in queries.iter().zip(found).zip(sums).enumerate() {
            let limit = nearest.limit();
            // Most panels have no such row: the loop has no branch, so it is compiled to vectors.
            let mut any = false;
            for (row, sum) in sums.iter().enumerate() {
                let below = rows.coarse_upper(query, row, *sum) < limit;
                any |= !below; // NaN is not below.
            }
            if any {
                hits.push(index);
            }
        }
    }
}
