//! What is in the street at one visit only: parked cars and people; and the crowns of the season.

use crate::layout::{Layout, Street};
use crate::light::Light;
use crate::look::{Kind, Look, Prop};
use crate::noise::Rng;
use crate::props::{Fixtures, Form, crown};
use crate::scene::Scene;
use crate::solid::{Blob, Plane, rectangle, walls};
use crate::vector::{P2, V3, add, distance, grey, left, v3};

/// How far from the camera small things are still worth drawing, in metres.
const NEAR: f32 = 130.0;
/// The same for trees.
const FAR: f32 = 420.0;

const PAINTS: [V3; 10] = [
    v3(0.03, 0.03, 0.035),
    v3(0.60, 0.60, 0.60),
    v3(0.36, 0.37, 0.39),
    v3(0.17, 0.18, 0.20),
    v3(0.38, 0.02, 0.02),
    v3(0.02, 0.06, 0.22),
    v3(0.05, 0.14, 0.10),
    v3(0.45, 0.30, 0.12),
    v3(0.10, 0.28, 0.45),
    v3(0.62, 0.55, 0.40),
];

/// The passing things around a camera at `eye`.
pub(super) fn assemble(layout: &Layout, fixtures: &Fixtures, light: &Light, eye: P2) -> Scene {
    let mut scene = Scene::default();
    let visit = u64::from(light.moment.key);
    for street in &layout.streets {
        let middle = add(street.from, street.along, street.length / 2.0);
        if distance(middle, eye) < NEAR + street.length / 2.0 {
            park(&mut scene, street, visit, eye);
            walk(&mut scene, street, visit, eye);
        }
    }
    for tree in &fixtures.trees {
        if (light.moment.leaves || tree.form == Form::Fir) && distance(tree.at, eye) < FAR {
            crown(&mut scene, tree);
        }
    }
    scene.sort();
    scene
}

/// Cars along both kerbs, in slots that are the same at every visit.
fn park(scene: &mut Scene, street: &Street, visit: u64, eye: P2) {
    if street.half < 3.4 {
        return;
    }
    let busy = Rng::new(&[u64::from(street.key), 51]).between(0.1, 0.75);
    for side in [-1.0f32, 1.0] {
        let mut rng = Rng::new(&[u64::from(street.key), visit, 52, u64::from(side > 0.0)]);
        let (mut s, end) = (street.trim[0] + 7.0, street.length - street.trim[1] - 7.0);
        while s < end {
            let taken = rng.chance(busy);
            let off = left(street.along).map(|x| x * side);
            let at = add(add(street.from, street.along, s + rng.between(-0.4, 0.4)), off, street.half - 1.05);
            let key = rng.key();
            if taken && distance(at, eye) > 3.5 {
                // They drive on the left here: noses point the way of the traffic.
                put_car(scene, at, street.along.map(|x| x * side), key);
            }
            s += 6.1;
        }
    }
}

/// A car: a body, and a cabin with slanting ends; or a van.
fn put_car(scene: &mut Scene, at: P2, along: P2, key: u32) {
    let mut rng = Rng::new(&[u64::from(key), 53]);
    let colour = rng.pick(&PAINTS);
    let van = rng.chance(0.14);
    let (length, width) = (rng.between(3.7, 4.8), rng.between(1.68, 1.84));
    let (waist, top) = if van { (1.0, 2.1) } else { (rng.between(0.78, 0.92), rng.between(1.38, 1.62)) };
    let look = |kind, low| Look::Prop(Prop { kind, colour, at, along, size: [length, width, low], key });
    let body = rectangle(at, along, length, width);
    let mut planes: Vec<Plane> = walls(&body).collect();
    planes.extend([Plane::level(waist, true), Plane::level(0.2, false)]);
    scene.convex(&body, waist, &planes, look(Kind::CarBody, waist));
    let (long, shift) = if van { (length * 0.9, -0.15) } else { (length * rng.between(0.62, 0.72), -0.25) };
    let cabin = rectangle(add(at, along, shift), along, long, width * 0.96);
    let tilt = [0.16, if van { 0.35 } else { 0.9 }, 0.16, if van { 0.02 } else { rng.between(0.2, 0.8) }];
    let lean = |(plane, tilt): (Plane, f32)| {
        let on = plane.normal * plane.limit + v3(0.0, 0.0, waist);
        Plane::through(on, plane.normal + v3(0.0, 0.0, tilt))
    };
    let mut planes: Vec<Plane> = walls(&cabin).zip(tilt).map(lean).collect();
    planes.extend([Plane::level(top, true), Plane::level(waist, false)]);
    scene.convex(&cabin, top, &planes, look(Kind::CarCabin, waist));
}

/// A few people on the pavements.
fn walk(scene: &mut Scene, street: &Street, visit: u64, eye: P2) {
    let mut rng = Rng::new(&[u64::from(street.key), visit, 54]);
    for _ in 0..rng.below(4) {
        let side = if rng.chance(0.5) { 1.0 } else { -1.0 };
        let off = left(street.along).map(|x| x * side);
        let s = rng.between(3.0, street.length - 3.0);
        let at = add(add(street.from, street.along, s), off, street.half + rng.between(0.9, street.walk));
        if distance(at, eye) < 2.0 {
            continue;
        }
        let mut part = |colour, size: [f32; 2], low: f32, high: f32| {
            let foot = rectangle(at, street.along, size[0], size[1]);
            let planes: Vec<Plane> =
                walls(&foot).chain([Plane::level(high, true), Plane::level(low, false)]).collect();
            let prop =
                Prop { kind: Kind::Plain, colour, at, along: street.along, size: [1.0, 1.0, low], key: 0 };
            scene.convex(&foot, high, &planes, Look::Prop(prop));
        };
        let tall = rng.between(1.55, 1.88);
        let (coat, trousers) = (rng.pick(&PAINTS), grey(rng.between(0.03, 0.12)));
        part(trousers, [rng.between(0.2, 0.5), 0.24], 0.0, tall * 0.48);
        part(coat, [0.3, 0.46], tall * 0.46, tall * 0.85);
        let skin = v3(0.45, 0.30, 0.22) * rng.between(0.35, 1.3);
        let head = Blob { centre: v3(at[0], at[1], tall * 0.93), radii: [0.11, 0.14], ragged: 0.0, key: 1 };
        let prop = Prop { kind: Kind::Plain, colour: skin, at, along: street.along, size: [1.0; 3], key: 0 };
        scene.blob(head, Look::Prop(prop));
    }
}
