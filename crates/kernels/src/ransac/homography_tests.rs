use super::*;
use proptest::prelude::*;

/// The image of a point under a homography.
fn apply(h: &[f64; 9], [x, y]: [f32; 2]) -> [f32; 2] {
    let (x, y) = (f64::from(x), f64::from(y));
    let w = h[6] * x + h[7] * y + h[8];
    [((h[0] * x + h[1] * y + h[2]) / w) as f32, ((h[3] * x + h[4] * y + h[5]) / w) as f32]
}

fn pair(query: [f32; 2], reference: [f32; 2]) -> Correspondence {
    Correspondence { query, reference }
}

proptest! {
    #[test]
    fn a_planted_homography_is_found_among_outliers(
        seed in any::<u64>(), angle in -0.5f64..0.5, zoom in 0.6f64..1.6,
        shift in prop::array::uniform2(-150.0f64..150.0), tilt in prop::array::uniform2(-4e-4f64..4e-4),
        inliers in 12usize..80, outliers in 0usize..40,
    ) {
        let (sin, cos) = angle.sin_cos();
        let planted = [
            zoom * cos, -zoom * sin, shift[0], zoom * sin, zoom * cos, shift[1], tilt[0], tilt[1], 1.0,
        ];
        let mut random = fastrand::Rng::with_seed(seed);
        let mut point = || [random.f32() * 640.0, random.f32() * 480.0];
        let mut pairs = Vec::new();
        for _ in 0..inliers {
            let at = point();
            pairs.push(pair(at, apply(&planted, at)));
        }
        for _ in 0..outliers {
            pairs.push(pair(point(), point()));
        }
        let options = RansacOptions { confidence: 0.999_999, seed, ..RansacOptions::within(24.0) };
        let found = ransac(Level::best(), &pairs, &options).unwrap();
        prop_assert!(found.count >= inliers, "{} of {inliers} inliers", found.count);
        prop_assert_eq!(found.inliers.iter().filter(|i| **i).count(), found.count);
    }

    #[test]
    fn four_pairs_are_mapped_exactly(points in prop::array::uniform4(prop::array::uniform4(0.0f32..640.0))) {
        let sample = points.map(|p| pair([p[0], p[1]], [p[2], p[3]]));
        let Some(matrix) = usable(&sample).then(|| homography(&sample)).flatten() else { return Ok(()) };
        for p in sample {
            let [u, v] = apply(&matrix, p.query);
            let w = matrix[6] * f64::from(p.query[0]) + matrix[7] * f64::from(p.query[1]) + matrix[8];
            // Near the horizon a point's image is arbitrarily far away.
            prop_assume!(w.abs() > 1e-7);
            prop_assert!((u - p.reference[0]).hypot(v - p.reference[1]) < 0.05, "{p:?} -> {u} {v}");
        }
    }

    #[test]
    fn counting_without_division_equals_division(
        points in prop::collection::vec(prop::array::uniform4(0.0f32..640.0), 4..40),
        h in prop::array::uniform9(-1.0f64..1.0),
    ) {
        let pairs: Vec<_> = points.iter().map(|p| pair([p[0], p[1]], [p[2], p[3]])).collect();
        let by_division = |tolerance: f32| {
            let distance = |p: &Correspondence| {
                let [u, v] = apply(&h, p.query);
                (u - p.reference[0]).hypot(v - p.reference[1])
            };
            pairs.iter().filter(|p| distance(p) <= tolerance).count()
        };
        let counted = count_inliers(&columns(&pairs), &h, 24.0);
        // Points on the border may fall on either side.
        prop_assert!((by_division(23.9)..=by_division(24.1)).contains(&counted));
    }
}

#[test]
fn degenerate_points_have_no_homography() {
    let (level, options) = (Level::best(), RansacOptions::within(24.0));
    let line: Vec<_> = (0..20).map(|i| pair([i as f32, 2.0 * i as f32], [i as f32, i as f32])).collect();
    assert_eq!(ransac(level, &line, &options), None, "collinear points");
    let same = vec![pair([3.0, 3.0], [5.0, 5.0]); 20];
    assert_eq!(ransac(level, &same, &options), None, "a single repeated point");
    let few = [pair([0.0, 0.0], [0.0, 0.0]), pair([9.0, 0.0], [9.0, 0.0]), pair([0.0, 9.0], [0.0, 9.0])];
    assert_eq!(ransac(level, &few, &options), None, "three pairs");
    let mut lost: Vec<_> =
        (0..9).map(|i| pair([i as f32, (i * i) as f32], [i as f32, (i * i) as f32])).collect();
    assert_eq!(ransac(level, &lost, &options).map(|found| found.count), Some(9));
    lost[3].reference[0] = f32::NAN;
    assert_eq!(ransac(level, &lost, &options), None, "a non-finite point");
}

#[test]
fn equal_seeds_give_equal_results_at_every_level() {
    let mut random = fastrand::Rng::with_seed(7);
    for count in [4, 5, 15, 16, 17, 60, 333] {
        let mut point = || [random.f32() * 640.0, random.f32() * 480.0];
        let pairs: Vec<_> = (0..count).map(|_| pair(point(), point())).collect();
        let options = RansacOptions::within(24.0);
        let expected = ransac(Level::Scalar, &pairs, &options);
        for level in Level::available() {
            assert_eq!(ransac(level, &pairs, &options), expected, "{count} pairs, {level}");
        }
    }
}
