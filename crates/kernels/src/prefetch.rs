//! Prefetching, where the machine has such an instruction.

/// Floats of a cache line.
pub(crate) const LINE: usize = 16;

/// Asks for values to be brought into L2: a memory further away delivers them while others are multiplied.
#[inline(always)]
pub(crate) fn prefetch(values: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in values.chunks(LINE) {
        // SAFETY: a prefetch reads nothing and cannot fault, whatever its address; SSE is part of every x86-64.
        #[allow(unsafe_code, reason = "there is no safe prefetch")]
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

/// Asks for each of a few vectors to be brought into L1.
#[inline(always)]
pub(crate) fn prefetch_near<V>(vectors: &[V]) {
    #[cfg(target_arch = "x86_64")]
    for vector in vectors {
        // SAFETY: as above.
        #[allow(unsafe_code, reason = "as above")]
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(vector).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = vectors;
}
