//! Labels: each stands for one folder or table, in one run and in all runs of an index.

use super::AddOptions;
use crate::{EngineError, Result};
use r2former_data::{Photo, shell_word};
use r2former_index::{FileFingerprint, Filter, Place, ReadPlaces, Source, place_id};
use std::collections::BTreeMap;
use std::path::Path;

/// Refuses sources whose label stands for another folder or table: in [`AddOptions::sources`], or in the index. A label
/// without any image left in the index is free, and so is every label of a source that [was moved](AddOptions::moved); but
/// that of the photographs which were sent to a service ([`Source::is_uploads`]) is never.
///
/// # Errors
/// [`EngineError::Request`] names the label and both roots; [`EngineError::Index`] for a failing index.
pub fn check_sources(index: &impl ReadPlaces, options: &AddOptions) -> Result<()> {
    let mut roots: BTreeMap<&str, &str> = BTreeMap::new();
    for Source { label, root } in &options.sources {
        let first = *roots.entry(label).or_insert(root);
        if first != root {
            return Err(EngineError::Request(format!(
                "{first} and {root} have the same label, {label:?}, with which the names of their photographs would begin; \
                 nothing was added. Give each a label: --label A --label B, in the order of the sources"
            )));
        }
    }
    let known = index.sources()?;
    for (label, root) in &roots {
        let is_known = known.iter().any(|source| source.label == *label && source.root == *root);
        if *label == Source::UPLOADS && *root != Source::UPLOADS && !is_known {
            return Err(EngineError::Request(format!(
                "the label {label:?} stands for the photographs that are sent to `r2former serve`, and {root} cannot have it; \
                 nothing was added. Give it a label of its own: --label NAME"
            )));
        }
    }
    for source in &known {
        let Source { label, root: known } = source;
        let Some(root) = roots.get(label.as_str()).filter(|root| *root != known) else { continue };
        if source.is_uploads() {
            return Err(EngineError::Request(format!(
                "the label {label:?} stands for the photographs that were sent to `r2former serve` in this index, and {root} \
                 cannot have it; nothing was added. Give it a label of its own: --label NAME"
            )));
        }
        if options.moved {
            continue;
        }
        if !has_images(index, label)? {
            continue;
        }
        let cure = if known.contains("://") || Path::new(known).exists() {
            "Give it a label of its own: --label NAME. (--moved would take it for the same source in a new place)"
        } else {
            "The first no longer exists: if it was moved or renamed, say so with --moved; if this is another source, \
             give it a label of its own with --label NAME"
        };
        return Err(EngineError::Request(format!(
            "the label {label:?} stands for {known} in this index, and {root} has the same label; nothing was added. \
             {cure}"
        )));
    }
    Ok(())
}

/// Photographs of a source that are compared with the index to see whether it was renamed.
const COMPARED: usize = 8;

/// Refuses sources that have a label of their own and seem to be one of the index's under another name: its folder or table
/// no longer exists, and more than half of a sample of their files are those that the index has from there, by their
/// relative names and their bytes. Adding them would double the source. `photos` are what would be added: panoramas are cut
/// into views already, whose names the index has. For whoever has not chosen the labels, which would say that this is meant.
///
/// # Errors
/// [`EngineError::Request`] names both and says what to do; [`EngineError::Index`] for a failing index.
pub fn check_renamed(index: &impl ReadPlaces, photos: &[Photo], sources: &[Source]) -> Result<()> {
    let known = index.sources()?;
    let gone = |source: &&Source| {
        !source.is_uploads() && !source.root.contains("://") && !Path::new(&source.root).exists()
    };
    let gone: Vec<&Source> = known.iter().filter(gone).collect();
    let mut pairs = Vec::new();
    let mut ids = Vec::new();
    for source in sources.iter().filter(|source| known.iter().all(|known| known.label != source.label)) {
        let sample = sample(photos.iter().filter(|photo| source.holds(&photo.name)).collect());
        for old in &gone {
            let under = |photo: &Photo| format!("{}{}", old.label, &photo.name[source.label.len()..]);
            ids.extend(sample.iter().map(|photo| place_id(&under(photo))));
            pairs.push((source, *old, sample.clone()));
        }
    }
    if ids.is_empty() {
        return Ok(());
    }
    let mut places = index.get(&ids)?.into_iter();
    for (source, old, sample) in pairs {
        let is_same = |(photo, place): &(&&Photo, Option<Place>)| {
            let file = place.as_ref().and_then(|place| place.file);
            file.is_some_and(|file| FileFingerprint::of_file(&photo.path).is_ok_and(|own| own == file))
        };
        let same = sample.iter().zip(places.by_ref().take(sample.len())).filter(is_same).count();
        if 2 * same > sample.len() {
            return Err(renamed(source, old, sources.len() > 1));
        }
    }
    Ok(())
}

/// A few of some photographs, evenly spaced, of each file one.
fn sample(mut photos: Vec<&Photo>) -> Vec<&Photo> {
    // Views of a panorama follow each other.
    photos.dedup_by(|a, b| a.path == b.path);
    let step = photos.len().div_ceil(COMPARED).max(1);
    photos.into_iter().step_by(step).collect()
}

/// What to do about a source that has another name in the index; with others it cannot have a label alone.
fn renamed(source: &Source, old: &Source, among_others: bool) -> EngineError {
    let alone = if among_others { "add it alone with " } else { "" };
    EngineError::Request(format!(
        "{} holds the photographs that this index has from {}, which no longer exists: it seems to have been renamed, and \
         their names would begin with {:?} instead of {:?}; nothing was added. To keep their names: {alone}{} --moved. To add \
         them once more under new names: {alone}{}",
        source.root,
        old.root,
        source.label,
        old.label,
        label_option(&old.label),
        label_option(&source.label)
    ))
}

/// `--label NAME` as a shell and the command read it, also where the name looks like an option.
fn label_option(label: &str) -> String {
    let between = if label.starts_with('-') { '=' } else { ' ' };
    format!("--label{between}{}", shell_word(label))
}

/// Whether any image has a name of this label. Reads all names if none has; asked where a label's root differs.
fn has_images(index: &impl ReadPlaces, label: &str) -> Result<bool> {
    let source = Source { label: label.to_owned(), root: String::new() };
    Ok(index.any_place(&Filter::default(), &mut |_, place| source.holds(&place.name))?)
}

/// The sources that the index does not know as they are.
pub(super) fn unknown(index: &impl ReadPlaces, sources: &[Source]) -> Result<Vec<Source>> {
    let known = index.sources()?;
    let mut unknown: Vec<Source> = Vec::new();
    for source in sources {
        if !known.contains(source) && !unknown.contains(source) {
            unknown.push(source.clone());
        }
    }
    Ok(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_each_file_once() {
        let photos: Vec<Photo> =
            (0..40).map(|i| Photo::new(format!("{}.jpg", i / 8), format!("{i}"))).collect();
        let names = |photos: &[Photo]| -> Vec<String> {
            sample(photos.iter().collect()).into_iter().map(|photo| photo.name.clone()).collect()
        };
        assert_eq!(names(&photos), ["0", "8", "16", "24", "32"]);
        let photos: Vec<Photo> = (0..20).map(|i| Photo::new(format!("{i}.jpg"), format!("{i}"))).collect();
        assert_eq!(names(&photos), ["0", "3", "6", "9", "12", "15", "18"]);
        assert!(names(&[]).is_empty());
    }

    #[test]
    fn printed_cures_can_be_pasted() {
        let source = |label: &str| Source { label: label.into(), root: format!("/{label}") };
        let said = |old: &str, among| renamed(&source("new"), &source(old), among).to_string();
        assert!(said("my day", false).ends_with(
            "To keep their names: --label 'my day' --moved. To add them once more under new names: --label new"
        ));
        assert!(said("-day", false).contains("names: --label=-day --moved"), "{}", said("-day", false));
        let among = said("old", true);
        assert!(among.contains("add it alone with --label old --moved. To"), "{among}");
        assert!(among.ends_with("add it alone with --label new"), "{among}");
    }
}
