//! Whose photograph a name is: labels, changes since it was added, and files under two names.

mod common;

use common::{fails, names, r2former, write_photo};
use r2former_data::LatLon;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn at(lat: f64) -> Option<LatLon> {
    Some(LatLon { lat, lon: 7.0 })
}

/// An empty index, and a folder for photographs.
fn empty() -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().expect("temporary folder");
    let index = home.path().join("index");
    r2former().args(["index", "create", "--image-size", "32x32"]).arg(&index).assert().success();
    (home, index)
}

fn folder(home: &Path, name: &str) -> PathBuf {
    let folder = home.join(name);
    std::fs::create_dir_all(&folder).expect("temporary folders can be written");
    folder
}

/// The summary as JSON, and what was said besides.
fn add(index: &Path, sources: &[&Path], options: &[&str], code: i32) -> (Value, String) {
    let mut command = r2former();
    command.args(["index", "add", "--json"]).arg(index).args(sources).args(options);
    let output = command.assert().code(code).get_output().clone();
    let json = serde_json::from_slice(&output.stdout).expect("JSON on standard output");
    (json, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn refused(index: &Path, sources: &[&Path], options: &[&str]) -> String {
    fails(r2former().args(["index", "add"]).arg(index).args(sources).args(options), 1)
}

fn list(index: &Path) -> Vec<(String, Value)> {
    let output =
        r2former().args(["index", "list", "--json"]).arg(index).assert().success().get_output().clone();
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON on standard output");
    let places = json.as_array().cloned().unwrap_or_default().into_iter().map(|entry| entry["place"].clone());
    places.map(|place| (place["name"].as_str().unwrap_or_default().to_owned(), place)).collect()
}

fn listed(index: &Path) -> Vec<String> {
    list(index).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn two_cameras_never_share_a_name() {
    let (home, index) = empty();
    let [a, b] = ["a/DCIM", "b/DCIM"].map(|name| folder(home.path(), name));
    for i in 0..33 {
        write_photo(&a.join(format!("{i:02}.jpg")), i, at(10.0));
        write_photo(&b.join(format!("{i:02}.jpg")), 100 + i, at(60.0));
    }
    let [real_a, real_b] = [&a, &b].map(|path| path.canonicalize().expect("exists").display().to_string());
    let both = [real_a.as_str(), &real_b, "\"DCIM\"", "nothing was added", "--label"];
    names(&refused(&index, &[&a, &b], &[]), &both);
    assert!(listed(&index).is_empty());
    // In two commands as in one.
    assert_eq!(add(&index, &[&a], &[], 0).0["added"], 33);
    let said = refused(&index, &[&b], &[]);
    names(&said, &both);
    assert!(!said.contains("no longer exists"), "{said}");
    assert_eq!(add(&index, &[&b], &["--label", "south"], 0).0["added"], 33);
    let all = listed(&index);
    assert_eq!((all.len(), all[0].as_str(), all[33].as_str()), (66, "DCIM/00.jpg", "south/00.jpg"));
    let mut labels = r2former();
    labels.args(["index", "add"]).arg(&index).args([&a, &b]).args(["--label", "north"]);
    names(&fails(&mut labels, 2), &["1 labels for 2 sources"]);
    let (json, said) = add(&index, &[&b], &["--label", "north"], 0);
    assert_eq!((json["added"].clone(), json["duplicates"].as_array().map(Vec::len)), (json!(33), Some(33)));
    names(&said, &["second name", "north/00.jpg is south/00.jpg", "and 28 more"]);
    r2former().args(["index", "verify"]).arg(&index).assert().success();
}

#[test]
fn a_source_counts_once_and_so_does_a_file() {
    let (home, index) = empty();
    let photos = folder(home.path(), "photos");
    let inner = folder(home.path(), "photos/inner");
    write_photo(&photos.join("a.jpg"), 1, at(1.0));
    write_photo(&inner.join("b.jpg"), 2, at(2.0));
    let detour = inner.join("..");
    let (json, said) = add(&index, &[&inner, &photos, &detour, &photos.join("a.jpg")], &[], 0);
    assert_eq!((&json["added"], &json["duplicates"]), (&json!(2), &json!([])));
    names(&said, &["it counts once", "in several sources and count once"]);
    assert_eq!(listed(&index), ["photos/a.jpg", "photos/inner/b.jpg"]);
    // By itself it is the same image.
    assert_eq!(add(&index, &[&photos.join("a.jpg")], &[], 0).0["already_indexed"], 1);
    // In a later command the inner folder's files have a second name.
    let (json, said) = add(&index, &[&inner], &["--skip-duplicates"], 0);
    assert_eq!(json["skipped_duplicates"], json!([{ "name": "inner/b.jpg", "of": "photos/inner/b.jpg" }]));
    names(&said, &["inner/b.jpg is photos/inner/b.jpg"]);
    assert_eq!(listed(&index).len(), 2);
    let (json, said) = add(&index, &[&inner], &[], 0);
    assert_eq!((&json["added"], json["duplicates"].as_array().map(Vec::len)), (&json!(1), Some(1)));
    names(&said, &["overlaps", "\"photos\""]);
}

#[test]
fn a_photograph_beside_a_folder_of_the_index_is_not_in_it() {
    let (home, index) = empty();
    let (all, photos) = (folder(home.path(), "all"), folder(home.path(), "all/photos"));
    write_photo(&photos.join("a.jpg"), 1, at(1.0));
    write_photo(&all.join("b.jpg"), 2, at(2.0));
    add(&index, &[&photos], &[], 0);
    for sources in [[&all.join("b.jpg")], [&photos]] {
        let (_, said) = add(&index, &sources.map(PathBuf::as_path), &[], 0);
        assert!(!said.contains("overlaps"), "{said}");
    }
    let (_, said) = add(&index, &[&all], &[], 0);
    names(&said, &["overlaps", "\"photos\""]);
}

#[test]
fn a_photograph_that_two_sources_place_apart_is_left_out() {
    let (home, index) = empty();
    let photos = folder(home.path(), "photos");
    for (name, seed) in [("a.jpg", 1), ("b.jpg", 2)] {
        write_photo(&photos.join(name), seed, at(1.0));
    }
    let table = |name: &str, rows: &str| {
        let path = photos.join(name);
        std::fs::write(&path, format!("path,lat,lon\n{rows}")).expect("can be written");
        path
    };
    let first = table("first.csv", "a.jpg,52.1,0.1\nb.jpg,52.1,0.1\n");
    let second = table("second.csv", "a.jpg,52.3,0.1\nb.jpg,52.10001,0.1\n");
    let (json, _) = add(&index, &[&first, &second], &[], 3);
    assert_eq!(json["added"], 1);
    let reason = json["unreadable"][0]["reason"].as_str().unwrap_or_default().to_owned();
    names(&reason, &["first.csv says 52.1", "second.csv 52.3"]);
    let notes = json["notes"].to_string();
    names(&notes, &["2 photographs are in several sources", "of 2 the sources say different things"]);
    assert_eq!(listed(&index), ["first/b.jpg"]);
}

#[test]
fn a_corrected_table_arrives_on_request() {
    let (home, index) = empty();
    let survey = folder(home.path(), "survey");
    for i in 0..3 {
        write_photo(&survey.join(format!("{i}.jpg")), i, None);
    }
    let table = survey.join("route.csv");
    let write = |lat: f64, night: &str| {
        let text = format!("path,lat,lon,night\n0.jpg,{lat},7,{night}\n1.jpg,52,7,no\n2.jpg,53,7,no\n");
        std::fs::write(&table, text).expect("temporary folders can be written");
    };
    write(51.0, "no");
    assert_eq!(add(&index, &[&table], &[], 0).0["added"], 3);
    write(51.5, "yes");
    let changed = json!([{ "name": "route/0.jpg", "changes": [
        { "what": "position", "from": "51,7", "to": "51.5,7" },
        { "what": "tag night", "from": "no", "to": "yes" },
    ] }]);
    for _ in 0..2 {
        let (json, said) = add(&index, &[&table], &[], 3);
        assert_eq!((&json["already_indexed"], &json["changed"]), (&json!(2), &changed));
        names(&said, &["--update", "route/0.jpg: position from 51,7 to 51.5,7; tag night from no to yes"]);
        assert_eq!(list(&index)[0].1["position"]["lat"], 51.0);
    }
    let (json, _) = add(&index, &[&table], &["--update"], 0);
    assert_eq!((&json["updated"], &json["changed"]), (&changed, &json!([])));
    let place = &list(&index)[0].1;
    assert_eq!((&place["position"]["lat"], &place["tags"]["night"]), (&json!(51.5), &json!("yes")));
    assert_eq!(add(&index, &[&table], &["--update"], 0).0["already_indexed"], 3);
    r2former().args(["index", "verify"]).arg(&index).assert().success();
}

#[test]
fn a_replaced_photograph_is_listed_and_taken_on_request() {
    let (home, index) = empty();
    let photos = folder(home.path(), "photos");
    let [one, two] = ["1.jpg", "2.jpg"].map(|name| photos.join(name));
    write_photo(&one, 1, at(1.0));
    write_photo(&two, 2, at(2.0));
    add(&index, &[&photos], &[], 0);
    let before = list(&index);
    // The old file gets another name, and a new one its place: it is no duplicate once the change is taken.
    std::fs::rename(&one, photos.join("3.jpg")).expect("was written above");
    write_photo(&one, 9, at(1.0));
    let (json, said) = add(&index, &[&photos], &["--skip-duplicates"], 3);
    assert_eq!(json["changed"][0]["changes"][0]["what"], "file");
    assert_eq!(json["skipped_duplicates"], json!([{ "name": "photos/3.jpg", "of": "photos/1.jpg" }]));
    names(&said, &["photos/1.jpg: file from", "photos/3.jpg is photos/1.jpg"]);
    assert_eq!(list(&index), before);
    let (json, _) = add(&index, &[&photos], &["--skip-duplicates", "--update"], 0);
    assert_eq!((&json["added"], json["updated"].as_array().map(Vec::len)), (&json!(1), Some(1)));
    let after = list(&index);
    assert_eq!(after.len(), 3);
    assert_ne!(after[0].1["file"], before[0].1["file"]);
    assert_eq!(after[2].1["file"], before[0].1["file"]);
    assert_eq!(add(&index, &[&photos], &[], 0).0["already_indexed"], 3);
    r2former().args(["index", "verify"]).arg(&index).assert().success();
}

#[test]
fn a_folder_that_moved_says_so() {
    let (home, index) = empty();
    let old = folder(home.path(), "disk1/DCIM");
    write_photo(&old.join("1.jpg"), 1, at(1.0));
    add(&index, &[&old], &[], 0);
    let new = folder(home.path(), "disk2").join("DCIM");
    std::fs::rename(&old, &new).expect("was made above");
    names(&refused(&index, &[&new], &[]), &["disk1", "disk2", "no longer exists", "--moved", "--label"]);
    write_photo(&new.join("2.jpg"), 2, at(2.0));
    let (json, _) = add(&index, &[&new], &["--moved"], 0);
    assert_eq!((&json["added"], &json["already_indexed"]), (&json!(1), &json!(1)));
    assert_eq!(add(&index, &[&new], &[], 0).0["already_indexed"], 2);
    // It is remembered where nothing else changes too, and in a snapshot.
    let third = home.path().join("DCIM");
    std::fs::rename(&new, &third).expect("was made above");
    assert_eq!(add(&index, &[&third], &["--moved"], 0).0["already_indexed"], 2);
    let (snapshot, copy) = (home.path().join("snapshot"), home.path().join("copy"));
    r2former().args(["index", "export"]).args([&index, &snapshot]).assert().success();
    r2former().args(["index", "import"]).args([&snapshot, &copy]).assert().success();
    assert_eq!(add(&copy, &[&third], &[], 0).0["already_indexed"], 2);
    // A label without images is free.
    std::fs::create_dir_all(&old).expect("temporary folders can be written");
    write_photo(&old.join("1.jpg"), 5, at(1.0));
    names(&refused(&copy, &[&old], &[]), &["\"DCIM\""]);
    r2former().args(["index", "remove"]).arg(&copy).args(["DCIM/1.jpg", "DCIM/2.jpg"]).assert().success();
    assert_eq!(add(&copy, &[&old], &[], 0).0["added"], 1);
}

/// Other systems' file systems refuse such names.
#[cfg(target_os = "linux")]
#[test]
fn folders_that_are_no_text_are_shown_in_documents() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let home = tempfile::tempdir().expect("temporary folder");
    let folder = home.path().join(OsStr::from_bytes(b"n\xe9"));
    let json = |command: &mut common::Command| -> Value {
        let output = command.assert().success().get_output().stdout.clone();
        serde_json::from_slice(&output).expect("JSON")
    };
    let town = folder.join("town");
    let mut command = r2former();
    command.arg("town").arg(&town).args(["--blocks", "1x1", "--spacing", "200", "--queries", "1", "--json"]);
    let found = json(command.args(["--conditions", "day", "--size", "32x32"]));
    assert_eq!(found["dir"], town.to_string_lossy().as_ref());
    let index = folder.join("places");
    let found = json(r2former().args(["index", "create", "--json"]).arg(&index));
    assert_eq!(found["index"], index.to_string_lossy().as_ref());
    let photo = town.join("queries/day/000000.jpg");
    let found = json(r2former().args(["match", "--json"]).arg(&photo).arg(&photo));
    assert_eq!(found["a"], photo.to_string_lossy().as_ref());
    let out = folder.join("features.safetensors");
    let found = json(r2former().args(["extract", "--json"]).arg(&photo).arg("--out").arg(&out));
    assert_eq!(found["out"], out.to_string_lossy().as_ref());
}

#[cfg(unix)]
#[test]
fn bytes_that_are_no_text_name_an_image() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let (home, index) = empty();
    let photos = folder(home.path(), "photos");
    let raw = [b"n\xe8.jpg".as_slice(), b"n\xe9.jpg", br"n\xE9.jpg"];
    for (i, name) in raw.iter().enumerate() {
        write_photo(&photos.join(OsStr::from_bytes(name)), i as u32, at(1.0));
    }
    assert_eq!(add(&index, &[&photos], &[], 0).0["added"], 3);
    assert_eq!(listed(&index), [r"photos/n\x5CxE9.jpg", r"photos/n\xE8.jpg", r"photos/n\xE9.jpg"]);
    assert_eq!(add(&index, &[&photos], &[], 0).0["already_indexed"], 3);
    let query = photos.join(OsStr::from_bytes(raw[1]));
    let output = r2former()
        .arg("query")
        .arg(&index)
        .arg(&query)
        .args(["--json", "--rerank", "none", "--top", "1"])
        .assert();
    let json: Value = serde_json::from_slice(&output.success().get_output().stdout).expect("JSON");
    assert_eq!(json["answers"][0]["matches"][0]["path"], r"photos/n\xE9.jpg");
    // By the bytes, and as it is listed.
    let bytes = OsStr::from_bytes(b"photos/n\xe8.jpg");
    r2former().args(["index", "remove"]).arg(&index).arg(bytes).assert().success();
    r2former().args(["index", "remove"]).arg(&index).arg(r"photos/n\xE9.jpg").assert().success();
    assert_eq!(listed(&index), [r"photos/n\x5CxE9.jpg"]);
}
