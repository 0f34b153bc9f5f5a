//! Epilogues of a product: what happens to the accumulators before and after the sum, without another pass over
//! memory.

use crate::math::gelu;
use pulp::Simd;

/// Initial value of an accumulator, and the value stored in the end.
pub(crate) trait Epilogue: Copy {
    /// The accumulator before the first term: the bias, unless the output takes part.
    #[inline(always)]
    fn init<S: Simd>(self, _: S, bias: S::f32s, _out: S::f32s) -> S::f32s {
        bias
    }

    /// The value stored for the complete sum.
    #[inline(always)]
    fn finish<S: Simd>(self, _: S, sum: S::f32s) -> S::f32s {
        sum
    }
}

/// `out = W x + b`.
#[derive(Clone, Copy)]
pub(crate) struct Store;

/// `out = gelu(W x + b)`.
#[derive(Clone, Copy)]
pub(crate) struct Gelu;

/// `out = relu(W x + b)`.
#[derive(Clone, Copy)]
pub(crate) struct Relu;

/// `out += W x + b`: a residual connection.
#[derive(Clone, Copy)]
pub(crate) struct Accumulate;

impl Epilogue for Store {}

impl Epilogue for Gelu {
    #[inline(always)]
    fn finish<S: Simd>(self, simd: S, sum: S::f32s) -> S::f32s {
        gelu(simd, sum)
    }
}

impl Epilogue for Relu {
    #[inline(always)]
    fn finish<S: Simd>(self, simd: S, sum: S::f32s) -> S::f32s {
        // NaN stays.
        let zero = simd.splat_f32s(0.0);
        simd.select_f32s(simd.less_than_f32s(sum, zero), zero, sum)
    }
}

impl Epilogue for Accumulate {
    #[inline(always)]
    fn init<S: Simd>(self, simd: S, bias: S::f32s, out: S::f32s) -> S::f32s {
        simd.add_f32s(bias, out)
    }
}
