//! Searching: the true nearest, the graph, and filters.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

mod common;

use common::{DIM, Random, config, image};
use r2former_index::{
    Filter, LatLon, Near, NewPlace, Position, ReadPlaces, Reader, WritePlaces, Writer, place_id,
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
        let hits = writer.search(&query, 10, &Filter::default()).unwrap();
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
    let hit = &writer.search(&long, 1, &Filter::default()).unwrap()[0];
    assert_eq!(hit.place, images[3].place);
    assert!((hit.similarity - 1.0).abs() < 1e-5);
}

#[test]
fn filters_leave_only_what_passes() {
    let (dir, writer, images) = filled(100);
    writer.close().unwrap();
    let reader = Reader::open(dir.path(), None).unwrap();
    let names = |filter: &Filter| {
        let hits = reader.search(&images[0].global, 100, filter).unwrap();
        assert_eq!(reader.count(filter).unwrap(), hits.len());
        assert_eq!(reader.list(None, 100, filter).unwrap().places.len(), hits.len());
        let mut names: Vec<_> = hits.into_iter().map(|hit| hit.place.name).collect();
        names.sort();
        names
    };
    // A step of 0.001 degrees of latitude is 111.2 m: 250 m reach two steps either way.
    let near = Near { center: LatLon { lat: 48.010, lon: 11.0 }.into(), radius_m: 250.0 };
    let found = names(&Filter { near: Some(near), ..Filter::default() });
    assert_eq!(found, [8, 9, 10, 11, 12].map(|i| format!("images/{i:06}.jpg")));
    let ulm = Filter { near: Some(near), tags: [("city".into(), "ulm".into())].into(), ..Filter::default() };
    assert_eq!(names(&ulm), [8, 10, 12].map(|i| format!("images/{i:06}.jpg")));
    let without = Filter { exclude: vec![place_id("images/000010.jpg")], ..ulm };
    assert_eq!(names(&without), [8, 12].map(|i| format!("images/{i:06}.jpg")));
}

#[test]
fn a_time_range_includes_its_ends() {
    let (_dir, writer, images) = filled(100);
    let time = |i: i64| 1_700_000_000 + i;
    // Every third image has a time.
    let count = |since: Option<i64>, until: Option<i64>| {
        let filter = Filter { since, until, ..Filter::default() };
        let hits = writer.search(&images[0].global, 100, &filter).unwrap();
        assert_eq!(writer.count(&filter).unwrap(), hits.len());
        hits.len()
    };
    assert_eq!(count(Some(time(9)), Some(time(15))), 3);
    assert_eq!(count(Some(time(10)), Some(time(14))), 1);
    assert_eq!(count(Some(time(97)), None), 1);
    assert_eq!(count(None, Some(time(0))), 1);
    assert_eq!(count(Some(0), None), 34);
    assert_eq!(count(Some(i64::MIN), Some(i64::MAX)), 34);
    assert!(writer.count(&Filter { since: Some(2), until: Some(1), ..Filter::default() }).is_err());
}

/// Positions at the poles and across the antimeridian; a radius includes its end, by the distance that is printed.
#[test]
fn a_radius_is_exact_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), config()).unwrap();
    let mut random = Random(5);
    let mut part = || random.next() as f64 / u64::MAX as f64;
    let images: Vec<_> = (0..2000)
        .map(|i| {
            let (lat, lon) = match i % 4 {
                0 => (90.0 - 0.01 * part(), 360.0 * part() - 180.0),
                1 => (-90.0 + 0.01 * part(), 360.0 * part() - 180.0),
                2 => (0.02 * part() - 0.01, 180.0 - 0.01 * part()),
                _ => (0.02 * part() - 0.01, -180.0 + 0.01 * part()),
            };
            let mut new = image(i, 0);
            new.place.position = Some(LatLon { lat, lon }.into());
            new
        })
        .collect();
    writer.add(&images).unwrap();
    let centers = [(90.0, 0.0), (-90.0, 77.0), (0.0, 180.0), (0.0, -180.0), (89.999, 12.0), (0.003, 179.999)];
    for (lat, lon) in centers {
        let center = Position::from(LatLon { lat, lon });
        let distance = |new: &NewPlace| center.distance_m(new.place.position.unwrap()).unwrap();
        for i in [0, 1, 2, 3, 500, 1001, 1502] {
            let radius_m = distance(&images[i]);
            let near = Some(Near { center, radius_m });
            let expected = images.iter().filter(|new| distance(new) <= radius_m).count();
            assert!(expected > 0);
            assert_eq!(
                writer.count(&Filter { near, ..Filter::default() }).unwrap(),
                expected,
                "{center} {radius_m}"
            );
        }
    }
}

/// What other stores ask of a filter is what this one answers.
#[test]
fn a_filter_holds_what_is_counted() {
    let (_dir, writer, images) = filled(200);
    let near = |radius_m| Near { center: LatLon { lat: 48.05, lon: 11.0 }.into(), radius_m };
    let bonn = || [("city".to_owned(), "bonn".to_owned())].into();
    for filter in [
        Filter::default(),
        Filter { tags: bonn(), ..Filter::default() },
        Filter { near: Some(near(3_000.0)), ..Filter::default() },
        Filter { since: Some(1_700_000_050), until: Some(1_700_000_090), ..Filter::default() },
        Filter { since: Some(i64::MIN), ..Filter::default() },
        Filter {
            near: Some(near(5_000.0)),
            tags: bonn(),
            until: Some(1_700_000_100),
            exclude: (0..70).map(|i| place_id(&images[i].place.name)).collect(),
            ..Filter::default()
        },
    ] {
        assert_eq!(filter.check(config().positions), Ok(()));
        let held = images.iter().filter(|new| filter.holds(place_id(&new.place.name), &new.place));
        assert_eq!(held.count(), writer.count(&filter).unwrap(), "{filter:?}");
    }
}

/// Several blocks of codes and of facts, removed and replaced images, many queries in one pass, and filters.
#[test]
fn answers_are_those_of_a_comparison_with_all() {
    let dir = tempfile::tempdir().unwrap();
    let shape = r2former_index::IndexConfig { global_dim: 65, row_width: 0, max_rows: 0, ..config() };
    let mut writer = Writer::create(dir.path(), shape).unwrap();
    let mut random = Random(99);
    let mut images: Vec<_> =
        (0..10_000).map(|i| NewPlace { global: random.unit(65), local: Vec::new(), ..image(i, 0) }).collect();
    // Many near ties.
    for i in 0..500 {
        images[i].global = images[i / 100].global.clone();
        images[i].global[i % 65] += 1e-6 * (i % 7) as f32;
    }
    for batch in images.chunks(1000) {
        writer.add(batch).unwrap();
    }
    let gone: Vec<_> = (0..10_000).step_by(7).map(|i| place_id(&images[i].place.name)).collect();
    assert_eq!(writer.remove(&gone).unwrap(), gone.len());
    let mut kept: Vec<_> =
        images.iter().enumerate().filter(|(i, _)| i % 7 != 0).map(|(_, new)| new.clone()).collect();
    let more: Vec<_> = (0..700)
        .map(|i| NewPlace { global: random.unit(65), local: Vec::new(), ..image(20_000 + i, 0) })
        .collect();
    writer.add(&more).unwrap();
    kept.extend(more);
    assert_eq!(writer.count(&Filter::default()).unwrap(), kept.len());
    let reader = Reader::open(dir.path(), None).unwrap();
    let queries: Vec<_> =
        (0..9).map(|i| if i < 5 { images[i].global.clone() } else { random.unit(65) }).collect();
    let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
    let bonn = Filter { tags: [("city".into(), "bonn".into())].into(), ..Filter::default() };
    let late = Filter { since: Some(1_700_009_000), ..Filter::default() };
    for filter in [Filter::default(), bonn, late] {
        let together = reader.search_many(&queries, 120, &filter).unwrap();
        for (query, hits) in queries.iter().zip(together) {
            assert_eq!(reader.search(query, 120, &filter).unwrap(), hits);
            let length = query.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            let passes = |new: &&NewPlace| {
                filter.tags.iter().all(|(key, value)| new.place.tags.get(key) == Some(value))
                    && filter.since.is_none_or(|since| new.place.time.is_some_and(|time| time >= since))
            };
            let score = |new: &NewPlace| {
                let norm = new.global.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
                new.global.iter().zip(*query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
                    / length
                    / norm
            };
            let mut expected: Vec<_> =
                kept.iter().filter(passes).map(|new| (score(new), &new.place.name)).collect();
            expected.sort_by(|a, b| b.0.total_cmp(&a.0));
            assert_eq!(hits.len(), 120);
            for (hit, (score, _)) in hits.iter().zip(&expected) {
                assert!((f64::from(hit.similarity) - score).abs() < 5e-7, "{} {score}", hit.similarity);
            }
        }
    }
}
