//! The micro-kernel of convolutions: tiles of MR pixels by NR output channels.
//!
//! A convolution's maps are stored pixel after pixel, so output channels lie in vectors, pixels' values are broadcast, and
//! the weights are the packed micro-panels: the roles of [`matrix`](crate::matrix) exchanged. Pixels are gathered into
//! lines of [`LINE`] values, whose constant distance leaves the micro-kernel one address for all of a tile's pixels.

use crate::Level;
use crate::buffer::{Floats, vectors};
use crate::matrix::{MR, MR_WIDE};
use crate::panel::NR_VECTORS;
use crate::prefetch::prefetch;
use pulp::Simd;

/// Elements of depth per slice: DEPTH x NR weights are 32 KB at most.
pub(super) const DEPTH: usize = 256;

/// Floats of a gathered line: a cache line more than [`DEPTH`], so that the lines of a tile fall into different sets.
pub(super) const LINE: usize = DEPTH + 16;

/// Rows of a whole tile.
pub(super) fn tile_rows(level: Level) -> usize {
    if level.registers() >= 32 { MR_WIDE } else { MR }
}

/// Weights of a product, packed: panels of NR output channels; in each, `depth` rows of NR.
#[derive(Debug, Clone, Default)]
pub(super) struct Weights {
    values: Floats,
    depth: usize,
}

impl Weights {
    /// `fill` writes one panel `[depth, NR]`, all zeros before, given its number.
    pub(super) fn pack(
        panels: usize,
        depth: usize,
        columns: usize,
        fill: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Self {
        use rayon::prelude::*;
        let mut values = Floats::zeros(panels * depth * columns);
        let each = values.par_chunks_exact_mut((depth * columns).max(1)).enumerate();
        each.for_each(|(panel, values)| fill(panel, values));
        Self { values, depth }
    }

    /// Prefetches a part, `[index, parts]`, of rows `first..first + count` of a panel: a memory further away than L2 then
    /// delivers them while others are multiplied.
    #[inline(always)]
    pub(super) fn prefetch(
        &self,
        panel: usize,
        first: usize,
        count: usize,
        columns: usize,
        [index, parts]: [usize; 2],
    ) {
        let (start, len) = ((panel * self.depth + first) * columns, count * columns);
        let part = start + len * index / parts..start + len * (index + 1) / parts;
        prefetch(self.values.get(part).unwrap_or_default());
    }

    /// Rows `first..first + count` of a panel.
    #[inline(always)]
    pub(super) fn rows<S: Simd>(&self, panel: usize, first: usize, count: usize) -> &[[S::f32s; NR_VECTORS]] {
        let columns = NR_VECTORS * S::F32_LANES;
        let values = &self.values[(panel * self.depth + first) * columns..][..count * columns];
        vectors::<S>(values).as_chunks::<NR_VECTORS>().0
    }
}

/// The sums of a tile.
pub(super) type Sums<V, const R: usize> = [[V; NR_VECTORS]; R];

/// Adds the products of a tile's lines, from `offset` on, with the rows of a panel of weights.
///
/// # Shapes
/// - lines: R lines of [`LINE`], of which each has at least `offset` values and one per row of `weights`
#[inline(always)]
pub(super) fn micro_kernel<S: Simd, const R: usize>(
    simd: S,
    lines: &[f32],
    offset: usize,
    weights: &[[S::f32s; NR_VECTORS]],
    sums: &mut Sums<S::f32s, R>,
) {
    let lines = &lines.as_chunks::<LINE>().0[..R];
    let mut rows = [&lines[0][..0]; R];
    for r in 0..R {
        rows[r] = &lines[r][offset..offset + weights.len()];
    }
    let mut local = *sums;
    for (k, weights) in weights.iter().enumerate() {
        for r in 0..R {
            let value = simd.splat_f32s(rows[r][k]);
            for v in 0..NR_VECTORS {
                local[r][v] = simd.mul_add_e_f32s(value, weights[v], local[r][v]);
            }
        }
    }
    *sums = local;
}

/// ReLU, which keeps NaN.
#[inline(always)]
pub(super) fn rectify<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    simd.select_f32s(simd.less_than_f32s(x, zero), zero, x)
}

/// Copies values; `to` and `from` have the same length.
#[inline(always)]
pub(super) fn copy<S: Simd>(from: &[f32], to: &mut [f32]) {
    let ((from, from_rest), (to, to_rest)) = (S::as_simd_f32s(from), S::as_mut_simd_f32s(to));
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
    for (to, from) in to_rest.iter_mut().zip(from_rest) {
        *to = *from;
    }
}

/// Units per task, 1 to `most`: several, so that weights read from memory are used more than once, but few enough to keep
/// all threads busy. `cost` is that of a task of so many units.
pub(super) fn units_per_task(
    units: usize,
    threads: usize,
    most: usize,
    cost: impl Fn(usize) -> usize,
) -> usize {
    let all = |group: &usize| {
        let (whole, rest) = (units / group, units % group);
        let rounds = whole / threads;
        // The last round ends with its longest task.
        let last = if whole % threads > 0 { cost(*group) } else { cost(rest) };
        rounds * cost(*group) + last
    };
    (1..=most.max(1)).rev().min_by_key(all).unwrap_or(1)
}
