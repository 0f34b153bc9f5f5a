//! Rotary positions of DINOv3: queries and keys of patches are turned by angles that grow with their row and column.

use super::resident;
use burn::tensor::{Device, Tensor};
use std::f32::consts::TAU;

/// Cosines and sines for every token of an image, each `[1, 1, tokens, head size]`.
#[derive(Debug, Clone)]
pub struct Rope {
    cos: Tensor<4>,
    sin: Tensor<4>,
}

impl Rope {
    /// The tables for `prefix` tokens, which stay as they are, and a grid of patches (rows, columns) of any shape.
    pub fn new(periods: &[f32], prefix: usize, grid: [usize; 2], device: &Device) -> Self {
        let half = 2 * periods.len();
        let tokens = prefix + grid[0] * grid[1];
        let mut key: Vec<u32> = [prefix, grid[0], grid[1]].map(|n| n as u32).to_vec();
        key.extend(periods.iter().map(|period| period.to_bits()));
        let table = |name: &'static str, f: fn(f32) -> f32| {
            resident(device, (name, &key), [1, 1, tokens, 2 * half], || {
                let angles = angles(periods, prefix, grid);
                let rows = angles.chunks_exact(half.max(1));
                rows.flat_map(|row| row.iter().chain(row).map(|angle| f(*angle))).collect()
            })
        };
        Self { cos: table("rotary cosines", f32::cos), sin: table("rotary sines", f32::sin) }
    }

    /// Turns queries or keys, `[batch, heads, tokens, head size]`.
    pub fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        let half = x.dims()[3] / 2;
        let turned =
            Tensor::cat(vec![x.clone().narrow(3, half, half).neg(), x.clone().narrow(3, 0, half)], 3);
        x * self.cos.clone() + turned * self.sin.clone()
    }
}

/// The angles of each token, `[prefix + patches, 2 * periods]`: by its row, then by its column. Either half of a head is
/// turned by all of them.
pub(crate) fn angles(periods: &[f32], prefix: usize, [rows, columns]: [usize; 2]) -> Vec<f32> {
    let mut angles = vec![0.0; prefix * 2 * periods.len()];
    // Centres of patches from -1 to 1 along each side, however long it is.
    let along = |i: usize, count: usize| 2.0 * ((i as f32 + 0.5) / count as f32) - 1.0;
    for patch in 0..rows * columns {
        for at in [along(patch / columns, rows), along(patch % columns, columns)] {
            angles.extend(periods.iter().map(|period| TAU * at / period));
        }
    }
    angles
}
