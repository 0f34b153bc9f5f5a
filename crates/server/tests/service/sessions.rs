//! Frames in order: what they give together, whose they are, and where they end.

use crate::common::{Home, Part, Reply, hides, jpeg, picture};
use crate::rights::with_keys;
use r2former_data::image::{PhotoTags, jpeg_with_tags};
use r2former_engine::{
    LocateOptions, PlaceIndex, Positions, QueryImage, SequenceFilter, SequenceFrame, SequenceOptions, locate,
};
use r2former_server::ServiceOptions;
use serde_json::{Value, json};
use std::time::Duration;

fn begin(serving: &crate::common::Serving, more: &str) -> String {
    let reply = serving.send("POST", &format!("/v1/sessions{more}"), &[], b"");
    assert_eq!(reply.status, 201, "{reply:?}");
    let address = format!("/v1/sessions/{}", reply.json()["id"].as_str().expect("text"));
    assert_eq!(reply.header("location"), Some(address.as_str()));
    address
}

/// Blends the pictures of two places.
fn between(first: u32, second: u32, share: f32) -> Vec<u8> {
    let (mut one, other) = (picture(first, 96, 80), picture(second, 96, 80));
    for (a, b) in one.pixels.iter_mut().zip(&other.pixels) {
        *a = (f32::from(*a) * (1.0 - share) + f32::from(*b) * share) as u8;
    }
    jpeg_with_tags(&one, 90, &PhotoTags::default()).expect("a picture")
}

#[test]
fn frames_are_fused_as_the_engine_does() {
    let home = Home::new();
    let serving = home.serve();
    let session = begin(&serving, "?max_speed=2&max_step=4&top=1&rerank=none");
    let frames = [(jpeg(0, None), 10.0), (between(0, 2, 0.55), 11.0), (jpeg(1, None), 25.0)];
    let index = PlaceIndex::open(&home.index).expect("an index").reader().expect("a reader");
    let options = LocateOptions::default().top(100).rerank(r2former_engine::RerankMethod::None);
    let mut motion = SequenceOptions::default();
    (motion.max_speed, motion.max_step_m) = (2.0, 4.0);
    let mut filter = SequenceFilter::new(motion);
    for (i, (image, time)) in frames.iter().enumerate() {
        let reply = serving.post(&format!("{session}/frames?time={time}&name=f{i}"), image);
        assert_eq!(reply.status, 200, "{reply:?}");
        hides(&reply, &home.secret());
        let found = reply.json();
        let answer = locate(&index, &crate::common::extractor(), QueryImage::from(&image[..]), &options);
        let matches = answer.expect("an answer").matches;
        let wanted = json!(matches[..1]);
        let fix = filter.push(SequenceFrame { matches, time: Some(*time), moved_m: None });
        assert_eq!(found["fix"], json!(fix), "frame {i}");
        assert_eq!(found["answer"]["matches"], wanted, "frame {i}");
        assert_eq!(
            (&found["frame"], &found["time"], &found["answer"]["query"]),
            (&json!(i + 1), &json!(time), &json!(format!("f{i}")))
        );
    }
    let track = serving.get(&session).json();
    assert_eq!(
        (&track["frames"], &track["index"], &track["max_speed"]),
        (&json!(3), &json!("places"), &json!(2.0))
    );
    let points = track["track"].as_array().expect("points");
    assert_eq!(points.len(), 3);
    assert_eq!(
        (&points[0]["place"]["path"], &points[0]["own"]["path"]),
        (&json!("camera/0.jpg"), &json!("camera/0.jpg"))
    );
    assert_eq!(serving.get(&format!("{session}?after=2")).json()["track"], json!(points[2..]));
    let reply = serving.get(&format!("{session}?format=geojson"));
    assert_eq!(reply.header("content-type"), Some("application/geo+json"));
    let features = reply.json()["features"].as_array().expect("features").clone();
    assert_eq!(features.len(), 4);
    assert_eq!(features[0]["geometry"]["coordinates"].as_array().map(Vec::len), Some(3));
    assert_eq!(features[1]["geometry"]["coordinates"][0], 0.12);
    assert_eq!(features[1]["properties"]["kind"], "frame");
    let metrics = serving.get("/metrics");
    assert!(String::from_utf8_lossy(&metrics.body).contains("r2former_sessions 1\n"));
    assert_eq!(serving.send("DELETE", &session, &[], b"").status, 204);
    serving.get(&session).problem(404);
    serving.post(&format!("{session}/frames"), &frames[0].0).problem(404);
}

#[test]
fn frames_come_in_order_and_an_answer_that_was_lost_comes_again() {
    let home = Home::new();
    let serving = home.serve();
    let session = begin(&serving, "");
    let send = |more: &str| serving.post(&format!("{session}/frames?{more}"), &jpeg(1, None));
    let first = send("frame=1&time=5");
    assert_eq!(first.status, 200);
    assert_eq!(send("frame=1&time=5").json(), first.json());
    // Another frame under its number is not taken for it.
    let other = serving.post(&format!("{session}/frames?frame=1&time=5"), &jpeg(2, None)).problem(409);
    assert!(other.contains("with another image: 2 is the next frame"), "{other}");
    assert!(send("frame=1&time=6").problem(409).contains("with another time or distance"));
    assert_eq!(serving.get(&session).json()["frames"], 1);
    assert!(send("frame=3").problem(409).contains("2 is the next frame"));
    assert_eq!(send("frame=3").json()["title"], "It is not this frame's turn");
    assert!(send("time=4").problem(409).contains("in order"));
    send("moved=-1").problem(400);
    // A frame that is refused is not part of it.
    serving.post(&format!("{session}/frames"), &jpeg(1, None)[..900]).problem(422);
    serving.post(&format!("{session}/frames"), b"no image").problem(415);
    let second = serving
        .form(&format!("{session}/frames"), &[Part::Text("frame", "2"), Part::File("a.jpg", &jpeg(1, None))]);
    assert_eq!((second.json()["frame"].clone(), second.json()["time"].clone()), (json!(2), Value::Null));
    assert_eq!(serving.get(&session).json()["frames"], 2);
}

#[test]
fn clocks_are_not_mixed() {
    let home = Home::new();
    let serving = home.serve();
    let tags = PhotoTags { time: Some(1_700_000_000), ..PhotoTags::default() };
    let timed = jpeg_with_tags(&picture(1, 96, 80), 90, &tags).expect("a picture");
    let session = begin(&serving, "");
    let send = |session: &str, more: &str| serving.post(&format!("{session}/frames{more}"), &timed);
    let times = ["?time=1", "", "?time=2", "?moved=2"].map(|more| {
        let reply = send(&session, more);
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["time"].clone()
    });
    assert_eq!(times, [json!(1.0), Value::Null, json!(2.0), Value::Null]);
    let session = begin(&serving, "");
    assert_eq!(send(&session, "").json()["time"], 1.7e9);
    assert!(send(&session, "?time=3").problem(422).contains("another clock"));
    assert_eq!(send(&session, "").json()["frame"], 2);
}

#[test]
fn one_frame_at_a_time() {
    let home = Home::new();
    let serving = home.serve();
    let session = begin(&serving, "");
    let large = jpeg_with_tags(&picture(1, 2500, 2000), 90, &PhotoTags::default()).expect("a picture");
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let all: Vec<_> =
            (0..6).map(|_| scope.spawn(|| serving.post(&format!("{session}/frames"), &large))).collect();
        all.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let taken = replies.iter().filter(|reply| reply.status == 200).count();
    assert!(taken >= 1 && replies.iter().all(|reply| matches!(reply.status, 200 | 409)), "{replies:?}");
    assert_eq!(serving.get(&session).json()["frames"], taken);
    assert_eq!(serving.post(&format!("{session}/frames"), &large).status, 200);
}

#[test]
fn sessions_are_few_and_are_forgotten() {
    let home = Home::new();
    let mut options = ServiceOptions::default();
    (options.sessions, options.session_frames) = (2, 2);
    options.session_idle = Duration::from_millis(1500);
    let serving = home.serve_with(options);
    let (first, _second) = (begin(&serving, ""), begin(&serving, ""));
    let refused = serving.send("POST", "/v1/sessions", &[], b"");
    assert!(refused.problem(429).contains("2 sessions"));
    assert!(refused.header("retry-after").is_some());
    for _ in 0..3 {
        assert_eq!(serving.post(&format!("{first}/frames"), &jpeg(1, None)).status, 200);
    }
    let track = serving.get(&first).json();
    assert_eq!((&track["frames"], &track["track"][0]["frame"]), (&json!(3), &json!(2)));
    std::thread::sleep(Duration::from_millis(1700));
    serving.get(&first).problem(404);
    begin(&serving, "");
}

#[test]
fn a_session_is_its_keys_own() {
    let home = Home::new();
    let (serving, [one, other, _]) = with_keys(&home, "");
    let ask = |method: &str, path: &str, key: &str, body: &[u8]| {
        serving.send(method, path, &[("X-Api-Key", key)], body)
    };
    let begun = ask("POST", "/v1/sessions", &one, b"").json();
    let session = format!("/v1/sessions/{}", begun["id"].as_str().expect("text"));
    let frames = format!("{session}/frames");
    let image = jpeg(1, None);
    assert_eq!(ask("POST", &frames, &one, &image).status, 200);
    let never = ask("GET", "/v1/sessions/92843bef-5c1c-54d0-9860-88fc96efde74", &other, b"").problem(404);
    assert_eq!(ask("GET", &session, &other, b"").problem(404), never);
    ask("POST", &frames, &other, &image).problem(404);
    ask("DELETE", &session, &other, b"").problem(404);
    serving.get(&session).problem(401);
    assert_eq!(ask("GET", &session, &one, b"").json()["frames"], 1);
    // A key has a quarter of all.
    for _ in 1..16 {
        assert_eq!(ask("POST", "/v1/sessions", &one, b"").status, 201);
    }
    assert!(ask("POST", "/v1/sessions", &one, b"").problem(429).contains("of this key"));
    assert_eq!(ask("POST", "/v1/sessions", &other, b"").status, 201);
}

#[test]
fn what_a_session_cannot_be_is_said() {
    let home = Home::new();
    let serving = home.serve();
    for (more, status, said) in [
        ("?max_speed=fast", 400, "max_speed"),
        ("?max_step=1e9", 400, "max_step"),
        ("?adaptive=0.1", 400, "no parameter 'adaptive'"),
        ("?index=other", 404, "there are places"),
        ("?min_confidence=0.5", 422, "not calibrated"),
        ("?approximate=true", 422, "searched exactly"),
    ] {
        assert!(
            serving.send("POST", &format!("/v1/sessions{more}"), &[], b"").problem(status).contains(said)
        );
    }
    assert!(serving.post("/v1/sessions", &jpeg(1, None)).problem(400).contains("without an image"));
    // Without positions, places follow each other in the order of their names.
    let home = Home::empty(Positions::None);
    for seed in 0..3 {
        std::fs::write(home.photos.join(format!("{seed}.jpg")), jpeg(seed, None)).expect("a file");
    }
    home.add_folder();
    let serving = home.serve();
    assert!(
        serving.send("POST", "/v1/sessions?max_speed=3", &[], b"").problem(422).starts_with("max_speed: ")
    );
    let bounds = |more: &str| {
        let session = serving.get(&begin(&serving, more)).json();
        (session["max_speed"].clone(), session["max_step"].clone())
    };
    assert_eq!(bounds(""), (Value::Null, json!(3.0)));
    assert_eq!(bounds("?max_step=1"), (Value::Null, json!(1.0)));
    let session = begin(&serving, "?max_step=1");
    let moved = serving.post(&format!("{session}/frames?moved=1"), &jpeg(2, None));
    assert!(moved.problem(422).starts_with("moved: "));
    let found = serving.post(&format!("{session}/frames"), &jpeg(2, None)).json();
    assert_eq!(
        (&found["fix"]["place"]["path"], &found["fix"]["position"]),
        (&json!("camera/2.jpg"), &Value::Null),
        "{found}"
    );
    serving.get(&format!("{session}?format=geojson")).problem(422);
}
