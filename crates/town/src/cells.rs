//! Which of many numbered things reach a point of the ground.

use crate::vector::P2;

/// Lists of numbers by square cell.
#[derive(Debug)]
pub(super) struct Cells {
    side: f32,
    half: f32,
    count: i32,
    starts: Vec<u32>,
    members: Vec<u32>,
}

impl Cells {
    /// Sorts things that lie within boxes (low and high corner) into cells `side` metres wide, over the
    /// square from `-half` to `half`.
    pub(super) fn new(side: f32, half: f32, boxes: &[[P2; 2]]) -> Self {
        let count = (2.0 * half / side) as i32 + 1;
        let mut lists = vec![Vec::new(); (count * count) as usize];
        for (number, corners) in boxes.iter().enumerate() {
            let [from, to] =
                corners.map(|p| p.map(|x| (((x + half) / side).floor() as i32).clamp(0, count - 1)));
            for y in from[1]..=to[1] {
                for x in from[0]..=to[0] {
                    lists[(y * count + x) as usize].push(number as u32);
                }
            }
        }
        let mut starts = vec![0];
        let mut members = Vec::new();
        for list in lists {
            members.extend(list);
            starts.push(members.len() as u32);
        }
        Self { side, half, count, starts, members }
    }

    /// The numbers of the things whose boxes touch the cell of `p`.
    pub(super) fn at(&self, p: P2) -> &[u32] {
        let [x, y] = p.map(|x| ((x + self.half) / self.side).floor());
        let last = self.count as f32;
        if !(0.0..last).contains(&x) || !(0.0..last).contains(&y) {
            return &[];
        }
        let cell = (y as i32 * self.count + x as i32) as usize;
        &self.members[self.starts[cell] as usize..self.starts[cell + 1] as usize]
    }
}

/// The box around some points, grown by `margin` metres.
pub(super) fn around(points: &[P2], margin: f32) -> [P2; 2] {
    let mut corners = [[f32::MAX; 2], [f32::MIN; 2]];
    for p in points {
        for axis in 0..2 {
            corners[0][axis] = corners[0][axis].min(p[axis] - margin);
            corners[1][axis] = corners[1][axis].max(p[axis] + margin);
        }
    }
    corners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_found_where_they_are() {
        let boxes = [around(&[[3.0, 4.0], [20.0, 4.0]], 1.0), around(&[[-50.0, -50.0]], 2.0)];
        let cells = Cells::new(8.0, 60.0, &boxes);
        assert_eq!(cells.at([12.0, 4.5]), [0]);
        assert_eq!(cells.at([-51.0, -49.0]), [1]);
        assert_eq!(cells.at([40.0, 40.0]), [0u32; 0]);
        assert_eq!(cells.at([1e9, 0.0]), [0u32; 0]);
        assert_eq!(cells.at([f32::NAN, 0.0]), [0u32; 0]);
    }
}
