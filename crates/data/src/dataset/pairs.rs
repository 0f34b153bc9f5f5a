//! Any two sets of images, and a table that says which belong together.

use super::names::relative_name;
use super::positions_csv::list_images_csv;
use super::table::Table;
use super::walk::images_under;
use super::{Dataset, GroundTruthRule, Sequences, folder_name};
use crate::{DataError, Photo, Result};
use std::collections::HashMap;
use std::path::Path;

/// Reads a database, queries, and a CSV of positives with the columns `query,reference`.
///
/// Each side is a folder (its images at any depth), a text file that lists images, one per line, or a table
/// (`.csv`, `.tsv`) as [`list_positions_csv`](super::list_positions_csv) reads it, whose positions may be missing.
/// Paths in the files are relative to their own folder, paths in the table of positives to the folders. A query
/// without a row has no positives. Further columns of the table of positives become tags of the query, as those of
/// a side's table become tags of its images.
///
/// # Errors
/// A side that is missing or has no images; a table without its header; a row that names an image which is
/// not there, with its line and the nearest name; rows that say different things of one query.
pub fn read_pairs(database: &Path, queries: &Path, positives: &Path) -> Result<Dataset> {
    let table = Table::read(positives)?;
    let columns = (table.column("query"), table.column("reference"));
    let (Some(query_at), Some(reference_at)) = columns else {
        return Err(table.complain(
            1,
            format!("needs the header query,reference; its first line is: {}", table.header.join(",")),
        ));
    };
    let database_photos = photos_of(database)?;
    let mut query_photos = photos_of(queries)?;
    let mut tags = Vec::new();
    let reference_of = by_name(&database_photos);
    let query_of = by_name(&query_photos);
    let mut listed = vec![Vec::new(); query_photos.len()];
    for (line, cells) in &table.rows {
        let find = |names: &HashMap<&str, u32>, cell: &str, what: &str, folder: &Path| {
            let name = relative_name(Path::new(""), Path::new(&cell.replace('\\', "/")));
            names.get(name.as_str()).copied().ok_or_else(|| {
                let near =
                    nearest(names, &name).map(|n| format!("; the nearest name is {n}")).unwrap_or_default();
                table.complain(*line, format!("{what} {cell} is not in {}{near}", folder.display()))
            })
        };
        let q = find(&query_of, &cells[query_at], "query", queries)?;
        let r = find(&reference_of, &cells[reference_at], "reference", database)?;
        listed[q as usize].push(r);
        let others = (0..cells.len()).filter(|at| ![query_at, reference_at].contains(at));
        tags.extend(
            others.filter(|at| !cells[*at].is_empty()).map(|at| (q as usize, *line, at, cells[at].as_str())),
        );
    }
    for (q, line, at, cell) in tags {
        let photo = &mut query_photos[q];
        let name = &table.header[at];
        match photo.tags.insert(name.clone(), cell.to_owned()) {
            Some(before) if before != cell => {
                return Err(table.complain(
                    line,
                    format!(
                        "{name} of query {} is {cell} here and {before} elsewhere: it describes the query",
                        photo.name
                    ),
                ));
            }
            _ => {}
        }
    }
    for positives in &mut listed {
        positives.sort_unstable();
        positives.dedup();
    }
    let alone = listed.iter().filter(|p| p.is_empty()).count();
    let notes =
        if alone > 0 { vec![format!("{alone} queries have no row of positives")] } else { Vec::new() };
    Ok(Dataset {
        left_out: 0,
        name: name_of(positives),
        database: database_photos,
        queries: query_photos,
        truth: GroundTruthRule::Listed(listed),
        notes,
        sequences: Sequences::default(),
    })
}

/// The photographs of a folder, of a text file with one path per line or of a table with a column `path`; positions are not needed.
///
/// # Errors
/// [`DataError::Io`] for a source that cannot be read, [`DataError::Format`] for one that holds no images, or a table without
/// paths.
pub fn photos_of(source: &Path) -> Result<Vec<Photo>> {
    let extension = source.extension().map(|e| e.to_ascii_lowercase());
    let photos: Vec<Photo> = if source.is_dir() {
        images_under(source)?.images.into_iter().map(|(path, name)| Photo::new(path, name)).collect()
    } else if extension.is_some_and(|e| e == "csv" || e == "tsv") {
        list_images_csv(source)?.photos
    } else {
        let text = std::fs::read_to_string(source).map_err(|e| DataError::io(source, e))?;
        let folder = source.parent().unwrap_or(Path::new(""));
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines
            .map(|line| {
                let path = folder.join(line.replace('\\', "/"));
                let name = relative_name(folder, &path);
                Photo::new(path, name)
            })
            .collect()
    };
    if photos.is_empty() {
        return Err(DataError::format(source, None, "holds no images"));
    }
    Ok(photos)
}

/// What reports call it: a table of positives has the same name everywhere, so the folder's goes before it.
fn name_of(positives: &Path) -> String {
    let full = std::path::absolute(positives).unwrap_or_else(|_| positives.to_owned());
    let table = full.file_stem().unwrap_or_default().to_string_lossy();
    match full.parent() {
        Some(folder) => format!("{}/{table}", folder_name(folder)),
        None => table.into_owned(),
    }
}

fn by_name(photos: &[Photo]) -> HashMap<&str, u32> {
    photos.iter().enumerate().map(|(i, photo)| (photo.name.as_str(), i as u32)).collect()
}

/// The name that shares the most of its beginning and end with `wanted`.
fn nearest<'a>(names: &HashMap<&'a str, u32>, wanted: &str) -> Option<&'a str> {
    let alike = |name: &str| {
        let front = name.bytes().zip(wanted.bytes()).take_while(|(a, b)| a == b).count();
        let back = name.bytes().rev().zip(wanted.bytes().rev()).take_while(|(a, b)| a == b).count();
        front + back
    };
    // Ties go to the first in order, so that the message is always the same.
    names.keys().copied().max_by(|a, b| alike(a).cmp(&alike(b)).then(b.cmp(a)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("temporary folder");
        for name in ["db/a.jpg", "db/deep/b.png", "q/1.jpg", "q/2.jpg"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().expect("has a folder")).expect("can be written");
            std::fs::write(path, b"").expect("can be written");
        }
        dir
    }

    fn read(dir: &Path, text: &str) -> Result<Dataset> {
        let table = dir.join("positives.csv");
        std::fs::write(&table, text).expect("can be written");
        read_pairs(&dir.join("db"), &dir.join("q"), &table)
    }

    #[test]
    fn rows_become_indices() {
        let dir = folders();
        let set = read(dir.path(), "query,reference\n1.jpg,a.jpg\n./1.jpg,deep\\b.png\n1.jpg,a.jpg\n")
            .expect("sound");
        assert_eq!(set.truth, GroundTruthRule::Listed(vec![vec![0, 1], vec![]]));
        assert_eq!(set.notes, ["1 queries have no row of positives"]);
    }

    #[test]
    fn an_unknown_name_is_reported_with_its_line_and_the_nearest() {
        let dir = folders();
        let said =
            read(dir.path(), "query,reference\n1.jpg,a.jpg\n2.jpg,deep/c.png\n").expect_err("c is not there");
        let said = said.to_string();
        assert!(
            said.contains("positives.csv:3") && said.contains("deep/c.png") && said.contains("deep/b.png"),
            "{said}"
        );
    }

    #[test]
    fn the_header_is_needed() {
        let dir = folders();
        let said = read(dir.path(), "1.jpg,a.jpg\n").expect_err("no header").to_string();
        assert!(said.contains("query,reference"), "{said}");
    }

    #[test]
    fn sides_may_be_lists() {
        let dir = folders();
        let list = dir.path().join("db.txt");
        std::fs::write(&list, "# database\ndb/a.jpg\n").expect("can be written");
        let table = dir.path().join("p.csv");
        std::fs::write(&table, "query,reference\n2.jpg,db/a.jpg\n").expect("can be written");
        let set = read_pairs(&list, &dir.path().join("q"), &table).expect("sound");
        assert_eq!(set.truth, GroundTruthRule::Listed(vec![vec![], vec![0]]));
    }

    #[test]
    fn conditions_stand_beside_the_queries_or_the_positives() {
        let dir = folders();
        let list = dir.path().join("q.csv");
        let text = "path,condition,time\nq/1.jpg,rain,2024-01-31T22:00:00Z\nq/2.jpg,,\n";
        std::fs::write(&list, text).expect("can be written");
        let table = dir.path().join("p.csv");
        let read = |rows: &str| {
            std::fs::write(&table, format!("query,reference,season\n{rows}")).expect("can be written");
            read_pairs(&dir.path().join("db"), &list, &table)
        };
        let set = read("q/1.jpg,a.jpg,winter\nq/1.jpg,deep/b.png,winter\nq/2.jpg,a.jpg,\n").expect("sound");
        let tags = |i: usize| set.queries[i].tags.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>();
        assert_eq!(tags(0), ["condition=rain", "season=winter"]);
        assert!(tags(1).is_empty() && set.queries[0].time.is_some());
        let said =
            read("q/1.jpg,a.jpg,winter\nq/1.jpg,deep/b.png,summer\n").expect_err("contradicts").to_string();
        assert!(
            said.contains("p.csv:3: season of query q/1.jpg is summer here and winter elsewhere"),
            "{said}"
        );
    }
}
