//! `r2former match`: do these two photographs show the same place?

use crate::common::{Machine, ModelArgs};
use crate::exit::{ExitStatus, usage};
use crate::output::{self, escaped, print_json, quoted_path};
use crate::photos::{PhotoArg, ReadArgs};
use crate::tensors::tensor_images;
use anyhow::{Result, bail};
use clap::Args;
use r2former_engine::{DecodedQuery, Extractor, ImageFeatures, ScoreKind, score_pair};
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct MatchArgs {
    /// Query: a photo, `-` for standard input, or a normalised tensor as FILE.safetensors:NAME:I.
    a: PathBuf,
    /// Reference, likewise.
    b: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    read: ReadArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &MatchArgs, machine: &Machine) -> Result<ExitStatus> {
    let tensors = tensor_images(&[args.a.clone(), args.b.clone()])?;
    let extractor =
        args.model.extractor(machine, tensors.as_ref().map(|t| t.size))?.with_limits(args.read.limits());
    let features = match &tensors {
        Some(tensors) => extractor.extract(&tensors.inputs)?,
        None => {
            let photos = photo_pair(args)?;
            photos.iter().map(|photo| extract(&extractor, photo)).collect::<Result<Vec<_>>>()?
        }
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
            "a": args.a.to_string_lossy(), "b": args.b.to_string_lossy(), "model": config.name,
            "similarity": cosine,
            "logits": pair.map(|p| p.logits), "score": pair.map(|p| p.score),
            "score_kind": pair.map(|_| ScoreKind::RerankerProbability),
            "reranker_trained": config.trained.reranker,
        }));
    }
    let mut out = output::stdout();
    out.line(format_args!("similarity  {cosine:.6}   (cosine of the global descriptors, -1 to 1)"))?;
    match pair {
        Some(pair) => {
            let [different, same] = pair.logits;
            out.line(format_args!("logits      {different:.6} {same:.6}   (different place, same place)"))?;
            out.line(format_args!(
                "score       {:.6}   (the reranker's probability of the same place)",
                pair.score
            ))?;
            if !config.trained.reranker {
                out.line(format_args!(
                    "note: the reranker of {} is not trained; logits and score are meaningless",
                    config.name
                ))?;
            }
        }
        None => out.line(format_args!("{} has no reranker: no logits, no score", config.name))?,
    }
    Ok(ExitStatus::Done)
}

fn photo_pair(args: &MatchArgs) -> Result<[PhotoArg; 2]> {
    let photos = [PhotoArg::of(&args.a), PhotoArg::of(&args.b)];
    if photos.iter().all(PhotoArg::is_stdin) {
        usage!("both photos are standard input, which can be read only once");
    }
    Ok(photos)
}

fn extract(extractor: &Extractor, photo: &PhotoArg) -> Result<ImageFeatures> {
    let loaded = photo.load()?;
    let DecodedQuery { pixels, notes } = extractor.decode(&loaded.query())?;
    for note in notes {
        eprintln!("note: {}: {}", quoted_path(&photo.name), escaped(&note));
    }
    Ok(extractor.extract_image(&*pixels)?)
}
