//! Decoding, resizing and geodesy against PIL, torch and pyproj; `export.py` and `formats.py` wrote the references.

use r2former_data::geo::{bearing, from_utm, geodesic_m, heading_difference, to_utm_in, zone_of};
use r2former_data::image::{Limits, Preprocess, ResizeMode, Rgb8, decode_file, dimensions, to_input};
use r2former_data::{LatLon, UtmZone};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity")
}

/// An image beside what PIL made of it.
fn pair(file: &str) -> (Rgb8, Rgb8) {
    let decode = |name: &str| decode_file(&folder().join(name), &Limits::default()).expect(name);
    let stem = file.split('.').next().expect("a file name");
    let (ours, expected) = (decode(file), decode(&format!("{stem}.expected.png")));
    assert_eq!((ours.width, ours.height), (expected.width, expected.height), "{file}");
    let size = dimensions(&folder().join(file), &Limits::default()).expect(file);
    assert_eq!(size, (ours.width, ours.height), "{file}");
    (ours, expected)
}

/// Largest and mean absolute difference in steps of 255.
fn difference(a: &Rgb8, b: &Rgb8) -> (u8, f64) {
    let steps = || a.pixels.iter().zip(&b.pixels).map(|(a, b)| a.abs_diff(*b));
    (steps().max().unwrap_or(0), steps().map(f64::from).sum::<f64>() / a.pixels.len() as f64)
}

/// The inverse transforms agree nearly everywhere; where colour is subsampled, the decoder rounds once
/// more than libjpeg while interpolating it, which costs a third of a step in the mean.
#[test]
fn jpegs_are_as_libjpeg_turbo_decodes_them() {
    for (file, most, mean) in [
        ("jpeg_444.jpg", 2, 0.05),
        ("jpeg_444_odd.jpg", 2, 0.05),
        ("jpeg_422.jpg", 3, 0.25),
        ("jpeg_420.jpg", 4, 0.45),
        ("jpeg_420_odd.jpg", 4, 0.45),
        ("jpeg_420_progressive.jpg", 4, 0.45),
        ("jpeg_420_restart.jpg", 4, 0.45),
        ("jpeg_420_low.jpg", 4, 0.45),
        ("jpeg_grey.jpg", 1, 0.1),
        ("jpeg_grey_progressive.jpg", 1, 0.1),
        ("jpeg_cmyk.jpg", 1, 0.05),
        ("jpeg_tiny.jpg", 0, 0.0),
        ("jpeg_thin.jpg", 4, 0.45),
        ("orient_jpeg.jpg", 4, 0.45),
        ("jpeg_444_progressive.jpg", 2, 0.05),
        ("jpeg_411.jpg", 6, 0.6),
        ("jpeg_mpo.mpo", 4, 0.45),
        // Inks, not colours: a rounding more.
        ("jpeg_ycck.jpg", 3, 0.5),
    ] {
        let (ours, expected) = pair(file);
        let found = difference(&ours, &expected);
        assert!(
            found.0 <= most && found.1 <= mean,
            "{file}: at most {} and {:.3} in the mean",
            found.0,
            found.1
        );
    }
}

#[test]
fn lossless_formats_are_exact() {
    let mut files: Vec<String> = [
        "png_rgb.png",
        "png_rgba.png",
        "png_palette.png",
        "png_grey.png",
        "png_bit.png",
        "webp_lossless.webp",
        "bmp.bmp",
        "ppm.ppm",
        "orient_webp.webp",
    ]
    .map(str::to_owned)
    .into();
    files.extend((1..=8).map(|n| format!("orient_{n}.png")));
    let depths = ["png_grey16", "png_rgb16", "png_greya16", "png_rgba16", "png_greya", "png_palette_alpha"];
    files.extend(depths.map(|name| format!("{name}.png")));
    for file in files {
        let (ours, expected) = pair(&file);
        assert_eq!(ours, expected, "{file}");
    }
    let (ours, expected) = pair("webp_lossy.webp");
    let found = difference(&ours, &expected);
    assert!(found.0 <= 2 && found.1 < 0.3, "lossy WebP: {found:?}");
}

/// TIFF in every usual coding and depth, GIF's first frame, QOI.
#[test]
fn tiff_gif_and_qoi_are_as_pil_reads_them() {
    for name in ["rgb", "lzw", "deflate", "packbits", "big", "grey", "bit", "rgba", "pages", "grey16"] {
        let (ours, expected) = pair(&format!("tiff_{name}.tif"));
        assert_eq!(ours, expected, "{name}");
    }
    for file in ["gif.gif", "gif_animated.gif", "qoi.qoi"] {
        let (ours, expected) = pair(file);
        assert_eq!(ours, expected, "{file}");
    }
    // The decoder knows no palettes in TIFF: the message says what to do.
    let palette = decode_file(&folder().join("tiff_palette.tif"), &Limits::default()).expect_err("a palette");
    assert!(palette.to_string().contains("convert it with: magick "), "{palette}");
    let (ours, expected) = pair("tiff_cmyk.tif");
    let found = difference(&ours, &expected);
    assert!(found.0 <= 2, "CMYK: {found:?}");
}

/// All eight orientations, in every container that holds EXIF.
#[test]
fn every_orientation_of_every_container_is_upright() {
    for value in 1..=8 {
        for (kind, most) in [("tif", 0), ("webp", 0), ("jpg", 3)] {
            let (ours, expected) = pair(&format!("turn_{kind}_{value}.{kind}"));
            let found = difference(&ours, &expected);
            assert!(found.0 <= most, "{kind} {value}: {found:?}");
        }
    }
}

#[derive(serde::Deserialize)]
struct Resize {
    file: String,
    height: usize,
    width: usize,
    at: Vec<usize>,
    direct: Vec<f32>,
    antialias: Vec<u8>,
}

#[test]
fn resizing_is_as_torch_and_pil_resize() {
    let text = std::fs::read_to_string(folder().join("resize.json")).expect("resize.json");
    let cases: Vec<Resize> = serde_json::from_str(&text).expect("resize.json");
    let plain = Preprocess { mean: [0.0; 3], std: [1.0; 3], resize: ResizeMode::Antialias };
    for case in cases {
        let image = decode_file(&folder().join(&case.file), &Limits::default()).expect("an image");
        let how = Preprocess::imagenet(ResizeMode::Direct);
        let direct = to_input(&image, case.height, case.width, &how).expect("an input");
        let smooth = to_input(&image, case.height, case.width, &plain).expect("an input");
        for ((&at, torch), pil) in case.at.iter().zip(&case.direct).zip(&case.antialias) {
            assert!((direct[at] - torch).abs() < 2e-6, "{}: {} {torch}", case.file, direct[at]);
            assert_eq!((smooth[at] * 255.0).round(), f32::from(*pil), "{}", case.file);
        }
    }
}

#[derive(serde::Deserialize)]
struct PilResize {
    size: [usize; 2],
    height: usize,
    width: usize,
    antialias: String,
    antialias_bicubic: String,
}

/// The picture of `pil_resize.py`.
fn noise([height, width]: [usize; 2]) -> Rgb8 {
    let mut state = 1u32;
    let mut pixels: Vec<u8> = (0..height * width * 3)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    for row in pixels.chunks_exact_mut(3 * width).step_by(3) {
        row.iter_mut().for_each(|value| *value = if *value > 127 { 255 } else { 0 });
    }
    Rgb8 { width, height, pixels }
}

#[test]
fn every_pixel_is_pil_s() {
    let text = std::fs::read_to_string(folder().join("pil_resize.json")).expect("pil_resize.json");
    let cases: Vec<PilResize> = serde_json::from_str(&text).expect("pil_resize.json");
    for case in cases {
        let image = noise(case.size);
        for (resize, expected) in [
            (ResizeMode::Antialias, &case.antialias),
            (ResizeMode::AntialiasBicubic, &case.antialias_bicubic),
        ] {
            let how = Preprocess { mean: [0.0; 3], std: [1.0; 3], resize };
            let input = to_input(&image, case.height, case.width, &how).expect("an input");
            let plane = case.height * case.width;
            let sum = (0..3 * plane).fold(0xcbf2_9ce4_8422_2325u64, |sum, i| {
                let byte = (input[i % 3 * plane + i / 3] * 255.0).round() as u64;
                (sum ^ byte).wrapping_mul(0x0100_0000_01b3)
            });
            assert_eq!(
                &format!("{sum:016x}"),
                expected,
                "{:?} to {}x{}, {resize}",
                case.size,
                case.height,
                case.width
            );
        }
    }
}

#[derive(serde::Deserialize)]
struct TensorResize {
    file: String,
    height: usize,
    width: usize,
    step: usize,
    tensor_bilinear: Vec<f32>,
    tensor_bicubic: Vec<f32>,
}

#[test]
fn values_are_resized_as_torchvision_resizes_tensors() {
    let text = std::fs::read_to_string(folder().join("tensor_resize.json")).expect("tensor_resize.json");
    let cases: Vec<TensorResize> = serde_json::from_str(&text).expect("tensor_resize.json");
    for case in cases {
        let image = decode_file(&folder().join(&case.file), &Limits::default()).expect("an image");
        for (mode, expected) in [
            (ResizeMode::TensorBilinear, &case.tensor_bilinear),
            (ResizeMode::TensorBicubic, &case.tensor_bicubic),
        ] {
            let input =
                to_input(&image, case.height, case.width, &Preprocess::imagenet(mode)).expect("an input");
            let found: Vec<f32> = input.into_iter().step_by(case.step).collect();
            assert_eq!(found.len(), expected.len());
            for (a, b) in found.iter().zip(expected) {
                assert!((a - b).abs() < 5e-6, "{} {}x{}: {a} {b}", case.file, case.height, case.width);
            }
        }
    }
}

fn rows<const N: usize>(file: &str) -> Vec<[f64; N]> {
    let text = std::fs::read_to_string(folder().join(file)).expect(file);
    let row = |line: &str| -> [f64; N] {
        let cells: Vec<f64> = line.split(',').map(|cell| cell.parse().expect("a number")).collect();
        cells.try_into().expect("a full row")
    };
    text.lines().skip(1).map(row).collect()
}

#[test]
fn utm_is_pyproj_s() {
    let rows = rows::<6>("utm.csv");
    assert!(rows.len() > 400);
    for [lat, lon, number, north, easting, northing] in rows {
        let position = LatLon::new(lat, lon).expect("a position");
        let own = zone_of(position).expect("a zone");
        let number = number as u8;
        assert!(number == own.number || number == own.number % 60 + 1, "{lat} {lon}: {own:?}, not {number}");
        assert_eq!(own.is_north(), north == 1.0, "{lat} {lon}");
        let plane = to_utm_in(position, UtmZone { number, ..own }).expect("metres");
        let off = (plane.easting - easting).hypot(plane.northing - northing);
        assert!(off < 1e-5, "{lat} {lon} in {number}: {off} m");
        let back = from_utm(&plane).expect("degrees");
        assert!((back.lat - lat).abs() < 1e-9 && (back.lon - lon).abs() < 1e-9, "{lat} {lon}: {back:?}");
    }
}

#[test]
fn geodesics_are_pyproj_s() {
    for [lat1, lon1, lat2, lon2, metres, azimuth] in rows::<6>("geodesic.csv") {
        let (from, to) = (LatLon { lat: lat1, lon: lon1 }, LatLon { lat: lat2, lon: lon2 });
        assert!((geodesic_m(from, to) - metres).abs() < 1e-6, "{from:?} {to:?}");
        assert!(heading_difference(bearing(from, to), azimuth) < 1e-7, "{from:?} {to:?}");
    }
}
