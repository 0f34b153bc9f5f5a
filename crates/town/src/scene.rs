//! Everything that stands in the town, sorted into square cells so that a ray meets few of them.

use crate::look::Look;
use crate::solid::{Blob, Entry, Plane, Ray, enter_convex};
use crate::vector::{P2, distance};

/// Metres along the side of a cell.
const CELL: f32 = 8.0;

/// The form of a solid.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// A run of the scene's planes.
    Convex(u32, u32),
    /// An ellipsoid; the number is its place among the scene's blobs.
    Blob(u32),
}

/// One thing that can be hit.
#[derive(Debug, Clone, Copy)]
struct Solid {
    centre: P2,
    radius: f32,
    high: f32,
    shape: Shape,
}

/// What a ray met.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hit {
    pub(super) entry: Entry,
    /// Which solid of the scene.
    pub(super) solid: u32,
}

/// Solids, their looks, and the cells in which they lie.
#[derive(Debug, Default)]
pub(super) struct Scene {
    solids: Vec<Solid>,
    looks: Vec<Look>,
    planes: Vec<Plane>,
    blobs: Vec<Blob>,
    corner: P2,
    size: [i32; 2],
    starts: Vec<u32>,
    members: Vec<u32>,
    highest: Vec<f32>,
    top: f32,
}

impl Scene {
    /// Adds a convex solid; `high` is the height of its highest point.
    pub(super) fn convex(&mut self, footprint: &[P2], high: f32, planes: &[Plane], look: Look) {
        let n = 1.0 / footprint.len() as f32;
        let centre = footprint.iter().fold([0.0, 0.0], |c, p| [c[0] + p[0] * n, c[1] + p[1] * n]);
        let radius = footprint.iter().map(|&p| distance(p, centre)).fold(0.0, f32::max);
        let shape = Shape::Convex(self.planes.len() as u32, (self.planes.len() + planes.len()) as u32);
        self.planes.extend_from_slice(planes);
        self.solids.push(Solid { centre, radius, high, shape });
        self.looks.push(look);
    }

    /// Adds an ellipsoid.
    pub(super) fn blob(&mut self, blob: Blob, look: Look) {
        let (centre, radius) = ([blob.centre.x, blob.centre.y], blob.radii[0]);
        let high = blob.centre.z + blob.radii[1];
        self.solids.push(Solid { centre, radius, high, shape: Shape::Blob(self.blobs.len() as u32) });
        self.blobs.push(blob);
        self.looks.push(look);
    }

    /// How solid number `solid` looks.
    pub(super) fn look(&self, solid: u32) -> &Look {
        &self.looks[solid as usize]
    }

    /// Sorts the solids into cells; call once, after the last was added.
    pub(super) fn sort(&mut self) {
        let (mut low, mut high) = ([f32::MAX; 2], [f32::MIN; 2]);
        for solid in &self.solids {
            for axis in 0..2 {
                low[axis] = low[axis].min(solid.centre[axis] - solid.radius);
                high[axis] = high[axis].max(solid.centre[axis] + solid.radius);
            }
        }
        if self.solids.is_empty() {
            return;
        }
        self.corner = [low[0] - 0.5, low[1] - 0.5];
        self.size = [0, 1].map(|axis| ((high[axis] - self.corner[axis]) / CELL) as i32 + 1);
        let cells = (self.size[0] * self.size[1]) as usize;
        let (mut counts, mut pairs) = (vec![0u32; cells + 1], Vec::new());
        self.highest = vec![0.0; cells];
        for (number, solid) in self.solids.iter().enumerate() {
            self.top = self.top.max(solid.high);
            let [from, to] = [-1.0, 1.0].map(|side| {
                [0, 1].map(|axis| {
                    let at = (solid.centre[axis] + side * solid.radius - self.corner[axis]) / CELL;
                    (at as i32).clamp(0, self.size[axis] - 1)
                })
            });
            for y in from[1]..=to[1] {
                for x in from[0]..=to[0] {
                    let cell = (y * self.size[0] + x) as usize;
                    counts[cell + 1] += 1;
                    self.highest[cell] = self.highest[cell].max(solid.high);
                    pairs.push((cell as u32, number as u32));
                }
            }
        }
        for i in 0..cells {
            counts[i + 1] += counts[i];
        }
        self.starts = counts.clone();
        self.members = vec![0; pairs.len()];
        for (cell, number) in pairs {
            let slot = &mut counts[cell as usize];
            self.members[*slot as usize] = number;
            *slot += 1;
        }
    }

    /// The first solid that a ray meets within `reach` metres; with `any`, some solid that it meets.
    pub(super) fn trace(&self, ray: &Ray, reach: f32, any: bool) -> Option<Hit> {
        let mut walk = Walk::new(self, ray, reach)?;
        let mut best: Option<Hit> = None;
        let mut limit = reach;
        let flat = ray.along.x.hypot(ray.along.y).max(1e-9);
        let aim = [ray.along.x / flat, ray.along.y / flat];
        while let Some((cell, leave)) = walk.next_cell() {
            let lowest = (ray.from.z + ray.along.z * walk.entered).min(ray.from.z + ray.along.z * leave);
            if lowest <= self.highest[cell] {
                let run = self.starts[cell] as usize..self.starts[cell + 1] as usize;
                for &number in &self.members[run] {
                    let solid = &self.solids[number as usize];
                    // How far the ray passes from the solid's axis, seen from above.
                    let offset = [solid.centre[0] - ray.from.x, solid.centre[1] - ray.from.y];
                    let miss = offset[0] * aim[1] - offset[1] * aim[0];
                    if miss.abs() > solid.radius || lowest > solid.high {
                        continue;
                    }
                    let entry = match solid.shape {
                        Shape::Convex(from, to) => {
                            enter_convex(&self.planes[from as usize..to as usize], ray)
                        }
                        Shape::Blob(blob) => self.blobs[blob as usize].enter(ray),
                    };
                    if let Some(entry) = entry.filter(|entry| entry.t < limit) {
                        limit = entry.t;
                        best = Some(Hit { entry, solid: number });
                        if any {
                            return best;
                        }
                    }
                }
            }
            if limit <= leave {
                break;
            }
            walk.entered = leave;
        }
        best
    }
}

/// A walk along a ray from cell to cell.
struct Walk {
    at: [i32; 2],
    size: [i32; 2],
    step: [i32; 2],
    /// Where the ray next crosses a line between cells, on each axis.
    next: [f32; 2],
    gap: [f32; 2],
    /// Where the ray entered the present cell.
    entered: f32,
    end: f32,
}

impl Walk {
    fn new(scene: &Scene, ray: &Ray, reach: f32) -> Option<Self> {
        if scene.solids.is_empty() {
            return None;
        }
        let from = [ray.from.x, ray.from.y];
        let along = [ray.along.x, ray.along.y].map(|d| if d.abs() < 1e-7 { 1e-7 } else { d });
        let (mut start, mut end) = (0.0f32, reach);
        for axis in 0..2 {
            let side = scene.size[axis] as f32 * CELL;
            let a = (scene.corner[axis] - from[axis]) / along[axis];
            let b = (scene.corner[axis] + side - from[axis]) / along[axis];
            start = start.max(a.min(b));
            end = end.min(a.max(b));
        }
        // Nothing is higher than the top: a climbing ray ends there, a falling one starts there.
        let top = (scene.top - ray.from.z) / ray.along.z;
        if ray.along.z > 1e-7 {
            end = end.min(top);
        } else if ray.along.z < -1e-7 {
            start = start.max(top);
        }
        if start >= end {
            return None;
        }
        let mut walk = Self {
            at: [0; 2],
            size: scene.size,
            step: [0; 2],
            next: [0.0; 2],
            gap: [0.0; 2],
            entered: start,
            end,
        };
        for axis in 0..2 {
            let place = (from[axis] + along[axis] * start - scene.corner[axis]) / CELL;
            walk.at[axis] = (place as i32).clamp(0, scene.size[axis] - 1);
            walk.step[axis] = if along[axis] > 0.0 { 1 } else { -1 };
            let line = walk.at[axis] + i32::from(along[axis] > 0.0);
            walk.next[axis] = (scene.corner[axis] + line as f32 * CELL - from[axis]) / along[axis];
            walk.gap[axis] = CELL / along[axis].abs();
        }
        Some(walk)
    }

    /// The present cell and where the ray leaves it; moves on to the next.
    fn next_cell(&mut self) -> Option<(usize, f32)> {
        let inside = (0..2).all(|axis| (0..self.size[axis]).contains(&self.at[axis]));
        if !inside || self.entered >= self.end {
            return None;
        }
        let cell = (self.at[1] * self.size[0] + self.at[0]) as usize;
        let axis = usize::from(self.next[1] < self.next[0]);
        let leave = self.next[axis].min(self.end);
        self.at[axis] += self.step[axis];
        self.next[axis] += self.gap[axis];
        Some((cell, leave))
    }
}
