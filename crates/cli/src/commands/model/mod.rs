//! `r2former model`: import, copy, export, average and inspect checkpoints.

mod average;
mod calibrate;
mod catalog;
mod check;
mod export;
mod fitted;
mod local;
mod pca;
mod vlad;

use crate::common::{Machine, ensure_model_output, load_model, parse_size};
use crate::exit::ExitStatus;
use crate::output::{self, escaped, print_json};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use r2former_engine::LoadedModel;
use r2former_model::checkpoint::{Storage, write_atomically_with};
use r2former_model::import::{self, ImportOptions, Imported, Normalisation, import};
use r2former_model::shorten::keep_blocks;
use r2former_model::weights::{StoredValues, Tensors};
use r2former_model::{
    Checkpoint, ImageSize, ModelConfig, Pooling, PositionMode, RerankedCheck, ResizeMode, cost, hub,
};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// Import a published checkpoint: R2Former, DeiT, timm, DINOv2 or DINOv3 transformers, torchvision's ResNets, MegaLoc,
    /// DINOv2-SALAD, CliqueMining, BoQ, CosPlace, EigenPlaces, MixVPR, NetVLAD, CricaVPR, SelaVPR, SelaVPR++ or AnyLoc
    /// (.pth, .ckpt, .torch, .mat, .safetensors, or a downloaded folder with config.json); `model catalog` lists where to
    /// get them.
    Import(ImportArgs),
    /// Copy a model, changing its name, image size, local features, number of blocks, licence or storage precision.
    Copy(CopyArgs),
    /// Average the weights of two models of the same architecture, such as a fine-tuned model and its start.
    ///
    /// Half-way between the two often generalises better than either (Wortsman et al., WiSE-FT, CVPR 2022).
    Average(average::AverageArgs),
    /// Fit how probable a model's answers are to be correct, on datasets, and store that in a copy of its file.
    ///
    /// Each query is asked twice: of the whole database, and of the database without the query's positives. Queries of the
    /// other datasets and synthetic pictures of nothing are asked as well. A logistic regression without negative weights
    /// is fitted for each ranking that the model can give. Weights of the network are copied bit by bit.
    Calibrate(calibrate::CalibrateArgs),
    /// Export a model for other programs: its network, and its reranker, as ONNX files (opset 17); or the model itself as a folder for a
    /// hub.
    ///
    /// The network takes images [N,3,H,W] as `image` and gives descriptors of unit length [N,D] as `descriptor`. N is free, and so are
    /// H and W unless --image-size or the model fixes them. The file's metadata says how photos are resized and normalised; docs/onnx.md has
    /// a Python program that does it.
    Export(export::ExportArgs),
    /// Measure what 8-bit integers or bfloat16 do to a model's descriptors and answers, and store that in a copy of its file.
    ///
    /// Photographs of a folder are described in 32 bits and in the other arithmetic; cosines are compared, and first answers: of the
    /// global search, and by local features, where up to 200 photographs are queries of the 20 others most similar to each.
    /// `--precision auto` uses an arithmetic only where this found that rankings stay. Weights are copied bit by bit.
    Check(check::CheckArgs),
    /// Give a model a global descriptor made of its local features, fitted to photographs without labels.
    ///
    /// The features of all patches are assigned to clusters, the residuals of each summed and whitened (VLAD). Where the global
    /// descriptor of a model was trained on other kinds of photographs than yours, this is often the better one: `eval suite`
    /// compares the two. Weights of the network stay as they are.
    Vlad(vlad::VladArgs),
    /// Give a model's local features fewer dimensions: their principal directions over photographs, without labels.
    ///
    /// So that more of them fit into the bytes of an image. The directions are half whitened; a reranker stays as it is; a global
    /// descriptor that is made of local features (`model vlad`) is fitted again.
    Pca(pca::PcaArgs),
    /// List published models: where their files are to be had, licences of code and weights, and which can be imported.
    Catalog(catalog::CatalogArgs),
    /// Show a model's architecture, preprocessing, trained parts and computational cost.
    Info(InfoArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Checkpoint to read, or a folder with config.json and model.safetensors. Pickles are parsed, never executed.
    input: PathBuf,
    /// Model file to write (.safetensors).
    output: PathBuf,
    /// Name of the model [default: the file's].
    #[arg(long)]
    name: Option<String>,
    /// Attention heads of the backbone [default: one per 64 channels, at least 3].
    #[arg(long)]
    heads: Option<usize>,
    /// Input image size [default: as each model was evaluated, else that of the position embedding, or 480x640 for a
    /// convolutional network]: HxW for height x width in pixels, or in each photo's own shape: native, longest:N (longer side
    /// at most N) or shorter:N, resized to multiples of the patch; with :crop after it, cut to them.
    #[arg(long, value_name = "SIZE")]
    image_size: Option<ImageSize>,
    /// Grid of the position embedding, rows x columns [default: square, or 3:4].
    #[arg(long, value_name = "RxC", value_parser = parse_size)]
    grid: Option<[usize; 2]>,
    /// Pooling for checkpoints without a trained global head: cls, mean or gem [default: gem].
    #[arg(long)]
    pooling: Option<Pooling>,
    /// Input normalisation: imagenet (its mean and standard deviation), half (mean and deviation 0.5) or satellite
    /// (DINOv3's for satellite photographs) [default: by checkpoint].
    #[arg(long)]
    normalisation: Option<Normalisation>,
    /// Resize mode: direct (normalises, then bilinear without antialiasing, as the published code does), antialias or
    /// antialias_bicubic (on 8-bit pixels, as PIL), tensor_bilinear or tensor_bicubic (antialiased, not rounded to 8 bits)
    /// [default: by checkpoint].
    #[arg(long)]
    resize: Option<ResizeMode>,
    /// How the position embedding is fitted to other image sizes: dinov2 (DINOv2's own code), antialias (that of its models
    /// with registers, and timm), bicubic (transformers) or official (R2Former) [default: by checkpoint].
    #[arg(long, value_name = "RULE")]
    position: Option<PositionMode>,
    /// AnyLoc's cluster centres (`..._c_centers.pt`): the descriptor is VLAD over the values of a block of the backbone.
    #[arg(long, value_name = "FILE")]
    vocabulary: Option<PathBuf>,
    /// The block, from 0, of whose values the vocabulary is [default: as in its name, else 31].
    #[arg(long, value_name = "N", requires = "vocabulary")]
    layer: Option<usize>,
    /// Nearest neighbours per local feature in the reranker [default: 5].
    #[arg(long, value_name = "N")]
    neighbours: Option<usize>,
    /// Store weights as 16-bit floats: half the file size.
    #[arg(long)]
    half: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    local: local::LocalArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// Model file to read.
    input: PathBuf,
    /// Model file to write (.safetensors).
    output: PathBuf,
    /// New name [default: unchanged].
    #[arg(long)]
    name: Option<String>,
    /// New input image size [default: unchanged]: HxW, native, longest:N or shorter:N, as for `model import`.
    #[arg(long, value_name = "SIZE")]
    image_size: Option<ImageSize>,
    /// Keep the first N blocks of the transformer, where the global descriptor is made of local features (`model vlad`): faster,
    /// and patches are ranked by the attention of the last one kept [default: all].
    #[arg(long, value_name = "N")]
    blocks: Option<usize>,
    /// Licence of the weights, in a few words; `model info` shows it [default: unchanged].
    #[arg(long, value_name = "TEXT")]
    license: Option<String>,
    /// Store weights as 16-bit floats: half the file size.
    #[arg(long)]
    half: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    local: local::LocalArgs,
}

#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// Model file [default: the one built in].
    file: Option<PathBuf>,
    /// Image size at which the cost is computed, as for `model import`; an ordinary photo of 4:3 stands for a size in each
    /// photo's own shape [default: the model's].
    #[arg(long, value_name = "SIZE")]
    image_size: Option<ImageSize>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &ModelCommand, machine: &Machine) -> Result<ExitStatus> {
    match command {
        ModelCommand::Import(args) => run_import(args),
        ModelCommand::Copy(args) => run_copy(args),
        ModelCommand::Average(args) => average::run(args),
        ModelCommand::Calibrate(args) => calibrate::run(args, machine),
        ModelCommand::Check(args) => check::run(args),
        ModelCommand::Vlad(args) => vlad::run(args),
        ModelCommand::Pca(args) => pca::run(args),
        ModelCommand::Export(args) => export::run(args),
        ModelCommand::Catalog(args) => catalog::run(args),
        ModelCommand::Info(args) => run_info(args),
    }
}

fn run_import(args: &ImportArgs) -> Result<ExitStatus> {
    ensure_model_output(&args.output)?;
    let options = ImportOptions {
        name: args.name.clone(),
        heads: args.heads,
        local: args.local.options(),
        image_size: args.image_size,
        grid: args.grid,
        pooling: args.pooling,
        normalisation: args.normalisation,
        resize: args.resize,
        position: args.position,
        vocabulary: args.vocabulary.clone(),
        layer: args.layer,
        neighbours: args.neighbours,
    };
    let Written { config, weights, leftovers, notes } = match hub::model_file(&args.input)? {
        Some(file) if options.is_default() && !args.half => copied(&file, &args.output)?,
        Some(_) => bail!(
            "{} holds an r2former model: import it without options, then change it by model copy",
            escaped(&args.input.display().to_string())
        ),
        None => {
            let Imported { config, tensors, leftovers, notes } = import(&args.input, &options)?;
            write(&args.output, &config, &tensors, args.half)?;
            Written { config, weights: Weights::written(&tensors, args.half), leftovers, notes }
        }
    };
    if args.json {
        let report =
            json!({ "model": describe(&config, weights, None), "leftovers": leftovers, "notes": notes });
        return print_json(&report);
    }
    let mut out = output::stdout();
    out.line(format_args!("wrote {}", args.output.display()))?;
    print_description(&mut out, &config, weights, None)?;
    for note in &notes {
        out.line(format_args!("note: {note}"))?;
    }
    if !leftovers.is_empty() {
        out.line(format_args!("tensors not used: {}", leftovers.join(", ")))?;
    }
    Ok(ExitStatus::Done)
}

/// A model that was written to a file, and what is said about it.
struct Written {
    config: ModelConfig,
    weights: Weights,
    leftovers: Vec<String>,
    notes: Vec<String>,
}

/// How many weights a model has, and their bytes in its file; extraction in f32 on a CPU keeps as many bits.
#[derive(Debug, Clone, Copy)]
struct Weights {
    count: usize,
    bytes: usize,
}

impl Weights {
    fn of(loaded: &LoadedModel) -> Self {
        let tensors = || loaded.tensors().values().map(|tensor| &tensor.data);
        Self {
            count: tensors().map(StoredValues::len).sum(),
            bytes: tensors().map(|values| values.len() * values.bytes()).sum(),
        }
    }

    /// Of tensors that [`write`] wrote.
    fn written(tensors: &Tensors, half: bool) -> Self {
        let count = tensors.values().map(|tensor| tensor.data.len()).sum();
        Self { count, bytes: count * if half { 2 } else { 4 } }
    }

    /// Bits of each.
    fn bits(self) -> &'static str {
        match self.bytes {
            bytes if bytes == 2 * self.count => "16",
            bytes if bytes == 4 * self.count => "32",
            _ => "16 or 32",
        }
    }
}

/// The model of a folder that `model export --hf` wrote, whose bytes are copied.
fn copied(file: &Path, output: &Path) -> Result<Written> {
    let loaded = load_model(Some(file))?;
    let mut bytes = loaded.file()?;
    write_atomically_with(output, |out| std::io::copy(&mut bytes, out).map(drop))?;
    let (weights, notes) = (Weights::of(&loaded), vec!["an r2former model, copied as it is".into()]);
    Ok(Written { config: loaded.config, weights, leftovers: Vec::new(), notes })
}

fn run_copy(args: &CopyArgs) -> Result<ExitStatus> {
    ensure_model_output(&args.output)?;
    let loaded = load_model(Some(&args.input))?;
    let Checkpoint { mut config, mut tensors, .. } = loaded.into_checkpoint();
    if let Some(name) = &args.name {
        config.name.clone_from(name);
    }
    let local = args.local.options();
    if args.image_size.is_some() || !local.is_empty() {
        // Measured with other descriptors.
        config.forget_measured();
    }
    if let Some(size) = args.image_size {
        config.set_image_size(size)?;
    }
    if !local.is_empty() {
        local.apply(&mut config, &mut tensors).with_context(|| args.input.display().to_string())?;
    }
    if let Some(blocks) = args.blocks {
        keep_blocks(&mut config, &mut tensors, blocks).with_context(|| args.input.display().to_string())?;
    }
    if let Some(text) = &args.license {
        config.set_license(text);
    }
    config.validate()?;
    write(&args.output, &config, &tensors, args.half)?;
    let weights = Weights::written(&tensors, args.half);
    if args.json {
        return print_json(&json!({ "model": describe(&config, weights, None) }));
    }
    let mut out = output::stdout();
    out.line(format_args!("wrote {}", args.output.display()))?;
    print_description(&mut out, &config, weights, None)?;
    Ok(ExitStatus::Done)
}

fn write(file: &Path, config: &ModelConfig, tensors: &Tensors, half: bool) -> Result<()> {
    let storage = if half { Storage::F16 } else { Storage::F32 };
    Ok(r2former_model::save(file, config, tensors, storage)?)
}

fn run_info(args: &InfoArgs) -> Result<ExitStatus> {
    let loaded = load_model(args.file.as_deref())?;
    if let Some(size) = args.image_size {
        loaded.config.check_image_size(size)?;
    }
    if args.json {
        let mut report = describe(&loaded.config, Weights::of(&loaded), args.image_size);
        report["fingerprint"] = json!(loaded.fingerprint);
        return print_json(&report);
    }
    let mut out = output::stdout();
    print_description(&mut out, &loaded.config, Weights::of(&loaded), args.image_size)?;
    out.line(format_args!("fingerprint  {}", loaded.fingerprint))?;
    Ok(ExitStatus::Done)
}

fn describe(config: &ModelConfig, weights: Weights, size: Option<ImageSize>) -> serde_json::Value {
    let size = size.unwrap_or(config.input.image_size());
    let [height, width] = config.nominal_size(size);
    json!({
        "config": config,
        "license": config.license(),
        "parameters": weights.count,
        "weight_bytes": weights.bytes,
        "image_size": size,
        "cost": cost::cost(config, height, width),
    })
}

/// The part of a check that is about local features.
fn reranked(check: Option<RerankedCheck>, config: &ModelConfig) -> String {
    match check {
        Some(RerankedCheck { ransac, model, .. }) => {
            let model =
                model.map_or_else(String::new, |share| format!(", by the model {:.1} %", 100.0 * share));
            format!(" (reranked by RANSAC {:.1} %{model})", 100.0 * ransac)
        }
        None if config.local.is_some() => " (reranked ones were not compared)".into(),
        None => String::new(),
    }
}

fn print_description(
    out: &mut output::Out,
    config: &ModelConfig,
    weights: Weights,
    size: Option<ImageSize>,
) -> Result<()> {
    let [height, width] = config.nominal_size(size.unwrap_or(config.input.image_size()));
    let cost = cost::cost(config, height, width);
    let trained = |yes: bool| if yes { "trained" } else { "NOT trained" };
    out.line(format_args!("name         {}", config.name))?;
    out.line(format_args!("backbone     {}", output::backbone(config)))?;
    out.line(format_args!(
        "global       {} dimensions, {}, {}",
        config.global_dim(),
        output::global_head(config),
        trained(config.trained.global)
    ))?;
    match &config.local {
        Some(local) => out.line(format_args!(
            "local        up to {} features{}, by {}, plus x, y and attention{}{}",
            local.count,
            local.layer.map_or_else(String::new, |layer| format!(" after block {layer}")),
            import::description(local),
            if local.projected { format!(", {}", trained(config.trained.local)) } else { String::new() },
            if local.official_gather { ", gathered as the published code does" } else { "" }
        ))?,
        None => out.line(format_args!("local        none: a global-only model"))?,
    }
    match &config.reranker {
        Some(r) => out.line(format_args!(
            "reranker     {} + {} blocks of width {}, {} neighbours, {}{}{}",
            r.pair_depth,
            r.depth,
            r.dim,
            r.neighbours,
            trained(config.trained.reranker),
            if r.inliers.is_some() { ", with RANSAC's inliers" } else { "" },
            r.cascade.map_or_else(String::new, |count| format!(
                ", of the {count} candidates that RANSAC ranks first"
            ))
        ))?,
        None => out.line(format_args!("reranker     none"))?,
    }
    out.line(format_args!("input        {}", output::input(config)))?;
    let license = config.license().unwrap_or("not recorded: that of the file's origin");
    out.line(format_args!("licence      {license}"))?;
    if let Some(origin) = config.stated("origin") {
        let code = config
            .stated("code_license")
            .map_or_else(String::new, |text| format!("; licence of the code: {text}"));
        out.line(format_args!("origin       {origin}{code}"))?;
    }
    match &config.calibration {
        Some(own) => out.line(format_args!(
            "confidence   calibrated on {} datasets, accepted from {} on",
            own.fitted_on.len(),
            own.threshold
        ))?,
        None => out.line(format_args!("confidence   not calibrated"))?,
    }
    for check in &config.checks {
        let words = if config.keeps_ranking(check.precision) { "rankings stay" } else { "rankings change" };
        out.line(format_args!(
            "{:<13}{words}: cosine to f32 {:.4} at least, {:.1} % of first answers the same{}, {} photographs",
            check.precision.to_string(),
            check.least_cosine,
            100.0 * check.same_first.min(check.same_first_mixed),
            reranked(check.reranked, config),
            check.images
        ))?;
    }
    if let Some(check) = &config.reranker_check {
        let words = if check.keeps_order() { "the order stays" } else { "the order changes" };
        out.line(format_args!(
            "int16        of the reranker: {words}; logits at most {:.1e} from f32, {} pairs",
            check.largest_difference, check.pairs
        ))?;
    }
    out.line(format_args!(
        "parameters   {:.2} million, {} in {} bits",
        weights.count as f64 / 1e6,
        output::bytes(weights.bytes as u64),
        weights.bits()
    ))?;
    out.line(format_args!(
        "cost         at {height}x{width}: {:.2} GFLOP per image, {:.3} GFLOP per reranked pair, {} bytes stored per image",
        cost.extract_flop / 1e9,
        cost.rerank_flop / 1e9,
        cost.stored_bytes
    ))?;
    Ok(())
}
