//! A packed GEMM in the BLIS scheme (Van Zee and van de Geijn 2015), of weights times panels of tokens.
//!
//! `C = A B + bias`: A is a [`Matrix`] `[rows, depth]`, packed once when a model is loaded; B and C are packed
//! micro-panels ([`panel`](crate::panel)) of NR tokens.
//!
//! - The *micro-kernel* ([`Matrix::micro_kernel`]) keeps an MR x NR tile of C in registers and adds an outer product
//!   per element of depth: with 16 registers MR = [`MR`] (12 accumulators, 2 vectors of B, one broadcast element of
//!   A), with 32 registers [`MR_WIDE`] (24 + 2 + 1).
//! - Depth is cut into slices of [`KC`], so that a slice of B's micro-panel stays in L1; partial sums wait in C.
//! - Rows are cut into blocks of [`MC`], so that an MC x KC block of A stays in L2 while all panels of the caller
//!   pass. There is no NC loop: a thread multiplies a handful of panels at a time.
//! - A is packed in the order in which the micro-kernel reads it: slices of KC; in each, micro-panels of MR rows; in
//!   each, column after column.
//! - While panels are multiplied with a block of A, the next block is prefetched into L2, each panel bringing its share:
//!   a model's weights are larger than caches, and a block comes no faster from memory than one panel is multiplied. The
//!   tile of C is prefetched into L1, and added at the end.
//! - An [`Epilogue`] adds bias and activation while the tile is in registers.
//!
//! An element of A or B is an `f32`, or two bfloat16 of neighbouring columns ([`Element`]): depth then counts pairs,
//! and a product of two elements is two multiply-adds. Or it is some 8-bit integers ([`int8`](crate::int8)): then A has
//! a scale for each row, a micro-panel of B a scale and a centre for each column after its last row, and a slice's integer
//! sums are scaled before they are added to C. Weights may be stored as IEEE f16 (`matrix/halves.rs`): each
//! micro-panel of a block is expanded to f32 before the first panel of tokens meets it, and stays in L2 for the others.

use crate::Level;
use crate::buffer::{Floats, vectors, vectors_mut};
use crate::element::{self, Element};
use crate::epilogue::Epilogue;
use crate::half::Expansion;
use crate::int8::DotProduct;
use crate::panel::NR_VECTORS;
use crate::prefetch::{LINE, prefetch, prefetch_near};
use pulp::bytemuck::{cast_slice, cast_slice_mut};
use pulp::{Simd, WithSimd};

mod halves;
mod parts;
#[cfg(test)]
mod tests;

/// Rows of the micro-kernel with 16 vector registers.
pub(crate) const MR: usize = 6;

/// Rows of the micro-kernel with 32 vector registers.
pub(crate) const MR_WIDE: usize = 12;

/// Elements of depth per slice: KC x NR elements of B are 24 KB at most and fit L1. A multiple of NR at every level
/// and of both MR.
pub(crate) const KC: usize = 192;

/// Rows per block: MC x KC elements of A are 144 KB and fit L2. A multiple of both MR.
const MC: usize = 192;

/// Elements of depth between prefetches.
const STEP: usize = 4;

/// How a matrix is packed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Packing {
    /// Rows of a micro-panel: [`MR`] or [`MR_WIDE`].
    pub(crate) mr: usize,
    pub(crate) element: Element,
}

impl Packing {
    /// The packing that suits a level's registers.
    pub(crate) fn new(level: Level, element: Element) -> Self {
        Self { mr: if level.registers() >= 32 { MR_WIDE } else { MR }, element }
    }
}

/// A packed matrix `[rows, columns]` and its bias: the A of a GEMM.
#[derive(Debug, Clone, Default)]
pub(crate) struct Matrix {
    pub(crate) rows: usize,
    /// Elements per row.
    depth: usize,
    packing: Packing,
    /// Slices of [`KC`] elements; in each, micro-panels of MR rows; in each, column after column. Rows are padded
    /// to a multiple of MR.
    weight: Floats,
    /// Of weights in 16 bits, two to a float.
    expansion: Option<Expansion>,
    bias: Vec<f32>,
    /// With 8-bit integers the scale of each row, with weights in 16 bits its factor.
    scales: Vec<f32>,
    /// With 8-bit integers what the sums of each slice begin with, row after row.
    starts: Vec<i32>,
    /// With 8-bit integers the sum of what the codes of each slice stand for, row after row.
    totals: Vec<f32>,
}

impl Matrix {
    /// Packs `weight`, `[rows, columns]` row after row as PyTorch stores it, and `bias`, one value per row.
    pub(crate) fn pack(packing: Packing, columns: usize, weight: &[f32], bias: &[f32]) -> Self {
        let mut packed = Self::default();
        packed.resize(packing, bias.len(), columns);
        packed.bias[..bias.len()].copy_from_slice(bias);
        let (mut elements, mut codes) = (vec![0.0; packed.depth], Vec::new());
        let padded = packed.scales.len();
        for (r, row) in weight.chunks_exact(columns.max(1)).enumerate() {
            if let Element::Int8(products) = packing.element {
                packed.scales[r] = products.quantise_row(row, &mut codes);
                products.pack_row(&codes, &mut elements);
                for (slice, codes) in codes.chunks(KC * products.values()).enumerate() {
                    let sum = codes.iter().map(|code| i32::from(*code)).sum();
                    packed.starts[slice * padded + r] = products.start_of(sum);
                    packed.totals[slice * padded + r] = packed.scales[r] * sum as f32;
                }
            } else {
                packing.element.pack_row(row, &mut elements);
            }
            for (slice, elements) in elements.chunks(KC).enumerate() {
                packed.set_row(r, slice * KC, elements);
            }
        }
        packed
    }

    /// Changes the shape to `[rows, columns]` and clears the bias. Every element must be set afterwards.
    pub(crate) fn resize(&mut self, packing: Packing, rows: usize, columns: usize) {
        let padded = rows.div_ceil(packing.mr) * packing.mr;
        (self.rows, self.depth, self.packing) = (rows, packing.element.count(columns), packing);
        self.expansion = None;
        self.weight.resize(padded * self.depth);
        self.bias.clear();
        self.bias.resize(padded, 0.0);
        self.scales.clear();
        self.starts.clear();
        self.totals.clear();
        if matches!(packing.element, Element::Int8(_)) {
            self.scales.resize(padded, 0.0);
            self.starts.resize(padded * self.depth.div_ceil(KC), 0);
            self.totals.resize(padded * self.depth.div_ceil(KC), 0.0);
        }
    }

    /// Offset of an element in `weight`.
    fn offset(&self, row: usize, element: usize) -> usize {
        let mr = self.packing.mr;
        let first = element / KC * KC;
        let length = KC.min(self.depth - first);
        let at = first * self.rows.div_ceil(mr) + row / mr * length + (element - first);
        at * mr + row % mr
    }

    /// Writes elements `element..` of one row; they must not cross a multiple of [`KC`].
    #[inline(always)]
    pub(crate) fn set_row(&mut self, row: usize, element: usize, elements: &[f32]) {
        if elements.is_empty() {
            return;
        }
        let first = self.offset(row, element);
        let places = self.weight[first..].iter_mut().step_by(self.packing.mr);
        for (place, element) in places.zip(elements) {
            *place = *element;
        }
    }

    /// Writes column `element` of rows `row..`.
    #[inline(always)]
    pub(crate) fn set_column(&mut self, row: usize, element: usize, elements: &[f32]) {
        let mr = self.packing.mr;
        let length = KC.min(self.depth - element / KC * KC);
        let (mut place, mut lane) = (self.offset(row, element), row % mr);
        for element in elements {
            self.weight[place] = *element;
            (place, lane) = (place + 1, lane + 1);
            if lane == mr {
                // The same column of the next micro-panel.
                (place, lane) = (place + (length - 1) * mr, 0);
            }
        }
    }

    /// With 8-bit integers, the scale of a row whose sums with columns begin at zero.
    pub(crate) fn set_scale(&mut self, row: usize, scale: f32) {
        self.scales[row] = scale;
    }

    /// With 8-bit integers, the scales of rows `row..` and what their sums begin with, by the sums of their codes.
    #[inline(always)]
    pub(crate) fn set_scales(&mut self, products: DotProduct, row: usize, scales: &[f32], sums: &[f32]) {
        self.scales[row..][..scales.len()].copy_from_slice(scales);
        for (i, (scale, sum)) in scales.iter().zip(sums).enumerate() {
            self.starts[row + i] = products.start_of(*sum as i32);
            self.totals[row + i] = scale * sum;
        }
    }

    /// The type of the packed elements.
    pub(crate) fn element(&self) -> Element {
        self.packing.element
    }

    /// Rows of a micro-panel.
    pub(crate) fn mr(&self) -> usize {
        self.packing.mr
    }

    /// Converts panels of floats to this matrix's element type, in place: the B of a product.
    ///
    /// # Shapes
    /// - x: panels `[columns, NR]`
    /// - output: panels `[depth, NR]`, of 8-bit integers `[depth + 2, NR]`
    #[inline(always)]
    pub(crate) fn input<'a, S: Simd>(&self, simd: S, columns: usize, x: &'a mut [S::f32s]) -> &'a [S::f32s] {
        self.packing.element.convert(simd, columns, x)
    }

    /// Rows of a panel of [`input`](Self::input).
    pub(crate) fn panel_rows(&self) -> usize {
        self.depth + self.packing.element.scale_rows()
    }

    /// `out = W x + b` with an epilogue, for one panel or several.
    ///
    /// # Shapes
    /// - x: panels from [`input`](Self::input)
    /// - out: as many panels `[rows, NR]`
    #[inline(always)]
    pub(crate) fn multiply<S: Simd, E: Epilogue>(
        &self,
        simd: S,
        x: &[S::f32s],
        out: &mut [S::f32s],
        epilogue: E,
    ) {
        // MR and S belong together: both follow from the level.
        if self.packing.mr == MR_WIDE {
            self.macro_kernel::<S, E, MR_WIDE>(simd, x, out, epilogue);
        } else {
            self.macro_kernel::<S, E, MR>(simd, x, out, epilogue);
        }
    }

    /// The loops around the micro-kernel: slices of KC, blocks of MC, panels of NR, tiles of MR.
    #[inline(always)]
    fn macro_kernel<S: Simd, E: Epilogue, const R: usize>(
        &self,
        simd: S,
        x: &[S::f32s],
        out: &mut [S::f32s],
        epilogue: E,
    ) {
        let (x, out) = (x.as_chunks::<NR_VECTORS>().0, out.as_chunks_mut::<NR_VECTORS>().0);
        let own = self.panel_rows();
        let panels = x.len() / own;
        let mut expanded = self.expansion.map(|expansion| (expansion, halves::Block::take()));
        for first in (0..self.depth).step_by(KC) {
            for block in (0..self.rows).step_by(MC) {
                let end = self.rows.min(block + MC);
                for panel in 0..panels {
                    let x = &x[panel * own + first..];
                    let out = &mut out[panel * self.rows..][..self.rows];
                    for row in (block..end).step_by(R) {
                        let ahead = self.ahead(first, row, end - block, [panel, panels]);
                        let weight = match &mut expanded {
                            Some((expansion, expanded)) => {
                                let place = [first, row / R];
                                self.expanded::<R>(*expansion, place, row - block, expanded, panel == 0)
                            }
                            None => self.micro_panel::<R>(first, row / R),
                        };
                        self.tile::<S, E, R>(simd, [first, row], weight, x, out, epilogue, ahead);
                    }
                }
            }
        }
    }

    /// The part of the next block of weights that is to be prefetched while a panel is multiplied with the tile at `row`:
    /// of the tile `block` rows further on, which follows in memory across slices, too, a share for each panel.
    #[inline(always)]
    fn ahead(&self, first: usize, row: usize, block: usize, [panel, panels]: [usize; 2]) -> &[f32] {
        let mr = self.packing.mr;
        let length = KC.min(self.depth - first);
        let index = (row + block).div_ceil(mr);
        let start = (first * self.rows.div_ceil(mr) + index * length) * mr;
        // Of weights in 16 bits a float has two.
        let (start, size) = match self.expansion {
            Some(_) => (start / 2, length * mr / 2),
            None => (start, length * mr),
        };
        let share = start + size * panel / panels..start + size * (panel + 1) / panels;
        self.weight.get(share).unwrap_or_default()
    }

    /// The MR x NR tile of C that begins at `row`, over the slice of depth that begins at `first`. Bias and epilogue
    /// are applied with the first and the last slice. `ahead` is prefetched.
    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "a struct of them would not stay in registers")]
    fn tile<S: Simd, E: Epilogue, const R: usize>(
        &self,
        simd: S,
        [first, row]: [usize; 2],
        weight: &[[f32; R]],
        x: &[[S::f32s; NR_VECTORS]],
        out: &mut [[S::f32s; NR_VECTORS]],
        epilogue: E,
        ahead: &[f32],
    ) {
        let zero = simd.splat_f32s(0.0);
        let last = first + KC >= self.depth;
        let rows = &mut out[row..self.rows.min(row + R)];
        // Whole tiles have a constant size, so that their sums stay in registers.
        let (mut padded, count) = ([[zero; NR_VECTORS]; R], rows.len());
        let whole: &mut [[S::f32s; NR_VECTORS]; R] = if count == R {
            rows.as_mut_array().unwrap_or(&mut padded)
        } else {
            padded[..count].copy_from_slice(rows);
            &mut padded
        };
        prefetch_near(whole);
        let mut sums = [[zero; NR_VECTORS]; R];
        self.micro_kernel::<S, R>(simd, [first, row / R], weight, x, &mut sums, ahead);
        self.scale::<S, R>(simd, [first, row], &x[self.depth - first..], &mut sums);
        let bias = &self.bias[row..row + R];
        for r in 0..R {
            for v in 0..NR_VECTORS {
                let init = if first == 0 {
                    epilogue.init(simd, simd.splat_f32s(bias[r]), whole[r][v])
                } else {
                    whole[r][v]
                };
                let sum = simd.add_f32s(sums[r][v], init);
                whole[r][v] = if last { epilogue.finish(simd, sum) } else { sum };
            }
        }
        if count < R {
            out[row..].copy_from_slice(&padded[..count]);
        }
    }

    /// Scales the integer sums of a tile that begins at `row`, over a slice with element `first`; `columns` begins with the
    /// scales and the centres of the columns. Nothing changes with other elements.
    #[inline(always)]
    fn scale<S: Simd, const R: usize>(
        &self,
        simd: S,
        [first, row]: [usize; 2],
        columns: &[[S::f32s; NR_VECTORS]],
        sums: &mut [[S::f32s; NR_VECTORS]; R],
    ) {
        let start = first / KC * self.scales.len() + row;
        let rows = self.scales.get(row..).and_then(|rows| rows.first_chunk::<R>());
        let totals = self.totals.get(start..).and_then(|rows| rows.first_chunk::<R>());
        if let (Some(rows), Some(totals), [scales, centres, ..]) = (rows, totals, columns) {
            for r in 0..R {
                let (scale, total) = (simd.splat_f32s(rows[r]), simd.splat_f32s(totals[r]));
                for v in 0..NR_VECTORS {
                    let middle = simd.mul_f32s(centres[v], total);
                    sums[r][v] = simd.mul_add_e_f32s(sums[r][v], simd.mul_f32s(scale, scales[v]), middle);
                }
            }
        }
    }

    /// The columns of micro-panel `index` of A from element `first` of depth to the end of its slice; of weights in 32 bits,
    /// or packed elements.
    #[inline(always)]
    fn micro_panel<const R: usize>(&self, first: usize, index: usize) -> &[[f32; R]] {
        let slice = first / KC * KC;
        let length = KC.min(self.depth - slice);
        let start = (slice * self.rows.div_ceil(R) + index * length + first - slice) * R;
        self.weight[start..start + (slice + length - first) * R].as_chunks::<R>().0
    }

    /// The micro-kernel: adds `weight`, the columns of micro-panel `index` of A from element `first` on, times as many rows of
    /// B, if `x` has them. With 8-bit integers it begins with their sum.
    #[inline(always)]
    fn micro_kernel<S: Simd, const R: usize>(
        &self,
        simd: S,
        [first, index]: [usize; 2],
        weight: &[[f32; R]],
        x: &[[S::f32s; NR_VECTORS]],
        sums: &mut [[S::f32s; NR_VECTORS]; R],
        ahead: &[f32],
    ) {
        let count = weight.len().min(x.len());
        let (weight, x) = (&weight[..count], &x[..count]);
        if let Element::Int8(products) = self.packing.element {
            let starts = self.starts[first / KC * self.scales.len() + index * R..].first_chunk();
            let (starts, sums) = (starts.unwrap_or(&[0; R]), cast_slice_mut(sums));
            return products.sums::<R>(weight, cast_slice(x), starts, sums, ahead);
        }
        if let Element::Bf16x2(instruction) = self.packing.element {
            prefetch(ahead);
            return element::add_products::<S, R>(simd, instruction, weight, x, sums);
        }
        let mut local = *sums;
        let ((steps, rest), (x_steps, x_rest)) = (weight.as_chunks::<STEP>(), x.as_chunks::<STEP>());
        // As many lines with each step as bring all.
        let mut lines = ahead.chunks(LINE * ahead.len().div_ceil(LINE * steps.len().max(1)).max(1));
        for (weight, x) in steps.iter().zip(x_steps) {
            prefetch(lines.next().unwrap_or_default());
            multiply_add(simd, weight, x, &mut local);
        }
        multiply_add(simd, rest, x_rest, &mut local);
        *sums = local;
    }
}

/// [`Matrix::multiply`] with the vectors of a level.
pub(crate) struct Multiply<'a, E> {
    pub(crate) matrix: &'a Matrix,
    pub(crate) x: &'a [f32],
    pub(crate) out: &'a mut [f32],
    pub(crate) epilogue: E,
}

impl<E: Epilogue> WithSimd for Multiply<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.matrix.multiply(simd, vectors::<S>(self.x), vectors_mut::<S>(self.out), self.epilogue);
    }
}

/// [`Matrix::input`] and [`Matrix::multiply`] with the vectors of a level. `x`, panels `[columns, NR]`, is used up.
pub(crate) struct Apply<'a, E> {
    pub(crate) matrix: &'a Matrix,
    pub(crate) columns: usize,
    pub(crate) x: &'a mut [f32],
    pub(crate) out: &'a mut [f32],
    pub(crate) epilogue: E,
}

impl<E: Epilogue> WithSimd for Apply<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let x = self.matrix.input(simd, self.columns, vectors_mut::<S>(self.x));
        self.matrix.multiply(simd, x, vectors_mut::<S>(self.out), self.epilogue);
    }
}

/// Adds the outer products of some elements of depth.
#[inline(always)]
fn multiply_add<S: Simd, const R: usize>(
    simd: S,
    weight: &[[f32; R]],
    x: &[[S::f32s; NR_VECTORS]],
    sums: &mut [[S::f32s; NR_VECTORS]; R],
) {
    for (weight, x) in weight.iter().zip(x) {
        for r in 0..R {
            let w = simd.splat_f32s(weight[r]);
            for v in 0..NR_VECTORS {
                sums[r][v] = simd.mul_add_e_f32s(w, x[v], sums[r][v]);
            }
        }
    }
}
