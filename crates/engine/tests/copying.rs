//! Indexes copied into another one: merged, resumed, compared; what differs is named, and what is damaged is found.
#![allow(clippy::unwrap_used, reason = "a test")]

use r2former_engine::{
    CopyOptions, CopyReport, EngineError, IndexAddress, LatLon, LoadedModel, NoProgress, PlaceIndex,
    Positions, Settings, VerifySamples, copy_index,
};
use r2former_index::{
    Batch, CollectionOptions, FileFingerprint, Filter, IndexError, NewPlace, Place, ReadPlaces, Source,
    WritePlaces, place_id,
};
use std::path::Path;
use std::slice::from_ref;
use tempfile::TempDir;

fn model() -> LoadedModel {
    LoadedModel::built_in().unwrap()
}

/// Some bytes that follow from a seed.
fn noise(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
}

/// An image of an index, whose vectors follow from its number.
fn image(index: &PlaceIndex, number: u64) -> NewPlace {
    let config = &index.manifest.config;
    let name = format!("street/{number}.jpg");
    let rows = (number as usize % 5).min(config.max_rows);
    NewPlace {
        place: Place {
            position: Some(LatLon { lat: 50.0 + number as f64 * 1e-4, lon: 7.0 }.into()),
            file: (!number.is_multiple_of(3)).then(|| FileFingerprint::of(name.as_bytes())),
            tags: [("number".to_owned(), number.to_string())].into(),
            name,
            ..Place::default()
        },
        global: noise(number).take(config.global_dim).map(|byte| f32::from(byte) - 127.5).collect(),
        local: noise(number + 1).take(rows * config.row_width).collect(),
    }
}

fn source(root: &str) -> Source {
    Source { label: "street".into(), root: root.into() }
}

fn fill(index: &PlaceIndex, numbers: std::ops::Range<u64>) {
    let all: Vec<_> = numbers.map(|number| image(index, number)).collect();
    let sources = [source("/data/street")];
    let mut writer = index.writer().unwrap();
    writer.write(&Batch { add: &all, sources: &sources, ..Batch::default() }).unwrap();
    writer.close().unwrap();
}

fn made(home: &TempDir, name: &str, numbers: std::ops::Range<u64>) -> PlaceIndex {
    let model = model();
    let index = PlaceIndex::create(home.path().join(name), &model, Settings::of(&model.config)).unwrap();
    fill(&index, numbers);
    index
}

fn all() -> CopyOptions {
    CopyOptions::default().verify(VerifySamples::All)
}

fn copied(from: &[PlaceIndex], to: &PlaceIndex, options: &CopyOptions) -> CopyReport {
    copy_index(from, to, options, &NoProgress).unwrap()
}

#[track_caller]
fn assert_holds(index: &PlaceIndex, numbers: std::ops::Range<u64>) {
    let reader = index.reader().unwrap();
    assert_eq!(reader.count(&Filter::default()).unwrap(), numbers.end as usize - numbers.start as usize);
    for number in numbers {
        let wanted = image(index, number);
        let id = [place_id(&wanted.place.name)];
        assert_eq!(reader.get(&id).unwrap(), [Some(wanted.place)]);
        assert_eq!(reader.locals(&id).unwrap()[0].as_ref().unwrap().rows, wanted.local);
        let found = reader.search(&wanted.global, 1, &Filter::default()).unwrap();
        assert_eq!((found[0].id, found[0].similarity > 0.9999), (id[0], true));
    }
    assert_eq!(index.verify().unwrap().problems, []);
}

#[test]
fn parts_become_one_index_and_a_second_run_copies_nothing() {
    let home = tempfile::tempdir().unwrap();
    let parts = [made(&home, "a", 0..700), made(&home, "b", 650..1500), made(&home, "c", 0..0)];
    let address = IndexAddress::parse(home.path().join("all")).unwrap();
    let to = PlaceIndex::open_or_create_like(&address, &parts[0], &CollectionOptions::default()).unwrap();
    assert_eq!(to.manifest.config, parts[0].manifest.config);
    let report = copied(&parts, &to, &CopyOptions::default());
    assert_eq!((report.images, report.copied, report.already_there), (1550, 1500, 50));
    assert_eq!((report.sources, report.differing, report.updated), (1, 0, 0));
    assert_eq!((report.verified.images, &report.verified.problems[..]), (1500, &[][..]));
    assert!((700..=1000).contains(&report.verified.samples), "{}", report.verified.samples);
    assert_holds(&to, 0..1500);
    assert_eq!(to.reader().unwrap().sources().unwrap(), [source("/data/street")]);
    assert_eq!(to.model().unwrap().fingerprint, model().fingerprint);

    let again = PlaceIndex::open_or_create_like(&address, &parts[0], &CollectionOptions::default()).unwrap();
    let report = copied(&parts, &again, &all());
    assert_eq!((report.copied, report.already_there, report.sources, report.bytes), (0, 1550, 0, 0));
    assert_eq!(report.verified.samples, 1550);
    // What is missing is copied, and nothing else.
    let ids: Vec<_> = (100..110).map(|number| place_id(&image(&to, number).place.name)).collect();
    assert_eq!(to.writer().unwrap().remove(&ids).unwrap(), 10);
    let report = copied(&parts, &to, &CopyOptions::default().verify(VerifySamples::Some(0)));
    assert_eq!((report.copied, report.already_there, report.verified.samples), (10, 1540, 0));
    assert_holds(&to, 0..1500);
}

#[test]
fn what_differs_is_named_and_taken_on_request() {
    let home = tempfile::tempdir().unwrap();
    let (one, other) = (made(&home, "one", 0..40), made(&home, "other", 20..60));
    let mut writer = other.writer().unwrap();
    let moved = Place { heading: Some(90.0), ..image(&other, 25).place };
    writer.write(&Batch { describe: from_ref(&moved), ..Batch::default() }).unwrap();
    // An image that is in no file: its descriptor says that it is another.
    let changed = NewPlace { global: image(&other, 99).global, ..image(&other, 30) };
    assert_eq!(changed.place.file, None);
    writer.add(from_ref(&changed)).unwrap();
    writer.close().unwrap();

    let to = made(&home, "to", 0..0);
    let from = [one, other];
    let report = copied(&from, &to, &all());
    assert_eq!((report.copied, report.already_there, report.differing, report.updated), (60, 18, 2, 0));
    let mut named: Vec<_> = report.differences.iter().collect();
    named.sort_by_key(|difference| &difference.name);
    assert_eq!((named[0].name.as_str(), named[0].changes[0].what.as_str()), ("street/25.jpg", "heading"));
    assert_eq!((named[1].name.as_str(), named[1].changes[0].what.as_str()), ("street/30.jpg", "descriptor"));
    assert!(named.iter().all(|difference| difference.from.ends_with("other")));
    assert_eq!(report.verified.problems, []);
    assert_holds(&to, 0..60);

    for _ in 0..2 {
        let report = copied(&from, &to, &all().update(true));
        // The first index replaces what the last one said, which replaces it again.
        assert_eq!(
            (report.copied, report.differing, report.verified.problems.len()),
            (0, 0, 0),
            "{report:?}"
        );
        let reader = to.reader().unwrap();
        let ids = [place_id(&moved.name), place_id(&changed.place.name)];
        assert_eq!(reader.get(&ids).unwrap()[0].as_ref(), Some(&moved));
        let found = reader.search(&changed.global, 1, &Filter::default()).unwrap();
        assert_eq!(found[0].id, ids[1]);
    }
}

#[test]
fn what_cannot_be_copied_is_refused_before_anything_is_written() {
    let home = tempfile::tempdir().unwrap();
    let from = made(&home, "from", 0..5);
    let at = |name: &str| home.path().join(name);
    let refused = |from: &[PlaceIndex], to: &PlaceIndex| {
        let before = to.reader().unwrap().changes().unwrap();
        let error = copy_index(from, to, &CopyOptions::default(), &NoProgress).unwrap_err();
        assert_eq!(to.reader().unwrap().changes().unwrap(), before);
        error
    };
    assert!(refused(from_ref(&from), &from).to_string().contains("into itself"));
    let model = model();
    let settings = Settings::of(&model.config);
    let small = Settings { height: 64, width: 64, ..settings };
    let small = PlaceIndex::create(at("small"), &model, small).unwrap();
    assert!(refused(from_ref(&from), &small).to_string().contains("64"));
    let local = Positions::Local { origin: None };
    let local = PlaceIndex::create_with(at("local"), &model, settings, local).unwrap();
    assert!(refused(from_ref(&from), &local).to_string().contains("local metres"));
    let other = model.with(|config, _| config.name = "other".into()).unwrap();
    let other = PlaceIndex::create(at("other"), &other, settings).unwrap();
    let error = refused(from_ref(&from), &other);
    assert!(matches!(error, EngineError::Index(IndexError::OtherModel { .. })), "{error}");

    // One label, two folders.
    let second = made(&home, "second", 5..9);
    let mut writer = second.writer().unwrap();
    writer.write(&Batch { sources: &[source("/mnt/street")], ..Batch::default() }).unwrap();
    writer.close().unwrap();
    let to = PlaceIndex::create(at("to"), &model, settings).unwrap();
    let both = [from, second];
    let said = refused(&both, &to).to_string();
    assert!(
        said.contains("/data/street") && said.contains("/mnt/street") && said.contains("--moved"),
        "{said}"
    );
    let report = copied(&both, &to, &CopyOptions::default().moved(true));
    assert_eq!((report.copied, report.sources), (9, 1));
    assert_eq!(to.reader().unwrap().sources().unwrap(), [source("/mnt/street")]);

    // Options of a collection mean nothing to a folder.
    let sharded = CollectionOptions { shards: Some(3), ..CollectionOptions::default() };
    for name in ["to", "new"] {
        let address = IndexAddress::parse(at(name)).unwrap();
        let error = PlaceIndex::open_or_create_like(&address, &both[0], &sharded).unwrap_err().to_string();
        assert!(error.contains("options of a collection"), "{error}");
    }
    assert!(!at("new").exists());
}

/// Changes a byte of local features in the target's file.
fn damage(index: &Path, wanted: &[u8]) {
    let file = index.join("places-1.mdb");
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(wanted.len()).position(|window| window == wanted).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).unwrap();
}

#[test]
fn a_changed_byte_of_the_target_is_found() {
    let home = tempfile::tempdir().unwrap();
    let from = [made(&home, "from", 0..50)];
    let to = made(&home, "to", 0..0);
    assert_eq!(copied(&from, &to, &all()).verified.samples, 50);
    damage(&home.path().join("to"), &image(&to, 19).local);
    let error = copy_index(&from, &to, &all(), &NoProgress).unwrap_err();
    assert!(matches!(error, EngineError::Index(IndexError::Damaged { .. })), "{error}");
    assert!(error.to_string().contains(&home.path().join("to").display().to_string()));
}

/// What stands in the target under the same name and file, and is another all the same.
#[test]
fn vectors_that_are_not_what_was_read_are_found() {
    let home = tempfile::tempdir().unwrap();
    let from = [made(&home, "from", 0..30)];
    let to = made(&home, "to", 0..30);
    let mut other = image(&to, 7);
    assert!(other.place.file.is_some() && !other.local.is_empty());
    other.local[3] ^= 1;
    to.writer().unwrap().add(from_ref(&other)).unwrap();
    let report = copied(&from, &to, &all());
    assert_eq!((report.copied, report.already_there, report.verified.samples), (0, 30, 30));
    let problem = &report.verified.problems[0];
    assert_eq!((report.verified.problems.len(), problem.name.as_deref()), (1, Some("street/7.jpg")));
    assert!(problem.what.contains("local features") && problem.what.contains("checksum"), "{}", problem.what);
}
