//! `r2former extract`: descriptors of photographs as a safetensors file.

use crate::common::{Machine, ModelArgs, ensure_writable};
use crate::exit::ExitStatus;
use crate::output::{self, escaped, print_json};
use crate::photos::{PhotoArg, ReadArgs, photo_args};
use crate::progress::Bar;
use crate::tensors::tensor_images;
use anyhow::Result;
use clap::Args;
use r2former_engine::{DecodedQuery, ImageFeatures, Progress, extract_stream};
use r2former_model::checkpoint::write_atomically;
use safetensors::{Dtype, tensor::TensorView};
use serde_json::json;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(crate) struct ExtractArgs {
    /// Photos, or folders of photos; `-` reads one photo from standard input. Or normalised tensors as
    /// FILE.safetensors:NAME[:I], of shape (n, 3, H, W).
    #[arg(required = true)]
    images: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// Safetensors file to write: tensors `global` (n, dimensions) and `local` (n, K, row), where a row is x, y,
    /// attention and the feature (zeros where an image has fewer patches than others); the header lists the photos under `names`, as JSON.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    read: ReadArgs,
    /// Print a JSON summary.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ExtractArgs, machine: &Machine) -> Result<ExitStatus> {
    ensure_writable(&args.out)?;
    let tensors = tensor_images(&args.images)?;
    let extractor =
        args.model.extractor(machine, tensors.as_ref().map(|t| t.size))?.with_limits(args.read.limits());
    let (mut global, mut locals) = (Vec::new(), Vec::new());
    let mut keep = |features: ImageFeatures| {
        global.extend(features.global);
        locals.push(features.local);
    };
    let names: Vec<String> = match tensors {
        Some(tensors) => {
            for input in tensors.inputs {
                extractor.extract(&[input])?.into_iter().for_each(&mut keep);
            }
            tensors.names
        }
        None => {
            let photos = photo_args(&args.images)?;
            let bar = Bar::default();
            bar.start("images", photos.len() as u64);
            // One bad image ends the run: a row would be missing, and rows are matched to names by number.
            let files: Option<Vec<&Path>> = photos.iter().map(PhotoArg::path).collect();
            match files {
                Some(files) if !args.read.accept_truncated => {
                    photos.iter().try_for_each(|photo| photo.load().map(drop))?;
                    extract_stream(&extractor, &files, &bar, |_, features| {
                        keep(features?);
                        Ok(())
                    })?;
                }
                _ => {
                    for photo in &photos {
                        let loaded = photo.load()?;
                        let DecodedQuery { pixels, notes } = extractor.decode(&loaded.query())?;
                        for note in notes {
                            bar.note(&format!("note: {}: {}", escaped(&photo.name), escaped(&note)));
                        }
                        keep(extractor.extract_image(&*pixels)?);
                        bar.advance(1);
                    }
                }
            }
            bar.finish();
            photos.into_iter().map(|photo| photo.name).collect()
        }
    };

    let config = extractor.config();
    let (n, row) = (names.len(), config.local_row());
    // Photographs of different sizes may have fewer patches than others: rows of zeros follow.
    let longest = locals.iter().map(Vec::len).max().unwrap_or(0);
    let mut local = Vec::with_capacity(n * longest);
    for values in &locals {
        local.extend(values);
        local.resize(local.len() + longest - values.len(), 0.0);
    }
    let as_bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let (global_bytes, local_bytes) = (as_bytes(&global), as_bytes(&local));
    let mut shapes = vec![("global", vec![n, config.global_dim()], &global_bytes)];
    if row > 0 {
        shapes.push(("local", vec![n, local.len() / (n * row), row], &local_bytes));
    }
    let views = shapes
        .iter()
        .map(|(name, shape, bytes)| Ok((*name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>>>()?;
    let settings = serde_json::to_string(&extractor.settings())?;
    let header = HashMap::from([
        ("names".to_string(), serde_json::to_string(&names)?),
        ("model".to_string(), config.name.clone()),
        ("settings".to_string(), settings),
    ]);
    write_atomically(&args.out, &safetensors::serialize(views, Some(header))?)?;

    let summary: serde_json::Map<String, serde_json::Value> =
        shapes.iter().map(|(name, shape, _)| ((*name).to_string(), json!(shape))).collect();
    if args.json {
        return print_json(&json!({ "out": args.out.to_string_lossy(), "names": names, "tensors": summary }));
    }
    let mut out = output::stdout();
    for (name, shape, _) in &shapes {
        out.line(format_args!("{name:<7} {shape:?}"))?;
    }
    out.line(format_args!("wrote   {}", escaped(&args.out.display().to_string())))?;
    Ok(ExitStatus::Done)
}
