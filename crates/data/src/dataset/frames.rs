//! Two recordings of one road whose frames show the same places (Nordland and similar).

use super::walk::{images_under, natural_order};
use super::{Dataset, GroundTruthRule, Sequences, folder_name};
use crate::{DataError, Photo, Result};
use std::path::Path;

/// How the frames of two recordings belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramesOptions {
    /// A reference within this many frames of the query's own is a positive.
    pub tolerance: usize,
    /// The i-th query shows frame i times this: 1 where both have the same frames, 10 for Nordland's 2,760 queries
    /// in 27,592 frames.
    pub every: usize,
}

impl Default for FramesOptions {
    /// Nordland as the newer tools have it: equally many frames, 10 of them tolerance.
    fn default() -> Self {
        Self { tolerance: 10, every: 1 }
    }
}

/// Reads two folders; frames are put in natural order (`frame2` before `frame10`).
///
/// # Errors
/// Folders without images, or whose numbers of them do not fit together; an `every` of 0.
pub fn read_frames(database: &Path, queries: &Path, options: FramesOptions) -> Result<Dataset> {
    let FramesOptions { tolerance, every } = options;
    if every == 0 {
        return Err(DataError::Request("every 0th frame cannot be: every is 1 or more".into()));
    }
    let (database_photos, query_photos) = (side(database)?, side(queries)?);
    let (frames, asked) = (database_photos.len(), query_photos.len());
    if frames.div_ceil(every) != asked {
        let hint = if every == 1 && asked == frames.div_ceil(10) {
            "; are the queries every 10th frame?"
        } else {
            ""
        };
        return Err(DataError::Request(format!(
            "{} has {frames} frames and {} has {asked}: a query for every {every} of them would be {}{hint}",
            database.display(),
            queries.display(),
            frames.div_ceil(every)
        )));
    }
    let around = |i: usize| {
        let own = i * every;
        (own.saturating_sub(tolerance)..=(own + tolerance).min(frames - 1)).map(|r| r as u32).collect()
    };
    Ok(Dataset {
        left_out: 0,
        name: format!("{} in {}", folder_name(queries), folder_name(database)),
        truth: GroundTruthRule::Listed((0..asked).map(around).collect()),
        database: database_photos,
        queries: query_photos,
        notes: vec![format!(
            "{asked} queries, one for every {every} of {frames} frames; positives within {tolerance} frames; never \
             compare across numbers of queries or tolerances"
        )],
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
    use std::path::PathBuf;

    fn recordings(frames: &[usize], asked: &[usize]) -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().expect("temporary folder");
        let folders = ["summer", "winter"].map(|name| dir.path().join(name));
        for (folder, numbers) in folders.iter().zip([frames, asked]) {
            std::fs::create_dir(folder).expect("can be written");
            for i in numbers {
                std::fs::write(folder.join(format!("f{i}.jpg")), b"").expect("can be written");
            }
        }
        let [database, queries] = folders;
        (dir, database, queries)
    }

    #[test]
    fn neighbours_count_as_positives_and_order_is_natural() {
        let (_dir, db, q) = recordings(&[0, 1, 2, 10], &[0, 1, 2, 10]);
        let near = FramesOptions { tolerance: 1, every: 1 };
        let set = read_frames(&db, &q, near).expect("aligned");
        assert_eq!(set.database[3].name, "f10.jpg");
        assert_eq!(
            set.truth,
            GroundTruthRule::Listed(vec![vec![0, 1], vec![0, 1, 2], vec![1, 2, 3], vec![2, 3]])
        );
        std::fs::remove_file(q.join("f10.jpg")).expect("was written above");
        assert!(read_frames(&db, &q, near).is_err());
    }

    #[test]
    fn queries_may_be_every_tenth_frame() {
        let (_dir, db, q) = recordings(&(0..25).collect::<Vec<_>>(), &[0, 10, 20]);
        let set = read_frames(&db, &q, FramesOptions { tolerance: 1, every: 10 }).expect("every tenth");
        assert_eq!(set.truth, GroundTruthRule::Listed(vec![vec![0, 1], vec![9, 10, 11], vec![19, 20, 21]]));
        assert!(set.notes[0].contains("3 queries, one for every 10 of 25 frames"), "{:?}", set.notes);
        let said = read_frames(&db, &q, FramesOptions::default()).expect_err("not aligned").to_string();
        assert!(said.contains("are the queries every 10th frame?"), "{said}");
        assert!(read_frames(&db, &q, FramesOptions { tolerance: 1, every: 0 }).is_err());
    }
}
