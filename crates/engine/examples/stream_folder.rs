//! Extracts a folder's photographs as a stream, decoding ahead while the device computes, and handles each result as it
//! arrives. Memory stays the same however many photographs there are.
//!
//!     cargo run --release -p r2former-engine --example stream_folder -- [PHOTOS]

#![allow(clippy::print_stdout, reason = "an example prints")]

mod town;

use r2former_data::dataset::list_images;
use r2former_engine::{Extractor, LoadedModel, Progress, Settings, extract_stream};
use r2former_model::parse_device;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what is done.
#[derive(Default)]
struct Counter(AtomicU64);

impl Progress for Counter {
    fn start(&self, _: &str, _: u64) {}
    fn advance(&self, steps: u64) {
        self.0.fetch_add(steps, Ordering::Relaxed);
    }
    fn finish(&self) {}
    fn note(&self, line: &str) {
        eprintln!("{line}");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    run(&std::env::args_os().skip(1).map(PathBuf::from).collect::<Vec<_>>())
}

pub(crate) fn run(arguments: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    let home = tempfile::tempdir()?;
    let photos = match arguments {
        [photos, ..] => photos.clone(),
        [] => town::render(home.path())?.0,
    };

    let model = LoadedModel::built_in()?;
    let settings = Settings::of(&model.config);
    let extractor = Extractor::new(model, settings, &parse_device("cpu")?)?;

    let images = list_images(&photos)?.photos;
    let files: Vec<&Path> = images.iter().map(|image| image.path.as_path()).collect();
    let done = Counter::default();
    let mut rows = 0;
    extract_stream(&extractor, &files, &done, |i, features| {
        let features = match features {
            Ok(features) => features,
            // A file that cannot be read does not end the stream.
            Err(error) => return Ok(eprintln!("left out: {error}")),
        };
        let local = features.local.len() / extractor.config().local_row();
        rows += local;
        println!("{}: {} dimensions, {local} local features", images[i].name, features.global.len());
        Ok(())
    })?;
    println!("{} photos, {rows} local features", done.0.into_inner());
    Ok(())
}
