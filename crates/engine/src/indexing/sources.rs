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
    for source in &index.sources()? {
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
/// no longer exists, and most of a sample of the `photos` are the files that the index has from there, by their relative
/// names and their bytes. Adding them would double the source. For whoever has not chosen the labels, which would say that
/// this is meant.
///
/// # Errors
/// [`EngineError::Request`] names both and says what to do; [`EngineError::Index`] for a failing index.
pub fn check_renamed(index: &impl ReadPlaces, photos: &[Photo], sources: &[Source]) -> Result<()> {
    let known = index.sources()?;
    let gone = |source: &&Source| {
        !source.is_uploads() && !source.root.contains("://") && !Path::new(&source.root).exists()
    };
    let gone: Vec<&Source> = known.iter().filter(gone).collect();
    for source in sources.iter().filter(|source| known.iter().all(|known| known.label != source.label)) {
        let own: Vec<&Photo> = photos.iter().filter(|photo| source.holds(&photo.name)).collect();
        let sample: Vec<&Photo> = own.iter().step_by(own.len().div_ceil(COMPARED).max(1)).copied().collect();
        for old in &gone {
            let named =
                |photo: &&Photo| place_id(&format!("{}{}", old.label, &photo.name[source.label.len()..]));
            let places = index.get(&sample.iter().map(named).collect::<Vec<_>>())?;
            let is_same = |(photo, place): &(&&Photo, Option<Place>)| {
                let file = place.as_ref().and_then(|place| place.file);
                file.is_some_and(|file| FileFingerprint::of_file(&photo.path).is_ok_and(|own| own == file))
            };
            let same = sample.iter().zip(places).filter(is_same).count();
            if same > 0 && 2 * same >= sample.len() {
                return Err(EngineError::Request(format!(
                    "{} holds the photographs that this index has from {}, which no longer exists: it seems to have been renamed, \
                     and their names would begin with {:?} instead of {:?}; nothing was added. To keep their names: --label {} \
                     --moved. To add them once more under new names: --label {}",
                    source.root,
                    old.root,
                    source.label,
                    old.label,
                    shell_word(&old.label),
                    shell_word(&source.label)
                )));
            }
        }
    }
    Ok(())
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
