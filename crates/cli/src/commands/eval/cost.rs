//! `r2former eval cost`: measured cost of a query.

use crate::commands::town::render;
use crate::common::{InputArgs, Machine, ensure_writable_folder, load_model};
use crate::exit::ExitStatus;
use crate::output::{self, print_json};
use crate::progress::Bar;
use anyhow::Result;
use clap::Args;
use r2former_data::dataset::{Kind, SourceOptions, list_photos};
use r2former_engine::{Extractor, Progress};
use r2former_eval::Environment;
use r2former_eval::cost::{CostReport, StagesOptions, search_scaling, stages};
use r2former_model::cost::cost;
use r2former_town::TownDatasetConfig;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(crate) struct CostArgs {
    /// Model file written by `r2former model import` or `r2former train` [default: the built-in model].
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    #[command(flatten)]
    input: InputArgs,
    /// Photographs to extract: a folder or table, as for `r2former index add` [default: a rendered town].
    #[arg(long, value_name = "SOURCE")]
    photos: Option<PathBuf>,
    /// Number of photographs to extract, evenly chosen.
    #[arg(long, default_value_t = 24, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=100_000))]
    photographs: u32,
    /// Numbers of local features per image, separated by commas; capped at the number of patches.
    #[arg(long, default_value = "50,100,196,500", value_name = "K", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=100_000))]
    k: Vec<u32>,
    /// Candidates to rerank per query.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    candidates: u32,
    /// Images of the synthetic database that is searched; the default is the size of MSLS val, as in the paper.
    #[arg(long, default_value_t = 18_871, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    database: u32,
    /// Sizes of synthetic databases to measure exact search on, separated by commas; takes 1 KB of memory per image.
    #[arg(long, default_value = "1000,10000,100000,1000000", value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    sizes: Vec<u32>,
    /// Queries to measure, after one to warm up.
    #[arg(long, default_value_t = 7, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
    /// Write cost.json, cost.md and growth.svg into this folder.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &CostArgs, machine: &Machine) -> Result<ExitStatus> {
    args.report.as_deref().map(ensure_writable_folder).transpose()?;
    let loaded = load_model(args.model.as_deref())?;
    let settings = args.input.settings(&loaded, machine)?;
    let device = machine.device()?;
    let bar = Bar::default();
    let town = tempfile::tempdir()?;
    let photos = match &args.photos {
        Some(source) => list(source, None)?,
        None => list(&quarter(town.path())?, Some(Kind::Csv))?,
    };
    // Evenly over the source: neighbours in it show the same place.
    let wanted = (args.photographs as usize).min(photos.len());
    let chosen: Vec<&Path> = (0..wanted).map(|i| photos[i * photos.len() / wanted].as_path()).collect();
    let numbers = |all: &[u32]| all.iter().map(|n| *n as usize).collect::<Vec<_>>();
    let options = StagesOptions {
        local_features: numbers(&args.k),
        candidates: args.candidates as usize,
        database: args.database as usize,
        runs: args.runs as usize,
    };
    let stages = stages(&loaded, settings, &device, &chosen, &options, &bar)?;
    let extractor = Extractor::new(loaded, settings, &device)?;
    let config = extractor.config();
    let stored = cost(config, settings.height, settings.width).stored_bytes;
    let search_scaling = search_scaling(
        config.global_dim(),
        stored,
        &numbers(&args.sizes),
        options.candidates,
        options.runs,
        &bar,
    )?;
    bar.finish();
    let environment = Environment::gather(super::this_run(), &extractor, &machine.device);
    let report = CostReport { environment, stages, search_scaling };
    if let Some(dir) = &args.report {
        report.write(dir)?;
        eprintln!("report: {}", dir.display());
    }
    if args.json {
        return print_json(&report);
    }
    output::stdout().line(format_args!("{}", report.markdown().trim_end()))?;
    Ok(ExitStatus::Done)
}

fn list(source: &Path, kind: Option<Kind>) -> Result<Vec<PathBuf>> {
    let listing = list_photos(source, kind, &SourceOptions::default())?;
    Ok(listing.photos.into_iter().map(|photo| photo.path).collect())
}

/// Renders a few streets of a town and returns the table of its photographs.
fn quarter(dir: &Path) -> Result<PathBuf> {
    let dataset = TownDatasetConfig { spacing: 20.0, size: (640, 480), n_queries: 1, ..Default::default() };
    let photos = dir.join("town");
    render(&photos, 1, [1, 1], &dataset)?;
    Ok(photos.join("database.csv"))
}
