//! Panoramas and cut files on their way into an index.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

use r2former_data::image::{HeadingReference, Limits, PhotoTags, Rgb8, cut_views, jpeg_with_tags};
use r2former_data::{ExpandedPhotos, LatLon, PanoramaOptions, PanoramaView, Photo, expand_panoramas};
use r2former_engine::{
    AddOptions, Extractor, LoadedModel, LocateOptions, NoProgress, PlaceIndex, RerankMethod, Settings,
    add_photos, locate,
};
use r2former_index::{Filter, Place, ReadPlaces};
use r2former_model::Device;
use r2former_model::import::{ImportOptions, import};
use std::path::Path;

fn model() -> (LoadedModel, Settings) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/golden/tiny.pth");
    let imported = import(&path, &ImportOptions::default()).unwrap();
    let settings = Settings { height: 64, width: 96, ..Settings::of(&imported.config) };
    (LoadedModel::of(&imported.config, &imported.tensors).unwrap(), settings)
}

/// A panorama whose every direction looks different.
fn panorama() -> Rgb8 {
    let (width, height) = (720, 360);
    let pixels = (0..width * height).flat_map(|i| {
        let (x, y) = ((i % width) as f64, (i / width) as f64);
        let angle = x / width as f64 * std::f64::consts::TAU;
        [angle.sin(), (3.0 * angle).cos() * (y / 20.0).sin(), (7.0 * angle).sin()]
            .map(|v| (127.5 + 120.0 * v) as u8)
    });
    Rgb8 { width, height, pixels: pixels.collect() }
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> Photo {
    std::fs::write(dir.join(name), bytes).unwrap();
    Photo { position: Some(LatLon { lat: 52.2, lon: 0.1 }.into()), ..Photo::new(dir.join(name), name) }
}

/// A JPEG with an XMP packet.
fn tagged(image: &Rgb8, xmp: &str) -> Vec<u8> {
    let plain = jpeg_with_tags(image, 97, &PhotoTags::default()).unwrap();
    let body = [b"http://ns.adobe.com/xap/1.0/\0", xmp.as_bytes()].concat();
    let length = (body.len() as u16 + 2).to_be_bytes();
    [&plain[..2], b"\xff\xe1", &length, &body, &plain[2..]].concat()
}

fn places(index: &PlaceIndex) -> Vec<Place> {
    let page = index.reader().unwrap().list(None, 100, &Filter::default()).unwrap();
    let mut places: Vec<Place> = page.places.into_iter().map(|(_, place)| place).collect();
    places.sort_by(|a, b| a.name.cmp(&b.name));
    places
}

/// Each view is an image of the index: found by what it shows, with its own heading.
#[test]
fn views_of_a_panorama_are_images_of_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let (loaded, settings) = model();
    let index = PlaceIndex::open_or_create(dir.path().join("index"), &loaded, settings).unwrap();
    let extractor = Extractor::new(loaded, settings, &Device::flex()).unwrap();
    let gpano = "<r GPano:ProjectionType='equirectangular' GPano:PoseHeadingDegrees='90'/>";
    let photos = vec![
        write(dir.path(), "a.jpg", &jpeg_with_tags(&panorama(), 90, &PhotoTags::default()).unwrap()),
        write(dir.path(), "pano.jpg", &tagged(&panorama(), gpano)),
    ];
    let options = PanoramaOptions::default().with_views(6, 80.0, 0.0).unwrap();
    let ExpandedPhotos { photos, .. } = expand_panoramas(photos, &options, &Limits::default());
    assert_eq!(photos.len(), 7);
    let report =
        add_photos(&mut index.writer().unwrap(), &extractor, &photos, &AddOptions::default(), &NoProgress)
            .unwrap();
    assert_eq!((report.added, report.unreadable, report.truncated), (7, vec![], vec![]));
    let again =
        add_photos(&mut index.writer().unwrap(), &extractor, &photos, &AddOptions::default(), &NoProgress)
            .unwrap();
    assert_eq!((again.added, again.already_indexed), (0, 7));

    let places = places(&index);
    let names: Vec<&str> = places.iter().map(|p| p.name.as_str()).collect();
    let views =
        ["pano.jpg#150", "pano.jpg#210", "pano.jpg#270", "pano.jpg#30", "pano.jpg#330", "pano.jpg#90"];
    assert_eq!(names, [&["a.jpg"], &views[..]].concat());
    for place in &places[1..] {
        let heading: f64 = place.name.split_once('#').unwrap().1.parse().unwrap();
        assert_eq!((place.heading, place.tags["panorama"].as_str()), (Some(heading), "pano.jpg"));
        assert_eq!(place.position, Some(LatLon { lat: 52.2, lon: 0.1 }.into()));
        // The view itself, cut here, finds it.
        let view = PanoramaView { yaw: heading - 90.0, fov: 80.0, horizon: 0.5 };
        let image = cut_views(panorama(), &[view]).unwrap().remove(0);
        let search = LocateOptions::default().rerank(RerankMethod::None);
        let answer = locate(&index.reader().unwrap(), &extractor, &image, &search).unwrap();
        assert_eq!(answer.matches[0].path, place.name);
        assert!(answer.matches[0].similarity > 0.99, "{}: {}", place.name, answer.matches[0].similarity);
    }
}

/// A corrected heading or another number of views makes other views: those that were replace nothing unless asked to, and
/// then leave none of the old ones.
#[test]
fn other_views_of_a_panorama_are_a_change() {
    let dir = tempfile::tempdir().unwrap();
    let (loaded, settings) = model();
    let index = PlaceIndex::open_or_create(dir.path().join("index"), &loaded, settings).unwrap();
    let extractor = Extractor::new(loaded, settings, &Device::flex()).unwrap();
    let add = |heading: u32, views, update| {
        let gpano =
            format!("<r GPano:ProjectionType='equirectangular' GPano:PoseHeadingDegrees='{heading}'/>");
        let mut photos = vec![write(dir.path(), "pano.jpg", &tagged(&panorama(), &gpano))];
        let options = PanoramaOptions::default().with_views(views, 80.0, 0.0).unwrap();
        photos = expand_panoramas(photos, &options, &Limits::default()).photos;
        let options = AddOptions::default().update(update);
        add_photos(&mut index.writer().unwrap(), &extractor, &photos, &options, &NoProgress).unwrap()
    };
    let names = || {
        let names: Vec<_> = places(&index).into_iter().map(|place| place.name).collect();
        let (own, views): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name == "own.jpg");
        assert_eq!(own.len(), 1);
        views
    };
    let three = |first: u32| {
        let mut names: Vec<_> =
            [0, 120, 240].map(|more| format!("pano.jpg#{}", (first + more) % 360)).to_vec();
        names.sort();
        names
    };
    assert_eq!(add(10, 3, false).added, 3);
    // Somebody's own tag of that name makes no view.
    let mut own =
        write(dir.path(), "own.jpg", &jpeg_with_tags(&panorama(), 90, &PhotoTags::default()).unwrap());
    own.tags.insert("panorama".into(), "pano.jpg".into());
    add_photos(&mut index.writer().unwrap(), &extractor, &[own], &AddOptions::default(), &NoProgress)
        .unwrap();
    let found = add(30, 3, false);
    assert_eq!((found.added, found.changed.len()), (0, 3), "{found:?}");
    assert_eq!(found.changed[0].changes[0].what, "view");
    assert_eq!(names(), three(10));
    let found = add(30, 3, true);
    assert_eq!((found.added, found.updated.len()), (3, 3), "{found:?}");
    assert_eq!(names(), three(30));
    // Of six views three are there already.
    let found = add(30, 6, true);
    assert_eq!((found.added, found.updated.len(), names().len()), (3, 0, 6), "{found:?}");
    let found = add(30, 3, false);
    assert_eq!((found.added, found.already_indexed, found.changed.len()), (0, 3, 3), "{found:?}");
    assert_eq!(add(30, 3, true).updated.len(), 3);
    assert_eq!(names(), three(30));
}

/// What the position and the heading are worth is kept as tags.
#[test]
fn the_index_keeps_what_a_position_is_worth() {
    let dir = tempfile::tempdir().unwrap();
    let (loaded, settings) = model();
    let index = PlaceIndex::open_or_create(dir.path().join("index"), &loaded, settings).unwrap();
    let extractor = Extractor::new(loaded, settings, &Device::flex()).unwrap();
    let mut photo =
        write(dir.path(), "a.jpg", &jpeg_with_tags(&panorama(), 90, &PhotoTags::default()).unwrap());
    photo.heading = Some(10.0);
    photo.heading_ref = Some(HeadingReference::Magnetic);
    photo.position_error = Some(4.75);
    photo.position_method = Some("CELLID".into());
    add_photos(&mut index.writer().unwrap(), &extractor, &[photo], &AddOptions::default(), &NoProgress)
        .unwrap();
    let tags = &places(&index)[0].tags;
    let of = |key: &str| tags.get(key).map(String::as_str);
    assert_eq!(of("heading_ref"), Some("magnetic"));
    assert_eq!((of("position_error_m"), of("position_method")), (Some("4.75"), Some("CELLID")));
}

/// Files that are cut short are left out, or on request counted.
#[test]
fn cut_files_are_left_out_or_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (loaded, settings) = model();
    let index = PlaceIndex::open_or_create(dir.path().join("index"), &loaded, settings).unwrap();
    let extractor = Extractor::new(loaded, settings, &Device::flex()).unwrap();
    let whole = jpeg_with_tags(&panorama(), 90, &PhotoTags::default()).unwrap();
    let photos = [
        write(dir.path(), "cut.jpg", &whole[..whole.len() / 2]),
        write(dir.path(), "open.jpg", &whole[..whole.len() - 2]),
    ];
    let report =
        add_photos(&mut index.writer().unwrap(), &extractor, &photos, &AddOptions::default(), &NoProgress)
            .unwrap();
    assert_eq!((report.added, report.unreadable.len(), report.truncated), (1, 1, vec![]));
    assert!(report.unreadable[0].1.contains("--accept-truncated"), "{:?}", report.unreadable);
    let lenient = extractor.with_limits(Limits { accept_truncated: true, ..Limits::default() });
    let report =
        add_photos(&mut index.writer().unwrap(), &lenient, &photos, &AddOptions::default(), &NoProgress)
            .unwrap();
    assert_eq!((report.added, report.already_indexed, report.unreadable), (1, 1, vec![]));
    assert!(report.truncated[0].0.ends_with("cut.jpg") && report.truncated[0].1.contains("blocks"));
}
