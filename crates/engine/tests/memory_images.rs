//! Images in memory into an index, and an index that threads share.

mod common;

use r2former_data::Photo;
use r2former_engine::{
    AddOptions, AddReport, Extractor, FailureKind, LatLon, LoadedModel, LocateOptions, MemoryImage,
    NoProgress, OpenIndex, PlaceIndex, QueryImage, Rgb8, Settings, Status, add_images,
};
use r2former_model::{Device, Precision};
use std::sync::Arc;

/// A picture of stripes.
fn picture(step: usize) -> Rgb8 {
    let pixels = (0..96 * 64 * 3).map(|i| (i / step % 200) as u8).collect();
    Rgb8 { width: 96, height: 64, pixels }
}

/// The same as a file without loss.
fn file(picture: &Rgb8) -> Vec<u8> {
    let mut bytes = format!("P6 {} {} 255\n", picture.width, picture.height).into_bytes();
    bytes.extend(&picture.pixels);
    bytes
}

fn photo(name: &str, lat: f64) -> Photo {
    let mut photo = Photo::new("", name);
    photo.position = Some(LatLon { lat, lon: 0.5 }.into());
    photo
}

fn add(index: &OpenIndex, images: &[(QueryImage<'_>, Photo)], update: bool) -> AddReport {
    let images: Vec<MemoryImage<'_>> = images
        .iter()
        .map(|(image, photo)| MemoryImage { image: image.clone(), photo: photo.clone() })
        .collect();
    let extractor = index.extractor().expect("a model");
    let options = AddOptions::default().update(update);
    index.change(|writer| add_images(writer, &extractor, &images, &options, &NoProgress)).expect("added")
}

#[test]
fn what_is_known_is_skipped_and_what_differs_is_reported() {
    let home = tempfile::tempdir().expect("temporary folder");
    let dir = home.path().join("places");
    let model = LoadedModel::built_in().expect("a model");
    PlaceIndex::create(&dir, &model, Settings::of(&model.config)).expect("an index");
    let index = OpenIndex::open(&dir, "cpu").expect("an index");

    let (stripes, other) = (picture(5), picture(301));
    let (bytes, others) = (file(&stripes), file(&other));
    let first = [
        (QueryImage::from(&bytes), photo("bytes", 52.0)),
        (QueryImage::from(&other), photo("pixels", 53.0)),
        (QueryImage::from(b"nothing".as_slice()), photo("broken", 54.0)),
    ];
    let report = add(&index, &first, false);
    assert_eq!((report.added, report.unreadable.len()), (2, 1));
    let again = add(&index, &first[..2], false);
    assert_eq!((again.added, again.already_indexed, again.changed.len()), (0, 2, 0));

    // Another file, another position: reported, and taken on request.
    let changed = [
        (QueryImage::from(&others), photo("bytes", 52.0)),
        (QueryImage::from(&other), photo("pixels", 53.5)),
    ];
    let report = add(&index, &changed, false);
    let what: Vec<&str> = report.changed.iter().map(|changed| changed.changes[0].what.as_str()).collect();
    assert_eq!((what.as_slice(), report.updated.len()), (["file", "position"].as_slice(), 0));
    assert_eq!(add(&index, &changed, true).updated.len(), 2);
    let answer = index.locate(&others, &LocateOptions::default()).expect("an answer");
    assert!(answer.matches.iter().all(|found| found.similarity > 0.999), "both show the same now");

    // Other pixels of one name are another image, and the same ones are not taken twice.
    let pixels = [(QueryImage::from(&stripes), photo("pixels", 53.5))];
    assert_eq!(add(&index, &pixels, false).changed[0].changes[0].what, "file");
    assert_eq!(add(&index, &pixels, true).updated.len(), 1);
    let report = add(&index, &pixels, true);
    assert_eq!((report.updated.len(), report.already_indexed), (0, 1));
    let turned = Rgb8 { width: stripes.height, height: stripes.width, pixels: stripes.pixels.clone() };
    let turned = [(QueryImage::from(&turned), photo("pixels", 53.5))];
    assert_eq!(add(&index, &turned, false).changed.len(), 1);

    let twice = [(QueryImage::from(&bytes), photo("a", 1.0)), (QueryImage::from(&bytes), photo("a", 1.0))];
    let images = twice.map(|(image, photo)| MemoryImage { image, photo });
    let extractor = index.extractor().expect("a model");
    let refused =
        index.change(|writer| add_images(writer, &extractor, &images, &AddOptions::default(), &NoProgress));
    assert_eq!(refused.expect_err("two of one name").failure(), FailureKind::Request);
}

#[test]
fn the_writer_is_let_go_unless_it_is_kept() {
    let home = tempfile::tempdir().expect("temporary folder");
    let dir = home.path().join("places");
    let model = LoadedModel::built_in().expect("a model");
    PlaceIndex::create(&dir, &model, Settings::of(&model.config)).expect("an index");
    let (index, other) = (OpenIndex::open(&dir, "cpu"), OpenIndex::open(&dir, "cpu"));
    let (index, other) = (index.expect("an index"), other.expect("an index"));
    let stripes = picture(7);
    index.keep_writer();
    let one = [(QueryImage::from(&stripes), photo("a", 52.0))];
    assert_eq!(add(&index, &one, false).added, 1);
    let busy = other.change(|_| Ok(())).expect_err("the index is locked");
    assert_eq!(busy.failure(), FailureKind::Busy);
    // Paused, it is kept again from the next change on.
    index.pause_writer().expect("paused");
    index.pause_writer().expect("nothing to pause");
    other.change(|_| Ok(())).expect("free");
    index.change(|_| Ok(())).expect("a change");
    other.change(|_| Ok(())).expect_err("the index is locked again");
    index.release_writer().expect("released");
    other.change(|_| Ok(())).expect("free");
    index.change(|_| Ok(())).expect("a change");
    other.change(|_| Ok(())).expect("nobody keeps the writer");

    // Readers see what another wrote, from any thread.
    std::thread::scope(|scope| {
        let ask = || other.locate(&stripes, &LocateOptions::default()).expect("an answer").status;
        let threads = [scope.spawn(ask), scope.spawn(ask)];
        assert!(threads.into_iter().all(|thread| thread.join().expect("a thread") == Status::Answered));
    });
}

#[test]
fn a_model_in_another_arithmetic_is_shared_where_the_two_rank_alike() {
    let home = tempfile::tempdir().expect("temporary folder");
    let built_in = LoadedModel::built_in().expect("a model");
    for (name, checks, size, shared) in [
        ("measured", vec![common::ranks_alike()], None, true),
        ("unmeasured", vec![], None, false),
        ("at another size", vec![common::ranks_alike()], Some([64, 64]), false),
    ] {
        let model = built_in.with(|config, _| config.checks = checks).expect("a model");
        let mut exact = Settings { precision: Precision::F32, ..Settings::of(&model.config) };
        if let Some([height, width]) = size {
            exact = Settings { height, width, ..exact };
        }
        let dir = home.path().join(name);
        PlaceIndex::create(&dir, &model, Settings { precision: Precision::Int8, ..exact }).expect("an index");
        let index = OpenIndex::open(&dir, "cpu").expect("an index");
        let extractor = |settings| {
            Arc::new(Extractor::new(model.clone(), settings, &Device::flex()).expect("an extractor"))
        };
        assert_eq!(index.share(extractor(exact)).is_ok(), shared, "{name}");
        let other = Settings { height: exact.height / 2, ..exact };
        assert_eq!(index.share(extractor(other)).expect_err(name).failure(), FailureKind::Request);
    }
}
