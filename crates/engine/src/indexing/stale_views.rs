//! Views of a panorama that it is no longer cut into: its heading was corrected, or their number is another.

use super::twins::{panorama_of_photo, panorama_of_place};
use super::{Changed, FieldChange};
use crate::Result;
use r2former_data::Photo;
use r2former_index::{Filter, Place, ReadPlaces, WritePlaces, place_id};
use std::collections::HashMap;

/// Panoramas of a run whose views in the index are others, by name.
#[derive(Debug, Default)]
pub(super) struct StaleViews<'p>(HashMap<&'p str, Panorama<'p>>);

#[derive(Debug, Default)]
struct Panorama<'p> {
    /// What it is cut into now.
    views: Vec<&'p str>,
    /// What the index has beside that.
    stale: Vec<Place>,
}

impl<'p> StaleViews<'p> {
    /// Looks for them; reads what the index knows only where panoramas are cut.
    pub(super) fn of(index: &impl ReadPlaces, photos: &[&'p Photo]) -> Result<Self> {
        let mut all: HashMap<&str, Panorama<'p>> = HashMap::new();
        for photo in photos {
            if let Some(panorama) = panorama_of_photo(photo) {
                all.entry(panorama).or_default().views.push(&photo.name);
            }
        }
        if !all.is_empty() {
            index.any_place(&Filter::default(), &mut |_, place| {
                let own = panorama_of_place(&place).and_then(|panorama| all.get_mut(panorama));
                if let Some(own) = own.filter(|own| !own.views.contains(&place.name.as_str())) {
                    own.stale.push(place);
                }
                false
            })?;
        }
        all.retain(|_, panorama| !panorama.stale.is_empty());
        Ok(Self(all))
    }

    /// Whether a photograph is a view of one of them.
    pub(super) fn concern(&self, photo: &Photo) -> bool {
        panorama_of_photo(photo).is_some_and(|panorama| self.0.contains_key(panorama))
    }

    /// The views that are in the index and should not be.
    pub(super) fn changes(&self) -> Vec<Changed> {
        let mut all: Vec<Changed> = self.0.values().flat_map(|own| own.stale.iter().map(change)).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Removes them, of each panorama whose present views are all in the index.
    pub(super) fn remove(self, index: &mut (impl ReadPlaces + WritePlaces)) -> Result<Vec<Changed>> {
        let (mut ids, mut removed) = (Vec::new(), Vec::new());
        for panorama in self.0.into_values() {
            let views: Vec<_> = panorama.views.iter().map(|name| place_id(name)).collect();
            if index.contains(&views)?.into_iter().all(|there| there) {
                ids.extend(panorama.stale.iter().map(|place| place_id(&place.name)));
                removed.extend(panorama.stale.iter().map(change));
            }
        }
        index.remove(&ids)?;
        removed.sort_by(|a: &Changed, b| a.name.cmp(&b.name));
        Ok(removed)
    }
}

fn change(place: &Place) -> Changed {
    let heading =
        place.heading.map_or_else(|| "somewhere".to_owned(), |heading| format!("{heading} degrees"));
    let change = FieldChange { what: "view".into(), from: Some(heading), to: None };
    Changed { name: place.name.clone(), changes: vec![change] }
}
