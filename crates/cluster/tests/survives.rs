//! Three nodes and two copies of each image: one of the nodes is killed while images are added and queries are answered.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

mod common;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::Nodes;
use common::images::{MODEL, config, image};
use r2former_cluster::{ClusterReader, ClusterWriter, CollectionOptions, create, verify};
use r2former_index::{Filter, NewPlace, ReadPlaces, Source, WritePlaces, place_id};

const BATCH: u64 = 40;

fn batch(number: u64) -> Vec<NewPlace> {
    (number * BATCH..(number + 1) * BATCH).map(|i| image(i, 0)).collect()
}

/// All images of the first `acknowledged` batches are found: by identifier, with their vectors, and by a search.
fn all_there(reader: &ClusterReader, acknowledged: u64) {
    let images: Vec<_> = (0..acknowledged).flat_map(batch).collect();
    let ids: Vec<_> = images.iter().map(|new| place_id(&new.place.name)).collect();
    let places = reader.get(&ids).unwrap();
    let locals = reader.locals(&ids).unwrap();
    for ((new, place), local) in images.iter().zip(places).zip(locals) {
        assert_eq!(place.as_ref(), Some(&new.place));
        assert_eq!(&local.unwrap().rows.to_vec(), &new.local);
    }
    for new in images.iter().step_by(17) {
        let hits = reader.search(&new.global, 3, &Filter::default()).unwrap();
        assert!(hits.iter().any(|hit| hit.place == new.place && (hit.similarity - 1.0).abs() < 1e-6));
    }
}

fn kill_one(first: usize, victim: usize, write_consistency: u32) {
    let Some(mut nodes) = Nodes::start(3) else { return };
    let address = nodes.address_from(first, "streets");
    let options = CollectionOptions {
        shards: Some(6),
        replicas: Some(2),
        write_consistency: Some(write_consistency),
        ..CollectionOptions::default()
    };
    let model = common::images::Random(3).bytes(3 << 20);
    create(&address, config(), &options, &mut [("model", &mut &model[..])]).unwrap();
    // Every node knows it at once.
    for i in 0..3 {
        ClusterReader::open(&nodes.address_from(i, "streets"), Some(MODEL)).unwrap();
    }
    let acknowledged = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let slowest = Mutex::new(Duration::ZERO);
    /// Ends the threads also where this one panics.
    struct Stop<'s>(&'s AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        let writing = scope.spawn(|| {
            let mut writer = ClusterWriter::open(&address, MODEL).unwrap();
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                let started = Instant::now();
                writer.add(&batch(number)).unwrap();
                acknowledged.fetch_add(1, Ordering::SeqCst);
                number += 1;
                let mut slowest = slowest.lock().unwrap();
                *slowest = started.elapsed().max(*slowest);
            }
            // Sources, too.
            let source = Source { label: "images".into(), root: "/data".into() };
            writer
                .write(&r2former_index::Batch {
                    sources: std::slice::from_ref(&source),
                    ..Default::default()
                })
                .unwrap();
        });
        let reading = scope.spawn(|| {
            let reader = ClusterReader::open(&address, None).unwrap();
            let mut asked = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                let known = acknowledged.load(Ordering::SeqCst);
                if known == 0 {
                    continue;
                }
                let i = (asked * 7919) % (known * BATCH);
                let new = image(i, 0);
                let hits = reader.search(&new.global, 2, &Filter::default()).unwrap();
                assert!(
                    hits.iter().any(|hit| hit.place == new.place),
                    "image {i} of {known} batches is not found"
                );
                assert!(reader.contains(&[place_id(&new.place.name)]).unwrap()[0], "image {i}");
                asked += 1;
            }
            assert!(asked > 20, "{asked}");
        });
        let until = |batches: u64| {
            let started = Instant::now();
            while acknowledged.load(Ordering::SeqCst) < batches {
                assert!(!writing.is_finished() && !reading.is_finished(), "a thread ended early");
                assert!(started.elapsed() < Duration::from_secs(180), "no progress");
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        until(10);
        nodes.kill(victim);
        if write_consistency == 1 {
            until(acknowledged.load(Ordering::SeqCst) + 10);
        } else {
            // Writing waits for the node, and queries do not.
            std::thread::sleep(Duration::from_secs(4));
        }
        nodes.restart(victim);
        until(acknowledged.load(Ordering::SeqCst) + 10);
    });
    let acknowledged = acknowledged.load(Ordering::SeqCst);
    eprintln!("{acknowledged} batches; the slowest took {:?}", slowest.lock().unwrap());
    // At once, and whoever is asked first: the node that came back, too.
    for i in 0..3 {
        all_there(&ClusterReader::open(&nodes.address_from(i, "streets"), None).unwrap(), acknowledged);
    }
    nodes.wait_for_replicas("streets");
    for i in 0..3 {
        let address = nodes.address_from(i, "streets");
        let reader = ClusterReader::open(&address, None).unwrap();
        all_there(&reader, acknowledged);
        assert_eq!(reader.count(&Filter::default()).unwrap() as u64, acknowledged * BATCH);
        assert_eq!(reader.sources().unwrap().len(), 1);
        assert!(r2former_cluster::attachment(&address, "model").unwrap() == model);
        assert_eq!(verify(&address).unwrap().problems, []);
    }
    // Without another of the nodes: what the first has, it has by copying.
    nodes.kill((victim + 1) % 3);
    all_there(&ClusterReader::open(&nodes.address_from(victim, "streets"), None).unwrap(), acknowledged);
}

#[test]
fn the_node_that_is_asked_is_killed() {
    kill_one(0, 0, 1);
}

#[test]
fn another_node_is_killed() {
    kill_one(0, 2, 1);
}

#[test]
fn a_node_is_killed_where_both_copies_have_to_acknowledge() {
    kill_one(1, 0, 2);
}
