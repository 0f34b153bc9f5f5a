//! The file in which a shard says what it did.

use crate::{AddReport, EngineError, Result, Settings, Source};
use r2former_data::DataError;
use r2former_data::dataset::{Shard, SkipKind, Skipped, escaped_name};
use r2former_index::now_utc;
use r2former_model::checkpoint::write_atomically;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Number of the manifest's format.
const FORMAT: u32 = 1;

/// What one shard of a job was asked to do, and did. Written before the work begins, and again at its end: one that is not
/// [finished](Self::finished) is of a shard that runs, failed or was killed, and has to run again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ShardManifest {
    /// Number of the format: 1.
    pub format: u32,
    /// Version of the program.
    pub program: String,
    /// What was run: `index add` or `extract`.
    pub command: String,
    /// Number of the shard, from 0.
    pub shard: u32,
    /// How many there are.
    pub of: u32,
    /// What it filled: an index or a file.
    pub target: String,
    /// Where the photographs are from, and what their names begin with.
    pub sources: Vec<Source>,
    /// Name of the model.
    pub model: String,
    /// SHA-256 of its file.
    pub model_fingerprint: String,
    /// How photographs were preprocessed.
    pub settings: Settings,
    /// When the work began, UTC.
    pub started: String,
    /// When it ended, UTC.
    pub ended: Option<String>,
    /// Whether it went to its end.
    pub finished: bool,
    /// Why it did not, where it could say so.
    pub error: Option<String>,
    /// What was done.
    #[serde(flatten)]
    pub work: ShardWork,
}

/// Counts of a shard. Those of all shards add up to what one run over everything would report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ShardWork {
    /// Images of this shard in the sources, views of panoramas each, and what was left out.
    pub listed: usize,
    /// Images added, or extracted.
    pub added: usize,
    /// Images that were in the index already.
    pub already_indexed: usize,
    /// Images that were in the index and have changed.
    pub updated: usize,
    /// Images that have changed, and stay as they were.
    pub changed: usize,
    /// Files that were added although they were cut short.
    pub truncated: usize,
    /// What was left out.
    pub skipped: Vec<LeftOut>,
}

/// A photograph that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its file or address.
    pub path: String,
    /// Why.
    pub reason: String,
    /// `without_position`, `unreadable` or `unsupported`.
    pub kind: String,
}

impl From<&Skipped> for LeftOut {
    fn from(skipped: &Skipped) -> Self {
        let kind = match skipped.kind {
            SkipKind::WithoutPosition => "without_position",
            SkipKind::Unsupported => "unsupported",
            _ => "unreadable",
        };
        Self { path: escaped_name(&skipped.path), reason: skipped.reason.clone(), kind: kind.into() }
    }
}

impl ShardWork {
    /// What adding `images` did, besides those that were `skipped` before or meanwhile.
    pub fn of(images: usize, report: &AddReport, skipped: &[Skipped]) -> Self {
        let met = skipped.len().saturating_sub(report.unreadable.len());
        Self {
            listed: images + met,
            added: report.added,
            already_indexed: report.already_indexed,
            updated: report.updated.len(),
            changed: report.changed.len(),
            truncated: report.truncated.len(),
            skipped: skipped.iter().map(LeftOut::from).collect(),
        }
    }

    /// Adds what another shard did.
    pub(super) fn add(&mut self, other: &Self) {
        self.listed += other.listed;
        self.added += other.added;
        self.already_indexed += other.already_indexed;
        self.updated += other.updated;
        self.changed += other.changed;
        self.truncated += other.truncated;
        self.skipped.extend(other.skipped.iter().cloned());
    }

    /// That of images that were all extracted.
    pub fn extracted(images: usize) -> Self {
        Self { listed: images, added: images, ..Self::default() }
    }
}

impl ShardManifest {
    /// That of work which begins now.
    pub fn begin(command: &str, shard: Shard, target: String, sources: Vec<Source>) -> Self {
        Self {
            format: FORMAT,
            program: env!("CARGO_PKG_VERSION").into(),
            command: command.into(),
            shard: shard.index(),
            of: shard.count(),
            target,
            sources,
            model: String::new(),
            model_fingerprint: String::new(),
            settings: Settings { height: 0, width: 0, rule: None, precision: r2former_model::Precision::F32 },
            started: now_utc(),
            ended: None,
            finished: false,
            error: None,
            work: ShardWork::default(),
        }
    }

    /// Sets the model, and how photographs are preprocessed for it.
    #[must_use]
    pub fn with_model(mut self, name: &str, fingerprint: &str, settings: Settings) -> Self {
        (self.model, self.model_fingerprint, self.settings) = (name.into(), fingerprint.into(), settings);
        self
    }

    /// Sets what was done, and that it is all there was to do.
    pub fn finish(&mut self, work: ShardWork) {
        (self.work, self.finished, self.ended) = (work, true, Some(now_utc()));
    }

    /// Sets why it did not go to its end.
    pub fn fail(&mut self, error: impl Into<String>) {
        (self.error, self.ended) = (Some(error.into()), Some(now_utc()));
    }

    /// Writes it in place of what was there: a reader sees one or the other, never a part.
    ///
    /// # Errors
    /// [`EngineError::Model`] names the file that cannot be written.
    pub fn write(&self, file: &Path) -> Result<()> {
        let mut text =
            serde_json::to_vec_pretty(self).map_err(|error| EngineError::Request(error.to_string()))?;
        text.push(b'\n');
        Ok(write_atomically(file, &text)?)
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`EngineError::Data`] for a file that cannot be read or is no manifest of this format.
    pub fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read(file).map_err(|error| DataError::io(file, error))?;
        let manifest: Self = serde_json::from_slice(&text)
            .map_err(|error| DataError::format(file, None, format!("is no manifest of a shard: {error}")))?;
        let problem = if manifest.format != FORMAT {
            format!("is a manifest of format {}, and this program reads format {FORMAT}", manifest.format)
        } else if let Err(error) = Shard::new(manifest.shard, manifest.of) {
            format!("is no manifest of a shard: {error}")
        } else {
            return Ok(manifest);
        };
        Err(DataError::format(file, None, problem).into())
    }
}
