//! What a photograph says of where, which way and when it was taken: EXIF first, then XMP, then Mapillary's JSON.

use super::decode::{head_format, open};
use super::exif_tags::{self, Fields, Gps};
use super::format::{self, Format};
use super::metadata::{self, Metadata};
use super::xmp::Xmp;
use super::{Limits, mapillary};
use crate::{DataError, LatLon, Photo, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::{Path, PathBuf};

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
    /// Viewing direction, degrees clockwise from north, 0 up to but excluding 360: GPSImgDirection, else a DJI
    /// gimbal's yaw. A direction from magnetic north is not corrected; see `heading_ref`.
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
            position: self.position,
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

/// Reads a photograph's tags; pixels are not decoded. Without metadata all fields are `None`.
///
/// A damaged tag beside the position (altitude, direction, date, time) is left out with a note. EXIF's position counts;
/// where there is none, or a damaged one, that of XMP or of Mapillary's JSON in ImageDescription.
///
/// # Errors
/// [`DataError::Io`] for a file that cannot be read; [`DataError::Image`] for one that is not an image, or whose only
/// position is damaged or impossible (latitude 91, a rational with denominator 0, a hemisphere that is neither N nor
/// S); the message names the tag.
pub fn read_tags(path: &Path) -> Result<PhotoTags> {
    let (file, _) = open(path, &Limits::default())?;
    let mut reader = BufReader::new(file);
    let format = head_format(&mut reader, path)?;
    tags_in(format, &mut reader, path)
}

/// As [`read_tags`], of an image in memory; `name` stands for it in messages.
///
/// # Errors
/// As [`read_tags`].
pub fn tags_of_bytes(bytes: &[u8], name: &Path) -> Result<PhotoTags> {
    Limits::default().check_bytes(name, bytes.len() as u64)?;
    tags_in(format::readable(bytes, name)?, &mut Cursor::new(bytes), name)
}

fn tags_in(format: Format, reader: &mut (impl BufRead + Seek), name: &Path) -> Result<PhotoTags> {
    interpret(metadata::read(format, reader, name)?).map_err(|problem| DataError::image(name, problem))
}

fn interpret(metadata: Metadata) -> Result<PhotoTags, String> {
    let Metadata { exif, damage, xmp } = metadata;
    let fields = Fields(exif);
    let mut notes = Vec::new();
    let damage = damage.map(|e| format!("its EXIF block is damaged: {e}"));
    let exif = damage.map_or_else(|| exif_tags::position(&fields), Err);
    let xmp = Xmp(xmp.as_deref().unwrap_or_default());
    let (from_xmp, bad_xmp) = match xmp.position() {
        Ok(position) => (position, None),
        Err(problem) => (None, Some(problem)),
    };
    let mut tags = match exif {
        Ok(Gps::At(position)) => {
            let mut tags = exif_tags::beside_position(&fields, &mut notes);
            tags.position = Some(position);
            tags
        }
        other => {
            let reason = match &other {
                Err(problem) => problem.clone(),
                Ok(Gps::Blank(why)) => why.clone(),
                _ => "its EXIF has none".to_owned(),
            };
            let mapillary = || fields.text(exif::Tag::ImageDescription).and_then(|d| mapillary::tags(&d));
            if let Some(position) = from_xmp {
                notes.push(TagNote::new("with a position from XMP", reason));
                let mut tags = exif_tags::beside_position(&fields, &mut notes);
                tags.position = Some(position);
                tags.altitude = tags.altitude.or_else(|| xmp.altitude());
                tags
            } else if let Some(found) = mapillary() {
                notes.push(TagNote::new("with a position from Mapillary's ImageDescription", reason));
                let own = exif_tags::beside_position(&fields, &mut notes);
                let (heading, heading_ref) = match found.heading {
                    Some(_) => (found.heading, found.heading_ref),
                    None => (own.heading, own.heading_ref),
                };
                PhotoTags {
                    heading,
                    heading_ref,
                    altitude: found.altitude.or(own.altitude),
                    time: own.time.or(found.time),
                    ..found
                }
            } else {
                let mut tags = exif_tags::beside_position(&fields, &mut notes);
                match other {
                    Ok(Gps::Blank(why)) => tags.no_position = Some(why),
                    Err(problem) => return Err(problem),
                    Ok(_) => tags.no_position = bad_xmp,
                }
                // Without a position the photograph is left out: one reason is enough.
                notes.clear();
                tags
            }
        }
    };
    if tags.heading.is_none() {
        let found = xmp.heading().or_else(|| Some((xmp.gimbal_heading()?, None)));
        (tags.heading, tags.heading_ref) = (found.map(|f| f.0), found.and_then(|f| f.1));
    }
    tags.notes = notes;
    Ok(tags)
}
