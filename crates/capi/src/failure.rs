//! What went wrong in the last call of a thread.

use r2former_engine::{EngineError, FailureKind};
use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Kinds of errors.
#[repr(C)]
#[allow(non_camel_case_types, reason = "names of C")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum r2former_error {
    /// The last call succeeded.
    R2FORMER_OK = 0,
    /// A request that cannot be met: a null pointer, an option out of range.
    R2FORMER_REQUEST = 1,
    /// A photograph that cannot be used.
    R2FORMER_DATA = 2,
    /// A file or folder that does not exist, or a folder that holds no index.
    R2FORMER_NOT_FOUND = 3,
    /// A model that is damaged or not supported.
    R2FORMER_MODEL = 4,
    /// A device that is unknown, fails, or disagrees with the CPU.
    R2FORMER_DEVICE = 5,
    /// An index that cannot be read or written.
    R2FORMER_INDEX = 6,
    /// Another writer has the index: try again.
    R2FORMER_BUSY = 7,
    /// A damaged index.
    R2FORMER_DAMAGED = 8,
    /// A fault of the library; please report it.
    R2FORMER_INTERNAL = 9,
}

use r2former_error::*;

/// A failure on its way to the caller.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: r2former_error,
    text: String,
}

impl Failure {
    pub(crate) fn request(text: impl Into<String>) -> Self {
        Self { kind: R2FORMER_REQUEST, text: text.into() }
    }
}

impl<E: Into<EngineError>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error: EngineError = error.into();
        let kind = match error.failure() {
            FailureKind::Data => R2FORMER_DATA,
            FailureKind::NotFound => R2FORMER_NOT_FOUND,
            FailureKind::Model => R2FORMER_MODEL,
            FailureKind::Device => R2FORMER_DEVICE,
            FailureKind::Index => R2FORMER_INDEX,
            FailureKind::Busy => R2FORMER_BUSY,
            FailureKind::Damaged => R2FORMER_DAMAGED,
            _ => R2FORMER_REQUEST,
        };
        Self { kind, text: error.to_string() }
    }
}

thread_local! {
    static LAST: RefCell<(r2former_error, CString)> = RefCell::new((R2FORMER_OK, CString::default()));
}

/// Does the work of a call, and remembers how it ended.
pub(crate) fn guard<T>(work: impl FnOnce() -> Result<T, Failure>) -> Option<T> {
    let (made, kind, text) = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(made)) => (Some(made), R2FORMER_OK, String::new()),
        Ok(Err(Failure { kind, text })) => (None, kind, text),
        Err(panic) => (None, R2FORMER_INTERNAL, format!("internal error: {}", said(&*panic))),
    };
    // A text ends at its first 0.
    let text = text.split('\0').next().unwrap_or_default();
    let text = CString::new(text).unwrap_or_default();
    // During the end of a thread there is nothing to remember.
    let _ = LAST.try_with(|last| *last.borrow_mut() = (kind, text));
    made
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

/// The kind of error of the last call of this thread.
#[unsafe(no_mangle)]
pub extern "C" fn r2former_error_kind() -> r2former_error {
    LAST.try_with(|last| last.borrow().0).unwrap_or(R2FORMER_OK)
}

/// What went wrong in the last call of this thread; empty if it succeeded. Valid until the thread's next call of this
/// library; it is not freed.
#[unsafe(no_mangle)]
pub extern "C" fn r2former_last_error() -> *const c_char {
    LAST.try_with(|last| last.borrow().1.as_ptr()).unwrap_or(c"".as_ptr())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    #[test]
    fn panics_stay_inside() {
        assert_eq!(guard(|| -> Result<(), Failure> { panic!("a fault") }), None);
        assert_eq!(r2former_error_kind(), R2FORMER_INTERNAL);
        // SAFETY: the text is this thread's, and no other call came between.
        let text = unsafe { CStr::from_ptr(r2former_last_error()) };
        assert_eq!(text.to_str(), Ok("internal error: a fault"));
        assert_eq!(guard(|| Ok(5)), Some(5));
        assert_eq!(r2former_error_kind(), R2FORMER_OK);
        let other = std::thread::spawn(|| guard(|| Err::<(), _>(Failure::request("a\0b"))).is_none());
        assert_eq!(other.join().ok(), Some(true));
        assert_eq!(r2former_error_kind(), R2FORMER_OK, "each thread has its own");
    }
}
