use super::*;
use crate::buffer::{Floats, vectors_mut};
use crate::element::Element;
use crate::epilogue::{Accumulate, Epilogue, Gelu, Store};
use crate::matrix::{KC, MR, MR_WIDE, Matrix, Packing};
use crate::panel::panel_columns;
use pulp::{Simd, WithSimd};

/// Every instruction of a level, and the emulation.
fn all(level: Level) -> Vec<DotProduct> {
    let all = DotProduct::available(level).into_iter();
    all.flat_map(|products| [Some(products), products.wide()])
        .flatten()
        .chain([DotProduct::Emulated])
        .collect()
}

/// A column's codes, as elements.
fn pack_column(products: DotProduct, codes: &[i16], elements: &mut [f32]) {
    products.pack_row(codes, elements);
    if products.is_biased() {
        for element in elements {
            *element = f32::from_bits(element.to_bits() ^ 0x8080_8080);
        }
    }
}

/// The sums of `R` rows of codes with a level's columns, by each instruction, against sums in i64.
///
/// `code` gives a share of the largest code, -1 to 1.
fn check_sums<const R: usize>(level: Level, depth: usize, mut code: impl FnMut() -> f32) {
    let columns = level.columns();
    for products in all(level) {
        let values = depth * products.values();
        // What rows of weights and columns of activations reach.
        let most = if products.values() == 4 { [127.0, 127.0] } else { [2_047.0, 2_731.0] };
        let [rows, others] = [(R, most[0]), (columns, most[1])].map(|(count, most)| -> Vec<Vec<i16>> {
            (0..count).map(|_| (0..values).map(|_| (code() * most) as i16).collect()).collect()
        });
        let (mut weight, mut x) = (vec![[0.0; R]; depth], Floats::zeros(depth * columns));
        let (mut starts, mut elements) = ([0; R], vec![0.0; depth]);
        for (r, row) in rows.iter().enumerate() {
            products.pack_row(row, &mut elements);
            weight.iter_mut().zip(&elements).for_each(|(weight, element)| weight[r] = *element);
            starts[r] = products.start_of(row.iter().map(|code| i32::from(*code)).sum());
        }
        for (c, column) in others.iter().enumerate() {
            pack_column(products, column, &mut elements);
            x.chunks_exact_mut(columns).zip(&elements).for_each(|(x, element)| x[c] = *element);
        }
        let mut sums = Floats::zeros(R * columns);
        sums.fill(7.0);
        products.sums::<R>(&weight, &x, &starts, &mut sums, &[1.0; 100]);
        for (r, row) in rows.iter().enumerate() {
            for (c, column) in others.iter().enumerate() {
                let sum: i64 = row.iter().zip(column).map(|(a, b)| i64::from(*a) * i64::from(*b)).sum();
                let found = sums[r * columns + c];
                assert_eq!(found, sum as f32, "{level}, {products:?}, depth {depth}: {r}, {c}");
            }
        }
    }
}

#[test]
fn every_instruction_gives_the_same_integers() {
    let mut random = fastrand::Rng::with_seed(3);
    for level in Level::available() {
        for depth in [0, 1, 2, 3, 7, 8, 9, 31, 96, 191, KC] {
            let mut code = || 2.0 * random.f32() - 1.0;
            if level.registers() >= 32 {
                check_sums::<MR_WIDE>(level, depth, &mut code);
            } else {
                check_sums::<MR>(level, depth, &mut code);
            }
        }
    }
}

#[test]
fn extreme_codes_neither_saturate_nor_overflow() {
    for level in Level::available() {
        for codes in [[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 0.0]] {
            let mut next = 0;
            let mut code = || {
                next += 1;
                codes[next % 2]
            };
            if level.registers() >= 32 {
                check_sums::<MR_WIDE>(level, KC, &mut code);
            } else {
                check_sums::<MR>(level, KC, &mut code);
            }
        }
    }
}

/// The sums of `R` lines of pixels' codes with a panel of weights, by each instruction, against sums in i64.
///
/// `code` gives a share of the largest code, -1 to 1.
fn check_lines<const R: usize>(level: Level, depth: usize, offset: usize, mut code: impl FnMut() -> f32) {
    const LENGTH: usize = MOST_DEPTH + 16;
    let columns = level.columns();
    for products in all(level) {
        let values = depth * products.values();
        let [most_pixel, most_weight] =
            if products.values() == 4 { [255.0, 127.0] } else { [2_047.0, 2_047.0] };
        let pixels: Vec<Vec<i16>> =
            (0..R).map(|_| (0..values).map(|_| (code().abs() * most_pixel) as i16).collect()).collect();
        let kernels: Vec<Vec<i16>> =
            (0..columns).map(|_| (0..values).map(|_| (code() * most_weight) as i16).collect()).collect();
        let mut elements = vec![0.0; depth];
        // What surrounds the codes takes no part.
        let mut lines = [[f32::from_bits(0x7f7f_7f7f); LENGTH]; R];
        for (line, pixel) in lines.iter_mut().zip(&pixels) {
            let biased: Vec<i16> = pixel.iter().map(|code| code - products.pixel_bias() as i16).collect();
            products.pack_row(&biased, &mut line[offset..offset + depth]);
        }
        let mut weights = Floats::zeros((1 + depth) * columns);
        for (c, kernel) in kernels.iter().enumerate() {
            products.pack_row(kernel, &mut elements);
            let start = products.start_of_pixel(kernel.iter().map(|code| i32::from(*code)).sum());
            weights[c] = f32::from_bits(start.cast_unsigned());
            let places = weights[columns + c..].iter_mut().step_by(columns);
            places.zip(&elements).for_each(|(place, element)| *place = *element);
        }
        let mut sums = Floats::zeros(R * columns);
        sums.fill(7.0);
        products.sums_of_lines::<R, LENGTH>(&lines, offset, &weights, &mut sums);
        for (r, pixel) in pixels.iter().enumerate() {
            for (c, kernel) in kernels.iter().enumerate() {
                let sum: i64 = pixel.iter().zip(kernel).map(|(a, b)| i64::from(*a) * i64::from(*b)).sum();
                let found = sums[r * columns + c];
                assert_eq!(found, sum as f32, "{level}, {products:?}, depth {depth}: {r}, {c}");
            }
        }
    }
}

#[test]
fn every_instruction_gives_the_same_integers_of_lines() {
    let mut random = fastrand::Rng::with_seed(4);
    for level in Level::available() {
        for (depth, offset) in [(1, 3), (2, 16), (7, 1), (16, 240), (33, 9), (128, 128), (MOST_DEPTH, 0)] {
            let mut code = || 2.0 * random.f32() - 1.0;
            check_lines::<12>(level, depth, offset, &mut code);
            check_lines::<4>(level, depth, offset, &mut code);
            check_lines::<3>(level, depth, offset, &mut code);
        }
        for extreme in [1.0, -1.0] {
            check_lines::<6>(level, MOST_DEPTH, 0, || extreme);
        }
    }
}

#[test]
fn pixels_are_quantised_between_zero_and_their_largest_value() {
    let mut random = fastrand::Rng::with_seed(6);
    for level in Level::available() {
        for products in all(level) {
            for vectors in [2, 4, 6, 10, 34] {
                let (lanes, values, top) =
                    (level.lanes(), products.values(), if products.values() == 4 { 255.0 } else { 2_047.0 });
                let (pitch, own) = (vectors * lanes, vectors.div_ceil(values) * lanes);
                let mosts = [1.0, 1e-3, 0.0, 3e38, 1e-35, 7.7, f32::INFINITY, f32::NAN];
                let mut pixels = Floats::zeros(mosts.len() * pitch);
                for (pixel, most) in pixels.chunks_exact_mut(pitch).zip(mosts) {
                    pixel.fill_with(
                        || if most.is_finite() { most } else { 1.0 } * (2.0 * random.f32() - 1.0).max(0.0),
                    );
                    pixel[pitch / 2] = most;
                }
                let mut codes = Floats::zeros(mosts.len() * (own + 1));
                codes.fill(7.0);
                level.run(QuantisePixels { products, pitch, values: &pixels, codes: &mut codes });
                for (pixel, codes) in pixels.chunks_exact(pitch).zip(codes.chunks_exact(own + 1)) {
                    let (elements, scale) = (&codes[..own], codes[own]);
                    let most = pixel[pitch / 2];
                    if !most.is_finite() {
                        assert!(scale.is_nan(), "{level}, {products:?}: {most}");
                        continue;
                    }
                    assert!((f64::from(scale) / f64::from(most.max(1e-30) / top) - 1.0).abs() < 1e-6);
                    for (element, packed) in elements.iter().enumerate() {
                        let bytes = packed.to_bits().to_le_bytes();
                        for i in 0..values {
                            let code = match values {
                                4 => {
                                    let bias = products.pixel_bias();
                                    if bias == 0 {
                                        i32::from(bytes[i])
                                    } else {
                                        i32::from(bytes[i].cast_signed()) + bias
                                    }
                                }
                                _ => i32::from(i16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]])),
                            };
                            let channel = (element / lanes * values + i) * lanes + element % lanes;
                            // Beyond the pixel are zeros.
                            let value = pixel.get(channel).copied().unwrap_or(0.0);
                            let error = f64::from(scale) * f64::from(code) - f64::from(value);
                            assert!(
                                error.abs() <= 0.5001 * f64::from(scale) && (value > 0.0 || code == 0),
                                "{level}, {products:?}, {vectors}: {code} for {value}"
                            );
                        }
                    }
                }
            }
        }
    }
}

struct Quantise<'a>(DotProduct, usize, &'a mut Floats);

impl WithSimd for Quantise<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let found = self.0.quantise(simd, self.1, vectors_mut::<S>(self.2));
        pulp::bytemuck::cast_slice(found).to_vec()
    }
}

/// The signed code of row `row` in column `column` of a panel of elements.
fn code_of(products: DotProduct, panel: &[f32], columns: usize, row: usize, column: usize) -> i32 {
    let values = products.values();
    let bytes = panel[row / values * columns + column].to_bits().to_le_bytes();
    match (values, products.is_biased()) {
        (4, true) => i32::from(bytes[row % 4]) - BIAS,
        (4, false) => i32::from(bytes[row % 4].cast_signed()),
        _ => i32::from(i16::from_le_bytes([bytes[row % 2 * 2], bytes[row % 2 * 2 + 1]])),
    }
}

#[test]
fn columns_are_quantised_between_their_least_and_largest_value() {
    let mut random = fastrand::Rng::with_seed(5);
    // Half of the range, and the middle.
    let kinds = [
        (1e-3, 0.0),
        (1.0, 0.7),
        (0.0, 0.0),
        (1e25, -1e25),
        (7.3, 700.0),
        (0.0, -3.0),
        (1e-6, 1.0),
        (3e38, 0.0),
    ];
    for level in Level::available() {
        let columns = level.columns();
        for products in all(level) {
            for (rows, panels) in [(4, 1), (5, 3), (33, 2), (384, 1)] {
                let mut x = Floats::zeros(panels * rows * columns);
                for (i, value) in x.iter_mut().enumerate() {
                    let (reach, middle) = kinds[i % columns % kinds.len()];
                    *value = middle + reach * (2.0 * random.f32() - 1.0);
                }
                let before = x.to_vec();
                let found = level.run(Quantise(products, rows, &mut x));
                let own = Element::Int8(products).panel_rows(rows) * columns;
                assert_eq!(found.len(), panels * own);
                for (panel, before) in found.chunks_exact(own).zip(before.chunks_exact(rows * columns)) {
                    for c in 0..columns {
                        let column = before.iter().skip(c).step_by(columns).map(|v| f64::from(*v));
                        let (least, most) =
                            column.clone().fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(v), b.max(v)));
                        let [scale, centre] = [2, 1].map(|back| f64::from(panel[own - back * columns + c]));
                        let (reach, share) =
                            if products.values() == 4 { (126.0, 4096.0) } else { (2730.0, 256.0) };
                        let narrowest = (most + least).abs() / 2.0 / share;
                        let expected = ((most - least) / 2.0).max(narrowest).max(1e-30) / reach;
                        assert!((scale / expected - 1.0).abs() < 1e-5, "{level}, {products:?}: {scale}");
                        for (r, value) in column.enumerate() {
                            let code = code_of(products, panel, columns, r, c);
                            assert!(f64::from(code.abs()) <= reach + 1.0, "{level}, {products:?}: {code}");
                            let error = (centre + scale * f64::from(code) - value).abs() / scale;
                            assert!(error < 0.8, "{level}, {products:?}: {value} as {code}: {error}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_column_that_is_not_finite_has_no_scale() {
    for level in Level::available() {
        let columns = level.columns();
        for products in all(level) {
            for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut x = Floats::zeros(6 * columns);
                x.fill(1.0);
                x[3 * columns + 1] = wrong;
                let found = level.run(Quantise(products, 6, &mut x));
                let scales = &found[found.len() - 2 * columns..][..columns];
                for (c, scale) in scales.iter().enumerate() {
                    assert_eq!(scale.is_nan(), c == 1, "{level}, {products:?}: {scale}");
                }
            }
        }
    }
}

#[test]
fn rows_are_quantised_by_their_largest_value() {
    let mut codes = Vec::new();
    let scale = quantise_row(&[0.5, -1.27, 0.004, 0.0], &mut codes);
    assert_eq!(codes, [50, -127, 0, 0]);
    assert!((scale - 0.01).abs() < 1e-8);
    assert!(quantise_row(&[0.0; 3], &mut codes) > 0.0);
    assert_eq!(codes, [0; 3]);
    assert!(quantise_row(&[1.0, f32::NAN], &mut codes).is_nan());
    assert!(quantise_row(&[f32::INFINITY], &mut codes).is_nan());
    quantise_row(&[f32::MAX, f32::MIN, 1e-42], &mut codes);
    assert_eq!(codes, [127, -127, 0]);
}

struct Product<'a, E> {
    packing: Packing,
    depth: usize,
    weight: &'a [f32],
    bias: &'a [f32],
    x: &'a mut Floats,
    out: &'a mut Floats,
    epilogue: E,
}

impl<E: Epilogue> WithSimd for Product<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        assert_eq!(panel_columns::<S>() % S::F32_LANES, 0);
        let matrix = Matrix::pack(self.packing, self.depth, self.weight, self.bias);
        let x = matrix.input(simd, self.depth, vectors_mut::<S>(self.x));
        matrix.multiply(simd, x, vectors_mut::<S>(self.out), self.epilogue);
    }
}

/// `W x + b` of three panels by each instruction, with an epilogue, against sums in f64 of the codes.
fn check_products<E: Epilogue>(rows: usize, depth: usize, epilogue: E, finish: impl Fn(f64, f64) -> f64) {
    let mut random = fastrand::Rng::with_seed((rows * depth) as u64);
    let mut values = |count: usize| -> Vec<f32> { (0..count).map(|_| random.f32() - 0.5).collect() };
    let (weight, bias) = (values(rows * depth), values(rows));
    for level in Level::available() {
        let (columns, panels) = (level.columns(), 3);
        let (input, before) = (values(panels * depth * columns), values(panels * rows * columns));
        for products in all(level) {
            let mut codes = Vec::new();
            let rows_of_codes = weight.chunks_exact(depth).map(|row| {
                let scale = f64::from(products.quantise_row(row, &mut codes));
                codes.iter().map(|code| scale * f64::from(*code)).collect()
            });
            let weights: Vec<Vec<f64>> = rows_of_codes.collect();
            let [mut x, mut same, mut out] = [input.len(), input.len(), before.len()].map(Floats::zeros);
            x.copy_from_slice(&input);
            same.copy_from_slice(&input);
            out.copy_from_slice(&before);
            let packing = Packing::new(level, Element::Int8(products));
            let (weight, bias) = (&weight, &bias);
            level.run(Product { packing, depth, weight, bias, x: &mut x, out: &mut out, epilogue });
            let quantised = level.run(Quantise(products, depth, &mut same));
            let own = Element::Int8(products).panel_rows(depth) * columns;
            for (p, panel) in quantised.chunks_exact(own).enumerate() {
                for c in 0..columns {
                    let [scale, centre] = [2, 1].map(|back| f64::from(panel[own - back * columns + c]));
                    let code = |k| f64::from(code_of(products, panel, columns, k, c));
                    let column: Vec<f64> = (0..depth).map(|k| centre + scale * code(k)).collect();
                    for r in 0..rows {
                        let sum: f64 = weights[r].iter().zip(&column).map(|(w, x)| w * x).sum();
                        let at = (p * rows + r) * columns + c;
                        let expected = finish(sum + f64::from(bias[r]), f64::from(before[at]));
                        let error = (f64::from(out[at]) - expected).abs();
                        assert!(
                            error < 2e-6 * expected.abs().max(1.0),
                            "{level}, {products:?}, {rows} x {depth}: {} for {expected}",
                            out[at]
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn products_equal_sums_of_codes() {
    let sizes =
        [(1, 4), (1, 5), (5, 4), (6, 7), (12, 8), (13, 33), (30, 191), (7, 768), (14, 769), (3, 1537)];
    for (rows, depth) in sizes {
        check_products(rows, depth, Store, |sum, _| sum);
        check_products(rows, depth, Accumulate, |sum, before| before + sum);
        let gelu = |x: f64| 0.5 * x * (1.0 + libm::erf(x / 2f64.sqrt()));
        check_products(rows, depth, Gelu, |sum, _| gelu(sum));
    }
    // More rows than a block.
    check_products(200, 6, Store, |sum, _| sum);
}
