//! Reading from a collection, which the reader and the writer do alike.

use std::collections::{HashMap, HashSet};

use futures_util::StreamExt;
use futures_util::stream::iter;
use qdrant_client::qdrant::{Direction, QuantizationSearchParams, Query, SearchParams};
use qdrant_client::qdrant::{
    Filter as Conditions, OrderBy, PointId, QueryBatchPoints, QueryPoints, RetrievedPoint, ScoredPoint,
    ScrollPoints, VectorInput, VectorOutput, VectorsOutput, WithPayloadSelector, WithVectorsSelector, query,
    vector_output, vectors_output,
};
use r2former_index::{
    Extent, FileFingerprint, Filter, Hit, Info, LocalFeatures, Page, Place, PositionKind, Result, unit_length,
};
use uuid::Uuid;

use crate::collection::{Calls, Collection};
use crate::create::GLOBAL;
use crate::filters::{Question, keywords};
use crate::payload::{
    FILE, LAT, LOCAL, LON, PLACE, Payload, X, Y, Z, decode_local, decode_of, point_id, uuid,
};

/// Places in one answer, and identifiers in one request.
const PAGE: usize = 4096;

/// Hits in one answer, of all its queries.
const HITS: usize = 20_000;

/// Bytes of descriptors or local features in one answer, and answers that are on their way at a time.
const ANSWER_BYTES: usize = 8 << 20;
const IN_FLIGHT: usize = 3;

/// Files that are looked for at a time.
const FILES: usize = 500;

/// Points whose vectors are looked at to estimate bytes.
const SAMPLE: u32 = 16;

/// Bytes that a point takes besides its vectors and its payload: identifiers, their maps, indexes of fields.
const POINT_BYTES: f64 = 160.0;

/// How a search compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// With every descriptor.
    Exact,
    /// Along the graph.
    Approximate,
}

impl Mode {
    fn params(self, top: usize) -> SearchParams {
        match self {
            Self::Exact => SearchParams {
                exact: Some(true),
                quantization: Some(QuantizationSearchParams { ignore: Some(true), ..Default::default() }),
                ..SearchParams::default()
            },
            Self::Approximate => SearchParams {
                hnsw_ef: Some((top as u64).saturating_mul(2).clamp(128, 4096)),
                quantization: Some(QuantizationSearchParams {
                    rescore: Some(true),
                    oversampling: Some(2.0),
                    ..Default::default()
                }),
                ..SearchParams::default()
            },
        }
    }
}

impl Collection {
    /// Refuses an unusable filter, and turns one into what Qdrant is asked.
    fn question(&self, filter: &Filter) -> Result<Question> {
        filter
            .check(self.manifest.config.positions)
            .map_err(|problem| self.request(format!("the filter: {problem}")))?;
        Ok(Question::new(filter))
    }

    pub(crate) fn search(
        &self,
        mode: Mode,
        globals: &[&[f32]],
        top: usize,
        filter: &Filter,
    ) -> Result<Vec<Vec<Hit>>> {
        let mut units = Vec::with_capacity(globals.len());
        for global in globals {
            let unit = unit_length(global, self.manifest.config.global_dim);
            units.push(unit.map_err(|problem| self.request(format!("the query: {problem}")))?);
        }
        let question = self.question(filter)?;
        let mut found = vec![Vec::new(); globals.len()];
        if top == 0 {
            return Ok(found);
        }
        // Some of what Qdrant finds is not within the filter: then more of it is asked for, until it suffices.
        let mut limit = if question.exact { top } else { top.saturating_add(top / 16 + 8) };
        // Qdrant makes room for as many as it is asked for.
        let most =
            if limit > PAGE { self.count(&Filter::default())?.saturating_add(PAGE) } else { usize::MAX };
        let mut pending: Vec<usize> = (0..globals.len()).collect();
        while !pending.is_empty() {
            limit = limit.min(most);
            let mut unfinished = Vec::new();
            for some in pending.chunks((HITS / limit).clamp(1, 256)) {
                let queries = some.iter().map(|&i| units[i].clone()).collect();
                let answers = self.query(mode, queries, limit, question.conditions.clone())?;
                for (&i, points) in some.iter().zip(answers) {
                    let all = points.len() < limit || limit == most;
                    let hits = points.iter().map(|point| self.hit(point)).collect::<Result<Vec<_>>>()?;
                    found[i] = hits;
                    if !question.exact {
                        found[i].retain(|hit| filter.holds(hit.id, &hit.place));
                        if found[i].len() < top && !all {
                            unfinished.push(i);
                        }
                    }
                }
            }
            pending = unfinished;
            limit = limit.saturating_mul(2);
        }
        for hits in &mut found {
            hits.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.id.cmp(&b.id)));
            hits.truncate(top);
        }
        Ok(found)
    }

    fn query(
        &self,
        mode: Mode,
        queries: Vec<Vec<f32>>,
        limit: usize,
        filter: Option<Conditions>,
    ) -> Result<Vec<Vec<ScoredPoint>>> {
        let calls = self.calls();
        let timeout = Some(calls.each().as_secs().max(1));
        let one = |unit: Vec<f32>| QueryPoints {
            collection_name: calls.name(),
            query: Some(Query { variant: Some(query::Variant::Nearest(VectorInput::new_dense(unit))) }),
            using: Some(GLOBAL.into()),
            filter: filter.clone(),
            params: Some(mode.params(limit)),
            limit: Some(limit as u64),
            with_payload: Some(only_place()),
            with_vectors: Some(false.into()),
            timeout,
            ..QueryPoints::default()
        };
        let request = QueryBatchPoints {
            collection_name: calls.name(),
            query_points: queries.into_iter().map(one).collect(),
            timeout,
            ..QueryBatchPoints::default()
        };
        calls.block(|calls| async move { calls.query(&request).await })
    }

    fn hit(&self, point: &ScoredPoint) -> Result<Hit> {
        let (id, place) = self.place(point.id.as_ref(), &point.payload)?;
        Ok(Hit { id, similarity: point.score, place })
    }

    /// The place of a point.
    pub(crate) fn place(&self, id: Option<&PointId>, payload: &Payload) -> Result<(Uuid, Place)> {
        let id = uuid(id).ok_or_else(|| self.damaged("a point has no identifier of an image"))?;
        Ok((id, decode_of(id, payload).map_err(|problem| self.damaged(problem))?))
    }

    pub(crate) fn locals(&self, ids: &[Uuid]) -> Result<Vec<Option<LocalFeatures>>> {
        let config = &self.manifest.config;
        let row_width = config.row_width;
        if !config.has_local() {
            let none = |there| bool::then_some(there, LocalFeatures { rows: Vec::new().into(), row_width });
            return Ok(self.contains(ids)?.into_iter().map(none).collect());
        }
        // Base64 has four bytes for three.
        let page = self.page(row_width * config.max_rows * 4 / 3);
        let points = self.points(ids, page, Some(vec![LOCAL].into()), None)?;
        let found = self.each(&points, |point| {
            self.local(point).map(|rows| LocalFeatures { rows: rows.into(), row_width })
        })?;
        Ok(in_order(ids, &found))
    }

    /// The local features of a point: rows one after the other.
    pub(crate) fn local(&self, point: &RetrievedPoint) -> Result<Vec<u8>> {
        let (width, most) = (self.manifest.config.row_width, self.manifest.config.max_rows);
        let id = uuid(point.id.as_ref()).unwrap_or_default();
        let rows = decode_local(&point.payload);
        let rows = rows.map_err(|problem| self.damaged(format!("image {id}: {problem}")))?;
        if rows.len() > width * most || rows.len().checked_rem(width).unwrap_or(0) != 0 {
            return Err(self.damaged(format!("image {id} has {} bytes of local features", rows.len())));
        }
        Ok(rows)
    }

    pub(crate) fn globals(&self, ids: &[Uuid]) -> Result<Vec<Option<Vec<f32>>>> {
        let page = self.page(4 * self.manifest.config.global_dim);
        let points = self.points(ids, page, None, Some(WithVectorsSelector::from(vec![GLOBAL])))?;
        Ok(in_order(ids, &self.each(&points, |point| self.global(point))?))
    }

    /// The descriptor of a point.
    pub(crate) fn global(&self, point: &RetrievedPoint) -> Result<Vec<f32>> {
        let dim = self.manifest.config.global_dim;
        let found = match vector(point, GLOBAL) {
            Some(VectorOutput { vector: Some(vector_output::Vector::Dense(dense)), .. }) => {
                dense.data.clone()
            }
            #[allow(deprecated, reason = "servers up to 1.16 answer so")]
            Some(VectorOutput { vector: None, data, .. }) => data.clone(),
            _ => Vec::new(),
        };
        if found.len() == dim {
            return Ok(found);
        }
        let id = uuid(point.id.as_ref()).unwrap_or_default();
        Err(self.damaged(format!("image {id} has a descriptor of {} dimensions and not {dim}", found.len())))
    }

    /// Images in one answer, of so many bytes each.
    pub(crate) fn page(&self, bytes: usize) -> usize {
        (ANSWER_BYTES / (bytes + 64)).clamp(1, PAGE)
    }

    /// What is read of each point, by identifier.
    fn each<T>(
        &self,
        points: &[RetrievedPoint],
        read: impl Fn(&RetrievedPoint) -> Result<T>,
    ) -> Result<HashMap<Uuid, T>> {
        let mut found = HashMap::with_capacity(points.len());
        for point in points {
            let id = uuid(point.id.as_ref()).ok_or_else(|| self.damaged("a point has no identifier"))?;
            found.insert(id, read(point)?);
        }
        Ok(found)
    }

    /// The points of those images that are there, in no order.
    fn points(
        &self,
        ids: &[Uuid],
        page: usize,
        payload: Option<WithPayloadSelector>,
        vectors: Option<WithVectorsSelector>,
    ) -> Result<Vec<RetrievedPoint>> {
        let mut seen = HashSet::with_capacity(ids.len());
        let once: Vec<PointId> = ids.iter().filter(|&&id| seen.insert(id)).map(|&id| point_id(id)).collect();
        let pages: Vec<Vec<PointId>> = once.chunks(page).map(<[_]>::to_vec).collect();
        self.calls().block(|calls| async move {
            let name = calls.name();
            let get = |ids| calls.get(&name, ids, payload.clone(), vectors.clone());
            let mut answers = iter(pages.into_iter().map(get)).buffer_unordered(IN_FLIGHT);
            let mut points = Vec::new();
            while let Some(some) = answers.next().await {
                points.extend(some?);
            }
            Ok(points)
        })
    }

    pub(crate) fn get(&self, ids: &[Uuid]) -> Result<Vec<Option<Place>>> {
        let points = self.points(ids, PAGE, Some(only_place()), None)?;
        let places = points.iter().map(|point| self.place(point.id.as_ref(), &point.payload));
        Ok(in_order(ids, &places.collect::<Result<_>>()?))
    }

    pub(crate) fn contains(&self, ids: &[Uuid]) -> Result<Vec<bool>> {
        let points = self.points(ids, PAGE, None, None)?;
        let there: HashSet<_> = points.iter().filter_map(|point| uuid(point.id.as_ref())).collect();
        Ok(ids.iter().map(|id| there.contains(id)).collect())
    }

    pub(crate) fn list(&self, from: Option<Uuid>, limit: usize, filter: &Filter) -> Result<Page> {
        if limit == 0 {
            return Err(self.request("a page of 0 places; ask for at least 1"));
        }
        let question = self.question(filter)?;
        let mut page = Page::default();
        let mut offset = from.map(point_id);
        loop {
            let missing = (limit - page.places.len()).saturating_add(1);
            let (points, next) = self.scroll(question.conditions.clone(), offset, missing.min(PAGE))?;
            for point in &points {
                let (id, place) = self.place(point.id.as_ref(), &point.payload)?;
                if !question.exact && !filter.holds(id, &place) {
                    continue;
                }
                if page.places.len() == limit {
                    page.next = Some(id);
                    return Ok(page);
                }
                page.places.push((id, place));
            }
            offset = next;
            if offset.is_none() {
                return Ok(page);
            }
        }
    }

    /// Points that satisfy conditions, by identifier, with their places; and where the next ones begin.
    fn scroll(
        &self,
        filter: Option<Conditions>,
        offset: Option<PointId>,
        limit: usize,
    ) -> Result<(Vec<RetrievedPoint>, Option<PointId>)> {
        let calls = self.calls();
        let request = ScrollPoints {
            collection_name: calls.name(),
            filter,
            offset,
            limit: Some(limit as u32),
            with_payload: Some(only_place()),
            ..ScrollPoints::default()
        };
        let page = calls.block(|calls| async move { calls.scroll(request).await })?;
        Ok((page.result, page.next_page_offset))
    }

    /// Places that satisfy conditions, one after the other.
    fn each_place(&self, filter: &Conditions, mut visit: impl FnMut(Uuid, Place)) -> Result<()> {
        let mut offset = None;
        loop {
            let (points, next) = self.scroll(Some(filter.clone()), offset, PAGE)?;
            for point in &points {
                let (id, place) = self.place(point.id.as_ref(), &point.payload)?;
                visit(id, place);
            }
            offset = next;
            if offset.is_none() {
                return Ok(());
            }
        }
    }

    pub(crate) fn with_file(&self, files: &[FileFingerprint]) -> Result<Vec<Vec<Place>>> {
        let mut of: HashMap<FileFingerprint, Vec<Place>> =
            files.iter().map(|&file| (file, Vec::new())).collect();
        let once: Vec<_> = of.keys().copied().collect();
        for some in once.chunks(FILES) {
            let words = some.iter().map(FileFingerprint::to_string).collect();
            let filter = Conditions { must: vec![keywords(FILE, words)], ..Conditions::default() };
            self.each_place(&filter, |_, place| {
                if let Some(places) = place.file.and_then(|file| of.get_mut(&file)) {
                    places.push(place);
                }
            })?;
        }
        Ok(files.iter().map(|file| of[file].clone()).collect())
    }

    pub(crate) fn count(&self, filter: &Filter) -> Result<usize> {
        let question = self.question(filter)?;
        if question.exact {
            return self.calls().block(|calls| async move { calls.count(question.conditions).await });
        }
        // What is surely within is counted there; the rest is looked at.
        let (mut count, rest) = match &question.inner {
            Some(inner) => {
                let sure = question.and(inner.clone());
                let count = self.calls().block(|calls| async move { calls.count(Some(sure)).await })?;
                (count, question.and_not(inner.clone()))
            }
            None => (0, question.conditions.unwrap_or_default()),
        };
        self.each_place(&rest, |id, place| count += usize::from(filter.holds(id, &place)))?;
        Ok(count)
    }

    /// The places at the ends of each axis span the box.
    pub(crate) fn extent(&self) -> Result<Option<Extent>> {
        let axes: &[&str] = match self.manifest.config.positions.kind() {
            PositionKind::Wgs84 => &[LAT, LON],
            PositionKind::Local => &[X, Y, Z],
            PositionKind::None => &[],
        };
        let points = self.calls().block(|calls| async move {
            let mut points = Vec::new();
            for axis in axes {
                for direction in [Direction::Asc, Direction::Desc] {
                    points.extend(calls.end(axis, direction).await?);
                }
            }
            Ok(points)
        })?;
        let mut extent: Option<Extent> = None;
        for point in &points {
            if let Some(position) = self.place(point.id.as_ref(), &point.payload)?.1.position {
                extent.get_or_insert_with(|| Extent::around(position)).include(position);
            }
        }
        Ok(extent)
    }

    /// An estimate: Qdrant does not say how many bytes a collection takes.
    pub(crate) fn bytes(&self) -> Result<u64> {
        let (images, replicas, sample) = self.calls().block(|calls| async move {
            let images = calls.count(None).await?;
            let params = calls.info(&calls.name()).await?.config.and_then(|config| config.params);
            let replicas = params.and_then(|params| params.replication_factor).unwrap_or(1);
            let request = ScrollPoints {
                collection_name: calls.name(),
                limit: Some(SAMPLE),
                with_payload: Some(true.into()),
                with_vectors: Some(true.into()),
                ..ScrollPoints::default()
            };
            Ok((images, replicas, calls.scroll(request).await?.result))
        })?;
        use prost::Message as _;
        let bytes: usize = sample.iter().map(RetrievedPoint::encoded_len).sum();
        let each = bytes as f64 / sample.len().max(1) as f64 + POINT_BYTES;
        Ok((each * images as f64) as u64 * u64::from(replicas))
    }

    pub(crate) fn info(&self) -> Result<Info> {
        let bytes = self.bytes()?;
        Ok(Info {
            config: self.manifest.config.clone(),
            created: self.manifest.created.clone(),
            images: self.count(&Filter::default())?,
            changes: None,
            bytes,
            bytes_in_use: bytes,
            extent: self.extent()?,
        })
    }
}

impl Calls {
    /// The point with the least or the greatest value of a field.
    async fn end(&self, key: &str, direction: Direction) -> Result<Vec<RetrievedPoint>> {
        let order = OrderBy { key: key.into(), direction: Some(direction as i32), start_from: None };
        let request = ScrollPoints {
            collection_name: self.name(),
            limit: Some(1),
            order_by: Some(order),
            with_payload: Some(only_place()),
            ..ScrollPoints::default()
        };
        Ok(self.scroll(request).await?.result)
    }
}

/// Of the payload the place alone.
fn only_place() -> WithPayloadSelector {
    vec![PLACE].into()
}

/// A named vector of a point.
fn vector<'p>(point: &'p RetrievedPoint, name: &str) -> Option<&'p VectorOutput> {
    match &point.vectors {
        Some(VectorsOutput { vectors_options: Some(vectors_output::VectorsOptions::Vectors(named)) }) => {
            named.vectors.get(name)
        }
        _ => None,
    }
}

/// What was found, in the order of identifiers.
fn in_order<T: Clone>(ids: &[Uuid], found: &HashMap<Uuid, T>) -> Vec<Option<T>> {
    ids.iter().map(|id| found.get(id).cloned()).collect()
}
