//! The blocks of a vision transformer on one image, and what its last block attends to.
//!
//! Tokens lie in panels, as in the reranker; attention takes a panel of queries against all keys as two
//! products, so that no tokens x tokens matrix exists, only tokens x one panel for each thread.

use crate::Level;
use crate::buffer::{Floats, vectors, vectors_mut};
use crate::math::exp2;
use crate::norm::Norm;
use crate::panel::{Matrix, Plain, WIDTH, block_of, columns_of};
use crate::stack::{Block, BlockShape};
use crate::weights::{KernelError, Source};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Sizes of a transformer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EncoderShape {
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
}

/// A transformer whose weights are packed for one [`Level`].
#[derive(Debug, Clone)]
pub struct Encoder {
    level: Level,
    blocks: Vec<Block>,
    norm: Norm,
    shape: EncoderShape,
}

/// What an image's tokens become.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// Tokens after the last block and its norm, one after the other.
    pub last: Vec<f32>,
    /// Tokens before the last block.
    pub local: Vec<f32>,
    /// Attention of the first tokens to every token, summed over heads and those tokens.
    pub attention: Vec<f32>,
}

/// Keys and values of one head, packed as the two products want them.
#[derive(Debug, Clone, Default)]
struct Head {
    /// `[tokens, size]`.
    keys: Matrix,
    /// `[size, tokens]`.
    values: Matrix,
}

/// How tokens lie in panels, and rows in packed blocks.
#[derive(Debug, Clone, Copy)]
struct Layout {
    block: usize,
    dim: usize,
    columns: usize,
    count: usize,
}

/// A thread's own memory.
#[derive(Debug, Clone, Default)]
struct Scratch {
    normed: Floats,
    scores: Floats,
    context: Floats,
    hidden: Floats,
}

impl Encoder {
    /// Packs the tensors that `get` finds by timm's names (`blocks.0.norm1.weight`, ..., `norm.bias`).
    ///
    /// # Errors
    /// [`KernelError::Unusual`] for sizes that are none, [`KernelError::Tensor`] for a tensor that is missing or
    /// of another size.
    pub fn new<'a>(
        level: Level,
        shape: EncoderShape,
        get: &'a dyn Fn(&str) -> Option<&'a [f32]>,
    ) -> Result<Self, KernelError> {
        let EncoderShape { dim, depth, heads, mlp_ratio, epsilon, layer_scale } = shape;
        if heads == 0 || depth == 0 || dim == 0 || mlp_ratio == 0 || !dim.is_multiple_of(heads) {
            return Err(KernelError::Unusual(format!("{depth} blocks of width {dim} in {heads} heads")));
        }
        let source = Source::new(level, get);
        let block = BlockShape { dim, heads, mlp_ratio, epsilon, layer_scale };
        Ok(Self {
            level,
            blocks: (0..depth)
                .map(|i| Block::load(&source, &format!("blocks.{i}"), &block))
                .collect::<Result<_, _>>()?,
            norm: source.norm("norm", dim, epsilon)?,
            shape,
        })
    }

    /// Which instructions it runs on.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Runs all blocks over the tokens of one image, on the threads of the current pool; `attending` is the
    /// number of first tokens whose attention in the last block is told.
    ///
    /// # Errors
    /// [`KernelError::Features`] for anything but whole tokens, or fewer than `attending`.
    pub fn run(&self, tokens: &[f32], attending: usize) -> Result<Encoded, KernelError> {
        let dim = self.shape.dim;
        let count = tokens.len() / dim;
        let columns = WIDTH * self.level.lanes();
        if !tokens.len().is_multiple_of(dim) || count == 0 || attending > count.min(columns) {
            return Err(KernelError::Features(format!(
                "{} values are not tokens of width {dim}, {attending} of which attend",
                tokens.len()
            )));
        }
        let size = dim * columns;
        let panels = count.div_ceil(columns);
        let mut x = Floats::zeros(panels * size);
        for (t, token) in tokens.chunks_exact(dim).enumerate() {
            let panel = &mut x[t / columns * size..][..size];
            for (row, value) in panel.chunks_exact_mut(columns).zip(token) {
                row[t % columns] = *value;
            }
        }
        let (mut queries, mut kv) = (Floats::zeros(panels * size), Floats::zeros(2 * panels * size));
        let mut heads = vec![Head::default(); self.shape.heads];
        let (mut local, mut attention) = (Vec::new(), vec![0.0; count]);
        for (number, block) in self.blocks.iter().enumerate() {
            let last = number + 1 == self.blocks.len();
            if last {
                local = turned(&x, dim, columns, count);
            }
            let parts = x.par_chunks(size).zip(queries.par_chunks_mut(size)).zip(kv.par_chunks_mut(2 * size));
            parts.for_each_init(Scratch::default, |scratch, ((x, queries), kv)| {
                scratch.normed.resize(size);
                self.level.run(Project { block, x, queries, kv, normed: &mut scratch.normed });
            });
            let layout = Layout { block: block_of(self.level.registers()), dim, columns, count };
            heads.par_iter_mut().enumerate().for_each(|(head, packed)| {
                packed.fill(layout, head, dim / self.shape.heads, &kv);
            });
            let told = |p: usize| if last && p == 0 { attending } else { 0 };
            let found: Vec<Vec<f32>> = x
                .par_chunks_mut(size)
                .zip(queries.par_chunks(size))
                .enumerate()
                .map_init(Scratch::default, |scratch, (p, (x, queries))| {
                    scratch.resize(block, columns, count);
                    self.level.run(Attend { block, x, queries, heads: &heads, count, told: told(p), scratch })
                })
                .collect();
            if let (true, Some(found)) = (last, found.into_iter().next()) {
                attention = found;
            }
        }
        x.par_chunks_mut(size).for_each_init(Floats::default, |normed, x| {
            normed.resize(size);
            self.level.run(Normalise { norm: &self.norm, x, normed });
        });
        attention.resize(count, 0.0);
        Ok(Encoded { last: turned(&x, dim, columns, count), local, attention })
    }
}

impl Scratch {
    fn resize(&mut self, block: &Block, columns: usize, count: usize) {
        self.normed.resize(block.dim * columns);
        self.context.resize(block.dim * columns);
        self.hidden.resize(block.fc1.rows * columns);
        self.scores.resize(count * columns);
    }
}

impl Head {
    /// Packs this head's rows of all panels of keys and values.
    fn fill(&mut self, layout: Layout, head: usize, size: usize, kv: &[f32]) {
        let Layout { block, dim, columns, count } = layout;
        self.keys.resize(block, count, size);
        self.values.resize(block, size, count);
        for (p, panel) in kv.chunks_exact(2 * dim * columns).enumerate() {
            let first = p * columns;
            let here = columns.min(count - first);
            for h in 0..size {
                let keys = &panel[(head * size + h) * columns..][..here];
                for (c, value) in keys.iter().enumerate() {
                    self.keys.set(first + c, h, *value);
                }
                let values = &panel[(dim + head * size + h) * columns..][..here];
                for (c, value) in values.iter().enumerate() {
                    self.values.set(h, first + c, *value);
                }
            }
        }
    }
}

/// Panels as tokens one after the other.
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

/// Norm, queries, keys and values of one panel.
struct Project<'a> {
    block: &'a Block,
    x: &'a [f32],
    queries: &'a mut [f32],
    kv: &'a mut [f32],
    normed: &'a mut [f32],
}

impl WithSimd for Project<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let normed = vectors_mut::<S>(self.normed);
        self.block.norm1.apply(simd, vectors::<S>(self.x), normed);
        self.block.q.times(simd, normed, vectors_mut::<S>(self.queries), Plain);
        self.block.kv.times(simd, normed, vectors_mut::<S>(self.kv), Plain);
    }
}

/// Attention of one panel to all tokens, and the rest of the block.
struct Attend<'a> {
    block: &'a Block,
    x: &'a mut [f32],
    queries: &'a [f32],
    heads: &'a [Head],
    count: usize,
    /// First columns whose probabilities are summed and handed out.
    told: usize,
    scratch: &'a mut Scratch,
}

impl WithSimd for Attend<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Self { block, x, queries, heads, count, told, scratch } = self;
        let size = block.dim / heads.len() * WIDTH;
        let mut attention = if told > 0 { vec![0.0; count] } else { Vec::new() };
        for (number, head) in heads.iter().enumerate() {
            let scores = vectors_mut::<S>(&mut scratch.scores);
            let queries = &vectors::<S>(queries)[number * size..][..size];
            head.keys.times(simd, queries, scores, Plain);
            let share = soften(simd, scores);
            if told > 0 {
                add_shares(
                    &mut attention,
                    &scratch.scores,
                    pulp::bytemuck::cast_slice(&share),
                    told,
                    columns_of::<S>(),
                );
            }
            let context = &mut vectors_mut::<S>(&mut scratch.context)[number * size..][..size];
            head.values.times(simd, vectors::<S>(&scratch.scores), context, Plain);
            for row in context.as_chunks_mut::<WIDTH>().0 {
                for v in 0..WIDTH {
                    row[v] = simd.mul_f32s(row[v], share[v]);
                }
            }
        }
        let (normed, hidden) = (vectors_mut::<S>(&mut scratch.normed), vectors_mut::<S>(&mut scratch.hidden));
        block.after_attention(simd, vectors_mut::<S>(x), vectors::<S>(&scratch.context), normed, hidden);
        attention
    }
}

/// Makes exponentials of scores (powers of two, less the column's largest) and tells one over their sums.
#[inline(always)]
fn soften<S: Simd>(simd: S, scores: &mut [S::f32s]) -> [S::f32s; WIDTH] {
    let rows = scores.as_chunks_mut::<WIDTH>().0;
    let mut most = [simd.splat_f32s(f32::NEG_INFINITY); WIDTH];
    for row in rows.iter() {
        for v in 0..WIDTH {
            most[v] = simd.max_f32s(most[v], row[v]);
        }
    }
    let mut sum = [simd.splat_f32s(0.0); WIDTH];
    for row in rows.iter_mut() {
        for v in 0..WIDTH {
            row[v] = simd.sub_f32s(row[v], most[v]);
        }
        *row = exp2(simd, *row);
        for v in 0..WIDTH {
            sum[v] = simd.add_f32s(sum[v], row[v]);
        }
    }
    for v in 0..WIDTH {
        sum[v] = simd.div_f32s(simd.splat_f32s(1.0), sum[v]);
    }
    sum
}

/// Adds the probabilities of the first columns.
fn add_shares(attention: &mut [f32], scores: &[f32], share: &[f32], told: usize, columns: usize) {
    for (sum, row) in attention.iter_mut().zip(scores.chunks_exact(columns)) {
        for c in 0..told {
            *sum += row[c] * share[c];
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
