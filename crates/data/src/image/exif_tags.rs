//! Position, direction, altitude and time in EXIF: only the position can fail, the rest is left out with a note.

use super::photo_tags::{HeadingReference, PhotoTags, TagNote};
use super::time;
use crate::LatLon;
use exif::{Exif, In, Tag, Value};

/// A position that is said to be good to no more metres than this gets a note.
const COARSE_M: f64 = 100.0;

/// The position of an EXIF block.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Gps {
    /// No tag of a position.
    Absent,
    /// Tags that say that there is none, and which.
    Blank(String),
    /// A position.
    At(LatLon),
}

/// The fields of the main image, by tag.
pub(super) struct Fields(pub(super) Option<Exif>);

impl Fields {
    fn value(&self, tag: Tag) -> Option<&Value> {
        self.0.as_ref()?.get_field(tag, In::PRIMARY).map(|field| &field.value)
    }

    /// A text without padding; `None` when absent or blank.
    pub(super) fn text(&self, tag: Tag) -> Option<String> {
        let bytes = match self.value(tag)? {
            Value::Ascii(lines) => lines.first()?,
            Value::Undefined(bytes, _) | Value::Byte(bytes) => bytes,
            _ => return None,
        };
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The first `N` numbers of a field of rationals.
    fn rationals<const N: usize>(&self, tag: Tag) -> Result<Option<[f64; N]>, String> {
        let Some(value) = self.value(tag) else { return Ok(None) };
        let Value::Rational(all) = value else {
            return Err(format!("its EXIF {tag} is not a rational number"));
        };
        if all.len() < N {
            return Err(format!("its EXIF {tag} has {} of {N} numbers", all.len()));
        }
        if let Some(bad) = all[..N].iter().find(|r| r.denom == 0) {
            return Err(format!("its EXIF {tag} is {}/0, which is not a number", bad.num));
        }
        Ok(Some(std::array::from_fn(|i| all[i].to_f64())))
    }

    /// Whether a field consists of 0/0, as a receiver that is switched off writes it, or of nothing.
    fn is_blank(&self, tag: Tag) -> bool {
        matches!(self.value(tag), Some(Value::Rational(all)) if all.iter().all(|r| r.num == 0 && r.denom == 0))
    }
}

/// The position.
///
/// # Errors
/// Names the tag that is damaged or makes no sense.
pub(super) fn position(fields: &Fields) -> Result<Gps, String> {
    let axes = [Tag::GPSLatitude, Tag::GPSLongitude];
    let [lat, lon] = axes.map(|tag| if fields.is_blank(tag) { None } else { Some(size(fields, tag)) });
    let (lat, lon) = match (lat, lon) {
        (None, None) => return Ok(Gps::Blank("its EXIF GPS position is 0/0: the camera knew none".into())),
        (Some(size), None) | (None, Some(size)) => match size? {
            // Half of it is zero or missing, the other half 0/0.
            None | Some(0.0) => {
                return Ok(Gps::Blank("its EXIF GPS position is 0/0: the camera knew none".into()));
            }
            Some(_) => return Err("its EXIF GPS position is 0/0 in latitude or longitude".into()),
        },
        (Some(lat), Some(lon)) => (lat?, lon?),
    };
    match (lat, lon) {
        (None, None) => Ok(Gps::Absent),
        // In the Atlantic, where nobody takes photographs: written for "unknown".
        (Some(0.0), Some(0.0)) => {
            Ok(Gps::Blank("its EXIF GPS position is exactly 0, 0, which cameras write for none".into()))
        }
        (Some(lat), Some(lon)) => {
            let lat = side(fields, Tag::GPSLatitude, Tag::GPSLatitudeRef, ['N', 'S'])? * lat;
            let lon = side(fields, Tag::GPSLongitude, Tag::GPSLongitudeRef, ['E', 'W'])? * lon;
            LatLon::new(lat, lon)
                .map(Gps::At)
                .map_err(|e| format!("its EXIF GPS position is impossible: {e}"))
        }
        (Some(_), None) => Err("its EXIF has GPSLatitude but no GPSLongitude".into()),
        (None, Some(_)) => Err("its EXIF has GPSLongitude but no GPSLatitude".into()),
    }
}

/// Degrees, minutes and seconds as degrees. 60 of the smaller ones is what rounding makes of 59.9999; more is no angle.
fn size(fields: &Fields, tag: Tag) -> Result<Option<f64>, String> {
    let Some([degrees, minutes, seconds]) = fields.rationals(tag)? else { return Ok(None) };
    for (what, value) in [("minutes", minutes), ("seconds", seconds)] {
        if value > 60.0 {
            return Err(format!("its EXIF {tag} has {value} {what}, expected 0 to 60"));
        }
    }
    Ok(Some(degrees + minutes / 60.0 + seconds / 3600.0))
}

/// 1 or -1 by the first letter of a hemisphere: `S`, `s`, `South`.
fn side(fields: &Fields, tag: Tag, hemisphere: Tag, [plus, minus]: [char; 2]) -> Result<f64, String> {
    let Some(text) = fields.text(hemisphere) else {
        return Err(match fields.value(hemisphere) {
            Some(value @ (Value::Byte(_) | Value::Short(_) | Value::Long(_))) => {
                let number = value.get_uint(0).unwrap_or(0);
                format!("its EXIF {hemisphere} is the number {number}, expected {plus} or {minus}")
            }
            _ => format!("its EXIF has {tag} but no {hemisphere} ({plus} or {minus})"),
        });
    };
    match text.chars().next().map(|c| c.to_ascii_uppercase()) {
        Some(first) if first == plus => Ok(1.0),
        Some(first) if first == minus => Ok(-1.0),
        _ => {
            Err(format!("its EXIF {hemisphere} is \"{}\", expected {plus} or {minus}", text.escape_default()))
        }
    }
}

/// Everything but the position; damage becomes a note.
pub(super) fn beside_position(fields: &Fields, notes: &mut Vec<TagNote>) -> PhotoTags {
    fn noted<T>(read: Result<Option<T>, String>, kind: &'static str, notes: &mut Vec<TagNote>) -> Option<T> {
        read.unwrap_or_else(|problem| {
            notes.push(TagNote::new(kind, problem));
            None
        })
    }
    let heading = noted(heading(fields), "without heading", notes);
    let altitude = noted(altitude(fields), "without altitude", notes);
    // A good time of the one kind makes up for a bad one of the other.
    let mut bad_times = Vec::new();
    let time = noted(original_time(fields), "without time", &mut bad_times)
        .or_else(|| noted(gps_time(fields), "without time", &mut bad_times));
    if time.is_none() {
        notes.extend(bad_times.into_iter().take(1));
    }
    doubts(fields, notes);
    let heading_ref =
        heading.and(fields.text(Tag::GPSImgDirectionRef)).and_then(|text| HeadingReference::of(&text));
    PhotoTags {
        heading,
        heading_ref,
        altitude,
        time,
        position_error: fields.rationals(Tag::GPSHPositioningError).ok().flatten().map(|[metres]| metres),
        position_method: method(fields),
        ..PhotoTags::default()
    }
}

/// Notes for positions that may be far from where the photograph was taken.
fn doubts(fields: &Fields, notes: &mut Vec<TagNote>) {
    if fields.text(Tag::GPSStatus).is_some_and(|status| status.to_ascii_uppercase().starts_with('V')) {
        notes.push(TagNote::new(
            "whose position may be an old one",
            "its EXIF GPSStatus is V: the receiver had no fix",
        ));
    }
    if let Some(datum) = fields.text(Tag::GPSMapDatum)
        && !is_wgs84(&datum)
    {
        notes.push(TagNote::new(
            "whose position is in another map datum, which may move it by hundreds of metres",
            format!("its EXIF GPSMapDatum is \"{}\", not WGS-84", datum.escape_default()),
        ));
    }
    if let Ok(Some([metres])) = fields.rationals(Tag::GPSHPositioningError)
        && metres > COARSE_M
    {
        notes.push(TagNote::new(
            "whose position is coarse",
            format!("its EXIF GPSHPositioningError is {metres} m"),
        ));
    }
}

/// WGS 84 in any spelling, and the systems that agree with it within a few metres.
fn is_wgs84(datum: &str) -> bool {
    let plain: String =
        datum.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
    ["WGS84", "WGS1984", "ETRS89", "GRS80", "NAD83", "JGD2000", "JGD2011", "GDA94", "GDA2020", "NZGD2000"]
        .iter()
        .any(|same| plain.starts_with(same))
        || plain.is_empty()
        || plain.starts_with("ITRF")
        || plain == "EPSG4326"
}

/// How the position was found, without the code of its characters.
fn method(fields: &Fields) -> Option<String> {
    let bytes = match fields.value(Tag::GPSProcessingMethod)? {
        Value::Undefined(bytes, _) | Value::Byte(bytes) => bytes.as_slice(),
        Value::Ascii(lines) => lines.first()?.as_slice(),
        _ => return None,
    };
    let code = bytes.get(..8).unwrap_or_default();
    let text = if code == b"UNICODE\0" {
        let units = bytes[8..].chunks_exact(2);
        // Whichever order has the zeros of Latin letters.
        let big = bytes.get(8) == Some(&0);
        let unit =
            |c: &[u8]| if big { u16::from_be_bytes([c[0], c[1]]) } else { u16::from_le_bytes([c[0], c[1]]) };
        String::from_utf16_lossy(&units.map(unit).collect::<Vec<_>>())
    } else {
        let coded = matches!(code, b"ASCII\0\0\0" | b"JIS\0\0\0\0\0" | [0, 0, 0, 0, 0, 0, 0, 0]);
        String::from_utf8_lossy(if coded { &bytes[8..] } else { bytes }).into_owned()
    };
    let printable: String = text.chars().filter(|c| !c.is_control()).take(64).collect();
    Some(printable.trim().to_owned()).filter(|text| !text.is_empty())
}

fn heading(fields: &Fields) -> Result<Option<f64>, String> {
    let Some([degrees]) = fields.rationals(Tag::GPSImgDirection)? else { return Ok(None) };
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
    let Some(text) = fields.text(Tag::DateTimeOriginal) else { return Ok(None) };
    // OffsetTime belongs to DateTime, the last change: it holds for the same clock reading alone.
    let unchanged = || fields.text(Tag::DateTime).as_ref() == Some(&text);
    let stated = fields.text(Tag::OffsetTimeOriginal).map(|offset| (Tag::OffsetTimeOriginal, offset));
    let Some((tag, offset)) =
        stated.or_else(|| Some((Tag::OffsetTime, fields.text(Tag::OffsetTime).filter(|_| unchanged())?)))
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
        format!(
            "its EXIF DateTimeOriginal \"{}\" with {tag} \"{}\" is not a time",
            text.escape_default(),
            offset.escape_default()
        )
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
        .ok_or_else(|| {
            format!(
                "its EXIF GPSDateStamp \"{}\" with GPSTimeStamp {clock:?} is not a time",
                date.escape_default()
            )
        })
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
