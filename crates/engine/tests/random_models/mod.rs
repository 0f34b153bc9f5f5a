//! Small models with random weights, drawn from a seed.

use burn::tensor::Device;
use r2former_model::import::{ImportOptions, import};
use r2former_model::{BackboneConfig, GlobalConfig, Pooling, R2Former, VitConfig};
use std::path::Path;

pub(crate) fn fixture() -> R2Former {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/golden/tiny.pth");
    let imported = import(&path, &ImportOptions::default()).unwrap();
    R2Former::from_tensors(&imported.config, imported.tensors, &Device::flex()).unwrap()
}

pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// -1 to 1.
    pub(crate) fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) as f32) / (1 << 23) as f32 - 1.0
    }
}

/// A small model of another transformer, all of whose weights are random and large enough to matter.
pub(crate) fn transformer(change: impl FnOnce(&mut VitConfig), layer: Option<usize>, seed: u64) -> R2Former {
    let mut config = fixture().config().clone();
    let BackboneConfig::Vit(vit) = &mut config.backbone else { panic!("the fixture is a transformer") };
    change(vit);
    if let Some(local) = &mut config.local {
        local.layer = layer;
    }
    (config.input.height, config.input.width) = (6 * vit.patch, 8 * vit.patch);
    if !vit.distilled {
        config.global = GlobalConfig::Pooled { pooling: Pooling::Gem };
    }
    let mut tensors = R2Former::random(&config, seed, &Device::flex()).unwrap().to_tensors().unwrap();
    let mut random = Random(seed + 5);
    for (name, tensor) in &mut tensors {
        let base = if name.contains("norm") && name.ends_with("weight") { 1.0 } else { 0.0 };
        tensor.data.iter_mut().for_each(|v| *v = base + 0.2 * random.next());
    }
    R2Former::from_tensors(&config, tensors, &Device::flex()).unwrap()
}
