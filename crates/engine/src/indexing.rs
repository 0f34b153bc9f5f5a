//! Photographs into an index: decode, extract, write, in batches that are durable once written.

use crate::stream::extract_photos;
use crate::{Extractor, Progress, Result};
use r2former_data::Photo;
use r2former_index::{NewPlace, Place, ReadPlaces, WritePlaces, place_id};
use r2former_model::quantize;
use serde::Serialize;
use std::path::PathBuf;
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
    /// Files that could not be used, with the reason.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Files that were cut short and are among the added all the same, with what is missing: see
    /// [`Extractor::with_limits`].
    pub truncated: Vec<(PathBuf, String)>,
}

/// Adds photographs. Those already in the index (by name) are skipped, so that a run that was cut
/// off goes on where it stopped; unreadable ones are reported and the run goes on. Panoramas are one photograph each
/// unless [`expand_panoramas`](r2former_data::expand_panoramas) made views of them.
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
    // A panorama is decoded once for all of its views.
    let files: Vec<&[&Photo]> =
        missing.chunk_by(|a, b| a.path == b.path && a.view.is_some() && b.view.is_some()).collect();
    let mut waiting: Vec<NewPlace> = Vec::with_capacity(WRITE_BATCH);
    let mut published = Instant::now();
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
