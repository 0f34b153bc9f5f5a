//! Reading, which the reader and the writer do alike: each asks the last commit.

use uuid::Uuid;

use crate::error::{IndexError, Result};
use crate::fingerprint::FileFingerprint;
use crate::manifest::{IndexConfig, Manifest};
use crate::place::{Extent, Filter, Hit, LocalFeatures, Page, Place, Source};
use crate::query::Request;
use crate::reader::Reader;
use crate::traits::{Info, ReadPlaces};
use crate::writer::Writer;

/// Why a folder has no approximate search.
const EXACT: &str = "the search of an index in a folder is exact; an approximate one is there for collections of a cluster alone";

macro_rules! read_places {
    ($open:ty) => {
        impl ReadPlaces for $open {
            fn config(&self) -> &IndexConfig {
                &self.manifest().config
            }

            fn search_many(&self, globals: &[&[f32]], top: usize, filter: &Filter) -> Result<Vec<Vec<Hit>>> {
                self.with(|request| request.search(globals, top, filter))
            }

            fn search_approximate(&self, _: &[f32], _: usize, _: &Filter) -> Result<Vec<Hit>> {
                Err(IndexError::request(self.dir(), EXACT))
            }

            fn locals(&self, ids: &[Uuid]) -> Result<Vec<Option<LocalFeatures>>> {
                self.with(|request| request.locals(ids))
            }

            fn globals(&self, ids: &[Uuid]) -> Result<Vec<Option<Vec<f32>>>> {
                self.with(|request| request.globals(ids))
            }

            fn list(&self, from: Option<Uuid>, limit: usize, filter: &Filter) -> Result<Page> {
                self.with(|request| request.list(from, limit, filter))
            }

            fn get(&self, ids: &[Uuid]) -> Result<Vec<Option<Place>>> {
                self.with(|request| request.get(ids))
            }

            fn contains(&self, ids: &[Uuid]) -> Result<Vec<bool>> {
                self.with(|request| request.contains(ids))
            }

            fn with_file(&self, files: &[FileFingerprint]) -> Result<Vec<Vec<Place>>> {
                self.with(|request| request.with_file(files))
            }

            fn sources(&self) -> Result<Vec<Source>> {
                self.with(|request| request.picture.sources())
            }

            fn count(&self, filter: &Filter) -> Result<usize> {
                self.with(|request| request.count(filter))
            }

            fn extent(&self) -> Result<Option<Extent>> {
                self.with(|request| request.extent())
            }

            fn bytes(&self) -> Result<u64> {
                self.with(|request| request.store.file_bytes())
            }

            fn changes(&self) -> Result<Option<u64>> {
                self.with(|request| Ok(Some(request.picture.counters().changes)))
            }

            fn info(&self) -> Result<Info> {
                self.with(|request| summary(request, self.manifest()))
            }
        }
    };
}

read_places!(Reader);
read_places!(Writer);

/// The summary of an open index.
fn summary(request: Request<'_>, manifest: &Manifest) -> Result<Info> {
    let picture = request.picture;
    let counters = picture.counters();
    Ok(Info {
        config: manifest.config.clone(),
        created: manifest.created.clone(),
        images: counters.images as usize,
        changes: Some(counters.changes),
        bytes: request.store.file_bytes()?,
        bytes_in_use: picture.used_bytes(),
        extent: request.extent()?,
    })
}
