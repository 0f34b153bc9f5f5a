//! What sessions answer with.

use super::table::Session;
use r2former_engine::{Answer, Fix, Position, QueryResult, Status, geojson_coordinates};
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

/// A frame of a track.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    frame: usize,
    query: String,
    time: Option<f64>,
    status: Status,
    confidence: Option<f64>,
    /// By this frame and those before it.
    place: Option<Place>,
    position: Option<Position>,
    probability: Option<f64>,
    /// By this frame alone.
    own: Option<Place>,
}

/// A place of the index, as a track has it.
#[derive(Debug, Clone)]
struct Place {
    id: String,
    path: String,
    position: Option<Position>,
    heading: Option<f64>,
}

impl Place {
    fn of(found: &r2former_engine::Match) -> Self {
        Self {
            id: found.id.clone(),
            path: found.path.clone(),
            position: found.position,
            heading: found.heading,
        }
    }

    fn json(&self) -> Value {
        json!({ "id": self.id, "path": self.path, "position": self.position, "heading": self.heading })
    }
}

impl Point {
    pub(super) fn new(frame: usize, time: Option<f64>, answer: &Answer, fix: Option<&Fix>) -> Self {
        Self {
            frame,
            query: answer.query.clone(),
            time,
            status: answer.status,
            confidence: answer.confidence,
            place: fix.map(|fix| Place::of(&fix.place)),
            position: fix.and_then(|fix| fix.position),
            probability: fix.map(|fix| fix.probability),
            own: answer.matches.first().map(Place::of),
        }
    }

    fn json(&self) -> Value {
        json!({
            "frame": self.frame, "query": self.query, "time": self.time, "status": self.status,
            "confidence": self.confidence, "place": self.place.as_ref().map(Place::json), "position": self.position,
            "probability": self.probability, "own": self.own.as_ref().map(Place::json),
        })
    }
}

/// The answer to a new session.
pub(super) fn created(session: &Session, idle: Duration) -> Value {
    json!({
        "id": session.id.to_string(), "index": session.question.index.name, "frames": 0,
        "max_speed": session.max_speed, "max_step": session.max_step, "idle_seconds": idle.as_secs(),
    })
}

/// The answer to a frame: where it is by all frames so far, and by itself.
pub(super) fn document(
    session: Uuid,
    frame: usize,
    time: Option<f64>,
    fix: Option<Fix>,
    answer: Answer,
) -> Value {
    json!({
        "session": session.to_string(), "frame": frame, "time": time, "fix": fix,
        "answer": QueryResult::Answer(answer).json(),
    })
}

/// The track behind a frame, as JSON.
pub(super) fn listing(session: &Session, after: usize, idle: Duration) -> Value {
    let state = session.lock();
    let mut document = created(session, idle);
    document["frames"] = state.count.into();
    document["track"] = points(state.points.iter(), after).map(Point::json).collect();
    document
}

/// The track behind a frame, as GeoJSON: a line along the frames, and a point for each of them.
pub(super) fn collection(session: &Session, after: usize) -> Value {
    let state = session.lock();
    let origin = session.question.index.place.positions().origin();
    let at = |point: &Point| point.position.and_then(|position| geojson_coordinates(position, origin));
    let line: Vec<Vec<f64>> = points(state.points.iter(), after).filter_map(at).collect();
    // A line has two ends.
    let line = (line.len() > 1).then(|| json!({ "type": "LineString", "coordinates": line }));
    let track = json!({
        "type": "Feature", "geometry": line,
        "properties": { "kind": "track", "session": session.id.to_string(), "frames": state.count },
    });
    let features = points(state.points.iter(), after).map(|point| {
        let geometry = at(point).map(|at| json!({ "type": "Point", "coordinates": at }));
        let mut properties = point.json();
        properties["kind"] = "frame".into();
        json!({ "type": "Feature", "geometry": geometry, "properties": properties })
    });
    let features: Vec<Value> = std::iter::once(track).chain(features).collect();
    json!({ "type": "FeatureCollection", "features": features })
}

fn points<'a>(
    all: impl Iterator<Item = &'a Point> + 'a,
    after: usize,
) -> impl Iterator<Item = &'a Point> + 'a {
    all.filter(move |point| point.frame > after)
}
