//! Hand-checked cases, every complaint, and a brute-force reference.

use super::*;
use crate::geo::{destination, to_utm};
use crate::{LatLon, Utm, UtmZone};
use proptest::prelude::*;

fn at(name: &str, lat: f64, lon: f64) -> Photo {
    Photo { position: Some(LatLon { lat, lon }.into()), ..Photo::new(name, name) }
}

fn metres(name: &str, easting: f64, northing: f64, zone: Option<(u8, char)>) -> Photo {
    let zone = zone.map(|(number, band)| UtmZone { number, band });
    Photo { utm: Some(Utm { easting, northing, zone }), ..Photo::new(name, name) }
}

fn truth(database: &[Photo], queries: &[Photo], radius: f64, heading: Option<f64>) -> Vec<Vec<u32>> {
    GroundTruth::by_radius(database, queries, radius, heading).unwrap().positives
}

fn brute_force(database: &[Photo], queries: &[Photo], radius: f64, heading: Option<f64>) -> Vec<Vec<u32>> {
    let rule =
        |q: &Photo, d: &Photo| is_positive((q, &place(q).unwrap()), d, &place(d).unwrap(), radius, heading);
    queries
        .iter()
        .map(|q| (0u32..).zip(database).filter(|(_, d)| rule(q, d)).map(|(i, _)| i).collect())
        .collect()
}

#[test]
fn the_radius_is_inclusive() {
    for zone in [None, Some((33, 'U'))] {
        let query = metres("q", 500_000.0, 5_000_000.0, zone);
        // 15, 20, 25 is a right triangle.
        let on = metres("on", 500_015.0, 5_000_020.0, zone);
        let beyond = metres("beyond", 500_015.0, 5_000_020.001, zone);
        assert_eq!(truth(&[beyond, on, query.clone()], &[query], 25.0, None), [[1, 2]]);
    }
}

#[test]
fn stated_zones_are_kept_apart() {
    let query = metres("q", 500_000.0, 5_000_000.0, Some((33, 'T')));
    let database = [
        metres("same", 500_001.0, 5_000_000.0, Some((33, 'T'))),
        metres("other zone", 500_000.0, 5_000_000.0, Some((32, 'T'))),
        metres("other band", 500_002.0, 5_000_000.0, Some((33, 'U'))),
        metres("other hemisphere", 500_000.0, 5_000_000.0, Some((33, 'F'))),
    ];
    assert_eq!(truth(&database, &[query], 25.0, None), [[0, 2]]);
}

#[test]
fn metres_win_over_degrees_and_mix_with_them() {
    let mut query = metres("q", 500_000.0, 5_000_000.0, Some((33, 'T')));
    query.position = Some(LatLon { lat: 0.0, lon: 0.0 }.into());
    let near = crate::geo::from_utm(&Utm { northing: 5_000_010.0, ..query.utm.unwrap() }).unwrap();
    let database = [at("near", near.lat, near.lon), at("where its degrees say", 0.0, 0.0)];
    assert_eq!(truth(&database, std::slice::from_ref(&query), 25.0, None), [[0]]);
    assert_eq!(truth(&[query], &database, 25.0, None), [vec![0], vec![]]);
}

#[test]
fn borders_lose_nothing() {
    // The border of zones 31 and 32 (6 degrees east), the equator, the date line, Norway's exception.
    for (lat, lon) in [(48.0, 6.0), (0.0, 7.0), (0.0, 6.0), (12.0, 180.0), (60.0, 3.0), (73.0, 9.0)] {
        let here = LatLon { lat, lon };
        let around: Vec<Photo> = (0..36)
            .map(|k| {
                let there = destination(here, f64::from(k) * 10.0, if k % 2 == 0 { 24.9 } else { 25.1 });
                at("d", there.lat, there.lon)
            })
            .collect();
        let west = destination(here, 270.0, 0.001);
        for query in [here, west] {
            let query = at("q", query.lat, query.lon);
            let found = truth(&around, &[query], 25.0, None);
            let even: Vec<u32> = (0..36).filter(|k| k % 2 == 0).collect();
            assert_eq!(found, [even], "{lat}, {lon}");
        }
    }
}

#[test]
fn headings_limit() {
    let facing = |heading: f64| Photo { heading: Some(heading), ..at("p", 48.0, 2.0) };
    let database = [facing(350.0), facing(30.0), facing(31.0), facing(170.0)];
    assert_eq!(truth(&database, &[facing(350.0)], 25.0, Some(40.0)), [[0, 1]]);
    assert_eq!(truth(&database, &[facing(350.0)], 25.0, Some(180.0)), [[0, 1, 2, 3]]);
    assert_eq!(truth(&database, &[facing(350.0)], 25.0, None), [[0, 1, 2, 3]]);
}

#[test]
fn a_thousand_tiles_at_one_place() {
    let database = vec![at("d", 48.0, 2.0); 1000];
    assert_eq!(truth(&database, &[at("q", 48.0, 2.0)], 1.0, None)[0].len(), 1000);
    let database = vec![metres("d", 1.0, 2.0, None); 1000];
    assert_eq!(truth(&database, &[metres("q", 1.0, 2.0, None)], 1.0, None)[0].len(), 1000);
}

#[test]
fn complaints() {
    let good = [at("good.jpg", 48.0, 2.0)];
    let nowhere = [at("good.jpg", 48.0, 2.0), Photo::new("x", "nowhere.jpg")];
    let polar = [at("polar.jpg", 89.0, 2.0)];
    let off = [at("off.jpg", f64::NAN, 2.0)];
    let bare = [metres("bare.jpg", 1.0, 2.0, None)];
    let endless = [metres("endless.jpg", f64::INFINITY, 2.0, None)];
    let unreal = [metres("unreal.jpg", 500_000.0, 2.0, Some((61, 'U')))];
    for (database, queries, radius, heading, wanted) in [
        (&[][..], &good[..], 25.0, None, "database is empty"),
        (&good, &[], 25.0, None, "no queries"),
        (&good, &good, 0.0, None, "radius 0 m"),
        (&good, &good, -1.0, None, "radius -1 m"),
        (&good, &good, f64::NAN, None, "radius NaN m"),
        (&good, &good, f64::INFINITY, None, "radius inf m"),
        (&good, &good, 200_000.0, None, "radius 200000 m"),
        (&good, &good, 25.0, Some(181.0), "heading limit 181"),
        (&good, &good, 25.0, Some(f64::NAN), "heading limit NaN"),
        (&good, &good, 25.0, Some(40.0), "good.jpg: has no heading"),
        (&nowhere, &good, 25.0, None, "nowhere.jpg: has no position"),
        (&good, &nowhere, 25.0, None, "nowhere.jpg: has no position"),
        (&polar, &good, 25.0, None, "polar.jpg: latitude 89"),
        (&good, &off, 25.0, None, "off.jpg: latitude NaN"),
        (&good, &bare, 25.0, None, "bare.jpg: its metres state no UTM zone, while good.jpg"),
        (&endless, &bare, 25.0, None, "endless.jpg: its easting"),
        (&unreal, &good, 25.0, None, "unreal.jpg: UTM zone 61U does not exist"),
    ] {
        let message =
            GroundTruth::by_radius(database, queries, radius, heading).expect_err(wanted).to_string();
        assert!(message.contains(wanted), "{message}");
    }
}

/// A photograph near one of some awkward places, in degrees or in metres.
fn photo_near(lat: f64, lon: f64) -> impl Strategy<Value = Photo> {
    (0.0..360.0f64, 0.0..60.0f64, 0.0..360.0f64, any::<bool>()).prop_map(
        move |(turn, far, heading, stated)| {
            let there = destination(LatLon { lat, lon }, turn, far);
            let mut photo = at("p", there.lat, there.lon);
            photo.heading = Some(heading);
            photo.utm = stated.then(|| to_utm(there).unwrap());
            photo
        },
    )
}

fn both_sides() -> impl Strategy<Value = (Vec<Photo>, Vec<Photo>)> {
    prop_oneof![
        Just((48.0, 6.0)),
        Just((48.1, 2.2)),
        Just((0.0, 6.0)),
        Just((-33.0, 180.0)),
        Just((83.9, 9.0))
    ]
    .prop_flat_map(|(lat, lon)| {
        let side = move |n| proptest::collection::vec(photo_near(lat, lon), 1..n);
        (side(80), side(10))
    })
}

proptest! {
    #[test]
    fn the_index_agrees_with_brute_force(
        (database, queries) in both_sides(),
        radius in 0.1..80.0f64,
        heading in proptest::option::of(0.0..=180.0f64),
    ) {
        prop_assert_eq!(
            truth(&database, &queries, radius, heading),
            brute_force(&database, &queries, radius, heading)
        );
    }
}

#[test]
fn local_metres_are_compared_with_local_metres() {
    let at = |name: &str, x: f64, y: f64, z: Option<f64>| Photo {
        position: Some(crate::LocalPoint { x, y, z }.into()),
        ..Photo::new(name, name)
    };
    let database = [at("a", 3.0, 4.0, None), at("b", 3.0, 4.0, Some(12.0)), at("c", 0.0, 5.1, Some(0.0))];
    let queries = [at("q", 0.0, 0.0, Some(0.0)), at("flat", 0.0, 0.0, None)];
    let truth = |radius| GroundTruth::by_radius(&database, &queries, radius, None).unwrap().positives;
    // On the plane where either has no height, and the radius itself is within.
    assert_eq!(truth(5.0), [vec![0], vec![0, 1]]);
    assert_eq!(truth(13.0), [vec![0, 1, 2], vec![0, 1, 2]]);
    let globe = Photo { position: Some(LatLon { lat: 1.0, lon: 2.0 }.into()), ..Photo::new("g", "g") };
    for (database, queries) in [(&database[..], &[globe.clone()][..]), (&[globe][..], &queries[..])] {
        let said = GroundTruth::by_radius(database, queries, 5.0, None).unwrap_err().to_string();
        assert!(said.contains("in local metres, while that of g is on the globe"), "{said}");
    }
}
