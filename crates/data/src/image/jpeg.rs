//! JPEG: structure first, then pixels.

use super::format::{beside, to_jpeg};
use super::jpeg_scan::{self, Complete, Flaw, MAX_SCANS};
use super::{Limits, Rgb8};
use crate::shell::shell_path;
use crate::{DataError, Remedy, Result};
use std::borrow::Cow;
use std::io::{BufRead, Cursor, ErrorKind, Seek};
use std::path::Path;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

/// End of image.
const END: u8 = 0xd9;
/// Start of a scan: pixels follow.
const SCAN: u8 = 0xda;

/// What a frame header (SOF) says.
struct Frame {
    code: u8,
    precision: u8,
    width: u32,
    height: u32,
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
        let [precision, h1, h0, w1, w0] = sides;
        Ok(Some(Self {
            code,
            precision,
            width: u32::from(u16::from_be_bytes([w1, w0])),
            height: u32::from(u16::from_be_bytes([h1, h0])),
        }))
    }

    /// Refuses the kinds of JPEG that are hardly ever met, each by its name.
    fn check_kind(&self, name: &Path) -> Result<()> {
        let kind = match self.code {
            0xc9..=0xcf => "an arithmetic-coded JPEG",
            0xc3 => "a lossless JPEG",
            0xc5..=0xc7 => "a hierarchical JPEG",
            _ if self.precision != 8 => "a JPEG of 12 bits per sample",
            _ => return Ok(()),
        };
        // Without loss where only the coding differs.
        let command = if matches!(self.code, 0xc9 | 0xca) {
            let from = shell_path(name);
            format!("jpegtran -copy all -outfile {} {from}", beside(name, ".converted.jpg"))
        } else {
            to_jpeg(name)
        };
        let problem = format!("is {kind}, which is not supported");
        Err(DataError::image_to(name, problem, Remedy::Convert(command)))
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

/// Decodes a whole JPEG, as stored (not yet turned); with what is missing, where `limits` accept that.
pub(super) fn decode(bytes: &[u8], name: &Path, limits: &Limits) -> Result<(Rgb8, Option<String>)> {
    let frame = frame(&mut Cursor::new(bytes), name)?;
    frame.check_kind(name)?;
    limits.check_size(name, frame.width, frame.height)?;
    match jpeg_scan::check(bytes) {
        Ok(whole) => {
            let data = with_end(bytes, whole);
            // Strict, the decoder stops at oddities that lose no block, such as bytes between headers.
            let image = pixels(&data, &frame, true, name).or_else(|_| pixels(&data, &frame, false, name))?;
            Ok((image, None))
        }
        Err(Flaw::Missing(what)) if limits.accept_truncated => {
            let end = jpeg_scan::usable_end(bytes);
            let data = with_end(&bytes[..end], Complete { end, marked: false });
            Ok((pixels(&data, &frame, false, name)?, Some(what)))
        }
        Err(Flaw::Missing(what)) => {
            Err(DataError::image_to(name, format!("is cut short: {what}"), Remedy::AgainOrPart))
        }
        Err(Flaw::Hollow(what)) => {
            Err(DataError::image_to(name, format!("is cut short: {what}"), Remedy::Again))
        }
        Err(Flaw::Damaged(what)) => Err(damaged(name, &what)),
    }
}

/// The image's data with an end marker, which the decoder needs.
fn with_end(bytes: &[u8], whole: Complete) -> Cow<'_, [u8]> {
    if whole.marked {
        Cow::Borrowed(&bytes[..whole.end + 2])
    } else {
        Cow::Owned([bytes, &[0xff, END]].concat())
    }
}

fn damaged(name: &Path, what: &dyn std::fmt::Display) -> DataError {
    DataError::image_to(name, format!("is a damaged JPEG ({what})"), Remedy::Again)
}

/// Decodes data whose blocks were counted.
fn pixels(data: &[u8], frame: &Frame, strict: bool, name: &Path) -> Result<Rgb8> {
    let options = DecoderOptions::default()
        .set_strict_mode(strict)
        .set_max_width(frame.width as usize)
        .set_max_height(frame.height as usize)
        .jpeg_set_max_scans(MAX_SCANS)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(data), options);
    let pixels = decoder.decode().map_err(|e| match e {
        DecodeErrors::Unsupported(scheme) => DataError::image_to(
            name,
            format!("is a JPEG of a rare kind ({scheme:?}), which is not supported"),
            Remedy::Convert(to_jpeg(name)),
        ),
        other => damaged(name, &other),
    })?;
    let (width, height) = decoder.dimensions().ok_or_else(|| damaged(name, &"no frame"))?;
    if pixels.len() != width * height * 3 {
        return Err(damaged(name, &"the decoder returned another number of pixels than the header promises"));
    }
    Ok(Rgb8 { width, height, pixels })
}

/// Finds the frame header.
fn frame(reader: &mut (impl BufRead + Seek), name: &Path) -> Result<Frame> {
    match search_frame(reader) {
        Ok(Some(frame)) => Ok(frame),
        Ok(None) => Err(DataError::image(name, "is a JPEG without a frame header, so without an image")),
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => {
            Err(DataError::image_to(name, "is cut short: the JPEG ends within its header", Remedy::Again))
        }
        Err(e) => Err(DataError::io(name, e)),
    }
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
