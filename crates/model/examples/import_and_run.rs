//! Import another project's checkpoint and run the network alone.
//!
//!     cargo run --release -p r2former-model --example import_and_run [CHECKPOINT]
//!
//! CHECKPOINT is a published R2Former, DeiT, timm, DINOv2 or ResNet-50 file (.pth or .safetensors). Without one, a
//! backbone with random weights is written first, in timm's names.
#![allow(clippy::print_stdout)]

use burn::tensor::Tensor;
use r2former_model::checkpoint::Storage;
use r2former_model::import::{ImportOptions, import};
use r2former_model::{Device, ModelConfig, R2Former, load, save};
use safetensors::{Dtype, tensor::TensorView};
use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let home = tempfile::tempdir()?;
    let checkpoint = match std::env::args().nth(1) {
        Some(path) => PathBuf::from(path),
        None => random_backbone(home.path())?,
    };

    // Every tensor of the file is used, listed as a leftover, or an error.
    let imported = import(&checkpoint, &ImportOptions::default())?;
    for note in &imported.notes {
        println!("note: {note}");
    }
    println!("not used by the method: {:?}", imported.leftovers);
    let path = home.path().join("model.safetensors");
    save(&path, &imported.config, &imported.tensors, Storage::F32)?;

    // The file is all that is needed from here on: its header holds the configuration.
    let model = load(&path)?.model(&Device::flex())?;
    let input = &model.config().input;
    let images = Tensor::<4>::zeros([2, 3, input.height, input.width], &Device::flex());
    let features = model.extract(images)?;
    println!("global descriptors {:?}", features.global.dims());
    if let Some(local) = features.local {
        println!("local features {:?}: x, y, attention, feature", local.dims());
    }
    Ok(())
}

/// A ViT-Tiny as timm saves one, of random weights.
fn random_backbone(dir: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let mut config = ModelConfig::preset("vit-tiny").ok_or("vit-tiny is a preset")?;
    (config.input.height, config.input.width) = (64, 64);
    let tensors = R2Former::random(&config, 0, &Device::flex())?.to_tensors()?;
    let mut stored = Vec::new();
    for (name, tensor) in &tensors {
        let Some(name) = name.strip_prefix("backbone.") else { continue };
        let bytes: Vec<u8> = tensor.data.iter().flat_map(|value| value.to_le_bytes()).collect();
        stored.push((name, tensor.shape.clone(), bytes));
    }
    let mut views = Vec::new();
    for (name, shape, bytes) in &stored {
        views.push((*name, TensorView::new(Dtype::F32, shape.clone(), bytes)?));
    }
    let path = dir.join("vit_tiny.safetensors");
    safetensors::serialize_to_file(views, None, &path)?;
    Ok(path)
}
