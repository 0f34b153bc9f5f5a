//! Pre-norm transformer blocks over panels, and the reranker's two stacks of them: [`PairStack`] over the few pairs of
//! each token, [`run_tokens`] over all tokens. The encoder runs the same blocks in passes of its own.

use crate::Level;
use crate::adapter::{Adapter, AdapterShape};
use crate::attend::Heads;
use crate::buffer::{Floats, vectors_mut};
use crate::epilogue::{Accumulate, Gelu, Store};
#[cfg(target_arch = "x86_64")]
use crate::fixed::{Instructions, Normed};
use crate::math::{exp2, gelu, silu};
use crate::matrix::Matrix;
use crate::norm::Norm;
use crate::panel::{NR_VECTORS, panel_columns};
use crate::project::{Project, Projections};
use crate::weights::{KernelError, MAX_NEIGHBOURS, TensorSource};
use pulp::bytemuck::{cast_slice, cast_slice_mut};
use pulp::{Simd, WithSimd};
use std::borrow::Cow;

/// The packed weights of a pre-norm block: `x + attention(norm1(x))`, then `x + mlp(norm2(x))`.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) projections: Projections,
    proj: Matrix,
    serial: Option<Serial>,
    norm2: Norm,
    /// Of a gated MLP both first projections, one after the other.
    fc1: Matrix,
    fc2: Matrix,
    /// Beside the MLP.
    parallel: Option<Adapter>,
    gated: bool,
    /// `fc1` in 16 bits.
    #[cfg(target_arch = "x86_64")]
    fixed: Option<Normed<1>>,
}

/// Below this width 8 bits are too few: the fewer channels there are, the less their rounding errors cancel. Measured at a width
/// of 192. Linear layers then have codes of 16 bits, and where a level does not multiply such codes, the last layers of both branches, whose
/// inputs no norm brings to one range and which make half of the error, are in f32.
pub(crate) const NARROW: usize = 256;

/// An adapter of the attention's output, which it is added to.
#[derive(Debug, Clone)]
struct Serial {
    adapter: Adapter,
    /// What that output is multiplied with: a LayerScale, which is not folded into `proj` then.
    scale: Vec<f32>,
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
        let dim = block.projections.dim;
        self.normed.resize(dim * columns);
        self.queries.resize(panels * dim * columns);
        self.kv.resize(panels * 2 * dim * columns);
        self.context.resize(dim * columns);
        self.hidden.resize(block.hidden_rows() * columns);
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
    pub(crate) adapters: Option<AdapterShape>,
}

impl Block {
    /// Packs the tensors under `{name}.`.
    pub(crate) fn load(
        source: &TensorSource<'_>,
        name: &str,
        shape: &BlockShape,
    ) -> Result<Self, KernelError> {
        let BlockShape { dim, heads, hidden, gated, epsilon, layer_scale, adapters } = *shape;
        let widened = source.widened();
        let branches = if dim < NARROW { &widened } else { source };
        let (first, rows, second) = if gated { ("w12", 2 * hidden, "w3") } else { ("fc1", hidden, "fc2") };
        let gamma = |scale: &str| -> Result<Option<Vec<f32>>, KernelError> {
            let gamma = layer_scale.then(|| source.get(&format!("{name}.{scale}.gamma"), dim));
            Ok(gamma.transpose()?.map(Cow::into_owned))
        };
        let (scale1, scale2) = (gamma("ls1")?, gamma("ls2")?);
        let adapter = |part: &str, shape: AdapterShape, scale: &[f32]| {
            Adapter::load(source, &format!("{name}.{part}"), dim, shape, Some(scale))
        };
        let beside = |part: &str, shape: AdapterShape, factor: f32| {
            let scale: Vec<f32> = scale2
                .as_ref()
                .map_or(vec![factor; dim], |scale| scale.iter().map(|gamma| gamma * factor).collect());
            adapter(part, shape, &scale)
        };
        let (mut serial, mut parallel) = (None, None);
        match adapters {
            Some(shape @ AdapterShape::Linear { factor, .. }) => {
                let scale = scale1.clone().unwrap_or_else(|| vec![1.0; dim]);
                serial = Some(Serial { adapter: adapter("adapter1", shape, &scale)?, scale });
                parallel = Some(beside("adapter2", shape, factor)?);
            }
            Some(shape @ AdapterShape::Parallel { factor, .. }) => {
                parallel = Some(beside("adapter", shape, factor)?);
            }
            Some(AdapterShape::Side { .. }) | None => {}
        }
        let folded = scale1.as_deref().filter(|_| serial.is_none());
        Ok(Self {
            projections: Projections::load(source, name, [dim, heads], epsilon)?,
            proj: branches.matrix_scaled(&format!("{name}.attn.proj"), dim, dim, folded)?,
            serial,
            norm2: source.norm(&format!("{name}.norm2"), dim, epsilon)?,
            fc1: source.matrix(&format!("{name}.mlp.{first}"), dim, rows)?,
            fc2: branches.matrix_scaled(&format!("{name}.mlp.{second}"), hidden, dim, scale2.as_deref())?,
            parallel,
            gated,
            #[cfg(target_arch = "x86_64")]
            fixed: None,
        })
    }

    /// Rows of a panel of scratch for the rest of the block after attention.
    pub(crate) fn hidden_rows(&self) -> usize {
        let serial = self.serial.as_ref().map(|serial| &serial.adapter);
        let adapters = serial.into_iter().chain(&self.parallel).map(Adapter::width);
        adapters.fold(self.fc1.rows, usize::max)
    }

    /// The adapter with convolutions beside the MLP, if there is one.
    pub(crate) fn convolved(&self) -> Option<&Adapter> {
        self.parallel.as_ref().filter(|adapter| adapter.convolves())
    }

    /// The same block, without rotary positions, gates and adapters, in 16 bits where the machine has the instructions and the sizes allow
    /// it: what follows its norms, and [`run_tokens`]'s attention.
    pub(crate) fn in_16_bits(
        self,
        source: &TensorSource<'_>,
        level: Level,
        name: &str,
    ) -> Result<Self, KernelError> {
        #[cfg(target_arch = "x86_64")]
        if let Some(machine) = Instructions::of(level) {
            let attention = self.projections.in_16_bits(source, machine, name)?;
            let weight =
                source.get(&format!("{name}.mlp.fc1.weight"), self.fc1.rows * self.projections.dim)?;
            let bias = source.get(&format!("{name}.mlp.fc1.bias"), self.fc1.rows)?;
            let fc1 = Normed::new(machine, &self.norm2, [(&weight, &bias)]);
            // All of them or none.
            if let (Some(attention), Some(fc1)) = (attention, fc1) {
                let projections = Projections { fixed: Some(attention), ..self.projections };
                return Ok(Self { projections, fixed: Some(fc1), ..self });
            }
        }
        let _ = (source, level, name);
        Ok(self)
    }

    /// The second norm and the first layer of the MLP of a panel, without its activation, in 16 bits, if the block has them.
    fn hidden_fixed(&self, x: &[f32], normed: &mut [f32], hidden: &mut [f32]) -> bool {
        #[cfg(target_arch = "x86_64")]
        if let Some(fc1) = &self.fixed {
            fc1.apply(x, normed, [Some(hidden)]);
            return true;
        }
        let _ = (x, normed, hidden);
        false
    }

    /// The rest of the block after attention: adds the projected context and then the MLP to `x`. Of an adapter with convolutions
    /// beside the MLP, h goes to `narrow`, and the rest to others ([`Adapter::convolve`]).
    #[inline(always)]
    fn after_attention<S: Simd>(
        &self,
        simd: S,
        x: &mut [S::f32s],
        [context, normed, hidden, narrow]: [&mut [S::f32s]; 4],
    ) {
        let dim = self.projections.dim;
        let panels = x.len() / (dim * NR_VECTORS);
        let context = self.proj.input(simd, dim, context);
        if let Some(Serial { adapter, scale }) = &self.serial {
            self.proj.multiply(simd, context, normed, Store);
            add_scaled(simd, scale, normed, x);
            let attended = adapter.input(simd, normed);
            let hidden = &mut hidden[..panels * adapter.width() * NR_VECTORS];
            adapter.narrow(simd, attended, hidden);
            adapter.widen(simd, hidden, x);
        } else {
            self.proj.multiply(simd, context, x, Accumulate);
        }
        if self.hidden_fixed(cast_slice(x), cast_slice_mut(normed), cast_slice_mut(hidden)) {
            for value in hidden.iter_mut() {
                *value = gelu(simd, *value);
            }
            return self.fc2.multiply(simd, hidden, x, Accumulate);
        }
        self.norm2.apply(simd, x, normed);
        let normed = self.fc1.input(simd, dim, normed);
        let rows = self.fc1.rows;
        let inner = &mut hidden[..panels * rows * NR_VECTORS];
        if self.gated {
            self.fc1.multiply(simd, normed, inner, Store);
            gate(simd, rows / 2, inner);
            let inner = self.fc2.input(simd, rows / 2, &mut inner[..panels * rows / 2 * NR_VECTORS]);
            self.fc2.multiply(simd, inner, x, Accumulate);
        } else {
            self.fc1.multiply(simd, normed, inner, Gelu);
            self.fc2.multiply(simd, self.fc2.input(simd, rows, inner), x, Accumulate);
        }
        if let Some(adapter) = &self.parallel {
            // Panels of one width are converted alike for both first layers.
            let size = panels * adapter.width() * NR_VECTORS;
            if adapter.convolves() {
                adapter.narrow(simd, normed, &mut narrow[..size]);
            } else {
                adapter.narrow(simd, normed, &mut hidden[..size]);
                adapter.widen(simd, &mut hidden[..size], x);
            }
        }
    }
}

/// Adds panels `from`, each row multiplied with its factor.
#[inline(always)]
fn add_scaled<S: Simd>(simd: S, factors: &[f32], from: &[S::f32s], to: &mut [S::f32s]) {
    let (from, to) = (from.as_chunks::<NR_VECTORS>().0, to.as_chunks_mut::<NR_VECTORS>().0);
    for (from, to) in from.chunks_exact(factors.len()).zip(to.chunks_exact_mut(factors.len())) {
        for ((from, to), factor) in from.iter().zip(to).zip(factors) {
            let factor = simd.splat_f32s(*factor);
            for v in 0..NR_VECTORS {
                to[v] = simd.mul_add_e_f32s(factor, from[v], to[v]);
            }
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
            let Projections { norm, q, kv: projection, dim, heads, .. } = &block.projections;
            let size = dim * NR_VECTORS;
            let outputs = if index + 1 == blocks.len() { 1 } else { tokens };
            let x = vectors_mut::<S>(x);
            let normed = vectors_mut::<S>(&mut work.normed);
            let (queries, kv) = (vectors_mut::<S>(&mut work.queries), vectors_mut::<S>(&mut work.kv));
            for t in 0..tokens {
                let (x, kv) = (&x[t * size..][..size], &mut kv[t * 2 * size..][..2 * size]);
                let own = (t < outputs).then_some(&mut queries[t * size..][..size]);
                if block.projections.project_fixed(
                    cast_slice(x),
                    cast_slice_mut(normed),
                    own.map(cast_slice_mut),
                    cast_slice_mut(kv),
                ) {
                    continue;
                }
                norm.apply(simd, x, normed);
                let normed = q.input(simd, *dim, normed);
                projection.multiply(simd, normed, kv, Store);
                if t < outputs {
                    q.multiply(simd, normed, &mut queries[t * size..][..size], Store);
                }
            }
            let context = vectors_mut::<S>(&mut work.context);
            let hidden = vectors_mut::<S>(&mut work.hidden);
            let kv = &kv[..tokens * 2 * size];
            for t in 0..outputs {
                attend_columns(simd, *heads, &queries[t * size..][..size], kv, context);
                block.after_attention(simd, &mut x[t * size..][..size], [context, normed, hidden, &mut []]);
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
        let dim = block.projections.dim;
        let size = dim * columns;
        // The last block computes the panel of the last token alone.
        let first = if index + 1 == blocks.len() { panels - 1 } else { 0 };
        for p in 0..panels {
            let queries = &mut work.queries[p * size..][..size];
            level.run(Project {
                projections: &block.projections,
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
            block.projections.is_fixed(),
            [&work.queries[first * size..panels * size], kv],
            dim,
            tokens,
        );
        for p in first..panels {
            let queries = work.queries[p * size..][..size].chunks_exact(H * columns);
            let contexts = work.context.chunks_exact_mut(H * columns);
            for (head, (queries, context)) in queries.zip(contexts).enumerate() {
                work.heads.attend::<H>(level, head, queries, context);
            }
            let Work { context, normed, hidden, .. } = &mut *work;
            let x = &mut x[p * size..][..size];
            level.run(AfterAttention { block, x, context, normed, hidden, narrow: &mut [] });
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
    pub(crate) narrow: &'a mut [f32],
}

impl WithSimd for AfterAttention<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { block, x, context, normed, hidden, narrow } = self;
        let scratch = [context, normed, hidden, narrow].map(|scratch| vectors_mut::<S>(scratch));
        block.after_attention(simd, vectors_mut::<S>(x), scratch);
    }
}
