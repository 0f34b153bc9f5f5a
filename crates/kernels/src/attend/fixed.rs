//! Attention with heads of 8 dimensions in 16-bit fixed point: two multiply-adds in an instruction, and exponentials in
//! 16 bits, two to a lane.
//!
//! - Keys are codes with a scale for each head, queries with one for each query, such that an integer product is a multiple of
//!   a power of two, 2^-F: its upper half is the score with F - 16 fractional bits, whose integer part shifts and whose
//!   fraction is the argument of a polynomial.
//! - Two keys share a 32-bit lane, as products of pairs need them: weights need no packing. A code of one after each
//!   key's values gives the sum of the weights.
//! - Scores are below the largest of the tiles so far (an online softmax); integer sums of [`KEYS`] keys fit 32 bits and are
//!   added up as floats.
//!
//! Where |q| |k| is up to s, a score has at least 13 - log2 s fractional bits; a weight is rounded to 2^-15 of the largest, a
//! value to 1/2047 of its largest. Contexts over 1001 random tokens were within 2e-3 of exact ones, of values up to 3.5, and
//! 9e-5 in the root mean square. Bounds above [`LARGEST_SCORE`] are left to the f32 kernel.

use crate::buffer::{Floats, vectors, vectors_mut};
use crate::fixed::{Codes, F32s, I32s, Instructions, MOST_CODE, SMALLEST, WithCodes};
use crate::math::exp2;
use crate::panel::{NR_VECTORS, panel_columns};
use pulp::Simd;
use pulp::bytemuck::{cast_slice, cast_slice_mut};

/// Dimensions of a head.
pub(crate) const SIZE: usize = 8;

/// Pairs of dimensions.
const PAIRS: usize = SIZE / 2;

/// Rows of a block of values: one for each dimension, and one of ones.
const ROWS: usize = SIZE + 1;

/// Keys of a block, at any width of vectors: one panel or some.
const KEYS: usize = 32;

/// Blocks of keys in a tile: its scores stay in L1.
const TILE: usize = 4;

/// Pairs of keys scored at a time with 16 registers, and with 32.
const GROUP: usize = 2;
const GROUP_WIDE: usize = 4;

/// Rows of values added up at a time with 16 registers; the others follow.
const FIRST_ROWS: usize = 5;
const OTHER_ROWS: usize = ROWS - FIRST_ROWS;

/// The largest product of the norms of a query's and a key's codes: less than 2^31 by what rounding adds.
const MOST_PRODUCT: f32 = 2_147_000_000.0;

/// The largest code of a value: 32 weights of at most 32767 times it fit 32 bits.
const MOST_VALUE: f32 = 2047.0;

/// The largest bound |q| |k| of a score, as a power of two, at which it keeps 8 fractional bits.
const LARGEST_SCORE: f32 = 60.0;

/// 65535 * 2^-u as C0 - u (C1 - u (C2 - u C3)), 0 <= u < 1, in units of 2^-16: relative error below 1.3e-4, the roundings of
/// 16-bit products included.
const POWER: [u16; 4] = [65_530, 45_286, 15_078, 2_557];

/// What is added to the exponent of a float.
const EXPONENT: u32 = 127;

/// Bits after a float's exponent.
const MANTISSA: u32 = 23;

/// The keys and values of all heads as codes, and scratch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fixed {
    tokens: usize,
    heads: Vec<Scales>,
    /// Per head, blocks `[PAIRS, KEYS]`: codes of two dimensions in an element.
    keys: Floats,
    /// Per head, blocks `[ROWS, KEYS / 2]`: codes of two tokens in an element.
    values: Floats,
    /// Scores of a tile, then their exponentials: codes of two keys in an element.
    scores: Floats,
}

/// What the codes of a head stand for.
#[derive(Debug, Clone, Copy, Default)]
struct Scales {
    /// Codes per unit of a key.
    key: f32,
    /// The largest norm of a key's codes.
    norm: f32,
    /// Units per code of a value, for each dimension.
    values: [f32; SIZE],
}

/// A block's keys and its values.
type Keys = [[f32; KEYS]; PAIRS];
type Values = [[f32; KEYS / 2]; ROWS];

impl Fixed {
    /// Takes the keys and values of all heads. Returns whether scores with these queries are small enough; where one is
    /// not, or something is not finite, the f32 kernel is to be used.
    ///
    /// # Shapes
    /// - queries: panels `[dim, NR]`, scaled by log2(e) / sqrt([`SIZE`])
    /// - kv: panels `[2 * dim, NR]`, keys before values
    pub(crate) fn fill(
        &mut self,
        machine: Instructions,
        queries: &[f32],
        kv: &[f32],
        dim: usize,
        tokens: usize,
    ) -> bool {
        let blocks = tokens.div_ceil(KEYS);
        let heads = dim / SIZE;
        self.tokens = tokens;
        self.heads.clear();
        self.keys.resize(heads * blocks * PAIRS * KEYS);
        self.values.resize(heads * blocks * ROWS * KEYS / 2);
        let keys = self.keys.as_chunks_mut::<KEYS>().0.as_chunks_mut().0;
        let values = self.values.as_chunks_mut::<{ KEYS / 2 }>().0.as_chunks_mut().0;
        let parts = keys.chunks_exact_mut(blocks).zip(values.chunks_exact_mut(blocks));
        for (head, (keys, values)) in parts.enumerate() {
            let scales = machine.run(Fill { queries, kv, dim, head, tokens, keys, values });
            let Some(scales) = scales else { return false };
            self.heads.push(scales);
        }
        true
    }

    /// The context of a panel of queries, of one head.
    ///
    /// # Shapes
    /// - queries: a panel `[SIZE, NR]` of those passed to [`fill`](Self::fill)
    /// - context: a panel `[SIZE, NR]`
    pub(crate) fn attend(
        &mut self,
        machine: Instructions,
        head: usize,
        queries: &[f32],
        context: &mut [f32],
    ) {
        let blocks = self.tokens.div_ceil(KEYS);
        self.scores.resize(TILE * KEYS / 2 * (queries.len() / SIZE));
        let (keys, values) = (self.keys.as_chunks::<KEYS>().0, self.values.as_chunks::<{ KEYS / 2 }>().0);
        machine.run(Attend {
            tokens: self.tokens,
            scales: self.heads[head],
            keys: &keys.as_chunks().0[head * blocks..][..blocks],
            values: &values.as_chunks().0[head * blocks..][..blocks],
            queries,
            scores: &mut self.scores,
            context,
        });
    }
}

/// Takes a head's keys and values.
struct Fill<'a> {
    queries: &'a [f32],
    kv: &'a [f32],
    dim: usize,
    head: usize,
    tokens: usize,
    keys: &'a mut [Keys],
    values: &'a mut [Values],
}

/// Rows of a panel.
type Panel<C> = [[F32s<C>; NR_VECTORS]];

/// The bits of magnitudes, ordered as these are, with NaN above all.
#[inline(always)]
fn magnitude<S: Simd>(simd: S, values: S::f32s) -> S::u32s {
    simd.and_u32s(simd.transmute_u32s_f32s(values), simd.splat_u32s(u32::MAX >> 1))
}

/// The largest of [`magnitude`]s.
#[inline(always)]
fn largest<S: Simd>(magnitudes: S::u32s) -> f32 {
    let bits: &[u32] = cast_slice(std::slice::from_ref(&magnitudes));
    f32::from_bits(bits.iter().fold(0, |most, bits| *bits.max(&most)))
}

/// The tokens of a panel's vectors.
#[inline(always)]
fn masks<S: Simd>(simd: S, here: usize) -> [S::m32s; NR_VECTORS] {
    let end = |first: usize| here.saturating_sub(first).min(S::F32_LANES) as u32;
    [simd.mask_between_m32s(0, end(0)).mask(), simd.mask_between_m32s(0, end(S::F32_LANES)).mask()]
}

impl WithCodes for Fill<'_> {
    type Output = Option<Scales>;

    /// `None` where a score may be too large.
    #[inline(always)]
    fn with_codes<C: Codes>(self, codes: C) -> Option<Scales> {
        let Self { dim, head, tokens, keys, values, .. } = self;
        let (simd, columns) = (codes.simd(), panel_columns::<C::Simd>());
        let queries: &Panel<C> = vectors::<C::Simd>(self.queries).as_chunks().0;
        let kv: &Panel<C> = vectors::<C::Simd>(self.kv).as_chunks().0;
        let zero = simd.splat_f32s(0.0);
        let mut query_square = simd.splat_u32s(0);
        let queries = queries.chunks_exact(dim);
        // They may be those of the last panels alone.
        let first = tokens.div_ceil(columns) - queries.len();
        for (p, queries) in queries.enumerate() {
            let masks = masks(simd, tokens - (first + p) * columns);
            for v in 0..NR_VECTORS {
                let mut square = zero;
                for row in &queries[head * SIZE..][..SIZE] {
                    let q = simd.select_f32s(masks[v], row[v], zero);
                    square = simd.mul_add_e_f32s(q, q, square);
                }
                query_square = simd.max_u32s(query_square, magnitude(simd, square));
            }
        }
        let (mut key, mut key_square, mut value) =
            (simd.splat_u32s(0), simd.splat_u32s(0), [simd.splat_u32s(0); SIZE]);
        for (p, kv) in kv.chunks_exact(2 * dim).enumerate() {
            let masks = masks(simd, tokens - p * columns);
            for v in 0..NR_VECTORS {
                let mut square = zero;
                for h in 0..SIZE {
                    let k = simd.select_f32s(masks[v], kv[head * SIZE + h][v], zero);
                    let value_h = simd.select_f32s(masks[v], kv[dim + head * SIZE + h][v], zero);
                    key = simd.max_u32s(key, magnitude(simd, k));
                    square = simd.mul_add_e_f32s(k, k, square);
                    value[h] = simd.max_u32s(value[h], magnitude(simd, value_h));
                }
                key_square = simd.max_u32s(key_square, magnitude(simd, square));
            }
        }
        let norms = [query_square, key_square].map(|square| largest::<C::Simd>(square).sqrt());
        let most_values = value.map(largest::<C::Simd>);
        let finite = most_values.iter().all(|most| most.is_finite());
        // Not where it is NaN.
        if !(finite && norms[0] * norms[1] <= LARGEST_SCORE) {
            return None;
        }
        let scale = MOST_CODE / largest::<C::Simd>(key).max(SMALLEST);
        let inverse = most_values.map(|most| MOST_VALUE / most.max(SMALLEST));
        if let Some(last) = values.last_mut() {
            *last = [[0.0; KEYS / 2]; ROWS];
        }
        for (p, kv) in kv.chunks_exact(2 * dim).enumerate() {
            let (block, place) = (p * columns / KEYS, p * columns % KEYS);
            let parts = [&kv[head * SIZE..][..SIZE], &kv[dim + head * SIZE..][..SIZE]];
            let masks = masks(simd, tokens - p * columns);
            fill_keys(codes, parts[0], masks, scale, place, &mut keys[block]);
            fill_values(codes, parts[1], masks, &inverse, place, &mut values[block]);
        }
        // Keys that are none must not have the largest score.
        if let (Some(last), end @ 1..) = (keys.last_mut(), tokens % KEYS) {
            for row in last {
                let last = row[end - 1];
                row[end..].fill(last);
            }
        }
        Some(Scales {
            key: scale,
            norm: norms[1] * scale,
            values: most_values.map(|most| most.max(SMALLEST) / MOST_VALUE),
        })
    }
}

/// Writes the codes of a panel of keys from one of a block on.
#[inline(always)]
fn fill_keys<C: Codes>(
    codes: C,
    rows: &Panel<C>,
    masks: [<C::Simd as Simd>::m32s; NR_VECTORS],
    scale: f32,
    place: usize,
    out: &mut Keys,
) {
    let simd = codes.simd();
    let (scale, zero) = (simd.splat_f32s(scale), simd.splat_f32s(0.0));
    for (rows, out) in rows.as_chunks::<2>().0.iter().zip(out) {
        for (v, out) in vectors_mut::<C::Simd>(&mut out[place..]).iter_mut().take(NR_VECTORS).enumerate() {
            let low = codes.round(simd.mul_f32s(simd.select_f32s(masks[v], rows[0][v], zero), scale));
            let high = codes.round(simd.mul_f32s(simd.select_f32s(masks[v], rows[1][v], zero), scale));
            *out = simd.transmute_f32s_i32s(codes.pair_lower(low, high));
        }
    }
}

/// Writes the codes of a panel of values likewise, and the ones.
#[inline(always)]
fn fill_values<C: Codes>(
    codes: C,
    rows: &Panel<C>,
    masks: [<C::Simd as Simd>::m32s; NR_VECTORS],
    inverse: &[f32; SIZE],
    place: usize,
    out: &mut Values,
) {
    let simd = codes.simd();
    let zero = simd.splat_f32s(0.0);
    for h in 0..ROWS {
        let mut both = [simd.splat_i32s(0); NR_VECTORS];
        for v in 0..NR_VECTORS {
            let value = match inverse.get(h) {
                Some(scale) => {
                    simd.mul_f32s(simd.select_f32s(masks[v], rows[h][v], zero), simd.splat_f32s(*scale))
                }
                None => simd.select_f32s(masks[v], simd.splat_f32s(1.0), zero),
            };
            both[v] = codes.round(value);
        }
        let narrow = codes.narrow(both[0], both[1]);
        if let Some(out) = vectors_mut::<C::Simd>(&mut out[h][place / 2..]).first_mut() {
            *out = simd.transmute_f32s_i32s(narrow);
        }
    }
}

/// Queries as codes.
struct Query<C: Codes> {
    /// Minus the query: codes of two dimensions in an element.
    codes: [[I32s<C>; NR_VECTORS]; PAIRS],
    /// By the fractional bits of a score.
    point: [C::Point; NR_VECTORS],
    /// The power of two that a score's last bit stands for.
    unit: [F32s<C>; NR_VECTORS],
}

#[inline(always)]
fn query<C: Codes>(codes: C, scales: &Scales, queries: &Panel<C>) -> Query<C> {
    let simd = codes.simd();
    let no_code = simd.splat_i32s(0);
    let mut query = Query {
        codes: [[no_code; NR_VECTORS]; PAIRS],
        point: [codes.point(codes.splat(1)); NR_VECTORS],
        unit: [simd.splat_f32s(0.0); NR_VECTORS],
    };
    let mantissa = simd.splat_u32s(MANTISSA);
    for v in 0..NR_VECTORS {
        let (mut most, mut square) = (simd.splat_f32s(SMALLEST), simd.splat_f32s(0.0));
        for row in queries {
            most = simd.max_f32s(most, simd.abs_f32s(row[v]));
            square = simd.mul_add_e_f32s(row[v], row[v], square);
        }
        let norm = simd.max_f32s(simd.sqrt_f32s(square), simd.splat_f32s(SMALLEST));
        let by_norm = simd.div_f32s(simd.splat_f32s(MOST_PRODUCT / scales.norm.max(SMALLEST)), norm);
        let limit = simd.min_f32s(simd.div_f32s(simd.splat_f32s(MOST_CODE), most), by_norm);
        let limit = simd.mul_f32s(limit, simd.splat_f32s(scales.key));
        // The exponent of a power of two up to the limit, as a float has it. At most 15 fractional bits are kept; columns that
        // are no tokens may have any.
        let bits = simd.wrapping_dyn_shr_u32s(simd.transmute_u32s_f32s(limit), mantissa);
        let bits = simd.max_u32s(bits, simd.splat_u32s(EXPONENT + 17));
        let bits = simd.min_u32s(bits, simd.splat_u32s(EXPONENT + 31));
        let power = simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(bits, mantissa));
        let scale = simd.mul_f32s(power, simd.splat_f32s(-1.0 / scales.key));
        for (pair, rows) in queries.as_chunks::<2>().0.iter().take(PAIRS).enumerate() {
            let low = codes.round(simd.mul_f32s(rows[0][v], scale));
            let high = codes.round(simd.mul_f32s(rows[1][v], scale));
            query.codes[pair][v] = codes.pair_lower(low, high);
        }
        let fraction = simd.sub_u32s(bits, simd.splat_u32s(EXPONENT + 16));
        let fraction = simd.transmute_i32s_u32s(fraction);
        query.point[v] = codes.point(codes.pair_lower(fraction, fraction));
        let unit = simd.sub_u32s(simd.splat_u32s(2 * EXPONENT + 16), bits);
        query.unit[v] = simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(unit, mantissa));
    }
    query
}

/// The context of a panel of queries.
struct Attend<'a> {
    tokens: usize,
    scales: Scales,
    keys: &'a [Keys],
    values: &'a [Values],
    queries: &'a [f32],
    scores: &'a mut [f32],
    context: &'a mut [f32],
}

/// Codes of pairs of keys.
type Scores<C> = [[I32s<C>; NR_VECTORS]];

impl WithCodes for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn with_codes<C: Codes>(self, codes: C) {
        let simd = codes.simd();
        let wide = C::Simd::REGISTER_COUNT >= 32;
        let query = query(codes, &self.scales, vectors::<C::Simd>(self.queries).as_chunks().0);
        let scores: &mut Scores<C> =
            C::Simd::as_mut_simd_i32s(cast_slice_mut(self.scores)).0.as_chunks_mut().0;
        // The least of minus the scores so far, in both halves of a lane; and as a float.
        let mut least = [codes.splat(i16::MAX.cast_unsigned()); NR_VECTORS];
        let mut base = [simd.splat_f32s(f32::from(i16::MAX)); NR_VECTORS];
        let mut sums = [[simd.splat_f32s(0.0); NR_VECTORS]; ROWS];
        let tiles = self.keys.chunks(TILE).zip(self.values.chunks(TILE));
        for (tile, (keys, values)) in tiles.enumerate() {
            let pairs = (self.tokens - tile * TILE * KEYS).min(TILE * KEYS).div_ceil(2);
            if wide {
                score_tile::<C, GROUP_WIDE>(codes, &query.codes, keys, pairs, scores, &mut least);
            } else {
                score_tile::<C, GROUP>(codes, &query.codes, keys, pairs, scores, &mut least);
            }
            for v in 0..NR_VECTORS {
                least[v] = codes.min(least[v], codes.swap(least[v]));
                let now = codes.floats(codes.upper(least[v]));
                let [scale] = exp2(simd, [simd.mul_f32s(simd.sub_f32s(now, base[v]), query.unit[v])]);
                base[v] = now;
                for row in &mut sums {
                    row[v] = simd.mul_f32s(row[v], scale);
                }
            }
            for scores in &mut scores[..pairs] {
                for v in 0..NR_VECTORS {
                    scores[v] = weights(codes, codes.sub(scores[v], least[v]), query.point[v]);
                }
            }
            for (weights, values) in scores[..pairs].chunks(KEYS / 2).zip(values) {
                if wide {
                    add_values::<C, ROWS>(codes, weights, values, 0, &mut sums);
                } else {
                    add_values::<C, FIRST_ROWS>(codes, weights, values, 0, &mut sums);
                    add_values::<C, OTHER_ROWS>(codes, weights, values, FIRST_ROWS, &mut sums);
                }
            }
        }
        let context: &mut Panel<C> = vectors_mut::<C::Simd>(self.context).as_chunks_mut().0;
        for (h, out) in context.iter_mut().enumerate().take(SIZE) {
            for v in 0..NR_VECTORS {
                let mean = simd.div_f32s(sums[h][v], sums[SIZE][v]);
                out[v] = simd.mul_f32s(mean, simd.splat_f32s(self.scales.values[h]));
            }
        }
    }
}

/// Minus the scores of the keys of a tile, and the least of them.
#[inline(always)]
fn score_tile<C: Codes, const G: usize>(
    codes: C,
    query: &[[I32s<C>; NR_VECTORS]; PAIRS],
    keys: &[Keys],
    pairs: usize,
    scores: &mut Scores<C>,
    least: &mut [I32s<C>; NR_VECTORS],
) {
    let groups_of_block = KEYS / 2 / G;
    let groups = scores.as_chunks_mut::<G>().0;
    for (i, scores) in groups.iter_mut().enumerate().take(pairs.div_ceil(G)) {
        let first = i % groups_of_block * 2 * G;
        score(codes, query, &keys[i / groups_of_block], first, scores, least);
    }
}

/// Those of some keys of a block, from `first` on.
#[inline(always)]
fn score<C: Codes, const G: usize>(
    codes: C,
    query: &[[I32s<C>; NR_VECTORS]; PAIRS],
    keys: &Keys,
    first: usize,
    scores: &mut [[I32s<C>; NR_VECTORS]; G],
    least: &mut [I32s<C>; NR_VECTORS],
) {
    let simd = codes.simd();
    let mut sums = [[[simd.splat_i32s(0); NR_VECTORS]; 2]; G];
    for (query, keys) in query.iter().zip(keys) {
        let keys = keys[first..first + 2 * G].as_chunks::<2>().0;
        for (sums, keys) in sums.iter_mut().zip(keys) {
            for (sums, key) in sums.iter_mut().zip(keys) {
                let key = simd.splat_i32s(key.to_bits().cast_signed());
                for v in 0..NR_VECTORS {
                    sums[v] = codes.add_products(sums[v], query[v], key);
                }
            }
        }
    }
    for (scores, [low, high]) in scores.iter_mut().zip(&sums) {
        for v in 0..NR_VECTORS {
            scores[v] = codes.pair_upper(low[v], high[v]);
            least[v] = codes.min(least[v], scores[v]);
        }
    }
}

/// 32767 * 2^-x of 16-bit numbers x.
#[inline(always)]
fn weights<C: Codes>(codes: C, x: I32s<C>, point: C::Point) -> I32s<C> {
    let [c0, c1, c2, c3] = POWER;
    let [u, whole] = codes.split(x, point);
    let p = codes.sub(codes.splat(c2), codes.multiply_upper(u, codes.splat(c3)));
    let p = codes.sub(codes.splat(c1), codes.multiply_upper(u, p));
    let p = codes.sub(codes.splat(c0), codes.multiply_upper(u, p));
    // Rounded to 15 bits: rounding off alone would make small weights smaller on average.
    codes.halve(codes.shift(p, whole))
}

/// Adds the weighted values of the keys of a block, of some rows.
#[inline(always)]
fn add_values<C: Codes, const R: usize>(
    codes: C,
    weights: &Scores<C>,
    values: &Values,
    first: usize,
    sums: &mut [[F32s<C>; NR_VECTORS]; ROWS],
) {
    let simd = codes.simd();
    let mut totals = [[simd.splat_i32s(0); NR_VECTORS]; R];
    for (pair, weights) in weights.iter().enumerate().take(KEYS / 2) {
        for (totals, values) in totals.iter_mut().zip(&values[first..]) {
            let value = simd.splat_i32s(values[pair].to_bits().cast_signed());
            for v in 0..NR_VECTORS {
                totals[v] = codes.add_products(totals[v], weights[v], value);
            }
        }
    }
    for (sums, totals) in sums[first..].iter_mut().zip(&totals) {
        for v in 0..NR_VECTORS {
            sums[v] = simd.add_f32s(sums[v], codes.floats(totals[v]));
        }
    }
}

#[cfg(test)]
mod tests;
