//! What an argument names, where it is more than files of this machine.

use crate::address::{Address, is_address};
use r2former_data::Result;
use r2former_data::dataset::{Kind, names_addresses};
use std::fmt;
use std::path::{Path, PathBuf};

/// A source whose photographs are fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteSource {
    /// A prefix, a photograph, a table or a list, at an address.
    Address(Address),
    /// A table or a list on this machine that names addresses, perhaps files among them.
    Table(PathBuf),
}

impl RemoteSource {
    /// The source that an argument names; `None` for one of files alone. `kind` is what people say that it is.
    ///
    /// # Errors
    /// [`DataError::Request`](r2former_data::DataError::Request) for an address that is none,
    /// [`DataError::Io`](r2former_data::DataError::Io) for a table that cannot be read.
    pub fn of(argument: &Path, kind: Option<Kind>) -> Result<Option<Self>> {
        if let Some(text) = argument.to_str().filter(|text| is_address(text)) {
            return Ok(Some(Self::Address(Address::parse(text)?)));
        }
        Ok(names_addresses(argument, kind)?.then(|| Self::Table(argument.to_owned())))
    }

    /// As it stands in messages and listings.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::Address(address) => address.path(),
            Self::Table(path) => path.clone(),
        }
    }
}

impl fmt::Display for RemoteSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Table(path) => path.display().fmt(f),
        }
    }
}
