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
use std::io::Write as _;

const ATTACHMENT: (&str, &[u8]) = ("model.bin", b"weights");

fn exported(scratch: &Path) -> Vec<u8> {
    let (dir, file) = (scratch.join("index"), scratch.join("index.tar"));
    let mut writer = Writer::create_with(&dir, config(), &mut [(ATTACHMENT.0, &mut &*ATTACHMENT.1)]).unwrap();
    writer.add(&(0..40).map(|i| image(i, 0)).collect::<Vec<_>>()).unwrap();
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
    // One bit of the data: found by its checksum alone.
    let at = bytes.windows(10).rposition(|w| w == b"places.mdb").unwrap() + 20_000;
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
    assert!(matches!(export(&dir, &file), Err(IndexError::Request { .. })));
    assert!(matches!(import(&file, &dir), Err(IndexError::Exists { .. })));
    let (gone, new) = (scratch.path().join("gone.tar"), scratch.path().join("new"));
    let Err(IndexError::Io { path, source }) = import(&gone, &new) else { panic!("there is no such file") };
    assert_eq!((path, source.kind(), new.exists()), (gone, std::io::ErrorKind::NotFound, false));
}

/// A copy of one commit, taken while a writer makes others.
#[test]
fn an_export_is_taken_while_a_writer_works() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("index");
    let mut writer = Writer::create(&dir, config()).unwrap();
    writer.add(&(0..100).map(|i| image(i, 0)).collect::<Vec<_>>()).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for v in 1.. {
                writer.add(&(0..100).map(|i| image(i, v)).collect::<Vec<_>>()).unwrap();
                if done.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
            }
        });
        for i in 0..5 {
            let (file, copy) =
                (scratch.path().join(format!("{i}.tar")), scratch.path().join(format!("copy{i}")));
            export(&dir, &file).unwrap();
            import(&file, &copy).unwrap();
            let report = verify(&copy).unwrap();
            assert_eq!((report.images, report.problems), (100, vec![]));
            let reader = Reader::open(&copy, None).unwrap();
            let ids: Vec<_> = (0..100).map(|i| place_id(&image(i, 0).place.name)).collect();
            let globals = reader.globals(&ids).unwrap();
            let v = (0..10_000).find(|&v| Some(image(0, v).global) == globals[0]).unwrap();
            assert!((0..100).all(|i| globals[i as usize] == Some(image(i, v).global)));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
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
        // Not by a macro, whose output a passing test does not show.
        let _ = writeln!(std::io::stderr(), "SKIPPED: this user may not mount a small disk to fill");
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
        // A full disk can be read, and images can be removed.
        let mut writer = Writer::open(&index, MODEL).unwrap();
        let few: Vec<_> = (0..12).map(|i| place_id(&image(i, 0).place.name)).collect();
        assert_eq!(writer.remove(&few).unwrap(), 12);
        for i in 0..2 {
            let local = common::Random(i + 1).bytes(4096 * 64);
            writer.add(&[r2former_index::NewPlace { local, ..image(i, 0) }]).unwrap();
        }
        drop(writer);
        let reader = Reader::open(&index, None).unwrap();
        assert_eq!(reader.count(&Filter::default()).unwrap() as u64, added - 10);
        assert_eq!(verify(&index).unwrap().problems, []);
    });
    unmount();
    result.unwrap();
}
