//! Small places with numbers that depend on their index alone.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeMap;

use r2former_index::{FileFingerprint, IndexConfig, LatLon, NewPlace, Place, Positions};

pub const MODEL: &str = "sha256:aa11";
pub const DIM: usize = 16;
pub const WIDTH: usize = 7;
pub const ROWS: usize = 5;

pub fn config() -> IndexConfig {
    IndexConfig {
        model: "tiny".into(),
        fingerprint: MODEL.into(),
        global_dim: DIM,
        row_width: WIDTH,
        max_rows: ROWS,
        positions: Positions::Wgs84,
    }
}

/// A sequence of pseudo-random numbers (xorshift).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn unit(&mut self, dim: usize) -> Vec<f32> {
        let raw: Vec<f32> = (0..dim).map(|_| (self.next() % 2001) as f32 / 1000.0 - 1.0).collect();
        normalized(&raw)
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.next() >> 32) as u8).collect()
    }
}

/// Unit length in double precision, so that storing it again changes no bit.
pub fn normalized(raw: &[f32]) -> Vec<f32> {
    let length = raw.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    raw.iter().map(|&x| (f64::from(x) / length) as f32).collect()
}

/// Image number `i` in its version `v`: everything about it follows from the two.
pub fn image(i: u64, v: u64) -> NewPlace {
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (i + 1).wrapping_mul(0x1_0000_0001) ^ (v << 48));
    for _ in 0..8 {
        random.next();
    }
    NewPlace {
        place: Place {
            name: format!("images/{i:06}.jpg"),
            position: (!i.is_multiple_of(7)).then_some(
                LatLon { lat: 48.0 + (i % 40_000) as f64 * 0.001, lon: 11.0 + v as f64 * 0.123_456_789 }
                    .into(),
            ),
            heading: i.is_multiple_of(2).then_some(i as f64 / 3.0),
            time: i.is_multiple_of(3).then_some(1_700_000_000 + i as i64),
            altitude: i.is_multiple_of(5).then_some(519.25),
            tags: BTreeMap::from([("city".to_owned(), ["ulm", "bonn"][i as usize % 2].to_owned())]),
            // Two of three images in a row are of one file.
            file: Some(FileFingerprint { bytes: 1000 + i / 3 * 3 + i % 3 % 2, xxh3: v }),
        },
        global: random.unit(DIM),
        local: random.bytes(WIDTH * (i as usize % (ROWS + 1))),
    }
}

/// Images that no index of [`config`] takes.
pub fn unusable() -> Vec<NewPlace> {
    let change = |change: &dyn Fn(&mut NewPlace)| {
        let mut new = image(2, 0);
        change(&mut new);
        new
    };
    vec![
        change(&|new| new.global = vec![1.0; DIM - 1]),
        change(&|new| new.global = vec![0.0; DIM]),
        change(&|new| new.global[3] = f32::NAN),
        change(&|new| new.local = vec![0; WIDTH + 1]),
        change(&|new| new.local = vec![0; WIDTH * 6]),
        change(&|new| new.place.name.clear()),
        change(&|new| new.place.position = Some(LatLon { lat: 91.0, lon: 0.0 }.into())),
        change(&|new| new.place.position = Some(LatLon { lat: 0.0, lon: f64::NAN }.into())),
        change(&|new| new.place.heading = Some(f64::INFINITY)),
        change(&|new| drop(new.place.tags.insert("a=b".into(), "c".into()))),
    ]
}
