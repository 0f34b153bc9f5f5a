//! Keys and TLS: in the environment, in a file, wrong, and missing, each in a process with an environment of its own.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

mod common;

use common::Nodes;
use common::images::config;
use r2former_cluster::{ClusterReader, CollectionOptions, create};
use r2former_index::{ErrorKind, IndexError};
use std::io::Write as _;

/// Runs this test's program again with other variables: to set them here would be unsafe.
fn again(address: &str, variables: &[(&str, &str)]) -> String {
    let program = std::env::current_exe().unwrap();
    let mut command = std::process::Command::new(program);
    command.args(["--exact", "inner", "--nocapture", "--include-ignored"]).env("INNER_ADDRESS", address);
    for name in ["R2FORMER_QDRANT_KEY", "R2FORMER_QDRANT_KEY_FILE", "R2FORMER_QDRANT_CA"] {
        command.env_remove(name);
    }
    let output = command.envs(variables.iter().copied()).output().unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a process with a certain environment says.
#[test]
#[ignore = "a part of the other tests"]
fn inner() {
    let Ok(address) = std::env::var("INNER_ADDRESS") else { return };
    let address = address.parse().unwrap();
    let made = create(&address, config(), &CollectionOptions::default(), &mut []);
    match made.and_then(|()| ClusterReader::open(&address, None)) {
        Ok(_) => eprintln!("\nOPENED"),
        Err(error) => {
            let refused = matches!(error, IndexError::KeyRefused { .. }) && error.kind() == ErrorKind::Caller;
            eprintln!("\nREFUSED {refused} {error}");
        }
    }
}

#[test]
fn a_key_is_needed_where_one_is_set() {
    let Some(nodes) = Nodes::start_with(1, Some("the secret"), Vec::new()) else { return };
    let address = |name: &str| nodes.address(name).to_string();
    let missing = again(&address("a"), &[]);
    assert!(missing.contains("REFUSED true") && missing.contains("requests without a key"), "{missing}");
    let wrong = again(&address("a"), &[("R2FORMER_QDRANT_KEY", "another")]);
    assert!(wrong.contains("REFUSED true") && wrong.contains("the key of R2FORMER_QDRANT_KEY"), "{wrong}");
    assert!(!wrong.contains("another"), "{wrong}");
    let right = again(&address("a"), &[("R2FORMER_QDRANT_KEY", "the secret")]);
    assert!(right.contains("OPENED"), "{right}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    std::fs::write(&file, "the secret\n").unwrap();
    let file = file.to_str().unwrap();
    let right = again(&address("b"), &[("R2FORMER_QDRANT_KEY_FILE", file)]);
    assert!(right.contains("OPENED"), "{right}");
    let gone = again(&address("c"), &[("R2FORMER_QDRANT_KEY_FILE", "/nowhere/key")]);
    assert!(gone.contains("REFUSED false /nowhere/key"), "{gone}");
}

/// Runs `openssl`; says whether it could.
fn openssl(dir: &std::path::Path, arguments: &str) -> bool {
    let words = arguments.split_whitespace();
    let output = std::process::Command::new("openssl").current_dir(dir).args(words).output();
    output.is_ok_and(|output| output.status.success())
}

#[test]
fn tls_needs_the_authority_and_the_scheme() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("names"), "subjectAltName=IP:127.0.0.1").unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    let made = openssl(
        dir.path(),
        &format!("req -x509 {key} -days 9 -subj /CN=authority -keyout ca.key -out ca.pem"),
    ) && openssl(dir.path(), &format!("req {key} -subj /CN=node -keyout node.key -out node.csr"))
        && openssl(
            dir.path(),
            "x509 -req -in node.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 9 -extfile names -out node.pem",
        );
    if !made {
        // Not by a macro, whose output a passing test does not show.
        let _ = writeln!(std::io::stderr(), "SKIPPED: no openssl makes certificates here");
        return;
    }
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let settings = vec![
        ("QDRANT__SERVICE__ENABLE_TLS", "true".to_owned()),
        ("QDRANT__TLS__CERT", file("node.pem")),
        ("QDRANT__TLS__KEY", file("node.key")),
        ("QDRANT__TLS__CA_CERT", file("ca.pem")),
    ];
    let Some(nodes) = Nodes::start_with(1, Some("the secret"), settings) else { return };
    let secure = |name: &str| nodes.address(name).to_string().replace("qdrant://", "qdrants://");
    let known = [("R2FORMER_QDRANT_CA", &*file("ca.pem")), ("R2FORMER_QDRANT_KEY", "the secret")];
    let opened = again(&secure("a"), &known);
    assert!(opened.contains("OPENED"), "{opened}");
    let unknown = again(&secure("b"), &known[1..]);
    assert!(unknown.contains("R2FORMER_QDRANT_CA") && unknown.contains("UnknownIssuer"), "{unknown}");
    let plain = again(&nodes.address("b").to_string(), &known);
    assert!(plain.contains("qdrants://"), "{plain}");
    let other = again(&secure("b").replace("127.0.0.1", "localhost"), &known);
    assert!(other.contains("REFUSED") && other.contains("certificate"), "{other}");
}
