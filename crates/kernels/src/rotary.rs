//! Rotary positions: queries and keys of each token are turned by the token's own angles.

use crate::panel::NR_VECTORS;
use pulp::Simd;

/// Turns the first `dim` of `rows` rows of each panel, heads of `size`: value `i` of the first half of a head with value
/// `i` of the second half. Without `turns` nothing changes.
///
/// # Shapes
/// - turns: panels `[size, NR]`, cosines of `size / 2` angles, then sines
/// - x: as many panels `[rows, NR]`
#[inline(always)]
pub(crate) fn rotate<S: Simd>(
    simd: S,
    turns: &[S::f32s],
    [dim, size]: [usize; 2],
    x: &mut [S::f32s],
    rows: usize,
) {
    let (turns, x) = (turns.as_chunks::<NR_VECTORS>().0, x.as_chunks_mut::<NR_VECTORS>().0);
    for (turns, x) in turns.chunks_exact(size).zip(x.chunks_exact_mut(rows)) {
        let (cosines, sines) = turns.split_at(size / 2);
        for head in x[..dim].chunks_exact_mut(size) {
            let (first, second) = head.split_at_mut(size / 2);
            for (((a, b), cosine), sine) in first.iter_mut().zip(second).zip(cosines).zip(sines) {
                for v in 0..NR_VECTORS {
                    let (from_b, from_a) = (simd.mul_f32s(b[v], sine[v]), simd.mul_f32s(a[v], sine[v]));
                    a[v] = simd.sub_f32s(simd.mul_f32s(a[v], cosine[v]), from_b);
                    b[v] = simd.mul_add_e_f32s(b[v], cosine[v], from_a);
                }
            }
        }
    }
}
