//! Why nothing was found: no image at all, or none that tags let pass.

use crate::Result;
use r2former_index::{Filter, ReadPlaces};

/// What is to be said of an answer without matches: that the index is empty, or [which tags](unknown_tags) no image carries.
///
/// # Errors
/// [`EngineError::Index`](crate::EngineError::Index) for a failing index.
pub fn why_nothing(index: &impl ReadPlaces, filter: &Filter) -> Result<Vec<String>> {
    match index.list(None, 1, &Filter::default())?.places.is_empty() {
        true => Ok(vec!["the index is empty".into()]),
        false => unknown_tags(index, filter),
    }
}

/// Why the tags of a filter let no image pass, for each that none carries. Reads every place where no image carries a
/// tag.
///
/// # Errors
/// [`EngineError::Index`](crate::EngineError::Index) for a failing index.
pub fn unknown_tags(index: &impl ReadPlaces, filter: &Filter) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for (key, value) in &filter.tags {
        let one = Filter { tags: [(key.clone(), value.clone())].into(), ..Filter::default() };
        if index.count(&one)? > 0 {
            continue;
        }
        notes.push(if carries(index, key)? {
            format!("no image of the index carries the tag {key}={value}")
        } else {
            format!("no image of the index carries a tag {key}")
        });
    }
    Ok(notes)
}

/// Whether any image has a tag of this key.
fn carries(index: &impl ReadPlaces, key: &str) -> Result<bool> {
    Ok(index.any_place(&Filter::default(), &mut |_, place| place.tags.contains_key(key))?)
}
