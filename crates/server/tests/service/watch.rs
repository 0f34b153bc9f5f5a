//! Photographs that appear in a watched folder.

use crate::common::{Home, Serving, jpeg, picture};
use r2former_data::image::{PhotoTags, jpeg_with_tags};
use r2former_engine::{LatLon, Positions};
use r2former_server::{Service, ServiceOptions};
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Everything that the services of this process log.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Lines of the log that hold all of some words.
fn logged(words: &[&str]) -> Vec<String> {
    let log = String::from_utf8_lossy(&LOG.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
    let holds = |line: &&str| words.iter().all(|word| line.contains(word));
    log.lines().filter(holds).map(str::to_owned).collect()
}

#[track_caller]
fn wait_until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(120), "{what}: {:#?}", logged(&[]));
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn what_is_left_out_is_said_once() {
    tracing_subscriber::fmt().with_writer(|| Log).with_ansi(false).init();
    let home = Home::empty(Positions::Wgs84);
    // A label that the log of no other test holds.
    let folder = home.dir.path().join("said");
    std::fs::create_dir(&folder).expect("a folder");
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).expect("a file");
    let here = Some(LatLon { lat: 1.0, lon: 2.0 });
    let cut = jpeg(3, here);
    let panorama = PhotoTags { position: here, ..PhotoTags::default() };
    write("sound.jpg", &jpeg(1, here));
    write("cut.jpg", &cut[..cut.len() / 2]);
    write("page.jpg", b"<html><body>404</body></html>");
    write("new.avif", b"\0\0\0\x18ftypavif\0\0\0\0mif1avif");
    write("bare.png", &jpeg(2, None));
    write("all-around.jpg", &jpeg_with_tags(&picture(4, 2000, 1000), 90, &panorama).expect("a picture"));
    let mut options = ServiceOptions::default();
    options.watch = vec![(None, folder.clone())];
    let serving = home.serve_with(options);
    let left_out = [
        ("cut.jpg", "cut short"),
        ("page.jpg", "not an image"),
        ("new.avif", "AVIF"),
        ("bare.png", "no GPS position"),
    ];
    let said = |name: &str| logged(&[&format!("\"{name}\""), "left out until it changes"]);
    wait_until("left out", || left_out.iter().all(|(name, _)| !said(name).is_empty()));
    let names = || {
        let list = serving.get("/v1/places").json();
        let places = list["places"].as_array().expect("places").clone();
        let mut names: Vec<_> =
            places.iter().map(|entry| entry["place"]["name"].as_str().expect("text").to_owned()).collect();
        names.sort();
        names
    };
    wait_until("added", || names().len() == 9);
    let views: Vec<String> = (0..8).map(|i| format!("said/all-around.jpg#{}", 45 * i)).collect();
    assert!(views.iter().all(|view| names().contains(view)), "{:?}", names());
    assert_eq!(logged(&["1 panorama cut into 8 views"]).len(), 1);
    // As `index add`: what has changed is said, and not taken.
    write("sound.jpg", &jpeg(9, here));
    wait_until("changed", || !logged(&["said/sound.jpg", "has changed", "file"]).is_empty());
    // Two looks more say nothing again.
    std::thread::sleep(Duration::from_secs(5));
    for (name, why) in left_out {
        let lines = said(name);
        assert!(lines.len() == 1 && lines[0].contains(why), "{lines:#?}");
    }
    assert_eq!(logged(&["said/sound.jpg", "has changed"]).len(), 1);
    assert_eq!(names().len(), 9);
    // What has changed is tried again.
    write("page.jpg", &jpeg(5, here));
    wait_until("tried again", || names().len() == 10);
}

#[test]
fn another_writer_is_waited_for() {
    let home = Home::empty(Positions::Wgs84);
    std::fs::write(home.photos.join("a.jpg"), jpeg(1, Some(LatLon { lat: 1.0, lon: 2.0 }))).expect("a file");
    let index = r2former_engine::PlaceIndex::open(&home.index).expect("an index");
    let writer = index.writer().expect("free");
    let mut options = ServiceOptions::default();
    options.watch = vec![(None, home.photos.clone())];
    let serving = home.serve_with(options);
    let count = || serving.get("/v1/indexes").json()["indexes"][0]["images"].as_u64();
    // Longer than an unusable file is tried.
    std::thread::sleep(Duration::from_secs(11));
    assert_eq!(count(), Some(0));
    drop(writer);
    wait_until("added", || count() == Some(1));
}

#[test]
fn a_new_photograph_is_added_once_it_is_whole() {
    let home = Home::empty(Positions::Wgs84);
    let mut options = ServiceOptions::default();
    options.watch = vec![(None, home.photos.clone())];
    let serving = home.serve_with(options);
    let names = || -> Vec<String> {
        let list = serving.get("/v1/places").json();
        let places = list["places"].as_array().expect("places").clone();
        places.iter().map(|entry| entry["place"]["name"].as_str().expect("text").to_owned()).collect()
    };
    let here = Some(LatLon { lat: 1.0, lon: 2.0 });
    let whole = jpeg(1, here);
    std::fs::write(home.photos.join("a.jpg"), &whole).expect("a file");
    std::fs::write(home.photos.join("nowhere.jpg"), jpeg(2, None)).expect("a file");
    std::fs::write(home.photos.join("half.jpg"), &jpeg(3, here)[..900]).expect("a file");
    let start = Instant::now();
    while names().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(60), "it was not added");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(names(), ["camera/a.jpg"]);
    // The rest of it arrives.
    std::fs::write(home.photos.join("half.jpg"), jpeg(3, here)).expect("a file");
    while names().len() < 2 {
        assert!(start.elapsed() < Duration::from_secs(120), "it was not added");
        std::thread::sleep(Duration::from_millis(200));
    }
    let answer = serving.post("/v1/locate", &whole).json();
    assert_eq!(answer["answers"][0]["matches"][0]["path"], "camera/a.jpg");
    assert!(String::from_utf8_lossy(&serving.get("/metrics").body).contains("r2former_watched_total 2\n"));
}

#[test]
fn what_was_removed_stays_away_until_its_file_changes() {
    let home = Home::empty(Positions::Wgs84);
    let here = Some(LatLon { lat: 1.0, lon: 2.0 });
    let serve = || {
        let mut options = ServiceOptions::default();
        options.watch = vec![(None, home.photos.clone())];
        home.serve_with(options)
    };
    let names = |serving: &Serving| -> Vec<(String, String)> {
        let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
        let list = serving.get("/v1/places").json()["places"].as_array().expect("places").clone();
        list.iter().map(|entry| (text(&entry["place"]["name"]), text(&entry["id"]))).collect()
    };
    let write = |name: &str, seed: u32| {
        std::fs::write(home.photos.join(name), jpeg(seed, here)).expect("a file");
    };
    write("gone.jpg", 1);
    let serving = serve();
    wait_until("added", || !names(&serving).is_empty());
    let (_, id) = names(&serving).remove(0);
    assert_eq!(serving.send("DELETE", &format!("/v1/places/{id}"), &[], b"").status, 204);
    drop(serving);
    // Started again, it adds what is new, and not what was removed.
    write("new.jpg", 2);
    let serving = serve();
    wait_until("added", || !names(&serving).is_empty());
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(names(&serving).iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["camera/new.jpg"]);
    write("gone.jpg", 3);
    wait_until("changed", || names(&serving).len() == 2);
}

#[test]
fn a_folder_that_cannot_be_watched_is_refused_at_the_start() {
    let home = Home::empty(Positions::Local { origin: None });
    for (name, dir) in [
        (None, home.photos.clone()),
        (Some("other".into()), home.photos.clone()),
        (None, home.photos.join("no")),
    ] {
        let mut options = ServiceOptions::default();
        options.watch = vec![(name, dir)];
        assert!(Service::new(vec![home.served()], options).is_err());
    }
    // What is sent to the service has this label.
    let home = Home::empty(Positions::Wgs84);
    let uploads = home.dir.path().join("uploads");
    std::fs::create_dir(&uploads).expect("a folder");
    let mut options = ServiceOptions::default();
    options.watch = vec![(None, uploads)];
    let error = Service::new(vec![home.served()], options).expect_err("the label of another");
    assert!(error.to_string().contains("rename the folder"), "{error}");
}
