//! The features of one side of a dataset. Local features are held in memory up to a limit, beyond it in a temporary
//! file, or in a file that later runs resume from.

use crate::feature_file::{FeatureFile, Header};
use crate::layout::Layout;
use crate::{EvalError, Result};
use r2former_data::Photo;
use r2former_engine::{Extractor, ImageFeatures, Progress, extract_framed};
use serde::Serialize;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// Where features are stored while an evaluation runs.
#[derive(Debug, Clone)]
pub struct FeatureStorage {
    /// Largest size in bytes of the local features of one side that are held in memory; larger ones go into a file.
    pub memory_bytes: usize,
    /// Folder of feature files that are kept, so that an interrupted run resumes from them. `None`: a temporary file,
    /// and only if memory does not suffice.
    pub dir: Option<PathBuf>,
}

impl Default for FeatureStorage {
    /// One gigabyte in memory, no files kept.
    fn default() -> Self {
        Self { memory_bytes: 1 << 30, dir: None }
    }
}

/// An image that could not be used. Such a query fails; such a reference is never found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct UnusableImage {
    /// The file.
    pub path: PathBuf,
    /// Why not.
    pub reason: String,
}

/// Features of one side.
pub(crate) struct Side {
    /// Rows of unit length; zero for an unusable image, so that it is similar to nothing.
    pub(crate) global: Vec<f32>,
    /// Images extracted by this run and not read from a file of an earlier one.
    pub(crate) extracted: usize,
    pub(crate) layout: Layout,
    local: Local,
}

enum Local {
    Memory(Vec<Vec<u8>>),
    File(FeatureFile),
}

impl Side {
    /// A side of `images` images without features yet; `temporary` is the folder of a temporary file.
    pub(crate) fn new(
        images: usize,
        layout: Layout,
        header: Option<Header>,
        storage: &FeatureStorage,
        temporary: &Path,
    ) -> Result<Self> {
        let global = vec![0.0; images * layout.dim];
        let local = match (&storage.dir, header) {
            (Some(dir), Some(header)) => Local::File(FeatureFile::open(dir, &header, images, layout.dim)?),
            _ if images.saturating_mul(layout.local_bytes()) <= storage.memory_bytes => {
                Local::Memory(vec![Vec::new(); images])
            }
            _ => Local::File(FeatureFile::temporary(temporary, images, layout.dim)?),
        };
        Ok(Self { global, extracted: 0, layout, local })
    }

    /// Stores the features of an image.
    pub(crate) fn put(&mut self, image: usize, global: &[f32], local: Vec<u8>) -> Result<()> {
        self.global[image * global.len()..][..global.len()].copy_from_slice(global);
        match &mut self.local {
            Local::Memory(all) => all[image] = local,
            Local::File(file) => file.append(image, global, &local)?,
        }
        Ok(())
    }

    /// Makes all stored features readable; to be called before [`Self::local`].
    pub(crate) fn flush(&mut self) -> Result<()> {
        match &mut self.local {
            Local::Memory(_) => Ok(()),
            Local::File(file) => file.flush(),
        }
    }

    /// Local features of an image in the layout's bits; empty if they were not kept or the image is unusable.
    pub(crate) fn local(&self, image: usize) -> Result<Cow<'_, [u8]>> {
        match &self.local {
            Local::Memory(all) => Ok(Cow::Borrowed(&all[image])),
            Local::File(file) => Ok(Cow::Owned(file.local(image)?)),
        }
    }

    /// Extracts the images of a side; unusable ones go to `unusable`.
    pub(crate) fn extract(
        extractor: &Extractor,
        photos: &[&Photo],
        layout: Layout,
        storage: &FeatureStorage,
        progress: &dyn Progress,
        unusable: &mut Vec<UnusableImage>,
    ) -> Result<Self> {
        let header = storage.dir.as_ref().map(|_| Header::of(extractor, photos, &layout));
        let mut side = Self::new(photos.len(), layout, header, storage, &std::env::temp_dir())?;
        let missing: Vec<usize> = match &mut side.local {
            Local::Memory(_) => (0..photos.len()).collect(),
            Local::File(file) => {
                file.read_globals(&mut side.global)?;
                (0..photos.len()).filter(|i| !file.has(*i)).collect()
            }
        };
        side.extracted = missing.len();
        if missing.len() < photos.len() {
            let stored = photos.len() - missing.len();
            progress.note(&format!("resuming: {stored} of {} images are extracted already", photos.len()));
        }
        let files: Vec<&Path> = missing.iter().map(|i| photos[*i].path.as_path()).collect();
        progress.start("images", files.len() as u64);
        let (preprocessing, mut failed) = (layout.preprocessing, None);
        let framings = preprocessing.framings(layout.count > 0);
        extract_framed(extractor, &files, &framings, progress, |i, result| {
            match result {
                Ok(views) => {
                    let ImageFeatures { global, local } = preprocessing.fold(views);
                    let local =
                        if layout.count > 0 { layout.bits.pack(&local, layout.row) } else { Vec::new() };
                    // The stream takes an error of the engine only; this crate's own is returned below.
                    if let Err(error) = side.put(missing[i], &global, local) {
                        let text = error.to_string();
                        failed = Some(error);
                        return Err(r2former_engine::EngineError::Request(text));
                    }
                }
                Err(error) => {
                    progress.note(&format!("left out: {error}"));
                    unusable.push(UnusableImage { path: files[i].to_path_buf(), reason: error.to_string() });
                }
            }
            Ok(())
        })
        .map_err(|error| failed.take().unwrap_or(EvalError::Engine(error)))?;
        side.flush()?;
        progress.finish();
        Ok(side)
    }
}
