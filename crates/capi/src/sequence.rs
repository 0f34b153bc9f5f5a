//! Frames in order against an open index.

use crate::arguments::{bytes, handed_over, optional, pixels};
use crate::failure::{Failure, guard};
use crate::index::{NAME, opened, r2former_index};
use r2former_engine::{OpenIndex, OpenSequence, QueryImage, answers_json, sequence_json};
use serde_json::json;
use std::ffi::{c_char, c_double};
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, PoisonError};

/// Frames that come one after the other. Threads may share it: frames come in the order of the calls.
#[allow(non_camel_case_types, reason = "a name of C")]
#[derive(Debug)]
pub struct r2former_sequence {
    index: Arc<OpenIndex>,
    frames: Mutex<OpenSequence>,
}

impl r2former_sequence {
    /// The document of a frame.
    fn push(&self, image: QueryImage<'_>, [time, moved]: [f64; 2]) -> Result<*mut c_char, Failure> {
        // Nothing is half done where a frame fails.
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        let number = frames.results().len() + 1;
        let known = |value: f64| (!value.is_nan()).then_some(value);
        let image = image.named(format!("{NAME} {number}"));
        let (result, fix) = frames.push(&self.index, image, known(time), known(moved))?;
        let mut document = answers_json(std::slice::from_ref(result));
        document["frame"] = number.into();
        document["fix"] = json!(fix);
        handed_over(document.to_string())
    }
}

/// A sequence by its pointer.
///
/// # Safety
/// The pointer is null, or a sequence that has not ended during the call.
unsafe fn begun<'a>(sequence: *const r2former_sequence) -> Result<&'a r2former_sequence, Failure> {
    // SAFETY: as the caller promises.
    unsafe { sequence.as_ref() }.ok_or_else(|| Failure::request("sequence: is NULL"))
}

/// Begins a sequence: frames that come one after the other, as those of a robot, each fused with those before it. `options`
/// is NULL or a JSON object with the keys of `r2former_locate`, max_speed (metres per second that are not exceeded; 15; not
/// in an index without positions) and max_step (metres between two frames without times; 15). Returns NULL where it fails. The index may be closed before
/// the sequence ends; it is then open until that.
///
/// # Safety
/// `index` is open, `options` is text that ends with 0 or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn r2former_sequence_begin(
    index: *const r2former_index,
    options: *const c_char,
) -> *mut r2former_sequence {
    let begun = guard(|| {
        // SAFETY: as the caller promises.
        let (index, options) = unsafe { (opened(index)?, optional("options", options)?) };
        let frames = Mutex::new(OpenSequence::begin(&index.open, options.unwrap_or_default())?);
        Ok(Box::into_raw(Box::new(r2former_sequence { index: index.open.clone(), frames })))
    });
    begun.unwrap_or(null_mut())
}

/// Takes the next frame, the bytes of an image file. `time` is when it was taken, in seconds from any start, or NaN for that
/// of its EXIF; once a time was given, NaN is none, and to give one behind frames with times of their EXIF fails, as clocks are
/// not mixed. `moved` are the metres travelled since the frame before, by odometry, or NaN. Returns a JSON object, to be freed
/// by `r2former_free`: answers (one, by this frame alone), frame (its number, from 1) and fix (place, position and
/// probability by this frame and those before it, or null before the first candidate); NULL where it fails, and then the
/// frame was not taken. An image that cannot be read is a frame, too. `r2former_fix_of` gives the fix as numbers.
///
/// # Safety
/// `sequence` has not ended, `length` bytes can be read at `bytes`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn r2former_sequence_push(
    sequence: *const r2former_sequence,
    bytes: *const u8,
    length: usize,
    time: c_double,
    moved: c_double,
) -> *mut c_char {
    let document = guard(|| {
        // SAFETY: as the caller promises.
        let (sequence, bytes) = unsafe { (begun(sequence)?, self::bytes(bytes, length)?) };
        sequence.push(QueryImage::from(bytes), [time, moved])
    });
    document.unwrap_or(null_mut())
}

/// As `r2former_sequence_push`, of a camera's frame: see `r2former_locate_rgb`.
///
/// # Safety
/// As of `r2former_sequence_push` and `r2former_locate_rgb`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn r2former_sequence_push_rgb(
    sequence: *const r2former_sequence,
    pixels: *const u8,
    width: usize,
    height: usize,
    stride: usize,
    time: c_double,
    moved: c_double,
) -> *mut c_char {
    let document = guard(|| {
        // SAFETY: as the caller promises.
        let sequence = unsafe { begun(sequence)? };
        // SAFETY: as the caller promises.
        let frame = unsafe { self::pixels(pixels, [width, height, stride]) }?;
        sequence.push(QueryImage::from(&frame), [time, moved])
    });
    document.unwrap_or(null_mut())
}

/// The most probable way through all frames so far: the document of `r2former query --sequence --json`, to be freed by
/// `r2former_free`; NULL where it fails. Each frame is remembered for it, with some 30 kB for 100 candidates.
///
/// # Safety
/// `sequence` has not ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn r2former_sequence_track(sequence: *const r2former_sequence) -> *mut c_char {
    let document = guard(|| {
        // SAFETY: as the caller promises.
        let frames = unsafe { begun(sequence) }?.frames.lock().unwrap_or_else(PoisonError::into_inner);
        handed_over(sequence_json(frames.results(), &frames.points()).to_string())
    });
    document.unwrap_or(null_mut())
}

/// Ends a sequence that no other thread uses any more. NULL is ignored.
///
/// # Safety
/// `sequence` is NULL, or comes from `r2former_sequence_begin` and was not ended before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn r2former_sequence_end(sequence: *mut r2former_sequence) {
    guard(|| {
        if !sequence.is_null() {
            // SAFETY: as the caller promises, it is a box of ours that nobody else has.
            drop(unsafe { Box::from_raw(sequence) });
        }
        Ok(())
    });
}
