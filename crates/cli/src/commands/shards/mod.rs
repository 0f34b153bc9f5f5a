//! `r2former shards`: whether a job that several machines share is whole, and one file of their files.

mod check;
mod merge;

use crate::exit::ExitStatus;
use anyhow::Result;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum ShardsCommand {
    /// Say whether all shards of a job have finished, from their manifests: which are missing, failed or still run, and
    /// what all of them did. Exit code 1 unless the job is whole.
    Check(check::CheckArgs),
    /// Write the files of `extract --shard` as the one that a single run would have written. Indexes of shards are joined by
    /// `r2former index copy`.
    Merge(merge::MergeArgs),
}

pub(crate) fn run(command: &ShardsCommand) -> Result<ExitStatus> {
    match command {
        ShardsCommand::Check(args) => check::run(args),
        ShardsCommand::Merge(args) => merge::run(args),
    }
}
