//! Transformer blocks over panels: one kind over the few pairs of each token, one over all tokens.

use crate::Level;
use crate::attend::Attend;
use crate::buffer::{Floats, vectors, vectors_mut};
use crate::finish::{Add, Gelu, Plain};
use crate::math::exp2;
use crate::matrix::Matrix;
use crate::norm::Norm;
use crate::panel::{WIDTH, columns_of};
use crate::weights::{KernelError, MOST_NEIGHBOURS, Source};
use pulp::{Simd, WithSimd};

/// A pre-norm block.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    norm1: Norm,
    /// Queries, scaled by log2(e) / sqrt(head size).
    q: Matrix,
    /// Keys, then values.
    kv: Matrix,
    proj: Matrix,
    norm2: Norm,
    pub(crate) fc1: Matrix,
    fc2: Matrix,
    pub(crate) dim: usize,
    pub(crate) heads: usize,
}

/// Memory of the stacks, kept between candidates.
#[derive(Debug, Clone, Default)]
pub(crate) struct Work {
    normed: Floats,
    queries: Floats,
    kv: Floats,
    context: Floats,
    hidden: Floats,
    /// Keys of a head, token after token, then its values; head after head.
    keys: Floats,
    waiting: Floats,
    longest: Vec<f32>,
}

impl Work {
    fn resize(&mut self, block: &Block, columns: usize, panels: usize, tokens: usize) {
        let dim = block.dim;
        self.normed.resize(dim * columns);
        self.queries.resize(panels * dim * columns);
        self.kv.resize(panels * 2 * dim * columns);
        self.context.resize(dim * columns);
        self.hidden.resize(block.fc1.rows * columns);
        self.keys.resize(tokens * 2 * dim);
        self.longest.resize(block.heads, 0.0);
    }
}

/// Sizes of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockShape {
    pub(crate) dim: usize,
    pub(crate) heads: usize,
    pub(crate) mlp_ratio: usize,
    pub(crate) epsilon: f32,
    /// Each branch ends in a scale per number (`ls1.gamma`, `ls2.gamma`), which joins the weights here.
    pub(crate) layer_scale: bool,
}

impl Block {
    pub(crate) fn load(source: &Source<'_>, name: &str, shape: &BlockShape) -> Result<Self, KernelError> {
        let BlockShape { dim, heads, mlp_ratio, epsilon, layer_scale } = *shape;
        let weight = source.take(&format!("{name}.attn.qkv.weight"), 3 * dim * dim)?;
        let bias = source.take(&format!("{name}.attn.qkv.bias"), 3 * dim)?;
        let scale = std::f32::consts::LOG2_E / ((dim / heads) as f32).sqrt();
        let scaled = |values: &[f32]| values.iter().map(|v| v * scale).collect::<Vec<_>>();
        let hidden = mlp_ratio * dim;
        let branch = |part: &str, scale: &str, depth: usize| {
            if !layer_scale {
                return source.matrix(&format!("{name}.{part}"), depth, dim);
            }
            let gamma = source.take(&format!("{name}.{scale}.gamma"), dim)?;
            let weight = source.take(&format!("{name}.{part}.weight"), depth * dim)?;
            let bias = source.take(&format!("{name}.{part}.bias"), dim)?;
            let rows = weight.chunks_exact(depth).zip(gamma);
            let weight: Vec<f32> = rows.flat_map(|(row, g)| row.iter().map(move |w| w * g)).collect();
            let bias: Vec<f32> = bias.iter().zip(gamma).map(|(b, g)| b * g).collect();
            Ok(source.pack(depth, &weight, &bias))
        };
        Ok(Self {
            norm1: source.norm(&format!("{name}.norm1"), dim, epsilon)?,
            q: source.pack(dim, &scaled(&weight[..dim * dim]), &scaled(&bias[..dim])),
            kv: source.pack(dim, &weight[dim * dim..], &bias[dim..]),
            proj: branch("attn.proj", "ls1", dim)?,
            norm2: source.norm(&format!("{name}.norm2"), dim, epsilon)?,
            fc1: source.matrix(&format!("{name}.mlp.fc1"), dim, hidden)?,
            fc2: branch("mlp.fc2", "ls2", hidden)?,
            dim,
            heads,
        })
    }

    /// What follows attention: `x` gets the projected context and the MLP added.
    #[inline(always)]
    fn after_attention<S: Simd>(
        &self,
        simd: S,
        x: &mut [S::f32s],
        context: &mut [S::f32s],
        normed: &mut [S::f32s],
        hidden: &mut [S::f32s],
    ) {
        self.proj.times(simd, self.proj.input(simd, self.dim, context), x, Add);
        self.norm2.apply(simd, x, normed);
        self.fc1.times(simd, self.fc1.input(simd, self.dim, normed), hidden, Gelu);
        self.fc2.times(simd, self.fc2.input(simd, self.fc1.rows, hidden), x, Add);
    }
}

/// A stack over the few tokens of each column of a panel; only the first token is finished.
pub(crate) struct Columns<'a> {
    pub(crate) blocks: &'a [Block],
    /// For each token a panel of `dim` rows; the columns know nothing of each other.
    pub(crate) x: &'a mut [f32],
    pub(crate) tokens: usize,
    pub(crate) work: &'a mut Work,
}

impl WithSimd for Columns<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { blocks, x, tokens, work } = self;
        let columns = columns_of::<S>();
        for (number, block) in blocks.iter().enumerate() {
            work.resize(block, columns, tokens, 0);
            let size = block.dim * WIDTH;
            let finished = if number + 1 == blocks.len() { 1 } else { tokens };
            let x = vectors_mut::<S>(x);
            let normed = vectors_mut::<S>(&mut work.normed);
            let (queries, kv) = (vectors_mut::<S>(&mut work.queries), vectors_mut::<S>(&mut work.kv));
            for t in 0..tokens {
                block.norm1.apply(simd, &x[t * size..][..size], normed);
                let normed = block.q.input(simd, block.dim, normed);
                block.kv.times(simd, normed, &mut kv[t * 2 * size..][..2 * size], Plain);
                if t < finished {
                    block.q.times(simd, normed, &mut queries[t * size..][..size], Plain);
                }
            }
            let context = vectors_mut::<S>(&mut work.context);
            let hidden = vectors_mut::<S>(&mut work.hidden);
            let kv = &kv[..tokens * 2 * size];
            for t in 0..finished {
                attend_columns(simd, block.heads, &queries[t * size..][..size], kv, context);
                block.after_attention(simd, &mut x[t * size..][..size], context, normed, hidden);
            }
        }
    }
}

/// Attention of one token of each column to the few tokens of that column.
#[inline(always)]
fn attend_columns<S: Simd>(
    simd: S,
    heads: usize,
    queries: &[S::f32s],
    kv: &[S::f32s],
    context: &mut [S::f32s],
) {
    let (queries, context) = (queries.as_chunks::<WIDTH>().0, context.as_chunks_mut::<WIDTH>().0);
    let (dim, kv) = (queries.len(), kv.as_chunks::<WIDTH>().0);
    let (tokens, size) = (kv.len() / (2 * dim), dim / heads);
    for head in 0..heads {
        let rows = head * size..(head + 1) * size;
        for v in 0..WIDTH {
            let mut score = [simd.splat_f32s(0.0); MOST_NEIGHBOURS + 1];
            let mut most = simd.splat_f32s(f32::NEG_INFINITY);
            for (t, score) in score.iter_mut().enumerate().take(tokens) {
                let keys = &kv[t * 2 * dim..][..dim];
                for h in rows.clone() {
                    *score = simd.mul_add_e_f32s(queries[h][v], keys[h][v], *score);
                }
                most = simd.max_f32s(most, *score);
            }
            let mut sum = simd.splat_f32s(0.0);
            for score in score.iter_mut().take(tokens) {
                [*score] = exp2(simd, [simd.sub_f32s(*score, most)]);
                sum = simd.add_f32s(sum, *score);
            }
            let share = simd.div_f32s(simd.splat_f32s(1.0), sum);
            for h in rows.clone() {
                let mut weighed = simd.splat_f32s(0.0);
                for (t, score) in score.iter().enumerate().take(tokens) {
                    weighed = simd.mul_add_e_f32s(*score, kv[(2 * t + 1) * dim + h][v], weighed);
                }
                context[h][v] = simd.mul_f32s(weighed, share);
            }
        }
    }
}

/// Runs a stack over all tokens; only the last token is finished.
///
/// # Shapes
/// - x: panels of `dim` rows, the tokens side by side; columns from `tokens` on are no tokens
pub(crate) fn run_tokens<const H: usize>(
    level: Level,
    blocks: &[Block],
    x: &mut [f32],
    tokens: usize,
    work: &mut Work,
) {
    let columns = level.columns();
    let panels = tokens.div_ceil(columns);
    for (number, block) in blocks.iter().enumerate() {
        work.resize(block, columns, panels, tokens);
        let size = block.dim * columns;
        // Of the last block only the panel of the last token is wanted.
        let first = if number + 1 == blocks.len() { panels - 1 } else { 0 };
        for p in 0..panels {
            let queries = &mut work.queries[p * size..][..size];
            level.run(Project {
                block,
                x: &x[p * size..][..size],
                queries: (p >= first).then_some(queries),
                kv: &mut work.kv,
                normed: &mut work.normed,
            });
            turn::<H>(&work.kv, block.dim, columns, tokens, p * columns, &mut work.keys);
        }
        let keys = |head: usize| head * tokens * 2 * H..(head + 1) * tokens * 2 * H;
        for (head, longest) in work.longest.iter_mut().enumerate() {
            let length = |key: &[f32; H]| key.iter().map(|v| v * v).sum::<f32>();
            let keys = work.keys[keys(head)][..tokens * H].as_chunks::<H>().0;
            *longest = keys.iter().map(length).fold(0.0, f32::max).sqrt();
        }
        for p in first..panels {
            let queries = work.queries[p * size..][..size].chunks_exact(H * columns);
            let contexts = work.context.chunks_exact_mut(H * columns);
            for (head, (queries, context)) in queries.zip(contexts).enumerate() {
                let (keys, longest) = (&work.keys[keys(head)], work.longest[head]);
                level.run(Attend::<H> { queries, keys, longest, waiting: &mut work.waiting, context });
            }
            let Work { context, normed, hidden, .. } = &mut *work;
            level.run(AfterAttention { block, x: &mut x[p * size..][..size], context, normed, hidden });
        }
    }
}

/// Norm, keys and values of one panel, and its queries where they are wanted.
pub(crate) struct Project<'a> {
    pub(crate) block: &'a Block,
    pub(crate) x: &'a [f32],
    /// They become words, ready to be multiplied with keys.
    pub(crate) queries: Option<&'a mut [f32]>,
    /// Keys, then values.
    pub(crate) kv: &'a mut [f32],
    pub(crate) normed: &'a mut [f32],
}

impl WithSimd for Project<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (q, kv, dim) = (&self.block.q, &self.block.kv, self.block.dim);
        let normed = vectors_mut::<S>(self.normed);
        self.block.norm1.apply(simd, vectors::<S>(self.x), normed);
        let normed = q.input(simd, dim, normed);
        if let Some(queries) = self.queries {
            let queries = vectors_mut::<S>(queries);
            q.times(simd, normed, queries, Plain);
            q.input(simd, dim, queries);
        }
        kv.times(simd, normed, vectors_mut::<S>(self.kv), Plain);
    }
}

/// What follows attention in one panel.
pub(crate) struct AfterAttention<'a> {
    pub(crate) block: &'a Block,
    pub(crate) x: &'a mut [f32],
    pub(crate) context: &'a mut [f32],
    pub(crate) normed: &'a mut [f32],
    pub(crate) hidden: &'a mut [f32],
}

impl WithSimd for AfterAttention<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (normed, hidden) = (vectors_mut::<S>(self.normed), vectors_mut::<S>(self.hidden));
        self.block.after_attention(
            simd,
            vectors_mut::<S>(self.x),
            vectors_mut::<S>(self.context),
            normed,
            hidden,
        );
    }
}

/// Turns a panel of keys and values so that a token's numbers of one head lie together.
fn turn<const H: usize>(
    panel: &[f32],
    dim: usize,
    columns: usize,
    tokens: usize,
    first: usize,
    keys: &mut [f32],
) {
    let here = columns.min(tokens - first);
    for (head, keys) in keys.chunks_exact_mut(tokens * 2 * H).enumerate() {
        for part in 0..2 {
            let keys = keys[(part * tokens + first) * H..][..here * H].as_chunks_mut::<H>().0;
            for h in 0..H {
                let row = &panel[(part * dim + head * H + h) * columns..][..here];
                for (key, value) in keys.iter_mut().zip(row) {
                    key[h] = *value;
                }
            }
        }
    }
}
