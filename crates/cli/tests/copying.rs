//! `index copy` as a process: killed in the middle and resumed, refused, and what it prints.

mod common;

use common::{PROGRAM, fails, names, r2former, small_index};
use r2former_index::{Filter, Manifest, NewPlace, Place, ReadPlaces, Reader, WritePlaces, Writer};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Images of the index that is copied: several writes of them.
const IMAGES: usize = 4000;

/// Fills an index with images whose vectors are of their usual size.
fn fill(dir: &Path) {
    let config = Manifest::read(dir).expect("an index").config;
    let mut writer = Writer::open(dir, &config.fingerprint).expect("an index");
    for first in (0..IMAGES).step_by(500) {
        let images = first..first + 500;
        let images: Vec<NewPlace> = images
            .map(|i| NewPlace {
                place: Place { name: format!("street/{i}.jpg"), ..Place::default() },
                global: (0..config.global_dim).map(|k| ((i * 31 + k * 17) % 101) as f32 - 50.0).collect(),
                local: (0..config.row_width * config.max_rows).map(|k| (i + k) as u8).collect(),
            })
            .collect();
        writer.add(&images).expect("room");
    }
    writer.close().expect("closed");
}

/// Images of the target; 0 where there is none yet.
fn count(dir: &Path) -> usize {
    let reader = Reader::open(dir, None).ok();
    reader.and_then(|reader| reader.count(&Filter::default()).ok()).unwrap_or(0)
}

fn json(ended: &common::Ended) -> Value {
    serde_json::from_slice(&ended.get_output().stdout).expect("JSON")
}

#[test]
fn a_killed_copy_resumes() {
    let home = tempfile::tempdir().expect("temporary folder");
    let from = home.path().join("from");
    r2former().args(["index", "create"]).arg(&from).assert().success();
    fill(&from);
    let mut cut = 0;
    for round in 0..5 {
        let to = home.path().join(format!("to-{round}"));
        let mut child = Command::new(PROGRAM)
            .args(["index", "copy"])
            .args([&from, &to])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        while count(&to) == 0 && child.try_wait().expect("it was started").is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = child.kill();
        child.wait().expect("it was started");
        let there = count(&to);
        assert!(there > 0);
        cut += usize::from(there < IMAGES);
        let ended = r2former().args(["index", "copy", "--json"]).args([&from, &to]).assert().success();
        let report = json(&ended);
        assert_eq!((&report["copied"], &report["already_there"]), (&(IMAGES - there).into(), &there.into()));
        assert_eq!(
            (&report["verified"]["images"], &report["verified"]["problems"]),
            (&IMAGES.into(), &Value::Array(vec![]))
        );
        assert!(
            report["verified"]["samples"].as_u64().is_some_and(|samples| (900..=1000).contains(&samples)),
            "{report}"
        );
        r2former().args(["index", "verify"]).arg(&to).assert().success();
        if cut == 2 {
            return;
        }
    }
    assert!(cut > 0, "no run was cut off in the middle");
}

#[test]
fn a_copy_answers_as_its_source() {
    let (home, index, photos) = small_index();
    let to = home.path().join("copy");
    let ended = r2former().args(["index", "copy", "--verify-all"]).args([&index, &to]).assert().success();
    let out = String::from_utf8_lossy(&ended.get_output().stdout).into_owned();
    names(
        &out,
        &["copied 3 images", "0 already there", "3 images; 3 compared with their source, 0 problems"],
    );
    let answer = |index: &Path| {
        let photo = photos.path().join("1.jpg");
        let ended = r2former().arg("query").arg(index).arg(photo).args(["--csv"]).assert().success();
        String::from_utf8_lossy(&ended.get_output().stdout).into_owned()
    };
    assert_eq!(answer(&index), answer(&to));
    // A photograph that is another in the copy stays, and is named.
    common::write_photo(&photos.path().join("1.jpg"), 8, Some(r2former_data::LatLon { lat: 1.0, lon: 2.0 }));
    r2former().args(["index", "add", "--update"]).args([&index, photos.path()]).assert().success();
    let said = fails(r2former().args(["index", "copy"]).args([&index, &to]), 1);
    names(&said, &["differs, and stays", "1.jpg", "position from", "--update"]);
    let ended =
        r2former().args(["index", "copy", "--update", "--json"]).args([&index, &to]).assert().success();
    assert_eq!((&json(&ended)["updated"], &json(&ended)["already_there"]), (&1.into(), &2.into()));
    assert_eq!(answer(&index), answer(&to));
}

#[test]
fn what_only_a_collection_has_is_refused_for_a_folder() {
    let (home, index, photos) = small_index();
    let new = home.path().join("new");
    for option in [
        &["--shards", "2"][..],
        &["--replicas", "2"],
        &["--write-consistency", "1"],
        &["--quantization", "int8"],
        &["--on-disk"],
    ] {
        let said = fails(r2former().args(["index", "create"]).arg(&new).args(option), 2);
        names(&said, &["options of a collection", "new"]);
        let said = fails(r2former().args(["index", "copy"]).args([&index, &new]).args(option), 2);
        names(&said, &["options of a collection", "new"]);
    }
    assert!(!new.exists());
    let said = fails(r2former().arg("query").args([&index, photos.path()]).arg("--approximate"), 2);
    names(&said, &["--approximate", "collections"]);
    fails(r2former().args(["index", "create"]).arg(&new).args(["--shards", "0"]), 2);
    fails(r2former().args(["index", "create"]).arg(&new).args(["--quantization", "int4"]), 2);
}

#[test]
fn an_address_that_is_none_is_a_wrong_command_line() {
    for (address, part) in [
        ("qdrant://localhost:6334", "names no collection"),
        ("qdrant:/localhost:6334/streets", "two slashes"),
        ("qdrant://secret@localhost:6334/streets", "R2FORMER_QDRANT_KEY"),
    ] {
        let said = fails(r2former().args(["index", "info", address]), 2);
        names(&said, &[part]);
        assert!(!said.contains("secret"), "{said}");
    }
    let home = tempfile::tempdir().expect("temporary folder");
    let file = home.path().join("snapshot");
    let address = "qdrant://localhost:1/streets";
    let said = fails(r2former().args(["index", "export", address]).arg(&file), 1);
    names(&said, &[address, "r2former index copy"]);
    std::fs::write(&file, "").expect("a file");
    let said = fails(r2former().args(["index", "import"]).arg(&file).arg(address), 1);
    names(&said, &[address, "r2former index copy"]);
}
