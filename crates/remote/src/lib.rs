//! Photographs in object stores and behind HTTP as sources: listed like a folder or a table, and read while the model works.
//!
//! `s3://BUCKET/PREFIX` and `gs://BUCKET/PREFIX` are folders of photographs, or tables of positions where the last part ends as
//! one (`.csv`, `.tsv`, `.txt`); `https://HOST/list.txt` is a table, or a text with an address on each line. Names are relative
//! to the prefix, or to the table's folder. A table or list of this machine may name addresses, too ([`RemoteSource`]). Credentials come from the environment alone: `AWS_ACCESS_KEY_ID` and the like,
//! `GOOGLE_APPLICATION_CREDENTIALS`; without any, requests are anonymous.
//!
//! A photograph is fetched twice: its first bytes when sources are listed, for its position and shape, and all of it when it is
//! extracted. It is never on the disk, and a bounded number of them is in memory. What identifies it is its size with its ETag,
//! which the store lists: what is in an index already costs no download.

mod address;
mod ahead;
mod client;
mod heads;
mod list;
mod source;
mod stores;
mod table;

pub use address::{Address, is_address};
pub use list::{Indexed, ListOptions};
pub use source::RemoteSource;
pub use stores::{FetchOptions, Stores};
