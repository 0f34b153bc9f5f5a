//! A vision transformer for one image: from pixels to tokens, and the attention of its last block.
//!
//! Each block takes three passes over the panels of tokens: projection to queries, keys and values; packing of keys and
//! values by head; attention and the rest of the block. A task is a few panels, so that weights read from memory serve
//! all of them.

use crate::buffer::{Floats, vectors, vectors_mut};
use crate::element::Element;
use crate::epilogue::Accumulate;
use crate::matrix::{Matrix, Packing};
use crate::norm::Norm;
use crate::panel::{NR_VECTORS, panels_per_task};
use crate::pool::Pool;
use crate::stack::{AfterAttention, Block, BlockShape, Project};
use crate::tiles::{ClassAttention, Head, Layout, MAX_HEAD_SIZE, Tile};
use crate::weights::{KernelError, Lookup, TensorSource};
use crate::{Level, MatmulPrecision};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

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
    /// Whether a layer norm follows the last block.
    pub final_norm: bool,
    /// First tokens (CLS, and DIST if distilled) whose attention in the last block is returned; at most 2.
    pub class_tokens: usize,
    /// Blocks before [`Encoded::local`] is taken; less than `depth`.
    pub local_layer: usize,
    /// Whether the last block computes every token. Otherwise it computes the class tokens alone, which saves most
    /// of that block.
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
    /// After the last block.
    norm: Option<Norm>,
    shape: EncoderShape,
    buffers: Pool<ImageBuffers>,
    scratches: Pool<Scratch>,
}

/// What the tokens of every image of one size start from: prefix tokens, position embeddings and the bias of the patch
/// embedding, precomputed by [`Encoder::precompute_prefix`] as the tokens of an all-zero image.
#[derive(Debug, Clone)]
pub struct PrecomputedPrefix {
    panels: Floats,
    /// Panels `[head size, NR]` of cosines, then sines, by which queries and keys are turned; empty without rotary positions.
    turns: Floats,
    count: usize,
    height: usize,
    width: usize,
}

/// An encoded image.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// Tokens after the last block and the final norm, if there is one, `[tokens, dim]`: all of them, or the class tokens.
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
        if matches!(element, Element::Bf16x2(_)) && !(dim / heads).is_multiple_of(2) {
            return Err(KernelError::Unsupported(format!("bf16 with heads of {} dimensions", dim / heads)));
        }
        // Scales need room behind a panel's elements.
        if matches!(element, Element::Int8(_)) && dim.min(hidden) < 4 {
            return Err(KernelError::Unsupported(format!("int8 with width {dim}, hidden {hidden}")));
        }
        let source = TensorSource::new(Packing::new(level, element), get).keeping_halves(level);
        // Pixels are not quantised.
        let pixels = TensorSource::new(Packing::new(level, element.unquantised()), get);
        let gated = shape.swiglu.is_some();
        let block = BlockShape { dim, heads, hidden, gated, epsilon, layer_scale };
        let patch_values = 3 * patch * patch;
        let patches = pixels.get("patch_embed.proj.weight", dim * patch_values)?;
        let mut blocks = (0..depth)
            .rev()
            .map(|i| Block::load(&source, &format!("blocks.{i}"), &block))
            .collect::<Result<Vec<_>, _>>()?;
        blocks.reverse();
        Ok(Self {
            level,
            element,
            patches: pixels.pack(patch_values, &patches, &vec![0.0; dim]),
            blocks,
            norm: shape.final_norm.then(|| source.norm("norm", dim, epsilon)).transpose()?,
            shape,
            buffers: Pool::default(),
            scratches: Pool::default(),
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

    /// Prepares images of one size in pixels, both sides multiples of the patch.
    ///
    /// # Shapes
    /// - tokens: `[tokens, dim]`, the model's embedding of an all-zero image `[3, height, width]`
    ///
    /// # Errors
    /// [`KernelError::Input`] for tokens that do not fit the size.
    pub fn precompute_prefix(
        &self,
        tokens: &[f32],
        height: usize,
        width: usize,
    ) -> Result<PrecomputedPrefix, KernelError> {
        let EncoderShape { patch, dim, class_tokens, .. } = self.shape;
        let count = tokens.len() / dim;
        let whole =
            tokens.len().is_multiple_of(dim) && [height, width].iter().all(|side| side.is_multiple_of(patch));
        if !whole || count < (height / patch * (width / patch)).max(class_tokens).max(1) {
            return Err(KernelError::Input(format!(
                "{} values are not the tokens of {height} x {width} pixels: width {dim}, patches of {patch}",
                tokens.len()
            )));
        }
        let columns = self.level.columns();
        let size = dim * columns;
        let mut panels = Floats::zeros(count.div_ceil(columns) * size);
        for (t, token) in tokens.chunks_exact(dim).enumerate() {
            let panel = &mut panels[t / columns * size..][..size];
            for (row, value) in panel.chunks_exact_mut(columns).zip(token) {
                row[t % columns] = *value;
            }
        }
        Ok(PrecomputedPrefix { panels, turns: Floats::default(), count, height, width })
    }

    /// Adds rotary positions: value `i` of the first half of each query and key is turned with value `i` of the second half.
    ///
    /// # Shapes
    /// - angles: `[tokens, head size / 2]`, the same in all heads and blocks; zeros for tokens without a position
    ///
    /// # Errors
    /// [`KernelError::Input`] for another number of angles.
    pub fn with_rotary(
        &self,
        mut prefix: PrecomputedPrefix,
        angles: &[f32],
    ) -> Result<PrecomputedPrefix, KernelError> {
        let (size, columns, count) = (self.shape.dim / self.shape.heads, self.level.columns(), prefix.count);
        let half = size / 2;
        if !size.is_multiple_of(2) || angles.len() != count * half {
            let found = angles.len();
            return Err(KernelError::Input(format!(
                "{found} angles for {count} tokens and heads of {size} dimensions"
            )));
        }
        prefix.turns = Floats::zeros(count.div_ceil(columns) * size * columns);
        for (t, angles) in angles.chunks_exact(half).enumerate() {
            let panel = &mut prefix.turns[t / columns * size * columns..][..size * columns];
            let (cosines, sines) = panel.split_at_mut(half * columns);
            for (i, angle) in angles.iter().enumerate() {
                let at = i * columns + t % columns;
                (cosines[at], sines[at]) = (angle.cos(), angle.sin());
            }
        }
        Ok(prefix)
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
        let EncoderShape { dim, heads, class_tokens, local_layer, all_outputs, .. } = self.shape;
        let columns = self.level.columns();
        let size = dim * columns;
        let [keys, values] = [self.element.of_keys(dim / heads), self.element.widened()]
            .map(|element| Packing::new(self.level, element));
        let layout = Layout { keys, values, dim, columns, count };
        let mut buffers = self.buffers.borrow();
        let ImageBuffers { x, queries, kv, heads: packed } = buffers.sized(prefix.panels.len(), heads);
        let group = size * panels_per_task(x.len() / size, rayon::current_num_threads());
        x.par_chunks_mut(group).zip(prefix.panels.par_chunks(group)).enumerate().for_each(
            |(g, (x, prefix))| {
                let mut scratch = self.scratches.borrow();
                x.copy_from_slice(prefix);
                let first = g * group / dim;
                let pixels = &mut scratch.hidden;
                pixels.resize(x.len() / dim * self.patch_values());
                for (p, pixels) in pixels.chunks_exact_mut(self.patch_values() * columns).enumerate() {
                    self.gather_patches(image, [count, height, width], first + p * columns, pixels);
                }
                self.level.run(Embed {
                    patches: &self.patches,
                    patch_values: self.patch_values(),
                    pixels,
                    x,
                });
            },
        );
        let (mut local, mut attention) = (Vec::new(), vec![0.0; count]);
        let mut computed = x.len();
        for (index, block) in self.blocks.iter().enumerate() {
            let last = index + 1 == self.blocks.len();
            if index == local_layer {
                local = unpack_tokens(x, dim, columns, count);
            }
            if last {
                // The class tokens are in the first panel.
                computed = if all_outputs { computed } else { size };
            }
            let parts =
                x.par_chunks(group).zip(queries.par_chunks_mut(group)).zip(kv.par_chunks_mut(2 * group));
            parts.enumerate().for_each(|(g, ((x, queries), kv))| {
                let mut scratch = self.scratches.borrow();
                scratch.normed.resize(x.len());
                let queries = (g * group < computed).then_some(queries);
                let turns = prefix.turns.chunks(group / heads).nth(g).unwrap_or_default();
                self.level.run(Project { block, x, queries, kv, turns, normed: &mut scratch.normed });
            });
            packed.par_iter_mut().enumerate().for_each(|(head, packed)| {
                packed.fill(layout, head, dim / heads, kv);
            });
            let attend = |x: &mut [f32], queries: &[f32], class_attention: Option<ClassAttention<'_>>| {
                let mut scratch = self.scratches.borrow();
                let Scratch { normed, context, hidden, tile } = &mut *scratch;
                normed.resize(x.len());
                context.resize(x.len());
                hidden.resize(x.len() / dim * block.fc1.rows);
                self.level.run(AttendAll { queries, heads: packed, class_attention, context, tile });
                self.level.run(AfterAttention { block, x, context, normed, hidden });
            };
            let (x, others) = x[..computed].split_at_mut(group.min(computed));
            let (queries, other_queries) = queries[..computed].split_at(x.len());
            let class_attention = last.then(|| ClassAttention::new(class_tokens, &mut attention));
            rayon::join(
                || attend(x, queries, class_attention),
                || {
                    let parts = others.par_chunks_mut(group).zip(other_queries.par_chunks(group));
                    parts.for_each(|(x, queries)| attend(x, queries, None));
                },
            );
        }
        if let Some(norm) = &self.norm {
            x[..computed].par_chunks_mut(group).for_each(|x| {
                let mut scratch = self.scratches.borrow();
                scratch.normed.resize(x.len());
                self.level.run(Normalise { norm, x, normed: &mut scratch.normed });
            });
        }
        let last = unpack_tokens(x, dim, columns, if all_outputs { count } else { class_tokens });
        Ok(Encoded { last, local, attention })
    }

    /// Values per patch.
    fn patch_values(&self) -> usize {
        3 * self.shape.patch * self.shape.patch
    }

    /// Copies the patches of the panel that begins with token `first` to `pixels`, one patch per column; zeros for tokens
    /// that are not patches.
    fn gather_patches(
        &self,
        image: &[f32],
        [count, height, width]: [usize; 3],
        first: usize,
        pixels: &mut [f32],
    ) {
        let (patch, columns) = (self.shape.patch, self.level.columns());
        let across = width / patch;
        let prefix = count - height / patch * across;
        for column in 0..columns {
            let token = first + column;
            let index = token.checked_sub(prefix).filter(|_| token < count);
            let rows = pixels[column..].iter_mut().step_by(columns);
            let Some(index) = index else {
                rows.for_each(|pixel| *pixel = 0.0);
                continue;
            };
            let corner = index / across * patch * width + index % across * patch;
            let lines = (0..3 * patch).map(|line| {
                let (channel, y) = (line / patch, line % patch);
                &image[(channel * height + y) * width + corner..][..patch]
            });
            for (pixel, value) in rows.zip(lines.flatten()) {
                *pixel = *value;
            }
        }
    }
}

/// The first `count` tokens of panels, `[count, dim]`.
fn unpack_tokens(panels: &[f32], dim: usize, columns: usize, count: usize) -> Vec<f32> {
    let mut tokens = vec![0.0; count * dim];
    for (t, token) in tokens.chunks_exact_mut(dim).enumerate() {
        let panel = &panels[t / columns * dim * columns..][..dim * columns];
        for (value, row) in token.iter_mut().zip(panel.chunks_exact(columns)) {
            *value = row[t % columns];
        }
    }
    tokens
}

/// Adds the patch embeddings to the tokens of some panels.
struct Embed<'a> {
    patches: &'a Matrix,
    patch_values: usize,
    pixels: &'a mut [f32],
    x: &'a mut [f32],
}

impl WithSimd for Embed<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let pixels = self.patches.input(simd, self.patch_values, vectors_mut::<S>(self.pixels));
        self.patches.multiply(simd, pixels, vectors_mut::<S>(self.x), Accumulate);
    }
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
