//! Buffers of floats aligned to a cache line.

use pulp::Simd;
use pulp::bytemuck::{self, Pod, Zeroable};
use std::ops::{Deref, DerefMut};

/// One cache line of 16 floats.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

// SAFETY: a `Line` is sixteen floats, and all-zero bytes are the float 0.0.
#[allow(unsafe_code, reason = "vectors that straddle cache lines cost a second access each")]
unsafe impl Zeroable for Line {}

// SAFETY: `Line` is `repr(C)`, and sixteen floats of 4 bytes fill its alignment of 64 bytes, so there is no padding;
// any bits are valid floats, and the type is `Copy` and `'static`.
#[allow(unsafe_code, reason = "vectors that straddle cache lines cost a second access each")]
unsafe impl Pod for Line {}

/// Floats that start on a cache line, so that no aligned vector straddles two.
#[derive(Debug, Clone, Default)]
pub(crate) struct Floats {
    lines: Vec<Line>,
    len: usize,
}

impl Floats {
    /// `len` zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        let mut floats = Self::default();
        floats.resize(len);
        floats
    }

    /// Changes the length without shrinking the memory. The first values stay; the others are unspecified (zeros or
    /// values of an earlier use).
    pub(crate) fn resize(&mut self, len: usize) {
        let lines = len.div_ceil(16);
        if lines > self.lines.len() {
            self.lines.resize(lines, Line([0.0; 16]));
        }
        self.len = len;
    }
}

impl Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl DerefMut for Floats {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

/// A slice as vectors; its length must be a multiple of the lanes, else the rest is left out.
#[inline(always)]
pub(crate) fn vectors<S: Simd>(floats: &[f32]) -> &[S::f32s] {
    S::as_simd_f32s(floats).0
}

/// [`vectors`], mutable.
#[inline(always)]
pub(crate) fn vectors_mut<S: Simd>(floats: &mut [f32]) -> &mut [S::f32s] {
    S::as_mut_simd_f32s(floats).0
}
