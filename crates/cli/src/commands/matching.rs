//! `r2former match`: do these two photographs show the same place?

use crate::common::{Machine, ModelArgs};
use crate::exit::ExitStatus;
use crate::output::{self, print_json};
use crate::tensors::tensor_images;
use anyhow::{Result, bail};
use clap::Args;
use r2former_engine::score_pair;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct MatchArgs {
    /// The query. A photograph, or a normalised tensor as FILE.safetensors:NAME:I.
    a: PathBuf,
    /// The reference that it is compared with.
    b: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// Print JSON: cosine, logits (different place, same place), score.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &MatchArgs, machine: &Machine) -> Result<ExitStatus> {
    let tensors = tensor_images(&[args.a.clone(), args.b.clone()])?;
    let extractor = args.model.extractor(machine, tensors.as_ref().map(|t| t.size))?;
    let features = match &tensors {
        Some(tensors) => extractor.extract(&tensors.inputs)?,
        None => vec![extractor.extract_file(&args.a)?, extractor.extract_file(&args.b)?],
    };
    let [a, b] = features.as_slice() else {
        bail!(
            "two images are compared, but {} were named: add the image's number, as in FILE:NAME:0",
            features.len()
        );
    };
    let cosine: f32 = a.global.iter().zip(&b.global).map(|(x, y)| x * y).sum();
    let config = extractor.config();
    let pair = match config.reranker {
        Some(_) => Some(score_pair(&extractor, &a.local, &b.local)?),
        None => None,
    };
    if args.json {
        return print_json(&json!({
            "a": args.a, "b": args.b, "model": config.name, "cosine": cosine,
            "logits": pair.map(|p| p.logits), "score": pair.map(|p| p.score),
            "reranker_trained": config.trained.reranker,
        }));
    }
    let mut out = output::stdout();
    out.line(format_args!("cosine  {cosine:.6}   (global descriptors, -1 to 1)"))?;
    match pair {
        Some(pair) => {
            let [different, same] = pair.logits;
            out.line(format_args!("logits  {different:.6} {same:.6}   (different place, same place)"))?;
            out.line(format_args!("score   {:.6}   (probability of the same place)", pair.score))?;
            if !config.trained.reranker {
                out.line(format_args!(
                    "note: the reranker of {} is not trained; logits and score mean nothing",
                    config.name
                ))?;
            }
        }
        None => out.line(format_args!("{} has no reranker: no logits, no score", config.name))?,
    }
    Ok(ExitStatus::Done)
}
