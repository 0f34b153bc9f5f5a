//! Photographs that are none: every command that takes one names the file and what is wrong.

mod common;

use common::{fails, names, picture, r2former, small_index, write_photo};
use r2former_data::image::{PhotoTags, jpeg_with_tags};
use std::path::{Path, PathBuf};

/// The bad files, each with a word that its message must hold.
fn bad_images(dir: &Path) -> Vec<(PathBuf, &'static str)> {
    let jpeg = jpeg_with_tags(&picture(1, 96, 80), 90, &PhotoTags::default()).expect("encodes");
    let mut bmp = vec![0u8; 54];
    bmp[..2].copy_from_slice(b"BM");
    bmp[10] = 54;
    bmp[14] = 40;
    bmp[18..22].copy_from_slice(&60_000i32.to_le_bytes());
    bmp[22..26].copy_from_slice(&60_000i32.to_le_bytes());
    bmp[26] = 1;
    bmp[28] = 24;
    let files: [(&str, &[u8], &str); 5] = [
        ("text.jpg", b"this is no photograph at all", "not an image"),
        ("cut.jpg", &jpeg[..jpeg.len() / 2], "cut.jpg"),
        ("empty.jpg", b"", "empty"),
        ("huge.bmp", &bmp, "60000"),
        ("heic.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
    ];
    let mut all = vec![(dir.join("missing.jpg"), "missing.jpg")];
    for (name, bytes, word) in files {
        std::fs::write(dir.join(name), bytes).expect("temporary folders can be written");
        all.push((dir.join(name), word));
    }
    all
}

#[test]
fn match_extract_and_query_name_the_file() {
    let (home, index, photos) = small_index();
    let good = photos.path().join("0.jpg");
    for (bad, word) in bad_images(home.path()) {
        let name = bad.file_name().expect("has a name").to_string_lossy().into_owned();
        let said = fails(r2former().arg("match").arg(&good).arg(&bad), 1);
        names(&said, &[&name, word]);
        let out = home.path().join("out.safetensors");
        let said = fails(r2former().arg("extract").arg(&bad).arg("--out").arg(&out), 1);
        names(&said, &[&name, word]);
        assert!(!out.exists(), "a half-written file was left");
        let mut command = r2former();
        command.arg("extract").arg(&good).arg(&bad).arg("--out").arg(&out).arg("--json");
        let output = command.assert().code(3).get_output().clone();
        names(&String::from_utf8_lossy(&output.stderr), &[&name, word]);
        let json: serde_json::Value =
            serde_json::from_slice(&output.stdout).expect("JSON on standard output");
        assert_eq!((json["names"].as_array().map(Vec::len), &json["left_out"]), (Some(1), &1.into()));
        std::fs::remove_file(&out).expect("it was written");
        let said = fails(r2former().arg("query").arg(&index).arg(&bad), 1);
        names(&said, &[&name, word]);
    }
}

#[test]
fn a_bad_query_among_good_ones_is_named_and_the_others_answered() {
    let (home, index, photos) = small_index();
    let bad = home.path().join("empty.jpg");
    std::fs::write(&bad, b"").expect("temporary folders can be written");
    let mut command = r2former();
    // By descriptor: a reranker that has learned streets need not distinguish synthetic patterns.
    command
        .arg("query")
        .arg(&index)
        .arg(photos.path().join("1.jpg"))
        .arg(&bad)
        .args(["--rerank", "none", "--json"]);
    let output = command.assert().code(3).get_output().clone();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON on standard output");
    assert_eq!(json["answers"].as_array().map(Vec::len), Some(2));
    assert_eq!(json["answers"][0]["status"], "answered");
    assert!(json["answers"][0]["matches"][0]["path"].as_str().is_some_and(|path| path.ends_with("/1.jpg")));
    assert_eq!(json["answers"][1]["status"], "unreadable");
    assert!(json["answers"][1]["query"].as_str().is_some_and(|q| q.ends_with("empty.jpg")));
    assert!(json["answers"][1]["error"].as_str().is_some_and(|e| e.contains("is empty")));
}

#[test]
fn adding_goes_on_past_bad_photographs_and_ends_with_3() {
    let (home, index, _photos) = small_index();
    let folder = home.path().join("more");
    std::fs::create_dir(&folder).expect("temporary folders can be written");
    let position = r2former_data::LatLon { lat: 52.3, lon: 0.1 };
    write_photo(&folder.join("good.jpg"), 9, Some(position));
    write_photo(&folder.join("nowhere.jpg"), 8, None);
    bad_images(&folder);
    let said = fails(r2former().args(["index", "add"]).arg(&index).arg(&folder), 3);
    names(&said, &["nowhere.jpg", "GPS", "text.jpg", "empty.jpg", "cut.jpg"]);
    let listed = r2former().args(["index", "list"]).arg(&index).assert().success().get_output().clone();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("good.jpg") && !listed.contains("nowhere.jpg"), "{listed}");
    assert_eq!(listed.lines().count(), 4);
}

#[test]
fn only_unusable_photographs_is_an_error() {
    let (home, index, _photos) = small_index();
    let folder = home.path().join("bad");
    std::fs::create_dir(&folder).expect("temporary folders can be written");
    write_photo(&folder.join("nowhere.jpg"), 8, None);
    let said = fails(r2former().args(["index", "add"]).arg(&index).arg(&folder), 1);
    names(&said, &["nowhere.jpg", "nothing was added"]);
}
