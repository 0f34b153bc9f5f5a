//! Index photographs with positions, then ask where another one was taken.
//!
//!     cargo run --release -p r2former-engine --example index_and_query [PHOTOS QUERY]
//!
//! PHOTOS is a folder of photographs with GPS, or a table with path,lat,lon. Without arguments a few streets are
//! rendered.
#![allow(clippy::print_stdout)]

use r2former_data::dataset::{SourceOptions, list_photos};
use r2former_engine::{
    AddOptions, Extractor, LoadedModel, LocateOptions, NoProgress, PlaceIndex, Settings, add_photos, locate,
};
use r2former_model::Device;
use r2former_town::{Condition, Town, TownConfig, TownDatasetConfig, write_dataset};
use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let home = tempfile::tempdir()?;
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let (photos, query) = match (arguments.next(), arguments.next()) {
        (Some(photos), Some(query)) => (photos, query),
        _ => render(&home.path().join("town"))?,
    };

    // An index belongs to one model, whose copy it keeps.
    let model = LoadedModel::built_in()?;
    let settings = Settings::of(&model.config);
    let index = PlaceIndex::open_or_create(home.path().join("places"), &model, settings)?;
    let extractor = Extractor::new(model, settings, &Device::flex())?;

    let listing = list_photos(&photos, None, &SourceOptions::default())?;
    let mut writer = index.writer()?;
    let report = add_photos(&mut writer, &extractor, &listing.photos, &AddOptions::default(), &NoProgress)?;
    writer.close()?;
    println!("{} images added, {} could not be read", report.added, report.unreadable.len());

    // 100 candidates by descriptor, reranked; the best 3 are the answer.
    let options = LocateOptions::default().top(3);
    let answer = locate(&index.reader()?, &extractor, query.as_path(), &options)?;
    for found in &answer.matches {
        println!(
            "{}. {} similarity {:.3}, score {:?}",
            found.rank, found.path, found.similarity, found.score
        );
    }
    if let Some(estimate) = &answer.estimate {
        println!(
            "at {}: {} of {} matches agree within {:.0} m",
            estimate.weighted, estimate.agreeing, estimate.considered, estimate.spread_m
        );
    }
    Ok(())
}

/// A table of photographs of a small town, and one photograph of another day.
fn render(dir: &Path) -> Result<(PathBuf, PathBuf), Box<dyn Error>> {
    let town = Town::new(&TownConfig { blocks: (1, 1), ..TownConfig::default() })?;
    let dataset = TownDatasetConfig {
        spacing: 40.0,
        queries: vec![Condition::Day],
        n_queries: 1,
        ..TownDatasetConfig::default()
    };
    write_dataset(&town, &dataset, dir, &|_, _| {})?;
    let queries = list_photos(&dir.join("queries.csv"), None, &SourceOptions::default())?;
    let query = queries.photos.into_iter().next().ok_or("no query was rendered")?;
    Ok((dir.join("database.csv"), query.path))
}
