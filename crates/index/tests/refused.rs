//! What is refused, and in which words.

mod common;

use common::{DIM, MODEL, config, image, unusable};
use r2former_index::{
    ErrorKind, Filter, IndexConfig, IndexError, LatLon, Near, ReadPlaces, Reader, WritePlaces, Writer,
};
use std::io::Write as _;

#[test]
fn another_model_is_refused_and_both_are_named() {
    let dir = tempfile::tempdir().unwrap();
    Writer::create(dir.path(), config()).unwrap().close().unwrap();
    for error in [
        Writer::open(dir.path(), "sha256:bb22").err().unwrap(),
        Reader::open(dir.path(), Some("sha256:bb22")).err().unwrap(),
    ] {
        let words = error.to_string();
        assert!(words.contains(MODEL) && words.contains("sha256:bb22"), "{words}");
        assert!(words.contains(&dir.path().display().to_string()), "{words}");
        assert_eq!(error.kind(), ErrorKind::Caller);
    }
}

#[test]
fn a_second_writer_learns_who_the_first_is() {
    let dir = tempfile::tempdir().unwrap();
    let first = Writer::create(dir.path(), config()).unwrap();
    let error = Writer::open(dir.path(), MODEL).err().unwrap();
    let words = error.to_string();
    assert!(
        words.contains(&format!("process {}", std::process::id())) && words.contains("since 20"),
        "{words}"
    );
    assert_eq!(error.kind(), ErrorKind::Retry);
    drop(first);
    Writer::open(dir.path(), MODEL).unwrap();
}

#[test]
fn what_a_killed_creation_left_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let create = || Writer::create_with(dir.path(), config(), &mut [("model", &mut &b"weights"[..])]);
    drop(create().unwrap());
    // Killed before its last step; then before the data file, in the middle of the attachment.
    std::fs::remove_file(at("manifest.json")).unwrap();
    std::fs::write(at("manifest.new"), b"{\"half").unwrap();
    drop(create().unwrap());
    for name in ["manifest.json", "places-1.mdb"] {
        std::fs::remove_file(at(name)).unwrap();
    }
    std::fs::rename(at("attachments/model"), at("attachments/model.new")).unwrap();
    let mut writer = create().unwrap();
    assert_eq!(std::fs::read(at("attachments/model")).unwrap(), b"weights");
    assert!(!at("attachments/model.new").exists());

    // An index that has lost its manifest holds images, and a folder with anything else is somebody's.
    writer.add(&[image(1, 0)]).unwrap();
    drop(writer);
    std::fs::remove_file(at("manifest.json")).unwrap();
    assert!(matches!(create(), Err(IndexError::Exists { .. })));
    assert!(at("places-1.mdb").exists());
    std::fs::remove_file(at("places-1.mdb")).unwrap();
    std::fs::write(at("notes.txt"), "mine").unwrap();
    assert!(matches!(create(), Err(IndexError::Exists { .. })));
    assert!(at("notes.txt").exists() && at("attachments/model").exists());
}

#[test]
fn a_directory_without_an_index_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().to_owned(), dir.path().join("missing")] {
        assert!(matches!(Reader::open(&path, None), Err(IndexError::NotAnIndex { .. })));
        assert!(matches!(Writer::open(&path, MODEL), Err(IndexError::NotAnIndex { .. })));
    }
    std::fs::write(dir.path().join("something"), "").unwrap();
    assert!(matches!(Writer::create(dir.path(), config()), Err(IndexError::Exists { .. })));
}

#[test]
fn another_format_and_a_broken_manifest_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    Writer::create(dir.path(), config()).unwrap().close().unwrap();
    let manifest = dir.path().join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    for (found, cure) in [
        (1, "add the photographs again"),
        (2, "add the photographs again"),
        (3, "add the photographs again"),
        (5, "wrote it"),
    ] {
        std::fs::write(&manifest, text.replace("\"format\": 4", &format!("\"format\": {found}"))).unwrap();
        let error = Reader::open(dir.path(), None).err().unwrap();
        assert!(matches!(error, IndexError::OtherFormat { known: 4, .. }), "{error}");
        assert!(error.to_string().contains(cure), "{error}");
        assert!(matches!(Writer::open(dir.path(), MODEL), Err(IndexError::OtherFormat { .. })));
    }
    for broken in ["", "{", "[]", "{\"format\": 4}", "{\"format\": \"x\"}"] {
        std::fs::write(&manifest, broken).unwrap();
        let error = Reader::open(dir.path(), None).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Repair, "{error}");
    }
}

#[test]
fn a_batch_with_an_unusable_image_is_refused_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), config()).unwrap();
    let good = image(1, 0);
    for bad in unusable().into_iter().chain([good.clone()]) {
        let error = writer.add(&[good.clone(), bad]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Caller, "{error}");
    }
    assert_eq!(writer.count(&Filter::default()).unwrap(), 0);
    writer.add(&[good]).unwrap();
}

#[test]
fn an_unusable_question_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::create(dir.path(), config()).unwrap();
    let all = Filter::default();
    assert!(writer.search(&[1.0], 3, &all).is_err());
    assert!(writer.search(&[f32::NAN; DIM], 3, &all).is_err());
    assert!(writer.list(None, 0, &all).is_err());
    for (lat, radius_m) in [(95.0, 10.0), (0.0, 0.0), (0.0, -1.0), (0.0, f64::NAN)] {
        let near = Some(Near { center: LatLon { lat, lon: 0.0 }.into(), radius_m });
        assert!(writer.count(&Filter { near, ..Filter::default() }).is_err());
    }
}

#[test]
fn a_shape_that_cannot_be_stored_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for shape in [
        IndexConfig { global_dim: 0, ..config() },
        IndexConfig { row_width: 0, ..config() },
        IndexConfig { max_rows: 0, ..config() },
        IndexConfig { row_width: 60_000, max_rows: 60_000, ..config() },
        IndexConfig { fingerprint: String::new(), ..config() },
    ] {
        assert!(matches!(Writer::create(dir.path().join("index"), shape), Err(IndexError::Request { .. })));
    }
    assert!(!dir.path().join("index").exists());
}

#[test]
#[cfg(unix)]
fn a_directory_that_cannot_be_written_is_read() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), config()).unwrap();
    writer.add(&[image(1, 0)]).unwrap();
    drop(writer);
    let data = dir.path().join("places-1.mdb");
    std::fs::remove_file(dir.path().join("places-1.mdb-lock")).unwrap();
    let set = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set(&data, 0o444);
    set(dir.path(), 0o555);
    if std::fs::write(dir.path().join("probe"), "").is_ok() {
        // Not by a macro, whose output a passing test does not show.
        let _ = writeln!(std::io::stderr(), "SKIPPED: this user (root?) may write anywhere");
        return;
    }
    let error = Writer::open(dir.path(), MODEL).err().unwrap();
    assert!(matches!(error, IndexError::ReadOnly { .. }), "{error}");
    let reader = Reader::open(dir.path(), None).unwrap();
    assert_eq!(reader.count(&Filter::default()).unwrap(), 1);
    assert_eq!(r2former_index::verify(dir.path()).unwrap().problems, []);
    set(dir.path(), 0o755);
}
