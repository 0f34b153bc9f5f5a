//! DINOv3's own names, as those of DINOv2: keys without bias, gated MLPs in two matrices, periods of the positions.

use super::names;
use crate::weights::{RawTensor, Tensors};
use crate::{ModelError, Result};

/// Where the published files hold the periods.
const PERIODS: &str = "rope_embed.periods";

/// Whether the tensors are a DINOv3 model's. One of the parts that others lack suffices, so that errors name the rest.
pub(super) fn recognise(tensors: &Tensors) -> bool {
    tensors.keys().any(|name| {
        matches!(name.as_str(), PERIODS | "storage_tokens")
            || (name.starts_with("blocks.") && name.ends_with(".attn.qkv.bias_mask"))
    })
}

/// Multiplies biases by their masks, joins the halves of gated MLPs, and takes out the periods.
///
/// # Errors
/// [`ModelError::Config`] naming a tensor that is missing or has another shape.
pub(super) fn fold(tensors: &mut Tensors) -> Result<Vec<f32>> {
    let periods = match tensors.remove(PERIODS) {
        Some(RawTensor { shape, data }) if shape.len() == 1 && !data.is_empty() => data,
        Some(tensor) => {
            return Err(problem(PERIODS, &format!("has shape {:?}, expected a vector", tensor.shape)));
        }
        None => return Err(problem(PERIODS, "is missing")),
    };
    if periods.iter().any(|period| !period.is_finite() || *period <= 0.0) {
        return Err(problem(PERIODS, "must be positive and finite"));
    }
    if let Some(tokens) = tensors.remove("storage_tokens") {
        tensors.insert("register_tokens".into(), tokens);
    }
    for block in 0..names::depth(tensors, "blocks.") {
        mask_bias(tensors, &format!("blocks.{block}.attn.qkv"))?;
        for part in ["weight", "bias"] {
            join(tensors, &format!("blocks.{block}.mlp"), part)?;
        }
    }
    Ok(periods)
}

/// The bias times its mask, which is zero for keys.
fn mask_bias(tensors: &mut Tensors, name: &str) -> Result<()> {
    let (bias, mask) = (format!("{name}.bias"), format!("{name}.bias_mask"));
    // A missing bias is found with the other tensors.
    let Some(RawTensor { shape, data }) = tensors.get(&bias) else { return Ok(()) };
    let found = tensors.get(&mask).ok_or_else(|| problem(&mask, "is missing"))?;
    if found.shape != *shape {
        return Err(problem(&mask, &format!("has shape {:?}, expected {shape:?}", found.shape)));
    }
    // PyTorch fills a mask that was never loaded with NaN.
    if found.data.iter().any(|value| !value.is_finite()) {
        return Err(problem(&mask, "holds values that are not finite"));
    }
    let masked = data.iter().zip(&found.data).map(|(bias, mask)| bias * mask).collect();
    let masked = RawTensor { shape: shape.clone(), data: masked };
    tensors.remove(&mask);
    tensors.insert(bias, masked);
    Ok(())
}

/// `w1` and `w2` of a gated MLP, of weights or of biases, as `w12`.
pub(super) fn join(tensors: &mut Tensors, name: &str, kind: &str) -> Result<()> {
    let half = |i: usize| format!("{name}.w{}.{kind}", i + 1);
    let parts = [0, 1].map(|i| tensors.remove(&half(i)));
    if parts.iter().any(Option::is_some) {
        let joined = names::stacked(parts, half)?;
        tensors.insert(format!("{name}.w12.{kind}"), joined);
    }
    Ok(())
}

fn problem(name: &str, what: &str) -> ModelError {
    ModelError::Config(format!("{name} {what}"))
}
