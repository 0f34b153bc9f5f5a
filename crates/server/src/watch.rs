//! Watched folders: new photographs with positions are added, without being asked.
//!
//! A folder is looked through every few seconds, on any file system. A file is read once its size and time have stayed the
//! same from one look to the next, and it has not been touched for a moment: what is still being copied is left alone.

use crate::error::ServeError;
use crate::index::Index;
use crate::problem::{Problem, Result};
use crate::service::Service;
use r2former_data::dataset::{Kind, SourceRoot, list_images, source_root};
use r2former_data::image::read_tags;
use r2former_data::{DataError, Photo, PositionKind};
use r2former_engine::{AddOptions, EngineError, NoProgress, add_photos, check_sources};
use r2former_index::{ReadPlaces, Source, place_id};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(2);

/// A file must not have been touched for so long.
const QUIET: Duration = Duration::from_secs(1);

/// Photographs that are added in one change, so that other changes get their turn.
const TOGETHER: usize = 8;

/// Looks without success after which an unusable file is not tried any more, until it changes.
const TRIES: u8 = 3;

/// A folder, and the index that its photographs belong to.
#[derive(Debug)]
pub(crate) struct Watch {
    index: Arc<Index>,
    root: SourceRoot,
    files: HashMap<PathBuf, Seen>,
}

/// A file at the last look.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Seen {
    length: u64,
    changed: SystemTime,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// Not yet the same at two looks.
    New,
    /// Tried so many times, without success.
    Tried(u8),
    /// In the index, or never to be.
    Done,
}

impl Watch {
    /// # Errors
    /// For a folder that is missing or whose name stands for another folder in the index, and for an index whose positions
    /// photographs do not carry.
    pub(crate) fn new(index: Arc<Index>, dir: &Path) -> Result<Self, ServeError> {
        let folder = dir.display();
        if !dir.is_dir() {
            return Err(ServeError::Options(format!("{folder}: --watch is a folder of photographs")));
        }
        if index.kind() == PositionKind::Local {
            return Err(ServeError::Options(format!(
                "{folder}: --watch takes positions from EXIF, which are WGS84; this index has {}",
                index.kind().words()
            )));
        }
        let root = source_root(dir, Some(Kind::Exif), None).map_err(EngineError::from)?;
        let source = Source { label: root.label.clone(), root: root.root_text() };
        check_sources(&index.reader, &AddOptions::default().sources(vec![source]))?;
        Ok(Self { index, root, files: HashMap::new() })
    }

    /// Looks until the service stops.
    pub(crate) async fn run(mut self, service: Arc<Service>) {
        while !service.is_stopping() {
            let start = Instant::now();
            let looked = tokio::task::spawn_blocking(move || {
                let photos = self.look();
                (self, photos)
            });
            let Ok((watch, photos)) = looked.await else {
                tracing::error!("a watched folder failed; it is not watched any more");
                return;
            };
            self = watch;
            for some in photos.chunks(TOGETHER) {
                match self.add(some.to_vec()).await {
                    Ok(added) => {
                        service.metrics.watched.fetch_add(added as u64, Ordering::Relaxed);
                        if added > 0 {
                            tracing::info!(added, index = self.index.name, "added from a watched folder");
                        }
                    }
                    Err(problem) => {
                        let reason = problem.internal_reason().unwrap_or(problem.detail()).to_owned();
                        tracing::warn!(index = self.index.name, reason, "a watched folder waits");
                    }
                }
            }
            // A folder of very many files does not keep the disk busy.
            tokio::time::sleep(LOOK.max(10 * start.elapsed())).await;
        }
    }

    /// Photographs that are ready to be added.
    fn look(&mut self) -> Vec<Photo> {
        // An empty folder, or one that is away, is looked at again.
        let Ok(listing) = list_images(&self.root.root) else { return Vec::new() };
        let now = SystemTime::now();
        let mut files = HashMap::with_capacity(listing.photos.len());
        let mut ready = Vec::new();
        for mut photo in listing.photos {
            let Ok(about) = std::fs::metadata(&photo.path) else { continue };
            let Ok(changed) = about.modified() else { continue };
            let seen = Seen { length: about.len(), changed, state: State::New };
            let before = self.files.get(&photo.path).copied();
            let same = before.filter(|b| (b.length, b.changed) == (seen.length, seen.changed));
            let state = same.map_or(State::New, |before| before.state);
            let quiet = now.duration_since(changed).is_ok_and(|age| age >= QUIET);
            let tries = match state {
                State::Tried(tries) => tries,
                _ => 0,
            };
            if same.is_some() && quiet && state != State::Done && tries < TRIES {
                photo.name = format!("{}/{}", self.root.label, photo.name);
                match self.with_tags(&photo) {
                    Some(photo) => ready.push(photo),
                    None => tracing::debug!("a watched photograph has no position"),
                }
                files.insert(photo.path.clone(), Seen { state: State::Tried(tries + 1), ..seen });
            } else {
                files.insert(photo.path.clone(), Seen { state, ..seen });
            }
        }
        self.files = files;
        self.leave_out_known(ready)
    }

    /// Leaves out photographs whose name is in the index, which cost nothing more.
    fn leave_out_known(&mut self, photos: Vec<Photo>) -> Vec<Photo> {
        let ids: Vec<_> = photos.iter().map(|photo| place_id(&photo.name)).collect();
        // Where the index cannot be read, adding says so.
        let known = self.index.reader.contains(&ids).unwrap_or_default();
        let known = known.into_iter().chain(std::iter::repeat(false));
        let (known, new): (Vec<_>, Vec<_>) = photos.into_iter().zip(known).partition(|(_, known)| *known);
        for (photo, _) in known {
            if let Some(seen) = self.files.get_mut(&photo.path) {
                seen.state = State::Done;
            }
        }
        new.into_iter().map(|(photo, _)| photo).collect()
    }

    /// A photograph with what its tags say; none where the index needs a position and it has none.
    fn with_tags(&self, photo: &Photo) -> Option<Photo> {
        let tags: Result<_, DataError> = read_tags(&photo.path);
        let mut tagged = tags.ok()?.photo(photo.path.clone(), photo.name.clone());
        match self.index.kind() {
            PositionKind::Wgs84 => tagged.position.is_some().then_some(tagged),
            PositionKind::None => {
                tagged.position = None;
                Some(tagged)
            }
            // EXIF has no local metres.
            PositionKind::Local => None,
        }
    }

    /// Adds photographs; returns how many are new.
    async fn add(&mut self, photos: Vec<Photo>) -> Result<usize> {
        let paths: Vec<(PathBuf, String)> =
            photos.iter().map(|photo| (photo.path.clone(), photo.name.clone())).collect();
        let source = Source { label: self.root.label.clone(), root: self.root.root_text() };
        let added = self.index.writing.run(move |held| {
            let (writer, extractor) = held.both()?;
            let options = AddOptions::default().sources(vec![source]);
            let report = add_photos(writer, extractor, &photos, &options, &NoProgress)?;
            Ok(report.added)
        });
        let added = added.await?;
        for (path, name) in paths {
            let known = self.index.reader.contains(&[place_id(&name)]).map_err(Problem::from)?;
            if known.first() == Some(&true)
                && let Some(seen) = self.files.get_mut(&path)
            {
                seen.state = State::Done;
            }
        }
        Ok(added)
    }
}
