//! Local features in 8, 16 or 32 bits a number: an index stores 8; the others tell what that loses.

use crate::quantize::{dequantize, quantize};
use half::f16;
use serde::{Deserialize, Serialize};

/// Bits of each number of a stored local feature; written 8, 16 or 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(try_from = "u8", into = "u8")]
pub enum Bits {
    /// As an index stores them ([`quantize`]).
    #[default]
    Eight,
    /// IEEE half precision; beyond 65504 in size, the largest that there is.
    Sixteen,
    /// As the network gives them.
    ThirtyTwo,
}

impl Bits {
    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        usize::from(u8::from(self)) / 8
    }

    /// Packs rows of `width` numbers; a last incomplete row is left out.
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

    /// The rows that [`Bits::pack`] packed. Features in 8 bits come back with largest value 1.
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
    fn rows_come_back_as_exactly_as_the_bits_allow() {
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
                // Only a feature's direction is kept in 8 bits.
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
    fn odd_lengths_and_numbers_are_no_trouble() {
        for bits in [Bits::Eight, Bits::Sixteen, Bits::ThirtyTwo] {
            assert_eq!(bits.pack(&[1.0; 7], 3).len(), 6 * bits.bytes());
            assert!(bits.pack(&[], 0).is_empty());
        }
        let half = Bits::Sixteen.unpack(&Bits::Sixteen.pack(&[1e9, -1e9], 2), 2);
        assert_eq!(half, [65504.0, -65504.0]);
    }

    #[test]
    fn written_as_a_number() {
        assert_eq!(serde_json::to_string(&Bits::Sixteen).unwrap(), "16");
        assert_eq!(serde_json::from_str::<Bits>("32").unwrap(), Bits::ThirtyTwo);
        let error = serde_json::from_str::<Bits>("4").unwrap_err().to_string();
        assert!(error.contains("8, 16 or 32"), "{error}");
    }
}
