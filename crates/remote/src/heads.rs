//! The first bytes of photographs: position, shape, and whether they are any.

use crate::address::Address;
use crate::client::About;
use crate::stores::Shared;
use futures_util::StreamExt;
use r2former_data::dataset::{HEAD_BYTES, Head, HeadOfPhoto, look_at_head};
use r2former_data::image::Limits;
use std::path::PathBuf;
use std::sync::Arc;

/// An object of a source.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) path: PathBuf,
    /// Within the source.
    pub(crate) name: String,
    pub(crate) address: Address,
    pub(crate) about: Option<About>,
}

/// What was seen of an object.
#[derive(Debug)]
pub(crate) enum Seen {
    Photo(Box<HeadOfPhoto>),
    Other,
    /// It cannot be read, in words.
    Failed(String),
}

/// Looks at the first bytes of each, in their order; of those that need it, at all bytes.
pub(crate) async fn look(shared: &Arc<Shared>, items: &[Item]) -> Vec<Seen> {
    let looks = items.iter().map(|item| look_at(shared.clone(), item.clone()));
    futures_util::stream::iter(looks).buffered(shared.options.concurrency).collect().await
}

async fn look_at(shared: Arc<Shared>, item: Item) -> Seen {
    if item.about.is_some_and(|about| about.bytes == 0) {
        return Seen::Failed("is empty".into());
    }
    let most = Limits::default().max_bytes;
    // Small ones are read whole by one request.
    let mut head = Some(HEAD_BYTES).filter(|end| item.about.is_none_or(|about| about.bytes > *end));
    loop {
        let fetched = match shared.fetch(&item.address, head, most).await {
            Ok(fetched) => fetched,
            Err(problem) => return Seen::Failed(problem),
        };
        match look_at_head(&item.path, &item.name, &fetched.bytes, fetched.all) {
            Head::Photo(photo) => {
                shared.note(&item.path, fetched.about, photo.shape().cloned());
                return Seen::Photo(photo);
            }
            Head::Other => return Seen::Other,
            Head::Short if fetched.all => return Seen::Failed("is cut short".into()),
            Head::Short => head = None,
        }
    }
}
