//! The log of a run, a JSON object per line, and the table made from it.

use crate::pool::LeftOut;
use crate::step::Losses;
use crate::{Result, TrainError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

/// One line of `log.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LogEntry {
    /// A training photograph that cannot be read or used; each is logged once.
    LeftOut {
        /// Steps so far, or the step whose batch it was drawn for.
        step: u64,
        /// The photograph.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Validation of the start model, before the first step.
    Baseline {
        /// Always 0.
        step: u64,
        /// Recall@1, @5 and @10 of the global ranking.
        global_recall: [f64; 3],
        /// The same after reranking: by the reranker in stages that train it, by RANSAC in stage `local`.
        reranked_recall: Option<[f64; 3]>,
    },
    /// A step.
    Step {
        /// From 1.
        step: u64,
        /// From 0.
        epoch: u64,
        /// Learning rate.
        lr: f64,
        /// The weighted sum of the losses.
        loss: f32,
        /// The global loss.
        global_loss: Option<f32>,
        /// The reranker's loss.
        rerank_loss: Option<f32>,
        /// Share of pairs that the reranker classifies correctly.
        rerank_accuracy: Option<f32>,
        /// The contrastive loss over patches, in stage `local`.
        #[serde(default)]
        local_loss: Option<f32>,
        /// Share of patches whose most similar patch is their counterpart.
        #[serde(default)]
        local_accuracy: Option<f32>,
        /// How far the tokens have turned from the start model's, where that is in the loss.
        #[serde(default)]
        distillation_loss: Option<f32>,
        /// Norm of the gradient before clipping.
        gradient_norm: f32,
        /// Images per second, loading included.
        images_per_second: f64,
    },
    /// The end of an epoch.
    Epoch {
        /// Steps so far.
        step: u64,
        /// From 0.
        epoch: u64,
        /// Mean loss of its steps.
        loss: f64,
        /// Recall@1, @5 and @10 of the global ranking, if the epoch was validated.
        global_recall: Option<[f64; 3]>,
        /// The same after reranking.
        reranked_recall: Option<[f64; 3]>,
        /// Whether this is the best model so far.
        best: bool,
    },
}

impl LogEntry {
    /// Steps so far.
    pub fn step(&self) -> u64 {
        match self {
            Self::LeftOut { step, .. }
            | Self::Baseline { step, .. }
            | Self::Step { step, .. }
            | Self::Epoch { step, .. } => *step,
        }
    }

    /// Recall@1, @5 and @10 of the global ranking and after reranking, where the entry is a validation's.
    pub(crate) fn recalls(&self) -> [Option<[f64; 3]>; 2] {
        match self {
            Self::Baseline { global_recall, reranked_recall, .. } => [Some(*global_recall), *reranked_recall],
            Self::Epoch { global_recall, reranked_recall, .. } => [*global_recall, *reranked_recall],
            Self::LeftOut { .. } | Self::Step { .. } => [None, None],
        }
    }

    pub(crate) fn left_out(step: u64, found: &LeftOut) -> Self {
        let (path, reason) = (found.path.to_string_lossy().into_owned(), found.reason.clone());
        Self::LeftOut { step, path, reason }
    }

    pub(crate) fn of_step(
        step: u64,
        epoch: u64,
        lr: f64,
        losses: &Losses,
        gradient_norm: f32,
        images_per_second: f64,
    ) -> Self {
        Self::Step {
            step,
            epoch,
            lr,
            loss: losses.total,
            global_loss: losses.global,
            rerank_loss: losses.rerank,
            rerank_accuracy: losses.rerank_accuracy,
            local_loss: losses.local,
            local_accuracy: losses.local_accuracy,
            distillation_loss: losses.distillation,
            gradient_norm,
            images_per_second,
        }
    }
}

/// Appends to a run's log.
pub(crate) struct Log {
    path: PathBuf,
    /// Path and reason of photographs that are in the log as left out. Rows of a table share its path.
    left_out: BTreeSet<(String, String)>,
}

impl Log {
    /// Opens the log and removes entries beyond `step`, which a process wrote that was killed after its last checkpoint.
    pub(crate) fn open(path: PathBuf, step: u64) -> Result<Self> {
        let mut left_out = BTreeSet::new();
        if path.exists() {
            let entries: Vec<LogEntry> =
                read(&path)?.into_iter().filter(|entry| entry.step() <= step).collect();
            let mut text = Vec::new();
            for entry in &entries {
                serde_json::to_writer(&mut text, entry).map_err(|e| TrainError::run(&path, e.to_string()))?;
                text.push(b'\n');
                if let LogEntry::LeftOut { path, reason, .. } = entry {
                    left_out.insert((path.clone(), reason.clone()));
                }
            }
            r2former_model::checkpoint::write_atomically(&path, &text)?;
        }
        Ok(Self { path, left_out })
    }

    pub(crate) fn write(&mut self, entry: &LogEntry) -> Result<()> {
        if let LogEntry::LeftOut { path, reason, .. } = entry {
            self.left_out.insert((path.clone(), reason.clone()));
        }
        let mut text = serde_json::to_vec(entry).map_err(|e| TrainError::run(&self.path, e.to_string()))?;
        text.push(b'\n');
        let file = OpenOptions::new().create(true).append(true).open(&self.path);
        file.and_then(|mut file| file.write_all(&text)).map_err(TrainError::io(&self.path))
    }

    /// Photographs left out so far.
    pub(crate) fn left_out(&self) -> &BTreeSet<(String, String)> {
        &self.left_out
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Reads a log. A last line that is cut short, because its process was killed, is ignored.
///
/// # Errors
/// [`TrainError::Io`] for a file that cannot be read, [`TrainError::Run`] for a line that is not a log entry.
pub fn read(path: &Path) -> Result<Vec<LogEntry>> {
    let text = std::fs::read_to_string(path).map_err(TrainError::io(path))?;
    let mut lines = Vec::new();
    for (number, line) in text.split_inclusive('\n').enumerate() {
        match serde_json::from_str(line.trim_end()) {
            Ok(line) => lines.push(line),
            Err(_) if !line.ends_with('\n') => break,
            Err(e) => return Err(TrainError::run(path, format!("line {}: {e}", number + 1))),
        }
    }
    Ok(lines)
}

/// Writes the table `curves.csv` of a log: a row per step and a row per validation or end of an epoch.
pub(crate) fn write_csv(entries: &[LogEntry], path: &Path) -> Result<()> {
    let bad = |e: csv::Error| TrainError::run(path, e.to_string());
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = [
        "step",
        "epoch",
        "lr",
        "loss",
        "global_loss",
        "rerank_loss",
        "rerank_accuracy",
        "gradient_norm",
        "images_per_second",
        "local_loss",
        "local_accuracy",
        "distillation_loss",
        "global_recall_1",
        "global_recall_5",
        "global_recall_10",
        "reranked_recall_1",
        "reranked_recall_5",
        "reranked_recall_10",
    ];
    writer.write_record(header).map_err(bad)?;
    let cell = |value: Option<f32>| value.map_or_else(String::new, |v| v.to_string());
    let recalls = |entry: &LogEntry| {
        let all = entry.recalls().into_iter();
        all.flat_map(|recall| (0..3).map(move |i| recall.map_or_else(String::new, |r| r[i].to_string())))
    };
    for entry in entries {
        let mut row: Vec<String> = match entry {
            LogEntry::LeftOut { .. } => continue,
            LogEntry::Step {
                step,
                epoch,
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
            } => vec![
                step.to_string(),
                epoch.to_string(),
                lr.to_string(),
                loss.to_string(),
                cell(*global_loss),
                cell(*rerank_loss),
                cell(*rerank_accuracy),
                gradient_norm.to_string(),
                format!("{images_per_second:.2}"),
                cell(*local_loss),
                cell(*local_accuracy),
                cell(*distillation_loss),
            ],
            LogEntry::Baseline { step, .. } => vec![step.to_string()],
            LogEntry::Epoch { step, epoch, loss, .. } => {
                vec![step.to_string(), epoch.to_string(), String::new(), loss.to_string()]
            }
        };
        if !matches!(entry, LogEntry::Step { .. }) {
            row.resize(12, String::new());
            row.extend(recalls(entry));
        }
        row.resize(header.len(), String::new());
        writer.write_record(&row).map_err(bad)?;
    }
    let bytes = writer.into_inner().map_err(|e| TrainError::run(path, e.to_string()))?;
    Ok(r2former_model::checkpoint::write_atomically(path, &bytes)?)
}
