//! What is refused, and in which words.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

mod common;

use std::io::Read;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use common::Nodes;
use common::images::{DIM, MODEL, config, image, unusable};
use r2former_cluster::{
    Address, ClusterReader, ClusterWriter, CollectionOptions, attachment, attachment_to, create, verify,
};
use r2former_index::{
    Batch, ErrorKind, Filter, IndexConfig, IndexError, LatLon, Near, ReadPlaces, Source, WritePlaces,
};

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

/// An address at which nothing listens.
fn nowhere() -> Address {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    address(&format!("qdrant://127.0.0.1:{port}/streets"))
}

#[test]
fn a_cluster_that_cannot_be_reached_is_named_at_once() {
    let address = nowhere();
    let started = Instant::now();
    for error in [
        ClusterReader::open(&address, None).err().unwrap(),
        create(&address, config(), &CollectionOptions::default(), &mut []).err().unwrap(),
        attachment(&address, "model.safetensors").err().unwrap(),
    ] {
        let words = error.to_string();
        assert!(matches!(error, IndexError::Unreachable { .. }), "{words}");
        assert!(words.starts_with(&address.to_string()) && words.contains("refused"), "{words}");
        assert_eq!(error.kind(), ErrorKind::Retry);
    }
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

/// Something else answers at the port: HTTP/1, or nothing that ever ends.
#[test]
fn what_is_no_qdrant_is_an_error() {
    for answer in
        [&b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..], b"", b"SSH-2.0-OpenSSH_9.9\r\n"]
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 64]);
                let _ = std::io::Write::write_all(&mut stream, answer);
            }
        });
        for scheme in ["qdrant", "qdrants"] {
            let address = address(&format!("{scheme}://127.0.0.1:{port}/streets"));
            let error = ClusterReader::open(&address, None).err().unwrap();
            assert!(matches!(error, IndexError::Unreachable { .. } | IndexError::Deadline { .. }), "{error}");
            assert!(error.to_string().contains(&address.to_string()), "{error}");
        }
    }
}

#[test]
fn a_shape_or_options_that_cannot_be_kept_are_refused_before_anything_is_asked() {
    let large = IndexConfig { row_width: 10_000, max_rows: 2000, ..config() };
    let error = create(&nowhere(), large, &CollectionOptions::default(), &mut []).err().unwrap();
    assert!(error.to_string().contains("local features per image"), "{error}");
    let options = CollectionOptions { shards: Some(0), ..CollectionOptions::default() };
    let error = create(&nowhere(), config(), &options, &mut []).err().unwrap();
    assert!(matches!(error, IndexError::Request { .. }), "{error}");
    let error = create(&nowhere(), config(), &CollectionOptions::default(), &mut [("a/b", &mut &b""[..])])
        .err()
        .unwrap();
    assert!(error.to_string().contains("no plain file name"), "{error}");
}

#[test]
fn collections_that_are_no_index_are_told_apart() {
    let Some(nodes) = Nodes::start(1) else { return };
    let streets = nodes.address("streets");
    let error = ClusterReader::open(&streets, None).err().unwrap();
    assert!(matches!(error, IndexError::NoCollection { .. }), "{error}");
    create(&streets, config(), &CollectionOptions::default(), &mut []).unwrap();

    // Another model.
    for error in [
        ClusterWriter::open(&streets, "sha256:bb22").err().unwrap(),
        ClusterReader::open(&streets, Some("sha256:bb22")).err().unwrap(),
    ] {
        let words = error.to_string();
        assert!(words.contains(MODEL) && words.contains("sha256:bb22"), "{words}");
        assert!(words.contains(&streets.to_string()), "{words}");
        assert_eq!(error.kind(), ErrorKind::Caller);
    }
    // Twice.
    let error = create(&streets, config(), &CollectionOptions::default(), &mut []).err().unwrap();
    assert!(matches!(error, IndexError::CollectionExists { .. }), "{error}");
    // Someone else's.
    let made = nodes.http(0, "PUT", "/collections/other", r#"{"vectors": {"size": 4, "distance": "Dot"}}"#);
    assert!(made.contains("\"result\":true"), "{made}");
    let other = nodes.address("other");
    let error = ClusterReader::open(&other, None).err().unwrap();
    assert!(matches!(error, IndexError::OtherCollection { .. }), "{error}");
    let error = create(&other, config(), &CollectionOptions::default(), &mut []).err().unwrap();
    assert!(matches!(error, IndexError::CollectionExists { .. }), "{error}");

    // A creation that stopped: before and after its second collection.
    let half = nodes.address("half");
    let made = nodes.http(0, "PUT", "/collections/half-files", r#"{"vectors": {}}"#);
    assert!(made.contains("\"result\":true"), "{made}");
    for error in [
        ClusterReader::open(&half, None).err().unwrap(),
        create(&half, config(), &CollectionOptions::default(), &mut []).err().unwrap(),
    ] {
        assert!(matches!(error, IndexError::HalfCreated { .. }), "{error}");
        assert!(error.to_string().contains("\"half-files\""), "{error}");
    }
    let manifest = r#"{\"format\":1}"#;
    let body = format!(r#"{{"vectors": {{}}, "metadata": {{"r2former": "{manifest}"}}}}"#);
    let made = nodes.http(0, "PUT", "/collections/half", &body);
    assert!(made.contains("\"result\":true"), "{made}");
    let error = ClusterReader::open(&half, None).err().unwrap();
    assert!(error.to_string().contains("\"half-files\" and \"half\""), "{error}");

    // Another format.
    let manifest = r#"{\"format\":7}"#;
    let body =
        format!(r#"{{"vectors": {{}}, "metadata": {{"r2former": "{manifest}", "r2former-ready": true}}}}"#);
    let made = nodes.http(0, "PUT", "/collections/later", &body);
    assert!(made.contains("\"result\":true"), "{made}");
    let error = ClusterReader::open(&nodes.address("later"), None).err().unwrap();
    assert!(matches!(error, IndexError::OtherFormat { found: 7, .. }), "{error}");
}

#[test]
fn an_attachment_that_cannot_be_read_leaves_no_collection() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("broken"))
        }
    }
    let Some(nodes) = Nodes::start(1) else { return };
    let address = nodes.address("broken");
    let error =
        create(&address, config(), &CollectionOptions::default(), &mut [("m", &mut Broken)]).err().unwrap();
    assert!(error.to_string().contains("broken"), "{error}");
    assert!(matches!(ClusterReader::open(&address, None), Err(IndexError::NoCollection { .. })));
    create(&address, config(), &CollectionOptions::default(), &mut []).unwrap();
}

#[test]
fn attachments_come_back() {
    let Some(nodes) = Nodes::start(1) else { return };
    let address = nodes.address("files");
    let model = common::images::Random(3).bytes(9 * (1 << 20) + 12_345);
    let exact = common::images::Random(4).bytes(8 << 20);
    create(
        &address,
        config(),
        &CollectionOptions::default(),
        &mut [
            ("model.safetensors", &mut &model[..]),
            ("exact", &mut &exact[..]),
            ("settings.json", &mut &b"{}"[..]),
            ("empty", &mut &b""[..]),
        ],
    )
    .unwrap();
    assert!(attachment(&address, "model.safetensors").unwrap() == model);
    assert!(attachment(&address, "exact").unwrap() == exact);
    assert_eq!(attachment(&address, "settings.json").unwrap(), b"{}");
    assert_eq!(attachment(&address, "empty").unwrap(), b"");
    let error = attachment(&address, "missing").err().unwrap();
    assert!(error.to_string().contains("no file \"missing\""), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model");
    attachment_to(&address, "model.safetensors", &path).unwrap();
    assert!(std::fs::read(&path).unwrap() == model);
    let error = attachment_to(&address, "missing", &dir.path().join("missing")).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Caller);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    // They are no images, and no sources.
    let reader = ClusterReader::open(&address, None).unwrap();
    assert_eq!(reader.count(&Filter::default()).unwrap(), 0);
    assert_eq!(reader.sources().unwrap(), []);
}

#[test]
fn a_batch_with_an_unusable_image_is_refused_as_a_whole() {
    let Some(nodes) = Nodes::start(1) else { return };
    let address = nodes.address("batches");
    create(&address, config(), &CollectionOptions::default(), &mut []).unwrap();
    let mut writer = ClusterWriter::open(&address, MODEL).unwrap();
    let good = image(1, 0);
    for bad in unusable().into_iter().chain([good.clone()]) {
        let error = writer.add(&[good.clone(), bad]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Caller, "{error}");
    }
    let sources = [Source { label: "a/b".into(), root: "/".into() }];
    assert!(
        writer
            .write(&Batch { add: std::slice::from_ref(&good), sources: &sources, ..Batch::default() })
            .is_err()
    );
    let describe = [image(5, 0).place];
    let error = writer
        .write(&Batch { add: std::slice::from_ref(&good), describe: &describe, ..Batch::default() })
        .unwrap_err();
    assert!(
        error.to_string().ends_with("the image \"images/000005.jpg\": it is not in the index"),
        "{error}"
    );
    assert_eq!(writer.count(&Filter::default()).unwrap(), 0);
    writer.add(&[good]).unwrap();
    assert_eq!(writer.count(&Filter::default()).unwrap(), 1);

    let all = Filter::default();
    assert!(writer.search(&[1.0], 3, &all).is_err());
    assert!(writer.search(&[f32::NAN; DIM], 3, &all).is_err());
    assert!(writer.list(None, 0, &all).is_err());
    for (lat, radius_m) in [(95.0, 10.0), (0.0, 0.0), (0.0, -1.0), (0.0, f64::NAN)] {
        let near = Some(Near { center: LatLon { lat, lon: 0.0 }.into(), radius_m });
        assert!(writer.count(&Filter { near, ..Filter::default() }).is_err());
    }
    assert!(writer.count(&Filter { since: Some(2), until: Some(1), ..Filter::default() }).is_err());
}

/// What another program wrote into an index is found, and is an error and no answer.
#[test]
fn foreign_points_are_found() {
    let Some(nodes) = Nodes::start(1) else { return };
    let address = nodes.address("foreign");
    create(&address, config(), &CollectionOptions::default(), &mut []).unwrap();
    let mut writer = ClusterWriter::open(&address, MODEL).unwrap();
    writer.add(&(0..20).map(|i| image(i, 0)).collect::<Vec<_>>()).unwrap();
    assert_eq!(verify(&address).unwrap().problems, []);
    let id = r2former_index::place_id("images/000003.jpg");
    let body = format!(r#"{{"payload": {{"time": 5}}, "points": ["{id}"]}}"#);
    let done = nodes.http(0, "POST", "/collections/foreign/points/payload?wait=true", &body);
    assert!(done.contains("\"status\":\"ok\""), "{done}");
    let body = format!(
        r#"{{"points": [{{"id": 7, "payload": {{}}, "vector": {{"global": {:?}}}}}, {{"id": "{}", "payload": {{"place": "{{}}"}}, "vector": {{}}}}]}}"#,
        vec![0.5_f32; DIM],
        uuid::Uuid::from_u128(5)
    );
    let done = nodes.http(0, "PUT", "/collections/foreign/points?wait=true", &body);
    assert!(done.contains("\"status\":\"ok\""), "{done}");
    let report = verify(&address).unwrap();
    assert_eq!(report.images, 22);
    let what: Vec<_> = report.problems.iter().map(|problem| problem.what.as_str()).collect();
    for expected in
        ["what filters read", "no identifier of an image", "its place is unreadable", "0 dimensions"]
    {
        assert!(what.iter().any(|what| what.contains(expected)), "{expected}: {what:?}");
    }
    let error = writer.list(None, 100, &Filter::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Repair, "{error}");
}
