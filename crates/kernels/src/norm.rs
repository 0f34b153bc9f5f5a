//! Layer norm of panels: each column is normalised over its rows.

use crate::panel::NR_VECTORS;
use pulp::Simd;

/// Parameters of a layer norm.
#[derive(Debug, Clone)]
pub(crate) struct Norm {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    pub(crate) epsilon: f32,
}

impl Norm {
    /// Normalises every token of panels `x` into `out`.
    ///
    /// # Shapes
    /// - x, out: panels `[dim, NR]`, where `dim` is the length of `weight`
    #[inline(always)]
    pub(crate) fn apply<S: Simd>(&self, simd: S, x: &[S::f32s], out: &mut [S::f32s]) {
        let size = self.weight.len() * NR_VECTORS;
        for (panel, x) in x.chunks_exact(size).enumerate() {
            self.panel(simd, x, &mut out[panel * size..][..size]);
        }
    }

    #[inline(always)]
    fn panel<S: Simd>(&self, simd: S, x: &[S::f32s], out: &mut [S::f32s]) {
        let rows = x.as_chunks::<NR_VECTORS>().0;
        let scale_sum = simd.splat_f32s(1.0 / rows.len() as f32);
        let zero = [simd.splat_f32s(0.0); NR_VECTORS];
        let mut mean = zero;
        for row in rows {
            for v in 0..NR_VECTORS {
                mean[v] = simd.add_f32s(mean[v], row[v]);
            }
        }
        for v in 0..NR_VECTORS {
            mean[v] = simd.mul_f32s(mean[v], scale_sum);
        }
        let mut square = zero;
        for row in rows {
            for v in 0..NR_VECTORS {
                let deviation = simd.sub_f32s(row[v], mean[v]);
                square[v] = simd.mul_add_e_f32s(deviation, deviation, square[v]);
            }
        }
        let mut scale = zero;
        for v in 0..NR_VECTORS {
            let variance = simd.mul_add_e_f32s(square[v], scale_sum, simd.splat_f32s(self.epsilon));
            scale[v] = simd.div_f32s(simd.splat_f32s(1.0), simd.sqrt_f32s(variance));
        }
        let out = out.as_chunks_mut::<NR_VECTORS>().0;
        for (((row, out), weight), bias) in rows.iter().zip(out).zip(&self.weight).zip(&self.bias) {
            let (weight, bias) = (simd.splat_f32s(*weight), simd.splat_f32s(*bias));
            for v in 0..NR_VECTORS {
                let unit = simd.mul_f32s(simd.sub_f32s(row[v], mean[v]), scale[v]);
                out[v] = simd.mul_add_e_f32s(unit, weight, bias);
            }
        }
    }
}
