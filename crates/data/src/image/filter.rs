//! Filters of antialiased resizing, and the weights that they give to an axis.

/// The filter of a resizing, wider when shrinking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    /// A triangle of one pixel to each side.
    Bilinear,
    /// Keys' kernel with a = -0.5, two pixels to each side.
    Bicubic,
}

impl Filter {
    fn reach(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    fn at(self, x: f64) -> f64 {
        let x = x.abs();
        match self {
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
            Self::Bicubic => 0.0,
        }
    }

    /// The source coordinates behind an output whose centre lies at `centre` of an axis of `from` pixels, `scale` of
    /// which become one: the first coordinate, and the weight of each, which sum to 1.
    pub(super) fn window(self, from: usize, scale: f64, centre: f64) -> (usize, Vec<f64>) {
        let wide = scale.max(1.0);
        let reach = self.reach() * wide;
        let first = (centre - reach + 0.5).max(0.0) as usize;
        let end = ((centre + reach + 0.5) as usize).min(from);
        // The reciprocal and the order of operations are PIL's: halves are rounded as there.
        let shrink = 1.0 / wide;
        let mut weights: Vec<f64> =
            (first..end).map(|at| self.at((at as f64 - centre + 0.5) * shrink)).collect();
        let sum: f64 = weights.iter().sum();
        for weight in &mut weights {
            *weight /= sum;
        }
        (first, weights)
    }
}
