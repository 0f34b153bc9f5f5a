//! Readers beside a writer: each call sees one commit, whole, and no trace is left behind.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

mod common;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{MODEL, config, image};
use r2former_index::{Filter, ReadPlaces, Reader, WritePlaces, Writer, place_id};
use std::io::Write as _;

fn shared_between_threads<T: Send + Sync>() {}

#[test]
fn readers_and_writers_can_be_shared_between_threads() {
    shared_between_threads::<Reader>();
    shared_between_threads::<Writer>();
}

#[test]
fn readers_see_what_was_committed() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), config()).unwrap();
    let reader = Reader::open(dir.path(), None).unwrap();
    let all = Filter::default();
    assert_eq!((reader.count(&all).unwrap(), reader.changes().unwrap()), (0, Some(0)));
    writer.add(&(0..30).map(|i| image(i, 0)).collect::<Vec<_>>()).unwrap();
    assert_eq!((reader.count(&all).unwrap(), reader.changes().unwrap()), (30, Some(1)));
    let other = Reader::open(dir.path(), Some(MODEL)).unwrap();

    // Features that are held stay what they were, whatever happens to the image.
    let ids: Vec<_> = (0..30).map(|i| place_id(&image(i, 0).place.name)).collect();
    let held = reader.locals(&ids).unwrap();
    writer.add(&(0..30).map(|i| image(i, 5)).collect::<Vec<_>>()).unwrap();
    writer.remove(&ids[7..8]).unwrap();
    for v in 6..30 {
        writer.add(&(0..30).filter(|&i| i != 7).map(|i| image(i, v)).collect::<Vec<_>>()).unwrap();
    }
    writer.compact().unwrap();
    for (i, held) in held.iter().enumerate() {
        assert_eq!(held.as_ref().unwrap().rows, image(i as u64, 0).local);
    }
    for reader in [&reader, &other] {
        assert_eq!(reader.count(&all).unwrap(), 29);
        assert_eq!(reader.globals(&ids[3..4]).unwrap(), [Some(image(3, 29).global)]);
        assert_eq!(reader.locals(&ids[7..8]).unwrap(), [None]);
    }
    // Nothing of the older file is left.
    drop((held, reader, other, writer));
    let mut names: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["manifest.json", "places-2.mdb", "places-2.mdb-lock", "writer.lock"]);
}

#[test]
fn a_reader_never_sees_half_a_commit() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), config()).unwrap();
    let batch = |v| (0..20).map(|i| image(i, v)).collect::<Vec<_>>();
    writer.add(&batch(0)).unwrap();
    let ids: Vec<_> = (0..20).map(|i| place_id(&image(i, 0).place.name)).collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let reader = Reader::open(dir.path(), None).unwrap();
                    let mut seen = HashSet::new();
                    while !done.load(Ordering::Relaxed) {
                        assert_eq!(reader.list(None, 100, &Filter::default()).unwrap().places.len(), 20);
                        // Each call sees one commit: 20 images, all of one version.
                        let globals = reader.globals(&ids).unwrap();
                        let v = (0..200).find(|&v| Some(image(0, v).global) == globals[0]).unwrap();
                        let locals = reader.locals(&ids).unwrap();
                        let w = (v..200)
                            .find(|&w| image(1, w).local == locals[1].as_ref().unwrap().rows.to_vec());
                        for i in 0..20 {
                            assert_eq!(globals[i as usize], Some(image(i, v).global));
                            assert_eq!(locals[i as usize].as_ref().unwrap().rows, image(i, w.unwrap()).local);
                        }
                        let hits = reader.search(&image(4, v).global, 20, &Filter::default()).unwrap();
                        assert_eq!(hits.len(), 20);
                        seen.insert(v);
                    }
                    seen.len()
                })
            })
            .collect();
        for v in 1..200 {
            writer.add(&batch(v)).unwrap();
            if v % 50 == 0 {
                writer.compact().unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
        for reader in reading {
            assert!(reader.join().unwrap() > 1);
        }
    });
}

#[test]
fn reading_changes_nothing_that_was_committed() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), config()).unwrap();
    writer.add(&(0..200).map(|i| image(i, 0)).collect::<Vec<_>>()).unwrap();
    drop(writer);
    let contents = || std::fs::read(dir.path().join("places-1.mdb")).unwrap();
    let before = contents();
    for _ in 0..3 {
        let reader = Reader::open(dir.path(), None).unwrap();
        reader.search(&image(3, 0).global, 5, &Filter::default()).unwrap();
        reader.locals(&[place_id(&image(3, 0).place.name)]).unwrap();
        r2former_index::verify(dir.path()).unwrap();
        r2former_index::export(dir.path(), dir.path().join("out.tar")).unwrap();
        std::fs::remove_file(dir.path().join("out.tar")).unwrap();
    }
    assert!(before == contents());
}

/// A folder that is removed and made again under a reader: nothing is written into the file that is gone.
#[test]
#[cfg(unix)]
fn a_folder_that_is_made_again_is_another_index() {
    let dir = tempfile::tempdir().unwrap();
    let index = dir.path().join("index");
    let mut writer = Writer::create(&index, config()).unwrap();
    writer.add(&[image(1, 0)]).unwrap();
    drop(writer);
    let reader = Reader::open(&index, None).unwrap();
    let copy = dir.path().join("copy");
    Writer::create(&copy, config()).unwrap().add(&[image(2, 0), image(3, 0)]).unwrap();
    std::fs::remove_dir_all(&index).unwrap();
    std::fs::rename(&copy, &index).unwrap();
    assert_eq!(reader.count(&Filter::default()).unwrap(), 2);
    assert_eq!(reader.contains(&[place_id(&image(1, 0).place.name)]).unwrap(), [false]);
    drop(reader);
    let mut writer = Writer::open(&index, MODEL).unwrap();
    writer.add(&[image(4, 0)]).unwrap();
    drop(writer);
    assert_eq!(Reader::open(&index, None).unwrap().count(&Filter::default()).unwrap(), 3);
}

/// Readers that hold nothing do not make the file grow.
#[test]
fn pages_of_older_commits_are_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), config()).unwrap();
    let reader = Reader::open(dir.path(), None).unwrap();
    let mut after_some = 0;
    for v in 0..300 {
        writer.add(&(0..20).map(|i| image(i, v)).collect::<Vec<_>>()).unwrap();
        assert_eq!(reader.count(&Filter::default()).unwrap(), 20);
        if v == 30 {
            after_some = reader.bytes().unwrap();
        }
    }
    assert!(reader.bytes().unwrap() <= 2 * after_some, "{after_some} {}", reader.bytes().unwrap());
}

/// The same folder at another place, where nothing can be written; none where this user may not mount.
#[cfg(target_os = "linux")]
fn read_only_view(of: &std::path::Path, at: &std::path::Path) -> bool {
    let mount = |arguments: &[&str]| {
        let done = std::process::Command::new("mount").args(arguments).arg(at).output();
        done.is_ok_and(|out| out.status.success())
    };
    mount(&["--bind", &of.display().to_string()]) && mount(&["-o", "remount,ro,bind"])
}

/// A reader that cannot even enter itself into the table of readers, beside a writer that uses pages again.
#[test]
#[cfg(target_os = "linux")]
fn a_reader_of_a_read_only_folder_sees_whole_commits() {
    let scratch = tempfile::tempdir().unwrap();
    let (dir, view) = (scratch.path().join("index"), scratch.path().join("view"));
    let mut writer = Writer::create(&dir, config()).unwrap();
    let batch = |v| (0..20).map(|i| image(i, v)).collect::<Vec<_>>();
    writer.add(&batch(0)).unwrap();
    std::fs::create_dir(&view).unwrap();
    if !read_only_view(&dir, &view) {
        // Not by a macro, whose output a passing test does not show.
        let _ = writeln!(std::io::stderr(), "SKIPPED: this user may not mount a folder read-only");
        return;
    }
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        assert!(std::fs::write(view.join("probe"), "").is_err());
        assert!(matches!(Writer::open(&view, MODEL), Err(r2former_index::IndexError::ReadOnly { .. })));
        let reader = Reader::open(&view, None).unwrap();
        let ids: Vec<_> = (0..20).map(|i| place_id(&image(i, 0).place.name)).collect();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let mut seen = HashSet::new();
                while !done.load(Ordering::Relaxed) {
                    let globals = reader.globals(&ids).unwrap();
                    let v = (0..400).find(|&v| Some(image(0, v).global) == globals[0]).unwrap();
                    assert!((0..20).all(|i| globals[i as usize] == Some(image(i, v).global)));
                    assert_eq!(reader.search(&image(4, v).global, 20, &Filter::default()).unwrap().len(), 20);
                    seen.insert(v);
                }
                seen.len()
            });
            for v in 1..400 {
                writer.add(&batch(v)).unwrap();
                if v == 200 {
                    writer.compact().unwrap();
                }
            }
            done.store(true, Ordering::Relaxed);
            assert!(reading.join().unwrap() > 1);
        });
        assert_eq!(reader.globals(&ids[..1]).unwrap(), [Some(image(0, 399).global)]);
        assert_eq!(r2former_index::verify(&view).unwrap().problems, []);
        r2former_index::export(&view, scratch.path().join("out.tar")).unwrap();
    }));
    let _ = std::process::Command::new("umount").arg("-l").arg(&view).status();
    result.unwrap();
}
