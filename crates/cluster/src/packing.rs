//! Local features as the floats of a vector: three bytes in each.
//!
//! A float holds every integer below 2^24, so what comes back are the bytes that were sent, through any copy and any
//! encoding of numbers. gRPC carries a vector of 8-bit numbers as floats too, one in each: three times as much.

/// Bytes in a float.
const BYTES: usize = 3;

/// Floats of a row of `width` bytes.
pub(crate) fn floats(width: usize) -> usize {
    width.div_ceil(BYTES)
}

/// A row as floats.
pub(crate) fn pack(row: &[u8]) -> Vec<f32> {
    let number =
        |bytes: &[u8]| bytes.iter().fold(0_u32, |number, &byte| number << 8 | u32::from(byte)) as f32;
    row.chunks(BYTES).map(number).collect()
}

/// Appends the bytes of a row of `width`; says whether that is what the floats are.
pub(crate) fn unpack(floats: &[f32], width: usize, rows: &mut Vec<u8>) -> bool {
    if floats.len() != self::floats(width) {
        return false;
    }
    let mut left = width;
    for &float in floats {
        let number = float as u32;
        let bytes = left.min(BYTES);
        left -= bytes;
        if number as f32 != float || number >> (8 * bytes) != 0 {
            return false;
        }
        rows.extend_from_slice(&number.to_be_bytes()[4 - bytes..]);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_come_back(row in prop::collection::vec(any::<u8>(), 1..200)) {
            let packed = pack(&row);
            prop_assert_eq!(packed.len(), floats(row.len()));
            let mut bytes = Vec::new();
            prop_assert!(unpack(&packed, row.len(), &mut bytes));
            prop_assert_eq!(bytes, row);
        }
    }

    #[test]
    fn other_floats_are_no_bytes() {
        for (floats, width) in [
            (&[1.5][..], 3),
            (&[-1.0], 3),
            (&[f32::NAN], 3),
            (&[16_777_216.0], 3),
            (&[256.0], 1),
            (&[1.0, 1.0], 3),
            (&[], 1),
        ] {
            assert!(!unpack(floats, width, &mut Vec::new()), "{floats:?}");
        }
    }
}
