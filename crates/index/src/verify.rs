//! Looking through a whole index for damage.

use std::path::Path;

use qdrant_edge::Record;
use serde::Serialize;
use uuid::Uuid;

use crate::error::Result;
use crate::generation::{current, journal_of};
use crate::journal::check;
use crate::payload::to_place;
use crate::place::{Filter, place_id};
use crate::query::{SearchRequest, global_of, local_rows};
use crate::reader::Reader;

/// Images in memory at a time.
const PAGE: usize = 64;

/// How far the length of a stored global descriptor may be from 1.
const TOLERANCE: f32 = 1e-3;

/// Something wrong with one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The image's identifier; none if it is not about one image.
    pub id: Option<Uuid>,
    /// The image's name, where it can be read.
    pub name: Option<String>,
    /// What is wrong.
    pub what: String,
}

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Images looked at.
    pub images: usize,
    /// What is wrong; empty for a sound index.
    pub problems: Vec<Problem>,
}

/// Checks the manifest, the journal, and of every committed image the payload, the identifier, the global
/// descriptor (width, finite, length 1 within 0.001) and the local features (whole rows, not too many).
/// Reads everything once; a writer may work meanwhile.
///
/// # Errors
/// If the index cannot be opened at all; what is wrong with single images is in the report.
pub fn verify(dir: impl AsRef<Path>) -> Result<Report> {
    let dir = dir.as_ref();
    let reader = Reader::open(dir, None)?;
    let request = reader.request();
    let mut report = Report::default();
    if let Err(error) = check(&journal_of(dir, current(dir)?), request.config) {
        report.problems.push(Problem { id: None, name: None, what: error.to_string() });
    }
    let vectors: &[&str] = if request.config.has_local() { &["global", "local"] } else { &["global"] };
    let mut from = None;
    loop {
        let (records, next) = request.scroll(from, PAGE, &Filter::default(), vectors)?;
        for record in records {
            report.images += 1;
            let id = request.uuid(record.id).ok();
            let place = record.payload.as_ref().map(|map| to_place(&map.0));
            let name = place.as_ref().and_then(|place| place.as_ref().ok()).map(|place| place.name.clone());
            let mut found = Vec::new();
            match place {
                None => found.push("it has no payload".to_owned()),
                Some(Err(problem)) => found.push(problem),
                Some(Ok(place)) if id != Some(place_id(&place.name)) => {
                    found.push("its identifier is not that of its name".to_owned());
                }
                Some(Ok(_)) => {}
            }
            found.extend(vectors_of(request, record));
            let about = |what| Problem { id, name: name.clone(), what };
            report.problems.extend(found.into_iter().map(about));
        }
        from = next;
        if from.is_none() {
            return Ok(report);
        }
    }
}

/// What is wrong with the vectors of one image.
fn vectors_of(request: SearchRequest<'_>, record: Record) -> Vec<String> {
    let mut found = Vec::new();
    match global_of(&record) {
        None => found.push("it has no global descriptor".to_owned()),
        Some(global) => match request.check_global(global) {
            Err(problem) => found.push(problem),
            Ok(()) => {
                let length = global.iter().map(|number| number * number).sum::<f32>().sqrt();
                if (length - 1.0).abs() > TOLERANCE {
                    found.push(format!("its global descriptor has length {length}, not 1"));
                }
            }
        },
    }
    let config = request.config;
    if let Some(rows) = local_rows(record) {
        let whole = rows.len().is_multiple_of(config.row_width);
        if rows.is_empty() || !whole || rows.len() > config.row_width * config.max_rows {
            found.push(format!("it has {} bytes of local features", rows.len()));
        }
    }
    found
}
