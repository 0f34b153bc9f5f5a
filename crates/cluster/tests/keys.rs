//! Keys: in the environment, in a file, wrong, and missing. One test, alone in its process: the environment is the process's.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

mod common;

use common::Nodes;
use common::images::config;
use r2former_cluster::{ClusterReader, CollectionOptions, create};
use r2former_index::{ErrorKind, IndexError};

/// Runs this test's program again with other variables: to set them here would be unsafe.
fn again(address: &str, variables: &[(&str, &str)]) -> String {
    let program = std::env::current_exe().unwrap();
    let mut command = std::process::Command::new(program);
    command.args(["--exact", "inner", "--nocapture", "--include-ignored"]).env("INNER_ADDRESS", address);
    for name in ["R2FORMER_QDRANT_KEY", "R2FORMER_QDRANT_KEY_FILE"] {
        command.env_remove(name);
    }
    let output = command.envs(variables.iter().copied()).output().unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a process with a certain environment says.
#[test]
#[ignore = "a part of the other test"]
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
    let Some(nodes) = Nodes::start_with_key(1, Some("the secret")) else { return };
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
