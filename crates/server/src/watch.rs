//! Watched folders: new photographs with positions are added, without being asked, as `index add` adds them.
//!
//! A folder is looked through every few seconds, on any file system. A file is read once its size and time have stayed the
//! same from one look to the next, and it has not been touched for a moment: what is still being copied is left alone. What
//! is left out is said in the log once, with the reason, and looked at again when it changes.

use crate::error::ServeError;
use crate::index::Index;
use crate::photos::LABEL;
use crate::problem::Result;
use crate::service::Service;
use axum::http::StatusCode;
use r2former_data::dataset::{Kind, Skipped, SourceRoot, list_images, source_root};
use r2former_data::image::{Limits, read_tags};
use r2former_data::{PanoramaOptions, Photo, PositionKind, expand_panoramas};
use r2former_engine::{AddOptions, AddReport, EngineError, NoProgress, add_photos, check_sources};
use r2former_index::{FileFingerprint, Place, ReadPlaces, Source, place_id};
use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(2);

/// A file must not have been touched for so long.
const QUIET: Duration = Duration::from_secs(1);

/// Files that are added in one change, so that other changes get their turn.
const TOGETHER: usize = 8;

/// Looks without success after which an unusable file is not tried any more, until it changes.
const TRIES: u8 = 3;

/// Time of a look in which files that are in the index are compared with it: new ones do not wait for all of them.
const COMPARING: Duration = Duration::from_millis(500);

/// A folder, and the index that its photographs belong to.
#[derive(Debug)]
pub(crate) struct Watch {
    index: Arc<Index>,
    root: SourceRoot,
    files: HashMap<PathBuf, Seen>,
    /// Why nothing is added at present, once it is in the log.
    waits: Option<String>,
    /// What was to be said of its files at the last look, which is in the log.
    noted: Vec<String>,
    /// Whether the folder could not be read at the last look.
    is_away: bool,
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
    /// Not yet the same at two looks, or not yet tried.
    New,
    /// Tried so many times, without success.
    Tried(u8),
    /// In the index, or left out, until it changes.
    Done,
}

/// A file that can be added: one photograph, or the views of a panorama.
#[derive(Debug, Clone)]
struct Ready {
    path: PathBuf,
    photos: Vec<Photo>,
    /// What is to be said of it once it is in the index.
    notes: Vec<String>,
}

impl Ready {
    fn ids(&self) -> Vec<uuid::Uuid> {
        self.photos.iter().map(|photo| place_id(&photo.name)).collect()
    }
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
        // Whichever came first would take it from the other.
        if source.label == LABEL && !index.reader.sources()?.contains(&source) {
            return Err(ServeError::Options(format!(
                "{folder}: --watch: names of its photographs would begin with {LABEL:?}, as those of photographs that are sent to \
                 the service; rename the folder"
            )));
        }
        check_sources(&index.reader, &AddOptions::default().sources(vec![source]))?;
        index.removed.watch(&root.label);
        Ok(Self { index, root, files: HashMap::new(), waits: None, noted: Vec::new(), is_away: false })
    }

    /// Looks until the service stops.
    pub(crate) async fn run(mut self, service: Arc<Service>) {
        while !service.is_stopping() {
            let start = Instant::now();
            let looked = tokio::task::spawn_blocking(move || {
                let ready = self.look();
                (self, ready)
            });
            let Ok((watch, ready)) = looked.await else {
                tracing::error!("a watched folder failed; it is not watched any more");
                return;
            };
            self = watch;
            self.add(ready, &service).await;
            // A folder of very many files does not keep the disk busy.
            tokio::time::sleep(LOOK.max(10 * start.elapsed())).await;
        }
    }

    /// Files that are ready to be added, new ones first.
    fn look(&mut self) -> Vec<Ready> {
        let listing = match list_images(&self.root.root) {
            Ok(listing) => listing,
            // An empty one is looked at again.
            Err(_) if self.root.root.is_dir() => return Vec::new(),
            Err(error) => {
                self.is_away = true;
                self.wait_for(error.to_string());
                return Vec::new();
            }
        };
        if std::mem::take(&mut self.is_away) {
            self.waits = None;
        }
        for note in listing.notes.iter().filter(|note| !self.noted.contains(note)) {
            tracing::info!(index = self.index.name, note, "of a watched folder");
        }
        self.noted = listing.notes;
        let before = std::mem::take(&mut self.files);
        let mut new = Vec::new();
        for photo in listing.photos {
            if self.is_due(&photo.path, &before) {
                new.push(photo);
            }
        }
        for Skipped { path, reason, .. } in listing.skipped {
            if self.is_due(&path, &before) {
                self.leave_out(&path, &reason);
            }
        }
        for photo in &mut new {
            photo.name = format!("{}/{}", self.root.label, photo.name);
        }
        let ids: Vec<_> = new.iter().map(|photo| place_id(&photo.name)).collect();
        let known = match self.index.reader.get(&ids) {
            Ok(known) => known,
            Err(error) => {
                self.wait_for(error.to_string());
                return Vec::new();
            }
        };
        let (known, new): (Vec<_>, Vec<_>) =
            new.into_iter().zip(known).partition(|(_, known)| known.is_some());
        let mut ready: Vec<Ready> = new.into_iter().filter_map(|(photo, _)| self.cut(photo)).collect();
        let (mut old, mut changed) = (Vec::new(), Vec::new());
        ready.retain(|file| match self.index.reader.get(&file.ids()) {
            Ok(places) if places.iter().all(Option::is_some) => {
                old.push((file.clone(), places.into_iter().flatten().next()));
                false
            }
            // Where the index cannot be read, adding says so.
            _ => true,
        });
        old.extend(known.into_iter().map(|(photo, place)| {
            (Ready { path: photo.path.clone(), photos: vec![photo], notes: Vec::new() }, place)
        }));
        let start = Instant::now();
        for (file, place) in old {
            if start.elapsed() > COMPARING {
                break;
            }
            changed.extend(self.compare(file, place.as_ref()));
        }
        ready.extend(changed);
        ready
    }

    /// Notes how a file is; whether it is time to look into it.
    fn is_due(&mut self, path: &Path, before: &HashMap<PathBuf, Seen>) -> bool {
        // A link that leads nowhere has an age, too.
        let about = std::fs::metadata(path).or_else(|_| std::fs::symlink_metadata(path));
        let Ok((length, changed)) = about.and_then(|about| Ok((about.len(), about.modified()?))) else {
            return false;
        };
        let same = before.get(path).filter(|before| (before.length, before.changed) == (length, changed));
        let state = same.map_or(State::New, |before| before.state);
        self.files.insert(path.to_owned(), Seen { length, changed, state });
        let quiet = SystemTime::now().duration_since(changed).is_ok_and(|age| age >= QUIET);
        same.is_some() && quiet && state != State::Done
    }

    /// A photograph with what its tags say, or the views of a panorama. None for one that cannot be used, or was removed.
    fn cut(&mut self, photo: Photo) -> Option<Ready> {
        let path = photo.path.clone();
        let tagged = self.with_tags(&photo).map_err(|reason| self.fail(&path, &reason)).ok()?;
        let expanded = expand_panoramas(vec![tagged], &PanoramaOptions::default(), &Limits::default());
        let mut photos = expanded.photos;
        photos.retain(|photo| !self.index.removed.holds(&photo.name, &path));
        if photos.is_empty() {
            self.leave_out(&path, "was removed from the index");
            return None;
        }
        Some(Ready { path, photos, notes: expanded.notes })
    }

    /// Tags of a photograph.
    ///
    /// # Errors
    /// Why it cannot be used: it cannot be read, or has no position where the index needs one.
    fn with_tags(&self, photo: &Photo) -> Result<Photo, String> {
        let tags = read_tags(&photo.path).map_err(|error| error.reason())?;
        let none = tags.no_position.clone().unwrap_or_else(|| "has no GPS position in its EXIF".into());
        let mut tagged = tags.photo(photo.path.clone(), photo.name.clone());
        match self.index.kind() {
            PositionKind::Wgs84 if tagged.position.is_none() => return Err(none),
            PositionKind::Wgs84 => {}
            // EXIF has no local metres, and such an index is not watched for.
            PositionKind::None | PositionKind::Local => tagged.position = None,
        }
        Ok(tagged)
    }

    /// Compares a file with its place in the index. One that is another comes back, for the report on what differs.
    fn compare(&mut self, mut file: Ready, place: Option<&Place>) -> Option<Ready> {
        match FileFingerprint::of_file(&file.path) {
            Ok(found) if place.is_some_and(|place| place.file == Some(found)) => {
                self.set(&file.path, State::Done)
            }
            Ok(_) => {
                // A view has its panorama's tags already.
                for photo in file.photos.iter_mut().filter(|photo| photo.view.is_none()) {
                    match self.with_tags(photo) {
                        Ok(tagged) => *photo = tagged,
                        Err(reason) => {
                            self.fail(&file.path, &reason);
                            return None;
                        }
                    }
                }
                return Some(file);
            }
            Err(error) => self.fail(&file.path, &error.to_string()),
        }
        None
    }

    /// Adds files, some at a time.
    async fn add(&mut self, ready: Vec<Ready>, service: &Service) {
        let mut chunks: VecDeque<Vec<Ready>> = ready.chunks(TOGETHER).map(<[Ready]>::to_vec).collect();
        while let Some(files) = chunks.pop_front().filter(|_| !service.is_stopping()) {
            let photos = files.iter().flat_map(|file| file.photos.clone()).collect();
            match self.write(photos).await {
                Ok(report) => {
                    self.waits = None;
                    service.metrics.watched.fetch_add(report.added as u64, Ordering::Relaxed);
                    self.settle(&files, &report);
                }
                Err(problem) => {
                    let reason = problem.internal_reason().unwrap_or(problem.detail());
                    let own = [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::UNPROCESSABLE_ENTITY]
                        .contains(&problem.status);
                    if !own {
                        // Nor would the others be taken now.
                        return self.wait_for(reason.to_owned());
                    }
                    match files.as_slice() {
                        [file] => self.fail(&file.path, reason),
                        // Whichever is at fault, the others are not.
                        _ => files.into_iter().rev().for_each(|file| chunks.push_front(vec![file])),
                    }
                }
            }
        }
    }

    async fn write(&self, photos: Vec<Photo>) -> Result<AddReport> {
        let source = Source { label: self.root.label.clone(), root: self.root.root_text() };
        let added = self.index.writing.run(move |held| {
            let (writer, extractor) = held.both()?;
            let options = AddOptions::default().sources(vec![source]);
            Ok(add_photos(writer, extractor, &photos, &options, &NoProgress)?)
        });
        added.await
    }

    /// Says what was done with files, and remembers it.
    fn settle(&mut self, files: &[Ready], report: &AddReport) {
        let index = self.index.name.clone();
        if report.added > 0 {
            tracing::info!(added = report.added, index, "added from a watched folder");
        }
        for note in files.iter().flat_map(|file| &file.notes).filter(|_| report.added > 0) {
            tracing::info!(index, note, "of a watched folder");
        }
        for (path, reason) in &report.unreadable {
            self.fail(path, &Skipped::unusable(path.clone(), reason).reason);
        }
        for changed in &report.changed {
            let what: Vec<&str> = changed.changes.iter().map(|change| change.what.as_str()).collect();
            tracing::warn!(
                index,
                place = changed.name,
                changed = what.join(", "),
                "a photograph of a watched folder has changed since it was added, and is not taken: `r2former index add --update` \
                 takes it"
            );
        }
        for twice in &report.duplicates {
            tracing::info!(index, place = twice.name, of = twice.of, "added under a second name");
        }
        for file in files.iter().filter(|file| report.unreadable.iter().all(|(path, _)| *path != file.path)) {
            // Where the index cannot be read now, the next look finds out.
            if self.index.reader.contains(&file.ids()).is_ok_and(|known| known.into_iter().all(|known| known))
            {
                self.set(&file.path, State::Done);
            }
        }
    }

    /// A file could not be used; the last time it is said why.
    fn fail(&mut self, path: &Path, reason: &str) {
        let before = self.files.get(path).map(|seen| seen.state);
        match before {
            Some(State::Tried(tries)) if tries + 1 >= TRIES => self.leave_out(path, reason),
            Some(State::Tried(tries)) => self.set(path, State::Tried(tries + 1)),
            _ => self.set(path, State::Tried(1)),
        }
    }

    /// Says that a file is left out, and forgets it until it changes.
    fn leave_out(&mut self, path: &Path, reason: &str) {
        let file = path.strip_prefix(&self.root.root).unwrap_or(path).display().to_string();
        let index = self.index.name.as_str();
        tracing::warn!(index, file, reason, "a file of a watched folder is left out until it changes");
        self.set(path, State::Done);
    }

    fn set(&mut self, path: &Path, state: State) {
        if let Some(seen) = self.files.get_mut(path) {
            seen.state = state;
        }
    }

    /// Nothing can be added at present; a reason is said once.
    fn wait_for(&mut self, reason: String) {
        if self.waits.as_deref() != Some(&reason) {
            tracing::warn!(index = self.index.name, reason, "a watched folder waits");
            self.waits = Some(reason);
        }
    }
}
