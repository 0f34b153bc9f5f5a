//! Compare two photographs: cosine of the global descriptors, the reranker's logits and score, RANSAC's inliers.
//!
//!     cargo run --release -p r2former-engine --example rerank_pair [A B]
//!
//! Without arguments two views of one rendered place are compared, and one of another place.
#![allow(clippy::print_stdout)]

use r2former_data::Rgb8;
use r2former_data::image::{Limits, decode_file};
use r2former_engine::{Extractor, ImageFeatures, LoadedModel, Settings, score_pair};
use r2former_model::Device;
use r2former_town::{Camera, Condition, Town, TownConfig, View};
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let model = LoadedModel::built_in()?;
    let settings = Settings::of(&model.config);
    let extractor = Extractor::new(model, settings, &Device::flex())?;

    let paths: Vec<String> = std::env::args().skip(1).collect();
    if let [a, b] = paths.as_slice() {
        let decode = |path: &str| decode_file(Path::new(path), &Limits::default());
        return compare(&extractor, "the pair", &decode(a)?, &decode(b)?);
    }

    let town = Town::new(&TownConfig { blocks: (1, 1), ..TownConfig::default() })?;
    let places = town.street_positions(40.0);
    let shoot = |place: usize, visit: u64| {
        let at = &places[place];
        let camera = Camera { x: at.x, y: at.y, heading: at.heading, ..Camera::default() };
        town.render(&View { camera, condition: Condition::Day, visit }, 320, 240)
    };
    let query = shoot(0, 1)?;
    compare(&extractor, "the same place", &query, &shoot(0, 2)?)?;
    compare(&extractor, "another place", &query, &shoot(1, 2)?)
}

fn compare(extractor: &Extractor, name: &str, a: &Rgb8, b: &Rgb8) -> Result<(), Box<dyn Error>> {
    let mut features = extractor.extract_views(&[extractor.prepare(a)?, extractor.prepare(b)?])?;
    let (b, a) = (features.pop(), features.pop());
    let (Some(a), Some(b)) = (a, b) else { return Err("two images give two descriptors".into()) };
    let pair = score_pair(extractor, &a.local, &b.local)?;
    let [different, same] = pair.logits;
    println!(
        "{name}: cosine {:.3}, logits {different:.2} (different) and {same:.2} (same), score {:.3}",
        cosine(&a, &b),
        pair.score
    );
    Ok(())
}

/// Global descriptors have unit length: their product is the cosine.
fn cosine(a: &ImageFeatures, b: &ImageFeatures) -> f32 {
    a.global.iter().zip(&b.global).map(|(x, y)| x * y).sum()
}
