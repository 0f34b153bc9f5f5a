//! What is stored of a place: JSON, so that later fields can be missing here and unknown ones are kept out of the way.

use serde::{Deserialize, Serialize};

use crate::place::Place;

/// A stored place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) place: Place,
}

impl Record {
    pub(crate) fn encode(place: &Place) -> Result<Vec<u8>, String> {
        #[derive(Serialize)]
        struct Borrowed<'a> {
            place: &'a Place,
        }
        serde_json::to_vec(&Borrowed { place }).map_err(|error| error.to_string())
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }
}
