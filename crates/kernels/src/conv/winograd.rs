//! 3x3 convolutions of stride 1 by Winograd's F(4x4, 3x3): a quarter of the products.
//!
//! A tile of 4x4 outputs needs 6x6 inputs, which are transformed, multiplied with transformed kernels in 36 products over
//! channels, and transformed back (Lavin and Gray, CVPR 2016). The interpolation points are 0, ±1/√2, ±√2 and infinity: their
//! error is about twice that of a plain sum, a third of that with the usual ±1 and ±2.

use super::Shape;
use super::chain::{Follow, Outputs, Store, finish, for_each_part, part_sizes};
use super::direct::Source;
use super::gemm::{DEPTH, LINE, Sums, Weights, micro_kernel, rectify, tile_rows, units_per_task};
use crate::Level;
use crate::buffer::{Floats, vectors, vectors_mut};
use crate::panel::NR_VECTORS;
use crate::pool::Pool;
use pulp::{Simd, WithSimd};

/// Outputs of a tile along one side.
const OUT: usize = 4;
/// Inputs of a tile along one side.
const IN: usize = 6;
/// Products.
const POINTS: usize = IN * IN;

/// The smaller points, 1/√2 and -1/√2.
const A: f32 = std::f32::consts::FRAC_1_SQRT_2;
/// The larger points, √2 and -√2.
const B: f32 = std::f32::consts::SQRT_2;
/// A² and B². A² B² is 1.
const A2: f32 = 0.5;
const B2: f32 = 2.0;

/// Transformed tiles of a task at most, in floats: about what L2 holds.
const MOST_FLOATS: usize = 512 << 10;

/// A 3x3 convolution of stride 1 with a padding of 1.
#[derive(Debug, Clone)]
pub(super) struct Winograd {
    /// Panels of `[36 * pitch, NR]`, point after point.
    weights: Weights,
    bias: Vec<f32>,
    /// Floats per input pixel.
    pitch: usize,
}

/// A thread's scratch.
#[derive(Debug, Clone, Default)]
pub(super) struct Scratch {
    /// Transformed inputs, in lines.
    inputs: Floats,
    /// Products of one panel, `[36, tiles, NR]`.
    products: Floats,
    /// A pixel outside the map.
    zeros: Floats,
    /// Of what follows.
    lines: Floats,
}

impl Winograd {
    /// Packs `weight` `[outputs, inputs, 3, 3]`; input pixels have `pitch` floats, of which the first `inputs` count.
    pub(super) fn pack(level: Level, shape: &Shape, pitch: usize, weight: &[f32], bias: &[f32]) -> Self {
        let Shape { inputs, outputs, .. } = *shape;
        let columns = level.columns();
        let panels = outputs.div_ceil(columns);
        let weights = Weights::pack(panels, POINTS * pitch, columns, |panel, values| {
            let here = columns.min(outputs - panel * columns);
            for column in 0..here {
                let kernels = weight[(panel * columns + column) * inputs * 9..].as_chunks::<9>().0;
                for (channel, kernel) in kernels[..inputs].iter().enumerate() {
                    for (point, value) in transformed(kernel).into_iter().enumerate() {
                        values[(point * pitch + channel) * columns + column] = value;
                    }
                }
            }
        });
        let mut padded = vec![0.0; panels * columns];
        padded[..outputs].copy_from_slice(bias);
        Self { weights, bias: padded, pitch }
    }

    /// Computes the output map, as large as the input, on all threads.
    pub(super) fn run(
        &self,
        level: Level,
        source: Source<'_>,
        store: Store,
        following: &[Follow<'_>],
        outputs: Outputs<'_>,
        scratches: &Pool<Scratch>,
    ) {
        let ([height, width], rows) = (source.size, tile_rows(level));
        let [down, across] = [height, width].map(|side| side.div_ceil(OUT));
        let most = MOST_FLOATS / (across * POINTS * self.pitch);
        let cost = |lines: usize| {
            let tiles = lines * across;
            // Reading the weights costs about as much as a few tiles.
            tiles + 6 * tiles.min(1)
        };
        let lines = units_per_task(down, rayon::current_num_threads(), most.clamp(1, 16), cost);
        let sizes = part_sizes(lines * OUT * width, store, following);
        for_each_part(0..down.div_ceil(lines), sizes, outputs, &|index, outputs| {
            let mut scratch = scratches.borrow();
            let first = index * lines;
            let tiles = lines.min(down - first) * across;
            let pitch_tiles = tiles.div_ceil(rows) * rows;
            let Scratch { inputs, products, zeros, lines: pixels } = &mut *scratch;
            inputs.resize(self.layout(pitch_tiles).lines() * LINE);
            products.resize(POINTS * pitch_tiles * level.columns());
            if zeros.len() < self.pitch {
                zeros.resize(self.pitch);
                zeros.fill(0.0);
            }
            let task = Task { conv: self, source, first, tiles, across, epilogue: store.epilogue };
            let layout = self.layout(pitch_tiles);
            let out = &mut *outputs[0].values;
            level.run(Run { task, layout, out, inputs, products, zeros, rows });
            finish(level, store, following, outputs, pixels);
        });
    }

    fn layout(&self, tiles: usize) -> Layout {
        let per_line = (DEPTH / self.pitch).max(1);
        Layout { per_line, slices: self.pitch.div_ceil(DEPTH), pitch: self.pitch, tiles }
    }
}

/// A kernel at the 36 points.
fn transformed(kernel: &[f32; 9]) -> [f32; POINTS] {
    let (a2, b2) = (f64::from(A2), f64::from(B2));
    let (a, b) = (a2.sqrt(), b2.sqrt());
    let (by_a, by_b) = (2.0 * a2 * (a2 - b2), 2.0 * b2 * (b2 - a2));
    let rows: [[f64; 3]; IN] = [
        [1.0 / (a2 * b2), 0.0, 0.0],
        [1.0 / by_a, a / by_a, a2 / by_a],
        [1.0 / by_a, -a / by_a, a2 / by_a],
        [1.0 / by_b, b / by_b, b2 / by_b],
        [1.0 / by_b, -b / by_b, b2 / by_b],
        [0.0, 0.0, 1.0],
    ];
    std::array::from_fn(|point| {
        let (down, across) = (rows[point / IN], rows[point % IN]);
        let terms = (0..9).map(|i| down[i / 3] * across[i % 3] * f64::from(kernel[i]));
        terms.sum::<f64>() as f32
    })
}

/// Where transformed inputs lie: lines of a point's channels (or of a slice of them, or of several points'), tile after tile.
#[derive(Debug, Clone, Copy)]
struct Layout {
    /// Points that share a line.
    per_line: usize,
    /// Lines that a point's channels take.
    slices: usize,
    pitch: usize,
    /// Tiles, rounded up to whole tiles of the micro-kernel.
    tiles: usize,
}

impl Layout {
    fn lines(&self) -> usize {
        POINTS.div_ceil(self.per_line) * self.slices * self.tiles
    }

    /// The first line and the offset in it of a point's slice.
    #[inline(always)]
    fn place(&self, point: usize, slice: usize) -> [usize; 2] {
        let line = (point / self.per_line * self.slices + slice) * self.tiles;
        [line, point % self.per_line * self.pitch]
    }
}

/// Some lines of tiles.
struct Task<'a> {
    conv: &'a Winograd,
    source: Source<'a>,
    /// The first line of tiles.
    first: usize,
    tiles: usize,
    /// Tiles in a line.
    across: usize,
    /// Whether the result is added to the output, and whether a ReLU follows.
    epilogue: [bool; 2],
}

struct Run<'a> {
    task: Task<'a>,
    layout: Layout,
    out: &'a mut [f32],
    inputs: &'a mut [f32],
    products: &'a mut [f32],
    zeros: &'a [f32],
    rows: usize,
}

impl WithSimd for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { task, layout, out, inputs, products, zeros, rows } = self;
        let columns = NR_VECTORS * S::F32_LANES;
        for tile in 0..task.tiles {
            task.transform_input(simd, layout, tile, inputs, zeros);
        }
        for panel in 0..task.conv.bias.len() / columns {
            for point in 0..POINTS {
                let products = &mut products[point * layout.tiles * columns..][..layout.tiles * columns];
                for slice in 0..layout.slices {
                    let (weights, at) = (&task.conv.weights, point * layout.pitch + slice * DEPTH);
                    let count = DEPTH.min(layout.pitch - slice * DEPTH);
                    for first in (0..task.tiles).step_by(rows) {
                        // The rows after these, which follow in memory.
                        let part = [first / rows, task.tiles.div_ceil(rows)];
                        weights.prefetch(panel, at + count, count, columns, part);
                        let out = &mut products[first * columns..];
                        let here = task.tiles - first;
                        match (rows, here) {
                            (12, 9..) => {
                                task.tile::<S, 12>(simd, layout, panel, point, slice, first, inputs, out)
                            }
                            (12, 5..) => {
                                task.tile::<S, 8>(simd, layout, panel, point, slice, first, inputs, out)
                            }
                            (12, _) => {
                                task.tile::<S, 4>(simd, layout, panel, point, slice, first, inputs, out)
                            }
                            (_, 4..) => {
                                task.tile::<S, 6>(simd, layout, panel, point, slice, first, inputs, out)
                            }
                            _ => task.tile::<S, 3>(simd, layout, panel, point, slice, first, inputs, out),
                        }
                    }
                }
            }
            for tile in 0..task.tiles {
                task.transform_output(simd, layout, tile, panel, products, out);
            }
        }
    }
}

impl Task<'_> {
    /// Transforms the 6x6 inputs of a tile, for all channels.
    #[inline(always)]
    fn transform_input<S: Simd>(
        &self,
        simd: S,
        layout: Layout,
        tile: usize,
        inputs: &mut [f32],
        zeros: &[f32],
    ) {
        let Source { values, size: [height, width], pitch } = self.source;
        let (top, left) = ((self.first + tile / self.across) * OUT, tile % self.across * OUT);
        let mut pixels = [&zeros[..pitch]; POINTS];
        for (point, pixel) in pixels.iter_mut().enumerate() {
            // One up and one to the left is the padding.
            let (y, x) = ((top + point / IN).wrapping_sub(1), (left + point % IN).wrapping_sub(1));
            if y < height && x < width {
                *pixel = &values[(y * width + x) * pitch..][..pitch];
            }
        }
        let lanes = S::F32_LANES;
        for channel in (0..pitch).step_by(lanes) {
            let mut d = [[simd.splat_f32s(0.0); IN]; IN];
            for y in 0..IN {
                for x in 0..IN {
                    d[y][x] = vectors::<S>(&pixels[y * IN + x][channel..channel + lanes])[0];
                }
            }
            for x in 0..IN {
                let column = forward(simd, [d[0][x], d[1][x], d[2][x], d[3][x], d[4][x], d[5][x]]);
                for y in 0..IN {
                    d[y][x] = column[y];
                }
            }
            let (slice, within) = (channel / DEPTH, channel % DEPTH);
            for y in 0..IN {
                let row = forward(simd, d[y]);
                for x in 0..IN {
                    let [line, offset] = layout.place(y * IN + x, slice);
                    let at = (line + tile) * LINE + offset + within;
                    vectors_mut::<S>(&mut inputs[at..at + lanes])[0] = row[x];
                }
            }
        }
    }

    /// A tile of one point's product, over a slice of channels.
    #[allow(clippy::too_many_arguments, reason = "the loops' indices")]
    #[allow(clippy::manual_memcpy, reason = "sums are registers")]
    #[inline(always)]
    fn tile<S: Simd, const R: usize>(
        &self,
        simd: S,
        layout: Layout,
        panel: usize,
        point: usize,
        slice: usize,
        first: usize,
        inputs: &[f32],
        out: &mut [f32],
    ) {
        let out = &mut vectors_mut::<S>(out).as_chunks_mut::<NR_VECTORS>().0[..R];
        let mut sums: Sums<S::f32s, R> = [[simd.splat_f32s(0.0); NR_VECTORS]; R];
        if slice > 0 {
            for r in 0..R {
                sums[r] = out[r];
            }
        }
        let count = DEPTH.min(layout.pitch - slice * DEPTH);
        let weights = self.conv.weights.rows::<S>(panel, point * layout.pitch + slice * DEPTH, count);
        let [line, offset] = layout.place(point, slice);
        micro_kernel::<S, R>(simd, &inputs[(line + first) * LINE..], offset, weights, &mut sums);
        for r in 0..R {
            out[r] = sums[r];
        }
    }

    /// Transforms a tile's products back, and writes what lies inside the map.
    #[inline(always)]
    fn transform_output<S: Simd>(
        &self,
        simd: S,
        layout: Layout,
        tile: usize,
        panel: usize,
        products: &[f32],
        out: &mut [f32],
    ) {
        let (width, pitch, lanes) = (self.source.size[1], self.conv.bias.len(), S::F32_LANES);
        let columns = NR_VECTORS * lanes;
        let (top, left) = (tile / self.across * OUT, tile % self.across * OUT);
        let down = OUT.min(out.len() / (pitch * width) - top);
        let across = OUT.min(width - left);
        let [add, relu] = self.epilogue;
        for v in 0..NR_VECTORS {
            let mut m = [[simd.splat_f32s(0.0); IN]; IN];
            for y in 0..IN {
                for x in 0..IN {
                    let at = ((y * IN + x) * layout.tiles + tile) * columns + v * lanes;
                    m[y][x] = vectors::<S>(&products[at..at + lanes])[0];
                }
            }
            let first = panel * columns + v * lanes;
            let bias = vectors::<S>(&self.conv.bias[first..first + lanes])[0];
            let mut columns_done = [[simd.splat_f32s(0.0); IN]; OUT];
            for x in 0..IN {
                let column = inverse(simd, [m[0][x], m[1][x], m[2][x], m[3][x], m[4][x], m[5][x]]);
                for y in 0..OUT {
                    columns_done[y][x] = column[y];
                }
            }
            for y in 0..OUT {
                let row = inverse(simd, columns_done[y]);
                for x in 0..OUT {
                    if y < down && x < across {
                        let at = ((top + y) * width + left + x) * pitch + first;
                        let out = &mut vectors_mut::<S>(&mut out[at..at + lanes])[0];
                        let mut value = simd.add_f32s(row[x], bias);
                        if add {
                            value = simd.add_f32s(value, *out);
                        }
                        *out = if relu { rectify(simd, value) } else { value };
                    }
                }
            }
        }
    }
}

/// Six inputs at the six points.
#[inline(always)]
fn forward<S: Simd>(simd: S, d: [S::f32s; IN]) -> [S::f32s; IN] {
    let [minus_both, minus_a2, minus_b2] = [-(A2 + B2), -A2, -B2].map(|c| simd.splat_f32s(c));
    let (a, b) = (simd.splat_f32s(A), simd.splat_f32s(B));
    let (minus_a, minus_b) = (simd.splat_f32s(-A), simd.splat_f32s(-B));
    let even_a = simd.mul_add_e_f32s(minus_b2, d[2], d[4]);
    let odd_a = simd.mul_add_e_f32s(minus_b2, d[1], d[3]);
    let even_b = simd.mul_add_e_f32s(minus_a2, d[2], d[4]);
    let odd_b = simd.mul_add_e_f32s(minus_a2, d[1], d[3]);
    [
        simd.mul_add_e_f32s(minus_both, d[2], simd.add_f32s(d[0], d[4])),
        simd.mul_add_e_f32s(a, odd_a, even_a),
        simd.mul_add_e_f32s(minus_a, odd_a, even_a),
        simd.mul_add_e_f32s(b, odd_b, even_b),
        simd.mul_add_e_f32s(minus_b, odd_b, even_b),
        simd.mul_add_e_f32s(minus_both, d[3], simd.add_f32s(d[1], d[5])),
    ]
}

/// Four outputs from their values at the six points.
#[inline(always)]
fn inverse<S: Simd>(simd: S, m: [S::f32s; IN]) -> [S::f32s; OUT] {
    let (sum_a, difference_a) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
    let (sum_b, difference_b) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
    let weighted = |a: f32, of_a: S::f32s, b: f32, of_b: S::f32s| {
        simd.mul_add_e_f32s(simd.splat_f32s(a), of_a, simd.mul_f32s(simd.splat_f32s(b), of_b))
    };
    [
        simd.add_f32s(m[0], simd.add_f32s(sum_a, sum_b)),
        weighted(A, difference_a, B, difference_b),
        weighted(A2, sum_a, B2, sum_b),
        simd.add_f32s(m[5], weighted(A * A2, difference_a, B * B2, difference_b)),
    ]
}
