//! An index that is open, with its model on a device: what an application holds, and its threads share.

use crate::doctor::{self, TrustCache};
use crate::{
    Answer, EngineError, Extractor, IndexReader, IndexWriter, LoadedModel, LocateOptions, Near, NoProgress,
    PlaceIndex, QueryImage, QueryOptions, QueryResult, Result, Settings, locate, why_nothing,
};
use r2former_model::device::{FEATURES, describe};
use r2former_model::{Device, parse_device};
use std::ffi::OsStr;
use std::sync::{Arc, Mutex, PoisonError};

/// A model on a device that is named as the program's `--device`. One other than the CPU is compared with the CPU when it
/// is first used with a driver, version and model, and refused if it disagrees.
///
/// # Errors
/// [`EngineError::Model`] for an unknown device, [`EngineError::Untrusted`] for a device that disagrees; as
/// [`Extractor::new`].
pub fn extractor_on(device: &str, loaded: LoadedModel, settings: Settings) -> Result<Extractor> {
    let on = parse_device(device)?;
    settings.check_device(&on)?;
    if on != Device::flex() {
        let info = doctor::guarded(|| Ok(describe(device, &on)))?;
        // Only what this library computes is compared: the program's own check covers training, too.
        let build = format!("library {} {}", env!("CARGO_PKG_VERSION"), FEATURES.join("+"));
        let cache = TrustCache::of_user(build);
        doctor::trust(&loaded, settings.precision, &on, &info, &cache, &[], &NoProgress)?;
    }
    Extractor::new(loaded, settings, &on)
}

/// An open index. All of its methods take `&self`, so that threads share it; changes wait for each other.
///
/// ```
/// use r2former_engine::{LoadedModel, LocateOptions, OpenIndex, PlaceIndex, Rgb8, Settings, Status};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let home = tempfile::tempdir()?;
/// # let dir = home.path().join("places");
/// let model = LoadedModel::built_in()?;
/// PlaceIndex::create(&dir, &model, Settings::of(&model.config))?;
///
/// let index = OpenIndex::open(&dir, "cpu")?;
/// let frame = Rgb8 { width: 64, height: 48, pixels: vec![90; 64 * 48 * 3] };
/// assert_eq!(index.locate(&frame, &LocateOptions::default())?.status, Status::NoMatch);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct OpenIndex {
    place: PlaceIndex,
    reader: IndexReader,
    device: String,
    /// The model, once it is needed.
    extractor: Mutex<Option<Arc<Extractor>>>,
    /// Open while something is changed, and as long as the caller keeps it.
    writer: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    writer: Option<IndexWriter>,
    /// How many callers keep the writer beyond their changes.
    keepers: usize,
}

impl OpenIndex {
    /// Opens an index; its model is loaded onto `device` when it is first needed.
    ///
    /// # Errors
    /// As [`PlaceIndex::open`] and [`PlaceIndex::reader`]; [`EngineError::Model`] for an unknown device.
    pub fn open(at: impl AsRef<OsStr>, device: &str) -> Result<Self> {
        Self::of(PlaceIndex::open(at)?, device)
    }

    /// The same of an index that was just created.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn of(place: PlaceIndex, device: &str) -> Result<Self> {
        parse_device(device)?;
        Ok(Self {
            reader: place.reader()?,
            place,
            device: device.to_owned(),
            extractor: Mutex::default(),
            writer: Mutex::default(),
        })
    }

    /// Uses a model that is loaded already.
    ///
    /// # Errors
    /// [`EngineError::Request`] for another model than the index's, or under other settings, unless they differ in an
    /// arithmetic that [mixes](Settings::mixes); as [`PlaceIndex::model`] for a model whose arithmetic differs.
    pub fn share(&self, extractor: Arc<Extractor>) -> Result<()> {
        let (settings, own) = (extractor.settings(), self.place.settings);
        let fits = extractor.fingerprint() == self.place.manifest.config.fingerprint
            // The extractor's configuration is that of its settings: what was measured is in the model's own.
            && (settings == own || own.compare_with(&settings, &self.place.model()?.config));
        if !fits {
            return Err(EngineError::Request(format!(
                "{}: the model is not the one of this index, or has another image size or precision",
                self.place.address()
            )));
        }
        *self.extractor.lock().unwrap_or_else(PoisonError::into_inner) = Some(extractor);
        Ok(())
    }

    /// Manifest, settings and address.
    pub fn place(&self) -> &PlaceIndex {
        &self.place
    }

    /// For reading; each call sees the last commit.
    pub fn reader(&self) -> &IndexReader {
        &self.reader
    }

    /// The model, loaded on first use, under the settings of the index [on this device](PlaceIndex::settings_on).
    ///
    /// # Errors
    /// As [`PlaceIndex::model`], [`PlaceIndex::settings_on`] and [`extractor_on`].
    pub fn extractor(&self) -> Result<Arc<Extractor>> {
        let mut held = self.extractor.lock().unwrap_or_else(PoisonError::into_inner);
        match &*held {
            Some(extractor) => Ok(extractor.clone()),
            None => {
                let loaded = self.place.model()?;
                let on = parse_device(&self.device)?;
                let settings = self.place.settings_on(&on, &loaded.config, None)?;
                Ok(held.insert(Arc::new(extractor_on(&self.device, loaded, settings)?)).clone())
            }
        }
    }

    /// Answers "where was this taken?" as [`locate()`] does; where nothing matches, the answer's notes say that the index is
    /// empty, or name tags that no image carries.
    ///
    /// # Errors
    /// As [`locate()`] and [`extractor`](Self::extractor).
    pub fn locate<'a>(&self, query: impl Into<QueryImage<'a>>, options: &LocateOptions) -> Result<Answer> {
        let extractor = self.extractor()?;
        let mut answer = locate(&self.reader, &extractor, query, options)?;
        if answer.matches.is_empty() {
            answer.notes.extend(why_nothing(&self.reader, &options.filter)?);
        }
        Ok(answer)
    }

    /// The same with options that were read from a document, of which `options` are the [rest](QueryOptions::locate_options):
    /// around the query's own position, where that was asked for. A query that cannot be used is a result, too.
    ///
    /// # Errors
    /// As [`locate`](Self::locate) but [`EngineError::Data`]; as [`QueryOptions::radius`].
    pub fn ask(
        &self,
        query: QueryImage<'_>,
        asked: &QueryOptions,
        options: &LocateOptions,
    ) -> Result<QueryResult> {
        let (mut near, mut note) = (None, None);
        if asked.near_exif() {
            let tags = query.tags();
            let radius = asked.radius()?;
            near = tags.position.map(|position| Near::new(position, radius));
            if near.is_none() {
                let why = tags.no_position.unwrap_or_else(|| "has no GPS position in its EXIF".into());
                note = Some(format!("{why}: searched everywhere"));
            }
        }
        let own = near.map(|near| {
            let mut own = options.clone();
            own.filter.near = Some(near);
            own
        });
        let name = query.name().to_owned();
        match self.locate(query, own.as_ref().unwrap_or(options)) {
            Ok(mut answer) => {
                answer.notes.extend(note);
                Ok(QueryResult::Answer(answer))
            }
            Err(error @ EngineError::Data(_)) => {
                Ok(QueryResult::Unreadable { query: name, error: error.to_string() })
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a change, after those of other threads. The index is locked against other programs until it is done, or
    /// longer if the writer is [kept](Self::keep_writer).
    ///
    /// # Errors
    /// As [`PlaceIndex::writer`], and those of the change; after one of those the writer is opened again by the next.
    pub fn change<T>(&self, change: impl FnOnce(&mut IndexWriter) -> Result<T>) -> Result<T> {
        let mut held = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out: a change that fails or panics leaves no writer behind.
        let mut writer = match held.writer.take() {
            Some(writer) => writer,
            None => self.place.writer()?,
        };
        let made = change(&mut writer)?;
        if held.keepers > 0 {
            held.writer = Some(writer);
        } else {
            writer.close()?;
        }
        Ok(made)
    }

    /// Keeps the writer open between changes, as opening it looks through the whole index. Other programs cannot write
    /// until [`release_writer`](Self::release_writer) was called as often.
    pub fn keep_writer(&self) {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).keepers += 1;
    }

    /// Lets other programs write again.
    ///
    /// # Errors
    /// [`EngineError::Index`] where closing the writer fails.
    pub fn release_writer(&self) -> Result<()> {
        let mut held = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        held.keepers = held.keepers.saturating_sub(1);
        match held.writer.take() {
            Some(writer) if held.keepers == 0 => Ok(writer.close()?),
            kept => {
                held.writer = kept;
                Ok(())
            }
        }
    }

    /// Lets other programs write until the next change, which opens the writer again: it stays
    /// [kept](Self::keep_writer) by whoever keeps it.
    ///
    /// # Errors
    /// [`EngineError::Index`] where closing the writer fails.
    pub fn pause_writer(&self) -> Result<()> {
        let mut held = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        held.writer.take().map_or(Ok(()), |writer| Ok(writer.close()?))
    }
}
