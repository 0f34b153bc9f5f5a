//! How an index is queried, as a document: what other languages hand over.

use crate::{EngineError, Extractor, LocateOptions, Near, Position, PositionKind, RerankMethod, Result};
use r2former_data::geo::FARTHEST_M;
use r2former_data::{LatLon, LocalPoint, period};
use r2former_index::Filter;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Most matches and candidates of a query.
const MOST: usize = 10_000;

/// Which images of an index are considered. All keys may be left out.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchFilter {
    /// `[lat, lon]` in degrees, `[x, y]` or `[x, y, z]` in local metres, or `"exif"` for the query's own GPS position.
    pub near: Option<Value>,
    /// Radius around it in metres.
    pub radius: Option<f64>,
    /// Tags that an image carries, all of them.
    pub tags: BTreeMap<String, String>,
    /// First time: seconds since 1970 UTC, or a text as [`period`] reads it.
    pub since: Option<Value>,
    /// Last time, likewise; of a date its end.
    pub until: Option<Value>,
}

/// Options of a query as a JSON object, with the names and the ranges of `r2former query`. All keys may be left out.
///
/// ```
/// use r2former_engine::{PositionKind, QueryOptions};
///
/// let options = QueryOptions::parse(r#"{"top": 3, "near": [52.205, 0.119], "radius": 500, "rerank": "none"}"#)?;
/// let near = options.filter(PositionKind::Wgs84)?.near.ok_or("a prior")?;
/// assert_eq!(near.radius_m, 500.0);
/// assert!(QueryOptions::parse(r#"{"tops": 3}"#).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueryOptions {
    /// Matches in the answer, 1 to 10,000; 5 by default.
    pub top: Option<usize>,
    /// Candidates that are reranked, 1 to 10,000; 100 by default.
    pub candidates: Option<usize>,
    /// Reranking method; the model's best by default.
    pub rerank: Option<RerankMethod>,
    /// Candidates that the model reranks, 1 to 10,000: those that geometry ranks first; by default as many as its file
    /// says, or all.
    pub cascade: Option<usize>,
    /// Top-1 margin from which on reranking is skipped, 0 to 2.
    pub adaptive: Option<f32>,
    /// Least confidence of an answer, 0 to 1, or `"auto"` for the model's own threshold.
    pub min_confidence: Option<Value>,
    /// Search a collection approximately; exactly by default.
    pub approximate: bool,
    /// As in [`SearchFilter`].
    pub near: Option<Value>,
    /// As in [`SearchFilter`].
    pub radius: Option<f64>,
    /// As in [`SearchFilter`].
    pub tags: BTreeMap<String, String>,
    /// As in [`SearchFilter`].
    pub since: Option<Value>,
    /// As in [`SearchFilter`].
    pub until: Option<Value>,
}

impl QueryOptions {
    /// Reads a document; an empty text stands for one without keys.
    ///
    /// # Errors
    /// [`EngineError::Request`] for what is no such document.
    pub fn parse(json: &str) -> Result<Self> {
        parse(json)
    }

    /// The same of keys and values.
    pub(crate) fn of(document: Map<String, Value>) -> Result<Self> {
        serde_json::from_value(Value::Object(document)).map_err(not_understood)
    }

    /// Whether each query is searched around its own EXIF position.
    pub fn near_exif(&self) -> bool {
        matches!(&self.near, Some(Value::String(text)) if text.eq_ignore_ascii_case("exif"))
    }

    /// The radius around a prior position in metres.
    ///
    /// # Errors
    /// [`EngineError::Request`] for one that is missing or out of range.
    pub fn radius(&self) -> Result<f64> {
        radius(self.radius)
    }

    /// The filter for an index with positions of this kind; without a prior where that is each query's own.
    ///
    /// # Errors
    /// [`EngineError::Request`] for values out of range, and for a position that is not of this kind.
    pub fn filter(&self, kind: PositionKind) -> Result<Filter> {
        let exif = self.near_exif();
        if exif && kind != PositionKind::Wgs84 {
            return Err(request(format!(
                "near=exif: positions in EXIF are WGS84; this index has {}",
                kind.words()
            )));
        }
        if exif {
            self.radius()?;
        }
        let own = SearchFilter {
            near: self.near.clone().filter(|_| !exif),
            radius: self.radius.filter(|_| !exif),
            tags: self.tags.clone(),
            since: self.since.clone(),
            until: self.until.clone(),
        };
        own.filter(kind)
    }

    /// All of it, for a model and an index.
    ///
    /// # Errors
    /// As [`filter`](Self::filter), and for what the model cannot do.
    pub fn locate_options(&self, extractor: &Extractor, kind: PositionKind) -> Result<LocateOptions> {
        let count = |name: &str, asked: usize| match asked {
            number @ 1..=MOST => Ok(number),
            other => Err(request(format!("{name}={other}: must be 1 to {MOST}"))),
        };
        let usual = LocateOptions::default();
        let mut options = LocateOptions::default()
            .top(count("top", self.top.unwrap_or(usual.top))?)
            .candidates(count("candidates", self.candidates.unwrap_or(usual.candidates))?)
            .approximate(self.approximate)
            .filter(self.filter(kind)?);
        options.rerank = self.rerank;
        options.cascade = self.cascade.map(|number| count("cascade", number)).transpose()?;
        if let Some(margin) = self.adaptive {
            if !(0.0..=2.0).contains(&margin) {
                return Err(request(format!("adaptive={margin}: a difference of two cosines is 0 to 2")));
            }
            options.adaptive = Some(margin);
        }
        let config = extractor.config();
        options.min_confidence = match &self.min_confidence {
            None => None,
            // Without a calibration any value is refused by the query.
            Some(Value::String(text)) if text == "auto" => {
                Some(config.calibration.as_ref().map_or(0.0, |own| own.threshold))
            }
            Some(other) => match other.as_f64().filter(|value| (0.0..=1.0).contains(value)) {
                Some(value) => Some(value),
                None => {
                    return Err(request(format!(
                        "min_confidence={other}: neither a probability, 0 to 1, nor auto"
                    )));
                }
            },
        };
        self.rerank.map_or(Ok(()), |method| method.check(config))?;
        Ok(options)
    }
}

impl SearchFilter {
    /// Reads a document; an empty text stands for one without keys.
    ///
    /// # Errors
    /// [`EngineError::Request`] for what is no such document.
    pub fn parse(json: &str) -> Result<Self> {
        parse(json)
    }

    /// The filter for an index with positions of this kind.
    ///
    /// # Errors
    /// [`EngineError::Request`] for values out of range, and for a position that is not of this kind.
    pub fn filter(&self, kind: PositionKind) -> Result<Filter> {
        let near = match &self.near {
            None if self.radius.is_some() => return Err(request("radius: goes with near")),
            None => None,
            Some(near) => Some(Near::new(position("near", near, kind)?, radius(self.radius)?)),
        };
        let since = self.since.as_ref().map(|time| moment("since", time, |(first, _)| first)).transpose()?;
        let until = self.until.as_ref().map(|time| moment("until", time, |(_, last)| last)).transpose()?;
        if since.zip(until).is_some_and(|(since, until)| since > until) {
            return Err(request("since is after until: no image can pass"));
        }
        Ok(Filter { near, tags: self.tags.clone(), since, until, ..Filter::default() })
    }
}

pub(crate) fn parse<T: Default + for<'a> Deserialize<'a>>(json: &str) -> Result<T> {
    if json.trim().is_empty() {
        return Ok(T::default());
    }
    // A list would be read as the values of the keys in their order.
    if !json.trim_start().starts_with('{') {
        return Err(request("the options are not understood: a JSON object is needed"));
    }
    serde_json::from_str(json).map_err(not_understood)
}

/// The keys of a document with their values; none of an empty text.
pub(crate) fn parse_object(json: &str) -> Result<Map<String, Value>> {
    match json.trim().is_empty() {
        true => Ok(Map::new()),
        false => serde_json::from_str(json).map_err(not_understood),
    }
}

fn not_understood(error: serde_json::Error) -> EngineError {
    request(format!("the options are not understood: {error}"))
}

pub(crate) fn request(problem: impl Into<String>) -> EngineError {
    EngineError::Request(problem.into())
}

fn radius(asked: Option<f64>) -> Result<f64> {
    match asked {
        None => Err(request("near: goes with a radius in metres")),
        Some(radius) if radius > 0.0 && radius <= FARTHEST_M => Ok(radius),
        Some(radius) => {
            Err(request(format!("radius={radius}: a radius in metres is above 0 and at most {FARTHEST_M}")))
        }
    }
}

/// `[lat, lon]`, `[x, y]` or `[x, y, z]`.
pub(crate) fn position(name: &str, value: &Value, kind: PositionKind) -> Result<Position> {
    let numbers: Option<Vec<f64>> =
        value.as_array().and_then(|all| all.iter().map(|number| number.as_f64()).collect());
    let wrong = |error: String| request(format!("{name}={value}: {error}; this index has {}", kind.words()));
    match (kind, numbers.as_deref()) {
        (PositionKind::Wgs84, Some(&[lat, lon])) => match LatLon::new(lat, lon) {
            Ok(position) => Ok(position.into()),
            Err(error) => Err(wrong(error.to_string())),
        },
        (PositionKind::Local, Some(&[x, y, ref z @ ..])) if z.len() < 2 => {
            match LocalPoint::new(x, y, z.first().copied()) {
                Ok(position) => Ok(position.into()),
                Err(error) => Err(wrong(error.to_string())),
            }
        }
        (PositionKind::None, _) => Err(wrong("there is no such position".into())),
        (PositionKind::Wgs84, _) => Err(wrong("[latitude, longitude] in degrees is needed".into())),
        (PositionKind::Local, _) => Err(wrong("[x, y] or [x, y, z] in metres is needed".into())),
    }
}

/// Seconds since 1970 UTC.
fn moment(name: &str, value: &Value, end: impl Fn((i64, i64)) -> i64) -> Result<i64> {
    match value {
        Value::Number(number) => {
            let seconds = number.as_i64().or_else(|| number.as_f64().map(|seconds| seconds.floor() as i64));
            seconds.ok_or_else(|| request(format!("{name}={number}: seconds since 1970 are needed")))
        }
        Value::String(text) => match period(text) {
            Ok(both) => Ok(end(both)),
            Err(error) => Err(request(format!("{name}: {error}"))),
        },
        other => Err(request(format!("{name}={other}: a date, a time or seconds since 1970 are needed"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(json: &str, kind: PositionKind) -> Result<Filter, String> {
        let options = QueryOptions::parse(json).map_err(|e| e.to_string())?;
        options.filter(kind).map_err(|e| e.to_string())
    }

    #[test]
    fn documents_become_filters() {
        assert_eq!(filter("", PositionKind::Wgs84), Ok(Filter::default()));
        let all = r#"{"near": [1.5, 2, 3], "radius": 9, "tags": {"a": "b"}, "since": 5, "until": "1970-01"}"#;
        let found = filter(all, PositionKind::Local).expect("a filter");
        let near = Near::new(LocalPoint { x: 1.5, y: 2.0, z: Some(3.0) }, 9.0);
        assert_eq!((found.near, found.since, found.until), (Some(near), Some(5), Some(31 * 86_400 - 1)));
        assert_eq!(found.tags["a"], "b");
        let exif = QueryOptions::parse(r#"{"near": "exif", "radius": 5}"#).expect("a document");
        assert!(exif.near_exif());
        assert_eq!(exif.filter(PositionKind::Wgs84).expect("a filter").near, None);
    }

    #[test]
    fn what_cannot_be_met_is_named() {
        for (json, kind, said) in [
            (r#"{"near": [1, 2]}"#, PositionKind::Wgs84, "radius"),
            (r#"{"radius": 2}"#, PositionKind::Wgs84, "near"),
            (r#"{"near": [100, 2], "radius": 2}"#, PositionKind::Wgs84, "latitude 100"),
            (r#"{"near": [1, 2, 3], "radius": 2}"#, PositionKind::Wgs84, "[latitude, longitude]"),
            (r#"{"near": [1], "radius": 2}"#, PositionKind::Local, "[x, y, z]"),
            (r#"{"near": [1, 2], "radius": 2}"#, PositionKind::None, "no positions"),
            (r#"{"near": [1, 2], "radius": -2}"#, PositionKind::Wgs84, "radius=-2"),
            (r#"{"near": "exif", "radius": 2}"#, PositionKind::Local, "near=exif"),
            (r#"{"since": "May"}"#, PositionKind::Wgs84, "since: 'May'"),
            (r#"{"since": 5, "until": 4}"#, PositionKind::Wgs84, "since is after until"),
            (r#"{"nearby": 4}"#, PositionKind::Wgs84, "nearby"),
            ("[]", PositionKind::Wgs84, "not understood"),
        ] {
            let message = filter(json, kind).expect_err(json);
            assert!(message.contains(said), "{json}: {message}");
        }
    }
}
