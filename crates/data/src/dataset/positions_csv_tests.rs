//! Hand-checked tables, every complaint, and arbitrary bytes.

use super::*;
use crate::{LatLon, Utm};
use proptest::prelude::*;

fn list_with(text: &str, zone: Option<UtmZone>) -> Result<Listing> {
    let table = Table::parse(text.as_bytes(), Path::new("t.csv"))?;
    let options = Options { zone, positions: None, needs_position: true, radius: false };
    list_table(table, Path::new("root"), options, &mut |path| match path.ends_with("gone.jpg") {
        true => Err("does not exist".into()),
        false => Ok(path.to_owned()),
    })
}

fn list(text: &str) -> Result<Listing> {
    list_with(text, None)
}

/// The positions of a table whose every row is read.
fn positions(text: &str) -> Vec<(f64, f64)> {
    let listing = list(text).expect(text);
    assert_eq!(listing.skipped, [], "{text}");
    listing.photos.iter().filter_map(|photo| photo.lat_lon().map(|p| (p.lat, p.lon))).collect()
}

#[test]
fn a_full_row() {
    let listing = list(
        "Image;Latitude;LNG;Compass;Alt;captured_at;camera\n\
         sub/a.jpg;52.2;0.1;-90;12.5;1700000000000;left\n\
         .\\sub\\b.jpg;-33.9;151.2;;;;\n\
         gone.jpg;1;0;360;0;2023-11-14T22:13:20Z;x\n",
    )
    .unwrap();
    let a = &listing.photos[0];
    assert_eq!((a.name.as_str(), a.path.as_path()), ("sub/a.jpg", Path::new("root/sub/a.jpg")));
    assert_eq!(a.position, Some(LatLon { lat: 52.2, lon: 0.1 }.into()));
    assert_eq!((a.heading, a.altitude, a.time, a.utm), (Some(270.0), Some(12.5), Some(1_700_000_000), None));
    assert_eq!(a.tags.get("camera").map(String::as_str), Some("left"));
    let b = &listing.photos[1];
    assert_eq!((b.name.as_str(), b.heading, b.altitude, b.time), ("sub/b.jpg", None, None, None));
    assert!(b.tags.is_empty());
    let reason = "t.csv:4: does not exist".into();
    assert_eq!(
        listing.skipped,
        [Skipped { path: "root/gone.jpg".into(), reason, kind: SkipKind::Unreadable }]
    );
    assert_eq!(
        listing.notes,
        [
            "columns: path = Image; latitude = Latitude, longitude = LNG (degrees); heading = Compass; altitude = \
             Alt; time = captured_at; kept as tags: camera; separated by \";\"",
            "times: Unix milliseconds, ISO 8601",
            "2 photographs; left out: 0 rows without a position, 1 without a file, 0 that cannot be read",
        ]
    );
}

#[test]
fn one_place_in_every_table() {
    let cambridge = |text: &str| {
        let found = positions(text);
        assert!(
            found.iter().all(|(lat, lon)| (lat - 52.2054).abs() < 1e-6 && (lon - 0.1189).abs() < 1e-6),
            "{text}: {found:?}"
        );
    };
    for text in [
        "path,lat,lon\na.jpg,52.2054,0.1189\n",
        "path;lat;lon\na.jpg;52,2054;0,1189\n",
        "path,lat,lon\na.jpg,\"52,2054\",\"0,1189\"\n",
        "path\tlat\tlon\na.jpg\t52,2054\t0,1189\n",
        "path|lat|lon\na.jpg|52.2054|0.1189\n",
        "sep=;\npath;lat;lon\na.jpg;52.2054;0.1189\n",
        "# exported\npath,lat,lon\n# x\na.jpg,52.2054,0.1189\n",
        "# path,lat,lon\na.jpg,52.2054,0.1189\n",
        "path,lat,lat_ref,lon,lon_ref\na.jpg,52.2054,N,0.1189,E\n",
        "path,lat,lon\na.jpg,52.2054N,0.1189E\n",
        "path,lat,lon\na.jpg,\"52°12'19.44\"\"N\",\"0°7'8.04\"\"E\"\n",
        "SourceFile,GPSLatitude,GPSLongitude\na.jpg,\"52 deg 12' 19.44\"\" N\",\"0 deg 7' 8.04\"\" E\"\n",
        "SourceFile,GPSLatitude,GPSLongitude\na.jpg,52.2054,0.1189\n",
        "SourceFile,GPSLatitude,GPSLatitudeRef,GPSLongitude,GPSLongitudeRef\n\
         a.jpg,\"52 deg 12' 19.44\"\"\",North,\"0 deg 7' 8.04\"\"\",East\n",
        "SourceFile,EXIF:GPSLatitude,Composite:GPSLatitude,EXIF:GPSLongitude\na.jpg,52.2054,52.205400001,0.1189\n",
        "SourceFile,GPSPosition\na.jpg,\"52 deg 12' 19.44\"\" N, 0 deg 7' 8.04\"\" E\"\n",
        "path,latlon\na.jpg,\"52.2054,0.1189\"\n",
        "path;lonlat\na.jpg;0.1189 52.2054\n",
        "path,geometry\na.jpg,POINT (0.1189 52.2054)\n",
        "WKT,path\nPOINT Z (0.1189 52.2054 7),a.jpg\n",
        "Datei;Breite;Länge\na.jpg;52,2054;0,1189\n",
        "fichier;latitude;longitude\na.jpg;52,2054;0,1189\n",
        "path,lat,lon,lat2,latitude\na.jpg,52.2054,0.1189,9,52.2054\n",
    ] {
        cambridge(text);
    }
    let south_west = |text: &str| {
        let found = positions(text);
        assert!(!found.is_empty() && found.iter().all(|p| *p == (-33.8, -70.6)), "{text}: {found:?}");
    };
    for text in [
        "path,lat,lat_ref,lon,lon_ref\na.jpg,33.8,S,70.6,W\nb.jpg,-33.8,S,-70.6,west\n",
        "SourceFile,GPSLatitude,GPSLatitudeRef,GPSLongitude,GPSLongitudeRef\na.jpg,33.8,South,70.6,West\n",
        "path,lat,lon\na.jpg,S 33.8,W70.6\nb.jpg,33.8 South,70.6 W\nc.jpg,\u{2212}33.8,\u{2212}70.6\n",
        "path,lat,hemisphere,lon\na.jpg,33.8,S,-70.6\n",
    ] {
        south_west(text);
    }
    // One zero axis is a place.
    assert_eq!(positions("path,lat,lon\na.jpg,0,9.5\nb.jpg,51.5,0\n"), [(0.0, 9.5), (51.5, 0.0)]);
}

#[test]
fn metres_with_their_zone() {
    let listing = list("path,x,y,zone\na.jpg,699375,5710155,30U\n").unwrap();
    let a = &listing.photos[0];
    let zone = UtmZone { number: 30, band: 'U' };
    assert_eq!(a.utm, Some(Utm { easting: 699_375.0, northing: 5_710_155.0, zone: Some(zone) }));
    assert!((a.lat_lon().unwrap().lat - 51.5).abs() < 0.05);

    let given = list_with("path,easting,northing\na.jpg,699375,5710155\n", Some(zone)).unwrap();
    assert_eq!(given.photos[0].utm, a.utm);
    // Sydney, however its hemisphere is written.
    for text in [
        "path,easting,northing,zone\na.jpg,334000,6251000,56H\n",
        "path,easting,northing,zone\na.jpg,334000,6251000,56 South\n",
        "path,easting,northing,zone\na.jpg,334000,6251000,EPSG:32756\n",
        "path,easting,northing,crs\na.jpg,334000,6251000,32756\n",
        "path,easting,northing,zone,hemisphere\na.jpg,334000,6251000,56,S\n",
        "path;easting;northing;zone\na.jpg;334000,0;6251000,0;56 South\n",
    ] {
        let found = positions(text);
        assert!(
            (found[0].0 + 33.868_276).abs() < 1e-5 && (found[0].1 - 151.205_326).abs() < 1e-5,
            "{text}: {found:?}"
        );
    }
}

#[test]
fn a_bad_row_is_left_out_with_its_line() {
    use SkipKind::{Unreadable, WithoutPosition};
    for (header, row, kind, wanted) in [
        ("path,lat,lon", ",52,1", Unreadable, "path is empty"),
        ("path,lat,lon", ".,1,2", Unreadable, "path \".\" names no file"),
        ("path,lat,lon", "b.jpg,,0", WithoutPosition, "lat is empty"),
        ("path,lat,lon", "b.jpg,,", WithoutPosition, "lon is empty"),
        ("path,lat,lon", "b.jpg,,x", Unreadable, "lon \"x\" is not an angle"),
        ("path,lat,lon", "b.jpg,0,0", WithoutPosition, "the position 0,0 stands for none"),
        ("path,lat,lon", "b.jpg,0.000,-0.0", WithoutPosition, "the position 0,0 stands for none"),
        ("path,lat,lon", "b.jpg,52,NaN", WithoutPosition, "lon is empty"),
        ("path,lat,lon", "b.jpg,NULL,N/A", WithoutPosition, "lon is empty"),
        ("path,lat,lon", "b.jpg,52,inf", Unreadable, "lon is inf, a finite number is needed"),
        ("path,lat,lon", "b.jpg,52,east", Unreadable, "lon \"east\" is not an angle"),
        ("path,lat,lon", "b.jpg,\"52,5,1\",1", Unreadable, "lat \"52,5,1\" is not a number"),
        ("path,lat,lon", "b.jpg,52", Unreadable, "has 2 cells where the header has 3"),
        ("path,lat,lon", "b.jpg,91,2", Unreadable, "latitude 91 is outside -90..90"),
        ("path,lat,lon", "b.jpg,1,361", Unreadable, "longitude 361 is outside -180..180"),
        ("path,lat,lon", "b.jpg,1,181.1", Unreadable, "write -178.9, as longitudes go from -180 to 180"),
        ("path,lat,lon", "b.jpg,1E,2N", Unreadable, "are latitude and longitude swapped?"),
        ("path,lat,lon", "gone.jpg,1,2", Unreadable, "does not exist"),
        (
            "path,lat,lat_ref,lon",
            "b.jpg,33.8,,1",
            Unreadable,
            "lat_ref is \"\" beside lat 33.8: N or S is needed",
        ),
        ("path,lat,lat_ref,lon", "b.jpg,33.8,X,1", Unreadable, "lat_ref is \"X\" beside lat 33.8"),
        ("path,lat,lat_ref,lon", "b.jpg,-33.8,N,1", Unreadable, "is negative and N"),
        ("path,x,y,zone", "b.jpg,699375,5710155,", Unreadable, "the UTM zone is empty"),
        ("path,x,y,zone", "b.jpg,699375,5710155,99", Unreadable, "UTM zone \"99\" does not exist"),
        ("path,x,y,zone", "b.jpg,334000,6251000,56", Unreadable, "write 56 North or 56 South"),
        ("path,x,y,zone", "b.jpg,699375,5710155,EPSG:3857", Unreadable, "EPSG:3857 is Web Mercator"),
        ("path,x,y,zone", "b.jpg,699375,5710155,3857", Unreadable, "EPSG:3857 is Web Mercator"),
        ("path,x,y,zone", "b.jpg,334000,6290000,56U", Unreadable, "band V, not U"),
        ("path,x,y,zone", "b.jpg,0.1,52,30U", Unreadable, "easting 0.1, northing 52 look like degrees"),
        ("path,x,y,zone", "b.jpg,0,0,30U", WithoutPosition, "stands for none"),
        ("path,x,y,zone", "b.jpg,NULL,,30U", WithoutPosition, "x is empty"),
        (
            "path,x,y,zone",
            "b.jpg,699.375,5710.155,30U",
            Unreadable,
            "look like kilometres: write metres, as in 699375",
        ),
        ("path,x,y,zone", "b.jpg,1699375,5710155,30U", Unreadable, "lie far outside UTM zone 30U"),
        (
            "path,x,y,zone",
            "b.jpg,\"699,375\",\"5,710,155\",30U",
            Unreadable,
            "x \"699,375\" has thousands separators: write 699375",
        ),
    ] {
        let good = match header {
            "path,x,y,zone" => "a.jpg,699375,5710155,30U",
            "path,lat,lat_ref,lon" => "a.jpg,52,N,1",
            _ => "a.jpg,52,1",
        };
        let text = format!("{header}\n{good}\n{row}\n{}\n", good.replace("a.jpg", "c.jpg"));
        let listing = list(&text).expect(row);
        assert_eq!(listing.photos.len(), 2, "{row}");
        let [skipped] = listing.skipped.as_slice() else { panic!("{row}: {:?}", listing.skipped) };
        assert_eq!(skipped.kind, kind, "{row}: {skipped:?}");
        assert!(skipped.reason.starts_with("t.csv:3: ") && skipped.reason.contains(wanted), "{skipped:?}");
    }
}

#[test]
fn a_bad_optional_value_costs_only_itself() {
    for (column, cell, wanted) in [
        ("heading", "400", "1 row without a heading (t.csv:2: heading 400 is outside -360..360 degrees)"),
        ("heading", "inf", "t.csv:2: heading is inf"),
        ("heading", "north", "t.csv:2: heading \"north\" is not a number"),
        ("altitude", "\"1,234\"", "write 1.234 or 1234"),
        (
            "heading",
            "-1",
            "1 row without a heading (t.csv:2: heading -1 stands for none, as no other heading is negative)",
        ),
        ("altitude", "-9999", "1 row without an altitude (t.csv:2: altitude -9999 stands for none)"),
        ("altitude", "65535", "1 row without an altitude (t.csv:2: altitude 65535 is no altitude in metres)"),
        ("altitude", "high", "1 row without an altitude (t.csv:2: altitude \"high\" is not a number)"),
        ("time", "noon", "1 row without a time (t.csv:2: time \"noon\" is neither"),
        (
            "time",
            "2024:05:04 10:11:12",
            "1 row whose time has no zone (t.csv:2: \"2024:05:04 10:11:12\" is local",
        ),
        ("time", "2024:13:45 10:11:12", "1 row without a time (t.csv:2: time \"2024:13:45"),
        (
            "essay",
            &"x".repeat(5000),
            "1 row without a tag (t.csv:2: essay: the value of a tag has at most 1000 bytes",
        ),
    ] {
        let listing = list(&format!("path,lat,lon,{column}\na.jpg,1,2,{cell}\n")).expect(cell);
        let photo = &listing.photos[0];
        assert_eq!((photo.heading, photo.altitude, photo.time), (None, None, None));
        assert!(photo.tags.values().all(|value| value.len() <= 1000), "{:?}", photo.tags);
        assert!(listing.notes.iter().any(|note| note.contains(wanted)), "{wanted}: {:?}", listing.notes);
    }
    let optional = |column: &str, cell: &str| {
        let photo = list(&format!("path;lat;lon;{column}\na.jpg;1;2;{cell}\n")).expect(cell).photos.remove(0);
        photo.heading.or(photo.altitude)
    };
    for (column, cell, value) in [
        ("heading", "360", 0.0),
        ("heading", "-1e-20", 0.0),
        ("GPSImgDirection", "12", 12.0),
        ("heading", "12,5", 12.5),
        ("heading", "12.5°", 12.5),
        ("GPSAltitude", "12.5 m Above Sea Level", 12.5),
        ("GPSAltitude", "12.5 m Below Sea Level", -12.5),
        ("alt", "7 m", 7.0),
        ("alt", "\u{2212}7", -7.0),
    ] {
        assert_eq!(optional(column, cell), Some(value), "{column} {cell}");
    }
    let below =
        list("path,lat,lon,GPSAltitude,GPSAltitudeRef\na.jpg,1,2,5,1\nb.jpg,1,2,-5,Below Sea Level\n")
            .unwrap();
    assert!(below.photos.iter().all(|photo| photo.altitude == Some(-5.0)));
}

#[test]
fn a_heading_of_minus_one_is_one_among_negative_headings() {
    let headings = |cells: &[&str]| -> Vec<Option<f64>> {
        let rows: String =
            cells.iter().enumerate().map(|(i, cell)| format!("{i}.jpg,1,2,{cell}\n")).collect();
        let listing = list(&format!("path,lat,lon,heading\n{rows}")).expect("a table");
        listing.photos.iter().map(|photo| photo.heading).collect()
    };
    assert_eq!(headings(&["-1", "90", "-1.0"]), [None, Some(90.0), None]);
    assert_eq!(headings(&["-1", "-90"]), [Some(359.0), Some(270.0)]);
}

#[test]
fn cells_without_a_column_name_are_noted() {
    let listing = list(",path,lat,lon,\n0,a.jpg,1,2,\n1,b.jpg,1,2,x\n").expect("a table");
    assert!(listing.photos.iter().all(|photo| photo.tags.is_empty()));
    let note = "2 columns without a name are not read: the 1st, as in \"0\" on line 2; the 5th, as in \"x\" on line 3";
    assert!(listing.notes.iter().any(|found| found == note), "{:?}", listing.notes);
    let listing = list("path,lat,lon,\na.jpg,1,2,\n").expect("a table");
    assert!(!listing.notes.iter().any(|note| note.contains("without a name")), "{:?}", listing.notes);
}

#[test]
fn words_for_nothing_are_empty_cells() {
    let listing = list("path,lat,lon,heading,alt,time,note\na.jpg,1,2,NULL,nan,N/A,NA\n").expect("a table");
    let photo = &listing.photos[0];
    assert_eq!((photo.heading, photo.altitude, photo.time), (None, None, None));
    // A tag is what was written.
    assert_eq!(photo.tags.get("note").map(String::as_str), Some("NA"));
    assert!(!listing.notes.iter().any(|note| note.contains("row without")), "{:?}", listing.notes);
}

#[test]
fn times_of_every_tool() {
    // 2024-05-04 10:11:12 UTC.
    const TIME: i64 = 1_714_817_472;
    for (columns, cells) in [
        ("time", "1714817472"),
        ("time", "2024-05-04T10:11:12Z"),
        ("time", "2024:05:04 12:11:12+02:00"),
        ("DateTimeOriginal,OffsetTimeOriginal", "2024:05:04 12:11:12,+02:00"),
        ("SubSecDateTimeOriginal", "2024:05:04 12:11:12.50+02:00"),
        ("GPSDateTime,DateTimeOriginal", "2024:05:04 10:11:12Z,2024:05:04 12:11:12"),
        ("DateTimeOriginal,GPSDateStamp,GPSTimeStamp", "2024:05:04 12:11:12,2024:05:04,10:11:12"),
        ("date,time", "2024-05-04,10:11:12"),
        ("timestamp,date", ",2024-05-04T10:11:12Z"),
    ] {
        let listing = list(&format!("path,lat,lon,{columns}\na.jpg,1,2,{cells}\n")).expect(cells);
        assert_eq!(listing.photos[0].time, Some(TIME), "{columns}: {:?}", listing.notes);
    }
}

#[test]
fn a_table_that_cannot_be_right_is_refused() {
    for (text, wanted) in [
        ("a.jpg,52.1,0.1\nb.jpg,52.1,0.2\n", "t.csv:1: the first row looks like data"),
        (
            "path lat lon\na.jpg 52.1 0.1\n",
            "t.csv:1: the columns of \"path lat lon\" are separated by spaces",
        ),
        ("path,lat,lon\n", "t.csv: has a header but no rows"),
        (
            "path,lat,lon\na.jpg,18,52\nb.jpg,151.2,-33.9\n",
            "t.csv:3: lat 151.2 is beyond -90..90 degrees: are the columns of latitude and longitude swapped?",
        ),
        (
            "path,lat,lon\na.jpg,699375,5710155\n",
            "t.csv:2: lat 699375 is beyond -90..90 degrees: are these metres?",
        ),
        (
            "path,lat,lon\na.jpg,5212.324,7.134\n",
            "t.csv:2: lat 5212.324 is beyond -90..90 degrees: are these degrees and minutes in one number",
        ),
        ("path,easting,northing\na.jpg,699375,5710155\n", "t.csv:1: positions in metres need their UTM zone"),
        ("path,easting,northing\na.jpg,12.5,7\n", "t.csv:1: positions in metres need their UTM zone"),
        ("path,lat,lon\n\"a.jpg,1,2\nb.jpg,1,2\n", "t.csv:2: a quoted cell runs over several lines"),
        ("path,lat,lon,a=b\na.jpg,52,1,x\n", "t.csv:1: the column \"a=b\" would become a tag"),
        (
            "path,lat,lon,GPSLatitude\na.jpg,52.1,1,52.1\nb.jpg,52.1,1,52.2\n",
            "t.csv:3: \"lat\" (52.1) and \"GPSLatitude\" (52.2) could both be the latitude and differ",
        ),
        (
            "path,lat,lon,lng\na.jpg,52.1,1,-1\n",
            "t.csv:2: \"lon\" (1) and \"lng\" (-1) could both be the longitude",
        ),
    ] {
        let message = list(text).expect_err(text).to_string();
        assert!(message.starts_with(wanted), "{message}");
    }
    let message = list("path,easting,northing\na.jpg,12.5,7\n").expect_err("local").to_string();
    assert!(
        message.contains("EPSG:32633") && message.contains("local metres have columns x and y"),
        "{message}"
    );
    // A single row far out is a bad row, not a swap.
    let listing = list("path,lat,lon\na.jpg,18,52\nb.jpg,19,52\nc.jpg,151.2,-33.9\n").unwrap();
    assert_eq!((listing.photos.len(), listing.skipped.len()), (2, 1));
}

#[test]
fn one_photograph_on_two_lines() {
    let listing = list("path,lat,lon\na.jpg,52,1\n./a.jpg,52,1\nb.jpg,1,2\nb.jpg,1,3\nb.jpg,1,2\n").unwrap();
    let names: Vec<_> = listing.photos.iter().map(|photo| photo.name.as_str()).collect();
    assert_eq!(names, ["a.jpg"]);
    assert_eq!(listing.skipped.len(), 2);
    assert!(
        listing.skipped.iter().all(|s| s.reason.contains("with another position")),
        "{:?}",
        listing.skipped
    );
    assert!(listing.notes.iter().any(|n| n.contains("2 rows that repeat another")), "{:?}", listing.notes);
}

#[test]
fn a_file_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("a.jpg"), b"x").unwrap();
    // Decomposed on disk, composed in the table.
    std::fs::write(at("ne\u{301}.jpg"), b"x").unwrap();
    std::fs::create_dir(at("sub dir")).unwrap();
    let csv = at("list.csv");
    let text = "\u{feff}path,lat,lon\r\n\"a.jpg\",1,2\r\nb.jpg,1,2\r\nn\u{e9}.jpg,1,2\r\nsub dir,1,2\r\n";
    std::fs::write(&csv, text).unwrap();
    let listing = list_positions_csv(&csv, None, None).unwrap();
    let photos: Vec<_> = listing.photos.iter().map(|p| (p.name.as_str(), p.path.clone())).collect();
    assert_eq!(photos, [("a.jpg", at("a.jpg")), ("n\u{e9}.jpg", at("ne\u{301}.jpg"))]);
    let reasons: Vec<_> = listing.skipped.iter().map(|s| s.reason.as_str()).collect();
    assert_eq!(reasons, ["list.csv:3: does not exist", "list.csv:5: is a folder, not a photograph"]);
    let missing = list_positions_csv(&at("no.csv"), None, None).unwrap_err();
    assert!(matches!(missing, DataError::Io { .. }));
    assert!(
        list_positions_csv(dir.path(), None, None)
            .unwrap_err()
            .to_string()
            .contains("is a folder, expected a table")
    );
}

#[cfg(unix)]
#[test]
fn pipes_are_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe.jpg");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.is_ok_and(|status| status.success()));
    let csv = dir.path().join("list.csv");
    std::fs::write(&csv, "path,lat,lon\npipe.jpg,1,2\n").unwrap();
    let listing = list_positions_csv(&csv, None, None).unwrap();
    assert_eq!(listing.skipped[0].reason, "list.csv:2: is a pipe, not a photograph");
    let said = list_positions_csv(&pipe, None, None).unwrap_err().to_string();
    assert!(said.contains("is a pipe, expected a table"), "{said}");
    let said = super::super::detect(&pipe).unwrap_err().to_string();
    assert!(said.contains("is a pipe"), "{said}");
    let said = super::super::list_exif_folder(&pipe).unwrap_err().to_string();
    assert!(said.contains("is a pipe"), "{said}");
}

#[test]
fn images_may_do_without_positions() {
    let dir = tempfile::tempdir().unwrap();
    let csv = dir.path().join("list.csv");
    let read = |text: &str| {
        std::fs::write(&csv, text).unwrap();
        list_images_csv(&csv)
    };
    let listing = read("path,lat,lon\na.jpg,,\nb.jpg,0,0\nc.jpg,x,1\n").unwrap();
    assert_eq!(listing.photos.len(), 3);
    assert!(listing.photos.iter().all(|photo| photo.position.is_none()));
    assert!(
        listing.notes.iter().any(|n| n.contains("1 row without a position (list.csv:4:")),
        "{:?}",
        listing.notes
    );
    // Names of places are tags.
    let listing = read("path,location\na.jpg,market\n").unwrap();
    assert_eq!(listing.photos[0].tags["location"], "market");
    assert!(read("path,lat,lon\n,1,2\n").unwrap_err().to_string().contains("list.csv:2: path is empty"));
}

proptest! {
    #[test]
    fn any_bytes_are_a_listing_or_an_error(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        head in 0usize..5,
    ) {
        let heads: [&[u8]; 5] = [
            b"",
            b"path,x,y,zone,time\n",
            b"path,lat,lon,heading,time\n",
            b"path;lat;lat_ref;lon;GPSLatitude;alt\n",
            b"path|latlon|date|time\n",
        ];
        let text = [heads[head], &bytes].concat();
        if let Ok(table) = Table::parse(&text, Path::new("t.csv")) {
            let options = Options { zone: None, positions: None, needs_position: true, radius: false };
            let _ = list_table(table, Path::new("root"), options, &mut |p| Ok(p.to_owned()));
        }
    }

    #[test]
    fn plausible_rows_never_panic(rows in proptest::collection::vec("[a-c./\\\\#]{0,4},[-0-9.eENanNS°' ]{0,8},[-0-9.EW]{0,6},[0-9TZ:-]{0,8}", 1..5)) {
        let _ = list(&format!("path,lat,lon,time\n{}", rows.join("\n")));
    }
}

#[test]
fn degrees_by_their_epsg_code() {
    let listing = list("path,x,y,epsg\na.jpg,0.1189,52.2054,4326\nb.jpg,12,95,EPSG:4326\n").unwrap();
    assert_eq!(listing.photos[0].lat_lon(), Some(crate::LatLon { lat: 52.2054, lon: 0.1189 }));
    assert!(listing.skipped[0].reason.contains("latitude 95"), "{:?}", listing.skipped);
}

#[test]
fn a_time_that_counts_something_else_is_a_note() {
    let listing = list("path,lat,lon,timestamp\na.jpg,52,1,45416.5\nb.jpg,52,1,1700000000\n").unwrap();
    assert_eq!(listing.photos.iter().map(|p| p.time).collect::<Vec<_>>(), [None, Some(1_700_000_000)]);
    assert!(
        listing
            .notes
            .iter()
            .any(|note| note.contains("1 row without a time (t.csv:2: timestamp \"45416.5\"")),
        "{:?}",
        listing.notes
    );
}
