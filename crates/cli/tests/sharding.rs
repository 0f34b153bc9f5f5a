//! A job that several machines share: together they do what one run does, and a lost part runs again.

mod common;

use common::{PROGRAM, fails, names, r2former, write_photo};
use r2former_data::LatLon;
use r2former_data::image::{PhotoTags, Rgb8, jpeg_with_tags};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const SHARDS: usize = 4;

fn here(i: u32) -> Option<LatLon> {
    Some(LatLon { lat: 52.2 + 0.0002 * f64::from(i), lon: 0.12 })
}

/// Photographs, a panorama, and some of each kind that is left out.
fn folder(home: &Path) -> PathBuf {
    let folder = home.join("camera");
    std::fs::create_dir_all(folder.join("day 1")).expect("temporary folders can be written");
    for i in 0..24 {
        write_photo(&folder.join(format!("day 1/{i:02}.jpg")), i, here(i));
    }
    for i in 0..4 {
        write_photo(&folder.join(format!("bare-{i}.jpg")), 30 + i, None);
        std::fs::write(folder.join(format!("broken-{i}.jpg")), b"no photograph").expect("can be written");
    }
    let sky = Rgb8 { width: 2000, height: 1000, pixels: vec![90; 2000 * 1000 * 3] };
    let tags = PhotoTags { position: here(50), heading: Some(10.0), ..Default::default() };
    let bytes = jpeg_with_tags(&sky, 50, &tags).expect("a sound picture encodes");
    std::fs::write(folder.join("sky.jpg"), bytes).expect("can be written");
    folder
}

fn create(index: &Path) {
    r2former().args(["index", "create", "--image-size", "64x64"]).arg(index).assert().success();
}

fn json(command: &mut common::Command, code: i32) -> Value {
    let output = command.assert().code(code).get_output().clone();
    serde_json::from_slice(&output.stdout).expect("JSON on standard output")
}

/// Everything that an index says of its images, by name.
fn places(index: &Path) -> BTreeMap<String, Value> {
    let list = json(r2former().args(["index", "list", "--json"]).arg(index), 0);
    let each = list.as_array().expect("a list").iter();
    each.map(|one| (one["place"]["name"].as_str().expect("a name").to_owned(), one.clone())).collect()
}

/// The best match of a query by its descriptor: of a photograph of the index itself.
fn best(index: &Path, query: &Path) -> Value {
    let answer = json(r2former().args(["query", "--json", "--rerank", "none"]).arg(index).arg(query), 0);
    answer["answers"][0]["matches"][0].clone()
}

fn left_out(report: &Value) -> Vec<String> {
    let mut all: Vec<String> = ["without_position", "unreadable", "unsupported"]
        .iter()
        .flat_map(|kind| {
            report[kind].as_array().expect("a list").iter().map(move |one| format!("{kind} {one}"))
        })
        .collect();
    all.sort();
    all
}

#[test]
fn shards_together_are_one_run() {
    let home = tempfile::tempdir().expect("temporary folder");
    let photos = folder(home.path());
    let whole = home.path().join("whole");
    create(&whole);
    let one = json(r2former().args(["index", "add", "--json"]).args([&whole, &photos]), 3);
    assert_eq!(one["added"], 24 + 8);

    let mut all = BTreeMap::new();
    let mut skipped = Vec::new();
    let shards: Vec<PathBuf> = (0..SHARDS).map(|i| home.path().join(format!("places-{i}"))).collect();
    for (i, index) in shards.iter().enumerate() {
        create(index);
        let shard = format!("{i}/{SHARDS}");
        let add = || {
            let mut command = r2former();
            command.args(["index", "add", "--json", "--shard", &shard]).args([index, &photos]);
            let output = command.assert().get_output().clone();
            assert!(
                matches!(output.status.code(), Some(0 | 3)),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            serde_json::from_slice::<Value>(&output.stdout).expect("JSON on standard output")
        };
        let report = add();
        let own = places(index);
        assert_eq!(report["added"], own.len());
        skipped.extend(left_out(&report));
        // A second run adds nothing.
        let again = add();
        assert_eq!((&again["added"], &again["already_indexed"]), (&0.into(), &own.len().into()));
        assert!(own.keys().all(|name| !all.contains_key(name)), "an image is in two shards");
        all.extend(own);
    }
    assert_eq!(all, places(&whole));
    skipped.sort();
    assert_eq!(skipped, left_out(&one));
    let views: Vec<_> = shards.iter().map(|index| places(index)).collect();
    let with_views = views.iter().filter(|own| own.keys().any(|name| name.contains('#')));
    assert_eq!(with_views.count(), 1, "the views of a panorama are in one shard");

    let report = json(r2former().args(["shards", "check", "--json"]).arg(home.path()), 0);
    assert_eq!((&report["whole"], &report["listed"]), (&true.into(), &40.into()));
    assert_eq!(report["already_indexed"], 32);
    assert_eq!(report["skipped"].as_array().map(Vec::len), Some(8));
    assert_eq!(report["targets"].as_array().map(Vec::len), Some(SHARDS));

    // The features are the same, wherever they were computed.
    for i in [0, 7, 23] {
        let query = photos.join(format!("day 1/{i:02}.jpg"));
        let name = format!("camera/day 1/{i:02}.jpg");
        let own = shards.iter().find(|index| places(index).contains_key(&name)).expect("in one of them");
        assert_eq!(best(own, &query)["similarity"], best(&whole, &query)["similarity"]);
    }
}

#[test]
fn a_job_is_whole_when_all_of_it_is() {
    let home = tempfile::tempdir().expect("temporary folder");
    let photos = folder(home.path());
    let index = home.path().join("places");
    create(&index);
    for i in [0, 2] {
        let shard = format!("{i}/3");
        let output = r2former().args(["index", "add", "--shard", &shard]).args([&index, &photos]).assert();
        assert!(matches!(output.get_output().status.code(), Some(0 | 3)));
    }
    let manifest = |i: usize| home.path().join(format!("places.shard-{i}-of-3.json"));
    let said = fails(r2former().args(["shards", "check"]).args([manifest(0), manifest(2)]), 1);
    names(&said, &["not whole", "without a manifest: 1 of 3"]);
    // One that cannot work says why.
    let lost = home.path().join("lost");
    let said = fails(
        r2former().args(["index", "add", "--shard", "1/3"]).args([&index, &photos]).arg("--label").arg("x/y"),
        2,
    );
    names(&said, &["label"]);
    assert!(!manifest(1).exists());
    let bad = home.path().join("bad.csv");
    std::fs::write(&bad, "path,lat\na.jpg,1\n").expect("can be written");
    let mut command = r2former();
    command.args(["index", "add", "--shard", "1/3", "--manifest"]).arg(&lost).args([&index, &bad]);
    names(&fails(&mut command, 1), &["bad.csv"]);
    let said = fails(r2former().args(["shards", "check"]).arg(manifest(0)).arg(&lost), 1);
    names(&said, &["of another job"]);
    let written: Value = serde_json::from_slice(&std::fs::read(&lost).expect("a manifest")).expect("JSON");
    assert_eq!((&written["finished"], written["error"].is_string()), (&false.into(), true));
}

#[test]
fn a_killed_shard_runs_again() {
    let home = tempfile::tempdir().expect("temporary folder");
    let (index, photos) = (home.path().join("places"), home.path().join("camera"));
    std::fs::create_dir(&photos).expect("temporary folders can be written");
    for i in 0..300 {
        write_photo(&photos.join(format!("{i:04}.jpg")), i, here(i));
    }
    create(&index);
    let manifest = home.path().join("places.shard-0-of-2.json");
    let mut cut = 0;
    for round in 0..8u64 {
        let _ = std::fs::remove_file(&manifest);
        let mut child = Command::new(PROGRAM)
            .args(["index", "add", "--shard", "0/2"])
            .args([&index, &photos])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        // Its manifest stands there before any work is done.
        for _ in 0..3000 {
            if manifest.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(60 * round));
        let _ = child.kill();
        if !child.wait().expect("it was started").success() {
            cut += 1;
            let said = fails(r2former().args(["shards", "check"]).arg(&manifest), 1);
            names(&said, &["not finished: 0 of 2", "without a manifest: 1 of 2"]);
        }
    }
    assert!(cut > 1, "only {cut} runs were cut off in the middle");
    for shard in ["0/2", "1/2"] {
        r2former().args(["index", "add", "--shard", shard]).args([&index, &photos]).assert().success();
    }
    let report = json(r2former().args(["shards", "check", "--json"]).arg(home.path()), 0);
    assert_eq!(report["listed"], 300);
    assert_eq!(places(&index).len(), 300);
    r2former().args(["index", "verify"]).arg(&index).assert().success();
}

#[test]
fn files_in_several_sources_count_once_in_all_shards() {
    let home = tempfile::tempdir().expect("temporary folder");
    let photos = folder(home.path());
    let inner = photos.join("day 1");
    let (whole, parts) = (home.path().join("whole"), home.path().join("parts"));
    create(&whole);
    create(&parts);
    r2former().args(["index", "add"]).args([&whole, &inner, &photos]).assert().code(3);
    let mut outer_notes = 0;
    for i in 0..3 {
        let shard = format!("{i}/3");
        let ended =
            r2former().args(["index", "add", "--shard", &shard]).args([&parts, &inner, &photos]).assert();
        let said = String::from_utf8_lossy(&ended.get_output().stderr).into_owned();
        outer_notes += usize::from(said.contains("are in several sources and count once"));
    }
    assert_eq!(places(&parts), places(&whole));
    assert_eq!(outer_notes, 1);
}

#[test]
fn shards_of_tables_are_one_run() {
    let home = tempfile::tempdir().expect("temporary folder");
    let photos = folder(home.path());
    let rows: String = (0..30).map(|i| format!("day 1/{i:02}.jpg,52.{i},0.1\n")).collect();
    let table = photos.join("table.csv");
    std::fs::write(&table, format!("path,lat,lon\n{rows},52.1,0.1\n")).expect("can be written");
    let (whole, parts) = (home.path().join("whole"), home.path().join("parts"));
    create(&whole);
    create(&parts);
    let one = json(r2former().args(["index", "add", "--json"]).args([&whole, &table]), 3);
    let mut skipped = Vec::new();
    for i in 0..3 {
        let mut command = r2former();
        command.args(["index", "add", "--json", "--shard", &format!("{i}/3")]).args([&parts, &table]);
        let output = command.assert().get_output().clone();
        skipped.extend(left_out(&serde_json::from_slice(&output.stdout).expect("JSON")));
    }
    skipped.sort();
    assert_eq!((places(&parts), skipped), (places(&whole), left_out(&one)));
    assert_eq!(places(&parts).len(), 24);
}

#[test]
fn descriptor_files_of_shards_are_merged() {
    let home = tempfile::tempdir().expect("temporary folder");
    let photos = home.path().join("camera");
    std::fs::create_dir(&photos).expect("temporary folders can be written");
    for i in 0..9 {
        write_photo(&photos.join(format!("{i}.jpg")), i, None);
    }
    let at = |name: &str| home.path().join(name);
    let extract = |out: &Path| {
        let mut command = r2former();
        command.args(["extract", "--image-size", "64x64", "--json", "--out"]).arg(out);
        command
    };
    let whole = json(extract(&at("whole")).arg(&photos), 0);
    let files: Vec<PathBuf> = (0..3).map(|i| at(&format!("part-{i}"))).collect();
    let mut count = 0;
    for (i, file) in files.iter().enumerate() {
        let part = json(extract(file).args(["--shard", &format!("{i}/3")]).arg(&photos), 0);
        count += part["names"].as_array().expect("names").len();
    }
    assert_eq!(count, 9);
    r2former().args(["shards", "check"]).arg(home.path()).assert().success();
    r2former().args(["shards", "merge"]).arg(at("merged")).args(files.iter().rev()).assert().success();
    let load = |name: &str| {
        let bytes = std::fs::read(at(name)).expect("was written");
        let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
        let (_, about) = safetensors::SafeTensors::read_metadata(&bytes).expect("safetensors");
        let tensor = |name: &str| {
            let view = tensors.tensor(name).expect("is there");
            (view.shape().to_vec(), view.data().to_vec())
        };
        (about.metadata().clone().expect("a header"), tensor("global"), tensor("local"))
    };
    assert_eq!(load("merged"), load("whole"));
    assert_eq!(whole["names"].as_array().map(Vec::len), Some(9));
    let said = fails(r2former().args(["shards", "merge"]).arg(at("x")).args(&files[..2]), 1);
    names(&said, &["shards are missing: 2/3"]);
    assert!(!at("x").exists());
    // Never over one of the files themselves.
    let before = std::fs::read(&files[0]).expect("was written");
    names(
        &fails(r2former().args(["shards", "merge"]).arg(&files[0]).args(&files), 2),
        &["part-0", "name another"],
    );
    assert_eq!(std::fs::read(&files[0]).expect("is still there"), before);
    // A job of one shard.
    json(extract(&at("alone")).args(["--shard", "0/1"]).arg(&photos), 0);
    r2former().args(["shards", "merge"]).arg(at("of-one")).arg(at("alone")).assert().success();
    assert_eq!(load("of-one"), load("whole"));
}

#[test]
fn shards_out_of_range_are_refused() {
    for (shard, wanted) in [("4/4", "0/4 to 3/4"), ("1/0", "at least one"), ("1", "INDEX/COUNT")] {
        let said = fails(r2former().args(["index", "add", "--shard", shard, "i", "p"]), 2);
        names(&said, &["--shard", wanted]);
    }
    let said = fails(r2former().args(["index", "add", "--shard", "0/2", "--skip-duplicates", "i", "p"]), 2);
    names(&said, &["--skip-duplicates", "--shard"]);
    let said = fails(r2former().args(["extract", "--shard", "0/2", "--out", "x", "-"]), 2);
    names(&said, &["pipe"]);
}
