//! Exported files: whole copies, and what is refused; verification; a full disk.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

mod common;

use std::fs;
use std::path::Path;

use common::{MODEL, config, image};
use r2former_index::{
    Filter, IndexError, ReadPlaces, Reader, WritePlaces, Writer, attachment_path, export, import, place_id,
    verify,
};

const ATTACHMENT: (&str, &[u8]) = ("model.bin", b"weights");

fn exported(scratch: &Path) -> Vec<u8> {
    let (dir, file) = (scratch.join("index"), scratch.join("index.tar"));
    let mut writer = Writer::create_with(&dir, config(), &[ATTACHMENT]).unwrap();
    writer.add(&(0..40).map(|i| image(i, 0)).collect::<Vec<_>>()).unwrap();
    writer.flush().unwrap();
    writer.remove(&[place_id(&image(3, 0).place.name)]).unwrap();
    writer.close().unwrap();
    export(&dir, &file).unwrap();
    fs::read(file).unwrap()
}

#[test]
fn an_import_is_a_whole_copy_that_can_go_on() {
    let scratch = tempfile::tempdir().unwrap();
    exported(scratch.path());
    let copy = scratch.path().join("copy");
    import(scratch.path().join("index.tar"), &copy).unwrap();
    assert_eq!(fs::read(attachment_path(&copy, ATTACHMENT.0)).unwrap(), ATTACHMENT.1);
    let mut writer = Writer::open(&copy, MODEL).unwrap();
    writer.add(&[image(50, 0)]).unwrap();
    writer.close().unwrap();
    let reader = Reader::open(&copy, Some(MODEL)).unwrap();
    assert_eq!(reader.count(&Filter::default()).unwrap(), 40);
    for i in [0, 20, 39, 50] {
        let new = image(i, 0);
        let ids = [place_id(&new.place.name)];
        assert_eq!(reader.get(&ids).unwrap(), [Some(new.place)]);
        assert_eq!(reader.globals(&ids).unwrap(), [Some(new.global)]);
        assert_eq!(reader.locals(&ids).unwrap()[0].as_ref().unwrap().rows, new.local);
    }
    assert_eq!(verify(&copy).unwrap().problems, []);
}

#[test]
fn a_cut_or_changed_file_makes_no_index() {
    let scratch = tempfile::tempdir().unwrap();
    let bytes = exported(scratch.path());
    let (file, target) = (scratch.path().join("bad.tar"), scratch.path().join("target"));
    let refused = |bytes: &[u8], what: &str| {
        fs::write(&file, bytes).unwrap();
        let error = import(&file, &target).err().unwrap_or_else(|| panic!("{what} was imported"));
        assert!(matches!(error, IndexError::Archive { .. }), "{what}: {error}");
        assert!(error.to_string().contains("bad.tar"), "{error}");
        assert!(!target.exists(), "{what} left something behind");
    };
    refused(b"", "an empty file");
    refused(b"no archive at all", "a text");
    for part in [1, 3, 7] {
        refused(&bytes[..bytes.len() * part / 8], "a cut file");
    }
    // One bit of the first global descriptors' file: found by its checksum alone.
    let at = bytes.windows(9).position(|w| w == b"chunk_0.m").unwrap() + 512;
    let mut changed = bytes.clone();
    changed[at] ^= 1;
    refused(&changed, "a changed file");
    // A name that leads elsewhere.
    let mut wandering = bytes.clone();
    let at = bytes.windows(9).rposition(|w| w == b"model.bin").unwrap();
    wandering[at..at + 9].copy_from_slice(b"../../bin");
    refused(&wandering, "a file with another name");
}

#[test]
fn nothing_is_overwritten() {
    let scratch = tempfile::tempdir().unwrap();
    exported(scratch.path());
    let (dir, file) = (scratch.path().join("index"), scratch.path().join("index.tar"));
    assert!(matches!(export(&dir, &file), Err(IndexError::Archive { .. })));
    assert!(matches!(import(&file, &dir), Err(IndexError::Exists { .. })));
    let _writer = Writer::open(&dir, MODEL).unwrap();
    assert!(matches!(export(&dir, scratch.path().join("new.tar")), Err(IndexError::Busy { .. })));
}

#[test]
fn verification_names_a_damaged_journal() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    let mut writer = Writer::create(dir.join("index"), config()).unwrap();
    writer.add(&[image(1, 0), image(2, 0)]).unwrap();
    writer.close().unwrap();
    assert_eq!(verify(dir.join("index")).unwrap().images, 2);
    // A record whose bytes do not match its sum, and another after it: no cut, but damage.
    let journal = fs::read_dir(dir.join("index"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with("journal-"))
        .unwrap();
    let mut bytes = fs::read(&journal).unwrap();
    for _ in 0..2 {
        bytes.extend(4_u64.to_le_bytes());
        bytes.extend([0; 12]);
    }
    fs::write(&journal, bytes).unwrap();
    let error = Writer::open(dir.join("index"), MODEL).err().unwrap();
    assert!(matches!(error, IndexError::Damaged { .. }), "{error}");
    assert!(matches!(verify(dir.join("index")), Err(IndexError::Damaged { .. })));
}

/// A small file system of its own; none where this user may not mount one.
#[cfg(target_os = "linux")]
fn small_disk(dir: &Path, megabytes: u32) -> bool {
    let size = format!("size={megabytes}m");
    let mount =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(dir).output();
    mount.is_ok_and(|out| out.status.success())
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    if !small_disk(dir.path(), 160) {
        eprintln!("SKIPPED: this user may not mount a small disk to fill");
        return;
    }
    let unmount = || drop(std::process::Command::new("umount").arg("-l").arg(dir.path()).status());
    let index = dir.path().join("index");
    let result = std::panic::catch_unwind(|| {
        let shape = r2former_index::IndexConfig { row_width: 4096, max_rows: 64, ..config() };
        let mut writer = Writer::create(&index, shape).unwrap();
        let mut added = 0;
        let error = loop {
            let new = r2former_index::NewPlace {
                local: common::Random(added + 1).bytes(4096 * 64),
                ..image(added, 0)
            };
            match writer.add(&[new]) {
                Ok(()) => added += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, IndexError::Full { .. }), "{error}");
        assert!(added > 20, "{added}");
        drop(writer);
        let reader = Reader::open(&index, None).unwrap();
        assert_eq!(reader.count(&Filter::default()).unwrap() as u64, added);
        assert_eq!(verify(&index).unwrap().problems, []);
    });
    unmount();
    result.unwrap();
}
