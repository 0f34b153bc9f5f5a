//! Readers for every supported layout of photographs on disk, and ground truth.
//!
//! A reader answers either with a [`Listing`] (photographs of one flat source: an EXIF folder, a CSV,
//! a folder of panoramas) or with a [`Dataset`] (a database and queries: datasets_vg, MSLS, Pittsburgh,
//! St Lucia, aligned folders, pairs). Two listings make a dataset with [`from_listings`]. Pixels are never decoded here.

mod addressed;
mod angle;
mod clock;
mod column_names;
mod columns;
mod content;
mod dbstruct;
mod exif_folder;
mod exiftool;
mod foreign;
mod frame_numbers;
mod frames;
mod heads;
mod hints;
mod images;
mod keyed_table;
mod label;
mod matlab;
mod msls;
mod msls_task;
mod names;
mod number;
mod others;
mod pairs;
mod panoramas;
mod placed;
mod point;
mod positions_csv;
mod priors;
mod region;
mod remarks;
mod row;
mod sequences;
mod shard;
mod source;
mod spec;
mod st_lucia;
mod table;
mod times;
mod timestamps;
mod truth;
mod vg;
mod walk;
mod zone;

pub use addressed::names_addresses;
pub use dbstruct::{DbStructOptions, read_dbstruct};
pub use exif_folder::list_exif_folder;
pub use frames::{FramesOptions, read_frames};
pub use heads::{HEAD_BYTES, Head, HeadOfPhoto, is_left_out, list_heads, look_at_head};
pub use images::{list_frames, list_images};
pub use label::{SourceRoot, check_label, source_root};
pub use msls::{MslsOptions, read_msls};
pub use msls_task::MslsTask;
pub use names::{composed_name, escaped_name, escaped_path};
pub use pairs::{photos_of, read_pairs};
pub use panoramas::{check_panorama_split, list_panoramas, split_panoramas};
pub use placed::distance_m;
pub use positions_csv::{LookUp, list_of_names, list_positions_bytes, list_positions_csv, look_on_disk};
pub use priors::{Prior, Priors, read_priors};
pub use region::Region;
pub use sequences::{SequenceSide, Sequences};
pub use shard::{Part, Shard};
pub use source::{Kind, SourceOptions, detect, list_photos, unsupported_format, unused_options};
pub use spec::DatasetSpec;
pub use st_lucia::{StLuciaOptions, read_st_lucia};
pub(crate) use timestamps::moment;
pub use timestamps::{time_seconds, time_text};
pub use truth::{GroundTruth, MAX_RADIUS_M};
pub use vg::{VgName, VgOptions, format_vg_name, parse_vg_name, read_vg};

use crate::Photo;
use std::path::{Path, PathBuf};

/// Photographs of one flat source.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Listing {
    /// Usable photographs, in the source's order.
    pub photos: Vec<Photo>,
    /// Photographs that the source names and that cannot be used, each with the reason.
    pub skipped: Vec<Skipped>,
    /// How the source was understood: columns, units, counts. For people to read.
    pub notes: Vec<String>,
}

/// A photograph, or a row of a table, that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The file; of a row without a readable path, the table.
    pub path: PathBuf,
    /// Why, and what to do about it.
    pub reason: String,
    /// What kind of reason it is.
    pub kind: SkipKind,
}

impl Skipped {
    /// A file that was refused when it was read, without its path at the start of the reason.
    pub fn unusable(path: PathBuf, reason: &str) -> Self {
        let own = format!("{}: ", path.display());
        let reason = reason.strip_prefix(&own).unwrap_or(reason).to_owned();
        let kind = match unsupported_format(&path) {
            Some(_) => SkipKind::Unsupported,
            None => SkipKind::Unreadable,
        };
        Self { path, reason, kind }
    }
}

/// Why a photograph cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SkipKind {
    /// It states no position.
    WithoutPosition,
    /// Its file is missing or damaged, or what its source says of it is wrong.
    Unreadable,
    /// It is in a format that is not read.
    Unsupported,
}

/// A database, queries, and which database images are right for each query.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// What reports call it; usually the folder's name and the variant.
    pub name: String,
    /// The images that are searched; of sequences, the middle frame of each.
    pub database: Vec<Photo>,
    /// The images whose place is sought; of sequences, the middle frame of each.
    pub queries: Vec<Photo>,
    /// Which database images are right.
    pub truth: GroundTruthRule,
    /// The variant in words: subtask, split, dropped images, tolerances. For people to read.
    pub notes: Vec<String>,
    /// Where queries or references are sequences: their frames.
    pub sequences: Sequences,
    /// Number of photographs of the sources that were left out; the notes say why.
    pub left_out: usize,
}

/// How a dataset says which database images are right for a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroundTruthRule {
    /// By distance: see [`GroundTruth::by_radius`].
    Positions,
    /// For each query (in the order of [`Dataset::queries`]) the indices of its positives in
    /// [`Dataset::database`], ascending and without repetition.
    Listed(Vec<Vec<u32>>),
}

/// Makes a dataset of two listings; positives are decided by positions. The listings' notes are
/// kept, and skipped photographs are counted in the dataset's notes.
pub fn from_listings(name: impl Into<String>, database: Listing, queries: Listing) -> Dataset {
    let mut notes = Vec::new();
    for (side, listing) in [("database", &database), ("queries", &queries)] {
        notes.extend(listing.notes.iter().map(|note| format!("{side}: {note}")));
        notes.extend(skipped_note(side, &listing.skipped));
    }
    Dataset {
        left_out: database.skipped.len() + queries.skipped.len(),
        name: name.into(),
        database: database.photos,
        queries: queries.photos,
        truth: GroundTruthRule::Positions,
        notes,
        sequences: Sequences::default(),
    }
}

/// How many photographs a note on those that were skipped names.
const NAMED: usize = 3;

/// One line on how many photographs of a side were skipped, and why the first ones were.
fn skipped_note(side: &str, skipped: &[Skipped]) -> Option<String> {
    let named: Vec<String> =
        skipped.iter().take(NAMED).map(|s| format!("{} ({})", s.path.display(), s.reason)).collect();
    let more = skipped.len().saturating_sub(NAMED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!named.is_empty()).then(|| format!("{side}: {} skipped: {}{rest}", skipped.len(), named.join(", ")))
}

/// What reports call the dataset in a folder: the last part of its path that is a name.
fn folder_name(root: &Path) -> String {
    let full = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    full.file_name().map_or_else(|| "dataset".into(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_listings_make_a_dataset() {
        let listing = |name: &str| Listing {
            photos: vec![Photo::new(name, name)],
            skipped: vec![Skipped {
                path: "lost.jpg".into(),
                reason: "does not exist".into(),
                kind: SkipKind::Unreadable,
            }],
            notes: vec!["read".into()],
        };
        let set = from_listings("both", listing("a.jpg"), listing("b.jpg"));
        assert_eq!((set.name.as_str(), &set.truth), ("both", &GroundTruthRule::Positions));
        assert_eq!((set.database[0].name.as_str(), set.queries[0].name.as_str()), ("a.jpg", "b.jpg"));
        assert_eq!(set.notes[0], "database: read");
        assert_eq!(set.notes[3], "queries: 1 skipped: lost.jpg (does not exist)");
    }
}
