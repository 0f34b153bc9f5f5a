//! One index as requests see it.

use crate::error::{Result, ServeError};
use crate::options::ServedIndex;
use crate::photos::PhotoRoots;
use crate::problem::{self, Problem};
use crate::removed::Removed;
use crate::writing::Writing;
use r2former_engine::{Extractor, IndexReader, PlaceIndex, PositionKind, RerankMethod};
use r2former_index::{Extent, Filter, Place, ReadPlaces};
use serde_json::{Value, json};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the folder or collection is looked at: another index may have taken its place.
const LOOK: Duration = Duration::from_secs(1);

/// Waiting time until somebody has probably restarted the service.
const REPLACED: Duration = Duration::from_secs(60);

/// An identifier of a place: that of its name.
pub(crate) type PlaceId = uuid::Uuid;

/// An index that is served. Its reader sees the last commit with every call, whoever wrote it.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) name: String,
    pub(crate) place: PlaceIndex,
    pub(crate) reader: IndexReader,
    pub(crate) extractor: Arc<Extractor>,
    pub(crate) photos: PhotoRoots,
    pub(crate) writing: Writing,
    pub(crate) removed: Removed,
    looked: Mutex<(Instant, bool)>,
    /// The box around all positions, and of how many changes it is.
    extent: Mutex<Option<(u64, Option<Extent>)>>,
}

impl Index {
    pub(crate) fn open(served: ServedIndex) -> Result<Self> {
        let ServedIndex { name, index, extractor, photos, uploads } = served;
        let folder = index.address().folder();
        let removed = Removed::open(folder);
        let removed = removed.map_err(|error| ServeError::io("the list of what was removed", error))?;
        let uploads = folder.map(|folder| folder.join("uploads")).or(uploads);
        Ok(Self {
            removed,
            reader: index.reader()?,
            writing: Writing::new(index.clone(), extractor.clone()),
            photos: PhotoRoots::new(uploads, photos),
            name,
            place: index,
            extractor,
            looked: Mutex::new((Instant::now(), true)),
            extent: Mutex::new(None),
        })
    }

    pub(crate) fn kind(&self) -> PositionKind {
        self.place.positions().kind()
    }

    /// Refuses to answer from a folder or collection that is another index now: its descriptors are of another model.
    pub(crate) fn check(&self) -> problem::Result<()> {
        let lock = || self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let (due, before) = {
            let mut looked = lock();
            let due = looked.0.elapsed() >= LOOK;
            if due {
                looked.0 = Instant::now();
            }
            (due, looked.1)
        };
        let mut same = before;
        if due {
            // Nobody else waits meanwhile, as a cluster may take its time. What cannot be seen now is as it was: the request
            // itself says what is wrong.
            same = self.place.is_there().unwrap_or(before);
            lock().1 = same;
        }
        if same {
            return Ok(());
        }
        let detail = "the index is gone, or another one is in its place: the service has to be started again";
        Err(Problem::unavailable(detail, REPLACED))
    }

    /// A place by the identifier in an address.
    pub(crate) fn place(&self, id: &str) -> problem::Result<(PlaceId, Place)> {
        let unknown = || Problem::not_found("there is no place of this identifier in the index");
        let id = PlaceId::from_str(id).ok().ok_or_else(unknown)?;
        self.check()?;
        let place = self.reader.get(&[id])?.pop().flatten().ok_or_else(unknown)?;
        Ok((id, place))
    }

    /// How many images there are.
    pub(crate) fn count(&self) -> problem::Result<usize> {
        self.check()?;
        Ok(self.reader.count(&Filter::default())?)
    }

    /// What clients need to know about it.
    pub(crate) fn summary(&self) -> problem::Result<Value> {
        let images = self.count()?;
        let config = self.extractor.config();
        let settings = self.place.settings;
        let manifest = &self.place.manifest;
        let methods = [
            (RerankMethod::Model, config.reranker.is_some()),
            (RerankMethod::Ransac, config.local.is_some()),
            (RerankMethod::Mutual, config.local.is_some()),
            (RerankMethod::None, true),
        ];
        let methods: Vec<RerankMethod> =
            methods.into_iter().filter(|(_, can)| *can).map(|(method, _)| method).collect();
        Ok(json!({
            "name": self.name,
            "images": images,
            "changes": self.reader.changes()?,
            "created": manifest.created,
            "positions": manifest.config.positions,
            "extent": self.extent()?,
            "bytes": self.reader.bytes()?,
            "model": {
                "name": config.name,
                "fingerprint": manifest.config.fingerprint,
                "calibration": config.calibration.as_ref().map(|own| {
                    json!({ "radius_m": own.radius_m, "threshold": own.threshold })
                }),
            },
            "input": { "height": settings.height, "width": settings.width },
            "rerank": { "methods": methods, "default": RerankMethod::default_of(config) },
        }))
    }

    /// The box around all positions, read again after changes alone, where these are counted.
    fn extent(&self) -> problem::Result<Option<Extent>> {
        let Some(changes) = self.reader.changes()? else { return Ok(self.reader.extent()?) };
        let known = *self.extent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, extent)) = known
            && of == changes
        {
            return Ok(extent);
        }
        let extent = self.reader.extent()?;
        *self.extent.lock().unwrap_or_else(PoisonError::into_inner) = Some((changes, extent));
        Ok(extent)
    }
}
