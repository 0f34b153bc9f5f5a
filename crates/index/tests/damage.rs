//! Damaged files: what is changed or cut is found, never answered from, and never ends the process.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use common::{MODEL, Random, config, image};
use r2former_index::{
    Extent, Filter, IndexConfig, IndexError, LatLon, Near, NewPlace, Position, ReadPlaces, Reader,
    WritePlaces, Writer, export, place_id, verify,
};

const DIR: &str = "R2FORMER_TEST_DAMAGE_DIR";
const FROM: &str = "R2FORMER_TEST_DAMAGE_FROM";

/// Changed bits of one child, and children at a time.
const PER_CHILD: u64 = 50;
const CHILDREN: usize = 12;

/// Changed bits: 600, or as many as the environment says for a longer test.
fn flips() -> u64 {
    std::env::var("R2FORMER_TEST_FLIPS").ok().and_then(|text| text.parse().ok()).unwrap_or(600)
}

const IMAGES: u64 = 300;

fn shape() -> IndexConfig {
    // Long rows, so that all kinds of values lie on pages of their own too.
    IndexConfig { row_width: 1000, max_rows: 6, ..config() }
}

fn new(i: u64, v: u64) -> NewPlace {
    NewPlace { local: Random(i * 1000 + v + 1).bytes(1000 * (i as usize % 7)), ..image(i, v) }
}

/// Images with holes between them: some replaced, some removed.
fn fill(dir: &Path) -> Vec<NewPlace> {
    let mut writer = Writer::create(dir, shape()).unwrap();
    for first in (0..IMAGES).step_by(50) {
        writer.add(&(first..first + 50).map(|i| new(i, 0)).collect::<Vec<_>>()).unwrap();
    }
    writer.add(&(20..40).map(|i| new(i, 1)).collect::<Vec<_>>()).unwrap();
    let gone: Vec<_> = (0..IMAGES).step_by(11).map(|i| place_id(&new(i, 0).place.name)).collect();
    writer.remove(&gone).unwrap();
    (0..IMAGES).filter(|i| i % 11 != 0).map(|i| new(i, u64::from((20..40).contains(&i)))).collect()
}

/// Asks for everything; every answer must be the true one, or an error of damage.
fn answers_are_true(dir: &Path, images: &[NewPlace]) -> Result<(), IndexError> {
    let reader = Reader::open(dir, Some(MODEL))?;
    let mut first = Ok(());
    let mut keep = |result: Result<(), IndexError>| {
        if let Err(error) = result {
            assert!(matches!(error, IndexError::Damaged { .. }), "{error}");
            if first.is_ok() {
                first = Err(error);
            }
        }
    };
    let gone: Vec<_> = (0..IMAGES).step_by(11).map(|i| place_id(&new(i, 0).place.name)).collect();
    for new in images {
        let id = [place_id(&new.place.name)];
        keep(reader.get(&id).map(|found| assert_eq!(found, [Some(new.place.clone())])));
        keep(reader.globals(&id).map(|found| assert_eq!(found, [Some(new.global.clone())])));
        keep(reader.locals(&id).map(|found| assert_eq!(found[0].as_ref().unwrap().rows, new.local)));
    }
    for id in gone {
        keep(reader.contains(&[id]).map(|found| assert_eq!(found, [false])));
    }
    let near = Near { center: LatLon { lat: 48.1, lon: 11.0 }.into(), radius_m: 5000.0 };
    let filters = [
        Filter::default(),
        Filter { near: Some(near), ..Filter::default() },
        Filter { tags: [("city".into(), "ulm".into())].into(), ..Filter::default() },
        Filter { since: Some(1_700_000_100), ..Filter::default() },
    ];
    for filter in filters {
        let passes = |new: &&NewPlace| {
            filter.near.is_none_or(|near| {
                new.place
                    .position
                    .and_then(|at| near.center.distance_m(at))
                    .is_some_and(|metres| metres <= near.radius_m)
            }) && filter.tags.iter().all(|(key, value)| new.place.tags.get(key) == Some(value))
                && filter.since.is_none_or(|since| new.place.time.is_some_and(|time| time >= since))
        };
        let query = &images[5].global;
        let score = |new: &NewPlace| new.global.iter().zip(query).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        let mut expected: Vec<_> = images.iter().filter(passes).map(|new| (score(new), &new.place)).collect();
        expected.sort_by(|a, b| b.0.total_cmp(&a.0));
        keep(reader.count(&filter).map(|count| assert_eq!(count, expected.len())));
        keep(reader.search(query, 10, &filter).map(|hits| {
            assert_eq!(hits.len(), 10.min(expected.len()));
            for (hit, (score, _)) in hits.iter().zip(&expected) {
                assert!((f64::from(hit.similarity) - score).abs() < 1e-5);
                let true_place = images.iter().find(|new| new.place.name == hit.place.name).unwrap();
                assert_eq!(hit.place, true_place.place);
            }
        }));
        keep(reader.list(None, 1000, &filter).map(|page| assert_eq!(page.places.len(), expected.len())));
    }
    keep(reader.extent().map(|extent| {
        assert!(matches!(extent, Some(Extent::Wgs84 { south_west, .. }) if south_west.lat == 48.001));
    }));
    first
}

/// Not a test: it changes one bit after the other of a copy, and prints what came of each.
#[test]
fn child() {
    let (Ok(dir), Ok(from)) = (std::env::var(DIR), std::env::var(FROM)) else { return };
    let (dir, from): (&Path, u64) = (dir.as_ref(), from.parse().unwrap());
    let images: Vec<_> =
        (0..IMAGES).filter(|i| i % 11 != 0).map(|i| new(i, u64::from((20..40).contains(&i)))).collect();
    let whole = std::fs::read(dir.join("places-1.mdb")).unwrap();
    for n in from..from + PER_CHILD {
        let mut random = Random(0x1234_5678_9abc ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        random.next();
        let copy = dir.join(format!("copy-{n}"));
        std::fs::create_dir(&copy).unwrap();
        std::fs::copy(dir.join("manifest.json"), copy.join("manifest.json")).unwrap();
        let mut bytes = whole.clone();
        // A third of the changes in the head and in the first bytes of pages, where the structure is.
        let at = match n % 6 {
            0 => random.next() as usize % 8192 % (16 + 136) + 4096 * (n as usize / 6 % 2),
            1 => random.next() as usize % (bytes.len() / 4096) * 4096 + random.next() as usize % 64,
            _ => random.next() as usize % bytes.len(),
        };
        bytes[at] ^= 1 << (random.next() % 8);
        std::fs::write(copy.join("places-1.mdb"), bytes).unwrap();
        eprintln!("flip {n} at {at}");
        let found = match verify(&copy) {
            Ok(report) => !report.problems.is_empty(),
            Err(error) => {
                assert!(matches!(error, IndexError::Damaged { .. }), "{error}");
                true
            }
        };
        let answers = answers_are_true(&copy, &images);
        assert!(found || answers.is_ok(), "flip {n} at {at}: {answers:?}, but verification found nothing");
        let exported = if n.is_multiple_of(4) { export(&copy, copy.join("out.tar")) } else { Ok(()) };
        assert!(found || exported.is_ok(), "flip {n} at {at}: {exported:?}");
        // A writer refuses, or adds and removes; that takes time, so after some of the changes.
        let written = Writer::open(&copy, MODEL).and_then(|mut writer| {
            if !n.is_multiple_of(4) {
                return Ok(());
            }
            writer.add(&(0..30).map(|i| new(i * 10, 3)).collect::<Vec<_>>())?;
            writer.remove(&[place_id(&new(60, 0).place.name)])?;
            writer.compact()
        });
        assert!(found || written.is_ok(), "flip {n} at {at}: {written:?}");
        eprintln!("result {} {} {}", u8::from(found), u8::from(answers.is_ok()), u8::from(written.is_ok()));
        std::fs::remove_dir_all(copy).unwrap();
    }
}

/// A bit anywhere in the file: in values, in LMDB's pages, in its head, in pages that nothing uses.
#[test]
fn a_changed_bit_is_found_and_never_answered_from() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("index");
    let images = fill(&dir);
    answers_are_true(&dir, &images).unwrap();
    assert_eq!(verify(&dir).unwrap().problems, []);
    let (mut found, mut unused) = (0, 0);
    let start = |from: &u64| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--nocapture"]).env(DIR, &dir).env(FROM, from.to_string());
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let all: Vec<u64> = (0..flips()).step_by(PER_CHILD as usize).collect();
    let outputs = all.chunks(CHILDREN).flat_map(|some| {
        let children: Vec<_> = some.iter().map(start).collect();
        children.into_iter().map(|child| child.wait_with_output().unwrap())
    });
    for output in outputs {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{:?}: {said}", output.status);
        let results = || said.lines().filter_map(|line| line.strip_prefix("result "));
        assert_eq!(results().count() as u64, PER_CHILD);
        found += results().filter(|line| line.starts_with('1')).count();
        unused += results().filter(|line| line.starts_with('0')).count();
    }
    eprintln!("{found} of {} changed bits found, {unused} in bytes that nothing reads", flips());
    assert!(found > flips() as usize / 3);
}

/// Stored values, one by one: wherever a latitude, a descriptor or local features lie.
#[test]
fn a_changed_value_is_found() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("index");
    let images = fill(&dir);
    // Without older commits' pages: what is in the file is in use.
    Writer::open(&dir, MODEL).unwrap().compact().unwrap();
    let path = dir.join("places-2.mdb");
    let whole = std::fs::read(&path).unwrap();
    let new = &images[102];
    let places = |needle: &[u8]| {
        whole
            .windows(needle.len())
            .enumerate()
            .filter(|(_, bytes)| *bytes == needle)
            .map(|(at, _)| at)
            .collect()
    };
    let descriptor: Vec<u8> = new.global.iter().flat_map(|x| x.to_le_bytes()).collect();
    let position = new.place.position.and_then(Position::wgs84).unwrap();
    let values: [Vec<usize>; 5] = [
        places(&position.lat.to_le_bytes()),
        places(format!("\"lat\":{}", position.lat).as_bytes()),
        places(&descriptor),
        places(&new.local[..64]),
        places(place_id(&new.place.name).as_bytes()),
    ];
    for (kind, found) in values.iter().enumerate() {
        assert_eq!(found.len(), 1, "kind {kind}: {found:?}");
        let mut bytes = whole.clone();
        bytes[found[0] + 7] ^= 4;
        std::fs::write(&path, bytes).unwrap();
        match verify(&dir) {
            Ok(report) => assert!(!report.problems.is_empty(), "kind {kind}"),
            Err(error) => assert!(matches!(error, IndexError::Damaged { .. })),
        }
        assert!(answers_are_true(&dir, &images).is_err(), "kind {kind}");
    }
}

#[test]
fn a_cut_or_missing_file_is_an_error() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("index");
    let images = fill(&dir);
    Writer::open(&dir, MODEL).unwrap().compact().unwrap();
    let path = dir.join("places-2.mdb");
    let whole = std::fs::read(&path).unwrap();
    let mut random = Random(3);
    let mut free = 0;
    let some = (0..60).map(|_| random.next() as usize % whole.len());
    let lengths: Vec<_> = [
        0,
        1,
        15,
        16,
        100,
        151,
        152,
        4095,
        4096,
        4247,
        4248,
        8191,
        8192,
        whole.len() - 4096,
        whole.len() - 1,
    ]
    .into_iter()
    .chain(some)
    .collect();
    let damaged = |what: &str, result: Option<IndexError>| {
        let error = result.unwrap_or_else(|| panic!("{what}: no error"));
        assert!(matches!(error, IndexError::Damaged { .. }), "{what}: {error}");
    };
    for length in lengths {
        std::fs::write(&path, &whole[..length]).unwrap();
        let what = format!("{length} of {} bytes", whole.len());
        // Only pages that nothing uses were cut off.
        if length + 3 * 4096 > whole.len() && Reader::open(&dir, None).is_ok() {
            answers_are_true(&dir, &images).unwrap();
            assert_eq!(verify(&dir).unwrap().problems, []);
            free += 1;
            continue;
        }
        damaged(&what, Reader::open(&dir, None).err());
        damaged(&what, Writer::open(&dir, MODEL).err());
        damaged(&what, verify(&dir).err());
    }
    assert!(free <= 4, "{free}");
    std::fs::remove_file(&path).unwrap();
    damaged("no file", Reader::open(&dir, None).err());
    damaged("no file", Writer::open(&dir, MODEL).err());
}

/// Damage of an image is reported by its name, once, and to a query as well.
#[test]
fn damage_names_the_photograph() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("index");
    let images = fill(&dir);
    let (file, image) = (dir.join("places-1.mdb"), &images[7]);
    let whole = std::fs::read(&file).unwrap();
    let descriptor: Vec<u8> = {
        let reader = Reader::open(&dir, Some(MODEL)).unwrap();
        let global = reader.globals(&[place_id(&image.place.name)]).unwrap().remove(0).unwrap();
        global.iter().flat_map(|value| value.to_le_bytes()).collect()
    };
    for (what, bytes) in [("local features", &image.local[..64]), ("descriptor", &descriptor[..])] {
        let mut changed = whole.clone();
        let mut places: Vec<_> = whole.windows(bytes.len()).enumerate().collect();
        places.retain(|(_, window)| *window == bytes);
        // Older commits may have left copies in pages that nothing uses.
        places.iter().for_each(|(at, _)| changed[at + 2] ^= 1);
        std::fs::write(&file, &changed).unwrap();
        let wanted = format!("the checksum of the {what} of {:?} is wrong", image.place.name);
        let report = verify(&dir).unwrap();
        let found: Vec<_> = report.problems.iter().map(|problem| problem.what.clone()).collect();
        assert_eq!(found, std::slice::from_ref(&wanted), "{what}");
        let reader = Reader::open(&dir, Some(MODEL)).unwrap();
        let id = [place_id(&image.place.name)];
        let error = if what == "descriptor" {
            reader.globals(&id).unwrap_err()
        } else {
            reader.locals(&id).unwrap_err()
        };
        assert!(error.to_string().contains(&wanted), "{error}");
    }
}

#[test]
fn a_changed_or_missing_attachment_is_found_and_not_exported() {
    let dir = tempfile::tempdir().unwrap();
    let (index, file) = (dir.path().join("places"), dir.path().join("places.r2f"));
    let attached: &mut [(&str, &mut dyn std::io::Read)] =
        &mut [("model", &mut &b"weights"[..]), ("settings", &mut &b"320"[..])];
    drop(Writer::create_with(&index, config(), attached).unwrap());
    let problems = || verify(&index).unwrap().problems.into_iter().map(|p| p.what).collect::<Vec<_>>();
    assert!(problems().is_empty());
    std::fs::write(index.join("attachments/settings"), "160").unwrap();
    std::fs::remove_file(index.join("attachments/model")).unwrap();
    assert_eq!(
        problems(),
        ["attachments/model is missing", "attachments/settings has changed since the index was created"]
    );
    let refused = export(&index, &file).unwrap_err();
    assert!(refused.to_string().contains("attachments/model is missing") && !file.exists(), "{refused}");
}
