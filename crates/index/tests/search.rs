//! Searching: the true nearest, the graph, and filters.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

mod common;

use common::{DIM, Random, config, image};
use r2former_index::{
    Filter, LatLon, Near, NewPlace, ReadPlaces, Reader, SearchMode, WritePlaces, Writer, place_id,
};

fn similarity(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn filled(count: u64) -> (tempfile::TempDir, Writer, Vec<NewPlace>) {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), config()).unwrap();
    let images: Vec<_> = (0..count).map(|i| image(i, 0)).collect();
    writer.add(&images).unwrap();
    (dir, writer, images)
}

#[test]
fn exact_search_finds_what_comparing_with_all_finds() {
    let (_dir, writer, images) = filled(500);
    let mut random = Random(7);
    for _ in 0..20 {
        let query = random.unit(DIM);
        let mut expected: Vec<_> =
            images.iter().map(|new| (similarity(&query, &new.global), &new.place)).collect();
        expected.sort_by(|a, b| b.0.total_cmp(&a.0));
        let hits = writer.search(&query, 10, &Filter::default(), SearchMode::Exact).unwrap();
        assert_eq!(hits.len(), 10);
        for (hit, (similarity, place)) in hits.iter().zip(expected) {
            assert!((hit.similarity - similarity).abs() < 1e-5);
            assert_eq!(&hit.place, place);
            assert_eq!(hit.id, place_id(&place.name));
        }
    }
}

#[test]
fn a_query_of_any_length_gives_the_same_similarities() {
    let (_dir, writer, images) = filled(50);
    let long: Vec<f32> = images[3].global.iter().map(|x| x * 40.0).collect();
    let hit = &writer.search(&long, 1, &Filter::default(), SearchMode::Exact).unwrap()[0];
    assert_eq!(hit.place, images[3].place);
    assert!((hit.similarity - 1.0).abs() < 1e-5);
}

#[test]
fn filters_leave_only_what_passes() {
    let (dir, writer, images) = filled(100);
    writer.close().unwrap();
    let reader = Reader::open(dir.path(), None).unwrap();
    let names = |filter: &Filter| {
        let hits = reader.search(&images[0].global, 100, filter, SearchMode::Exact).unwrap();
        assert_eq!(reader.count(filter).unwrap(), hits.len());
        assert_eq!(reader.list(None, 100, filter).unwrap().places.len(), hits.len());
        let mut names: Vec<_> = hits.into_iter().map(|hit| hit.place.name).collect();
        names.sort();
        names
    };
    // A step of 0.001 degrees of latitude is 111.2 m: 250 m reach two steps either way.
    let near = Near { center: LatLon { lat: 48.010, lon: 11.0 }, radius_m: 250.0 };
    let found = names(&Filter { near: Some(near), ..Filter::default() });
    assert_eq!(found, [8, 9, 10, 11, 12].map(|i| format!("images/{i:06}.jpg")));
    let ulm = Filter { near: Some(near), tags: [("city".into(), "ulm".into())].into(), ..Filter::default() };
    assert_eq!(names(&ulm), [8, 10, 12].map(|i| format!("images/{i:06}.jpg")));
    let without = Filter { exclude: vec![place_id("images/000010.jpg")], ..ulm };
    assert_eq!(names(&without), [8, 12].map(|i| format!("images/{i:06}.jpg")));
}

#[test]
fn the_graph_finds_nearly_all_of_the_true_nearest() {
    // 64 numbers make 6000 images enough for the store to build a graph at all.
    let dir = tempfile::tempdir().unwrap();
    let shape = r2former_index::IndexConfig { global_dim: 64, row_width: 400, max_rows: 5, ..config() };
    let mut writer = Writer::create(dir.path(), shape).unwrap();
    let mut random = Random(99);
    let images: Vec<_> = (0..20_000)
        .map(|i| NewPlace { global: random.unit(64), local: random.bytes(2000), ..image(i, 0) })
        .collect();
    for batch in images.chunks(1000) {
        writer.add(batch).unwrap();
    }
    assert_eq!(writer.info().unwrap().in_graph, 0);
    assert!(writer.optimize().unwrap());
    let info = writer.info().unwrap();
    assert!(info.in_graph >= 19_000, "{info:?}");
    assert!(!writer.optimize().unwrap());
    let mut found = 0;
    for _ in 0..50 {
        let query = random.unit(64);
        let exact = writer.search(&query, 10, &Filter::default(), SearchMode::Exact).unwrap();
        let fast = writer.search(&query, 10, &Filter::default(), SearchMode::Approximate).unwrap();
        found += exact.iter().filter(|hit| fast.iter().any(|other| other.id == hit.id)).count();
    }
    assert!(found >= 450, "{found} of 500");
    let ids: Vec<_> = images[..50].iter().map(|new| place_id(&new.place.name)).collect();
    for (new, local) in images.iter().zip(writer.locals(&ids).unwrap()) {
        assert_eq!(local.unwrap().rows, new.local);
    }
}
