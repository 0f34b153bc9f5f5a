//! Against PyTorch's autograd on the same weights and batch (`tests/gradients/export.py`), and against finite
//! differences.

use super::*;
use crate::batch::Plan;
use crate::config::Stage;
use burn::module::{ModuleVisitor, Param, ParamId};
use r2former_model::weights::{RawTensor, Tensors, param_id};
use r2former_model::{
    BackboneConfig, GlobalConfig, LocalConfig, ModelConfig, Pooling, RerankerConfig, VitConfig,
};
use std::collections::BTreeMap;

const SIZE: [usize; 2] = [20, 20];

fn golden() -> Tensors {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gradients/golden.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    file.tensors()
        .into_iter()
        .map(|(name, view)| {
            let data = view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            (name, RawTensor { shape: view.shape().to_vec(), data })
        })
        .collect()
}

fn model_config() -> ModelConfig {
    let mut config = ModelConfig::preset("vit-tiny").unwrap();
    let BackboneConfig::Vit(vit) = config.backbone else { panic!("a transformer") };
    config.backbone =
        BackboneConfig::Vit(VitConfig { dim: 16, depth: 3, heads: 2, patch: 4, grid: [5, 5], ..vit });
    config.global = GlobalConfig::Linear { dim: 8, pooling: Pooling::Cls };
    config.local = Some(LocalConfig { dim: 12, count: 14, ..Default::default() });
    config.reranker = Some(RerankerConfig {
        dim: 8,
        heads: 2,
        pair_depth: 2,
        depth: 2,
        neighbours: 3,
        ..Default::default()
    });
    [config.input.height, config.input.width] = SIZE;
    config
}

fn part(golden: &Tensors, prefix: &str) -> Tensors {
    golden.iter().filter_map(|(k, v)| Some((k.strip_prefix(prefix)?.to_string(), v.clone()))).collect()
}

fn batch(golden: &Tensors) -> Batch {
    let images = &golden["images"];
    let each = 3 * SIZE[0] * SIZE[1];
    let triplets = vec![[0, 1, 2], [0, 1, 3], [4, 5, 6], [4, 5, 7]];
    Batch {
        plan: Plan { shots: Vec::new(), triplets },
        inputs: images.data.chunks_exact(each).map(<[f32]>::to_vec).collect(),
        cached: None,
        pairs: None,
        relations: Vec::new(),
        left_out: Vec::new(),
    }
}

/// Gradients by parameter, as Burn lays them out.
struct Gather<'a>(&'a GradientsParams, BTreeMap<ParamId, (Vec<usize>, Vec<f32>)>);

impl ModuleVisitor for Gather<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.0.get::<D>(param.id) {
            let shape = grad.dims().to_vec();
            self.1.insert(param.id, (shape, grad.into_data().try_to_vec().unwrap()));
        }
    }
}

fn config_of(case: &str) -> TrainConfig {
    let stage = match case.split_once('_').map_or(case, |(first, _)| first) {
        "triplet" => Stage::Global,
        "rerank" => Stage::Rerank,
        _ => Stage::EndToEnd,
    };
    let mut config = TrainConfig::preset(stage);
    config.loss.global =
        if case == "triplet_squared" { GlobalLoss::TripletSquared } else { GlobalLoss::Triplet };
    config.loss.detach_local = !case.ends_with("through");
    config
}

#[test]
fn gradients_are_pytorchs() {
    let golden = golden();
    let weights = part(&golden, "weights.");
    let model = R2Former::from_tensors(&model_config(), weights.clone(), &Device::flex().autodiff()).unwrap();
    for case in
        ["triplet", "triplet_squared", "rerank_detached", "rerank_through", "both_detached", "both_through"]
    {
        let (grads, losses) = step(
            &model,
            &Device::flex().autodiff(),
            Fixed::default(),
            &batch(&golden),
            &config_of(case),
            SIZE,
            0,
        )
        .unwrap();
        let expected = golden[&format!("{case}.loss")].data[0];
        assert!((losses.total - expected).abs() < 1e-5, "{case}: loss {}, not {expected}", losses.total);
        let mut found = Gather(&grads, BTreeMap::new());
        burn::module::Module::visit(&model, &mut found);
        let expected = part(&golden, &format!("{case}.grad."));
        assert!(expected.len() > 10);
        for (name, raw) in &weights {
            let found = found.1.get(&param_id(name));
            let Some(expected) = expected.get(name) else {
                // What PyTorch does not reach has no gradient here either, or one of zeros.
                let zero = found.is_none_or(|(_, g)| g.iter().all(|v| *v == 0.0));
                assert!(zero, "{case}: {name} has a gradient");
                continue;
            };
            let Some((shape, values)) = found else {
                let nothing = expected.data.iter().all(|v| v.abs() < 1e-7);
                assert!(nothing, "{case}: {name} has no gradient");
                continue;
            };
            // Weights of linear layers lie turned.
            let turned: Vec<f32> = match (&shape[..], name.ends_with("weight")) {
                ([inputs, outputs], true) => {
                    (0..*outputs).flat_map(|o| (0..*inputs).map(move |i| values[i * outputs + o])).collect()
                }
                _ => values.clone(),
            };
            assert_eq!(turned.len(), raw.data.len(), "{name}");
            let size = expected.data.iter().fold(1e-3f32, |a, b| a.max(b.abs()));
            for (f, e) in turned.iter().zip(&expected.data) {
                assert!((f - e).abs() < 1e-3 * size + 1e-6, "{case}: {name}: {f}, not {e}");
            }
        }
    }
}

#[test]
fn gradients_are_slopes() {
    let golden = golden();
    let weights = part(&golden, "weights.");
    let device = Device::flex().autodiff();
    // Detached: selection and places have no slope, and the loss is smooth in what remains.
    let config = config_of("both_detached");
    let run = |weights: &Tensors| {
        let model = R2Former::from_tensors(&model_config(), weights.clone(), &device).unwrap();
        let (grads, losses) =
            step(&model, &Device::flex().autodiff(), Fixed::default(), &batch(&golden), &config, SIZE, 0)
                .unwrap();
        let mut found = Gather(&grads, BTreeMap::new());
        burn::module::Module::visit(&model, &mut found);
        (losses.total, found.1)
    };
    let (_, grads) = run(&weights);
    for name in
        ["head.bias", "reranker.decoder_norm.weight", "reranker.blocks_2.0.mlp.fc1.bias", "local_head.bias"]
    {
        let (_, values) = &grads[&param_id(name)];
        for at in [0, values.len() - 1] {
            let moved = |by: f32| {
                let mut weights = weights.clone();
                weights.get_mut(name).unwrap().data[at] += by;
                run(&weights).0
            };
            let slope = (moved(4e-3) - moved(-4e-3)) / 8e-3;
            let size = values.iter().fold(1e-2f32, |a, b| a.max(b.abs()));
            assert!((slope - values[at]).abs() < 0.04 * size, "{name} at {at}: {slope}, not {}", values[at]);
        }
    }
}

/// Gradients of one step, by parameter, and its loss.
fn gradients(config: &ModelConfig, golden: &Tensors, devices: &[Device]) -> Vec<(Losses, Vec<Vec<f32>>)> {
    let train = config_of("both_through");
    let model = R2Former::from_tensors(config, part(golden, "weights."), &devices[0]).unwrap();
    let batches = [batch(golden), Batch { inputs: turned(golden), ..batch(golden) }];
    let each = devices.len().min(batches.len());
    batches
        .chunks(each)
        .flat_map(|together| spread(&model, devices, Fixed::default(), together, &train, SIZE, 0).unwrap())
        .map(|(grads, losses)| {
            let mut found = Gather(&grads, BTreeMap::new());
            burn::module::Module::visit(&model, &mut found);
            (losses, found.1.into_values().map(|(_, values)| values).collect())
        })
        .collect()
}

/// The batch's photographs in another order.
fn turned(golden: &Tensors) -> Vec<Vec<f32>> {
    batch(golden).inputs.into_iter().rev().collect()
}

#[test]
fn several_devices_find_the_gradients_of_one() {
    let device = Device::flex().autodiff();
    let one = gradients(&model_config(), &golden(), std::slice::from_ref(&device));
    let two = gradients(&model_config(), &golden(), &[device.clone(), device]);
    assert_eq!(one.len(), 2);
    assert!(one[0].1.len() > 10 && one[0].0.total != one[1].0.total);
    assert_eq!(one, two);
}

#[test]
fn bfloat16_products_leave_weights_and_gradients_in_32_bits() {
    let device = [Device::flex().autodiff()];
    let exact = gradients(&model_config(), &golden(), &device);
    let bf16 = ModelConfig { precision: r2former_model::Precision::Bf16, ..model_config() };
    let rounded = gradients(&bf16, &golden(), &device);
    let flat = |of: &[(Losses, Vec<Vec<f32>>)]| -> Vec<f32> { of[0].1.concat() };
    let (a, b) = (flat(&exact), flat(&rounded));
    assert_ne!(a, b, "bf16 changed nothing, so it was not used");
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let cosine = dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt();
    assert!(cosine > 0.99, "gradients point elsewhere: {cosine}");
    // Were gradients rounded too, none would have bits below those of a bfloat16.
    assert!(b.iter().any(|v| v.to_bits() & 0xffff != 0));
}
