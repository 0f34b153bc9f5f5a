//! Requests that mean nothing: never a failure of the service, and never its end.

use crate::common::{Home, Part, form, hides, jpeg};

/// A generator of numbers that is the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below.max(1)
    }

    fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.next(all.len())]
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next(256) as u8).collect()
    }
}

const METHODS: [&str; 8] = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "BREW"];

const PATHS: [&str; 19] = [
    "/",
    "/v1/locate",
    "/v1/locate",
    "/v1/locate/batch",
    "/v1/explain",
    "/v1/places",
    "/v1/places",
    "/v1/places/92843bef-5c1c-54d0-9860-88fc96efde74",
    "/v1/places/..%2f..%2fetc%2fpasswd",
    "/v1/places/%ff/image",
    "/v1/places/x/thumbnail",
    "/v1/sessions",
    "/v1/sessions/92843bef-5c1c-54d0-9860-88fc96efde74",
    "/v1/sessions/x/frames",
    "/v1/indexes",
    "/metrics",
    "/openapi.json",
    "//v1//locate",
    "/v1/locate/",
];

const QUERIES: [&str; 14] = [
    "",
    "?",
    "?top=5",
    "?top=-1&top=2",
    "?near=nan,inf&radius=1",
    "?near=1,2&radius=1e999",
    "?tag=%00=%ff",
    "?index=..",
    "?limit=99999999999999999999",
    "?after=x",
    "?bbox=,,,",
    "?since=99999-99-99",
    "?%%%&&&===",
    "?name=../../x&position=a,b",
];

const TYPES: [&str; 8] = [
    "image/jpeg",
    "multipart/form-data",
    "multipart/form-data; boundary=",
    "multipart/form-data; boundary=x",
    "multipart/form-data; boundary=\"\x7f\"",
    "application/json",
    "text/plain; charset=\"",
    ";;;",
];

#[test]
fn hundreds_of_malformed_requests_are_refused_one_by_one() {
    let home = Home::new();
    let serving = home.serve();
    let mut random = Random(22);
    let good = jpeg(1, None);
    for round in 0..400 {
        let (method, path, query) = (random.of(&METHODS), random.of(&PATHS), random.of(&QUERIES));
        let body = match random.next(6) {
            0 => Vec::new(),
            1 => {
                let length = random.next(2000);
                random.bytes(length)
            }
            2 => good[..random.next(good.len())].to_vec(),
            3 => {
                // A photograph with some bytes changed.
                let mut bytes = good.clone();
                for _ in 0..1 + random.next(20) {
                    let at = random.next(bytes.len());
                    bytes[at] = random.next(256) as u8;
                }
                bytes
            }
            4 => {
                let (_, mut bytes) = form(&[Part::Text("top", "x"), Part::File("a.jpg", &good)]);
                let at = random.next(bytes.len());
                bytes.truncate(at);
                bytes
            }
            _ => b"--x\r\nContent-Disposition: form-data; name=\"image\"\r\n\r\n\xff\xd8\xff\r\n--x--\r\n"
                .to_vec(),
        };
        let kind = random.of(&TYPES);
        let reply = serving.send(method, &format!("{path}{query}"), &[("Content-Type", kind)], &body);
        let told = || format!("round {round}: {method} {path}{query} {kind}: {reply:?}");
        assert!((200..500).contains(&reply.status), "{}", told());
        hides(&reply, &home.secret());
        if reply.status >= 400 && reply.header("content-type").is_some() && method != "HEAD" {
            reply.problem(reply.status);
        }
    }
    // Not even HTTP.
    for _ in 0..100 {
        let length = 1 + random.next(600);
        let mut bytes = random.bytes(length);
        if random.next(2) == 0 {
            bytes.splice(0..0, *b"POST /v1/locate HTTP/1.1\r\n");
        }
        bytes.extend(b"\r\n\r\n");
        let stream = serving.connect();
        let mut writer = &stream;
        let _ = std::io::Write::write_all(&mut writer, &bytes);
        stream.shutdown(std::net::Shutdown::Write).ok();
        let reply = crate::common::reply(&mut { stream });
        assert!(reply.status < 500, "{reply:?}");
    }
    assert_eq!(serving.get("/v1/places").json()["places"].as_array().map(Vec::len), Some(3));
    let answer = serving.post("/v1/locate", &good).json();
    assert_eq!(answer["answers"][0]["matches"][0]["path"], "camera/1.jpg");
}

#[test]
fn a_head_that_is_too_long_is_refused_and_in_the_document() {
    let home = Home::new();
    let serving = home.serve();
    let reply = serving.get(&format!("/v1/places?tag=a={}", "x".repeat(70_000)));
    assert_eq!((reply.status, reply.body.len()), (431, 0), "{}", reply.head);
    let document = serving.get("/openapi.json").json();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            assert!(operation["responses"]["431"].is_object(), "{method} {path}");
        }
    }
}
