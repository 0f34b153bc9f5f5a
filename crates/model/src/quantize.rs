//! 8-bit local features: 131 bytes per feature instead of 524.
//!
//! x, y and attention are stored in steps of 1/255. Features are only compared by direction, so each is scaled by its
//! own largest magnitude, which need not be stored: byte = 128 + 127 v / max |v|.
//!
//! ```
//! use r2former_model::quantize::{dequantize, quantize};
//!
//! // x, y, attention and a feature of three dimensions.
//! let bytes = quantize(&[0.0, 0.5, 1.0, 2.0, -1.0, 0.0], 6);
//! assert_eq!(bytes, [0, 128, 255, 255, 64, 128]);
//! let row = dequantize(&bytes, 6);
//! assert_eq!(row[2..4], [1.0, 1.0]);
//! assert!((row[4] + 0.5).abs() < 0.01);
//! ```

/// Steps of x, y and attention.
const PLACE_STEPS: f32 = 255.0;
/// The byte of a zero in a feature.
const ZERO: f32 = 128.0;

/// Packs rows of `width` values (x, y, attention, feature), one byte per value.
///
/// x, y and attention are clamped to 0..1. Non-finite feature values and NaN become 0. An incomplete last row is
/// ignored.
pub fn quantize(rows: &[f32], width: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rows.len());
    for row in rows.chunks_exact(width.max(1)) {
        let (place, feature) = row.split_at(row.len().min(3));
        bytes.extend(place.iter().map(|v| (v.clamp(0.0, 1.0) * PLACE_STEPS).round() as u8));
        let finite = |v: &f32| if v.is_finite() { *v } else { 0.0 };
        let largest = feature.iter().map(finite).fold(0.0f32, |m, v| m.max(v.abs()));
        let scale = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        bytes
            .extend(feature.iter().map(finite).map(|v| (ZERO + (v * scale).round()).clamp(1.0, 255.0) as u8));
    }
    bytes
}

/// Unpacks rows from [`quantize`]; features are scaled to a largest magnitude of 1.
pub fn dequantize(bytes: &[u8], width: usize) -> Vec<f32> {
    let mut rows = Vec::with_capacity(bytes.len());
    for row in bytes.chunks_exact(width.max(1)) {
        let (place, feature) = row.split_at(row.len().min(3));
        rows.extend(place.iter().map(|v| f32::from(*v) / PLACE_STEPS));
        rows.extend(feature.iter().map(|v| (f32::from(*v) - ZERO) / 127.0));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn direction_and_place_survive(
            place in prop::array::uniform3(0.0f32..=1.0),
            feature in prop::collection::vec(-10.0f32..10.0, 128),
        ) {
            let row: Vec<f32> = place.iter().chain(&feature).copied().collect();
            let back = dequantize(&quantize(&row, 131), 131);
            for i in 0..3 {
                prop_assert!((row[i] - back[i]).abs() <= 0.5 / 255.0 + 1e-6);
            }
            let dot: f32 = row[3..].iter().zip(&back[3..]).map(|(a, b)| a * b).sum();
            let length = |v: &[f32]| v.iter().map(|a| a * a).sum::<f32>().sqrt();
            prop_assert!(dot / (length(&row[3..]) * length(&back[3..])) > 0.9995);
        }

        #[test]
        fn any_values_make_bytes(row in prop::collection::vec(any::<f32>(), 0..300), width in 0usize..140) {
            let bytes = quantize(&row, width);
            prop_assert_eq!(bytes.len(), row.len() / width.max(1) * width.max(1));
            prop_assert!(dequantize(&bytes, width).iter().all(|v| v.is_finite()));
        }
    }

    #[test]
    fn zero_feature_stays_zero() {
        let back = dequantize(&quantize(&[0.5, 0.5, 1.0, 0.0, 0.0], 5), 5);
        assert_eq!(&back[3..], &[0.0, 0.0]);
    }
}
