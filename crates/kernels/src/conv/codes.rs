//! Convolutions in 8 bits: a map's pixels are quantised as they leave the layer before, each by its largest value, and gathered
//! like floats ([`direct`](super::direct)). What lies under one tap is summed as integers, then scaled by its pixel's scale;
//! the weights' scale, one per output channel, comes at the end.

use super::Shape;
use super::direct::{Piece, Slice};
use super::gemm::{DEPTH, LINE, Sums, Weights};
use crate::Level;
use crate::buffer::vectors;
use crate::int8::{DotProduct, MOST_DEPTH, QuantisePixels};
use crate::panel::NR_VECTORS;
use pulp::Simd;
use pulp::bytemuck::{cast_slice, cast_slice_mut};
use rayon::prelude::*;

/// Pieces of a slice at most: their pixels' scales lie in a line behind its elements.
pub(super) const MOST_PIECES: usize = LINE - DEPTH;

const _: () = assert!(DEPTH <= MOST_DEPTH, "a piece's sum fits 32 bits");

/// How a network's maps are quantised.
#[derive(Debug, Clone, Copy)]
pub(super) struct Codes {
    products: DotProduct,
    level: Level,
}

impl Codes {
    pub(super) fn new(products: DotProduct, level: Level) -> Self {
        Self { products, level }
    }

    /// Whether a product of codes costs a quarter of one of floats, so that 3x3 convolutions need no Winograd's algorithm.
    pub(super) fn are_bytes(self) -> bool {
        self.products.values() == 4
    }

    /// Elements of a pixel of `pitch` floats.
    pub(super) fn elements(self, pitch: usize) -> usize {
        let lanes = self.level.lanes();
        pitch.div_ceil(self.products.values() * lanes) * lanes
    }

    /// The same and the pixel's scale.
    pub(super) fn pitch(self, pitch: usize) -> usize {
        self.elements(pitch) + 1
    }

    /// Quantises pixels of `pitch` floats, none of which is negative.
    pub(super) fn quantise(self, pitch: usize, values: &[f32], codes: &mut [f32]) {
        self.level.run(QuantisePixels { products: self.products, pitch, values, codes });
    }

    /// The channel of each code of a pixel of `elements` elements, as [`QuantisePixels`] has them.
    fn channels(self, elements: usize) -> Vec<usize> {
        let (lanes, values) = (self.level.lanes(), self.products.values());
        let of_element = |e: usize| (0..values).map(move |i| (e / lanes * values + i) * lanes + e % lanes);
        (0..elements).flat_map(of_element).collect()
    }

    /// Packs `weight` `[outputs, inputs, side, side]` for slices whose places are counted in elements, and counts them in rows
    /// of weights: each piece has a row more, what its sums begin with.
    pub(super) fn pack(
        self,
        shape: &Shape,
        elements: usize,
        slices: &mut [Slice],
        weight: &[f32],
    ) -> (Weights, CodedWeights) {
        let Shape { inputs, outputs, side, .. } = *shape;
        let (products, columns, taps) = (self.products, self.level.columns(), side * side);
        let mut rows = 0;
        for slice in slices.iter_mut() {
            (slice.first, slice.len) = (rows, slice.len + slice.pieces.len());
            rows += slice.len;
        }
        let (channels, panels) = (self.channels(elements), outputs.div_ceil(columns));
        let kernels: Vec<(f32, Vec<i16>)> = weight
            .par_chunks_exact(inputs * taps)
            .map(|kernel| {
                let mut codes = Vec::new();
                (products.quantise_row(kernel, &mut codes), codes)
            })
            .collect();
        let slices = &*slices;
        let weights = Weights::pack(panels, rows, columns, |panel, packed| {
            let mut elements = vec![0.0; DEPTH];
            for (column, (_, kernel)) in kernels[panel * columns..].iter().take(columns).enumerate() {
                for slice in slices {
                    for (index, piece) in slice.pieces.iter().enumerate() {
                        let tap = piece.tap_index(side);
                        let here =
                            &channels[piece.from * products.values()..][..piece.copied * products.values()];
                        let code = |channel: &usize| {
                            if *channel < inputs { kernel[channel * taps + tap] } else { 0 }
                        };
                        let codes: Vec<i16> = here.iter().map(code).collect();
                        products.pack_row(&codes, &mut elements[..piece.copied]);
                        let sum = codes.iter().map(|code| i32::from(*code)).sum();
                        let start = f32::from_bits(products.start_of_pixel(sum).cast_unsigned());
                        let first = slice.first + piece.row(index);
                        let places = packed[first * columns + column..].iter_mut().step_by(columns);
                        for (place, element) in places.zip([start].iter().chain(&elements[..piece.copied])) {
                            *place = *element;
                        }
                    }
                }
            }
        });
        let mut scales = vec![0.0; panels * columns];
        scales.iter_mut().zip(&kernels).for_each(|(scale, (of_kernel, _))| *scale = *of_kernel);
        (weights, CodedWeights { products, scales })
    }
}

/// What the weights of a convolution in 8 bits stand for.
#[derive(Debug, Clone)]
pub(super) struct CodedWeights {
    products: DotProduct,
    /// Per output channel, padding included.
    scales: Vec<f32>,
}

impl CodedWeights {
    /// The sums of a tile over a slice, whose weights `rows` are.
    ///
    /// # Shapes
    /// - lines: at least R lines of [`LINE`]: the slice's elements, and from [`DEPTH`] on the scale of each piece's pixel
    #[inline(always)]
    pub(super) fn sums<S: Simd, const R: usize>(
        &self,
        simd: S,
        pieces: &[Piece],
        lines: &[f32],
        rows: &[[S::f32s; NR_VECTORS]],
        panel: usize,
    ) -> Sums<S::f32s, R> {
        let none = [[simd.splat_f32s(0.0); NR_VECTORS]; R];
        let (mut sums, mut integers) = (none, none);
        let Some((lines, _)) = lines.as_chunks::<LINE>().0.split_first_chunk::<R>() else { return sums };
        for (index, piece) in pieces.iter().enumerate() {
            let rows = &rows[piece.row(index)..][..1 + piece.copied];
            let out = cast_slice_mut(&mut integers);
            self.products.sums_of_lines::<R, LINE>(lines, piece.to, cast_slice(rows), out);
            for r in 0..R {
                let scale = simd.splat_f32s(lines[r][DEPTH + index]);
                for v in 0..NR_VECTORS {
                    sums[r][v] = simd.mul_add_e_f32s(integers[r][v], scale, sums[r][v]);
                }
            }
        }
        let columns = NR_VECTORS * S::F32_LANES;
        let scales = vectors::<S>(&self.scales[panel * columns..][..columns]);
        for r in 0..R {
            for v in 0..NR_VECTORS {
                sums[r][v] = simd.mul_f32s(sums[r][v], scales[v]);
            }
        }
        sums
    }
}
