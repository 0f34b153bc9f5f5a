//! Indexes of local positions and without positions; priors, tags and times of queries.

mod common;

use common::{fails, names, photo_folder, r2former, small_index, write_photo};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What a run printed on standard output, and on standard error.
fn said(command: &mut common::Command, code: i32) -> (String, String) {
    let output = command.assert().code(code).get_output().clone();
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn json(command: &mut common::Command) -> serde_json::Value {
    serde_json::from_str(&said(command.arg("--json"), 0).0).expect("JSON")
}

/// Six photographs of a corridor, 4 m apart, in a table.
fn corridor(origin: Option<&str>) -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().expect("temporary folder");
    let mut table = "path,x,y,z,room,timestamp\n".to_owned();
    for i in 0..6u32 {
        write_photo(&home.path().join(format!("{i}.jpg")), i, None);
        let room = if i < 3 { "hall" } else { "lab" };
        table += &format!("{i}.jpg,{},2.5,1.5,{room},2024-05-0{}T12:00:00Z\n", 4 * i, i + 1);
    }
    std::fs::write(home.path().join("corridor.csv"), table).expect("can be written");
    let index = home.path().join("index");
    let mut create = r2former();
    create.args(["index", "create", "--positions", "local"]).arg(&index);
    if let Some(origin) = origin {
        create.args(["--origin", origin]);
    }
    create.assert().success();
    r2former().args(["index", "add"]).arg(&index).arg(home.path().join("corridor.csv")).assert().success();
    (home, index)
}

fn query(index: &Path, photo: &Path) -> common::Command {
    let mut command = r2former();
    command.arg("query").arg(index).arg(photo).args(["--rerank", "none"]);
    command
}

#[test]
fn local_metres_from_the_table_to_the_answer() {
    let (home, index) = corridor(None);
    let photo = home.path().join("4.jpg");
    let answer = &json(&mut query(&index, &photo))["answers"][0];
    assert_eq!(answer["matches"][0]["position"], serde_json::json!({ "x": 16.0, "y": 2.5, "z": 1.5 }));
    assert_eq!(answer["prior"], serde_json::Value::Null);
    let near = &json(query(&index, &photo).args(["--near", "0,2.5,1.5", "--radius", "4"]))["answers"][0];
    assert_eq!(near["matches"].as_array().map(Vec::len), Some(2));
    assert_eq!(near["prior"]["radius_m"], 4.0);
    let (csv, _) = said(query(&index, &photo).arg("--csv"), 0);
    assert!(
        csv.starts_with("query,status,rank,path,x,y,z,heading") && csv.contains(",16.0,2.5,1.5,"),
        "{csv}"
    );
    let (info, _) = said(r2former().args(["index", "info"]).arg(&index), 0);
    names(&info, &["local metres", "0.00, 2.50, 1.50 to 20.00, 2.50, 1.50"]);
    let geo = fails(query(&index, &photo).arg("--geojson"), 1);
    names(&geo, &["--geojson", "without an origin", "--origin LAT,LON"]);
    for (near, wanted) in
        [("exif", "positions in EXIF are WGS84; this index has positions in local"), ("1,2", "")]
    {
        let mut command = query(&index, &photo);
        command.args(["--near", near, "--radius", "50"]);
        if wanted.is_empty() {
            command.assert().success();
        } else {
            names(&fails(&mut command, 1), &[wanted]);
        }
    }
    // Degrees do not come in, from EXIF or a table.
    let photos = photo_folder();
    let left = fails(r2former().args(["index", "add"]).arg(&index).arg(photos.path()), 1);
    names(&left, &["its EXIF position is in WGS84; this index has positions in local metres"]);
    let degrees = home.path().join("degrees.csv");
    std::fs::write(&degrees, "path,lat,lon\n0.jpg,52,0.1\n").expect("can be written");
    let refused = fails(r2former().args(["index", "add"]).arg(&index).arg(&degrees), 1);
    names(&refused, &["degrees.csv:1", "positions in WGS84 (columns lat, lon)", "local metres"]);
}

#[test]
fn an_origin_gives_degrees_to_geojson() {
    let (home, index) = corridor(Some("52.2,0.12,10"));
    let (text, _) = said(query(&index, &home.path().join("5.jpg")).args(["--geojson", "--top", "1"]), 0);
    let geo: serde_json::Value = serde_json::from_str(&text).expect("GeoJSON");
    let found = geo["features"].as_array().and_then(|all| all.last()).expect("a match");
    assert_eq!(found["properties"]["local"]["x"], 20.0);
    let point: Vec<f64> = serde_json::from_value(found["geometry"]["coordinates"].clone()).expect("a point");
    let from = r2former_data::LatLon { lat: 52.2, lon: 0.12 };
    let there = r2former_data::LatLon { lat: point[1], lon: point[0] };
    let metres = r2former_data::geo::geodesic_m(from, there);
    assert!((metres - 20.0f64.hypot(2.5)).abs() < 0.001 && (point[2] - 11.5).abs() < 0.001, "{point:?}");
    names(&fails(r2former().args(["index", "create", "x", "--origin", "1,2"]), 2), &["--positions is wgs84"]);
}

#[test]
fn an_index_without_positions_takes_every_photo() {
    let home = tempfile::tempdir().expect("temporary folder");
    let (index, rooms) = (home.path().join("index"), home.path().join("rooms"));
    let here = Some(r2former_data::LatLon { lat: 52.2, lon: 0.12 });
    for (i, name) in ["kitchen/0.jpg", "kitchen/1.jpg", "hall/2.jpg"].iter().enumerate() {
        let path = rooms.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("can be made");
        write_photo(&path, i as u32, here.filter(|_| i == 0));
    }
    r2former().args(["index", "create", "--positions", "none"]).arg(&index).assert().success();
    let (out, notes) = said(r2former().args(["index", "add"]).arg(&index).arg(&rooms), 0);
    names(&out, &["added 3 images"]);
    names(&notes, &["1 photographs have a position, which this index does not keep"]);
    let answer = &json(&mut query(&index, &rooms.join("hall/2.jpg")))["answers"][0];
    assert!(answer["matches"][0]["path"].as_str().is_some_and(|path| path.ends_with("hall/2.jpg")));
    assert_eq!(
        (&answer["estimate"], &answer["matches"][0]["position"]),
        (&serde_json::Value::Null, &serde_json::Value::Null)
    );
    let photo = rooms.join("hall/2.jpg");
    names(&said(&mut query(&index, &photo), 0).0, &["best match"]);
    names(
        &fails(query(&index, &photo).args(["--near", "1,2", "--radius", "5"]), 1),
        &["this index has no positions"],
    );
    names(&fails(query(&index, &photo).arg("--geojson"), 1), &["this index has no positions"]);
}

#[test]
fn tags_and_times_narrow_a_search() {
    let (home, index) = corridor(None);
    let photo = home.path().join("0.jpg");
    let count = |args: &[&str]| {
        let answer = json(query(&index, &photo).args(args));
        answer["answers"][0]["matches"].as_array().map(Vec::len)
    };
    assert_eq!(count(&["--tag", "room=lab"]), Some(3));
    assert_eq!(count(&["--since", "2024-05-02", "--until", "2024-05-04"]), Some(3));
    assert_eq!(count(&["--until", "2024-05", "--tag", "room=hall"]), Some(3));
    assert_eq!(count(&["--since", "2024-05-06T12:00:01Z"]), Some(0));
    assert_eq!(count(&["--tag", "room=lab", "--near", "12,2.5", "--radius", "4"]), Some(2));
    let (_, notes) = said(query(&index, &photo).args(["--tag", "floor=1"]), 0);
    names(&notes, &["no image of the index carries a tag floor"]);
    let (_, notes) = said(query(&index, &photo).args(["--tag", "room=attic"]), 0);
    names(&notes, &["no image of the index carries the tag room=attic"]);
    names(&fails(query(&index, &photo).args(["--tag", "room"]), 2), &["is not KEY=VALUE"]);
    names(&fails(query(&index, &photo).args(["--since", "2024-05-31T18:30"]), 2), &["with its zone"]);
    let (list, _) = said(r2former().args(["index", "list"]).arg(&index).args(["--tag", "room=lab"]), 0);
    assert_eq!(list.lines().count(), 3, "{list}");
}

#[test]
fn each_query_has_its_own_prior() {
    let (_home, index, photos) = small_index();
    let bare = photos.path().join("bare.jpg");
    write_photo(&bare, 9, None);
    let photo = photos.path().join("2.jpg");
    let both = || {
        let mut command = query(&index, &photo);
        command.arg(&bare);
        command
    };
    let answers = json(both().args(["--near", "exif", "--radius", "5"]));
    assert_eq!(answers["answers"][0]["matches"].as_array().map(Vec::len), Some(1));
    assert_eq!(answers["answers"][0]["prior"]["radius_m"], 5.0);
    assert_eq!(answers["answers"][1]["prior"], serde_json::Value::Null);
    names(
        &answers["answers"][1]["notes"].to_string(),
        &["has no GPS position in its EXIF: searched everywhere"],
    );
    let table = photos.path().join("priors.csv");
    std::fs::write(&table, "path,lat,lon,radius\n2.jpg,52.2,0.12,5\ngone.jpg,52,0,5\n")
        .expect("can be written");
    let (out, notes) = said(both().args(["--json", "--priors"]).arg(&table), 0);
    let answers: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert!(answers["answers"][0]["matches"][0]["path"].as_str().is_some_and(|path| path.ends_with("0.jpg")));
    names(&notes, &["does not name it: searched everywhere", "1 rows name no query, the first"]);
    std::fs::write(&table, "path,lat,lon\n2.jpg,52.2,0.12\n").expect("can be written");
    names(&fails(query(&index, &photo).arg("--priors").arg(&table), 1), &["rows without a radius"]);
}
