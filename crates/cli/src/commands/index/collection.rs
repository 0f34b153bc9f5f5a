//! Options of a collection that is created.

use crate::exit::usage;
use anyhow::Result;
use clap::Args;
use r2former_engine::{CollectionOptions, IndexAddress, Quantization};

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of a collection (qdrant://) that is created")]
pub(super) struct CollectionArgs {
    /// Parts of the collection, spread over the nodes [default: one for each node].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    shards: Option<u32>,
    /// Copies of each part, on different nodes [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    replicas: Option<u32>,
    /// Copies that have applied a change before it counts as made [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    write_consistency: Option<u32>,
    /// Smaller copies of the descriptors in memory, for --approximate: int8, a quarter of their size [default: none].
    #[arg(long, value_name = "KIND", default_value = "none", hide_default_value = true)]
    quantization: Quantization,
    /// Keep the descriptors and their graph on disk, and not in memory.
    #[arg(long)]
    on_disk: bool,
}

impl CollectionArgs {
    /// Refuses them for an index in a folder.
    pub(super) fn check(&self, index: &IndexAddress) -> Result<()> {
        if index.folder().is_some() && self.options() != CollectionOptions::default() {
            usage!(
                "{index}: --shards, --replicas, --write-consistency, --quantization and --on-disk are options of a collection \
                 (qdrant://HOST:PORT/COLLECTION); this is a folder"
            );
        }
        Ok(())
    }

    pub(super) fn options(&self) -> CollectionOptions {
        CollectionOptions {
            shards: self.shards,
            replicas: self.replicas,
            write_consistency: self.write_consistency,
            quantization: self.quantization,
            on_disk: self.on_disk,
        }
    }
}
