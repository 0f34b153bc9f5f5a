//! Files that are not what they seem: every one ends in a message, none in a panic or a grey picture.

use proptest::prelude::*;
use r2former_data::image::{
    Limits, PhotoTags, Rgb8, decode_bytes, decode_bytes_noting, decode_file, dimensions, jpeg_with_tags,
    read_tags, tags_of_bytes,
};
use std::path::{Path, PathBuf};

fn parity(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity").join(file)
}

fn bytes_of(file: &str) -> Vec<u8> {
    std::fs::read(parity(file)).expect(file)
}

/// The message of a decoding that must fail.
fn refusal(bytes: &[u8]) -> String {
    match decode_bytes(bytes, Path::new("x.jpg"), &Limits::default()) {
        Ok(image) => panic!("must be refused, and is {} x {}", image.width, image.height),
        Err(error) => error.to_string(),
    }
}

const JPEGS: [&str; 13] = [
    "jpeg_444.jpg",
    "jpeg_420.jpg",
    "jpeg_422.jpg",
    "jpeg_420_odd.jpg",
    "jpeg_420_restart.jpg",
    "jpeg_grey.jpg",
    "jpeg_cmyk.jpg",
    "jpeg_420_progressive.jpg",
    "jpeg_grey_progressive.jpg",
    "jpeg_444_progressive.jpg",
    "jpeg_411.jpg",
    "jpeg_ycck.jpg",
    "jpeg_tiny.jpg",
];

#[test]
fn files_that_are_no_images() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let limits = Limits::default();
    std::fs::write(at("empty.jpg"), b"").expect("write");
    std::fs::write(at("text.jpg"), b"<html>not found</html>").expect("write");
    for (path, words) in [
        (at("missing.jpg"), "No such file"),
        (at("empty.jpg"), "is empty (0 bytes)"),
        (
            at("text.jpg"),
            "is not an image: starts with \"<html>not fo\", expected JPEG, PNG, WebP, TIFF, GIF, BMP, PPM \
             or QOI",
        ),
        (folder.path().to_owned(), "is a folder"),
    ] {
        let messages = [
            decode_file(&path, &limits).expect_err("must fail").to_string(),
            dimensions(&path, &limits).expect_err("must fail").to_string(),
            read_tags(&path).expect_err("must fail").to_string(),
        ];
        for message in messages {
            assert!(message.contains(words) && message.contains(&*path.to_string_lossy()), "{message}");
        }
    }
    let small = Limits { max_bytes: 100, ..limits };
    let message = decode_file(&parity("jpeg_444.jpg"), &small).expect_err("too large").to_string();
    assert!(message.contains("limit for an image file is 100"), "{message}");
}

#[test]
fn the_extension_does_not_matter() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("really-a-png.jpg");
    std::fs::copy(parity("png_rgb.png"), &path).expect("copy");
    assert_eq!(decode_file(&path, &Limits::default()).expect("a PNG").width, 23);
}

/// Headers that promise 60,000 x 60,000 pixels, in every format.
fn giants() -> Vec<(&'static str, Vec<u8>)> {
    let side = 60_000u32;
    let mut jpeg = bytes_of("jpeg_444.jpg");
    let frame = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).expect("a frame header");
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xea, 0x60, 0xea, 0x60]);
    let mut progressive = jpeg.clone();
    progressive[frame + 1] = 0xc2;
    let mut png = bytes_of("png_rgb.png");
    png[16..20].copy_from_slice(&side.to_be_bytes());
    png[20..24].copy_from_slice(&side.to_be_bytes());
    let checksum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    let mut bmp = bytes_of("bmp.bmp");
    bmp[18..22].copy_from_slice(&side.to_le_bytes());
    bmp[22..26].copy_from_slice(&side.to_le_bytes());
    let ppm = b"P6\n60000 60000\n255\n0123".to_vec();
    // WebP's lossless header has 14 bits a side, so 16,383 squared is about its largest: beyond max_pixels.
    let webp = b"RIFF\x16\0\0\0WEBPVP8L\x0a\0\0\0\x2f\xfe\xbf\xff\x0f\0\0\0\0\0".to_vec();
    vec![
        ("jpeg", jpeg),
        ("progressive", progressive),
        ("png", png),
        ("bmp", bmp),
        ("ppm", ppm),
        ("webp", webp),
    ]
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 })
    })
}

#[test]
fn giants_are_refused_by_their_header() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes) in giants() {
        let message = refusal(&bytes);
        assert!(message.contains("pixels; the limit is"), "{name}: {message}");
        let path = folder.path().join(name);
        std::fs::write(&path, &bytes).expect("write");
        let message = dimensions(&path, &Limits::default()).expect_err("too large").to_string();
        assert!(message.contains("pixels; the limit is"), "{name}: {message}");
    }
}

#[test]
fn a_side_of_zero_is_refused() {
    let mut jpeg = bytes_of("jpeg_444.jpg");
    let frame = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).expect("a frame header");
    jpeg[frame + 5..frame + 7].copy_from_slice(&[0, 0]);
    assert!(refusal(&jpeg).contains("a side of 0"));
    refusal(b"P6\n0 5\n255\n");
}

/// Bytes of the first scan header, from its marker on.
fn first_scan(jpeg: &[u8]) -> usize {
    let mut at = 2;
    while jpeg[at + 1] != 0xda {
        at += 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
    }
    at
}

/// Only the end marker may be missing.
#[test]
fn a_jpeg_cut_anywhere_is_an_error() {
    let limits = Limits::default();
    for file in JPEGS {
        let whole = bytes_of(file);
        for cut in 1..whole.len() - 2 {
            let message = refusal(&whole[..cut]);
            assert!(cut < 4 || message.contains("cut short"), "{file} at {cut}: {message}");
        }
        let plain = decode_bytes(&whole, Path::new("x"), &limits).expect(file);
        for cut in [whole.len() - 2, whole.len() - 1] {
            assert_eq!(decode_bytes(&whole[..cut], Path::new("x"), &limits).expect(file), plain);
        }
    }
}

/// Nor does an end marker make half a picture whole, sequential or progressive; a
/// progressive one needs its last scans too.
#[test]
fn a_jpeg_cut_and_closed_again_is_an_error() {
    for file in JPEGS {
        let whole = bytes_of(file);
        for cut in first_scan(&whole)..whole.len() - 2 {
            // Within a scan's header the marker is taken for the header's own bytes.
            let message = refusal(&[&whole[..cut], b"\xff\xd9"].concat());
            assert!(
                message.contains("cut short") || message.contains("damaged"),
                "{file} at {cut}: {message}"
            );
        }
    }
}

/// A download whose file was allocated at full length and not filled: zeros are blocks to a decoder.
#[test]
fn zeros_for_the_rest_are_an_error() {
    for file in JPEGS.iter().filter(|f| !f.contains("tiny")) {
        let whole = bytes_of(file);
        let scan = first_scan(&whole) + 20;
        for cut in scan..whole.len() - 12 {
            let mut blank = whole.clone();
            blank[cut..].fill(0);
            let message = match decode_bytes(&blank, Path::new("x"), &Limits::default()) {
                Ok(_) => panic!("{file} with zeros from {cut} of {}", whole.len()),
                Err(error) => error.to_string(),
            };
            assert!(
                message.contains("cut short") || message.contains("damaged"),
                "{file} at {cut}: {message}"
            );
        }
        // Zeros behind the last block are nothing: cameras allocate in advance.
        let padded = [&whole[..whole.len() - 2], &[0; 100]].concat();
        assert!(decode_bytes(&padded, Path::new("x"), &Limits::default()).is_ok(), "{file}");
    }
}

/// On request what is there is read, and says what is missing.
#[test]
fn a_cut_jpeg_is_read_on_request() {
    let lenient = Limits { accept_truncated: true, ..Limits::default() };
    for file in JPEGS {
        let whole = bytes_of(file);
        let plain = decode_bytes_noting(&whole, Path::new("x"), &lenient).expect(file);
        assert_eq!(plain.missing, None);
        let plain = plain.image;
        let (scan, end) = (first_scan(&whole), whole.len() - 2);
        for cut in 1..end {
            for bytes in [whole[..cut].to_vec(), [&whole[..cut], b"\xff\xd9"].concat()] {
                if let Ok(decoded) = decode_bytes_noting(&bytes, Path::new("x"), &lenient) {
                    assert!(decoded.missing.is_some(), "{file} at {cut}");
                    assert_eq!((decoded.image.width, decoded.image.height), (plain.width, plain.height));
                }
            }
        }
        if plain.height < 40 {
            continue;
        }
        let half =
            decode_bytes_noting(&whole[..scan + (end - scan) * 2 / 3], Path::new("x"), &lenient).expect(file);
        let missing = half.missing.expect("a note");
        assert!(["blocks", "scans", "header"].iter().any(|word| missing.contains(word)), "{missing}");
        if !file.contains("progressive") {
            let upper = plain.width * 3 * 8;
            assert_eq!(half.image.pixels[..upper], plain.pixels[..upper], "{file}");
        }
    }
    // What is no JPEG any more stays refused.
    let whole = bytes_of("jpeg_444.jpg");
    assert!(decode_bytes(&whole[..100], Path::new("x"), &lenient).is_err());
}

/// Kinds of JPEG that are not decoded are called by their name, with a command.
#[test]
fn rare_kinds_of_jpeg_are_named() {
    let plain = bytes_of("jpeg_444.jpg");
    let frame = plain.windows(2).position(|w| w == [0xff, 0xc0]).expect("a frame header");
    let with = |at: usize, value: u8| {
        let mut bytes = plain.clone();
        bytes[at] = value;
        refusal(&bytes)
    };
    for code in [0xc9, 0xca, 0xcb, 0xcd] {
        let message = with(frame + 1, code);
        assert!(message.contains("is an arithmetic-coded JPEG, which is not supported"), "{message}");
        assert!(message.contains("x.converted.jpg"), "{message}");
    }
    assert!(with(frame + 1, 0xc9).contains("jpegtran -copy all -outfile x.converted.jpg x.jpg"));
    assert!(with(frame + 1, 0xc3).contains("a lossless JPEG"));
    assert!(with(frame + 1, 0xc5).contains("a hierarchical JPEG"));
    assert!(with(frame + 4, 12).contains("12 bits per sample"));
}

/// Headers within the limits that claim far more than their bytes hold are refused without allocating it.
#[test]
fn hollow_headers_take_no_memory() {
    let big = 12_000u16.to_be_bytes();
    let mut cases: Vec<(&str, Vec<u8>)> = Vec::new();
    for (file, code) in
        [("jpeg_444.jpg", 0xc0), ("jpeg_420_progressive.jpg", 0xc2), ("jpeg_grey_progressive.jpg", 0xc2)]
    {
        let mut jpeg = bytes_of(file);
        let frame = jpeg.windows(2).position(|w| w == [0xff, code]).expect("a frame header");
        jpeg[frame + 5..frame + 9].copy_from_slice(&[big, big].concat());
        cases.push((file, jpeg.clone()));
        // Padded so that the bytes might hold that many blocks.
        jpeg.resize(400_000, 0);
        cases.push((file, jpeg));
    }
    let mut png = bytes_of("png_rgb.png");
    png[16..24].copy_from_slice(&[[0, 0], big, [0, 0], big].concat());
    let checksum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    cases.push(("png", png));
    let mut qoi = bytes_of("qoi.qoi");
    qoi[4..12].copy_from_slice(&[[0, 0], big, [0, 0], big].concat());
    cases.push(("qoi", qoi));
    let mut gif = bytes_of("gif.gif");
    gif[6..10].copy_from_slice(&[big[1], big[0], big[1], big[0]]);
    cases.push(("gif", gif));
    cases.push(("ppm", b"P6\n12000 12000\n255\n0123".to_vec()));
    for (name, bytes) in cases {
        let mut message = String::new();
        let used = allocation_counter::measure(|| message = refusal(&bytes));
        assert!(message.contains("cut short") || message.contains("damaged"), "{name}: {message}");
        let most = 1_000_000 + 40 * bytes.len() as u64;
        assert!(used.bytes_max < most, "{name}: {} bytes at once: {message}", used.bytes_max);
    }
}

#[test]
fn what_follows_a_complete_jpeg_is_ignored() {
    for file in JPEGS {
        let whole = bytes_of(file);
        let decode = |bytes: &[u8]| decode_bytes(bytes, Path::new("x"), &Limits::default()).expect(file);
        let plain = decode(&whole);
        assert_eq!(plain, decode(&[&whole[..], b"trailing garbage \xff\xd8\xff"].concat()));
        assert_eq!(plain, decode(&[&whole[..], &whole[..]].concat()));
    }
}

#[test]
fn other_formats_cut_short_are_errors() {
    for file in [
        "png_rgb.png",
        "webp_lossless.webp",
        "webp_lossy.webp",
        "bmp.bmp",
        "ppm.ppm",
        "tiff_rgb.tif",
        "tiff_lzw.tif",
        "qoi.qoi",
        "gif.gif",
    ] {
        let whole = bytes_of(file);
        for cut in [whole.len() / 4, whole.len() / 2, whole.len() - 40] {
            refusal(&whole[..cut]);
        }
    }
}

#[test]
fn every_size_survives_the_strict_decoder() {
    for width in 1..36 {
        for height in [1, 2, 7, 8, 9, 15, 16, 17, 33] {
            for flat in [false, true] {
                let value = |i: usize| if flat { 128 } else { (i * 37 % 251) as u8 };
                let pixels = (0..width * height * 3).map(value).collect();
                let image = Rgb8 { width, height, pixels };
                for quality in [5, 100] {
                    let bytes = jpeg_with_tags(&image, quality, &PhotoTags::default()).expect("a JPEG");
                    let back = decode_bytes(&bytes, Path::new("x"), &Limits::default());
                    let back = back.unwrap_or_else(|e| panic!("{width} x {height}, quality {quality}: {e}"));
                    assert_eq!((back.width, back.height), (width, height));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damage_never_panics(
        which in 0..31usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        keep in 0.2..1.5f64,
        accept_truncated: bool,
    ) {
        let files = [
            &JPEGS[..],
            &["png_rgba.png", "png_palette.png", "webp_lossless.webp", "webp_lossy.webp", "bmp.bmp", "ppm.ppm",
              "orient_webp.webp", "tiff_lzw.tif", "tiff_palette.tif", "tiff_deflate.tif", "tiff_big.tif", "gif.gif",
              "gif_animated.gif", "qoi.qoi", "xmp_png.png", "xmp_webp.webp", "xmp_tiff.tif", "png_rgba16.png"],
        ].concat();
        let mut bytes = bytes_of(files[which]);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate((bytes.len() as f64 * keep) as usize);
        let limits = Limits { max_pixels: 4_000_000, accept_truncated, ..Limits::default() };
        if let Ok(image) = decode_bytes(&bytes, Path::new("x"), &limits) {
            prop_assert_eq!(image.pixels.len(), image.width * image.height * 3);
        }
        let _ = tags_of_bytes(&bytes, Path::new("x"));
    }

    #[test]
    fn noise_never_panics(head in 0..9usize, noise in prop::collection::vec(any::<u8>(), 0..400)) {
        let heads: [&[u8]; 9] = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8 ", b"BM", b"P6\n", b"",
            b"II*\0\x08\0\0\0", b"GIF89a", b"qoif\0\0\0\x09\0\0\0\x09\x03\0"];
        let bytes = [heads[head], &noise[..]].concat();
        let _ = decode_bytes(&bytes, Path::new("x"), &Limits::default());
        let _ = tags_of_bytes(&bytes, Path::new("x"));
    }
}
