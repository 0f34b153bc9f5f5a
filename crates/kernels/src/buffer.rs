//! Memory of the kernels: zeroed floats that begin on a cache line.

use pulp::Simd;
use pulp::bytemuck::{self, Pod, Zeroable};
use std::ops::{Deref, DerefMut};

/// One cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

// SAFETY: all zero bytes are sixteen floats of zero.
#[allow(unsafe_code, reason = "vectors that straddle cache lines cost a second access each")]
unsafe impl Zeroable for Line {}

// SAFETY: sixteen floats of 4 bytes fill the 64 bytes of the alignment: no padding, any bits are valid,
// and the type is `Copy` and `'static`.
#[allow(unsafe_code, reason = "vectors that straddle cache lines cost a second access each")]
unsafe impl Pod for Line {}

/// Floats that begin on a cache line.
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

    /// Makes it `len` long. What was in it stays, up to that length; what is new is zero or old.
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

/// Whole vectors of a slice whose length is a multiple of theirs.
#[inline(always)]
pub(crate) fn vectors<S: Simd>(floats: &[f32]) -> &[S::f32s] {
    S::as_simd_f32s(floats).0
}

/// The same, to write.
#[inline(always)]
pub(crate) fn vectors_mut<S: Simd>(floats: &mut [f32]) -> &mut [S::f32s] {
    S::as_mut_simd_f32s(floats).0
}
