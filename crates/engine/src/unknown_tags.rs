//! Why tags let no image pass.

use crate::Result;
use r2former_index::{Filter, ReadPlaces};

/// Images of a page while tags are looked through.
const PAGE: usize = 1000;

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
    let mut from = None;
    loop {
        let page = index.list(from, PAGE, &Filter::default())?;
        if page.places.iter().any(|(_, place)| place.tags.contains_key(key)) {
            return Ok(true);
        }
        from = page.next;
        if from.is_none() {
            return Ok(false);
        }
    }
}
