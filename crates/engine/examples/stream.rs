//! Stream a folder of any size through the extractor: photographs are decoded ahead on other threads, memory stays
//! bounded, and an unreadable file does not end the run.
//!
//!     cargo run --release -p r2former-engine --example stream [FOLDER]
//!
//! Without an argument a few rendered photographs are streamed, one of them broken.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use r2former_engine::{Extractor, LoadedModel, Progress, Settings, extract_stream};
use r2former_model::Device;
use r2former_town::{Condition, Town, TownConfig, TownDatasetConfig, write_dataset};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Prints a line for every tenth photograph.
#[derive(Default)]
struct Lines(AtomicU64);

impl Progress for Lines {
    fn start(&self, what: &str, total: u64) {
        eprintln!("{total} {what}");
    }

    fn advance(&self, steps: u64) {
        let done = self.0.fetch_add(steps, Ordering::Relaxed) + steps;
        if done.is_multiple_of(10) {
            eprintln!("{done} done");
        }
    }

    fn finish(&self) {}

    fn note(&self, line: &str) {
        eprintln!("{line}");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let home = tempfile::tempdir()?;
    let folder = match std::env::args().nth(1) {
        Some(folder) => PathBuf::from(folder),
        None => render(home.path())?,
    };
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.sort();

    let model = LoadedModel::built_in()?;
    let settings = Settings::of(&model.config);
    let extractor = Extractor::new(model, settings, &Device::flex())?;
    let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let (mut extracted, mut failed) = (0u32, 0u32);
    let start = Instant::now();
    extract_stream(&extractor, &paths, &Lines::default(), |_, features| {
        match features {
            Ok(_) => extracted += 1,
            Err(error) => {
                eprintln!("left out: {error}");
                failed += 1;
            }
        }
        Ok(())
    })?;
    let rate = f64::from(extracted) / start.elapsed().as_secs_f64();
    println!("{extracted} extracted ({rate:.1} images/s), {failed} left out");
    Ok(())
}

/// A folder of rendered photographs, and a file that is none.
fn render(dir: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let town = Town::new(&TownConfig { blocks: (1, 1), ..TownConfig::default() })?;
    let dataset = TownDatasetConfig {
        spacing: 80.0,
        queries: vec![Condition::Day],
        n_queries: 4,
        ..TownDatasetConfig::default()
    };
    write_dataset(&town, &dataset, &dir.join("town"), &|_, _| {})?;
    let folder = dir.join("town/database");
    std::fs::write(folder.join("broken.jpg"), b"not a photograph")?;
    Ok(folder)
}
