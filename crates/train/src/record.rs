//! The log of a run: a line of JSON for each step and each epoch, tables and pictures made of it.

use crate::step::Losses;
use crate::{Result, TrainError};
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

/// One line of `log.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Line {
    /// A step.
    Step {
        /// From 1.
        step: u64,
        /// From 0.
        epoch: u64,
        /// The learning rate.
        lr: f64,
        /// What was minimised.
        loss: f32,
        /// The global loss.
        global: Option<f32>,
        /// The reranker's loss.
        rerank: Option<f32>,
        /// Share of pairs told right.
        rerank_right: Option<f32>,
        /// Length of the gradient before clipping.
        gradient: f32,
        /// Images a second, loading included.
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
        /// Recall at 1, 5, 10 of the global order, where validated.
        global_recall: Option<[f64; 3]>,
        /// The same after reranking.
        reranked_recall: Option<[f64; 3]>,
        /// Whether this is the best so far.
        best: bool,
    },
}

impl Line {
    /// Steps so far.
    pub fn step(&self) -> u64 {
        match self {
            Self::Step { step, .. } | Self::Epoch { step, .. } => *step,
        }
    }

    pub(crate) fn of_step(
        step: u64,
        epoch: u64,
        lr: f64,
        losses: &Losses,
        gradient: f32,
        speed: f64,
    ) -> Self {
        Self::Step {
            step,
            epoch,
            lr,
            loss: losses.total,
            global: losses.global,
            rerank: losses.rerank,
            rerank_right: losses.rerank_right,
            gradient,
            images_per_second: speed,
        }
    }
}

/// Appends to a run's log.
pub(crate) struct Log(PathBuf);

impl Log {
    /// Opens the log; what is written beyond `step` (by a process that was killed after its last checkpoint) is
    /// taken out.
    pub(crate) fn open(path: PathBuf, step: u64) -> Result<Self> {
        if path.exists() {
            let lines: Vec<Line> = read(&path)?.into_iter().filter(|line| line.step() <= step).collect();
            let mut text = Vec::new();
            for line in &lines {
                serde_json::to_writer(&mut text, line).map_err(|e| TrainError::run(&path, e.to_string()))?;
                text.push(b'\n');
            }
            r2former_model::checkpoint::write_atomically(&path, &text)?;
        }
        Ok(Self(path))
    }

    pub(crate) fn write(&self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_vec(line).map_err(|e| TrainError::run(&self.0, e.to_string()))?;
        text.push(b'\n');
        let file = OpenOptions::new().create(true).append(true).open(&self.0);
        file.and_then(|mut file| file.write_all(&text)).map_err(TrainError::io(&self.0))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

/// Reads a log. A last line that is cut short is left out: its process was killed.
///
/// # Errors
/// A file that cannot be read, or a line that is no line of a log.
pub fn read(path: &Path) -> Result<Vec<Line>> {
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

/// Writes the table `curves.csv` of a log: a row a step and a row an epoch's end.
pub(crate) fn write_csv(lines: &[Line], path: &Path) -> Result<()> {
    let bad = |e: csv::Error| TrainError::run(path, e.to_string());
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = [
        "step",
        "epoch",
        "lr",
        "loss",
        "global",
        "rerank",
        "rerank_right",
        "gradient",
        "images_per_second",
        "global_recall_1",
        "global_recall_5",
        "global_recall_10",
        "reranked_recall_1",
        "reranked_recall_5",
        "reranked_recall_10",
    ];
    writer.write_record(header).map_err(bad)?;
    let cell = |value: Option<f32>| value.map_or_else(String::new, |v| v.to_string());
    for line in lines {
        let mut row: Vec<String> = match line {
            Line::Step {
                step,
                epoch,
                lr,
                loss,
                global,
                rerank,
                rerank_right,
                gradient,
                images_per_second,
            } => vec![
                step.to_string(),
                epoch.to_string(),
                lr.to_string(),
                loss.to_string(),
                cell(*global),
                cell(*rerank),
                cell(*rerank_right),
                gradient.to_string(),
                format!("{images_per_second:.2}"),
            ],
            Line::Epoch { step, epoch, loss, global_recall, reranked_recall, .. } => {
                let mut row = vec![step.to_string(), epoch.to_string(), String::new(), loss.to_string()];
                row.resize(9, String::new());
                for recall in [global_recall, reranked_recall] {
                    row.extend((0..3).map(|i| recall.map_or_else(String::new, |r| r[i].to_string())));
                }
                row
            }
        };
        row.resize(header.len(), String::new());
        writer.write_record(&row).map_err(bad)?;
    }
    let bytes = writer.into_inner().map_err(|e| TrainError::run(path, e.to_string()))?;
    Ok(r2former_model::checkpoint::write_atomically(path, &bytes)?)
}
