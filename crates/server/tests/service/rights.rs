//! Keys, names, origins, headers.

use crate::common::{Home, jpeg};
use r2former_engine::LatLon;
use r2former_server::{Keys, Role, ServiceOptions, new_key};

/// A service with a key of each role.
pub(crate) fn with_keys(home: &Home, more: &str) -> (crate::common::Serving, [String; 3]) {
    let each = [Role::Read, Role::Write, Role::Admin]
        .map(|role| new_key(role, &role.to_string()).expect("randomness"));
    let file = home.dir.path().join("keys");
    let lines: Vec<String> = each.iter().map(|(_, line)| format!("{line}{more}")).collect();
    std::fs::write(&file, lines.join("\n")).expect("a file");
    let keys = Keys::open(&file).expect("sound");
    let listen = "127.0.0.1:0".parse().expect("an address");
    let options = ServiceOptions::default().for_address(listen, Vec::new(), Some(keys), false).expect("keys");
    (home.serve_as(options), each.map(|(key, _)| key))
}

#[test]
fn roles_do_what_they_may() {
    let home = Home::new();
    let (serving, [read, write, admin]) = with_keys(&home, "");
    let image = jpeg(5, Some(LatLon { lat: 1.0, lon: 2.0 }));
    let with = |method: &str, path: &str, key: &str, body: &[u8]| {
        serving.send(
            method,
            path,
            &[("Authorization", &format!("Bearer {key}")), ("Content-Type", "image/jpeg")],
            body,
        )
    };
    let another: String = read.chars().map(|c| if c == 'a' { 'b' } else { 'a' }).collect();
    // Without a key, or with another, only whether it is alive, and how it is asked.
    for path in ["/healthz", "/readyz", "/openapi.json", "/"] {
        assert_eq!(serving.get(path).status, 200, "{path}");
    }
    for path in ["/v1/indexes", "/v1/places", "/metrics"] {
        let reply = serving.get(path);
        reply.problem(401);
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        with("GET", path, &another, b"").problem(401);
        assert_eq!(with("GET", path, &read, b"").status, 200);
    }
    serving.post("/v1/locate", &image).problem(401);
    assert_eq!(with("POST", "/v1/locate", &read, &image).status, 200);
    assert_eq!(serving.send("POST", "/v1/locate", &[("X-Api-Key", &read)], &image).status, 200);
    with("POST", "/v1/places", &read, &image).problem(403);
    let added = with("POST", "/v1/places", &write, &image);
    assert_eq!(added.status, 201);
    // A writer removes what the service added, an administrator anything.
    let id = |path: &str| {
        let list = with("GET", "/v1/places", &read, b"").json();
        let found =
            list["places"].as_array().expect("places").iter().find(|entry| entry["place"]["name"] == path);
        found.expect(path)["id"].as_str().expect("text").to_owned()
    };
    let (uploaded, indexed) = (added.json()["id"].as_str().expect("text").to_owned(), id("camera/0.jpg"));
    with("DELETE", &format!("/v1/places/{uploaded}"), &read, b"").problem(403);
    with("DELETE", &format!("/v1/places/{indexed}"), &write, b"").problem(403);
    assert_eq!(with("DELETE", &format!("/v1/places/{uploaded}"), &write, b"").status, 204);
    assert_eq!(with("DELETE", &format!("/v1/places/{indexed}"), &admin, b"").status, 204);
    assert!(home.photos.join("0.jpg").exists());
}

#[test]
fn a_key_has_its_rate() {
    let home = Home::new();
    let (serving, [read, write, _]) = with_keys(&home, " per-minute=3");
    let ask = |key: &str| serving.send("GET", "/v1/indexes", &[("X-Api-Key", key)], b"");
    for _ in 0..3 {
        assert_eq!(ask(&read).status, 200);
    }
    let reply = ask(&read);
    reply.problem(429);
    assert!(reply.header("retry-after").is_some());
    assert_eq!(ask(&write).status, 200);
}

#[test]
fn pages_of_the_web_reach_nothing() {
    let home = Home::new();
    let serving = home.serve();
    let image = jpeg(5, Some(LatLon { lat: 1.0, lon: 2.0 }));
    // A name of another's that leads to this address.
    serving.send("GET", "/v1/places", &[("Host", "evil.example")], b"").problem(403);
    // A page that sends a form here.
    for origin in ["https://evil.example", "null", "http://localhost:1"] {
        let reply = serving.send("POST", "/v1/places", &[("Origin", origin)], &image);
        reply.problem(403);
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
    let own = format!("http://{}", serving.address());
    assert_eq!(serving.send("POST", "/v1/places", &[("Origin", &own)], &image).status, 201);
    let reply = serving.get("/v1/places");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
        ("cross-origin-resource-policy", "same-origin"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{name}");
    }
    let page = serving.get("/");
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(
        serving.send("GET", "/healthz", &[("X-Request-Id", "abc-1")], b"").header("x-request-id"),
        Some("abc-1")
    );
    let id = serving.send("GET", "/healthz", &[("X-Request-Id", "a b")], b"");
    assert_ne!(id.header("x-request-id"), Some("a b"));
}

#[test]
fn an_allowed_origin_may_ask() {
    let home = Home::new();
    let mut options = ServiceOptions::default();
    options.cors = vec!["https://map.example".into()];
    let serving = home.serve_with(options);
    let origin = ("Origin", "https://map.example");
    let preflight =
        serving.send("OPTIONS", "/v1/locate", &[origin, ("Access-Control-Request-Method", "POST")], b"");
    assert_eq!(preflight.status, 204);
    assert!(
        preflight.header("access-control-allow-headers").is_some_and(|all| all.contains("authorization"))
    );
    let reply = serving.send("GET", "/v1/indexes", &[origin], b"");
    assert_eq!(
        (reply.status, reply.header("access-control-allow-origin")),
        (200, Some("https://map.example"))
    );
    serving.send("GET", "/v1/indexes", &[("Origin", "https://other.example")], b"").problem(403);
}
