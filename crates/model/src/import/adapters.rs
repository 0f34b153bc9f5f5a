//! CricaVPR, SelaVPR and SelaVPR++: adapters in a frozen DINOv2, with their batch norms folded, and the heads after it.

use super::aggregated::Published;
use super::{boq, names};
use crate::layers::CONVOLUTIONS;
use crate::weights::{RawTensor, Tensors};
use crate::{AdapterConfig, CricaConfig, GemConfig, GlobalConfig, ModelError, Result, VitConfig};

/// Epsilon of the batch norms.
const EPSILON: f64 = 1e-3;

/// Which of the models the names, without a wrapper's prefix, are of.
pub(super) fn recognise<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<Published> {
    let any = |part: &str| names.clone().any(|name| name.contains(part));
    if any("backbone.adapters.") || any("backbone.adapters_hashing.") {
        Some(Published::SelaVprPlus)
    } else if any(".adapter1.D_fc") || any(".adapter2.D_fc") || any("LocalAdapt.") {
        Some(Published::SelaVpr)
    } else if any(".adapter.D_fc") || any(".adapter.branch") {
        Some(Published::CricaVpr)
    } else {
        None
    }
}

/// Whether a tensor belongs to a part that is not computed here: local features, binary descriptors.
pub(super) fn is_unused(published: Published, name: &str) -> bool {
    let unused: &[&str] = match published {
        Published::SelaVpr => &["LocalAdapt."],
        Published::SelaVprPlus => {
            &["backbone.adapters_hashing.", "aggregation_hashing.", "linear3.", "linear4."]
        }
        _ => &[],
    };
    unused.iter().any(|stem| name.starts_with(stem))
}

/// The adapters and the head of these tensors; `None` for another model. Changes the tensors to those of this program.
///
/// # Errors
/// [`ModelError::Config`] naming a tensor that is missing or has another shape.
pub(super) fn parts(
    published: Published,
    tensors: &mut Tensors,
    vit: &VitConfig,
) -> Result<Option<(AdapterConfig, GlobalConfig)>> {
    let rows = |tensors: &Tensors, name: &str| {
        names::rows(tensors, name).ok_or_else(|| ModelError::Config(format!("{name} is missing")))
    };
    let width = |tensors: &Tensors, adapter: &str| rows(tensors, &format!("backbone.{adapter}.D_fc1.weight"));
    Ok(Some(match published {
        Published::CricaVpr => {
            let width = width(tensors, "blocks.0.adapter")?;
            for block in 0..vit.depth {
                fold_norms(tensors, &format!("backbone.blocks.{block}.adapter"))?;
            }
            let layers = names::depth(tensors, "aggregator.layers.");
            let hidden = rows(tensors, "aggregator.layers.0.linear1.weight")?;
            for layer in 0..layers {
                fold_attention(tensors, &format!("aggregator.layers.{layer}"), vit.dim)?;
            }
            (AdapterConfig::Parallel { width }, GlobalConfig::Crica(CricaConfig { layers, hidden }))
        }
        Published::SelaVpr => {
            let width = width(tensors, "blocks.0.adapter1")?;
            (AdapterConfig::Linear { width }, GlobalConfig::Gem(GemConfig { projected: false, dim: None }))
        }
        Published::SelaVprPlus => {
            let has = |stem: &str| tensors.keys().any(|name| name.starts_with(stem));
            if !has("backbone.adapters.") {
                return Err(ModelError::Config(
                    "is a SelaVPR++ checkpoint of binary descriptors alone, which is not supported: those of the published \
                     models with float descriptors are"
                        .into(),
                ));
            }
            if !has("aggregator.") {
                return Err(ModelError::Config(
                    "is a SelaVPR++ checkpoint with another aggregation than GeM, which is not supported"
                        .into(),
                ));
            }
            let width = width(tensors, "adapters.0")?;
            let count = names::depth(tensors, "backbone.adapters.");
            for adapter in 0..count {
                fold_norms(tensors, &format!("backbone.adapters.{adapter}"))?;
            }
            let dim = rows(tensors, "aggregator.head.weight")?;
            let gem = GemConfig { projected: true, dim: Some(dim) };
            (AdapterConfig::Side { width, count }, GlobalConfig::Gem(gem))
        }
        _ => return Ok(None),
    }))
}

/// What to know about such a model.
pub(super) fn note(published: Published) -> Option<String> {
    Some(match published {
        Published::CricaVpr => "the published encoder mixes the images of a batch, so that a descriptor depends on which \
             others are in it; here an image is its own batch, as with the published code at batch size 1"
            .into(),
        Published::SelaVpr => "its local features are not used, so nothing is reranked".into(),
        Published::SelaVprPlus => {
            "its binary descriptors, where the file has any, are not used: all images are ranked by the float ones".into()
        }
        _ => return None,
    })
}

/// Multiplies the batch norms of an adapter's convolutions into them.
fn fold_norms(tensors: &mut Tensors, adapter: &str) -> Result<()> {
    for (part, ..) in CONVOLUTIONS {
        let stem = format!("{adapter}.{part}");
        let kernel = format!("{stem}.conv.weight");
        let shape = match tensors.get(&kernel) {
            Some(tensor) if tensor.shape.len() == 4 => tensor.shape.clone(),
            Some(tensor) => {
                return Err(ModelError::Config(format!(
                    "{kernel} has shape {:?}, expected 4 dimensions",
                    tensor.shape
                )));
            }
            None => return Err(ModelError::Config(format!("{kernel} is missing"))),
        };
        let d_out = shape[0];
        let mut take = |name: &str| boq::take(tensors, &format!("{stem}.{name}"), &[d_out]);
        let (gamma, beta) = (take("bn.weight")?, take("bn.bias")?);
        let (mean, variance) = (take("bn.running_mean")?, take("bn.running_var")?);
        let mut bias = take("conv.bias")?;
        let scales: Vec<f64> = gamma
            .iter()
            .zip(&variance)
            .map(|(gamma, variance)| f64::from(*gamma) / (f64::from(*variance) + EPSILON).sqrt())
            .collect();
        for (i, bias) in bias.iter_mut().enumerate() {
            *bias = ((f64::from(*bias) - f64::from(mean[i])) * scales[i] + f64::from(beta[i])) as f32;
        }
        if let Some(tensor) = tensors.get_mut(&kernel) {
            let each = (tensor.data.len() / d_out.max(1)).max(1);
            for (row, scale) in tensor.data.chunks_exact_mut(each).zip(&scales) {
                row.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
            }
        }
        tensors.insert(format!("{stem}.conv.bias"), RawTensor { shape: vec![d_out], data: bias });
    }
    Ok(())
}

/// Replaces an attention to oneself alone by the product of its values' and its output's layers.
fn fold_attention(tensors: &mut Tensors, layer: &str, dim: usize) -> Result<()> {
    let mut take =
        |name: &str, shape: &[usize]| boq::take(tensors, &format!("{layer}.self_attn.{name}"), shape);
    let weight = take("in_proj_weight", &[3 * dim, dim])?;
    let bias = take("in_proj_bias", &[3 * dim])?;
    let out = take("out_proj.weight", &[dim, dim])?;
    let out_bias = take("out_proj.bias", &[dim])?;
    let (values, value_bias) = (&weight[2 * dim * dim..], &bias[2 * dim..]);
    let mut product = Vec::with_capacity(dim * dim);
    let mut sums = Vec::with_capacity(dim);
    for (row, out_bias) in out.chunks_exact(dim).zip(&out_bias) {
        let mut sum = vec![0.0f64; dim];
        let mut constant = f64::from(*out_bias);
        for ((factor, values), bias) in row.iter().zip(values.chunks_exact(dim)).zip(value_bias) {
            let factor = f64::from(*factor);
            constant += factor * f64::from(*bias);
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += factor * f64::from(*value));
        }
        product.extend(sum.into_iter().map(|value| value as f32));
        sums.push(constant as f32);
    }
    tensors.insert(format!("{layer}.attend.weight"), RawTensor { shape: vec![dim, dim], data: product });
    tensors.insert(format!("{layer}.attend.bias"), RawTensor { shape: vec![dim], data: sums });
    Ok(())
}
