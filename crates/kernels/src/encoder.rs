//! A vision transformer on one image: from pixels to tokens, and what its last block attends to.
//!
//! Tokens lie in panels, as in the reranker. Three passes over the panels make a block: queries, keys and
//! values; keys and values packed by heads; attention and the rest of the block. A thread takes a few panels at
//! a time, so that weights come from memory once for all of them.

use crate::buffer::{Floats, vectors, vectors_mut};
use crate::finish::Add;
use crate::matrix::{Matrix, Packing};
use crate::norm::Norm;
use crate::pairs::{Instruction, Words};
use crate::panel::WIDTH;
use crate::pool::Pool;
use crate::stack::{AfterAttention, Block, BlockShape, Project};
use crate::tiles::{Head, LARGEST_HEAD, Layout, Tile, Told};
use crate::weights::{KernelError, Source};
use crate::{Level, MatmulPrecision};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Sizes of a transformer.
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
    /// Width of the MLPs over `dim`.
    pub mlp_ratio: usize,
    /// Epsilon of every layer norm.
    pub epsilon: f32,
    /// Whether each branch ends in a scale per number (DINOv2).
    pub layer_scale: bool,
    /// First tokens (CLS and DIST) whose attention in the last block is told.
    pub class_tokens: usize,
    /// Blocks before the tokens that [`Encoded::local`] has; less than `depth`.
    pub local_layer: usize,
    /// Whether the last block's output is wanted for every token; else only for those that attend, which
    /// spares most of that block.
    pub all_outputs: bool,
}

/// A transformer whose weights are packed for one [`Level`].
#[derive(Debug, Clone)]
pub struct Encoder {
    level: Level,
    packing: Packing,
    patches: Matrix,
    blocks: Vec<Block>,
    norm: Norm,
    shape: EncoderShape,
    spaces: Pool<Space>,
    scratches: Pool<Scratch>,
}

/// Tokens of a blank image (all zeros) of one size: what comes before the patches, positions, biases.
#[derive(Debug, Clone)]
pub struct PrecomputedPrefix {
    panels: Floats,
    count: usize,
    height: usize,
    width: usize,
}

/// What an image's tokens become.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// Tokens after the last block and its norm, one after the other: all, or those that attend.
    pub last: Vec<f32>,
    /// All tokens after [`EncoderShape::local_layer`] blocks.
    pub local: Vec<f32>,
    /// Attention of the first tokens to every token, summed over heads and those tokens.
    pub attention: Vec<f32>,
}

/// Memory of one image.
#[derive(Debug, Clone, Default)]
struct Space {
    x: Floats,
    queries: Floats,
    /// Keys, then values, of a panel.
    kv: Floats,
    heads: Vec<Head>,
}

/// A thread's own memory.
#[derive(Debug, Clone, Default)]
struct Scratch {
    normed: Floats,
    context: Floats,
    hidden: Floats,
    tile: Tile,
}

impl Encoder {
    /// Packs the tensors that `get` finds by timm's names (`patch_embed.proj.weight`, `blocks.0.norm1.weight`,
    /// ..., `norm.bias`).
    ///
    /// # Errors
    /// [`KernelError::Unsupported`] for sizes that are none or that it is not made for, [`KernelError::Tensor`] for
    /// a tensor that is missing or of another size.
    pub fn new<'a>(
        level: Level,
        products: MatmulPrecision,
        shape: EncoderShape,
        get: &'a dyn Fn(&str) -> Option<&'a [f32]>,
    ) -> Result<Self, KernelError> {
        let EncoderShape { patch, dim, depth, heads, mlp_ratio, epsilon, layer_scale, class_tokens, .. } =
            shape;
        if [patch, dim, depth, heads, mlp_ratio].contains(&0) || !dim.is_multiple_of(heads) {
            return Err(KernelError::Unsupported(format!("{depth} blocks of width {dim} in {heads} heads")));
        }
        if shape.local_layer >= depth {
            let layer = shape.local_layer;
            return Err(KernelError::Unsupported(format!("local features after {layer} of {depth} blocks")));
        }
        // Few tokens are all in the first panel, whatever its width.
        if dim / heads > LARGEST_HEAD || class_tokens > WIDTH {
            let size = dim / heads;
            return Err(KernelError::Unsupported(format!(
                "heads of {size} numbers, {class_tokens} tokens that attend"
            )));
        }
        let words = match products {
            MatmulPrecision::F32 => Words::Floats,
            MatmulPrecision::Bf16 => Instruction::of(level).map_or(Words::Floats, Words::Pairs),
            MatmulPrecision::Bf16Emulated => {
                Words::Pairs(Instruction::of(level).unwrap_or(Instruction::Emulated))
            }
        };
        if words != Words::Floats && !(dim / heads).is_multiple_of(2) {
            return Err(KernelError::Unsupported(format!("bf16 with heads of {} numbers", dim / heads)));
        }
        let packing = Packing::new(level, words);
        let source = Source::new(packing, get);
        let block = BlockShape { dim, heads, mlp_ratio, epsilon, layer_scale };
        let depth_of_patch = 3 * patch * patch;
        let patches = source.take("patch_embed.proj.weight", dim * depth_of_patch)?;
        Ok(Self {
            level,
            packing,
            patches: source.pack(depth_of_patch, patches, &vec![0.0; dim]),
            blocks: (0..depth)
                .map(|i| Block::load(&source, &format!("blocks.{i}"), &block))
                .collect::<Result<_, _>>()?,
            norm: source.norm("norm", dim, epsilon)?,
            shape,
            spaces: Pool::default(),
            scratches: Pool::default(),
        })
    }

    /// Which instructions it runs on.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Whether products take bfloat16.
    pub fn is_bf16(&self) -> bool {
        self.packing.words != Words::Floats
    }

    /// Keeps the tokens of a blank image: `tokens` as the model embeds zeros of `[3, height, width]`.
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
        Ok(PrecomputedPrefix { panels, count, height, width })
    }

    /// Runs all blocks over one image, on the threads of the current pool.
    ///
    /// # Shapes
    /// - image: `[3, height, width]` of `blank`, normalised
    ///
    /// # Errors
    /// [`KernelError::Input`] for an image of another size.
    pub fn run(&self, blank: &PrecomputedPrefix, image: &[f32]) -> Result<Encoded, KernelError> {
        let PrecomputedPrefix { count, height, width, .. } = *blank;
        if image.len() != 3 * height * width {
            let found = image.len();
            return Err(KernelError::Input(format!("{found} values are not 3 x {height} x {width} pixels")));
        }
        let EncoderShape { dim, heads, class_tokens, local_layer, all_outputs, .. } = self.shape;
        let columns = self.level.columns();
        let size = dim * columns;
        let layout = Layout { packing: self.packing, dim, columns, count };
        let mut space = self.spaces.borrow();
        let Space { x, queries, kv, heads: packed } = &mut *space;
        for (floats, len) in [
            (&mut *x, blank.panels.len()),
            (&mut *queries, blank.panels.len()),
            (&mut *kv, 2 * blank.panels.len()),
        ] {
            floats.resize(len);
        }
        packed.resize_with(heads, Head::default);

        let group = size * together(x.len() / size, rayon::current_num_threads());
        x.par_chunks_mut(group).zip(blank.panels.par_chunks(group)).enumerate().for_each(
            |(g, (x, blank))| {
                let mut scratch = self.scratches.borrow();
                x.copy_from_slice(blank);
                let first = g * group / dim;
                let pixels = &mut scratch.hidden;
                pixels.resize(x.len() / dim * self.pixels());
                for (p, pixels) in pixels.chunks_exact_mut(self.pixels() * columns).enumerate() {
                    self.gather(image, [count, height, width], first + p * columns, pixels);
                }
                self.level.run(Embed { patches: &self.patches, numbers: self.pixels(), pixels, x });
            },
        );
        let (mut local, mut attention) = (Vec::new(), vec![0.0; count]);
        let mut wanted = x.len();
        for (number, block) in self.blocks.iter().enumerate() {
            let last = number + 1 == self.blocks.len();
            if number == local_layer {
                local = turned(x, dim, columns, count);
            }
            if last {
                // Those that attend are all in the first panel.
                wanted = if all_outputs { wanted } else { size };
            }
            let parts =
                x.par_chunks(group).zip(queries.par_chunks_mut(group)).zip(kv.par_chunks_mut(2 * group));
            parts.enumerate().for_each(|(g, ((x, queries), kv))| {
                let mut scratch = self.scratches.borrow();
                scratch.normed.resize(x.len());
                let queries = (g * group < wanted).then_some(queries);
                self.level.run(Project { block, x, queries, kv, normed: &mut scratch.normed });
            });
            packed.par_iter_mut().enumerate().for_each(|(head, packed)| {
                packed.fill(layout, head, dim / heads, kv);
            });
            let attend = |x: &mut [f32], queries: &[f32], told: Option<Told<'_>>| {
                let mut scratch = self.scratches.borrow();
                let Scratch { normed, context, hidden, tile } = &mut *scratch;
                normed.resize(x.len());
                context.resize(x.len());
                hidden.resize(x.len() * self.shape.mlp_ratio);
                self.level.run(AttendAll { queries, heads: packed, told, context, tile });
                self.level.run(AfterAttention { block, x, context, normed, hidden });
            };
            let (x, others) = x[..wanted].split_at_mut(group.min(wanted));
            let (queries, other_queries) = queries[..wanted].split_at(x.len());
            let told = last.then(|| Told::new(class_tokens, &mut attention));
            rayon::join(
                || attend(x, queries, told),
                || {
                    let parts = others.par_chunks_mut(group).zip(other_queries.par_chunks(group));
                    parts.for_each(|(x, queries)| attend(x, queries, None));
                },
            );
        }
        x[..wanted].par_chunks_mut(group).for_each(|x| {
            let mut scratch = self.scratches.borrow();
            scratch.normed.resize(x.len());
            self.level.run(Normalise { norm: &self.norm, x, normed: &mut scratch.normed });
        });
        let last = turned(x, dim, columns, if all_outputs { count } else { class_tokens });
        Ok(Encoded { last, local, attention })
    }

    /// Numbers of a patch.
    fn pixels(&self) -> usize {
        3 * self.shape.patch * self.shape.patch
    }

    /// The pixels of the patches of one panel, which begins with token `first`; a patch a column, zeros where
    /// a token is no patch.
    fn gather(&self, image: &[f32], [count, height, width]: [usize; 3], first: usize, pixels: &mut [f32]) {
        let (patch, columns) = (self.shape.patch, self.level.columns());
        let across = width / patch;
        let prefix = count - height / patch * across;
        for column in 0..columns {
            let token = first + column;
            let number = token.checked_sub(prefix).filter(|_| token < count);
            let rows = pixels[column..].iter_mut().step_by(columns);
            let Some(number) = number else {
                rows.for_each(|pixel| *pixel = 0.0);
                continue;
            };
            let corner = number / across * patch * width + number % across * patch;
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

/// How many panels a thread takes at a time: several, so that weights which have come from memory serve them
/// all, but so that no thread waits for another.
fn together(panels: usize, threads: usize) -> usize {
    let cost = |group: &usize| panels.div_ceil(*group).div_ceil(threads) * (10 * group + 3);
    (1..=4).min_by_key(cost).unwrap_or(1)
}

/// The first `count` tokens of panels, one after the other.
fn turned(panels: &[f32], dim: usize, columns: usize, count: usize) -> Vec<f32> {
    let mut tokens = vec![0.0; count * dim];
    for (t, token) in tokens.chunks_exact_mut(dim).enumerate() {
        let panel = &panels[t / columns * dim * columns..][..dim * columns];
        for (value, row) in token.iter_mut().zip(panel.chunks_exact(columns)) {
            *value = row[t % columns];
        }
    }
    tokens
}

/// Adds a panel's patches to its tokens.
struct Embed<'a> {
    patches: &'a Matrix,
    /// Numbers of a patch.
    numbers: usize,
    pixels: &'a mut [f32],
    x: &'a mut [f32],
}

impl WithSimd for Embed<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let pixels = self.patches.input(simd, self.numbers, vectors_mut::<S>(self.pixels));
        self.patches.times(simd, pixels, vectors_mut::<S>(self.x), Add);
    }
}

/// Attention of some panels to all tokens.
struct AttendAll<'a> {
    queries: &'a [f32],
    heads: &'a [Head],
    told: Option<Told<'a>>,
    context: &'a mut [f32],
    tile: &'a mut Tile,
}

impl WithSimd for AttendAll<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { queries, heads, mut told, context, tile } = self;
        let (queries, context) = (vectors::<S>(queries), vectors_mut::<S>(context));
        for head in heads {
            head.attend(simd, queries, context, tile, told.as_mut());
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
