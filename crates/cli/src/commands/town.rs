//! `r2former town`: the rendered town as a dataset on disk.

use crate::common::{bounded, ensure_writable_folder, parse_size};
use crate::exit::ExitStatus;
use crate::output::{self, escaped, print_json};
use crate::progress::Bar;
use anyhow::{Result, bail};
use clap::Args;
use r2former_data::shell_path;
use r2former_engine::Progress;
use r2former_town::{Condition, Town, TownConfig, TownDatasetConfig, write_dataset};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(crate) struct TownArgs {
    /// Folder to write, new or empty: database/, queries/, database.csv, queries.csv.
    dir: PathBuf,
    /// Seed of the town: streets, houses and the photos follow from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Size of the town in blocks of 50 to 110 m: west to east x south to north, each 1 to 64.
    #[arg(long, default_value = "4x4", value_name = "NxM", value_parser = parse_blocks)]
    blocks: [u32; 2],
    /// Distance between database positions along the streets, in metres, 0.5 or more.
    #[arg(long, default_value = "12", value_name = "METRES", allow_negative_numbers = true, value_parser = parse_spacing)]
    spacing: f64,
    /// Queries per condition, at most 1,000,000.
    #[arg(long, default_value_t = 100, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    queries: u32,
    /// Take the queries as frames of walks along the streets, this many each, in a folder per walk [default: each query at
    /// random].
    #[arg(long, value_name = "FRAMES", allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=1000))]
    walk: Option<u16>,
    /// Conditions of the queries, separated by commas: day, overcast, dusk, night, rain, snow.
    #[arg(long, default_value = "day,dusk,night,rain", value_name = "LIST", value_delimiter = ',')]
    conditions: Vec<Condition>,
    /// Image size in pixels, height x width, each 16 to 8192.
    #[arg(long, default_value = "240x320", value_name = "HxW", value_parser = parse_picture)]
    size: [usize; 2],
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

fn parse_blocks(text: &str) -> Result<[u32; 2], String> {
    let parse = |part: &str| part.trim().parse().ok().filter(|n| (1..=64).contains(n));
    match text.split_once(['x', 'X']).map(|(columns, rows)| (parse(columns), parse(rows))) {
        Some((Some(columns), Some(rows))) => Ok([columns, rows]),
        _ => Err(format!("'{text}' is not a number of blocks, COLUMNSxROWS, each 1 to 64, as in 4x4")),
    }
}

fn parse_spacing(text: &str) -> Result<f64, String> {
    bounded(text, "a spacing in metres", 0.5..=10_000.0)
}

fn parse_picture(text: &str) -> Result<[usize; 2], String> {
    let size = parse_size(text)?;
    match size.iter().all(|side| (16..=8192).contains(side)) {
        true => Ok(size),
        false => Err(format!("'{text}' is out of range: each side must be 16 to 8192 pixels")),
    }
}

pub(crate) fn run(args: &TownArgs) -> Result<ExitStatus> {
    if args.dir.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{}: is not empty; choose a new folder", args.dir.display());
    }
    ensure_writable_folder(&args.dir)?;
    let dataset = TownDatasetConfig {
        spacing: args.spacing,
        size: (args.size[1], args.size[0]),
        n_queries: args.queries as usize,
        walk: args.walk.map_or(1, usize::from),
        queries: args.conditions.clone(),
        seed: args.seed,
        ..Default::default()
    };
    let started = std::time::Instant::now();
    let [database, queries] = render(&args.dir, args.seed, args.blocks, &dataset)?;
    let rate = 60.0 * (database + queries) as f64 / started.elapsed().as_secs_f64();
    if args.json {
        return print_json(&json!({
            "dir": args.dir.to_string_lossy(), "database": database, "queries": queries, "images_per_minute": rate,
        }));
    }
    let mut out = output::stdout();
    out.line(format_args!(
        "{}: {database} database images, {queries} queries ({rate:.0} images per minute)",
        escaped(&args.dir.to_string_lossy())
    ))?;
    let [database, queries] = ["database.csv", "queries.csv"].map(|table| shell_path(&args.dir.join(table)));
    out.line(format_args!(
        "next: r2former eval photos --database {} --queries {}",
        escaped(&database),
        escaped(&queries)
    ))?;
    Ok(ExitStatus::Done)
}

/// Renders a town into a folder; returns the numbers of database images and queries.
pub(crate) fn render(
    dir: &Path,
    seed: u64,
    blocks: [u32; 2],
    dataset: &TownDatasetConfig,
) -> Result<[usize; 2]> {
    let town = Town::new(&TownConfig { seed, blocks: blocks.into(), ..Default::default() })?;
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
