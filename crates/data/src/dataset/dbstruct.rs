//! Pitts30k, Pitts250k and similar: a MATLAB structure `dbStruct` beside folders of images.

use super::matlab::{Value, read_variable};
use super::{Dataset, GroundTruthRule, Sequences};
use crate::geo::from_utm;
use crate::{DataError, Photo, Result, Utm, UtmZone};
use std::path::{Path, PathBuf};

/// Names that are looked for on disk before it is decided where a side's images are.
const PROBES: usize = 100;
/// Where queries lie beside the database's folders, in the datasets as they are handed out. The folder of images
/// itself comes last: names of queries and of the database may coincide.
const QUERY_FOLDERS: [&str; 3] = ["queries_real", "queries", ""];

/// What a structure does not say itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DbStructOptions {
    /// Folder of the images; by default the file's own folder, or the one above it.
    pub images: Option<PathBuf>,
    /// Zone of the metres; by default 17T for a file `pitts*`, 54S for `tokyo*`, else unknown: distances need none.
    pub zone: Option<UtmZone>,
}

/// Reads `dbStruct`: `dbImageFns` and `qImageFns` (cells of file names), `utmDb` and `utmQ` (2 x n metres, east above
/// north). Names are relative to the folder of images, those of queries also to its `queries_real` or `queries`.
///
/// A name without a file stays in the dataset, so that it is reported as unusable.
///
/// # Errors
/// As a MATLAB file; [`DataError::Format`] for a structure without one of the fields or with another content than
/// that, and for a side of which no image is found.
pub fn read_dbstruct(path: &Path, options: &DbStructOptions) -> Result<Dataset> {
    let bad = |problem: String| DataError::format(path, None, problem);
    let Value::Structure(fields) = read_variable(path, "dbStruct")? else {
        return Err(bad("dbStruct is no structure".into()));
    };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let zone = options.zone.or_else(|| zone_of_name(&stem));
    let read = |names: &str, metres: &str| {
        let names = texts(&fields, names)?;
        let places = places(&fields, metres, &names)?;
        Ok((names, places))
    };
    // Both before anything is looked for on disk: a wrong structure is reported first.
    let database = read("dbImageFns", "utmDb").map_err(bad)?;
    let queries = read("qImageFns", "utmQ").map_err(bad)?;
    let database = side(path, options, database, zone, &[""])?;
    let queries = side(path, options, queries, zone, &QUERY_FOLDERS)?;
    let mut notes = vec![match zone {
        Some(zone) => format!("metres of UTM zone {}{}", zone.number, zone.band),
        None => "metres of an unknown UTM zone".into(),
    }];
    if let Ok(Value::Numbers { values, .. }) = field(&fields, "posDistThr")
        && let [metres] = values.as_slice()
    {
        notes.push(format!("the file's own radius of positives is {metres} m"));
    }
    let sequences = Sequences::default();
    Ok(Dataset {
        left_out: 0,
        name: stem,
        database,
        queries,
        truth: GroundTruthRule::Positions,
        notes,
        sequences,
    })
}

fn zone_of_name(stem: &str) -> Option<UtmZone> {
    let stem = stem.to_lowercase();
    let known = [("pitts", UtmZone { number: 17, band: 'T' }), ("tokyo", UtmZone { number: 54, band: 'S' })];
    known.into_iter().find_map(|(name, zone)| stem.starts_with(name).then_some(zone))
}

fn field<'a>(fields: &'a [(String, Value)], name: &str) -> Result<&'a Value, String> {
    fields.iter().find_map(|(field, value)| (field == name).then_some(value)).ok_or_else(|| {
        let all: Vec<&str> = fields.iter().map(|(field, _)| field.as_str()).collect();
        format!("dbStruct has no field {name}, only: {}", all.join(", "))
    })
}

/// A cell of file names.
fn texts(fields: &[(String, Value)], name: &str) -> Result<Vec<String>, String> {
    let value = field(fields, name)?;
    let Value::Cells(cells) = value else {
        return Err(format!("dbStruct.{name} is {}, cells of file names are needed", value.kind()));
    };
    let text = |(i, cell): (usize, &Value)| match cell {
        Value::Text(text) if !text.trim().is_empty() && !text.contains('\0') => Ok(text.trim().to_owned()),
        other => Err(format!("dbStruct.{name}, cell {} is {}, not a file's name", i + 1, other.kind())),
    };
    cells.iter().enumerate().map(text).collect()
}

/// East and north of every name.
fn places(fields: &[(String, Value)], name: &str, names: &[String]) -> Result<Vec<[f64; 2]>, String> {
    let value = field(fields, name)?;
    let values = match value {
        Value::Numbers { shape, values } if *shape == [2, names.len()] => values,
        other => {
            let wanted = names.len();
            return Err(format!("dbStruct.{name} is {}, needed are numbers (2 x {wanted})", other.kind()));
        }
    };
    let (places, _) = values.as_chunks::<2>();
    match places.iter().zip(names).find(|(place, _)| !place.iter().all(|v| v.is_finite())) {
        Some((place, image)) => {
            Err(format!("dbStruct.{name}: {image} has the position {}, {}", place[0], place[1]))
        }
        None => Ok(places.to_vec()),
    }
}

fn side(
    mat: &Path,
    options: &DbStructOptions,
    (names, places): (Vec<String>, Vec<[f64; 2]>),
    zone: Option<UtmZone>,
    folders: &[&str],
) -> Result<Vec<Photo>> {
    let names: Vec<String> = names.into_iter().map(|name| name.replace('\\', "/")).collect();
    let (folder, as_png) = locate(mat, options, &names, folders)?;
    let photos = names.into_iter().zip(places).map(|(name, [easting, northing])| {
        let mut path = folder.join(&name);
        if as_png {
            path.set_extension("png");
        }
        let utm = Utm { easting, northing, zone };
        Photo { position: from_utm(&utm).ok().map(Into::into), utm: Some(utm), ..Photo::new(path, name) }
    });
    Ok(photos.collect())
}

/// The folder that names are relative to, and whether the files are PNG where names say JPEG (Tokyo 24/7's are).
fn locate(
    mat: &Path,
    options: &DbStructOptions,
    names: &[String],
    folders: &[&str],
) -> Result<(PathBuf, bool)> {
    let own = std::path::absolute(mat).unwrap_or_else(|_| mat.to_owned());
    let roots: Vec<&Path> = match &options.images {
        Some(root) => vec![root],
        None => own.ancestors().skip(1).take(2).collect(),
    };
    let places: Vec<PathBuf> =
        roots.iter().flat_map(|root| folders.iter().map(|folder| root.join(folder))).collect();
    for place in &places {
        for name in names.iter().take(PROBES) {
            let path = place.join(name);
            if path.is_file() {
                return Ok((place.clone(), false));
            }
            if path.with_extension("png").is_file() {
                return Ok((place.clone(), true));
            }
        }
    }
    let Some(first) = names.first() else { return Ok((PathBuf::new(), false)) };
    let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    Err(DataError::format(
        mat,
        None,
        format!("its images, the first being {first}, are not in {}: name their folder", places.join(", ")),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(fixture: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("temporary folder");
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity").join(fixture);
        let to = dir.path().join("datasets").join(fixture);
        std::fs::create_dir(dir.path().join("datasets")).expect("can be written");
        std::fs::copy(from, &to).expect("a fixture");
        (dir, to)
    }

    fn touch(dir: &Path, name: &str) {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().expect("has a folder")).expect("can be written");
        std::fs::write(path, b"").expect("can be written");
    }

    fn said(path: &Path, options: &DbStructOptions) -> String {
        read_dbstruct(path, options).expect_err("must be refused").to_string()
    }

    #[test]
    fn names_and_metres_of_both_sides() {
        for fixture in ["pitts_plain.mat", "pitts_packed.mat"] {
            let (dir, mat) = copied(fixture);
            touch(dir.path(), "000/b_pitch1_yaw1.jpg");
            touch(dir.path(), "queries_real/000/q_pitch1_yaw1.jpg");
            let set = read_dbstruct(&mat, &DbStructOptions::default()).expect(fixture);
            assert_eq!((set.database.len(), set.queries.len()), (3, 1));
            assert_eq!(set.database[2].name, "001/c_pitch2_yaw24.jpg");
            let zone = Some(UtmZone { number: 17, band: 'T' });
            assert_eq!(set.database[0].utm, Some(Utm { easting: 585_000.5, northing: 4_477_000.25, zone }));
            assert!(set.queries[0].lat_lon().is_some_and(|p| (p.lat - 40.44).abs() < 0.01));
            assert!(set.queries[0].path.ends_with("queries_real/000/q_pitch1_yaw1.jpg"));
            assert!(
                set.notes.contains(&"the file's own radius of positives is 25 m".to_owned()),
                "{:?}",
                set.notes
            );
        }
    }

    #[test]
    fn files_may_be_png_and_folders_may_be_named() {
        let (dir, mat) = copied("pitts_packed.mat");
        touch(dir.path(), "elsewhere/000/a_pitch1_yaw1.png");
        touch(dir.path(), "elsewhere/queries/000/q_pitch1_yaw1.png");
        assert!(said(&mat, &DbStructOptions::default()).contains("000/a_pitch1_yaw1.jpg, are not in"));
        let options = DbStructOptions { images: Some(dir.path().join("elsewhere")), zone: None };
        let set = read_dbstruct(&mat, &options).expect("sound");
        assert!(set.queries[0].path.ends_with("queries/000/q_pitch1_yaw1.png"));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let (dir, mat) = copied("pitts_no_queries.mat");
        touch(dir.path(), "000/a_pitch1_yaw1.jpg");
        let message = said(&mat, &DbStructOptions::default());
        assert!(message.contains("no field qImageFns, only: whichSet, dbImageFns, utmDb, utmQ"), "{message}");
        let (_dir, mat) = copied("pitts_short.mat");
        let message = said(&mat, &DbStructOptions::default());
        assert!(
            message.contains("dbStruct.utmDb is numbers (2 x 2), needed are numbers (2 x 3)"),
            "{message}"
        );
        let (_dir, mat) = copied("numbers.mat");
        let message = said(&mat, &DbStructOptions::default());
        assert!(message.contains("has no variable dbStruct; its variables: x, s, z"), "{message}");
    }
}
