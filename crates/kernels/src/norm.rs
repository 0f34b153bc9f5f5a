//! Layer norm of a panel.

use crate::panel::WIDTH;
use pulp::Simd;

/// Scale, shift and epsilon.
#[derive(Debug, Clone)]
pub(crate) struct Norm {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    pub(crate) epsilon: f32,
}

impl Norm {
    /// Each token of the panels `x`, centred, at unit variance, scaled and shifted, into `out`.
    #[inline(always)]
    pub(crate) fn apply<S: Simd>(&self, simd: S, x: &[S::f32s], out: &mut [S::f32s]) {
        let size = self.weight.len() * WIDTH;
        for (panel, x) in x.chunks_exact(size).enumerate() {
            self.panel(simd, x, &mut out[panel * size..][..size]);
        }
    }

    #[inline(always)]
    fn panel<S: Simd>(&self, simd: S, x: &[S::f32s], out: &mut [S::f32s]) {
        let rows = x.as_chunks::<WIDTH>().0;
        let share = simd.splat_f32s(1.0 / rows.len() as f32);
        let zero = [simd.splat_f32s(0.0); WIDTH];
        let mut mean = zero;
        for row in rows {
            for v in 0..WIDTH {
                mean[v] = simd.add_f32s(mean[v], row[v]);
            }
        }
        for v in 0..WIDTH {
            mean[v] = simd.mul_f32s(mean[v], share);
        }
        let mut square = zero;
        for row in rows {
            for v in 0..WIDTH {
                let off = simd.sub_f32s(row[v], mean[v]);
                square[v] = simd.mul_add_e_f32s(off, off, square[v]);
            }
        }
        let mut scale = zero;
        for v in 0..WIDTH {
            let variance = simd.mul_add_e_f32s(square[v], share, simd.splat_f32s(self.epsilon));
            scale[v] = simd.div_f32s(simd.splat_f32s(1.0), simd.sqrt_f32s(variance));
        }
        let out = out.as_chunks_mut::<WIDTH>().0;
        for (((row, out), weight), bias) in rows.iter().zip(out).zip(&self.weight).zip(&self.bias) {
            let (weight, bias) = (simd.splat_f32s(*weight), simd.splat_f32s(*bias));
            for v in 0..WIDTH {
                let unit = simd.mul_f32s(simd.sub_f32s(row[v], mean[v]), scale[v]);
                out[v] = simd.mul_add_e_f32s(unit, weight, bias);
            }
        }
    }
}
