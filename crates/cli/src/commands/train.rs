//! `r2former train`: a stage of training, and what its batches look like.

use crate::common::Machine;
use crate::exit::ExitStatus as Exit;
use crate::output::{self, print_json};
use crate::progress::Bar;
use anyhow::Result;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use r2former_engine::Progress;
use r2former_train::{Line, Stage, TrainConfig, Watch, preview, train};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

#[derive(Debug, Subcommand)]
pub(crate) enum TrainCommand {
    /// Backbone and global descriptor.
    Global(StageArgs),
    /// Local features and reranker; the backbone stays as it is.
    Rerank(StageArgs),
    /// Both losses at once; local features do not reach the backbone.
    Joint(StageArgs),
    /// Both losses at once, into the backbone.
    EndToEnd(StageArgs),
    /// As joint, for one city.
    Finetune(StageArgs),
    /// Show a batch as the network sees it: a picture of triplets or places.
    Preview(PreviewArgs),
    /// Print a stage's preset as TOML: what a configuration file may change.
    Preset {
        /// global, rerank, joint, end-to-end or finetune.
        stage: Stage,
    },
}

#[derive(Debug, Args)]
pub(crate) struct StageArgs {
    /// TOML over the stage's preset; see `r2former train preset STAGE`. Paths in it are relative to it.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Folder of the run: checkpoints, best.safetensors, log.jsonl, curves.csv, curves.svg.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Go on with the run in --out after an interruption, to the same end.
    #[arg(long)]
    resume: bool,
    /// Change one value, as in --set optimizer.lr=1e-4; may be repeated.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    changes: Vec<String>,
    /// Print how the run ended as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PreviewArgs {
    /// The stage whose preset the configuration changes.
    stage: Stage,
    /// TOML over the stage's preset.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The picture to write (PNG).
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Which batch.
    #[arg(long, default_value_t = 0, value_name = "N")]
    batch: u64,
    /// Change one value, as in --set augment.night=1.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    changes: Vec<String>,
}

pub(crate) fn run(command: &TrainCommand, machine: &Machine) -> Result<Exit> {
    let (stage, args) = match command {
        TrainCommand::Global(args) => (Stage::Global, args),
        TrainCommand::Rerank(args) => (Stage::Rerank, args),
        TrainCommand::Joint(args) => (Stage::Joint, args),
        TrainCommand::EndToEnd(args) => (Stage::EndToEnd, args),
        TrainCommand::Finetune(args) => (Stage::Finetune, args),
        TrainCommand::Preview(args) => {
            let config = TrainConfig::read(args.stage, &args.config, &args.changes)?;
            preview(&config, args.batch, &args.out)?;
            output::stdout().line(format_args!("{}", args.out.display()))?;
            return Ok(Exit::Done);
        }
        TrainCommand::Preset { stage } => {
            let text = TrainConfig::preset(*stage).to_toml()?;
            output::stdout().line(format_args!("{}", text.trim_end()))?;
            return Ok(Exit::Done);
        }
    };
    let config = TrainConfig::read(stage, &args.config, &args.changes)?;
    let watch = Dashboard::default();
    let outcome = train(&config, &args.out, args.resume, &machine.devices()?, &watch)?;
    watch.close();
    if args.json {
        return print_json(&outcome);
    }
    let mut out = output::stdout();
    let why = if outcome.stopped_early { "; the recall rose no more" } else { "" };
    out.line(format_args!("{} steps{why}", outcome.steps))?;
    if let Some(best) = outcome.best {
        out.line(format_args!("best recall {:.1} %", 100.0 * best))?;
    }
    out.line(format_args!("model {}", outcome.model.display()))?;
    Ok(Exit::Done)
}

/// Seconds between two lines where there is no terminal.
const QUIET: Duration = Duration::from_secs(20);

/// A bar with the newest numbers on a terminal, a line now and then elsewhere.
#[derive(Default)]
struct Dashboard {
    /// Of validation and mining.
    inner: Bar,
    steps: Mutex<Option<ProgressBar>>,
    told: Mutex<Option<Instant>>,
}

impl Dashboard {
    fn close(&self) {
        if let Some(bar) = self.steps.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }

    fn step(&self, step: u64, total: u64, text: String) {
        if !std::io::stderr().is_terminal() {
            let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if told.is_none_or(|at| at.elapsed() >= QUIET) || step == total {
                eprintln!("step {step}/{total}  {text}");
                *told = Some(Instant::now());
            }
            return;
        }
        let mut slot = self.steps.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let bar = slot.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} steps, {eta} left\n{msg}");
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        bar.set_position(step);
        bar.set_message(text);
    }
}

impl Progress for Dashboard {
    fn start(&self, what: &str, total: u64) {
        self.inner.start(what, total);
    }

    fn advance(&self, steps: u64) {
        self.inner.advance(steps);
    }

    fn finish(&self) {
        self.inner.finish();
    }

    fn note(&self, line: &str) {
        self.inner.note(line);
    }
}

impl Watch for Dashboard {
    fn line(&self, line: &Line, total: u64) {
        match line {
            Line::Step {
                step, lr, loss, global, rerank, rerank_right, gradient, images_per_second, ..
            } => {
                let part =
                    |name: &str, v: &Option<f32>| v.map_or_else(String::new, |v| format!("  {name} {v:.4}"));
                self.step(
                    *step,
                    total,
                    format!(
                        "loss {loss:.4}{}{}{}  gradient {gradient:.3}  lr {lr:.2e}  {images_per_second:.1} images/s",
                        part("global", global),
                        part("rerank", rerank),
                        part("right", rerank_right),
                    ),
                );
            }
            Line::Epoch { epoch, loss, global_recall, reranked_recall, best, .. } => {
                let recall = |name: &str, r: &Option<[f64; 3]>| {
                    r.map_or_else(String::new, |r| {
                        let [one, five, ten] = r.map(|v| 100.0 * v);
                        format!("  {name} R@1/5/10 {one:.1}/{five:.1}/{ten:.1} %")
                    })
                };
                let text = format!(
                    "epoch {}  mean loss {loss:.4}{}{}{}",
                    epoch + 1,
                    recall("global", global_recall),
                    recall("reranked", reranked_recall),
                    if *best { "  best" } else { "" }
                );
                let slot = self.steps.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                match slot.as_ref() {
                    Some(bar) => bar.println(text),
                    None => eprintln!("{text}"),
                }
            }
        }
    }
}
