//! `r2former model check`: what another arithmetic does to a model's descriptors and answers, and to its reranker's scores.

use crate::common::{ensure_writable, load_model};
use crate::exit::{ExitStatus, usage};
use crate::output::{self, escaped, print_json};
use crate::photos::note_left_out;
use crate::progress::Bar;
use anyhow::Result;
use clap::Args;
use r2former_data::dataset::list_images;
use r2former_engine::{ModelCheck, Progress, check_model};
use r2former_model::checkpoint::{Storage, save_with_config};
use r2former_model::{Precision, PrecisionCheck, RerankedCheck, RerankerCheck};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  r2former model check model.safetensors --images photos --out checked.safetensors
  r2former index create places --model checked.safetensors    (in int8 where this CPU is faster in it)

An index remembers its model by the whole file: check a model before its index is made.")]
pub(crate) struct CheckArgs {
    /// Model file to read [default: the one built in].
    model: Option<PathBuf>,
    /// Model file to write: a copy whose header says what was measured, in place of what it said before. Without it, the
    /// result is printed alone.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Folder of photos to compare, a few hundred of the kind that will be searched; positions are not needed.
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// Arithmetic that is compared with f32: int8 or bf16.
    #[arg(long, value_name = "PRECISION", default_value_t = Precision::Int8)]
    precision: Precision,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &CheckArgs) -> Result<ExitStatus> {
    args.out.as_deref().map(ensure_writable).transpose()?;
    if args.precision == Precision::F32 {
        usage!("--precision f32 is what the others are compared with: int8 or bf16");
    }
    let loaded = load_model(args.model.as_deref())?;
    let listing = list_images(&args.images)?;
    note_left_out(&args.images, &listing);
    let files: Vec<&Path> = listing.photos.iter().map(|photo| photo.path.as_path()).collect();
    let bar = Bar::default();
    let mut unreadable = listing.skipped.len();
    let ModelCheck { precision: check, reranker } =
        check_model(&loaded, args.precision, &files, &bar, |_, error| {
            bar.note(&format!("note: left out: {}", escaped(&error.to_string())));
            unreadable += 1;
        })?;
    let mut config = loaded.config.clone();
    config.checks.retain(|other| other.precision != check.precision);
    config.checks.push(check.clone());
    // A CPU without the instructions leaves what another one has measured.
    config.reranker_check = reranker.or(config.reranker_check);
    let keeps_ranking = config.keeps_ranking(check.precision);
    if let Some(output) = &args.out {
        match &args.model {
            Some(model) => save_with_config(model, output, &config)?,
            // Its weights have 16 bits.
            None => {
                let tensors = loaded.into_checkpoint().tensors;
                r2former_model::save(output, &config, &tensors, Storage::F16)?;
            }
        }
    }
    if args.json {
        let json = json!({
            "check": check,
            "keeps_ranking": keeps_ranking,
            "reranker": reranker,
            "reranker_keeps_order": reranker.map(|check| check.keeps_order()),
            "left_out": unreadable,
            "out": args.out.as_deref().map(Path::to_string_lossy),
        });
        return print_json(&json);
    }
    print(&mut output::stdout(), args, (&check, keeps_ranking), reranker)
}

fn print(
    out: &mut output::Out,
    args: &CheckArgs,
    (check, keeps_ranking): (&PrecisionCheck, bool),
    reranker: Option<RerankerCheck>,
) -> Result<ExitStatus> {
    let PrecisionCheck {
        precision,
        images,
        least_cosine,
        mean_cosine,
        same_first,
        same_first_mixed,
        reranked,
    } = check;
    out.line(format_args!("{precision} beside f32, {images} photographs"))?;
    out.line(format_args!("cosine of descriptors       least {least_cosine:.5}, mean {mean_cosine:.5}"))?;
    let first = |name: &str, share: &f64| format!("{name}{:.1} % the same", 100.0 * share);
    out.line(format_args!("{}", first("first answer                ", same_first)))?;
    out.line(format_args!("{}", first("first answer, f32 searched  ", same_first_mixed)))?;
    if let Some(RerankedCheck { queries, ransac, model }) = reranked {
        let of = format!(", {queries} queries");
        out.line(format_args!("{}{of}", first("  reranked by RANSAC        ", ransac)))?;
        if let Some(model) = model {
            out.line(format_args!("{}{of}", first("  reranked by the model     ", model)))?;
        }
    }
    let words = match (keeps_ranking, *images < PrecisionCheck::FEWEST) {
        (true, _) => {
            "rankings stay: --precision auto uses it where it is faster, and mixes it with f32".to_string()
        }
        (false, true) => format!("too few photographs: {} are needed", PrecisionCheck::FEWEST),
        (false, false) => format!(
            "rankings change (needed: cosine {}, {} % the same, {} % reranked): --precision auto does not use it",
            PrecisionCheck::LEAST_COSINE,
            100.0 * PrecisionCheck::LEAST_SAME,
            100.0 * RerankedCheck::LEAST_SAME
        ),
    };
    out.line(format_args!("{words}"))?;
    if let Some(own) = reranker {
        let difference = own.largest_difference;
        out.line(format_args!(
            "reranker in 16 bits beside f32, {} pairs of {} photographs",
            own.pairs, own.images
        ))?;
        out.line(format_args!("logits                      at most {difference:.1e} apart"))?;
        out.line(format_args!(
            "order                       {} pairs of candidates changed places",
            own.reordered
        ))?;
        let words = if own.keeps_order() {
            "the order stays: 16 bits are used where they are faster".to_string()
        } else {
            format!(
                "16 bits are not used (needed: {} photographs, logits at most {} apart, the order as in f32 within {})",
                RerankerCheck::FEWEST,
                RerankerCheck::MOST_DIFFERENCE,
                RerankerCheck::TIE
            )
        };
        out.line(format_args!("{words}"))?;
    }
    if let Some(output) = &args.out {
        out.line(format_args!("wrote {}", escaped(&output.display().to_string())))?;
    }
    Ok(ExitStatus::Done)
}
