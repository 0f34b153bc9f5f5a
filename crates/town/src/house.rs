//! Houses: their plots along a block's sides, their style, and their bodies.

use crate::font::Word;
use crate::layout::Block;
use crate::look::{Kind, Look, Prop};
use crate::noise::Rng;
use crate::scene::Scene;
use crate::solid::{Plane, inside, rectangle, walls};
use crate::style::{Roof, Style};
use crate::vector::{P2, V3, add, distance, dot, left, sub, unit, v3};

/// A house.
#[derive(Debug, Clone)]
pub(super) struct House {
    /// Counter-clockwise from the left end of the front, seen from the street; wall `k` goes from
    /// corner `k` to the next.
    pub(super) corners: [P2; 4],
    /// Which walls have windows: the front always, a side at a street corner.
    pub(super) open: [bool; 4],
    /// A painted advertisement on a blind wall.
    pub(super) mural: Option<(Word, V3, V3)>,
    pub(super) style: Style,
}

impl House {
    /// Start, direction and length of a wall.
    pub(super) fn wall(&self, k: usize) -> (P2, P2, f32) {
        let (a, b) = (self.corners[k], self.corners[(k + 1) % 4]);
        (a, unit(sub(b, a)), distance(a, b))
    }

    pub(super) fn contains(&self, p: P2) -> bool {
        inside(&self.corners, p)
    }

    /// Adds the house and what is fixed to it to the scene, as house `number`.
    fn build(&self, scene: &mut Scene, number: u32) {
        let style = &self.style;
        let eaves = style.eaves();
        let mut planes: Vec<Plane> = walls(&self.corners).collect();
        let depth = distance(self.corners[0], self.corners[3]);
        let width = distance(self.corners[0], self.corners[1]);
        let mut slope = |k: usize, rise: f32| {
            let (a, along, _) = self.wall(k);
            let out = left(along);
            planes.push(Plane::through(v3(a[0], a[1], eaves), v3(-out[0] * rise, -out[1] * rise, 1.0)));
        };
        let high = match style.roof {
            Roof::Flat => eaves,
            Roof::Ridge { rise } => {
                slope(0, rise);
                slope(2, rise);
                eaves + rise * depth * 0.6
            }
            Roof::Gable { rise } => {
                slope(1, rise);
                slope(3, rise);
                eaves + rise * width * 0.6
            }
            Roof::Hip { rise } => {
                (0..4).for_each(|k| slope(k, rise));
                eaves + rise * depth.min(width) * 0.6
            }
            Roof::Mansard => {
                slope(0, 2.2);
                slope(2, 2.2);
                eaves + 2.8
            }
        };
        if matches!(style.roof, Roof::Flat | Roof::Mansard) {
            planes.push(Plane::level(high, true));
        }
        scene.convex(&self.corners, high, &planes, Look::House(number));
        self.chimneys(scene, high);
        self.fittings(scene);
    }

    fn chimneys(&self, scene: &mut Scene, high: f32) {
        let mut rng = Rng::new(&[u64::from(self.style.key), 11]);
        for k in 0..self.style.chimneys {
            let share = if k == 0 { rng.between(0.06, 0.2) } else { rng.between(0.7, 0.93) };
            let front = add(self.corners[0], sub(self.corners[1], self.corners[0]), share);
            let back = add(self.corners[3], sub(self.corners[2], self.corners[3]), share);
            let at = add(front, sub(back, front), rng.between(0.3, 0.6));
            let size = [1.0, 0.7, rng.between(0.6, 1.6)];
            let along = self.wall(0).1;
            put_box(
                scene,
                Kind::Brick,
                self.style.chimney,
                at,
                along,
                size,
                (high - 2.0).max(3.0),
                rng.key(),
            );
        }
    }

    /// Balconies, awnings and hanging boards: what stands out from the front.
    fn fittings(&self, scene: &mut Scene) {
        let style = &self.style;
        let mut rng = Rng::new(&[u64::from(style.key), 12]);
        for k in (0..4).filter(|&k| self.open[k] && k != 2) {
            let (start, along, length) = self.wall(k);
            let out = [along[1], -along[0]];
            let bays = style.bays(length);
            let bay = length / bays as f32;
            let mut fix = |kind, colour, u: f32, off: f32, size: [f32; 3], low, key| {
                let at = add(add(start, along, u), out, off + size[1] / 2.0);
                put_box(scene, kind, colour, at, along, size, low, key);
            };
            for floor in 1..style.floors {
                for b in 0..bays {
                    if style.has_balcony(k, floor, b, bays) {
                        let low = style.floor_base(floor);
                        let size = [bay * 0.86, 1.0, 0.16];
                        let middle = (b as f32 + 0.5) * bay;
                        fix(Kind::Slab, style.trim, middle, 0.0, size, low - 0.1, 0);
                        fix(Kind::Railing, style.accent, middle, 0.94, [bay * 0.86, 0.06, 1.0], low, 1);
                    }
                }
            }
            let Some(shop) = style.shop.as_ref().filter(|_| k == 0) else { continue };
            if shop.awning {
                let size = [length * 0.8, 1.3, 0.28];
                fix(Kind::Awning, shop.board, length / 2.0, 0.0, size, style.ground - 1.0, rng.key());
            }
            if shop.hanging {
                let (u, low) = (rng.between(0.1, 0.9) * length, style.ground + 0.3);
                let at = add(add(start, along, u), out, 0.75);
                put_box(scene, Kind::Board, shop.board, at, out, [1.1, 0.12, 0.9], low, rng.key());
            }
        }
    }
}

/// Adds a box that stands (or hangs) with its lower side at `low`.
#[allow(clippy::too_many_arguments, reason = "one box, all of its measures")]
pub(super) fn put_box(
    scene: &mut Scene,
    kind: Kind,
    colour: V3,
    at: P2,
    along: P2,
    size: [f32; 3],
    low: f32,
    key: u32,
) {
    let corners = rectangle(at, along, size[0], size[1]);
    let planes: Vec<Plane> =
        walls(&corners).chain([Plane::level(low + size[2], true), Plane::level(low, false)]).collect();
    let prop = Prop { kind, colour, at, along, size: [size[0], size[1], low], key };
    scene.convex(&corners, low + size[2], &planes, Look::Prop(prop));
}

/// Lines a block with houses.
pub(super) fn line_block(block: &Block, scene: &mut Scene, houses: &mut Vec<House>) {
    let mut rng = Rng::new(&[block.key, 5]);
    let count = block.line.len();
    let shortest = (0..count).map(|i| distance(block.line[i], block.centre())).fold(f32::MAX, f32::min);
    let depth = rng.between(9.0, 12.5).min(shortest * 0.5);
    for i in 0..count {
        let (a, b) = (block.line[i], block.line[(i + 1) % count]);
        let before = block.line[(i + count - 1) % count];
        let along = unit(sub(b, a));
        let end = distance(a, b) - if block.corner[(i + 1) % count] { depth } else { 0.0 };
        let mut at = 0.0;
        while at < end - 2.0 {
            let mut width = rng.between(6.0, 11.0) + rng.between(0.0, 10.0) * rng.fraction();
            if end - at - width < 6.0 {
                width = (end - at).min(24.0);
            }
            let first = at == 0.0 && block.corner[i];
            let vacant = !first && rng.chance(0.05 + 0.12 * (1.0 - block.centrality));
            let mut style = Style::invent(&mut rng, block.centrality, width);
            if !vacant {
                if first {
                    style.setback = 0.0;
                }
                let back = style.setback;
                let reach = depth + rng.between(-1.0, 1.5);
                let inward = left(along);
                let p = add(add(a, along, at), inward, back);
                let q = add(add(a, along, at + width), inward, back);
                // A corner house follows both of its streets.
                let side = if first { unit(sub(before, a)) } else { inward };
                let p = if first { a } else { p };
                let r = add(p, side, reach / dot(side, inward).clamp(0.5, 1.0));
                let corners = [p, q, add(q, inward, reach), r];
                let house = House {
                    corners,
                    open: [true, false, true, first],
                    mural: rng.chance(0.3).then(|| {
                        let paint = [v3(0.5, 0.12, 0.08), v3(0.08, 0.16, 0.4), v3(0.75, 0.7, 0.55)];
                        (Word::invent(&mut rng), rng.pick(&paint), v3(0.8, 0.76, 0.62))
                    }),
                    style,
                };
                house.build(scene, houses.len() as u32);
                houses.push(house);
            } else {
                let middle = add(add(a, along, at + width / 2.0), left(along), 0.3);
                let high = rng.between(1.2, 2.4);
                let kind = rng.pick(&[Kind::Brick, Kind::Hedge, Kind::Stone, Kind::Railing]);
                put_box(scene, kind, style.chimney, middle, along, [width, 0.35, high], 0.0, rng.key());
            }
            at += width;
        }
    }
}

/// A church with a spire, facing along `along`; a landmark that is seen from afar.
pub(super) fn put_church(scene: &mut Scene, houses: &mut Vec<House>, at: P2, along: P2, rng: &mut Rng) {
    let mut style = Style::church(rng);
    let mut add_part = |corners: [P2; 4], style: &Style| {
        let house = House { corners, open: [true, true, true, true], mural: None, style: style.clone() };
        house.build(scene, houses.len() as u32);
        houses.push(house);
    };
    add_part(rectangle(at, along, 20.0, 9.5), &style);
    style.floors = 3 + rng.below(3) as u32;
    style.roof = Roof::Hip { rise: rng.between(2.2, 4.5) };
    add_part(rectangle(add(at, along, 12.5), along, 6.0, 6.0), &style);
}
