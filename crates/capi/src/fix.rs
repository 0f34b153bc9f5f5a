//! A document's first answer as numbers, for callers without a reader of JSON.

use crate::arguments::text;
use crate::failure::{Failure, guard};
use serde_json::Value;
use std::ffi::{c_char, c_int};

/// Whether a query has an answer.
#[repr(C)]
#[allow(non_camel_case_types, reason = "names of C")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum r2former_status {
    /// There are matches.
    R2FORMER_ANSWERED = 0,
    /// There are matches, with less confidence than was asked for.
    R2FORMER_NOT_IN_INDEX = 1,
    /// Nothing in the index passes the filter, or it is empty.
    R2FORMER_NO_MATCH = 2,
    /// The image cannot be used.
    R2FORMER_UNREADABLE = 3,
}

use r2former_status::*;

/// Where an image was taken. What is not known is NaN.
#[repr(C)]
#[allow(non_camel_case_types, reason = "a name of C")]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct r2former_fix {
    /// Whether there is an answer.
    pub status: r2former_status,
    /// Matches within 25 m of the first one, itself included; 0 without an estimate.
    pub agreeing: u32,
    /// Of the first 10 matches, those with a position.
    pub considered: u32,
    /// The weighted position, or of a frame of a sequence that by it and those before it: latitude in degrees, or y in
    /// metres.
    pub latitude: f64,
    /// Longitude in degrees, or x in metres.
    pub longitude: f64,
    /// z in metres of an index of local metres.
    pub z: f64,
    /// Where the camera looks, degrees clockwise from north.
    pub heading: f64,
    /// Probability that the first match is within 25 m, 0 to 1, of a model that is calibrated.
    pub confidence: f64,
    /// Cosine of the first match, -1 to 1.
    pub similarity: f64,
    /// Score of the first match.
    pub score: f64,
    /// Metres from the first match to the farthest that agrees.
    pub spread_m: f64,
    /// Half the axes of the ellipse that holds the position in 90 % of correct answers, in metres, of a model that is
    /// calibrated.
    pub major_m: f64,
    /// The shorter one.
    pub minor_m: f64,
    /// Direction of the major axis, degrees clockwise from north.
    pub angle_deg: f64,
    /// Of a frame of a sequence, what the frames together give to the position, 0 to 1.
    pub probability: f64,
}

impl r2former_fix {
    fn of(document: &str) -> Result<Self, Failure> {
        let document: Value = match serde_json::from_str(document) {
            Ok(document) => document,
            Err(error) => return Err(Failure::request(format!("document: is no answer: {error}"))),
        };
        let answer = &document["answers"][0];
        let status = match answer["status"].as_str() {
            Some("answered") => R2FORMER_ANSWERED,
            Some("not_in_index") => R2FORMER_NOT_IN_INDEX,
            Some("no_match") => R2FORMER_NO_MATCH,
            Some("unreadable") => R2FORMER_UNREADABLE,
            _ => return Err(Failure::request("document: has no answer")),
        };
        let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
        let either = |a: &Value, b: &Value| a.as_f64().or(b.as_f64()).unwrap_or(f64::NAN);
        let count = |value: &Value| value.as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
        let estimate = &answer["estimate"];
        let (ellipse, first) = (&estimate["ellipse"], &answer["matches"][0]);
        let fused = document.get("fix");
        let at = fused.map_or(&estimate["weighted"], |fix| &fix["position"]);
        Ok(Self {
            status,
            agreeing: count(&estimate["agreeing"]),
            considered: count(&estimate["considered"]),
            latitude: either(&at["lat"], &at["y"]),
            longitude: either(&at["lon"], &at["x"]),
            z: number(&at["z"]),
            heading: number(&estimate["heading"]),
            confidence: number(&answer["confidence"]),
            similarity: number(&first["similarity"]),
            score: number(&first["score"]),
            spread_m: number(&estimate["spread_m"]),
            major_m: number(&ellipse["major_m"]),
            minor_m: number(&ellipse["minor_m"]),
            angle_deg: number(&ellipse["angle_deg"]),
            probability: fused.map_or(f64::NAN, |fix| number(&fix["probability"])),
        })
    }
}

/// The first answer of a document of `r2former_locate` as numbers, or the fix of one of `r2former_sequence_push`, whose
/// status is that of the frame alone. Returns 1, or 0 where it is no such document.
///
/// # Safety
/// `document` is text that ends with 0; `fix` is NULL or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn r2former_fix_of(document: *const c_char, fix: *mut r2former_fix) -> c_int {
    let made = guard(|| {
        // SAFETY: as the caller promises.
        let made = r2former_fix::of(unsafe { text("document", document) }?)?;
        if fix.is_null() {
            return Err(Failure::request("fix: is NULL"));
        }
        // SAFETY: as the caller promises; nothing is read from it.
        unsafe { fix.write(made) };
        Ok(())
    });
    c_int::from(made.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_become_numbers() {
        let fix = r2former_fix::of(
            r#"{"answers": [{"status": "answered", "confidence": null, "matches": [{"similarity": 0.5, "score": 7}],
               "estimate": {"best": {}, "weighted": {"lat": 52.5, "lon": -1}, "heading": 90.0, "ellipse": null,
               "agreeing": 3, "considered": 10, "spread_m": 4.5}}]}"#,
        )
        .expect("an answer");
        assert_eq!((fix.status, fix.agreeing, fix.considered), (R2FORMER_ANSWERED, 3, 10));
        assert_eq!((fix.latitude, fix.longitude, fix.heading), (52.5, -1.0, 90.0));
        assert_eq!((fix.similarity, fix.score, fix.spread_m), (0.5, 7.0, 4.5));
        assert!(
            fix.confidence.is_nan() && fix.z.is_nan() && fix.major_m.is_nan() && fix.probability.is_nan()
        );
        let frame = r2former_fix::of(
            r#"{"answers": [{"status": "unreadable"}], "frame": 2,
               "fix": {"place": {}, "position": {"x": 1.5, "y": -2, "z": null}, "probability": 0.75}}"#,
        )
        .expect("a frame");
        assert_eq!((frame.status, frame.longitude, frame.latitude), (R2FORMER_UNREADABLE, 1.5, -2.0));
        assert!(frame.probability == 0.75 && frame.z.is_nan());
        // Before the first candidate.
        let lost =
            r2former_fix::of(r#"{"answers": [{"status": "no_match"}], "fix": null}"#).expect("a frame");
        assert!(lost.latitude.is_nan() && lost.probability.is_nan());
        let none = r2former_fix::of(r#"{"answers": [{"status": "unreadable"}]}"#).expect("an answer");
        assert!(none.status == R2FORMER_UNREADABLE && none.latitude.is_nan() && none.agreeing == 0);
        for bad in ["", "{}", "[]", r#"{"answers": []}"#] {
            assert!(r2former_fix::of(bad).is_err(), "{bad}");
        }
    }
}
