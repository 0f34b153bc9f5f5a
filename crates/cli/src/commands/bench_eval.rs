//! `r2former bench eval`: memory and time of an evaluation of any size, with synthetic features.

use crate::common::{InputArgs, Machine, ensure_writable_folder, model_or_preset, rerank_or_default};
use crate::exit::ExitStatus;
use crate::output::{self, bytes, print_json, print_summary};
use crate::progress::Bar;
use anyhow::Result;
use clap::Args;
use r2former_engine::RerankMethod;
use r2former_eval::cost::{DryRunOptions, measure_memory};
use r2former_eval::{EvalOptions, FeatureStorage};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct EvalBenchArgs {
    /// Architecture with random weights: deit-s, deit-b, vit-tiny, vit-s, vit-b, dinov2-s, dinov2-b, dinov2-l, dinov2-g, dinov3-s, dinov3-s-plus, dinov3-b, dinov3-l, megaloc, salad, boq-dinov2, cricavpr, selavpr or selavprplusplus.
    #[arg(long, value_name = "NAME", conflicts_with = "model", default_value = "vit-tiny")]
    preset: String,
    /// Model file, in place of --preset.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    #[command(flatten)]
    input: InputArgs,
    /// Database images.
    #[arg(long, default_value_t = 2000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    images: u32,
    /// Queries.
    #[arg(long, default_value_t = 300, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    queries: u32,
    /// Candidates to rerank per query.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    candidates: u32,
    /// Reranking method: model, ransac, mutual or none [default: model if it has a reranker].
    #[arg(long, value_name = "METHOD")]
    rerank: Option<RerankMethod>,
    /// Memory limit for local features, per side; larger ones are stored in a temporary file.
    #[arg(long, default_value_t = 1024, value_name = "MB")]
    memory: usize,
    /// Folder of the temporary file [default: the system's].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &EvalBenchArgs, machine: &Machine) -> Result<ExitStatus> {
    args.dir.as_deref().map(ensure_writable_folder).transpose()?;
    let loaded = model_or_preset(args.model.as_deref(), &args.preset)?;
    // Random weights rerank as fast as trained ones.
    let best = if loaded.config.reranker.is_some() { RerankMethod::Model } else { RerankMethod::None };
    let rerank = match args.rerank {
        Some(rerank) => rerank_or_default(Some(rerank), &loaded.config)?,
        None => best,
    };
    let extractor = machine.extractor(loaded.clone(), args.input.settings(&loaded, machine)?)?;
    let storage = FeatureStorage { memory_bytes: args.memory.saturating_mul(1 << 20), dir: None };
    let candidates = args.candidates as usize;
    let eval = EvalOptions::default().rerank(vec![rerank]).candidates(candidates).storage(storage);
    let size = DryRunOptions { images: args.images as usize, queries: args.queries as usize };
    let temporary = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let found = measure_memory(&extractor, size, &eval, &temporary, &Bar::default())?;
    if args.json {
        return print_json(&found);
    }
    let mut out = output::stdout();
    print_summary(&mut out, &found.summary)?;
    out.line(format_args!(
        "features    {}, written in {:.1} s",
        bytes(found.feature_bytes),
        found.writing_s
    ))?;
    out.line(format_args!("evaluation  {:.1} s", found.evaluation_s))?;
    let peak = found.peak_bytes.map_or("unknown on this system".into(), bytes);
    out.line(format_args!("memory      {peak} at peak"))?;
    Ok(ExitStatus::Done)
}
