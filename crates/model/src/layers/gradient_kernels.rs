//! Whether gradients on a CPU run on the kernels: always, but where they are compared with plain operations.

use std::cell::Cell;

thread_local! {
    static DISABLED: Cell<bool> = const { Cell::new(false) };
}

/// Whether the kernels may run, on this thread.
pub(crate) fn enabled() -> bool {
    !DISABLED.get()
}

/// Runs with Burn's own operations in place of the CPU kernels of training (transformer blocks, matches of local
/// features): their reference. Holds for this thread.
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
    fn kernels_come_back_after_a_panic_too() {
        assert!(enabled() && !without(enabled));
        assert!(std::panic::catch_unwind(|| without(|| panic!("as a device may"))).is_err());
        assert!(enabled());
    }
}
