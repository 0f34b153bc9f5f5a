//! Writes the global descriptors of a folder's photographs as a safetensors file: tensor `global` of shape
//! (n, dimensions), the photographs' names as JSON under `names` in the header.
//!
//!     cargo run --release -p r2former-engine --example extract_to_safetensors -- [PHOTOS OUT]

#![allow(clippy::print_stdout, reason = "an example prints")]

mod town;

use r2former_data::dataset::list_images;
use r2former_engine::{Extractor, LoadedModel, NoProgress, Settings, extract_stream};
use r2former_model::parse_device;
use safetensors::{Dtype, tensor::TensorView};
use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    run(&std::env::args_os().skip(1).map(PathBuf::from).collect::<Vec<_>>())
}

pub(crate) fn run(arguments: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    let home = tempfile::tempdir()?;
    let (photos, out) = match arguments {
        [photos, out] => (photos.clone(), out.clone()),
        _ => (town::render(home.path())?.0, home.path().join("descriptors.safetensors")),
    };

    let model = LoadedModel::built_in()?;
    let settings = Settings::of(&model.config);
    let extractor = Extractor::new(model, settings, &parse_device("cpu")?)?;

    let images = list_images(&photos)?.photos;
    let files: Vec<&Path> = images.iter().map(|image| image.path.as_path()).collect();
    let (mut names, mut values) = (Vec::new(), Vec::new());
    extract_stream(&extractor, &files, &NoProgress, |i, features| {
        match features {
            Ok(features) => {
                names.push(images[i].name.as_str());
                values.extend(features.global.iter().flat_map(|value| value.to_le_bytes()));
            }
            Err(error) => eprintln!("left out: {error}"),
        }
        Ok(())
    })?;

    let shape = vec![names.len(), extractor.config().global_dim()];
    let view = TensorView::new(Dtype::F32, shape.clone(), &values)?;
    let header = HashMap::from([("names".to_string(), serde_json::to_string(&names)?)]);
    std::fs::write(&out, safetensors::serialize([("global", view)], Some(header))?)?;
    println!("{}: global {shape:?}", out.display());
    Ok(())
}
