//! Pre-norm transformer blocks over panels, and the reranker's two stacks of them: [`PairStack`] over the few pairs of
//! each token, [`run_tokens`] over all tokens. The encoder runs the same blocks in passes of its own.

use crate::Level;
use crate::attend::Heads;
use crate::buffer::{Floats, vectors, vectors_mut};
use crate::element::Element;
use crate::epilogue::{Accumulate, Gelu, Store};
#[cfg(target_arch = "x86_64")]
use crate::fixed::{Instructions, Normed};
use crate::math::{exp2, gelu, silu};
use crate::matrix::Matrix;
use crate::norm::Norm;
use crate::panel::{NR_VECTORS, panel_columns};
use crate::rotary::rotate;
use crate::weights::{KernelError, MAX_NEIGHBOURS, TensorSource};
use pulp::bytemuck::{cast_slice, cast_slice_mut};
use pulp::{Simd, WithSimd};

/// The packed weights of a pre-norm block: `x + attention(norm1(x))`, then `x + mlp(norm2(x))`.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    norm1: Norm,
    /// Query projection, scaled by log2(e) / sqrt(head size).
    q: Matrix,
    /// Key projection, then value projection.
    kv: Matrix,
    proj: Matrix,
    norm2: Norm,
    /// Of a gated MLP both first projections, one after the other.
    pub(crate) fc1: Matrix,
    fc2: Matrix,
    pub(crate) dim: usize,
    pub(crate) heads: usize,
    gated: bool,
    #[cfg(target_arch = "x86_64")]
    fixed: Option<FixedLayers>,
}

/// Below this width the last layers of both branches, whose inputs no norm brings to one range, are not in 8 bits: the fewer
/// channels there are, the less their rounding errors cancel. Measured at a width of 192, where the two make half of the
/// error of all layers.
const NARROW: usize = 256;

/// The layers that follow a norm, in 16 bits.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone)]
struct FixedLayers {
    /// Queries; keys and values.
    attention: Normed<2>,
    fc1: Normed<1>,
}

/// Scratch of the stacks, reused from candidate to candidate.
#[derive(Debug, Clone, Default)]
pub(crate) struct Work {
    normed: Floats,
    queries: Floats,
    kv: Floats,
    context: Floats,
    hidden: Floats,
    heads: Heads,
}

impl Work {
    fn resize(&mut self, block: &Block, columns: usize, panels: usize) {
        let dim = block.dim;
        self.normed.resize(dim * columns);
        self.queries.resize(panels * dim * columns);
        self.kv.resize(panels * 2 * dim * columns);
        self.context.resize(dim * columns);
        self.hidden.resize(block.fc1.rows * columns);
    }
}

/// Sizes of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockShape {
    pub(crate) dim: usize,
    pub(crate) heads: usize,
    /// Hidden width of the MLP.
    pub(crate) hidden: usize,
    /// Whether the MLP is `w3(silu(w1 x) * w2 x)` (SwiGLU) rather than `fc2(gelu(fc1 x))`.
    pub(crate) gated: bool,
    pub(crate) epsilon: f32,
    /// Each branch ends in a LayerScale (`ls1.gamma`, `ls2.gamma`), which is folded into its weights.
    pub(crate) layer_scale: bool,
}

impl Block {
    /// Packs the tensors under `{name}.`.
    pub(crate) fn load(
        source: &TensorSource<'_>,
        name: &str,
        shape: &BlockShape,
    ) -> Result<Self, KernelError> {
        let BlockShape { dim, heads, hidden, gated, epsilon, layer_scale } = *shape;
        let widened = source.widened();
        let branches = if dim < NARROW { &widened } else { source };
        let [weight, bias] = ["weight", "bias"].map(|part| format!("{name}.attn.qkv.{part}"));
        let (q, kv) = source.attention([&weight, &bias], dim, heads)?;
        let (first, rows, second) = if gated { ("w12", 2 * hidden, "w3") } else { ("fc1", hidden, "fc2") };
        let branch = |part: &str, scale: &str, depth: usize| {
            if !layer_scale {
                return branches.matrix(&format!("{name}.{part}"), depth, dim);
            }
            let gamma = source.get(&format!("{name}.{scale}.gamma"), dim)?;
            let weight = source.stored(&format!("{name}.{part}.weight"), depth * dim)?;
            let bias = source.get(&format!("{name}.{part}.bias"), dim)?;
            let bias: Vec<f32> = bias.iter().zip(gamma.iter()).map(|(b, g)| b * g).collect();
            Ok(branches.pack_scaled(depth, weight, Some(&gamma), &bias))
        };
        Ok(Self {
            norm1: source.norm(&format!("{name}.norm1"), dim, epsilon)?,
            q,
            kv,
            proj: branch("attn.proj", "ls1", dim)?,
            norm2: source.norm(&format!("{name}.norm2"), dim, epsilon)?,
            fc1: source.matrix(&format!("{name}.mlp.{first}"), dim, rows)?,
            fc2: branch(&format!("mlp.{second}"), "ls2", hidden)?,
            dim,
            heads,
            gated,
            #[cfg(target_arch = "x86_64")]
            fixed: None,
        })
    }

    /// The same block, without rotary positions and gates, in 16 bits where the machine has the instructions and the sizes allow
    /// it: what follows its norms, and [`run_tokens`]'s attention.
    pub(crate) fn in_16_bits(
        self,
        source: &TensorSource<'_>,
        level: Level,
        name: &str,
    ) -> Result<Self, KernelError> {
        #[cfg(target_arch = "x86_64")]
        if let Some(machine) = Instructions::of(level) {
            let fixed = self.fixed_layers(source, machine, name)?;
            return Ok(Self { fixed, ..self });
        }
        let _ = (source, level, name);
        Ok(self)
    }

    /// Whether the block is in 16 bits.
    fn is_fixed(&self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self.fixed.is_some();
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    #[cfg(target_arch = "x86_64")]
    fn fixed_layers(
        &self,
        source: &TensorSource<'_>,
        machine: Instructions,
        name: &str,
    ) -> Result<Option<FixedLayers>, KernelError> {
        let dim = self.dim;
        let layer = |part: &str, rows: usize| -> Result<_, KernelError> {
            let weight = source.get(&format!("{name}.{part}.weight"), rows * dim)?;
            Ok((weight, source.get(&format!("{name}.{part}.bias"), rows)?))
        };
        let ((weight, bias), fc1) = (layer("attn.qkv", 3 * dim)?, layer("mlp.fc1", self.fc1.rows)?);
        let scale = crate::weights::query_scale(dim / self.heads);
        let scaled = |values: &[f32]| values.iter().map(|v| v * scale).collect::<Vec<_>>();
        let q = (scaled(&weight[..dim * dim]), scaled(&bias[..dim]));
        let kv = (&weight[dim * dim..], &bias[dim..]);
        let attention = Normed::new(machine, &self.norm1, [(&q.0, &q.1), kv]);
        let fc1 = Normed::new(machine, &self.norm2, [(&fc1.0, &fc1.1)]);
        Ok(attention.zip(fc1).map(|(attention, fc1)| FixedLayers { attention, fc1 }))
    }

    /// The first norm and the projections of a panel in 16 bits, if the block has them.
    fn project_fixed(
        &self,
        x: &[f32],
        normed: &mut [f32],
        queries: Option<&mut [f32]>,
        kv: &mut [f32],
    ) -> bool {
        #[cfg(target_arch = "x86_64")]
        if let Some(fixed) = &self.fixed {
            fixed.attention.apply(x, normed, [queries, Some(kv)]);
            return true;
        }
        let _ = (x, normed, queries, kv);
        false
    }

    /// The second norm and the first layer of the MLP of a panel, without its activation, in 16 bits, if the block has them.
    fn hidden_fixed(&self, x: &[f32], normed: &mut [f32], hidden: &mut [f32]) -> bool {
        #[cfg(target_arch = "x86_64")]
        if let Some(fixed) = &self.fixed {
            fixed.fc1.apply(x, normed, [Some(hidden)]);
            return true;
        }
        let _ = (x, normed, hidden);
        false
    }

    /// The rest of the block after attention: adds the projected context and then the MLP to `x`.
    #[inline(always)]
    fn after_attention<S: Simd>(
        &self,
        simd: S,
        x: &mut [S::f32s],
        context: &mut [S::f32s],
        normed: &mut [S::f32s],
        hidden: &mut [S::f32s],
    ) {
        self.proj.multiply(simd, self.proj.input(simd, self.dim, context), x, Accumulate);
        if self.hidden_fixed(cast_slice(x), cast_slice_mut(normed), cast_slice_mut(hidden)) {
            for value in hidden.iter_mut() {
                *value = gelu(simd, *value);
            }
            return self.fc2.multiply(simd, hidden, x, Accumulate);
        }
        self.norm2.apply(simd, x, normed);
        let normed = self.fc1.input(simd, self.dim, normed);
        if self.gated {
            self.fc1.multiply(simd, normed, hidden, Store);
            let rows = self.fc1.rows / 2;
            let panels = x.len() / (self.dim * NR_VECTORS);
            gate(simd, rows, &mut hidden[..panels * 2 * rows * NR_VECTORS]);
            let hidden = self.fc2.input(simd, rows, &mut hidden[..panels * rows * NR_VECTORS]);
            self.fc2.multiply(simd, hidden, x, Accumulate);
        } else {
            self.fc1.multiply(simd, normed, hidden, Gelu);
            self.fc2.multiply(simd, self.fc2.input(simd, self.fc1.rows, hidden), x, Accumulate);
        }
    }
}

/// `silu(a) * b` of panels `[2 * rows, NR]`, a before b, as panels `[rows, NR]` at the beginning.
#[inline(always)]
fn gate<S: Simd>(simd: S, rows: usize, hidden: &mut [S::f32s]) {
    let hidden = hidden.as_chunks_mut::<NR_VECTORS>().0;
    for panel in 0..hidden.len() / (2 * rows) {
        for row in 0..rows {
            // Never behind what is still to be read.
            let from = 2 * panel * rows + row;
            let (gate, value) = (silu(simd, hidden[from]), hidden[from + rows]);
            let out = &mut hidden[panel * rows + row];
            for v in 0..NR_VECTORS {
                out[v] = simd.mul_f32s(gate[v], value[v]);
            }
        }
    }
}

/// The pair stack: each column of a panel is a sequence of its own, of `tokens` tokens. The last block computes only
/// the first token (CLS).
pub(crate) struct PairStack<'a> {
    pub(crate) blocks: &'a [Block],
    /// One panel `[dim, NR]` per token.
    pub(crate) x: &'a mut [f32],
    pub(crate) tokens: usize,
    pub(crate) work: &'a mut Work,
}

impl WithSimd for PairStack<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { blocks, x, tokens, work } = self;
        let columns = panel_columns::<S>();
        for (index, block) in blocks.iter().enumerate() {
            work.resize(block, columns, tokens);
            let size = block.dim * NR_VECTORS;
            let outputs = if index + 1 == blocks.len() { 1 } else { tokens };
            let x = vectors_mut::<S>(x);
            let normed = vectors_mut::<S>(&mut work.normed);
            let (queries, kv) = (vectors_mut::<S>(&mut work.queries), vectors_mut::<S>(&mut work.kv));
            for t in 0..tokens {
                let (x, kv) = (&x[t * size..][..size], &mut kv[t * 2 * size..][..2 * size]);
                let own = (t < outputs).then_some(&mut queries[t * size..][..size]);
                if block.project_fixed(
                    cast_slice(x),
                    cast_slice_mut(normed),
                    own.map(cast_slice_mut),
                    cast_slice_mut(kv),
                ) {
                    continue;
                }
                block.norm1.apply(simd, x, normed);
                let normed = block.q.input(simd, block.dim, normed);
                block.kv.multiply(simd, normed, kv, Store);
                if t < outputs {
                    block.q.multiply(simd, normed, &mut queries[t * size..][..size], Store);
                }
            }
            let context = vectors_mut::<S>(&mut work.context);
            let hidden = vectors_mut::<S>(&mut work.hidden);
            let kv = &kv[..tokens * 2 * size];
            for t in 0..outputs {
                attend_columns(simd, block.heads, &queries[t * size..][..size], kv, context);
                block.after_attention(simd, &mut x[t * size..][..size], context, normed, hidden);
            }
        }
    }
}

/// Attention of one token of each column to the tokens of its column.
#[inline(always)]
fn attend_columns<S: Simd>(
    simd: S,
    heads: usize,
    queries: &[S::f32s],
    kv: &[S::f32s],
    context: &mut [S::f32s],
) {
    let (queries, context) = (queries.as_chunks::<NR_VECTORS>().0, context.as_chunks_mut::<NR_VECTORS>().0);
    let (dim, kv) = (queries.len(), kv.as_chunks::<NR_VECTORS>().0);
    let (tokens, size) = (kv.len() / (2 * dim), dim / heads);
    for head in 0..heads {
        let rows = head * size..(head + 1) * size;
        for v in 0..NR_VECTORS {
            let mut score = [simd.splat_f32s(0.0); MAX_NEIGHBOURS + 1];
            let mut max = simd.splat_f32s(f32::NEG_INFINITY);
            for (t, score) in score.iter_mut().enumerate().take(tokens) {
                let keys = &kv[t * 2 * dim..][..dim];
                for h in rows.clone() {
                    *score = simd.mul_add_e_f32s(queries[h][v], keys[h][v], *score);
                }
                max = simd.max_f32s(max, *score);
            }
            let mut sum = simd.splat_f32s(0.0);
            for score in score.iter_mut().take(tokens) {
                [*score] = exp2(simd, [simd.sub_f32s(*score, max)]);
                sum = simd.add_f32s(sum, *score);
            }
            let inverse = simd.div_f32s(simd.splat_f32s(1.0), sum);
            for h in rows.clone() {
                let mut context_h = simd.splat_f32s(0.0);
                for (t, score) in score.iter().enumerate().take(tokens) {
                    context_h = simd.mul_add_e_f32s(*score, kv[(2 * t + 1) * dim + h][v], context_h);
                }
                context[h][v] = simd.mul_f32s(context_h, inverse);
            }
        }
    }
}

/// Runs the token stack over `tokens` tokens with heads of `H` dimensions. The last block computes only the last token
/// (CLS) and its panel.
///
/// # Shapes
/// - x: panels `[dim, NR]`; columns from `tokens` on are padding
pub(crate) fn run_tokens<const H: usize>(
    level: Level,
    blocks: &[Block],
    x: &mut [f32],
    tokens: usize,
    work: &mut Work,
) {
    let columns = level.columns();
    let panels = tokens.div_ceil(columns);
    for (index, block) in blocks.iter().enumerate() {
        work.resize(block, columns, panels);
        let size = block.dim * columns;
        // The last block computes the panel of the last token alone.
        let first = if index + 1 == blocks.len() { panels - 1 } else { 0 };
        for p in 0..panels {
            let queries = &mut work.queries[p * size..][..size];
            level.run(Project {
                block,
                x: &x[p * size..][..size],
                queries: (p >= first).then_some(queries),
                kv: &mut work.kv[p * 2 * size..][..2 * size],
                turns: &[],
                normed: &mut work.normed,
            });
        }
        let kv = &work.kv[..panels * 2 * size];
        work.heads.fill::<H>(
            level,
            block.is_fixed(),
            [&work.queries[first * size..panels * size], kv],
            block.dim,
            tokens,
        );
        for p in first..panels {
            let queries = work.queries[p * size..][..size].chunks_exact(H * columns);
            let contexts = work.context.chunks_exact_mut(H * columns);
            for (head, (queries, context)) in queries.zip(contexts).enumerate() {
                work.heads.attend::<H>(level, head, queries, context);
            }
            let Work { context, normed, hidden, .. } = &mut *work;
            level.run(AfterAttention { block, x: &mut x[p * size..][..size], context, normed, hidden });
        }
    }
}

/// The first norm of some panels and the projections to keys and values, and to queries if `queries` is given.
pub(crate) struct Project<'a> {
    pub(crate) block: &'a Block,
    pub(crate) x: &'a [f32],
    /// Packed elements of queries, ready to be multiplied with keys.
    pub(crate) queries: Option<&'a mut [f32]>,
    /// Panels `[2 * dim, NR]`: keys (of 8 bits as [`quantise_rows`](crate::int8::DotProduct::quantise_rows) leaves them), then values.
    pub(crate) kv: &'a mut [f32],
    /// Cosines and sines of rotary positions ([`rotate`]); empty without them.
    pub(crate) turns: &'a [f32],
    pub(crate) normed: &'a mut [f32],
}

impl WithSimd for Project<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        if self.block.project_fixed(self.x, self.normed, self.queries.as_deref_mut(), self.kv) {
            return;
        }
        let Block { q, kv, dim, heads, .. } = self.block;
        let (dim, heads, turns) = (*dim, *heads, vectors::<S>(self.turns));
        let normed = vectors_mut::<S>(self.normed);
        self.block.norm1.apply(simd, vectors::<S>(self.x), normed);
        let normed = q.input(simd, dim, normed);
        let size = dim / heads;
        let element = q.element().of_keys(size);
        if let Some(queries) = self.queries {
            let queries = vectors_mut::<S>(queries);
            q.multiply(simd, normed, queries, Store);
            rotate(simd, turns, [dim, size], queries, dim);
            element.convert(simd, size, queries);
        }
        let keys = vectors_mut::<S>(self.kv);
        kv.multiply(simd, normed, keys, Store);
        rotate(simd, turns, [dim, size], keys, 2 * dim);
        if let Element::Int8(products) = element {
            for panel in keys.chunks_exact_mut(2 * dim * NR_VECTORS) {
                products.quantise_rows(simd, size, &mut panel[..dim * NR_VECTORS]);
            }
        }
    }
}

/// [`Block::after_attention`] of some panels.
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
