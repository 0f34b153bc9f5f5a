//! A device is used after it has agreed with the CPU.

use super::{Extent, Options, Report, Stage, check};
use crate::user_cache::user_cache;
use crate::{EngineError, LoadedModel, Progress, Result};
use r2former_model::checkpoint::write_atomically;
use r2former_model::{Device, DeviceInfo, Precision};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// How a device came to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It is the reference.
    Cpu,
    /// It agreed before, with this driver, build and model.
    Remembered,
    /// It agreed just now.
    Checked,
}

/// What an agreement holds for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    /// The adapter, its driver and the name of the device.
    device: String,
    /// Version and features of the program.
    build: String,
    /// SHA-256 of the model's checkpoint.
    model: String,
    /// Arithmetic of the products.
    precision: String,
}

/// A file that says that a device agreed.
#[derive(Serialize, Deserialize)]
struct Agreement {
    key: Key,
    /// Stages that were compared.
    stages: usize,
}

/// A folder that remembers which devices agreed, a file for each.
#[derive(Debug, Clone)]
pub struct TrustCache {
    folder: Option<PathBuf>,
    build: String,
}

impl TrustCache {
    /// Remembers in `folder`, for a build: whatever changes what a device computes, as version and features.
    pub fn new(folder: impl Into<PathBuf>, build: impl Into<String>) -> Self {
        Self { folder: Some(folder.into()), build: build.into() }
    }

    /// Remembers nothing.
    pub fn none() -> Self {
        Self { folder: None, build: String::new() }
    }

    /// In the user's cache folder (`$XDG_CACHE_HOME/r2former/devices` or `~/.cache/r2former/devices`,
    /// `~/Library/Caches/r2former/devices`, `%LOCALAPPDATA%\r2former\devices`); without one, nothing is remembered.
    pub fn of_user(build: impl Into<String>) -> Self {
        Self { folder: user_cache().map(|folder| folder.join("devices")), build: build.into() }
    }

    fn file(&self, key: &Key) -> Option<PathBuf> {
        let digest = Sha256::digest(serde_json::to_vec(key).ok()?);
        let name: String = digest[..12].iter().map(|byte| format!("{byte:02x}")).collect();
        Some(self.folder.as_ref()?.join(format!("{name}.json")))
    }

    /// Whether the file is there, whole, and of this very key.
    fn remembers(&self, key: &Key) -> bool {
        let read =
            |path: &Path| -> Option<Agreement> { serde_json::from_slice(&std::fs::read(path).ok()?).ok() };
        self.file(key).and_then(|path| read(&path)).is_some_and(|agreement| agreement.key == *key)
    }

    /// What cannot be written is checked again the next time.
    fn remember(&self, key: Key, stages: usize) {
        let Some(path) = self.file(&key) else { return };
        let Ok(bytes) = serde_json::to_vec_pretty(&Agreement { key, stages }) else { return };
        if path.parent().is_some_and(|folder| std::fs::create_dir_all(folder).is_ok()) {
            let _ = write_atomically(&path, &bytes);
        }
    }
}

/// Checks a device in short, unless it is the CPU or agreed before with the same adapter, driver, build, model and
/// precision. `stages` are those of crates above this one.
///
/// # Errors
/// [`EngineError::Untrusted`] names the first stage that disagrees or fails.
pub fn trust(
    loaded: &LoadedModel,
    precision: Precision,
    device: &Device,
    info: &DeviceInfo,
    cache: &TrustCache,
    stages: &[&dyn Stage],
    progress: &dyn Progress,
) -> Result<Trust> {
    if *device == Device::flex() {
        return Ok(Trust::Cpu);
    }
    let mut options = Options::new(Extent::Short).precision(precision);
    options.stages.extend(stages);
    trust_by(loaded, precision, info, cache, || {
        progress.note(&format!("checking {info} against the CPU, once for this driver, build and model"));
        check(loaded, device, &options, progress)
    })
}

/// [`trust`] by any check.
pub(super) fn trust_by(
    loaded: &LoadedModel,
    precision: Precision,
    info: &DeviceInfo,
    cache: &TrustCache,
    check: impl FnOnce() -> Result<Report>,
) -> Result<Trust> {
    let key = Key {
        device: info.to_string(),
        build: cache.build.clone(),
        model: loaded.fingerprint.clone(),
        precision: precision.to_string(),
    };
    if cache.remembers(&key) {
        return Ok(Trust::Remembered);
    }
    let report = check()?;
    let Some(fault) = report.stages.iter().find(|stage| !stage.is_usable()) else {
        cache.remember(key, report.stages.len());
        return Ok(Trust::Checked);
    };
    Err(EngineError::Untrusted { device: info.to_string(), stage: fault.stage, fault: fault.fault() })
}
