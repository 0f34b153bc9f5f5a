//! Local features stored in 8, 16 or 32 bits per value. An index stores 8; the others measure what that costs.

use crate::quantize::{dequantize, quantize};
use half::f16;
use serde::{Deserialize, Serialize};

/// Bits per value of a stored local feature; serialised as 8, 16 or 32.
///
/// ```
/// use r2former_model::Bits;
///
/// // x, y, attention and a feature of two dimensions.
/// let row = [0.25, 0.5, 1.0, 3.0, -4.0];
/// assert_eq!(Bits::Eight.pack(&row, 5).len(), 5);
/// let packed = Bits::Sixteen.pack(&row, 5);
/// assert_eq!(Bits::Sixteen.unpack(&packed, 5), row);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(try_from = "u8", into = "u8")]
pub enum Bits {
    /// The format of an index ([`quantize`]).
    #[default]
    Eight,
    /// IEEE half precision; values beyond 65504 are clamped.
    Sixteen,
    /// IEEE single precision, the output of the network.
    ThirtyTwo,
}

impl Bits {
    /// Bytes per value.
    pub fn bytes(self) -> usize {
        usize::from(u8::from(self)) / 8
    }

    /// Packs rows of `width` values (x, y, attention, feature). An incomplete last row is ignored.
    pub fn pack(self, rows: &[f32], width: usize) -> Vec<u8> {
        let whole = &rows[..rows.len() - rows.len() % width.max(1)];
        match self {
            Self::Eight => quantize(rows, width),
            Self::Sixteen => {
                let half = |v: &f32| f16::from_f32(v.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()));
                whole.iter().flat_map(|v| half(v).to_le_bytes()).collect()
            }
            Self::ThirtyTwo => whole.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }

    /// Unpacks rows of `width` values. 8-bit features are scaled to a largest magnitude of 1.
    pub fn unpack(self, bytes: &[u8], width: usize) -> Vec<f32> {
        match self {
            Self::Eight => dequantize(bytes, width),
            Self::Sixteen => {
                bytes.as_chunks::<2>().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect()
            }
            Self::ThirtyTwo => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        }
    }
}

impl From<Bits> for u8 {
    fn from(bits: Bits) -> Self {
        match bits {
            Bits::Eight => 8,
            Bits::Sixteen => 16,
            Bits::ThirtyTwo => 32,
        }
    }
}

impl TryFrom<u8> for Bits {
    type Error = String;
    fn try_from(bits: u8) -> Result<Self, String> {
        match bits {
            8 => Ok(Self::Eight),
            16 => Ok(Self::Sixteen),
            32 => Ok(Self::ThirtyTwo),
            other => Err(format!("{other} bits: local features are stored in 8, 16 or 32")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_round_trip_within_the_precision_of_the_bits() {
        // x, y, attention, and a feature of three whose largest is 2.
        let rows = [0.25, 0.5, 1.0, 2.0, -1.0, 0.3, 0.1, 0.2, 0.3, -0.7, 0.0, 0.7];
        for (bits, place, feature) in [
            (Bits::Eight, 0.5 / 255.0, 1.0 / 127.0),
            (Bits::Sixteen, 1e-3, 1e-3),
            (Bits::ThirtyTwo, 0.0, 0.0),
        ] {
            let packed = bits.pack(&rows, 6);
            assert_eq!(packed.len(), rows.len() * bits.bytes());
            let back = bits.unpack(&packed, 6);
            for (row, back) in rows.chunks(6).zip(back.chunks(6)) {
                // 8 bits keep only the direction of a feature.
                let scale =
                    if bits == Bits::Eight { row[3..].iter().fold(0f32, |m, v| m.max(v.abs())) } else { 1.0 };
                for i in 0..6 {
                    let (scale, allowed) = if i < 3 { (1.0, place) } else { (scale, feature) };
                    assert!(
                        (row[i] - scale * back[i]).abs() <= allowed * scale + 1e-6,
                        "{bits:?} {i}: {row:?} {back:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn incomplete_rows_and_huge_values() {
        for bits in [Bits::Eight, Bits::Sixteen, Bits::ThirtyTwo] {
            assert_eq!(bits.pack(&[1.0; 7], 3).len(), 6 * bits.bytes());
            assert!(bits.pack(&[], 0).is_empty());
        }
        let half = Bits::Sixteen.unpack(&Bits::Sixteen.pack(&[1e9, -1e9], 2), 2);
        assert_eq!(half, [65504.0, -65504.0]);
    }

    #[test]
    fn serialised_as_a_number() {
        assert_eq!(serde_json::to_string(&Bits::Sixteen).unwrap(), "16");
        assert_eq!(serde_json::from_str::<Bits>("32").unwrap(), Bits::ThirtyTwo);
        let error = serde_json::from_str::<Bits>("4").unwrap_err().to_string();
        assert!(error.contains("8, 16 or 32"), "{error}");
    }
}
