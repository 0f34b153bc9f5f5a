//! Creating a collection.
use crate::address::Address;
use r2former_index::{Attachment, CollectionOptions, IndexConfig, IndexError, Result};

/// Creates an empty index.
///
/// # Errors
/// If the collection exists, or the cluster's.
pub fn create(
    address: &Address,
    _config: IndexConfig,
    _options: &CollectionOptions,
    _attachments: &mut [Attachment<'_>],
) -> Result<()> {
    Err(IndexError::NoCollection { address: address.to_string() })
}
