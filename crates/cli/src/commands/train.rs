//! `r2former train`: the stages of training, previews of batches, and presets.

use crate::common::{Machine, bounded};
use crate::exit::ExitStatus;
use crate::output::{self, print_json};
use crate::progress::{Bar, WithoutNotes};
use anyhow::Result;
use clap::{Args, Subcommand};
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use r2former_engine::Progress;
use r2former_train::{
    LogEntry, Stage, TrainConfig, TrainObserver, TrainOutcome, preview, sized_preset, train,
};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug, Subcommand)]
pub(crate) enum TrainCommand {
    /// Train the backbone and the global descriptor.
    Global(StageArgs),
    /// Train local features, and the backbone's last blocks if configured, on patches that are known to correspond.
    Local(StageArgs),
    /// Train local features and the reranker over a frozen backbone.
    Rerank(StageArgs),
    /// Train everything with both losses; the reranker's gradient stops before the backbone.
    Joint(StageArgs),
    /// Train everything with both losses; the reranker's gradient reaches the backbone.
    EndToEnd(StageArgs),
    /// Adapt a model to one city: as joint, with full mining.
    Finetune(StageArgs),
    /// Draw a batch, augmented, as a picture of triplets, places or pairs.
    Preview(PreviewArgs),
    /// Print a stage's preset as commented TOML; with --config, sized to data, machine and time.
    Preset(PresetArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PresetArgs {
    /// Stage: global, local, rerank, joint, end-to-end or finetune.
    stage: Stage,
    /// Configuration in TOML, as for training: its keys are put in, and what it leaves open is sized to its photographs
    /// and this machine. A few steps are timed. Keys that it sets never change.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Minutes that the run is to take, if the file sets no schedule.
    #[arg(long, value_name = "M", default_value_t = 10.0, value_parser = parse_minutes, requires = "config")]
    minutes: f64,
}

/// A duration in minutes: three seconds to a year.
fn parse_minutes(text: &str) -> Result<f64, String> {
    bounded(text, "a duration in minutes", 0.05..=525_600.0)
}

#[derive(Debug, Args)]
pub(crate) struct StageArgs {
    /// Configuration in TOML: the keys that differ from the stage's preset (`r2former train preset STAGE`), and the data.
    /// Paths in it are relative to the file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Folder of the run: best.safetensors, checkpoints, log.jsonl, curves.csv, curves.svg, config.toml.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Resume the interrupted run in --out from its last checkpoint. The result is the same as without the interruption.
    #[arg(long)]
    resume: bool,
    /// Override a key of the configuration, as in --set optimizer.lr=1e-4; repeatable.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    changes: Vec<String>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PreviewArgs {
    /// Stage whose preset the configuration changes: global, local, rerank, joint, end-to-end or finetune.
    stage: Stage,
    /// Configuration in TOML, as for training.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Picture to write (PNG).
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Number of the batch, from 0.
    #[arg(long, default_value_t = 0, value_name = "N")]
    batch: u64,
    /// Override a key of the configuration, as in --set augment.night=1; repeatable.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    changes: Vec<String>,
}

pub(crate) fn run(command: &TrainCommand, machine: &Machine) -> Result<ExitStatus> {
    let (stage, args) = match command {
        TrainCommand::Global(args) => (Stage::Global, args),
        TrainCommand::Local(args) => (Stage::Local, args),
        TrainCommand::Rerank(args) => (Stage::Rerank, args),
        TrainCommand::Joint(args) => (Stage::Joint, args),
        TrainCommand::EndToEnd(args) => (Stage::EndToEnd, args),
        TrainCommand::Finetune(args) => (Stage::Finetune, args),
        TrainCommand::Preview(args) => {
            let config = TrainConfig::read(args.stage, &args.config, &args.changes)?;
            preview(&config, args.batch, &args.out)?;
            output::stdout().line(format_args!("{}", args.out.display()))?;
            return Ok(ExitStatus::Done);
        }
        TrainCommand::Preset(args) => {
            let text = match &args.config {
                Some(file) => sized(args, file, machine)?,
                None => TrainConfig::commented_preset(args.stage)?,
            };
            output::stdout().line(format_args!("{}", text.trim_end()))?;
            return Ok(ExitStatus::Done);
        }
    };
    let config = TrainConfig::read(stage, &args.config, &args.changes)?;
    let dashboard = Dashboard::default();
    let outcome = train(&config, &args.out, args.resume, &machine.devices()?, &dashboard)?;
    dashboard.close();
    let exit = if outcome.left_out > 0 { ExitStatus::Partial } else { ExitStatus::Done };
    if args.json {
        print_json(&outcome)?;
        return Ok(exit);
    }
    let mut out = output::stdout();
    summary(&outcome).iter().try_for_each(|line| out.line(format_args!("{line}")))?;
    Ok(exit)
}

/// The preset sized to a file; progress is for a terminal, as the text says what was found.
fn sized(args: &PresetArgs, file: &Path, machine: &Machine) -> Result<String> {
    let (bar, devices) = (Bar::default(), machine.devices()?);
    let silent = WithoutNotes(&bar);
    let progress: &dyn Progress = if std::io::stderr().is_terminal() { &bar } else { &silent };
    Ok(sized_preset(args.stage, file, args.minutes, &devices, progress)?)
}

/// The result for people.
fn summary(outcome: &TrainOutcome) -> Vec<String> {
    let why = if outcome.stopped_early { "; stopped early: the recall no longer rose" } else { "" };
    let mut lines = vec![format!("{} steps{why}", outcome.steps)];
    if outcome.left_out > 0 {
        lines.push(format!("{} photographs left out; log.jsonl names them", outcome.left_out));
    }
    if let Some(best) = outcome.best {
        let before = outcome.baseline.map_or_else(String::new, |before| {
            let worse = if before > best.recall { ", which no epoch exceeded" } else { "" };
            format!("; start model {:.1} %{worse}", 100.0 * before)
        });
        lines.push(format!(
            "best: recall@{} {} {:.1} % (best_by = {}) after epoch {}{before}",
            best.n,
            best.ranking.name(),
            100.0 * best.recall,
            best.n,
            best.epoch + 1
        ));
    }
    lines.push(format!("model {}", outcome.model.display()));
    lines
}

/// Seconds between two lines without a terminal.
const QUIET: Duration = Duration::from_secs(20);

/// On a terminal a bar with the latest losses, elsewhere a line at intervals.
#[derive(Default)]
struct Dashboard {
    /// Progress of validation and mining.
    inner: Bar,
    steps: Mutex<Option<ProgressBar>>,
    printed: Mutex<Printed>,
}

/// What has been printed without a terminal.
#[derive(Default)]
struct Printed {
    /// The first step and when it ended.
    first: Option<(u64, Instant)>,
    last: Option<Instant>,
}

/// Nothing that a panic elsewhere could leave half done is behind these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Dashboard {
    fn close(&self) {
        if let Some(bar) = lock(&self.steps).take() {
            bar.finish_and_clear();
        }
    }

    fn print(&self, text: &str) {
        match lock(&self.steps).as_ref() {
            Some(bar) => bar.println(text),
            None => self.inner.note(text),
        }
    }

    fn step(&self, step: u64, total: u64, text: String) {
        if !std::io::stderr().is_terminal() {
            let mut printed = lock(&self.printed);
            let (first, began) = *printed.first.get_or_insert((step, Instant::now()));
            if printed.last.is_none_or(|at| at.elapsed() >= QUIET) || step == total {
                let left = match step - first {
                    0 => String::new(),
                    taken if step < total => {
                        let left = began.elapsed().mul_f64((total - step) as f64 / taken as f64);
                        format!("  {} left", HumanDuration(left))
                    }
                    _ => String::new(),
                };
                eprintln!("step {step}/{total}  {text}{left}");
                printed.last = Some(Instant::now());
            }
            return;
        }
        let mut slot = lock(&self.steps);
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
        self.print(line);
    }
}

impl TrainObserver for Dashboard {
    fn logged(&self, entry: &LogEntry, total: u64) {
        let recall = |name: &str, r: &Option<[f64; 3]>| {
            r.map_or_else(String::new, |r| {
                let [one, five, ten] = r.map(|v| 100.0 * v);
                format!("  {name} R@1/5/10 {one:.1}/{five:.1}/{ten:.1} %")
            })
        };
        match entry {
            LogEntry::Step {
                step,
                lr,
                loss,
                global_loss,
                rerank_loss,
                rerank_accuracy,
                local_loss,
                local_accuracy,
                distillation_loss,
                gradient_norm,
                images_per_second,
                ..
            } => {
                let part =
                    |name: &str, v: &Option<f32>| v.map_or_else(String::new, |v| format!("  {name} {v:.4}"));
                self.step(
                    *step,
                    total,
                    format!(
                        "loss {loss:.4}{}{}{}{}{}{}  gradient norm {gradient_norm:.3}  lr {lr:.2e}  \
                         {images_per_second:.1} images/s",
                        part("global", global_loss),
                        part("rerank", rerank_loss),
                        part("accuracy", rerank_accuracy),
                        part("local", local_loss),
                        part("accuracy", local_accuracy),
                        part("distillation", distillation_loss),
                    ),
                );
            }
            LogEntry::Epoch { epoch, loss, global_recall, reranked_recall, best, .. } => {
                self.print(&format!(
                    "epoch {}  mean loss {loss:.4}{}{}{}",
                    epoch + 1,
                    recall("global", global_recall),
                    recall("reranked", reranked_recall),
                    if *best { "  best" } else { "" }
                ));
            }
            LogEntry::Baseline { global_recall, reranked_recall, .. } => {
                self.print(&format!(
                    "start model{}{}",
                    recall("global", &Some(*global_recall)),
                    recall("reranked", reranked_recall)
                ));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use r2former_train::{BestRecall, Ranking};

    #[test]
    fn the_summary_says_which_recall_is_best() {
        let json = serde_json::json!({
            "steps": 120, "stopped_early": false, "baseline": 0.9, "left_out": 2, "model": "run/best.safetensors",
            "best": BestRecall { recall: 0.925, n: 5, first: 0.9, ranking: Ranking::Reranked, epoch: 2 },
        });
        let outcome: TrainOutcome = serde_json::from_value(json).expect("an outcome");
        let lines = summary(&outcome);
        assert_eq!(
            lines,
            [
                "120 steps",
                "2 photographs left out; log.jsonl names them",
                "best: recall@5 reranked 92.5 % (best_by = 5) after epoch 3; start model 90.0 %",
                "model run/best.safetensors",
            ]
        );
    }
}
