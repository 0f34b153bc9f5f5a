//! The vector store of one directory: `qdrant-edge`, with its panics and its quirks kept inside.
//!
//! Read in the source of `qdrant-edge` 0.7.2, and what follows from it here:
//! - it holds an exclusive lock on its `wal` directory while open: one opener at a time, reading or not;
//! - opening does not replay that log and nothing ever shortens it: the log is thrown away with the
//!   writer's directory, and [`crate::journal`] does its work;
//! - operations are numbered by that log, and an operation with a lower number than a stored image's is
//!   skipped: a new log therefore starts at a given number ([`start_log`]);
//! - `flush`, and so dropping, panics when the disk refuses: every call runs inside [`guarded`].

use std::collections::HashMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use qdrant_edge::{
    CreateIndex, Distance, EdgeConfig, EdgeOptimizersConfig, EdgeShard, EdgeVectorParams,
    FieldIndexOperations, HnswIndexConfig, MultiVectorComparator, MultiVectorConfig, OperationError,
    PayloadFieldSchema, PayloadSchemaType, PointId, PointInsertOperations, PointOperations,
    PointStructPersisted, UpdateOperation, VectorPersisted, VectorStorageDatatype, VectorStructPersisted,
    WalOptions,
};
use uuid::Uuid;

use crate::error::{At, IndexError, Result};
use crate::manifest::IndexConfig;
use crate::payload;
use crate::place::NewPlace;

/// Name of the global descriptor's vector.
pub(crate) const GLOBAL: &str = "global";

/// Name of the local features' multivector.
pub(crate) const LOCAL: &str = "local";

/// Edges of a node in the HNSW graph over global descriptors, and the search width while building it.
const GRAPH: (usize, usize) = (16, 128);

/// Vectors of less than this many KiB in one part are compared one by one rather than walked as a graph.
const FULL_SCAN_KB: usize = 4_000;

/// Parts of up to this many KiB are merged into one: rewriting larger ones costs more than it saves.
const LARGEST_PART_KB: usize = 4 << 20;

/// Bytes of one part of the store's log, which are taken from the disk at once at each opening; a larger
/// operation gets a larger part.
const LOG_PART: usize = 1 << 20;

/// Images in one operation of the store: bounds the memory of its log entry.
const BATCH: usize = 64;

/// An open store. Its directory belongs to it alone.
#[derive(Debug)]
pub(crate) struct Shard {
    /// Absent only while dropping.
    edge: Option<EdgeShard>,
    /// The index directory, for messages.
    index: PathBuf,
    next_operation: u64,
}

impl Shard {
    /// A new, empty store in the existing directory `dir`.
    pub(crate) fn create(index: &Path, dir: &Path, config: &IndexConfig) -> Result<Self> {
        let edge = guarded(index, "creating it", || EdgeShard::new(dir, edge_config(config)))?;
        let mut shard = Self { edge: Some(edge), index: index.into(), next_operation: 0 };
        shard.index_payload()?;
        Ok(shard)
    }

    /// Opens the store in `dir`, whose next operation gets the number `next_operation`.
    pub(crate) fn open(index: &Path, dir: &Path, config: &IndexConfig, next_operation: u64) -> Result<Self> {
        start_log(dir, next_operation)?;
        let edge = guarded(index, "opening it", || EdgeShard::load(dir, Some(edge_config(config))))?;
        Ok(Self { edge: Some(edge), index: index.into(), next_operation })
    }

    /// The store itself, for reading.
    pub(crate) fn edge<T>(
        &self,
        doing: &'static str,
        call: impl FnOnce(&EdgeShard) -> Result<T, OperationError>,
    ) -> Result<T> {
        match &self.edge {
            Some(edge) => guarded(&self.index, doing, || call(edge)),
            None => Err(IndexError::Stopped { dir: self.index.clone() }),
        }
    }

    /// Number that the next operation will have.
    pub(crate) fn next_operation(&self) -> u64 {
        self.next_operation
    }

    /// Adds images that are not there. Vector files are only appended to for as long as that holds.
    pub(crate) fn insert(&mut self, places: &[NewPlace], row_width: usize) -> Result<()> {
        for batch in places.chunks(BATCH) {
            let points = batch.iter().map(|new| to_point(new, row_width)).collect();
            let insert = PointOperations::UpsertPoints(PointInsertOperations::PointsList(points));
            self.update("adding images", UpdateOperation::PointOperation(insert))?;
        }
        Ok(())
    }

    /// Removes images; unknown ones are fine.
    pub(crate) fn remove(&mut self, ids: &[Uuid]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let ids = ids.iter().map(|&id| PointId::Uuid(id)).collect();
        self.update("removing images", UpdateOperation::PointOperation(PointOperations::DeletePoints { ids }))
    }

    /// Builds the indexes over positions and tags where they are missing.
    pub(crate) fn index_payload(&mut self) -> Result<()> {
        for (field, kind) in
            [(payload::LOCATION, PayloadSchemaType::Geo), (payload::TAGS, PayloadSchemaType::Keyword)]
        {
            let problem = |()| IndexError::Store {
                dir: self.index.clone(),
                doing: "indexing the payload",
                problem: format!("{field} is no field name"),
            };
            let index = FieldIndexOperations::CreateIndex(CreateIndex {
                field_name: field.parse().map_err(problem)?,
                field_schema: Some(PayloadFieldSchema::FieldType(kind)),
            });
            self.update("indexing the payload", UpdateOperation::FieldIndexOperation(index))?;
        }
        Ok(())
    }

    /// Merges parts, drops removed images and builds graphs. Returns whether anything changed.
    pub(crate) fn optimize(&mut self) -> Result<bool> {
        let changed = self.edge("optimizing", EdgeShard::optimize)?;
        self.index_payload()?;
        Ok(changed)
    }

    /// Hands everything to the operating system's files.
    pub(crate) fn flush(&self) -> Result<()> {
        self.edge("flushing", |edge| {
            edge.flush();
            Ok(())
        })
    }

    fn update(&mut self, doing: &'static str, operation: UpdateOperation) -> Result<()> {
        // The log counts a failed operation too.
        self.next_operation += 1;
        self.edge(doing, |edge| edge.update(operation))
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        // Dropping flushes, and a refused flush panics: what matters is in the journal.
        let edge = self.edge.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(edge)));
    }
}

/// Runs a call of the store and makes errors of its errors and panics.
fn guarded<T>(
    index: &Path,
    doing: &'static str,
    call: impl FnOnce() -> Result<T, OperationError>,
) -> Result<T> {
    let problem = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
            (Some(words), _) => words.clone(),
            (None, Some(words)) => (*words).to_owned(),
            (None, None) => "it panicked without a word".into(),
        },
    };
    Err(IndexError::Store { dir: index.into(), doing, problem })
}

/// An empty log whose first operation gets the number `first`: a closed part of no entries that would begin
/// there, in the log's own format (magic, version, seed of its checksums, then room for less than an entry).
fn start_log(dir: &Path, first: u64) -> Result<()> {
    let wal = dir.join("wal");
    fs::create_dir(&wal).at(&wal)?;
    let path = wal.join(format!("closed-{first}"));
    fs::write(&path, b"wal\0r2fr\0\0\0\0\0\0\0\0").at(&path)
}

fn edge_config(config: &IndexConfig) -> EdgeConfig {
    let graph = HnswIndexConfig {
        m: GRAPH.0,
        ef_construct: GRAPH.1,
        full_scan_threshold: FULL_SCAN_KB,
        ..HnswIndexConfig::default()
    };
    let global = EdgeVectorParams::builder(config.global_dim, Distance::Cosine).hnsw_config(graph).build();
    let mut vectors = HashMap::from([(GLOBAL.to_owned(), global)]);
    if config.has_local() {
        // Dot, because it is the distance that leaves the stored bytes alone; nothing searches them.
        let local = EdgeVectorParams::builder(config.row_width, Distance::Dot)
            .on_disk(true)
            .datatype(VectorStorageDatatype::Uint8)
            .multivector_config(MultiVectorConfig { comparator: MultiVectorComparator::MaxSim })
            .hnsw_config(HnswIndexConfig { m: 0, ..HnswIndexConfig::default() })
            .build();
        vectors.insert(LOCAL.to_owned(), local);
    }
    EdgeConfig {
        on_disk_payload: true,
        vectors,
        hnsw_config: graph,
        optimizers: EdgeOptimizersConfig {
            default_segment_number: Some(2),
            max_segment_size: Some(LARGEST_PART_KB),
            ..EdgeOptimizersConfig::default()
        },
        wal_options: Some(WalOptions { segment_capacity: LOG_PART, ..WalOptions::default() }),
        ..EdgeConfig::default()
    }
}

fn to_point(new: &NewPlace, row_width: usize) -> PointStructPersisted {
    let mut vectors = HashMap::from([(GLOBAL.to_owned(), VectorPersisted::Dense(new.global.clone()))]);
    if !new.local.is_empty() {
        let rows = new.local.chunks(row_width).map(|row| row.iter().map(|&byte| f32::from(byte)).collect());
        vectors.insert(LOCAL.to_owned(), VectorPersisted::MultiDense(rows.collect()));
    }
    PointStructPersisted {
        id: PointId::Uuid(crate::place_id(&new.place.name)),
        vector: VectorStructPersisted::Named(vectors),
        payload: Some(qdrant_edge::Payload(payload::of_place(&new.place))),
    }
}
