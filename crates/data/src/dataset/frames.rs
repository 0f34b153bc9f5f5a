//! Two recordings of one road whose i-th frames show the same place (Nordland and its kin).

use super::walk::{images_under, natural_order};
use super::{Dataset, Sequences, Truth, folder_name};
use crate::{DataError, Photo, Result};
use std::path::Path;

/// Reads two folders; frames are put in natural order (`frame2` before `frame10`). A reference within
/// `tolerance` frames of the query's number is a positive.
///
/// # Errors
/// Folders without images, or with different numbers of them.
pub fn read_frames(database: &Path, queries: &Path, tolerance: usize) -> Result<Dataset> {
    let (database_photos, query_photos) = (side(database)?, side(queries)?);
    if database_photos.len() != query_photos.len() {
        return Err(DataError::Request(format!(
            "{} has {} frames and {} has {}: frame-aligned recordings have equally many",
            database.display(),
            database_photos.len(),
            queries.display(),
            query_photos.len()
        )));
    }
    let last = database_photos.len() - 1;
    let around =
        |i: usize| (i.saturating_sub(tolerance)..=(i + tolerance).min(last)).map(|r| r as u32).collect();
    Ok(Dataset {
        name: format!("{} in {}", folder_name(queries), folder_name(database)),
        truth: Truth::Listed((0..query_photos.len()).map(around).collect()),
        database: database_photos,
        queries: query_photos,
        notes: vec![format!("positives within {tolerance} frames; never compare across tolerances")],
        sequences: Sequences::default(),
    })
}

fn side(folder: &Path) -> Result<Vec<Photo>> {
    let mut images = images_under(folder)?.images;
    if images.is_empty() {
        return Err(DataError::format(folder, None, "holds no images"));
    }
    images.sort_by(|a, b| natural_order(&a.1, &b.1));
    Ok(images.into_iter().map(|(path, name)| Photo::new(path, name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_count_as_positives_and_order_is_natural() {
        let dir = tempfile::tempdir().expect("temporary folder");
        for side in ["summer", "winter"] {
            std::fs::create_dir(dir.path().join(side)).expect("can be written");
            for i in [0, 1, 2, 10] {
                std::fs::write(dir.path().join(side).join(format!("f{i}.jpg")), b"").expect("can be written");
            }
        }
        let (db, q) = (dir.path().join("summer"), dir.path().join("winter"));
        let set = read_frames(&db, &q, 1).expect("aligned");
        assert_eq!(set.database[3].name, "f10.jpg");
        assert_eq!(set.truth, Truth::Listed(vec![vec![0, 1], vec![0, 1, 2], vec![1, 2, 3], vec![2, 3]]));
        std::fs::remove_file(q.join("f10.jpg")).expect("was written above");
        assert!(read_frames(&db, &q, 1).is_err());
    }
}
