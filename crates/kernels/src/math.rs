//! Vectorised elementary functions, with their error bounds.

use pulp::Simd;

/// 1.5 x 2^23: adding it rounds to the nearest integer, which is left in the low mantissa bits.
const MAGIC: f32 = 12_582_912.0;

/// Minimax polynomial of degree 5 for 2^f, |f| <= 0.5, lowest power first: relative error below 7.5e-8.
pub(crate) const EXP2: [f32; 6] =
    [1.000_000_1, 0.693_146_97, 0.240_221_2, 0.055_507_13, 0.009_675_545, 0.001_327_648_2];

/// 2^x for x <= 127 with a relative error below 3e-7; x below -126 is taken as -126. Takes several vectors, so that
/// each constant is loaded once and latencies overlap.
#[inline(always)]
pub(crate) fn exp2<S: Simd, const N: usize>(simd: S, x: [S::f32s; N]) -> [S::f32s; N] {
    let least = simd.splat_f32s(-126.0);
    let mut above = x;
    for i in 0..N {
        above[i] = simd.max_f32s(x[i], least);
    }
    exp2_above(simd, above)
}

/// [`exp2`] without the lower clamp: every x must be at least -126.
#[inline(always)]
pub(crate) fn exp2_above<S: Simd, const N: usize>(simd: S, x: [S::f32s; N]) -> [S::f32s; N] {
    let magic = simd.splat_f32s(MAGIC);
    let (mut f, mut n) = (x, x);
    for i in 0..N {
        n[i] = simd.add_f32s(x[i], magic);
        f[i] = simd.sub_f32s(x[i], simd.sub_f32s(n[i], magic));
    }
    let mut p = [simd.splat_f32s(EXP2[5]); N];
    for c in [4, 3, 2, 1, 0] {
        let coefficient = simd.splat_f32s(EXP2[c]);
        for i in 0..N {
            p[i] = simd.mul_add_e_f32s(p[i], f[i], coefficient);
        }
    }
    // The integer part is added to the exponent; the shift drops MAGIC's own bits at the top.
    let shift = simd.splat_u32s(23);
    for i in 0..N {
        let n = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(n[i]), shift);
        p[i] = simd.transmute_f32s_u32s(simd.add_u32s(simd.transmute_u32s_f32s(p[i]), n));
    }
    p
}

/// x / (1 + e^-x), relative error below 4e-7 + 1.2e-7 |x| for x above -87; 0 within 1e-30 below.
#[inline(always)]
pub(crate) fn silu<S: Simd, const N: usize>(simd: S, x: [S::f32s; N]) -> [S::f32s; N] {
    let (scale, most) = (simd.splat_f32s(-std::f32::consts::LOG2_E), simd.splat_f32s(127.0));
    let mut power = x;
    for i in 0..N {
        power[i] = simd.min_f32s(simd.mul_f32s(x[i], scale), most);
    }
    power = exp2(simd, power);
    let one = simd.splat_f32s(1.0);
    for i in 0..N {
        power[i] = simd.div_f32s(x[i], simd.add_f32s(one, power[i]));
    }
    power
}

/// Numerator of erf(x) = x P(x^2) / Q(x^2) on |x| <= 4, highest power first: absolute error below 4e-7.
const ERF_P: [f32; 7] = [
    -2.726_142_3e-10,
    2.770_681_4e-8,
    -2.101_024e-6,
    -5.692_506_5e-5,
    -7.349_906e-4,
    -2.954_6e-3,
    -1.609_603_3e-2,
];
/// Denominator, highest power first.
const ERF_Q: [f32; 5] = [-1.456_607_2e-5, -2.133_740_6e-4, -1.682_827e-3, -7.373_329_2e-3, -1.426_473_9e-2];

/// erf(x / sqrt(2)), absolute error below 4e-7.
#[inline(always)]
fn erf_over_sqrt2<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let z = simd.mul_f32s(x, simd.splat_f32s(std::f32::consts::FRAC_1_SQRT_2));
    let z = simd.min_f32s(simd.max_f32s(z, simd.splat_f32s(-4.0)), simd.splat_f32s(4.0));
    let square = simd.mul_f32s(z, z);
    let mut p = simd.splat_f32s(ERF_P[0]);
    for i in [1, 2, 3, 4, 5, 6] {
        p = simd.mul_add_e_f32s(p, square, simd.splat_f32s(ERF_P[i]));
    }
    let mut q = simd.splat_f32s(ERF_Q[0]);
    for i in [1, 2, 3, 4] {
        q = simd.mul_add_e_f32s(q, square, simd.splat_f32s(ERF_Q[i]));
    }
    simd.div_f32s(simd.mul_f32s(z, p), q)
}

/// The exact GELU, x Phi(x) with the normal distribution function Phi; absolute error below 3e-7 max(1, |x|).
#[inline(always)]
pub(crate) fn gelu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let erf = erf_over_sqrt2(simd, x);
    let half = simd.mul_f32s(x, simd.splat_f32s(0.5));
    simd.mul_add_e_f32s(half, erf, half)
}

/// [`gelu`] and its derivative, Phi(x) + x phi(x) with the normal density phi; absolute error of the derivative below
/// 6e-7.
#[inline(always)]
pub(crate) fn gelu_and_derivative<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s) {
    let half = simd.splat_f32s(0.5);
    let cdf = simd.mul_add_e_f32s(erf_over_sqrt2(simd, x), half, half);
    let value = simd.mul_f32s(x, cdf);
    // phi(x) = exp(-x^2 / 2) / sqrt(2 pi) as a power of two, the factor in the exponent.
    let square = simd.mul_f32s(x, x);
    let (scale, shift) = (-0.5 * std::f32::consts::LOG2_E, -1.325_748_1);
    let exponent = simd.mul_add_e_f32s(square, simd.splat_f32s(scale), simd.splat_f32s(shift));
    let [density] = exp2(simd, [exponent]);
    (value, simd.mul_add_e_f32s(x, density, cdf))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;
    use crate::buffer::{vectors, vectors_mut};
    use pulp::WithSimd;

    #[derive(Clone, Copy)]
    enum Function {
        Exp2,
        Gelu,
        GeluDerivative,
        Silu,
    }

    struct Map<'a>(&'a [f32], &'a mut [f32], Function);

    impl WithSimd for Map<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            for (x, y) in vectors::<S>(self.0).iter().zip(vectors_mut::<S>(self.1)) {
                *y = match self.2 {
                    Function::Exp2 => exp2(simd, [*x])[0],
                    Function::Gelu => gelu(simd, *x),
                    Function::Silu => silu(simd, [*x])[0],
                    Function::GeluDerivative => gelu_and_derivative(simd, *x).1,
                };
            }
        }
    }

    fn each(from: f32, to: f32, function: Function, check: impl Fn(Level, f32, f64)) {
        let x: Vec<f32> = (0..160_000).map(|i| from + (to - from) * i as f32 / 159_999.0).collect();
        for level in Level::available() {
            let mut y = vec![0.0; x.len()];
            level.run(Map(&x, &mut y, function));
            for (x, y) in x.iter().zip(&y) {
                check(level, *x, f64::from(*y));
            }
        }
    }

    #[test]
    fn exp2_within_its_error() {
        each(-125.9, 20.0, Function::Exp2, |level, x, y| {
            let exact = f64::from(x).exp2();
            assert!((y / exact - 1.0).abs() < 3e-7, "{level}: 2^{x} is {exact}, not {y}");
        });
        each(-1e6, -1e4, Function::Exp2, |level, x, y| {
            assert!((0.0..2e-38).contains(&y), "{level}: 2^{x} is {y}")
        });
    }

    #[test]
    fn gelu_within_its_error() {
        each(-9.0, 9.0, Function::Gelu, |level, x, y| {
            let x64 = f64::from(x);
            let exact = 0.5 * x64 * (1.0 + libm::erf(x64 / 2f64.sqrt()));
            assert!((y - exact).abs() < 3e-7 * x64.abs().max(1.0), "{level}: gelu({x}) is {exact}, not {y}");
        });
    }

    #[test]
    fn silu_within_its_error() {
        each(-80.0, 90.0, Function::Silu, |level, x, y| {
            let x = f64::from(x);
            let exact = x / (1.0 + (-x).exp());
            assert!(
                (y - exact).abs() <= (4e-7 + 1.2e-7 * x.abs()) * exact.abs(),
                "{level}: silu({x}) is {exact}, not {y}"
            );
        });
        each(-1e6, -87.0, Function::Silu, |level, x, y| {
            assert!(y.abs() < 1e-30, "{level}: silu({x}) is {y}")
        });
    }

    #[test]
    fn gelu_derivative_within_its_error() {
        each(-9.0, 9.0, Function::GeluDerivative, |level, x, y| {
            let x = f64::from(x);
            let density = (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
            let exact = 0.5 * (1.0 + libm::erf(x / 2f64.sqrt())) + x * density;
            assert!((y - exact).abs() < 6e-7, "{level}: gelu'({x}) is {exact}, not {y}");
        });
    }
}
