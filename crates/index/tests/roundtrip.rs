//! What goes in comes out: payload, global descriptors and local features, byte for byte.

#![allow(clippy::unwrap_used, reason = "a failure of a test's own set-up is a failed test")]

mod common;

use common::{WIDTH, config, image};
use r2former_index::{Extent, Filter, NewPlace, ReadPlaces, Reader, WritePlaces, Writer, place_id};

fn assert_holds(index: &impl ReadPlaces, images: &[NewPlace]) {
    let ids: Vec<_> = images.iter().map(|new| place_id(&new.place.name)).collect();
    let places = index.get(&ids).unwrap();
    let globals = index.globals(&ids).unwrap();
    let locals = index.locals(&ids).unwrap();
    for (i, new) in images.iter().enumerate() {
        assert_eq!(places[i].as_ref(), Some(&new.place));
        assert_eq!(globals[i].as_ref(), Some(&new.global));
        let local = locals[i].as_ref().unwrap();
        assert_eq!(local.rows, new.local, "{}", new.place.name);
        assert_eq!(local.row_width, WIDTH);
    }
}

#[test]
fn everything_survives_adding_replacing_compacting_and_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), config()).unwrap();
    let mut images: Vec<_> = (0..200).map(|i| image(i, 0)).collect();
    for batch in images.chunks(70) {
        writer.add(batch).unwrap();
    }
    assert_holds(&writer, &images);

    for i in (0..200).step_by(3) {
        images[i] = image(i as u64, 1);
        writer.add(&images[i..=i]).unwrap();
    }
    assert_holds(&writer, &images);
    assert_eq!(writer.count(&Filter::default()).unwrap(), 200);
    writer.compact().unwrap();
    assert_holds(&writer, &images);
    writer.close().unwrap();

    let reader = Reader::open(dir.path(), None).unwrap();
    assert_holds(&reader, &images);
    assert_eq!(reader.count(&Filter::default()).unwrap(), 200);
}

#[test]
fn every_byte_value_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let shape = r2former_index::IndexConfig { row_width: 256, max_rows: 2, ..config() };
    let mut writer = Writer::create(dir.path(), shape).unwrap();
    let all: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    let new = NewPlace { local: all.clone(), ..image(1, 0) };
    writer.add(std::slice::from_ref(&new)).unwrap();
    let ids = [place_id(&new.place.name)];
    assert_eq!(writer.locals(&ids).unwrap()[0].as_ref().unwrap().rows, all);
    writer.close().unwrap();
    let reader = Reader::open(dir.path(), None).unwrap();
    assert_eq!(reader.locals(&ids).unwrap()[0].as_ref().unwrap().rows, all);
}

#[test]
fn removed_images_are_gone_and_unknown_ones_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), config()).unwrap();
    let images: Vec<_> = (0..20).map(|i| image(i, 0)).collect();
    writer.add(&images).unwrap();
    let ids: Vec<_> = images.iter().map(|new| place_id(&new.place.name)).collect();
    assert_eq!(writer.remove(&[ids[3], ids[4], ids[3], place_id("unknown")]).unwrap(), 2);
    assert_eq!(writer.remove(&[ids[3]]).unwrap(), 0);
    assert_eq!(writer.contains(&ids[2..6]).unwrap(), [true, false, false, true]);
    assert_eq!(writer.get(&[ids[3]]).unwrap(), [None]);
    assert_eq!(writer.locals(&[ids[3]]).unwrap(), [None]);
    writer.close().unwrap();
    let reader = Reader::open(dir.path(), None).unwrap();
    assert_eq!(reader.count(&Filter::default()).unwrap(), 18);
}

#[test]
fn pages_list_every_image_once_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), config()).unwrap();
    let images: Vec<_> = (0..50).map(|i| image(i, 0)).collect();
    writer.add(&images).unwrap();
    let (mut seen, mut from) = (Vec::new(), None);
    loop {
        let page = writer.list(from, 7, &Filter::default()).unwrap();
        seen.extend(page.places);
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0));
    let mut names: Vec<_> = seen.into_iter().map(|(_, place)| place.name).collect();
    names.sort();
    assert_eq!(names, images.iter().map(|new| new.place.name.clone()).collect::<Vec<_>>());
}

#[test]
fn an_index_without_local_features_has_none() {
    let dir = tempfile::tempdir().unwrap();
    let shape = r2former_index::IndexConfig { row_width: 0, max_rows: 0, ..config() };
    let mut writer = Writer::create(dir.path(), shape).unwrap();
    let new = NewPlace { local: Vec::new(), ..image(1, 0) };
    writer.add(std::slice::from_ref(&new)).unwrap();
    let locals = writer.locals(&[place_id(&new.place.name), place_id("unknown")]).unwrap();
    assert!(locals[0].as_ref().unwrap().rows.is_empty());
    assert_eq!(locals[1], None);
    assert!(writer.add(&[image(1, 0)]).is_err());
}

#[test]
fn the_summary_knows_the_extent() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), config()).unwrap();
    assert_eq!(writer.extent().unwrap(), None);
    writer.add(&(0..10).map(|i| image(i, i % 2)).collect::<Vec<_>>()).unwrap();
    let info = writer.info().unwrap();
    let Some(Extent::Wgs84 { south_west, north_east }) = info.extent else { panic!("{info:?}") };
    assert_eq!((south_west.lat, north_east.lat), (48.001, 48.009));
    assert_eq!((south_west.lon, north_east.lon), (11.0, 11.123_456_789));
    assert_eq!(info.images, 10);
    assert!(0 < info.bytes_in_use && info.bytes_in_use <= info.bytes, "{info:?}");
    assert_eq!(info.changes, Some(1));
}

#[test]
fn nothing_of_a_removed_image_is_left_in_a_compacted_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), config()).unwrap();
    let images: Vec<_> = (0..50).map(|i| image(i, 0)).collect();
    writer.add(&images).unwrap();
    let gone = &images[20];
    let stored: Vec<u8> = writer.globals(&[place_id(&gone.place.name)]).unwrap()[0]
        .iter()
        .flatten()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    writer.remove(&[place_id(&gone.place.name)]).unwrap();
    let kept: Vec<_> = images.iter().filter(|new| *new != gone).cloned().collect();
    assert_holds(&writer, &kept);
    writer.compact().unwrap();
    assert_holds(&writer, &kept);
    assert_eq!(r2former_index::verify(dir.path()).unwrap().problems, []);
    let data = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "mdb"))
        .unwrap();
    let file = std::fs::read(data).unwrap();
    for part in [&stored[..], &gone.local[..], gone.place.name.as_bytes()] {
        assert!(!part.is_empty() && !file.windows(part.len()).any(|window| window == part));
    }
}
