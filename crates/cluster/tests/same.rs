//! The cluster's index beside the folder's: every answer is the same.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

mod common;

use std::collections::BTreeSet;

use common::Nodes;
use common::images::{DIM, MODEL, Random, config, image};
use r2former_cluster::{Address, ClusterReader, ClusterWriter, CollectionOptions, create, verify};
use r2former_index::{
    Batch, Extent, FileFingerprint, Filter, Hit, IndexConfig, LatLon, LocalPoint, Near, NewPlace, Place,
    Position, Positions, ReadPlaces, Reader, Source, WritePlaces, Writer, place_id,
};
use uuid::Uuid;

/// Both kinds of index, with the same in them.
struct Both {
    folder: Writer,
    cluster: ClusterWriter,
    reader: ClusterReader,
    _dir: tempfile::TempDir,
}

impl Both {
    fn new(address: &Address, config: IndexConfig, options: &CollectionOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        create(address, config.clone(), options, &mut []).unwrap();
        Self {
            folder: Writer::create(dir.path(), config).unwrap(),
            cluster: ClusterWriter::open(address, MODEL).unwrap(),
            reader: ClusterReader::open(address, Some(MODEL)).unwrap(),
            _dir: dir,
        }
    }

    fn write(&mut self, batch: &Batch<'_>) {
        self.folder.write(batch).unwrap();
        self.cluster.write(batch).unwrap();
    }

    fn add(&mut self, images: &[NewPlace]) {
        self.write(&Batch { add: images, ..Batch::default() });
    }

    fn remove(&mut self, ids: &[Uuid]) {
        assert_eq!(self.folder.remove(ids).unwrap(), self.cluster.remove(ids).unwrap());
    }

    /// Every kind of answer, for these filters.
    fn compare(&self, filters: &[Filter]) {
        let folder = &self.folder;
        let mut all: Vec<Uuid> = ids(&folder.list(None, usize::MAX, &Filter::default()).unwrap().places);
        all.push(place_id("unknown"));
        all.push(all[0]);
        for cluster in [&self.reader as &dyn ReadPlaces, &self.cluster] {
            assert_eq!(folder.config(), cluster.config());
            assert_eq!(folder.get(&all).unwrap(), cluster.get(&all).unwrap());
            assert_eq!(folder.contains(&all).unwrap(), cluster.contains(&all).unwrap());
            assert_eq!(folder.globals(&all).unwrap(), cluster.globals(&all).unwrap());
            assert_eq!(folder.locals(&all).unwrap(), cluster.locals(&all).unwrap());
            assert_eq!(folder.sources().unwrap(), cluster.sources().unwrap());
            assert_eq!(folder.extent().unwrap(), cluster.extent().unwrap());
            self.compare_files(cluster, &all);
            for filter in filters {
                self.compare_filter(cluster, filter);
            }
        }
        let info = self.reader.info().unwrap();
        assert_eq!((info.images, info.extent), (all.len() - 2, folder.extent().unwrap()));
        assert_eq!(&info.config, folder.config());
        assert!(info.bytes > 0);
    }

    fn compare_files(&self, cluster: &dyn ReadPlaces, all: &[Uuid]) {
        let places = self.folder.get(all).unwrap().into_iter().flatten();
        let files: BTreeSet<FileFingerprint> = places.filter_map(|place| place.file).collect();
        let mut files: Vec<_> = files.into_iter().collect();
        files.push(FileFingerprint { bytes: 1, xxh3: 2 });
        files.extend(files.first().copied());
        let sorted = |places: Vec<Vec<Place>>| -> Vec<Vec<Place>> {
            let sort = |mut places: Vec<Place>| {
                places.sort_by(|a, b| a.name.cmp(&b.name));
                places
            };
            places.into_iter().map(sort).collect()
        };
        assert_eq!(
            sorted(self.folder.with_file(&files).unwrap()),
            sorted(cluster.with_file(&files).unwrap())
        );
    }

    fn compare_filter(&self, cluster: &dyn ReadPlaces, filter: &Filter) {
        let folder = &self.folder;
        assert_eq!(folder.count(filter).unwrap(), cluster.count(filter).unwrap(), "{filter:?}");
        let mut from = None;
        let mut pages = 0;
        loop {
            let (expected, found) =
                (folder.list(from, 7, filter).unwrap(), cluster.list(from, 7, filter).unwrap());
            assert_eq!(expected, found, "{filter:?}");
            from = expected.next;
            pages += 1;
            if from.is_none() || pages == 5 {
                break;
            }
        }
        assert_eq!(folder.list(None, 100_000, filter).unwrap(), cluster.list(None, 100_000, filter).unwrap());
        let dim = folder.config().global_dim;
        let mut random = Random(77);
        let queries: Vec<Vec<f32>> = (0..6).map(|_| random.unit(dim)).collect();
        let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
        for top in [0, 1, 10, 10_000] {
            let expected = folder.search_many(&queries, top, filter).unwrap();
            let found = cluster.search_many(&queries, top, filter).unwrap();
            for (expected, found) in expected.iter().zip(&found) {
                same_hits(expected, found);
            }
        }
    }
}

fn ids(places: &[(Uuid, Place)]) -> Vec<Uuid> {
    places.iter().map(|(id, _)| *id).collect()
}

/// The same similarities to 1e-6, and the same images but for ties.
fn same_hits(expected: &[Hit], found: &[Hit]) {
    assert_eq!(expected.len(), found.len());
    for (a, b) in expected.iter().zip(found) {
        assert!((a.similarity - b.similarity).abs() < 1e-6, "{} {}", a.similarity, b.similarity);
        if a.id != b.id {
            let tied =
                expected.iter().chain(found).filter(|hit| (hit.similarity - a.similarity).abs() < 2e-6);
            assert!(tied.count() > 2, "{a:?} {b:?}");
        } else {
            assert_eq!(a.place, b.place);
        }
    }
}

/// Positions everywhere: around two towns, at the poles and on both sides of 180 degrees.
fn scattered(count: u64) -> Vec<NewPlace> {
    let mut random = Random(5);
    let mut part = move || random.next() as f64 / u64::MAX as f64;
    (0..count)
        .map(|i| {
            let mut new = image(i, 0);
            let at = match i % 8 {
                0 => Some((90.0 - 0.01 * part(), 360.0 * part() - 180.0)),
                1 => Some((-90.0 + 0.01 * part(), 360.0 * part() - 180.0)),
                2 => Some((0.02 * part() - 0.01, 180.0 - 0.01 * part())),
                3 => Some((0.02 * part() - 0.01, -180.0 + 0.01 * part())),
                4 => Some((180.0 * part() - 90.0, 360.0 * part() - 180.0)),
                7 => None,
                _ => Some((48.0 + 0.02 * part(), 11.0 + 0.02 * part())),
            };
            new.place.position = at.map(|(lat, lon)| LatLon { lat, lon }.into());
            new
        })
        .collect()
}

fn filters(images: &[NewPlace]) -> Vec<Filter> {
    let of = |near| Filter { near: Some(near), ..Filter::default() };
    let near = |lat, lon, radius_m| of(Near::new(LatLon { lat, lon }, radius_m));
    let ulm = || [("city".to_owned(), "ulm".to_owned())].into();
    let mut filters = vec![
        Filter::default(),
        Filter { tags: ulm(), ..Filter::default() },
        Filter { tags: [("city".into(), "paris".into())].into(), ..Filter::default() },
        Filter {
            tags: [("city".into(), "ulm".into()), ("x".into(), "y".into())].into(),
            ..Filter::default()
        },
        Filter { since: Some(1_700_000_100), ..Filter::default() },
        Filter { until: Some(1_700_000_100), ..Filter::default() },
        Filter { since: Some(1_700_000_030), until: Some(1_700_000_033), tags: ulm(), ..Filter::default() },
        Filter { since: Some(i64::MIN), until: Some(i64::MAX), ..Filter::default() },
        Filter { since: Some(i64::MAX), ..Filter::default() },
        Filter {
            exclude: images.iter().step_by(3).map(|new| place_id(&new.place.name)).collect(),
            ..Filter::default()
        },
        Filter { exclude: vec![place_id("unknown")], tags: ulm(), ..near(48.01, 11.01, 900.0) },
        near(48.01, 11.01, 0.001),
        near(48.01, 11.01, 1e7),
        near(-10.0, 100.0, 2.1e7),
        near(89.0, 12.0, 112_000.0),
        near(86.0, 12.0, 600_000.0),
        near(-84.9, 12.0, 5_000.0),
    ];
    // Radii that are exactly the distance of an image.
    let centers = [
        (90.0, 0.0),
        (-90.0, 77.0),
        (0.0, 180.0),
        (0.0, -180.0),
        (89.999, 12.0),
        (0.003, 179.999),
        (48.01, 11.01),
        (48.0, 11.0),
    ];
    for (lat, lon) in centers {
        let center = Position::from(LatLon { lat, lon });
        let distances = images.iter().filter_map(|new| center.distance_m(new.place.position?));
        let mut distances: Vec<f64> = distances.filter(|&metres| metres > 0.0).collect();
        distances.sort_by(f64::total_cmp);
        for i in [0, 5, distances.len() / 20, distances.len() / 9, distances.len() / 2] {
            filters.push(near(lat, lon, distances[i]));
        }
    }
    filters
}

#[test]
fn everything_is_the_same_as_in_a_folder() {
    let Some(nodes) = Nodes::start(1) else { return };
    let address = nodes.address("streets");
    let mut both = Both::new(&address, config(), &CollectionOptions::default());
    let mut images = scattered(900);
    // Many near ties, and every size of local features.
    for i in 0..60 {
        images[i].global = images[i / 20].global.clone();
        images[i].global[i % DIM] += 1e-6 * (i % 7) as f32;
    }
    let sources = [
        Source { label: "images".into(), root: "/data/images".into() },
        Source { label: "Äcker".into(), root: "/data/ä".into() },
    ];
    both.write(&Batch { add: &images, sources: &sources, ..Batch::default() });
    both.compare(&filters(&images));

    // Again: nothing changes. Others of the same names: vectors and all, with fewer and more local features.
    both.add(&images[..50]);
    let mut replaced: Vec<_> = (100..160).map(|i| image(i, 3)).collect();
    for (i, new) in replaced.iter_mut().enumerate() {
        if i % 3 == 0 {
            new.local.clear();
        }
    }
    let described: Vec<_> = (200..320)
        .map(|i| {
            let mut place = image(i, 9).place;
            place.tags.clear();
            place.heading = None;
            place
        })
        .collect();
    let sources = [Source { label: "images".into(), root: "/elsewhere".into() }];
    both.write(&Batch { add: &replaced, describe: &described, sources: &sources });
    let gone: Vec<_> = (0..900).step_by(5).map(|i| place_id(&images[i].place.name)).collect();
    both.remove(&gone);
    both.remove(&gone);
    both.compare(&filters(&images));
    both.cluster.compact().unwrap();

    let report = verify(&address).unwrap();
    assert_eq!(report.problems, []);
    assert_eq!(report.images, both.folder.count(&Filter::default()).unwrap());
}

#[test]
fn local_metres_are_the_same_as_in_a_folder() {
    let Some(nodes) = Nodes::start(1) else { return };
    let shape = IndexConfig { positions: Positions::Local { origin: None }, ..config() };
    let address = nodes.address("hall");
    let mut both = Both::new(&address, shape, &CollectionOptions::default());
    let mut random = Random(9);
    // Tenths, which no float holds.
    let mut tenths = move || (random.next() % 101) as f64 * 0.1 - 5.0;
    let images: Vec<_> = (0..400)
        .map(|i| {
            let mut new = image(i, 0);
            let z = (i % 3 == 0).then(&mut tenths);
            let at = LocalPoint { x: tenths(), y: tenths(), z };
            new.place.position = (i % 11 != 0).then_some(at.into());
            new
        })
        .collect();
    both.add(&images);
    let center = images[7].place.position.unwrap();
    let mut filters = vec![Filter::default()];
    for i in [1, 2, 3, 50, 51, 300] {
        let metres = center.distance_m(images[i].place.position.unwrap()).unwrap().max(0.05);
        for radius_m in [metres, metres * (1.0 - 1e-15), metres * (1.0 + 1e-15)] {
            filters.push(Filter { near: Some(Near::new(center, radius_m)), ..Filter::default() });
        }
    }
    both.compare(&filters);
    assert!(matches!(both.reader.extent().unwrap(), Some(Extent::Local { .. })));
    let globe = Filter { near: Some(Near::new(LatLon { lat: 1.0, lon: 2.0 }, 5.0)), ..Filter::default() };
    let refusal = |error: r2former_index::IndexError| {
        error.to_string().split(": ").skip(1).collect::<Vec<_>>().join(": ")
    };
    let words = both.reader.count(&globe).unwrap_err().to_string();
    assert!(words.ends_with(&refusal(both.folder.count(&globe).unwrap_err())), "{words}");
    assert_eq!(verify(&address).unwrap().problems, []);
}

#[test]
fn an_index_without_local_features_and_positions() {
    let Some(nodes) = Nodes::start(1) else { return };
    let shape =
        IndexConfig { global_dim: 65, row_width: 0, max_rows: 0, positions: Positions::None, ..config() };
    let mut both = Both::new(&nodes.address("plain"), shape, &CollectionOptions::default());
    assert_eq!(both.reader.extent().unwrap(), None);
    assert_eq!(both.reader.bytes().unwrap(), 0);
    let mut random = Random(3);
    let images: Vec<_> = (0..3000)
        .map(|i| {
            let mut new = image(i, 0);
            new.place.position = None;
            NewPlace { global: random.unit(65), local: Vec::new(), ..new }
        })
        .collect();
    both.add(&images);
    both.compare(&[Filter::default(), Filter { since: Some(1_700_000_900), ..Filter::default() }]);
}

/// The bytes of a real model's local features, all values of bytes among them, and answers of many megabytes.
#[test]
fn large_local_features_come_back_byte_for_byte() {
    let Some(nodes) = Nodes::start(1) else { return };
    let shape = IndexConfig { global_dim: 256, row_width: 131, max_rows: 500, ..config() };
    let mut both = Both::new(
        &nodes.address("large"),
        shape,
        &CollectionOptions { on_disk: true, ..CollectionOptions::default() },
    );
    let mut random = Random(31);
    let images: Vec<_> = (0..220)
        .map(|i| NewPlace {
            global: random.unit(256),
            local: random.bytes(131 * (500 - i as usize % 9)),
            ..image(i, 0)
        })
        .collect();
    both.add(&images);
    both.compare(&[Filter::default()]);
}

#[test]
fn quantisation_and_the_graph_leave_the_exact_search_exact() {
    let Some(nodes) = Nodes::start(1) else { return };
    let shape = IndexConfig { global_dim: 64, row_width: 0, max_rows: 0, ..config() };
    let options = CollectionOptions {
        quantization: r2former_cluster::Quantization::Int8,
        on_disk: true,
        ..CollectionOptions::default()
    };
    let address = nodes.address("small");
    let mut both = Both::new(&address, shape, &options);
    let mut random = Random(8);
    let images: Vec<_> =
        (0..4000).map(|i| NewPlace { global: random.unit(64), local: Vec::new(), ..image(i, 0) }).collect();
    both.add(&images);
    both.compare(&[Filter::default()]);
    let reader = ClusterReader::open(&address, None).unwrap();
    let mut found = 0;
    for new in images.iter().step_by(40) {
        let hits = reader.search_approximate(&new.global, 10, &Filter::default()).unwrap();
        found += usize::from(hits.first().is_some_and(|hit| hit.id == place_id(&new.place.name)));
    }
    assert!(found >= 95, "{found}");
}

/// A folder that is read by its reader, as the program does, beside the cluster.
#[test]
fn searches_from_within_another_runtime() {
    let Some(nodes) = Nodes::start(1) else { return };
    let mut both = Both::new(&nodes.address("inside"), config(), &CollectionOptions::default());
    both.add(&(0..100).map(|i| image(i, 0)).collect::<Vec<_>>());
    let folder = Reader::open(both.folder.dir(), None).unwrap();
    let query = image(5, 0).global;
    let expected = folder.search(&query, 5, &Filter::default()).unwrap();
    let reader = both.reader.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let found = runtime.block_on(async move { reader.search(&query, 5, &Filter::default()).unwrap() });
    same_hits(&expected, &found);
}
