//! Maximum pooling of maps.

use super::chain::{Output, Store};
use super::direct::Source;
use crate::Level;
use crate::buffer::{vectors, vectors_mut};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// A maximum pooling; padding never wins.
#[derive(Debug, Clone, Copy)]
pub(super) struct MaxPool {
    pub(super) side: usize,
    pub(super) stride: usize,
    pub(super) padding: usize,
}

impl MaxPool {
    /// Rows and columns of the output: an incomplete window is dropped. `None` if there is none.
    pub(super) fn size(&self, size: [usize; 2]) -> Option<[usize; 2]> {
        let along =
            |length: usize| Some((length + 2 * self.padding).checked_sub(self.side)? / self.stride + 1);
        Some([along(size[0])?, along(size[1])?])
    }

    /// Computes the output map, whose width is `width`, on all threads.
    pub(super) fn run(&self, level: Level, source: Source<'_>, width: usize, store: Store, out: Output<'_>) {
        let row = |y: usize, mut pixels: Output<'_>| {
            level.run(Row { pool: *self, source, y, out: pixels.values });
            store.quantise(&mut pixels);
        };
        let rows = out.values.par_chunks_mut(width * store.pitch).enumerate();
        if store.codes.is_none() {
            return rows.for_each(|(y, values)| row(y, Output { values, codes: &mut [] }));
        }
        let codes = out.codes.par_chunks_mut(width * store.codes_pitch());
        rows.zip(codes).for_each(|((y, values), codes)| row(y, Output { values, codes }));
    }
}

struct Row<'a> {
    pool: MaxPool,
    source: Source<'a>,
    y: usize,
    out: &'a mut [f32],
}

impl WithSimd for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Source { values, size: [height, width], pitch } = self.source;
        let MaxPool { side, stride, padding } = self.pool;
        let window = |at: usize, length: usize| {
            let first = at * stride;
            first.saturating_sub(padding)..(first + side - padding).min(length)
        };
        for (x, out) in self.out.chunks_exact_mut(pitch).enumerate() {
            let out = vectors_mut::<S>(out);
            out.fill(simd.splat_f32s(f32::NEG_INFINITY));
            for y in window(self.y, height) {
                for x in window(x, width) {
                    let pixel = vectors::<S>(&values[(y * width + x) * pitch..][..pitch]);
                    for (best, value) in out.iter_mut().zip(pixel) {
                        // NaN wins, as in PyTorch.
                        let kept = simd.select_f32s(simd.less_than_f32s(*best, *value), *value, *best);
                        *best = simd.select_f32s(simd.equal_f32s(*value, *value), kept, *value);
                    }
                }
            }
        }
    }
}
