//! The ground: carriageways with their markings, kerbs, pavements, yards, squares and grass.

use crate::cells::{Cells, around};
use crate::layout::{Layout, Street, Surfacing, Use};
use crate::look::{Moment, Surface};
use crate::noise::{cell, fbm, fraction, value};
use crate::vector::{P2, V3, cover, dot, grey, left, smooth, sub, v3};

/// Finds the street and block of a point.
#[derive(Debug)]
pub(super) struct Ground {
    streets: Cells,
    blocks: Cells,
}

/// A point of the ground and the footprint of the ray that ended there.
#[derive(Debug, Clone, Copy)]
pub(super) struct GroundSpot {
    pub(super) at: P2,
    /// The ray's direction over the ground, length 1.
    pub(super) view: P2,
    /// Footprint in metres along and across the view.
    pub(super) foot: [f32; 2],
}

impl GroundSpot {
    /// The footprint along a direction.
    fn foot_along(&self, direction: P2) -> f32 {
        let share = dot(self.view, direction).abs();
        self.foot[0] * share + self.foot[1] * (1.0 - share)
    }

    fn mean_foot(&self) -> f32 {
        (self.foot[0] * self.foot[1]).sqrt()
    }
}

impl Ground {
    pub(super) fn new(layout: &Layout) -> Self {
        let half = layout.radius + 50.0;
        let streets: Vec<_> =
            layout.streets.iter().map(|s| around(&[s.from, s.to], s.half + s.walk + 0.5)).collect();
        let blocks: Vec<_> = layout.blocks.iter().map(|b| around(&b.line, 0.0)).collect();
        Self { streets: Cells::new(8.0, half, &streets), blocks: Cells::new(8.0, half, &blocks) }
    }

    /// What lies at a point.
    pub(super) fn paint(&self, layout: &Layout, spot: &GroundSpot, moment: &Moment) -> Surface {
        let mut nearest: Option<(&Street, f32, f32, f32)> = None;
        let mut roads = 0;
        for &number in self.streets.at(spot.at) {
            let street = &layout.streets[number as usize];
            let off = sub(spot.at, street.from);
            let (s, side) = (dot(off, street.along), dot(off, left(street.along)));
            let past = (s - s.clamp(0.0, street.length)).abs();
            let edge = past.hypot(side) - street.half;
            roads += i32::from(edge < 0.0);
            if edge < street.walk + 0.3 && nearest.is_none_or(|n| edge < n.3) {
                nearest = Some((street, s, side, edge));
            }
        }
        let foot = spot.mean_foot();
        let land = || self.paint_land(layout, spot, foot);
        let Some((street, s, side, edge)) = nearest else { return snowed(land(), spot, foot, moment, 1.0) };
        let across = spot.foot_along(left(street.along));
        if edge > street.walk {
            return snowed(land(), spot, foot, moment, 1.0);
        }
        if edge > 0.0 {
            let mut walk = Surface::matt(flags(street, s, side, spot));
            walk = walk.paint(grey(0.46), cover(edge, 0.0, 0.28, across));
            walk = walk.paint(grey(0.12), cover(edge, -0.1, 0.04, across));
            return snowed(walk, spot, foot, moment, 0.75);
        }
        let mut road = Surface::matt(carriageway(street, spot, foot));
        if roads < 3 {
            road = markings(road, street, s, side, spot);
        }
        road = road.paint(grey(0.11), cover(edge, -0.35, 0.04, across) * 0.7);
        if moment.wet > 0.0 {
            let puddle =
                smooth(0.52, 0.66, fbm(street.key, spot.at[0] * 0.3, spot.at[1] * 0.3, 3, foot * 0.3));
            road.colour = road.colour * (1.0 - 0.45 * moment.wet);
            road.mirror = moment.wet * (0.22 + 0.6 * puddle);
        }
        snowed(road, spot, foot, moment, 0.5)
    }

    /// Land that is no street.
    fn paint_land(&self, layout: &Layout, spot: &GroundSpot, foot: f32) -> Surface {
        let p = spot.at;
        let inside = |b: &&u32| layout.blocks[**b as usize].contains(p);
        let block = self.blocks.at(p).iter().find(inside).map(|&b| &layout.blocks[b as usize]);
        Surface::matt(match block.map(|b| (b.purpose, b.key as u32)) {
            Some((Use::Houses, key)) => {
                grey(0.28) * (0.8 + 0.4 * fbm(key, p[0] * 0.5, p[1] * 0.5, 4, foot * 0.5))
            }
            Some((Use::Square, key)) => {
                let side = 0.6 + (key % 4) as f32 * 0.3;
                let (x, y) = (p[0] / side, p[1] / side);
                let near = 1.0 - smooth(0.3, 0.8, foot / side);
                let tone = fraction(cell(key, x.floor() as i32, y.floor() as i32));
                let seam = 1.0
                    - cover(x - x.floor(), 0.03, 0.97, foot / side)
                        * cover(y - y.floor(), 0.03, 0.97, foot / side);
                let stone =
                    [v3(0.48, 0.44, 0.38), v3(0.42, 0.42, 0.42), v3(0.50, 0.38, 0.30)][key as usize % 3];
                stone * (0.9 + (tone - 0.5) * 0.4 * near) * (1.0 - 0.3 * seam * near)
            }
            Some((Use::Park, key)) => {
                // A path winds through the grass.
                let bend = (p[0] * 0.09 + (key % 64) as f32).sin() * 6.0 + p[1] - p[0] * 0.4;
                let path = bend / 38.0 - (bend / 38.0).floor();
                grass(p, foot).mix(v3(0.45, 0.38, 0.28), cover(path, 0.45, 0.53, foot / 38.0))
            }
            None => grass(p, foot).mix(v3(0.40, 0.36, 0.16), value(91, p[0] * 0.011, p[1] * 0.013) * 0.7),
        })
    }
}

/// Lays snow on what faces up; `most` is the share that it covers where it has been walked on.
fn snowed(surface: Surface, spot: &GroundSpot, foot: f32, moment: &Moment, most: f32) -> Surface {
    if moment.snow == 0.0 {
        return surface;
    }
    let patch = fbm(moment.key, spot.at[0] * 0.7, spot.at[1] * 0.7, 3, foot * 0.7);
    surface.paint(v3(0.80, 0.83, 0.88), moment.snow * (most + (patch - 0.5) * 0.9).clamp(0.1, 1.0))
}

pub(super) fn grass(p: P2, foot: f32) -> V3 {
    let blade = fbm(41, p[0] * 3.0, p[1] * 3.0, 3, foot * 3.0);
    let patch = fbm(43, p[0] * 0.12, p[1] * 0.12, 3, foot * 0.12);
    v3(0.11, 0.19, 0.05).mix(v3(0.24, 0.27, 0.09), patch) * (0.6 + 0.8 * blade)
}

/// Pavement: slabs along the street, of a size that differs between streets.
fn flags(street: &Street, s: f32, side: f32, spot: &GroundSpot) -> V3 {
    let (long, wide) = (0.6 + (street.key % 3) as f32 * 0.3, 0.5 + (street.key % 2) as f32 * 0.3);
    let (x, y) = (s / long, side / wide);
    let feet = [spot.foot_along(street.along) / long, spot.foot_along(left(street.along)) / wide];
    let near = 1.0 - smooth(0.3, 0.8, feet[0].max(feet[1]));
    let tone = fraction(cell(street.key, x.floor() as i32, y.floor() as i32));
    let seam = 1.0 - cover(x - x.floor(), 0.03, 0.97, feet[0]) * cover(y - y.floor(), 0.03, 0.97, feet[1]);
    let stone =
        [v3(0.42, 0.40, 0.37), v3(0.36, 0.36, 0.37), v3(0.44, 0.36, 0.31)][(street.key >> 4) as usize % 3];
    let stain = fbm(street.key ^ 2, spot.at[0] * 0.6, spot.at[1] * 0.6, 3, spot.mean_foot() * 0.6);
    stone * (0.78 + 0.4 * stain) * (1.0 + near * ((tone - 0.5) * 0.24 - 0.35 * seam))
}

/// Asphalt with repairs, or cobbles.
fn carriageway(street: &Street, spot: &GroundSpot, foot: f32) -> V3 {
    let p = spot.at;
    let wear = fbm(7, p[0] * 0.25, p[1] * 0.25, 4, foot * 0.25);
    match street.surfacing {
        Surfacing::Asphalt => {
            let grain = fbm(8, p[0] * 9.0, p[1] * 9.0, 2, foot * 9.0);
            let off = sub(p, street.from);
            let (s, side) = (dot(off, street.along), dot(off, left(street.along)));
            // Dark repairs, each a rectangle in a lane, and iron covers.
            let (column, row) = ((s / 7.0).floor(), (side / 2.2).floor());
            let dice = cell(street.key, column as i32, row as i32);
            let (x, y) = (s - column * 7.0, side - row * 2.2);
            let long = 1.0 + 5.0 * fraction(dice);
            let patch = if dice.is_multiple_of(6) {
                cover(x, 0.5, long, foot) * cover(y, 0.3, 1.8, foot)
            } else {
                0.0
            };
            let lid = if dice % 9 == 1 { cover((x - 3.0).hypot(y - 1.1), -1.0, 0.36, foot) } else { 0.0 };
            let base = grey(0.15 + 0.07 * wear) * (0.8 + 0.4 * grain);
            base.mix(grey(0.085), patch * 0.7).mix(v3(0.07, 0.065, 0.06), lid)
        }
        Surfacing::Cobbles => {
            let (x, y) = (p[0] / 0.21, p[1] / 0.17);
            let x = x + if y.floor() as i32 & 1 == 0 { 0.0 } else { 0.5 };
            let near = 1.0 - smooth(0.3, 0.9, foot / 0.17);
            let tone = fraction(cell(9, x.floor() as i32, y.floor() as i32));
            let (cx, cy) = (x - x.floor() - 0.5, y - y.floor() - 0.5);
            let round = 1.0 - smooth(0.3, 0.55, cx.hypot(cy));
            let stone = v3(0.27, 0.25, 0.24).mix(v3(0.30, 0.24, 0.20), fraction(street.key));
            stone * (0.7 + 0.5 * wear) * (1.0 + near * ((tone - 0.5) * 0.4 + (round - 0.7) * 0.5))
        }
    }
}

/// White paint: a broken line in the middle, stop lines and crossings for walkers at the ends.
fn markings(road: Surface, street: &Street, s: f32, side: f32, spot: &GroundSpot) -> Surface {
    if street.surfacing != Surfacing::Asphalt {
        return road;
    }
    let (fs, fw) = (spot.foot_along(street.along), spot.foot_along(left(street.along)));
    let (start, end) = (street.trim[0], street.length - street.trim[1]);
    if s < start || s > end {
        return road;
    }
    let worn = 0.45 + 0.5 * fbm(street.key ^ 6, s * 1.5, side * 1.5, 3, fs * 1.5);
    let mut paint = 0.0;
    for (near, at) in [(street.trim[0] > 0.0, s - start), (street.trim[1] > 0.0, end - s)] {
        let zebra = near && !street.key.is_multiple_of(3);
        if zebra && at < 4.0 {
            let stripe = side - (side / 1.0).floor();
            let mean = smooth(0.5, 1.2, fw);
            paint = (cover(stripe, 0.0, 0.5, fw) * (1.0 - mean) + 0.5 * mean) * cover(at, 0.6, 3.4, fs);
        }
        if near && at < 6.0 {
            paint += cover(at, 4.3, 4.7, fs) * f32::from(u8::from((side > 0.0) == (at == s - start)));
        }
    }
    if s > start + 6.0 && s < end - 6.0
        || (street.trim[0] == 0.0 && s < 20.0 && s < end - 6.0)
        || (street.trim[1] == 0.0 && s > start + 6.0)
    {
        let dash = s / 5.0 - (s / 5.0).floor();
        let mean = smooth(0.4, 1.0, fs / 5.0);
        let dash = cover(dash, 0.0, 0.5, fs / 5.0) * (1.0 - mean) + 0.5 * mean;
        paint += dash * cover(side, -0.07, 0.07, fw);
        if street.key % 4 == 1 {
            let edge = street.half - 2.2;
            paint += cover(side.abs(), edge - 0.06, edge + 0.06, fw) * 0.8;
        }
    }
    road.paint(grey(0.62), paint.min(1.0) * worn)
}
