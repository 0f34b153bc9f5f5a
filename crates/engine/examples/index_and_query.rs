//! Indexes a folder of photographs with GPS tags and asks where others were taken.
//!
//!     cargo run --release -p r2former-engine --example index_and_query -- [PHOTOS QUERY...]
//!
//! Without arguments it renders a few photographs of a town.

#![allow(clippy::print_stdout, reason = "an example prints")]

mod town;

use r2former_data::dataset::{SourceOptions, list_images, list_photos};
use r2former_engine::{
    Extractor, LoadedModel, LocateOptions, NoProgress, PlaceIndex, Settings, add_photos, locate,
};
use r2former_model::parse_device;
use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    run(&std::env::args_os().skip(1).map(PathBuf::from).collect::<Vec<_>>())
}

pub(crate) fn run(arguments: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    let home = tempfile::tempdir()?;
    let (photos, queries) = match arguments {
        [photos, queries @ ..] => (photos.clone(), queries.to_vec()),
        [] => {
            let (photos, queries) = town::render(home.path())?;
            (photos, list_images(&queries)?.photos.into_iter().map(|photo| photo.path).collect())
        }
    };

    // An index belongs to one model and one image size; it keeps a copy of the model.
    let model = LoadedModel::built_in()?;
    let settings = Settings::of(&model.config);
    let index = PlaceIndex::open_or_create(&home.path().join("places"), &model, settings)?;
    let extractor = Extractor::new(model, settings, &parse_device("cpu")?)?;

    let listing = list_photos(&photos, None, &SourceOptions::default())?;
    let report = add_photos(&mut index.writer()?, &extractor, &listing.photos, &NoProgress)?;
    println!("added {} photos, {} were unreadable", report.added, report.unreadable.len());

    let reader = index.reader()?;
    for query in &queries {
        let answer = locate(&reader, &extractor, query, &LocateOptions::default().top(3))?;
        println!("{}", answer.query);
        if let Some(estimate) = &answer.estimate {
            println!("  at {}, {} of {} agree", estimate.best, estimate.agreeing, estimate.considered);
        }
        for m in &answer.matches {
            println!("  {}. {}  similarity {:.3}, score {:?}", m.rank, m.path, m.similarity, m.score);
        }
    }
    Ok(())
}
