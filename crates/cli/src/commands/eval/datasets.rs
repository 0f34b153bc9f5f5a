//! The datasets of `r2former eval`: a subcommand each, with the arguments of what is done with it.

use super::sets::{DbStructArgs, FramesArgs, StLuciaArgs};
use crate::common::{parse_angle, parse_longitude, parse_radius};
use crate::exit::usage;
use anyhow::Result;
use clap::{Args, Subcommand};
use r2former_data::UtmZone;
use r2former_data::dataset::{self, Dataset, DatasetSpec, MslsOptions, MslsTask, Region, SourceOptions};
use r2former_eval::{EmptyQueries, Grouping, Rules};
use std::path::PathBuf;

/// A dataset of any kind, and the arguments `R` of what is done with it.
#[derive(Debug, Subcommand)]
pub(crate) enum DatasetCommand<R: Args> {
    /// Two sets of images, and a table of positives with the columns query,reference.
    Pairs(With<PairsArgs, R>),
    /// Two sets of photographs with positions: tables, or folders of photographs with GPS.
    Photos(With<PhotosArgs, R>),
    /// A panorama set (panoramas.csv and tiles/), split into database and queries.
    Panoramas(With<PanoramaArgs, R>),
    /// A datasets_vg tree: images/{train,val,test}/{database,queries}.
    Vg(With<VgArgs, R>),
    /// Mapillary Street-Level Sequences in its own layout.
    Msls(With<MslsArgs, R>),
    /// Pitts30k, Pitts250k and similar: a MATLAB file with the structure dbStruct.
    Dbstruct(With<DbStructArgs, R>),
    /// St Lucia: folders of passes with fGPS.txt.
    StLucia(With<StLuciaArgs, R>),
    /// Two folders whose images of one number, else the i-th ones, show the same place (Nordland).
    Frames(With<FramesArgs, R>),
}

/// Arguments of a dataset, and of what is done with it.
#[derive(Debug, Args)]
pub(crate) struct With<D: Args, R: Args> {
    #[command(flatten)]
    dataset: D,
    #[command(flatten)]
    rest: R,
}

/// Ground truth, and which queries count.
#[derive(Debug, Args)]
pub(crate) struct RulesArgs {
    /// References within this many metres of a query are positives (inclusive).
    #[arg(long, default_value = "25", value_name = "METRES", allow_negative_numbers = true, value_parser = parse_radius)]
    radius: f64,
    /// Positives must also be within this many degrees of the query's heading, 0 to 180 [default: headings are
    /// ignored].
    #[arg(long, value_name = "DEGREES", allow_negative_numbers = true, value_parser = parse_angle)]
    heading: Option<f64>,
    /// Queries without positives: fail (count as failures) or drop (do not count) [default: fail; drop for msls,
    /// as its own tools do].
    #[arg(long, value_name = "HANDLING")]
    empty: Option<EmptyQueries>,
    /// Search each city on its own, instead of all cities as one database.
    #[arg(long)]
    per_city: bool,
    /// Also report recall for each value of these tags of the queries, separated by commas: city, condition, night or
    /// any column of a table; hour or daytime, if photographs have a time [default: city].
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    by: Vec<String>,
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
}

#[derive(Debug, Args)]
pub(crate) struct PhotosArgs {
    /// Database: a table of positions, or a folder of photographs with GPS.
    #[arg(long, value_name = "SOURCE")]
    database: PathBuf,
    /// Queries: a table of positions, or a folder of photographs with GPS.
    #[arg(long, value_name = "SOURCE")]
    queries: PathBuf,
    /// UTM zone of tables with positions in metres, as in 33U.
    #[arg(long, value_name = "ZONE")]
    utm_zone: Option<UtmZone>,
}

#[derive(Debug, Args)]
pub(crate) struct PanoramaArgs {
    /// Folder with panoramas.csv and tiles/.
    root: PathBuf,
    /// Every N-th panorama is a query, the others are the database.
    #[arg(long, default_value_t = 4, value_name = "N")]
    every: usize,
    /// Index of the first query.
    #[arg(long, default_value_t = 0, value_name = "N")]
    offset: usize,
    /// Only panoramas east of this longitude, in degrees.
    #[arg(long, value_name = "LON", allow_negative_numbers = true, value_parser = parse_longitude)]
    east_of: Option<f64>,
    /// Only panoramas west of this longitude, in degrees.
    #[arg(long, value_name = "LON", allow_negative_numbers = true, value_parser = parse_longitude)]
    west_of: Option<f64>,
}

#[derive(Debug, Args)]
pub(crate) struct VgArgs {
    /// Folder of the dataset, with images/SPLIT/database and images/SPLIT/queries.
    root: PathBuf,
    /// Split: train, val or test.
    #[arg(long, default_value = "test")]
    split: String,
}

#[derive(Debug, Args)]
pub(crate) struct MslsArgs {
    /// Folder of the dataset, with train_val and test.
    root: PathBuf,
    /// Cities, separated by commas; train, val or test for the official lists.
    #[arg(long, default_value = "val", value_delimiter = ',')]
    cities: Vec<String>,
    /// Subtask: all, s2w, w2s, o2n, n2o, d2n or n2d.
    #[arg(long, default_value = "all")]
    subtask: String,
    /// Use every query and database image of the cities, not only those of the subtask.
    #[arg(long)]
    all_queries: bool,
    /// Queries and references as images or as sequences: im2im, im2seq, seq2im or seq2seq.
    #[arg(long, default_value = "im2im")]
    task: MslsTask,
    /// Frames per sequence, an odd number [default: 3].
    #[arg(long, value_name = "FRAMES")]
    sequence: Option<usize>,
}

impl<R: Args> DatasetCommand<R> {
    /// Reads the dataset; photographs left out are listed on standard error.
    pub(crate) fn read(&self) -> Result<Dataset> {
        let spec = match self {
            // Lists every photograph that is left out, not only their number.
            Self::Photos(With { dataset, .. }) => return photos(dataset),
            Self::Pairs(With { dataset: a, .. }) => DatasetSpec::Pairs {
                database: a.database.clone(),
                queries: a.queries.clone(),
                positives: a.positives.clone(),
            },
            Self::Panoramas(With { dataset: a, .. }) => {
                if let Err(error) = dataset::check_panorama_split(a.every, a.offset) {
                    usage!("{error}");
                }
                DatasetSpec::Panoramas {
                    path: a.root.clone(),
                    region: Region { west_of: a.west_of, east_of: a.east_of },
                    every: a.every,
                    offset: a.offset,
                }
            }
            Self::Vg(With { dataset: a, .. }) => {
                DatasetSpec::Vg { path: a.root.clone(), split: a.split.clone() }
            }
            Self::Msls(With { dataset, .. }) => msls(dataset)?,
            Self::Dbstruct(With { dataset, .. }) => dataset.spec(),
            Self::StLucia(With { dataset, .. }) => dataset.spec(),
            Self::Frames(With { dataset, .. }) => dataset.spec(),
        };
        Ok(spec.read()?)
    }

    /// The arguments of what is done with it.
    pub(crate) fn rest(&self) -> &R {
        match self {
            Self::Pairs(With { rest, .. })
            | Self::Photos(With { rest, .. })
            | Self::Panoramas(With { rest, .. })
            | Self::Vg(With { rest, .. })
            | Self::Msls(With { rest, .. })
            | Self::Dbstruct(With { rest, .. })
            | Self::StLucia(With { rest, .. })
            | Self::Frames(With { rest, .. }) => rest,
        }
    }

    /// The rules, with defaults for this kind of dataset.
    pub(crate) fn rules(&self, args: &RulesArgs) -> Rules {
        let usual = match self {
            Self::Msls(_) => EmptyQueries::Drop,
            _ => EmptyQueries::Fail,
        };
        Rules {
            radius_m: args.radius,
            heading_limit_deg: args.heading,
            empty_queries: args.empty.unwrap_or(usual),
            grouping: if args.per_city { Grouping::PerCity } else { Grouping::Merged },
            report_by: args.by.clone(),
        }
    }
}

fn photos(args: &PhotosArgs) -> Result<Dataset> {
    let options = SourceOptions { utm_zone: args.utm_zone, ..Default::default() };
    let database = dataset::list_photos(&args.database, None, &options)?;
    let queries = dataset::list_photos(&args.queries, None, &options)?;
    let skipped = database.skipped.iter().chain(&queries.skipped);
    skipped.for_each(|s| eprintln!("left out: {}: {}", s.path.display(), s.reason));
    let name = format!("{} in {}", args.queries.display(), args.database.display());
    let mut set = dataset::from_listings(name, database, queries);
    set.notes.extend(dataset::unused_options(&options, None, [&args.database, &args.queries]));
    Ok(set)
}

fn msls(args: &MslsArgs) -> Result<DatasetSpec> {
    if let (MslsTask::Im2Im, Some(frames)) = (args.task, args.sequence) {
        usage!("--sequence {frames}: im2im has no sequences; name a --task: im2seq, seq2im or seq2seq");
    }
    let sequence = args.sequence.unwrap_or(MslsOptions::default().sequence);
    let chosen =
        MslsOptions { subtask: args.subtask.clone(), task: args.task, sequence, ..Default::default() };
    if let Err(error) = chosen.check() {
        usage!("{error}");
    }
    let MslsOptions { subtask, task, sequence, .. } = chosen;
    let (path, cities) = (args.root.clone(), args.cities.clone());
    Ok(DatasetSpec::Msls { path, cities, subtask, all_queries: args.all_queries, task, sequence })
}
