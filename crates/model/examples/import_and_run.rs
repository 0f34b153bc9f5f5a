//! Imports a checkpoint of another project and runs the model on an image.
//!
//! ```text
//! cargo run --release -p r2former-model --example import_and_run [CHECKPOINT]
//! ```
//!
//! CHECKPOINT is a published R2Former file, a DeiT, timm or DINOv2 transformer, or torchvision's ResNet-50 (`.pth` or
//! `.safetensors`). Without it a small random transformer with timm's names is written and imported.

#![allow(clippy::print_stdout, reason = "an example prints its result")]

use burn::tensor::{Device, Tensor, TensorData};
use r2former_model::import::{ImportOptions, import};
use r2former_model::{BackboneConfig, ModelConfig, R2Former, Reranker};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = match std::env::args_os().nth(1) {
        Some(path) => PathBuf::from(path),
        None => random_timm_checkpoint(folder.path())?,
    };

    // The architecture follows from names and shapes of the tensors; what they do not determine is an option.
    let imported = import(&path, &ImportOptions::default())?;
    println!("imported {} ({} tensors)", imported.config.name, imported.tensors.len());
    println!("unused tensors: {:?}", imported.leftovers);
    for note in &imported.notes {
        println!("note: {note}");
    }

    let device = Device::flex();
    let model = R2Former::from_tensors(&imported.config, imported.tensors, &device)?;
    let features = model.extract(image(model.config(), &device))?;
    println!("global descriptor: {:?}", features.global.dims());
    let (Some(local), Some(reranker)) = (features.local, &model.reranker) else {
        println!("a global-only model: no local features, no reranking");
        return Ok(());
    };
    println!("local features (x, y, attention, feature): {:?}", local.dims());

    let logits = reranker.forward(local.clone(), local)?;
    println!("logits of the image against itself: {:?}", logits.dims());
    println!("score: {:.4}", Reranker::score(logits).into_scalar::<f32>());
    Ok(())
}

/// A normalised image `[1, 3, height, width]` of the model's default size: a gradient with a bright square.
fn image(config: &ModelConfig, device: &Device) -> Tensor<4> {
    let input = &config.input;
    let mut values = Vec::with_capacity(3 * input.height * input.width);
    for channel in 0..3 {
        for y in 0..input.height {
            for x in 0..input.width {
                let square = x.abs_diff(input.width / 2) < 24 && y.abs_diff(input.height / 2) < 24;
                let pixel = if square { 0.9 } else { (x + y) as f32 / (input.width + input.height) as f32 };
                values.push((pixel - input.mean[channel]) / input.std[channel]);
            }
        }
    }
    Tensor::from_data(TensorData::new(values, [1, 3, input.height, input.width]), device)
}

/// Writes a random transformer of two blocks as a file with timm's names: the backbone's tensors without a prefix.
fn random_timm_checkpoint(folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let mut config = ModelConfig::preset("vit-tiny").ok_or("no such preset")?;
    if let BackboneConfig::Vit(vit) = &mut config.backbone {
        vit.depth = 2;
    }
    let tensors = R2Former::random(&config, 1, &Device::flex())?.to_tensors()?;
    let backbone: Vec<(&str, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .filter_map(|(name, tensor)| {
            let bytes = tensor.data.iter().flat_map(|value| value.to_le_bytes()).collect();
            Some((name.strip_prefix("backbone.")?, tensor.shape.clone(), bytes))
        })
        .collect();
    let views = backbone
        .iter()
        .map(|(name, shape, bytes)| Ok((*name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    let path = folder.join("random_vit.safetensors");
    safetensors::serialize_to_file(views, None, &path)?;
    Ok(path)
}
