//! `r2former model pca`: local features of fewer dimensions.

use super::fitted::{self, FittedArgs};
use crate::exit::ExitStatus;
use anyhow::Result;
use clap::Args;
use r2former_train::fit_local_pca;
use serde_json::json;

#[derive(Debug, Args)]
#[command(after_help = "\
Example, twice as many local features in the bytes of before:
  r2former model pca model.safetensors short.safetensors --images photos --dim 64
  r2former model copy short.safetensors more.safetensors --num-local 400
  r2former eval suite sites.toml --model before=model.safetensors --model after=more.safetensors

An index is made with one model: build it again with the new one. `model calibrate --weigh-inliers` fits again how much RANSAC's
inliers count, of which there are more where there are more local features.")]
pub(crate) struct PcaArgs {
    #[command(flatten)]
    fitted: FittedArgs,
    /// Dimensions of a local feature to keep, at most as many as it has.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    dim: u32,
}

pub(super) fn run(args: &PcaArgs) -> Result<ExitStatus> {
    let dim = args.dim as usize;
    let words = format!("local features of {dim} dimensions");
    fitted::run(&args.fitted, ("local_pca", json!({ "dim": dim })), &words, |loaded, files, bar, skipped| {
        fit_local_pca(loaded, files, dim, args.fitted.seed, bar, skipped)
    })
}
