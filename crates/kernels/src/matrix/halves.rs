//! Weights that stay in 16 bits: packed as those of 32, and expanded while the first panel of tokens is multiplied.

use super::{KC, MC, Matrix, Packing};
use crate::buffer::Floats;
use crate::half::{Expansion, PERIOD};
use half::f16;
use pulp::bytemuck::{cast_slice, cast_slice_mut};
use std::cell::Cell;

thread_local! {
    /// An expanded block of MC x KC weights of the matrix that a thread multiplies.
    static BLOCK: Cell<Floats> = Cell::default();
}

/// A thread's block, which returns to it when dropped.
pub(super) struct Block(Floats);

impl Block {
    pub(super) fn take() -> Self {
        let mut block = BLOCK.take();
        block.resize(MC * KC);
        Self(block)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        BLOCK.set(std::mem::take(&mut self.0));
    }
}

impl Matrix {
    /// [`pack`](Self::pack) of `weight` times a factor for each row: products are those of the matrix whose values are the
    /// f32 nearest to these.
    pub(crate) fn pack_halves(
        packing: Packing,
        expansion: Expansion,
        weight: &[f16],
        factors: &[f32],
        bias: &[f32],
    ) -> Self {
        let (mr, columns) = (packing.mr, weight.len() / bias.len().max(1));
        let padded = |values: &[f32]| {
            let mut values = values.to_vec();
            values.resize(bias.len().div_ceil(mr) * mr, 0.0);
            values
        };
        let (bias, scales) = (padded(bias), padded(factors));
        let mut packed = Self {
            rows: factors.len(),
            depth: columns,
            packing,
            expansion: Some(expansion),
            // MR is even.
            weight: Floats::zeros(bias.len() * columns / 2),
            bias,
            scales,
            ..Self::default()
        };
        for (r, row) in weight.chunks_exact(columns.max(1)).enumerate() {
            for (slice, values) in row.chunks(KC).enumerate() {
                let first = packed.offset(r, slice * KC);
                let places = cast_slice_mut::<f32, u16>(&mut packed.weight)[first..].iter_mut().step_by(mr);
                places.zip(values).for_each(|(place, value)| *place = value.to_bits());
            }
        }
        packed
    }

    /// Micro-panel `index` of the slice of depth that begins at `first`, expanded to the place in a block of the tile that
    /// begins at its row `row`; only if `stale`, else it is there already.
    #[inline(always)]
    pub(super) fn expanded<'a, const R: usize>(
        &self,
        expansion: Expansion,
        [first, index]: [usize; 2],
        row: usize,
        block: &'a mut Block,
        stale: bool,
    ) -> &'a [[f32; R]] {
        let length = KC.min(self.depth - first);
        let start = (first * self.rows.div_ceil(R) + index * length) * R;
        let tile = &mut block.0[row * KC..][..length * R];
        if stale {
            let halves = &cast_slice::<f32, u16>(&self.weight)[start..][..length * R];
            let factors = &self.scales[index * R..][..R];
            expansion.expand(halves, &std::array::from_fn::<_, PERIOD, _>(|i| factors[i % R]), tile);
        }
        tile.as_chunks::<R>().0
    }
}
