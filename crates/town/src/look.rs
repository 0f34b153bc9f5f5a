//! What a surface is, before light falls on it.

use crate::vector::{P2, V3};

/// How a solid looks: which rule paints it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Look {
    /// A house; the number is its place among the town's houses.
    House(u32),
    /// Anything else.
    Prop(Prop),
}

/// A thing in the street.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prop {
    pub(super) kind: Kind,
    pub(super) colour: V3,
    /// Its middle on the ground.
    pub(super) at: P2,
    /// The direction of its length.
    pub(super) along: P2,
    /// Length, width and height in metres.
    pub(super) size: [f32; 3],
    pub(super) key: u32,
}

/// The kinds of things in the street.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Painted metal, wood, cloth: one colour.
    Plain,
    /// Stone blocks.
    Stone,
    /// Brick, as chimneys and garden walls are.
    Brick,
    /// Bars with gaps that show what is behind as dark.
    Railing,
    /// Broad stripes along its length.
    Awning,
    /// A word on a board, on both of its long sides.
    Board,
    /// Paving with the look of flat roofs.
    Slab,
    /// Clipped leaves.
    Hedge,
    /// Leaves of a tree.
    Leaves,
    /// Bark.
    Bark,
    /// The lower part of a car.
    CarBody,
    /// The upper part of a car.
    CarCabin,
    /// A street lamp's glass.
    Lamp,
    /// A lit box with posters, as shelters and columns have.
    Poster,
}

/// A painted surface.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surface {
    /// The share of light that it returns.
    pub(super) colour: V3,
    /// Its own light.
    pub(super) glow: V3,
    /// How much it mirrors, 0 to 1, seen straight on.
    pub(super) mirror: f32,
}

impl Surface {
    pub(super) fn matt(colour: V3) -> Self {
        Self { colour, glow: V3::default(), mirror: 0.0 }
    }

    /// Lays `over` on this surface where it covers `share` of the footprint.
    pub(super) fn under(self, over: Self, share: f32) -> Self {
        if share <= 0.0 {
            return self;
        }
        Self {
            colour: self.colour.mix(over.colour, share),
            glow: self.glow.mix(over.glow, share),
            mirror: self.mirror + (over.mirror - self.mirror) * share,
        }
    }

    /// Paints a colour on `share` of the footprint.
    pub(super) fn paint(self, colour: V3, share: f32) -> Self {
        self.under(Self::matt(colour), share)
    }
}

/// Where on a wall a ray ended, how large its footprint is there, and where it was going.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    /// Metres along the wall, to the right seen from outside.
    pub(super) u: f32,
    /// Metres above the ground.
    pub(super) v: f32,
    /// Footprint in metres along `u` and `v`.
    pub(super) foot: [f32; 2],
    /// Metres that the ray goes along `u` and `v` for each metre that it goes into the wall.
    pub(super) slant: [f32; 2],
}

/// What changes a surface from one visit to the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// The visit's own random key.
    pub(super) key: u32,
    /// The share of windows with light behind them.
    pub(super) lit: f32,
    /// How strong that light is.
    pub(super) lamp: f32,
    /// How wet everything is, 0 to 1.
    pub(super) wet: f32,
    /// How much snow lies, 0 to 1.
    pub(super) snow: f32,
    /// Whether trees that shed their leaves have them.
    pub(super) leaves: bool,
}
