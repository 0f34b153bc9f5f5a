//! The track of a sequence: a fix for each frame, as it was known at the time and by all frames.

use crate::{
    Fix, Origin, QueryResult, SequenceFilter, SequenceFrame, SequenceOptions, answers_json, best_track,
    geojson_coordinates,
};
use r2former_data::dataset::time_text;
use serde::Serialize;
use serde_json::{Value, json};

/// A frame of a track.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrackPoint {
    /// Its number, from 1.
    pub frame: usize,
    /// What it is called.
    pub query: String,
    /// Its time in seconds, where it is known.
    pub time: Option<f64>,
    /// Where it was taken, by all frames; `None` before the first candidate.
    pub best: Option<Fix>,
    /// By this frame and those before it.
    pub live: Option<Fix>,
}

/// Frames that are fused as they come, and remembered so that all of them can be looked at together.
///
/// Each frame keeps its candidates: some 30 kB with 100 of them.
///
/// ```
/// use r2former_engine::{SequenceFrame, SequenceOptions, Track};
///
/// let mut track = Track::new(SequenceOptions::default());
/// assert_eq!(track.push("a.jpg", SequenceFrame { time: Some(0.5), ..SequenceFrame::default() }), None);
/// let points = track.points();
/// assert_eq!((points[0].frame, points[0].query.as_str(), points[0].time), (1, "a.jpg", Some(0.5)));
/// ```
#[derive(Debug, Clone)]
pub struct Track {
    options: SequenceOptions,
    filter: SequenceFilter,
    frames: Vec<SequenceFrame>,
    /// Name and live fix of each.
    seen: Vec<(String, Option<Fix>)>,
    /// The time of the latest frame that has one.
    time: Option<f64>,
    note: Option<String>,
    out_of_order: usize,
}

impl Track {
    /// Before the first frame.
    pub fn new(options: SequenceOptions) -> Self {
        let filter = SequenceFilter::new(options.clone());
        Self {
            options,
            filter,
            frames: Vec::new(),
            seen: Vec::new(),
            time: None,
            note: None,
            out_of_order: 0,
        }
    }

    /// Takes the next frame, called `query`, and says where it was taken by it and those before it. A frame that could not
    /// be read has no matches: the motion since the frame before counts on.
    pub fn push(&mut self, query: &str, frame: SequenceFrame) -> Option<Fix> {
        let before = self.time;
        self.time = frame.time.or(before);
        self.note = before.zip(frame.time).filter(|(before, time)| time < before).map(|(before, time)| {
            format!(
                "its time, {}, is before that of the last frame before it that has one, {}: frames count in the order in \
                 which they come",
                time_text(time),
                time_text(before)
            )
        });
        self.out_of_order += usize::from(self.note.is_some());
        let live = self.filter.push(frame.clone());
        self.seen.push((query.to_owned(), live.clone()));
        self.frames.push(frame);
        live
    }

    /// How many frames it has.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// What is to be said of the latest frame: frames count in the order in which they come, and one that was taken before
    /// the last one before it that has a time is probably out of place.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// How many frames were taken before the last one before them that has a time.
    pub fn out_of_order(&self) -> usize {
        self.out_of_order
    }

    /// Looks at all frames so far together: the most probable way through them.
    pub fn points(&self) -> Vec<TrackPoint> {
        let best = best_track(self.frames.clone(), &self.options);
        let all = self.seen.iter().zip(&self.frames).zip(best).enumerate();
        all.map(|(i, (((query, live), frame), best))| TrackPoint {
            frame: i + 1,
            query: query.clone(),
            time: frame.time,
            best,
            live: live.clone(),
        })
        .collect()
    }
}

/// The document of a sequence: the answers, each by its frame alone, and the track.
pub fn sequence_json(results: &[QueryResult], points: &[TrackPoint]) -> Value {
    let mut document = answers_json(results);
    document["track"] = serde_json::to_value(points).unwrap_or(Value::Null);
    document
}

/// A track as GeoJSON: a line along the frames, and a point for each of them. `origin` is where local metres lie on the
/// globe: without one, they have no geometry.
pub fn track_geojson(points: &[TrackPoint], origin: Option<Origin>) -> Value {
    let at = |fix: &Option<Fix>| {
        let position = fix.as_ref().and_then(|fix| fix.position);
        // Heights of references are no height of the camera.
        let at = position.and_then(|position| geojson_coordinates(position, origin));
        at.map(|at| at.into_iter().take(2).collect::<Vec<f64>>())
    };
    let line: Vec<Vec<f64>> = points.iter().filter_map(|point| at(&point.best)).collect();
    // A line has two ends.
    let line = (line.len() > 1).then(|| json!({ "type": "LineString", "coordinates": line }));
    let mut features = vec![json!({
        "type": "Feature", "geometry": line, "properties": { "kind": "track", "frames": points.len() },
    })];
    features.extend(points.iter().map(|point| {
        let live = at(&point.live);
        let geometry = at(&point.best).map(|at| json!({ "type": "Point", "coordinates": at }));
        json!({
            "type": "Feature", "geometry": geometry, "properties": {
                "kind": "frame", "frame": point.frame, "query": point.query, "time": point.time,
                "path": point.best.as_ref().map(|fix| &fix.place.path),
                "probability": point.best.as_ref().map(|fix| fix.probability),
                "live_path": point.live.as_ref().map(|fix| &fix.place.path),
                "live_lat": live.as_ref().map(|at| at[1]), "live_lon": live.as_ref().map(|at| at[0]),
                "live_probability": point.live.as_ref().map(|fix| fix.probability),
            },
        })
    }));
    json!({ "type": "FeatureCollection", "features": features })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LocalPoint, Match};

    fn found(path: &str, x: f64) -> Match {
        Match { position: Some(LocalPoint { x, y: 0.0, z: Some(2.0) }.into()), ..Match::named(path, 0.9) }
    }

    #[test]
    fn times_that_go_back_are_noted() {
        let mut track = Track::new(SequenceOptions::default());
        let notes = [Some(1.0), None, Some(3.0), Some(2.0), Some(2.0), Some(1.5), Some(9.0)].map(|time| {
            track.push("x", SequenceFrame { time, ..SequenceFrame::default() });
            track.note().map(|note| note.split(':').next().unwrap_or_default().to_owned())
        });
        let note = |time, before| {
            Some(format!(
                "its time, {time} s, is before that of the last frame before it that has one, {before} s"
            ))
        };
        assert_eq!(notes, [None, None, None, note("2", "3"), None, note("1.5", "2"), None]);
        assert_eq!(track.out_of_order(), 2);
        for time in [1_700_000_000.0, 1_699_999_999.5] {
            track.push("x", SequenceFrame { time: Some(time), ..SequenceFrame::default() });
        }
        let note = track.note().expect("it goes back");
        assert!(note.contains("its time, 2023-11-14 22:13:19.500 UTC, is before"), "{note}");
        assert!(note.contains("that has one, 2023-11-14 22:13:20 UTC:"), "{note}");
    }

    #[test]
    fn points_have_both_fixes_and_geojson_needs_degrees() {
        let mut track = Track::new(SequenceOptions::default());
        assert!(track.is_empty() && track.points().is_empty());
        for (name, matches) in [("lost", vec![]), ("a", vec![found("x", 0.0)]), ("b", vec![found("y", 5.0)])]
        {
            let frame = SequenceFrame { matches, time: None, moved_m: None };
            assert_eq!(track.push(name, frame).is_some(), name != "lost");
        }
        let points = track.points();
        assert_eq!((track.len(), points.len()), (3, 3));
        assert!(points[0].live.is_none() && points[2].best == points[2].live);
        let origin = Origin::new(52.0, 0.5, Some(10.0)).expect("an origin");
        let document = track_geojson(&points, Some(origin));
        let features = document["features"].as_array().expect("features");
        assert_eq!(features[0]["geometry"]["coordinates"].as_array().map(Vec::len), Some(2));
        assert_eq!(
            (&features[1]["geometry"], &features[2]["properties"]["path"]),
            (&Value::Null, &"x".into())
        );
        assert_eq!(features[3]["geometry"]["coordinates"].as_array().map(Vec::len), Some(2));
        assert!(track_geojson(&points, None)["features"][3]["geometry"].is_null());
        let whole = sequence_json(&[], &points);
        assert_eq!(
            (&whole["answers"], &whole["track"][2]["best"]["place"]["path"]),
            (&json!([]), &"y".into())
        );
    }
}
