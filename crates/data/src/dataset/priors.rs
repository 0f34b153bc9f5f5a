//! A table of where each query was roughly taken: `path,lat,lon` and a radius.

use super::column_names::is_radius;
use super::positions_csv::list_priors_csv;
use super::{Skipped, composed_name};
use crate::{DataError, Photo, Position, PositionKind, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Where one query was roughly taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prior {
    /// The centre.
    pub center: Position,
    /// The radius in metres, where the row states one.
    pub radius_m: Option<f64>,
}

/// The rows of a table of priors.
#[derive(Debug, Clone)]
pub struct Priors {
    rows: Vec<(PathBuf, Prior)>,
    by_name: HashMap<String, usize>,
    by_file: HashMap<PathBuf, usize>,
    /// Rows that cannot be used, each with the reason.
    pub skipped: Vec<Skipped>,
    /// How the table was understood.
    pub notes: Vec<String>,
}

/// Reads a table with the columns that [`list_positions_csv`](super::list_positions_csv) reads, and optionally `radius`
/// in metres. Paths are names of queries, or files relative to the table's folder; they need not exist.
///
/// # Errors
/// As [`list_positions_csv`](super::list_positions_csv); [`DataError::Request`] for
/// [`PositionKind::None`], among which nothing is near.
pub fn read_priors(path: &Path, kind: PositionKind) -> Result<Priors> {
    if kind == PositionKind::None {
        return Err(DataError::Request(format!(
            "{}: this index has no positions, so none is near",
            path.display()
        )));
    }
    let listing = list_priors_csv(path, kind)?;
    let mut priors = Priors {
        rows: Vec::new(),
        by_name: HashMap::new(),
        by_file: HashMap::new(),
        skipped: listing.skipped,
        notes: listing.notes,
    };
    for photo in listing.photos {
        priors.push(path, photo);
    }
    Ok(priors)
}

impl Priors {
    fn push(&mut self, table: &Path, photo: Photo) {
        let Some(center) = photo.position else { return };
        let stated = photo.tags.iter().find(|(key, _)| is_radius(key)).map(|(_, value)| value.as_str());
        let radius_m = match stated.map(|text| text.trim().trim_end_matches('m').trim().parse::<f64>().ok()) {
            None => None,
            Some(Some(radius)) if radius.is_finite() && radius > 0.0 => Some(radius),
            Some(_) => {
                let reason = format!(
                    "{}: the radius \"{}\" of {} is not a number of metres above 0",
                    table.display(),
                    stated.unwrap_or_default(),
                    photo.name
                );
                self.skipped.push(Skipped { path: photo.path, reason, kind: super::SkipKind::Unreadable });
                return;
            }
        };
        let number = self.rows.len();
        self.by_name.insert(photo.name, number);
        if let Ok(file) = photo.path.canonicalize() {
            self.by_file.insert(file, number);
        }
        self.rows.push((photo.path, Prior { center, radius_m }));
    }

    /// The number and the prior of a query: by its name as the table writes it, or by its file.
    pub fn find(&self, name: &str, file: Option<&Path>) -> Option<(usize, Prior)> {
        let by_file = || self.by_file.get(&file?.canonicalize().ok()?);
        let number = *self.by_name.get(&composed_name(name)).or_else(by_file)?;
        Some((number, self.rows[number].1))
    }

    /// Why the row of a query's file has no prior, if it has a row.
    pub fn left_out(&self, file: &Path) -> Option<&str> {
        let real = |path: &Path| path.canonicalize().ok();
        let file = real(file)?;
        let own = self.skipped.iter().find(|skipped| real(&skipped.path).is_some_and(|path| path == file))?;
        Some(&own.reason)
    }

    /// How many rows have a prior.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no row has one.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The file that a row names.
    pub fn path(&self, number: usize) -> Option<&Path> {
        self.rows.get(number).map(|(path, _)| path.as_path())
    }

    /// Whether a row states no radius.
    pub fn needs_radius(&self) -> bool {
        self.rows.iter().any(|(_, prior)| prior.radius_m.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LatLon;

    #[test]
    fn rows_are_found_by_name_and_by_file() {
        let dir = tempfile::tempdir().unwrap();
        let table = dir.path().join("priors.csv");
        let text =
            "path,lat,lon,Radius [m]\na.jpg,52.5,0.25,80\nsub/b.jpg,52,0,\nc.jpg,52,0,wide\nd.jpg,,0,5\n";
        std::fs::write(&table, text).unwrap();
        std::fs::write(dir.path().join("a.jpg"), "x").unwrap();
        let priors = read_priors(&table, PositionKind::Wgs84).unwrap();
        let reasons: Vec<_> = priors.skipped.iter().map(|s| s.reason.as_str()).collect();
        assert_eq!((priors.len(), reasons.len(), priors.needs_radius()), (2, 2, true), "{reasons:?}");
        assert!(reasons.iter().any(|reason| reason.contains("\"wide\"")), "{reasons:?}");
        let columns = priors.notes.iter().find(|note| note.starts_with("columns: ")).unwrap();
        assert!(
            columns.contains("; radius = Radius [m]; separated") && !columns.contains("tags"),
            "{columns}"
        );
        std::fs::write(dir.path().join("c.jpg"), "x").unwrap();
        let left_out = |name: &str| priors.left_out(&dir.path().join(name)).map(|why| why.contains("wide"));
        assert_eq!((left_out("c.jpg"), left_out("a.jpg"), left_out("none.jpg")), (Some(true), None, None));
        let (number, prior) = priors.find("a.jpg", None).unwrap();
        assert_eq!(
            (number, prior.radius_m, prior.center.wgs84()),
            (0, Some(80.0), Some(LatLon { lat: 52.5, lon: 0.25 }))
        );
        let file = dir.path().join("./a.jpg");
        assert_eq!(priors.find("elsewhere", Some(&file)).map(|(number, _)| number), Some(0));
        assert_eq!(priors.find("sub/b.jpg", None).map(|(_, prior)| prior.radius_m), Some(None));
        assert!(priors.find("b.jpg", None).is_none());
        let said = read_priors(&table, PositionKind::Local).unwrap_err().to_string();
        assert!(
            said.contains("positions in WGS84 (columns lat, lon); this index has positions in local"),
            "{said}"
        );
        assert!(read_priors(&table, PositionKind::None).unwrap_err().to_string().contains("no positions"));
    }
}
