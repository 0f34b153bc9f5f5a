//! Descriptors of one side of a dataset, as an index would hold them; local features in memory up to a bound, in a
//! file beyond it, and in a kept file where a run shall go on after an interruption.

use crate::store::{FeatureFile, Header};
use crate::{EvalError, QueriesAs, Result};
use r2former_data::Photo;
use r2former_engine::{Extractor, ImageFeatures, Progress, extract_framed};
use r2former_model::Bits;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// Where features are while an evaluation runs.
#[derive(Debug, Clone)]
pub struct Keeping {
    /// Bytes of local features of one side that are held in memory; what is more goes into a file.
    pub memory_bytes: usize,
    /// Folder of feature files that are kept, so that an interrupted run goes on from what it had; none for a
    /// temporary file, and only where memory does not suffice.
    pub dir: Option<PathBuf>,
}

impl Default for Keeping {
    /// One gigabyte, nothing kept.
    fn default() -> Self {
        Self { memory_bytes: 1 << 30, dir: None }
    }
}

/// Descriptors of one side.
pub(crate) struct Side {
    /// Rows of unit length; zero where an image could not be used: similar to nothing.
    pub(crate) global: Vec<f32>,
    /// Images that were extracted now and not by an earlier run.
    pub(crate) extracted: usize,
    pub(crate) layout: Layout,
    local: Local,
}

/// How the features of a side are laid out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Layout {
    /// How its images are brought to the network.
    pub(crate) seen_as: QueriesAs,
    /// Numbers of what an image is searched by: of one global descriptor, or of several side by side.
    pub(crate) dim: usize,
    /// Numbers of a local feature's row.
    pub(crate) row: usize,
    /// Local features of an image, at most; 0 where none are kept.
    pub(crate) count: usize,
    /// Bits of each of their numbers.
    pub(crate) bits: Bits,
}

impl Layout {
    /// Of an extractor's features.
    pub(crate) fn of(extractor: &Extractor, keep_local: bool, bits: Bits) -> Self {
        let (config, settings) = (extractor.config(), extractor.settings());
        let count = if keep_local { config.local_count(settings.height, settings.width) } else { 0 };
        let seen_as = QueriesAs::HardResize;
        Self { seen_as, dim: config.global_dim(), row: config.local_row(), count, bits }
    }

    /// The same of images that are seen in another way.
    pub(crate) fn seen_as(self, seen_as: QueriesAs) -> Self {
        Self { seen_as, dim: self.descriptor() * seen_as.descriptors(), ..self }
    }

    /// Numbers of one global descriptor.
    pub(crate) fn descriptor(&self) -> usize {
        self.dim / self.seen_as.descriptors()
    }

    /// Bytes of an image's local features, at most.
    pub(crate) fn local_bytes(&self) -> usize {
        self.count * self.row * self.bits.bytes()
    }
}

enum Local {
    Memory(Vec<Vec<u8>>),
    File(FeatureFile),
}

impl Side {
    /// A side of so many images whose features are still to come; `temporary` is the folder of a file that nobody
    /// finds again.
    pub(crate) fn new(
        images: usize,
        layout: Layout,
        header: Option<Header>,
        keeping: &Keeping,
        temporary: &Path,
    ) -> Result<Self> {
        let global = vec![0.0; images * layout.dim];
        let local = match (&keeping.dir, header) {
            (Some(dir), Some(header)) => Local::File(FeatureFile::open(dir, &header, images, layout.dim)?),
            _ if images.saturating_mul(layout.local_bytes()) <= keeping.memory_bytes => {
                Local::Memory(vec![Vec::new(); images])
            }
            _ => Local::File(FeatureFile::temporary(temporary, images, layout.dim)?),
        };
        Ok(Self { global, extracted: 0, layout, local })
    }

    /// Takes an image's features.
    pub(crate) fn put(&mut self, image: usize, global: &[f32], local: Vec<u8>) -> Result<()> {
        self.global[image * global.len()..][..global.len()].copy_from_slice(global);
        match &mut self.local {
            Local::Memory(all) => all[image] = local,
            Local::File(file) => file.append(image, global, &local)?,
        }
        Ok(())
    }

    /// Hands everything that was put to the file, where there is one; before anything is asked.
    pub(crate) fn flush(&mut self) -> Result<()> {
        match &mut self.local {
            Local::Memory(_) => Ok(()),
            Local::File(file) => file.flush(),
        }
    }

    /// Local features of an image in the layout's bits; empty where they were not kept or it could not be used.
    pub(crate) fn local(&self, image: usize) -> Result<Cow<'_, [u8]>> {
        match &self.local {
            Local::Memory(all) => Ok(Cow::Borrowed(&all[image])),
            Local::File(file) => Ok(Cow::Owned(file.local(image)?)),
        }
    }

    /// Extracts a side, each image as it is to be seen; images that cannot be used go to `unusable` with the reason.
    pub(crate) fn extract(
        extractor: &Extractor,
        photos: &[&Photo],
        layout: Layout,
        keeping: &Keeping,
        progress: &dyn Progress,
        unusable: &mut Vec<(PathBuf, String)>,
    ) -> Result<Self> {
        let header = keeping.dir.as_ref().map(|_| Header::of(extractor, photos, &layout));
        let mut side = Self::new(photos.len(), layout, header, keeping, &std::env::temp_dir())?;
        let missing: Vec<usize> = match &mut side.local {
            Local::Memory(_) => (0..photos.len()).collect(),
            Local::File(file) => {
                file.read_globals(&mut side.global)?;
                (0..photos.len()).filter(|i| !file.has(*i)).collect()
            }
        };
        side.extracted = missing.len();
        if missing.len() < photos.len() {
            let had = photos.len() - missing.len();
            progress.note(&format!("{had} of {} images were extracted before", photos.len()));
        }
        let files: Vec<&Path> = missing.iter().map(|i| photos[*i].path.as_path()).collect();
        progress.start("images", files.len() as u64);
        let (seen_as, mut failed) = (layout.seen_as, None);
        extract_framed(extractor, &files, &seen_as.framings(layout.count > 0), progress, |i, result| {
            match result {
                Ok(views) => {
                    let ImageFeatures { global, local } = seen_as.fold(views);
                    let local =
                        if layout.count > 0 { layout.bits.pack(&local, layout.row) } else { Vec::new() };
                    // The stream ends with an error of the engine; this crate's own follows it.
                    if let Err(error) = side.put(missing[i], &global, local) {
                        let words = error.to_string();
                        failed = Some(error);
                        return Err(r2former_engine::EngineError::Request(words));
                    }
                }
                Err(error) => {
                    progress.note(&format!("left out: {error}"));
                    unusable.push((files[i].to_path_buf(), error.to_string()));
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
