//! The types of a photograph's tags.

use crate::{LatLon, Photo};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Which north a heading is measured from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadingReference {
    /// Geographic north.
    True,
    /// Magnetic north: off by the declination, some degrees nearly everywhere that people live.
    Magnetic,
}

impl HeadingReference {
    /// `T` or `M`, as in GPSImgDirectionRef; the first letter counts.
    pub(super) fn of(text: &str) -> Option<Self> {
        match text.trim_start().chars().next()?.to_ascii_uppercase() {
            'T' => Some(Self::True),
            'M' => Some(Self::Magnetic),
            _ => None,
        }
    }

    /// `true` or `magnetic`.
    pub fn name(self) -> &'static str {
        match self {
            Self::True => "true",
            Self::Magnetic => "magnetic",
        }
    }
}

/// Place, direction and time of a photograph; `None` for what it does not say.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PhotoTags {
    /// WGS84 position: EXIF's, else that of XMP (`exif:GPSLatitude`, a DJI drone's own), else of Mapillary's JSON.
    pub position: Option<LatLon>,
    /// Why there is no position although tags of one are there: all of them 0/0, or latitude and longitude exactly 0.
    pub no_position: Option<String>,
    /// Radius in metres that the position is said to be good to (GPSHPositioningError).
    pub position_error: Option<f64>,
    /// How the position was found: `GPS`, `CELLID`, `WLAN`, `MANUAL` and the like (GPSProcessingMethod).
    pub position_method: Option<String>,
    /// Viewing direction, degrees clockwise from north, 0 up to but excluding 360: of a panorama GPano's pose, else
    /// GPSImgDirection, else a DJI gimbal's yaw. A direction from magnetic north is not corrected; see `heading_ref`.
    pub heading: Option<f64>,
    /// Which north the heading is from, where that is stated.
    pub heading_ref: Option<HeadingReference>,
    /// Metres above sea level, negative below (GPSAltitude).
    pub altitude: Option<f64>,
    /// Seconds since 1970-01-01 UTC: DateTimeOriginal when its offset from UTC is stated, else the GPS receiver's date
    /// and time. A local time of unknown zone is not a time, so `None`.
    pub time: Option<i64>,
    /// Tags that were left out because they are damaged, and doubts about the position.
    pub notes: Vec<TagNote>,
}

impl PhotoTags {
    /// The photograph in a file with these tags; their notes are not kept.
    pub fn photo(self, path: impl Into<PathBuf>, name: impl Into<String>) -> Photo {
        Photo {
            position: self.position.map(Into::into),
            position_error: self.position_error,
            position_method: self.position_method,
            heading: self.heading,
            heading_ref: self.heading_ref,
            altitude: self.altitude,
            time: self.time,
            ..Photo::new(path, name)
        }
    }
}

/// A remark about a photograph's tags that does not cost it its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagNote {
    /// What photographs with this remark have in common: `without altitude`, `position from XMP`.
    pub kind: &'static str,
    /// The tag and its value.
    pub detail: String,
}

impl TagNote {
    pub(super) fn new(kind: &'static str, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }
}

/// One line for each kind of note: how many photographs have it, and the first of them with its detail.
///
/// ```
/// use r2former_data::image::{TagNote, summarise_notes};
/// let note = |detail: &str| TagNote { kind: "without altitude", detail: detail.into() };
/// let notes = [("a.jpg", note("its EXIF GPSAltitude is 0/0")), ("b.jpg", note("its EXIF GPSAltitude is 1/0"))];
/// let lines = summarise_notes(notes.iter().map(|(name, note)| (*name, note)));
/// assert_eq!(lines, ["2 photographs without altitude, the first a.jpg (its EXIF GPSAltitude is 0/0)"]);
/// ```
pub fn summarise_notes<'a>(notes: impl IntoIterator<Item = (&'a str, &'a TagNote)>) -> Vec<String> {
    let mut kinds: BTreeMap<&str, (usize, &str, &str)> = BTreeMap::new();
    for (name, note) in notes {
        kinds.entry(note.kind).or_insert((0, name, &note.detail)).0 += 1;
    }
    let line = |(kind, (count, name, detail)): (&str, (usize, &str, &str))| match count {
        1 => format!("1 photograph {kind}: {name} ({detail})"),
        _ => format!("{count} photographs {kind}, the first {name} ({detail})"),
    };
    kinds.into_iter().map(line).collect()
}
