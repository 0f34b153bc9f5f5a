//! What a photograph says of where, which way and when it was taken: EXIF first, then XMP, then Mapillary's JSON.

use super::exif_tags::{self, Fields, Gps};
use super::format::{self, Format};
use super::metadata::{self, Metadata};
use super::open::{head_format, open};
use super::photo_tags::{PhotoTags, TagNote};
use super::xmp::Xmp;
use super::{Limits, mapillary};
use crate::photo::check_altitude;
use crate::{DataError, Result};
use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::Path;

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
    sound_tags(path).map_err(|problem| problem.of(path))
}

/// As [`read_tags`], of an image in memory; `name` stands for it in messages.
///
/// # Errors
/// As [`read_tags`].
pub fn tags_of_bytes(bytes: &[u8], name: &Path) -> Result<PhotoTags> {
    sound_tags_of_bytes(bytes, name).map_err(|problem| problem.of(name))
}

/// Why a photograph has no tags that can be used.
#[derive(Debug)]
pub(crate) enum TagProblem {
    /// The file cannot be read, or is no photograph.
    File(DataError),
    /// Its tags are damaged or impossible, which says nothing of its pixels.
    Tags(String),
}

impl TagProblem {
    fn of(self, name: &Path) -> DataError {
        match self {
            Self::File(error) => error,
            Self::Tags(problem) => DataError::image(name, problem),
        }
    }
}

impl From<DataError> for TagProblem {
    fn from(error: DataError) -> Self {
        Self::File(error)
    }
}

/// As [`read_tags`], with damage of the tags told from that of the file.
pub(crate) fn sound_tags(path: &Path) -> Result<PhotoTags, TagProblem> {
    let (file, _) = open(path, &Limits::default())?;
    let mut reader = BufReader::new(file);
    let format = head_format(&mut reader, path)?;
    tags_in(format, &mut reader, path)
}

/// As [`tags_of_bytes`], with damage of the tags told from that of the file.
pub(crate) fn sound_tags_of_bytes(bytes: &[u8], name: &Path) -> Result<PhotoTags, TagProblem> {
    Limits::default().check_bytes(name, bytes.len() as u64)?;
    tags_in(format::readable(bytes, name)?, &mut Cursor::new(bytes), name)
}

fn tags_in(format: Format, reader: &mut (impl BufRead + Seek), name: &Path) -> Result<PhotoTags, TagProblem> {
    interpret(metadata::read(format, reader, name)?).map_err(TagProblem::Tags)
}

fn interpret(metadata: Metadata) -> Result<PhotoTags, String> {
    let Metadata { exif, damage, xmp } = metadata;
    let fields = Fields(exif);
    let mut notes = Vec::new();
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
    if let Some(pose) = xmp.pose_heading() {
        // It is that of the panorama's middle, from true north.
        (tags.heading, tags.heading_ref) = (Some(pose), None);
    } else if tags.heading.is_none() {
        let found = xmp.heading().or_else(|| Some((xmp.gimbal_heading()?, None)));
        (tags.heading, tags.heading_ref) = (found.map(|f| f.0), found.and_then(|f| f.1));
    }
    if let Some(metres) = tags.altitude
        && let Err(why) = check_altitude(metres)
    {
        tags.altitude = None;
        // Without a position the photograph is left out, as above.
        if tags.position.is_some() {
            notes.push(TagNote::new("without altitude", format!("its altitude {metres} {why}")));
        }
    }
    tags.notes = notes;
    Ok(tags)
}
