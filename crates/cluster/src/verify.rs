//! Looking at every image of a collection.

use qdrant_client::qdrant::{RetrievedPoint, ScrollPoints, WithVectorsSelector};
use r2former_index::{IndexError, Problem, Report, Result, place_id};
use uuid::Uuid;

use crate::address::Address;
use crate::collection::Collection;
use crate::create::GLOBAL;
use crate::payload::{LOCAL, Payload, decode, encode, uuid};

/// How far the length of a stored global descriptor may be from 1.
const TOLERANCE: f64 = 1e-3;

/// Checks every image of the index at `address`: that its identifier is that of its name, that the place can be read and
/// is what filters read, that its position is of the index's kind, its descriptor (width, finite, length 1 within 0.001)
/// and its local features (whole rows, not too many); and the sources. Changes nothing; others may write meanwhile.
///
/// Each shard is read from one replica. Whether all replicas agree is the cluster's to say.
///
/// # Errors
/// If the index cannot be opened, or the cluster's; what is wrong within it is in the report.
pub fn verify(address: &Address) -> Result<Report> {
    let collection = Collection::open(address, None)?;
    let config = &collection.manifest.config;
    let mut report = Report::default();
    let bytes = 4 * config.global_dim + config.row_width * config.max_rows * 4 / 3;
    let mut request = ScrollPoints {
        collection_name: address.collection().into(),
        limit: Some(collection.page(bytes) as u32),
        with_payload: Some(true.into()),
        with_vectors: Some(WithVectorsSelector::from(vec![GLOBAL])),
        ..ScrollPoints::default()
    };
    loop {
        let asked = request.clone();
        let page = collection.calls().block(|calls| async move { calls.scroll(asked).await })?;
        for point in &page.result {
            image(&collection, point, &mut report);
        }
        request.offset = page.next_page_offset;
        if request.offset.is_none() {
            break;
        }
    }
    match collection.sources() {
        Err(IndexError::Damaged { problem, .. }) => say(&mut report, None, None, problem),
        sources => drop(sources?),
    }
    Ok(report)
}

fn say(report: &mut Report, id: Option<Uuid>, name: Option<&str>, what: impl Into<String>) {
    report.problems.push(Problem { id, name: name.map(Into::into), what: what.into() });
}

fn image(collection: &Collection, point: &RetrievedPoint, report: &mut Report) {
    report.images += 1;
    let Some(id) = uuid(point.id.as_ref()) else {
        return say(report, None, None, "a point has no identifier of an image");
    };
    let name = match decode(&point.payload) {
        Ok(place) => {
            let name = place.name.clone();
            if place_id(&name) != id {
                say(report, Some(id), Some(&name), "its identifier is not that of its name");
            }
            if !encode(&place).is_ok_and(|payload| same(&payload, &point.payload)) {
                say(report, Some(id), Some(&name), "what filters read is not what its place says");
            }
            let positions = collection.manifest.config.positions;
            if let Some(refusal) = place.position.and_then(|position| positions.refusal(position)) {
                say(report, Some(id), Some(&name), format!("its position: {refusal}"));
            }
            Some(name)
        }
        Err(problem) => {
            say(report, Some(id), None, problem);
            None
        }
    };
    match collection.global(point) {
        Ok(global) => {
            let length = global.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            if length.is_nan() || (length - 1.0).abs() > TOLERANCE {
                let what = format!("its global descriptor has length {length}, not 1");
                say(report, Some(id), name.as_deref(), what);
            }
        }
        Err(error) => note(report, id, name.as_deref(), error),
    }
    if let Err(error) = collection.local(point) {
        note(report, id, name.as_deref(), error);
    }
}

fn note(report: &mut Report, id: Uuid, name: Option<&str>, error: IndexError) {
    let what = match error {
        IndexError::Damaged { problem, .. } => problem,
        error => error.to_string(),
    };
    say(report, Some(id), name, what);
}

/// Whether two payloads are one, but for the last bits of numbers, and the local features.
fn same(expected: &Payload, found: &Payload) -> bool {
    use qdrant_client::qdrant::value::Kind;
    fn equal(a: &Option<Kind>, b: &Option<Kind>) -> bool {
        match (a, b) {
            (Some(Kind::StructValue(a)), Some(Kind::StructValue(b))) => {
                a.fields.len() == b.fields.len()
                    && a.fields.iter().all(|(key, value)| {
                        b.fields.get(key).is_some_and(|other| equal(&value.kind, &other.kind))
                    })
            }
            (Some(a), Some(b)) => match (float(a), float(b)) {
                (Some(a), Some(b)) => (a - b).abs() <= 4.0 * f64::EPSILON * a.abs().max(b.abs()),
                _ => a == b,
            },
            _ => a == b,
        }
    }
    fn float(kind: &Kind) -> Option<f64> {
        match kind {
            Kind::DoubleValue(number) => Some(*number),
            // A whole number may come back as an integer.
            Kind::IntegerValue(number) if number.unsigned_abs() <= 1 << 53 => Some(*number as f64),
            _ => None,
        }
    }
    expected.len() == found.len() - usize::from(found.contains_key(LOCAL))
        && expected
            .iter()
            .all(|(key, value)| found.get(key).is_some_and(|other| equal(&value.kind, &other.kind)))
}
