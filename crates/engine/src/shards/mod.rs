//! What each shard of a job did, and whether all of them together did the job.

mod job;
mod manifest;

pub use job::{JobReport, Unfinished, check_job};
pub use manifest::{LeftOut, ShardManifest, ShardWork};
