//! Attention with heads of 8 dimensions in 16-bit fixed point, by AVX-512 VNNI: two multiply-adds in an instruction, and
//! exponentials in 16 bits, 32 to a vector.
//!
//! - Keys are codes with a scale for each head, queries with one for each query, such that an integer product is a multiple of
//!   a power of two, 2^-F: its upper half is the score with F - 16 fractional bits, whose integer part shifts and whose
//!   fraction is the argument of a polynomial.
//! - Two keys share a 32-bit lane, as VPDPWSSD multiplies them: weights need no packing. A code of one after each
//!   key's values gives the sum of the weights.
//! - Scores are below the largest of the tiles so far (an online softmax); integer sums of [`COLUMNS`] keys fit 32 bits and are
//!   added up as floats.
//!
//! Where |q| |k| is up to s, a score has at least 13 - log2 s fractional bits; a weight is rounded to 2^-15 of the largest, a
//! value to 1/2047 of its largest. Contexts over 1001 random tokens were within 2e-3 of exact ones, of values up to 3.5, and
//! 9e-5 in the root mean square. Bounds above [`LARGEST_SCORE`] are left to the f32 kernel.

use crate::buffer::Floats;
use crate::fixed::{
    COLUMNS, Instructions, LANES, MOST_CODE, SMALLEST, add_products, codes, floats, halves, load, pair_lower,
    pair_upper, store,
};
use crate::math::EXP2;
use crate::panel::NR_VECTORS;
use std::arch::x86_64::*;

/// Dimensions of a head.
pub(crate) const SIZE: usize = 8;

/// Pairs of dimensions.
const PAIRS: usize = SIZE / 2;

/// Rows of a panel of values: one for each dimension, and one of ones.
const ROWS: usize = SIZE + 1;

/// Panels of keys in a tile: its scores stay in L1.
const TILE: usize = 4;

/// Pairs of keys scored at a time.
const GROUP: usize = 4;

/// The largest product of the norms of a query's and a key's codes: less than 2^31 by what rounding adds.
const MOST_PRODUCT: f32 = 2_147_000_000.0;

/// The largest code of a value: 32 weights of at most 32767 times it fit 32 bits.
const MOST_VALUE: f32 = 2047.0;

/// The largest bound |q| |k| of a score, as a power of two, at which it keeps 8 fractional bits.
const LARGEST_SCORE: f32 = 60.0;

/// 65535 * 2^-u as C0 - u (C1 - u (C2 - u C3)), 0 <= u < 1, in units of 2^-16: relative error below 1.3e-4, the roundings of
/// 16-bit products included.
const POWER: [u16; 4] = [65_530, 45_286, 15_078, 2_557];

/// The keys and values of all heads as codes, and scratch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fixed {
    tokens: usize,
    heads: Vec<Scales>,
    /// Per head, panels `[PAIRS, NR]`: codes of two dimensions in an element.
    keys: Floats,
    /// Per head, panels `[ROWS, NR / 2]`: codes of two tokens in an element.
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
        let panels = tokens.div_ceil(COLUMNS);
        let heads = dim / SIZE;
        self.tokens = tokens;
        self.heads.clear();
        self.keys.resize(heads * panels * PAIRS * COLUMNS);
        self.values.resize(heads * panels * ROWS * LANES);
        self.scores.resize(TILE * COLUMNS * COLUMNS / 2);
        let (queries, kv) = (rows(queries), rows(kv));
        let keys = rows_mut(&mut self.keys).chunks_exact_mut(panels * PAIRS);
        let values = words_mut(&mut self.values).chunks_exact_mut(panels * ROWS);
        for (head, (keys, values)) in keys.zip(values).enumerate() {
            // SAFETY: `Instructions` exist only where `of` found all features that the function enables.
            #[allow(unsafe_code, reason = "instructions that pulp's levels do not have")]
            let scales = unsafe { fill(queries, kv, dim, head, tokens, keys, values) };
            let _ = machine;
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
        let panels = self.tokens.div_ceil(COLUMNS);
        let keys = &rows(&self.keys)[head * panels * PAIRS..][..panels * PAIRS];
        let values = &words(&self.values)[head * panels * ROWS..][..panels * ROWS];
        let (Some(queries), Some(context)) = (rows(queries).as_array(), rows_mut(context).as_mut_array())
        else {
            return;
        };
        let scores = words_mut(&mut self.scores).as_chunks_mut().0;
        let codes = Codes {
            tokens: self.tokens,
            scales: self.heads[head],
            keys: keys.as_chunks().0,
            values: values.as_chunks().0,
        };
        // SAFETY: `Instructions` exist only where `of` found all features that the function enables.
        #[allow(unsafe_code, reason = "instructions that pulp's levels do not have")]
        unsafe {
            attend(codes, queries, scores, context);
        }
        let _ = machine;
    }
}

/// A head's keys and values.
struct Codes<'a> {
    tokens: usize,
    scales: Scales,
    keys: &'a [[[f32; COLUMNS]; PAIRS]],
    values: &'a [[[f32; LANES]; ROWS]],
}

fn rows(floats: &[f32]) -> &[[f32; COLUMNS]] {
    floats.as_chunks().0
}

fn rows_mut(floats: &mut [f32]) -> &mut [[f32; COLUMNS]] {
    floats.as_chunks_mut().0
}

fn words(floats: &[f32]) -> &[[f32; LANES]] {
    floats.as_chunks().0
}

fn words_mut(floats: &mut [f32]) -> &mut [[f32; LANES]] {
    floats.as_chunks_mut().0
}

/// The bits of magnitudes, ordered as these are, with NaN above all.
#[inline]
#[target_feature(enable = "avx512f")]
fn magnitude(values: __m512) -> __m512i {
    _mm512_and_si512(_mm512_castps_si512(values), _mm512_set1_epi32(i32::MAX))
}

/// The largest of [`magnitude`]s.
#[inline]
#[target_feature(enable = "avx512f")]
fn largest(magnitudes: __m512i) -> f32 {
    f32::from_bits(_mm512_reduce_max_epi32(magnitudes).cast_unsigned())
}

/// Which lanes of a panel's two vectors are tokens.
fn masks(here: usize) -> [__mmask16; NR_VECTORS] {
    let mask =
        |first: usize| -> __mmask16 { ((1u32 << here.saturating_sub(first).min(LANES)) - 1) as __mmask16 };
    [mask(0), mask(LANES)]
}

/// Codes of a head's keys and values; `None` where a score may be too large.
#[target_feature(enable = "avx512f,avx512bw")]
fn fill(
    queries: &[[f32; COLUMNS]],
    kv: &[[f32; COLUMNS]],
    dim: usize,
    head: usize,
    tokens: usize,
    keys: &mut [[f32; COLUMNS]],
    values: &mut [[f32; LANES]],
) -> Option<Scales> {
    let zero = _mm512_setzero_si512();
    let masked = |row: &[f32; COLUMNS], p: usize, v: usize| {
        _mm512_maskz_mov_ps(masks(tokens - p * COLUMNS)[v], load(&halves(row)[v]))
    };
    let mut query_square = zero;
    let queries = queries.chunks_exact(dim);
    // They may be those of the last panels alone.
    let first = tokens.div_ceil(COLUMNS) - queries.len();
    for (p, queries) in queries.enumerate() {
        for v in 0..NR_VECTORS {
            let mut square = _mm512_setzero_ps();
            for row in &queries[head * SIZE..][..SIZE] {
                let q = masked(row, first + p, v);
                square = _mm512_fmadd_ps(q, q, square);
            }
            query_square = _mm512_max_epi32(query_square, magnitude(square));
        }
    }
    let (mut key, mut key_square, mut value) = (zero, zero, [zero; SIZE]);
    for (p, kv) in kv.chunks_exact(2 * dim).enumerate() {
        for v in 0..NR_VECTORS {
            let mut square = _mm512_setzero_ps();
            for h in 0..SIZE {
                let [k, value_h] = [0, dim].map(|part| masked(&kv[part + head * SIZE + h], p, v));
                key = _mm512_max_epi32(key, magnitude(k));
                square = _mm512_fmadd_ps(k, k, square);
                value[h] = _mm512_max_epi32(value[h], magnitude(value_h));
            }
            key_square = _mm512_max_epi32(key_square, magnitude(square));
        }
    }
    let norms = [query_square, key_square].map(|square| largest(square).sqrt());
    let most_values = value.map(|most| largest(most));
    let finite = most_values.iter().all(|most| most.is_finite());
    // Not where it is NaN.
    if !(finite && norms[0] * norms[1] <= LARGEST_SCORE) {
        return None;
    }
    let scale = MOST_CODE / largest(key).max(SMALLEST);
    let inverse = most_values.map(|most| MOST_VALUE / most.max(SMALLEST));
    let (keys, values) = (keys.as_chunks_mut::<PAIRS>().0, values.as_chunks_mut::<ROWS>().0);
    for (p, (kv, (keys, values))) in kv.chunks_exact(2 * dim).zip(keys.iter_mut().zip(values)).enumerate() {
        let here = COLUMNS.min(tokens - p * COLUMNS);
        let code = |row: usize, v: usize, scale: f32| {
            _mm512_cvtps_epi32(_mm512_mul_ps(masked(&kv[row], p, v), _mm512_set1_ps(scale)))
        };
        for (pair, out) in keys.iter_mut().enumerate() {
            let row = head * SIZE + 2 * pair;
            let parts = out.as_chunks_mut::<LANES>().0;
            for (v, out) in parts.iter_mut().enumerate() {
                *out = floats(pair_lower(code(row, v, scale), code(row + 1, v, scale)));
            }
            // Keys that are none must not have the largest score.
            let last = out[here - 1];
            out[here..].fill(last);
        }
        for h in 0..SIZE {
            let [low, high] =
                [0, 1].map(|v| _mm512_cvtepi32_epi16(code(dim + head * SIZE + h, v, inverse[h])));
            values[h] = floats(_mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high));
        }
        let [low, high] = masks(here).map(u32::from);
        values[SIZE] = floats(_mm512_maskz_set1_epi16(low | high << LANES, 1));
    }
    Some(Scales {
        key: scale,
        norm: norms[1] * scale,
        values: most_values.map(|most| most.max(SMALLEST) / MOST_VALUE),
    })
}

/// Queries as codes.
struct Query {
    /// Minus the query: codes of two dimensions in an element.
    codes: [[__m512i; NR_VECTORS]; PAIRS],
    /// Fractional bits of a score, and how far they are from the top of 16 bits, both in both halves of a lane.
    fraction: [__m512i; NR_VECTORS],
    rest: [__m512i; NR_VECTORS],
    /// The power of two that a score's last bit stands for.
    unit: [__m512; NR_VECTORS],
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn query(scales: &Scales, queries: &[[f32; COLUMNS]; SIZE]) -> Query {
    let zero = _mm512_setzero_si512();
    let mut query = Query {
        codes: [[zero; NR_VECTORS]; PAIRS],
        fraction: [zero; NR_VECTORS],
        rest: [zero; NR_VECTORS],
        unit: [_mm512_setzero_ps(); NR_VECTORS],
    };
    for v in 0..NR_VECTORS {
        let (mut most, mut square) = (_mm512_set1_ps(SMALLEST), _mm512_setzero_ps());
        for row in queries {
            let q = load(&halves(row)[v]);
            most = _mm512_max_ps(most, _mm512_abs_ps(q));
            square = _mm512_fmadd_ps(q, q, square);
        }
        let norm = _mm512_max_ps(_mm512_sqrt_ps(square), _mm512_set1_ps(SMALLEST));
        let by_norm = _mm512_div_ps(_mm512_set1_ps(MOST_PRODUCT / scales.norm.max(SMALLEST)), norm);
        let limit = _mm512_min_ps(_mm512_div_ps(_mm512_set1_ps(MOST_CODE), most), by_norm);
        let bits = _mm512_getexp_ps(_mm512_mul_ps(limit, _mm512_set1_ps(scales.key)));
        // At most 15 fractional bits are kept; columns that are no tokens may have any.
        let bits = _mm512_min_ps(_mm512_max_ps(bits, _mm512_set1_ps(17.0)), _mm512_set1_ps(31.0));
        let scale = _mm512_scalef_ps(_mm512_set1_ps(-1.0 / scales.key), bits);
        for (pair, rows) in queries.as_chunks::<2>().0.iter().enumerate() {
            let [low, high] =
                [0, 1].map(|i| _mm512_cvtps_epi32(_mm512_mul_ps(load(&halves(&rows[i])[v]), scale)));
            query.codes[pair][v] = pair_lower(low, high);
        }
        let fraction = _mm512_sub_epi32(_mm512_cvtps_epi32(bits), _mm512_set1_epi32(16));
        query.fraction[v] = _mm512_or_si512(fraction, _mm512_slli_epi32::<16>(fraction));
        query.rest[v] = _mm512_sub_epi16(_mm512_set1_epi16(16), query.fraction[v]);
        query.unit[v] = _mm512_scalef_ps(_mm512_set1_ps(1.0), _mm512_sub_ps(_mm512_set1_ps(16.0), bits));
    }
    query
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn attend(
    codes: Codes<'_>,
    queries: &[[f32; COLUMNS]; SIZE],
    scores: &mut [[[f32; LANES]; NR_VECTORS]],
    context: &mut [[f32; COLUMNS]; SIZE],
) {
    let query = query(&codes.scales, queries);
    // The least of minus the scores so far, in both halves of a lane; and as a float.
    let mut least = [_mm512_set1_epi16(i16::MAX); NR_VECTORS];
    let mut base = [_mm512_set1_ps(f32::from(i16::MAX)); NR_VECTORS];
    let mut sums = [[_mm512_setzero_ps(); NR_VECTORS]; ROWS];
    let tiles = codes.keys.chunks(TILE).zip(codes.values.chunks(TILE));
    for (tile, (keys, values)) in tiles.enumerate() {
        let pairs = (codes.tokens - tile * TILE * COLUMNS).min(TILE * COLUMNS).div_ceil(2);
        let (groups, _) = scores.as_chunks_mut::<GROUP>();
        let groups_of_panel = COLUMNS / 2 / GROUP;
        for (i, scores) in groups.iter_mut().enumerate().take(pairs.div_ceil(GROUP)) {
            let first = i % groups_of_panel * 2 * GROUP;
            score(&query.codes, &keys[i / groups_of_panel], first, scores, &mut least);
        }
        for v in 0..NR_VECTORS {
            least[v] = _mm512_min_epi16(least[v], _mm512_rol_epi32::<16>(least[v]));
            let now = _mm512_cvtepi32_ps(_mm512_srai_epi32::<16>(least[v]));
            let scale = power(_mm512_mul_ps(_mm512_sub_ps(now, base[v]), query.unit[v]));
            base[v] = now;
            for row in &mut sums {
                row[v] = _mm512_mul_ps(row[v], scale);
            }
        }
        for scores in &mut scores[..pairs] {
            for v in 0..NR_VECTORS {
                let score = self::codes(&scores[v]);
                scores[v] =
                    floats(weights(_mm512_sub_epi16(score, least[v]), query.fraction[v], query.rest[v]));
            }
        }
        for (weights, values) in scores[..pairs].chunks(COLUMNS / 2).zip(values) {
            add_values(weights, values, &mut sums);
        }
    }
    for h in 0..SIZE {
        let out = context[h].as_chunks_mut::<LANES>().0;
        for (v, out) in out.iter_mut().enumerate() {
            let mean = _mm512_div_ps(sums[h][v], sums[SIZE][v]);
            *out = store(_mm512_mul_ps(mean, _mm512_set1_ps(codes.scales.values[h])));
        }
    }
}

/// Minus the scores of some keys of a panel, from `first` on, and the least of them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn score(
    query: &[[__m512i; NR_VECTORS]; PAIRS],
    keys: &[[f32; COLUMNS]; PAIRS],
    first: usize,
    scores: &mut [[[f32; LANES]; NR_VECTORS]; GROUP],
    least: &mut [__m512i; NR_VECTORS],
) {
    let mut sums = [[[_mm512_setzero_si512(); NR_VECTORS]; 2]; GROUP];
    for (query, keys) in query.iter().zip(keys) {
        let keys = keys[first..first + 2 * GROUP].as_chunks::<2>().0;
        for (sums, keys) in sums.iter_mut().zip(keys) {
            for (sums, key) in sums.iter_mut().zip(keys) {
                let key = _mm512_set1_epi32(key.to_bits().cast_signed());
                for v in 0..NR_VECTORS {
                    sums[v] = add_products(sums[v], query[v], key);
                }
            }
        }
    }
    for (scores, [low, high]) in scores.iter_mut().zip(&sums) {
        for v in 0..NR_VECTORS {
            let both = pair_upper(low[v], high[v]);
            least[v] = _mm512_min_epi16(least[v], both);
            scores[v] = floats(both);
        }
    }
}

/// 32767 * 2^-x of 16-bit numbers x with so many fractional bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn weights(x: __m512i, fraction: __m512i, rest: __m512i) -> __m512i {
    let [c0, c1, c2, c3] = POWER.map(|c| _mm512_set1_epi16(c.cast_signed()));
    let u = _mm512_sllv_epi16(x, rest);
    let p = _mm512_sub_epi16(c2, _mm512_mulhi_epu16(u, c3));
    let p = _mm512_sub_epi16(c1, _mm512_mulhi_epu16(u, p));
    let p = _mm512_sub_epi16(c0, _mm512_mulhi_epu16(u, p));
    let p = _mm512_srlv_epi16(p, _mm512_srlv_epi16(x, fraction));
    // Rounded to 15 bits: rounding off alone would make small weights smaller on average.
    _mm512_avg_epu16(p, _mm512_setzero_si512())
}

/// Adds the weighted values of the keys of a panel.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn add_values(
    weights: &[[[f32; LANES]; NR_VECTORS]],
    values: &[[f32; LANES]; ROWS],
    sums: &mut [[__m512; NR_VECTORS]; ROWS],
) {
    let mut totals = [[_mm512_setzero_si512(); NR_VECTORS]; ROWS];
    for (pair, weights) in weights.iter().enumerate().take(LANES) {
        let weights = [codes(&weights[0]), codes(&weights[1])];
        for (totals, values) in totals.iter_mut().zip(values) {
            let value = _mm512_set1_epi32(values[pair].to_bits().cast_signed());
            for v in 0..NR_VECTORS {
                totals[v] = add_products(totals[v], weights[v], value);
            }
        }
    }
    for (sums, totals) in sums.iter_mut().zip(&totals) {
        for v in 0..NR_VECTORS {
            sums[v] = _mm512_add_ps(sums[v], _mm512_cvtepi32_ps(totals[v]));
        }
    }
}

/// 2^x for x <= 0, relative error below 3e-7.
#[inline]
#[target_feature(enable = "avx512f")]
fn power(x: __m512) -> __m512 {
    let whole = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x);
    let rest = _mm512_sub_ps(x, whole);
    let mut p = _mm512_set1_ps(EXP2[5]);
    for c in [4, 3, 2, 1, 0] {
        p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(EXP2[c]));
    }
    _mm512_scalef_ps(p, whole)
}
