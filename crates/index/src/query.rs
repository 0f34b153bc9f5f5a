//! Requests to an open store, shared by the reader and the writer.

use std::collections::HashMap;
use std::path::Path;

use qdrant_edge::{
    CountRequest, NamedQuery, PointId, QueryEnum, QueryRequest, Record, ScoringQuery, ScrollRequest,
    SearchParams, VectorInternal, VectorStructInternal, WithPayloadInterface, WithVector,
};
use r2former_geo::LatLon;
use uuid::Uuid;

use crate::error::{IndexError, Result};
use crate::manifest::IndexConfig;
use crate::payload;
use crate::place::{Extent, Filter, Hit, LocalFeatures, Page, Place, SearchMode};
use crate::shard::{GLOBAL, LOCAL, Shard};

/// A request to an open store.
#[derive(Clone, Copy)]
pub(crate) struct SearchRequest<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) config: &'a IndexConfig,
    pub(crate) shard: &'a Shard,
}

impl SearchRequest<'_> {
    pub(crate) fn search(
        self,
        global: &[f32],
        top: usize,
        filter: &Filter,
        mode: SearchMode,
    ) -> Result<Vec<Hit>> {
        self.check_global(global)
            .map_err(|problem| IndexError::request(self.dir, format!("the query: {problem}")))?;
        if top == 0 {
            return Ok(Vec::new());
        }
        let exact = mode == SearchMode::Exact;
        let query = NamedQuery { query: VectorInternal::Dense(global.to_vec()), using: Some(GLOBAL.into()) };
        let request = QueryRequest {
            prefetches: Vec::new(),
            query: Some(ScoringQuery::Vector(QueryEnum::Nearest(query))),
            filter: self.filter(filter)?,
            score_threshold: None,
            limit: top,
            offset: 0,
            params: Some(SearchParams {
                hnsw_ef: Some((2 * top).max(128)),
                exact,
                ..SearchParams::default()
            }),
            with_vector: WithVector::Bool(false),
            with_payload: WithPayloadInterface::Bool(true),
        };
        let points = self.shard.edge("searching", |edge| edge.query(request))?;
        points
            .into_iter()
            .map(|point| {
                let id = self.uuid(point.id)?;
                let place = self.place(id, &point.payload)?;
                Ok(Hit { id, similarity: point.score, place })
            })
            .collect()
    }

    pub(crate) fn locals(self, ids: &[Uuid]) -> Result<Vec<Option<LocalFeatures>>> {
        let row_width = self.config.row_width;
        if !self.config.has_local() {
            let empty =
                |known| if known { Some(LocalFeatures { rows: Vec::new(), row_width }) } else { None };
            return Ok(self.contains(ids)?.into_iter().map(empty).collect());
        }
        let mut known = HashMap::new();
        for record in self.records(ids, false, &[LOCAL])? {
            let id = self.uuid(record.id)?;
            known.insert(id, LocalFeatures { rows: local_rows(record).unwrap_or_default(), row_width });
        }
        Ok(ids.iter().map(|id| known.get(id).cloned()).collect())
    }

    pub(crate) fn globals(self, ids: &[Uuid]) -> Result<Vec<Option<Vec<f32>>>> {
        let mut known = HashMap::new();
        for record in self.records(ids, false, &[GLOBAL])? {
            known.insert(self.uuid(record.id)?, global_of(&record).map(<[f32]>::to_vec));
        }
        Ok(ids.iter().map(|id| known.get(id).cloned().flatten()).collect())
    }

    pub(crate) fn list(self, from: Option<Uuid>, limit: usize, filter: &Filter) -> Result<Page> {
        if limit == 0 {
            return Err(IndexError::request(self.dir, "a page of 0 places; ask for at least 1"));
        }
        let (records, next) = self.scroll(from, limit, filter, &[])?;
        let places = records.into_iter().map(|record| {
            let id = self.uuid(record.id)?;
            Ok((id, self.place(id, &record.payload)?))
        });
        Ok(Page { places: places.collect::<Result<_>>()?, next })
    }

    pub(crate) fn get(self, ids: &[Uuid]) -> Result<Vec<Option<Place>>> {
        let mut known = HashMap::new();
        for record in self.records(ids, true, &[])? {
            let id = self.uuid(record.id)?;
            known.insert(id, self.place(id, &record.payload)?);
        }
        Ok(ids.iter().map(|id| known.get(id).cloned()).collect())
    }

    pub(crate) fn contains(self, ids: &[Uuid]) -> Result<Vec<bool>> {
        let found = self.records(ids, false, &[])?;
        let known: std::collections::HashSet<_> = found.into_iter().map(|record| record.id).collect();
        Ok(ids.iter().map(|&id| known.contains(&PointId::Uuid(id))).collect())
    }

    pub(crate) fn count(self, filter: &Filter) -> Result<usize> {
        let request = CountRequest { filter: self.filter(filter)?, exact: true };
        self.shard.edge("counting", |edge| edge.count(request))
    }

    pub(crate) fn extent(self) -> Result<Option<Extent>> {
        let mut extent: Option<Extent> = None;
        let mut from = None;
        loop {
            let page = self.list(from, 1000, &Filter::default())?;
            for LatLon { lat, lon } in page.places.iter().filter_map(|(_, place)| place.position) {
                let found = extent.get_or_insert(Extent {
                    south_west: LatLon { lat, lon },
                    north_east: LatLon { lat, lon },
                });
                found.south_west.lat = found.south_west.lat.min(lat);
                found.south_west.lon = found.south_west.lon.min(lon);
                found.north_east.lat = found.north_east.lat.max(lat);
                found.north_east.lon = found.north_east.lon.max(lon);
            }
            from = page.next;
            if from.is_none() {
                return Ok(extent);
            }
        }
    }

    /// One page of raw records with their payload and the named vectors.
    pub(crate) fn scroll(
        self,
        from: Option<Uuid>,
        limit: usize,
        filter: &Filter,
        vectors: &[&str],
    ) -> Result<(Vec<Record>, Option<Uuid>)> {
        let request = ScrollRequest {
            offset: from.map(PointId::Uuid),
            limit: Some(limit),
            filter: self.filter(filter)?,
            with_payload: Some(WithPayloadInterface::Bool(true)),
            with_vector: selected(vectors),
            order_by: None,
        };
        let (records, next) = self.shard.edge("listing", |edge| edge.scroll(request))?;
        Ok((records, next.map(|id| self.uuid(id)).transpose()?))
    }

    /// What makes a global descriptor unusable here.
    pub(crate) fn check_global(self, global: &[f32]) -> Result<(), String> {
        if global.len() != self.config.global_dim {
            return Err(format!(
                "a descriptor of {} dimensions; this index has {}",
                global.len(),
                self.config.global_dim
            ));
        }
        let square: f32 = global.iter().map(|number| number * number).sum();
        if !square.is_finite() || square < f32::MIN_POSITIVE {
            return Err("the descriptor is not finite, or all zero".into());
        }
        Ok(())
    }

    pub(crate) fn uuid(self, id: PointId) -> Result<Uuid> {
        match id {
            PointId::Uuid(id) => Ok(id),
            PointId::NumId(number) => Err(IndexError::damaged(
                self.dir,
                format!("the image number {number} has no proper identifier"),
            )),
        }
    }

    fn place(self, id: Uuid, payload: &Option<qdrant_edge::Payload>) -> Result<Place> {
        let read =
            payload.as_ref().ok_or("it has no payload".to_owned()).and_then(|map| payload::to_place(&map.0));
        read.map_err(|problem| IndexError::damaged(self.dir, format!("image {id}: {problem}")))
    }

    fn records(self, ids: &[Uuid], payload: bool, vectors: &[&str]) -> Result<Vec<Record>> {
        let ids: Vec<PointId> = ids.iter().map(|&id| PointId::Uuid(id)).collect();
        let payload = Some(WithPayloadInterface::Bool(payload));
        self.shard.edge("fetching images", |edge| edge.retrieve(&ids, payload, Some(selected(vectors))))
    }

    fn filter(self, filter: &Filter) -> Result<Option<qdrant_edge::Filter>> {
        let wrong = |problem: String| IndexError::request(self.dir, format!("the filter: {problem}"));
        if let Some(near) = filter.near {
            if !near.center.is_valid() {
                return Err(wrong("its centre is outside the globe".into()));
            }
            if !(near.radius_m.is_finite() && near.radius_m > 0.0) {
                return Err(wrong(format!("a radius of {} m; it must be above 0", near.radius_m)));
            }
        }
        let json = payload::of_filter(filter);
        json.map(|json| serde_json::from_value(json).map_err(|error| wrong(error.to_string()))).transpose()
    }
}

fn selected(vectors: &[&str]) -> WithVector {
    if vectors.is_empty() {
        return WithVector::Bool(false);
    }
    WithVector::Selector(vectors.iter().map(|&name| name.to_owned()).collect())
}

/// The global descriptor of a record that was fetched with it.
pub(crate) fn global_of(record: &Record) -> Option<&[f32]> {
    match &record.vector {
        Some(VectorStructInternal::Named(vectors)) => match vectors.get(GLOBAL) {
            Some(VectorInternal::Dense(global)) => Some(global),
            _ => None,
        },
        _ => None,
    }
}

/// The local features of a record that was fetched with them, as the bytes that were added.
pub(crate) fn local_rows(record: Record) -> Option<Vec<u8>> {
    match record.vector {
        Some(VectorStructInternal::Named(mut vectors)) => match vectors.remove(LOCAL) {
            // The store keeps bytes and hands out floats: every one is a whole number from 0 to 255.
            Some(VectorInternal::MultiDense(rows)) => {
                Some(rows.flattened_vectors.iter().map(|&number| number as u8).collect())
            }
            _ => None,
        },
        _ => None,
    }
}
