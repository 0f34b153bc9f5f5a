//! Where was this taken?

use crate::common::{Home, Part, hides, jpeg};
use r2former_data::image::{PhotoTags, Rgb8, jpeg_with_tags};
use r2former_engine::{
    LatLon, LocateOptions, Near, PlaceIndex, QueryImage, QueryResult, answers_json, locate,
};
use serde_json::Value;

/// Without what differs from run to run.
fn timeless(mut document: Value) -> Value {
    for answer in document["answers"].as_array_mut().expect("answers") {
        answer["timing"] = Value::Null;
    }
    document
}

#[test]
fn an_answer_is_that_of_the_program() {
    let home = Home::new();
    let serving = home.serve();
    let query = jpeg(1, None);
    let index = PlaceIndex::open(&home.index).expect("an index");
    let near = Near::new(LatLon { lat: 52.2, lon: 0.12 }, 30.0);
    let options = LocateOptions::default().top(2).candidates(10).near(near);
    let image = QueryImage::from(&query).named("q.jpg");
    let answer = locate(&index.reader().expect("a reader"), &crate::common::extractor(), image, &options);
    let wanted = timeless(answers_json(&[QueryResult::Answer(answer.expect("an answer"))]));
    assert_eq!(wanted["answers"][0]["matches"][0]["path"], "camera/1.jpg");

    let address = "/v1/locate?top=2&candidates=10&near=52.2,0.12&radius=30&name=q.jpg";
    for kind in ["image/jpeg", "application/octet-stream", "application/x-www-form-urlencoded"] {
        let reply = serving.send("POST", address, &[("Content-Type", kind)], &query);
        assert_eq!((reply.status, timeless(reply.json())), (200, wanted.clone()), "{kind}");
    }
    let parts = [
        Part::Text("top", "2"),
        Part::Text("candidates", "10"),
        Part::Text("near", "52.2,0.12"),
        Part::Text("radius", "30"),
        Part::File("../x/q.jpg", &query),
    ];
    let reply = serving.form("/v1/locate", &parts);
    assert_eq!((reply.status, timeless(reply.json())), (200, wanted));
    hides(&reply, &home.secret());
}

#[test]
fn a_batch_answers_each_and_names_what_is_unreadable() {
    let home = Home::new();
    let serving = home.serve();
    let (good, mut cut) = (jpeg(2, None), jpeg(0, None));
    cut.truncate(cut.len() / 2);
    let parts = [
        Part::File("a.jpg", &good),
        Part::File("b.jpg", &cut),
        Part::File("c.jpg", &good),
        Part::Text("rerank", "none"),
        Part::Text("tag", "camera=front"),
    ];
    let reply = serving.form("/v1/locate/batch", &parts);
    let document = reply.json();
    let of = |i: usize, field: &str| document["answers"][i][field].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        (of(0, "status"), of(1, "status"), of(2, "query")),
        ("no_match".into(), "unreadable".into(), "c.jpg".into())
    );
    assert!(document["answers"][0]["notes"][0].as_str().is_some_and(|note| note.contains("tag camera")));
    assert!(of(1, "error").starts_with("the image: "), "{document}");
    serving.form("/v1/locate/batch", &parts[3..]).problem(400);
}

#[test]
fn what_cannot_be_answered_says_why() {
    let home = Home::new();
    let serving = home.serve();
    let query = jpeg(1, None);
    for (path, status, said) in [
        ("/v1/locate?top=0", 400, "top"),
        ("/v1/locate?tops=3", 400, "there is no parameter 'tops'"),
        ("/v1/locate?index=other", 404, "there are places"),
        ("/v1/locate?near=91,0&radius=5", 422, "latitude"),
        ("/v1/locate?min_confidence=2", 400, "nor auto"),
        ("/v1/locate?min_confidence=0.5", 422, "not calibrated"),
        ("/v1/locate?rerank=none&adaptive=0.5", 422, "adaptive: "),
        ("/v1/locate?rerank=none&cascade=5", 422, "cascade: "),
        ("/v1/locate?approximate=true", 422, "approximate: "),
        // As a whole, and not photograph by photograph.
        ("/v1/locate/batch?rerank=none&cascade=5", 422, "cascade: "),
        ("/v1/locate/batch?name=hello", 400, "there is no parameter 'name'"),
        ("/v1/nothing", 404, "openapi.json"),
    ] {
        let reply = serving.post(path, &query);
        let detail = reply.problem(status);
        assert!(detail.contains(said), "{detail}");
        hides(&reply, &home.secret());
    }
    assert!(serving.post("/v1/locate", b"").problem(400).contains("no image"));
    assert!(serving.post("/v1/locate", b"not an image").problem(415).contains("JPEG"));
    assert!(serving.post("/v1/locate", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic").problem(415).contains("HEIC"));
    assert!(serving.post("/v1/locate", &query[..query.len() / 2]).problem(422).starts_with("the image: "));
    serving.send("POST", "/v1/locate", &[("Content-Type", "application/json")], b"{}").problem(415);
    serving.send("POST", "/v1/locate", &[("Content-Encoding", "gzip")], &query).problem(415);
    let reply = serving.get("/v1/locate");
    reply.problem(405);
    assert_eq!(reply.header("allow"), Some("POST"));
    let near_exif = serving.post("/v1/locate?near=exif&radius=50", &query).json();
    assert!(near_exif["answers"][0]["notes"].to_string().contains("searched everywhere"));
}

#[test]
fn what_another_program_writes_is_seen_at_once() {
    let home = Home::empty(r2former_engine::Positions::Wgs84);
    let serving = home.serve();
    let query = jpeg(7, None);
    let nothing = serving.post("/v1/locate", &query).json()["answers"][0].clone();
    assert_eq!(
        (&nothing["status"], &nothing["notes"]),
        (&"no_match".into(), &serde_json::json!(["the index is empty"]))
    );
    std::fs::write(home.photos.join("7.jpg"), jpeg(7, Some(LatLon { lat: 1.0, lon: 2.0 }))).expect("a file");
    home.add_folder();
    assert_eq!(serving.post("/v1/locate", &query).json()["answers"][0]["matches"][0]["path"], "camera/7.jpg");
    // A compaction puts another file in its place.
    use r2former_index::WritePlaces;
    PlaceIndex::open(&home.index).expect("an index").writer().expect("free").compact().expect("compacted");
    assert_eq!(serving.post("/v1/locate", &query).json()["answers"][0]["matches"][0]["path"], "camera/7.jpg");
    assert_eq!(serving.get("/v1/indexes").json()["indexes"][0]["images"], 1);
    // The folder is gone: an error, and not an answer from memory.
    std::fs::remove_dir_all(&home.index).expect("removed");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let reply = serving.post("/v1/locate", &query);
    assert!(reply.problem(503).contains("started again"));
    hides(&reply, &home.secret());
    serving.get("/readyz").problem(503);
    assert_eq!(serving.get("/healthz").status, 200);
}

#[test]
fn what_is_not_in_the_index_is_said() {
    let home = Home::calibrated(0.9);
    let serving = home.serve();
    let model = &serving.get("/v1/indexes").json()["indexes"][0]["model"];
    assert_eq!(model["calibration"], serde_json::json!({ "radius_m": 25.0, "threshold": 0.5 }));
    // Black: unlike anything there is.
    let black = Rgb8 { width: 96, height: 80, pixels: vec![0; 96 * 80 * 3] };
    let black = jpeg_with_tags(&black, 90, &PhotoTags::default()).expect("a picture");
    let known = jpeg(1, None);
    let ask = |image: &[u8], more: &str| {
        serving.post(&format!("/v1/locate?top=2{more}"), image).json()["answers"][0].clone()
    };
    let (sure, unsure) = (ask(&known, "&min_confidence=auto"), ask(&black, "&min_confidence=auto"));
    assert_eq!(
        (&sure["status"], &unsure["status"]),
        (&"answered".into(), &"not_in_index".into()),
        "{unsure}"
    );
    let confidence = |answer: &Value| answer["confidence"].as_f64().expect("calibrated");
    assert!(confidence(&sure) > 0.9 && confidence(&unsure) < 0.5, "{sure} {unsure}");
    // The nearest guesses are there all the same.
    assert_eq!(unsure["matches"].as_array().map(Vec::len), Some(2));
    assert!(sure["estimate"]["ellipse"]["major_m"].as_f64().is_some_and(|metres| metres > 0.0), "{sure}");
    // Without a bound it is a note.
    let noted = ask(&black, "");
    assert_eq!(noted["status"], "answered");
    assert!(noted["notes"].to_string().contains("probably not in this index"), "{noted}");
    assert_eq!(ask(&black, "&min_confidence=0")["status"], "answered");
    let parts = [Part::File("a", &known), Part::File("b", &black), Part::Text("min_confidence", "0.5")];
    let batch = serving.form("/v1/locate/batch", &parts).json();
    assert_eq!(
        (&batch["answers"][0]["status"], &batch["answers"][1]["status"]),
        (&"answered".into(), &"not_in_index".into())
    );
}
