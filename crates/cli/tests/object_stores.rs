//! Photographs in a bucket: added, added again, changed, shared by several machines; the store is one on loopback.

#![cfg(feature = "object-store")]

mod common;
#[path = "../../remote/tests/common/mod.rs"]
mod store;

use common::{Command, fails, names, r2former, write_photo};
use r2former_data::LatLon;
use r2former_data::image::{PhotoTags, Rgb8, jpeg_with_tags};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use store::{Fault, Store};

/// A folder, and the same as objects under `s3://streets/data/camera`.
fn filled(home: &Path) -> (Store, PathBuf) {
    let folder = home.join("camera");
    std::fs::create_dir_all(folder.join("day 1")).expect("temporary folders can be written");
    for i in 0..16u32 {
        let position = LatLon { lat: 52.2 + 0.0002 * f64::from(i), lon: 0.12 };
        write_photo(&folder.join(format!("day 1/{i:02} ä+&.jpg")), i, Some(position));
    }
    write_photo(&folder.join("bare.jpg"), 40, None);
    std::fs::write(folder.join("broken.jpg"), b"no photograph").expect("can be written");
    std::fs::write(folder.join("clip.mp4"), b"\0\0\0\x18ftypisom\0\0\0\0isomavc1").expect("can be written");
    std::fs::write(folder.join("notes.json"), b"{}").expect("can be written");
    std::fs::write(folder.join(".hidden.jpg"), b"x").expect("can be written");
    let sky = Rgb8 { width: 2000, height: 1000, pixels: vec![90; 2000 * 1000 * 3] };
    let position = Some(LatLon { lat: 52.3, lon: 0.12 });
    let tags = PhotoTags { position, heading: Some(10.0), ..Default::default() };
    std::fs::write(folder.join("sky.jpg"), jpeg_with_tags(&sky, 50, &tags).expect("encodes"))
        .expect("written");
    let store = Store::start();
    put(&store, &folder, "streets/data/camera");
    store.put("streets/data/camera2/other.jpg", b"not below the prefix");
    (store, folder)
}

fn put(store: &Store, folder: &Path, key: &str) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let key = format!("{key}/{}", entry.file_name().to_string_lossy());
        match entry.path().is_dir() {
            true => put(store, &entry.path(), &key),
            false => store.put(&key, std::fs::read(entry.path()).expect("a file")),
        }
    }
}

fn of_store(store: &Store) -> Command {
    let mut command = r2former();
    for (name, value) in [
        ("AWS_ENDPOINT", store.address.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "reader"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("GOOGLE_BASE_URL", store.address.as_str()),
    ] {
        command.env(name, value);
    }
    command
}

fn create(index: &Path) {
    r2former().args(["index", "create", "--image-size", "64x64"]).arg(index).assert().success();
}

fn add(store: &Store, index: &Path, source: &str, more: &[&str]) -> (Value, String, Option<i32>) {
    let mut command = of_store(store);
    let output = command
        .args(["index", "add", "--json"])
        .arg(index)
        .arg(source)
        .args(more)
        .assert()
        .get_output()
        .clone();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {said}"));
    (report, said, output.status.code())
}

/// Everything that an index says of its images but for what identifies their files.
fn places(index: &Path) -> BTreeMap<String, Value> {
    let output =
        r2former().args(["index", "list", "--json"]).arg(index).assert().success().get_output().clone();
    let list: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    list.into_iter()
        .map(|mut one| {
            one["place"].as_object_mut().expect("a place").remove("file").expect("a fingerprint");
            (one["place"]["name"].as_str().expect("a name").to_owned(), one)
        })
        .collect()
}

const CAMERA: &str = "s3://streets/data/camera";

#[test]
fn a_bucket_is_a_folder() {
    let home = tempfile::tempdir().expect("temporary folder");
    let (store, folder) = filled(home.path());
    store.require_key("reader");
    let (local, remote) = (home.path().join("local"), home.path().join("remote"));
    create(&local);
    create(&remote);
    r2former().args(["index", "add"]).args([&local, &folder]).assert().code(3);
    store.fault("streets/data/camera/day 1/03 ä+&.jpg", Fault::Cut, 1);
    let (report, said, code) = add(&store, &remote, CAMERA, &[]);
    assert_eq!((code, &report["added"]), (Some(3), &Value::from(24)), "{said}");
    assert_eq!(report["without_position"].as_array().map(Vec::len), Some(1));
    assert_eq!(report["unreadable"].as_array().map(Vec::len), Some(1));
    assert_eq!(report["unsupported"].as_array().map(Vec::len), Some(1));
    assert_eq!(places(&remote), places(&local));
    // The same features: a query is answered alike.
    let query = folder.join("day 1/05 ä+&.jpg");
    let answer = |index: &Path| {
        let output = r2former().args(["query", "--json"]).arg(index).arg(&query).assert().success();
        let answer: Value = serde_json::from_slice(&output.get_output().stdout).expect("JSON");
        answer["answers"][0]["matches"].clone()
    };
    assert_eq!(answer(&remote), answer(&local));

    // Again: one photograph's and one panorama's head at most, and no photograph as a whole.
    store.requests();
    let (report, said, _) = add(&store, &remote, CAMERA, &[]);
    assert_eq!((&report["added"], &report["already_indexed"]), (&0.into(), &24.into()), "{said}");
    let requests = store.requests();
    let whole = requests.iter().filter(|request| request.contains("day 1/"));
    assert_eq!(whole.count(), 0, "{requests:?}");

    // Another photograph under the same key.
    write_photo(&folder.join("new.jpg"), 77, Some(LatLon { lat: 52.2, lon: 0.12 }));
    store
        .put("streets/data/camera/day 1/00 ä+&.jpg", std::fs::read(folder.join("new.jpg")).expect("written"));
    let (report, _, code) = add(&store, &remote, CAMERA, &[]);
    assert_eq!((code, &report["changed"][0]["changes"][0]["what"]), (Some(3), &Value::from("file")));
    let (report, _, _) = add(&store, &remote, CAMERA, &["--update"]);
    assert_eq!(
        (report["updated"].as_array().map(Vec::len), &report["changed"]),
        (Some(1), &Value::from(Vec::<Value>::new()))
    );

    // Copied to another bucket, where ETags are the same.
    let said = {
        put(&store, &folder, "copy/camera");
        let (_, said, _) = add(&store, &remote, "s3://copy/camera", &["--label", "camera", "--moved"]);
        said
    };
    assert!(said.contains("as they are in the index") || said.contains("changed since"), "{said}");
    let (_, said, _) = add(&store, &remote, "s3://copy/camera/day 1", &["--label", "elsewhere"]);
    names(&said, &["overlaps", "camera"]);
}

#[test]
fn a_bucket_of_google_is_a_folder() {
    let home = tempfile::tempdir().expect("temporary folder");
    let (store, folder) = filled(home.path());
    let (local, remote) = (home.path().join("local"), home.path().join("remote"));
    create(&local);
    create(&remote);
    r2former().args(["index", "add"]).args([&local, &folder]).assert().code(3);
    let bucket = "gs://streets/data/camera";
    store.fault("streets/data/camera/day 1/03 ä+&.jpg", Fault::Cut, 1);
    let (report, said, code) = add(&store, &remote, bucket, &[]);
    assert_eq!((code, &report["added"]), (Some(3), &Value::from(24)), "{said}");
    assert_eq!(places(&remote), places(&local));
    store.requests();
    let (report, said, _) = add(&store, &remote, bucket, &[]);
    assert_eq!((&report["added"], &report["already_indexed"]), (&0.into(), &24.into()), "{said}");
    let requests = store.requests();
    assert!(requests.iter().all(|request| !request.contains("day 1/")), "{requests:?}");

    store.put("streets/data/t.csv", "path,lat,lon\ncamera/day 1/00 ä+&.jpg,1,2\ngs://other/x.jpg,5,6\n");
    let (report, said, code) = add(&store, &remote, "gs://streets/data/t.csv", &[]);
    assert_eq!((code, &report["added"]), (Some(3), &1.into()), "{said}");
    names(&report["unreadable"].to_string(), &["another bucket"]);

    store.require_key("reader@streets.test");
    let said = fails(of_store(&store).args(["index", "add"]).args([remote.as_os_str(), bucket.as_ref()]), 1);
    names(&said, &["refuses", "GOOGLE_APPLICATION_CREDENTIALS"]);
    // Signed by the account's key, which no server has to be asked for.
    let pem = std::process::Command::new("openssl").args(["genpkey", "-algorithm", "RSA"]).output();
    let Some(pem) = pem.ok().filter(|made| made.status.success()) else {
        // Not by a macro, whose output a passing test does not show.
        let _ = writeln!(std::io::stderr(), "!! the key of an account is NOT tested: there is no openssl");
        return;
    };
    let key = serde_json::json!({
        "type": "service_account", "client_email": "reader@streets.test", "private_key_id": "1",
        "private_key": String::from_utf8_lossy(&pem.stdout),
    });
    let file = home.path().join("account.json");
    std::fs::write(&file, key.to_string()).expect("can be written");
    for name in ["GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT"] {
        let mut command = of_store(&store);
        command
            .env(name, &file.to_string_lossy())
            .args(["index", "add", "--json"])
            .args([remote.as_os_str(), bucket.as_ref()]);
        let output = command.assert().code(3).get_output().clone();
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(report["already_indexed"], 24, "{name}");
    }
}

#[test]
fn shards_of_a_bucket_are_one_run() {
    let home = tempfile::tempdir().expect("temporary folder");
    let (store, _) = filled(home.path());
    let (whole, parts) = (home.path().join("whole"), home.path().join("parts"));
    create(&whole);
    create(&parts);
    let (one, _, _) = add(&store, &whole, CAMERA, &[]);
    let mut left_out = 0;
    let count = |report: &Value, kind: &str| report[kind].as_array().map_or(0, Vec::len);
    for i in 0..3 {
        let (report, _, _) = add(&store, &parts, CAMERA, &["--shard", &format!("{i}/3")]);
        left_out += ["without_position", "unreadable", "unsupported"]
            .map(|kind| count(&report, kind))
            .iter()
            .sum::<usize>();
    }
    assert_eq!(places(&parts), places(&whole));
    assert_eq!((left_out, count(&one, "unreadable")), (3, 1));
    let said =
        fails(r2former().args(["shards", "check"]).arg(home.path().join("parts.shard-0-of-3.json")), 1);
    names(&said, &["1, 2 of 3"]);
    r2former().args(["shards", "check"]).arg(home.path()).assert().success();
}

#[test]
fn a_table_in_a_bucket() {
    let home = tempfile::tempdir().expect("temporary folder");
    let (store, _) = filled(home.path());
    let table = "path,lat,lon,city\ncamera/day 1/00 ä+&.jpg,1,2,ulm\ncamera/bare.jpg,3,4,\ncamera/gone.jpg,5,6,\n\
                 s3://other/x.jpg,5,6,\n";
    store.put("streets/data/t.csv", table);
    let index = home.path().join("places");
    create(&index);
    let (report, said, code) = add(&store, &index, "s3://streets/data/t.csv", &[]);
    assert_eq!((code, &report["added"]), (Some(3), &2.into()), "{said}");
    let all = places(&index);
    assert_eq!(all["t/camera/bare.jpg"]["place"]["position"]["lat"], 3.0);
    assert_eq!(all["t/camera/day 1/00 ä+&.jpg"]["place"]["tags"]["city"], "ulm");
    let reasons = report["unreadable"].to_string();
    names(&reasons, &["does not exist", "another bucket"]);
    store.requests();
    let (report, _, _) = add(&store, &index, "s3://streets/data/t.csv", &[]);
    assert_eq!(report["already_indexed"], 2);
    let requests = store.requests();
    assert!(
        requests.iter().all(|request| request.starts_with("LIST") || request.ends_with("t.csv")),
        "{requests:?}"
    );
}

#[test]
fn a_table_of_this_machine_names_objects_of_several_buckets() {
    let home = tempfile::tempdir().expect("temporary folder");
    let (store, folder) = filled(home.path());
    put(&store, &folder, "copy/camera");
    let table = home.path().join("t.csv");
    let text = "path,lat,lon,city\ns3://streets/data/camera/day 1/00 ä+&.jpg,1,2,ulm\ns3://copy/camera/bare.jpg,3,4,\n\
                camera/day 1/01 ä+&.jpg,5,6,\ns3://copy/camera/gone.jpg,7,8,\n";
    std::fs::write(&table, text).expect("can be written");
    let index = home.path().join("places");
    create(&index);
    let source = table.to_string_lossy().into_owned();
    let (report, said, code) = add(&store, &index, &source, &[]);
    assert_eq!((code, &report["added"]), (Some(3), &3.into()), "{said}");
    let all = places(&index);
    assert_eq!(all["t/copy/camera/bare.jpg"]["place"]["position"]["lat"], 3.0);
    assert_eq!(all["t/streets/data/camera/day 1/00 ä+&.jpg"]["place"]["tags"]["city"], "ulm");
    assert_eq!(all["t/camera/day 1/01 ä+&.jpg"]["place"]["position"]["lon"], 6.0);
    names(&report["unreadable"].to_string(), &["s3://copy/camera/gone.jpg", "does not exist"]);
    store.requests();
    let (report, said, _) = add(&store, &index, &source, &[]);
    assert_eq!((&report["added"], &report["already_indexed"]), (&0.into(), &3.into()), "{said}");
    let requests = store.requests();
    assert!(requests.iter().all(|request| request.starts_with("LIST")), "{requests:?}");
    // Who reads files alone says so.
    let mut eval = r2former();
    eval.args(["eval", "photos", "--rerank", "none", "--database"]).arg(&table).arg("--queries").arg(&table);
    let output = eval.assert().code(3).get_output().clone();
    names(&String::from_utf8_lossy(&output.stderr), &["s3://copy/camera/gone.jpg", "is an address"]);
}

#[test]
fn what_cannot_be_read_says_why() {
    let home = tempfile::tempdir().expect("temporary folder");
    let (store, _) = filled(home.path());
    let index = home.path().join("places");
    create(&index);
    let refused = |source: &str, wanted: &[&str]| {
        let said = fails(of_store(&store).args(["index", "add"]).arg(&index).arg(source), 1);
        names(&said, wanted);
    };
    refused("s3://streets/data/nothing", &["s3://streets/data/nothing", "no object"]);
    refused("s3://", &["names no bucket"]);
    refused("https://user:secret@host/list.txt", &["holds a name or a password"]);
    store.require_key("somebody");
    refused(CAMERA, &["refuses", "AWS_ACCESS_KEY_ID"]);
    refused("s3://streets/t.csv", &["refuses", "AWS_ACCESS_KEY_ID"]);
}

#[test]
fn descriptors_of_a_bucket() {
    let home = tempfile::tempdir().expect("temporary folder");
    let (store, folder) = filled(home.path());
    for name in ["broken.jpg", "clip.mp4"] {
        store.remove(&format!("streets/data/camera/{name}"));
        std::fs::remove_file(folder.join(name)).expect("was written");
    }
    let at = |name: &str| home.path().join(name);
    let extract = |out: &str, source: &str, more: &[&str]| {
        let mut command = of_store(&store);
        command.args(["extract", "--image-size", "64x64", "--json", source, "--out"]).arg(at(out)).args(more);
        let output = command.assert().success().get_output().clone();
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")["names"]
            .as_array()
            .expect("names")
            .clone()
    };
    let files = extract("files", &folder.to_string_lossy(), &[]);
    let objects = extract("objects", CAMERA, &[]);
    assert_eq!((files.len(), objects.len()), (18, 18));
    let parts: Vec<PathBuf> = (0..2).map(|i| at(&format!("part-{i}"))).collect();
    for i in 0..2 {
        extract(&format!("part-{i}"), CAMERA, &["--shard", &format!("{i}/2")]);
    }
    r2former().args(["shards", "merge"]).arg(at("merged")).args(&parts).assert().success();
    let global = |name: &str| {
        let bytes = std::fs::read(at(name)).expect("was written");
        let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
        tensors.tensor("global").expect("is there").data().to_vec()
    };
    assert_eq!(global("objects"), global("files"));
    assert_eq!(global("merged"), global("files"));
}
