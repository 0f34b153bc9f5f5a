//! Write descriptors and local features of photographs as safetensors, for NumPy, PyTorch or anything else.
//!
//!     cargo run --release -p r2former-engine --example extract [OUT PHOTO...]
//!
//! Without arguments a rendered street is extracted into a temporary file.
#![allow(clippy::print_stdout)]

use r2former_data::image::{PhotoTags, jpeg_with_tags};
use r2former_engine::{Extractor, LoadedModel, NoProgress, Settings, extract_stream};
use r2former_model::Device;
use r2former_town::{Camera, Condition, Town, TownConfig, View};
use safetensors::{Dtype, tensor::TensorView};
use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let home = tempfile::tempdir()?;
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let (out, photos) = match arguments.next() {
        Some(out) => (out, arguments.collect()),
        None => (home.path().join("features.safetensors"), render(home.path())?),
    };

    let model = LoadedModel::built_in()?;
    let settings = Settings::of(&model.config);
    let extractor = Extractor::new(model, settings, &Device::flex())?;
    let files: Vec<&Path> = photos.iter().map(PathBuf::as_path).collect();
    let (mut global, mut local) = (Vec::new(), Vec::new());
    // Results come in the order of the files; an unreadable one is an error here.
    extract_stream(&extractor, &files, &NoProgress, |_, features| {
        let features = features?;
        global.extend(features.global);
        local.extend(features.local);
        Ok(())
    })?;

    let (n, row) = (files.len(), extractor.config().local_row());
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let (global, local) = (bytes(&global), bytes(&local));
    // `local` has rows of x, y, attention and the feature.
    let shapes = [
        ("global", vec![n, global.len() / n / 4], &global),
        ("local", vec![n, local.len() / n / row / 4, row], &local),
    ];
    let mut tensors = Vec::new();
    for (name, shape, bytes) in shapes {
        println!("{name} {shape:?}");
        tensors.push((name, TensorView::new(Dtype::F32, shape, bytes)?));
    }
    safetensors::serialize_to_file(tensors, None, &out)?;
    println!("wrote {}", out.display());
    Ok(())
}

/// Photographs along a rendered street.
fn render(dir: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let town = Town::new(&TownConfig { blocks: (1, 1), ..TownConfig::default() })?;
    let mut photos = Vec::new();
    for (i, at) in town.street_positions(40.0).iter().take(4).enumerate() {
        let camera = Camera { x: at.x, y: at.y, heading: at.heading, ..Camera::default() };
        let pixels = town.render(&View { camera, condition: Condition::Day, visit: 1 }, 320, 240)?;
        let path = dir.join(format!("{i}.jpg"));
        std::fs::write(&path, jpeg_with_tags(&pixels, 90, &PhotoTags::default())?)?;
        photos.push(path);
    }
    Ok(photos)
}
