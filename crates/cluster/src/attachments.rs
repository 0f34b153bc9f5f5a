//! Files that belong to an index.
use crate::address::Address;
use r2former_index::{IndexError, Result};
use std::path::Path;

/// The attachment called `name`.
///
/// # Errors
/// If there is none of that name, or the cluster's.
pub fn attachment(address: &Address, _name: &str) -> Result<Vec<u8>> {
    Err(IndexError::NoCollection { address: address.to_string() })
}

/// Writes the attachment called `name` to a file.
///
/// # Errors
/// As for [`attachment`], and the system's.
pub fn attachment_to(address: &Address, _name: &str, _path: &Path) -> Result<()> {
    Err(IndexError::NoCollection { address: address.to_string() })
}
