//! Pseudo-random values, identical to those of `generate.py`.

use burn::tensor::{Device, Tensor, TensorData};

/// `count` values in `low..high` that depend on the name alone: FNV-1a seeds SplitMix64.
pub(crate) fn uniform(name: &str, count: usize, low: f64, high: f64) -> Vec<f32> {
    let mut state = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (0..count)
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let unit = ((z ^ (z >> 31)) >> 40) as f64 / (1u64 << 24) as f64;
            (low + (high - low) * unit) as f32
        })
        .collect()
}

/// A normalised noise image, `[1, 3, height, width]`.
pub(crate) fn image([height, width]: [usize; 2]) -> Tensor<4> {
    let values = uniform(&format!("image {height}x{width}"), 3 * height * width, -2.0, 2.0);
    Tensor::from_data(TensorData::new(values, [1, 3, height, width]), &Device::flex())
}
