//! How long-running work reports progress.

/// Receives progress; the library prints nothing by itself.
pub trait Progress: Sync {
    /// Work of `total` steps begins; `what` names the steps, as in "images".
    fn start(&self, what: &str, total: u64);
    /// `steps` more steps are done.
    fn advance(&self, steps: u64);
    /// The work is over.
    fn finish(&self);
    /// Something worth a line of its own, such as a file that was left out.
    fn note(&self, line: &str);
}

/// Reports nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn start(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
    fn note(&self, _: &str) {}
}
