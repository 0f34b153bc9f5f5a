//! A map that grows, and two processes that write in turn.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

mod common;

use std::process::Command;

use common::{MODEL, config, image};
use r2former_index::{ErrorKind, Filter, ReadPlaces, Reader, WritePlaces, Writer, place_id, verify};

const DIR: &str = "R2FORMER_TEST_GROWTH_DIR";
const FIRST: &str = "R2FORMER_TEST_GROWTH_FIRST";

const NARROW: &str = "R2FORMER_TEST_GROWTH_NARROW";

/// Images of each of two processes.
const EACH: u64 = 1000;

#[test]
fn a_small_map_grows_beside_readers() {
    let dir = tempfile::tempdir().unwrap();
    let shape = r2former_index::IndexConfig { row_width: 5000, max_rows: 1, ..config() };
    drop(Writer::create(dir.path(), shape).unwrap());
    let mut writer = Writer::open_with_map(dir.path(), MODEL, 1 << 16).unwrap();
    let reader = Reader::open(dir.path(), None).unwrap();
    let new = |i: u64| r2former_index::NewPlace { local: common::Random(i + 1).bytes(5000), ..image(i, 0) };
    let held = reader.locals(&[]).unwrap();
    for i in 0..40 {
        writer.add(&(25 * i..25 * (i + 1)).map(new).collect::<Vec<_>>()).unwrap();
        assert_eq!(reader.count(&Filter::default()).unwrap() as u64, 25 * (i + 1));
        let ids = [place_id(&new(25 * i).place.name)];
        assert_eq!(reader.locals(&ids).unwrap()[0].as_ref().unwrap().rows, new(25 * i).local);
    }
    drop(held);
    assert_eq!(verify(dir.path()).unwrap().problems, []);
}

/// Not a test: a process that adds images one by one, each with a writer of its own.
#[test]
fn child() {
    let (Ok(dir), Ok(first)) = (std::env::var(DIR), std::env::var(FIRST)) else { return };
    let first: u64 = first.parse().unwrap();
    let mut i = first;
    while i < first + EACH {
        match Writer::open(&dir, MODEL) {
            Ok(mut writer) => {
                writer.add(&(i..i + 10).map(|i| image(i, 0)).collect::<Vec<_>>()).unwrap();
                i += 10;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
    }
}

#[test]
fn two_processes_add_and_a_third_reads() {
    let dir = tempfile::tempdir().unwrap();
    drop(Writer::create(dir.path(), config()).unwrap());
    let mut children: Vec<_> = [0, EACH]
        .map(|first| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "child", "--nocapture"])
                .env(DIR, dir.path())
                .env(FIRST, first.to_string())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .into();
    let reader = Reader::open(dir.path(), None).unwrap();
    let mut last = 0;
    while children.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        let count = reader.count(&Filter::default()).unwrap();
        assert!(count >= last && count % 10 == 0, "{count} after {last}");
        last = count;
    }
    assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
    let ids: Vec<_> = (0..2 * EACH).map(|i| place_id(&image(i, 0).place.name)).collect();
    assert!(reader.contains(&ids).unwrap().into_iter().all(|known| known));
    let report = verify(dir.path()).unwrap();
    assert_eq!((report.images as u64, report.problems), (2 * EACH, vec![]));
}

/// Not a test: a process with little address space that adds and reads.
#[test]
fn narrow_child() {
    let Ok(dir) = std::env::var(NARROW) else { return };
    let mut writer = Writer::open(&dir, MODEL).unwrap();
    let reader = Reader::open(&dir, None).unwrap();
    for i in 0..30 {
        writer.add(&(10 * i..10 * (i + 1)).map(|i| image(i, 0)).collect::<Vec<_>>()).unwrap();
        assert_eq!(reader.count(&Filter::default()).unwrap() as u64, 10 * (i + 1));
    }
    // Most of the space is left.
    drop(vec![0_u8; 1 << 30]);
}

#[test]
#[cfg(target_os = "linux")]
fn little_address_space_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    drop(Writer::create(dir.path(), config()).unwrap());
    let program = std::env::current_exe().unwrap();
    let command =
        format!("ulimit -v 4000000 && exec '{}' --exact narrow_child --nocapture", program.display());
    let output = Command::new("sh").args(["-c", &command]).env(NARROW, dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(verify(dir.path()).unwrap().images, 300);
}
