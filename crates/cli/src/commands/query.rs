//! `r2former query`: where were these photographs taken?

use crate::common::{Machine, near, parse_margin, parse_position, rerank_or_default};
use crate::exit::ExitStatus;
use crate::output::{self, AnswerFormat, PairsFormat, print_answers};
use crate::progress::Bar;
use anyhow::{Result, bail};
use clap::Args;
use r2former_data::LatLon;
use r2former_engine::{LoadedModel, LocateOptions, PlaceIndex, Progress, RerankMethod, locate};
use r2former_index::SearchMode;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// Folder of the index.
    index: PathBuf,
    /// Photographs.
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// Places in each answer.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    top: u32,
    /// Candidates of the global search that are reranked.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    candidates: u32,
    /// How candidates are put in order: model, ransac (mutual nearest local features that one homography
    /// explains), or none for global similarity alone [default: model where its reranker is trained].
    #[arg(long)]
    rerank: Option<RerankMethod>,
    /// Rerank only where the global order is unclear: where the best image leads the best one of another place (more
    /// than 25 m away) by less than this in cosine. `eval --adaptive` and `eval ablate` tell what a value is worth.
    #[arg(long, value_name = "MARGIN", allow_negative_numbers = true, value_parser = parse_margin)]
    adaptive: Option<f32>,
    /// Walk the index's graph instead of comparing with every image: faster on large indexes, may miss some.
    #[arg(long)]
    approximate: bool,
    /// Only places near here, in degrees; needs --radius.
    #[arg(long, value_name = "LAT,LON", value_parser = parse_position, allow_hyphen_values = true)]
    near: Option<LatLon>,
    /// Metres around --near.
    #[arg(long, value_name = "METRES")]
    radius: Option<f64>,
    /// Check that the index was built with this model; by default the index's own copy is used.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Show the time of each stage.
    #[arg(long)]
    timing: bool,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
struct FormatArgs {
    /// Print JSON, timing included.
    #[arg(long)]
    json: bool,
    /// Print GeoJSON: a point for each estimate and each match.
    #[arg(long)]
    geojson: bool,
    /// Print CSV, one row a match.
    #[arg(long)]
    csv: bool,
    /// Print pairs for another tool.
    #[arg(long, value_name = "TOOL")]
    pairs: Option<PairsFormat>,
}

impl FormatArgs {
    fn format(&self, timing: bool) -> AnswerFormat {
        match self {
            Self { json: true, .. } => AnswerFormat::Json,
            Self { geojson: true, .. } => AnswerFormat::GeoJson,
            Self { csv: true, .. } => AnswerFormat::Csv,
            Self { pairs: Some(pairs), .. } => AnswerFormat::Pairs(*pairs),
            _ => AnswerFormat::Text { timing },
        }
    }
}

pub(crate) fn run(args: &QueryArgs, machine: &Machine) -> Result<ExitStatus> {
    let index = PlaceIndex::open(&args.index)?;
    let loaded = match &args.model {
        Some(path) => {
            let loaded = LoadedModel::open(path)?;
            index.check_model(&loaded)?;
            loaded
        }
        None => index.model()?,
    };
    let rerank = rerank_or_default(args.rerank, &loaded.config)?;
    let options = LocateOptions {
        top: args.top as usize,
        candidates: args.candidates as usize,
        rerank,
        adaptive: args.adaptive,
        near: near(args.near, args.radius)?,
        mode: if args.approximate { SearchMode::Approximate } else { SearchMode::Exact },
    };
    let extractor = machine.extractor(loaded, index.settings)?;
    let reader = index.reader()?;

    let format = args.format.format(args.timing);
    let mut out = output::stdout();
    let (mut answers, mut failed) = (Vec::new(), Vec::new());
    let bar = Bar::default();
    if args.images.len() > 1 {
        bar.start("queries", args.images.len() as u64);
    }
    for image in &args.images {
        match locate(&reader, &extractor, image, &options) {
            // For people, each answer appears as soon as it is there.
            Ok(answer) if matches!(format, AnswerFormat::Text { .. }) => {
                print_answers(&mut out, &[answer], &[], format)?;
            }
            Ok(answer) => answers.push(answer),
            Err(error @ r2former_engine::EngineError::Data(_)) => {
                bar.note(&format!("error: {error}"));
                failed.push((image.display().to_string(), error.to_string()));
            }
            Err(error) => return Err(error.into()),
        }
        bar.advance(1);
    }
    bar.finish();
    if !matches!(format, AnswerFormat::Text { .. }) {
        print_answers(&mut out, &answers, &failed, format)?;
    }
    match (failed.len(), args.images.len()) {
        (0, _) => Ok(ExitStatus::Done),
        (failed, all) if failed == all => bail!("no query could be read"),
        _ => Ok(ExitStatus::Partial),
    }
}
