//! What is read of an index at a time, sorted by what the target has.

use super::{Ids, is_same_descriptor, together};
use crate::indexing::differences;
use crate::{FieldChange, IndexReader, Result};
use r2former_index::{FileFingerprint, Filter, NewPlace, Place, ReadPlaces};
use uuid::Uuid;

/// Images that follow each other in an index.
pub(super) struct Portion {
    /// All of them.
    pub(super) ids: Ids,
    /// Those to write.
    pub(super) new: Vec<NewPlace>,
    /// How many the target has as they are.
    pub(super) same: usize,
    /// Those that the target has with another content, and what differs: to be written, too, if that was asked for.
    pub(super) differing: Vec<(Uuid, String, Vec<FieldChange>)>,
}

impl Portion {
    /// Bytes of the vectors to write.
    pub(super) fn bytes(&self) -> u64 {
        self.new.iter().map(|new| (4 * new.global.len() + new.local.len()) as u64).sum()
    }
}

/// An index, portion by portion.
pub(super) struct Portions<'a> {
    from: &'a IndexReader,
    to: &'a IndexReader,
    update: bool,
    next: Next,
}

enum Next {
    From(Option<Uuid>),
    End,
}

impl<'a> Portions<'a> {
    pub(super) fn new(from: &'a IndexReader, to: &'a IndexReader, update: bool) -> Self {
        Self { from, to, update, next: Next::From(None) }
    }

    fn read(&mut self, start: Option<Uuid>) -> Result<Portion> {
        let page = self.from.list(start, together(self.from.config().vector_bytes()), &Filter::default())?;
        self.next = page.next.map_or(Next::End, |next| Next::From(Some(next)));
        let ids: Ids = page.places.iter().map(|(id, _)| *id).collect();
        let known = self.to.get(&ids)?;
        let without_file: Ids = page
            .places
            .iter()
            .zip(&known)
            .filter(|((_, place), known)| place.file.is_none() && known.as_ref() == Some(place))
            .map(|((id, _), _)| *id)
            .collect();
        let mut unequal = self.unequal(&without_file)?.into_iter();
        let mut portion = Portion { ids, new: Vec::new(), same: 0, differing: Vec::new() };
        let mut wanted: Vec<(Uuid, Place)> = Vec::new();
        for ((id, place), known) in page.places.into_iter().zip(known) {
            let Some(known) = known else {
                wanted.push((id, place));
                continue;
            };
            let mut changes = differences(&known, &place);
            // The same file gives the same vectors; pixels in memory have none.
            if changes.is_empty() && place.file.is_none() {
                changes.extend(unequal.next().flatten());
            }
            if changes.is_empty() {
                portion.same += 1;
                continue;
            }
            portion.differing.push((id, place.name.clone(), changes));
            if self.update {
                wanted.push((id, place));
            }
        }
        portion.new = self.vectors(wanted)?;
        Ok(portion)
    }

    /// What differs between the descriptors of images in both.
    fn unequal(&self, ids: &[Uuid]) -> Result<Vec<Option<FieldChange>>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let (from, to) = (self.from.globals(ids)?, self.to.globals(ids)?);
        let unequal = from.into_iter().zip(to).map(|(from, to)| match (from, to) {
            (Some(from), Some(to)) if !is_same_descriptor(&from, &to) => {
                Some(FieldChange { what: "descriptor".into(), from: Some(sum(&to)), to: Some(sum(&from)) })
            }
            _ => None,
        });
        Ok(unequal.collect())
    }

    /// With their vectors; what was removed meanwhile is left out.
    fn vectors(&self, wanted: Vec<(Uuid, Place)>) -> Result<Vec<NewPlace>> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Ids = wanted.iter().map(|(id, _)| *id).collect();
        let vectors = self.from.globals(&ids)?.into_iter().zip(self.from.locals(&ids)?);
        let new = wanted.into_iter().zip(vectors).filter_map(|((_, place), (global, local))| {
            Some(NewPlace { place, global: global?, local: local?.rows.to_vec() })
        });
        Ok(new.collect())
    }
}

impl Iterator for Portions<'_> {
    type Item = Result<Portion>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.next {
            Next::From(start) => Some(self.read(start)),
            Next::End => None,
        }
    }
}

/// A checksum for people.
pub(super) fn sum(global: &[f32]) -> String {
    let bytes: Vec<u8> = global.iter().flat_map(|value| value.to_le_bytes()).collect();
    FileFingerprint::of(&bytes).to_string()
}
