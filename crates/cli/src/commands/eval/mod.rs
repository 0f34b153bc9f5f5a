//! `r2former eval`: recall on a dataset, with its protocol.

mod ablate;
mod compare;
mod cost;
mod datasets;
mod predictions;
mod sets;
mod suite;

use crate::common::{
    Machine, ModelArgs, ensure_writable_folder, load_model, parse_margin, parse_metres, parse_share, renamed,
    rerank_or_default,
};
use crate::exit::{ExitStatus, usage};
use crate::output::{self, print_json, print_summary};
use crate::progress::Bar;
use anyhow::Result;
use clap::{Args, Subcommand};
use datasets::{DatasetCommand, RulesArgs};
use r2former_data::dataset::Dataset;
use r2former_engine::{Extractor, PrecisionChoice, RerankMethod, Settings};
use r2former_eval::{
    Environment, EvalOptions, EvalSummary, FeatureStorage, PAGE, PredictionFormat, PredictionsFile,
    QueryPreprocessing, Rules, RunInfo, Unknown, Window, evaluate, rank, write_report,
};
use r2former_model::Device;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub(crate) enum EvalCommand {
    #[command(flatten)]
    Dataset(DatasetCommand<RunArgs>),
    /// Score predictions files of any program on a dataset.
    Predictions(predictions::PredictionsArgs),
    /// Compare two runs over the same queries: difference of recall, its interval, McNemar's test.
    Compare(compare::CompareArgs),
    /// Measure the cost of a query: time of each stage and bytes per image for each reranking method, with few and many
    /// local features, and exact search by database size.
    Cost(cost::CostArgs),
    /// Measure the effect of each choice: one change at a time against a baseline, on trained models.
    Ablate(ablate::AblateArgs),
    /// Measure models on several datasets at once: recall@1 of every ranking, mean and worst of all.
    ///
    /// For judging a model on several sites and conditions, above all on ones that it was not trained on: a model that gains
    /// on one site may lose on others, so the mean and the worst of all decide. With a baseline, each dataset has the
    /// difference of recall@1 on the same queries, with McNemar's exact test.
    Suite(suite::SuiteArgs),
}

/// Where extracted features are stored.
#[derive(Debug, Args)]
pub(crate) struct StorageArgs {
    /// Keep extracted features in this folder; an interrupted run resumes from them.
    #[arg(long, value_name = "DIR")]
    features: Option<PathBuf>,
    /// Memory limit for local features, per side; larger ones are stored in a temporary file, or in the folder of
    /// --features.
    #[arg(long, default_value_t = 1024, value_name = "MB")]
    memory: usize,
}

impl StorageArgs {
    pub(crate) fn storage(&self) -> FeatureStorage {
        FeatureStorage { memory_bytes: self.memory.saturating_mul(1 << 20), dir: self.features.clone() }
    }
}

/// Options of an evaluation.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    rules: RulesArgs,
    /// Query preprocessing: hard_resize (to the model's input size), single_query (keeps the aspect ratio; for
    /// Tokyo 24/7), central_crop, or five square crops: five_crops (mean descriptor), nearest_crop, maj_voting.
    #[arg(long, default_value = "hard_resize", value_name = "NAME")]
    query_preprocessing: QueryPreprocessing,
    /// Former name of --query-preprocessing.
    #[arg(long = concat!("queries", "-as"), hide = true, value_name = "NAME", num_args = 0..=1, default_missing_value = "", value_parser = renamed("--query-preprocessing"))]
    former_query_preprocessing: Option<String>,
    /// Candidates to rerank per query.
    #[arg(long, default_value_t = 100, value_name = "N")]
    candidates: usize,
    /// Reranking methods to evaluate beside the global ranking: model, ransac, mutual, or several separated by commas; none for
    /// the global ranking alone [default: model if its reranker is trained].
    #[arg(long, value_name = "METHOD", value_delimiter = ',')]
    rerank: Vec<RerankMethod>,
    /// Rerank by the model only the N candidates that RANSAC ranks first; the others follow in that order [default: the model's own, 10
    /// of the built-in one; else all].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    cascade: Option<u32>,
    /// Adaptive reranking: skip queries whose top-1 margin is at least this, 0 to 2. The margin is the cosine
    /// similarity of the best candidate minus that of the best one at another place (more than 25 m away)
    /// [default: rerank every query].
    #[arg(long, value_name = "MARGIN", allow_negative_numbers = true, value_parser = parse_margin)]
    adaptive: Option<f32>,
    /// Measure confidence, with this share of the queries made unknown, 0 to 1: they are asked of the database without their
    /// positives and surroundings. Recall is of all queries, with their positives.
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    unknown: Option<f64>,
    /// Seed of the choice of unknown queries.
    #[arg(long, default_value_t = 1, value_name = "SEED", requires = "unknown")]
    seed: u64,
    /// Measure recall@1 with windows of N queries in a row, fused as the frames of a sequence: the query and those before it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..=1000))]
    window: Option<u16>,
    /// Metres per second that the frames of a window do not exceed, where queries have times [default: 15].
    #[arg(long, value_name = "M/S", allow_negative_numbers = true, value_parser = parse_metres, requires = "window")]
    max_speed: Option<f64>,
    /// Metres between two frames that are not exceeded where a time is missing [default: 15]; without positions, references
    /// in their order [default: 3].
    #[arg(long, value_name = "METRES", allow_negative_numbers = true, value_parser = parse_metres, requires = "window")]
    max_step: Option<f64>,
    #[command(flatten)]
    storage: StorageArgs,
    /// Write a report into this folder: report.html, and results.json with every query.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Write the first 100 references of each query's final ranking to this file: .txt in the format of the MSLS
    /// challenge, or .csv. A dataset without positions is then ranked and not scored.
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &EvalCommand, machine: &Machine) -> Result<ExitStatus> {
    match command {
        EvalCommand::Dataset(command) => on_dataset(command, machine),
        EvalCommand::Predictions(args) => predictions::run(args),
        EvalCommand::Compare(args) => compare::run(args),
        EvalCommand::Cost(args) => cost::run(args, machine),
        EvalCommand::Ablate(args) => ablate::run(args, machine),
        EvalCommand::Suite(args) => suite::run(args, machine),
    }
}

fn on_dataset(command: &DatasetCommand<RunArgs>, machine: &Machine) -> Result<ExitStatus> {
    let args = command.rest();
    if let Some(Err(error)) = args.predictions.as_deref().map(PredictionFormat::of) {
        usage!("--predictions {error}");
    }
    let dataset = command.read()?;
    // Outputs are checked before the run, so that its result is not lost.
    args.report.as_deref().map(ensure_writable_folder).transpose()?;
    let file = args.predictions.as_deref().map(|path| PredictionsFile::new(path, &dataset)).transpose()?;
    let extractor = args.model.extractor(machine, None)?;
    let options = args.options(&extractor, command.rules(&args.rules))?;
    if let (Some(file), false) = (&file, dataset.has_ground_truth()) {
        return only_rank(&dataset, &extractor, &options, file, args);
    }
    let evaluation = evaluate(&dataset, &extractor, &options, &Bar::default())?;
    if let Some(file) = &file {
        let queries: Vec<usize> = evaluation.queries.iter().map(|query| query.number).collect();
        file.write(&queries, evaluation.rankings.last())?;
    }
    if let Some(dir) = &args.report {
        let environment = Environment::gather(this_run(), &extractor, &machine.device);
        write_report(dir, &evaluation, &dataset, &extractor, &environment, &Bar::default())?;
        eprintln!("report: {}", dir.join(PAGE).display());
    }
    show(&evaluation.summary, args.json, dataset.left_out)
}

/// This process, for reports.
pub(super) fn this_run() -> RunInfo {
    RunInfo::gather(concat!("r2former ", env!("CARGO_PKG_VERSION")), env!("R2FORMER_REVISION"))
}

/// The environment of a report on several models: that of the first one, the built-in model without a path; in the arithmetic
/// that is asked for, or its own.
pub(super) fn environment(
    model: Option<&Path>,
    precision: Option<PrecisionChoice>,
    machine: &Machine,
    device: &Device,
) -> Result<Environment> {
    let loaded = load_model(model)?;
    let mut settings = Settings::of(&loaded.config);
    if let Some(choice) = precision {
        settings = settings.with_precision(choice, &loaded.config, device);
    }
    let extractor = Extractor::new(loaded, settings, device)?;
    Ok(Environment::gather(this_run(), &extractor, &machine.device))
}

/// Ranks a dataset without positions.
fn only_rank(
    dataset: &Dataset,
    extractor: &Extractor,
    options: &EvalOptions,
    file: &PredictionsFile,
    args: &RunArgs,
) -> Result<ExitStatus> {
    let ranked = rank(dataset, extractor, options, &Bar::default())?;
    file.write(&ranked.queries, ranked.rankings.last())?;
    let unusable = ranked.unusable.len();
    if args.json {
        print_json(&json!({
            "dataset": dataset.name, "notes": dataset.notes, "queries": dataset.queries.len(),
            "database": dataset.database.len(), "unusable": ranked.unusable,
            "predictions": args.predictions.as_deref().map(Path::to_string_lossy),
        }))?;
    } else {
        let mut out = output::stdout();
        let (queries, database) = (dataset.queries.len(), dataset.database.len());
        out.line(format_args!("{}: {queries} queries, {database} references", dataset.name))?;
        dataset.notes.iter().try_for_each(|note| out.line(format_args!("note        {note}")))?;
        out.line(format_args!("no positions: the queries were ranked, nothing was scored"))?;
        if unusable > 0 {
            out.line(format_args!("unusable    {unusable} images (listed above)"))?;
        }
    }
    Ok(if unusable + dataset.left_out == 0 { ExitStatus::Done } else { ExitStatus::Partial })
}

impl RunArgs {
    fn options(&self, extractor: &Extractor, rules: Rules) -> Result<EvalOptions> {
        let config = extractor.config();
        let asked = self.rerank.iter().map(|rerank| rerank_or_default(Some(*rerank), config));
        let mut rerank: Vec<RerankMethod> = asked.collect::<Result<_>>()?;
        if rerank.is_empty() {
            rerank.push(rerank_or_default(None, config)?);
        }
        Ok(EvalOptions::new(rules)
            .rerank(rerank)
            .candidates(self.candidates)
            .cascade(self.cascade.map(|count| count as usize))
            .adaptive(self.adaptive)
            .storage(self.storage.storage())
            .query_preprocessing(self.query_preprocessing)
            .window(self.window.map(|frames| Window {
                frames: frames.into(),
                max_speed: self.max_speed,
                max_step: self.max_step,
            }))
            .unknown(self.unknown.map(|share| Unknown { share, seed: self.seed })))
    }
}

fn show(summary: &EvalSummary, json: bool, left_out: usize) -> Result<ExitStatus> {
    if json {
        print_json(summary)?;
    } else {
        print_summary(&mut output::stdout(), summary)?;
    }
    Ok(if summary.unusable.is_empty() && left_out == 0 { ExitStatus::Done } else { ExitStatus::Partial })
}
