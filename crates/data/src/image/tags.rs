//! What a photograph's EXIF says of where, which way and when it was taken.

use super::decode::{head_format, open};
use super::format::{self, Format};
use super::{Limits, time};
use crate::{DataError, LatLon, Result};
use exif::{Exif, In, Reader, Tag, Value};
use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::Path;

/// Place, direction and time of a photograph; none for what it does not say.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PhotoTags {
    /// WGS84 position (GPSLatitude, GPSLongitude).
    pub position: Option<LatLon>,
    /// Viewing direction, degrees clockwise from north, 0 up to but excluding 360 (GPSImgDirection).
    /// Directions from magnetic north (GPSImgDirectionRef M) are taken as they are: the declination,
    /// some degrees nearly everywhere that people live, is not corrected.
    pub heading: Option<f64>,
    /// Metres above sea level, negative below (GPSAltitude).
    pub altitude: Option<f64>,
    /// Seconds since 1970-01-01 UTC: DateTimeOriginal when OffsetTimeOriginal states its zone, else
    /// the GPS receiver's date and time. A local time of unknown zone is not a time, so none.
    pub time: Option<i64>,
}

/// Reads a photograph's tags; pixels are not decoded. Without EXIF all fields are none.
///
/// # Errors
/// [`DataError::Io`] for a file that cannot be read; [`DataError::Image`] for one that is not an
/// image, whose EXIF block is damaged, or whose GPS values are impossible (latitude 91, a rational
/// with denominator 0, a hemisphere that is neither N nor S); the message names the tag.
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
    tags_in(format::recognise(bytes, name)?, &mut Cursor::new(bytes), name)
}

fn tags_in(format: Format, reader: &mut (impl BufRead + Seek), name: &Path) -> Result<PhotoTags> {
    if matches!(format, Format::Bmp | Format::Pnm) {
        return Ok(PhotoTags::default());
    }
    // Damage in one tag (often a maker's own) leaves the others readable.
    let read = Reader::new().continue_on_error(true).read_from_container(reader);
    let exif = match read.or_else(|e| e.distill_partial_result(|_| ())) {
        Ok(exif) => exif,
        Err(exif::Error::NotFound(_)) => return Ok(PhotoTags::default()),
        Err(exif::Error::Io(e)) if e.kind() != std::io::ErrorKind::UnexpectedEof => {
            return Err(DataError::io(name, e));
        }
        Err(e) => return Err(DataError::image(name, format!("its EXIF block is damaged: {e}"))),
    };
    interpret(&Fields(exif)).map_err(|problem| DataError::image(name, problem))
}

fn interpret(fields: &Fields) -> Result<PhotoTags, String> {
    Ok(PhotoTags {
        position: position(fields)?,
        heading: heading(fields)?,
        altitude: altitude(fields)?,
        time: match original_time(fields)? {
            Some(time) => Some(time),
            None => gps_time(fields)?,
        },
    })
}

/// The fields of the main image, by tag.
struct Fields(Exif);

impl Fields {
    fn value(&self, tag: Tag) -> Option<&Value> {
        self.0.get_field(tag, In::PRIMARY).map(|field| &field.value)
    }

    /// A text without padding; none when absent or blank.
    fn text(&self, tag: Tag) -> Option<String> {
        let Value::Ascii(lines) = self.value(tag)? else { return None };
        let text = String::from_utf8_lossy(lines.first()?);
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// `N` rationals as numbers.
    fn rationals<const N: usize>(&self, tag: Tag) -> Result<Option<[f64; N]>, String> {
        let Some(value) = self.value(tag) else { return Ok(None) };
        let Value::Rational(all) = value else {
            return Err(format!("its EXIF {tag} is not a rational number"));
        };
        if all.len() < N {
            return Err(format!("its EXIF {tag} has {} of {N} numbers", all.len()));
        }
        if let Some(bad) = all[..N].iter().find(|r| r.denom == 0) {
            return Err(format!("its EXIF {tag} is {}/0, which is no number", bad.num));
        }
        Ok(Some(std::array::from_fn(|i| all[i].to_f64())))
    }
}

fn position(fields: &Fields) -> Result<Option<LatLon>, String> {
    let lat = angle(fields, Tag::GPSLatitude, Tag::GPSLatitudeRef, ["N", "S"])?;
    let lon = angle(fields, Tag::GPSLongitude, Tag::GPSLongitudeRef, ["E", "W"])?;
    match (lat, lon) {
        (Some(lat), Some(lon)) => {
            LatLon::new(lat, lon).map(Some).map_err(|e| format!("its EXIF GPS position is impossible: {e}"))
        }
        (None, None) => Ok(None),
        (Some(_), None) => Err("its EXIF has GPSLatitude but no GPSLongitude".into()),
        (None, Some(_)) => Err("its EXIF has GPSLongitude but no GPSLatitude".into()),
    }
}

/// Degrees, minutes and seconds with their hemisphere, as signed degrees.
fn angle(
    fields: &Fields,
    tag: Tag,
    hemisphere: Tag,
    [plus, minus]: [&str; 2],
) -> Result<Option<f64>, String> {
    let Some([degrees, minutes, seconds]) = fields.rationals(tag)? else { return Ok(None) };
    let size = degrees + minutes / 60.0 + seconds / 3600.0;
    match fields.text(hemisphere) {
        Some(side) if side.eq_ignore_ascii_case(plus) => Ok(Some(size)),
        Some(side) if side.eq_ignore_ascii_case(minus) => Ok(Some(-size)),
        Some(side) => Err(format!("its EXIF {hemisphere} is \"{side}\", expected {plus} or {minus}")),
        None => Err(format!("its EXIF has {tag} but no {hemisphere} ({plus} or {minus})")),
    }
}

fn heading(fields: &Fields) -> Result<Option<f64>, String> {
    let Some([degrees]) = fields.rationals(Tag::GPSImgDirection)? else { return Ok(None) };
    if let Some(north) = fields.text(Tag::GPSImgDirectionRef)
        && !north.eq_ignore_ascii_case("T")
        && !north.eq_ignore_ascii_case("M")
    {
        return Err(format!("its EXIF GPSImgDirectionRef is \"{north}\", expected T (true) or M (magnetic)"));
    }
    if !(0.0..=360.0).contains(&degrees) {
        return Err(format!("its EXIF GPSImgDirection is {degrees}, expected 0 to 360 degrees"));
    }
    Ok(Some(degrees % 360.0))
}

fn altitude(fields: &Fields) -> Result<Option<f64>, String> {
    let Some([metres]) = fields.rationals(Tag::GPSAltitude)? else { return Ok(None) };
    // 0 and 2 are above the sea and the ellipsoid, 1 and 3 below.
    let below =
        fields.value(Tag::GPSAltitudeRef).and_then(|v| v.get_uint(0)).is_some_and(|side| side % 2 == 1);
    Ok(Some(if below { -metres } else { metres }))
}

/// DateTimeOriginal, where its offset from UTC is stated too.
fn original_time(fields: &Fields) -> Result<Option<i64>, String> {
    let (Some(text), Some(offset)) =
        (fields.text(Tag::DateTimeOriginal), fields.text(Tag::OffsetTimeOriginal))
    else {
        return Ok(None);
    };
    // Cameras whose clock was never set write blanks or zeros.
    if text.starts_with("0000") || offset.trim_matches([':', ' ']).is_empty() {
        return Ok(None);
    }
    let read = || {
        let (date, clock) = text.split_once(' ')?;
        let local = time::seconds(numbers(date)?, numbers(clock)?)?;
        let (sign, size) = match offset.as_bytes() {
            b"Z" => (0, "00:00"),
            [b'+', ..] => (1, &offset[1..]),
            [b'-', ..] => (-1, &offset[1..]),
            _ => return None,
        };
        let [hours, minutes] = numbers(size)?;
        (hours <= 14 && minutes < 60).then_some(local - sign * (hours * 3600 + minutes * 60))
    };
    read().map(Some).ok_or_else(|| {
        format!("its EXIF DateTimeOriginal \"{text}\" with OffsetTimeOriginal \"{offset}\" is not a time")
    })
}

/// The receiver's date and time, which are in UTC.
fn gps_time(fields: &Fields) -> Result<Option<i64>, String> {
    let Some(date) = fields.text(Tag::GPSDateStamp) else { return Ok(None) };
    let Some(clock) = fields.rationals(Tag::GPSTimeStamp)? else { return Ok(None) };
    // Some receivers write hyphens for the colons that the standard asks for.
    numbers(&date.replace('-', ":"))
        .and_then(|date| time::seconds(date, clock.map(|part| part as i64)))
        .map(Some)
        .ok_or_else(|| format!("its EXIF GPSDateStamp \"{date}\" with GPSTimeStamp {clock:?} is not a time"))
}

/// `N` whole numbers between colons.
fn numbers<const N: usize>(text: &str) -> Option<[i64; N]> {
    let mut out = [0; N];
    let mut parts = text.split(':');
    for slot in &mut out {
        let part = parts.next()?;
        *slot = i64::from(part.parse::<u16>().ok()?);
    }
    parts.next().is_none().then_some(out)
}
