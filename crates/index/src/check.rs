//! What a change must satisfy before a store takes it: the same everywhere.

use std::collections::HashSet;

use crate::manifest::IndexConfig;
use crate::place::{NewPlace, Place, Source};
use crate::query::unit_length;
use crate::traits::Batch;

/// Longest label in bytes: keys of LMDB end at 511.
const LONGEST_LABEL: usize = 255;

impl Batch<'_> {
    /// The descriptors of the images to add, at unit length: as they are stored.
    ///
    /// # Errors
    /// What is wrong with the first image or source that an index of this shape cannot take, by its name.
    pub fn check(&self, config: &IndexConfig) -> Result<Vec<Vec<f32>>, String> {
        let mut names = HashSet::new();
        let mut once = |place: &Place| {
            if names.insert(place.name.clone()) { Ok(()) } else { Err("it is twice in one batch".to_owned()) }
        };
        let about = |place: &Place, problem: String| format!("the image {:?}: {problem}", place.name);
        let mut units = Vec::with_capacity(self.add.len());
        for new in self.add {
            let unit = check(config, new).and_then(|unit| once(&new.place).map(|()| unit));
            units.push(unit.map_err(|problem| about(&new.place, problem))?);
        }
        for place in self.describe {
            let checked = check_place(config, place).and_then(|()| once(place));
            checked.map_err(|problem| about(place, problem))?;
        }
        for Source { label, .. } in self.sources {
            if !(1..=LONGEST_LABEL).contains(&label.len()) || label.contains('/') {
                return Err(format!(
                    "the label {label:?}: 1 to {LONGEST_LABEL} bytes without '/' are possible"
                ));
            }
        }
        Ok(units)
    }
}

/// The image's descriptor at unit length, or what is wrong with the image.
fn check(config: &IndexConfig, new: &NewPlace) -> Result<Vec<f32>, String> {
    check_place(config, &new.place)?;
    let unit = unit_length(&new.global, config.global_dim)?;
    let most = config.row_width * config.max_rows;
    let whole = config.row_width == 0 || new.local.len().is_multiple_of(config.row_width);
    if new.local.len() > most || !whole {
        let (rows, width) = (config.max_rows, config.row_width);
        return Err(format!("{} bytes of local features; up to {rows} rows of {width} fit", new.local.len()));
    }
    Ok(unit)
}

/// What is wrong with what is known about an image.
fn check_place(config: &IndexConfig, place: &Place) -> Result<(), String> {
    if place.name.is_empty() {
        return Err("it has no name".into());
    }
    if let Some(refusal) = place.position.and_then(|position| config.positions.refusal(position)) {
        return Err(format!("its position: {refusal}"));
    }
    if [place.heading, place.altitude].into_iter().flatten().any(|number| !number.is_finite()) {
        return Err("its heading or altitude is not finite".into());
    }
    if place.tags.keys().any(|key| key.is_empty() || key.contains('=')) {
        return Err("the key of a tag is empty or holds '='".into());
    }
    Ok(())
}
