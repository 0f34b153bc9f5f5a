//! Photographs into an index: decode, extract, write, in batches that are durable once written.

use crate::{Extractor, Progress, Result, extract_stream};
use r2former_data::Photo;
use r2former_index::{NewPlace, Place, ReadPlaces, WritePlaces, place_id};
use r2former_model::quantize;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Images written together. Larger batches cost less each; smaller ones lose less work when a run
/// is cut off.
const WRITE_BATCH: usize = 32;

/// How often readers get to see what a long run has added so far.
const PUBLISH_EVERY: Duration = Duration::from_secs(20);

/// What came of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AddReport {
    /// Images that are in the index now and were not before.
    pub added: usize,
    /// Images that were in it already.
    pub already_indexed: usize,
    /// Images that could not be used, with the reason.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// Adds photographs. Those already in the index (by name) are skipped, so that a run that was cut
/// off goes on where it stopped; unreadable ones are reported and the run goes on.
///
/// # Errors
/// A failing device or index; everything written before stays.
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
    let mut published = Instant::now();
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
            if published.elapsed() > PUBLISH_EVERY {
                index.flush()?;
                published = Instant::now();
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
