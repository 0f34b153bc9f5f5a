//! `r2former query`: where were these photographs taken?

use super::priors::PriorArgs;
use super::sequence::{FrameArg, SequenceArgs};
use crate::common::{IndexPrecision, Machine, index_address, parse_margin, rerank_or_default};
use crate::exit::{ExitStatus, usage};
use crate::filters::FilterArgs;
use crate::output::{
    self, AnswerFormat, PairsFormat, check_pair_names, escaped, print_answers, print_json, quoted_path,
};
use crate::photos::{PhotoArg, ReadArgs, photo_args, relative_to};
use crate::progress::Bar;
use anyhow::{Result, bail};
use clap::Args;
use r2former_data::PositionKind;
use r2former_engine::{
    EngineError, IndexAddress, LoadedModel, LocateOptions, PlaceIndex, Progress, QueryResult, RerankMethod,
    locate, sequence_json, unknown_tags,
};
use r2former_index::{Filter, ReadPlaces};
use r2former_model::ModelConfig;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// Index: a folder, or qdrant://HOST:PORT/COLLECTION.
    #[arg(value_parser = index_address())]
    index: IndexAddress,
    /// Photos, or folders of photos; `-` reads one photo from standard input.
    #[arg(required_unless_present = "sequence")]
    images: Vec<PathBuf>,
    /// Matches to print for each query.
    #[arg(long, default_value_t = 5, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    top: u32,
    /// Number of candidates from the global search to rerank.
    #[arg(long, default_value_t = 100, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    candidates: u32,
    /// Reranking method: model, ransac (mutual nearest local features that one homography or similarity explains), mutual
    /// (their number alone), or none for the global ranking [default: model if its reranker is trained, else none].
    #[arg(long, value_name = "METHOD")]
    rerank: Option<RerankMethod>,
    /// Rerank by the model only the N candidates that RANSAC ranks first; the others follow in that order, without a score. As many as
    /// there are candidates means all [default: the model's own, 10 of the built-in one; else all].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    cascade: Option<u32>,
    /// Skip reranking if the top-1 margin is at least MARGIN: the cosine similarity of the best match minus that
    /// of the best match more than 25 m away from it; 0 to 2. `r2former eval ablate` measures what a value costs
    /// and saves [default: rerank every query].
    #[arg(long, value_name = "MARGIN", allow_negative_numbers = true, value_parser = parse_margin)]
    adaptive: Option<f32>,
    /// Search an index of a cluster by its graph: faster where it is large, and it may miss some of the best candidates
    /// [default: exact search, as in a folder].
    #[arg(long)]
    approximate: bool,
    /// Answer "not in this index" where the confidence in the best match is below P, 0 to 1; `auto` is the model's own
    /// threshold. The matches are printed all the same [default: never].
    #[arg(long, value_name = "P|auto", allow_negative_numbers = true)]
    min_confidence: Option<MinConfidence>,
    #[command(flatten)]
    sequence: SequenceArgs,
    #[command(flatten)]
    prior: PriorArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// Require that the index was built with this model; the index's own copy is used otherwise.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    #[command(flatten)]
    precision: IndexPrecision,
    /// Print query names relative to this folder, as image lists of other tools do.
    #[arg(long, value_name = "DIR")]
    query_root: Option<PathBuf>,
    /// Print the time of each stage, in milliseconds (JSON always has it).
    #[arg(long)]
    timing: bool,
    #[command(flatten)]
    read: ReadArgs,
    #[command(flatten)]
    format: FormatArgs,
}

/// The least confidence of an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
enum MinConfidence {
    /// The threshold of the model's calibration.
    Auto,
    At(f64),
}

impl std::str::FromStr for MinConfidence {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse::<f64>()) {
            ("auto", _) => Ok(Self::Auto),
            (_, Ok(value)) if (0.0..=1.0).contains(&value) => Ok(Self::At(value)),
            _ => Err(format!("'{text}' is neither a probability, 0 to 1, nor auto")),
        }
    }
}

impl MinConfidence {
    fn value(self, config: &ModelConfig) -> f64 {
        match self {
            // Without a calibration any value is refused by the first query.
            Self::Auto => config.calibration.as_ref().map_or(0.0, |own| own.threshold),
            Self::At(value) => value,
        }
    }
}

#[derive(Debug, Args)]
#[group(multiple = false)]
struct FormatArgs {
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    /// Print GeoJSON: a point for each estimate and each match.
    #[arg(long)]
    geojson: bool,
    /// Print CSV: a row for each match, and for each query without one.
    #[arg(long)]
    csv: bool,
    /// Print image pairs for another tool.
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
    if args.cascade.is_some() && args.rerank.is_some_and(|method| method != RerankMethod::Model) {
        usage!("--cascade chooses candidates for --rerank model, and --rerank says another method");
    }
    if args.adaptive.is_some() && args.rerank == Some(RerankMethod::None) {
        usage!("--adaptive says which queries are not reranked, and --rerank none reranks none");
    }
    if args.approximate && args.index.folder().is_some() {
        usage!(
            "{}: --approximate is for collections of a cluster; the search of a folder is exact",
            args.index
        );
    }
    let index = PlaceIndex::open(&args.index)?;
    let frames = args.sequence.frames()?;
    let photos = named_photos(args, &frames)?;
    let format = args.format.format(args.timing);
    if let AnswerFormat::Pairs(pairs) = format {
        check_pair_names(pairs, photos.iter().map(|photo| photo.name.as_str()))?;
    }
    let positions = index.positions();
    args.sequence.check(positions)?;
    if format == AnswerFormat::GeoJson {
        match positions.kind() {
            PositionKind::Local if positions.origin().is_none() => bail!(
                "--geojson: this index has positions in local metres without an origin, and GeoJSON needs degrees: use \
                 --json or --csv, or create the index with --origin LAT,LON"
            ),
            PositionKind::None => bail!("--geojson: this index has no positions: use --json or --csv"),
            _ => {}
        }
    }
    let filter = args.filter.filter()?;
    let mut priors = args.prior.open(positions.kind())?;
    let loaded = match &args.model {
        Some(path) => {
            let loaded = LoadedModel::open(path)?;
            index.check_model(&loaded)?;
            loaded
        }
        None => index.model()?,
    };
    let reader = index.reader()?;
    if reader.list(None, 1, &Filter::default())?.places.is_empty() {
        bail!("{0}: the index is empty: add photos with `r2former index add {0} PHOTOS`", args.index);
    }
    let unknown = unknown_tags(&reader, &filter)?;
    let mut options = options(args, rerank_or_default(args.rerank, &loaded.config)?).filter(filter);
    let mut track = args.sequence.track(&reader, positions.kind())?;
    if track.is_some() {
        // Frames are fused by all of their candidates.
        options.top = options.top.max(options.candidates);
    }
    options.min_confidence = args.min_confidence.map(|least| least.value(&loaded.config));
    options.check(&loaded.config)?;
    let extractor =
        machine.extractor_of(&index, loaded, args.precision.precision)?.with_limits(args.read.limits());

    let mut out = output::stdout();
    let (mut results, mut unreadable) = (Vec::new(), 0);
    let bar = Bar::default();
    if photos.len() > 1 {
        bar.start("queries", photos.len() as u64);
    }
    for (i, photo) in photos.iter().enumerate() {
        let answer = photo.load().map_err(EngineError::from).and_then(|loaded| {
            let (near, note) = priors.of(photo, &loaded);
            let mut options = options.clone();
            options.filter.near = near;
            let mut answer = locate(&reader, &extractor, loaded.query(), &options)?;
            answer.notes.extend(note.into_iter().chain(unknown.iter().cloned()));
            if let Some((track, frame)) = track.as_mut().zip(frames.get(i)) {
                let time = loaded.tags().ok().and_then(|tags| tags.time).map(|seconds| seconds as f64);
                track.push(&answer.query, frame.with(answer.matches.clone(), time));
                answer.notes.extend(track.note().map(ToOwned::to_owned));
                answer.matches.truncate(args.top as usize);
            }
            Ok(answer)
        });
        if let (Err(_), Some((track, frame))) = (&answer, track.as_mut().zip(frames.get(i))) {
            track.push(&photo.name, frame.with(Vec::new(), None));
        }
        let told = track.as_ref().is_some_and(|track| track.out_of_order() > 1);
        let result = match answer {
            Ok(answer) => {
                // A list in the wrong order would be a note for each frame.
                let times = track.as_ref().and_then(|track| track.note()).filter(|_| told);
                for note in answer.notes.iter().filter(|note| Some(note.as_str()) != times) {
                    bar.note(&format!("note: {}: {}", quoted_path(&answer.query), escaped(note)));
                }
                QueryResult::Answer(answer)
            }
            Err(error @ EngineError::Data(_)) => {
                bar.note(&format!("error: {}", escaped(&error.to_string())));
                unreadable += 1;
                QueryResult::Unreadable { query: photo.name.clone(), error: error.to_string() }
            }
            Err(error) => return Err(error.into()),
        };
        // For people, each answer appears as soon as it is there.
        if matches!(format, AnswerFormat::Text { .. }) {
            print_answers(&mut out, &[result], format, positions)?;
        } else {
            results.push(result);
        }
        bar.advance(1);
    }
    bar.finish();
    if let Some(unused) = priors.unused() {
        eprintln!("note: {}", escaped(&unused));
    }
    if let Some(count) = track.as_ref().map(|track| track.out_of_order()).filter(|count| *count > 0) {
        eprintln!(
            "note: {count} of {} frames were taken before the last frame with a time that precedes them: sort the sequence by \
             time if that is its order",
            photos.len()
        );
    }
    let points = track.map(|track| track.points());
    match (format, &points) {
        (AnswerFormat::Text { .. }, _) => {}
        (AnswerFormat::Json, Some(points)) => drop(print_json(&sequence_json(&results, points))?),
        _ => print_answers(&mut out, &results, format, positions)?,
    }
    if let Some(points) = &points {
        args.sequence.write(points, positions)?;
    }
    match (unreadable, photos.len()) {
        (0, _) if !priors.left_out() && !priors.names_nothing() => Ok(ExitStatus::Done),
        (unreadable, all) if unreadable == all => bail!("no query could be read"),
        _ => Ok(ExitStatus::Partial),
    }
}

fn options(args: &QueryArgs, method: RerankMethod) -> LocateOptions {
    let mut options =
        LocateOptions::default().top(args.top as usize).candidates(args.candidates as usize).rerank(method);
    options.adaptive = args.adaptive;
    options.approximate = args.approximate;
    options.cascade = args.cascade.map(|count| count as usize);
    options
}

/// The queries, called as the caller wants them called.
fn named_photos(args: &QueryArgs, frames: &[FrameArg]) -> Result<Vec<PhotoArg>> {
    let mut photos = photo_args(&args.images)?;
    photos.extend(frames.iter().map(|frame| PhotoArg::of(&frame.path)));
    if let Some(root) = &args.query_root {
        for photo in &mut photos {
            if let Some(path) = photo.path() {
                photo.name = relative_to(root, path)?;
            }
        }
    }
    Ok(photos)
}
