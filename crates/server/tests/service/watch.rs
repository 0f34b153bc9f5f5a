//! Photographs that appear in a watched folder.

use crate::common::{Home, jpeg};
use r2former_engine::{LatLon, Positions};
use r2former_server::{Service, ServiceOptions};
use std::time::{Duration, Instant};

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
}
