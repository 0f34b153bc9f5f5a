//! The manifest: the model of an index, the shape of its vectors, and its kind of positions.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use r2former_geo::{Origin, Positions};
use serde::{Deserialize, Serialize};

use crate::clock::now_utc;
use crate::error::{At, IndexError, Result};
use crate::files::write_atomically;

/// Format that this crate reads and writes.
pub const FORMAT: u32 = 4;

/// File name of the manifest in an index directory.
pub const MANIFEST: &str = "manifest.json";

/// The model of an index, the shape of its vectors, and its kind of positions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IndexConfig {
    /// The model's name, for people.
    pub model: String,
    /// The model's fingerprint: compared as a whole, never parsed.
    pub fingerprint: String,
    /// Dimensions of a global descriptor, 1 to 65536.
    pub global_dim: usize,
    /// Bytes in a row of local features (the local dimension plus 3); 0 if the model has none.
    pub row_width: usize,
    /// Largest number of rows of local features per image; 0 if the model has none.
    pub max_rows: usize,
    /// Which positions images have.
    pub positions: Positions,
}

impl IndexConfig {
    /// Bytes of one image's vectors at most: 4 per dimension of the descriptor, 1 per value of the local features.
    pub fn vector_bytes(&self) -> u64 {
        (4 * self.global_dim + self.row_width * self.max_rows) as u64
    }

    /// Whether images have local features here.
    pub fn has_local(&self) -> bool {
        self.max_rows > 0
    }
}

/// The content of `manifest.json`. It is written once, at creation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of the directory, [`FORMAT`].
    pub format: u32,
    /// When the index was created, UTC, as `2026-07-24T12:00:00Z`.
    pub created: String,
    /// The model and the shape of the vectors.
    #[serde(flatten)]
    pub config: IndexConfig,
    /// SHA-256 of each attached file, by its name; empty for an index whose creator did not note them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attachments: BTreeMap<String, String>,
}

impl Manifest {
    /// A manifest created now, after a check of the configuration.
    ///
    /// # Errors
    /// [`IndexError::Request`] about the index at `dir`.
    pub fn new(dir: &Path, config: IndexConfig) -> Result<Self> {
        check(&config).map_err(|problem| IndexError::request(dir, problem))?;
        Ok(Self { format: FORMAT, created: now_utc(), config, attachments: BTreeMap::new() })
    }

    /// Reads and checks the manifest of the index at `dir`.
    ///
    /// # Errors
    /// [`IndexError::NotAnIndex`], [`IndexError::OtherFormat`], [`IndexError::Damaged`], or the system's.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = Self::path(dir);
        let bytes = match fs::read(&path) {
            Err(source)
                if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                return Err(IndexError::NotAnIndex { dir: dir.into() });
            }
            bytes => bytes.at(&path)?,
        };
        Self::parse(dir, &bytes)
    }

    /// Reads and checks the text of a manifest, that of the index at `dir`.
    ///
    /// # Errors
    /// [`IndexError::OtherFormat`] or [`IndexError::Damaged`].
    pub fn parse(dir: &Path, text: &[u8]) -> Result<Self> {
        let broken = |problem: String| IndexError::damaged(dir, format!("{MANIFEST}: {problem}"));
        let raw: serde_json::Value =
            serde_json::from_slice(text).map_err(|error| broken(error.to_string()))?;
        let found = raw.get("format").and_then(serde_json::Value::as_u64);
        let found = found.ok_or_else(|| broken("it has no format number".into()))?;
        if found != u64::from(FORMAT) {
            let found = u32::try_from(found).unwrap_or(u32::MAX);
            return Err(IndexError::OtherFormat { dir: dir.into(), found, known: FORMAT });
        }
        let manifest: Self = serde_json::from_value(raw).map_err(|error| broken(error.to_string()))?;
        check(&manifest.config).map_err(broken)?;
        Ok(manifest)
    }

    /// Writes the manifest of the index at `dir`, whole or not at all.
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        let json = serde_json::to_vec_pretty(self).map_err(io::Error::other).at(dir)?;
        write_atomically(&Self::path(dir), &json)
    }

    /// Refuses a caller whose model is not the index's.
    ///
    /// # Errors
    /// [`IndexError::OtherModel`] about the index at `dir`.
    pub fn expect_model(&self, dir: &Path, fingerprint: &str) -> Result<()> {
        if self.config.fingerprint == fingerprint {
            return Ok(());
        }
        let index = format!("{} ({})", self.config.model, self.config.fingerprint);
        Err(IndexError::OtherModel { dir: dir.into(), index, given: fingerprint.into() })
    }

    fn path(dir: &Path) -> PathBuf {
        dir.join(MANIFEST)
    }
}

fn check(config: &IndexConfig) -> Result<(), String> {
    if !(1..=65_536).contains(&config.global_dim) {
        return Err(format!(
            "a global descriptor of {} dimensions; 1 to 65536 are possible",
            config.global_dim
        ));
    }
    if (config.row_width == 0) != (config.max_rows == 0) {
        return Err("local features need both a row width and a number of rows, or neither".into());
    }
    // A value of the store has a length of 32 bits; an image is far below that.
    let bytes = config.row_width.saturating_mul(config.max_rows);
    if config.row_width > 65_536 || bytes >= 32 << 20 {
        return Err(format!("{bytes} bytes of local features per image; below 32 MiB are possible"));
    }
    if config.fingerprint.is_empty() {
        return Err("the model's fingerprint is empty".into());
    }
    if let Some(Origin { lat, lon, altitude }) = config.positions.origin() {
        Origin::new(lat, lon, altitude)
            .map_err(|problem| format!("the origin of its positions: {problem}"))?;
    }
    Ok(())
}
