//! Pairs of photographs with known matches, as another program has found them.

use super::{Item, Partner, Source};
use crate::random::Rng;
use crate::{Result, TrainError};
use r2former_data::Photo;
use r2former_data::image::{Limits, Rgb8, decode_file};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Pairs of a table; items 2 i and 2 i + 1 are the photographs of pair i.
pub(super) struct Matches(Vec<Pair>);

struct Pair {
    photos: [PathBuf; 2],
    /// x and y in the first, x and y in the second, in thousandths of the sides.
    points: Vec<[u16; 4]>,
}

#[derive(Debug, Deserialize)]
struct Row {
    a: PathBuf,
    b: PathBuf,
    matches: String,
}

impl Matches {
    pub(super) fn open(table: &Path) -> Result<Self> {
        let fault = |line: u64, problem: String| TrainError::run(table, format!("line {line}: {problem}"));
        let file = std::fs::File::open(table).map_err(TrainError::io(table))?;
        let base = table.parent().unwrap_or_else(|| Path::new(""));
        let mut pairs = Vec::new();
        for (number, row) in csv::Reader::from_reader(file).deserialize::<Row>().enumerate() {
            let line = number as u64 + 2;
            let row = row.map_err(|error| fault(line, format!("{error}; needed are a, b and matches")))?;
            let points = row.matches.split(';').map(point).collect::<Option<Vec<_>>>().ok_or_else(|| {
                let what = "matches must be \"x y x y\" in thousandths, 0 to 1000, separated by semicolons";
                fault(line, what.into())
            })?;
            pairs.push(Pair { photos: [row.a, row.b].map(|path| base.join(path)), points });
        }
        if pairs.is_empty() {
            return Err(TrainError::run(table, "lists no pairs"));
        }
        Ok(Self(pairs))
    }
}

/// One match.
fn point(text: &str) -> Option<[u16; 4]> {
    let values = text.split_whitespace().map(|v| v.parse().ok().filter(|v| *v <= 1000));
    values.collect::<Option<Vec<u16>>>()?.try_into().ok()
}

impl Source for Matches {
    fn items(&self) -> Vec<Item> {
        let pairs = self.0.iter().enumerate();
        pairs
            .flat_map(|(place, pair)| {
                pair.photos.iter().map(move |path| Item {
                    photo: Photo::new(path.clone(), path.to_string_lossy()),
                    place: Some(place as u32),
                })
            })
            .collect()
    }

    fn image(&self, key: usize, _: [usize; 2], _: Option<&mut Rng>) -> Result<Rgb8> {
        Ok(decode_file(&self.0[key / 2].photos[key % 2], &Limits::default())?)
    }

    fn partner(&self) -> Partner {
        Partner::Matched
    }

    fn matches(&self, key: usize) -> Vec<[f64; 4]> {
        let share = |[x, y, u, v]: &[u16; 4]| {
            let shares = match key % 2 {
                0 => [x, y, u, v],
                _ => [u, v, x, y],
            };
            shares.map(|v| f64::from(*v) / 1000.0)
        };
        self.0[key / 2].points.iter().map(share).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Result<Matches> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("matches.csv");
        std::fs::write(&path, text).unwrap();
        Matches::open(&path)
    }

    #[test]
    fn a_pair_is_two_items_that_share_points() {
        let found = table("a,b,matches\nx/1.jpg,2.jpg,100 200 300 400;0 1000 5 6\n").unwrap();
        let items = found.items();
        assert_eq!(items.len(), 2);
        assert!(items[0].photo.path.ends_with("x/1.jpg") && items[0].photo.path.is_absolute());
        assert_eq!(items[0].place, items[1].place);
        assert_eq!(found.matches(0)[0], [0.1, 0.2, 0.3, 0.4]);
        assert_eq!(found.matches(1)[0], [0.3, 0.4, 0.1, 0.2]);
        assert_eq!(found.matches(0)[1], [0.0, 1.0, 0.005, 0.006]);
    }

    #[test]
    fn bad_tables_name_the_line() {
        for (text, problem) in [
            ("a,b,matches\n", "lists no pairs"),
            ("a,b\n1.jpg,2.jpg\n", "line 2"),
            ("a,b,matches\n1.jpg,2.jpg,1 2 3\n", "line 2: matches must be"),
            ("a,b,matches\n1.jpg,2.jpg,1 2 3 4\n1.jpg,2.jpg,1 2 3 1001\n", "line 3"),
            ("a,b,matches\n1.jpg,2.jpg,\n", "line 2"),
        ] {
            let error = table(text).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains(problem) && error.contains("matches.csv"), "{text:?}: {error}");
        }
    }
}
