//! What stands in streets and squares at every visit: lamps, trees, bollards, columns, monuments.

use crate::house::{self, House};
use crate::layout::{Block, Layout, Street, Use};
use crate::look::{Kind, Look, Prop};
use crate::noise::Rng;
use crate::scene::Scene;
use crate::solid::{Blob, Plane, rectangle, walls};
use crate::vector::{P2, V3, add, grey, left, v3};

/// How many pictures of bare trees there are.
pub(super) const BARE_FORMS: u32 = 4;

/// A tree. Its trunk is part of the town; its crown depends on the season.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tree {
    pub(super) at: P2,
    pub(super) high: f32,
    pub(super) form: Form,
    pub(super) key: u32,
}

/// The shape of a crown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Round,
    Broad,
    Column,
    /// Keeps its needles in winter.
    Fir,
}

/// Things that rays do not only hit: trees and lamps.
#[derive(Debug, Default)]
pub(super) struct Fixtures {
    pub(super) trees: Vec<Tree>,
    /// The lights of street lamps.
    pub(super) lamps: Vec<V3>,
}

/// Furnishes the streets.
pub(super) fn furnish_streets(layout: &Layout, scene: &mut Scene, out: &mut Fixtures) {
    for street in &layout.streets {
        let mut rng = Rng::new(&[u64::from(street.key), 41]);
        let post = rng.pick(&[0, 0, 1]);
        for side in [-1.0, 1.0] {
            let out_of = left(street.along).map(|x| x * side);
            let spot = |s: f32, off: f32| add(add(street.from, street.along, s), out_of, street.half + off);
            let (start, end) = (street.trim[0] + 3.0, street.length - street.trim[1] - 3.0);
            let mut s = start + rng.between(0.0, 12.0) + if side > 0.0 { 10.0 } else { 0.0 };
            while s < end {
                let back = out_of.map(|x| -x);
                put_lamp(scene, out, spot(s, 0.45), back, post, street.half > 4.0);
                s += rng.between(22.0, 30.0);
            }
            if street.walk > 2.4 && rng.chance(0.45) {
                let form = rng.pick(&[Form::Round, Form::Broad, Form::Column]);
                let step = rng.between(8.0, 15.0);
                let mut s = start + rng.between(1.0, 6.0);
                while s < end {
                    if rng.chance(0.85) {
                        let high = rng.between(6.0, 10.5);
                        put_tree(scene, out, Tree { at: spot(s, 0.95), high, form, key: rng.key() });
                    }
                    s += step * rng.between(0.85, 1.15);
                }
            }
            small_things(scene, &mut rng, street, &spot, [start, end]);
        }
    }
}

/// Bollards, bins, boxes and columns on one pavement.
fn small_things(
    scene: &mut Scene,
    rng: &mut Rng,
    street: &Street,
    spot: &dyn Fn(f32, f32) -> P2,
    [start, end]: [f32; 2],
) {
    let mut put = |kind, colour, at, size, low, key| {
        house::put_box(scene, kind, colour, at, street.along, size, low, key);
    };
    if rng.chance(0.2) {
        let (mut s, to) = (start, start + rng.between(6.0, 20.0));
        while s < to.min(end) {
            put(Kind::Plain, grey(0.07), spot(s, 0.3), [0.16, 0.16, 0.95], 0.0, 0);
            s += 1.8;
        }
    }
    for _ in 0..rng.below(4) {
        let (s, key) = (rng.between(start, end.max(start + 1.0)), rng.key());
        match rng.below(5) {
            0 => put(Kind::Plain, v3(0.55, 0.03, 0.03), spot(s, 0.7), [0.5, 0.5, 1.5], 0.0, key),
            1 => put(Kind::Plain, v3(0.05, 0.12, 0.07), spot(s, 0.6), [0.5, 0.4, 1.0], 0.0, key),
            2 => put(Kind::Poster, v3(0.1, 0.14, 0.1), spot(s, 0.9), [0.9, 0.9, 2.9], 0.0, key),
            3 if street.walk > 2.4 => {
                let (colour, at) = (v3(0.10, 0.12, 0.14), spot(s, 1.5));
                put(Kind::Plain, colour, at, [4.0, 1.5, 0.12], 2.4, key);
                put(Kind::Poster, colour, spot(s, 2.1), [3.8, 0.1, 2.2], 0.15, key);
            }
            _ => put(Kind::Plain, v3(0.28, 0.17, 0.08), spot(s, 1.0), [1.7, 0.5, 0.48], 0.0, key),
        }
    }
}

/// A post with an arm over the carriageway, or an old one with a lantern on top.
fn put_lamp(scene: &mut Scene, out: &mut Fixtures, at: P2, over: P2, post: u32, tall: bool) {
    let (iron, glass) = (v3(0.05, 0.06, 0.06), v3(0.8, 0.78, 0.7));
    let mut put = |kind, colour, at, size, low| house::put_box(scene, kind, colour, at, over, size, low, 0);
    if post == 0 {
        let high = if tall { 7.6 } else { 5.8 };
        put(Kind::Plain, grey(0.2), at, [0.13, 0.13, high], 0.0);
        put(Kind::Plain, grey(0.2), add(at, over, 0.75), [1.5, 0.08, 0.08], high - 0.1);
        put(Kind::Lamp, glass, add(at, over, 1.5), [0.7, 0.28, 0.14], high - 0.2);
        let head = add(at, over, 1.5);
        out.lamps.push(v3(head[0], head[1], high - 0.25));
    } else {
        put(Kind::Plain, iron, at, [0.26, 0.26, 0.9], 0.0);
        put(Kind::Plain, iron, at, [0.12, 0.12, 3.4], 0.0);
        put(Kind::Lamp, glass, at, [0.38, 0.38, 0.55], 3.4);
        put(Kind::Plain, iron, at, [0.5, 0.5, 0.1], 3.95);
        out.lamps.push(v3(at[0], at[1], 3.7));
    }
}

/// Plants a tree: its trunk now, its crown when the season is known.
fn put_tree(scene: &mut Scene, out: &mut Fixtures, tree: Tree) {
    let wide = 0.14 + tree.high * 0.022;
    let bark = v3(0.13, 0.10, 0.08);
    house::put_box(
        scene,
        Kind::Bark,
        bark,
        tree.at,
        [1.0, 0.0],
        [wide, wide, tree.high * 0.42],
        0.0,
        tree.key,
    );
    out.trees.push(tree);
}

/// The crowns of the trees in leaf.
pub(super) fn crown(scene: &mut Scene, tree: &Tree) {
    let mut rng = Rng::new(&[u64::from(tree.key), 43]);
    let greens = [v3(0.10, 0.21, 0.05), v3(0.15, 0.25, 0.06), v3(0.07, 0.17, 0.06), v3(0.22, 0.25, 0.07)];
    let colour = if tree.form == Form::Fir { v3(0.04, 0.11, 0.06) } else { rng.pick(&greens) };
    let h = tree.high;
    let mut ball = |off: P2, z: f32, wide: f32, tall: f32| {
        let centre = v3(tree.at[0] + off[0], tree.at[1] + off[1], z);
        let prop = Prop {
            kind: Kind::Leaves,
            colour: colour * rng.between(0.8, 1.2),
            at: tree.at,
            along: [1.0, 0.0],
            size: [wide, wide, h],
            key: rng.key(),
        };
        scene.blob(Blob { centre, radii: [wide, tall], ragged: 0.75, key: rng.key() }, Look::Prop(prop));
    };
    let turn = (tree.key & 0xff) as f32 * 0.1;
    match tree.form {
        Form::Round | Form::Broad => {
            let flat = if tree.form == Form::Broad { 1.25 } else { 1.0 };
            ball([0.0, 0.0], h * 0.72, h * 0.24 * flat, h * 0.27);
            for k in 0..4 {
                let angle = turn + k as f32 * 1.7;
                let off = [angle.sin() * h * 0.15 * flat, angle.cos() * h * 0.15 * flat];
                ball(off, h * (0.56 + 0.07 * k as f32), h * 0.16 * flat, h * 0.15);
            }
        }
        Form::Column => {
            ball([0.0, 0.0], h * 0.5, h * 0.12, h * 0.3);
            ball([0.0, 0.0], h * 0.78, h * 0.10, h * 0.26);
        }
        Form::Fir => {
            for k in 0..5 {
                let z = 0.2 + 0.17 * k as f32;
                ball([0.0, 0.0], h * z, h * 0.21 * (1.06 - z), h * 0.13);
            }
        }
    }
}

/// Fills squares and parks, and scatters trees outside the town.
pub(super) fn furnish_land(layout: &Layout, scene: &mut Scene, houses: &mut Vec<House>, out: &mut Fixtures) {
    for block in &layout.blocks {
        let mut rng = Rng::new(&[block.key, 44]);
        match block.purpose {
            Use::Houses => {}
            Use::Square => furnish_square(block, &mut rng, scene, houses, out),
            Use::Park => {
                for _ in 0..26 {
                    let p = around(&mut rng, block.centre(), 45.0);
                    let form = rng.pick(&[Form::Round, Form::Broad, Form::Fir, Form::Column]);
                    if block.contains(p) {
                        put_tree(
                            scene,
                            out,
                            Tree { at: p, high: rng.between(7.0, 15.0), form, key: rng.key() },
                        );
                    }
                }
                if rng.chance(0.5) {
                    put_monument(scene, &mut rng, block.centre());
                }
            }
        }
    }
    let mut rng = Rng::new(&[layout.blocks.len() as u64, u64::from(layout.streets[0].key)]);
    let near_street = |p: P2| layout.blocks.iter().any(|b| crate::vector::distance(b.centre(), p) < 95.0);
    for _ in 0..layout.blocks.len() * 10 {
        let p = around(&mut rng, [0.0, 0.0], layout.radius + 40.0);
        if !near_street(p) {
            let form = rng.pick(&[Form::Round, Form::Fir, Form::Broad]);
            put_tree(scene, out, Tree { at: p, high: rng.between(8.0, 17.0), form, key: rng.key() });
        }
    }
}

fn around(rng: &mut Rng, centre: P2, reach: f32) -> P2 {
    [centre[0] + rng.between(-reach, reach), centre[1] + rng.between(-reach, reach)]
}

fn furnish_square(
    block: &Block,
    rng: &mut Rng,
    scene: &mut Scene,
    houses: &mut Vec<House>,
    out: &mut Fixtures,
) {
    let centre = block.centre();
    let angle = rng.between(0.0, std::f32::consts::TAU);
    let along = [angle.sin(), angle.cos()];
    let open = if rng.chance(0.5) {
        house::put_church(scene, houses, centre, along, rng);
        19.0
    } else {
        put_monument(scene, rng, centre);
        6.0
    };
    for _ in 0..14 {
        let p = around(rng, centre, 40.0);
        if block.contains(p) && crate::vector::distance(p, centre) > open {
            let form = rng.pick(&[Form::Round, Form::Broad]);
            put_tree(scene, out, Tree { at: p, high: rng.between(5.0, 9.0), form, key: rng.key() });
        }
    }
    for _ in 0..6 {
        let p = around(rng, centre, 34.0);
        if block.contains(p) && crate::vector::distance(p, centre) > open {
            put_lamp(scene, out, p, along, 1, false);
        }
    }
}

/// Steps, a pedestal, and an obelisk or a figure.
fn put_monument(scene: &mut Scene, rng: &mut Rng, at: P2) {
    let angle = rng.between(0.0, 3.0);
    let along = [angle.sin(), angle.cos()];
    let stone = rng.pick(&[v3(0.5, 0.47, 0.42), v3(0.36, 0.36, 0.38), v3(0.5, 0.36, 0.3)]);
    let key = rng.key();
    let mut put = |kind, colour, size, low| house::put_box(scene, kind, colour, at, along, size, low, key);
    put(Kind::Stone, stone, [5.0, 5.0, 0.3], 0.0);
    put(Kind::Stone, stone, [3.6, 3.6, 0.3], 0.3);
    let (wide, high) = (rng.between(1.4, 2.2), rng.between(1.8, 3.2));
    put(Kind::Stone, stone, [wide, wide, high], 0.6);
    if rng.chance(0.5) {
        let foot = rectangle(at, along, wide * 0.7, wide * 0.7);
        let low = high + 0.6;
        let tall = rng.between(5.0, 11.0);
        let lean = |plane: Plane| {
            let n = plane.normal;
            let on = n * plane.limit + v3(0.0, 0.0, low);
            Plane::through(on, v3(n.x, n.y, wide * 0.33 / tall))
        };
        let planes: Vec<Plane> = walls(&foot).map(lean).chain([Plane::level(low, false)]).collect();
        let prop = Prop { kind: Kind::Stone, colour: stone, at, along, size: [wide, wide, low], key };
        scene.convex(&foot, low + tall, &planes, Look::Prop(prop));
    } else {
        let bronze = v3(0.12, 0.20, 0.16);
        put(Kind::Plain, bronze, [0.7, 0.5, 1.1], high + 0.6);
        put(Kind::Plain, bronze, [1.0, 0.55, 0.9], high + 1.7);
        put(Kind::Plain, bronze, [0.35, 0.35, 0.45], high + 2.6);
    }
}
