//! Tables and positions that cannot be right.

mod common;

use common::{fails, names, r2former, small_index, write_photo};
use std::path::Path;

fn table(dir: &Path, text: &str) -> std::path::PathBuf {
    write_photo(&dir.join("a.jpg"), 1, None);
    let path = dir.join("positions.csv");
    std::fs::write(&path, text).expect("temporary folders can be written");
    path
}

#[test]
fn add_names_the_line() {
    let (home, index, _photos) = small_index();
    let cases = [
        ("path,lat,lon\na.jpg,91,0\n", &["positions.csv:2", "91", "path,lat,lon"][..]),
        ("path,lat,lon\na.jpg,nan,0\n", &["positions.csv:2"]),
        ("path,lat,lon\na.jpg,52\n", &["positions.csv:2"]),
        ("path,lat,lon\na.jpg,,0.1\n", &["positions.csv:2", "lat is empty", "1 without a position"]),
        ("path,lat,lon\na.jpg,0,0\n", &["positions.csv:2", "0,0", "1 without a position"]),
        ("path,lat,lon\nsub,52,1\n", &["positions.csv:2", "is a folder"]),
        ("path,lat,lon\ngone.jpg,52,1\n", &["positions.csv:2", "does not exist"]),
        ("a.jpg,52.0,0.1\n", &["header", "path,lat,lon"]),
        ("path lat lon\na.jpg 52.0 0.1\n", &["separated by spaces"]),
        ("path,lat,lon,a=b\na.jpg,52.0,0.1,x\n", &["positions.csv:1", "a=b"]),
        ("path,lat,lon,latitude\na.jpg,52.0,0.1,53\n", &["positions.csv:2", "could both be the latitude"]),
        ("path,position\na.jpg,\"52.1,0.1\"\n", &["positions.csv:2", "latlon or lonlat"]),
        ("path,easting,northing\na.jpg,302000,5787000\n", &["zone"]),
        ("path,x,y\na.jpg,12,7\n", &["zone", "a map of your own"]),
        ("path,easting,northing,zone\na.jpg,334000,6251000,56\n", &["positions.csv:2", "56 South"]),
        (
            "path,easting,northing,zone\na.jpg,\"699,375\",\"5,710,155\",30U\n",
            &["positions.csv:2", "thousands separators: write 699375"],
        ),
        ("{\"type\":\"FeatureCollection\",\"features\":[]}", &["is GeoJSON", "ogr2ogr"]),
        ("<?xml version=\"1.0\"?><gpx version=\"1.1\"></gpx>", &["is a GPX track", "exiftool -geotag"]),
        ("# Image list with two lines of data per image:\n", &["COLMAP"]),
        ("PK\u{3}\u{4}xl/workbook.xml", &["Excel"]),
        ("", &["positions.csv"]),
    ];
    std::fs::create_dir(home.path().join("sub")).expect("temporary folders can be written");
    for (text, parts) in cases {
        let path = table(home.path(), text);
        let said = fails(r2former().args(["index", "add"]).arg(&index).arg(&path), 1);
        names(&said, parts);
    }
}

/// Tables of real tools and people, each with the positions that must be in the index.
#[test]
fn tables_are_read_as_they_were_meant() {
    const SOUTH: &[(f64, f64)] = &[(-33.8, -70.6)];
    const CAMBRIDGE: &[(f64, f64)] = &[(52.2054, 0.1189)];
    let cases = [
        ("path,lat,lat_ref,lon,lon_ref\na.jpg,33.8,S,70.6,W\n", SOUTH),
        ("path,lat,lon\na.jpg,33.8S,W 70.6\n", SOUTH),
        ("path,lat,lon\na.jpg,\u{2212}33.8,\u{2212}70.6\n", SOUTH),
        ("path;lat;lon\na.jpg;52,2054;0,1189\n", CAMBRIDGE),
        ("path|lat|lon\na.jpg|52.2054|0.1189\n", CAMBRIDGE),
        ("path\tlat\tlon\na.jpg\t52.2054\t0.1189\n", CAMBRIDGE),
        ("path,lat,lon\n# x\na.jpg,52.2054,0.1189\n", CAMBRIDGE),
        ("path,lat,lon\na.jpg,\"52°12'19.44\"\"N\",\"0°7'8.04\"\"E\"\n", CAMBRIDGE),
        ("SourceFile,GPSLatitude,GPSLongitude,GPSImgDirection\na.jpg,52.2054,0.1189,12\n", CAMBRIDGE),
        (
            "SourceFile,GPSLatitude,GPSLongitude\na.jpg,\"52 deg 12' 19.44\"\" N\",\"0 deg 7' 8.04\"\" E\"\n",
            CAMBRIDGE,
        ),
        ("path,geometry\na.jpg,POINT (0.1189 52.2054)\n", CAMBRIDGE),
        ("path,latlon\na.jpg,\"52.2054, 0.1189\"\n", CAMBRIDGE),
        ("Datei;Breite;Länge\na.jpg;52,2054;0,1189\n", CAMBRIDGE),
        ("fichier,latitude,longitude\na.jpg,52.2054,0.1189\n", CAMBRIDGE),
        ("path,lat,lon,heading\na.jpg,52.2054,0.1189,400\n", CAMBRIDGE),
        ("path,lat,lon,time\na.jpg,52.2054,0.1189,2024:05:04 10:11:12\n", CAMBRIDGE),
        ("path,easting,northing,zone\na.jpg,334000,6251000,56 South\n", &[(-33.868_276, 151.205_326)]),
        ("path,easting,northing,zone\na.jpg,334000,6251000,EPSG:32756\n", &[(-33.868_276, 151.205_326)]),
    ];
    let home = tempfile::tempdir().expect("temporary folder");
    let index = home.path().join("index");
    for (text, wanted) in cases {
        r2former().args(["index", "create"]).arg(&index).assert().success();
        let path = table(home.path(), text);
        r2former().args(["index", "add"]).arg(&index).arg(&path).assert().success();
        let listed =
            r2former().args(["index", "list", "--json"]).arg(&index).assert().success().get_output().clone();
        let json: serde_json::Value =
            serde_json::from_slice(&listed.stdout).expect("JSON on standard output");
        let position = &json[0]["place"]["position"];
        for (axis, value) in [("lat", wanted[0].0), ("lon", wanted[0].1)] {
            let found = position[axis].as_f64().unwrap_or(f64::NAN);
            assert!((found - value).abs() < 1e-6, "{text}: {json}");
        }
        std::fs::remove_dir_all(&index).expect("was created above");
    }
}

/// A bad row costs itself alone.
#[test]
fn the_other_rows_are_added() {
    let (home, index, _photos) = small_index();
    write_photo(&home.path().join("b.jpg"), 5, None);
    let path = table(home.path(), "path,lat,lon\na.jpg,,0.1\nb.jpg,1,2\nc.jpg,x,2\n");
    let output = r2former()
        .args(["index", "add", "--json"])
        .arg(&index)
        .arg(&path)
        .assert()
        .code(3)
        .get_output()
        .clone();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON on standard output");
    assert_eq!((&json["added"], &json["already_indexed"]), (&1.into(), &0.into()));
    assert_eq!(json["without_position"][0]["reason"], "positions.csv:2: lat is empty");
    assert!(json["unreadable"][0]["path"].as_str().is_some_and(|p| p.ends_with("c.jpg")), "{json}");
    assert_eq!(json["unsupported"], serde_json::json!([]));
}

/// The same letter composed on one side and decomposed on the other.
#[test]
fn composed_and_decomposed_names_are_one() {
    let (home, index, _photos) = small_index();
    write_photo(&home.path().join("ne\u{301}.jpg"), 5, None);
    let path = table(home.path(), "path,lat,lon\nn\u{e9}.jpg,52,1\n");
    r2former().args(["index", "add"]).arg(&index).arg(&path).assert().success();
    let path = table(home.path(), "path,lat,lon\nne\u{301}.jpg,52,1\n");
    let output = r2former()
        .args(["index", "add", "--json"])
        .arg(&index)
        .arg(&path)
        .assert()
        .success()
        .get_output()
        .clone();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON on standard output");
    assert_eq!(json["already_indexed"], 1);
    let listed = r2former().args(["index", "list"]).arg(&index).assert().success().get_output().clone();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("n\u{e9}.jpg"));
    r2former().args(["index", "remove"]).arg(&index).arg("positions/ne\u{301}.jpg").assert().success();
}

#[test]
fn prior_must_be_a_position_with_a_radius() {
    let (_home, index, photos) = small_index();
    let query = |args: &[&str], code| {
        fails(r2former().arg("query").arg(&index).arg(photos.path().join("0.jpg")).args(args), code)
    };
    names(&query(&["--near", "91,0", "--radius", "10"], 1), &["latitude 91"]);
    names(&query(&["--near", "0,181", "--radius", "10"], 1), &["longitude 181"]);
    names(&query(&["--near", "somewhere"], 2), &["LAT,LON"]);
    names(&query(&["--near", "52,0"], 2), &["--radius"]);
    names(&query(&["--near", "52,0", "--radius", "nan"], 2), &["--radius"]);
}

#[test]
fn eval_names_what_is_wrong_with_the_positives() {
    let (_home, _index, photos) = small_index();
    let list = photos.path().join("positives.csv");
    let run = |text: &str| {
        std::fs::write(&list, text).expect("temporary folders can be written");
        let mut command = r2former();
        command.args(["eval", "pairs", "--database"]).arg(photos.path()).arg("--queries").arg(photos.path());
        fails(command.arg("--positives").arg(&list), 1)
    };
    names(&run("query,reference\n0.jpg,nothing.jpg\n"), &["positives.csv:2", "nothing.jpg"]);
    names(&run("0.jpg,1.jpg\n"), &["query,reference"]);
    names(&run(""), &["positives.csv"]);
    std::fs::remove_file(&list).expect("was written above");
    let mut command = r2former();
    command.args(["eval", "pairs", "--database"]).arg(photos.path()).arg("--queries").arg(photos.path());
    names(&fails(command.arg("--positives").arg(&list), 1), &["positives.csv"]);
}

#[test]
fn eval_of_an_empty_folder_is_an_error() {
    let (home, _index, photos) = small_index();
    let empty = home.path().join("empty");
    std::fs::create_dir(&empty).expect("temporary folders can be written");
    let mut command = r2former();
    command.args(["eval", "photos", "--database"]).arg(&empty).arg("--queries").arg(photos.path());
    names(&fails(&mut command, 1), &["empty"]);
}
