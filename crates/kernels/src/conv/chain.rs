//! Convolutions of single pixels that follow another convolution within its tasks, while a task's pixels are in L2.

use super::direct::{Direct, MOST_TILES, Run, Source, Task};
use super::gemm::{LINE, tile_rows};
use crate::Level;
use crate::buffer::Floats;
use std::ops::Range;

/// Convolutions that may follow one.
pub(super) const FOLLOWING: usize = 2;

/// The outputs of a chain: those of its head, then those of what follows; empty where nothing does.
pub(super) type Outputs<'a> = [&'a mut [f32]; 1 + FOLLOWING];

/// A 1x1 convolution of stride 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Follow<'a> {
    pub(super) conv: &'a Direct,
    /// Whether the sum is added to the output, and whether a ReLU follows.
    pub(super) epilogue: [bool; 2],
}

/// Runs `task` for each number on all threads, with its part of each output: `sizes` values, or fewer at the end.
pub(super) fn for_each_part(
    tasks: Range<usize>,
    sizes: [usize; 1 + FOLLOWING],
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
                let split = |output, size| split(output, size * (len / 2));
                [split(a, sizes[0]), split(b, sizes[1]), split(c, sizes[2])]
            };
            rayon::join(
                || for_each_part(tasks.start..middle, sizes, [a, b, c], task),
                || for_each_part(middle..tasks.end, sizes, [d, e, f], task),
            );
        }
    }
}

/// The values of a task of `pixels` pixels in each output.
pub(super) fn part_sizes(pixels: usize, pitch: usize, following: &[Follow<'_>]) -> [usize; 1 + FOLLOWING] {
    let mut sizes = [pixels * pitch, 0, 0];
    for (size, follow) in sizes[1..].iter_mut().zip(following) {
        *size = pixels * follow.conv.pitch();
    }
    sizes
}

fn split(output: &mut [f32], at: usize) -> (&mut [f32], &mut [f32]) {
    let at = at.min(output.len());
    output.split_at_mut(at)
}

/// Runs what follows on the pixels of a task, a few tiles at a time.
pub(super) fn run_following(
    level: Level,
    following: &[Follow<'_>],
    [head, targets @ ..]: Outputs<'_>,
    pitch: usize,
    lines: &mut Floats,
) {
    if following.is_empty() {
        return;
    }
    let rows = tile_rows(level);
    let (most, pixels) = (rows * MOST_TILES, head.len() / pitch);
    lines.resize(most * LINE);
    let mut targets = targets;
    for first in (0..pixels).step_by(most) {
        let count = most.min(pixels - first);
        let here = |pitch: usize| first * pitch..(first + count) * pitch;
        let mut source = Source { values: &head[here(pitch)], size: [1, count], pitch };
        for (Follow { conv, epilogue }, target) in following.iter().zip(targets.iter_mut()) {
            let out = &mut target[here(conv.pitch())];
            let task = Task { conv, source, width: count, first: 0, epilogue: *epilogue, out };
            level.run(Run { task, lines, rows });
            source = Source { values: &target[here(conv.pitch())], size: [1, count], pitch: conv.pitch() };
        }
    }
}
