//! The trait of readers, for what has a collection: the reader and the writer.

/// Reading, for what has a collection.
macro_rules! read_places {
    ($open:ty) => {
        impl r2former_index::ReadPlaces for $open {
            fn config(&self) -> &r2former_index::IndexConfig {
                &self.collection.manifest.config
            }

            fn search_many(
                &self,
                globals: &[&[f32]],
                top: usize,
                filter: &r2former_index::Filter,
            ) -> r2former_index::Result<Vec<Vec<r2former_index::Hit>>> {
                self.collection.search(crate::read::Mode::Exact, globals, top, filter)
            }

            fn search_approximate(
                &self,
                global: &[f32],
                top: usize,
                filter: &r2former_index::Filter,
            ) -> r2former_index::Result<Vec<r2former_index::Hit>> {
                let found = self.collection.search(crate::read::Mode::Approximate, &[global], top, filter)?;
                Ok(found.into_iter().next().unwrap_or_default())
            }

            fn locals(
                &self,
                ids: &[uuid::Uuid],
            ) -> r2former_index::Result<Vec<Option<r2former_index::LocalFeatures>>> {
                self.collection.locals(ids)
            }

            fn globals(&self, ids: &[uuid::Uuid]) -> r2former_index::Result<Vec<Option<Vec<f32>>>> {
                self.collection.globals(ids)
            }

            fn list(
                &self,
                from: Option<uuid::Uuid>,
                limit: usize,
                filter: &r2former_index::Filter,
            ) -> r2former_index::Result<r2former_index::Page> {
                self.collection.list(from, limit, filter)
            }

            fn get(&self, ids: &[uuid::Uuid]) -> r2former_index::Result<Vec<Option<r2former_index::Place>>> {
                self.collection.get(ids)
            }

            fn contains(&self, ids: &[uuid::Uuid]) -> r2former_index::Result<Vec<bool>> {
                self.collection.contains(ids)
            }

            fn with_file(
                &self,
                files: &[r2former_index::FileFingerprint],
            ) -> r2former_index::Result<Vec<Vec<r2former_index::Place>>> {
                self.collection.with_file(files)
            }

            fn sources(&self) -> r2former_index::Result<Vec<r2former_index::Source>> {
                self.collection.sources()
            }

            fn count(&self, filter: &r2former_index::Filter) -> r2former_index::Result<usize> {
                self.collection.count(filter)
            }

            /// Reads the places at the ends of each axis alone.
            fn extent(&self) -> r2former_index::Result<Option<r2former_index::Extent>> {
                self.collection.extent()
            }

            /// An estimate, of all replicas together: what some images take, times their number.
            fn bytes(&self) -> r2former_index::Result<u64> {
                self.collection.bytes()
            }

            /// Nobody counts them, as anybody may write.
            fn changes(&self) -> r2former_index::Result<Option<u64>> {
                Ok(None)
            }

            /// Bytes are an estimate; changes are not counted.
            fn info(&self) -> r2former_index::Result<r2former_index::Info> {
                self.collection.info()
            }
        }
    };
}
pub(crate) use read_places;
