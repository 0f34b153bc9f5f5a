//! Writing to an index of a cluster.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use qdrant_client::qdrant::points_update_operation::{DeletePayload, Operation, SetPayload};
use qdrant_client::qdrant::{
    DeletePoints, DenseVector, NamedVectors, PointStruct, PointsIdsList, PointsSelector,
    PointsUpdateOperation, UpdateBatchPoints, UpsertPoints, Vector, Vectors, points_selector, vector,
    vectors,
};
use r2former_index::{Batch, IndexError, Manifest, NewPlace, Place, Result, WritePlaces, place_id};
use uuid::Uuid;

use crate::address::Address;
use crate::collection::{Calls, Collection};
use crate::create::GLOBAL;
use crate::payload::{FIELDS, LOCAL, encode, encode_local, point_id};
use crate::read_places::read_places;
use crate::runtime::Pending;

/// Bytes of a message, unless one image has more: far below what a node takes at a time.
const MESSAGE_BYTES: usize = 4 << 20;

/// Images of a message at most.
const MESSAGE_IMAGES: usize = 512;

/// Messages that are on their way at a time: no more are made before one is acknowledged.
const IN_FLIGHT: usize = 4;

/// Descriptions, and removals, in a message.
const DESCRIPTIONS: usize = 128;
const REMOVALS: usize = 1000;

/// An index of a cluster, open for writing. It also reads, and sees its own changes.
///
/// What is promised is less than for a folder: see the [crate](crate). There is no lock: several writers may work at a
/// time, on different images or with the same content.
#[derive(Debug)]
pub struct ClusterWriter {
    collection: Collection,
}

impl ClusterWriter {
    /// Opens the index at `address` for the model with this fingerprint.
    ///
    /// # Errors
    /// As for [`ClusterReader::open`](crate::ClusterReader::open).
    pub fn open(address: &Address, fingerprint: &str) -> Result<Self> {
        Ok(Self { collection: Collection::open(address, Some(fingerprint))? })
    }

    /// How long a message may take with all its repetitions: 120 s unless set. Another node is asked after a third of it.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.collection.deadline = deadline;
        self
    }

    /// Ends. Everything that was acknowledged is there already.
    ///
    /// # Errors
    /// None today.
    pub fn close(self) -> Result<()> {
        Ok(())
    }

    /// The index's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.collection.manifest
    }

    /// The index's address.
    pub fn address(&self) -> &Address {
        self.collection.address()
    }

    fn add_all(&self, add: &[NewPlace], units: Vec<Vec<f32>>) -> Result<()> {
        let mut messages = Messages::new(&self.collection);
        let pushed = add.iter().zip(units).try_for_each(|(new, unit)| {
            let bytes = 4 * unit.len() + new.local.len() * 4 / 3 + 1024;
            messages.push(self.point(new, unit)?, bytes)
        });
        messages.finish(pushed)
    }

    /// An image as a point.
    fn point(&self, new: &NewPlace, unit: Vec<f32>) -> Result<PointStruct> {
        let mut payload = encode(&new.place).map_err(|problem| self.about(&new.place, &problem))?;
        let dense = |vector| Vector { vector: Some(vector), ..Vector::default() };
        let global = dense(vector::Vector::Dense(DenseVector { data: unit }));
        let named = HashMap::from([(GLOBAL.to_owned(), global)]);
        if !new.local.is_empty() {
            payload.insert(LOCAL.to_owned(), encode_local(&new.local));
        }
        let vectors = Vectors {
            vectors_options: Some(vectors::VectorsOptions::Vectors(NamedVectors { vectors: named })),
        };
        Ok(PointStruct { id: Some(point_id(place_id(&new.place.name))), payload, vectors: Some(vectors) })
    }

    fn describe_all(&self, describe: &[Place]) -> Result<()> {
        let ids: Vec<_> = describe.iter().map(|place| place_id(&place.name)).collect();
        let there = self.collection.contains(&ids)?;
        if let Some((place, _)) = describe.iter().zip(there).find(|(_, there)| !there) {
            return Err(self.about(place, "it is not in the index"));
        }
        let calls = self.collection.calls();
        for some in describe.chunks(DESCRIPTIONS) {
            let mut operations = Vec::new();
            for place in some {
                let payload = encode(place).map_err(|problem| self.about(place, &problem))?;
                // The local features stay; fields that the place no longer has go.
                let gone = FIELDS.iter().filter(|&&field| !payload.contains_key(field));
                let keys: Vec<String> = gone.map(|&field| field.to_owned()).collect();
                let points_selector = Some(these(vec![place_id(&place.name)]));
                let set =
                    SetPayload { payload, points_selector: points_selector.clone(), ..Default::default() };
                let delete = DeletePayload { keys, points_selector, ..Default::default() };
                // Of the two kinds of positions one is always missing: there is something to delete.
                for operation in [Operation::DeletePayload(delete), Operation::SetPayload(set)] {
                    operations.push(PointsUpdateOperation { operation: Some(operation) });
                }
            }
            calls.block(|calls| async move {
                let collection_name = calls.name();
                calls
                    .batch(UpdateBatchPoints { collection_name, operations, ..UpdateBatchPoints::default() })
                    .await
            })?;
        }
        Ok(())
    }

    fn about(&self, place: &Place, problem: &str) -> IndexError {
        self.collection.request(format!("the image {:?}: {problem}", place.name))
    }
}

read_places!(ClusterWriter);

impl WritePlaces for ClusterWriter {
    fn write(&mut self, batch: &Batch<'_>) -> Result<()> {
        let checked = batch.check(&self.collection.manifest.config);
        let units = checked.map_err(|problem| self.collection.request(problem))?;
        if !batch.sources.is_empty() {
            self.collection.put_sources(batch.sources)?;
        }
        if !batch.describe.is_empty() {
            self.describe_all(batch.describe)?;
        }
        if batch.add.is_empty() { Ok(()) } else { self.add_all(batch.add, units) }
    }

    fn remove(&mut self, ids: &[Uuid]) -> Result<usize> {
        let there = self.collection.contains(ids)?;
        let mut there: Vec<_> =
            ids.iter().zip(there).filter(|(_, there)| *there).map(|(&id, _)| id).collect();
        there.sort_unstable();
        there.dedup();
        let calls = self.collection.calls();
        for some in there.chunks(REMOVALS) {
            let points = Some(these(some.to_vec()));
            calls.block(|calls| async move {
                let collection_name = calls.name();
                calls.delete(DeletePoints { collection_name, points, ..DeletePoints::default() }).await
            })?;
        }
        Ok(there.len())
    }

    /// Nothing to do: the cluster gives room back by itself.
    fn compact(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Points by identifier.
fn these(ids: Vec<Uuid>) -> PointsSelector {
    let ids = ids.into_iter().map(point_id).collect();
    PointsSelector {
        points_selector_one_of: Some(points_selector::PointsSelectorOneOf::Points(PointsIdsList { ids })),
    }
}

/// Images on their way to the cluster: messages of bounded size, and a few of them at a time.
struct Messages {
    calls: Calls,
    points: Vec<PointStruct>,
    bytes: usize,
    pending: VecDeque<Pending<Result<()>>>,
}

impl Messages {
    fn new(collection: &Collection) -> Self {
        Self { calls: collection.calls(), points: Vec::new(), bytes: 0, pending: VecDeque::new() }
    }

    fn push(&mut self, point: PointStruct, bytes: usize) -> Result<()> {
        if self.bytes + bytes > MESSAGE_BYTES || self.points.len() == MESSAGE_IMAGES {
            self.send()?;
        }
        self.points.push(point);
        self.bytes += bytes;
        Ok(())
    }

    /// Sends what there is, after the oldest message is acknowledged where there are too many.
    fn send(&mut self) -> Result<()> {
        if self.pending.len() == IN_FLIGHT
            && let Some(oldest) = self.pending.pop_front()
        {
            self.calls.finish(oldest)?;
        }
        let points = std::mem::take(&mut self.points);
        self.bytes = 0;
        if points.is_empty() {
            return Ok(());
        }
        let sent = self.calls.start(|calls| async move {
            let collection_name = calls.name();
            calls.upsert(UpsertPoints { collection_name, points, ..UpsertPoints::default() }).await
        });
        self.pending.push_back(sent?);
        Ok(())
    }

    /// Waits for every message, also after one failed: what is on its way must not arrive after a later change.
    fn finish(mut self, pushed: Result<()>) -> Result<()> {
        let mut result = pushed.and_then(|()| self.send());
        for pending in std::mem::take(&mut self.pending) {
            let answer = self.calls.finish(pending);
            result = result.and(answer);
        }
        result
    }
}
