//! What PIL and torch compute when they resize, written plainly; the fast paths are compared with it.

use super::{Preprocess, ResizeMode, Rgb8, to_input};
use proptest::prelude::*;

/// Torch's bilinear without antialias (`align_corners=False`), in 64 bits, of normalised values.
fn torch_bilinear(image: &Rgb8, height: usize, width: usize, how: &Preprocess) -> Vec<f64> {
    let value = |c: usize, y: usize, x: usize| {
        let v = f64::from(image.pixels[(y * image.width + x) * 3 + c]);
        (v / 255.0 - f64::from(how.mean[c])) / f64::from(how.std[c])
    };
    let source = |i: usize, from: usize, to: usize| {
        let at = (from as f64 / to as f64 * (i as f64 + 0.5) - 0.5).max(0.0);
        (at.floor() as usize, (at.floor() as usize + 1).min(from - 1), at.fract())
    };
    let mut out = Vec::new();
    for c in 0..3 {
        for y in 0..height {
            let (y0, y1, v) = source(y, image.height, height);
            for x in 0..width {
                let (x0, x1, u) = source(x, image.width, width);
                out.push(
                    (1.0 - v) * ((1.0 - u) * value(c, y0, x0) + u * value(c, y0, x1))
                        + v * ((1.0 - u) * value(c, y1, x0) + u * value(c, y1, x1)),
                );
            }
        }
    }
    out
}

/// Bits behind the point of PIL's weights: what rounding makes of a value half-way between two depends on them.
const PIL_BITS: u32 = 22;

/// PIL's triangle filter along one axis: for each output, where its window starts, and the weights.
fn pil_windows(from: usize, to: usize) -> Vec<(usize, Vec<i64>)> {
    let scale = from as f64 / to as f64;
    let support = scale.max(1.0);
    (0..to)
        .map(|i| {
            let centre = (i as f64 + 0.5) * scale;
            let start = (centre - support + 0.5).max(0.0) as usize;
            let stop = ((centre + support + 0.5) as usize).min(from);
            let weight = |j: usize| (1.0 - ((j as f64 + 0.5 - centre) / support).abs()).max(0.0);
            let weights: Vec<f64> = (start..stop).map(weight).collect();
            let sum: f64 = weights.iter().sum();
            let fixed = |w: f64| (w / sum * f64::from(1 << PIL_BITS) + 0.5) as i64;
            (start, weights.into_iter().map(fixed).collect())
        })
        .collect()
}

/// PIL's antialiased bilinear: across, rounded to 8 bits, then down, rounded again.
fn pil_bilinear(image: &Rgb8, height: usize, width: usize) -> Vec<u8> {
    let pass =
        |length: usize, to: usize, windows: Vec<(usize, Vec<i64>)>, at: &dyn Fn(usize, usize) -> u8| {
            let mut out = vec![0; length * to];
            for line in 0..length {
                for (i, (start, weights)) in windows.iter().enumerate() {
                    let sum: i64 =
                        weights.iter().enumerate().map(|(k, w)| w * i64::from(at(line, start + k))).sum();
                    out[line * to + i] = ((sum + (1 << (PIL_BITS - 1))) >> PIL_BITS).clamp(0, 255) as u8;
                }
            }
            out
        };
    let mut out = vec![0; width * height * 3];
    for c in 0..3 {
        let across = pass(image.height, width, pil_windows(image.width, width), &|y, x| {
            image.pixels[(y * image.width + x) * 3 + c]
        });
        let down = pass(width, height, pil_windows(image.height, height), &|x, y| across[y * width + x]);
        for y in 0..height {
            for x in 0..width {
                out[(y * width + x) * 3 + c] = down[x * height + y];
            }
        }
    }
    out
}

fn any_image() -> impl Strategy<Value = Rgb8> {
    (1usize..40, 1usize..40).prop_flat_map(|(width, height)| {
        prop::collection::vec(any::<u8>(), width * height * 3).prop_map(move |pixels| Rgb8 {
            width,
            height,
            pixels,
        })
    })
}

proptest! {
    #[test]
    fn direct_is_torch(image in any_image(), height in 1usize..50, width in 1usize..50) {
        let how = Preprocess::imagenet(ResizeMode::Direct);
        let fast = to_input(&image, height, width, &how).unwrap();
        let slow = torch_bilinear(&image, height, width, &how);
        for (a, b) in fast.iter().zip(&slow) {
            // A whole range of values is 4.4; 32-bit source coordinates cost a few millionths of it.
            prop_assert!((f64::from(*a) - b).abs() < 3e-5, "{a} {b}");
        }
    }

    #[test]
    fn antialias_is_pil(image in any_image(), height in 1usize..50, width in 1usize..50) {
        let how = Preprocess { mean: [0.0; 3], std: [1.0; 3], resize: ResizeMode::Antialias };
        let fast = to_input(&image, height, width, &how).unwrap();
        let slow = pil_bilinear(&image, height, width);
        for c in 0..3 {
            for i in 0..width * height {
                prop_assert_eq!((fast[c * width * height + i] * 255.0).round(), f32::from(slow[i * 3 + c]));
            }
        }
    }

    #[test]
    fn own_size_is_the_formula(image in any_image()) {
        for how in [Preprocess::imagenet(ResizeMode::Direct), Preprocess::half(ResizeMode::Antialias)] {
            let input = to_input(&image, image.height, image.width, &how).unwrap();
            for (i, value) in input.iter().enumerate() {
                let (c, at) = (i / (image.width * image.height), i % (image.width * image.height));
                let v = f32::from(image.pixels[at * 3 + c]);
                prop_assert_eq!(*value, (v / 255.0 - how.mean[c]) / how.std[c]);
            }
        }
    }
}

#[test]
fn refuses_what_cannot_be() {
    let image = Rgb8 { width: 2, height: 2, pixels: vec![0; 12] };
    let how = Preprocess::imagenet(ResizeMode::Direct);
    assert!(to_input(&image, 0, 5, &how).is_err());
    assert!(to_input(&image, usize::MAX, 2, &how).is_err());
    assert!(super::to_input_into(&image, 2, 2, &how, &mut [0.0; 11]).is_err());
    assert!(to_input(&Rgb8 { width: 2, height: 2, pixels: vec![0; 11] }, 2, 2, &how).is_err());
    assert!(to_input(&Rgb8 { width: 0, height: 0, pixels: vec![] }, 2, 2, &how).is_err());
    assert!(to_input(&image, 2, 2, &Preprocess { std: [1.0, 0.0, 1.0], ..how }).is_err());
    assert_eq!("antialias".parse::<ResizeMode>().unwrap(), ResizeMode::Antialias);
    assert!("bicubic".parse::<ResizeMode>().unwrap_err().to_string().contains("bicubic"));
    assert_eq!(serde_json::to_string(&ResizeMode::Direct).unwrap(), "\"direct\"");
}
