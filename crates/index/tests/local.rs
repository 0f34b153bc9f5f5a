//! Indexes in local metres, and without positions.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

mod common;

use common::{config, image};
use proptest::prelude::*;
use r2former_index::{
    Extent, Filter, IndexConfig, LatLon, LocalPoint, Near, NewPlace, Origin, Position, Positions, ReadPlaces,
    Reader, WritePlaces, Writer, export, import, verify,
};

fn of(positions: Positions) -> IndexConfig {
    IndexConfig { positions, ..config() }
}

fn at(i: u64, position: Option<Position>) -> NewPlace {
    let mut new = image(i, 0);
    new.place.position = position;
    new
}

fn point(x: f64, y: f64, z: Option<f64>) -> Position {
    LocalPoint { x, y, z }.into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The radius holds what a comparison with every place says, also where a place lies exactly on it.
    #[test]
    fn a_local_radius_is_exact(
        points in prop::collection::vec((-50i32..50, -50i32..50, prop::option::of(-4i32..4)), 1..200),
        center in (-50i32..50, -50i32..50, prop::option::of(-4i32..4)),
        pick in any::<prop::sample::Index>(),
    ) {
        // Tenths, which no float holds: rounding must be the same in the filter and in the distance.
        let metres = |(x, y, z): (i32, i32, Option<i32>)| {
            point(f64::from(x) * 0.1, f64::from(y) * 0.1, z.map(|z| f64::from(z) * 0.1))
        };
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(dir.path(), of(Positions::Local { origin: None })).unwrap();
        let images: Vec<_> = (0..).zip(&points).map(|(i, p)| at(i, Some(metres(*p)))).collect();
        writer.add(&images).unwrap();
        let center = metres(center);
        let distance = |new: &NewPlace| new.place.position.unwrap().distance_m(center).unwrap();
        let radius_m = distance(&images[pick.index(images.len())]).max(0.05);
        for radius_m in [radius_m, radius_m * (1.0 - 1e-15), radius_m * (1.0 + 1e-15)] {
            let filter = Filter { near: Some(Near { center, radius_m }), ..Filter::default() };
            let expected = images.iter().filter(|new| distance(new) <= radius_m).count();
            prop_assert_eq!(writer.count(&filter).unwrap(), expected);
            prop_assert_eq!(writer.search(&images[0].global, 1000, &filter).unwrap().len(), expected);
        }
    }
}

#[test]
fn a_local_index_keeps_its_kind() {
    let home = tempfile::tempdir().unwrap();
    let (dir, other, file) = (home.path().join("a"), home.path().join("b"), home.path().join("a.tar"));
    let origin = Origin::new(52.0, 0.1, Some(12.0)).unwrap();
    let mut writer = Writer::create(&dir, of(Positions::Local { origin: Some(origin) })).unwrap();
    assert_eq!(writer.extent().unwrap(), None);
    let places = [
        at(0, Some(point(1.0, 2.0, None))),
        at(1, None),
        at(2, Some(point(-3.0, 5.0, Some(2.5)))),
        at(3, Some(point(0.0, 0.0, Some(-0.1)))),
    ];
    writer.add(&places).unwrap();
    let refused = writer.add(&[at(4, Some(LatLon { lat: 52.0, lon: 0.1 }.into()))]).unwrap_err().to_string();
    assert!(refused.contains("in WGS84; this index has positions in local metres"), "{refused}");
    let near = Near::new(LatLon { lat: 52.0, lon: 0.1 }, 5.0);
    let refused = writer.count(&Filter { near: Some(near), ..Filter::default() }).unwrap_err().to_string();
    assert!(refused.contains("this index has positions in local metres"), "{refused}");
    writer.compact().unwrap();
    writer.close().unwrap();
    export(&dir, &file).unwrap();
    import(&file, &other).unwrap();
    assert_eq!(verify(&other).unwrap().problems, []);
    let reader = Reader::open(&other, None).unwrap();
    assert_eq!(reader.config().positions.origin(), Some(origin));
    let Some(Extent::Local { min, max }) = reader.extent().unwrap() else { panic!("no box") };
    assert_eq!(
        (min, max),
        (LocalPoint { x: -3.0, y: 0.0, z: Some(-0.1) }, LocalPoint { x: 1.0, y: 5.0, z: Some(2.5) },)
    );
    let page = reader.list(None, 10, &Filter::default()).unwrap();
    for new in &places {
        assert!(page.places.iter().any(|(_, place)| *place == new.place), "{:?}", new.place);
    }
}

#[test]
fn an_index_without_positions_takes_none() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), of(Positions::None)).unwrap();
    writer.add(&[at(0, None)]).unwrap();
    for position in [LatLon { lat: 1.0, lon: 2.0 }.into(), point(1.0, 2.0, None)] {
        let refused = writer.add(&[at(1, Some(position))]).unwrap_err().to_string();
        assert!(refused.contains("this index has no positions"), "{refused}");
        let filter = Filter { near: Some(Near::new(position, 5.0)), ..Filter::default() };
        assert!(writer.count(&filter).unwrap_err().to_string().contains("this index has no positions"));
    }
    assert_eq!(writer.extent().unwrap(), None);
    drop(writer);
    let bad = Origin { lat: 91.0, lon: 0.0, altitude: None };
    let other = tempfile::tempdir().unwrap();
    assert!(Writer::create(other.path(), of(Positions::Local { origin: Some(bad) })).is_err());
}
