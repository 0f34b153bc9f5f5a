//! Images in memory into an index: a robot's frames, uploads, arrays of another language.

use super::compare::{differences, place_of, shows_another};
use super::{AddOptions, AddReport, Changed, FieldChange, WRITE_BATCH};
use crate::{EngineError, Extractor, Progress, QueryImage, Result};
use r2former_data::{Photo, Rgb8};
use r2former_index::{Batch, FileFingerprint, NewPlace, Place, ReadPlaces, WritePlaces, place_id};
use r2former_model::quantize;
use rayon::prelude::*;
use std::collections::HashSet;

/// An image in memory, and what is known of it.
#[derive(Debug, Clone)]
pub struct MemoryImage<'a> {
    /// Its pixels, the bytes of its file, or a path.
    pub image: QueryImage<'a>,
    /// Name, position, heading, time and tags; the path is not used.
    pub photo: Photo,
}

impl MemoryImage<'_> {
    /// What identifies its file, or its pixels.
    fn file(&self) -> Result<FileFingerprint> {
        match (self.image.bytes(), self.image.path(), self.image.pixels()) {
            (Some(bytes), ..) => Ok(FileFingerprint::of(bytes)),
            (None, Some(path), _) => FileFingerprint::of_file(path)
                .map_err(|error| r2former_data::DataError::io(path, error).into()),
            (None, None, Some(pixels)) => Ok(FileFingerprint::of(&as_pnm(pixels))),
            (None, None, None) => Err(EngineError::Request("an image without a source".into())),
        }
    }
}

/// Adds images from memory, each under the name of its [`MemoryImage::photo`], as [`add_photos`](super::add_photos)
/// adds files: what is known already is skipped, a name whose image or metadata differ is reported and replaced only
/// with [`AddOptions::update`], unreadable images are reported. Pixels are compared as files are. Duplicates under other names
/// are not looked for.
///
/// ```
/// use r2former_data::{LatLon, Photo};
/// use r2former_engine::{
///     AddOptions, Extractor, LoadedModel, MemoryImage, NoProgress, PlaceIndex, Rgb8, Settings, add_images,
/// };
/// use r2former_model::parse_device;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let home = tempfile::tempdir()?;
/// # let dir = home.path().join("places");
/// let model = LoadedModel::built_in()?;
/// let settings = Settings::of(&model.config);
/// let index = PlaceIndex::open_or_create(&dir, &model, settings)?;
/// let extractor = Extractor::new(model, settings, &parse_device("cpu")?)?;
///
/// // A camera's frame and where the robot was.
/// let frame = Rgb8 { width: 64, height: 48, pixels: vec![90; 64 * 48 * 3] };
/// let mut photo = Photo::new("", "robot/frame-1");
/// photo.position = Some(LatLon::new(52.205, 0.119)?.into());
/// let images = [MemoryImage { image: (&frame).into(), photo }];
/// let report = add_images(&mut index.writer()?, &extractor, &images, &AddOptions::default(), &NoProgress)?;
/// assert_eq!(report.added, 1);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`EngineError::Request`] before any work for a name that two images have, or that is empty; [`EngineError::Compute`]
/// for a failing device, [`EngineError::Index`] for a failing index; everything written before stays.
pub fn add_images(
    index: &mut (impl ReadPlaces + WritePlaces),
    extractor: &Extractor,
    images: &[MemoryImage<'_>],
    options: &AddOptions,
    progress: &dyn Progress,
) -> Result<AddReport> {
    check_names(images)?;
    super::check_sources(index, options)?;
    let mut sources = super::sources::unknown(index, &options.sources)?;
    let mut report = AddReport::default();
    progress.start("images", images.len() as u64);
    for chunk in images.chunks(WRITE_BATCH) {
        write(index, extractor, chunk, options, &mut report)?;
        progress.advance(chunk.len() as u64);
    }
    progress.finish();
    sources.retain(|source| images.iter().any(|image| source.holds(&image.photo.name)));
    index.write(&Batch { sources: &sources, ..Batch::default() })?;
    Ok(report)
}

/// The same without loss as a file: one fingerprint for the pixels and their shape.
fn as_pnm(Rgb8 { width, height, pixels }: &Rgb8) -> Vec<u8> {
    let mut bytes = format!("P6 {width} {height} 255\n").into_bytes();
    bytes.extend(pixels);
    bytes
}

fn check_names(images: &[MemoryImage<'_>]) -> Result<()> {
    let mut names = HashSet::with_capacity(images.len());
    for MemoryImage { photo, .. } in images {
        let name = photo.name.as_str();
        if name.is_empty() || name.contains(char::is_control) {
            return Err(EngineError::Request(format!(
                "{name:?} is no name of an image: it needs one without control characters; nothing was added"
            )));
        }
        if !names.insert(name) {
            return Err(EngineError::Request(format!(
                "two images are called {name:?}, and the index holds one image per name; nothing was added"
            )));
        }
    }
    Ok(())
}

/// An image that goes into the index, and what differs from the one that it replaces.
struct Chosen<'a, 'i> {
    image: &'a MemoryImage<'i>,
    place: Place,
    replaces: Option<Vec<FieldChange>>,
}

/// Compares, extracts and writes some images in one commit.
fn write(
    index: &mut (impl ReadPlaces + WritePlaces),
    extractor: &Extractor,
    images: &[MemoryImage<'_>],
    options: &AddOptions,
    report: &mut AddReport,
) -> Result<()> {
    let ids: Vec<_> = images.iter().map(|image| place_id(&image.photo.name)).collect();
    let (mut chosen, mut described, mut described_changes) = (Vec::new(), Vec::new(), Vec::new());
    for (image, known) in images.iter().zip(index.get(&ids)?) {
        let file = match image.file() {
            Ok(file) => file,
            Err(error) => {
                report.unreadable.push((image.photo.name.clone().into(), error.to_string()));
                continue;
            }
        };
        let place = place_of(&image.photo, Some(file));
        let Some(known) = known else {
            chosen.push(Chosen { image, place, replaces: None });
            continue;
        };
        let mut changes = differences(&known, &place);
        if known.file.is_none() && !options.update {
            // Pixels of which earlier versions kept no fingerprint.
            changes.retain(|change| change.what != "file");
        }
        if options.update && shows_another(&image.photo, &changes) {
            chosen.push(Chosen { image, place, replaces: Some(changes) });
        } else if changes.is_empty() {
            report.already_indexed += 1;
        } else if !options.update {
            report.changed.push(Changed { name: place.name, changes });
        } else {
            described_changes.push(Changed { name: place.name.clone(), changes });
            described.push(place);
        }
    }
    let new = extract(extractor, &mut chosen, report)?;
    index.write(&Batch { add: &new, describe: &described, ..Batch::default() })?;
    report.updated.extend(described_changes);
    for (new, chosen) in new.into_iter().zip(chosen) {
        match chosen.replaces {
            Some(changes) => report.updated.push(Changed { name: new.place.name, changes }),
            None => report.added += 1,
        }
    }
    Ok(())
}

/// Descriptors of the chosen images; what cannot be read is reported, and chosen no more.
fn extract(
    extractor: &Extractor,
    chosen: &mut Vec<Chosen<'_, '_>>,
    report: &mut AddReport,
) -> Result<Vec<NewPlace>> {
    let prepare = |chosen: &Chosen<'_, '_>| extractor.prepare(&extractor.decode(&chosen.image.image)?.pixels);
    let prepared: Vec<Result<_>> = chosen.par_iter().map(prepare).collect();
    let mut views = Vec::with_capacity(chosen.len());
    let mut kept = Vec::with_capacity(chosen.len());
    for (chosen, view) in std::mem::take(chosen).into_iter().zip(prepared) {
        match view {
            Ok(view) => {
                views.push(view);
                kept.push(chosen);
            }
            Err(error @ EngineError::Data(_)) => {
                report.unreadable.push((chosen.image.photo.name.clone().into(), error.to_string()));
            }
            Err(error) => return Err(error),
        }
    }
    *chosen = kept;
    let row = extractor.config().local_row();
    let features = extractor.extract_views(&views)?;
    Ok(chosen
        .iter()
        .zip(features)
        .map(|(chosen, features)| NewPlace {
            place: chosen.place.clone(),
            global: features.global,
            local: quantize::quantize(&features.local, row),
        })
        .collect())
}
