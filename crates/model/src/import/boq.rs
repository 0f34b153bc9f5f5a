//! BoQ's attention among its own queries, which no image changes, computed once.

use crate::aggregate::EPSILON;
use crate::weights::{RawTensor, Tensors};
use crate::{BoqConfig, ModelError, Result};

/// Dimensions of a head in the published models.
const HEAD: usize = 64;

/// Derives the sizes from the shapes of the tensors, and replaces each block's queries, the attention among them and the
/// query projection of its cross attention by the projected queries.
pub(super) fn fold(tensors: &mut Tensors) -> Result<BoqConfig> {
    let shape = |name: &str, rank: usize| match tensors.get(name) {
        Some(t) if t.shape.len() == rank => Ok(t.shape.clone()),
        Some(t) => Err(problem(name, &format!("has shape {:?}, expected {rank} dimensions", t.shape))),
        None => Err(problem(name, "is missing")),
    };
    let width = shape("aggregator.proj_c.weight", 4)?[0];
    let queries = shape("aggregator.boqs.0.queries", 3)?[1];
    let rows = shape("aggregator.fc.weight", 2)?[0];
    let layers = super::names::depth(tensors, "aggregator.boqs.");
    let config = BoqConfig { width, heads: (width / HEAD).max(1), layers, queries, rows };
    if width == 0 || width % config.heads != 0 {
        return Err(problem(
            "aggregator.proj_c.weight",
            &format!("has {width} channels, not a multiple of {HEAD}"),
        ));
    }
    for block in 0..layers {
        let name = format!("aggregator.boqs.{block}");
        let mut take = |part: &str, shape: &[usize]| take(tensors, &format!("{name}.{part}"), shape);
        let initial = take("queries", &[1, queries, width])?;
        let own = Attention {
            weight: take("self_attn.in_proj_weight", &[3 * width, width])?,
            bias: take("self_attn.in_proj_bias", &[3 * width])?,
            out_weight: take("self_attn.out_proj.weight", &[width, width])?,
            out_bias: take("self_attn.out_proj.bias", &[width])?,
        };
        let norm = [take("norm_q.weight", &[width])?, take("norm_q.bias", &[width])?];
        let mut weight = take("cross_attn.in_proj_weight", &[3 * width, width])?;
        let mut bias = take("cross_attn.in_proj_bias", &[3 * width])?;
        let mut x: Vec<f64> = initial.iter().map(|v| f64::from(*v)).collect();
        for (x, attended) in x.iter_mut().zip(own.forward(&initial, width, config.heads)) {
            *x += attended;
        }
        x.chunks_exact_mut(width).for_each(|row| layer_norm(row, &norm));
        let kv = (weight.split_off(width * width), bias.split_off(width));
        let query = linear(&x, &weight, &bias, width);
        let mut put = |part: &str, shape: &[usize], data: Vec<f32>| {
            tensors.insert(format!("{name}.{part}"), RawTensor { shape: shape.to_vec(), data });
        };
        put("query", &[1, queries, width], query.iter().map(|v| *v as f32).collect());
        put("cross_attn.kv.weight", &[2 * width, width], kv.0);
        put("cross_attn.kv.bias", &[2 * width], kv.1);
        // PyTorch writes the two projections of an attention in different ways; here they are written in one.
        for part in ["weight", "bias"] {
            let from = format!("{name}.encoder.self_attn.in_proj_{part}");
            if let Some(tensor) = tensors.remove(&from) {
                tensors.insert(format!("{name}.encoder.self_attn.in_proj.{part}"), tensor);
            }
        }
    }
    Ok(config)
}

fn problem(name: &str, what: &str) -> ModelError {
    ModelError::Config(format!("{name} {what}"))
}

pub(super) fn take(tensors: &mut Tensors, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    match tensors.remove(name) {
        Some(tensor) if tensor.shape == shape => Ok(tensor.data),
        Some(tensor) => {
            Err(problem(name, &format!("has shape {:?}, but the architecture needs {shape:?}", tensor.shape)))
        }
        None => Err(problem(name, &format!("is missing (shape {shape:?})"))),
    }
}

/// Self-attention over a few tokens, in f64.
struct Attention {
    weight: Vec<f32>,
    bias: Vec<f32>,
    out_weight: Vec<f32>,
    out_bias: Vec<f32>,
}

impl Attention {
    /// `[tokens, width]` to the same.
    fn forward(&self, tokens: &[f32], width: usize, heads: usize) -> Vec<f64> {
        let x: Vec<f64> = tokens.iter().map(|v| f64::from(*v)).collect();
        let part = |i: usize| {
            let (weight, bias) =
                (&self.weight[i * width * width..][..width * width], &self.bias[i * width..]);
            linear(&x, weight, &bias[..width], width)
        };
        let (q, k, v) = (part(0), part(1), part(2));
        let size = width / heads;
        let mut context = vec![0.0; x.len()];
        for (q, context) in q.chunks_exact(width).zip(context.chunks_exact_mut(width)) {
            for head in 0..heads {
                let range = head * size..(head + 1) * size;
                let dot = |k: &[f64]| -> f64 {
                    q[range.clone()].iter().zip(&k[range.clone()]).map(|(a, b)| a * b).sum()
                };
                let scores: Vec<f64> = k.chunks_exact(width).map(|k| dot(k) / (size as f64).sqrt()).collect();
                let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
                let sum: f64 = weights.iter().sum();
                for (weight, v) in weights.iter().zip(v.chunks_exact(width)) {
                    for (out, value) in context[range.clone()].iter_mut().zip(&v[range.clone()]) {
                        *out += weight / sum * value;
                    }
                }
            }
        }
        linear(&context, &self.out_weight, &self.out_bias, width)
    }
}

/// `x W^T + b` for rows of `width`.
fn linear(x: &[f64], weight: &[f32], bias: &[f32], width: usize) -> Vec<f64> {
    let row = |x: &[f64]| -> Vec<f64> {
        let outputs = weight.chunks_exact(width).zip(bias);
        let dot = |w: &[f32]| -> f64 { w.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum() };
        outputs.map(|(w, b)| dot(w) + f64::from(*b)).collect()
    };
    x.chunks_exact(width).flat_map(row).collect()
}

fn layer_norm(row: &mut [f64], [weight, bias]: &[Vec<f32>; 2]) {
    let count = row.len() as f64;
    let mean = row.iter().sum::<f64>() / count;
    let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
    let scale = (variance + EPSILON).sqrt();
    for ((value, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
        *value = (*value - mean) / scale * f64::from(*weight) + f64::from(*bias);
    }
}
