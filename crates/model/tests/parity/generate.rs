//! Pseudo-random values, identical to those of `generate.py`.

use burn::tensor::{Device, Tensor, TensorData};
use r2former_model::weights::RawTensor;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::path::Path;

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

/// Weights of a transformer or a head by name, as `generate.py`'s `weight`.
pub(crate) fn weight(name: &str, shape: &[usize]) -> RawTensor {
    let bound = (3.0 / shape.iter().skip(1).product::<usize>() as f64).sqrt();
    let (low, high) = match (name.rsplit('.').next(), shape.len()) {
        (
            Some(
                "cls_token"
                | "pos_embed"
                | "position_embeddings"
                | "register_tokens"
                | "storage_tokens"
                | "mask_token"
                | "queries",
            ),
            _,
        ) => (-0.8, 0.8),
        (Some("gamma" | "lambda1"), _) => (0.3, 0.9),
        (Some("bias_mask"), _) => (0.0, 1.0),
        (Some("p"), _) => (2.5, 3.5),
        (Some("running_var"), _) => (0.7, 1.3),
        (Some("periods"), _) => (1.0, 40.0),
        (_, 2..) => (-bound, bound),
        (Some("weight"), _) => (0.7, 1.3),
        _ => (-0.2, 0.2),
    };
    RawTensor { shape: shape.to_vec(), data: uniform(name, shape.iter().product(), low, high) }
}

/// Writes a safetensors file of generated weights; `rename` changes the names in the file, not those
/// from which values are generated.
pub(crate) fn write(path: &Path, shapes: &[(String, Vec<usize>)], rename: impl Fn(&str) -> String) {
    let tensors: Vec<(String, RawTensor, Vec<u8>)> = shapes
        .iter()
        .map(|(name, shape)| {
            let tensor = weight(name, shape);
            let bytes = tensor.data.iter().flat_map(|v| v.to_le_bytes()).collect();
            (rename(name), tensor, bytes)
        })
        .collect();
    let views = tensors.iter().map(|(name, tensor, bytes)| {
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes);
        (name, view.expect("as many bytes as the shape says"))
    });
    safetensors::serialize_to_file(views, None, path).expect("writes");
}
