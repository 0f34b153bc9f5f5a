//! `--shard` and `--manifest`: one of the parts that several machines share, and the record of what it did.

use crate::common::ensure_writable;
use crate::exit::usage;
use anyhow::Result;
use r2former_data::dataset::Shard;
use r2former_engine::{Settings, ShardManifest, ShardWork, Source};
use std::path::{Path, PathBuf};

/// How a manifest's name ends; its shard and number of shards stand before that.
pub(crate) const SUFFIX: &str = ".json";

#[derive(Debug, clap::Args)]
pub(crate) struct ShardArgs {
    /// Take part I of N of the photographs, where N machines or processes share them: I counts from 0, as Slurm's arrays
    /// and Kubernetes' indexed jobs do, so that four parts are 0/4 to 3/4. A photograph's name alone decides which part it
    /// is in. The same part can be run again at any time.
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// File in which this run says what it did, for `r2former shards check` [default, with --shard: beside what is written,
    /// as NAME.shard-I-of-N.json].
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

impl ShardArgs {
    /// The part, if there are several: of one alone, what is added and what is left out are those of a run without shards.
    pub(crate) fn part(&self) -> Option<Shard> {
        self.shard.filter(|shard| shard.count() > 1)
    }

    /// Begins the record of a run that writes `target`, where one is kept.
    pub(crate) fn record(&self, command: &str, target: &str, sources: Vec<Source>) -> Result<Option<Record>> {
        if self.shard.is_none() && self.manifest.is_none() {
            return Ok(None);
        }
        let shard = match self.shard {
            Some(shard) => shard,
            None => Shard::new(0, 1)?,
        };
        let file = self.manifest.clone().unwrap_or_else(|| beside(target, shard));
        if file == Path::new(target) {
            usage!("{}: is what this run writes, and cannot be its manifest as well", file.display());
        }
        ensure_writable(&file)?;
        let manifest = ShardManifest::begin(command, shard, target.to_owned(), sources);
        Ok(Some(Record { manifest, file }))
    }
}

/// Where the manifest of a target is kept by default; that of an address, in the current folder.
fn beside(target: &str, shard: Shard) -> PathBuf {
    let own = if target.contains("://") { target.rsplit('/').next().unwrap_or_default() } else { target };
    let own = own.trim_end_matches('/');
    let name = if own.is_empty() { "index" } else { own };
    format!("{name}.shard-{}-of-{}{SUFFIX}", shard.index(), shard.count()).into()
}

/// The record of a run.
pub(crate) struct Record {
    manifest: ShardManifest,
    file: PathBuf,
}

impl Record {
    /// Says with which model, and that the work begins.
    pub(crate) fn begin(&mut self, model: &str, fingerprint: &str, settings: Settings) -> Result<()> {
        self.manifest = self.manifest.clone().with_model(model, fingerprint, settings);
        Ok(self.manifest.write(&self.file)?)
    }
}

/// Does some work, and writes what became of it into its record.
pub(crate) fn recorded<T>(
    record: Option<Record>,
    work: impl FnOnce() -> Result<(T, ShardWork)>,
) -> Result<T> {
    let Some(mut record) = record else { return Ok(work()?.0) };
    match work() {
        Ok((done, work)) => {
            record.manifest.finish(work);
            record.manifest.write(&record.file)?;
            Ok(done)
        }
        Err(error) => {
            record.manifest.fail(format!("{error:#}"));
            // What the work failed of counts, not that its record cannot be written for the same reason.
            let _ = record.manifest.write(&record.file);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_lie_beside_what_is_written() {
        let shard = Shard::new(1, 4).expect("below 4");
        for (target, wanted) in [
            ("a/places-1", "a/places-1.shard-1-of-4.json"),
            ("a/places-1/", "a/places-1.shard-1-of-4.json"),
            ("qdrant://host:6334/streets", "streets.shard-1-of-4.json"),
            ("out.safetensors", "out.safetensors.shard-1-of-4.json"),
        ] {
            assert_eq!(beside(target, shard), Path::new(wanted));
        }
    }
}
