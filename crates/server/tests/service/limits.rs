//! Work is bounded: queue, time, size, and the end.

use crate::common::{Home, jpeg, picture, reply};
use r2former_data::image::{PhotoTags, jpeg_with_tags};
use r2former_server::ServiceOptions;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

#[test]
fn a_full_queue_says_when_to_come_again() {
    let home = Home::new();
    let mut options = ServiceOptions::default();
    options.queue = 1;
    let serving = home.serve_with(options);
    // Large photographs, so that the first takes a moment.
    let query = jpeg_with_tags(&picture(1, 3000, 2000), 90, &PhotoTags::default()).expect("a picture");
    let replies: Vec<_> = std::thread::scope(|scope| {
        let ask = || serving.post("/v1/locate", &query);
        let all: Vec<_> = (0..12).map(|_| scope.spawn(ask)).collect();
        all.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let (answered, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    assert!(!answered.is_empty() && !refused.is_empty(), "{} {}", answered.len(), refused.len());
    for reply in refused {
        reply.problem(429);
        let seconds: u32 = reply.header("retry-after").expect("when").parse().expect("seconds");
        assert!((1..=60).contains(&seconds));
    }
    assert_eq!(serving.post("/v1/locate", &query).status, 200);
}

#[test]
fn bodies_and_pixels_have_limits() {
    let home = Home::new();
    let mut options = ServiceOptions::default();
    options.max_body = 100_000;
    let serving = home.serve_with(options);
    // Refused by its head alone: nothing is sent.
    let head =
        format!("POST /v1/locate HTTP/1.1\r\nHost: {}\r\nContent-Length: 100001\r\n\r\n", serving.address());
    let start = Instant::now();
    serving.raw(head.as_bytes()).problem(413);
    assert!(start.elapsed() < Duration::from_secs(5));
    // Without a length it is refused once it is too long.
    let mut body = format!(
        "POST /v1/locate HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n20000\r\n",
        serving.address()
    )
    .into_bytes();
    body.extend(vec![b'x'; 0x20000]);
    body.extend(b"\r\n0\r\n\r\n");
    serving.raw(&body).problem(413);
    // A few bytes that promise many pixels.
    let bomb = b"P6\n30000 30000\n255\n";
    serving.post("/v1/locate", bomb).problem(422);
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    png.extend([0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30, 8, 2, 0, 0, 0, 0, 0, 0, 0]);
    serving.post("/v1/locate", &png).problem(422);
    let metrics = serving.get("/metrics");
    let text = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(text.contains("r2former_body_bytes 0\n"), "{text}");
}

#[test]
fn a_refused_client_hears_why_although_it_sends_first() {
    let home = Home::new();
    let mut options = ServiceOptions::default();
    options.max_body = 600_000;
    let serving = home.serve_with(options);
    // As many clients do: everything is sent before anything is read, in pieces.
    let body = vec![b'x'; 1_100_000];
    for (path, more, status) in [
        ("/v1/locate", "", 413),
        ("/v1/locate", "Content-Type: application/json\r\n", 415),
        ("/v1/locate", "Origin: https://evil.example\r\n", 403),
        ("/v1/places?no=1", "Content-Encoding: br\r\n", 415),
    ] {
        let mut stream = serving.connect();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\n{more}Connection: close\r\nContent-Length: {}\r\n\r\n",
            serving.address(),
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("sent");
        for piece in body.chunks(50_000) {
            std::thread::sleep(Duration::from_millis(5));
            stream.write_all(piece).unwrap_or_else(|error| panic!("{path} {more}: {error}"));
        }
        reply(&mut stream).problem(status);
    }
}

#[test]
fn a_refused_client_holds_no_connection() {
    let home = Home::new();
    let mut options = ServiceOptions::default();
    options.max_body = 100_000;
    let serving = home.serve_with(options);
    let start = Instant::now();
    let send = |length: usize| {
        let mut stream = serving.connect();
        let host = serving.address();
        let head = format!("POST /v1/locate HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        stream
    };
    // More than is read of what is refused: the answer comes at once.
    reply(&mut send(200_001)).problem(413);
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
    // Byte by byte it is not read to its end.
    let mut slow = send(150_000);
    let mut writer = slow.try_clone().expect("a second handle");
    let dripping = std::thread::spawn(move || {
        while writer.write_all(b"x").is_ok() && start.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    reply(&mut slow).problem(413);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    drop(slow);
    dripping.join().expect("no panic");
}

#[test]
fn slow_clients_hold_nobody_up() {
    let home = Home::new();
    let serving = home.serve();
    let query = jpeg(1, None);
    // Idle connections, half of a head, half of a body.
    let mut slow: Vec<TcpStream> = (0..300).map(|_| serving.connect()).collect();
    for (i, stream) in slow.iter_mut().enumerate() {
        match i % 3 {
            0 => {}
            1 => stream.write_all(b"POST /v1/locate HTTP/1.1\r\nHost: 127").expect("sent"),
            _ => {
                let head = "POST /v1/locate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000\r\n\r\nxxxx";
                stream.write_all(head.as_bytes()).expect("sent");
            }
        }
    }
    let start = Instant::now();
    for _ in 0..3 {
        assert_eq!(serving.post("/v1/locate", &query).status, 200);
    }
    assert!(start.elapsed() < Duration::from_secs(10));
    // After 10 s without a byte each is closed.
    let mut head = slow.swap_remove(1);
    let mut body = slow.swap_remove(2);
    let late = reply(&mut body);
    assert_eq!(late.status, 408, "{late:?}");
    assert!(matches!(reply(&mut head).status, 0 | 408));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(25), "{took:?}");
}

#[test]
fn the_end_finishes_what_was_taken() {
    let home = Home::new();
    let serving = home.serve();
    let address = serving.address();
    let query = jpeg_with_tags(&picture(1, 4000, 3000), 90, &PhotoTags::default()).expect("a picture");
    let mut idle = serving.connect();
    let mut stream = serving.connect();
    let head =
        format!("POST /v1/locate HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n", query.len());
    stream.write_all(&[head.as_bytes(), &query].concat()).expect("sent");
    // It has been taken once it is counted.
    let taken = Instant::now();
    while !String::from_utf8_lossy(&serving.get("/metrics").body).contains("r2former_queue_running 1") {
        assert!(taken.elapsed() < Duration::from_secs(20), "it was not taken");
        std::thread::sleep(Duration::from_millis(1));
    }
    let ending = std::thread::spawn(move || serving.0.stop());
    let answer = reply(&mut stream);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["answers"][0]["status"], "answered");
    ending.join().expect("no panic");
    assert_eq!(reply(&mut idle).status, 0);
    assert!(TcpStream::connect(address).is_err());
}
