//! Reading.

use crate::address::Address;
use r2former_index::{
    Extent, FileFingerprint, Filter, Hit, IndexConfig, IndexError, Info, LocalFeatures, Manifest, Page,
    Place, ReadPlaces, Result, Source,
};
use uuid::Uuid;

/// An index of a cluster, open for reading.
#[derive(Debug)]
pub struct ClusterReader {
    address: Address,
    manifest: Manifest,
    exact: bool,
}

impl ClusterReader {
    /// Opens the index at `address` and, with `fingerprint`, refuses an index of another model.
    ///
    /// # Errors
    /// See [`IndexError`].
    pub fn open(address: &Address, _fingerprint: Option<&str>) -> Result<Self> {
        Err(IndexError::NoCollection { address: address.to_string() })
    }
    /// Chooses exact search (the default), or that of the graph.
    #[must_use]
    pub fn exact(mut self, exact: bool) -> Self {
        self.exact = exact;
        self
    }
    /// The index's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    /// The index's address.
    pub fn address(&self) -> &Address {
        &self.address
    }
    fn none(&self) -> IndexError {
        IndexError::NoCollection { address: self.address.to_string() }
    }
}

impl ReadPlaces for ClusterReader {
    fn config(&self) -> &IndexConfig {
        &self.manifest.config
    }
    fn search_many(&self, _: &[&[f32]], _: usize, _: &Filter) -> Result<Vec<Vec<Hit>>> {
        Err(self.none())
    }
    fn search_approximate(&self, _: &[f32], _: usize, _: &Filter) -> Result<Vec<Hit>> {
        Err(self.none())
    }
    fn locals(&self, _: &[Uuid]) -> Result<Vec<Option<LocalFeatures>>> {
        Err(self.none())
    }
    fn globals(&self, _: &[Uuid]) -> Result<Vec<Option<Vec<f32>>>> {
        Err(self.none())
    }
    fn list(&self, _: Option<Uuid>, _: usize, _: &Filter) -> Result<Page> {
        Err(self.none())
    }
    fn get(&self, _: &[Uuid]) -> Result<Vec<Option<Place>>> {
        Err(self.none())
    }
    fn contains(&self, _: &[Uuid]) -> Result<Vec<bool>> {
        Err(self.none())
    }
    fn with_file(&self, _: &[FileFingerprint]) -> Result<Vec<Vec<Place>>> {
        Err(self.none())
    }
    fn sources(&self) -> Result<Vec<Source>> {
        Err(self.none())
    }
    fn count(&self, _: &Filter) -> Result<usize> {
        Err(self.none())
    }
    fn extent(&self) -> Result<Option<Extent>> {
        Err(self.none())
    }
    fn bytes(&self) -> Result<u64> {
        Err(self.none())
    }
    fn info(&self) -> Result<Info> {
        Err(self.none())
    }
}
