//! JPEG: structure first, then pixels.
//!
//! Decoders are lenient: they fill what is missing with grey. A place would then be matched by a half
//! picture without anyone being told, so the structure is walked to the end-of-image marker before
//! decoding, and the decoder is kept from inventing data.

use super::{Limits, Rgb8};
use crate::{DataError, Result};
use std::borrow::Cow;
use std::io::{BufRead, Cursor, ErrorKind, Seek};
use std::path::Path;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

/// More scans than any encoder writes (10 is usual); each costs a pass over the whole image.
const MAX_SCANS: usize = 64;

/// Zero bytes put in place of the end-of-image marker. The decoder reads up to 8 bytes ahead, and
/// takes reading past the end for truncation; 8 zero bytes do not decode to so much as one block.
const PADDING: usize = 8;

/// End of image.
const END: u8 = 0xd9;
/// Start of a scan: pixels follow.
const SCAN: u8 = 0xda;

/// What a frame header (SOF) says.
struct Frame {
    width: u32,
    height: u32,
    progressive: bool,
}

impl Frame {
    /// Reads the frame header whose marker `code` and length were just read, `body` bytes after them;
    /// none, and nothing read, for other markers.
    fn parse(code: u8, body: i64, reader: &mut impl BufRead) -> std::io::Result<Option<Self>> {
        let is_frame = matches!(code, 0xc0..=0xcf) && !matches!(code, 0xc4 | 0xc8 | 0xcc);
        if !is_frame || body < 5 {
            return Ok(None);
        }
        let mut sides = [0; 5];
        reader.read_exact(&mut sides)?;
        let [_precision, h1, h0, w1, w0] = sides;
        Ok(Some(Self {
            width: u32::from(u16::from_be_bytes([w1, w0])),
            height: u32::from(u16::from_be_bytes([h1, h0])),
            progressive: matches!(code, 0xc2 | 0xc6 | 0xca | 0xce),
        }))
    }
}

/// Whether a marker stands alone, without a length and a body.
fn is_bare(code: u8) -> bool {
    matches!(code, 0x01 | 0xd0..=0xd8)
}

/// Width and height as stored, reading no further than the frame header.
pub(super) fn dimensions(
    reader: &mut (impl BufRead + Seek),
    name: &Path,
    limits: &Limits,
) -> Result<(usize, usize)> {
    let frame = frame(reader, name)?;
    limits.check_size(name, frame.width, frame.height)?;
    Ok((frame.width as usize, frame.height as usize))
}

/// Decodes a whole JPEG, as stored (not yet turned).
pub(super) fn decode(bytes: &[u8], name: &Path, limits: &Limits) -> Result<Rgb8> {
    let frame = frame(&mut Cursor::new(bytes), name)?;
    limits.check_size(name, frame.width, frame.height)?;
    let end = end_of_image(bytes).ok_or_else(|| {
        let problem = format!(
            "is cut short: its {} bytes end without JPEG's end marker: copy or download it again",
            bytes.len()
        );
        DataError::image(name, problem)
    })?;
    // A sequential JPEG whose end marker comes too early would be filled up silently; without the
    // marker the decoder sees the data end, and says so. A progressive one needs its marker.
    let data = if frame.progressive {
        Cow::Borrowed(&bytes[..end + 2])
    } else {
        let mut open = Vec::with_capacity(end + PADDING);
        open.extend_from_slice(&bytes[..end]);
        open.resize(end + PADDING, 0);
        Cow::Owned(open)
    };
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(frame.width as usize)
        .set_max_height(frame.height as usize)
        .jpeg_set_max_scans(MAX_SCANS)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&data[..]), options);
    let damaged = |e: &dyn std::fmt::Display| {
        DataError::image(name, format!("is a damaged or cut short JPEG ({e}): copy or download it again"))
    };
    let pixels = decoder.decode().map_err(|e| match e {
        DecodeErrors::Unsupported(scheme) => DataError::image(
            name,
            format!(
                "is a JPEG of a rare kind ({scheme:?}), which is not supported: convert it to an ordinary one"
            ),
        ),
        other => damaged(&other),
    })?;
    let (width, height) = decoder.dimensions().ok_or_else(|| damaged(&"no frame"))?;
    if pixels.len() != width * height * 3 {
        return Err(damaged(&"the decoder returned another number of pixels than the header promises"));
    }
    Ok(Rgb8 { width, height, pixels })
}

/// Finds the frame header.
fn frame(reader: &mut (impl BufRead + Seek), name: &Path) -> Result<Frame> {
    let problem = match search_frame(reader) {
        Ok(Some(frame)) => return Ok(frame),
        Ok(None) => "is a JPEG without a frame header, so without an image",
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => {
            "is cut short: the JPEG ends within its header: copy or download it again"
        }
        Err(e) => return Err(DataError::io(name, e)),
    };
    Err(DataError::image(name, problem))
}

fn search_frame(reader: &mut (impl BufRead + Seek)) -> std::io::Result<Option<Frame>> {
    loop {
        let mut code = [0];
        reader.skip_until(0xff)?;
        reader.read_exact(&mut code)?;
        while code[0] == 0xff {
            reader.read_exact(&mut code)?;
        }
        match code[0] {
            0 => continue,
            c if is_bare(c) => continue,
            END | SCAN => return Ok(None),
            _ => {}
        }
        let mut length = [0; 2];
        reader.read_exact(&mut length)?;
        let body = i64::from(u16::from_be_bytes(length)) - 2;
        if let Some(frame) = Frame::parse(code[0], body, reader)? {
            return Ok(Some(frame));
        }
        reader.seek_relative(body.max(0))?;
    }
}

/// Where the end-of-image marker of the first image is; none when the data stop before.
///
/// Markers inside segments (an embedded preview's) and after the end (a second image's) do not count.
fn end_of_image(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        // Between markers lie entropy-coded data, in which 0xff is always followed by 0.
        at += bytes.get(at..)?.iter().position(|&b| b == 0xff)?;
        let code = *bytes.get(at + 1)?;
        match code {
            0 => at += 2,
            0xff => at += 1,
            c if is_bare(c) => at += 2,
            END => return Some(at),
            _ => {
                let length = bytes.get(at + 2..at + 4)?;
                at += 2 + usize::from(u16::from_be_bytes([length[0], length[1]]));
            }
        }
    }
}
