//! Measures an index in a cluster of Qdrant on this machine, beside the same one in a folder:
//!
//! ```text
//! R2FORMER_QDRANT=PROGRAM cargo run --release -p r2former-cluster --example load -- --images 200000 --rows 50
//! ```
//!
//! Adds images while a node is killed and comes back, looks for every acknowledged one, compares the answers of 500
//! queries, kills a node while queries are answered, and prints rates, latencies, memory and disk per node.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program that measures")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::Nodes;
use common::images::{MODEL, Random, image};
use r2former_cluster::{ClusterReader, ClusterWriter, CollectionOptions, Quantization, create};
use r2former_index::{
    Filter, Hit, IndexConfig, NewPlace, Positions, ReadPlaces, WritePlaces, Writer, place_id,
};

/// Bytes in a row of local features.
const WIDTH: usize = 131;

/// Images that are added at a time.
const BATCH: u64 = 256;

/// Candidates of a query, whose local features are fetched.
const CANDIDATES: usize = 100;

struct Arguments {
    images: u64,
    rows: usize,
    dim: usize,
    nodes: usize,
    shards: u32,
    replicas: u32,
    write_consistency: u32,
    queries: usize,
    int8: bool,
    on_disk: bool,
    kill: bool,
}

impl Arguments {
    fn parse() -> Self {
        let mut all = Self {
            images: 5000,
            rows: 50,
            dim: 256,
            nodes: 3,
            shards: 6,
            replicas: 2,
            write_consistency: 1,
            queries: 500,
            int8: false,
            on_disk: false,
            kill: true,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut number = || words.next().and_then(|number| number.parse::<u64>().ok()).unwrap();
            match word.as_str() {
                "--images" => all.images = number(),
                "--rows" => all.rows = number() as usize,
                "--dim" => all.dim = number() as usize,
                "--nodes" => all.nodes = number() as usize,
                "--shards" => all.shards = number() as u32,
                "--replicas" => all.replicas = number() as u32,
                "--write-consistency" => all.write_consistency = number() as u32,
                "--queries" => all.queries = number() as usize,
                "--int8" => all.int8 = true,
                "--on-disk" => all.on_disk = true,
                "--no-kill" => all.kill = false,
                other => panic!("{other}: see the first lines of this file"),
            }
        }
        all
    }
}

/// Image number `i`, with the same bytes each time.
fn new_place(arguments: &Arguments, i: u64) -> NewPlace {
    let mut random = Random(0x2545_f491_4f6c_dd1d ^ (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    for _ in 0..4 {
        random.next();
    }
    NewPlace {
        place: image(i, 0).place,
        global: random.unit(arguments.dim),
        local: random.bytes(WIDTH * arguments.rows),
    }
}

fn median_and_p95(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    format!("{:.2} ms, p95 {:.2} ms", at(0.5), at(0.95))
}

/// Whether two answers are one, but for ties.
fn same(expected: &[Hit], found: &[Hit]) -> bool {
    expected.len() == found.len()
        && expected.iter().zip(found).all(|(a, b)| {
            (a.similarity - b.similarity).abs() < 1e-6
                && (a.id == b.id
                    || expected.iter().filter(|hit| (hit.similarity - a.similarity).abs() < 2e-6).count() > 1)
        })
}

fn main() {
    let arguments = Arguments::parse();
    let Some(mut nodes) = Nodes::start(arguments.nodes) else { return };
    let Arguments { images, rows, dim, .. } = arguments;
    let config = IndexConfig {
        model: "random".into(),
        fingerprint: MODEL.into(),
        global_dim: dim,
        row_width: if rows == 0 { 0 } else { WIDTH },
        max_rows: rows,
        positions: Positions::Wgs84,
    };
    let options = CollectionOptions {
        shards: Some(arguments.shards),
        replicas: Some(arguments.replicas),
        write_consistency: Some(arguments.write_consistency),
        quantization: if arguments.int8 { Quantization::Int8 } else { Quantization::None },
        on_disk: arguments.on_disk,
    };
    let address = nodes.address("load");
    create(&address, config.clone(), &options, &mut []).unwrap();
    println!(
        "{images} images, {dim} dimensions, {rows} rows of {WIDTH} bytes; {} nodes, {options:?}",
        arguments.nodes
    );

    let victim = arguments.nodes - 1;
    load(&arguments, &mut nodes, victim);
    let reader = ClusterReader::open(&address, None).unwrap();
    acknowledged(&arguments, &reader, "at once");
    if arguments.nodes > 1 {
        let started = Instant::now();
        nodes.wait_for_replicas("load");
        println!("all copies in use again after {:.1} s", started.elapsed().as_secs_f64());
        acknowledged(&arguments, &reader, "then");
    }
    let started = Instant::now();
    while !nodes.http(0, "GET", "/collections/load", "").contains("\"status\":\"green\"") {
        std::thread::sleep(Duration::from_millis(500));
    }
    println!("segments optimised after another {:.1} s", started.elapsed().as_secs_f64());

    let dir = tempfile::tempdir().unwrap();
    let folder = fill_folder(&arguments, config, dir.path());
    compare(&arguments, &reader, &folder);
    if arguments.kill && arguments.nodes > 1 {
        // The node that is asked.
        kill_while_querying(&arguments, &mut nodes, &reader, &folder, 0);
    }
    for i in 0..arguments.nodes {
        let status =
            nodes.process(i).map(|id| std::fs::read_to_string(format!("/proc/{id}/status")).unwrap());
        let line = |key: &str| {
            let status = status.as_deref().unwrap_or_default();
            status
                .lines()
                .find(|line| line.starts_with(key))
                .map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" "))
        };
        println!(
            "node {i}: resident {} (of it not of files {}), on disk {:.1} MB",
            line("VmRSS:").unwrap_or_default(),
            line("RssAnon:").unwrap_or_default(),
            disk(&nodes.folder(i)) as f64 / 1e6
        );
    }
    println!(
        "folder: on disk {:.1} MB; the cluster's estimate {:.1} MB",
        folder.bytes().unwrap() as f64 / 1e6,
        reader.bytes().unwrap() as f64 / 1e6
    );
}

/// Adds everything; a node is away from 40 to 60 per cent.
fn load(arguments: &Arguments, nodes: &mut Nodes, victim: usize) {
    let kill = arguments.kill && arguments.nodes > 1;
    let mut writer = ClusterWriter::open(&nodes.address("load"), MODEL).unwrap();
    let (mut adding, mut making) = (Duration::ZERO, Duration::ZERO);
    let mut slowest = Duration::ZERO;
    for first in (0..arguments.images).step_by(BATCH as usize) {
        let last = (first + BATCH).min(arguments.images);
        let crossed = |percent: u64| (first..last).contains(&(arguments.images * percent / 100));
        if kill && crossed(40) {
            nodes.kill(victim);
        }
        if kill && crossed(60) {
            nodes.restart(victim);
        }
        let started = Instant::now();
        let batch: Vec<_> = (first..last).map(|i| new_place(arguments, i)).collect();
        making += started.elapsed();
        let started = Instant::now();
        writer.add(&batch).unwrap();
        adding += started.elapsed();
        slowest = slowest.max(started.elapsed());
    }
    println!(
        "added: {:.0} images per second{}; the slowest batch of {BATCH} took {:.2} s (random images took {:.1} s to make)",
        arguments.images as f64 / adding.as_secs_f64(),
        if kill { ", a node away from 40 to 60 per cent" } else { "" },
        slowest.as_secs_f64(),
        making.as_secs_f64()
    );
}

/// Every acknowledged image is there.
fn acknowledged(arguments: &Arguments, reader: &ClusterReader, when: &str) {
    let mut found = 0;
    let ids: Vec<_> = (0..arguments.images).map(|i| place_id(&image(i, 0).place.name)).collect();
    for some in ids.chunks(4096) {
        found += reader.contains(some).unwrap().into_iter().filter(|&there| there).count();
    }
    let mut whole = 0;
    let sample: Vec<u64> = (0..arguments.images).step_by((arguments.images / 1000).max(1) as usize).collect();
    for some in sample.chunks(50) {
        let ids: Vec<_> = some.iter().map(|&i| ids[i as usize]).collect();
        for ((&i, local), global) in
            some.iter().zip(reader.locals(&ids).unwrap()).zip(reader.globals(&ids).unwrap())
        {
            let new = new_place(arguments, i);
            whole +=
                usize::from(local.is_some_and(|local| local.rows == new.local) && global == Some(new.global));
        }
    }
    println!(
        "{when}: {found} of {} acknowledged images found, {} counted; vectors of {whole} of {} looked at are the ones that were added",
        arguments.images,
        reader.count(&Filter::default()).unwrap(),
        sample.len()
    );
    assert!(found as u64 == arguments.images && whole == sample.len());
}

fn fill_folder(arguments: &Arguments, config: IndexConfig, dir: &Path) -> Writer {
    let mut folder = Writer::create(dir.join("index"), config).unwrap();
    let mut adding = Duration::ZERO;
    for first in (0..arguments.images).step_by(BATCH as usize) {
        let batch: Vec<_> =
            (first..(first + BATCH).min(arguments.images)).map(|i| new_place(arguments, i)).collect();
        let started = Instant::now();
        folder.add(&batch).unwrap();
        adding += started.elapsed();
    }
    println!("folder: {:.0} images per second", arguments.images as f64 / adding.as_secs_f64());
    folder
}

fn queries(arguments: &Arguments) -> Vec<Vec<f32>> {
    let mut random = Random(4711);
    // Half of them are near an image.
    let near = |i: usize, unit: Vec<f32>| {
        let image = new_place(arguments, (i as u64 * 7919) % arguments.images);
        let part = if i.is_multiple_of(2) { 0.0 } else { 1.0 };
        unit.iter().zip(image.global).map(|(x, y)| 0.3 * x + part * y).collect()
    };
    (0..arguments.queries).map(|i| near(i, random.unit(arguments.dim))).collect()
}

fn compare(arguments: &Arguments, reader: &ClusterReader, folder: &Writer) {
    let all = Filter::default();
    let mut times: [Vec<Duration>; 5] = Default::default();
    let (mut equal, mut recalled, mut most) = (0, 0, 0.0_f32);
    for query in queries(arguments) {
        let mut timed = |slot: usize, ask: &dyn Fn() -> Vec<Hit>| {
            let started = Instant::now();
            let hits = ask();
            times[slot].push(started.elapsed());
            hits
        };
        let expected = timed(0, &|| folder.search(&query, CANDIDATES, &all).unwrap());
        let found = timed(1, &|| reader.search(&query, CANDIDATES, &all).unwrap());
        equal += usize::from(same(&expected, &found));
        let differences = expected.iter().zip(&found).map(|(a, b)| (a.similarity - b.similarity).abs());
        most = differences.fold(most, f32::max);
        let found = timed(2, &|| reader.search_approximate(&query, CANDIDATES, &all).unwrap());
        recalled += expected[..10].iter().filter(|hit| found.iter().any(|other| other.id == hit.id)).count();
        let ids: Vec<_> = expected.iter().map(|hit| hit.id).collect();
        let started = Instant::now();
        let ours = folder.locals(&ids).unwrap();
        times[3].push(started.elapsed());
        let started = Instant::now();
        let theirs = reader.locals(&ids).unwrap();
        times[4].push(started.elapsed());
        assert!(ours == theirs);
    }
    println!(
        "{equal} of {} answers are the folder's; similarities differ by up to {most:e}",
        arguments.queries
    );
    let [folder, exact, graph, folder_locals, locals] = times.map(median_and_p95);
    println!(
        "search of {CANDIDATES}: folder {folder}; cluster, exact {exact}; cluster, graph {graph} (finds {:.1} % of the first 10)",
        10.0 * recalled as f64 / arguments.queries as f64
    );
    println!("local features of {CANDIDATES}: folder {folder_locals}; cluster {locals}");
    assert_eq!(equal, arguments.queries);
}

fn kill_while_querying(
    arguments: &Arguments,
    nodes: &mut Nodes,
    reader: &ClusterReader,
    folder: &Writer,
    victim: usize,
) {
    let queries = queries(arguments);
    let (mut times, mut equal) = (Vec::new(), 0);
    for (i, query) in queries.iter().enumerate() {
        if i == queries.len() / 4 {
            nodes.kill(victim);
        }
        let started = Instant::now();
        let found = reader.search(query, CANDIDATES, &Filter::default()).unwrap();
        times.push(started.elapsed());
        equal += usize::from(same(&folder.search(query, CANDIDATES, &Filter::default()).unwrap(), &found));
    }
    let slowest = times.iter().max().copied().unwrap_or_default();
    println!(
        "a node killed while it was asked: {equal} of {} answers are the folder's; {}, the slowest {:.2} s",
        queries.len(),
        median_and_p95(times),
        slowest.as_secs_f64()
    );
    assert_eq!(equal, queries.len());
    nodes.restart(victim);
    nodes.wait_for_replicas("load");
}

/// Bytes that a folder takes on the disk.
fn disk(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(data) if data.is_dir() => disk(&entry.path()),
        Ok(data) => data.blocks() * 512,
        Err(_) => 0,
    });
    bytes.sum()
}
