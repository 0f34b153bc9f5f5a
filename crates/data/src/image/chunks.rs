//! The EXIF block among the chunks of a PNG or WebP.

use super::format::Format;
use std::io::{BufRead, Error, ErrorKind, Read, Result, Seek};

/// How an EXIF block begins that a writer copied out of a JPEG as it was.
const JPEG_PREFIX: &[u8] = b"Exif\0\0";

/// The EXIF block of a PNG or WebP, `reader` being at its start; `None` where there is none.
///
/// # Errors
/// [`ErrorKind::UnexpectedEof`] and [`ErrorKind::InvalidData`] for chunks that do not reach the file's end; those of the
/// system.
pub(super) fn exif_block(format: Format, reader: &mut (impl BufRead + Seek)) -> Result<Option<Vec<u8>>> {
    let block = if format == Format::Png { of_png(reader) } else { of_webp(reader) }?;
    Ok(block.map(|block| match block.strip_prefix(JPEG_PREFIX) {
        Some(rest) => rest.to_vec(),
        None => block,
    }))
}

fn of_png(reader: &mut (impl BufRead + Seek)) -> Result<Option<Vec<u8>>> {
    reader.seek_relative(8)?;
    loop {
        let mut header = [0; 8];
        reader.read_exact(&mut header)?;
        let [length, kind] = [&header[..4], &header[4..]];
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
        match kind {
            b"IEND" => return Ok(None),
            b"eXIf" => return body(reader, length).map(Some),
            // The content, and its checksum. Beyond the end nothing follows, which the next header finds.
            _ => reader.seek_relative(i64::from(length) + 4)?,
        }
    }
}

fn of_webp(reader: &mut (impl BufRead + Seek)) -> Result<Option<Vec<u8>>> {
    let mut header = [0; 12];
    reader.read_exact(&mut header)?;
    let size = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    let mut left = u64::from(size).checked_sub(4).ok_or(ErrorKind::InvalidData)?;
    while left > 0 {
        let mut header = [0; 8];
        reader.read_exact(&mut header)?;
        let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        if &header[..4] == b"EXIF" {
            return body(reader, length).map(Some);
        }
        // Chunks of an odd length have a byte after them, which some writers leave out at the end.
        left = left.checked_sub(8 + u64::from(length)).ok_or(ErrorKind::InvalidData)?;
        let padding = u64::from(length % 2).min(left);
        left -= padding;
        reader.seek_relative(i64::from(length) + padding as i64)?;
    }
    // What was skipped last has to be there.
    let here = reader.stream_position()?;
    if here > reader.seek(std::io::SeekFrom::End(0))? {
        return Err(Error::from(ErrorKind::UnexpectedEof));
    }
    Ok(None)
}

fn body(reader: &mut impl Read, length: u32) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    reader.take(length.into()).read_to_end(&mut body)?;
    if body.len() as u64 == u64::from(length) { Ok(body) } else { Err(Error::from(ErrorKind::UnexpectedEof)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn png(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
        for (kind, body) in chunks {
            bytes.extend((body.len() as u32).to_be_bytes());
            bytes.extend([*kind, *body, b"crc!"].concat());
        }
        bytes
    }

    fn webp(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut inside = b"WEBP".to_vec();
        for (kind, body) in chunks {
            inside.extend(*kind);
            inside.extend((body.len() as u32).to_le_bytes());
            inside.extend(*body);
            inside.extend(vec![0; body.len() % 2]);
        }
        [&b"RIFF"[..], &(inside.len() as u32).to_le_bytes(), &inside].concat()
    }

    #[test]
    fn blocks_are_found_and_cuts_seen() {
        for (format, with, without) in [
            (
                Format::Png,
                png(&[(b"IHDR", &[0; 13]), (b"eXIf", b"MM\0*"), (b"IEND", b"")]),
                png(&[(b"IHDR", &[0; 13]), (b"IDAT", b"xyz"), (b"IEND", b"")]),
            ),
            (
                Format::WebP,
                webp(&[(b"VP8 ", b"xyz"), (b"EXIF", b"Exif\0\0MM\0*")]),
                webp(&[(b"VP8X", b"xy"), (b"VP8 ", b"xyz")]),
            ),
        ] {
            let of = |bytes: &[u8]| exif_block(format, &mut Cursor::new(bytes)).map_err(|e| e.kind());
            assert_eq!(of(&with), Ok(Some(b"MM\0*".to_vec())));
            assert_eq!(of(&without), Ok(None));
            let needed = if format == Format::Png { without.len() - 4 } else { without.len() };
            for end in 12..needed {
                assert_eq!(of(&without[..end]), Err(ErrorKind::UnexpectedEof), "{format:?} {end}");
            }
        }
        let mut lies = webp(&[(b"VP8 ", b"xyz")]);
        lies[16] = 200;
        assert_eq!(
            exif_block(Format::WebP, &mut Cursor::new(lies)).map_err(|e| e.kind()),
            Err(ErrorKind::InvalidData)
        );
    }
}
