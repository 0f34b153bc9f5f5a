//! Looking through a collection.
use crate::address::Address;
use r2former_index::{IndexError, Report, Result};

/// Checks every point.
///
/// # Errors
/// If the index cannot be opened.
pub fn verify(address: &Address) -> Result<Report> {
    Err(IndexError::NoCollection { address: address.to_string() })
}
