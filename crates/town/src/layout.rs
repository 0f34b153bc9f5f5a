//! The plan of the town: streets between crossings, and the blocks that they enclose.

use crate::noise::{self, Rng};
use crate::vector::{P2, add, distance, left, sub, unit};

/// What a carriageway is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Surfacing {
    Asphalt,
    Cobbles,
}

/// One straight piece of street.
#[derive(Debug, Clone, Copy)]
pub(super) struct Street {
    pub(super) from: P2,
    pub(super) to: P2,
    /// From `from` to `to`, length 1.
    pub(super) along: P2,
    pub(super) length: f32,
    /// Half the carriageway's width.
    pub(super) half: f32,
    /// Width of each pavement.
    pub(super) walk: f32,
    pub(super) surfacing: Surfacing,
    /// Metres at either end that belong to a crossing; 0 where the street only bends.
    pub(super) trim: [f32; 2],
    pub(super) key: u32,
}

/// What fills a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Houses,
    Square,
    Park,
}

/// A piece of land between streets.
#[derive(Debug, Clone)]
pub(super) struct Block {
    /// The building line, counter-clockwise.
    pub(super) line: Vec<P2>,
    /// For each corner of the line, whether two streets meet there (else one bends).
    pub(super) corner: Vec<bool>,
    pub(super) purpose: Use,
    /// 0 at the edge of the town, 1 in its middle.
    pub(super) centrality: f32,
    pub(super) key: u64,
}

/// Streets and blocks.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) streets: Vec<Street>,
    pub(super) blocks: Vec<Block>,
    /// The farthest that anything lies from the middle of the town, in metres.
    pub(super) radius: f32,
}

/// What all pieces of one line of the street grid share.
#[derive(Clone, Copy)]
struct Class {
    half: f32,
    walk: f32,
    surfacing: Surfacing,
}

const CLASSES: [Class; 4] = [
    Class { half: 6.2, walk: 4.2, surfacing: Surfacing::Asphalt },
    Class { half: 4.4, walk: 2.6, surfacing: Surfacing::Asphalt },
    Class { half: 3.6, walk: 2.0, surfacing: Surfacing::Cobbles },
    Class { half: 2.4, walk: 1.3, surfacing: Surfacing::Cobbles },
];

/// Lays out `columns` by `rows` blocks around the middle of the plane.
pub(super) fn lay_out(seed: u64, columns: usize, rows: usize) -> Layout {
    let mut rng = Rng::new(&[seed, 1]);
    let nodes = crossings(&mut rng, columns, rows);
    let mut lines = |count: usize| -> Vec<Class> {
        (0..=count).map(|_| CLASSES[rng.pick(&[0, 1, 1, 1, 2, 2, 3])]).collect()
    };
    let (upright, level) = (lines(columns), lines(rows));
    // The bend in the middle of each side of a block, shared by the blocks on both sides.
    let bend = |a: (usize, usize), b: (usize, usize)| -> P2 {
        let (p, q) = (nodes[a.1][a.0], nodes[b.1][b.0]);
        let mut rng = Rng::new(&[seed, 2, a.0 as u64, a.1 as u64, b.0 as u64, b.1 as u64]);
        let share = rng.between(0.4, 0.6);
        let aside = if rng.chance(0.6) { rng.between(-5.0, 5.0) } else { 0.0 };
        add(add(p, sub(q, p), share), left(unit(sub(q, p))), aside)
    };
    let mut streets = Vec::new();
    let mut lay = |a: (usize, usize), b: (usize, usize), class: Class, crossed: [Class; 2], key: u64| {
        let ends = [nodes[a.1][a.0], bend(a, b), nodes[b.1][b.0]];
        for i in 0..2 {
            let (from, to) = (ends[i], ends[i + 1]);
            let mut trim = [0.0; 2];
            trim[i] = crossed[i].half + 1.5;
            streets.push(Street {
                from,
                to,
                along: unit(sub(to, from)),
                length: distance(from, to),
                half: class.half,
                walk: class.walk,
                surfacing: class.surfacing,
                trim,
                key: noise::hash(&[seed, 3, key, i as u64]) as u32,
            });
        }
    };
    for y in 0..=rows {
        for x in 0..=columns {
            let number = (y * 1000 + x) as u64;
            if x < columns {
                lay((x, y), (x + 1, y), level[y], [upright[x], upright[x + 1]], number * 2);
            }
            if y < rows {
                lay((x, y), (x, y + 1), upright[x], [level[y], level[y + 1]], number * 2 + 1);
            }
        }
    }
    let mut blocks = Vec::new();
    for y in 0..rows {
        for x in 0..columns {
            let at = |dx, dy| (x + dx, y + dy);
            let corners = [at(0, 0), at(1, 0), at(1, 1), at(0, 1)];
            let classes = [level[y], upright[x + 1], level[y + 1], upright[x]];
            let mut ring = Vec::new();
            for side in 0..4 {
                let (a, b) = (corners[side], corners[(side + 1) % 4]);
                let (low, high) = if a < b { (a, b) } else { (b, a) };
                ring.push((nodes[a.1][a.0], classes[side], true));
                ring.push((bend(low, high), classes[side], false));
            }
            let off = |n: usize, all: usize| ((n as f32 + 0.5) / all as f32 - 0.5).abs() * 2.0;
            let centrality = (1.0 - off(x, columns).max(off(y, rows)) * 0.9).clamp(0.0, 1.0);
            let mut rng = Rng::new(&[seed, 4, x as u64, y as u64]);
            let purpose = match rng.fraction() {
                n if n < 0.08 => Use::Square,
                n if n < 0.15 => Use::Park,
                _ => Use::Houses,
            };
            let (line, corner) = inset(&ring);
            blocks.push(Block { line, corner, purpose, centrality, key: rng.bits() });
        }
    }
    let radius = nodes.iter().flatten().map(|p| p[0].hypot(p[1])).fold(0.0, f32::max) + 30.0;
    Layout { streets, blocks, radius }
}

/// The crossings: a grid of unequal steps, turned, waved and shaken.
fn crossings(rng: &mut Rng, columns: usize, rows: usize) -> Vec<Vec<P2>> {
    let mut steps = |count: usize| -> Vec<f32> {
        let mut at = vec![0.0f32];
        for i in 0..count {
            at.push(at[i] + rng.between(52.0, 108.0));
        }
        let middle = at[count] / 2.0;
        at.iter().map(|x| x - middle).collect()
    };
    let (xs, ys) = (steps(columns), steps(rows));
    let turn = rng.between(-0.3, 0.3);
    let (sin, cos) = turn.sin_cos();
    let phase = [rng.between(0.0, 6.0), rng.between(0.0, 6.0)];
    let wave = [rng.between(9.0, 17.0), rng.between(9.0, 17.0)];
    let mut place = |x: f32, y: f32| {
        let x2 = x + wave[0] * (y / 95.0 + phase[0]).sin() + rng.between(-5.0, 5.0);
        let y2 = y + wave[1] * (x / 105.0 + phase[1]).sin() + rng.between(-5.0, 5.0);
        [x2 * cos - y2 * sin, x2 * sin + y2 * cos]
    };
    ys.iter().map(|&y| xs.iter().map(|&x| place(x, y)).collect()).collect()
}

/// Moves every side of a ring inwards by its street's half width and pavement.
fn inset(ring: &[(P2, Class, bool)]) -> (Vec<P2>, Vec<bool>) {
    let count = ring.len();
    let side = |i: usize| {
        let (a, b) = (ring[i].0, ring[(i + 1) % count].0);
        let along = unit(sub(b, a));
        (add(a, left(along), ring[i].1.half + ring[i].1.walk), along)
    };
    let corner = |i: usize| {
        let ((p, d), (q, e)) = (side((i + count - 1) % count), side(i));
        let cross = d[0] * e[1] - d[1] * e[0];
        // Nearly straight on: the lines meet anywhere; take the point itself, moved in.
        if cross.abs() < 0.02 {
            return q;
        }
        let gap = sub(q, p);
        add(p, d, (gap[0] * e[1] - gap[1] * e[0]) / cross)
    };
    ((0..count).map(corner).collect(), ring.iter().map(|r| r.2).collect())
}

impl Block {
    /// Whether a point lies within the building line.
    pub(super) fn contains(&self, p: P2) -> bool {
        let mut odd = false;
        for (i, a) in self.line.iter().enumerate() {
            let b = self.line[(i + 1) % self.line.len()];
            if (a[1] > p[1]) != (b[1] > p[1]) && p[0] < (b[0] - a[0]) * (p[1] - a[1]) / (b[1] - a[1]) + a[0] {
                odd = !odd;
            }
        }
        odd
    }

    /// The mean of the corners.
    pub(super) fn centre(&self) -> P2 {
        let n = 1.0 / self.line.len() as f32;
        self.line.iter().fold([0.0, 0.0], |c, p| [c[0] + p[0] * n, c[1] + p[1] * n])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_lie_beside_their_streets() {
        for seed in 0..6 {
            let layout = lay_out(seed, 6, 5);
            assert_eq!(layout.blocks.len(), 30);
            assert_eq!(layout.streets.len(), 2 * (6 * 6 + 7 * 5));
            for block in &layout.blocks {
                assert!(block.contains(block.centre()));
                for street in &layout.streets {
                    for k in 0..=10 {
                        let p = add(street.from, street.along, street.length * k as f32 / 10.0);
                        assert!(!block.contains(p), "a street runs through a block: seed {seed}");
                    }
                }
            }
        }
    }
}
