//! An image as the first block's tokens.

use super::{Encoder, PrecomputedPrefix};
use crate::epilogue::Accumulate;
use crate::matrix::Apply;
use rayon::prelude::*;

impl Encoder {
    /// Writes the tokens of an image as panels; a task's are `group` floats.
    pub(super) fn embed(&self, prefix: &PrecomputedPrefix, image: &[f32], group: usize, x: &mut [f32]) {
        let PrecomputedPrefix { count, height, width, .. } = *prefix;
        let (dim, columns) = (self.shape.dim, self.level.columns());
        let parts = x.par_chunks_mut(group).zip(prefix.panels.par_chunks(group));
        parts.enumerate().for_each(|(g, (x, prefix))| {
            let mut scratch = self.scratches.borrow();
            x.copy_from_slice(prefix);
            let first = g * group / dim;
            let pixels = &mut scratch.hidden;
            pixels.resize(x.len() / dim * self.patch_values());
            for (p, pixels) in pixels.chunks_exact_mut(self.patch_values() * columns).enumerate() {
                self.gather_patches(image, [count, height, width], first + p * columns, pixels);
            }
            let (matrix, columns) = (&self.patches, self.patch_values());
            self.level.run(Apply { matrix, columns, x: pixels, out: x, epilogue: Accumulate });
        });
    }

    /// Values per patch.
    fn patch_values(&self) -> usize {
        3 * self.shape.patch * self.shape.patch
    }

    /// Copies the patches of the panel that begins with token `first` to `pixels`, one patch per column; zeros for tokens
    /// that are not patches.
    fn gather_patches(
        &self,
        image: &[f32],
        [count, height, width]: [usize; 3],
        first: usize,
        pixels: &mut [f32],
    ) {
        let (patch, columns) = (self.shape.patch, self.level.columns());
        let across = width / patch;
        let prefix = count - height / patch * across;
        for column in 0..columns {
            let token = first + column;
            let index = token.checked_sub(prefix).filter(|_| token < count);
            let rows = pixels[column..].iter_mut().step_by(columns);
            let Some(index) = index else {
                rows.for_each(|pixel| *pixel = 0.0);
                continue;
            };
            let corner = index / across * patch * width + index % across * patch;
            let lines = (0..3 * patch).map(|line| {
                let (channel, y) = (line / patch, line % patch);
                &image[(channel * height + y) * width + corner..][..patch]
            });
            for (pixel, value) in rows.zip(lines.flatten()) {
                *pixel = *value;
            }
        }
    }
}
