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

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

/// Values of a row before the feature: x, y and attention.
const PLACE: usize = 3;
/// Steps of x, y and attention.
const PLACE_STEPS: f32 = 255.0;
/// The byte of a zero in a feature.
const ZERO: f32 = 128.0;
/// Steps from a zero to a feature's largest magnitude.
const SCALE: f32 = 127.0;

/// Packs rows of `width` values (x, y, attention, feature), one byte per value.
///
/// x, y and attention are clamped to 0..1. Non-finite feature values and NaN become 0. An incomplete last row is
/// ignored.
pub fn quantize(rows: &[f32], width: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rows.len());
    for row in rows.chunks_exact(width.max(1)) {
        let (place, feature) = row.split_at(row.len().min(PLACE));
        bytes.extend(place.iter().map(|v| (v.clamp(0.0, 1.0) * PLACE_STEPS).round() as u8));
        let finite = |v: &f32| if v.is_finite() { *v } else { 0.0 };
        let largest = feature.iter().map(finite).fold(0.0f32, |m, v| m.max(v.abs()));
        let scale = if largest > 0.0 { SCALE / largest } else { 0.0 };
        bytes
            .extend(feature.iter().map(finite).map(|v| (ZERO + (v * scale).round()).clamp(1.0, 255.0) as u8));
    }
    bytes
}

/// Unpacks rows from [`quantize`]; features are scaled to a largest magnitude of 1.
pub fn dequantize(bytes: &[u8], width: usize) -> Vec<f32> {
    let mut rows = Vec::with_capacity(bytes.len());
    for row in bytes.chunks_exact(width.max(1)) {
        let (place, feature) = row.split_at(row.len().min(PLACE));
        rows.extend(place.iter().map(|v| f32::from(*v) / PLACE_STEPS));
        rows.extend(feature.iter().map(|v| (f32::from(*v) - ZERO) / SCALE));
    }
    rows
}

/// [`dequantize`] on a device: the bytes of `[images, features, width]` are transferred as they are, four in an integer, since
/// not every GPU has integers of 8 bits, and taken apart there.
///
/// ```
/// use r2former_model::Device;
/// use r2former_model::quantize::{dequantize, dequantize_on};
///
/// let bytes = [0, 128, 255, 255, 64, 128];
/// let rows = dequantize_on(&bytes, [1, 1, 6], &Device::flex());
/// assert_eq!(rows.into_data().try_to_vec::<f32>().unwrap(), dequantize(&bytes, 6));
/// ```
pub fn dequantize_on(bytes: &[u8], dims: [usize; 3], device: &Device) -> Tensor<3> {
    let mut words: Vec<i32> = Vec::with_capacity(bytes.len().div_ceil(4));
    for four in bytes.chunks(4) {
        let mut word = [0; 4];
        word[..four.len()].copy_from_slice(four);
        words.push(i32::from_le_bytes(word));
    }
    let count = words.len();
    let words = Tensor::<1, Int>::from_data(TensorData::new(words, [count]), (device, DType::I32));
    let byte = |i: i32| words.clone().bitwise_right_shift_scalar(8 * i).bitwise_and_scalar(255);
    let all = Tensor::<1, Int>::stack::<2>((0..4).map(byte).collect(), 1).reshape([4 * count]);
    let values = all.narrow(0, 0, bytes.len()).reshape(dims).float();
    let width = dims[2];
    if width <= PLACE {
        return values.div_scalar(PLACE_STEPS);
    }
    let place = values.clone().narrow(2, 0, PLACE).div_scalar(PLACE_STEPS);
    let feature = values.narrow(2, PLACE, width - PLACE).sub_scalar(ZERO).div_scalar(SCALE);
    Tensor::cat(vec![place, feature], 2)
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
    fn a_device_unpacks_as_the_host_does() {
        for [images, features, width] in
            [[1, 1, 1], [1, 1, 3], [3, 5, 7], [2, 9, 67], [4, 3, 131], [1, 256, 4]]
        {
            let count = images * features * width;
            let bytes: Vec<u8> = (0..count).map(|i| (i * 7919 % 256) as u8).collect();
            let rows = dequantize_on(&bytes, [images, features, width], &Device::flex());
            assert_eq!(rows.dims(), [images, features, width]);
            assert_eq!(rows.into_data().try_to_vec::<f32>().unwrap(), dequantize(&bytes, width));
        }
    }

    #[test]
    fn zero_feature_stays_zero() {
        let back = dequantize(&quantize(&[0.5, 0.5, 1.0, 0.0, 0.0], 5), 5);
        assert_eq!(&back[3..], &[0.0, 0.0]);
    }
}
