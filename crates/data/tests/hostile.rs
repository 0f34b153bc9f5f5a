//! Files that are not what they seem: every one ends in a message, none in a panic or a grey picture.

use proptest::prelude::*;
use r2former_data::image::{
    Limits, PhotoTags, Rgb8, decode_bytes, decode_file, dimensions, jpeg_with_tags, read_tags, tags_of_bytes,
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
    decode_bytes(bytes, Path::new("x.jpg"), &Limits::default()).expect_err("must be refused").to_string()
}

const JPEGS: [&str; 9] = [
    "jpeg_444.jpg",
    "jpeg_420.jpg",
    "jpeg_422.jpg",
    "jpeg_420_odd.jpg",
    "jpeg_420_restart.jpg",
    "jpeg_grey.jpg",
    "jpeg_cmyk.jpg",
    "jpeg_420_progressive.jpg",
    "jpeg_grey_progressive.jpg",
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
            "is not an image: starts with \"<html>not fo\", expected JPEG, PNG, WebP, BMP or PPM",
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

#[test]
fn a_jpeg_cut_anywhere_is_an_error() {
    for file in JPEGS {
        let whole = bytes_of(file);
        for cut in 1..whole.len() {
            let message = refusal(&whole[..cut]);
            assert!(cut < 4 || message.contains("cut short") || message.contains("damaged"), "{message}");
        }
    }
}

#[test]
fn a_jpeg_cut_and_closed_again_is_an_error() {
    for file in JPEGS.iter().filter(|f| !f.contains("progressive")) {
        let whole = bytes_of(file);
        let scan = whole.windows(2).rposition(|w| w == [0xff, 0xda]).expect("a scan") + 14;
        // The last bytes hold less than the last blocks; from there on all must be noticed.
        for cut in scan..whole.len() - 16 {
            let closed = [&whole[..cut], b"\xff\xd9"].concat();
            let decoded = decode_bytes(&closed, Path::new("x"), &Limits::default());
            assert!(decoded.is_err(), "{file} cut at {cut} of {}", whole.len());
        }
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
    for file in ["png_rgb.png", "webp_lossless.webp", "webp_lossy.webp", "bmp.bmp", "ppm.ppm"] {
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
        which in 0..16usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        keep in 0.2..1.5f64,
    ) {
        let files = [
            &JPEGS[..],
            &["png_rgba.png", "png_palette.png", "webp_lossless.webp", "webp_lossy.webp", "bmp.bmp", "ppm.ppm",
              "orient_webp.webp"],
        ].concat();
        let mut bytes = bytes_of(files[which]);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate((bytes.len() as f64 * keep) as usize);
        let limits = Limits { max_pixels: 4_000_000, ..Limits::default() };
        if let Ok(image) = decode_bytes(&bytes, Path::new("x"), &limits) {
            prop_assert_eq!(image.pixels.len(), image.width * image.height * 3);
        }
        let _ = tags_of_bytes(&bytes, Path::new("x"));
    }

    #[test]
    fn noise_never_panics(head in 0..6usize, noise in prop::collection::vec(any::<u8>(), 0..400)) {
        let heads: [&[u8]; 6] = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8 ", b"BM", b"P6\n", b""];
        let bytes = [heads[head], &noise[..]].concat();
        let _ = decode_bytes(&bytes, Path::new("x"), &Limits::default());
        let _ = tags_of_bytes(&bytes, Path::new("x"));
    }
}
