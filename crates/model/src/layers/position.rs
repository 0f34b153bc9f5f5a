//! Position embeddings of vision transformers at other image sizes.

use super::resident;
use crate::PositionMode;
use burn::tensor::{Device, Tensor};

/// Fits the position embedding of patches to a `target` grid (rows, columns).
///
/// # Shapes
/// - grid: `[1, rows * columns, dim]`, with `[rows, columns]` = `size`
/// - output: `[1, target rows * target columns, dim]`
pub fn fit_position(grid: Tensor<3>, size: [usize; 2], target: [usize; 2], mode: PositionMode) -> Tensor<3> {
    let [_, _, dim] = grid.dims();
    let grid = grid.reshape([size[0], size[1], dim]);
    let fitted = match mode {
        // No mode changes the embedding at its own size.
        _ if size == target => grid,
        PositionMode::Bicubic => resize(grid, target),
        PositionMode::Dinov2 => resample(grid, target, ("dinov2", dinov2_weights)),
        PositionMode::Antialias => resample(grid, target, ("antialias", antialias_weights)),
        PositionMode::Official => official(grid, target),
    };
    fitted.reshape([1, target[0] * target[1], dim])
}

/// [`PositionMode::Official`]: a square window as wide as the image's longer side, cropped or resized from the trained
/// grid, then cropped to the image's shape.
fn official(grid: Tensor<3>, target: [usize; 2]) -> Tensor<3> {
    let [gh, gw, _] = grid.dims();
    let n = target[0].max(target[1]);
    let square = if gh >= n && gw >= n {
        grid.narrow(0, gh / 2 - n / 2, n).narrow(1, gw / 2 - n / 2, n)
    } else {
        let cell =
            |g: &Tensor<3>, row: usize, column: usize| g.clone().narrow(0, row, 1).narrow(1, column, 1);
        let squared = |a: Tensor<3>, b: Tensor<3>| (a - b).powi_scalar(2).sum_dim(2);
        let resized = resize(grid.clone(), [n, n]);
        let centre = cell(&resized, n / 2, n / 2);
        let old = squared(cell(&grid, 0, gw / 2), cell(&grid, gh / 2, gw / 2));
        // The row is negative for a window much smaller than the grid, where Python's negative indices wrap around.
        let row = (n as isize / 2 - gh as isize / 2).rem_euclid(n as isize) as usize;
        let new = squared(cell(&resized, row, n / 2), centre.clone());
        (resized - centre.clone()) * (old / new).sqrt() + centre
    };
    if target[0] >= target[1] {
        square.narrow(1, n / 2 - target[1] / 2, target[1])
    } else {
        square.narrow(0, n / 2 - target[0] / 2, target[0])
    }
}

/// [`PositionMode::Bicubic`]: ratio of the sizes, half-pixel centres, no antialiasing, repeated edges.
fn resize(grid: Tensor<3>, target: [usize; 2]) -> Tensor<3> {
    resample(grid, target, BICUBIC)
}

/// The name of an interpolation and its row-major weights `[to, from]`.
type Interpolation = (&'static str, fn(usize, usize) -> Vec<f32>);

const BICUBIC: Interpolation = ("bicubic", bicubic_weights);

/// Interpolation by the weights of each axis, as two differentiable matrix products.
fn resample(grid: Tensor<3>, target: [usize; 2], by: Interpolation) -> Tensor<3> {
    let [gh, gw, dim] = grid.dims();
    let device = grid.device();
    let (rows, columns) = (matrix(by, gh, target[0], &device), matrix(by, gw, target[1], &device));
    let tall = rows.matmul(grid.reshape([gh, gw * dim])).reshape([target[0], gw, dim]);
    columns.unsqueeze::<3>().expand([target[0], target[1], gw]).matmul(tall)
}

/// The matrix `[to, from]` of a bicubic interpolation from `from` to `to` samples.
pub fn bicubic_matrix(from: usize, to: usize, device: &Device) -> Tensor<2> {
    matrix(BICUBIC, from, to, device)
}

fn matrix((name, weights): Interpolation, from: usize, to: usize, device: &Device) -> Tensor<2> {
    resident(device, (name, &[from as u32, to as u32]), [to, from], || weights(from, to))
}

fn bicubic_weights(from: usize, to: usize) -> Vec<f32> {
    point_weights(from, to, to as f64)
}

/// DINOv2's `interpolate_offset`: its code passes `(to + 0.1) / from` as the factor, by which PyTorch also scales the
/// coordinates.
fn dinov2_weights(from: usize, to: usize) -> Vec<f32> {
    point_weights(from, to, to as f64 + 0.1)
}

/// Keys' kernel with parameter `a`.
fn keys(a: f64, x: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        a * (((x - 5.0) * x + 8.0) * x - 4.0)
    } else {
        0.0
    }
}

/// Weights of PyTorch's bicubic interpolation: a = -0.75, coordinates scaled by `from / scaled_to`, edges repeated.
fn point_weights(from: usize, to: usize, scaled_to: f64) -> Vec<f32> {
    let mut matrix = vec![0.0f32; to * from];
    for (i, row) in matrix.chunks_exact_mut(from).enumerate() {
        let centre = (i as f64 + 0.5) * from as f64 / scaled_to - 0.5;
        let base = centre.floor();
        for tap in -1..=2 {
            let at = base + f64::from(tap);
            let column = at.clamp(0.0, (from - 1) as f64) as usize;
            row[column] += keys(-0.75, centre - at) as f32;
        }
    }
    matrix
}

/// Weights of PyTorch's antialiased bicubic interpolation: a = -0.5, the kernel as wide as the step when shrinking, and
/// weights that are scaled to a sum of one, so that nothing beyond the edges counts.
fn antialias_weights(from: usize, to: usize) -> Vec<f32> {
    let step = from as f64 / to as f64;
    let wide = step.max(1.0);
    let mut matrix = vec![0.0f32; to * from];
    for (i, row) in matrix.chunks_exact_mut(from).enumerate() {
        let centre = (i as f64 + 0.5) * step;
        let first = (centre - 2.0 * wide + 0.5).max(0.0) as usize;
        let end = ((centre + 2.0 * wide + 0.5) as usize).min(from);
        let weights: Vec<f64> =
            (first..end).map(|at| keys(-0.5, (at as f64 - centre + 0.5) / wide)).collect();
        let sum: f64 = weights.iter().sum();
        for (value, weight) in row[first..end].iter_mut().zip(weights) {
            *value = (weight / sum) as f32;
        }
    }
    matrix
}
