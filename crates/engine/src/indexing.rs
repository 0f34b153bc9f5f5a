//! Photographs into an index: decode, extract, write, in batches that are durable once written.

use crate::stream::extract_photos;
use crate::{Extractor, Progress, Result};
use r2former_data::Photo;
use r2former_index::{NewPlace, Place, ReadPlaces, WritePlaces, place_id};
use r2former_model::quantize;
use serde::Serialize;
use std::path::PathBuf;

/// Images in a write. Larger batches cost less per image; smaller ones lose less work when a run is interrupted.
const WRITE_BATCH: usize = 32;

/// What [`add_photos`] did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AddReport {
    /// Images added.
    pub added: usize,
    /// Images whose names were in the index already.
    pub already_indexed: usize,
    /// Files that could not be read, each with the reason.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Files that were cut short and are among the added all the same, with what is missing: see
    /// [`Extractor::with_limits`].
    pub truncated: Vec<(PathBuf, String)>,
}

/// Adds photographs. Those whose names are in the index already are skipped, so that an interrupted run resumes where
/// it stopped; unreadable ones are reported, and do not end the run. A panorama is one image unless
/// [`expand_panoramas`](r2former_data::expand_panoramas) made views of it.
///
/// ```
/// use r2former_data::{LatLon, Photo};
/// use r2former_engine::{Extractor, LoadedModel, NoProgress, PlaceIndex, Settings, add_photos};
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
/// let photos = [street, Photo::new("missing.png", "missing.png")];
/// let mut writer = index.writer()?;
/// let report = add_photos(&mut writer, &extractor, &photos, &NoProgress)?;
/// assert_eq!((report.added, report.already_indexed, report.unreadable.len()), (1, 0, 1));
/// let again = add_photos(&mut writer, &extractor, &photos, &NoProgress)?;
/// assert_eq!((again.added, again.already_indexed, again.unreadable.len()), (0, 1, 1));
/// # Ok(()) }
/// # // A grey pixel as PPM.
/// # const PIXEL: &[u8] = b"P6 1 1 255 \x80\x80\x80";
/// ```
///
/// # Errors
/// [`EngineError::Compute`](crate::EngineError::Compute) for a failing device,
/// [`EngineError::Index`](crate::EngineError::Index) for a failing index; everything written before stays.
pub fn add_photos(
    index: &mut (impl ReadPlaces + WritePlaces),
    extractor: &Extractor,
    photos: &[Photo],
    progress: &dyn Progress,
) -> Result<AddReport> {
    let mut report = AddReport::default();
    let ids: Vec<_> = photos.iter().map(|photo| place_id(&photo.name)).collect();
    let known = index.contains(&ids)?;
    let missing: Vec<&Photo> =
        photos.iter().zip(&known).filter(|(_, known)| !**known).map(|(p, _)| p).collect();
    report.already_indexed = photos.len() - missing.len();

    let row = extractor.config().local_row();
    // A panorama is decoded once for all of its views.
    let files: Vec<&[&Photo]> =
        missing.chunk_by(|a, b| a.path == b.path && a.view.is_some() && b.view.is_some()).collect();
    let mut waiting: Vec<NewPlace> = Vec::with_capacity(WRITE_BATCH);
    progress.start("images", missing.len() as u64);
    extract_photos(extractor, &files, |i, result| {
        let path = || files[i].first().map(|photo| photo.path.clone()).unwrap_or_default();
        match result {
            Ok((features, cut_short)) => {
                report.truncated.extend(cut_short.map(|what| (path(), what)));
                waiting.extend(files[i].iter().zip(features).map(|(photo, features)| NewPlace {
                    place: place_of(photo),
                    global: features.global,
                    local: quantize::quantize(&features.local, row),
                }));
            }
            Err(error) => {
                progress.note(&format!("left out: {error}"));
                report.unreadable.push((path(), error.to_string()));
            }
        }
        progress.advance(files[i].len() as u64);
        if waiting.len() >= WRITE_BATCH {
            index.add(&waiting)?;
            report.added += waiting.len();
            waiting.clear();
        }
        Ok(())
    })?;
    if !waiting.is_empty() {
        index.add(&waiting)?;
        report.added += waiting.len();
    }
    progress.finish();
    Ok(report)
}

/// What the index keeps of a photograph. What it has no field for becomes a tag: `heading_ref` (`true` or `magnetic`),
/// `position_error_m` and `position_method`.
fn place_of(photo: &Photo) -> Place {
    let mut tags = photo.tags.clone();
    let more = [
        ("heading_ref", photo.heading_ref.map(|north| north.name().to_owned())),
        ("position_error_m", photo.position_error.map(|metres| metres.to_string())),
        ("position_method", photo.position_method.clone()),
    ];
    for (key, value) in more {
        if let Some(value) = value {
            tags.entry(key.to_owned()).or_insert(value);
        }
    }
    Place {
        name: photo.name.clone(),
        position: photo.position,
        heading: photo.heading,
        altitude: photo.altitude,
        time: photo.time,
        tags,
    }
}
