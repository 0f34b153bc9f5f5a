//! The dot product that ranks: one order of additions on every instruction set.

use crate::Level;
use pulp::{Simd, WithSimd};

/// Partial sums.
const LANES: usize = 16;

/// The dot product of two vectors, the same bits at every [`Level`]; what one has beyond the other's length is ignored.
///
/// Products of two f32 are exact in f64. Partial sum l of 16 adds those of the indices l, l + 16, l + 32 and so on in
/// f64; then partial sum l + 8 is added to l, l + 4 to l, l + 2 to l and 1 to 0, and the total is rounded to f32.
/// It is never -0. Values beyond f32 become infinite; NaN gives NaN.
pub fn dot(level: Level, a: &[f32], b: &[f32]) -> f32 {
    level.run(Dot { a, b, read: |b: &f32| *b })
}

/// [`dot`] with a second vector of little-endian bytes at any alignment, as a memory map holds it.
pub fn dot_bytes(level: Level, a: &[f32], b: &[u8]) -> f32 {
    level.run(Dot { a, b: b.as_chunks().0, read: |b: &[u8; 4]| f32::from_le_bytes(*b) })
}

struct Dot<'a, T, F> {
    a: &'a [f32],
    b: &'a [T],
    read: F,
}

impl<T, F: Fn(&T) -> f32> WithSimd for Dot<'_, T, F> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f32 {
        let dim = self.a.len().min(self.b.len());
        let (a, a_rest) = self.a[..dim].as_chunks::<LANES>();
        let (b, b_rest) = self.b[..dim].as_chunks::<LANES>();
        let mut sums = [0.0; LANES];
        for (a, b) in a.iter().zip(b) {
            for l in 0..LANES {
                sums[l] += f64::from(a[l]) * f64::from((self.read)(&b[l]));
            }
        }
        for (l, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
            sums[l] += f64::from(*a) * f64::from((self.read)(b));
        }
        let mut width = LANES / 2;
        while width > 0 {
            for l in 0..width {
                sums[l] += sums[l + width];
            }
            width /= 2;
        }
        // Adding zero makes -0, which a small negative sum rounds to, zero.
        sums[0] as f32 + 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As documented.
    fn plain(a: &[f32], b: &[f32]) -> f32 {
        let lane = |l: usize| -> f64 {
            let at = |i: usize| f64::from(a[i]) * f64::from(b[i]);
            (l..a.len()).step_by(16).map(at).fold(0.0, |sum, product| sum + product)
        };
        let sixteen: Vec<f64> = (0..16).map(lane).collect();
        let eight: Vec<f64> = (0..8).map(|l| sixteen[l] + sixteen[l + 8]).collect();
        let four: Vec<f64> = (0..4).map(|l| eight[l] + eight[l + 4]).collect();
        ((four[0] + four[2]) + (four[1] + four[3])) as f32
    }

    #[test]
    fn every_level_gives_the_documented_sum() {
        for dim in [0, 1, 3, 15, 16, 17, 64, 257, 8448, 65_536] {
            for magnitude in [1.0, 1e-40, 1e30] {
                let value = |i: usize, seed: f32| (i as f32 * seed).sin() * magnitude;
                let a: Vec<f32> = (0..dim).map(|i| value(i, 0.37)).collect();
                let b: Vec<f32> = (0..dim).map(|i| value(i, 1.91)).collect();
                let mut bytes = vec![0; 1];
                bytes.extend(b.iter().flat_map(|b| b.to_le_bytes()));
                for level in Level::available() {
                    assert_eq!(dot(level, &a, &b), plain(&a, &b), "{level} {dim}");
                    assert_eq!(dot_bytes(level, &a, &bytes[1..]), plain(&a, &b), "{level} {dim}");
                }
            }
        }
    }

    #[test]
    fn limits() {
        for level in Level::available() {
            assert_eq!(dot(level, &[1e-30], &[-1e-30]).to_bits(), 0, "{level}: no negative zero");
            assert_eq!(dot(level, &[1e30], &[1e30]), f32::INFINITY);
            assert!(dot(level, &[f32::NAN], &[1.0]).is_nan());
            assert_eq!(dot(level, &[2.0, 1.0], &[3.0]), 6.0);
        }
    }
}
