//! Compares two photographs: the cosine of their global descriptors, the reranker's probability of the same place, and
//! the inliers of RANSAC.
//!
//!     cargo run --release -p r2former-engine --example rerank_pair -- [A B]

#![allow(clippy::print_stdout, reason = "an example prints")]

mod town;

use r2former_data::dataset::list_images;
use r2former_engine::{Extractor, LoadedModel, Settings, Verifier, score_pair};
use r2former_model::parse_device;
use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    run(&std::env::args_os().skip(1).map(PathBuf::from).collect::<Vec<_>>())
}

pub(crate) fn run(arguments: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    let home = tempfile::tempdir()?;
    let [a, b] = match arguments {
        [a, b] => [a.clone(), b.clone()],
        _ => {
            let (database, queries) = town::render(home.path())?;
            let first = |dir| list_images(dir).map(|listing| listing.photos[0].path.clone());
            [first(&queries)?, first(&database)?]
        }
    };

    let model = LoadedModel::built_in()?;
    let settings = Settings::of(&model.config);
    let extractor = Extractor::new(model, settings, &parse_device("cpu")?)?;
    let query = extractor.extract_image(&a)?;
    let reference = extractor.extract_image(&b)?;

    // Descriptors have unit length: their dot product is the cosine.
    let cosine: f32 = query.global.iter().zip(&reference.global).map(|(a, b)| a * b).sum();
    let pair = score_pair(&extractor, &query.local, &reference.local)?;
    let verified = Verifier::new(&extractor, &query.local)?.verify(&reference.local);
    println!("similarity  {cosine:.4}");
    println!("reranker    {:.4}, logits {:?}", pair.score, pair.logits);
    println!("RANSAC      {} inliers of {} mutual pairs", verified.inliers, verified.pairs.len());
    Ok(())
}
