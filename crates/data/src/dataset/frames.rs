//! Two recordings of one road whose frames show the same places (Nordland and similar).

use super::frame_numbers::Numbers;
use super::walk::{images_under, natural_order};
use super::{Dataset, GroundTruthRule, Sequences, folder_name};
use crate::{DataError, Photo, Result};
use std::path::Path;

/// How the frames of two recordings belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramesOptions {
    /// A reference within this many frames of the query's own is a positive.
    pub tolerance: usize,
    /// Queries are every frame of this step: 1 where both have the same frames, 10 for Nordland's 2,760 queries in 27,592
    /// frames.
    pub every: usize,
}

impl Default for FramesOptions {
    /// Nordland as the newer tools have it: equally many frames, 10 of them tolerance.
    fn default() -> Self {
        Self { tolerance: 10, every: 1 }
    }
}

/// Reads two folders. Frames belong together by the number in their names, where every frame has one of its own; else by
/// their order, natural (`frame2` before `frame10`).
///
/// # Errors
/// Folders without images, or whose frames do not fit together; an `every` of 0.
pub fn read_frames(database: &Path, queries: &Path, options: FramesOptions) -> Result<Dataset> {
    let FramesOptions { tolerance, every } = options;
    if every == 0 {
        return Err(DataError::Request("every 0th frame cannot be: every is 1 or more".into()));
    }
    let (database_photos, query_photos) = (side(database)?, side(queries)?);
    let (frames, asked) = (database_photos.len(), query_photos.len());
    let (positives, how) = match Numbers::of(&database_photos, &query_photos, every) {
        Some(numbers) => {
            let alone = numbers.alone();
            if alone == asked {
                return Err(DataError::Request(format!(
                    "no frame of {} has the number of one of {}: frames belong together by {}",
                    database.display(),
                    queries.display(),
                    numbers.how
                )));
            }
            let missing = if alone > 0 {
                format!("; the frames of {alone} queries are missing among them")
            } else {
                String::new()
            };
            (numbers.positives(tolerance), format!("by {}{missing}", numbers.how))
        }
        None if frames.div_ceil(every) != asked => {
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
        None => {
            let around = |i: usize| {
                let own = i * every;
                let first = own.saturating_sub(tolerance);
                (first..=own.saturating_add(tolerance).min(frames - 1)).map(|r| r as u32).collect()
            };
            (
                (0..asked).map(around).collect(),
                "in their order, as their names have no numbers of their own".into(),
            )
        }
    };
    let one_for = match frames.div_ceil(every) == asked {
        true => format!(", one for every {every} of"),
        false => " in".into(),
    };
    Ok(Dataset {
        left_out: 0,
        name: format!("{} in {}", folder_name(queries), folder_name(database)),
        truth: GroundTruthRule::Listed(positives),
        database: database_photos,
        queries: query_photos,
        notes: vec![
            format!(
                "{asked} queries{one_for} {frames} frames; positives within {tolerance} frames; never compare across \
                 numbers of queries or tolerances"
            ),
            format!("frames belong together {how}"),
        ],
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

    fn recordings(frames: &[String], asked: &[String]) -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().expect("temporary folder");
        let folders = ["summer", "winter"].map(|name| dir.path().join(name));
        for (folder, names) in folders.iter().zip([frames, asked]) {
            std::fs::create_dir(folder).expect("can be written");
            for name in names {
                std::fs::write(folder.join(format!("{name}.jpg")), b"").expect("can be written");
            }
        }
        let [database, queries] = folders;
        (dir, database, queries)
    }

    fn numbered(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
        numbers.into_iter().map(|i| format!("f{i}")).collect()
    }

    #[test]
    fn neighbours_count_as_positives_by_number() {
        let (_dir, db, q) = recordings(&numbered([0, 1, 2, 10]), &numbered([0, 1, 2, 10]));
        let near = FramesOptions { tolerance: 1, every: 1 };
        let set = read_frames(&db, &q, near).expect("aligned");
        assert_eq!(set.database[3].name, "f10.jpg");
        let expected = vec![vec![0, 1], vec![0, 1, 2], vec![1, 2], vec![3]];
        assert_eq!(set.truth, GroundTruthRule::Listed(expected.clone()));
        assert_eq!(set.notes[1], "frames belong together by the number in their names");
        std::fs::remove_file(q.join("f1.jpg")).expect("was written above");
        std::fs::remove_file(db.join("f2.jpg")).expect("was written above");
        let set = read_frames(&db, &q, near).expect("by number");
        assert_eq!(set.truth, GroundTruthRule::Listed(vec![vec![0, 1], vec![1], vec![2]]));
        assert!(
            set.notes[1].ends_with("; the frames of 1 queries are missing among them"),
            "{:?}",
            set.notes
        );
        let (_dir, db, q) = recordings(&numbered(0..3), &numbered([7, 9]));
        let said = read_frames(&db, &q, near).expect_err("other frames").to_string();
        assert!(said.contains("no frame of") && said.contains("the number in their names"), "{said}");
    }

    #[test]
    fn names_without_numbers_belong_together_in_order() {
        let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let (_dir, db, q) = recordings(&named(&["a", "b", "c"]), &named(&["x", "y", "z"]));
        let set = read_frames(&db, &q, FramesOptions { tolerance: 1, every: 1 }).expect("aligned");
        assert_eq!(set.truth, GroundTruthRule::Listed(vec![vec![0, 1], vec![0, 1, 2], vec![1, 2]]));
        assert!(set.notes[1].starts_with("frames belong together in their order"), "{:?}", set.notes);
        std::fs::remove_file(q.join("x.jpg")).expect("was written above");
        assert!(read_frames(&db, &q, FramesOptions::default()).is_err());
    }

    #[test]
    fn queries_may_be_every_tenth_frame() {
        let (_dir, db, q) = recordings(&numbered(0..25), &numbered([0, 10, 20]));
        let tenth = FramesOptions { tolerance: 1, every: 10 };
        let expected = GroundTruthRule::Listed(vec![vec![0, 1], vec![9, 10, 11], vec![19, 20, 21]]);
        let set = read_frames(&db, &q, tenth).expect("every tenth");
        assert_eq!(set.truth, expected);
        assert!(set.notes[0].contains("3 queries, one for every 10 of 25 frames"), "{:?}", set.notes);
        let letters: Vec<String> = (b'a'..=b'y').map(|letter| char::from(letter).to_string()).collect();
        let (_dir, db, q) = recordings(&letters, &letters[..3]);
        assert_eq!(read_frames(&db, &q, tenth).expect("in order").truth, expected);
        let said = read_frames(&db, &q, FramesOptions::default()).expect_err("not aligned").to_string();
        assert!(said.contains("are the queries every 10th frame?"), "{said}");
        assert!(read_frames(&db, &q, FramesOptions { tolerance: 1, every: 0 }).is_err());
    }
}
