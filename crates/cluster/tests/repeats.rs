//! What is asked again, of whom, and how long: against nodes that answer as a script says.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

mod common;

use std::time::{Duration, Instant};

use common::images::{MODEL, image};
use common::stub::{Reply, Stub};
use qdrant_client::qdrant::{ReplicaState, UpdateStatus};
use r2former_cluster::{Address, ClusterReader, ClusterWriter};
use r2former_index::{ErrorKind, Filter, IndexError, ReadPlaces, Result, WritePlaces};
use tokio::runtime::Runtime;

/// Codes of gRPC.
const INVALID_ARGUMENT: u16 = 3;
const RESOURCE_EXHAUSTED: u16 = 8;
const INTERNAL: u16 = 13;
const UNAVAILABLE: u16 = 14;

/// Two nodes, and what the second one thinks of the first.
fn two(opinion: ReplicaState) -> (Runtime, Stub, Stub, Address) {
    let runtime = Runtime::new().unwrap();
    let (a, b) = runtime
        .block_on(async { (Stub::start(1, ReplicaState::Active).await, Stub::start(2, opinion).await) });
    let address = format!("qdrant://127.0.0.1:{},127.0.0.1:{}/c", a.port, b.port).parse().unwrap();
    (runtime, a, b, address)
}

fn one() -> (Runtime, Stub, Address) {
    let (runtime, a, _, _) = two(ReplicaState::Active);
    let address = format!("qdrant://127.0.0.1:{}/c", a.port).parse().unwrap();
    (runtime, a, address)
}

fn add(address: &Address, deadline: Duration) -> Result<()> {
    ClusterWriter::open(address, MODEL)?.deadline(deadline).add(&[image(1, 0)])
}

#[test]
fn what_a_node_cannot_do_now_is_asked_again() {
    let (_runtime, node, address) = one();
    node.says([
        Reply::Status(UNAVAILABLE, "starting"),
        Reply::Status(INTERNAL, "Service internal error: no leader"),
        Reply::Close,
        Reply::Status(RESOURCE_EXHAUSTED, "rate limit"),
        Reply::Write(UpdateStatus::Acknowledged),
        Reply::Write(UpdateStatus::WaitTimeout),
    ]);
    add(&address, Duration::from_secs(60)).unwrap();
    assert_eq!(node.asked(), 7);
}

#[test]
fn what_is_wrong_is_asked_once() {
    let (_runtime, node, address) = one();
    node.says([Reply::Status(INVALID_ARGUMENT, "Wrong input: limit")]);
    let error = add(&address, Duration::from_secs(60)).unwrap_err();
    assert!(
        matches!(error, IndexError::Request { .. }) && error.to_string().contains("Wrong input: limit"),
        "{error}"
    );
    assert_eq!(node.asked(), 1);
    node.says([Reply::Status(INTERNAL, "Service internal error: No space left on device: WAL")]);
    let error = add(&address, Duration::from_secs(60)).unwrap_err();
    assert!(matches!(error, IndexError::Full { .. }), "{error}");
    assert_eq!(node.asked(), 2);
}

#[test]
fn a_change_that_is_only_noted_is_no_success() {
    let (_runtime, node, address) = one();
    node.says(vec![Reply::Write(UpdateStatus::Acknowledged); 5]);
    let error = add(&address, Duration::from_secs(60)).unwrap_err();
    assert!(error.to_string().contains("did not apply it"), "{error}");
}

#[test]
fn a_deadline_is_kept_and_named() {
    let (_runtime, node, address) = one();
    node.says(vec![Reply::Status(UNAVAILABLE, "election"); 100]);
    let started = Instant::now();
    let error = add(&address, Duration::from_secs(2)).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(matches!(error, IndexError::Deadline { seconds: 2, .. }), "{error}");
    assert!(error.to_string().contains("adding images") && error.to_string().contains("election"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Retry);
    // Waits double: there were a few tries, and not a hundred.
    assert!((4..12).contains(&node.asked()), "{}", node.asked());
}

#[test]
fn the_next_node_is_asked_and_stays() {
    for reply in [Reply::Hang, Reply::Close, Reply::Status(UNAVAILABLE, "going away")] {
        let (_runtime, a, b, address) = two(ReplicaState::Active);
        let reader = ClusterReader::open(&address, None).unwrap().deadline(Duration::from_secs(3));
        assert_eq!(reader.count(&Filter::default()).unwrap(), 1);
        a.says([reply]);
        let started = Instant::now();
        assert_eq!(reader.count(&Filter::default()).unwrap(), 2);
        assert!(started.elapsed() < Duration::from_millis(1900), "{:?}", started.elapsed());
        assert_eq!(reader.count(&Filter::default()).unwrap(), 2);
        assert_eq!((a.asked(), b.asked()), (2, 2));
    }
}

#[test]
fn a_node_that_is_behind_is_not_asked() {
    for state in [ReplicaState::Dead, ReplicaState::Partial] {
        let (_runtime, a, b, address) = two(state);
        let reader = ClusterReader::open(&address, None).unwrap();
        assert_eq!(reader.count(&Filter::default()).unwrap(), 2);
        assert_eq!((a.asked(), b.asked()), (0, 1));
    }
}
