//! `r2former eval`: recall on a dataset, with the protocol that it belongs to.

mod ablate;
mod compare;
mod cost;
mod datasets;
mod predictions;
mod sets;

use crate::common::{Machine, ModelArgs, parse_margin, rerank_or_default};
use crate::exit::ExitStatus;
use crate::output::{self, print_json, print_report};
use crate::progress::Bar;
use anyhow::Result;
use clap::{Args, Subcommand};
use datasets::{DatasetCommand, RulesArgs};
use r2former_data::dataset::Dataset;
use r2former_engine::{Extractor, Rerank};
use r2former_eval::{
    EvalOptions, EvalReport, Facts, Keeping, PAGE, PredictionsFile, QueriesAs, Rules, RunFacts, evaluate,
    rank, write_report,
};
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum EvalCommand {
    #[command(flatten)]
    Dataset(DatasetCommand<RunArgs>),
    /// Score files of predictions, anyone's, on a dataset.
    Predictions(predictions::PredictionsArgs),
    /// Compare two runs over the same queries: difference, interval, McNemar's test.
    Compare(compare::CompareArgs),
    /// What a query costs, measured: time of each stage and bytes of each image for every order, with few and many
    /// local features, and exact search by size of the database.
    Cost(cost::CostArgs),
    /// What each choice is worth: one change at a time against a baseline, on a trained model.
    Ablate(ablate::AblateArgs),
}

/// Where features are meanwhile.
#[derive(Debug, Args)]
pub(crate) struct KeepingArgs {
    /// Keep features in this folder, so that an interrupted run goes on from what it had.
    #[arg(long, value_name = "DIR")]
    features: Option<PathBuf>,
    /// Hold at most so many megabytes of local features of each side in memory; what is more goes into a
    /// temporary file, or into that of --features.
    #[arg(long, default_value_t = 1024, value_name = "MB")]
    memory: usize,
}

impl KeepingArgs {
    fn keeping(&self) -> Keeping {
        Keeping { memory_bytes: self.memory << 20, dir: self.features.clone() }
    }
}

/// How a model is run over a dataset.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    rules: RulesArgs,
    /// How queries are brought to the network: hard_resize; single_query (in their own shape: Tokyo 24/7);
    /// central_crop; five_crops, nearest_crop, maj_voting (five square crops).
    #[arg(long, default_value = "hard_resize", value_name = "NAME")]
    queries_as: QueriesAs,
    /// Candidates to rerank.
    #[arg(long, default_value_t = 100, value_name = "N")]
    candidates: usize,
    /// Ways to rerank, each beside the global order: model, ransac, or both with a comma; none for neither
    /// [default: model where its reranker is trained].
    #[arg(long, value_delimiter = ',')]
    rerank: Vec<Rerank>,
    /// Rerank only queries whose global order is unclear: whose best image leads the best one of another place (more
    /// than 25 m away) by less than this in cosine.
    #[arg(long, value_name = "MARGIN", allow_negative_numbers = true, value_parser = parse_margin)]
    adaptive: Option<f32>,
    #[command(flatten)]
    keeping: KeepingArgs,
    /// Write a report into this folder: report.html for people, results.json with every query.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Write the last order's first 100 references of each query into this file: .txt as the MSLS challenge
    /// takes them, or .csv. A dataset without positions is then ranked and not scored.
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
    }
}

fn on_dataset(command: &DatasetCommand<RunArgs>, machine: &Machine) -> Result<ExitStatus> {
    let args = command.rest();
    let dataset = command.read()?;
    // Before the run: a name that cannot be written would be a pity after it.
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
        let facts = Facts::gather(this_run(), &extractor, &machine.device);
        write_report(dir, &evaluation, &dataset, &extractor, &facts, &Bar::default())?;
        eprintln!("report: {}", dir.join(PAGE).display());
    }
    show(&evaluation.report, args.json)
}

/// This process, for a report.
pub(super) fn this_run() -> RunFacts {
    RunFacts::gather(concat!("r2former ", env!("CARGO_PKG_VERSION")), env!("R2FORMER_REVISION"))
}

/// Ranks a dataset whose positions are withheld.
fn only_rank(
    dataset: &Dataset,
    extractor: &Extractor,
    options: &EvalOptions,
    file: &PredictionsFile,
    args: &RunArgs,
) -> Result<ExitStatus> {
    let ranked = rank(dataset, extractor, options, &Bar::default())?;
    file.write(&ranked.queries, ranked.orders.last())?;
    let unusable = ranked.unusable.len();
    if args.json {
        print_json(&json!({
            "dataset": dataset.name, "notes": dataset.notes, "queries": dataset.queries.len(),
            "database": dataset.database.len(), "predictions": args.predictions, "unusable": ranked.unusable,
        }))?;
    } else {
        let mut out = output::stdout();
        let (queries, database) = (dataset.queries.len(), dataset.database.len());
        out.line(format_args!("{}: {queries} queries, {database} references", dataset.name))?;
        dataset.notes.iter().try_for_each(|note| out.line(format_args!("note        {note}")))?;
        out.line(format_args!("positions are withheld: the queries were ranked, nothing was scored"))?;
        if unusable > 0 {
            out.line(format_args!("unusable    {unusable} images (named above)"))?;
        }
    }
    Ok(if unusable == 0 { ExitStatus::Done } else { ExitStatus::Partial })
}

impl RunArgs {
    fn options(&self, extractor: &Extractor, rules: Rules) -> Result<EvalOptions> {
        let config = extractor.config();
        let asked = self.rerank.iter().map(|rerank| rerank_or_default(Some(*rerank), config));
        let mut rerank: Vec<Rerank> = asked.collect::<Result<_>>()?;
        if rerank.is_empty() {
            rerank.push(rerank_or_default(None, config)?);
        }
        Ok(EvalOptions {
            rules,
            rerank,
            candidates: self.candidates,
            adaptive: self.adaptive,
            keeping: self.keeping.keeping(),
            queries_as: self.queries_as,
        })
    }
}

fn show(report: &EvalReport, json: bool) -> Result<ExitStatus> {
    if json {
        print_json(report)?;
    } else {
        print_report(&mut output::stdout(), report)?;
    }
    Ok(if report.unusable.is_empty() { ExitStatus::Done } else { ExitStatus::Partial })
}
