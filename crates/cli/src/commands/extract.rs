//! `r2former extract`: descriptors of photographs as a safetensors file.

use crate::common::{Machine, ModelArgs, ensure_ending, ensure_writable};
use crate::descriptor_file::{DescriptorFile, Rows};
use crate::exit::{ExitStatus, usage};
use crate::output::{self, escaped, print_json, quoted_path};
use crate::photos::{PhotoArg, ReadArgs, photo_args_anywhere, shard_of};
use crate::progress::Bar;
use crate::shards::{Record, ShardArgs, recorded};
use crate::tensors::tensor_images;
use anyhow::{Result, bail};
use clap::Args;
use r2former_data::DataError;
use r2former_engine::{
    DecodedQuery, EngineError, Extractor, ImageFeatures, Progress, ShardWork, Source, extract_stream,
};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(crate) struct ExtractArgs {
    /// Photos, or folders of photos; `-` reads one photo from standard input. s3://BUCKET/PREFIX and gs://BUCKET/PREFIX are
    /// folders, https://HOST/LIST a text of addresses. Or normalised tensors as FILE.safetensors:NAME[:I], of shape
    /// (n, 3, H, W).
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
    #[command(flatten)]
    shard: ShardArgs,
    /// Print a JSON summary.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ExtractArgs, machine: &Machine) -> Result<ExitStatus> {
    ensure_ending("--out", &args.out, "safetensors", "safetensors")?;
    ensure_writable(&args.out)?;
    let tensors = tensor_images(&args.images)?;
    if tensors.is_some() && args.shard.shard.is_some() {
        usage!("--shard is for photographs: name the tensors of this part as FILE.safetensors:NAME:I");
    }
    let size = tensors.as_ref().map(|t| t.size);
    let extractor = args.model.extractor(machine, size)?.with_limits(args.read.limits());
    let Some(tensors) = tensors else { return photographs(args, extractor) };
    let record = begin(args, &extractor, Vec::new())?;
    recorded(record, || {
        let mut features = Vec::with_capacity(tensors.inputs.len());
        for input in tensors.inputs {
            features.extend(extractor.extract(&[input])?);
        }
        write(args, &extractor, tensors.names, features, 0, None)
    })
}

/// Begins the record of this run, where one is kept.
fn begin(args: &ExtractArgs, extractor: &Extractor, sources: Vec<Source>) -> Result<Option<Record>> {
    let mut record = args.shard.record("extract", &args.out.to_string_lossy(), sources)?;
    if let Some(record) = &mut record {
        record.begin(&extractor.config().name, extractor.fingerprint(), extractor.settings())?;
    }
    Ok(record)
}

fn photographs(args: &ExtractArgs, mut extractor: Extractor) -> Result<ExitStatus> {
    let mut stores = None;
    let (photos, part, roots) = match args.shard.shard {
        None => (photo_args_anywhere(&args.images, &mut stores)?, None, Vec::new()),
        Some(shard) => {
            let own = shard_of(&args.images, shard, &mut stores)?;
            (own.photos, Some(Rows::of(shard, own.rows, own.total)), own.roots)
        }
    };
    let sources = roots.iter().map(|root| Source { label: root.label.clone(), root: root.root_text() });
    if let Some(stores) = stores {
        extractor = extractor.with_files(stores);
    }
    let record = begin(args, &extractor, sources.collect())?;
    recorded(record, || {
        let bar = Bar::default();
        let (mut names, mut features) = (Vec::new(), Vec::with_capacity(photos.len()));
        let mut left_out = 0;
        // The rows of a shard are matched to those of the others by their number, so that none may be missing.
        // A single one is all that was asked for.
        let whole = part.is_some() || photos.len() == 1;
        extract(&extractor, &photos, (args.read.accept_truncated, whole), &bar, |i, found| match found {
            Ok(found) => {
                names.push(photos[i].name.clone());
                features.push(found);
            }
            Err(error) => {
                bar.note(&format!("left out: {}", escaped(&error.to_string())));
                left_out += 1;
            }
        })?;
        if features.is_empty() && left_out > 0 {
            bail!("none of {left_out} photographs could be read; nothing was written");
        }
        let (status, work) = write(args, &extractor, names, features, left_out, part)?;
        Ok((if left_out > 0 { ExitStatus::Partial } else { status }, work))
    })
}

/// Extracts photographs in their order; `keep` has each, or why it cannot be read, which is an error where none may be missing.
fn extract(
    extractor: &Extractor,
    photos: &[PhotoArg],
    (accept_truncated, whole): (bool, bool),
    bar: &Bar,
    mut keep: impl FnMut(usize, Result<ImageFeatures>),
) -> Result<()> {
    bar.start("images", photos.len() as u64);
    let files: Option<Vec<&Path>> = photos.iter().map(PhotoArg::path).collect();
    // A stream can be read only once.
    let checked = if files.is_some() { photos.iter().try_for_each(PhotoArg::check) } else { Ok(()) };
    match files {
        // Where none may be missing, nothing is computed first.
        _ if whole && checked.is_err() => checked?,
        Some(files) if checked.is_ok() && (!accept_truncated || photos.iter().any(PhotoArg::is_object)) => {
            extract_stream(extractor, &files, bar, |i, features| {
                match features {
                    Err(error @ EngineError::Data(_)) if !whole => keep(i, Err(error.into())),
                    other => keep(i, Ok(other?)),
                }
                Ok(())
            })?;
        }
        _ => {
            for (i, photo) in photos.iter().enumerate() {
                let features = match one(extractor, photo, bar) {
                    Err(error) if whole || !is_of_photograph(&error) => return Err(error),
                    features => features,
                };
                keep(i, features);
                bar.advance(1);
            }
        }
    }
    bar.finish();
    Ok(())
}

/// Extracts one photograph, and says what was made of it.
fn one(extractor: &Extractor, photo: &PhotoArg, bar: &Bar) -> Result<ImageFeatures> {
    let loaded = photo.load()?;
    let DecodedQuery { pixels, notes } = extractor.decode(&loaded.query())?;
    for note in notes {
        bar.note(&format!("note: {}: {}", quoted_path(&photo.name), escaped(&note)));
    }
    Ok(extractor.extract_image(&*pixels)?)
}

/// Whether the photograph is to blame.
fn is_of_photograph(error: &anyhow::Error) -> bool {
    error.is::<DataError>() || matches!(error.downcast_ref(), Some(EngineError::Data(_)))
}

/// Writes the file and prints what is in it.
fn write(
    args: &ExtractArgs,
    extractor: &Extractor,
    names: Vec<String>,
    features: Vec<ImageFeatures>,
    left_out: usize,
    part: Option<Rows>,
) -> Result<(ExitStatus, ShardWork)> {
    let config = extractor.config();
    let (mut global, mut locals) = (Vec::new(), Vec::with_capacity(features.len()));
    for one in features {
        global.extend(one.global);
        locals.push(one.local);
    }
    let file = DescriptorFile {
        names,
        model: config.name.clone(),
        settings: serde_json::to_string(&extractor.settings())?,
        global,
        dim: config.global_dim(),
        locals,
        row: config.local_row(),
        part,
    };
    let tensors = file.write(&args.out)?;
    let work = ShardWork::extracted(file.names.len());
    if args.json {
        let out = args.out.to_string_lossy();
        let document =
            json!({ "out": out, "names": file.names, "left_out": left_out, "tensors": tensors.json() });
        return Ok((print_json(&document)?, work));
    }
    let mut out = output::stdout();
    for (name, shape) in &tensors.0 {
        out.line(format_args!("{name:<7} {shape:?}"))?;
    }
    out.line(format_args!("wrote   {}", escaped(&args.out.display().to_string())))?;
    Ok((ExitStatus::Done, work))
}
