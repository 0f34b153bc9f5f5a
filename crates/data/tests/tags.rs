//! EXIF: what is written is read again, and what cannot be is refused by name.

use exif::experimental::Writer;
use exif::{Field, In, Rational, Tag, Value};
use proptest::prelude::*;
use r2former_data::LatLon;
use r2former_data::image::{Limits, PhotoTags, Rgb8, decode_bytes, jpeg_with_tags, read_tags, tags_of_bytes};
use std::path::Path;

fn picture() -> Rgb8 {
    Rgb8 { width: 20, height: 10, pixels: (0..600).map(|i| (i % 251) as u8).collect() }
}

/// A JPEG with hand-picked EXIF fields.
fn with_fields(fields: Vec<(Tag, Value)>) -> Vec<u8> {
    let fields: Vec<Field> =
        fields.into_iter().map(|(tag, value)| Field { tag, ifd_num: In::PRIMARY, value }).collect();
    let mut writer = Writer::new();
    fields.iter().for_each(|f| writer.push_field(f));
    let mut block = std::io::Cursor::new(b"Exif\0\0".to_vec());
    let mut tiff = std::io::Cursor::new(Vec::new());
    writer.write(&mut tiff, true).expect("EXIF");
    block.get_mut().extend(tiff.into_inner());
    let block = block.into_inner();
    let plain = jpeg_with_tags(&picture(), 90, &PhotoTags::default()).expect("a JPEG");
    let length = u16::try_from(block.len() + 2).expect("a short block").to_be_bytes();
    [&plain[..2], &[0xff, 0xe1], &length, &block, &plain[2..]].concat()
}

fn text(s: &str) -> Value {
    Value::Ascii(vec![s.as_bytes().to_vec()])
}

fn ratios(parts: &[(u32, u32)]) -> Value {
    Value::Rational(parts.iter().map(|&(num, denom)| Rational { num, denom }).collect())
}

fn place(lat: &[(u32, u32)], side: &str) -> Vec<(Tag, Value)> {
    vec![
        (Tag::GPSLatitude, ratios(lat)),
        (Tag::GPSLatitudeRef, text(side)),
        (Tag::GPSLongitude, ratios(&[(2, 1), (30, 1), (0, 1)])),
        (Tag::GPSLongitudeRef, text("W")),
    ]
}

fn read(fields: Vec<(Tag, Value)>) -> Result<PhotoTags, String> {
    tags_of_bytes(&with_fields(fields), Path::new("x.jpg")).map_err(|e| e.to_string())
}

#[test]
fn a_photograph_that_says_nothing() {
    let plain = jpeg_with_tags(&picture(), 90, &PhotoTags::default()).expect("a JPEG");
    assert_eq!(tags_of_bytes(&plain, Path::new("x")).expect("no tags"), PhotoTags::default());
    assert_eq!(read(vec![(Tag::Make, text("Camera"))]), Ok(PhotoTags::default()));
    for file in ["png_rgb.png", "webp_lossy.webp", "bmp.bmp", "ppm.ppm"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity").join(file);
        assert_eq!(read_tags(&path).expect(file), PhotoTags::default(), "{file}");
    }
}

#[test]
fn places_and_times_as_cameras_write_them() {
    let mut fields = place(&[(51, 1), (30, 1), (36, 1)], "s");
    fields.push((Tag::GPSImgDirection, ratios(&[(3600, 10)])));
    fields.push((Tag::GPSImgDirectionRef, text("M")));
    fields.push((Tag::GPSAltitude, ratios(&[(125, 10)])));
    fields.push((Tag::GPSAltitudeRef, Value::Byte(vec![1])));
    fields.push((Tag::DateTimeOriginal, text("2024:07:01 01:30:00")));
    fields.push((Tag::OffsetTimeOriginal, text("+02:00")));
    let tags = read(fields).expect("tags");
    let position = tags.position.expect("a position");
    assert!((position.lat + 51.51).abs() < 1e-12 && (position.lon + 2.5).abs() < 1e-12, "{position:?}");
    assert_eq!((tags.heading, tags.altitude), (Some(0.0), Some(-12.5)));
    assert_eq!(tags.time, Some(1_719_790_200));

    let local = read(vec![(Tag::DateTimeOriginal, text("2024:07:01 01:30:00"))]).expect("tags");
    assert_eq!(local.time, None, "a local time of unknown zone");
    let gps = read(vec![
        (Tag::DateTimeOriginal, text("2024:07:01 01:30:00")),
        (Tag::GPSDateStamp, text("2024:06:30")),
        (Tag::GPSTimeStamp, ratios(&[(23, 1), (30, 1), (0, 1)])),
    ]);
    assert_eq!(gps.expect("tags").time, Some(1_719_790_200));
}

#[test]
fn impossible_values_are_named() {
    let good = [(51, 1), (30, 1), (0, 1)];
    let with = |tag, value| [place(&good, "N"), vec![(tag, value)]].concat();
    let mut no_side = place(&good, "N");
    no_side.remove(1);
    for (fields, words) in [
        (place(&[(91, 1), (0, 1), (0, 1)], "N"), "latitude 91"),
        (place(&[(51, 1), (30, 0), (0, 1)], "N"), "GPSLatitude is 30/0"),
        (place(&[(0, 0), (0, 0), (0, 0)], "N"), "GPSLatitude is 0/0"),
        (place(&[(51, 1), (30, 1)], "N"), "GPSLatitude has 2 of 3"),
        (place(&good, "Q"), "GPSLatitudeRef is \"Q\""),
        (no_side, "no GPSLatitudeRef"),
        (place(&good, "N").split_off(2), "no GPSLatitude"),
        (with(Tag::GPSImgDirection, ratios(&[(361, 1)])), "GPSImgDirection is 361"),
        (with(Tag::GPSAltitude, ratios(&[(1, 0)])), "GPSAltitude is 1/0"),
        (
            vec![
                (Tag::DateTimeOriginal, text("2024:02:30 00:00:00")),
                (Tag::OffsetTimeOriginal, text("+00:00")),
            ],
            "2024:02:30",
        ),
    ] {
        let message = read(fields).expect_err(words);
        assert!(message.contains(words) && message.starts_with("x.jpg: its EXIF"), "{message}");
    }
}

#[test]
fn what_cannot_be_written_is_refused() {
    let refuse = |tags| jpeg_with_tags(&picture(), 90, &tags).expect_err("must be refused").to_string();
    let none = PhotoTags::default();
    assert!(refuse(PhotoTags { heading: Some(f64::NAN), ..none }).contains("heading NaN"));
    assert!(refuse(PhotoTags { heading: Some(-1.0), ..none }).contains("heading -1"));
    assert!(refuse(PhotoTags { altitude: Some(1e9), ..none }).contains("altitude"));
    assert!(refuse(PhotoTags { time: Some(i64::MAX), ..none }).contains("time"));
    assert!(
        refuse(PhotoTags { position: Some(LatLon { lat: 91.0, lon: 0.0 }), ..none }).contains("latitude")
    );
    assert!(jpeg_with_tags(&picture(), 0, &none).is_err());
    assert!(jpeg_with_tags(&Rgb8 { width: 3, ..picture() }, 90, &none).is_err());
}

proptest! {
    #[test]
    fn written_is_read(
        lat in -90.0..=90.0f64, lon in -180.0..=180.0f64, heading in 0.0..360.0f64,
        altitude in -500.0..9000.0f64, time in -2_000_000_000i64..4_000_000_000,
    ) {
        let tags = PhotoTags {
            position: Some(LatLon { lat, lon }),
            heading: Some(heading),
            altitude: Some(altitude),
            time: Some(time),
        };
        let bytes = jpeg_with_tags(&picture(), 95, &tags).unwrap();
        let back = tags_of_bytes(&bytes, Path::new("x")).unwrap();
        let position = back.position.unwrap();
        prop_assert!((position.lat - lat).abs() < 1e-10 && (position.lon - lon).abs() < 1e-10);
        let turn = (back.heading.unwrap() - heading).abs();
        prop_assert!(turn < 1e-6 || (turn - 360.0).abs() < 1e-6);
        prop_assert!((back.altitude.unwrap() - altitude).abs() < 1e-4);
        prop_assert_eq!(back.time, Some(time));
        let image = decode_bytes(&bytes, Path::new("x"), &Limits::default()).unwrap();
        prop_assert_eq!((image.width, image.height), (20, 10));
    }
}
