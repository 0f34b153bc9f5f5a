//! Readers beside a writer: consistent pictures, never half of a batch, and no trace left behind.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

mod common;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{MODEL, config, image};
use r2former_index::{Filter, ReadPlaces, Reader, SearchMode, WritePlaces, Writer, place_id};

fn shared_between_threads<T: Send + Sync>() {}

#[test]
fn readers_and_writers_can_be_shared_between_threads() {
    shared_between_threads::<Reader>();
    shared_between_threads::<Writer>();
}

#[test]
fn several_readers_see_what_was_committed_when_they_opened() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), config()).unwrap();
    let empty = Reader::open(dir.path(), None).unwrap();
    writer.add(&(0..30).map(|i| image(i, 0)).collect::<Vec<_>>()).unwrap();
    let still_empty = Reader::open(dir.path(), None).unwrap();
    writer.flush().unwrap();
    let mut full = Reader::open(dir.path(), Some(MODEL)).unwrap();
    let all = Filter::default();
    assert_eq!([&empty, &still_empty, &full].map(|reader| reader.count(&all).unwrap()), [0, 0, 30]);

    // Replacing and removing under an open reader changes nothing for it.
    writer.add(&(0..30).map(|i| image(i, 5)).collect::<Vec<_>>()).unwrap();
    writer.remove(&[place_id(&image(7, 0).place.name)]).unwrap();
    writer.flush().unwrap();
    writer.optimize().unwrap();
    for i in 0..30 {
        let (new, id) = (image(i, 0), place_id(&image(i, 0).place.name));
        assert_eq!(full.get(&[id]).unwrap(), [Some(new.place)]);
        assert_eq!(full.globals(&[id]).unwrap(), [Some(new.global)]);
        assert_eq!(full.locals(&[id]).unwrap()[0].as_ref().unwrap().rows, new.local);
    }
    assert!(full.refresh().unwrap());
    assert!(!full.refresh().unwrap());
    assert_eq!(full.count(&all).unwrap(), 29);
    assert_eq!(full.globals(&[place_id(&image(3, 5).place.name)]).unwrap(), [Some(image(3, 5).global)]);
}

#[test]
fn a_reader_never_sees_half_a_commit() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), config()).unwrap();
    writer.add(&(0..20).map(|i| image(i, 0)).collect::<Vec<_>>()).unwrap();
    writer.flush().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = HashSet::new();
                    while !done.load(Ordering::Relaxed) {
                        let reader = Reader::open(dir.path(), None).unwrap();
                        let page = reader.list(None, 100, &Filter::default()).unwrap().places;
                        // Every commit holds 20 images, all of one version.
                        assert_eq!(page.len(), 20);
                        let ids: Vec<_> = (0..20).map(|i| place_id(&image(i, 0).place.name)).collect();
                        let (globals, locals) = (reader.globals(&ids).unwrap(), reader.locals(&ids).unwrap());
                        let v = (0..60).find(|&v| Some(image(0, v).global) == globals[0]).unwrap();
                        for i in 0..20 {
                            let new = image(i, v);
                            assert_eq!(globals[i as usize], Some(new.global));
                            assert_eq!(locals[i as usize].as_ref().unwrap().rows, new.local);
                        }
                        seen.insert(v);
                    }
                    seen.len()
                })
            })
            .collect();
        for v in 1..60 {
            // One by one, so that the store passes through every mixture of versions.
            for i in 0..20 {
                writer.add(&[image(i, v)]).unwrap();
            }
            if v % 20 == 0 {
                writer.optimize().unwrap();
            } else {
                writer.flush().unwrap();
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
    writer.close().unwrap();
    let before = contents(&dir.path().join("generations"));
    for _ in 0..3 {
        let reader = Reader::open(dir.path(), None).unwrap();
        reader.search(&image(3, 0).global, 5, &Filter::default(), SearchMode::Approximate).unwrap();
        reader.locals(&[place_id(&image(3, 0).place.name)]).unwrap();
    }
    assert!(before.len() > 10);
    assert!(before == contents(&dir.path().join("generations")));
    assert_eq!(std::fs::read_dir(dir.path().join("readers")).unwrap().count(), 0);
}

#[test]
fn a_reader_can_keep_its_files_elsewhere() {
    let (dir, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut writer = Writer::create(dir.path(), config()).unwrap();
    writer.add(&[image(1, 0)]).unwrap();
    writer.close().unwrap();
    let reader = Reader::open_in(dir.path(), scratch.path(), None).unwrap();
    assert_eq!(reader.count(&Filter::default()).unwrap(), 1);
    assert!(!dir.path().join("readers").exists());
}

#[test]
fn what_a_killed_reader_left_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    Writer::create(dir.path(), config()).unwrap().close().unwrap();
    let left = dir.path().join("readers");
    std::fs::create_dir_all(left.join("1-0/segments")).unwrap();
    std::fs::write(left.join("1-0.lock"), "").unwrap();
    let alive = Reader::open(dir.path(), None).unwrap();
    assert!(!left.join("1-0").exists() && !left.join("1-0.lock").exists());
    let _other = Reader::open(dir.path(), None).unwrap();
    assert_eq!(alive.count(&Filter::default()).unwrap(), 0);
}

fn contents(dir: &std::path::Path) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut all = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            all.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    all
}
