//! `r2former model vlad`: a global descriptor made of a model's own local features.

use super::fitted::{self, FittedArgs};
use crate::exit::ExitStatus;
use anyhow::Result;
use clap::Args;
use r2former_model::LocalVladConfig;
use r2former_train::{LocalVladOptions, fit_local_vlad};
use serde_json::json;

#[derive(Debug, Args)]
#[command(after_help = "\
Example, a model that is fitted to the photographs of a site:
  r2former model vlad model.safetensors site.safetensors --images photos
  r2former eval suite sites.toml --model before=model.safetensors --model after=site.safetensors

An index is made with one model: build it again with the new one.")]
pub(crate) struct VladArgs {
    #[command(flatten)]
    fitted: FittedArgs,
    /// Clusters of local features.
    #[arg(long, default_value_t = 16, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=1024))]
    clusters: u32,
    /// Dimensions of the descriptor; there have to be more photos.
    #[arg(long, default_value_t = 256, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    dim: u32,
    /// Factor of the cosines of a feature to the clusters before the softmax that assigns it: a large one assigns it to the nearest
    /// alone.
    #[arg(long, default_value_t = 8.0, value_name = "X")]
    softness: f64,
}

pub(super) fn run(args: &VladArgs) -> Result<ExitStatus> {
    let (clusters, dim) = (args.clusters as usize, args.dim as usize);
    let mut options = LocalVladOptions::default();
    options.sizes = LocalVladConfig { clusters, dim, softness: args.softness };
    options.seed = args.fitted.seed;
    let words = format!("{dim} dimensions, {clusters} clusters");
    fitted::run(&args.fitted, ("local_vlad", json!({ "dim": dim })), &words, |loaded, files, bar, skipped| {
        fit_local_vlad(loaded, files, &options, bar, skipped)
    })
}
