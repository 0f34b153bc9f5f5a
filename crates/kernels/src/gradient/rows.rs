//! Operations on single rows (tokens), forward and backward.

use crate::math::{self, exp2, gelu_and_derivative};
use pulp::Simd;

/// Partial sums, enough for any vector width and the same on all of them, so that results are too.
const SUMS: usize = 16;

/// The sum of `term(a, b)` over two rows.
#[inline(always)]
pub(super) fn sum_of(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0; SUMS];
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<SUMS>(), b.as_chunks::<SUMS>());
    for (a, b) in a.iter().zip(b) {
        for i in 0..SUMS {
            sums[i] += term(a[i], b[i]);
        }
    }
    for (i, (a, b)) in rest_a.iter().zip(rest_b).enumerate() {
        sums[i] += term(*a, *b);
    }
    sums.iter().sum()
}

/// Mean and inverse standard deviation of a row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moments {
    mean: f32,
    scale: f32,
}

impl Moments {
    #[inline(always)]
    pub(super) fn of(row: &[f32], epsilon: f32) -> Self {
        let share = 1.0 / row.len() as f32;
        let mean = sum_of(row, row, |a, _| a) * share;
        let variance = sum_of(row, row, |a, _| (a - mean) * (a - mean)) * share;
        Self { mean, scale: 1.0 / (variance + epsilon).sqrt() }
    }

    /// Layer norm of the row.
    #[inline(always)]
    pub(super) fn apply(self, row: &[f32], weight: &[f32], bias: &[f32], out: &mut [f32]) {
        for (((x, w), b), out) in row.iter().zip(weight).zip(bias).zip(out) {
            *out = (x - self.mean) * self.scale * w + b;
        }
    }

    /// Backward pass of [`apply`](Self::apply) to the row: adds to `into`. `normalised` is scratch.
    #[inline(always)]
    pub(super) fn backward(
        self,
        row: &[f32],
        weight: &[f32],
        gradient: &[f32],
        normalised: &mut [f32],
        into: &mut [f32],
    ) {
        let share = 1.0 / row.len() as f32;
        let mean = sum_of(gradient, weight, |g, w| g * w) * share;
        for (normalised, x) in normalised.iter_mut().zip(row) {
            *normalised = (x - self.mean) * self.scale;
        }
        let mut sums = [0.0; SUMS];
        for ((g, w), u) in gradient.chunks(SUMS).zip(weight.chunks(SUMS)).zip(normalised.chunks(SUMS)) {
            for (((sum, g), w), u) in sums.iter_mut().zip(g).zip(w).zip(u) {
                *sum += g * w * u;
            }
        }
        let along = sums.iter().sum::<f32>() * share;
        for (((g, w), u), into) in gradient.iter().zip(weight).zip(&*normalised).zip(into) {
            *into += self.scale * (g * w - mean - u * along);
        }
    }

    /// Backward pass of [`apply`](Self::apply) to weight and bias: adds to them.
    #[inline(always)]
    pub(super) fn backward_tensors(self, row: &[f32], gradient: &[f32], [weight, bias]: [&mut [f32]; 2]) {
        for (((x, g), weight), bias) in row.iter().zip(gradient).zip(weight).zip(bias) {
            *weight += g * (x - self.mean) * self.scale;
            *bias += g;
        }
    }
}

/// Adds every row to `sums`.
#[inline(always)]
pub(super) fn add_rows(rows: &[f32], sums: &mut [f32]) {
    for row in rows.chunks_exact(sums.len()) {
        add(sums, row);
    }
}

/// `a += b`.
#[inline(always)]
pub(super) fn add(a: &mut [f32], b: &[f32]) {
    for (a, b) in a.iter_mut().zip(b) {
        *a += b;
    }
}

/// `y += a x`.
#[inline(always)]
pub(super) fn axpy(y: &mut [f32], a: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

/// Copies `row` to every row of `rows`.
#[inline(always)]
pub(super) fn broadcast(row: &[f32], rows: &mut [f32]) {
    for out in rows.chunks_exact_mut(row.len()) {
        out.copy_from_slice(row);
    }
}

/// GELU of every value.
#[inline(always)]
pub(super) fn gelu<S: Simd>(simd: S, x: &[f32], out: &mut [f32]) {
    let ((x, rest), (out, rest_out)) = (S::as_simd_f32s(x), S::as_mut_simd_f32s(out));
    for (x, out) in x.iter().zip(out) {
        *out = math::gelu(simd, *x);
    }
    let value = math::gelu(simd, simd.partial_load_f32s(rest));
    simd.partial_store_f32s(rest_out, value);
}

/// Replaces `x` by its GELU and multiplies `gradient` by the derivative at `x`.
#[inline(always)]
pub(super) fn gelu_backward<S: Simd>(simd: S, x: &mut [f32], gradient: &mut [f32]) {
    let ((x, rest), (gradient, rest_gradient)) = (S::as_mut_simd_f32s(x), S::as_mut_simd_f32s(gradient));
    for (x, gradient) in x.iter_mut().zip(gradient) {
        let (value, derivative) = gelu_and_derivative(simd, *x);
        *x = value;
        *gradient = simd.mul_f32s(*gradient, derivative);
    }
    let (value, derivative) = gelu_and_derivative(simd, simd.partial_load_f32s(rest));
    simd.partial_store_f32s(rest, value);
    let last = simd.mul_f32s(simd.partial_load_f32s(rest_gradient), derivative);
    simd.partial_store_f32s(rest_gradient, last);
}

/// The maximum of a row, by partial results as in [`sum_of`].
#[inline(always)]
fn max_of(row: &[f32]) -> f32 {
    let mut largest = [f32::NEG_INFINITY; SUMS];
    let (whole, rest) = row.as_chunks::<SUMS>();
    // A comparison is cheaper than `f32::max`, which handles NaN: a row with NaN gives NaN either way.
    let mut take = |i: usize, x: f32| largest[i] = if x > largest[i] { x } else { largest[i] };
    for chunk in whole {
        for i in 0..SUMS {
            take(i, chunk[i]);
        }
    }
    for (i, x) in rest.iter().enumerate() {
        take(i, *x);
    }
    largest.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

/// Softmax of a row, in place.
#[inline(always)]
pub(super) fn softmax<S: Simd>(simd: S, row: &mut [f32]) {
    let largest = max_of(row);
    let (scale, shift) = (std::f32::consts::LOG2_E, -largest * std::f32::consts::LOG2_E);
    {
        let (scale, shift) = (simd.splat_f32s(scale), simd.splat_f32s(shift));
        let (whole, rest) = S::as_mut_simd_f32s(row);
        for x in whole {
            *x = exp2(simd, [simd.mul_add_e_f32s(*x, scale, shift)])[0];
        }
        let last = exp2(simd, [simd.mul_add_e_f32s(simd.partial_load_f32s(rest), scale, shift)])[0];
        simd.partial_store_f32s(rest, last);
    }
    let share = 1.0 / sum_of(row, row, |a, _| a);
    for x in row {
        *x *= share;
    }
}

/// Backward pass of [`softmax`]: replaces the gradient of its output `row` by that of its input.
#[inline(always)]
pub(super) fn softmax_backward(row: &[f32], gradient: &mut [f32]) {
    let mean = sum_of(row, gradient, |p, g| p * g);
    for (g, p) in gradient.iter_mut().zip(row) {
        *g = p * (*g - mean);
    }
}
