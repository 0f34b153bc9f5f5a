//! The town as a whole: the same seed gives the same pictures, the same place stays recognisable, and the
//! dataset on disk says what was rendered.

use crate::*;
use r2former_data::image::{Limits, decode_file};

fn small() -> Town {
    Town::new(&TownConfig { seed: 5, blocks: (2, 2), ..TownConfig::default() }).unwrap()
}

fn view(town: &Town, number: usize, condition: Condition, visit: u64) -> View {
    let place = town.street_positions(15.0)[number];
    View {
        camera: Camera { x: place.x, y: place.y, heading: place.heading, ..Camera::default() },
        condition,
        visit,
    }
}

/// Mean of the absolute difference, in levels.
fn difference(a: &[u8], b: &[u8]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
}

#[test]
fn the_same_seed_gives_the_same_picture() {
    let (one, two) = (small(), small());
    for condition in Condition::ALL {
        let picture = |town: &Town| town.render(&view(town, 3, condition, 9), 80, 60).unwrap().pixels;
        assert_eq!(picture(&one), picture(&two), "{condition}");
    }
}

#[test]
fn other_places_differ_more_than_other_visits() {
    let town = small();
    let picture =
        |number, visit| town.render(&view(&town, number, Condition::Overcast, visit), 96, 72).unwrap().pixels;
    let (mut same, mut other) = (0.0, 0.0);
    for number in 0..8 {
        same += difference(&picture(number, 1), &picture(number, 2));
        other += difference(&picture(number, 1), &picture(number + 9, 1));
    }
    assert!(same < 0.7 * other, "same place {same:.1}, other place {other:.1}");
}

#[test]
fn night_is_darker_than_day_and_nothing_is_blank() {
    let town = small();
    for number in [0, 7, 20] {
        let mean = |condition| {
            let pixels = town.render(&view(&town, number, condition, 1), 96, 72).unwrap().pixels;
            let (low, high) = (pixels.iter().min().unwrap(), pixels.iter().max().unwrap());
            assert!(high - low > 60, "{condition} is blank: {low} to {high}");
            pixels.iter().map(|&v| f64::from(v)).sum::<f64>() / pixels.len() as f64
        };
        let (day, dusk, night) = (mean(Condition::Day), mean(Condition::Dusk), mean(Condition::Night));
        assert!(night < dusk && dusk < day, "{night:.0} {dusk:.0} {day:.0}");
    }
}

#[test]
fn positions_are_those_of_the_plane() {
    let town = small();
    let here = town.to_latlon(0.0, 0.0);
    for (x, y) in [(100.0, 0.0), (0.0, -250.0), (-300.0, 400.0)] {
        let there = town.to_latlon(x, y);
        assert!((r2former_data::geo::geodesic_m(here, there) - f64::hypot(x, y)).abs() < 1e-3);
    }
    let streets = town.street_positions(10.0);
    assert!(streets.len() > 40);
    assert!(streets.iter().all(|p| town.is_free(p.x, p.y) && (0.0..360.0).contains(&p.heading)));
}

#[test]
fn what_cannot_be_built_or_seen_is_refused() {
    for blocks in [(0, 3), (3, 65)] {
        assert!(Town::new(&TownConfig { blocks, ..TownConfig::default() }).is_err());
    }
    let pole = LatLon { lat: 89.0, lon: 0.0 };
    assert!(Town::new(&TownConfig { origin: pole, ..TownConfig::default() }).is_err());
    let town = small();
    let good = view(&town, 0, Condition::Day, 1);
    assert!(town.render(&good, 0, 10).is_err());
    let bad = View { camera: Camera { heading: f64::NAN, ..good.camera }, ..good };
    assert!(town.render(&bad, 10, 10).is_err());
    let good = TownDatasetConfig::default;
    for (config, wanted) in [
        (TownDatasetConfig { queries: vec![Condition::Day; 2], ..good() }, "named twice"),
        (TownDatasetConfig { size: (8, 240), ..good() }, "240 x 8 pixels: each side must be 16 to 8192"),
        (TownDatasetConfig { size: (320, 9000), ..good() }, "each side must be 16 to 8192"),
        (TownDatasetConfig { n_queries: 4_000_000_000, ..good() }, "at most 1000000"),
        (TownDatasetConfig { walk: 0, ..good() }, "walks of 0 frames"),
        (TownDatasetConfig { spacing: f64::NAN, ..good() }, "spacing of NaN"),
        (TownDatasetConfig { spacing: -1.0, ..good() }, "spacing of -1"),
        (TownDatasetConfig { query_offset: f64::NAN, ..good() }, "offset of NaN"),
        (TownDatasetConfig { query_heading_jitter: f64::INFINITY, ..good() }, "jitter of inf"),
        (TownDatasetConfig { fov: f64::NAN, ..good() }, "field of view NaN"),
        (TownDatasetConfig { camera_height: f64::NAN, ..good() }, "height NaN"),
    ] {
        let said = write_dataset(&town, &config, std::path::Path::new("never"), &|_, _| ());
        let said = said.expect_err(wanted).to_string();
        assert!(said.contains(wanted), "{said}");
    }
    let large = Town::new(&TownConfig { blocks: (64, 64), ..TownConfig::default() }).unwrap();
    let config = TownDatasetConfig { spacing: 0.5, headings: 36, ..good() };
    let said =
        write_dataset(&large, &config, std::path::Path::new("never"), &|_, _| ()).unwrap_err().to_string();
    assert!(said.contains("at most 10000000"), "{said}");
}

#[test]
fn the_frames_of_a_walk_are_steps_along_a_street() {
    let dir = tempfile::tempdir().unwrap();
    let config = TownDatasetConfig {
        size: (16, 16),
        spacing: 10.0,
        headings: 1,
        queries: vec![Condition::Night],
        n_queries: 11,
        walk: 4,
        query_offset: 0.0,
        ..TownDatasetConfig::default()
    };
    write_dataset(&small(), &config, dir.path(), &|_, _| ()).unwrap();
    let options = r2former_data::dataset::SourceOptions::default();
    let table = dir.path().join("queries.csv");
    let frames = r2former_data::dataset::list_photos(&table, None, &options).unwrap().photos;
    assert_eq!(frames.len(), 11);
    for (i, pair) in frames.windows(2).enumerate() {
        let same = pair[0].path.parent() == pair[1].path.parent();
        assert_eq!(same, i % 4 != 3, "{:?}", pair[1].path);
        let [a, b] = [0, 1].map(|k| pair[k].position.unwrap());
        if same {
            let metres = a.distance_m(b).unwrap();
            assert!((5.0..20.0).contains(&metres), "{metres} m from {:?}", pair[0].path);
            assert_eq!(pair[1].time.unwrap() - pair[0].time.unwrap(), 8);
        }
    }
}

#[test]
fn the_smallest_pictures_have_pixels() {
    let town = small();
    for condition in [Condition::Dusk, Condition::Night, Condition::Rain] {
        for (width, height) in [(1, 1), (8, 8), (13, 5)] {
            let picture = town.render(&view(&town, 0, condition, 1), width, height).unwrap();
            assert_eq!(picture.pixels.len(), 3 * width * height);
        }
    }
}

#[test]
fn a_dataset_on_disk_is_what_its_readers_expect() {
    let town = small();
    let dir = tempfile::tempdir().unwrap();
    let config = TownDatasetConfig {
        spacing: 40.0,
        headings: 2,
        size: (64, 48),
        queries: vec![Condition::Dusk, Condition::Snow],
        n_queries: 3,
        ..TownDatasetConfig::default()
    };
    let summary = write_dataset(&town, &config, dir.path(), &|_, _| ()).unwrap();
    assert_eq!(summary.queries, 6);
    let read = |name: &str| {
        let options = r2former_data::dataset::SourceOptions::default();
        r2former_data::dataset::list_photos(
            &dir.path().join(name),
            Some(r2former_data::dataset::Kind::Csv),
            &options,
        )
        .unwrap()
        .photos
    };
    let (database, queries) = (read("database.csv"), read("queries.csv"));
    assert_eq!((database.len(), queries.len()), (summary.database, 6));
    for photo in database.iter().take(4).chain(&queries) {
        let picture = decode_file(&photo.path, &Limits::default()).unwrap();
        assert_eq!((picture.width, picture.height), (64, 48));
        let tags = r2former_data::image::read_tags(&photo.path).unwrap();
        let (table, exif) = (photo.lat_lon().unwrap(), tags.position.unwrap());
        assert!(r2former_data::geo::geodesic_m(table, exif) < 0.1, "{table:?} {exif:?}");
    }
    assert_eq!(queries[0].tags["condition"], "dusk");
}
