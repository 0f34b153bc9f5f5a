//! MixVPR's aggregation of one image (Ali-bey, Chaib-draa and Giguère, WACV 2023): every channel of a map is mixed over its
//! positions, then channels and positions are projected.
//!
//! A channel is a column of a panel and a position a row, which is how the map lies in memory already. The two projections
//! are linear, so positions, which shrink to a handful of rows, go first: the projection of channels then has that many
//! columns in place of one per position.

use crate::Level;
use crate::buffer::{Floats, vectors_mut};
use crate::element::Element;
use crate::epilogue::{Accumulate, Relu, Store};
use crate::matrix::{Matrix, Multiply, Packing};
use crate::norm::Norm;
use crate::panel::panels_per_task;
use crate::pool::Pool;
use crate::weights::{KernelError, Lookup, TensorSource};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Sizes of MixVPR's aggregation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MixShape {
    /// Channels of the map.
    pub width: usize,
    /// Positions of the map.
    pub positions: usize,
    /// Hidden width of the mixers.
    pub hidden: usize,
    /// Mixers.
    pub depth: usize,
    /// Channels of the descriptor.
    pub channels: usize,
    /// Values of a channel in the descriptor.
    pub rows: usize,
    /// Epsilon of every layer norm.
    pub epsilon: f32,
}

/// MixVPR's aggregation whose weights are packed for one [`Level`]. It runs from any number of threads at once.
#[derive(Debug, Clone)]
pub struct Mix {
    level: Level,
    mixers: Vec<Mixer>,
    rows: Matrix,
    channels: Matrix,
    /// What the biases of both projections add to the descriptor.
    bias: Vec<f32>,
    shape: MixShape,
    buffers: Pool<Buffers>,
    scratches: Pool<Scratch>,
}

/// `x + W2 relu(W1 norm(x))`.
#[derive(Debug, Clone)]
struct Mixer {
    norm: Norm,
    first: Matrix,
    second: Matrix,
}

/// Memory of an image.
#[derive(Debug, Clone, Default)]
struct Buffers {
    /// Panels of channels.
    x: Floats,
    /// The same, projected to rows.
    projected: Floats,
    /// Panels of rows.
    turned: Floats,
    out: Floats,
}

/// Scratch of one thread.
#[derive(Debug, Clone, Default)]
struct Scratch {
    normed: Floats,
    hidden: Floats,
}

impl Mix {
    /// Packs the tensors that `get` returns for MixVPR's names (`mix.0.mix.0.weight`, ..., `channel_proj.weight`,
    /// `row_proj.bias`).
    ///
    /// # Errors
    /// [`KernelError::Unsupported`] for a size of 0, [`KernelError::Tensor`] for a tensor that is missing or has the wrong
    /// size.
    pub fn new<'a>(level: Level, shape: MixShape, get: &'a Lookup<'a>) -> Result<Self, KernelError> {
        let MixShape { width, positions, hidden, depth, channels, rows, epsilon } = shape;
        if [width, positions, hidden, channels, rows].contains(&0) {
            return Err(KernelError::Unsupported("MixVPR without channels, positions or rows".into()));
        }
        let source = TensorSource::new(Packing::new(level, Element::F32), get);
        let mixer = |i: usize| {
            Ok(Mixer {
                norm: source.norm(&format!("mix.{i}.mix.0"), positions, epsilon)?,
                first: source.matrix(&format!("mix.{i}.mix.1"), positions, hidden)?,
                second: source.matrix(&format!("mix.{i}.mix.3"), hidden, positions)?,
            })
        };
        let row_weight = source.get("row_proj.weight", rows * positions)?;
        let row_bias = source.get("row_proj.bias", rows)?;
        let channel_weight = source.get("channel_proj.weight", channels * width)?;
        let channel_bias = source.get("channel_proj.bias", channels)?;
        let sums: Vec<f64> =
            row_weight.chunks_exact(positions).map(|row| row.iter().copied().map(f64::from).sum()).collect();
        let bias = channel_bias.iter().flat_map(|channel| {
            let of_row = |(sum, row): (&f64, &f32)| (f64::from(*channel) * sum + f64::from(*row)) as f32;
            sums.iter().zip(row_bias.iter()).map(of_row)
        });
        Ok(Self {
            level,
            mixers: (0..depth).map(mixer).collect::<Result<_, KernelError>>()?,
            bias: bias.collect(),
            rows: source.pack(positions, &row_weight, &vec![0.0; rows]),
            channels: source.pack(width, &channel_weight, &vec![0.0; channels]),
            shape,
            buffers: Pool::default(),
            scratches: Pool::default(),
        })
    }

    /// Aggregates one map on the threads of the current rayon pool: the descriptor `[channels * rows]` before its
    /// normalisation, a channel's rows as neighbours.
    ///
    /// # Shapes
    /// - map: `[positions, width]`
    ///
    /// # Errors
    /// [`KernelError::Input`] for a map of another size.
    pub fn run(&self, map: &[f32]) -> Result<Vec<f32>, KernelError> {
        let MixShape { width, positions, channels, rows, .. } = self.shape;
        if map.len() != positions * width {
            let found = map.len();
            return Err(KernelError::Input(format!("{found} values are not {positions} x {width}")));
        }
        let columns = self.level.columns();
        let panels = width.div_ceil(columns);
        let mut buffers = self.buffers.borrow();
        let Buffers { x, projected, turned, out } = &mut *buffers;
        x.resize(panels * positions * columns);
        projected.resize(panels * rows * columns);
        let group = panels_per_task(panels, rayon::current_num_threads());
        let parts = x
            .par_chunks_mut(group * positions * columns)
            .zip(projected.par_chunks_mut(group * rows * columns));
        parts.enumerate().for_each(|(g, (x, projected))| {
            for (p, panel) in x.chunks_exact_mut(positions * columns).enumerate() {
                let first = (g * group + p) * columns;
                let count = columns.min(width - first);
                for (row, pixel) in panel.chunks_exact_mut(columns).zip(map.chunks_exact(width)) {
                    row[..count].copy_from_slice(&pixel[first..first + count]);
                    row[count..].fill(0.0);
                }
            }
            let mut scratch = self.scratches.borrow();
            let Scratch { normed, hidden } = &mut *scratch;
            normed.resize(x.len());
            hidden.resize(x.len() / positions * self.shape.hidden);
            self.level.run(MixPanels { mix: self, x, normed, hidden, projected });
        });

        // From a column for each channel to a row for each channel.
        let groups = rows.div_ceil(columns);
        turned.resize(groups * width * columns);
        turned.fill(0.0);
        for (p, panel) in projected.chunks_exact(rows * columns).enumerate() {
            for (r, values) in panel.chunks_exact(columns).enumerate() {
                let column = r / columns * width * columns + r % columns;
                let places = turned[column..].iter_mut().step_by(columns).skip(p * columns);
                let count = columns.min(width - p * columns);
                places.zip(&values[..count]).for_each(|(place, value)| *place = *value);
            }
        }
        out.resize(groups * channels * columns);
        let parts = turned.par_chunks(width * columns).zip(out.par_chunks_mut(channels * columns));
        parts.for_each(|(x, out)| {
            self.level.run(Multiply { matrix: &self.channels, x, out, epilogue: Store })
        });

        let mut descriptor = self.bias.clone();
        for (c, values) in descriptor.chunks_exact_mut(rows).enumerate() {
            for (r, value) in values.iter_mut().enumerate() {
                *value += out[(r / columns * channels + c) * columns + r % columns];
            }
        }
        Ok(descriptor)
    }
}

/// All mixers and the projection to rows, of some panels.
struct MixPanels<'a> {
    mix: &'a Mix,
    x: &'a mut [f32],
    normed: &'a mut [f32],
    hidden: &'a mut [f32],
    projected: &'a mut [f32],
}

impl WithSimd for MixPanels<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (x, normed) = (vectors_mut::<S>(self.x), vectors_mut::<S>(self.normed));
        let hidden = vectors_mut::<S>(self.hidden);
        for Mixer { norm, first, second } in &self.mix.mixers {
            norm.apply(simd, x, normed);
            first.multiply(simd, normed, hidden, Relu);
            second.multiply(simd, hidden, x, Accumulate);
        }
        self.mix.rows.multiply(simd, x, vectors_mut::<S>(self.projected), Store);
    }
}
