//! The fused reranker (paper section 3.3): correlation, pair embedding, pair stack and token stack of one pair of images,
//! panel by panel, without an intermediate larger than the tokens. What depends on the query alone is computed once
//! for all its candidates ([`Reranker::query`]).

use crate::buffer::{Floats, vectors, vectors_mut};
use crate::correlate::{BestMatches, Correlate, Match};
use crate::element::Element;
use crate::epilogue::Store;
use crate::matrix::{Matrix, Packing};
use crate::norm::Norm;
use crate::pool::Pool;
use crate::side::{Side, add_sine_cosine, frequencies};
use crate::stack::{Block, BlockShape, PairStack, Work, run_tokens};
use crate::weights::{KernelError, Lookup, RerankerShape, TensorSource};
use crate::{Level, RerankerArithmetic};
use pulp::{Simd, WithSimd};

/// A reranker whose weights are packed for one [`Level`]. It scores from any number of threads at once.
#[derive(Debug, Clone)]
pub struct Reranker {
    level: Level,
    shape: RerankerShape,
    /// Columns of the pair embedding's weight: for the query's x, y and attention, then for the reference's.
    query_columns: [Vec<f32>; 3],
    reference_columns: [Vec<f32>; 3],
    correlation_column: Vec<f32>,
    pair_bias: Vec<f32>,
    frequencies: Vec<f32>,
    pair_token: Vec<f32>,
    pair_blocks: Vec<Block>,
    pair_out: Matrix,
    token: Vec<f32>,
    blocks: Vec<Block>,
    norm: Norm,
    out: Matrix,
    scratches: Pool<Scratch>,
}

/// A query's local features, prepared for any number of candidates by [`Reranker::query`].
#[derive(Debug, Clone)]
pub struct Query {
    features: Matrix,
    /// The query's contribution to the embedding of each feature's pairs, `[count, dim]`.
    parts: Vec<f32>,
    /// Position embeddings, `[count, dim]`.
    positions: Vec<f32>,
    count: usize,
}

/// Scratch of one thread, reused from pair to pair.
#[derive(Debug, Clone, Default)]
struct Scratch {
    side: Side,
    matches: BestMatches,
    parts: Vec<f32>,
    pairs: Floats,
    tokens: Floats,
    normed: Floats,
    logits: Floats,
    work: Work,
}

impl Reranker {
    /// Packs the tensors that `get` returns for the published names (`pair_head.weight`, `blocks.0.norm1.bias` and
    /// so on), row-major.
    ///
    /// # Errors
    /// [`KernelError::Unsupported`] for sizes that [`RerankerShape::check`] refuses, [`KernelError::Tensor`] for a tensor
    /// that is missing or has the wrong size.
    pub fn new<'a>(
        level: Level,
        arithmetic: RerankerArithmetic,
        shape: RerankerShape,
        get: &'a Lookup<'a>,
    ) -> Result<Self, KernelError> {
        shape.check()?;
        let source = TensorSource::new(Packing::new(level, Element::F32), get);
        let dim = shape.dim;
        let channels = shape.channels();
        let pair_head = source.get("pair_head.weight", dim * channels)?;
        let mut next = 0;
        let mut column = |used: bool| {
            let values = |i: usize| pair_head.iter().skip(i).step_by(channels).copied().collect();
            let column: Vec<f32> = if used { values(next) } else { vec![0.0; dim] };
            next += usize::from(used);
            column
        };
        let mut side = || [shape.use_xy, shape.use_xy, shape.use_attention].map(&mut column);
        let (query_columns, reference_columns) = (side(), side());
        let correlation_column = column(shape.use_correlation);
        let RerankerShape { heads, mlp_ratio, epsilon, .. } = shape;
        let hidden = mlp_ratio * dim;
        let block =
            BlockShape { dim, heads, hidden, gated: false, epsilon, layer_scale: false, adapters: None };
        let stack = |name: &str, depth: usize| -> Result<Vec<Block>, KernelError> {
            let load = |i: usize| {
                let name = format!("{name}.{i}");
                let loaded = Block::load(&source, &name, &block)?;
                match arithmetic {
                    RerankerArithmetic::F32 => Ok(loaded),
                    RerankerArithmetic::Int16 => loaded.in_16_bits(&source, level, &name),
                }
            };
            (0..depth).map(load).collect()
        };
        Ok(Self {
            level,
            shape,
            query_columns,
            reference_columns,
            correlation_column,
            pair_bias: source.get("pair_head.bias", dim)?.into_owned(),
            frequencies: if shape.use_position_embedding { frequencies(dim) } else { Vec::new() },
            pair_token: source.get("cls_token_2", dim)?.into_owned(),
            pair_blocks: stack("blocks_2", shape.pair_depth)?,
            pair_out: source.matrix("pair_head_2", dim, dim)?,
            token: source.get("cls_token", dim)?.into_owned(),
            blocks: stack("blocks", shape.depth)?,
            norm: source.norm("decoder_norm", dim, shape.epsilon)?,
            out: source.matrix("decoder_pred", dim, 2)?,
            scratches: Pool::default(),
        })
    }

    /// The sizes.
    pub fn shape(&self) -> &RerankerShape {
        &self.shape
    }

    /// The vector instructions that it runs on.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Prepares a query for [`score_floats`](Self::score_floats) and [`score_bytes`](Self::score_bytes).
    ///
    /// # Shapes
    /// - rows: `[count, 3 + feature]`, x, y, attention (clamped to 0..1) and a feature, which is normalised here
    ///
    /// # Errors
    /// [`KernelError::Input`] for an incomplete row, [`KernelError::Unsupported`] for fewer rows than neighbours.
    pub fn query(&self, rows: &[f32]) -> Result<Query, KernelError> {
        let mut side = Side::default();
        side.read_floats(self.shape.feature, self.shape.neighbours, rows)?;
        let dim = self.shape.dim;
        let mut parts = Vec::with_capacity(side.count() * dim);
        let mut positions = vec![0.0; side.count() * dim];
        for (place, position) in side.places.iter().zip(positions.chunks_exact_mut(dim)) {
            parts.extend(&self.pair_bias);
            let start = parts.len() - dim;
            add_columns(&self.query_columns, *place, &mut parts[start..]);
            add_sine_cosine(place[0], place[1], &self.frequencies, position);
        }
        let count = side.count();
        let packing = Packing::new(self.level, Element::F32);
        let features = Matrix::pack(packing, self.shape.feature, &side.features, &vec![0.0; count]);
        Ok(Query { features, parts, positions, count })
    }

    /// The logits (different place, same place) of a query and a candidate with 8-bit rows: x, y and attention in
    /// steps of 1/255, features as 128 + 127 v / max |v|.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub fn score_bytes(&self, query: &Query, candidate: &[u8]) -> Result<[f32; 2], KernelError> {
        let mut scratch = self.scratches.borrow();
        scratch.side.read_bytes(self.shape.feature, self.shape.neighbours, candidate)?;
        Ok(self.score(query, &mut scratch))
    }

    /// The logits (different place, same place) of a query and a candidate with rows as those of
    /// [`query`](Self::query).
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub fn score_floats(&self, query: &Query, candidate: &[f32]) -> Result<[f32; 2], KernelError> {
        let mut scratch = self.scratches.borrow();
        scratch.side.read_floats(self.shape.feature, self.shape.neighbours, candidate)?;
        Ok(self.score(query, &mut scratch))
    }
}

/// Adds the product of three columns of a weight with x, y and attention.
fn add_columns(columns: &[Vec<f32>; 3], place: [f32; 3], out: &mut [f32]) {
    for (column, value) in columns.iter().zip(place) {
        for (out, weight) in out.iter_mut().zip(column) {
            *out += weight * value;
        }
    }
}

impl Reranker {
    /// Scores one pair; `scratch.side` holds the candidate.
    fn score(&self, query: &Query, scratch: &mut Scratch) -> [f32; 2] {
        let (shape, columns) = (&self.shape, self.level.columns());
        let Scratch { side, matches, .. } = &mut *scratch;
        self.level.run(Correlate {
            k: shape.neighbours,
            depth: shape.feature,
            query: &query.features,
            reference: &side.features,
            matches,
        });
        self.reference_parts(scratch);

        let groups = query.count + scratch.side.count();
        // CLS comes last; attention does not depend on the order of tokens.
        let tokens = groups + 1;
        let size = shape.dim * columns;
        scratch.tokens.resize(tokens.div_ceil(columns) * size);
        for panel in 0..tokens.div_ceil(columns) {
            self.panel_tokens(query, scratch, panel);
        }
        let (panel, column) = (groups / columns, groups % columns);
        for (f, value) in self.token.iter().enumerate() {
            scratch.tokens[panel * size + f * columns + column] = *value;
        }

        let Scratch { tokens: x, work, normed, logits, .. } = scratch;
        match shape.dim / shape.heads {
            4 => run_tokens::<4>(self.level, &self.blocks, x, tokens, work),
            8 => run_tokens::<8>(self.level, &self.blocks, x, tokens, work),
            _ => run_tokens::<16>(self.level, &self.blocks, x, tokens, work),
        }
        logits.resize(2 * columns);
        let x = &x[panel * size..][..size];
        self.level.run(Project { norm: &self.norm, matrix: &self.out, x, normed, out: logits });
        [logits[column], logits[columns + column]]
    }

    /// The reference features' contribution to the embeddings of their pairs, position embedding included.
    fn reference_parts(&self, scratch: &mut Scratch) {
        let dim = self.shape.dim;
        scratch.parts.clear();
        scratch.parts.resize(scratch.side.count() * dim, 0.0);
        for (place, part) in scratch.side.places.iter().zip(scratch.parts.chunks_exact_mut(dim)) {
            add_columns(&self.reference_columns, *place, part);
            add_sine_cosine(place[0], place[1], &self.frequencies, part);
        }
    }

    /// One panel of the token stack's input: pair embeddings, pair stack, projection, position embedding.
    fn panel_tokens(&self, query: &Query, scratch: &mut Scratch, panel: usize) {
        let (dim, k) = (self.shape.dim, self.shape.neighbours);
        let columns = self.level.columns();
        let size = dim * columns;
        let groups = query.count + scratch.side.count();
        let first = panel * columns;
        let here = columns.min(groups.saturating_sub(first));

        let Scratch { matches, parts, pairs, tokens, normed, work, .. } = scratch;
        pairs.resize((k + 1) * size);
        for (row, value) in pairs.chunks_exact_mut(columns).zip(&self.pair_token) {
            row.fill(*value);
        }
        for c in 0..here {
            for (t, pair) in group(query, matches, k, first + c).enumerate() {
                self.pair(query, parts, pair, &mut pairs[(t + 1) * size..][..size], columns, c);
            }
        }
        self.level.run(PairStack { blocks: &self.pair_blocks, x: pairs, tokens: k + 1, work });

        let out = &mut tokens[panel * size..][..size];
        self.level.run(Project { norm: &self.norm, matrix: &self.pair_out, x: &pairs[..size], normed, out });
        for c in 0..here {
            let Some(best) = group(query, matches, k, first + c).next() else { continue };
            let position = &query.positions[best.query * dim..][..dim];
            for (row, value) in out.chunks_exact_mut(columns).zip(position) {
                row[c] += *value;
            }
        }
    }

    /// Writes the embedding of one pair to column `column` of a panel.
    fn pair(&self, query: &Query, parts: &[f32], pair: Pair, out: &mut [f32], columns: usize, column: usize) {
        let dim = self.shape.dim;
        let (q, r) = (&query.parts[pair.query * dim..][..dim], &parts[pair.reference * dim..][..dim]);
        let rows = out.chunks_exact_mut(columns);
        for (((row, q), r), weight) in rows.zip(q).zip(r).zip(&self.correlation_column) {
            row[column] = q + r + weight * pair.similarity;
        }
    }
}

/// Norm and linear layer of one panel.
struct Project<'a> {
    norm: &'a Norm,
    matrix: &'a Matrix,
    x: &'a [f32],
    normed: &'a mut Floats,
    out: &'a mut [f32],
}

impl WithSimd for Project<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.normed.resize(self.x.len());
        let normed = vectors_mut::<S>(self.normed);
        self.norm.apply(simd, vectors::<S>(self.x), normed);
        self.matrix.multiply(simd, normed, vectors_mut::<S>(self.out), Store);
    }
}

/// A match of a query feature and a reference feature, by index.
#[derive(Clone, Copy)]
struct Pair {
    query: usize,
    reference: usize,
    similarity: f32,
}

/// The pairs of token `index`, best first. Tokens of the query's features precede those of the reference's.
fn group<'a>(
    query: &Query,
    matches: &'a BestMatches,
    k: usize,
    index: usize,
) -> impl Iterator<Item = Pair> + 'a {
    let of_query = index < query.count;
    let own = if of_query { index } else { index - query.count };
    let all: &[Match] = if of_query { &matches.of_query } else { &matches.of_reference };
    all[own * k..][..k].iter().map(move |&(other, similarity)| {
        let (query, reference) = if of_query { (own, other as usize) } else { (other as usize, own) };
        Pair { query, reference, similarity }
    })
}
