//! What the store costs: bytes per image, images added per second, milliseconds to search and to fetch.
//!
//!     cargo bench -p r2former-index --bench store -- [IMAGES]
//!
//! Images are added 64 at a time, each time one synced commit. Descriptors of 256 dimensions; 500 local features of 131 bytes for the first 8000 images' index, none for
//! the index that is searched (IMAGES of them, 20000 by default).

#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::time::Instant;

use r2former_index::{
    Filter, IndexConfig, LatLon, Near, NewPlace, Place, Positions, ReadPlaces, Reader, WritePlaces, Writer,
    place_id, verify,
};

const DIM: usize = 256;
const ROW: usize = 131;
const ROWS: usize = 500;
const WITH_LOCAL: u64 = 8000;

/// A sequence of pseudo-random numbers (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn descriptor(&mut self) -> Vec<f32> {
        (0..DIM).map(|_| (self.next() % 2001) as f32 / 1000.0 - 1.0).collect()
    }
}

fn image(i: u64, random: &mut Random, local: bool) -> NewPlace {
    NewPlace {
        place: Place {
            name: format!("images/{i:08}.jpg"),
            position: Some(
                LatLon { lat: 48.0 + (i % 1000) as f64 * 1e-4, lon: 11.0 + (i / 1000) as f64 * 1e-4 }.into(),
            ),
            heading: Some((i % 360) as f64),
            ..Place::default()
        },
        global: random.descriptor(),
        local: if local {
            (0..ROW * ROWS).map(|_| (random.next() >> 32) as u8).collect()
        } else {
            Vec::new()
        },
    }
}

/// Median of the milliseconds of `count` calls, and the least.
fn median_ms(count: u64, mut call: impl FnMut(u64)) -> String {
    let mut times: Vec<f64> = (0..count)
        .map(|i| {
            let start = Instant::now();
            call(i);
            1000.0 * start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    format!("{:.2} ms (at least {:.2})", times[times.len() / 2], times[0])
}

fn fill(dir: &std::path::Path, count: u64, local: bool) -> f64 {
    let (row_width, max_rows) = if local { (ROW, ROWS) } else { (0, 0) };
    let config = IndexConfig {
        model: "bench".into(),
        fingerprint: "bench".into(),
        global_dim: DIM,
        row_width,
        max_rows,
        positions: Positions::Wgs84,
    };
    let mut random = Random(42);
    let mut writer = Writer::create(dir, config).expect("creates");
    let mut spent = 0.0;
    for first in (0..count).step_by(64) {
        let batch: Vec<_> = (first..count.min(first + 64)).map(|i| image(i, &mut random, local)).collect();
        let start = Instant::now();
        writer.add(&batch).expect("adds");
        spent += start.elapsed().as_secs_f64();
    }
    let start = Instant::now();
    writer.close().expect("closes");
    count as f64 / (spent + start.elapsed().as_secs_f64())
}

fn main() {
    let count = std::env::args().filter_map(|text| text.parse().ok()).next().unwrap_or(20_000);
    let home = tempfile::tempdir().expect("temporary folder");

    let dir = home.path().join("local");
    let rate = fill(&dir, WITH_LOCAL, true);
    let reader = Reader::open(&dir, None).expect("opens");
    let info = reader.info().expect("counts");
    let mut random = Random(7);
    let fetch = median_ms(50, |_| {
        let ids: Vec<_> =
            (0..100).map(|_| place_id(&format!("images/{:08}.jpg", random.next() % WITH_LOCAL))).collect();
        assert!(reader.locals(&ids).expect("fetches").iter().all(Option::is_some));
    });
    println!("{WITH_LOCAL} images, 500 local features each:");
    println!(
        "  {:.0} bytes per image on disk ({} of vectors)",
        info.bytes_per_image(),
        info.config.vector_bytes()
    );
    println!("  {rate:.0} images added and synced a second, 64 at a time");
    println!("  {fetch} to fetch the local features of 100 images");

    let dir = home.path().join("global");
    let rate = fill(&dir, count, false);
    let mut queries = Random(99);
    println!("{count} images without local features:");
    println!("  {rate:.0} images added and synced a second, 64 at a time");
    let start = Instant::now();
    let reader = Reader::open(&dir, None).expect("opens");
    let all = Filter::default();
    let mut search = |filter: &Filter| {
        let query = queries.descriptor();
        reader.search(&query, 100, filter).expect("searches").len()
    };
    assert_eq!(search(&all), 100);
    println!("  {:.1} ms to open, check all codes and answer", 1000.0 * start.elapsed().as_secs_f64());
    println!("  {} to find the best 100", median_ms(50, |_| assert_eq!(search(&all), 100)));
    let near = Near { center: LatLon { lat: 48.05, lon: 11.0 }.into(), radius_m: 100.0 };
    let near = Filter { near: Some(near), ..Filter::default() };
    println!(
        "  {} within 100 m ({} images)",
        median_ms(20, |_| assert!(search(&near) <= 100)),
        search(&near)
    );
    let batch: Vec<_> = (0..64).map(|_| queries.descriptor()).collect();
    let batch: Vec<&[f32]> = batch.iter().map(Vec::as_slice).collect();
    let ms = median_ms(5, |_| drop(reader.search_many(&batch, 100, &all).expect("searches")));
    println!("  {ms} for 64 queries in one pass");
    let start = Instant::now();
    drop(Writer::open(&dir, "bench").expect("opens"));
    println!("  {:.0} ms to open for writing", 1000.0 * start.elapsed().as_secs_f64());
    let start = Instant::now();
    assert!(verify(&dir).expect("verifies").problems.is_empty());
    println!("  {:.1} s to verify", start.elapsed().as_secs_f64());
}
