//! A JPEG that says where, which way and when it was taken.

use super::{HeadingReference, PhotoTags, Rgb8, time};
use crate::{DataError, LatLon, Result};
use ::image::codecs::jpeg::JpegEncoder;
use ::image::{ExtendedColorType, ImageEncoder};
use exif::experimental::Writer;
use exif::{Field, In, Rational, Tag, Value};
use std::io::Cursor;

/// Encodes an image as a baseline JPEG with the tags in its EXIF; `quality` from 1 to 100.
///
/// Positions are stored to a ten-millionth of a second of arc, headings to a millionth of a degree,
/// altitudes to a tenth of a millimetre, times to the second (as UTC).
///
/// # Errors
/// [`DataError::Request`] for an image that contradicts itself or has a side beyond 65,535 pixels, a
/// quality outside 1 to 100, or a tag that is not finite or outside its range;
/// [`DataError::Position`] for a position off the Earth.
pub fn jpeg_with_tags(rgb: &Rgb8, quality: u8, tags: &PhotoTags) -> Result<Vec<u8>> {
    rgb.check()?;
    if !(1..=100).contains(&quality) {
        return Err(DataError::Request(format!("JPEG quality {quality} is outside 1 to 100")));
    }
    let failed = |e: &dyn std::fmt::Display| {
        DataError::Request(format!("cannot encode {} x {} pixels as JPEG: {e}", rgb.width, rgb.height))
    };
    let side = |n: usize| u16::try_from(n).map(u32::from).map_err(|e| failed(&e));
    let (width, height) = (side(rgb.width)?, side(rgb.height)?);
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
    let fields = fields(tags)?;
    if !fields.is_empty() {
        let mut block = Cursor::new(Vec::new());
        let mut writer = Writer::new();
        fields.iter().for_each(|field| writer.push_field(field));
        writer.write(&mut block, false).map_err(|e| failed(&e))?;
        encoder.set_exif_metadata(block.into_inner()).map_err(|e| failed(&e))?;
    }
    encoder.write_image(&rgb.pixels, width, height, ExtendedColorType::Rgb8).map_err(|e| failed(&e))?;
    Ok(bytes)
}

/// The EXIF fields that state some tags.
fn fields(tags: &PhotoTags) -> Result<Vec<Field>> {
    let mut out = Vec::new();
    let mut push = |tag, value| out.push(Field { tag, ifd_num: In::PRIMARY, value });
    if let Some(position) = tags.position {
        let LatLon { lat, lon } = LatLon::new(position.lat, position.lon)?;
        push(Tag::GPSLatitudeRef, text(if lat < 0.0 { "S" } else { "N" }));
        push(Tag::GPSLatitude, angle(lat));
        push(Tag::GPSLongitudeRef, text(if lon < 0.0 { "W" } else { "E" }));
        push(Tag::GPSLongitude, angle(lon));
    }
    if let Some(heading) = tags.heading {
        let north = tags.heading_ref.unwrap_or(HeadingReference::True);
        push(Tag::GPSImgDirectionRef, text(if north == HeadingReference::Magnetic { "M" } else { "T" }));
        push(
            Tag::GPSImgDirection,
            Value::Rational(vec![rational("heading", heading, 0.0..=360.0, 1_000_000)?]),
        );
    }
    if let Some(metres) = tags.altitude {
        let size = rational("altitude", metres.abs(), 0.0..=400_000.0, 10_000)?;
        push(Tag::GPSAltitudeRef, Value::Byte(vec![u8::from(metres < 0.0)]));
        push(Tag::GPSAltitude, Value::Rational(vec![size]));
    }
    if let Some(metres) = tags.position_error {
        let error = rational("position error", metres, 0.0..=400_000.0, 1000)?;
        push(Tag::GPSHPositioningError, Value::Rational(vec![error]));
    }
    if let Some(method) = &tags.position_method {
        push(Tag::GPSProcessingMethod, Value::Undefined([b"ASCII\0\0\0", method.as_bytes()].concat(), 0));
    }
    if let Some(seconds) = tags.time {
        let ([year, month, day], [hour, minute, second]) = time::civil(seconds).ok_or_else(|| {
            DataError::Request(format!("time {seconds} s since 1970 is outside the years 1 to 9999"))
        })?;
        let stamp = format!("{year:04}:{month:02}:{day:02} {hour:02}:{minute:02}:{second:02}");
        push(Tag::DateTimeOriginal, text(&stamp));
        push(Tag::OffsetTimeOriginal, text("+00:00"));
    }
    Ok(out)
}

fn text(s: &str) -> Value {
    Value::Ascii(vec![s.as_bytes().to_vec()])
}

/// Degrees, minutes and seconds of an angle's size; rounded once, so that no part reaches 60.
fn angle(degrees: f64) -> Value {
    const FRACTION: u64 = 10_000_000;
    let ticks = (degrees.abs() * 3600.0 * FRACTION as f64).round() as u64;
    let (minutes, rest) = (ticks / (60 * FRACTION), ticks % (60 * FRACTION));
    let whole = |n: u64| Rational { num: n as u32, denom: 1 };
    Value::Rational(vec![
        whole(minutes / 60),
        whole(minutes % 60),
        Rational { num: rest as u32, denom: FRACTION as u32 },
    ])
}

fn rational(what: &str, value: f64, range: std::ops::RangeInclusive<f64>, denom: u32) -> Result<Rational> {
    if !range.contains(&value) {
        return Err(DataError::Request(format!(
            "{what} {value} is outside {} to {}",
            range.start(),
            range.end()
        )));
    }
    Ok(Rational { num: (value * f64::from(denom)).round() as u32, denom })
}
