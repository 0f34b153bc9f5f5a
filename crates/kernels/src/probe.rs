//! Single kernels over made-up numbers, for benchmarks: how near each comes to what the machine can do.
//!
//! Nothing else needs them; a program uses [`Encoder`](crate::Encoder) and [`Reranker`](crate::Reranker).

use crate::Level;
use crate::attend::Attend;
use crate::buffer::{Floats, vectors, vectors_mut};
use crate::correlate::{BestMatches, Correlate};
use crate::finish::{Finish, Gelu, Plain};
use crate::math::{exp2, gelu};
use crate::matrix::{Matrix, Packing};
use crate::norm::Norm;
use crate::pairs::Words;
use pulp::{Simd, WithSimd};

/// Numbers between -1 and 1 that are the same every time.
fn made_up(len: usize) -> Floats {
    let mut state = 1u32;
    let mut floats = Floats::zeros(len);
    for value in floats.iter_mut() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *value = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
    }
    floats
}

/// Multiply-adds that wait for nothing but their own register: the machine's peak.
#[derive(Debug)]
pub struct Peak(pub Level);

impl Peak {
    /// Rounds of a run.
    const ROUNDS: usize = 20_000;

    /// Floating-point operations of a run.
    pub fn operations(&self) -> u64 {
        (2 * 12 * Self::ROUNDS * self.0.lanes()) as u64
    }

    /// Runs on one thread.
    pub fn run(&self) -> f32 {
        self.0.run(MultiplyAdd)
    }
}

struct MultiplyAdd;

impl WithSimd for MultiplyAdd {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let (a, b) = (simd.splat_f32s(std::hint::black_box(0.5)), simd.splat_f32s(std::hint::black_box(0.1)));
        let mut sums = [simd.splat_f32s(1.0); 12];
        for _ in 0..Peak::ROUNDS {
            for sum in &mut sums {
                *sum = simd.mul_add_e_f32s(*sum, a, b);
            }
        }
        let mut all = sums[0];
        for sum in &sums[1..] {
            all = simd.add_f32s(all, *sum);
        }
        simd.reduce_sum_f32s(all)
    }
}

/// A product of a packed matrix with panels of tokens.
#[derive(Debug)]
pub struct Product {
    level: Level,
    matrix: Matrix,
    depth: usize,
    x: Floats,
    out: Floats,
    gelu: bool,
}

impl Product {
    /// `[rows, depth]` times `tokens` tokens (rounded up to panels), ended by GELU or nothing.
    pub fn new(level: Level, rows: usize, depth: usize, tokens: usize, gelu: bool) -> Self {
        let columns = level.columns();
        let panels = tokens.div_ceil(columns);
        let matrix =
            Matrix::pack(Packing::new(level, Words::Floats), depth, &made_up(rows * depth), &made_up(rows));
        let (x, out) = (made_up(panels * columns * depth), Floats::zeros(panels * columns * rows));
        Self { level, matrix, depth, x, out, gelu }
    }

    /// Floating-point operations of a run, without those of the GELU.
    pub fn operations(&self) -> u64 {
        2 * (self.matrix.rows * self.x.len()) as u64
    }

    /// Runs on one thread.
    pub fn run(&mut self) {
        if self.gelu { self.finished(Gelu) } else { self.finished(Plain) }
    }

    fn finished<F: Finish>(&mut self, finish: F) {
        let columns = self.level.columns();
        let out = self.out.chunks_exact_mut(self.matrix.rows * columns);
        for (x, out) in self.x.chunks_exact(self.depth * columns).zip(out) {
            self.level.run(Times { matrix: &self.matrix, x, out, finish });
        }
    }
}

struct Times<'a, F> {
    matrix: &'a Matrix,
    x: &'a [f32],
    out: &'a mut [f32],
    finish: F,
}

impl<F: Finish> WithSimd for Times<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.matrix.times(simd, vectors::<S>(self.x), vectors_mut::<S>(self.out), self.finish);
    }
}

/// Attention with heads of 8 over all tokens: the reranker's.
#[derive(Debug)]
pub struct SmallHeads {
    level: Level,
    tokens: usize,
    queries: Floats,
    keys: Floats,
    waiting: Floats,
    context: Floats,
}

impl SmallHeads {
    const SIZE: usize = 8;

    /// Of one head over `tokens` tokens.
    pub fn new(level: Level, tokens: usize) -> Self {
        let columns = level.columns();
        let panels = tokens.div_ceil(columns);
        Self {
            level,
            tokens,
            queries: made_up(panels * columns * Self::SIZE),
            keys: made_up(tokens * 2 * Self::SIZE),
            waiting: Floats::default(),
            context: Floats::zeros(Self::SIZE * columns),
        }
    }

    /// Multiply-adds of the two products, as operations; exponentials are [`exponentials`](Self::exponentials).
    pub fn operations(&self) -> u64 {
        2 * 2 * (self.queries.len() * self.tokens) as u64
    }

    /// Exponentials of a run.
    pub fn exponentials(&self) -> u64 {
        (self.queries.len() / Self::SIZE * self.tokens) as u64
    }

    /// Runs on one thread.
    pub fn run(&mut self) {
        let size = self.level.columns() * Self::SIZE;
        for queries in self.queries.chunks_exact(size) {
            let (waiting, context) = (&mut self.waiting, &mut self.context[..]);
            self.level.run(Attend::<{ Self::SIZE }> {
                queries,
                keys: &self.keys,
                longest: 3.0,
                waiting,
                context,
            });
        }
    }
}

/// Which map of single numbers is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// 2^x.
    Exp2,
    /// GELU.
    Gelu,
    /// Layer norm of tokens of 384 numbers.
    Norm,
}

/// A function of many numbers, in cache.
#[derive(Debug)]
pub struct Map {
    level: Level,
    function: Activation,
    norm: Norm,
    x: Floats,
    out: Floats,
}

impl Map {
    const DIM: usize = 384;

    /// Of one panel.
    pub fn new(level: Level, function: Activation) -> Self {
        let norm = Norm { weight: vec![1.0; Self::DIM], bias: vec![0.0; Self::DIM], epsilon: 1e-6 };
        let x = made_up(Self::DIM * level.columns());
        let out = Floats::zeros(x.len());
        Self { level, function, norm, x, out }
    }

    /// Numbers of a run.
    pub fn elements(&self) -> u64 {
        self.x.len() as u64
    }

    /// Runs on one thread.
    pub fn run(&mut self) {
        self.level.run(Apply(self));
    }
}

struct Apply<'a>(&'a mut Map);

impl WithSimd for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Map { function, norm, x, out, .. } = self.0;
        let (x, out) = (vectors::<S>(x), vectors_mut::<S>(out));
        match function {
            Activation::Norm => norm.apply(simd, x, out),
            Activation::Exp2 => {
                for (x, out) in x.as_chunks::<4>().0.iter().zip(out.as_chunks_mut::<4>().0) {
                    *out = exp2(simd, *x);
                }
            }
            Activation::Gelu => {
                for (x, out) in x.iter().zip(out) {
                    *out = gelu(simd, *x);
                }
            }
        }
    }
}

/// All similarities of two images' features, and the best matches of both.
#[derive(Debug)]
pub struct Correlation {
    level: Level,
    query: Matrix,
    reference: Floats,
    matches: BestMatches,
}

impl Correlation {
    const DEPTH: usize = 128;
    const NEIGHBOURS: usize = 5;

    /// Of `features` features of 128 numbers on both sides, the best 5 of each.
    pub fn new(level: Level, features: usize) -> Self {
        let rows = made_up(features * Self::DEPTH);
        let query =
            Matrix::pack(Packing::new(level, Words::Floats), Self::DEPTH, &rows, &vec![0.0; features]);
        Self { level, query, reference: made_up(features * Self::DEPTH), matches: BestMatches::default() }
    }

    /// Floating-point operations of the similarities.
    pub fn operations(&self) -> u64 {
        2 * (self.query.rows * self.reference.len()) as u64
    }

    /// Runs on one thread.
    pub fn run(&mut self) {
        let Self { query, reference, matches, .. } = self;
        self.level.run(Correlate { k: Self::NEIGHBOURS, depth: Self::DEPTH, query, reference, matches });
    }
}
