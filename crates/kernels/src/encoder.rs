//! A vision transformer for one image: from pixels to tokens, and the attention of its last block.
//!
//! Each block takes three passes over the panels of tokens: projection to queries, keys and values; packing of keys and
//! values by head; attention and the rest of the block. Adapters with convolutions take two more ([`adapter`](crate::adapter)). A
//! task is a few panels, so that weights read from memory serve all of them.

mod patches;
mod prefix;

pub use prefix::PrecomputedPrefix;

use crate::adapter::{self, Adapter, AdapterShape, Grid, NarrowSum};
use crate::buffer::{Floats, vectors, vectors_mut};
use crate::element::Element;
use crate::matrix::{Matrix, Packing};
use crate::norm::Norm;
use crate::panel::{NR_VECTORS, panels_per_task};
use crate::pool::Pool;
use crate::project::{Project, Projections};
use crate::stack::{AfterAttention, Block, BlockShape, NARROW};
use crate::tiles::{ClassAttention, Head, Layout, MAX_HEAD_SIZE, Tile};
use crate::weights::{KernelError, Lookup, TensorSource};
use crate::{Level, MatmulPrecision};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

/// Sizes of a vision transformer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EncoderShape {
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Token width.
    pub dim: usize,
    /// Blocks, at least 1.
    pub depth: usize,
    /// Attention heads; divides `dim`.
    pub heads: usize,
    /// Hidden width of the MLPs, in multiples of `dim`.
    pub mlp_ratio: usize,
    /// Hidden width of gated MLPs, `w3(silu(w1 x) * w2 x)` with w1 and w2 as one `mlp.w12` (SwiGLU: DINOv2-g), in place of those
    /// with `mlp_ratio`.
    pub swiglu: Option<usize>,
    /// Epsilon of every layer norm.
    pub epsilon: f32,
    /// Whether each branch ends in a LayerScale (DINOv2).
    pub layer_scale: bool,
    /// Adapters of a frozen transformer, if there are any.
    pub adapters: Option<AdapterShape>,
    /// Whether the last block ends with the values of its attention, which are then [`Encoded::last`] (AnyLoc).
    pub values: bool,
    /// Whether a layer norm follows the last block.
    pub final_norm: bool,
    /// First tokens (CLS, and DIST if distilled) whose attention in the last block is returned; at most 2.
    pub class_tokens: usize,
    /// Blocks before [`Encoded::local`] is taken; less than `depth`.
    pub local_layer: usize,
    /// Whether the last block computes every token. Otherwise it computes the class tokens alone, which saves most
    /// of that block, unless there are adapters with convolutions.
    pub all_outputs: bool,
}

/// A vision transformer whose weights are packed for one [`Level`]. It runs from any number of threads at once.
#[derive(Debug, Clone)]
pub struct Encoder {
    level: Level,
    /// Of the blocks' linear layers.
    element: Element,
    patches: Matrix,
    blocks: Vec<Block>,
    /// What takes the place of the last block if it ends with values.
    values: Option<Projections>,
    /// Adapters on a path beside the last blocks.
    side: Vec<Adapter>,
    /// After the last block.
    norm: Option<Norm>,
    shape: EncoderShape,
    buffers: Pool<ImageBuffers>,
    /// Tokens of the path beside the blocks.
    sides: Pool<Floats>,
    scratches: Pool<Scratch>,
    adapter_scratches: Pool<adapter::Scratch>,
}

/// An encoded image.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// Tokens after the last block and the final norm, if there is one, or their values in the last block, `[tokens, dim]`: all of
    /// them, or the class tokens.
    pub last: Vec<f32>,
    /// All tokens after [`EncoderShape::local_layer`] blocks, `[tokens, dim]`.
    pub local: Vec<f32>,
    /// Attention of the class tokens to every token, summed over heads and class tokens, `[tokens]`.
    pub attention: Vec<f32>,
}

/// Activations of one image, in panels.
#[derive(Debug, Clone, Default)]
pub(crate) struct ImageBuffers {
    pub(crate) x: Floats,
    pub(crate) queries: Floats,
    /// Keys, then values, of each panel.
    pub(crate) kv: Floats,
    pub(crate) heads: Vec<Head>,
}

impl ImageBuffers {
    /// Room for an image of so many values.
    pub(crate) fn sized(&mut self, values: usize, heads: usize) -> &mut Self {
        self.x.resize(values);
        self.queries.resize(values);
        self.kv.resize(2 * values);
        self.heads.resize_with(heads, Head::default);
        self
    }
}

/// Scratch of one thread.
#[derive(Debug, Clone, Default)]
struct Scratch {
    normed: Floats,
    context: Floats,
    hidden: Floats,
    tile: Tile,
}

impl Encoder {
    /// Packs the tensors that `get` returns for timm's names (`patch_embed.proj.weight`, `blocks.0.norm1.weight`,
    /// ..., `norm.bias`). It asks for blocks from the last to the first, one after the other, so that `get` can free what has
    /// been packed. In f32, weights of 16 bits stay so.
    ///
    /// # Errors
    /// [`KernelError::Unsupported`] for invalid or unsupported sizes, [`KernelError::Tensor`] for a tensor that is missing
    /// or has the wrong size.
    pub fn new<'a>(
        level: Level,
        precision: MatmulPrecision,
        shape: EncoderShape,
        get: &'a Lookup<'a>,
    ) -> Result<Self, KernelError> {
        let EncoderShape { patch, dim, depth, heads, mlp_ratio, epsilon, layer_scale, class_tokens, .. } =
            shape;
        let hidden = shape.swiglu.unwrap_or(mlp_ratio * dim);
        if [patch, dim, depth, heads, hidden].contains(&0) || !dim.is_multiple_of(heads) {
            return Err(KernelError::Unsupported(format!("{depth} blocks of width {dim} in {heads} heads")));
        }
        if shape.local_layer >= depth {
            let layer = shape.local_layer;
            return Err(KernelError::Unsupported(format!("local features after {layer} of {depth} blocks")));
        }
        // The class tokens must fit the first panel at every level.
        if dim / heads > MAX_HEAD_SIZE || class_tokens > NR_VECTORS {
            let size = dim / heads;
            return Err(KernelError::Unsupported(format!(
                "heads of {size} dimensions, {class_tokens} class tokens"
            )));
        }
        let element = Element::of(level, precision);
        let element = if dim < NARROW { element.in_16_bits() } else { element };
        if matches!(element, Element::Bf16x2(_)) && !(dim / heads).is_multiple_of(2) {
            return Err(KernelError::Unsupported(format!("bf16 with heads of {} dimensions", dim / heads)));
        }
        // Scales need room behind a panel's elements.
        if matches!(element, Element::Int8(_)) && dim.min(hidden) < 4 {
            return Err(KernelError::Unsupported(format!("int8 with width {dim}, hidden {hidden}")));
        }
        if let Some(adapters) = shape.adapters {
            adapters.check([dim, depth], matches!(element, Element::Int8(_)))?;
        }
        if shape.values && (shape.adapters.is_some() || shape.final_norm) {
            return Err(KernelError::Unsupported("a final norm or adapters after values".into()));
        }
        let source = TensorSource::new(Packing::new(level, element), get).keeping_halves(level);
        // Pixels are not quantised.
        let pixels = TensorSource::new(Packing::new(level, element.unquantised()), get);
        let gated = shape.swiglu.is_some();
        let adapters = shape.adapters;
        let block = BlockShape { dim, heads, hidden, gated, epsilon, layer_scale, adapters };
        let patch_values = 3 * patch * patch;
        let patches = pixels.get("patch_embed.proj.weight", dim * patch_values)?;
        let whole = depth - usize::from(shape.values);
        let values = shape
            .values
            .then(|| Projections::load(&source, &format!("blocks.{whole}"), [dim, heads], epsilon))
            .transpose()?;
        let mut blocks = (0..whole)
            .rev()
            .map(|i| Block::load(&source, &format!("blocks.{i}"), &block))
            .collect::<Result<Vec<_>, _>>()?;
        blocks.reverse();
        let side = match adapters {
            Some(shape @ AdapterShape::Side { count, .. }) => (0..count)
                .map(|i| Adapter::load(&source, &format!("adapters.{i}"), dim, shape, None))
                .collect::<Result<_, _>>()?,
            _ => Vec::new(),
        };
        Ok(Self {
            level,
            element,
            patches: pixels.pack(patch_values, &patches, &vec![0.0; dim]),
            blocks,
            values,
            side,
            norm: shape.final_norm.then(|| source.norm("norm", dim, epsilon)).transpose()?,
            shape,
            buffers: Pool::default(),
            sides: Pool::default(),
            scratches: Pool::default(),
            adapter_scratches: Pool::default(),
        })
    }

    /// The vector instructions that it runs on.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Whether matrix products run in bfloat16.
    pub fn is_bf16(&self) -> bool {
        matches!(self.element, Element::Bf16x2(_))
    }

    /// Whether linear layers run in 8-bit integers.
    pub fn is_int8(&self) -> bool {
        matches!(self.element, Element::Int8(_))
    }

    /// Encodes one image on the threads of the current rayon pool.
    ///
    /// # Shapes
    /// - image: `[3, height, width]` of the size of `prefix`, normalised
    ///
    /// # Errors
    /// [`KernelError::Input`] for an image of another size.
    pub fn run(&self, prefix: &PrecomputedPrefix, image: &[f32]) -> Result<Encoded, KernelError> {
        let PrecomputedPrefix { count, height, width, .. } = *prefix;
        if image.len() != 3 * height * width {
            let found = image.len();
            return Err(KernelError::Input(format!("{found} values are not 3 x {height} x {width} pixels")));
        }
        let EncoderShape { patch, dim, depth, heads, class_tokens, local_layer, all_outputs, .. } =
            self.shape;
        let columns = self.level.columns();
        let size = dim * columns;
        let [rows, across] = [height, width].map(|side| side / patch);
        let grid = Grid { prefix: count - rows * across, rows, across };
        let [keys, values] = [self.element.of_keys(dim / heads), self.element.widened()]
            .map(|element| Packing::new(self.level, element));
        let layout = Layout { keys, values, dim, columns, count };
        let mut buffers = self.buffers.borrow();
        let ImageBuffers { x, queries, kv, heads: packed } = buffers.sized(prefix.panels.len(), heads);
        let group = size * panels_per_task(x.len() / size, rayon::current_num_threads());
        self.embed(prefix, image, group, x);
        let side_from = depth - self.side.len();
        let mut side = (!self.side.is_empty()).then(|| self.sides.borrow());
        let (mut local, mut attention) = (Vec::new(), vec![0.0; count]);
        let mut computed = x.len();
        let stages = self.blocks.iter().map(|block| (&block.projections, Some(block)));
        let stages = stages.chain(self.values.iter().map(|values| (values, None)));
        for (index, (projections, block)) in stages.enumerate() {
            let last = index + 1 == depth;
            if index == local_layer {
                local = unpack_tokens(x, [dim, columns, count], 0..dim);
            }
            if let (Some(side), true) = (&mut side, index == side_from) {
                side.resize(x.len());
                side.copy_from_slice(x);
            }
            if last && !self.needs_all_of_last() {
                // The class tokens are in the first panel.
                computed = size;
            }
            let parts =
                x.par_chunks(group).zip(queries.par_chunks_mut(group)).zip(kv.par_chunks_mut(2 * group));
            parts.enumerate().for_each(|(g, ((x, queries), kv))| {
                let mut scratch = self.scratches.borrow();
                scratch.normed.resize(x.len());
                let queries = (g * group < computed).then_some(queries);
                let turns = prefix.turns.chunks(group / heads).nth(g).unwrap_or_default();
                self.level.run(Project { projections, x, queries, kv, turns, normed: &mut scratch.normed });
            });
            packed.par_iter_mut().enumerate().for_each(|(head, packed)| {
                packed.fill(layout, head, dim / heads, kv);
            });
            let attend = |x: &mut [f32], queries: &mut [f32], class_attention: Option<ClassAttention<'_>>| {
                let mut scratch = self.scratches.borrow();
                let Scratch { normed, context, hidden, tile } = &mut *scratch;
                context.resize(x.len());
                self.level.run(AttendAll { queries, heads: packed, class_attention, context, tile });
                if let Some(block) = block {
                    normed.resize(x.len());
                    hidden.resize(x.len() / dim * block.hidden_rows());
                    self.level.run(AfterAttention { block, x, context, normed, hidden, narrow: queries });
                }
            };
            let (first, others) = x[..computed].split_at_mut(group.min(computed));
            let (first_queries, other_queries) = queries[..computed].split_at_mut(first.len());
            let class_attention = last.then(|| ClassAttention::new(class_tokens, &mut attention));
            rayon::join(
                || attend(first, first_queries, class_attention),
                || {
                    let parts = others.par_chunks_mut(group).zip(other_queries.par_chunks_mut(group));
                    parts.for_each(|(x, queries)| attend(x, queries, None));
                },
            );
            if let Some(adapter) = block.and_then(Block::convolved) {
                adapter.convolve(self.level, grid, group, [queries, kv, x], &self.adapter_scratches);
            }
            let adapter = index.checked_sub(side_from).and_then(|index| self.side.get(index));
            if let (Some(side), Some(adapter)) = (&mut side, adapter) {
                let parts =
                    x.par_chunks(group).zip(side.par_chunks(group)).zip(queries.par_chunks_mut(group));
                parts.for_each(|((x, y), hidden)| {
                    let mut scratch = self.scratches.borrow();
                    let (sum, hidden) = (&mut scratch.normed, &mut hidden[..x.len() / dim * adapter.width()]);
                    sum.resize(x.len());
                    self.level.run(NarrowSum { adapter, x, y, sum, hidden });
                });
                adapter.convolve(self.level, grid, group, [queries, kv, side], &self.adapter_scratches);
            }
        }
        let returned = if all_outputs { count } else { class_tokens };
        if self.values.is_some() {
            return Ok(Encoded {
                last: unpack_tokens(kv, [2 * dim, columns, returned], dim..2 * dim),
                local,
                attention,
            });
        }
        let out: &mut [f32] = match &mut side {
            Some(side) => side,
            None => x,
        };
        if let Some(norm) = &self.norm {
            out[..computed].par_chunks_mut(group).for_each(|x| {
                let mut scratch = self.scratches.borrow();
                scratch.normed.resize(x.len());
                self.level.run(Normalise { norm, x, normed: &mut scratch.normed });
            });
        }
        Ok(Encoded { last: unpack_tokens(out, [dim, columns, returned], 0..dim), local, attention })
    }

    /// Whether the last block computes all tokens, not only those in the first panel.
    fn needs_all_of_last(&self) -> bool {
        let convolves = self.shape.adapters.is_some_and(AdapterShape::convolves);
        (self.shape.all_outputs || convolves) && self.values.is_none()
    }
}

/// The first `count` tokens of panels of `rows`, some of the rows: `[count, own.len()]`.
fn unpack_tokens(panels: &[f32], [rows, columns, count]: [usize; 3], own: Range<usize>) -> Vec<f32> {
    let mut tokens = vec![0.0; count * own.len()];
    for (t, token) in tokens.chunks_exact_mut(own.len()).enumerate() {
        let panel = &panels[t / columns * rows * columns..][..rows * columns];
        let values = panel[own.start * columns..].chunks_exact(columns);
        token.iter_mut().zip(values).for_each(|(value, row)| *value = row[t % columns]);
    }
    tokens
}

/// Attention of some panels of queries to all tokens, all heads.
struct AttendAll<'a> {
    queries: &'a [f32],
    heads: &'a [Head],
    class_attention: Option<ClassAttention<'a>>,
    context: &'a mut [f32],
    tile: &'a mut Tile,
}

impl WithSimd for AttendAll<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { queries, heads, mut class_attention, context, tile } = self;
        let (queries, context) = (vectors::<S>(queries), vectors_mut::<S>(context));
        for head in heads {
            head.attend(simd, queries, context, tile, class_attention.as_mut());
        }
    }
}

/// The last norm, in place.
struct Normalise<'a> {
    norm: &'a Norm,
    x: &'a mut [f32],
    normed: &'a mut [f32],
}

impl WithSimd for Normalise<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.norm.apply(simd, vectors::<S>(self.x), vectors_mut::<S>(self.normed));
        self.x.copy_from_slice(self.normed);
    }
}
