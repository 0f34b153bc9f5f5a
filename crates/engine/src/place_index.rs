//! A place index together with the model that fills it: one folder is all that a query needs.

use crate::{EngineError, LoadedModel, PrecisionChoice, Result, Settings};
use r2former_index::{
    Attachment, IndexConfig, IndexError, Manifest, Positions, Reader, Writer, attachment_path,
};
use r2former_model::{Device, ModelConfig};
use std::path::{Path, PathBuf};

/// The model's copy inside the index.
const MODEL_FILE: &str = "model.safetensors";

/// How images are preprocessed for it.
const SETTINGS_FILE: &str = "settings.json";

/// A place index on disk.
#[derive(Debug, Clone)]
pub struct PlaceIndex {
    dir: PathBuf,
    /// Fingerprint and sizes.
    pub manifest: Manifest,
    /// How images are preprocessed, for every image of the index and every query.
    pub settings: Settings,
}

impl PlaceIndex {
    /// Creates an empty index of WGS84 positions for a model in a folder that is new or empty, and keeps a copy of the model in it.
    ///
    /// # Errors
    /// [`EngineError::Index`] for a folder that holds anything, or cannot be written; [`EngineError::Model`] for an
    /// image size that the model cannot take.
    pub fn create(dir: &Path, loaded: &LoadedModel, settings: Settings) -> Result<Self> {
        Self::create_with(dir, loaded, settings, Positions::Wgs84)
    }

    /// As [`create`](Self::create), for another kind of positions.
    ///
    /// ```
    /// use r2former_engine::{LoadedModel, Origin, PlaceIndex, Positions, Settings};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let home = tempfile::tempdir()?;
    /// # let dir = home.path().join("museum");
    /// let model = LoadedModel::built_in()?;
    /// let settings = Settings::of(&model.config);
    /// // A building's map in metres: x east, y north and z up from here.
    /// let positions = Positions::Local { origin: Some(Origin::new(52.2054, 0.119, None)?) };
    /// let index = PlaceIndex::create_with(&dir, &model, settings, positions)?;
    /// assert_eq!(index.positions(), positions);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`create`](Self::create), and for an origin outside the globe.
    pub fn create_with(
        dir: &Path,
        loaded: &LoadedModel,
        settings: Settings,
        positions: Positions,
    ) -> Result<Self> {
        let config = &loaded.config;
        config.check_image_size(settings.image_size())?;
        config.check_size(settings.height, settings.width)?;
        let json = serde_json::to_vec_pretty(&settings).map_err(|e| EngineError::Request(e.to_string()))?;
        let shape = IndexConfig {
            model: config.name.clone(),
            fingerprint: loaded.fingerprint.clone(),
            global_dim: config.global_dim(),
            row_width: config.local_row(),
            max_rows: settings.most_local(config),
            positions,
        };
        let mut model = loaded.file()?;
        let files: &mut [Attachment<'_>] = &mut [(MODEL_FILE, &mut model), (SETTINGS_FILE, &mut &*json)];
        Writer::create_with(dir, shape, files)?.close()?;
        Self::open(dir)
    }

    /// Opens the index in a folder, or creates it where there is none.
    ///
    /// ```
    /// use r2former_engine::{LoadedModel, PlaceIndex, Settings};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let home = tempfile::tempdir()?;
    /// # let dir = home.path().join("places");
    /// let model = LoadedModel::built_in()?;
    /// let settings = Settings::of(&model.config);
    /// let created = PlaceIndex::open_or_create(&dir, &model, settings)?;
    /// let opened = PlaceIndex::open_or_create(&dir, &model, settings)?;
    /// assert_eq!(opened.manifest, created.manifest);
    /// assert_eq!(opened.manifest.config.model, "r2former-tiny");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`EngineError::Index`] for an index of another model, or a folder that holds other things;
    /// [`EngineError::Request`] for an index of other settings, unless they differ in an arithmetic that
    /// [mixes](Settings::mixes); as [`create`](Self::create) and
    /// [`open`](Self::open).
    pub fn open_or_create(dir: &Path, loaded: &LoadedModel, settings: Settings) -> Result<Self> {
        let index = match Self::open(dir) {
            // A writer that was killed while it created the index leaves a folder without a manifest, which
            // `create` refuses: it cannot know that nothing else is in it.
            Err(EngineError::Index(IndexError::NotAnIndex { .. })) => {
                return Self::create(dir, loaded, settings);
            }
            index => index?,
        };
        index.check_model(loaded)?;
        if !index.settings.compare_with(&settings, &loaded.config) {
            let words = |s: &Settings| format!("{} in {}", s.image_size(), s.precision);
            return Err(EngineError::Request(format!(
                "{}: images of this index are {}, not {}; use its settings, or build another index",
                dir.display(),
                words(&index.settings),
                words(&settings)
            )));
        }
        Ok(index)
    }

    /// Opens an existing index.
    ///
    /// # Errors
    /// [`EngineError::Index`] for a folder that holds none, or one written by another version;
    /// [`EngineError::Data`] where the index's settings cannot be read.
    pub fn open(dir: &Path) -> Result<Self> {
        let manifest = Manifest::read(dir)?;
        let path = attachment_path(dir, SETTINGS_FILE);
        let bytes = std::fs::read(&path).map_err(|e| r2former_data::DataError::io(&path, e))?;
        let settings = serde_json::from_slice(&bytes)
            .map_err(|e| EngineError::Request(format!("{}: is not understood: {e}", path.display())))?;
        Ok(Self { dir: dir.to_path_buf(), manifest, settings })
    }

    /// The model that belongs to the index.
    ///
    /// # Errors
    /// [`EngineError::Model`] for a copy that is missing or damaged, [`EngineError::Index`] for one of another model.
    pub fn model(&self) -> Result<LoadedModel> {
        let loaded = LoadedModel::open(&attachment_path(&self.dir, MODEL_FILE))?;
        self.check_model(&loaded)?;
        Ok(loaded)
    }

    /// The settings in which its model computes on a device: those of the index, or the arithmetic that is asked for, if the two
    /// [mix](Settings::mixes). 8 bits are the CPU's: elsewhere an index of them computes in another arithmetic by itself.
    ///
    /// # Errors
    /// As [`Settings::mixed`].
    pub fn settings_on(
        &self,
        device: &Device,
        config: &ModelConfig,
        precision: Option<PrecisionChoice>,
    ) -> Result<Settings> {
        self.settings.mixed(precision, config, device).map_err(|error| match error {
            EngineError::Request(problem) => {
                EngineError::Request(format!("{}: {problem}", self.dir.display()))
            }
            other => other,
        })
    }

    /// Refuses a model other than the index's own: their descriptors do not compare.
    ///
    /// # Errors
    /// [`IndexError::OtherModel`] names both.
    pub fn check_model(&self, loaded: &LoadedModel) -> Result<()> {
        let config = &self.manifest.config;
        if loaded.fingerprint == config.fingerprint {
            return Ok(());
        }
        let name = |name: &str, fingerprint: &str| {
            format!("{name} ({})", fingerprint.chars().take(12).collect::<String>())
        };
        Err(EngineError::Index(IndexError::OtherModel {
            dir: self.dir.clone(),
            index: name(&config.model, &config.fingerprint),
            given: name(&loaded.config.name, &loaded.fingerprint),
        }))
    }

    /// Opens for queries; any number of readers may work while one writer adds.
    ///
    /// # Errors
    /// [`EngineError::Index`] for a damaged index.
    pub fn reader(&self) -> Result<Reader> {
        Ok(Reader::open(&self.dir, None)?)
    }

    /// Opens for adding and removing; one writer at a time.
    ///
    /// # Errors
    /// [`IndexError::Busy`] while another process writes, [`IndexError::ReadOnly`] for a folder that cannot be
    /// written.
    pub fn writer(&self) -> Result<Writer> {
        Ok(Writer::open(&self.dir, &self.manifest.config.fingerprint)?)
    }

    /// Which positions its images have.
    pub fn positions(&self) -> Positions {
        self.manifest.config.positions
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}
