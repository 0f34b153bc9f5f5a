//! EXIF: what is written is read again, and what cannot be is refused by name.

use exif::experimental::Writer;
use exif::{Field, In, Rational, Tag, Value};
use proptest::prelude::*;
use r2former_data::LatLon;
use r2former_data::image::{
    HeadingReference, Limits, PhotoTags, Rgb8, TagNote, decode_bytes, jpeg_with_tags, read_tags,
    tags_of_bytes,
};
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

/// A good position with further fields.
fn beside(more: Vec<(Tag, Value)>) -> PhotoTags {
    let tags = read([place(&[(52, 1), (12, 1), (1944, 100)], "N"), more].concat()).expect("a good position");
    let position = tags.position.expect("a position");
    assert!((position.lat - 52.2054).abs() < 1e-9 && (position.lon + 2.5).abs() < 1e-9, "{position:?}");
    tags
}

fn kinds(tags: &PhotoTags) -> Vec<&str> {
    tags.notes.iter().map(|note| note.kind).collect()
}

/// Only the position itself can fail, and says which tag it was.
#[test]
fn a_damaged_position_is_named() {
    let good = [(51, 1), (30, 1), (0, 1)];
    let mut no_side = place(&good, "N");
    no_side.remove(1);
    let side = |value| {
        let mut fields = place(&good, "N");
        fields[1].1 = value;
        fields
    };
    let mut half = place(&good, "N");
    half[2].1 = ratios(&[(0, 0), (0, 0), (0, 0)]);
    for (fields, words) in [
        (place(&[(91, 1), (0, 1), (0, 1)], "N"), "latitude 91"),
        (place(&[(51, 1), (30, 0), (0, 1)], "N"), "GPSLatitude is 30/0"),
        (place(&[(51, 1), (0, 0), (0, 1)], "N"), "GPSLatitude is 0/0"),
        (place(&[(51, 1), (30, 1)], "N"), "GPSLatitude has 2 of 3"),
        (place(&good, "Q"), "GPSLatitudeRef is \"Q\""),
        (place(&good, ""), "no GPSLatitudeRef"),
        (side(Value::Byte(vec![0])), "GPSLatitudeRef is the number 0"),
        (side(Value::Byte(vec![1])), "GPSLatitudeRef is"),
        (side(Value::Short(vec![1])), "GPSLatitudeRef is the number 1"),
        (no_side, "no GPSLatitudeRef"),
        (half, "0/0 in latitude or longitude"),
        (place(&good, "N").split_off(2), "no GPSLatitude"),
    ] {
        let message = read(fields).expect_err(words);
        assert!(message.contains(words) && message.starts_with("x.jpg: its EXIF"), "{message}");
    }
}

/// The first letter of the hemisphere counts.
#[test]
fn minutes_and_seconds_end_at_60() {
    let lat = |parts| read(place(parts, "N")).map(|tags| tags.position.expect("a position").lat);
    assert_eq!(lat(&[(52, 1), (59, 1), (60, 1)]), Ok(53.0));
    for (parts, wanted) in [
        (&[(52, 1), (75, 1), (0, 1)], "GPSLatitude has 75 minutes, expected 0 to 60"),
        (&[(52, 1), (12, 1), (6001, 100)], "GPSLatitude has 60.01 seconds"),
    ] {
        let said = lat(parts).expect_err("no angle");
        assert!(said.contains(wanted), "{said}");
    }
}

#[test]
fn a_cut_file_is_not_called_damaged_exif() {
    for file in ["png_rgb.png", "webp_lossy.webp"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity").join(file);
        let bytes = std::fs::read(&path).expect("a test image");
        let said = tags_of_bytes(&bytes[..bytes.len() / 2], Path::new("x")).expect_err("cut").to_string();
        assert!(said.starts_with("x: is cut short or damaged") && !said.contains("EXIF block"), "{said}");
    }
}

#[test]
fn hemispheres_by_their_first_letter() {
    for (side, sign) in
        [("N", 1.0), ("n", 1.0), ("North", 1.0), ("S", -1.0), ("s", -1.0), ("South", -1.0), ("SOUTH", -1.0)]
    {
        let tags = read(place(&[(51, 1), (30, 1), (36, 1)], side)).expect(side);
        assert!((tags.position.expect(side).lat - sign * 51.51).abs() < 1e-12, "{side}");
    }
    let mut letter = place(&[(51, 1), (30, 1), (36, 1)], "N");
    letter[1].1 = Value::Byte(b"S\0".to_vec());
    assert!(read(letter).expect("a letter").position.expect("a position").lat < 0.0);
}

/// No position is not damage.
#[test]
fn no_position_is_not_damage() {
    let none = |fields: Vec<(Tag, Value)>, words: &str| {
        let tags = read(fields).expect("no damage");
        assert_eq!(tags.position, None);
        assert!(tags.no_position.as_ref().is_some_and(|why| why.contains(words)), "{tags:?}");
    };
    let blank = [(0, 0), (0, 0), (0, 0)];
    let zero = [(0, 1), (0, 1), (0, 100)];
    let both = |lat: &[(u32, u32)], lon: &[(u32, u32)]| {
        vec![(Tag::GPSLatitude, ratios(lat)), (Tag::GPSLongitude, ratios(lon))]
    };
    let sides = || vec![(Tag::GPSLatitudeRef, text("N")), (Tag::GPSLongitudeRef, text("E"))];
    none([both(&blank, &blank), sides()].concat(), "0/0");
    none(both(&blank, &blank), "0/0");
    none(both(&blank, &zero), "0/0");
    none(both(&blank, &blank)[..1].to_vec(), "0/0");
    none([both(&zero, &zero), sides()].concat(), "exactly 0, 0");
    none(both(&zero, &zero), "exactly 0, 0");
    // With other damage beside it, too.
    none(
        [both(&blank, &blank), vec![(Tag::GPSAltitude, ratios(&[(0, 0)])), (Tag::GPSDateStamp, text(""))]]
            .concat(),
        "0/0",
    );
    let untagged = read(vec![(Tag::Make, text("Camera"))]).expect("no damage");
    assert_eq!((untagged.position, untagged.no_position), (None, None));
    // The equator and Greenwich are places.
    for (lat, lon) in [(&zero, &[(7, 1), (0, 1), (0, 1)]), (&[(7, 1), (0, 1), (0, 1)], &zero)] {
        let tags = read([both(lat, lon), sides()].concat()).expect("a place");
        assert!(tags.position.is_some_and(|p| p.lat + p.lon == 7.0), "{tags:?}");
    }
}

/// Damage beside the position is a note.
#[test]
fn damage_beside_a_position_is_a_note() {
    let ratio = |tag, value: (u32, u32)| vec![(tag, ratios(&[value]))];
    let tags = beside(ratio(Tag::GPSAltitude, (65_535, 1)));
    assert_eq!((tags.altitude, kinds(&tags)), (None, vec!["without altitude"]));
    assert_eq!(tags.notes[0].detail, "its altitude 65535 is no altitude in metres");
    for value in [(0, 0), (1, 0)] {
        let tags = beside(ratio(Tag::GPSAltitude, value));
        assert_eq!((tags.altitude, kinds(&tags)), (None, vec!["without altitude"]));
        assert_eq!(
            tags.notes[0].detail,
            format!("its EXIF GPSAltitude is {}/0, which is not a number", value.0)
        );
    }
    for value in [(0, 0), (4_294_967_206, 1), (361, 1), (1, 0)] {
        let tags = beside(ratio(Tag::GPSImgDirection, value));
        assert_eq!((tags.heading, tags.heading_ref), (None, None));
        assert_eq!(kinds(&tags), ["without heading"], "{value:?}");
    }
    let signed = Value::SRational(vec![exif::SRational { num: -90, denom: 1 }]);
    assert_eq!(kinds(&beside(vec![(Tag::GPSImgDirection, signed)])), ["without heading"]);
    assert_eq!(beside(ratio(Tag::GPSImgDirection, (360, 1))).heading, Some(0.0));

    let date = |date: &str, clock: &[(u32, u32)]| {
        beside(vec![(Tag::GPSDateStamp, text(date)), (Tag::GPSTimeStamp, ratios(clock))])
    };
    for tags in [
        date("2024:05:04", &[(0, 0), (0, 0), (0, 0)]),
        date("2024/13/45", &[(1, 1), (2, 1), (3, 1)]),
        date("2024:02:30", &[(1, 1), (2, 1), (3, 1)]),
        date("2024:05:04", &[(24, 1), (0, 1), (0, 1)]),
        date("2024:05:04", &[(1, 1)]),
    ] {
        assert_eq!((tags.time, kinds(&tags)), (None, vec!["without time"]), "{:?}", tags.notes);
    }
    let original = |stamp: &str, offset: &str| {
        vec![(Tag::DateTimeOriginal, text(stamp)), (Tag::OffsetTimeOriginal, text(offset))]
    };
    for (stamp, offset) in [
        ("2024:05:04 24:00:00", "+01:00"),
        ("2024:02:30 00:00:00", "+00:00"),
        ("2024:05:04 10:00:00", "+25:00"),
        ("2024:05:04 10:00:00", "Europe"),
        ("yesterday", "+00:00"),
    ] {
        let tags = beside(original(stamp, offset));
        assert_eq!((tags.time, kinds(&tags)), (None, vec!["without time"]), "{stamp} {offset}");
        // The receiver's time makes up for it.
        let gps = vec![
            (Tag::GPSDateStamp, text("2024:06:30")),
            (Tag::GPSTimeStamp, ratios(&[(23, 1), (30, 1), (0, 1)])),
        ];
        let tags = beside([original(stamp, offset), gps].concat());
        assert_eq!((tags.time, kinds(&tags)), (Some(1_719_790_200), vec![]), "{stamp} {offset}");
    }
    // A clock that was never set is not damage.
    assert_eq!(kinds(&beside(original("0000:00:00 00:00:00", "+00:00"))), Vec::<&str>::new());
}

/// OffsetTime belongs to DateTime, so it counts where that is the same clock reading.
#[test]
fn offsets_of_another_clock_do_not_count() {
    let with = |changed: &str| {
        beside(vec![
            (Tag::DateTimeOriginal, text("2024:07:01 01:30:00")),
            (Tag::DateTime, text(changed)),
            (Tag::OffsetTime, text("+02:00")),
        ])
        .time
    };
    assert_eq!(with("2024:07:01 01:30:00"), Some(1_719_790_200));
    assert_eq!(with("2024:08:01 01:30:00"), None);
}

/// What the position and the heading are worth is kept.
#[test]
fn doubts_are_kept_with_the_position() {
    let heading = |north: Option<&str>| {
        let mut fields = vec![(Tag::GPSImgDirection, ratios(&[(90, 1)]))];
        fields.extend(north.map(|n| (Tag::GPSImgDirectionRef, text(n))));
        let tags = beside(fields);
        assert_eq!((tags.heading, kinds(&tags)), (Some(90.0), vec![]));
        tags.heading_ref
    };
    assert_eq!(heading(Some("M")), Some(HeadingReference::Magnetic));
    assert_eq!(heading(Some("t")), Some(HeadingReference::True));
    assert_eq!(heading(Some("True north")), Some(HeadingReference::True));
    assert_eq!(heading(Some("0")), None);
    assert_eq!(heading(None), None);

    let void = beside(vec![(Tag::GPSStatus, text("V"))]);
    assert_eq!(kinds(&void), ["whose position may be an old one"]);
    assert_eq!(kinds(&beside(vec![(Tag::GPSStatus, text("A"))])), Vec::<&str>::new());
    let tokyo = beside(vec![(Tag::GPSMapDatum, text("TOKYO"))]);
    assert!(tokyo.notes[0].detail.contains("\"TOKYO\", not WGS-84"), "{:?}", tokyo.notes);
    for same in ["WGS-84", "WGS84", "wgs 84", "WGS-1984", "", "ETRS89"] {
        assert_eq!(kinds(&beside(vec![(Tag::GPSMapDatum, text(same))])), Vec::<&str>::new(), "{same}");
    }
    let error = |value: (u32, u32)| beside(vec![(Tag::GPSHPositioningError, ratios(&[value]))]);
    assert_eq!((error((475, 100)).position_error, kinds(&error((475, 100)))), (Some(4.75), vec![]));
    assert_eq!(error((5000, 1)).position_error, Some(5000.0));
    assert_eq!(kinds(&error((5000, 1))), ["whose position is coarse"]);
    assert_eq!((error((0, 0)).position_error, kinds(&error((0, 0)))), (None, vec![]));
    let method = |bytes: &[u8]| {
        beside(vec![(Tag::GPSProcessingMethod, Value::Undefined(bytes.to_vec(), 0))]).position_method
    };
    for (bytes, wanted) in [
        (&b"ASCII\0\0\0CELLID"[..], Some("CELLID")),
        (b"ASCII\0\0\0GPS\0", Some("GPS")),
        (b"UNICODE\0M\0A\0N\0U\0A\0L\0", Some("MANUAL")),
        (b"UNICODE\0\0G\0P\0S", Some("GPS")),
        (b"\0\0\0\0\0\0\0\0fused", Some("fused")),
        (b"GPS", Some("GPS")),
        (b"ASCII\0\0\0", None),
        (b"UNICODE\0\0", None),
        (b"", None),
    ] {
        assert_eq!(method(bytes).as_deref(), wanted, "{}", bytes.escape_ascii());
    }
}

/// Puts an XMP packet behind the start marker.
fn with_xmp(jpeg: &[u8], xmp: &str) -> Vec<u8> {
    let body = [b"http://ns.adobe.com/xap/1.0/\0", xmp.as_bytes()].concat();
    let length = u16::try_from(body.len() + 2).expect("short").to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &body, &jpeg[2..]].concat()
}

fn read_xmp(fields: Vec<(Tag, Value)>, xmp: &str) -> Result<PhotoTags, String> {
    tags_of_bytes(&with_xmp(&with_fields(fields), xmp), Path::new("x.jpg")).map_err(|e| e.to_string())
}

const XMP: &str = "<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF><rdf:Description rdf:about=''>\
     <exif:GPSLatitude>52,12.324N</exif:GPSLatitude><exif:GPSLongitude>0,7.134E</exif:GPSLongitude>\
     <exif:GPSAltitude>125/10</exif:GPSAltitude><exif:GPSImgDirection>90/1</exif:GPSImgDirection>\
     </rdf:Description></rdf:RDF></x:xmpmeta>";

/// XMP where EXIF has no position; EXIF first; nonsense costs nothing.
#[test]
fn xmp_stands_in_for_exif() {
    let make = || vec![(Tag::Make, text("Camera"))];
    let found = |tags: PhotoTags| tags.position.expect("a position");
    let near = |tags: PhotoTags| {
        let p = found(tags);
        assert!((p.lat - 52.2054).abs() < 1e-9 && (p.lon - 0.1189).abs() < 1e-9, "{p:?}");
    };
    let tags = read_xmp(make(), XMP).expect("tags");
    assert_eq!(
        (tags.heading, tags.altitude, kinds(&tags)),
        (Some(90.0), Some(12.5), vec!["with a position from XMP"])
    );
    near(tags);
    let high = read_xmp(make(), &XMP.replace("125/10", "-9999/1")).expect("tags");
    assert_eq!((high.altitude, kinds(&high)), (None, vec!["with a position from XMP", "without altitude"]));
    // Without any EXIF, where EXIF's are 0/0, and where they are damaged.
    let plain = jpeg_with_tags(&picture(), 90, &PhotoTags::default()).expect("a JPEG");
    near(tags_of_bytes(&with_xmp(&plain, XMP), Path::new("x")).expect("tags"));
    near(read_xmp(place(&[(0, 0), (0, 0), (0, 0)], "N")[..1].to_vec(), XMP).expect("tags"));
    near(read_xmp(place(&[(51, 1), (30, 0), (0, 1)], "N"), XMP).expect("tags"));
    // EXIF's own counts.
    let own = read_xmp(place(&[(51, 1), (30, 1), (36, 1)], "N"), XMP).expect("tags");
    assert!((found(own.clone()).lat - 51.51).abs() < 1e-9 && own.notes.is_empty(), "{own:?}");
    // A drone's gimbal is the heading where EXIF has none.
    let drone = "<rdf:Description drone-dji:GimbalYawDegree=\"-90.5\" drone-dji:FlightYawDegree=\"3\"/>";
    assert_eq!(read_xmp(place(&[(51, 1), (30, 1), (36, 1)], "N"), drone).expect("tags").heading, Some(269.5));
    let mut both = place(&[(51, 1), (30, 1), (36, 1)], "N");
    both.push((Tag::GPSImgDirection, ratios(&[(7, 1)])));
    assert_eq!(read_xmp(both, drone).expect("tags").heading, Some(7.0));
    for nonsense in ["<x:xmpmeta exif:GPSLatitude=\"52,12", "\0\x01\u{fffd}<<<", "", &XMP[..120]] {
        let own = read_xmp(place(&[(51, 1), (30, 1), (36, 1)], "N"), nonsense).expect(nonsense);
        assert!((found(own).lat - 51.51).abs() < 1e-9);
        assert_eq!(read_xmp(make(), nonsense).expect(nonsense).position, None);
    }
    // A position that is none leaves the photograph without one, with the reason.
    let wrong = XMP.replace("52,12.324N", "52,12.324");
    let tags = read_xmp(make(), &wrong).expect("no damage");
    assert_eq!(tags.position, None);
    assert!(tags.no_position.is_some_and(|why| why.contains("exif:GPSLatitude \"52,12.324\"")));
}

#[test]
fn mapillary_s_description_stands_in_for_exif() {
    let json = "{\"MAPLatitude\":52.2054,\"MAPLongitude\":0.1189,\"MAPCompassHeading\":{\"TrueHeading\":90.0},\
         \"MAPCaptureTime\":\"2016_05_04_13_11_11_600\"}";
    let tags = read(vec![(Tag::ImageDescription, text(json))]).expect("tags");
    assert_eq!(tags.position, Some(LatLon { lat: 52.2054, lon: 0.1189 }));
    assert_eq!((tags.heading, tags.time), (Some(90.0), Some(1_462_367_471)));
    assert_eq!(kinds(&tags), ["with a position from Mapillary's ImageDescription"]);
    let own = beside(vec![(Tag::ImageDescription, text(json))]);
    assert_eq!((own.heading, kinds(&own)), (None, vec![]));
    let other = read(vec![(Tag::ImageDescription, text("a street"))]).expect("tags");
    assert_eq!((other.position, other.no_position), (None, None));
}

/// The packet of a PNG, a WebP and a TIFF is read too.
#[test]
fn xmp_in_other_containers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity");
    for file in ["xmp_png.png", "xmp_webp.webp", "xmp_tiff.tif"] {
        let tags = read_tags(&folder.join(file)).expect(file);
        let p = tags.position.expect(file);
        assert!((p.lat - 52.2054).abs() < 1e-9 && (p.lon - 0.1189).abs() < 1e-9, "{file}: {p:?}");
    }
}

#[test]
fn notes_are_summarised_by_kind() {
    let note = |detail: &str| TagNote { kind: "without heading", detail: detail.into() };
    let other =
        TagNote { kind: "whose position is coarse", detail: "its EXIF GPSHPositioningError is 500 m".into() };
    let notes = [("a.jpg", note("x")), ("b.jpg", other), ("c.jpg", note("y"))];
    assert_eq!(
        r2former_data::image::summarise_notes(notes.iter().map(|(name, note)| (*name, note))),
        [
            "1 photograph whose position is coarse: b.jpg (its EXIF GPSHPositioningError is 500 m)",
            "2 photographs without heading, the first a.jpg (x)"
        ]
    );
}

#[test]
fn what_cannot_be_written_is_refused() {
    let refuse = |tags| jpeg_with_tags(&picture(), 90, &tags).expect_err("must be refused").to_string();
    let none = PhotoTags::default;
    assert!(refuse(PhotoTags { heading: Some(f64::NAN), ..none() }).contains("heading NaN"));
    assert!(refuse(PhotoTags { heading: Some(-1.0), ..none() }).contains("heading -1"));
    assert!(refuse(PhotoTags { altitude: Some(1e9), ..none() }).contains("altitude"));
    assert!(refuse(PhotoTags { time: Some(i64::MAX), ..none() }).contains("time"));
    assert!(
        refuse(PhotoTags { position: Some(LatLon { lat: 91.0, lon: 0.0 }), ..none() }).contains("latitude")
    );
    assert!(jpeg_with_tags(&picture(), 0, &none()).is_err());
    assert!(jpeg_with_tags(&Rgb8 { width: 3, ..picture() }, 90, &none()).is_err());
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
            heading_ref: Some(HeadingReference::Magnetic),
            altitude: Some(altitude),
            time: Some(time),
            position_error: Some(4.5),
            position_method: Some("CELLID".into()),
            ..PhotoTags::default()
        };
        let bytes = jpeg_with_tags(&picture(), 95, &tags).unwrap();
        let back = tags_of_bytes(&bytes, Path::new("x")).unwrap();
        let position = back.position.unwrap();
        prop_assert!((position.lat - lat).abs() < 1e-10 && (position.lon - lon).abs() < 1e-10);
        let turn = (back.heading.unwrap() - heading).abs();
        prop_assert!(turn < 1e-6 || (turn - 360.0).abs() < 1e-6);
        prop_assert!((back.altitude.unwrap() - altitude).abs() < 1e-4);
        prop_assert_eq!(back.time, Some(time));
        prop_assert_eq!(back.heading_ref, Some(HeadingReference::Magnetic));
        prop_assert_eq!((back.position_error, back.position_method.as_deref()), (Some(4.5), Some("CELLID")));
        prop_assert_eq!(&back.notes[..], &[]);
        let image = decode_bytes(&bytes, Path::new("x"), &Limits::default()).unwrap();
        prop_assert_eq!((image.width, image.height), (20, 10));
    }
}
