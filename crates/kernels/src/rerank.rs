//! The reranker as one kernel (METHOD: reranker; paper section 3.3).
//!
//! Panels of tokens go through correlation, pair embedding and the pair stack, and land in the token stack's
//! memory; nothing larger than the tokens themselves is kept. Work that only depends on the query is done
//! once for all its candidates.

use crate::Level;
use crate::buffer::{Floats, vectors, vectors_mut};
use crate::correlate::{Match, Matches};
use crate::norm::Norm;
use crate::panel::{Matrix, Plain, WIDTH, columns_of};
use crate::side::{Side, add_sine_cosine, frequencies};
use crate::stack::{Block, BlockShape, Work, run_columns, run_tokens};
use crate::weights::{KernelError, RerankerShape, Source};
use pulp::{Simd, WithSimd};

/// A reranker whose weights are packed for one [`Level`].
#[derive(Debug, Clone)]
pub struct Reranker {
    level: Level,
    shape: RerankerShape,
    /// Columns of the pair embedding: of the query's x, y, attention, and of the reference's.
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
}

/// A query's local features, ready for any number of candidates.
#[derive(Debug, Clone)]
pub struct Query {
    features: Matrix,
    /// Share of each feature in its pairs' embeddings, `dim` numbers each.
    parts: Vec<f32>,
    /// Position embedding of each feature.
    positions: Vec<f32>,
    count: usize,
}

/// Memory that scoring uses again and again; one for each thread.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    side: Side,
    matches: Matches,
    parts: Vec<f32>,
    pairs: Floats,
    tokens: Floats,
    normed: Floats,
    work: Work,
}

impl Reranker {
    /// Packs the tensors that `get` finds by the published names (`pair_head.weight`, `blocks.0.norm1.bias`,
    /// ...; matrices row after row).
    ///
    /// # Errors
    /// [`KernelError::Unusual`] for sizes that it is not made for, [`KernelError::Tensor`] for a tensor that is
    /// missing or of another size.
    pub fn new<'a>(
        level: Level,
        shape: RerankerShape,
        get: &'a dyn Fn(&str) -> Option<&'a [f32]>,
    ) -> Result<Self, KernelError> {
        shape.check()?;
        let source = Source::new(level, get);
        let dim = shape.dim;
        let channels = shape.channels();
        let pair_head = source.take("pair_head.weight", dim * channels)?;
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
        let block = BlockShape { dim, heads, mlp_ratio, epsilon, layer_scale: false };
        let stack = |name: &str, depth: usize| -> Result<Vec<Block>, KernelError> {
            (0..depth).map(|i| Block::load(&source, &format!("{name}.{i}"), &block)).collect()
        };
        Ok(Self {
            level,
            shape,
            query_columns,
            reference_columns,
            correlation_column,
            pair_bias: source.take("pair_head.bias", dim)?.to_vec(),
            frequencies: if shape.use_position_embedding { frequencies(dim) } else { Vec::new() },
            pair_token: source.take("cls_token_2", dim)?.to_vec(),
            pair_blocks: stack("blocks_2", shape.pair_depth)?,
            pair_out: source.matrix("pair_head_2", dim, dim)?,
            token: source.take("cls_token", dim)?.to_vec(),
            blocks: stack("blocks", shape.depth)?,
            norm: source.norm("decoder_norm", dim, shape.epsilon)?,
            out: source.matrix("decoder_pred", dim, 2)?,
        })
    }

    /// The sizes.
    pub fn shape(&self) -> &RerankerShape {
        &self.shape
    }

    /// Which instructions it runs on.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Prepares a query: rows x, y, attention, feature in full precision.
    ///
    /// # Errors
    /// [`KernelError::Features`] for anything but whole rows; [`KernelError::Unusual`] for fewer rows than
    /// neighbours.
    pub fn query(&self, rows: &[f32]) -> Result<Query, KernelError> {
        let mut side = Side::default();
        side.read_floats(&self.shape, rows)?;
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
        let block = self.out.block();
        let features = Matrix::pack(block, self.shape.feature, &side.features, &vec![0.0; count]);
        Ok(Query { features, parts, positions, count })
    }

    /// Logits (different place, same place) against a candidate whose rows are in 8 bits.
    ///
    /// # Errors
    /// As for [`query`](Self::query).
    pub fn score_bytes(
        &self,
        query: &Query,
        candidate: &[u8],
        scratch: &mut Scratch,
    ) -> Result<[f32; 2], KernelError> {
        scratch.side.read_bytes(&self.shape, candidate)?;
        Ok(self.level.run(Score { reranker: self, query, scratch }))
    }

    /// The same against rows in full precision.
    ///
    /// # Errors
    /// As for [`query`](Self::query).
    pub fn score_floats(
        &self,
        query: &Query,
        candidate: &[f32],
        scratch: &mut Scratch,
    ) -> Result<[f32; 2], KernelError> {
        scratch.side.read_floats(&self.shape, candidate)?;
        Ok(self.level.run(Score { reranker: self, query, scratch }))
    }
}

fn add_columns(columns: &[Vec<f32>; 3], place: [f32; 3], out: &mut [f32]) {
    for (column, value) in columns.iter().zip(place) {
        for (out, weight) in out.iter_mut().zip(column) {
            *out += weight * value;
        }
    }
}

/// One pair, on whichever vector unit.
struct Score<'a> {
    reranker: &'a Reranker,
    query: &'a Query,
    scratch: &'a mut Scratch,
}

impl WithSimd for Score<'_> {
    type Output = [f32; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [f32; 2] {
        let Self { reranker, query, scratch } = self;
        let shape = &reranker.shape;
        let columns = columns_of::<S>();
        scratch.matches.find(simd, shape.neighbours, &query.features, shape.feature, &scratch.side.features);
        reranker.reference_parts(scratch);

        let groups = query.count + scratch.side.count();
        // The token that decides comes last: attention knows no order.
        let tokens = groups + 1;
        let size = shape.dim * columns;
        scratch.tokens.resize(tokens.div_ceil(columns) * size);
        for panel in 0..tokens.div_ceil(columns) {
            reranker.panel_tokens(simd, query, scratch, panel);
        }
        let (panel, column) = (groups / columns, groups % columns);
        for (f, value) in reranker.token.iter().enumerate() {
            scratch.tokens[panel * size + f * columns + column] = *value;
        }

        let Scratch { tokens: x, work, .. } = scratch;
        match shape.dim / shape.heads {
            4 => run_tokens::<S, 4>(simd, &reranker.blocks, x, tokens, work),
            8 => run_tokens::<S, 8>(simd, &reranker.blocks, x, tokens, work),
            _ => run_tokens::<S, 16>(simd, &reranker.blocks, x, tokens, work),
        }

        let normed = vectors_mut::<S>(&mut scratch.normed);
        let last = &vectors::<S>(&scratch.tokens)[panel * shape.dim * WIDTH..][..shape.dim * WIDTH];
        reranker.norm.apply(simd, last, normed);
        let mut logits = [simd.splat_f32s(0.0); 2 * WIDTH];
        reranker.out.times(simd, normed, &mut logits, Plain);
        let logits: &[f32] = pulp::bytemuck::cast_slice(&logits);
        [logits[column], logits[columns + column]]
    }
}

impl Reranker {
    /// The reference features' share in their pairs' embeddings, position embedding included.
    fn reference_parts(&self, scratch: &mut Scratch) {
        let dim = self.shape.dim;
        scratch.parts.clear();
        scratch.parts.resize(scratch.side.count() * dim, 0.0);
        for (place, part) in scratch.side.places.iter().zip(scratch.parts.chunks_exact_mut(dim)) {
            add_columns(&self.reference_columns, *place, part);
            add_sine_cosine(place[0], place[1], &self.frequencies, part);
        }
    }

    /// One panel of the token stack's input: pairs, pair stack, projection, position.
    #[inline(always)]
    fn panel_tokens<S: Simd>(&self, simd: S, query: &Query, scratch: &mut Scratch, panel: usize) {
        let (dim, k) = (self.shape.dim, self.shape.neighbours);
        let columns = columns_of::<S>();
        let size = dim * columns;
        let groups = query.count + scratch.side.count();
        let first = panel * columns;
        let here = columns.min(groups.saturating_sub(first));

        scratch.pairs.resize((k + 1) * size);
        for (row, value) in scratch.pairs.chunks_exact_mut(columns).zip(&self.pair_token) {
            row.fill(*value);
        }
        for c in 0..here {
            for (t, pair) in group(query, &scratch.matches, k, first + c).enumerate() {
                self.pair(
                    query,
                    &scratch.parts,
                    pair,
                    &mut scratch.pairs[(t + 1) * size..][..size],
                    columns,
                    c,
                );
            }
        }
        run_columns(simd, &self.pair_blocks, &mut scratch.pairs, k + 1, &mut scratch.work);

        scratch.normed.resize(size);
        let normed = vectors_mut::<S>(&mut scratch.normed);
        self.norm.apply(simd, &vectors::<S>(&scratch.pairs)[..dim * WIDTH], normed);
        let tokens = &mut scratch.tokens[panel * size..][..size];
        self.pair_out.times(simd, normed, vectors_mut::<S>(tokens), Plain);
        for c in 0..here {
            let Some(best) = group(query, &scratch.matches, k, first + c).next() else { continue };
            let position = &query.positions[best.query * dim..][..dim];
            for (row, value) in tokens.chunks_exact_mut(columns).zip(position) {
                row[c] += *value;
            }
        }
    }

    /// The embedding of one pair, into one column.
    #[inline(always)]
    fn pair(&self, query: &Query, parts: &[f32], pair: Pair, out: &mut [f32], columns: usize, column: usize) {
        let dim = self.shape.dim;
        let (q, r) = (&query.parts[pair.query * dim..][..dim], &parts[pair.reference * dim..][..dim]);
        let rows = out.chunks_exact_mut(columns);
        for (((row, q), r), weight) in rows.zip(q).zip(r).zip(&self.correlation_column) {
            row[column] = q + r + weight * pair.similarity;
        }
    }
}

/// A query feature, a reference feature, and how similar they are.
#[derive(Clone, Copy)]
struct Pair {
    query: usize,
    reference: usize,
    similarity: f32,
}

/// The pairs of a token, best first: the query's features come first, then the reference's.
#[inline(always)]
fn group<'a>(
    query: &Query,
    matches: &'a Matches,
    k: usize,
    number: usize,
) -> impl Iterator<Item = Pair> + 'a {
    let of_query = number < query.count;
    let own = if of_query { number } else { number - query.count };
    let all: &[Match] = if of_query { &matches.of_query } else { &matches.of_reference };
    all[own * k..][..k].iter().map(move |&(other, similarity)| {
        let (query, reference) = if of_query { (own, other as usize) } else { (other as usize, own) };
        Pair { query, reference, similarity }
    })
}
