//! The EXIF block and the XMP packet of a photograph, out of its container.

use super::format::Format;
use super::{chunks, other};
use crate::{DataError, Result};
use exif::{Context, Exif, In, Reader, Tag, Value};
use std::io::{BufRead, Cursor, ErrorKind, Seek};
use std::path::Path;

/// How the EXIF segment of a JPEG begins.
const EXIF: &[u8] = b"Exif\0";
/// How its XMP segment begins.
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

/// What a photograph says of itself beside its pixels.
#[derive(Default)]
pub(super) struct Metadata {
    /// Its EXIF, as far as it can be read.
    pub(super) exif: Option<Exif>,
    /// Why there may be an EXIF block and there is no EXIF: it is damaged, or the file that holds it is.
    pub(super) damage: Option<String>,
    /// Its XMP packet; bytes that are not UTF-8 are replaced.
    pub(super) xmp: Option<String>,
}

impl Metadata {
    /// The EXIF orientation, 1 to 8; 1 (as stored) when there is none or it cannot be read: a broken EXIF block does
    /// not make a photograph unusable.
    pub(super) fn orientation(&self) -> u8 {
        let field = self.exif.as_ref().and_then(|exif| exif.get_field(Tag::Orientation, In::PRIMARY));
        match field.and_then(|field| field.value.get_uint(0)) {
            Some(value @ 1..=8) => value as u8,
            _ => 1,
        }
    }

    fn take_exif(&mut self, read: Result<Exif, exif::Error>) {
        // Damage in one tag (often a maker's own) leaves the others readable.
        match read.or_else(|e| e.distill_partial_result(|_| ())) {
            Ok(exif) => self.exif = Some(exif),
            Err(exif::Error::NotFound(_)) => {}
            Err(e) => self.damage = Some(format!("its EXIF block is damaged: {e}")),
        }
    }
}

/// Reads the metadata of an image of this format, `reader` being at its start; pixels are not read.
///
/// # Errors
/// [`DataError::Io`] alone: damage is part of the answer.
pub(super) fn read(format: Format, reader: &mut (impl BufRead + Seek), name: &Path) -> Result<Metadata> {
    let mut metadata = Metadata::default();
    let parser = || {
        let mut parser = Reader::new();
        parser.continue_on_error(true);
        parser
    };
    match format {
        Format::Jpeg => {
            let (exif, xmp) = jpeg_segments(reader).map_err(|e| DataError::io(name, e))?;
            if let Some(block) = exif {
                metadata.take_exif(parser().read_raw(block));
            }
            metadata.xmp = xmp;
        }
        Format::Tiff => {
            match parser().read_from_container(reader) {
                Err(exif::Error::Io(e)) if e.kind() != ErrorKind::UnexpectedEof => {
                    return Err(DataError::io(name, e));
                }
                // The container itself ends early: that is for the decoder to say.
                Err(exif::Error::Io(_)) => {}
                read => metadata.take_exif(read),
            }
            metadata.xmp = metadata.exif.as_ref().and_then(xmp_of_tiff);
        }
        Format::Png | Format::WebP => {
            match chunks::exif_block(format, reader) {
                Ok(Some(block)) => metadata.take_exif(parser().read_raw(block)),
                Ok(None) => {}
                Err(e) if matches!(e.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData) => {
                    metadata.damage = Some(format!(
                        "is cut short or damaged: the {} ends early, and no EXIF was found before that; copy or \
                         download it again",
                        format.name()
                    ));
                }
                Err(e) => return Err(DataError::io(name, e)),
            }
            reader.rewind().map_err(|e| DataError::io(name, e))?;
            metadata.xmp = other::xmp(format, reader);
        }
        _ => {}
    }
    Ok(metadata)
}

/// Whether these first bytes of a JPEG reach its first scan: all of its tags and its dimensions lie before that.
pub fn jpeg_header_ends(head: &[u8]) -> bool {
    let (mut exif, mut xmp) = (None, None);
    head.starts_with(b"\xff\xd8") && search_segments(&mut Cursor::new(head), &mut exif, &mut xmp).is_ok()
}

/// The EXIF block and the XMP packet among the segments before a JPEG's first scan.
fn jpeg_segments(reader: &mut (impl BufRead + Seek)) -> std::io::Result<(Option<Vec<u8>>, Option<String>)> {
    let (mut exif, mut xmp) = (None, None);
    match search_segments(reader, &mut exif, &mut xmp) {
        Err(e) if e.kind() != ErrorKind::UnexpectedEof => Err(e),
        _ => Ok((exif, xmp)),
    }
}

fn search_segments(
    reader: &mut (impl BufRead + Seek),
    exif: &mut Option<Vec<u8>>,
    xmp: &mut Option<String>,
) -> std::io::Result<()> {
    loop {
        let mut code = [0];
        reader.skip_until(0xff)?;
        reader.read_exact(&mut code)?;
        while code[0] == 0xff {
            reader.read_exact(&mut code)?;
        }
        match code[0] {
            0 | 0x01 | 0xd0..=0xd8 => continue,
            0xd9 | 0xda => return Ok(()),
            _ => {}
        }
        let mut length = [0; 2];
        reader.read_exact(&mut length)?;
        let length = u16::from_be_bytes(length).saturating_sub(2);
        if code[0] != 0xe1 {
            reader.seek_relative(length.into())?;
            continue;
        }
        let mut body = vec![0; length.into()];
        reader.read_exact(&mut body)?;
        if exif.is_none() && body.starts_with(EXIF) && body.len() > EXIF.len() {
            *exif = Some(body.split_off(EXIF.len() + 1));
        } else if xmp.is_none() && body.starts_with(XMP) {
            *xmp = Some(String::from_utf8_lossy(&body[XMP.len()..]).into_owned());
        }
    }
}

/// A TIFF keeps its XMP packet in tag 700.
fn xmp_of_tiff(exif: &Exif) -> Option<String> {
    match &exif.get_field(Tag(Context::Tiff, 700), In::PRIMARY)?.value {
        Value::Byte(bytes) | Value::Undefined(bytes, _) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    }
}
