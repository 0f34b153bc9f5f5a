//! The page's files as a browser gets them; what it shows is checked by `tests/page/check.py` in a browser.

use crate::common::Home;
use r2former_server::{Basemap, Keys, Role, ServiceOptions, new_key};
use serde_json::Value;

#[test]
fn its_files_have_types_tags_and_a_policy() {
    let home = Home::new();
    let serving = home.serve();
    for (path, media_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/page/main.js", "text/javascript; charset=utf-8"),
        ("/page/style.css", "text/css; charset=utf-8"),
        ("/page/icon.svg", "image/svg+xml"),
        ("/page/vendor/maplibre-gl/maplibre-gl-worker.mjs", "text/javascript; charset=utf-8"),
        ("/page/vendor/maplibre-gl/LICENSE.txt", "text/plain; charset=utf-8"),
    ] {
        let reply = serving.get(path);
        assert_eq!((reply.status, reply.header("content-type")), (200, Some(media_type)), "{path}");
        let policy = reply.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let tag = reply.header("etag").expect("a tag").to_owned();
        let again = serving.send("GET", path, &[("If-None-Match", &tag)], b"");
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        let packed = serving.send("GET", path, &[("Accept-Encoding", "br, gzip")], b"");
        assert_eq!((packed.status, packed.header("content-encoding")), (200, Some("gzip")), "{path}");
        assert!(packed.body.starts_with(&[0x1f, 0x8b]), "{path}");
    }
    for path in ["/page/", "/page/nothing.js", "/page/../Cargo.toml", "/page/vendor"] {
        assert_eq!(serving.get(path).status, 404, "{path}");
    }
}

#[test]
fn it_hears_its_role_and_its_base_map() {
    let home = Home::new();
    let mut options = ServiceOptions::default();
    options.basemap =
        Some(Basemap::open("https://tiles.example/{z}/{x}/{y}.png", "Example").expect("a template"));
    let serving = home.serve_with(options);
    let config = serving.get("/page/config.json").json();
    assert_eq!(config["role"], "admin");
    assert_eq!(config["tiles"]["url"], "https://tiles.example/{z}/{x}/{y}.png");
    let policy = serving.get("/").header("content-security-policy").expect("a policy").to_owned();
    assert!(policy.contains("connect-src 'self' https://tiles.example;"), "{policy}");
    assert_eq!(serving.get("/page/tiles.pmtiles").status, 404);

    let home = Home::new();
    let (key, line) = new_key(Role::Write, "phone").expect("a key");
    let file = home.dir.path().join("keys");
    std::fs::write(&file, line).expect("a file");
    let listen = "127.0.0.1:0".parse().expect("an address");
    let options = ServiceOptions::default()
        .for_address(listen, Vec::new(), Some(Keys::open(&file).expect("sound")), false)
        .expect("sound");
    let serving = home.serve_as(options);
    assert_eq!(serving.get("/page/config.json").json()["role"], "none");
    let bearer = format!("Bearer {key}");
    let config = serving.send("GET", "/page/config.json", &[("Authorization", &bearer)], b"").json();
    assert_eq!((&config["role"], &config["tiles"]), (&Value::from("write"), &Value::Null));
}

#[test]
fn a_file_of_tiles_is_read_by_parts() {
    let home = Home::new();
    let path = home.dir.path().join("town.pmtiles");
    std::fs::write(&path, [b"PMTiles\x03".as_slice(), &[7; 92]].concat()).expect("a file");
    let mut options = ServiceOptions::default();
    options.basemap = Some(Basemap::open(path.to_str().expect("text"), "").expect("a file"));
    let serving = home.serve_with(options);
    let ask = |range: &str| serving.send("GET", "/page/tiles.pmtiles", &[("Range", range)], b"");
    let part = ask("bytes=4-11");
    assert_eq!((part.status, part.body.as_slice()), (206, b"les\x03\x07\x07\x07\x07".as_slice()));
    assert_eq!(part.header("content-range"), Some("bytes 4-11/100"));
    assert_eq!(ask("bytes=90-500").header("content-range"), Some("bytes 90-99/100"));
    for range in ["bytes=100-200", "bytes=-4", "bytes=0-", "bytes=0-1,3-4"] {
        assert_eq!(ask(range).status, 416, "{range}");
    }
    assert_eq!(serving.get("/page/tiles.pmtiles").status, 416);
}
