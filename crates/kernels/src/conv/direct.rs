//! Convolutions as products, with implicit im2col: each task gathers the pixels under the taps of its output pixels, one
//! slice of depth at a time.

use super::Shape;
use super::chain::{Follow, Outputs, Store, finish, for_each_part, part_sizes};
use super::codes::{CodedWeights, Codes, MOST_PIECES};
use super::gemm::{DEPTH, LINE, Sums, Weights, copy, micro_kernel, rectify, tile_rows, units_per_task};
use crate::Level;
use crate::buffer::{Floats, vectors, vectors_mut};
use crate::panel::NR_VECTORS;
use crate::pool::Pool;
use crate::prefetch::prefetch;
use pulp::{Simd, WithSimd};

/// Whole tiles of a task at most: their slice of depth stays in L2.
pub(super) const MOST_TILES: usize = 16;

/// Weights of a slice that are read again for each tile at most, rather than each panel of them for all tiles.
const NEAR_FLOATS: usize = 64 << 10;

/// A convolution of any odd side and stride.
#[derive(Debug, Clone)]
pub(super) struct Direct {
    weights: Weights,
    /// Per output channel, padding included.
    bias: Vec<f32>,
    slices: Vec<Slice>,
    stride: usize,
    /// Of weights in 8 bits, for codes of pixels.
    coded: Option<CodedWeights>,
}

/// A slice of depth.
#[derive(Debug, Clone)]
pub(super) struct Slice {
    /// The first row of its weights, and how many they are.
    pub(super) first: usize,
    pub(super) len: usize,
    pub(super) pieces: Vec<Piece>,
}

/// Values of one tap that are neighbours in memory: part of a pixel's channels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    /// The tap's place relative to the output pixel's first, in pixels.
    tap: [isize; 2],
    /// The first value within the pixel.
    pub(super) from: usize,
    /// The first value within the slice.
    pub(super) to: usize,
    /// Values that are copied: of the image whole vectors, of which the next piece overwrites the rest.
    pub(super) copied: usize,
}

impl Piece {
    /// The number of its tap in a kernel of a side.
    pub(super) fn tap_index(&self, side: usize) -> usize {
        let [y, x] = self.tap.map(|i| i.wrapping_add_unsigned(side / 2).cast_unsigned());
        y * side + x
    }

    /// The first of its rows of weights among a slice's, if those are codes and it is the `index`th piece.
    pub(super) fn row(&self, index: usize) -> usize {
        self.to + index
    }
}

/// The slices of `depth` values.
///
/// - run: values that are neighbours in memory: those of a tap
/// - across, pad: taps of a row, and those before the output pixel's place
/// - most: pieces of a slice at most
/// - copied: how many values are copied for so many
fn slices(
    depth: usize,
    run: usize,
    [across, pad]: [usize; 2],
    most: usize,
    copied: impl Fn(usize) -> usize,
) -> Vec<Slice> {
    let (mut all, mut at) = (Vec::new(), 0);
    while at < depth {
        let (first, mut pieces) = (at, Vec::new());
        while at < depth.min(first + DEPTH) && pieces.len() < most {
            let (index, from, to) = (at / run, at % run, at - first);
            let count = (run - from).min(depth.min(first + DEPTH) - at);
            let tap = [index / across, index % across].map(|i| i as isize - pad as isize);
            pieces.push(Piece { tap, from, to, copied: copied(count).min(LINE - to) });
            at += count;
        }
        all.push(Slice { first, len: at - first, pieces });
    }
    all
}

/// What a convolution reads: pixels of `pitch` floats.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) values: &'a [f32],
    pub(super) size: [usize; 2],
    pub(super) pitch: usize,
}

impl Direct {
    /// Packs `weight` `[outputs, inputs, side, side]`.
    ///
    /// - pitch: floats per input pixel, of which the first `inputs` count
    /// - merged: the taps of a row are neighbours in memory, and the input has its padding already: the image
    pub(super) fn pack(
        level: Level,
        shape: &Shape,
        pitch: usize,
        merged: bool,
        weight: &[f32],
        bias: &[f32],
    ) -> Self {
        let Shape { inputs, outputs, side, stride } = *shape;
        let columns = level.columns();
        let (panels, depth) = (outputs.div_ceil(columns), side * side * pitch);
        let weights = Weights::pack(panels, depth, columns, |panel, values| {
            let here = columns.min(outputs - panel * columns);
            for column in 0..here {
                let kernel = &weight[(panel * columns + column) * inputs * side * side..];
                for tap in 0..side * side {
                    for channel in 0..inputs {
                        values[(tap * pitch + channel) * columns + column] =
                            kernel[channel * side * side + tap];
                    }
                }
            }
        });
        let mut padded = vec![0.0; panels * columns];
        padded[..outputs].copy_from_slice(bias);
        let (run, place) = if merged { (side * pitch, [1, 0]) } else { (pitch, [side, side / 2]) };
        let copied = |count: usize| if merged { count.next_multiple_of(columns) } else { count };
        let slices = slices(depth, run, place, usize::MAX, copied);
        Self { weights, bias: padded, slices, stride, coded: None }
    }

    /// The same for codes of pixels of `pitch` floats.
    pub(super) fn pack_codes(
        level: Level,
        codes: Codes,
        shape: &Shape,
        pitch: usize,
        weight: &[f32],
        bias: &[f32],
    ) -> Self {
        let Shape { outputs, side, stride, .. } = *shape;
        let elements = codes.elements(pitch);
        let mut slices =
            slices(side * side * elements, elements, [side, side / 2], MOST_PIECES, |count| count);
        let (weights, coded) = codes.pack(shape, elements, &mut slices, weight);
        let mut padded = vec![0.0; outputs.next_multiple_of(level.columns())];
        padded[..outputs].copy_from_slice(bias);
        Self { weights, bias: padded, slices, stride, coded: Some(coded) }
    }

    /// Whether it reads codes of pixels.
    pub(super) fn is_coded(&self) -> bool {
        self.coded.is_some()
    }

    /// Floats per output pixel.
    pub(super) fn pitch(&self) -> usize {
        self.bias.len()
    }

    /// Computes the output map, whose width is given with the source, and what follows, on all threads.
    pub(super) fn run(
        &self,
        level: Level,
        (source, width): (Source<'_>, usize),
        store: Store,
        following: &[Follow<'_>],
        outputs: Outputs<'_>,
        scratches: &Pool<Floats>,
    ) {
        let (pitch, rows) = (self.pitch(), tile_rows(level));
        let tiles = (outputs[0].values.len() / pitch).div_ceil(rows);
        let threads = rayon::current_num_threads();
        let units = units_per_task(tiles, threads, MOST_TILES, |tiles| 10 * tiles + 3 * tiles.min(1));
        let group = rows * units;
        let sizes = part_sizes(group, store, following);
        for_each_part(0..tiles.div_ceil(units), sizes, outputs, &|index, outputs| {
            let mut lines = scratches.borrow();
            lines.resize(group * LINE);
            let (out, epilogue) = (&mut *outputs[0].values, store.epilogue);
            let task = Task { conv: self, source, width, first: index * group, epilogue, out };
            level.run(Run { task, lines: &mut lines, rows });
            finish(level, store, following, outputs, &mut lines);
        });
    }
}

/// Some output pixels.
pub(super) struct Task<'a> {
    pub(super) conv: &'a Direct,
    pub(super) source: Source<'a>,
    /// Columns of the output map.
    pub(super) width: usize,
    /// The first output pixel.
    pub(super) first: usize,
    /// Whether the sum is added to the output, and whether a ReLU follows.
    pub(super) epilogue: [bool; 2],
    pub(super) out: &'a mut [f32],
}

/// Runs a [`Task`].
pub(super) struct Run<'a> {
    pub(super) task: Task<'a>,
    /// Scratch: a line per output pixel.
    pub(super) lines: &'a mut [f32],
    /// Rows of a whole tile.
    pub(super) rows: usize,
}

impl WithSimd for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { mut task, lines, rows } = self;
        let columns = NR_VECTORS * S::F32_LANES;
        let (pitch, slices) = (task.conv.bias.len(), task.conv.slices.len());
        let pixels = task.out.len() / pitch;
        for s in 0..slices {
            task.gather::<S>(s, &mut lines[..pixels * LINE]);
            let (panels, tiles) = (pitch / columns, pixels.div_ceil(rows));
            // Either all weights of the slice stay in L2, or a panel of them in L1.
            let by_tile = task.conv.slices[s].len * pitch <= NEAR_FLOATS;
            let (outer, inner) = if by_tile { (tiles, panels) } else { (panels, tiles) };
            for i in 0..outer {
                for j in 0..inner {
                    let (tile, panel) = if by_tile { (i, j) } else { (j, i) };
                    if !by_tile && panel + 1 < panels {
                        let Slice { first, len, .. } = task.conv.slices[s];
                        task.conv.weights.prefetch(panel + 1, first, len, columns, [tile, tiles]);
                    }
                    let first = tile * rows;
                    if s == 0 {
                        task.prefetch_tile(first + rows, rows, panel, columns);
                    }
                    if panel == 0 {
                        task.prefetch_source(s, pixels + first, rows);
                    }
                    let here = rows.min(pixels - first);
                    let lines = &lines[first * LINE..];
                    match (rows, here) {
                        (12, 9..) => task.tile::<S, 12>(simd, s, panel, first, here, lines),
                        (12, 5..) => task.tile::<S, 8>(simd, s, panel, first, here, lines),
                        (12, _) => task.tile::<S, 4>(simd, s, panel, first, here, lines),
                        (_, 4..) => task.tile::<S, 6>(simd, s, panel, first, here, lines),
                        _ => task.tile::<S, 3>(simd, s, panel, first, here, lines),
                    }
                }
            }
        }
    }
}

impl Task<'_> {
    /// Copies what lies under the taps of a slice, a line per output pixel.
    #[inline(always)]
    fn gather<S: Simd>(&self, slice: usize, lines: &mut [f32]) {
        let Source { values, size: [height, width], pitch } = self.source;
        let (stride, coded) = (self.conv.stride, self.conv.is_coded());
        let (mut row, mut column) = (self.first / self.width, self.first % self.width);
        for line in lines.chunks_exact_mut(LINE) {
            let (line, scales) = line.split_at_mut(if coded { DEPTH } else { LINE });
            for (index, piece) in self.conv.slices[slice].pieces.iter().enumerate() {
                let to = &mut line[piece.to..][..piece.copied];
                let [y, x] = [(row, piece.tap[0]), (column, piece.tap[1])]
                    .map(|(at, tap)| (at * stride).wrapping_add_signed(tap));
                let inside = y < height && x < width;
                if inside {
                    copy::<S>(&values[(y * width + x) * pitch + piece.from..][..to.len()], to);
                } else {
                    to.fill(0.0);
                }
                if let Some(scale) = scales.get_mut(index) {
                    *scale = if inside { values[(y * width + x + 1) * pitch - 1] } else { 0.0 };
                }
            }
            column += 1;
            if column == self.width {
                (row, column) = (row + 1, 0);
            }
        }
    }

    /// Prefetches a panel's channels of the outputs from `first` on, those of the next tile.
    #[inline(always)]
    fn prefetch_tile(&self, first: usize, count: usize, panel: usize, columns: usize) {
        let pitch = self.conv.pitch();
        for pixel in first..first + count {
            let at = pixel * pitch + panel * columns;
            prefetch(self.out.get(at..at + columns).unwrap_or_default());
        }
    }

    /// Prefetches what the pixels from `first` on, those of the next task, read in a slice, if each reads one pixel.
    #[inline(always)]
    fn prefetch_source(&self, slice: usize, first: usize, count: usize) {
        let (conv, Source { values, pitch, .. }) = (self.conv, self.source);
        if let [piece] = conv.slices[slice].pieces.as_slice()
            && conv.stride == 1
        {
            for pixel in self.first + first..self.first + first + count {
                let at = pixel * pitch + piece.from;
                prefetch(values.get(at..at + piece.copied).unwrap_or_default());
            }
        }
    }

    /// The tile of `here` pixels from `first` on by a panel of channels, over one slice. Bias and addition come with the
    /// first slice, the ReLU with the last.
    #[inline(always)]
    fn tile<S: Simd, const R: usize>(
        &mut self,
        simd: S,
        slice: usize,
        panel: usize,
        first: usize,
        here: usize,
        lines: &[f32],
    ) {
        let conv = self.conv;
        let (pitch, columns) = (conv.bias.len(), NR_VECTORS * S::F32_LANES);
        let [add, relu] = self.epilogue;
        let (start, end) = (slice == 0, slice + 1 == conv.slices.len());
        let Slice { first: from, len, .. } = conv.slices[slice];
        let bias = vectors::<S>(&conv.bias[panel * columns..][..columns]);
        let at = |r: usize| (first + r) * pitch + panel * columns;
        let weights = conv.weights.rows::<S>(panel, from, len);
        let mut sums: Sums<S::f32s, R> = [[simd.splat_f32s(0.0); NR_VECTORS]; R];
        match &conv.coded {
            Some(coded) => sums = coded.sums(simd, &conv.slices[slice].pieces, lines, weights, panel),
            None => micro_kernel::<S, R>(simd, lines, 0, weights, &mut sums),
        }
        // What is added is read after the products: its way from memory then overlaps with the next tile's.
        for r in 0..R {
            if r < here {
                let out = vectors_mut::<S>(&mut self.out[at(r)..][..columns]);
                for v in 0..NR_VECTORS {
                    let mut sum = sums[r][v];
                    if start {
                        sum = simd.add_f32s(sum, bias[v]);
                    }
                    if !start || add {
                        sum = simd.add_f32s(sum, out[v]);
                    }
                    out[v] = if end && relu { rectify(simd, sum) } else { sum };
                }
            }
        }
    }
}
