//! BoQ's aggregation of one image (Ali-bey et al., CVPR 2024): patches pass a 3 x 3 convolution and post-norm encoder
//! layers, after each of which learned queries attend to them.
//!
//! The passes over panels are those of [`encoder`](crate::encoder); the convolution is a product for each of its taps.

use crate::Level;
use crate::buffer::{Floats, vectors, vectors_mut};
use crate::element::Element;
use crate::encoder::ImageBuffers;
use crate::epilogue::{Accumulate, Relu, Store};
use crate::matrix::{Matrix, Packing};
use crate::norm::Norm;
use crate::panel::{self, panels_per_task};
use crate::pool::Pool;
use crate::tiles::{ClassAttention, Head, Layout, MAX_HEAD_SIZE, Tile};
use crate::weights::{KernelError, Lookup, TensorSource, query_scale};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Taps of the convolution.
const TAPS: usize = 9;

/// Sizes of BoQ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoqShape {
    /// Width of the backbone's tokens.
    pub input: usize,
    /// Width after the convolution.
    pub width: usize,
    /// Attention heads; divides `width`.
    pub heads: usize,
    /// Hidden width of the encoder layers.
    pub hidden: usize,
    /// Queries of a block.
    pub queries: usize,
    /// Blocks.
    pub layers: usize,
    /// Epsilon of every layer norm.
    pub epsilon: f32,
}

/// BoQ whose weights are packed for one [`Level`]. It runs from any number of threads at once.
#[derive(Debug, Clone)]
pub struct Boq {
    level: Level,
    packing: Packing,
    /// The convolution, a matrix for each tap; the first has the bias.
    taps: Vec<Matrix>,
    norm: Norm,
    blocks: Vec<BoqBlock>,
    shape: BoqShape,
    buffers: Pool<ImageBuffers>,
    scratches: Pool<Scratch>,
}

/// What the queries of all blocks found.
#[derive(Debug, Clone, PartialEq)]
pub struct BoqOutput {
    /// `[layers * queries, width]`.
    pub queries: Vec<f32>,
    /// As [`BoqShape::width`].
    pub width: usize,
    /// Attention to each patch, summed over queries and averaged over heads and blocks, `[patches]`.
    pub attention: Vec<f32>,
}

/// An encoder layer, and the queries that attend to its output.
#[derive(Debug, Clone)]
struct BoqBlock {
    /// Query projection, scaled by log2(e) / sqrt(head size).
    q: Matrix,
    kv: Matrix,
    out: Matrix,
    norm1: Norm,
    linear1: Matrix,
    linear2: Matrix,
    norm2: Norm,
    /// Panels of the projected queries, scaled likewise.
    queries: Floats,
    cross_kv: Matrix,
    cross_out: Matrix,
    norm_out: Norm,
}

/// Scratch of one thread.
#[derive(Debug, Clone, Default)]
struct Scratch {
    gathered: Floats,
    normed: Floats,
    context: Floats,
    hidden: Floats,
    tile: Tile,
}

impl Boq {
    /// Packs the tensors that `get` returns for BoQ's names (`proj_c.weight`, `norm_input.weight`, ...,
    /// `boqs.0.cross_attn.kv.weight`).
    ///
    /// # Errors
    /// [`KernelError::Unsupported`] for invalid or unsupported sizes, [`KernelError::Tensor`] for a tensor that is missing
    /// or has the wrong size.
    pub fn new<'a>(level: Level, shape: BoqShape, get: &'a Lookup<'a>) -> Result<Self, KernelError> {
        let BoqShape { input, width, heads, hidden, queries, layers, epsilon } = shape;
        if [input, width, heads, hidden, queries, layers].contains(&0)
            || !width.is_multiple_of(heads)
            || width / heads > MAX_HEAD_SIZE
        {
            return Err(KernelError::Unsupported(format!("BoQ of width {width} in {heads} heads")));
        }
        let packing = Packing::new(level, Element::F32);
        let source = TensorSource::new(packing, get);
        let weight = source.get("proj_c.weight", width * input * TAPS)?;
        let bias = source.get("proj_c.bias", width)?;
        let tap = |tap: usize| {
            let values: Vec<f32> = weight.iter().skip(tap).step_by(TAPS).copied().collect();
            let bias = if tap == 0 { bias.to_vec() } else { vec![0.0; width] };
            source.pack(input, &values, &bias)
        };
        Ok(Self {
            level,
            packing,
            taps: (0..TAPS).map(tap).collect(),
            norm: source.norm("norm_input", width, epsilon)?,
            blocks: (0..layers)
                .map(|i| BoqBlock::load(level, &source, &format!("boqs.{i}"), &shape))
                .collect::<Result<_, _>>()?,
            shape,
            buffers: Pool::default(),
            scratches: Pool::default(),
        })
    }

    /// Aggregates one image on the threads of the current rayon pool.
    ///
    /// # Shapes
    /// - patches: `[rows * columns, input]` with `[rows, columns]` = `grid`
    ///
    /// # Errors
    /// [`KernelError::Input`] for patches of another number.
    pub fn run(&self, patches: &[f32], grid: [usize; 2]) -> Result<BoqOutput, KernelError> {
        let BoqShape { input, width, heads, queries: asked, layers, .. } = self.shape;
        let count = grid[0] * grid[1];
        if count == 0 || patches.len() != count * input {
            let [rows, columns] = grid;
            let found = patches.len();
            return Err(KernelError::Input(format!("{found} values are not {rows} x {columns} x {input}")));
        }
        let columns = self.level.columns();
        let size = width * columns;
        let panels = count.div_ceil(columns);
        let layout = Layout { keys: self.packing, values: self.packing, dim: width, columns, count };
        let mut buffers = self.buffers.borrow();
        let ImageBuffers { x, queries, kv, heads: packed } = buffers.sized(panels * size, heads);
        let group = size * panels_per_task(panels, rayon::current_num_threads());

        x.par_chunks_mut(group).enumerate().for_each(|(g, x)| {
            let mut scratch = self.scratches.borrow();
            let Scratch { gathered, normed, .. } = &mut *scratch;
            gathered.resize(x.len() / width * input);
            normed.resize(x.len());
            for (tap, matrix) in self.taps.iter().enumerate() {
                for (p, panel) in gathered.chunks_exact_mut(input * columns).enumerate() {
                    let first = g * group / width + p * columns;
                    gather(patches, grid, [first, tap], columns, panel);
                }
                let out = &mut *normed;
                self.level.run(Tap { matrix, gathered, out, first: tap == 0 });
            }
            self.level.run(Normalise { norm: &self.norm, x: normed, out: x });
        });
        let mut output =
            BoqOutput { queries: vec![0.0; layers * asked * width], width, attention: vec![0.0; count] };
        for (block, found) in self.blocks.iter().zip(output.queries.chunks_exact_mut(asked * width)) {
            let parts =
                x.par_chunks(group).zip(queries.par_chunks_mut(group)).zip(kv.par_chunks_mut(2 * group));
            parts.for_each(|((x, queries), kv)| self.level.run(Project { block, x, queries, kv }));
            packed.par_iter_mut().enumerate().for_each(|(head, packed)| {
                packed.fill(layout, head, width / heads, kv);
            });
            let parts =
                x.par_chunks_mut(group).zip(queries.par_chunks(group)).zip(kv.par_chunks_mut(2 * group));
            parts.for_each(|((x, queries), kv)| {
                let mut scratch = self.scratches.borrow();
                let Scratch { normed, context, hidden, tile, .. } = &mut *scratch;
                normed.resize(x.len());
                context.resize(x.len());
                hidden.resize(x.len() / width * block.linear1.rows);
                self.level.run(Encode {
                    block,
                    heads: packed,
                    queries,
                    x,
                    kv,
                    normed,
                    context,
                    hidden,
                    tile,
                });
            });
            packed.par_iter_mut().enumerate().for_each(|(head, packed)| {
                packed.fill(layout, head, width / heads, kv);
            });
            let parts = block.queries.par_chunks(size).zip(found.par_chunks_mut(columns * width));
            let attentions: Vec<Vec<f32>> = parts
                .map(|(queries, found)| {
                    let mut attention = vec![0.0; count];
                    let mut scratch = self.scratches.borrow();
                    let Scratch { normed, context, tile, .. } = &mut *scratch;
                    normed.resize(size);
                    context.resize(size);
                    let class_attention = ClassAttention::new(found.len() / width, &mut attention);
                    self.level.run(Ask {
                        block,
                        heads: packed,
                        queries,
                        normed,
                        context,
                        tile,
                        class_attention,
                    });
                    for (c, found) in found.chunks_exact_mut(width).enumerate() {
                        for (value, row) in found.iter_mut().zip(context.chunks_exact(columns)) {
                            *value = row[c];
                        }
                    }
                    attention
                })
                .collect();
            for (i, sum) in output.attention.iter_mut().enumerate() {
                let here: f32 = attentions.iter().map(|attention| attention[i]).sum();
                *sum += here / (heads * layers) as f32;
            }
        }
        Ok(output)
    }
}

/// Copies the patches under a tap of the convolution, of the panel that begins with patch `first`, to `panel`, one per
/// column; zeros beyond the image's edges.
fn gather(
    patches: &[f32],
    [rows, across]: [usize; 2],
    [first, tap]: [usize; 2],
    columns: usize,
    panel: &mut [f32],
) {
    let input = panel.len() / columns;
    // Of each column, where its patch begins.
    let at = |column: usize| {
        let patch = first + column;
        // One more than the row and column of the patch under the tap.
        let (y, x) = (patch / across + tap / 3, patch % across + tap % 3);
        let inside = patch < rows * across && (1..=rows).contains(&y) && (1..=across).contains(&x);
        inside.then(|| ((y - 1) * across + x - 1) * input)
    };
    panel::gather(columns, panel, |column| at(column).map(|at| &patches[at..at + input]));
}

impl BoqBlock {
    /// Packs the tensors under `{name}.`.
    fn load(
        level: Level,
        source: &TensorSource<'_>,
        name: &str,
        shape: &BoqShape,
    ) -> Result<Self, KernelError> {
        let BoqShape { width, heads, hidden, queries, epsilon, .. } = *shape;
        let encoder = format!("{name}.encoder");
        let [weight, bias] = ["weight", "bias"].map(|part| format!("{encoder}.self_attn.in_proj.{part}"));
        let (q, kv) = source.attention([&weight, &bias], width, heads)?;
        let scale = query_scale(width / heads);
        let columns = level.columns();
        let mut panels = Floats::zeros(queries.div_ceil(columns) * width * columns);
        let query = source.get(&format!("{name}.query"), queries * width)?;
        for (q, query) in query.chunks_exact(width).enumerate() {
            let panel = &mut panels[q / columns * width * columns..][..width * columns];
            for (row, value) in panel.chunks_exact_mut(columns).zip(query) {
                row[q % columns] = value * scale;
            }
        }
        Ok(Self {
            q,
            kv,
            out: source.matrix(&format!("{encoder}.self_attn.out_proj"), width, width)?,
            norm1: source.norm(&format!("{encoder}.norm1"), width, epsilon)?,
            linear1: source.matrix(&format!("{encoder}.linear1"), width, hidden)?,
            linear2: source.matrix(&format!("{encoder}.linear2"), hidden, width)?,
            norm2: source.norm(&format!("{encoder}.norm2"), width, epsilon)?,
            queries: panels,
            cross_kv: source.matrix(&format!("{name}.cross_attn.kv"), width, 2 * width)?,
            cross_out: source.matrix(&format!("{name}.cross_attn.out_proj"), width, width)?,
            norm_out: source.norm(&format!("{name}.norm_out"), width, epsilon)?,
        })
    }
}

/// Adds a tap of the convolution to some panels, or begins with it.
struct Tap<'a> {
    matrix: &'a Matrix,
    gathered: &'a [f32],
    out: &'a mut [f32],
    first: bool,
}

impl WithSimd for Tap<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (x, out) = (vectors::<S>(self.gathered), vectors_mut::<S>(self.out));
        if self.first {
            for value in out.iter_mut() {
                *value = simd.splat_f32s(0.0);
            }
        }
        self.matrix.multiply(simd, x, out, Accumulate);
    }
}

/// A layer norm of some panels.
struct Normalise<'a> {
    norm: &'a Norm,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Normalise<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.norm.apply(simd, vectors::<S>(self.x), vectors_mut::<S>(self.out));
    }
}

/// Queries, keys and values of some panels.
struct Project<'a> {
    block: &'a BoqBlock,
    x: &'a [f32],
    queries: &'a mut [f32],
    kv: &'a mut [f32],
}

impl WithSimd for Project<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let x = vectors::<S>(self.x);
        self.block.q.multiply(simd, x, vectors_mut::<S>(self.queries), Store);
        self.block.kv.multiply(simd, x, vectors_mut::<S>(self.kv), Store);
    }
}

/// The encoder layer of some panels after the projections, and the keys and values that queries attend to.
struct Encode<'a> {
    block: &'a BoqBlock,
    heads: &'a [Head],
    queries: &'a [f32],
    x: &'a mut [f32],
    kv: &'a mut [f32],
    normed: &'a mut [f32],
    context: &'a mut [f32],
    hidden: &'a mut [f32],
    tile: &'a mut Tile,
}

impl WithSimd for Encode<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (block, queries) = (self.block, vectors::<S>(self.queries));
        let (x, kv) = (vectors_mut::<S>(self.x), vectors_mut::<S>(self.kv));
        let (normed, context) = (vectors_mut::<S>(self.normed), vectors_mut::<S>(self.context));
        let hidden = vectors_mut::<S>(self.hidden);
        for head in self.heads {
            head.attend(simd, queries, context, self.tile, None);
        }
        block.out.multiply(simd, context, x, Accumulate);
        block.norm1.apply(simd, x, normed);
        block.linear1.multiply(simd, normed, hidden, Relu);
        block.linear2.multiply(simd, hidden, normed, Accumulate);
        block.norm2.apply(simd, normed, x);
        block.cross_kv.multiply(simd, x, kv, Store);
    }
}

/// What a panel of learned queries finds, in `context`.
struct Ask<'a> {
    block: &'a BoqBlock,
    heads: &'a [Head],
    queries: &'a [f32],
    normed: &'a mut [f32],
    context: &'a mut [f32],
    tile: &'a mut Tile,
    class_attention: ClassAttention<'a>,
}

impl WithSimd for Ask<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (queries, mut class_attention) = (vectors::<S>(self.queries), self.class_attention);
        let (normed, context) = (vectors_mut::<S>(self.normed), vectors_mut::<S>(self.context));
        for head in self.heads {
            head.attend(simd, queries, context, self.tile, Some(&mut class_attention));
        }
        self.block.cross_out.multiply(simd, context, normed, Store);
        self.block.norm_out.apply(simd, normed, context);
    }
}
