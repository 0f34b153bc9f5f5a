//! `r2former bench eval`: an evaluation of any size with made-up features, and the memory that it takes.

use super::bench::load;
use crate::common::{InputArgs, Machine, rerank_or_default};
use crate::exit::ExitStatus;
use crate::output::{self, bytes, print_json, print_report};
use crate::progress::Bar;
use anyhow::Result;
use clap::Args;
use r2former_engine::Rerank;
use r2former_eval::cost::{RehearsalOptions, rehearse};
use r2former_eval::{EvalOptions, Keeping, QueriesAs, Rules};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct EvalBenchArgs {
    /// Random weights of these sizes.
    #[arg(long, value_name = "NAME", conflicts_with = "model", default_value = "vit-tiny")]
    preset: String,
    /// Model file instead.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    #[command(flatten)]
    input: InputArgs,
    /// Images of the database.
    #[arg(long, default_value_t = 2000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    images: u32,
    /// Queries.
    #[arg(long, default_value_t = 300, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    queries: u32,
    /// Candidates to rerank.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    candidates: u32,
    /// How candidates are put in order: model, ransac or none [default: model where there is a reranker].
    #[arg(long)]
    rerank: Option<Rerank>,
    /// Hold at most so many megabytes of local features of each side in memory; what is more goes into a
    /// temporary file.
    #[arg(long, default_value_t = 1024, value_name = "MB")]
    memory: usize,
    /// Folder of that file [default: the system's].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &EvalBenchArgs, machine: &Machine) -> Result<ExitStatus> {
    let loaded = load(args.model.as_deref(), &args.preset)?;
    // Random weights rerank as fast as trained ones.
    let best = if loaded.config.reranker.is_some() { Rerank::Model } else { Rerank::None };
    let rerank = match args.rerank {
        Some(rerank) => rerank_or_default(Some(rerank), &loaded.config)?,
        None => best,
    };
    let extractor = machine.extractor(loaded.clone(), args.input.settings(&loaded))?;
    let eval = EvalOptions {
        rules: Rules::default(),
        rerank: vec![rerank],
        candidates: args.candidates as usize,
        adaptive: None,
        keeping: Keeping { memory_bytes: args.memory << 20, dir: None },
        queries_as: QueriesAs::default(),
    };
    let size = RehearsalOptions { images: args.images as usize, queries: args.queries as usize };
    let temporary = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let found = rehearse(&extractor, size, &eval, &temporary, &Bar::default())?;
    if args.json {
        return print_json(&found);
    }
    let mut out = output::stdout();
    print_report(&mut out, &found.report)?;
    out.line(format_args!(
        "features    {}, written in {:.1} s",
        bytes(found.feature_bytes),
        found.writing_s
    ))?;
    out.line(format_args!("evaluation  {:.1} s", found.evaluation_s))?;
    let peak = found.peak_bytes.map_or("unknown on this system".into(), bytes);
    out.line(format_args!("memory      {peak} at most"))?;
    Ok(ExitStatus::Done)
}
