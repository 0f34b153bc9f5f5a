//! Reading and writing an index wherever it is kept: one match per call, and what a folder gives without a copy stays so.

use r2former_index::{
    Batch, Extent, FileFingerprint, Filter, Hit, IndexConfig, Info, LocalFeatures, Page, Place, ReadPlaces,
    Reader, Result, Source, WritePlaces, Writer,
};
use uuid::Uuid;

/// An index that is open for reading, a folder or a collection; each call sees the last change.
#[derive(Debug)]
pub struct IndexReader(ReaderOf);

#[derive(Debug)]
enum ReaderOf {
    Folder(Reader),
    #[cfg(feature = "cluster")]
    Collection(r2former_cluster::ClusterReader),
}

/// An index that is open for writing, a folder or a collection. It reads too, and sees its own changes at once.
#[derive(Debug)]
pub struct IndexWriter(WriterOf);

#[derive(Debug)]
enum WriterOf {
    Folder(Box<Writer>),
    #[cfg(feature = "cluster")]
    Collection(r2former_cluster::ClusterWriter),
}

impl IndexReader {
    fn reads(&self) -> &dyn ReadPlaces {
        match &self.0 {
            ReaderOf::Folder(reader) => reader,
            #[cfg(feature = "cluster")]
            ReaderOf::Collection(reader) => reader,
        }
    }
}

impl IndexWriter {
    /// Ends. Everything that was acknowledged is durable already.
    ///
    /// # Errors
    /// The store's.
    pub fn close(self) -> Result<()> {
        match self.0 {
            WriterOf::Folder(writer) => writer.close(),
            #[cfg(feature = "cluster")]
            WriterOf::Collection(writer) => writer.close(),
        }
    }

    fn reads(&self) -> &dyn ReadPlaces {
        match &self.0 {
            WriterOf::Folder(writer) => &**writer,
            #[cfg(feature = "cluster")]
            WriterOf::Collection(writer) => writer,
        }
    }

    fn writes(&mut self) -> &mut dyn WritePlaces {
        match &mut self.0 {
            WriterOf::Folder(writer) => &mut **writer,
            #[cfg(feature = "cluster")]
            WriterOf::Collection(writer) => writer,
        }
    }
}

impl From<Reader> for IndexReader {
    fn from(reader: Reader) -> Self {
        Self(ReaderOf::Folder(reader))
    }
}

impl From<Writer> for IndexWriter {
    fn from(writer: Writer) -> Self {
        Self(WriterOf::Folder(Box::new(writer)))
    }
}

#[cfg(feature = "cluster")]
impl From<r2former_cluster::ClusterReader> for IndexReader {
    fn from(reader: r2former_cluster::ClusterReader) -> Self {
        Self(ReaderOf::Collection(reader))
    }
}

#[cfg(feature = "cluster")]
impl From<r2former_cluster::ClusterWriter> for IndexWriter {
    fn from(writer: r2former_cluster::ClusterWriter) -> Self {
        Self(WriterOf::Collection(writer))
    }
}

macro_rules! read_places {
    ($open:ty) => {
        impl ReadPlaces for $open {
            fn config(&self) -> &IndexConfig {
                self.reads().config()
            }

            fn search(&self, global: &[f32], top: usize, filter: &Filter) -> Result<Vec<Hit>> {
                self.reads().search(global, top, filter)
            }

            fn search_approximate(&self, global: &[f32], top: usize, filter: &Filter) -> Result<Vec<Hit>> {
                self.reads().search_approximate(global, top, filter)
            }

            fn search_many(&self, globals: &[&[f32]], top: usize, filter: &Filter) -> Result<Vec<Vec<Hit>>> {
                self.reads().search_many(globals, top, filter)
            }

            fn locals(&self, ids: &[Uuid]) -> Result<Vec<Option<LocalFeatures>>> {
                self.reads().locals(ids)
            }

            fn globals(&self, ids: &[Uuid]) -> Result<Vec<Option<Vec<f32>>>> {
                self.reads().globals(ids)
            }

            fn list(&self, from: Option<Uuid>, limit: usize, filter: &Filter) -> Result<Page> {
                self.reads().list(from, limit, filter)
            }

            fn any_place(
                &self,
                filter: &Filter,
                wanted: &mut dyn FnMut(Uuid, Place) -> bool,
            ) -> Result<bool> {
                self.reads().any_place(filter, wanted)
            }

            fn get(&self, ids: &[Uuid]) -> Result<Vec<Option<Place>>> {
                self.reads().get(ids)
            }

            fn contains(&self, ids: &[Uuid]) -> Result<Vec<bool>> {
                self.reads().contains(ids)
            }

            fn with_file(&self, files: &[FileFingerprint]) -> Result<Vec<Vec<Place>>> {
                self.reads().with_file(files)
            }

            fn sources(&self) -> Result<Vec<Source>> {
                self.reads().sources()
            }

            fn count(&self, filter: &Filter) -> Result<usize> {
                self.reads().count(filter)
            }

            fn extent(&self) -> Result<Option<Extent>> {
                self.reads().extent()
            }

            fn bytes(&self) -> Result<u64> {
                self.reads().bytes()
            }

            fn changes(&self) -> Result<Option<u64>> {
                self.reads().changes()
            }

            fn info(&self) -> Result<Info> {
                self.reads().info()
            }
        }
    };
}

read_places!(IndexReader);
read_places!(IndexWriter);

impl WritePlaces for IndexWriter {
    fn write(&mut self, batch: &Batch<'_>) -> Result<()> {
        self.writes().write(batch)
    }

    fn remove(&mut self, ids: &[Uuid]) -> Result<usize> {
        self.writes().remove(ids)
    }

    fn compact(&mut self) -> Result<()> {
        match &mut self.0 {
            WriterOf::Folder(writer) => writer.compact(),
            #[cfg(feature = "cluster")]
            WriterOf::Collection(writer) => Err(r2former_index::IndexError::Request {
                dir: writer.address().to_string().into(),
                problem: "a cluster gives the room of removed images back by itself, a while after; there is nothing to \
                          compact by hand"
                    .into(),
            }),
        }
    }
}
