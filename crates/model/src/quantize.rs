//! Local features in 8 bits: 131 bytes a feature instead of 524.
//!
//! x, y and attention become steps of 1/255. A feature is only ever compared by its direction, so
//! each one is scaled to its own largest value and needs no stored scale: byte = 128 + 127 v / max.

/// Steps of the three values in front of a feature.
const PLACE_STEPS: f32 = 255.0;
/// Byte that means zero in a feature.
const ZERO: f32 = 128.0;

/// Packs rows of `width` values (x, y, attention, feature) into as many bytes.
///
/// x, y and attention are clamped to 0..1, values that are not finite count as 0.
///
/// # Panics
/// Never; a last incomplete row is left out.
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

/// The rows that [`quantize`] packed; features come back with largest value 1.
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
