//! `r2former serve` as a process: started, asked, killed, asked to end, refused.
#![cfg(unix)]

mod common;

use common::service::Serving;
use common::{fails, names, picture, r2former, small_index};
use r2former_data::image::{PhotoTags, jpeg_with_tags};
use std::process::Command;

/// Seeds that differ by 11 give the same picture; those below 3 are in the index.
fn photo(seed: u32) -> Vec<u8> {
    jpeg_with_tags(&picture(seed, 96, 80), 90, &PhotoTags::default()).expect("a sound picture encodes")
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let (_home, index, _photos) = small_index();
    for round in 0..3u32 {
        let mut serving = Serving::start(&index, &[], &[]);
        for i in 0..2 {
            let answer =
                serving.post(&format!("/v1/places?position=1,{round}.{i}"), &photo(3 + 2 * round + i));
            assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        }
        serving.child.kill().expect("it runs");
        serving.child.wait().expect("it was started");
        let listed = r2former().args(["index", "list"]).arg(&index).assert().success().get_output().clone();
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let uploads = listed.lines().filter(|line| line.contains("uploads/")).count();
        assert_eq!(uploads as u32, 2 * (round + 1), "{listed}");
    }
    r2former().args(["index", "verify"]).arg(&index).assert().success();
    let serving = Serving::start(&index, &[], &[]);
    assert!(serving.post("/v1/locate?top=1", &photo(4)).contains("\"path\":\"uploads/"));
    // A signal ends it in order. Its log names neither photographs nor folders.
    let pid = serving.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    let ended = serving.child.wait_with_output().expect("it was started");
    assert_eq!(ended.status.code(), Some(0));
    let log = String::from_utf8_lossy(&ended.stderr).into_owned();
    let line = log.lines().find(|line| line.contains("/v1/locate")).unwrap_or_else(|| panic!("{log}"));
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    assert_eq!((&line["status"], &line["method"]), (&200.into(), &"POST".into()));
    assert!(!log.contains(index.to_str().expect("text")) && !log.contains("top=1"), "{log}");
}

#[test]
fn the_demo_serves_this_machine_alone_and_says_so_before_it_renders() {
    let said = fails(r2former().args(["demo", "--serve=0.0.0.0:0"]), 2);
    names(&said, &["this machine alone", "r2former serve"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let said = fails(r2former().args(["demo", &format!("--serve={address}")]), 1);
    names(&said, &[&address, "--serve=127.0.0.1:0"]);
}

#[test]
fn what_cannot_be_served_is_refused_at_once() {
    let (home, index, _photos) = small_index();
    let ends = |code: i32, more: &[&str]| {
        let mut command = r2former();
        command.arg("serve").arg(&index).args(more);
        fails(&mut command, code)
    };
    let serve = |more: &[&str]| ends(1, more);
    names(&ends(2, &["--listen", "0.0.0.0:0"]), &["--keys FILE", "--allow-unauthenticated"]);
    names(&ends(2, &["--listen", "127.0.0.1:0", "--host", "example.org"]), &["other names", "--keys FILE"]);
    names(&ends(2, &["--listen", "127.0.0.1:0", "--cors", "*"]), &["--cors '*'"]);
    names(&serve(&["--listen", "127.0.0.1:0", "--watch", "no-such-folder"]), &["no-such-folder", "--watch"]);
    let keys = home.path().join("keys");
    std::fs::write(&keys, "role=read\n").expect("a file");
    names(&serve(&["--keys", keys.to_str().expect("text")]), &["keys:1: ", "sha256"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    names(&serve(&["--listen", &address]), &[&address]);
    let text = index.to_str().expect("text");
    names(&serve(&[text]), &["two indexes are called index", "NAME=FOLDER"]);
    fails(r2former().arg("serve"), 2);
    let made = r2former().args(["serve", "--new-key", "read", "--key-name", "app"]).assert().success();
    let out = String::from_utf8_lossy(&made.get_output().stdout).into_owned();
    assert!(out.starts_with("r2f_") && out.contains("\nrole=read name=app sha256="), "{out}");
}
