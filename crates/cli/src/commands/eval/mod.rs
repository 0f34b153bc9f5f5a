//! `r2former eval`: recall on a dataset, with the protocol that it belongs to.

use crate::common::{Machine, ModelArgs, parse_zone, rerank_or_default};
use crate::exit::Outcome;
use crate::output::{self, print_json, print_report};
use crate::progress::Bar;
use anyhow::Result;
use clap::{Args, Subcommand};
use r2former_data::UtmZone;
use r2former_data::dataset::{self, Dataset, Kind, MslsOptions, Region, SourceOptions, VgOptions};
use r2former_engine::{Extractor, Rerank};
use r2former_eval::{
    EmptyQueries, EvalOptions, EvalReport, Facts, Grouping, Keeping, PAGE, evaluate, write_report,
};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum EvalCommand {
    /// Two sets of images and a table of positives (columns query,reference).
    Pairs(PairsArgs),
    /// Two sets of photographs with positions: CSV files, or folders with GPS.
    Photos(PhotosArgs),
    /// A panorama set (panoramas.csv and tiles/), split into database and queries.
    Panoramas(PanoramaArgs),
    /// A datasets_vg tree: images/{train,val,test}/{database,queries}.
    Vg(VgArgs),
    /// Mapillary Street-Level Sequences in its own layout.
    Msls(MslsArgs),
    /// Two folders whose i-th images show the same place.
    Frames(FramesArgs),
}

/// What every evaluation needs.
#[derive(Debug, Args)]
pub(crate) struct Common {
    #[command(flatten)]
    model: ModelArgs,
    /// A reference within so many metres is a positive (inclusive).
    #[arg(long, default_value_t = 25.0, value_name = "METRES")]
    radius: f64,
    /// A positive also looks the same way, within so many degrees [default: no rule].
    #[arg(long, value_name = "DEGREES")]
    heading: Option<f64>,
    /// Queries without positives: fail (stay in the denominator) or drop.
    #[arg(long, default_value = "fail")]
    empty: EmptyQueries,
    /// Search each city for itself instead of all as one database.
    #[arg(long)]
    per_city: bool,
    /// Also tell recall for each value of this tag: city, condition, night, or any column of a CSV.
    #[arg(long, default_value = "city", value_name = "TAG")]
    by: String,
    /// Candidates to rerank.
    #[arg(long, default_value_t = 100, value_name = "N")]
    candidates: usize,
    /// Ways to rerank, each beside the global order: model, ransac, or both with a comma; none for neither
    /// [default: model where its reranker is trained].
    #[arg(long, value_delimiter = ',')]
    rerank: Vec<Rerank>,
    /// Keep features in this folder, so that an interrupted run goes on from what it had.
    #[arg(long, value_name = "DIR")]
    features: Option<PathBuf>,
    /// Hold at most so many megabytes of local features of each side in memory; what is more goes into a
    /// temporary file, or into that of --features.
    #[arg(long, default_value_t = 1024, value_name = "MB")]
    memory: usize,
    /// Write a report into this folder: report.html for people, results.json with every query.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PairsArgs {
    /// Folder of the database images, or a text file that lists them.
    #[arg(long, value_name = "DIR")]
    database: PathBuf,
    /// Folder of the queries, or a text file that lists them.
    #[arg(long, value_name = "DIR")]
    queries: PathBuf,
    /// CSV with the columns query,reference: paths relative to the folders.
    #[arg(long, value_name = "FILE")]
    positives: PathBuf,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct PhotosArgs {
    /// CSV of positions, or folder of photos with GPS.
    #[arg(long, value_name = "SOURCE")]
    database: PathBuf,
    /// Likewise, for the queries.
    #[arg(long, value_name = "SOURCE")]
    queries: PathBuf,
    /// UTM zone of CSV files whose positions are in metres, as in 33U.
    #[arg(long, value_name = "ZONE", value_parser = parse_zone)]
    utm_zone: Option<UtmZone>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct PanoramaArgs {
    /// Folder with panoramas.csv and tiles/.
    root: PathBuf,
    /// Every n-th panorama is a query, the others are the database.
    #[arg(long, default_value_t = 4, value_name = "N")]
    every: usize,
    /// The first query's number.
    #[arg(long, default_value_t = 0, value_name = "N")]
    offset: usize,
    /// Only panoramas east of this longitude, in degrees.
    #[arg(long, value_name = "LON", allow_negative_numbers = true)]
    east_of: Option<f64>,
    /// Only panoramas west of this longitude.
    #[arg(long, value_name = "LON", allow_negative_numbers = true)]
    west_of: Option<f64>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct VgArgs {
    /// Root of the dataset.
    root: PathBuf,
    /// train, val or test.
    #[arg(long, default_value = "test")]
    split: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct MslsArgs {
    /// Folder that holds train_val and test.
    root: PathBuf,
    /// Cities, separated by commas; or train, val, test for the official lists.
    #[arg(long, default_value = "val", value_delimiter = ',')]
    cities: Vec<String>,
    /// all, s2w, w2s, o2n, n2o, d2n or n2d.
    #[arg(long, default_value = "all")]
    subtask: String,
    /// Keep every query and database image of the cities, not only those of the subtask.
    #[arg(long)]
    all_queries: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct FramesArgs {
    /// Folder of the database frames.
    #[arg(long, value_name = "DIR")]
    database: PathBuf,
    /// Folder of the query frames.
    #[arg(long, value_name = "DIR")]
    queries: PathBuf,
    /// A reference within so many frames is a positive.
    #[arg(long, default_value_t = 10, value_name = "FRAMES")]
    tolerance: usize,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(command: &EvalCommand, machine: &Machine) -> Result<Outcome> {
    let (dataset, common) = match command {
        EvalCommand::Pairs(a) => (dataset::read_pairs(&a.database, &a.queries, &a.positives)?, &a.common),
        EvalCommand::Photos(a) => (photos(a)?, &a.common),
        EvalCommand::Panoramas(a) => {
            let mut listing =
                dataset::list_photos(&a.root, Some(Kind::Panoramas), &SourceOptions::default())?;
            let region = Region { west_of: a.west_of, east_of: a.east_of };
            region.keep(&mut listing);
            (dataset::split_panoramas(listing, a.every, a.offset)?, &a.common)
        }
        EvalCommand::Vg(a) => (dataset::read_vg(&a.root, &VgOptions { split: a.split.clone() })?, &a.common),
        EvalCommand::Msls(a) => {
            let options = MslsOptions {
                cities: a.cities.clone(),
                subtask: a.subtask.clone(),
                all_queries: a.all_queries,
                ..Default::default()
            };
            (dataset::read_msls(&a.root, &options)?, &a.common)
        }
        EvalCommand::Frames(a) => (dataset::read_frames(&a.database, &a.queries, a.tolerance)?, &a.common),
    };
    let extractor = common.model.extractor(machine, None)?;
    let evaluation = evaluate(&dataset, &extractor, &common.options(&extractor)?, &Bar::default())?;
    if let Some(dir) = &common.report {
        let program = concat!("r2former ", env!("CARGO_PKG_VERSION"));
        let facts = Facts::gather(&extractor, program, env!("R2FORMER_REVISION"), &machine.device);
        write_report(dir, &evaluation, &dataset, &extractor, &facts, &Bar::default())?;
        eprintln!("report: {}", dir.join(PAGE).display());
    }
    show(&evaluation.report, common.json)
}

fn photos(args: &PhotosArgs) -> Result<Dataset> {
    let options = SourceOptions { utm_zone: args.utm_zone, ..Default::default() };
    let database = dataset::list_photos(&args.database, None, &options)?;
    let queries = dataset::list_photos(&args.queries, None, &options)?;
    let skipped = database.skipped.iter().chain(&queries.skipped);
    skipped.for_each(|(path, reason)| eprintln!("left out: {}: {reason}", path.display()));
    let name = format!("{} in {}", args.queries.display(), args.database.display());
    Ok(dataset::from_listings(name, database, queries))
}

impl Common {
    fn options(&self, extractor: &Extractor) -> Result<EvalOptions> {
        let config = extractor.config();
        let asked = self.rerank.iter().map(|rerank| rerank_or_default(Some(*rerank), config));
        let mut rerank: Vec<Rerank> = asked.collect::<Result<_>>()?;
        if rerank.is_empty() {
            rerank.push(rerank_or_default(None, config)?);
        }
        Ok(EvalOptions {
            radius_m: self.radius,
            heading_limit_deg: self.heading,
            empty_queries: self.empty,
            grouping: if self.per_city { Grouping::PerCity } else { Grouping::Merged },
            rerank,
            candidates: self.candidates,
            keeping: Keeping { memory_bytes: self.memory << 20, dir: self.features.clone() },
            report_by: self.by.clone(),
        })
    }
}

pub(crate) fn show(report: &EvalReport, json: bool) -> Result<Outcome> {
    if json {
        print_json(report)?;
    } else {
        print_report(&mut output::stdout(), report)?;
    }
    Ok(if report.unusable.is_empty() { Outcome::Done } else { Outcome::Partial })
}
