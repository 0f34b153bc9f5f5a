//! Single kernels on synthetic data, for `cargo bench -p r2former-kernels`: how close each comes to the machine's peak.
//!
//! Programs use [`Encoder`](crate::Encoder) and [`Reranker`](crate::Reranker) instead.

use crate::Level;
use crate::attend::Attend;
use crate::buffer::{Floats, vectors, vectors_mut};
use crate::correlate::{BestMatches, Correlate};
use crate::element::Element;
use crate::epilogue::{Epilogue, Gelu, Store};
use crate::int8::DotProduct;
use crate::math::{exp2, gelu};
use crate::matrix::{Matrix, Multiply, Packing};
use crate::norm::Norm;
use pulp::{Simd, WithSimd};

/// Pseudo-random values in -1..1, the same in every run.
fn synthetic(len: usize) -> Floats {
    let mut state = 1u32;
    let mut floats = Floats::zeros(len);
    for value in floats.iter_mut() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *value = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
    }
    floats
}

/// Independent chains of multiply-adds in registers: the peak of one thread.
#[derive(Debug)]
pub struct Peak(pub Level);

impl Peak {
    /// Iterations of a run.
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

/// Independent chains of 8-bit products in registers: the peak of one thread.
#[derive(Debug)]
pub struct Int8Peak(Level, DotProduct);

impl Int8Peak {
    /// `None` for a level whose 8-bit products are computed in f32.
    pub fn new(level: Level) -> Option<Self> {
        Some(Self(level, DotProduct::of(level)?))
    }

    /// Operations of a run.
    pub fn operations(&self) -> u64 {
        self.1.peak_operations(self.0, Peak::ROUNDS)
    }

    /// Runs on one thread.
    pub fn run(&self) -> f32 {
        self.1.peak(Peak::ROUNDS)
    }
}

/// The packed GEMM: a weight matrix times panels of tokens.
#[derive(Debug)]
pub struct Product {
    level: Level,
    matrix: Matrix,
    /// Values of a panel of tokens.
    panel: usize,
    operations: u64,
    x: Floats,
    out: Floats,
    gelu: bool,
}

impl Product {
    /// `[rows, depth]` times `[depth, tokens]`, with a GELU epilogue or none. Tokens are rounded up to whole panels.
    pub fn new(level: Level, rows: usize, depth: usize, tokens: usize, gelu: bool) -> Self {
        Self::of(level, Element::F32, [rows, depth, tokens], gelu)
    }

    /// The same in 8 bits, of tokens that are quantised already; `None` for a level that computes these in f32.
    pub fn int8(level: Level, rows: usize, depth: usize, tokens: usize, gelu: bool) -> Option<Self> {
        Some(Self::of(level, Element::Int8(DotProduct::of(level)?), [rows, depth, tokens], gelu))
    }

    fn of(level: Level, element: Element, [rows, depth, tokens]: [usize; 3], gelu: bool) -> Self {
        let columns = level.columns();
        let panels = tokens.div_ceil(columns);
        let packing = Packing::new(level, element);
        let matrix = Matrix::pack(packing, depth, &synthetic(rows * depth), &synthetic(rows));
        let (mut x, out) = (synthetic(panels * columns * depth), Floats::zeros(panels * columns * rows));
        let operations = 2 * (rows * x.len()) as u64;
        level.run(Convert { element, depth, x: &mut x });
        let panel = element.panel_rows(depth) * columns;
        x.resize(panels * panel);
        Self { level, matrix, panel, operations, x, out, gelu }
    }

    /// Operations of a run, not counting the GELU.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// Runs on one thread.
    pub fn run(&mut self) {
        if self.gelu { self.run_with(Gelu) } else { self.run_with(Store) }
    }

    fn run_with<E: Epilogue>(&mut self, epilogue: E) {
        let columns = self.level.columns();
        let out = self.out.chunks_exact_mut(self.matrix.rows * columns);
        for (x, out) in self.x.chunks_exact(self.panel).zip(out) {
            self.level.run(Multiply { matrix: &self.matrix, x, out, epilogue });
        }
    }
}

/// Panels of floats to elements, in place.
struct Convert<'a> {
    element: Element,
    depth: usize,
    x: &'a mut Floats,
}

impl WithSimd for Convert<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.element.convert(simd, self.depth, vectors_mut::<S>(self.x));
    }
}

/// Attention with a head of 8 dimensions, as in the reranker's token stack.
#[derive(Debug)]
pub struct SmallHeads {
    level: Level,
    tokens: usize,
    queries: Floats,
    keys: Floats,
    scores: Floats,
    context: Floats,
}

impl SmallHeads {
    const SIZE: usize = 8;

    /// One head over `tokens` tokens.
    pub fn new(level: Level, tokens: usize) -> Self {
        let columns = level.columns();
        let panels = tokens.div_ceil(columns);
        Self {
            level,
            tokens,
            queries: synthetic(panels * columns * Self::SIZE),
            keys: synthetic(tokens * 2 * Self::SIZE),
            scores: Floats::default(),
            context: Floats::zeros(Self::SIZE * columns),
        }
    }

    /// Floating-point operations of the two products of a run, not counting the [`exponentials`](Self::exponentials).
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
            let (scores, context) = (&mut self.scores, &mut self.context[..]);
            self.level.run(Attend::<{ Self::SIZE }> {
                queries,
                keys: &self.keys,
                max_key_norm: 3.0,
                scores,
                context,
            });
        }
    }
}

/// An operation on each token alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// 2^x.
    Exp2,
    /// GELU.
    Gelu,
    /// Layer norm of tokens of width 384.
    Norm,
    /// Tokens of width 384 to 8 bits.
    Quantise,
}

/// An [`Activation`] of a panel of tokens of width 384, in cache.
#[derive(Debug)]
pub struct Map {
    level: Level,
    activation: Activation,
    norm: Norm,
    products: DotProduct,
    x: Floats,
    out: Floats,
}

impl Map {
    const DIM: usize = 384;

    /// An activation of one panel.
    pub fn new(level: Level, activation: Activation) -> Self {
        let norm = Norm { weight: vec![1.0; Self::DIM], bias: vec![0.0; Self::DIM], epsilon: 1e-6 };
        let x = synthetic(Self::DIM * level.columns());
        let out = Floats::zeros(x.len());
        let products = DotProduct::of(level).unwrap_or(DotProduct::Emulated);
        Self { level, activation, norm, products, x, out }
    }

    /// Elements of a run.
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
        let Map { activation, norm, products, x, out, .. } = self.0;
        let (x, out) = (vectors::<S>(x), vectors_mut::<S>(out));
        match activation {
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
            Activation::Quantise => {
                // In place: the copy counts, too.
                out.copy_from_slice(x);
                products.quantise(simd, Map::DIM, out);
            }
        }
    }
}

/// The correlation of two images' features of 128 dimensions, with the best 5 matches of every feature.
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

    /// `features` features on both sides.
    pub fn new(level: Level, features: usize) -> Self {
        let rows = synthetic(features * Self::DEPTH);
        let query = Matrix::pack(Packing::new(level, Element::F32), Self::DEPTH, &rows, &vec![0.0; features]);
        Self { level, query, reference: synthetic(features * Self::DEPTH), matches: BestMatches::default() }
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
