//! Datasets in which something is missing, unreadable or contradictory: the message says which and where, and what can
//! be evaluated is.

mod common;

use common::{fails, names, picture, r2former, write_photo};
use r2former_data::image::{PhotoTags, jpeg_with_tags};
use std::path::{Path, PathBuf};

/// The program, about to evaluate small images: what is tested is not how well.
fn eval(kind: &str) -> common::Command {
    let mut command = r2former();
    command.args(["eval", kind, "--image-size", "32x32"]);
    command
}

fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().expect("has a folder")).expect("temporary folders can be written");
    std::fs::write(path, bytes).expect("temporary folders can be written");
}

/// Standard output as JSON and standard error as text of a run that ends with this code.
fn ended(command: &mut common::Command, code: i32) -> (serde_json::Value, String) {
    let output = command.arg("--json").assert().code(code).get_output().clone();
    let json = serde_json::from_slice(&output.stdout).expect("JSON on standard output");
    (json, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn fixture(dir: &Path, name: &str) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/tests/parity").join(name);
    let to = dir.join("datasets").join(name);
    write(&to, std::fs::read(from).expect("a fixture"));
    to
}

#[test]
fn an_unreadable_image_among_thousands_is_listed_and_the_run_continues() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let bytes = jpeg_with_tags(&picture(1, 32, 32), 90, &PhotoTags::default()).expect("encodes");
    for side in ["summer", "winter"] {
        for i in 0..1000 {
            write(&dir.path().join(side).join(format!("{i}.jpg")), &bytes);
        }
    }
    write(&dir.path().join("summer/777.jpg"), &bytes[..bytes.len() / 2]);
    let mut command = eval("frames");
    command.arg("--database").arg(dir.path().join("summer"));
    command.arg("--queries").arg(dir.path().join("winter"));
    let (json, said) = ended(command.args(["--rerank", "none", "--tolerance", "1"]), 3);
    assert_eq!(json["unusable"].as_array().map(Vec::len), Some(1));
    assert!(json["unusable"][0]["path"].as_str().is_some_and(|path| path.ends_with("777.jpg")), "{json}");
    assert_eq!(
        (json["protocol"]["queries"].as_u64(), json["protocol"]["database"].as_u64()),
        (Some(1000), Some(1000))
    );
    names(&said, &["777.jpg"]);
}

#[test]
fn missing_images_of_a_structure_are_listed() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let mat = fixture(dir.path(), "pitts_packed.mat");
    for (name, seed) in [("000/a_pitch1_yaw1.jpg", 1), ("queries_real/000/q_pitch1_yaw1.jpg", 2)] {
        write(&dir.path().join(name), b"");
        write_photo(&dir.path().join(name), seed, None);
    }
    let (json, said) = ended(eval("dbstruct").arg(&mat), 3);
    assert_eq!(json["unusable"].as_array().map(Vec::len), Some(2));
    names(&said, &["b_pitch1_yaw1.jpg", "c_pitch2_yaw24.jpg"]);
    assert_eq!(json["protocol"]["query_preprocessing"], "hard_resize");
    // The one image that is there is within 25 m.
    assert_eq!(json["recall"]["global"]["1"], 1.0);
}

#[test]
fn one_odd_name_or_missing_tile_costs_only_itself() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let at = |name: &str| dir.path().join(name);
    for (side, name) in [
        ("database", "@585000.5@4477000.5@17@T@@@@@90@@@@@@.jpg"),
        ("database", "cover.jpg"),
        ("queries", "@585001.5@4477000.5@17@T@@@@@north@@@@@@.jpg"),
    ] {
        let path = at("vg/images/test").join(side).join(name);
        write(&path, b"");
        write_photo(&path, 1, None);
    }
    let (json, _) = ended(eval("vg").arg(at("vg")), 3);
    let notes = json["protocol"]["notes"].to_string();
    names(&notes, &["database: 1 skipped", "cover.jpg", "without their heading", "heading 'north'"]);
    assert_eq!((&json["recall"]["global"]["1"], &json["unusable"]), (&1.0.into(), &serde_json::json!([])));

    for (seed, tile) in (1..).zip(["0_0", "0_1", "0_2", "1_0", "1_3", "2_0", "3_0"]) {
        let path = at("panoramas/tiles").join(format!("{tile}.jpg"));
        write(&path, b"");
        write_photo(&path, seed, None);
    }
    write(&at("panoramas/panoramas.csv"), "id,lat,lon\n0,52.2,0.1\n1,52.2,0.1\n2,52.2,0.1\n3,52.2,0.1\n");
    let (json, _) = ended(eval("panoramas").arg(at("panoramas")).args(["--every", "3"]), 3);
    let notes = json["protocol"]["notes"].to_string();
    names(
        &notes,
        &["tiles: 9 skipped: ", "0_3.jpg", "1_1.jpg", "1_2.jpg", "and 6 more", "every 3rd panorama"],
    );
}

#[test]
fn malformed_structures_say_what_is_wrong() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let said = |path: &Path| fails(eval("dbstruct").arg(path), 1);
    let whole = std::fs::read(fixture(dir.path(), "pitts_packed.mat")).expect("was written above");
    let bad = dir.path().join("bad.mat");
    write(&bad, &whole[..whole.len() / 2]);
    names(&said(&bad), &["bad.mat", "ends in the middle of an element"]);
    write(&bad, b"MATLAB");
    names(&said(&bad), &["bad.mat", "no MATLAB file"]);
    let mut hdf5 = whole.clone();
    hdf5[125] = 2;
    write(&bad, &hdf5);
    names(&said(&bad), &["bad.mat", "7.3", "-v7"]);
    names(&said(&fixture(dir.path(), "pitts_no_queries.mat")), &["no field qImageFns"]);
    names(&said(&fixture(dir.path(), "pitts_short.mat")), &["utmDb", "2 x 2", "2 x 3"]);
    names(&said(&fixture(dir.path(), "numbers.mat")), &["no variable dbStruct", "x, s, z"]);
    names(&said(&fixture(dir.path(), "pitts_plain.mat")), &["a_pitch1_yaw1.jpg", "name their folder"]);
    names(&said(&dir.path().join("gone.mat")), &["gone.mat"]);
}

#[test]
fn st_lucia_names_file_line_and_column() {
    let dir = tempfile::tempdir().expect("temporary folder");
    for pass in ["1", "2"] {
        write(&dir.path().join(pass).join("fGPS.txt"), "27.5000,153.0\n27.5001,153.0\n");
        for i in 0..2 {
            write_photo(&dir.path().join(pass).join(format!("{i}.jpg")), i, None);
        }
    }
    let (json, _) = ended(eval("st-lucia").arg(dir.path()), 0);
    assert_eq!(json["protocol"]["dataset"], "St Lucia, pass 2 in 1");
    write(&dir.path().join("2/fGPS.txt"), "27.5000,153.0\n27.5001,153.0,18.2\n");
    names(&fails(eval("st-lucia").arg(dir.path()), 1), &["2/fGPS.txt:2", "3 columns", "latitude,longitude"]);
    write(&dir.path().join("2/fGPS.txt"), "lat,lon\n27.5001,153.0\n");
    names(
        &fails(eval("st-lucia").arg(dir.path()), 1),
        &["2/fGPS.txt:1", "column 1", "\"lat\" is not a number"],
    );
}

#[test]
fn a_query_without_a_position_is_named() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let city = |name: &str, positions: [&str; 2]| {
        for side in ["query", "database"] {
            let folder = dir.path().join("train_val").join(name).join(side);
            let places = if side == "query" { positions } else { ["12.5,55.6"; 2] };
            let (mut raw, mut kept) =
                (",key,lon,lat,ca,captured_at,pano\n".to_owned(), ",key,all\n".to_owned());
            for (i, place) in places.iter().enumerate() {
                raw += &format!("{i},k{i}_{side},{place},90,2018,False\n");
                kept += &format!("{i},k{i}_{side},True\n");
            }
            write(&folder.join("raw.csv"), raw);
            write(&folder.join("subtask_index.csv"), kept);
        }
        fails(eval("msls").arg(dir.path()).args(["--cities", name]), 1)
    };
    names(&city("cph", ["12.5,55.6", ","]), &["cph/query/k1_query", "has no position"]);
    // Nobody's position: a challenge, which can be ranked.
    names(&city("sf", [","; 2]), &["MSLS sf", "no positions", "--predictions"]);
    let photos = common::photo_folder();
    write(&photos.path().join("q.csv"), "path,lat,lon\n0.jpg,52.2,0.12\n1.jpg,,0.12\n");
    let mut command = eval("photos");
    command.arg("--database").arg(photos.path()).arg("--queries").arg(photos.path().join("q.csv"));
    // A bad row costs itself, and the exit code says that something was left out.
    names(&fails(&mut command, 3), &["q.csv:3", "lat is empty"]);
    write(&photos.path().join("images/test/queries/nowhere.jpg"), b"");
    write(&photos.path().join("images/test/database/@1@2@@@@@@@@@@@@@.jpg"), b"");
    names(&fails(eval("vg").arg(photos.path()), 1), &["nowhere.jpg", "@UTM_east@UTM_north@"]);
}

#[test]
fn every_query_preprocessing_is_named_in_its_report() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let mut rows = "query,reference,weather\n".to_owned();
    for i in 0..4u32 {
        let (width, height) = [(90, 60), (60, 90), (64, 64), (96, 70)][i as usize];
        for side in ["db", "q"] {
            let bytes =
                jpeg_with_tags(&picture(i, width, height), 90, &PhotoTags::default()).expect("encodes");
            write(&dir.path().join(side).join(format!("{i}.jpg")), bytes);
        }
        rows += &format!("{i}.jpg,{i}.jpg,{}\n", ["rain", "sun"][i as usize % 2]);
    }
    write(&dir.path().join("positives.csv"), rows);
    let queries = "path,time\nq/0.jpg,2024-01-31T23:00Z\nq/1.jpg,2024-01-31T12:00Z\nq/2.jpg,\nq/3.jpg,\n";
    write(&dir.path().join("q.csv"), queries);
    let command = |queries: &str| {
        let mut command = eval("pairs");
        for (name, path) in [("--database", "db"), ("--queries", queries), ("--positives", "positives.csv")] {
            command.arg(name).arg(dir.path().join(path));
        }
        command
    };
    let ways = ["hard_resize", "single_query", "central_crop", "five_crops", "nearest_crop", "maj_voting"];
    for way in ways {
        for rerank in ["none", "ransac"] {
            let report = dir.path().join("report");
            let mut command = command("q");
            command
                .args(["--query-preprocessing", way, "--rerank", rerank, "--by", "weather"])
                .arg("--report")
                .arg(&report);
            let (json, _) = ended(&mut command, 0);
            assert_eq!(json["protocol"]["query_preprocessing"], way);
            assert_eq!(json["recall_by"][0]["tag"], "weather");
            assert_eq!(json["recall_by"][0]["groups"]["rain"]["queries"], 2);
            let page = std::fs::read_to_string(report.join("report.html")).expect("was written");
            names(&page, &[&format!("{way}: "), "By weather", "rain"]);
            assert_eq!(
                page.contains("reranked by the whole query"),
                rerank == "ransac" && ["five_crops", "nearest_crop", "maj_voting"].contains(&way),
                "{way}"
            );
        }
    }
    names(&fails(command("q").args(["--query-preprocessing", "ten_crops"]), 2), &["ten_crops", "five_crops"]);
    names(&fails(command("q").args(["--by", "wether"]), 1), &["no query has the tag wether", "weather"]);
    write(
        &dir.path().join("positives.csv"),
        "query,reference,weather\nq/0.jpg,0.jpg,rain\nq/1.jpg,1.jpg,sun\n",
    );
    let (json, _) = ended(command("q.csv").args(["--by", "weather,daytime"]), 0);
    let tags: Vec<_> = json["recall_by"].as_array().expect("tables").iter().map(|by| &by["tag"]).collect();
    assert_eq!(tags, ["weather", "daytime"]);
    assert_eq!(json["recall_by"][1]["groups"]["night"]["queries"], 1);
    assert_eq!(json["recall_by"][1]["groups"]["(none)"]["queries"], 2);
}

#[test]
fn too_elongated_queries_are_listed() {
    let dir = tempfile::tempdir().expect("temporary folder");
    for (name, width) in [("db/0.jpg", 64), ("q/0.jpg", 64), ("q/strip.jpg", 640)] {
        let bytes = jpeg_with_tags(&picture(1, width, 64), 90, &PhotoTags::default()).expect("encodes");
        write(&dir.path().join(name), bytes);
    }
    write(&dir.path().join("p.csv"), "query,reference\n0.jpg,0.jpg\nstrip.jpg,0.jpg\n");
    let mut command = eval("pairs");
    for (name, path) in [("--database", "db"), ("--queries", "q"), ("--positives", "p.csv")] {
        command.arg(name).arg(dir.path().join(path));
    }
    let (json, said) = ended(command.args(["--query-preprocessing", "single_query"]), 3);
    assert_eq!(json["unusable"].as_array().map(Vec::len), Some(1));
    names(&said, &["strip.jpg", "640 x 64", "hard_resize"]);
}

#[test]
fn a_table_without_positions_is_no_set_of_photos() {
    let photos = common::photo_folder();
    write(&photos.path().join("q.csv"), "path,condition\n0.jpg,night\n");
    let mut command = eval("photos");
    command.arg("--database").arg(photos.path()).arg("--queries").arg(photos.path().join("q.csv"));
    names(&fails(&mut command, 1), &["q.csv:1", "no column for the position"]);
}
