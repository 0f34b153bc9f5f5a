//! The reranker as one kernel (METHOD: reranker; paper section 3.3).
//!
//! Panels of tokens go through correlation, pair embedding and the pair stack, and land in the token stack's
//! memory; nothing larger than the tokens themselves is kept. Work that only depends on the query is done
//! once for all its candidates.

use crate::Level;
use crate::buffer::{Floats, vectors, vectors_mut};
use crate::correlate::{BestMatches, Correlate, Match};
use crate::finish::Plain;
use crate::matrix::{Matrix, Packing};
use crate::norm::Norm;
use crate::pairs::Words;
use crate::pool::Pool;
use crate::side::{Side, add_sine_cosine, frequencies};
use crate::stack::{Block, BlockShape, Columns, Work, run_tokens};
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
    scratches: Pool<Scratch>,
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

/// Memory that scoring uses again and again, a thread its own.
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
    /// Packs the tensors that `get` finds by the published names (`pair_head.weight`, `blocks.0.norm1.bias`,
    /// ...; matrices row after row).
    ///
    /// # Errors
    /// [`KernelError::Unsupported`] for sizes that it is not made for, [`KernelError::Tensor`] for a tensor that is
    /// missing or of another size.
    pub fn new<'a>(
        level: Level,
        shape: RerankerShape,
        get: &'a dyn Fn(&str) -> Option<&'a [f32]>,
    ) -> Result<Self, KernelError> {
        shape.check()?;
        let source = Source::new(Packing::new(level, Words::Floats), get);
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
            scratches: Pool::default(),
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
    /// [`KernelError::Input`] for anything but whole rows; [`KernelError::Unsupported`] for fewer rows than
    /// neighbours.
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
        let packing = Packing::new(self.level, Words::Floats);
        let features = Matrix::pack(packing, self.shape.feature, &side.features, &vec![0.0; count]);
        Ok(Query { features, parts, positions, count })
    }

    /// Logits (different place, same place) against a candidate whose rows are in 8 bits.
    ///
    /// # Errors
    /// As for [`query`](Self::query).
    pub fn score_bytes(&self, query: &Query, candidate: &[u8]) -> Result<[f32; 2], KernelError> {
        let mut scratch = self.scratches.borrow();
        scratch.side.read_bytes(self.shape.feature, self.shape.neighbours, candidate)?;
        Ok(self.score(query, &mut scratch))
    }

    /// The same against rows in full precision.
    ///
    /// # Errors
    /// As for [`query`](Self::query).
    pub fn score_floats(&self, query: &Query, candidate: &[f32]) -> Result<[f32; 2], KernelError> {
        let mut scratch = self.scratches.borrow();
        scratch.side.read_floats(self.shape.feature, self.shape.neighbours, candidate)?;
        Ok(self.score(query, &mut scratch))
    }
}

fn add_columns(columns: &[Vec<f32>; 3], place: [f32; 3], out: &mut [f32]) {
    for (column, value) in columns.iter().zip(place) {
        for (out, weight) in out.iter_mut().zip(column) {
            *out += weight * value;
        }
    }
}

impl Reranker {
    /// One pair; the candidate's side is in `scratch`.
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
        // The token that decides comes last: attention knows no order.
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
        self.level.run(Columns { blocks: &self.pair_blocks, x: pairs, tokens: k + 1, work });

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

    /// The embedding of one pair, into one column.
    fn pair(&self, query: &Query, parts: &[f32], pair: Pair, out: &mut [f32], columns: usize, column: usize) {
        let dim = self.shape.dim;
        let (q, r) = (&query.parts[pair.query * dim..][..dim], &parts[pair.reference * dim..][..dim]);
        let rows = out.chunks_exact_mut(columns);
        for (((row, q), r), weight) in rows.zip(q).zip(r).zip(&self.correlation_column) {
            row[column] = q + r + weight * pair.similarity;
        }
    }
}

/// Norm and product of one panel.
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
        self.matrix.times(simd, normed, vectors_mut::<S>(self.out), Plain);
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
fn group<'a>(
    query: &Query,
    matches: &'a BestMatches,
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
