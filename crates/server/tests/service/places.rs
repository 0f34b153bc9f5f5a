//! Places are added, looked at, listed and removed.

use crate::common::{Home, Part, extractor, files, hides, jpeg, picture};
use r2former_data::Photo;
use r2former_data::image::{PhotoTags, jpeg_with_tags};
use r2former_engine::{AddOptions, LatLon, NoProgress, PlaceIndex, Positions, Source, add_photos};
use r2former_index::{Filter, ReadPlaces};
use r2former_server::ServiceOptions;

#[test]
fn a_place_is_searchable_and_durable_once_it_is_acknowledged() {
    let home = Home::new();
    let serving = home.serve();
    let image = jpeg(9, None);
    let parts = [
        Part::File("a.jpg", &image),
        Part::Text("position", "48.5,9.25"),
        Part::Text("heading", "-90"),
        Part::Text("time", "1700000000"),
        Part::Text("tag", "floor=2"),
    ];
    let added = serving.form("/v1/places", &parts);
    assert_eq!(added.status, 201, "{added:?}");
    hides(&added, &home.secret());
    let entry = added.json();
    let id = entry["id"].as_str().expect("an identifier").to_owned();
    assert_eq!(added.header("location"), Some(format!("/v1/places/{id}").as_str()));
    assert_eq!(entry["place"]["position"], serde_json::json!({ "lat": 48.5, "lon": 9.25 }));
    assert_eq!((&entry["place"]["heading"], &entry["place"]["tags"]["floor"]), (&270.0.into(), &"2".into()));
    let best = serving.post("/v1/locate", &image).json()["answers"][0]["matches"][0].clone();
    assert_eq!(best["id"], id.as_str());
    // Another program that opens the index sees it.
    let index = PlaceIndex::open(&home.index).expect("an index");
    assert_eq!(index.reader().expect("a reader").count(&Filter::default()).expect("a count"), 4);

    // An answer that was lost: the same again changes nothing.
    let again = serving.form("/v1/places", &parts);
    assert_eq!((again.status, again.json()), (200, entry.clone()));
    // Another statement is a conflict, until it is asked for.
    let moved = |more: &[Part<'_>]| {
        let mut parts = vec![Part::File("a.jpg", &image), Part::Text("position", "48.5,9.5")];
        parts.extend(more.iter().map(|part| match part {
            Part::Text(a, b) => Part::Text(a, b),
            Part::File(a, b) => Part::File(a, b),
        }));
        serving.form("/v1/places", &parts)
    };
    assert!(moved(&[]).problem(409).contains("position"));
    let replaced = moved(&[Part::Text("replace", "true")]);
    assert_eq!((replaced.status, &replaced.json()["place"]["position"]["lon"]), (200, &9.5.into()));

    let original = serving.get(&format!("/v1/places/{id}/image"));
    assert_eq!((original.status, original.header("content-type")), (200, Some("image/jpeg")));
    assert!(original.body == image);
    let etag = original.header("etag").expect("a tag").to_owned();
    let known = serving.send("GET", &format!("/v1/places/{id}/image"), &[("If-None-Match", &etag)], b"");
    assert_eq!((known.status, known.body.len()), (304, 0));
    for _ in 0..2 {
        let small = serving.get(&format!("/v1/places/{id}/thumbnail?size=32"));
        assert_eq!((small.status, &small.body[..2]), (200, &b"\xff\xd8"[..]));
    }
    let metrics = String::from_utf8_lossy(&serving.get("/metrics").body).into_owned();
    assert!(metrics.contains("r2former_thumbnail_hits_total 1\n"), "{metrics}");

    assert_eq!(files(&home.index.join("uploads")).len(), 1);
    assert_eq!(serving.send("DELETE", &format!("/v1/places/{id}"), &[], b"").status, 204);
    serving.send("DELETE", &format!("/v1/places/{id}"), &[], b"").problem(404);
    serving.get(&format!("/v1/places/{id}")).problem(404);
    assert_eq!(files(&home.index.join("uploads")), Vec::<String>::new());
    assert_eq!(serving.get("/v1/indexes").json()["indexes"][0]["images"], 3);
}

#[test]
fn a_name_keeps_its_place_and_leads_nowhere() {
    let home = Home::new();
    let serving = home.serve();
    let at = |name: &str, seed: u32| {
        let image = jpeg(seed, Some(LatLon { lat: 1.0, lon: 2.0 }));
        serving.form("/v1/places", &[Part::File("x.jpg", &image), Part::Text("name", name)])
    };
    let first = at("door.jpg", 20).json();
    assert_eq!(
        (&first["place"]["name"], &first["place"]["position"]["lat"]),
        (&"uploads/door.jpg".into(), &1.0.into())
    );
    at("door.jpg", 21).problem(409);
    assert_eq!(files(&home.index.join("uploads")).len(), 1);
    let image = jpeg(21, None);
    let parts = [
        Part::File("x.jpg", &image),
        Part::Text("name", "door.jpg"),
        Part::Text("replace", "true"),
        Part::Text("position", "3,4"),
    ];
    let second = serving.form("/v1/places", &parts);
    assert_eq!((second.status, &second.json()["id"]), (200, &first["id"]));
    let id = first["id"].as_str().expect("text");
    assert!(serving.get(&format!("/v1/places/{id}/image")).body == image);
    assert_eq!(files(&home.index.join("uploads")).len(), 1);
    for bad in ["../door.jpg", "/etc/passwd", "a/b.jpg", "..", "a\\b", ".x", ""] {
        at(bad, 22).problem(400);
    }
    // What is no photograph, has no position, or a position of another kind leaves nothing behind.
    serving.form("/v1/places", &[Part::File("x.jpg", &jpeg(30, None))]).problem(422);
    let cut = jpeg(31, None);
    let cut = [Part::File("x.jpg", &cut[..cut.len() / 2]), Part::Text("position", "1,2")];
    let reply = serving.form("/v1/places", &cut);
    reply.problem(422);
    hides(&reply, &home.secret());
    let three = jpeg(32, None);
    serving.form("/v1/places", &[Part::File("x.jpg", &three), Part::Text("position", "1,2,3")]).problem(422);
    assert_eq!(files(&home.index.join("uploads")).len(), 1);
}

#[test]
fn photographs_come_from_their_folder_alone() {
    let home = Home::new();
    let serving = home.serve();
    let list = serving.get("/v1/places?limit=2").json();
    let (first, next) = (list["places"][0].clone(), list["next"].as_str().expect("a page more").to_owned());
    let rest = serving.get(&format!("/v1/places?after={next}")).json();
    assert_eq!((rest["places"].as_array().map(Vec::len), &rest["next"]), (Some(1), &serde_json::Value::Null));
    let id = first["id"].as_str().expect("text");
    let name = first["place"]["name"].as_str().expect("text");
    assert_eq!(serving.get(&format!("/v1/places/{id}")).json(), first);
    let file = home.photos.join(name.strip_prefix("camera/").expect("the label"));
    let image = std::fs::read(&file).expect("a file");
    assert!(serving.get(&format!("/v1/places/{id}/image")).body == image);
    // Another file under its name is not what was indexed.
    std::fs::write(&file, jpeg(50, None)).expect("a file");
    assert!(serving.get(&format!("/v1/places/{id}/image")).problem(404).contains("changed"));
    #[cfg(unix)]
    {
        // Nor is a link out of the folder followed, whatever it holds.
        std::fs::write(home.dir.path().join("outside.jpg"), &image).expect("a file");
        std::fs::remove_file(&file).expect("removed");
        std::os::unix::fs::symlink(home.dir.path().join("outside.jpg"), &file).expect("a link");
        serving.get(&format!("/v1/places/{id}/image")).problem(404);
    }
    // The folder was moved; --photos says where it is.
    let moved = home.dir.path().join("elsewhere");
    std::fs::create_dir_all(&moved).expect("a folder");
    std::fs::write(moved.join(file.file_name().expect("a name")), &image).expect("a file");
    let mut served = home.served();
    served.photos = vec![moved];
    let options = ServiceOptions::default();
    let service = r2former_server::Service::new(vec![served], options).expect("an index");
    let listen = "127.0.0.1:0".parse().expect("an address");
    let other =
        crate::common::Serving(r2former_server::Server::start(service, listen, None).expect("a port"));
    assert!(other.get(&format!("/v1/places/{id}/image")).body == image);
}

#[test]
fn listings_are_filtered_and_drawn() {
    let home = Home::new();
    let serving = home.serve();
    let names = |query: &str| -> Vec<String> {
        let list = serving.get(&format!("/v1/places?{query}")).json();
        let places = list["places"].as_array().unwrap_or_else(|| panic!("{list}")).clone();
        let mut names: Vec<_> =
            places.iter().map(|entry| entry["place"]["name"].as_str().expect("text").to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names("").len(), 3);
    assert_eq!(names("bbox=0.1,52.2001,0.2,52.3"), ["camera/1.jpg", "camera/2.jpg"]);
    assert_eq!(names("bbox=170,-10,-170,10"), Vec::<String>::new());
    assert_eq!(names("near=52.2,0.12&radius=5"), ["camera/0.jpg"]);
    assert_eq!(names("tag=a=b"), Vec::<String>::new());
    let reply = serving.get("/v1/places?format=geojson&limit=1");
    assert_eq!(reply.header("content-type"), Some("application/geo+json"));
    let features = reply.json();
    let point = &features["features"][0]["geometry"]["coordinates"];
    assert_eq!((point[0].as_f64(), features["type"].as_str()), (Some(0.12), Some("FeatureCollection")));
    for bad in ["limit=0", "limit=5001", "after=x", "bbox=1,2,3", "near=exif&radius=3", "format=kml", "top=3"]
    {
        serving.get(&format!("/v1/places?{bad}")).problem(400);
    }
}

#[test]
fn local_metres_have_their_own_positions() {
    let home = Home::empty(Positions::Local { origin: None });
    let serving = home.serve();
    let image = jpeg(3, Some(LatLon { lat: 1.0, lon: 2.0 }));
    assert!(serving.post("/v1/places", &image).problem(422).contains("X,Y"));
    let added = serving.post("/v1/places?position=1.5,-2,3", &image);
    assert_eq!(added.json()["place"]["position"], serde_json::json!({ "x": 1.5, "y": -2.0, "z": 3.0 }));
    let answer = serving.post("/v1/locate?near=1,-2&radius=5", &image).json();
    assert_eq!(answer["answers"][0]["estimate"]["best"]["x"], 1.5);
    serving.get("/v1/places?format=geojson").problem(422);
}

#[test]
fn another_writer_is_waited_for_by_the_client() {
    let home = Home::new();
    let serving = home.serve();
    let image = jpeg(3, Some(LatLon { lat: 1.0, lon: 2.0 }));
    let index = PlaceIndex::open(&home.index).expect("an index");
    let writer = index.writer().expect("free");
    let reply = serving.post("/v1/places", &image);
    assert!(reply.problem(503).contains("another program"));
    assert!(reply.header("retry-after").is_some());
    drop(writer);
    assert_eq!(serving.post("/v1/places", &image).status, 201);
    // The service lets go of the index soon after.
    std::thread::sleep(std::time::Duration::from_millis(2600));
    assert!(index.writer().is_ok());
}

#[test]
fn matches_are_explained() {
    let home = Home::new();
    let serving = home.serve();
    let query = jpeg(1, None);
    let best = serving.post("/v1/locate", &query).json()["answers"][0]["matches"][0].clone();
    let id = best["id"].as_str().expect("text");
    let why = serving.post(&format!("/v1/explain?place={id}"), &query);
    hides(&why, &home.secret());
    let why = why.json();
    assert_eq!(
        (why["reference"]["path"].as_str(), &why["contributions"]),
        (Some("camera/1.jpg"), &serde_json::json!([]))
    );
    let pairs = why["pairs"].as_array().expect("pairs");
    let inliers = pairs.iter().filter(|pair| pair["inlier"] == true).count();
    assert!(inliers >= 4 && why["inliers"] == inliers, "{inliers} of {}", pairs.len());
    for pair in pairs {
        // Nearly the same picture: what matches lies at nearly the same spot, in parts of its sides.
        for side in ["query", "reference"] {
            let at = &pair[side];
            assert!((0..2).all(|i| at[i].as_f64().is_some_and(|v| (0.0..=1.01).contains(&v))), "{at}");
        }
    }
    assert!(
        why["query"]["features"][0][2].as_f64().is_some_and(|attention| (0.0..=1.0).contains(&attention))
    );
    let score = |value: &serde_json::Value| value["score"].as_f64().expect("a score");
    assert!((score(&why) - score(&best)).abs() < 0.01, "{} {}", score(&why), score(&best));
    let svg = serving.post(&format!("/v1/explain?place={id}&format=svg"), &query);
    assert_eq!(svg.header("content-type"), Some("image/svg+xml"));
    hides(&svg, &home.secret());
    let text = String::from_utf8(svg.body).expect("text");
    assert!(text.starts_with("<svg") && text.contains("inliers of"), "{}", &text[..200]);
    let all = serving.post(&format!("/v1/explain?place={id}&contributions=true"), &query).json();
    assert!(all["contributions"].as_array().is_some_and(|each| !each.is_empty()));
    serving.post("/v1/explain", &query).problem(400);
    serving.post("/v1/explain?place=92843bef-5c1c-54d0-9860-88fc96efde74", &query).problem(404);
}

/// As `index add`, which makes several places of one, and notes what hardly shows a place.
#[test]
fn nothing_is_squeezed_without_a_word() {
    let home = Home::new();
    let serving = home.serve();
    let of = |width: usize, height: usize| {
        jpeg_with_tags(&picture(7, width, height), 90, &PhotoTags::default()).expect("a picture")
    };
    let panorama = of(2000, 1000);
    let said = serving.post("/v1/places?position=1,2", &panorama).problem(422);
    assert!(said.contains("panorama of 2000 x 1000") && said.contains("panorama=whole"), "{said}");
    assert_eq!(files(&home.index.join("uploads")), Vec::<String>::new());
    let notes = |path: &str, image: &[u8]| {
        let reply = serving.post(path, image);
        assert_eq!(reply.status, 201, "{reply:?}");
        let notes = reply.json()["notes"].as_array().expect("notes").clone();
        notes.iter().map(|note| note.as_str().expect("text").to_owned()).collect::<Vec<_>>().join("; ")
    };
    let whole = notes("/v1/places?position=1,2&panorama=whole", &panorama);
    assert!(whole.contains("squeezed"), "{whole}");
    let tiny = notes("/v1/places?position=1,2&name=tiny.jpg", &of(1, 1));
    assert!(tiny.contains("tiny.jpg is 1 x 1 pixels: too few"), "{tiny}");
    assert_eq!(notes("/v1/places?position=1,2", &of(640, 480)), "");
    serving.post("/v1/places?position=1,2&panorama=views", &panorama).problem(400);
    assert!(serving.post("/v1/places?position=0,0", &of(64, 48)).problem(422).contains("stands for none"));
}

#[test]
fn one_name_has_one_place_in_either_form_of_unicode() {
    let home = Home::new();
    let serving = home.serve();
    let image = jpeg(20, Some(LatLon { lat: 1.0, lon: 2.0 }));
    let first = serving.post("/v1/places?name=caf%C3%A9.jpg&time=2024-05-31T18:30:00Z", &image);
    assert_eq!((first.status, &first.json()["place"]["time"]), (201, &1_717_180_200.into()));
    let again = serving.post("/v1/places?name=cafe%CC%81.jpg&time=1717180200", &image);
    assert_eq!((again.status, again.json()), (200, first.json()));
    for path in ["/v1/places?name=foo%0Abar", "/v1/locate?name=foo%0Abar"] {
        assert!(serving.post(path, &image).problem(400).contains("control characters"));
    }
}

#[test]
fn errors_advise_what_a_client_can_do() {
    let home = Home::new();
    let mut options = ServiceOptions::default();
    options.max_pixels = 1000;
    let (serving, small) = (home.serve(), home.serve_with(options));
    let image = jpeg(21, Some(LatLon { lat: 1.0, lon: 2.0 }));
    let cut = &image[..image.len() / 2];
    for reply in [serving.post("/v1/places", cut), serving.post("/v1/locate", cut)] {
        let said = reply.problem(422);
        assert!(said.contains("cut short") && said.ends_with("send it again, whole"), "{said}");
    }
    let said = small.post("/v1/places", &image).problem(422);
    assert!(said.contains("the limit is") && said.ends_with("make it smaller"), "{said}");
}

#[test]
fn the_label_of_uploads_stays_theirs() {
    let home = Home::new();
    let serving = home.serve();
    let image = jpeg(22, Some(LatLon { lat: 1.0, lon: 2.0 }));
    assert_eq!(serving.post("/v1/places?name=a.jpg", &image).status, 201);
    drop(serving);
    // A folder of somebody's own that is called so.
    let index = PlaceIndex::open(&home.index).expect("an index");
    let mut photo = Photo::new(home.photos.join("0.jpg"), "uploads/0.jpg");
    photo.position = Some(LatLon { lat: 1.0, lon: 2.0 }.into());
    let root = home.dir.path().join("uploads").display().to_string();
    let options = AddOptions::default().sources(vec![Source { label: "uploads".into(), root }]);
    let mut writer = index.writer().expect("free");
    for options in [options.clone().moved(true), options] {
        let error =
            add_photos(&mut writer, &extractor(), std::slice::from_ref(&photo), &options, &NoProgress);
        let said = error.expect_err("theirs").to_string();
        assert!(said.contains("sent to `r2former serve`") && said.contains("--label"), "{said}");
    }
    drop(writer);
    let again = home.serve().post("/v1/places?name=a.jpg", &image);
    assert_eq!((again.status, &again.json()["place"]["name"]), (200, &"uploads/a.jpg".into()));
}

#[test]
fn tags_are_short() {
    let home = Home::new();
    let serving = home.serve();
    let add = |key: &str, value: &str| {
        let tag = format!("{key}={value}");
        let image = jpeg(9, None);
        let parts = [Part::File("x.jpg", &image), Part::Text("position", "1,2"), Part::Text("tag", &tag)];
        serving.form("/v1/places", &parts)
    };
    assert!(add(&"k".repeat(201), "v").problem(422).contains("at most 200 bytes, and this one 201"));
    assert!(add("k", &"v".repeat(5000)).problem(422).contains("at most 1000 bytes, and this one 5000"));
    assert_eq!(add(&"k".repeat(200), &"v".repeat(1000)).status, 201);
}

#[test]
fn a_box_needs_positions() {
    let home = Home::empty(Positions::None);
    let serving = home.serve();
    for more in ["bbox=0,0,1,1", "near=0,0&radius=3"] {
        let said = serving.get(&format!("/v1/places?{more}")).problem(422);
        assert!(said.contains("no positions"), "{said}");
    }
}
