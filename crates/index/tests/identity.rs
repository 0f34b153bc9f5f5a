//! What an image is: its name, the file behind it, and the folder that its label stands for.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

mod common;

use common::{MODEL, config, image};
use r2former_index::{
    Batch, FileFingerprint, Filter, NewPlace, Place, ReadPlaces, Reader, Source, WritePlaces, Writer, export,
    import, place_id, verify,
};

fn names(places: &[Place]) -> Vec<&str> {
    let mut names: Vec<_> = places.iter().map(|place| place.name.as_str()).collect();
    names.sort_unstable();
    names
}

fn source(label: &str, root: &str) -> Source {
    Source { label: label.into(), root: root.into() }
}

#[test]
fn images_are_found_by_their_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), config()).unwrap();
    let images: Vec<NewPlace> = (0..30).map(|i| image(i, 0)).collect();
    writer.add(&images).unwrap();
    let file = |i: usize| images[i].place.file.unwrap();
    let unknown = FileFingerprint { bytes: 1, xxh3: 0 };
    let found = writer.with_file(&[file(3), unknown, file(4)]).unwrap();
    assert_eq!(names(&found[0]), ["images/000003.jpg", "images/000005.jpg"]);
    assert_eq!((found[1].len(), names(&found[2])), (0, vec!["images/000004.jpg"]));

    // Removed, replaced and described images leave their files.
    writer.remove(&[place_id(&images[3].place.name)]).unwrap();
    writer.add(&[image(4, 9)]).unwrap();
    let mut place = images[6].place.clone();
    place.file = Some(file(5));
    writer.write(&Batch { describe: &[place], ..Batch::default() }).unwrap();
    let found = writer.with_file(&[file(5), file(4), image(4, 9).place.file.unwrap(), file(8)]).unwrap();
    assert_eq!(names(&found[0]), ["images/000005.jpg", "images/000006.jpg"]);
    assert_eq!((found[1].len(), names(&found[2])), (0, vec!["images/000004.jpg"]));
    assert_eq!(names(&found[3]), ["images/000008.jpg"]);
    writer.close().unwrap();
    assert_eq!(verify(dir.path()).unwrap().problems, []);
}

#[test]
fn a_description_keeps_the_vectors() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), config()).unwrap();
    let old = image(5, 0);
    writer.add(&[old.clone(), image(6, 0)]).unwrap();
    let new =
        Place { tags: [("city".to_owned(), "lima".to_owned())].into(), time: Some(5), ..image(5, 70).place };
    writer.write(&Batch { describe: std::slice::from_ref(&new), ..Batch::default() }).unwrap();
    let id = [place_id(&new.name)];
    assert_eq!(writer.get(&id).unwrap(), [Some(new.clone())]);
    assert_eq!(writer.globals(&id).unwrap(), [Some(old.global.clone())]);
    assert!(writer.locals(&id).unwrap()[0].as_ref().unwrap().rows == old.local);
    let tagged = |city: &str| {
        let filter = Filter { tags: [("city".to_owned(), city.to_owned())].into(), ..Filter::default() };
        writer.count(&filter).unwrap()
    };
    assert_eq!((tagged("lima"), tagged("bonn"), tagged("ulm")), (1, 0, 1));
    assert_eq!(writer.count(&Filter { until: Some(5), ..Filter::default() }).unwrap(), 1);

    // All or nothing.
    let absent = image(7, 0).place;
    let changed = Place { heading: Some(1.0), ..new.clone() };
    let error =
        writer.write(&Batch { describe: &[changed.clone(), absent], ..Batch::default() }).unwrap_err();
    assert!(
        error.to_string().contains("images/000007.jpg") && error.to_string().contains("not in the index")
    );
    let twice = Batch { add: &[image(5, 1)], describe: &[changed], sources: &[] };
    assert!(writer.write(&twice).unwrap_err().to_string().contains("twice"));
    let wrong = Place { heading: Some(f64::NAN), ..new.clone() };
    assert!(writer.write(&Batch { describe: &[wrong], ..Batch::default() }).is_err());
    assert_eq!(writer.get(&id).unwrap(), [Some(new)]);
    writer.close().unwrap();
    assert_eq!(verify(dir.path()).unwrap().problems, []);
}

#[test]
fn labels_and_files_travel() {
    let dir = tempfile::tempdir().unwrap();
    let index = dir.path().join("index");
    let mut writer = Writer::create(&index, config()).unwrap();
    assert_eq!(writer.sources().unwrap(), []);
    let longest = "l".repeat(255);
    let sources = [source("cam", "/a/cam"), source(&longest, "/b"), source("caf\u{e9} #1", "/c")];
    writer.write(&Batch { add: &[image(1, 0)], sources: &sources, ..Batch::default() }).unwrap();
    writer.write(&Batch { sources: &[source("cam", "/moved/cam")], ..Batch::default() }).unwrap();
    let mut wanted = sources.to_vec();
    wanted[0].root = "/moved/cam".into();
    wanted.sort_by(|a, b| a.label.cmp(&b.label));
    for label in ["", "a/b", &"l".repeat(256)] {
        let error = writer.write(&Batch { sources: &[source(label, "/x")], ..Batch::default() }).unwrap_err();
        assert!(error.to_string().contains("label"), "{error}");
    }
    assert!(source("cam", "/a").holds("cam/x.jpg") && !source("cam", "/a").holds("camera/x.jpg"));
    writer.compact().unwrap();
    assert_eq!(writer.sources().unwrap(), wanted);
    writer.close().unwrap();
    let (archive, copy) = (dir.path().join("archive"), dir.path().join("copy"));
    export(&index, &archive).unwrap();
    import(&archive, &copy).unwrap();
    let reader = Reader::open(&copy, Some(MODEL)).unwrap();
    assert_eq!(reader.sources().unwrap(), wanted);
    let place = image(1, 0).place;
    assert_eq!(reader.with_file(&[place.file.unwrap()]).unwrap(), [vec![place]]);
    assert_eq!(verify(&copy).unwrap().problems, []);
}
