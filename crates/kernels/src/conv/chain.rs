//! Convolutions of single pixels that follow another convolution within its tasks, while a task's pixels are in L2; and the codes
//! of pixels that convolutions in 8 bits read.

use super::codes::Codes;
use super::direct::{Direct, MOST_TILES, Run, Source, Task};
use super::gemm::{LINE, tile_rows};
use crate::Level;
use crate::buffer::Floats;
use std::ops::Range;

/// Convolutions that may follow one.
pub(super) const FOLLOWING: usize = 2;

/// Pixels of a map that are written.
#[derive(Debug, Default)]
pub(super) struct Output<'a> {
    pub(super) values: &'a mut [f32],
    /// Empty where nothing reads them.
    pub(super) codes: &'a mut [f32],
}

/// The outputs of a chain: those of its head, then those of what follows; empty where nothing does.
pub(super) type Outputs<'a> = [Output<'a>; 1 + FOLLOWING];

/// How the pixels of a layer are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Store {
    /// Whether the sum is added to what is there, and whether a ReLU follows.
    pub(super) epilogue: [bool; 2],
    /// Floats per pixel.
    pub(super) pitch: usize,
    /// Codes that are written, too.
    pub(super) codes: Option<Codes>,
}

/// A 1x1 convolution of stride 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Follow<'a> {
    pub(super) conv: &'a Direct,
    pub(super) store: Store,
}

impl Store {
    /// Floats of a pixel's codes.
    pub(super) fn codes_pitch(&self) -> usize {
        self.codes.map_or(0, |codes| codes.pitch(self.pitch))
    }

    /// Writes the codes of pixels.
    pub(super) fn quantise(&self, pixels: &mut Output<'_>) {
        if let Some(codes) = self.codes {
            codes.quantise(self.pitch, pixels.values, pixels.codes);
        }
    }

    /// So many pixels of an output from `first` on.
    fn part<'a>(&self, output: &'a mut Output<'_>, first: usize, count: usize) -> Output<'a> {
        let here = |pitch: usize| first * pitch..(first + count) * pitch;
        Output {
            values: &mut output.values[here(self.pitch)],
            codes: &mut output.codes[here(self.codes_pitch())],
        }
    }

    /// A row of such pixels, as a convolution reads it.
    fn source<'a>(&self, conv: &Direct, pixels: &'a Output<'_>) -> Source<'a> {
        let (values, pitch): (&[f32], _) = match conv.is_coded() {
            true => (pixels.codes, self.codes_pitch()),
            false => (pixels.values, self.pitch),
        };
        Source { values, size: [1, values.len() / pitch], pitch }
    }
}

/// Runs `task` for each number on all threads, with its part of each output: `sizes` values and codes, or fewer at the end.
pub(super) fn for_each_part(
    tasks: Range<usize>,
    sizes: [[usize; 2]; 1 + FOLLOWING],
    outputs: Outputs<'_>,
    task: &(impl Fn(usize, Outputs<'_>) + Sync),
) {
    match tasks.len() {
        0 => {}
        1 => task(tasks.start, outputs),
        len => {
            let middle = tasks.start + len / 2;
            let [(a, d), (b, e), (c, f)] = {
                let [a, b, c] = outputs;
                let split = |output, size: [usize; 2]| split(output, size.map(|size| size * (len / 2)));
                [split(a, sizes[0]), split(b, sizes[1]), split(c, sizes[2])]
            };
            rayon::join(
                || for_each_part(tasks.start..middle, sizes, [a, b, c], task),
                || for_each_part(middle..tasks.end, sizes, [d, e, f], task),
            );
        }
    }
}

/// The values and codes of a task of `pixels` pixels in each output.
pub(super) fn part_sizes(
    pixels: usize,
    head: Store,
    following: &[Follow<'_>],
) -> [[usize; 2]; 1 + FOLLOWING] {
    let mut sizes = [[0; 2]; 1 + FOLLOWING];
    let stores = [head].into_iter().chain(following.iter().map(|follow| follow.store));
    for (size, store) in sizes.iter_mut().zip(stores) {
        *size = [pixels * store.pitch, pixels * store.codes_pitch()];
    }
    sizes
}

fn split(output: Output<'_>, [values, codes]: [usize; 2]) -> (Output<'_>, Output<'_>) {
    let (a, b) = output.values.split_at_mut(values.min(output.values.len()));
    let (c, d) = output.codes.split_at_mut(codes.min(output.codes.len()));
    (Output { values: a, codes: c }, Output { values: b, codes: d })
}

/// Writes the codes of a task's pixels, and runs what follows on them, a few tiles at a time.
pub(super) fn finish(
    level: Level,
    store: Store,
    following: &[Follow<'_>],
    [mut head, mut targets @ ..]: Outputs<'_>,
    lines: &mut Floats,
) {
    store.quantise(&mut head);
    if following.is_empty() {
        return;
    }
    let rows = tile_rows(level);
    let (most, pixels) = (rows * MOST_TILES, head.values.len() / store.pitch);
    lines.resize(most * LINE);
    for first in (0..pixels).step_by(most) {
        let count = most.min(pixels - first);
        let (mut from, mut pixels) = (store, store.part(&mut head, first, count));
        for (Follow { conv, store }, target) in following.iter().zip(targets.iter_mut()) {
            let mut out = store.part(target, first, count);
            let (source, epilogue) = (from.source(conv, &pixels), store.epilogue);
            let task = Task { conv, source, width: count, first: 0, epilogue, out: out.values };
            level.run(Run { task, lines, rows });
            store.quantise(&mut out);
            (from, pixels) = (*store, out);
        }
    }
}
