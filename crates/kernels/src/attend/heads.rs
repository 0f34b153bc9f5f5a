//! The keys and values of all heads of a block as attention reads them.

use super::Attend;
#[cfg(target_arch = "x86_64")]
use super::fixed::{self, Fixed};
use crate::Level;
use crate::buffer::Floats;
#[cfg(target_arch = "x86_64")]
use crate::fixed::Instructions;

/// Keys and values of small heads, and scratch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heads {
    tokens: usize,
    /// Per head: keys `[tokens, H]`, then values `[tokens, H]`.
    keys: Floats,
    /// The largest norm of a key, per head.
    max_key_norm: Vec<f32>,
    scores: Floats,
    #[cfg(target_arch = "x86_64")]
    fixed: Fixed,
    /// The proof that `fixed` holds the keys.
    #[cfg(target_arch = "x86_64")]
    machine: Option<Instructions>,
}

impl Heads {
    /// Takes the keys and values of heads of `H` dimensions, for queries that are known already; `fixed`: in fixed point
    /// where the machine has the instructions and no score can be too large for it.
    ///
    /// # Shapes
    /// - queries: panels `[dim, NR]`, scaled by log2(e) / sqrt(`H`)
    /// - kv: panels `[2 * dim, NR]`, keys before values
    pub(crate) fn fill<const H: usize>(
        &mut self,
        level: Level,
        fixed: bool,
        [queries, kv]: [&[f32]; 2],
        dim: usize,
        tokens: usize,
    ) {
        self.tokens = tokens;
        #[cfg(target_arch = "x86_64")]
        {
            let machine = Instructions::of(level).filter(|_| fixed && H == fixed::SIZE);
            let heads = &mut self.fixed;
            self.machine = machine.filter(|machine| heads.fill(*machine, queries, kv, dim, tokens));
            if self.machine.is_some() {
                return;
            }
        }
        let _ = (fixed, queries);
        let columns = level.columns();
        self.keys.resize(tokens * 2 * dim);
        for (p, panel) in kv.chunks_exact(2 * dim * columns).enumerate() {
            transpose_kv::<H>(panel, dim, columns, tokens, p * columns, &mut self.keys);
        }
        self.max_key_norm.clear();
        for head in self.keys.chunks_exact(tokens * 2 * H) {
            let square = |key: &[f32; H]| key.iter().map(|v| v * v).sum::<f32>();
            let keys = head[..tokens * H].as_chunks::<H>().0;
            self.max_key_norm.push(keys.iter().map(square).fold(0.0, f32::max).sqrt());
        }
    }

    /// The context of a panel of queries, of one head.
    ///
    /// # Shapes
    /// - queries: a panel `[H, NR]` of those passed to [`fill`](Self::fill)
    /// - context: a panel `[H, NR]`
    pub(crate) fn attend<const H: usize>(
        &mut self,
        level: Level,
        head: usize,
        queries: &[f32],
        context: &mut [f32],
    ) {
        #[cfg(target_arch = "x86_64")]
        if let Some(machine) = self.machine {
            return self.fixed.attend(machine, head, queries, context);
        }
        let keys = &self.keys[head * self.tokens * 2 * H..][..self.tokens * 2 * H];
        let (max_key_norm, scores) = (self.max_key_norm[head], &mut self.scores);
        level.run(Attend::<H> { queries, keys, max_key_norm, scores, context });
    }
}

/// Transposes a panel of keys and values `[2 * dim, NR]` to `[tokens, H]` per head, from token `first` on.
fn transpose_kv<const H: usize>(
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const H: usize = 8;
    const DIM: usize = 2 * H;

    /// Tokens `[count, rows]` as panels `[rows, NR]`; what is no token is NaN.
    fn panels(tokens: &[f32], rows: usize, columns: usize) -> Floats {
        let count = tokens.len() / rows;
        let mut panels = Floats::zeros(count.div_ceil(columns) * rows * columns);
        panels.fill(f32::NAN);
        for (t, token) in tokens.chunks_exact(rows).enumerate() {
            let panel = &mut panels[t / columns * rows * columns..];
            for (row, value) in token.iter().enumerate() {
                panel[row * columns + t % columns] = *value;
            }
        }
        panels
    }

    /// Contexts `[count, DIM]` of the tokens from panel `first` on, and whether they are in fixed point, which is asked for.
    fn run(level: Level, tokens: &[f32], first: usize, fixed: bool) -> (Vec<f32>, bool) {
        let (columns, count) = (level.columns(), tokens.len() / (3 * DIM));
        let part = |from: usize, rows: usize| -> Vec<f32> {
            tokens.chunks_exact(3 * DIM).flat_map(|token| token[from..from + rows].to_vec()).collect()
        };
        let (queries, kv) =
            (panels(&part(0, DIM), DIM, columns), panels(&part(DIM, 2 * DIM), 2 * DIM, columns));
        let queries = &queries[first * DIM * columns..];
        let mut heads = Heads::default();
        heads.fill::<H>(level, fixed, [queries, &kv], DIM, count);
        #[cfg(target_arch = "x86_64")]
        let fixed = heads.machine.is_some();
        #[cfg(not(target_arch = "x86_64"))]
        let fixed = false;
        let mut out = vec![0.0; (count - first * columns) * DIM];
        let mut context = Floats::zeros(H * columns);
        for (p, queries) in queries.chunks_exact(DIM * columns).enumerate() {
            for (head, queries) in queries.chunks_exact(H * columns).enumerate() {
                heads.attend::<H>(level, head, queries, &mut context);
                for c in 0..columns.min(count - (first + p) * columns) {
                    for h in 0..H {
                        out[(p * columns + c) * DIM + head * H + h] = context[h * columns + c];
                    }
                }
            }
        }
        (out, fixed)
    }

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    fn plain(tokens: &[f32]) -> Vec<f64> {
        let mut out = Vec::new();
        for query in tokens.chunks_exact(3 * DIM) {
            for own in [0..H, H..DIM] {
                let part = |token: &'_ [f32], part: usize| -> Vec<f32> {
                    token[part * DIM..][..DIM][own.clone()].to_vec()
                };
                let scores: Vec<f64> =
                    tokens.chunks_exact(3 * DIM).map(|key| dot(&part(query, 0), &part(key, 1))).collect();
                let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|s| (s - most).exp2()).collect();
                let sum: f64 = weights.iter().sum();
                out.extend((0..H).map(|h| {
                    let values = tokens.chunks_exact(3 * DIM).map(|value| f64::from(part(value, 2)[h]));
                    weights.iter().zip(values).map(|(w, v)| w * v).sum::<f64>() / sum
                }));
            }
        }
        out
    }

    /// The largest |q| |k| of a head, and the largest value.
    fn bound(tokens: &[f32]) -> (f64, f64) {
        let norm = |part: usize| {
            let of = |token: &[f32]| {
                [0, H].map(|own| token[part * DIM + own..][..H].to_vec()).map(|v| dot(&v, &v).sqrt())
            };
            tokens.chunks_exact(3 * DIM).flat_map(of).fold(0.0, f64::max)
        };
        let values = tokens.chunks_exact(3 * DIM).flat_map(|token| &token[2 * DIM..]);
        (norm(0) * norm(1), f64::from(values.fold(0.0f32, |most, v| most.max(v.abs()))))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn contexts_equal_plain_softmax(
            count in prop::sample::select(vec![1usize, 2, 5, 31, 32, 33, 64, 95, 127, 128, 129, 150]),
            // Scores up to 0, 5, 20 and 60, and so large that they are left to f32.
            scale in prop::sample::select(vec![0.0f32, 1e-20, 1.0, 2.0, 3.4, 20.0]),
            seed in prop::collection::vec(-1.0f32..1.0, 150 * 3 * DIM),
        ) {
            let mut tokens = seed[..count * 3 * DIM].to_vec();
            for token in tokens.chunks_exact_mut(3 * DIM) {
                token[..2 * DIM].iter_mut().for_each(|v| *v *= scale);
            }
            let (largest, value) = bound(&tokens);
            let expected = plain(&tokens);
            for level in Level::available() {
                for fixed in [false, true] {
                    let (found, fixed) = run(level, &tokens, 0, fixed);
                    let near = value * if fixed { 2e-4 * (1.0 + largest) } else { 2e-4 };
                    for (a, b) in found.iter().zip(&expected) {
                        prop_assert!((f64::from(*a) - b).abs() <= near, "{}: {} {} fixed {}", level, a, b, fixed);
                    }
                }
            }
        }
    }

    /// Tokens of a size, from a simple generator.
    fn tokens(count: usize, scale: f32) -> Vec<f32> {
        let mut random = fastrand::Rng::with_seed(7);
        (0..count * 3 * DIM).map(|_| scale * (random.f32() - 0.5)).collect()
    }

    #[test]
    fn the_last_panel_alone_is_as_with_all() {
        let tokens = tokens(75, 2.0);
        for level in Level::available() {
            let first = 75usize.div_ceil(level.columns()) - 1;
            let (all, _) = run(level, &tokens, 0, true);
            let (last, _) = run(level, &tokens, first, true);
            let expected = &all[first * level.columns() * DIM..];
            assert!(last.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3), "{level}");
        }
    }

    #[test]
    fn what_is_not_finite_is_left_to_f32() {
        for (place, value) in [(3, f32::NAN), (DIM + 3, f32::INFINITY), (2 * DIM + 3, f32::NAN), (3, 1e30)] {
            let mut tokens = tokens(40, 2.0);
            tokens[35 * 3 * DIM + place] = value;
            for level in Level::available() {
                assert!(!run(level, &tokens, 0, true).1, "{level}: {value} at {place}");
            }
        }
    }

    /// What a model's file says of its scores in fixed point holds for any version and any CPU.
    #[test]
    fn the_bits_of_fixed_point_stay() {
        for level in Level::available() {
            let (found, fixed) = run(level, &tokens(301, 2.0), 0, true);
            if fixed {
                let mix = |hash: u64, value: &f32| {
                    (hash ^ u64::from(value.to_bits())).wrapping_mul(0x100_0000_01b3)
                };
                assert_eq!(found.iter().fold(0xcbf2_9ce4_8422_2325, mix), 0x82b3_4f1f_1ba2_7924, "{level}");
            }
        }
    }
}
