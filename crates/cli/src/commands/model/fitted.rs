//! What commands share that fit a part of a model to photographs without labels.

use crate::common::{ensure_model_output, load_model};
use crate::exit::ExitStatus;
use crate::output::{self, escaped, print_json};
use crate::progress::Bar;
use anyhow::Result;
use clap::Args;
use r2former_data::dataset::photos_of;
use r2former_engine::{EngineError, LoadedModel, Progress};
use r2former_model::ModelConfig;
use r2former_model::checkpoint::{Storage, save};
use r2former_model::weights::Tensors;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct FittedArgs {
    /// Model file to read; it needs local features.
    input: PathBuf,
    /// Model file to write (.safetensors).
    output: PathBuf,
    /// Folder of photos, or text file with one path per line; repeatable. Positions are not needed. Several hundred of the kind
    /// that will be searched, by different light; of more than 4,096 some are drawn, of more than 1,024 for principal directions.
    #[arg(long, value_name = "DIR|LIST", required = true)]
    images: Vec<PathBuf>,
    /// Decides which photos and local features are drawn.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(super) seed: u64,
    /// Store weights as 16-bit floats: half the file size.
    #[arg(long)]
    half: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A fitted model, and the number of photographs that it was fitted to.
type Fitted = (ModelConfig, Tensors, usize);

/// Fits by `fit`, which is given the model, the photographs, a progress bar and what to call for those that cannot be read; then writes
/// and prints the result. `what` is the name in the file's provenance, and `facts` what JSON says beside the number of photographs.
pub(super) fn run(
    args: &FittedArgs,
    (what, facts): (&str, Value),
    words: &str,
    fit: impl FnOnce(
        &LoadedModel,
        &[&Path],
        &Bar,
        &mut dyn FnMut(&Path, EngineError),
    ) -> r2former_train::Result<Fitted>,
) -> Result<ExitStatus> {
    ensure_model_output(&args.output)?;
    let loaded = load_model(Some(&args.input))?;
    let mut photos = Vec::new();
    for source in &args.images {
        photos.extend(photos_of(source)?);
    }
    let files: Vec<&Path> = photos.iter().map(|photo| photo.path.as_path()).collect();
    let bar = Bar::default();
    let mut left_out = 0;
    let (mut config, tensors, used) = fit(&loaded, &files, &bar, &mut |_, error| {
        bar.note(&format!("note: left out: {}", escaped(&error.to_string())));
        left_out += 1;
    })?;
    let before = &loaded.config;
    let origin =
        json!({ "name": before.name, "fingerprint": loaded.fingerprint, "provenance": before.provenance });
    config.provenance = json!({ what: { "photographs": used, "seed": args.seed, "of": origin } });
    if let Some(license) = before.license() {
        config.set_license(license);
    }
    save(&args.output, &config, &tensors, if args.half { Storage::F16 } else { Storage::F32 })?;
    let status = if left_out > 0 { ExitStatus::Partial } else { ExitStatus::Done };
    if args.json {
        let mut said = facts;
        said["photographs"] = used.into();
        said["left_out"] = left_out.into();
        said["out"] = args.output.to_string_lossy().into();
        print_json(&said)?;
        return Ok(status);
    }
    let mut out = output::stdout();
    out.line(format_args!("fitted to {used} photographs: {words}"))?;
    out.line(format_args!("wrote {}", escaped(&args.output.display().to_string())))?;
    Ok(status)
}
