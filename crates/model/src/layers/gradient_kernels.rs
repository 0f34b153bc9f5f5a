//! A per-thread switch for the CPU training kernels, so that they can be compared with plain operations.

use std::cell::Cell;

thread_local! {
    static DISABLED: Cell<bool> = const { Cell::new(false) };
}

/// Whether the training kernels are enabled on this thread.
pub(crate) fn enabled() -> bool {
    !DISABLED.get()
}

/// Calls `run` with the CPU training kernels (transformer blocks, matches of local features) disabled on this thread:
/// Burn's operations, their reference, run instead.
pub fn without<T>(run: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            DISABLED.set(self.0);
        }
    }
    let _restore = Restore(DISABLED.replace(true));
    run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_enabled_again_after_a_panic() {
        assert!(enabled() && !without(enabled));
        assert!(std::panic::catch_unwind(|| without(|| panic!("as a device may"))).is_err());
        assert!(enabled());
    }
}
