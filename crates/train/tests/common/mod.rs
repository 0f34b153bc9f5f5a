//! What the tests share.

use r2former_engine::{NoProgress, Progress};
use r2former_train::{LogEntry, TrainObserver};

/// Prints nothing.
pub(crate) struct Quiet;

impl Progress for Quiet {
    fn start(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
    fn note(&self, line: &str) {
        NoProgress.note(line);
    }
}

impl TrainObserver for Quiet {
    fn logged(&self, _: &LogEntry, _: u64) {}
}
