//! What came of queries, as GeoJSON: the same document from the program, the service and other languages.

use crate::{Origin, Position, QueryResult};
use serde::Serialize;
use serde_json::{Value, json};

/// A point for each estimate and each match, and a feature without geometry for each query that has none; RFC 7946
/// puts longitude first. `origin` is where local metres lie on the globe: without one, their features have no geometry.
///
/// ```
/// use r2former_engine::{QueryResult, answers_geojson};
///
/// let result = QueryResult::Unreadable { query: "a.jpg".into(), error: "is empty".into() };
/// let document = answers_geojson(&[result], None);
/// assert_eq!(document["features"][0]["properties"]["status"], "unreadable");
/// ```
pub fn answers_geojson(results: &[QueryResult], origin: Option<Origin>) -> Value {
    let mut features: Vec<Value> = results.iter().map(|result| query(result, origin)).collect();
    for result in results {
        for m in result.matches() {
            let mut properties = json!({
                "kind": "match", "query": result.query(), "rank": m.rank, "path": m.path, "heading": m.heading,
                "similarity": m.similarity, "score": m.score, "score_kind": m.score_kind,
                "distance_m": m.distance_m,
            });
            if let Some(Position::Local(point)) = m.position {
                properties["local"] = value(point);
            }
            if !m.tags.is_empty() {
                properties["tags"] = value(&m.tags);
            }
            features.push(feature(m.position, origin, properties));
        }
    }
    json!({ "type": "FeatureCollection", "features": features })
}

/// The feature of a query: its estimate, if it has one.
fn query(result: &QueryResult, origin: Option<Origin>) -> Value {
    let mut properties = json!({
        "kind": "query", "query": result.query(), "status": result.status(),
    });
    let mut position = None;
    match result {
        QueryResult::Unreadable { error, .. } => properties["error"] = error.as_str().into(),
        QueryResult::Answer(answer) => {
            properties["reranking_skipped"] = answer.reranking_skipped.into();
            properties["notes"] = answer.notes.clone().into();
            properties["confidence"] = answer.confidence.into();
            if let Some((e, best)) = answer.estimate.as_ref().zip(answer.matches.first()) {
                position = Some(e.weighted);
                properties["kind"] = "estimate".into();
                properties["path"] = best.path.as_str().into();
                properties["similarity"] = best.similarity.into();
                properties["score"] = value(best.score);
                properties["score_kind"] = value(best.score_kind);
                properties["agreeing"] = e.agreeing.into();
                properties["considered"] = e.considered.into();
                properties["spread_m"] = e.spread_m.into();
                properties["heading"] = e.heading.into();
                properties["ellipse"] = value(e.ellipse);
                if let Some([lon, lat, ..]) = geojson_coordinates(e.best, origin).as_deref() {
                    properties["best_lat"] = (*lat).into();
                    properties["best_lon"] = (*lon).into();
                }
                if let Position::Local(weighted) = e.weighted {
                    properties["local"] = value(weighted);
                }
            }
        }
    }
    feature(position, origin, properties)
}

fn feature(position: Option<Position>, origin: Option<Origin>, properties: Value) -> Value {
    let point = position.and_then(|position| geojson_coordinates(position, origin));
    let geometry = point.map(|point| json!({ "type": "Point", "coordinates": point }));
    json!({ "type": "Feature", "geometry": geometry, "properties": properties })
}

/// A position as GeoJSON has it, longitude first: with latitude and, where it is known, the height in metres. `origin` is where
/// local metres lie on the globe; without one, they have no such coordinates.
pub fn geojson_coordinates(position: Position, origin: Option<Origin>) -> Option<Vec<f64>> {
    match position {
        Position::Wgs84(p) => Some(vec![p.lon, p.lat]),
        Position::Local(point) => {
            let origin = origin?;
            let p = origin.position(point);
            Some([p.lon, p.lat].into_iter().chain(origin.height_m(point)).collect())
        }
    }
}

fn value(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}
