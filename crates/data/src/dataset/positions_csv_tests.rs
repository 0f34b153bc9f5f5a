//! Hand-checked tables, every complaint, and arbitrary bytes.

use super::*;
use proptest::prelude::*;

fn list_with(text: &str, zone: Option<UtmZone>) -> Result<Listing> {
    let table = Table::parse(text.as_bytes(), Path::new("t.csv"))?;
    list_table(&table, Path::new("root"), zone, &|path| !path.ends_with("gone.jpg"))
}

fn list(text: &str) -> Result<Listing> {
    list_with(text, None)
}

fn complaint(text: &str) -> String {
    list(text).expect_err(text).to_string()
}

#[test]
fn a_full_row() {
    let listing = list(
        "Image;Latitude;LNG;Compass;Alt;captured_at;camera\n\
         sub/a.jpg;52.2;0.1;-90;12.5;1700000000000;left\n\
         .\\sub\\b.jpg;-33.9;151.2;;;;\n\
         gone.jpg;0;0;360;0;2023-11-14T22:13:20Z;x\n",
    )
    .unwrap();
    let a = &listing.photos[0];
    assert_eq!((a.name.as_str(), a.path.as_path()), ("sub/a.jpg", Path::new("root/sub/a.jpg")));
    assert_eq!(a.position, Some(LatLon { lat: 52.2, lon: 0.1 }));
    assert_eq!((a.heading, a.altitude, a.time, a.utm), (Some(270.0), Some(12.5), Some(1_700_000_000), None));
    assert_eq!(a.tags.get("camera").map(String::as_str), Some("left"));
    let b = &listing.photos[1];
    assert_eq!((b.name.as_str(), b.heading, b.altitude, b.time), ("sub/b.jpg", None, None, None));
    assert!(b.tags.is_empty());
    assert_eq!(listing.skipped, [("root/gone.jpg".into(), "named on line 4, does not exist".into())]);
    assert_eq!(
        listing.notes,
        [
            "columns: path = Image; latitude = Latitude, longitude = LNG (degrees); heading = Compass; altitude = \
             Alt; time = captured_at; kept as tags: camera; separated by \";\"",
            "times: Unix milliseconds, ISO 8601",
            "2 photographs, 1 files missing",
        ]
    );
}

#[test]
fn metres_with_their_zone() {
    let listing = list("path,x,y,zone\na.jpg,699375,5710155,30U\nb.jpg,699375,5710155,30\n").unwrap();
    let a = &listing.photos[0];
    let zone = UtmZone { number: 30, band: 'U' };
    assert_eq!(a.utm, Some(Utm { easting: 699_375.0, northing: 5_710_155.0, zone: Some(zone) }));
    assert!((a.position.unwrap().lat - 51.5).abs() < 0.05);
    assert_eq!(listing.photos[1].position, a.position);
    assert!(listing.notes[1].contains("1 UTM zones without a letter"), "{:?}", listing.notes);

    let given = list_with("path,easting,northing\na.jpg,699375,5710155\n", Some(zone)).unwrap();
    assert_eq!(given.photos[0].utm, a.utm);
}

#[test]
fn every_complaint_has_its_line() {
    for (text, wanted) in [
        ("a.jpg,52.1,0.1\nb.jpg,52.1,0.2\n", "t.csv:1: the first row looks like data"),
        ("path,lat,lon\n", "t.csv: has a header but no rows"),
        ("path,lat,lon\na.jpg,52,0\n,52,0\n", "t.csv:3: path is empty"),
        ("path,lat,lon\na.jpg,,0\n", "t.csv:2: lat is empty"),
        ("path,lat,lon\na.jpg,52,NaN\n", "t.csv:2: lon is NaN, a finite number is needed"),
        ("path,lat,lon\na.jpg,52,east\n", "t.csv:2: lon \"east\" is not a number"),
        ("path;lat;lon\na.jpg;52,5;0\n", "t.csv:2: lat \"52,5\" has a decimal comma: write 52.5"),
        ("path,lat,lon\na.jpg,52\n", "t.csv:2: has 2 cells where the header has 3"),
        ("path,lat,lon\na.jpg,52,0\n\n./a.jpg,52,0\n", "t.csv:4: path \"a.jpg\" was already on line 2"),
        ("path,lat,lon\na.jpg,1,0\nb.jpg,91,2\nc.jpg,1,120\n", "t.csv:3: latitude 91 is outside -90..90"),
        ("path,lat,lon\na.jpg,1,0\nb.jpg,1,181\n", "t.csv:3: longitude 181 is outside -180..180"),
        (
            "path,lat,lon\na.jpg,18,52\nb.jpg,151.2,-33.9\n",
            "t.csv:3: lat 151.2 is beyond -90..90 degrees: are the columns of latitude and longitude swapped?",
        ),
        (
            "path,lat,lon\na.jpg,699375,5710155\n",
            "t.csv:2: lat 699375 is beyond -90..90 degrees: are these metres?",
        ),
        ("path,lat,lon,heading\na.jpg,1,2,361\n", "t.csv:2: heading 361 is outside"),
        ("path,lat,lon,heading\na.jpg,1,2,inf\n", "t.csv:2: heading is inf"),
        ("path,lat,lon,time\na.jpg,1,2,noon\n", "t.csv:2: time \"noon\" is neither"),
        ("path,lat,lon\n.,1,2\n", "t.csv:2: path \".\" names no file"),
        ("path,x,y\na.jpg,699375,5710155\n", "t.csv:1: positions in metres need their UTM zone"),
        ("path,x,y,zone\na.jpg,699375,5710155,\n", "t.csv:2: the UTM zone is empty"),
        ("path,x,y,zone\na.jpg,699375,5710155,99\n", "t.csv:2: UTM zone \"99\" does not exist"),
        ("path,x,y,zone\na.jpg,0.1,52,30U\n", "t.csv:2: easting 0.1, northing 52 look like degrees"),
        ("path,lat,lon\n\"a.jpg,1,2\nb.jpg,1,2\n", "t.csv:2: a quoted cell runs over several lines"),
    ] {
        let message = complaint(text);
        assert!(message.starts_with(wanted), "{message}");
    }
}

#[test]
fn a_file_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.jpg"), b"x").unwrap();
    let csv = dir.path().join("list.csv");
    std::fs::write(&csv, "\u{feff}path,lat,lon\r\n\"a.jpg\",1,2\r\nb.jpg,1,2\r\n").unwrap();
    let listing = list_positions_csv(&csv, None).unwrap();
    assert_eq!((listing.photos.len(), listing.skipped.len()), (1, 1));
    assert_eq!(listing.photos[0].path, dir.path().join("a.jpg"));
    let missing = list_positions_csv(&dir.path().join("no.csv"), None).unwrap_err();
    assert!(matches!(missing, DataError::Io { .. }));
}

proptest! {
    #[test]
    fn any_bytes_are_a_listing_or_an_error(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        metres in any::<bool>(),
    ) {
        let head: &[u8] = if metres { b"path,x,y,zone,time\n" } else { b"path,lat,lon,heading,time\n" };
        for start in [&b""[..], head] {
            let text = [start, &bytes].concat();
            if let Ok(table) = Table::parse(&text, Path::new("t.csv")) {
                let _ = list_table(&table, Path::new("root"), None, &|_| true);
            }
        }
    }

    #[test]
    fn plausible_rows_never_panic(rows in proptest::collection::vec("[a-c./\\\\]{0,4},[-0-9.eENan]{0,6},[-0-9.]{0,6},[0-9TZ:-]{0,8}", 1..5)) {
        let _ = list(&format!("path,lat,lon,time\n{}", rows.join("\n")));
    }
}
