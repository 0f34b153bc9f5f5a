//! Vectors as bytes: what a scan reads instead of the f32 row, a quarter of its size.

use super::Line;

/// The code of zero.
pub(crate) const ZERO: u8 = 128;

/// The largest distance of a code from [`ZERO`].
const LARGEST: f64 = 127.0;

/// Bytes between rows of codes: `dim` rounded up to a multiple of 64. Padding bytes are the code of zero, 128.
pub fn stride(dim: usize) -> usize {
    dim.next_multiple_of(size_of::<Line>())
}

/// What a row's codes leave out, stored beside them: 8 bytes, two little-endian floats.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[repr(C)]
pub struct RowScale {
    /// The value of a step: a row x is near x^ = scale (code - 128).
    pub scale: f32,
    /// An upper bound of ||x - x^||, infinite for a row with a NaN or an infinite value.
    pub residual: f32,
}

/// Writes the codes of a vector of any norm, round(x / scale) + 128 in 1..=255, the largest magnitude 127 steps from zero.
///
/// A vector with a NaN or an infinite value is encoded as zero with an infinite residual: a scan always has it rescored.
///
/// # Panics
/// If `out` is not [`stride`] bytes long.
pub fn encode(x: &[f32], out: &mut [u8]) -> RowScale {
    assert_eq!(out.len(), stride(x.len()), "the codes of a vector of {} dimensions", x.len());
    out.fill(ZERO);
    if !x.iter().all(|x| x.is_finite()) {
        return RowScale { scale: 0.0, residual: f32::INFINITY };
    }
    let largest = x.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    let scale = largest / LARGEST as f32;
    let mut squares = 0.0;
    for (x, out) in x.iter().zip(out) {
        let x = f64::from(*x);
        let code = code(x, f64::from(scale));
        // At most 127 from zero: no wrapping.
        *out = (code as i32 + i32::from(ZERO)) as u8;
        let left = x - f64::from(scale) * code;
        squares += left * left;
    }
    RowScale { scale, residual: round_up(above(squares.sqrt(), x.len())) }
}

/// x in steps of `scale`, to the nearest integer within 127 of zero.
pub(crate) fn code(x: f64, scale: f64) -> f64 {
    // Adding 1.5 * 2^52 leaves no bits for a fraction. `round_ties_even` is a function call on baseline x86-64.
    const INTEGERS: f64 = 6_755_399_441_055_744.0;
    if scale > 0.0 { ((x / scale).clamp(-LARGEST, LARGEST) + INTEGERS) - INTEGERS } else { 0.0 }
}

/// The relative rounding error, with room to spare, of an f64 sum of `dim` terms (in a row or in lanes) and of a few
/// more operations: 2 (dim + 16) units of 2^-53.
pub(crate) fn rounding(dim: usize) -> f64 {
    (dim as f64 + 16.0) * f64::EPSILON
}

/// An upper bound of a norm whose computation had `dim` terms.
pub(crate) fn above(norm: f64, dim: usize) -> f64 {
    norm * (1.0 + rounding(dim))
}

/// The least f32 that is not below `value`.
fn round_up(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) < value { near.next_up() } else { near }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_near_and_their_residual_is_a_bound() {
        for dim in [0, 1, 3, 63, 64, 65, 1000] {
            for magnitude in [1.0f32, 1e-45, 1e-43, 1e-38, 3e38, 0.0] {
                let x: Vec<f32> = (0..dim).map(|i| (i as f32 * 0.7).sin() * magnitude).collect();
                let mut codes = vec![7; stride(dim)];
                let row = encode(&x, &mut codes);
                let left = |(x, code): (&f32, &u8)| {
                    f64::from(*x) - f64::from(row.scale) * (f64::from(*code) - f64::from(ZERO))
                };
                let norm = x.iter().zip(&codes).map(left).map(|left| left * left).sum::<f64>().sqrt();
                assert!(norm <= f64::from(row.residual), "{dim} {magnitude} {norm} {row:?}");
                assert!(f64::from(row.residual) <= norm * 1.000_001 + 2e-45, "{norm} {row:?}");
                assert!(codes.iter().all(|code| *code > 0));
                assert!(codes[dim..].iter().all(|code| *code == ZERO));
                if magnitude >= 1e-38 {
                    let half = f64::from(row.scale) * 0.5001;
                    assert!(x.iter().zip(&codes).map(left).all(|left| left.abs() <= half));
                }
            }
        }
    }

    #[test]
    fn non_finite_vectors_have_an_infinite_residual() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut codes = [0; 64];
            assert_eq!(encode(&[1.0, value], &mut codes), RowScale { scale: 0.0, residual: f32::INFINITY });
            assert_eq!(codes, [ZERO; 64]);
        }
    }

    #[test]
    fn the_layout_is_two_floats() {
        assert_eq!((size_of::<RowScale>(), align_of::<RowScale>()), (8, 4));
        assert_eq!([0, 1, 64, 65].map(stride), [0, 64, 64, 128]);
    }
}
