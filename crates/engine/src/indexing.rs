//! Photographs into an index: decode, extract, write, in batches that are durable once written.

use crate::{Extractor, Progress, Result, extract_stream};
use r2former_data::Photo;
use r2former_index::{NewPlace, Place, ReadPlaces, WritePlaces, place_id};
use r2former_model::quantize;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Images in a write. Larger batches cost less per image; smaller ones lose less work when a run is interrupted.
const WRITE_BATCH: usize = 32;

/// How often a long run commits, so that readers see what it has added.
const COMMIT_EVERY: Duration = Duration::from_secs(20);

/// What [`add_photos`] did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AddReport {
    /// Images added.
    pub added: usize,
    /// Images whose names were in the index already.
    pub already_indexed: usize,
    /// Images that could not be read, each with the reason.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// Adds photographs. Those whose names are in the index already are skipped, so that an interrupted run resumes where
/// it stopped; unreadable ones are reported, and do not end the run.
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
/// street.position = Some(LatLon::new(52.205, 0.119)?);
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
    let files: Vec<&Path> = missing.iter().map(|photo| photo.path.as_path()).collect();
    let mut waiting: Vec<NewPlace> = Vec::with_capacity(WRITE_BATCH);
    let mut committed = Instant::now();
    progress.start("images", files.len() as u64);
    extract_stream(extractor, &files, progress, |i, result| {
        match result {
            Ok(features) => waiting.push(NewPlace {
                place: place_of(missing[i]),
                global: features.global,
                local: quantize::quantize(&features.local, row),
            }),
            Err(error) => {
                progress.note(&format!("left out: {error}"));
                report.unreadable.push((files[i].to_path_buf(), error.to_string()));
            }
        }
        if waiting.len() == WRITE_BATCH {
            index.add(&waiting)?;
            report.added += waiting.len();
            waiting.clear();
            if committed.elapsed() > COMMIT_EVERY {
                index.flush()?;
                committed = Instant::now();
            }
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

fn place_of(photo: &Photo) -> Place {
    Place {
        name: photo.name.clone(),
        position: photo.position,
        heading: photo.heading,
        altitude: photo.altitude,
        time: photo.time,
        tags: photo.tags.clone(),
    }
}
