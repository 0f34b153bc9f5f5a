//! What becomes of a product's sums.

use crate::math::gelu;
use pulp::Simd;

/// Where a sum starts, and what happens to it before it is stored.
pub(crate) trait Finish: Copy {
    /// The first term, from the bias and what is there.
    #[inline(always)]
    fn start<S: Simd>(self, _: S, bias: S::f32s, _there: S::f32s) -> S::f32s {
        bias
    }

    /// The stored value.
    #[inline(always)]
    fn end<S: Simd>(self, _: S, sum: S::f32s) -> S::f32s {
        sum
    }
}

/// Nothing.
#[derive(Clone, Copy)]
pub(crate) struct Plain;

/// GELU.
#[derive(Clone, Copy)]
pub(crate) struct Gelu;

/// It is added to what is there.
#[derive(Clone, Copy)]
pub(crate) struct Add;

impl Finish for Plain {}

impl Finish for Gelu {
    #[inline(always)]
    fn end<S: Simd>(self, simd: S, sum: S::f32s) -> S::f32s {
        gelu(simd, sum)
    }
}

impl Finish for Add {
    #[inline(always)]
    fn start<S: Simd>(self, simd: S, bias: S::f32s, there: S::f32s) -> S::f32s {
        simd.add_f32s(bias, there)
    }
}
