//! A place index together with the model that fills it: one address is all that a query needs.

use crate::attached::{Attached, MODEL_FILE, SETTINGS_FILE};
use crate::index_address::Kept;
use crate::{
    EngineError, IndexAddress, IndexReader, IndexWriter, LoadedModel, PrecisionChoice, Result, Settings,
};
use r2former_index::{
    Attachment, CollectionOptions, ErrorKind, IndexConfig, IndexError, Info, Manifest, Positions, Reader,
    Report, Writer,
};
use r2former_model::{Device, ModelConfig, ModelError};
use serde_json::Value;
use std::ffi::OsStr;
use std::path::Path;

/// A place index: a folder, or a collection of a cluster. Wherever one is named, the folder's path or the collection's
/// address is given ([`IndexAddress`]).
#[derive(Debug, Clone)]
pub struct PlaceIndex {
    address: IndexAddress,
    /// Fingerprint and sizes.
    pub manifest: Manifest,
    /// How images are preprocessed, for every image of the index and every query.
    pub settings: Settings,
}

impl PlaceIndex {
    /// Creates an empty index of WGS84 positions for a model, in a folder that is new or empty or as a new collection, and
    /// keeps a copy of the model in it.
    ///
    /// # Errors
    /// [`EngineError::Index`] for a folder that holds anything, a collection that exists, or what cannot be written;
    /// [`EngineError::Model`] for an image size that the model cannot take.
    pub fn create(at: impl AsRef<OsStr>, loaded: &LoadedModel, settings: Settings) -> Result<Self> {
        Self::create_with(at, loaded, settings, Positions::Wgs84)
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
        at: impl AsRef<OsStr>,
        loaded: &LoadedModel,
        settings: Settings,
        positions: Positions,
    ) -> Result<Self> {
        let address = IndexAddress::parse(at)?;
        Self::create_in(&address, loaded, settings, positions, &CollectionOptions::default())
    }

    /// As [`create_with`](Self::create_with), with options of a collection.
    ///
    /// # Errors
    /// As [`create_with`](Self::create_with), and [`EngineError::Request`] for such options of a folder.
    pub fn create_in(
        address: &IndexAddress,
        loaded: &LoadedModel,
        settings: Settings,
        positions: Positions,
        options: &CollectionOptions,
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
        make(address, shape, options, &mut [(MODEL_FILE, &mut model), (SETTINGS_FILE, &mut &*json)])?;
        Self::open(address)
    }

    /// Creates an empty index like another one: of its model, settings and positions.
    ///
    /// # Errors
    /// As [`create_in`](Self::create_in); [`EngineError::Model`] where the copy of the other's model is missing or damaged.
    pub fn create_like(address: &IndexAddress, other: &Self, options: &CollectionOptions) -> Result<Self> {
        let attached = Attached::of(&other.address);
        let mut model = attached.model_file(&other.manifest.config.fingerprint)?;
        let json = attached.settings()?;
        let files: &mut [Attachment<'_>] = &mut [(MODEL_FILE, &mut model), (SETTINGS_FILE, &mut &*json)];
        make(address, other.manifest.config.clone(), options, files)?;
        Self::open(address)
    }

    /// Opens the index at an address, or creates it where there is none.
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
    pub fn open_or_create(at: impl AsRef<OsStr>, loaded: &LoadedModel, settings: Settings) -> Result<Self> {
        let address = IndexAddress::parse(at)?;
        let index = match Self::open(&address) {
            Err(error) if is_none(&error) => return Self::create(&address, loaded, settings),
            index => index?,
        };
        index.check_model(loaded)?;
        if !index.settings.compare_with(&settings, &loaded.config) {
            let words = |s: &Settings| format!("{} in {}", s.image_size(), s.precision);
            return Err(EngineError::Request(format!(
                "{address}: images of this index are {}, not {}; use its settings, or build another index",
                words(&index.settings),
                words(&settings)
            )));
        }
        Ok(index)
    }

    /// Opens the index at an address, or creates one [like another](Self::create_like) where there is none. The options of
    /// a collection are those of its creation; they change nothing later.
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`create_like`](Self::create_like).
    pub fn open_or_create_like(
        address: &IndexAddress,
        other: &Self,
        options: &CollectionOptions,
    ) -> Result<Self> {
        refuse_for_folder(address, options)?;
        match Self::open(address) {
            Err(error) if is_none(&error) => Self::create_like(address, other, options),
            index => index,
        }
    }

    /// Opens an existing index.
    ///
    /// # Errors
    /// [`EngineError::Index`] for a folder or a collection that holds none, or one written by another version;
    /// [`EngineError::Data`] where the index's settings cannot be read.
    pub fn open(at: impl AsRef<OsStr>) -> Result<Self> {
        Self::open_at(IndexAddress::parse(at)?)
    }

    fn open_at(address: IndexAddress) -> Result<Self> {
        let manifest = match address.kept() {
            Kept::Folder => Manifest::read(address.as_path())?,
            #[cfg(feature = "cluster")]
            Kept::Collection(collection) => {
                r2former_cluster::ClusterReader::open(collection, None)?.manifest().clone()
            }
        };
        let settings = serde_json::from_slice(&Attached::of(&address).settings()?).map_err(|e| {
            EngineError::Request(format!("{address}: {SETTINGS_FILE} is not understood: {e}"))
        })?;
        Ok(Self { address, manifest, settings })
    }

    /// The model that belongs to the index. That of a collection is copied once into the user's cache folder
    /// (`r2former/models`), under its fingerprint.
    ///
    /// # Errors
    /// [`EngineError::Model`] for a copy that is missing or cannot be read, [`EngineError::Index`] for one that has changed.
    pub fn model(&self) -> Result<LoadedModel> {
        let own = &self.manifest.config;
        let loaded = Attached::of(&self.address).model(&own.fingerprint)?;
        if loaded.fingerprint == own.fingerprint {
            return Ok(loaded);
        }
        let problem = format!("its {MODEL_FILE} is not the model that it was made with, {}", own.model);
        Err(EngineError::Index(IndexError::Damaged { dir: self.address.as_path().into(), problem }))
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
            EngineError::Request(problem) => EngineError::Request(format!("{}: {problem}", self.address)),
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
        Err(self.other_model(&loaded.config.name, &loaded.fingerprint))
    }

    fn other_model(&self, model: &str, fingerprint: &str) -> EngineError {
        let name = |name: &str, fingerprint: &str| {
            format!("{name} ({})", fingerprint.chars().take(12).collect::<String>())
        };
        let own = &self.manifest.config;
        EngineError::Index(IndexError::OtherModel {
            dir: self.address.as_path().into(),
            index: name(&own.model, &own.fingerprint),
            given: name(model, fingerprint),
        })
    }

    /// Refuses an index that does not take the images of another one: of another model, or under other settings.
    ///
    /// # Errors
    /// [`IndexError::OtherModel`], or [`EngineError::Request`] with what differs.
    pub fn check_alike(&self, other: &Self) -> Result<()> {
        let (own, given) = (&self.manifest.config, &other.manifest.config);
        if own.fingerprint != given.fingerprint {
            return Err(self.other_model(&given.model, &given.fingerprint));
        }
        let differs = if self.settings != other.settings {
            let words = |s: &Settings| format!("{} in {}", s.image_size(), s.precision);
            format!("images are {}, and {} there", words(&self.settings), words(&other.settings))
        } else if own.positions != given.positions {
            let words = |positions: Positions| match positions.origin() {
                Some(origin) => format!("{} with the origin {origin}", positions.kind().words()),
                None => positions.kind().words().to_owned(),
            };
            format!("it has {}, and {} there", words(own.positions), words(given.positions))
        } else if own != given {
            "its vectors have another shape".to_owned()
        } else {
            return Ok(());
        };
        Err(EngineError::Request(format!(
            "{} does not take the images of {}: {differs}; copy into an index of its own",
            self.address, other.address
        )))
    }

    /// Opens for queries; any number of readers may work while one writer adds.
    ///
    /// # Errors
    /// [`EngineError::Index`] for a damaged index.
    pub fn reader(&self) -> Result<IndexReader> {
        Ok(match self.address.kept() {
            Kept::Folder => Reader::open(self.address.as_path(), None)?.into(),
            #[cfg(feature = "cluster")]
            Kept::Collection(collection) => {
                let fingerprint = &self.manifest.config.fingerprint;
                r2former_cluster::ClusterReader::open(collection, Some(fingerprint))?.into()
            }
        })
    }

    /// Opens for adding and removing; one writer at a time for a folder, any number of them for a collection.
    ///
    /// # Errors
    /// [`IndexError::Busy`] while another process writes, [`IndexError::ReadOnly`] for a folder that cannot be
    /// written.
    pub fn writer(&self) -> Result<IndexWriter> {
        let fingerprint = &self.manifest.config.fingerprint;
        Ok(match self.address.kept() {
            Kept::Folder => Writer::open(self.address.as_path(), fingerprint)?.into(),
            #[cfg(feature = "cluster")]
            Kept::Collection(collection) => {
                r2former_cluster::ClusterWriter::open(collection, fingerprint)?.into()
            }
        })
    }

    /// Reads the whole index and reports damage: of a folder every page and checksum, of a collection what its images are.
    /// The model's copy is looked at, too.
    ///
    /// # Errors
    /// As [`model`](Self::model) and [`reader`](Self::reader); what is wrong within it is in the report.
    pub fn verify(&self) -> Result<Report> {
        self.model()?;
        Ok(match self.address.kept() {
            Kept::Folder => r2former_index::verify(self.address.as_path())?,
            #[cfg(feature = "cluster")]
            Kept::Collection(collection) => r2former_cluster::verify(collection)?,
        })
    }

    /// Writes a snapshot of an index in a folder to a new file.
    ///
    /// # Errors
    /// [`EngineError::Request`] for a collection; as [`r2former_index::export`].
    pub fn export(address: &IndexAddress, file: &Path) -> Result<()> {
        let folder = address.need_folder(
            "a snapshot is made of an index in a folder; copy the collection into one with `r2former index copy`, or use the \
             cluster's own snapshots",
        )?;
        Ok(r2former_index::export(folder, file)?)
    }

    /// Creates an index in a folder from a snapshot.
    ///
    /// # Errors
    /// [`EngineError::Request`] for the address of a collection; as [`r2former_index::import`].
    pub fn import(file: &Path, at: impl AsRef<OsStr>) -> Result<Self> {
        let address = IndexAddress::parse(at)?;
        let folder = address.need_folder(
            "a snapshot becomes an index in a folder; import it there, and copy that with `r2former index copy`",
        )?;
        r2former_index::import(file, folder)?;
        let index = Self::open(&address)?;
        index.model()?;
        Ok(index)
    }

    /// Whether the index at this address is still this one; `None` where that cannot be seen now.
    pub fn is_there(&self) -> Option<bool> {
        match Self::open(&self.address) {
            Ok(now) => Some(now.manifest.config == self.manifest.config && now.settings == self.settings),
            // A cluster may be out of reach for a moment.
            Err(EngineError::Index(error))
                if self.address.folder().is_none() && error.kind() != ErrorKind::Caller =>
            {
                None
            }
            Err(_) => Some(false),
        }
    }

    /// A summary and what an image takes, and how photographs are preprocessed: the document of
    /// `r2former index info --json`.
    ///
    /// # Errors
    /// [`EngineError::Model`] for numbers that JSON does not have.
    pub fn info_document(&self, info: &Info) -> Result<Value> {
        let mut document =
            serde_json::to_value(info).map_err(|error| ModelError::Config(error.to_string()))?;
        document["bytes_per_image"] = info.bytes_per_image().into();
        document["vector_bytes_per_image"] = info.config.vector_bytes().into();
        document["input"] = self.settings.image_size().to_string().into();
        document["precision"] = self.settings.precision.to_string().into();
        Ok(document)
    }

    /// Which positions its images have.
    pub fn positions(&self) -> Positions {
        self.manifest.config.positions
    }

    /// Where it is kept.
    pub fn address(&self) -> &IndexAddress {
        &self.address
    }
}

/// Makes an empty index with its attachments.
fn make(
    address: &IndexAddress,
    config: IndexConfig,
    options: &CollectionOptions,
    attachments: &mut [Attachment<'_>],
) -> Result<()> {
    refuse_for_folder(address, options)?;
    match address.kept() {
        Kept::Folder => {
            Writer::create_with(address.as_path(), config, attachments)?.close()?;
            Ok(())
        }
        #[cfg(feature = "cluster")]
        Kept::Collection(collection) => {
            r2former_cluster::create(collection, config, options, attachments)?;
            Ok(())
        }
    }
}

/// Refuses options of a collection for a folder.
fn refuse_for_folder(address: &IndexAddress, options: &CollectionOptions) -> Result<()> {
    if address.folder().is_none() || *options == CollectionOptions::default() {
        return Ok(());
    }
    Err(EngineError::Request(format!(
        "{address}: shards, replicas, write consistency, quantization and descriptors on disk are options of a collection \
         (qdrant://HOST:PORT/COLLECTION); an index in a folder has none of them"
    )))
}

/// Whether an error says that there is no index yet.
fn is_none(error: &EngineError) -> bool {
    matches!(error, EngineError::Index(IndexError::NotAnIndex { .. } | IndexError::NoCollection { .. }))
}
