//! Three numbers: a point, a direction or a linear colour.

use std::ops::{Add, AddAssign, Mul, Neg, Sub};

/// A point (metres east, north, up), a direction, or a colour (linear red, green, blue).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct V3 {
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) z: f32,
}

pub(super) const fn v3(x: f32, y: f32, z: f32) -> V3 {
    V3 { x, y, z }
}

/// A neutral colour.
pub(super) const fn grey(level: f32) -> V3 {
    v3(level, level, level)
}

impl V3 {
    pub(super) fn dot(self, other: Self) -> f32 {
        self.x * other.x + self.y * other.y + self.z * other.z
    }

    pub(super) fn length(self) -> f32 {
        self.dot(self).sqrt()
    }

    pub(super) fn unit(self) -> Self {
        self * (1.0 / self.length().max(1e-12))
    }

    /// From `self` (at 0) to `other` (at 1).
    pub(super) fn mix(self, other: Self, t: f32) -> Self {
        self + (other - self) * t
    }

    /// The direction in which a ray travelling along `self` leaves a mirror with this normal.
    pub(super) fn reflect(self, normal: Self) -> Self {
        self - normal * (2.0 * self.dot(normal))
    }

    /// Perceived brightness of a linear colour.
    pub(super) fn luma(self) -> f32 {
        0.2126 * self.x + 0.7152 * self.y + 0.0722 * self.z
    }
}

impl Add for V3 {
    type Output = Self;
    fn add(self, o: Self) -> Self {
        v3(self.x + o.x, self.y + o.y, self.z + o.z)
    }
}

impl AddAssign for V3 {
    fn add_assign(&mut self, o: Self) {
        *self = *self + o;
    }
}

impl Sub for V3 {
    type Output = Self;
    fn sub(self, o: Self) -> Self {
        v3(self.x - o.x, self.y - o.y, self.z - o.z)
    }
}

impl Mul<f32> for V3 {
    type Output = Self;
    fn mul(self, k: f32) -> Self {
        v3(self.x * k, self.y * k, self.z * k)
    }
}

/// Component by component: light on a surface.
impl Mul for V3 {
    type Output = Self;
    fn mul(self, o: Self) -> Self {
        v3(self.x * o.x, self.y * o.y, self.z * o.z)
    }
}

impl Neg for V3 {
    type Output = Self;
    fn neg(self) -> Self {
        self * -1.0
    }
}

/// A point or direction on the ground, in metres east and north.
pub(super) type P2 = [f32; 2];

pub(super) fn add(a: P2, b: P2, k: f32) -> P2 {
    [a[0] + b[0] * k, a[1] + b[1] * k]
}

pub(super) fn sub(a: P2, b: P2) -> P2 {
    [a[0] - b[0], a[1] - b[1]]
}

pub(super) fn dot(a: P2, b: P2) -> f32 {
    a[0] * b[0] + a[1] * b[1]
}

pub(super) fn unit(a: P2) -> P2 {
    let k = 1.0 / a[0].hypot(a[1]).max(1e-9);
    [a[0] * k, a[1] * k]
}

pub(super) fn distance(a: P2, b: P2) -> f32 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

/// A quarter turn to the left.
pub(super) fn left(a: P2) -> P2 {
    [-a[1], a[0]]
}

pub(super) fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// 0 below `a`, 1 above `b`, smooth between.
pub(super) fn smooth(a: f32, b: f32, x: f32) -> f32 {
    let t = ((x - a) / (b - a)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// The share of a footprint `width` wide around `x` that lies between `a` and `b`.
pub(super) fn cover(x: f32, a: f32, b: f32, width: f32) -> f32 {
    let w = 1.0 / width.max(1e-4);
    (((x - a) * w + 0.5).clamp(0.0, 1.0) - ((x - b) * w + 0.5).clamp(0.0, 1.0)).max(0.0)
}
