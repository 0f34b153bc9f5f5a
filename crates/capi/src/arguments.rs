//! Arguments from C, checked.

use crate::failure::Failure;
use r2former_engine::Rgb8;
use std::ffi::{CStr, CString, c_char};
use std::path::{Path, PathBuf};

/// A text; `None` for a null pointer.
///
/// # Safety
/// The pointer is null, or text that ends with 0.
pub(crate) unsafe fn optional<'a>(name: &str, text: *const c_char) -> Result<Option<&'a str>, Failure> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: as the caller promises.
    match unsafe { CStr::from_ptr(text) }.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(error) => Err(Failure::request(format!("{name}: is not UTF-8: {error}"))),
    }
}

/// A text that has to be there.
///
/// # Safety
/// As [`optional`].
pub(crate) unsafe fn text<'a>(name: &str, text: *const c_char) -> Result<&'a str, Failure> {
    // SAFETY: as the caller promises.
    unsafe { optional(name, text) }?.ok_or_else(|| Failure::request(format!("{name}: is NULL")))
}

/// A path, which need not be UTF-8 where paths are bytes.
///
/// # Safety
/// As [`optional`].
pub(crate) unsafe fn path(name: &str, path: *const c_char) -> Result<PathBuf, Failure> {
    if path.is_null() {
        return Err(Failure::request(format!("{name}: is NULL")));
    }
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        // SAFETY: as the caller promises.
        let bytes = unsafe { CStr::from_ptr(path) }.to_bytes();
        Ok(Path::new(std::ffi::OsStr::from_bytes(bytes)).to_path_buf())
    }
    #[cfg(not(unix))]
    // SAFETY: as the caller promises.
    Ok(Path::new(unsafe { text(name, path) }?).to_path_buf())
}

/// The bytes of an image file.
///
/// # Safety
/// The pointer is null, or `length` bytes can be read there during the call.
pub(crate) unsafe fn bytes<'a>(bytes: *const u8, length: usize) -> Result<&'a [u8], Failure> {
    if bytes.is_null() || length == 0 {
        return Err(Failure::request("bytes: an image is needed"));
    }
    // SAFETY: as the caller promises.
    Ok(unsafe { std::slice::from_raw_parts(bytes, length) })
}

/// Pixels of red, green and blue, whose rows are `stride` bytes apart.
///
/// # Safety
/// The pointer is null, or `height` rows of `3 * width` bytes can be read there during the call.
pub(crate) unsafe fn pixels(pixels: *const u8, [width, height, stride]: [usize; 3]) -> Result<Rgb8, Failure> {
    let row = width.checked_mul(3).filter(|row| *row > 0 && *row <= stride && height > 0);
    let all = row.and_then(|row| (height - 1).checked_mul(stride)?.checked_add(row));
    let (Some(row), Some(all), false) =
        (row, all.filter(|all| *all <= isize::MAX as usize), pixels.is_null())
    else {
        return Err(Failure::request(format!(
            "pixels: {width} x {height} pixels in rows of {stride} bytes are needed, at least 3 bytes per pixel"
        )));
    };
    // SAFETY: the last row ends after `all` bytes.
    let bytes = unsafe { std::slice::from_raw_parts(pixels, all) };
    let mut pixels = Vec::with_capacity(row * height);
    for line in bytes.chunks(stride) {
        pixels.extend_from_slice(&line[..row]);
    }
    Ok(Rgb8 { width, height, pixels })
}

/// A text for the caller, who frees it.
pub(crate) fn handed_over(text: String) -> Result<*mut c_char, Failure> {
    match CString::new(text) {
        Ok(text) => Ok(text.into_raw()),
        Err(error) => Err(Failure::request(format!("the document cannot be handed over: {error}"))),
    }
}
