//! Photographs behind HTTP that is slow, breaks off, or says little.

mod common;

use common::{Fault, Store};
use r2former_data::dataset::{Listing, SourceOptions};
use r2former_data::image::{Limits, PhotoTags, Rgb8, jpeg_with_tags};
use r2former_data::{LatLon, PositionKind};
use r2former_engine::PhotoFiles;
use r2former_index::FileFingerprint;
use r2former_remote::{FetchOptions, ListOptions, RemoteSource, Stores};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn jpeg(seed: u32, side: usize, position: Option<LatLon>) -> Vec<u8> {
    let value = |i: usize| ((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed * 97) >> 24) as u8;
    let image = Rgb8 { width: side, height: side, pixels: (0..side * side * 3).map(value).collect() };
    jpeg_with_tags(&image, 90, &PhotoTags { position, ..PhotoTags::default() }).expect("a sound picture")
}

fn here(i: u32) -> Option<LatLon> {
    Some(LatLon { lat: 52.0 + f64::from(i) / 1000.0, lon: 0.5 })
}

fn stores() -> Arc<Stores> {
    let options = FetchOptions::default()
        .with_retries(3, Duration::from_millis(5))
        .with_stall(Duration::from_millis(1500));
    Stores::new(options).expect("threads")
}

fn list(stores: &Stores, address: &str, positions: PositionKind) -> r2former_data::Result<Listing> {
    let remote = RemoteSource::of(Path::new(address), None)?.expect("a source that is fetched");
    let source = SourceOptions { positions: Some(positions), ..SourceOptions::default() };
    let indexed = |names: &[String]| Ok(vec![None; names.len()]);
    stores.list(&remote, &ListOptions { kind: None, source: &source, label: "web", indexed: &indexed })
}

#[test]
fn a_list_of_addresses_has_the_positions_of_its_photographs() {
    let store = Store::start();
    for i in 0..9 {
        store.put(&format!("a/img/{i}.jpg"), jpeg(i, 48, here(i)));
    }
    store.put("a/img/bare.jpg", jpeg(20, 48, None));
    store.put("a/img/text.jpg", "no photograph");
    let mut text = String::from("# photographs\n\n");
    text.extend((0..8).map(|i| format!("img/{i}.jpg\n")));
    let own = &store.address;
    text.push_str(&format!(
        "{own}/a/img/8.jpg?sig=secret\nimg/bare.jpg\nimg/text.jpg\nimg/gone.jpg\nimg/0.jpg\n"
    ));
    store.put("a/list.txt", text);
    let stores = stores();
    let listing = list(&stores, &format!("{own}/a/list.txt"), PositionKind::Wgs84).expect("a list");
    let names: Vec<_> = listing.photos.iter().map(|photo| photo.name.as_str()).collect();
    assert_eq!(names, (0..9).map(|i| format!("img/{i}.jpg")).collect::<Vec<_>>());
    assert_eq!(listing.photos[8].lat_lon(), here(8));
    assert_eq!(listing.photos[8].path, PathBuf::from(format!("{own}/a/img/8.jpg")));
    let reasons: Vec<_> = listing.skipped.iter().map(|skipped| skipped.reason.as_str()).collect();
    assert_eq!(listing.skipped.len(), 3, "{reasons:?}");
    assert!(reasons[0].contains("no GPS position") && reasons[1].contains("is not an image"), "{reasons:?}");
    assert_eq!(reasons[2], "does not exist");

    // The signature is sent with the request, and stands in no path.
    store.requests();
    let (bytes, file) = stores.read(&listing.photos[8].path, &Limits::default()).expect("a photograph");
    assert_eq!(bytes, jpeg(8, 48, here(8)));
    let again = stores.fingerprints(&[&listing.photos[8].path]);
    assert_eq!(again[0].as_ref().ok(), Some(&file));
    assert!(stores.shape(&listing.photos[8].path).is_some_and(|shape| shape.width == 48));
}

#[test]
fn tables_say_where_photographs_were_taken() {
    let store = Store::start();
    for i in 0..3 {
        store.put(&format!("a/{i}.jpg"), jpeg(i, 48, here(40 + i)));
    }
    let own = &store.address;
    store.put(
        "a/t.csv",
        format!("url,lat,lon,city\n0.jpg,1.5,2,ulm\n{own}/a/1.jpg,1,2,\n2.jpg,,,\ngone.jpg,1,2,\n"),
    );
    let stores = stores();
    let listing = list(&stores, &format!("{own}/a/t.csv"), PositionKind::Wgs84).expect("a table");
    let names: Vec<_> = listing.photos.iter().map(|photo| photo.name.as_str()).collect();
    assert_eq!(names, ["0.jpg", "1.jpg"]);
    assert_eq!(listing.photos[0].lat_lon(), Some(LatLon { lat: 1.5, lon: 2.0 }));
    assert_eq!(listing.photos[0].tags["city"], "ulm");
    let reasons: Vec<_> = listing.skipped.iter().map(|skipped| skipped.reason.as_str()).collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    // Without columns of positions those of the EXIF count, beside what the table says.
    store.put("a/u.csv", "url,city\n0.jpg,ulm\n");
    let listing = list(&stores, &format!("{own}/a/u.csv"), PositionKind::Wgs84).expect("a table");
    assert_eq!((listing.photos[0].lat_lon(), listing.photos[0].tags["city"].as_str()), (here(40), "ulm"));
    let error =
        list(&stores, &format!("{own}/a/gone.csv"), PositionKind::Wgs84).expect_err("no table").to_string();
    assert!(error.contains("gone.csv: does not exist"), "{error}");
}

#[test]
fn a_table_of_this_machine_names_addresses_and_files() {
    let store = Store::start();
    let own = &store.address;
    for i in 0..2 {
        store.put(&format!("a/{i}.jpg"), jpeg(i, 48, here(40 + i)));
    }
    let home = tempfile::tempdir().expect("temporary folder");
    let at = |name: &str| home.path().join(name);
    std::fs::write(at("own.jpg"), jpeg(7, 48, here(7))).expect("can be written");
    let address = own.trim_start_matches("http://").to_owned();
    let table = at("t.csv");
    std::fs::write(
        &table,
        format!(
            "path,lat,lon,city\n{own}/a/0.jpg?sig=secret,1.5,2,ulm\nown.jpg,1,2,\nlost.jpg,1,2,\n\
             {own}/a/gone.jpg,1,2,\n{own}/a/1.jpg?sig=secret,,,\nhttp://me:secret@127.0.0.1:9/x.jpg,1,2,\n"
        ),
    )
    .expect("can be written");
    let stores = stores();
    let listing = list(&stores, &table.to_string_lossy(), PositionKind::Wgs84).expect("a table");
    let found: Vec<_> = listing.photos.iter().map(|photo| (photo.name.as_str(), &*photo.path)).collect();
    let first = PathBuf::from(format!("{own}/a/0.jpg"));
    assert_eq!(found, [(format!("{address}/a/0.jpg").as_str(), &*first), ("own.jpg", &*at("own.jpg"))]);
    assert_eq!(listing.photos[0].lat_lon(), Some(LatLon { lat: 1.5, lon: 2.0 }));
    let said: Vec<_> = listing
        .skipped
        .iter()
        .map(|skipped| format!("{} {}", skipped.path.display(), skipped.reason))
        .collect();
    assert_eq!(listing.skipped.len(), 4, "{said:?}");
    assert!(said.iter().all(|said| !said.contains("secret")), "{said:?}");
    // Both kinds are read by their paths.
    let (bytes, _) = stores.read(&first, &Limits::default()).expect("an object");
    assert_eq!(bytes, jpeg(0, 48, here(40)));
    assert_eq!(stores.read(&at("own.jpg"), &Limits::default()).expect("a file").0, jpeg(7, 48, here(7)));

    // A plain list; positions are those of the EXIF.
    let lines = at("l.txt");
    std::fs::write(&lines, format!("# both\n{own}/a/1.jpg\nown.jpg\nlost.jpg\n")).expect("can be written");
    let listing = list(&stores, &lines.to_string_lossy(), PositionKind::Wgs84).expect("a list");
    let found: Vec<_> = listing.photos.iter().map(|photo| (photo.name.as_str(), photo.lat_lon())).collect();
    assert_eq!(found, [(format!("{address}/a/1.jpg").as_str(), here(41)), ("own.jpg", here(7))]);
    assert_eq!(listing.skipped.len(), 1);
    // Tables of files alone are nothing for stores.
    std::fs::write(&table, "path,lat,lon,link\nown.jpg,1,2,https://example.org\n").expect("can be written");
    assert_eq!(RemoteSource::of(&table, None).expect("a table"), None);
    assert_eq!(RemoteSource::of(home.path(), None).expect("a folder"), None);
}

#[test]
fn what_breaks_is_tried_again() {
    let store = Store::start();
    let own = format!("{}/a/x.jpg", store.address);
    let photo = jpeg(1, 400, here(1));
    store.put("a/x.jpg", photo.clone());
    let read = || stores().read(Path::new(&own), &Limits::default());
    for fault in [Fault::Busy, Fault::Cut, Fault::Stall(Duration::from_secs(4))] {
        store.fault("a/x.jpg", fault, 2);
        assert_eq!(read().unwrap_or_else(|error| panic!("{fault:?}: {error}")).0, photo);
        assert!(store.requests().len() >= 3, "{fault:?}");
    }
    // Not for ever.
    store.fault("a/x.jpg", Fault::Cut, 1000);
    let began = Instant::now();
    let error = read().expect_err("always cut").to_string();
    assert!(error.contains("x.jpg") && began.elapsed() < Duration::from_secs(20), "{error}");
    store.fault("a/x.jpg", Fault::Busy, 0);

    let small = Limits { max_bytes: 1000, ..Limits::default() };
    let error = stores().read(Path::new(&own), &small).expect_err("too large").to_string();
    assert!(error.contains("at most 1000"), "{error}");
    let error =
        stores().read(Path::new("http://127.0.0.1:9/x.jpg"), &small).expect_err("nobody there").to_string();
    assert!(error.contains("127.0.0.1:9"), "{error}");
}

#[test]
fn a_server_that_says_nothing_of_versions_costs_the_bytes() {
    let store = Store::start();
    let own = PathBuf::from(format!("{}/a/x.jpg", store.address));
    let photo = jpeg(1, 400, here(1));
    store.put("a/x.jpg", photo.clone());
    let stores = stores();
    let version = |stores: &Stores| stores.fingerprints(&[&own]).remove(0).expect("an object");
    let first = version(&stores);
    assert!(store.requests().iter().all(|request| request.starts_with("HEAD")));
    store.put("a/x.jpg", photo.clone());
    assert_ne!(version(&self::stores()), first, "it was put again");
    store.plain(false, false);
    assert_eq!(version(&self::stores()), FileFingerprint::of(&photo));
    assert_eq!(
        self::stores().read(&own, &Limits::default()).expect("an object").1,
        FileFingerprint::of(&photo)
    );
    // Without ranges the whole file is the head.
    let listing = list(&self::stores(), &own.to_string_lossy(), PositionKind::Wgs84).expect("one photograph");
    assert_eq!(listing.photos[0].lat_lon(), here(1));
}

#[test]
fn what_is_announced_is_fetched_once_and_ahead() {
    let store = Store::start();
    let paths: Vec<PathBuf> = (0..120).map(|i| format!("{}/a/{i:03}.jpg", store.address).into()).collect();
    let mut text = String::new();
    for (i, path) in paths.iter().enumerate() {
        store.put(&format!("a/{i:03}.jpg"), jpeg(i as u32, 64, here(1)));
        text.push_str(&format!("{}\n", path.display()));
    }
    store.put("a/l.txt", text);
    let stores = stores();
    list(&stores, &format!("{}/a/l.txt", store.address), PositionKind::Wgs84).expect("a list");
    store.requests();
    let all: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    stores.announce(&all, &Limits::default());
    let mut ahead = 0;
    for _ in 0..400 {
        ahead += store.requests().len();
        if ahead >= 64 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(300));
    ahead += store.requests().len();
    assert_eq!(ahead, 64, "the window is full, and no fuller");
    for (i, path) in all.iter().enumerate().rev() {
        let (bytes, _) = stores.read(path, &Limits::default()).expect("an object");
        assert_eq!(bytes, jpeg(i as u32, 64, here(1)), "{i}");
    }
    assert_eq!(store.requests().len(), 120 - 64, "each is fetched once");
}
