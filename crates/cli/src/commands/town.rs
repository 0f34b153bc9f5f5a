//! `r2former town`: the rendered town as a dataset on disk.

use crate::common::parse_size;
use crate::exit::ExitStatus;
use crate::output::{self, print_json};
use crate::progress::Bar;
use anyhow::{Result, bail};
use clap::Args;
use r2former_engine::Progress;
use r2former_town::{Condition, Town, TownConfig, TownDatasetConfig, write_dataset};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(crate) struct TownArgs {
    /// Folder to write: database/, queries/, database.csv, queries.csv.
    dir: PathBuf,
    /// Another number is another town.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Blocks from west to east and from south to north.
    #[arg(long, default_value = "4x4", value_name = "NxM", value_parser = parse_size)]
    blocks: [usize; 2],
    /// Metres between database positions along the streets.
    #[arg(long, default_value_t = 12.0, value_name = "METRES")]
    spacing: f64,
    /// Queries for each condition.
    #[arg(long, default_value_t = 100, value_name = "N")]
    queries: usize,
    /// Conditions of the queries, separated by commas: day, overcast, dusk, night, rain,
    /// snow.
    #[arg(long, default_value = "day,dusk,night,rain", value_delimiter = ',')]
    conditions: Vec<Condition>,
    /// Image size, height x width.
    #[arg(long, default_value = "240x320", value_name = "HxW", value_parser = parse_size)]
    size: [usize; 2],
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &TownArgs) -> Result<ExitStatus> {
    if args.dir.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{}: is not empty; choose a new folder", args.dir.display());
    }
    let dataset = TownDatasetConfig {
        spacing: args.spacing,
        size: (args.size[1], args.size[0]),
        n_queries: args.queries,
        queries: args.conditions.clone(),
        seed: args.seed,
        ..Default::default()
    };
    let started = std::time::Instant::now();
    let [database, queries] = render(&args.dir, args.seed, args.blocks, &dataset)?;
    let rate = 60.0 * (database + queries) as f64 / started.elapsed().as_secs_f64();
    if args.json {
        return print_json(&json!({
            "dir": args.dir, "database": database, "queries": queries, "images_per_minute": rate,
        }));
    }
    let mut out = output::stdout();
    out.line(format_args!(
        "{}: {database} database images, {queries} queries ({rate:.0} images a minute)",
        args.dir.display()
    ))?;
    let dir = args.dir.display();
    out.line(format_args!(
        "next: r2former eval photos --database {dir}/database.csv --queries {dir}/queries.csv"
    ))?;
    Ok(ExitStatus::Done)
}

/// Renders a town into a folder: numbers of database images and queries.
pub(crate) fn render(
    dir: &Path,
    seed: u64,
    blocks: [usize; 2],
    dataset: &TownDatasetConfig,
) -> Result<[usize; 2]> {
    let blocks = (u32::try_from(blocks[0])?, u32::try_from(blocks[1])?);
    let town = Town::new(&TownConfig { seed, blocks, ..Default::default() })?;
    let bar = Bar::default();
    let last = std::sync::Mutex::new(None);
    let show = |done: usize, total: usize| {
        let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = match *last {
            Some(before) => before,
            None => {
                bar.start("images rendered", total as u64);
                0
            }
        };
        bar.advance(done.saturating_sub(before) as u64);
        *last = Some(done.max(before));
    };
    let summary = write_dataset(&town, dataset, dir, &show)?;
    bar.finish();
    Ok([summary.database, summary.queries])
}
