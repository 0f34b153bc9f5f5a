//! Sources in object stores and behind HTTP, where this program was built with them.

#[cfg(feature = "object-store")]
pub(crate) use r2former_remote::{ListOptions, RemoteSource, Stores};

#[cfg(feature = "object-store")]
use anyhow::Result;
#[cfg(feature = "object-store")]
use r2former_data::dataset::Kind;
#[cfg(feature = "object-store")]
use r2former_remote::FetchOptions;
#[cfg(feature = "object-store")]
use std::path::Path;
#[cfg(feature = "object-store")]
use std::sync::Arc;

/// The source that an argument is, if its photographs are fetched; `stores` are started for the first.
#[cfg(feature = "object-store")]
pub(crate) fn remote_source(
    argument: &Path,
    kind: Option<Kind>,
    stores: &mut Option<Arc<Stores>>,
) -> Result<Option<RemoteSource>> {
    let source = RemoteSource::of(argument, kind)?;
    if source.is_some() && stores.is_none() {
        *stores = Some(Stores::new(FetchOptions::default())?);
    }
    Ok(source)
}

#[cfg(not(feature = "object-store"))]
pub(crate) use without::{ListOptions, RemoteSource, Stores, remote_source};

/// The same, of a program that has none.
#[cfg(not(feature = "object-store"))]
mod without {
    use anyhow::{Result, bail};
    use r2former_data::dataset::{Kind, Listing, SourceOptions, SourceRoot, names_addresses};
    use r2former_data::image::{Limits, Shape};
    use r2former_data::{DataError, Result as DataResult};
    use r2former_engine::PhotoFiles;
    use r2former_index::{FileFingerprint, Place};
    use std::path::Path;
    use std::sync::Arc;

    /// None exist.
    #[derive(Debug, Clone)]
    pub(crate) enum RemoteSource {}

    /// None exist.
    #[derive(Debug)]
    pub(crate) enum Stores {}

    pub(crate) struct ListOptions<'a> {
        pub(crate) kind: Option<Kind>,
        pub(crate) source: &'a SourceOptions,
        pub(crate) label: &'a str,
        pub(crate) indexed: &'a dyn Fn(&[String]) -> DataResult<Vec<Option<Place>>>,
    }

    impl Stores {
        pub(crate) fn root(
            &self,
            _: &RemoteSource,
            _: Option<Kind>,
            _: Option<&str>,
        ) -> DataResult<SourceRoot> {
            match *self {}
        }

        pub(crate) fn list(&self, _: &RemoteSource, options: &ListOptions<'_>) -> DataResult<Listing> {
            let _ = (options.kind, options.source, options.label, options.indexed);
            match *self {}
        }

        pub(crate) fn shape(&self, _: &Path) -> Option<Shape> {
            match *self {}
        }

        pub(crate) fn holds(&self, _: &Path) -> bool {
            match *self {}
        }
    }

    impl PhotoFiles for Stores {
        fn read(&self, _: &Path, _: &Limits) -> DataResult<(Vec<u8>, FileFingerprint)> {
            match *self {}
        }

        fn fingerprints(&self, _: &[&Path]) -> Vec<Result<FileFingerprint, DataError>> {
            match *self {}
        }
    }

    pub(crate) fn remote_source(
        argument: &Path,
        kind: Option<Kind>,
        _: &mut Option<Arc<Stores>>,
    ) -> Result<Option<RemoteSource>> {
        let text = argument.to_string_lossy();
        let is_address =
            ["s3://", "gs://", "http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
        if is_address || names_addresses(argument, kind)? {
            bail!(
                "{text}: this program was built without object stores: build it with `cargo build --release --features \
                 object-store`, or copy the photographs to a folder"
            );
        }
        Ok(None)
    }
}
