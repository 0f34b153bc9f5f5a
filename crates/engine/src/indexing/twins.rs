//! The same file under two names.

use crate::Result;
use r2former_data::Photo;
use r2former_index::{FileFingerprint, Place, ReadPlaces};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Names that stand for the files that were asked about: in the index and in this run.
#[derive(Debug, Default)]
pub(super) struct Twins {
    /// Two names of a file suffice: one of them is another than any third.
    names: HashMap<FileFingerprint, Vec<String>>,
}

impl Twins {
    /// Another name for each of some files, in their order. Images of the index that are about to be replaced do not
    /// count: their files are others soon.
    pub(super) fn look_up(
        &mut self,
        index: &impl ReadPlaces,
        files: impl Iterator<Item = FileFingerprint>,
        replaced: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let unknown: BTreeSet<_> = files.filter(|file| !self.names.contains_key(file)).collect();
        let unknown: Vec<_> = unknown.into_iter().collect();
        for (&file, places) in unknown.iter().zip(index.with_file(&unknown)?) {
            self.names.entry(file).or_default();
            for place in places.iter().filter(|place| !replaced(&place.name)) {
                self.note(file, name_of_place(place));
            }
        }
        Ok(())
    }

    /// Another name than `name` for a file that was looked up.
    pub(super) fn other(&self, file: FileFingerprint, name: &str) -> Option<&str> {
        self.names.get(&file)?.iter().map(String::as_str).find(|other| *other != name)
    }

    /// From now on `name` stands for the file too.
    pub(super) fn note(&mut self, file: FileFingerprint, name: &str) {
        let names = self.names.entry(file).or_default();
        if names.len() < 2 && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
}

/// The name of the file that an image is of: views of one panorama share one.
pub(super) fn name_of_photo(photo: &Photo) -> &str {
    panorama_of_photo(photo).unwrap_or(&photo.name)
}

fn name_of_place(place: &Place) -> &str {
    panorama_of_place(place).unwrap_or(&place.name)
}

/// The panorama that a photograph is a view of.
pub(super) fn panorama_of_photo(photo: &Photo) -> Option<&str> {
    photo.view.and(photo.tags.get("panorama")).map(String::as_str)
}

/// The panorama that an image of the index is a view of. Anybody may call a tag `panorama`; a view's name says so, too.
pub(super) fn panorama_of_place(place: &Place) -> Option<&str> {
    let panorama = place.tags.get("panorama")?;
    place.name.strip_prefix(panorama.as_str())?.starts_with('#').then_some(panorama)
}

/// The first part of each name: the labels that are in use.
pub(super) fn labels<'a>(names: impl Iterator<Item = &'a str>) -> HashSet<&'a str> {
    names.filter_map(|name| Some(name.split_once('/')?.0)).collect()
}
