//! `r2former model vlad`: a global descriptor made of a model's own local features.

use crate::common::{ensure_model_output, load_model};
use crate::exit::ExitStatus;
use crate::output::{self, escaped, print_json};
use crate::progress::Bar;
use anyhow::Result;
use clap::Args;
use r2former_data::dataset::photos_of;
use r2former_engine::Progress;
use r2former_model::LocalVladConfig;
use r2former_model::checkpoint::{Storage, save};
use r2former_train::{LocalVladOptions, fit_local_vlad};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = "\
Example, a model that is fitted to the photographs of a site:
  r2former model vlad model.safetensors site.safetensors --images photos
  r2former eval suite sites.toml --model before=model.safetensors --model after=site.safetensors

An index is made with one model: build it again with the new one.")]
pub(crate) struct VladArgs {
    /// Model file to read; it needs local features.
    input: PathBuf,
    /// Model file to write (.safetensors): the same backbone, local features and reranker with another global descriptor.
    output: PathBuf,
    /// Folder of photos, or text file with one path per line; repeatable. Positions are not needed. Several hundred of the kind
    /// that will be searched, by different light; of more than 4,096 some are drawn.
    #[arg(long, value_name = "DIR|LIST", required = true)]
    images: Vec<PathBuf>,
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
    /// Decides which photos are drawn and where clusters begin.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Store weights as 16-bit floats: half the file size.
    #[arg(long)]
    half: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &VladArgs) -> Result<ExitStatus> {
    ensure_model_output(&args.output)?;
    let loaded = load_model(Some(&args.input))?;
    let mut photos = Vec::new();
    for source in &args.images {
        photos.extend(photos_of(source)?);
    }
    let files: Vec<&Path> = photos.iter().map(|photo| photo.path.as_path()).collect();
    let mut options = LocalVladOptions::default();
    let (clusters, dim) = (args.clusters as usize, args.dim as usize);
    (options.sizes, options.seed) = (LocalVladConfig { clusters, dim, softness: args.softness }, args.seed);
    let bar = Bar::default();
    let mut left_out = 0;
    let (mut config, tensors, used) = fit_local_vlad(&loaded, &files, &options, &bar, |_, error| {
        bar.note(&format!("note: left out: {}", escaped(&error.to_string())));
        left_out += 1;
    })?;
    let origin = json!({ "name": loaded.config.name, "fingerprint": loaded.fingerprint, "provenance": loaded.config.provenance });
    let license = loaded.config.license().map(str::to_owned);
    config.provenance = json!({ "local_vlad": { "photographs": used, "seed": args.seed, "of": origin } });
    if let Some(license) = license {
        config.set_license(&license);
    }
    save(&args.output, &config, &tensors, if args.half { Storage::F16 } else { Storage::F32 })?;
    let status = if left_out > 0 { ExitStatus::Partial } else { ExitStatus::Done };
    if args.json {
        print_json(
            &json!({ "photographs": used, "left_out": left_out, "dim": dim, "out": args.output.to_string_lossy() }),
        )?;
        return Ok(status);
    }
    let mut out = output::stdout();
    out.line(format_args!("fitted to {used} photographs: {dim} dimensions, {clusters} clusters"))?;
    out.line(format_args!("wrote {}", escaped(&args.output.display().to_string())))?;
    Ok(status)
}
