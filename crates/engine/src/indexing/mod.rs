//! Photographs into an index: compare, decode, extract, write, in batches that are durable once written.

mod compare;
mod memory;
mod report;
mod sources;
mod stale_views;
mod twins;

pub use memory::{MemoryImage, add_images};
pub use report::{AddOptions, AddReport, Changed, Duplicate, FieldChange};
pub use sources::{check_renamed, check_sources};

pub(crate) use self::compare::differences;
use self::compare::{place_of, shows_another};
use self::stale_views::StaleViews;
use self::twins::{Twins, name_of_photo};
use crate::stream::{Extracted, extract_photos};
use crate::{EngineError, Extractor, PhotoFiles, Progress, Result};
use r2former_data::Photo;
use r2former_index::{Batch, FileFingerprint, NewPlace, Place, ReadPlaces, Source, WritePlaces, place_id};
use r2former_model::quantize;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Images in a write. Larger batches cost less per image; smaller ones lose less work when a run is interrupted.
const WRITE_BATCH: usize = 32;

/// Files that are compared with the index at a time.
const COMPARED: usize = 512;

/// Images that are described in one write: they cost little more than their metadata.
const DESCRIBED: usize = 1024;

/// Adds photographs. Those that are in the index already are skipped, so that an interrupted run resumes where it
/// stopped; unreadable ones are reported, and do not end the run. A panorama is one image unless
/// [`expand_panoramas`](r2former_data::expand_panoramas) made views of it.
///
/// The name is the identity of an image, and nothing is replaced silently: where the index has the name with another
/// file or with other metadata, the report says what differs, and the index changes only if the options say so. To see
/// that, every file whose name is known is read and compared by its [fingerprint](FileFingerprint). Photographs of several
/// sources have names that differ by a label: see [`source_root`](r2former_data::dataset::source_root).
///
/// ```
/// use r2former_data::{LatLon, Photo};
/// use r2former_engine::{AddOptions, Extractor, LoadedModel, NoProgress, PlaceIndex, Settings, add_photos};
/// use r2former_model::parse_device;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let home = tempfile::tempdir()?;
/// # let (dir, file) = (home.path().join("places"), home.path().join("street.png"));
/// # std::fs::write(&file, PIXEL)?;
/// let model = LoadedModel::built_in()?;
/// let settings = Settings::of(&model.config);
/// let index = PlaceIndex::open_or_create(&dir, &model, settings)?;
/// let extractor = Extractor::new(model, settings, &parse_device("cpu")?)?;
///
/// let mut street = Photo::new(&file, "street.png");
/// street.position = Some(LatLon::new(52.205, 0.119)?.into());
/// let mut photos = [street, Photo::new("missing.png", "missing.png")];
/// let mut writer = index.writer()?;
/// let options = AddOptions::default();
/// let report = add_photos(&mut writer, &extractor, &photos, &options, &NoProgress)?;
/// assert_eq!((report.added, report.already_indexed, report.unreadable.len()), (1, 0, 1));
/// let again = add_photos(&mut writer, &extractor, &photos, &options, &NoProgress)?;
/// assert_eq!((again.added, again.already_indexed, again.unreadable.len()), (0, 1, 1));
///
/// // A corrected position is reported, and taken on request.
/// photos[0].position = Some(LatLon::new(52.25, 0.119)?.into());
/// let again = add_photos(&mut writer, &extractor, &photos, &options, &NoProgress)?;
/// assert_eq!((again.changed[0].changes[0].what.as_str(), again.updated.len()), ("position", 0));
/// let again = add_photos(&mut writer, &extractor, &photos, &options.update(true), &NoProgress)?;
/// assert_eq!((again.changed.len(), again.updated.len()), (0, 1));
/// # Ok(()) }
/// # // A grey pixel as PPM.
/// # const PIXEL: &[u8] = b"P6 1 1 255 \x80\x80\x80";
/// ```
///
/// # Errors
/// [`EngineError::Request`] before any work: two files of one name, or a source whose label stands for another one
/// ([`check_sources`]). [`EngineError::Compute`] for a failing device, [`EngineError::Index`] for a failing index;
/// everything written before stays.
pub fn add_photos(
    index: &mut (impl ReadPlaces + WritePlaces),
    extractor: &Extractor,
    photos: &[Photo],
    options: &AddOptions,
    progress: &dyn Progress,
) -> Result<AddReport> {
    let photos = one_file_per_name(photos)?;
    check_sources(index, options)?;
    // A panorama is read once for all of its views.
    let files: Vec<&[&Photo]> =
        photos.chunk_by(|a, b| a.path == b.path && a.view.is_some() && b.view.is_some()).collect();

    let stale = StaleViews::of(index, &photos)?;
    let mut work = Work::new(options, sources::unknown(index, &options.sources)?);
    if !options.update {
        work.report.changed = stale.changes();
    }
    progress.start("photos compared with the index", photos.len() as u64);
    for chunk in files.chunks(COMPARED) {
        work.compare(index, extractor.files(), chunk, &stale)?;
        progress.advance(chunk.iter().map(|file| file.len() as u64).sum());
    }
    progress.finish();
    if options.skip_duplicates {
        work.leave_out_duplicates(index)?;
    }
    work.describe(index)?;

    let files: Vec<Vec<&Photo>> =
        std::mem::take(&mut work.files).into_iter().map(|file| file.photos).collect();
    let files: Vec<&[&Photo]> = files.iter().map(Vec::as_slice).collect();
    progress.start("images", files.iter().map(|photos| photos.len() as u64).sum());
    let mut waiting = Vec::with_capacity(WRITE_BATCH);
    let mut images = 0;
    extract_photos(extractor, &files, |i, result| {
        match result {
            Ok(extracted) => {
                images += files[i].len();
                waiting.push((files[i], extracted));
            }
            Err(error) => {
                progress.note(&format!("left out: {error}"));
                let path = files[i].first().map(|photo| photo.path.clone()).unwrap_or_default();
                work.report.unreadable.push((path, error.to_string()));
            }
        }
        progress.advance(files[i].len() as u64);
        if images >= WRITE_BATCH {
            images = 0;
            work.write(index, extractor, std::mem::take(&mut waiting))?;
        }
        Ok(())
    })?;
    work.write(index, extractor, waiting)?;
    progress.finish();
    work.remember_sources(index)?;
    if options.update {
        work.report.updated.extend(stale.remove(index)?);
    }
    Ok(work.report)
}

/// The photographs, each once.
///
/// # Errors
/// Two files of one name: the index could hold only one of them.
fn one_file_per_name(photos: &[Photo]) -> Result<Vec<&Photo>> {
    let mut first: HashMap<&str, &Photo> = HashMap::with_capacity(photos.len());
    let mut kept = Vec::with_capacity(photos.len());
    let mut clashes = Vec::new();
    let real = |photo: &Photo| photo.path.canonicalize().unwrap_or_else(|_| photo.path.clone());
    for photo in photos {
        match first.get(photo.name.as_str()) {
            None => {
                first.insert(&photo.name, photo);
                kept.push(photo);
            }
            Some(before) if before.path == photo.path || real(before) == real(photo) => {}
            Some(before) => clashes.push(format!(
                "{}: {} and {}",
                photo.name,
                before.path.display(),
                photo.path.display()
            )),
        }
    }
    if clashes.is_empty() {
        return Ok(kept);
    }
    let count = clashes.len();
    clashes.truncate(5);
    let more = if count > 5 { format!("; and {} more", count - 5) } else { String::new() };
    Err(EngineError::Request(format!(
        "{count} names stand for two files each, and the index holds one image per name; nothing was added: {}{more}. \
         Rename one of each, or add them as sources with labels of their own",
        clashes.join("; ")
    )))
}

/// A file that is to be extracted.
struct ToExtract<'p> {
    photos: Vec<&'p Photo>,
    /// Where it was read already.
    file: Option<FileFingerprint>,
}

/// What is to be done, and what was done.
struct Work<'p> {
    options: &'p AddOptions,
    report: AddReport,
    files: Vec<ToExtract<'p>>,
    /// Images of the index that get other vectors, by name, and what differs.
    replaced: HashMap<&'p str, Vec<FieldChange>>,
    /// Images of the index whose vectors stay.
    described: Vec<(Place, Vec<FieldChange>)>,
    twins: Twins,
    /// Sources that the index does not know yet.
    sources: Vec<Source>,
    /// Labels of images that are in the index.
    labels: HashSet<&'p str>,
}

impl<'p> Work<'p> {
    fn new(options: &'p AddOptions, sources: Vec<Source>) -> Self {
        Self {
            options,
            report: AddReport::default(),
            files: Vec::new(),
            replaced: HashMap::new(),
            described: Vec::new(),
            twins: Twins::default(),
            sources,
            labels: HashSet::new(),
        }
    }

    /// Sorts files by what has to be done with them. Files of known names are read, all at once.
    fn compare(
        &mut self,
        index: &impl ReadPlaces,
        read: &dyn PhotoFiles,
        files: &[&[&'p Photo]],
        stale: &StaleViews<'_>,
    ) -> Result<()> {
        let ids: Vec<_> = files.iter().flat_map(|file| *file).map(|photo| place_id(&photo.name)).collect();
        let mut known = index.get(&ids)?.into_iter();
        let known: Vec<Vec<Option<Place>>> =
            files.iter().map(|file| known.by_ref().take(file.len()).collect()).collect();
        let needed =
            |known: &[Option<Place>]| self.options.skip_duplicates || known.iter().any(Option::is_some);
        let needed: Vec<bool> = known.iter().map(|known| needed(known)).collect();
        let paths = files.iter().zip(&needed).filter(|(_, needed)| **needed);
        let paths: Vec<&Path> = paths.filter_map(|(file, _)| Some(file.first()?.path.as_path())).collect();
        let mut read = read.fingerprints(&paths).into_iter();
        for ((photos, known), needed) in files.iter().zip(known).zip(needed) {
            let read = if needed { read.next() } else { None };
            let fresh = known.iter().all(Option::is_none);
            let file = match read.transpose() {
                Ok(file) => file,
                // Decoding it says why.
                Err(_) if fresh => None,
                Err(error) => {
                    let path = photos.first().map(|photo| photo.path.clone()).unwrap_or_default();
                    self.report.unreadable.push((path, error.to_string()));
                    continue;
                }
            };
            let mut extract = Vec::new();
            for (photo, known) in photos.iter().zip(known) {
                // Old and new views of a panorama would stand side by side.
                let waits = known.is_none() && !self.options.update && stale.concern(photo);
                if !waits && self.sort(photo, known, file) {
                    extract.push(*photo);
                }
            }
            if !extract.is_empty() {
                self.files.push(ToExtract { photos: extract, file });
            }
        }
        Ok(())
    }

    /// Says whether a photograph has to be extracted.
    fn sort(&mut self, photo: &'p Photo, known: Option<Place>, file: Option<FileFingerprint>) -> bool {
        let Some(known) = known else { return true };
        self.labels.extend(twins::labels(std::iter::once(photo.name.as_str())));
        let new = place_of(photo, file);
        let changes = differences(&known, &new);
        if changes.is_empty() {
            self.report.already_indexed += 1;
        } else if !self.options.update {
            self.report.changed.push(Changed { name: photo.name.clone(), changes });
        } else if shows_another(photo, &changes) {
            self.replaced.insert(&photo.name, changes);
            return true;
        } else {
            self.described.push((new, changes));
        }
        false
    }

    /// Leaves out files that have another name in the index or in this run, before they cost anything.
    fn leave_out_duplicates(&mut self, index: &impl ReadPlaces) -> Result<()> {
        let mut kept = Vec::with_capacity(self.files.len());
        let mut files = std::mem::take(&mut self.files).into_iter();
        loop {
            let chunk: Vec<ToExtract<'p>> = files.by_ref().take(COMPARED).collect();
            if chunk.is_empty() {
                break;
            }
            self.look_up(index, chunk.iter().filter_map(|file| file.file))?;
            for file in chunk {
                if !self.is_left_out(&file.photos, file.file) {
                    kept.push(file);
                }
            }
        }
        self.files = kept;
        Ok(())
    }

    fn look_up(
        &mut self,
        index: &impl ReadPlaces,
        files: impl Iterator<Item = FileFingerprint>,
    ) -> Result<()> {
        let replaced = &self.replaced;
        self.twins.look_up(index, files, |name| replaced.contains_key(name))
    }

    /// Whether a file is left out because of another name. One that replaces an image never is.
    fn is_left_out(&mut self, photos: &[&Photo], file: Option<FileFingerprint>) -> bool {
        let (Some(file), Some(first)) = (file, photos.first()) else { return false };
        let name = name_of_photo(first);
        let replaces = photos.iter().any(|photo| self.replaced.contains_key(photo.name.as_str()));
        if let Some(of) = self.twins.other(file, name).filter(|_| self.options.skip_duplicates && !replaces) {
            self.report.skipped_duplicates.push(Duplicate { name: name.to_owned(), of: of.to_owned() });
            return true;
        }
        self.twins.note(file, name);
        false
    }

    /// Writes what is known from now on about images whose vectors stay.
    fn describe(&mut self, index: &mut impl WritePlaces) -> Result<()> {
        let mut described = std::mem::take(&mut self.described).into_iter();
        loop {
            let (places, changes): (Vec<Place>, Vec<_>) = described.by_ref().take(DESCRIBED).unzip();
            if places.is_empty() {
                return Ok(());
            }
            index.write(&Batch { describe: &places, ..Batch::default() })?;
            let updated = places.into_iter().zip(changes);
            self.report.updated.extend(updated.map(|(place, changes)| Changed { name: place.name, changes }));
        }
    }

    /// Writes images, with the sources that are new with them.
    fn write(
        &mut self,
        index: &mut (impl ReadPlaces + WritePlaces),
        extractor: &Extractor,
        files: Vec<(&[&'p Photo], Extracted)>,
    ) -> Result<()> {
        self.look_up(index, files.iter().filter_map(|(_, extracted)| extracted.about.file))?;
        let row = extractor.config().local_row();
        let mut new = Vec::with_capacity(WRITE_BATCH);
        for (photos, Extracted { features, about }) in files {
            let other = photos.first().zip(about.file).and_then(|(photo, file)| {
                let name = name_of_photo(photo);
                let of = self.twins.other(file, name)?.to_owned();
                Some(Duplicate { name: name.to_owned(), of })
            });
            if self.is_left_out(photos, about.file) {
                continue;
            }
            self.report.duplicates.extend(other);
            let path = || photos.first().map(|photo| photo.path.clone()).unwrap_or_default();
            self.report.truncated.extend(about.missing.map(|what| (path(), what)));
            new.extend(photos.iter().zip(features).map(|(photo, features)| NewPlace {
                place: place_of(photo, about.file),
                global: features.global,
                local: quantize::quantize(&features.local, row),
            }));
        }
        let labels = twins::labels(new.iter().map(|new| new.place.name.as_str()));
        let (sources, later) = std::mem::take(&mut self.sources)
            .into_iter()
            .partition(|source: &Source| labels.contains(source.label.as_str()));
        self.sources = later;
        index.write(&Batch { add: &new, sources: &sources, ..Batch::default() })?;
        for NewPlace { place, .. } in new {
            match self.replaced.remove(place.name.as_str()) {
                Some(changes) => self.report.updated.push(Changed { name: place.name, changes }),
                None => self.report.added += 1,
            }
        }
        Ok(())
    }

    /// Remembers sources whose images were in the index already: those that were moved.
    fn remember_sources(&mut self, index: &mut impl WritePlaces) -> Result<()> {
        self.sources.retain(|source| self.labels.contains(source.label.as_str()));
        index.write(&Batch { sources: &self.sources, ..Batch::default() })?;
        Ok(())
    }
}
