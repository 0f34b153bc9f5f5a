//! Adapters, small layers that were trained beside those of a frozen transformer: `up(h)` with `h = relu(down x)` (SelaVPR), or
//! `up(h + branches(h))` with convolutions over the map of patches (CricaVPR, SelaVPR++).
//!
//! Tokens stay in panels ([`panel`](crate::panel)) for everything that is computed of each alone: both layers, and the 1 x 1
//! convolutions. Those of 3 x 3 and 5 x 5 follow when all tokens have come so far; what lies under their taps is gathered from
//! rows of channels (implicit im2col).

use crate::Level;
use crate::buffer::{Floats, vectors, vectors_mut};
use crate::epilogue::{Accumulate, Relu};
use crate::matrix::{Apply, Matrix};
use crate::panel::gather;
use crate::pool::Pool;
use crate::weights::{KernelError, TensorSource};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Adapters of a transformer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AdapterShape {
    /// Without convolutions, after the attention (`adapter1`) and beside the MLP (`adapter2`) of each block.
    Linear {
        /// Width of h.
        width: usize,
        /// Of what is added to the MLP's output.
        factor: f32,
    },
    /// With convolutions, beside the MLP of each block (`adapter`).
    Parallel {
        /// Width of h; a multiple of 16.
        width: usize,
        /// Of what is added to the MLP's output.
        factor: f32,
    },
    /// With convolutions (`adapters.0`, ...), on a path beside the last blocks: `y += adapter(y + x)` after each, from the input
    /// of the first of them on. The end of the path takes the place of theirs.
    Side {
        /// Width of h; a multiple of 16.
        width: usize,
        /// Blocks with an adapter, 1 to all.
        count: usize,
    },
}

impl AdapterShape {
    fn width(self) -> usize {
        match self {
            Self::Linear { width, .. } | Self::Parallel { width, .. } | Self::Side { width, .. } => width,
        }
    }

    /// Whether there are convolutions.
    pub(crate) fn convolves(self) -> bool {
        !matches!(self, Self::Linear { .. })
    }

    /// Whether kernels take it in a transformer of such a width and depth; `quantised`: in 8-bit integers, whose scales need room
    /// behind a panel's elements.
    pub(crate) fn check(self, [dim, depth]: [usize; 2], quantised: bool) -> Result<(), KernelError> {
        let width = self.width();
        let count = if let Self::Side { count, .. } = self { count } else { depth };
        let least = if quantised { 4 } else { 1 };
        // The map of h lies where the queries were.
        let whole = !self.convolves() || (width.is_multiple_of(16) && width <= dim);
        match width >= least && whole && (1..=depth).contains(&count) {
            true => Ok(()),
            false => Err(KernelError::Unsupported(format!("{self:?} in {depth} blocks of width {dim}"))),
        }
    }
}

/// Where the patches are among the tokens: rows of them follow the first ones.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    pub(crate) prefix: usize,
    pub(crate) rows: usize,
    pub(crate) across: usize,
}

impl Grid {
    /// Row and column of a token's patch.
    fn place(self, token: usize) -> Option<[usize; 2]> {
        let patch = token.checked_sub(self.prefix)?;
        (patch < self.rows * self.across).then(|| [patch / self.across, patch % self.across])
    }

    /// The token of the patch under a tap of a kernel `side` x `side` on the patch at a place.
    fn under(self, [row, column]: [usize; 2], tap: usize, side: usize) -> Option<usize> {
        let row = (row + tap / side).checked_sub(side / 2).filter(|row| *row < self.rows)?;
        let column = (column + tap % side).checked_sub(side / 2).filter(|column| *column < self.across)?;
        Some(self.prefix + row * self.across + column)
    }
}

/// An adapter's packed weights.
#[derive(Debug, Clone)]
pub(crate) struct Adapter {
    down: Matrix,
    branches: Option<Branches>,
    up: Matrix,
}

/// Three branches, whose outputs are a half and two quarters of h, each with a ReLU after every convolution.
#[derive(Debug, Clone)]
struct Branches {
    /// 1 x 1: all of the first, and what begins the others.
    points: Matrix,
    around: [Around; 2],
}

/// The second convolution of a branch, tap by tap.
#[derive(Debug, Clone)]
struct Around {
    side: usize,
    matrix: Matrix,
}

/// Scratch of one thread.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scratch {
    input: Floats,
    found: Floats,
    places: Vec<Option<[usize; 2]>>,
}

/// Channels of h for each that goes into a convolution of [`Around`].
const SHARE: usize = 16;

impl Adapter {
    /// Packs the tensors under `{name}.` for tokens of `dim`; rows of the last layer are multiplied with factors, if there are
    /// any.
    pub(crate) fn load(
        source: &TensorSource<'_>,
        name: &str,
        dim: usize,
        shape: AdapterShape,
        factors: Option<&[f32]>,
    ) -> Result<Self, KernelError> {
        let width = shape.width();
        Ok(Self {
            down: source.matrix(&format!("{name}.D_fc1"), dim, width)?,
            branches: shape.convolves().then(|| Branches::load(source, name, width)).transpose()?,
            up: source.matrix_scaled(&format!("{name}.D_fc2"), width, dim, factors)?,
        })
    }

    /// Whether convolutions come between the two layers.
    pub(crate) fn convolves(&self) -> bool {
        self.branches.is_some()
    }

    /// Width of h.
    pub(crate) fn width(&self) -> usize {
        self.down.rows
    }

    /// Converts panels of tokens for [`narrow`](Self::narrow), in place.
    #[inline(always)]
    pub(crate) fn input<'a, S: Simd>(&self, simd: S, x: &'a mut [S::f32s]) -> &'a [S::f32s] {
        self.down.input(simd, self.up.rows, x)
    }

    /// h of some panels.
    #[inline(always)]
    pub(crate) fn narrow<S: Simd>(&self, simd: S, x: &[S::f32s], hidden: &mut [S::f32s]) {
        self.down.multiply(simd, x, hidden, Relu);
    }

    /// Adds the last layer of some panels to `out`. `hidden` is used up.
    #[inline(always)]
    pub(crate) fn widen<S: Simd>(&self, simd: S, hidden: &mut [S::f32s], out: &mut [S::f32s]) {
        self.up.multiply(simd, self.up.input(simd, self.width(), hidden), out, Accumulate);
    }

    /// What follows [`narrow`](Self::narrow) in an adapter with convolutions, for all tokens: adds its output to `out`.
    ///
    /// # Shapes
    /// - out: panels `[dim, NR]`; a task's are `group` floats
    /// - hidden: as long; each task's part begins with its panels `[width, NR]` of h, and is used up
    /// - rows: scratch of at least as many floats
    pub(crate) fn convolve(
        &self,
        level: Level,
        grid: Grid,
        group: usize,
        [hidden, rows, out]: [&mut [f32]; 3],
        scratches: &Pool<Scratch>,
    ) {
        let Some(branches) = &self.branches else { return };
        let (dim, width) = (self.up.rows, self.width());
        let (tokens, row) = (group / dim, 2 * width / SHARE);
        let rows = &mut rows[..out.len() / dim * row];
        let parts = hidden.par_chunks_mut(group).zip(rows.par_chunks_mut(tokens * row));
        parts.enumerate().for_each(|(g, (hidden, rows))| {
            let hidden = &mut hidden[..rows.len() / row * width];
            branches.points(
                level,
                grid.prefix.saturating_sub(g * tokens),
                hidden,
                rows,
                &mut scratches.borrow(),
            );
        });
        let parts = hidden.par_chunks_mut(group).zip(out.par_chunks_mut(group));
        parts.enumerate().for_each(|(g, (hidden, out))| {
            let hidden = &mut hidden[..out.len() / dim * width];
            branches.around(level, grid, g * tokens, hidden, rows, &mut scratches.borrow());
            level.run(Widen { adapter: self, hidden, out });
        });
    }
}

impl Branches {
    fn load(source: &TensorSource<'_>, name: &str, width: usize) -> Result<Self, KernelError> {
        let near = width / SHARE;
        let convolution = |part: &str, [inputs, outputs]: [usize; 2], taps: usize| {
            let weight = source.get(&format!("{name}.{part}.conv.weight"), outputs * inputs * taps)?;
            Ok::<_, KernelError>((weight, source.get(&format!("{name}.{part}.conv.bias"), outputs)?))
        };
        let (mut weights, mut biases) = (Vec::new(), Vec::new());
        for (part, outputs) in [("branch1", width / 2), ("branch2.0", near), ("branch3.0", near)] {
            let (weight, bias) = convolution(part, [width, outputs], 1)?;
            weights.extend_from_slice(&weight);
            biases.extend_from_slice(&bias);
        }
        let around = |part: &str, side: usize| -> Result<Around, KernelError> {
            let taps = side * side;
            let (weight, bias) = convolution(part, [near, width / 4], taps)?;
            let of_tap = |row: &[f32], tap: usize| -> Vec<f32> {
                row.iter().skip(tap).step_by(taps).copied().collect()
            };
            let by_tap: Vec<f32> = weight
                .chunks_exact(near * taps)
                .flat_map(|row| (0..taps).flat_map(move |tap| of_tap(row, tap)))
                .collect();
            Ok(Around { side, matrix: source.pack(near * taps, &by_tap, &bias) })
        };
        Ok(Self {
            points: source.pack(width, &weights, &biases),
            around: [around("branch2.1", 3)?, around("branch3.1", 5)?],
        })
    }

    /// The 1 x 1 convolutions of some panels of h: adds those of the first branch to its half of h, and writes the others' as a
    /// row of channels per token. `prefix` of these tokens come before the patches.
    fn points(
        &self,
        level: Level,
        prefix: usize,
        hidden: &mut [f32],
        rows: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let (columns, found_rows) = (level.columns(), self.points.rows);
        // A half, and two sixteenths.
        let width = found_rows / (SHARE / 2 + 2) * SHARE;
        let Scratch { input, found, .. } = scratch;
        input.resize(hidden.len());
        input.copy_from_slice(hidden);
        found.resize(hidden.len() / width * found_rows);
        level.run(Apply { matrix: &self.points, columns: width, x: input, out: found, epilogue: Relu });
        let panels = hidden.chunks_exact_mut(width * columns).zip(found.chunks_exact(found_rows * columns));
        let row = found_rows - width / 2;
        for ((p, (hidden, found)), rows) in panels.enumerate().zip(rows.chunks_exact_mut(row * columns)) {
            let (first, others) = found.split_at(width / 2 * columns);
            add(&mut hidden[..first.len()], first, columns, prefix.saturating_sub(p * columns));
            for (c, row) in rows.chunks_exact_mut(row).enumerate() {
                let values = others.iter().skip(c).step_by(columns);
                row.iter_mut().zip(values).for_each(|(place, value)| *place = *value);
            }
        }
    }

    /// Adds the convolutions of 3 x 3 and 5 x 5 to their quarters of h in some panels, the first of which begins with token
    /// `first`.
    fn around(
        &self,
        level: Level,
        grid: Grid,
        first: usize,
        hidden: &mut [f32],
        rows: &[f32],
        scratch: &mut Scratch,
    ) {
        let columns = level.columns();
        let Scratch { input, found, places } = scratch;
        let quarter = self.around[0].matrix.rows;
        for (p, hidden) in hidden.chunks_exact_mut(4 * quarter * columns).enumerate() {
            let first = first + p * columns;
            places.clear();
            places.extend((0..columns).map(|column| grid.place(first + column)));
            for (i, Around { side, matrix }) in self.around.iter().enumerate() {
                let (taps, near) = (side * side, 4 * quarter / SHARE);
                input.resize(taps * near * columns);
                for (tap, panel) in input.chunks_exact_mut(near * columns).enumerate() {
                    gather(columns, panel, |column| {
                        let token = places[column].and_then(|place| grid.under(place, tap, *side))?;
                        Some(&rows[(2 * token + i) * near..][..near])
                    });
                }
                found.resize(quarter * columns);
                level.run(Apply { matrix, columns: taps * near, x: input, out: found, epilogue: Relu });
                let own = &mut hidden[(2 + i) * quarter * columns..][..quarter * columns];
                add(own, found, columns, grid.prefix.saturating_sub(first));
            }
        }
    }
}

/// Adds what a branch found to rows of a panel of h. Of the first `prefix` columns, which are no patches, the branch is h itself.
fn add(hidden: &mut [f32], found: &[f32], columns: usize, prefix: usize) {
    let prefix = prefix.min(columns);
    for (hidden, found) in hidden.chunks_exact_mut(columns).zip(found.chunks_exact(columns)) {
        let (others, patches) = hidden.split_at_mut(prefix);
        others.iter_mut().for_each(|h| *h += *h);
        patches.iter_mut().zip(&found[prefix..]).for_each(|(h, found)| *h += found);
    }
}

/// [`Adapter::widen`] of some panels.
struct Widen<'a> {
    adapter: &'a Adapter,
    hidden: &'a mut [f32],
    out: &'a mut [f32],
}

impl WithSimd for Widen<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.adapter.widen(simd, vectors_mut::<S>(self.hidden), vectors_mut::<S>(self.out));
    }
}

/// h of `x + y` of some panels.
pub(crate) struct NarrowSum<'a> {
    pub(crate) adapter: &'a Adapter,
    pub(crate) x: &'a [f32],
    pub(crate) y: &'a [f32],
    pub(crate) sum: &'a mut [f32],
    pub(crate) hidden: &'a mut [f32],
}

impl WithSimd for NarrowSum<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let sum = vectors_mut::<S>(self.sum);
        for ((sum, x), y) in sum.iter_mut().zip(vectors::<S>(self.x)).zip(vectors::<S>(self.y)) {
            *sum = simd.add_f32s(*x, *y);
        }
        let sum = self.adapter.input(simd, sum);
        self.adapter.narrow(simd, sum, vectors_mut::<S>(self.hidden));
    }
}
