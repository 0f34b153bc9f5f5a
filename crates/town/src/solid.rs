//! Shapes that a ray can hit: convex solids (houses, cars, posts) and blobs (tree crowns, heads).

use crate::noise;
use crate::vector::{P2, V3, dot, left, sub, v3};

/// One side of a convex solid: points `p` with `normal . p <= limit` are inside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plane {
    pub(super) normal: V3,
    pub(super) limit: f32,
}

impl Plane {
    /// The plane through a point, facing along `normal`.
    pub(super) fn through(point: V3, normal: V3) -> Self {
        let normal = normal.unit();
        Self { normal, limit: normal.dot(point) }
    }

    /// A horizontal lid (or, facing down, a floor).
    pub(super) fn level(z: f32, up: bool) -> Self {
        Self::through(v3(0.0, 0.0, z), v3(0.0, 0.0, if up { 1.0 } else { -1.0 }))
    }
}

/// A ray with a direction of length 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ray {
    pub(super) from: V3,
    pub(super) along: V3,
}

/// Where a ray enters a solid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Metres along the ray.
    pub(super) t: f32,
    pub(super) normal: V3,
    /// Which plane, in the order in which they were given.
    pub(super) face: u8,
}

/// Enters a convex solid from outside; a ray that starts inside does not see it.
pub(super) fn enter_convex(planes: &[Plane], ray: &Ray) -> Option<Entry> {
    let (mut near, mut far, mut face) = (f32::NEG_INFINITY, f32::INFINITY, 0);
    for (i, plane) in planes.iter().enumerate() {
        let speed = plane.normal.dot(ray.along);
        let gap = plane.limit - plane.normal.dot(ray.from);
        if speed.abs() < 1e-7 {
            if gap < 0.0 {
                return None;
            }
            continue;
        }
        let t = gap / speed;
        if speed < 0.0 {
            if t > near {
                (near, face) = (t, i);
            }
        } else {
            far = far.min(t);
        }
        if near > far || far < 0.0 {
            return None;
        }
    }
    (near > 1e-4).then(|| Entry { t: near, normal: planes[face].normal, face: face as u8 })
}

/// An upright ellipsoid with a ragged rim, as leaves have; `ragged` 0 is smooth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blob {
    pub(super) centre: V3,
    /// Horizontal and vertical radius in metres.
    pub(super) radii: [f32; 2],
    pub(super) ragged: f32,
    pub(super) key: u32,
}

impl Blob {
    pub(super) fn enter(&self, ray: &Ray) -> Option<Entry> {
        let squash = v3(1.0 / self.radii[0], 1.0 / self.radii[0], 1.0 / self.radii[1]);
        let (o, d) = ((ray.from - self.centre) * squash, ray.along * squash);
        let (a, b, c) = (d.dot(d), o.dot(d), o.dot(o) - 1.0);
        let root = b * b - a * c;
        if root <= 0.0 || c <= 0.0 {
            return None;
        }
        let t = (-b - root.sqrt()) / a;
        if t < 1e-3 {
            return None;
        }
        let on = o + d * t;
        let normal = (on * squash).unit();
        if self.ragged > 0.0 {
            // Leaves are missing more often where the crown is seen edge on.
            let facing = -normal.dot(ray.along);
            let at = on * (2.2 * self.radii[0]);
            let hole = noise::value3(self.key, at.x, at.y, at.z) * 0.7
                + noise::value3(self.key ^ 77, at.x * 2.7, at.y * 2.7, at.z * 2.7) * 0.3;
            if hole * self.ragged > facing * 0.9 + 0.12 {
                return None;
            }
        }
        Some(Entry { t, normal, face: 0 })
    }
}

/// The walls of a prism over a counter-clockwise convex footprint.
pub(super) fn walls(corners: &[P2]) -> impl Iterator<Item = Plane> + '_ {
    (0..corners.len()).map(|i| {
        let (a, b) = (corners[i], corners[(i + 1) % corners.len()]);
        let out = left(sub(a, b));
        Plane::through(v3(a[0], a[1], 0.0), v3(out[0], out[1], 0.0))
    })
}

/// Whether a point lies in a counter-clockwise convex footprint.
pub(super) fn inside(corners: &[P2], p: P2) -> bool {
    (0..corners.len()).all(|i| {
        let (a, b) = (corners[i], corners[(i + 1) % corners.len()]);
        dot(left(sub(b, a)), sub(p, a)) >= 0.0
    })
}

/// The corners of a rectangle around `centre`, its first side along `along`, counter-clockwise from
/// the right hand front corner.
pub(super) fn rectangle(centre: P2, along: P2, length: f32, width: f32) -> [P2; 4] {
    let side = left(along);
    let at = |l: f32, w: f32| {
        [
            centre[0] + along[0] * l * length * 0.5 + side[0] * w * width * 0.5,
            centre[1] + along[1] * l * length * 0.5 + side[1] * w * width * 0.5,
        ]
    };
    [at(-1.0, -1.0), at(1.0, -1.0), at(1.0, 1.0), at(-1.0, 1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cube() -> Vec<Plane> {
        let corners = rectangle([0.0, 0.0], [1.0, 0.0], 2.0, 2.0);
        walls(&corners).chain([Plane::level(2.0, true), Plane::level(0.0, false)]).collect()
    }

    #[test]
    fn a_ray_enters_the_side_that_it_meets_first() {
        let ray = |from, along: V3| Ray { from, along: along.unit() };
        let hit = enter_convex(&cube(), &ray(v3(0.0, -5.0, 1.0), v3(0.0, 1.0, 0.0))).unwrap();
        assert!((hit.t - 4.0).abs() < 1e-5);
        assert_eq!((hit.face, hit.normal), (0, v3(0.0, -1.0, 0.0)));
        let top = enter_convex(&cube(), &ray(v3(0.0, 0.0, 9.0), v3(0.0, 0.0, -1.0))).unwrap();
        assert_eq!((top.face, top.normal.z), (4, 1.0));
        assert!(enter_convex(&cube(), &ray(v3(0.0, -5.0, 1.0), v3(0.0, -1.0, 0.0))).is_none());
        assert!(enter_convex(&cube(), &ray(v3(0.0, -5.0, 3.0), v3(0.0, 1.0, 0.0))).is_none());
        assert!(enter_convex(&cube(), &ray(v3(0.0, 0.0, 1.0), v3(0.0, 1.0, 0.0))).is_none(), "inside");
    }

    #[test]
    fn a_blob_is_an_ellipsoid() {
        let blob = Blob { centre: v3(0.0, 0.0, 5.0), radii: [2.0, 1.0], ragged: 0.0, key: 1 };
        let hit = blob.enter(&Ray { from: v3(0.0, 0.0, 10.0), along: v3(0.0, 0.0, -1.0) }).unwrap();
        assert!((hit.t - 4.0).abs() < 1e-5 && (hit.normal.z - 1.0).abs() < 1e-5);
        assert!(blob.enter(&Ray { from: v3(0.0, 3.0, 5.0), along: v3(1.0, 0.0, 0.0) }).is_none());
    }

    #[test]
    fn footprints() {
        let corners = rectangle([3.0, 4.0], [0.0, 1.0], 10.0, 2.0);
        assert!(inside(&corners, [3.0, 8.9]) && inside(&corners, [3.9, 4.0]));
        assert!(!inside(&corners, [3.0, 9.1]) && !inside(&corners, [4.1, 4.0]));
    }
}
