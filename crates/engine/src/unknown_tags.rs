//! Why tags let no image pass.

use crate::Result;
use r2former_index::{Filter, ReadPlaces};

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
