//! The weighted mean of two models' weights (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022, WiSE-FT).

use crate::weights::{RawTensor, Tensors};
use crate::{Checkpoint, ModelConfig, ModelError, RerankerConfig, Result};
use serde_json::json;

/// Two models averaged by [`average`].
#[derive(Debug, Clone)]
pub struct Averaged {
    /// The first model's configuration; its provenance names both models.
    pub config: ModelConfig,
    /// The weights: those of the first model by name.
    pub tensors: Tensors,
    /// Number of tensors that were averaged; the others are the first model's.
    pub averaged: usize,
    /// Tensors to average that only the first model has: they are its own.
    pub only_first: Vec<String>,
    /// Tensors to average that only the second model has: they were ignored.
    pub only_second: Vec<String>,
    /// Parts that are trained in one model alone, so that the mean is one with random weights.
    pub notes: Vec<String>,
}

/// `(1 - weight) * first + weight * second` for every tensor whose name starts with one of `only`, or for all if there is
/// none; the other tensors, and the configuration, are the first model's. Tensors that both have equal stay as they are.
///
/// # Errors
/// - [`ModelError::Input`]: `weight` is not within 0 to 1, or no tensor's name starts with one of the prefixes.
/// - [`ModelError::Shapes`]: a tensor that has another shape in the other model.
/// - [`ModelError::Config`]: the same shapes, but another architecture, such as another number of attention heads.
pub fn average(first: &Checkpoint, second: &Checkpoint, weight: f64, only: &[String]) -> Result<Averaged> {
    if !(0.0..=1.0).contains(&weight) {
        return Err(ModelError::Input(format!("weight {weight} is not within 0 to 1")));
    }
    let chosen = |name: &str| only.is_empty() || only.iter().any(|prefix| name.starts_with(prefix.as_str()));
    for prefix in only {
        if !first.tensors.keys().any(|name| name.starts_with(prefix.as_str())) {
            let parts = parts(first.tensors.keys()).join(", ");
            let problem =
                format!("no tensor of the first model starts with '{prefix}'; its parts are {parts}");
            return Err(ModelError::Input(problem));
        }
    }
    let mut tensors = first.tensors.clone();
    let mut only_first = Vec::new();
    let mut averaged = Vec::new();
    for (name, tensor) in tensors.iter_mut().filter(|(name, _)| chosen(name)) {
        let Some(other) = second.tensors.get(name) else {
            only_first.push(name.clone());
            continue;
        };
        if other.shape != tensor.shape {
            let (tensor, other) = (tensor.shape.clone(), other.shape.clone());
            return Err(ModelError::Shapes { name: name.clone(), first: tensor, second: other });
        }
        mix(tensor, other, weight);
        averaged.push(name);
    }
    let parts = parts(averaged.iter().copied());
    same_architecture(&first.config, &second.config, &parts)?;
    let notes = untrained(&first.config, &second.config, &parts);
    let averaged = averaged.len();
    let extra = second.tensors.keys().filter(|name| chosen(name) && !first.tensors.contains_key(*name));
    let only_second = extra.cloned().collect();
    let mut config = first.config.clone();
    let origin = |of: &Checkpoint| json!({ "name": of.config.name, "fingerprint": of.fingerprint, "provenance": of.config.provenance });
    // Measured on other weights.
    config.forget_measured();
    config.provenance = json!({
        "averaged": { "weight": weight, "only": only, "first": origin(first), "second": origin(second) },
    });
    Ok(Averaged { config, tensors, averaged, only_first, only_second, notes })
}

/// In double precision: a mean of two equal values is that value.
fn mix(tensor: &mut RawTensor, other: &RawTensor, weight: f64) {
    for (value, other) in tensor.data.iter_mut().zip(&other.data) {
        *value = ((1.0 - weight) * f64::from(*value) + weight * f64::from(*other)) as f32;
    }
}

/// The first words of the names, each once.
fn parts<'a>(names: impl IntoIterator<Item = &'a String>) -> Vec<&'a str> {
    let mut parts: Vec<&str> = names.into_iter().map(|name| name.split('.').next().unwrap_or(name)).collect();
    parts.dedup();
    parts
}

/// What the shapes do not show: the parts that are averaged compute the same in both models.
fn same_architecture(first: &ModelConfig, second: &ModelConfig, parts: &[&str]) -> Result<()> {
    let tokens = |config: &ModelConfig| config.local.as_ref().map(|local| (local.layer, local.facet));
    // Neighbours are a choice made at every query; inliers and cascade are none of the network's.
    let reranker = |config: &ModelConfig| {
        let network = |own: &RerankerConfig| RerankerConfig {
            neighbours: 1,
            inliers: None,
            cascade: None,
            ..own.clone()
        };
        config.reranker.as_ref().map(network)
    };
    let normalisation = |config: &ModelConfig| (config.input.mean, config.input.std);
    let global = ["head", "head_dist", "gem", "aggregator"];
    let differs = [
        ("backbone", "backbone", first.backbone != second.backbone),
        ("backbone", "input.mean, input.std", normalisation(first) != normalisation(second)),
        ("local_head", "local.layer, local.facet", tokens(first) != tokens(second)),
        ("reranker", "reranker", reranker(first) != reranker(second)),
    ];
    let mut keys: Vec<&str> = differs
        .iter()
        .filter(|(part, _, differs)| *differs && parts.contains(part))
        .map(|(_, key, _)| *key)
        .collect();
    if first.global != second.global && parts.iter().any(|part| global.contains(part)) {
        keys.push("global");
    }
    if keys.is_empty() {
        return Ok(());
    }
    Err(ModelError::Config(format!(
        "the models differ in {}: only models of the same architecture can be averaged",
        keys.join(", ")
    )))
}

/// Notes on parts that only one of the models was trained in.
fn untrained(first: &ModelConfig, second: &ModelConfig, parts: &[&str]) -> Vec<String> {
    let (a, b) = (first.trained, second.trained);
    let all = [
        ("head", "global head", a.global, b.global),
        ("local_head", "local head", a.local, b.local),
        ("reranker", "reranker", a.reranker, b.reranker),
    ];
    let apart = all.into_iter().filter(|(part, _, a, b)| a != b && parts.contains(part));
    apart
        .map(|(part, what, trained, _)| {
            let which = if trained { "second" } else { "first" };
            format!("the {what} of the {which} model is not trained, so that its mean is meaningless: leave {part} out")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Storage, parse, serialize};
    use crate::{BackboneConfig, Device, R2Former};
    use std::path::Path;

    fn model(seed: u64, change: impl FnOnce(&mut ModelConfig)) -> Checkpoint {
        let mut config = ModelConfig::preset("vit-tiny").unwrap();
        (config.input.height, config.input.width) = (32, 64);
        if let BackboneConfig::Vit(vit) = &mut config.backbone {
            (vit.depth, vit.grid) = (2, [2, 4]);
        }
        config.name = format!("seed {seed}");
        change(&mut config);
        let tensors = R2Former::random(&config, seed, &Device::flex()).unwrap().to_tensors().unwrap();
        let name = Path::new("test");
        parse(&serialize(name, &config, &tensors, Storage::F32).unwrap(), name).unwrap()
    }

    fn grid(of: [usize; 2]) -> impl FnOnce(&mut ModelConfig) {
        move |config| {
            if let BackboneConfig::Vit(vit) = &mut config.backbone {
                vit.grid = of;
            }
        }
    }

    #[test]
    fn every_value_is_interpolated() {
        let (a, b) = (model(1, |_| ()), model(2, |_| ()));
        let found = average(&a, &b, 0.25, &[]).unwrap();
        assert_eq!(
            (found.averaged, found.only_first.len(), found.only_second.len()),
            (a.tensors.len(), 0, 0)
        );
        for (name, tensor) in &found.tensors {
            let (a, b) = (&a.tensors[name], &b.tensors[name]);
            assert_eq!(tensor.shape, a.shape);
            for ((value, a), b) in tensor.data.iter().zip(&a.data).zip(&b.data) {
                assert!((value - (0.75 * a + 0.25 * b)).abs() <= 1e-6 * (a.abs() + b.abs()), "{name}");
            }
        }
        assert_eq!(average(&a, &b, 0.0, &[]).unwrap().tensors, a.tensors);
        assert_eq!(average(&a, &b, 1.0, &[]).unwrap().tensors, b.tensors);
        assert_eq!(average(&a, &a, 0.3, &[]).unwrap().tensors, a.tensors, "equal values stay");
        let origin = &found.config.provenance["averaged"];
        assert_eq!((&origin["weight"], &origin["second"]["name"]), (&json!(0.25), &json!("seed 2")));
        assert_eq!(origin["first"]["fingerprint"], json!(a.fingerprint));
        R2Former::from_tensors(&found.config, found.tensors, &Device::flex()).unwrap();
    }

    #[test]
    fn prefixes_choose_the_tensors() {
        let (a, b) = (model(1, |_| ()), model(2, |_| ()));
        let found = average(&a, &b, 0.5, &["backbone".into()]).unwrap();
        for (name, tensor) in &found.tensors {
            let changed = *tensor != a.tensors[name];
            let differs = a.tensors[name] != b.tensors[name];
            assert_eq!(changed, differs && name.starts_with("backbone"), "{name}");
        }
        let error = average(&a, &b, 0.5, &["bones".into()]).unwrap_err().to_string();
        assert!(error.contains("'bones'") && error.contains("reranker"), "{error}");
    }

    #[test]
    fn tensors_of_one_model_are_listed() {
        let global = |config: &mut ModelConfig| (config.local, config.reranker) = (None, None);
        let (whole, global) = (model(1, |_| ()), model(2, global));
        let found = average(&whole, &global, 0.5, &[]).unwrap();
        assert!(!found.only_first.is_empty() && found.only_second.is_empty());
        for name in &found.only_first {
            assert!(name.starts_with("reranker") || name.starts_with("local_head"), "{name}");
            assert_eq!(found.tensors[name], whole.tensors[name]);
        }
        let found = average(&global, &whole, 0.5, &[]).unwrap();
        assert!(found.only_first.is_empty() && !found.only_second.is_empty());
        assert!(found.tensors.keys().eq(global.tensors.keys()) && found.config.reranker.is_none());
    }

    #[test]
    fn other_shapes_and_architectures_are_named() {
        let (a, b) = (model(1, |_| ()), model(2, grid([3, 4])));
        let error = average(&a, &b, 0.5, &[]).unwrap_err();
        let ModelError::Shapes { name, first, second } = &error else { panic!("{error}") };
        // CLS and one token per cell.
        assert_eq!((first[1], second[1]), (9, 13));
        assert!(name.contains("pos_embed") && error.to_string().contains("13"), "{error}");
        // What differs is not averaged.
        average(&a, &b, 0.5, &["reranker".into()]).unwrap();

        let heads = model(2, |config| {
            if let BackboneConfig::Vit(vit) = &mut config.backbone {
                vit.heads = 6;
            }
        });
        let error = average(&a, &heads, 0.5, &[]).unwrap_err().to_string();
        assert!(error.contains("backbone") && error.contains("same architecture"), "{error}");
        for weight in [-0.1, 1.1, f64::NAN] {
            assert!(matches!(average(&a, &a, weight, &[]), Err(ModelError::Input(_))), "{weight}");
        }
    }

    #[test]
    fn means_with_random_weights_are_noted() {
        let (a, b) = (model(1, |config| config.trained.reranker = true), model(2, |_| ()));
        let found = average(&a, &b, 0.5, &[]).unwrap();
        assert!(
            found.notes.len() == 1 && found.notes[0].contains("reranker of the second"),
            "{:?}",
            found.notes
        );
        assert!(average(&a, &b, 0.5, &["backbone".into()]).unwrap().notes.is_empty());
    }
}
