//! Products of a part of a matrix: of some rows, of some elements of depth, of a tile. They are of matrices that are packed
//! while they are used, keys and values among them, and never have 16 bits.

use super::{KC, MR, MR_WIDE, Matrix};
use crate::panel::NR_VECTORS;
use pulp::Simd;

impl Matrix {
    /// `out = W[first..] x` without bias, of a matrix with a depth of at most [`KC`] and for one panel.
    ///
    /// # Shapes
    /// - first: the first row, a multiple of [`KC`]
    /// - x: a panel `[depth, NR]`
    /// - out: a panel with as many rows as are to be computed
    #[inline(always)]
    pub(crate) fn multiply_rows<S: Simd>(&self, simd: S, first: usize, x: &[S::f32s], out: &mut [S::f32s]) {
        if self.packing.mr == MR_WIDE {
            self.partial::<S, MR_WIDE, false>(simd, first, 0, x, out);
        } else {
            self.partial::<S, MR, false>(simd, first, 0, x, out);
        }
    }

    /// `out += W[.., first..] x` without bias, over as many elements of depth as `x` has, for one panel.
    ///
    /// # Shapes
    /// - first: the elements that begin here lie in one slice
    /// - x: a panel of elements, with scales after those of 8-bit integers
    /// - out: a panel `[rows, NR]`
    #[inline(always)]
    pub(crate) fn add_slice<S: Simd>(&self, simd: S, first: usize, x: &[S::f32s], out: &mut [S::f32s]) {
        if self.packing.mr == MR_WIDE {
            self.partial::<S, MR_WIDE, true>(simd, 0, first, x, out);
        } else {
            self.partial::<S, MR, true>(simd, 0, first, x, out);
        }
    }

    /// Rows `row..` times the elements of depth that begin at `first`, stored in or added (`ADD`) to `out`.
    #[inline(always)]
    fn partial<S: Simd, const R: usize, const ADD: bool>(
        &self,
        simd: S,
        row: usize,
        first: usize,
        x: &[S::f32s],
        out: &mut [S::f32s],
    ) {
        let (x, out) = (x.as_chunks::<NR_VECTORS>().0, out.as_chunks_mut::<NR_VECTORS>().0);
        let (x, scales) = x.split_at(x.len() - self.packing.element.scale_rows());
        for (index, rows) in out.chunks_mut(R).enumerate() {
            let mut sums = [[simd.splat_f32s(0.0); NR_VECTORS]; R];
            let (index, weight) = (row / R + index, self.micro_panel::<R>(first, row / R + index));
            self.micro_kernel::<S, R>(simd, [first, index], weight, x, &mut sums, &[]);
            self.scale::<S, R>(simd, [first, index * R], scales, &mut sums);
            if let Some(rows) = rows.as_mut_array::<R>() {
                for r in 0..R {
                    for v in 0..NR_VECTORS {
                        rows[r][v] = if ADD { simd.add_f32s(rows[r][v], sums[r][v]) } else { sums[r][v] };
                    }
                }
                continue;
            }
            for (row, sums) in rows.iter_mut().zip(&sums) {
                for v in 0..NR_VECTORS {
                    row[v] = if ADD { simd.add_f32s(row[v], sums[v]) } else { sums[v] };
                }
            }
        }
    }

    /// Tile `index` of the product over the whole depth, padding rows included, in registers.
    #[inline(always)]
    pub(crate) fn tile_product<S: Simd, const R: usize>(
        &self,
        simd: S,
        index: usize,
        x: &[[S::f32s; NR_VECTORS]],
    ) -> [[S::f32s; NR_VECTORS]; R] {
        let mut sums = [[simd.splat_f32s(0.0); NR_VECTORS]; R];
        for first in (0..self.depth).step_by(KC) {
            let weight = self.micro_panel::<R>(first, index);
            self.micro_kernel::<S, R>(simd, [first, index], weight, &x[first..], &mut sums, &[]);
        }
        sums
    }
}
