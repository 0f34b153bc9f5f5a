//! What an encoder's images of one size have in common: embedded positions, and angles of rotary ones.

use super::{Encoder, EncoderShape};
use crate::KernelError;
use crate::buffer::Floats;

/// What the tokens of every image of one size start from: prefix tokens, position embeddings and the bias of the patch
/// embedding, precomputed by [`Encoder::precompute_prefix`] as the tokens of an all-zero image.
#[derive(Debug, Clone)]
pub struct PrecomputedPrefix {
    pub(super) panels: Floats,
    /// Panels `[head size, NR]` of cosines, then sines, by which queries and keys are turned; empty without rotary positions.
    pub(super) turns: Floats,
    pub(super) count: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Encoder {
    /// Prepares images of one size in pixels, both sides multiples of the patch.
    ///
    /// # Shapes
    /// - tokens: `[tokens, dim]`, the model's embedding of an all-zero image `[3, height, width]`
    ///
    /// # Errors
    /// [`KernelError::Input`] for tokens that do not fit the size.
    pub fn precompute_prefix(
        &self,
        tokens: &[f32],
        height: usize,
        width: usize,
    ) -> Result<PrecomputedPrefix, KernelError> {
        let EncoderShape { patch, dim, class_tokens, .. } = self.shape;
        let count = tokens.len() / dim;
        let whole =
            tokens.len().is_multiple_of(dim) && [height, width].iter().all(|side| side.is_multiple_of(patch));
        if !whole || count < (height / patch * (width / patch)).max(class_tokens).max(1) {
            return Err(KernelError::Input(format!(
                "{} values are not the tokens of {height} x {width} pixels: width {dim}, patches of {patch}",
                tokens.len()
            )));
        }
        let columns = self.level.columns();
        let size = dim * columns;
        let mut panels = Floats::zeros(count.div_ceil(columns) * size);
        for (t, token) in tokens.chunks_exact(dim).enumerate() {
            let panel = &mut panels[t / columns * size..][..size];
            for (row, value) in panel.chunks_exact_mut(columns).zip(token) {
                row[t % columns] = *value;
            }
        }
        Ok(PrecomputedPrefix { panels, turns: Floats::default(), count, height, width })
    }

    /// Adds rotary positions: value `i` of the first half of each query and key is turned with value `i` of the second half.
    ///
    /// # Shapes
    /// - angles: `[tokens, head size / 2]`, the same in all heads and blocks; zeros for tokens without a position
    ///
    /// # Errors
    /// [`KernelError::Input`] for another number of angles.
    pub fn with_rotary(
        &self,
        mut prefix: PrecomputedPrefix,
        angles: &[f32],
    ) -> Result<PrecomputedPrefix, KernelError> {
        let (size, columns, count) = (self.shape.dim / self.shape.heads, self.level.columns(), prefix.count);
        let half = size / 2;
        if !size.is_multiple_of(2) || angles.len() != count * half {
            let found = angles.len();
            return Err(KernelError::Input(format!(
                "{found} angles for {count} tokens and heads of {size} dimensions"
            )));
        }
        prefix.turns = Floats::zeros(count.div_ceil(columns) * size * columns);
        for (t, angles) in angles.chunks_exact(half).enumerate() {
            let panel = &mut prefix.turns[t / columns * size * columns..][..size * columns];
            let (cosines, sines) = panel.split_at_mut(half * columns);
            for (i, angle) in angles.iter().enumerate() {
                let at = i * columns + t % columns;
                (cosines[at], sines[at]) = (angle.cos(), angle.sin());
            }
        }
        Ok(prefix)
    }
}
