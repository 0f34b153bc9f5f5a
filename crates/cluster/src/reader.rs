//! Reading from an index of a cluster.

use std::time::Duration;

use r2former_index::{Manifest, Result};

use crate::address::Address;
use crate::collection::Collection;
use crate::read_places::read_places;

/// An index of a cluster, open for reading. Any number of readers and writers may be open at a time, anywhere.
///
/// It can be shared by threads, which may be those of another runtime: a call blocks its thread alone.
#[derive(Debug, Clone)]
pub struct ClusterReader {
    collection: Collection,
}

impl ClusterReader {
    /// Opens the index at `address` and, with `fingerprint`, refuses an index of another model.
    ///
    /// # Errors
    /// [`Unreachable`](r2former_index::IndexError::Unreachable),
    /// [`KeyRefused`](r2former_index::IndexError::KeyRefused),
    /// [`NoCollection`](r2former_index::IndexError::NoCollection),
    /// [`OtherCollection`](r2former_index::IndexError::OtherCollection),
    /// [`HalfCreated`](r2former_index::IndexError::HalfCreated),
    /// [`OtherFormat`](r2former_index::IndexError::OtherFormat),
    /// [`OtherModel`](r2former_index::IndexError::OtherModel), or the cluster's.
    pub fn open(address: &Address, fingerprint: Option<&str>) -> Result<Self> {
        Ok(Self { collection: Collection::open(address, fingerprint)? })
    }

    /// How long a request may take with all its repetitions: 120 s unless set. Another node is asked after a third of it.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.collection.deadline = deadline;
        self
    }

    /// The index's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.collection.manifest
    }

    /// The index's address.
    pub fn address(&self) -> &Address {
        self.collection.address()
    }
}

read_places!(ClusterReader);
