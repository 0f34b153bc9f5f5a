//! Convolutional networks for one image: a list of convolutions, additions and maximum poolings over a few maps.
//!
//! A map is stored pixel after pixel with its channels as neighbours, padded with zero channels to a multiple of NR. 1x1
//! convolutions, those of stride 2 and the first one, which reads the image, are packed products ([`direct`]); 3x3
//! convolutions of stride 1 are computed by Winograd's algorithm ([`winograd`]). Bias, addition and ReLU happen while the sums
//! are in registers. In 8 bits ([`codes`]) all but the first are packed products, if their input comes from a ReLU.

mod chain;
mod codes;
#[cfg(test)]
mod codes_tests;
mod direct;
mod gemm;
mod pool;
#[cfg(test)]
mod tests;
mod winograd;

use crate::buffer::Floats;
use crate::element::Element;
use crate::pool::Pool;
use crate::{KernelError, Level, MatmulPrecision};
use chain::{FOLLOWING, Follow, Output, Outputs, Store};
use codes::Codes;
use direct::{Direct, Source};
use pool::MaxPool;
use rayon::prelude::*;
use winograd::Winograd;

/// Channels of an image.
const IMAGE: usize = 3;

/// Floats behind the image that may be read.
const SLACK: usize = 64;

/// A convolution's sizes.
#[derive(Debug, Clone, Copy)]
struct Shape {
    inputs: usize,
    outputs: usize,
    side: usize,
    stride: usize,
}

/// A convolution with a padding of half its side, as [`ConvNet::convolve`] takes it.
#[derive(Debug, Clone, Copy)]
pub struct Convolution<'a> {
    /// `[outputs, inputs, side, side]`, a batch norm folded in.
    pub weight: &'a [f32],
    /// One value per output channel.
    pub bias: &'a [f32],
    /// Side of the kernel, odd.
    pub side: usize,
    /// Pixels from one output to the next, at least 1.
    pub stride: usize,
    /// Whether a ReLU follows.
    pub relu: bool,
}

/// A place for a map while a network runs. The first one holds the image at the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(pub usize);

impl Slot {
    /// The image, which only one convolution may read: the first.
    pub const IMAGE: Self = Self(0);
}

/// A map that a network returns.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureMap {
    /// `[rows, columns, channels]`.
    pub values: Vec<f32>,
    /// Rows of pixels.
    pub rows: usize,
    /// Columns of pixels.
    pub columns: usize,
    /// Channels.
    pub channels: usize,
}

/// A convolutional network whose weights are packed for one [`Level`]. It runs from any number of threads at once.
#[derive(Debug, Clone)]
pub struct ConvNet {
    level: Level,
    /// How maps are quantised, if convolutions are in 8 bits.
    codes: Option<Codes>,
    steps: Vec<Step>,
    /// Channels of each slot after the steps so far; 0 where there is no map.
    channels: Vec<usize>,
    /// Whether its values, at least zero, may be quantised.
    rectified: Vec<bool>,
    /// Padding of the image: that of the first convolution.
    padding: usize,
    buffers: Pool<Vec<Map>>,
    lines: Pool<Floats>,
    tiles: Pool<winograd::Scratch>,
}

#[derive(Debug, Clone)]
enum Step {
    Convolve { kernel: Kernel, stride: usize, from: Slot, target: Target, following: Vec<(Direct, Target)> },
    Pool { pool: MaxPool, from: Slot, target: Target },
    Keep { from: Slot, channels: usize },
}

/// Where a layer's result goes.
#[derive(Debug, Clone, Copy)]
struct Target {
    slot: Slot,
    store: Store,
}

#[derive(Debug, Clone)]
enum Kernel {
    Direct(Direct),
    Winograd(Winograd),
}

/// A map while a network runs.
#[derive(Debug, Clone, Default)]
struct Map {
    values: Floats,
    size: [usize; 2],
    /// Floats per pixel.
    pitch: usize,
    /// The pixels' codes where convolutions in 8 bits read them, and floats per pixel.
    codes: Floats,
    codes_pitch: usize,
}

impl Map {
    fn source(&self) -> Source<'_> {
        Source { values: &self.values, size: self.size, pitch: self.pitch }
    }

    fn codes(&self) -> Source<'_> {
        Source { values: &self.codes, size: self.size, pitch: self.codes_pitch }
    }

    fn output(&mut self) -> Output<'_> {
        Output { values: &mut self.values, codes: &mut self.codes }
    }

    fn resize(&mut self, size: [usize; 2], store: &Store) {
        (self.size, self.pitch, self.codes_pitch) = (size, store.pitch, store.codes_pitch());
        let pixels = size[0] * size[1];
        self.values.resize(pixels * self.pitch);
        self.codes.resize(pixels * self.codes_pitch);
    }

    /// Makes room for the image.
    fn resize_for_image(&mut self, size: [usize; 2]) {
        (self.size, self.pitch) = (size, IMAGE);
        // It is read in whole vectors.
        self.values.resize(size[0] * size[1] * IMAGE + SLACK);
    }
}

impl<'a> Follow<'a> {
    fn of((conv, target): &'a (Direct, Target)) -> Self {
        Self { conv, store: target.store }
    }
}

impl Step {
    /// Whether a convolution of single pixels from `from` to `to` can run within this step's tasks: it reads what they
    /// wrote last, and writes nothing that another task reads.
    fn takes(&self, from: Slot, to: Slot) -> bool {
        let Self::Convolve { from: head, target, following, .. } = self else { return false };
        let last = following.last().map_or(target, |(_, target)| target);
        following.len() < FOLLOWING
            && last.slot == from
            && to != *head
            && to != target.slot
            && following.iter().all(|(_, target)| target.slot != to)
    }

    fn follow(&mut self, conv: Direct, target: Target) {
        if let Self::Convolve { following, .. } = self {
            following.push((conv, target));
        }
    }

    /// Where it writes, the last place first.
    fn targets(&mut self) -> impl Iterator<Item = &mut Target> {
        let (target, following) = match self {
            Self::Convolve { target, following, .. } => (Some(target), following.as_mut_slice()),
            Self::Pool { target, .. } => (Some(target), [].as_mut_slice()),
            Self::Keep { .. } => (None, [].as_mut_slice()),
        };
        following.iter_mut().rev().map(|(_, target)| target).chain(target)
    }
}

impl ConvNet {
    /// A network without layers, for images of three channels. With [`MatmulPrecision::Int8`] those convolutions are in 8 bits that
    /// read what a ReLU wrote, none of which is below zero; where an element has 16-bit codes (AVX2 without VNNI), 3x3
    /// convolutions of stride 1 stay in 32 bits, in which Winograd's algorithm is as fast. There is no bfloat16.
    pub fn new(level: Level, products: MatmulPrecision) -> Self {
        Self::quantised(
            level,
            match Element::of(level, products) {
                Element::Int8(products) => Some(Codes::new(products, level)),
                Element::F32 | Element::Bf16x2(_) => None,
            },
        )
    }

    fn quantised(level: Level, codes: Option<Codes>) -> Self {
        Self {
            level,
            codes,
            steps: Vec::new(),
            channels: vec![IMAGE],
            rectified: vec![false],
            padding: 0,
            buffers: Pool::default(),
            lines: Pool::default(),
            tiles: Pool::default(),
        }
    }

    /// The vector instructions that it runs on.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Whether a convolution is in 8 bits.
    pub fn is_int8(&self) -> bool {
        let coded = |step: &Step| match step {
            Step::Convolve { kernel, following, .. } => {
                matches!(kernel, Kernel::Direct(direct) if direct.is_coded())
                    || following.iter().any(|(conv, _)| conv.is_coded())
            }
            Step::Pool { .. } | Step::Keep { .. } => false,
        };
        self.steps.iter().any(coded)
    }

    /// Appends a convolution of `from`, whose result replaces the map in `to` or, with `add`, is added to it before the ReLU.
    ///
    /// # Errors
    /// [`KernelError::Unsupported`] for an even side, a stride of 0, a slot without a map or one read and written at once;
    /// [`KernelError::Tensor`] for weights that do not fit.
    pub fn convolve(
        &mut self,
        convolution: Convolution<'_>,
        from: Slot,
        to: Slot,
        add: bool,
    ) -> Result<(), KernelError> {
        let Convolution { weight, bias, side, stride, relu } = convolution;
        let (inputs, outputs) = (self.channels_of(from)?, bias.len());
        if side % 2 == 0 || stride == 0 || outputs == 0 {
            return Err(KernelError::Unsupported(format!(
                "a convolution {side} x {side} to {outputs} channels with a stride of {stride}"
            )));
        }
        let first = self.steps.is_empty();
        self.check_target(from, to, if add { Some(outputs) } else { None })?;
        let expected = outputs * inputs * side * side;
        if weight.len() != expected {
            let name = format!("the weight of convolution {}", self.steps.len());
            return Err(KernelError::Tensor { name, found: weight.len(), expected });
        }
        let shape = Shape { inputs, outputs, side, stride };
        let store = Store { epilogue: [add, relu], pitch: self.pitch(outputs), codes: None };
        let target = Target { slot: to, store };
        let pitch = if first { IMAGE } else { self.pitch(inputs) };
        let winograd = side == 3 && stride == 1 && !first;
        let codes = self.codes.filter(|codes| self.rectified[from.0] && (codes.are_bytes() || !winograd));
        if let Some(codes) = codes {
            self.quantise(from, codes);
        }
        let kernel = match codes {
            None if winograd => Kernel::Winograd(Winograd::pack(self.level, &shape, pitch, weight, bias)),
            None => Kernel::Direct(Direct::pack(self.level, &shape, pitch, first, weight, bias)),
            Some(codes) => Kernel::Direct(Direct::pack_codes(self.level, codes, &shape, pitch, weight, bias)),
        };
        let single = side == 1 && stride == 1 && !first;
        match (self.steps.last_mut(), kernel) {
            (Some(step), Kernel::Direct(direct)) if single && step.takes(from, to) => {
                step.follow(direct, target);
            }
            (_, kernel) => {
                self.steps.push(Step::Convolve { kernel, stride, from, target, following: Vec::new() });
            }
        }
        if first {
            self.padding = side / 2;
            // The image has no padding channels, which other layers rely on.
            self.channels[from.0] = 0;
        }
        (self.channels[to.0], self.rectified[to.0]) = (outputs, relu);
        Ok(())
    }

    /// Appends a maximum pooling of `from` into `to`; an incomplete window is dropped, and padding never wins.
    ///
    /// # Errors
    /// As [`convolve`](Self::convolve); a padding of more than half the side is unsupported, too.
    pub fn max_pool(
        &mut self,
        [side, stride, padding]: [usize; 3],
        from: Slot,
        to: Slot,
    ) -> Result<(), KernelError> {
        if side == 0 || stride == 0 || 2 * padding > side || self.steps.is_empty() {
            return Err(KernelError::Unsupported(format!(
                "a pooling {side} x {side} with a stride of {stride}"
            )));
        }
        let channels = self.channels_of(from)?;
        self.check_target(from, to, None)?;
        (self.channels[to.0], self.rectified[to.0]) = (channels, self.rectified[from.0]);
        let store = Store { epilogue: [false; 2], pitch: self.pitch(channels), codes: None };
        let (pool, target) = (MaxPool { side, stride, padding }, Target { slot: to, store });
        self.steps.push(Step::Pool { pool, from, target });
        Ok(())
    }

    /// Has the network return the map that `from` holds at this point.
    ///
    /// # Errors
    /// [`KernelError::Unsupported`] for a slot without a map.
    pub fn keep(&mut self, from: Slot) -> Result<(), KernelError> {
        let channels = self.channels_of(from)?;
        if self.steps.is_empty() {
            return Err(KernelError::Unsupported("a network without layers".into()));
        }
        self.steps.push(Step::Keep { from, channels });
        Ok(())
    }

    /// Has the step that wrote the map of a slot write its codes, too.
    fn quantise(&mut self, slot: Slot, codes: Codes) {
        let mut targets = self.steps.iter_mut().rev().flat_map(Step::targets);
        if let Some(target) = targets.find(|target| target.slot == slot) {
            target.store.codes = Some(codes);
        }
    }

    fn channels_of(&self, slot: Slot) -> Result<usize, KernelError> {
        match self.channels.get(slot.0) {
            Some(channels) if *channels > 0 => Ok(*channels),
            _ => Err(KernelError::Unsupported(format!("slot {} before it holds a map", slot.0))),
        }
    }

    /// Makes room for `to`. What is added to must have so many channels already.
    fn check_target(&mut self, from: Slot, to: Slot, added: Option<usize>) -> Result<(), KernelError> {
        // A bound keeps a wrong number from filling the memory.
        if from == to || to.0 > 64 {
            return Err(KernelError::Unsupported(format!("a layer from slot {} to {}", from.0, to.0)));
        }
        if to.0 >= self.channels.len() {
            self.channels.resize(to.0 + 1, 0);
            self.rectified.resize(to.0 + 1, false);
        }
        match added {
            Some(channels) if self.channels[to.0] != channels => {
                Err(KernelError::Unsupported(format!("an addition of {channels} channels to slot {}", to.0)))
            }
            _ => Ok(()),
        }
    }

    /// Floats per pixel of so many channels.
    fn pitch(&self, channels: usize) -> usize {
        channels.next_multiple_of(self.level.columns())
    }

    /// Runs one image on the threads of the current rayon pool, and returns the kept maps in their order.
    ///
    /// # Shapes
    /// - image: `[3, height, width]`, normalised
    ///
    /// # Errors
    /// [`KernelError::Input`] for an image of another size, or one that is too small for the network.
    pub fn run(&self, image: &[f32], size: [usize; 2]) -> Result<Vec<FeatureMap>, KernelError> {
        let [height, width] = size;
        if image.is_empty() || image.len() != IMAGE * height * width {
            let found = image.len();
            return Err(KernelError::Input(format!("{found} values are not 3 x {height} x {width} pixels")));
        }
        let mut slots = self.buffers.borrow();
        slots.resize_with(self.channels.len(), Map::default);
        pad_image(image, size, self.padding, &mut slots[0]);
        let mut kept =
            Vec::with_capacity(self.steps.iter().filter(|s| matches!(s, Step::Keep { .. })).count());
        for (index, step) in self.steps.iter().enumerate() {
            match step {
                Step::Convolve { kernel, stride, from, target, following } => {
                    // The image has its padding in its size.
                    let [rows, columns] = if index == 0 { size } else { slots[from.0].size };
                    let out = [rows, columns].map(|length| length.div_ceil(*stride));
                    let mut maps: [Map; 1 + FOLLOWING] = Default::default();
                    let targets = [target].into_iter().chain(following.iter().map(|(_, target)| target));
                    for (map, target) in maps.iter_mut().zip(targets) {
                        *map = std::mem::take(&mut slots[target.slot.0]);
                        let Store { epilogue: [add, _], pitch, .. } = target.store;
                        if add && (map.size, map.pitch) != (out, pitch) {
                            return Err(KernelError::Input("maps of two sizes are added".into()));
                        }
                        map.resize(out, &target.store);
                    }
                    let outputs = maps.each_mut().map(Map::output);
                    self.convolve_maps(kernel, &slots[from.0], out[1], target.store, following, outputs);
                    let targets = [target].into_iter().chain(following.iter().map(|(_, target)| target));
                    for (map, target) in maps.into_iter().zip(targets) {
                        slots[target.slot.0] = map;
                    }
                }
                Step::Pool { pool, from, target } => {
                    let Target { slot, store } = target;
                    let mut map = std::mem::take(&mut slots[slot.0]);
                    let source = slots[from.0].source();
                    let Some(out) = pool.size(source.size) else {
                        return Err(KernelError::Input(format!(
                            "{height} x {width} pixels are too few for the network"
                        )));
                    };
                    map.resize(out, store);
                    pool.run(self.level, source, out[1], *store, map.output());
                    slots[slot.0] = map;
                }
                Step::Keep { from, channels } => kept.push(unpad(&slots[from.0], *channels)),
            }
        }
        Ok(kept)
    }

    /// A convolution and what follows it, into maps of the right sizes.
    fn convolve_maps(
        &self,
        kernel: &Kernel,
        from: &Map,
        width: usize,
        store: Store,
        following: &[(Direct, Target)],
        outputs: Outputs<'_>,
    ) {
        let run = |following: &[Follow<'_>], outputs| match kernel {
            Kernel::Direct(direct) => {
                let source = if direct.is_coded() { from.codes() } else { from.source() };
                direct.run(self.level, (source, width), store, following, outputs, &self.lines);
            }
            Kernel::Winograd(winograd) => {
                winograd.run(self.level, from.source(), store, following, outputs, &self.tiles);
            }
        };
        match following {
            [] => run(&[], outputs),
            [a] => run(&[Follow::of(a)], outputs),
            [a, b, ..] => run(&[Follow::of(a), Follow::of(b)], outputs),
        }
    }
}

/// The image pixel after pixel, within a border of zeros.
fn pad_image(image: &[f32], [height, width]: [usize; 2], padding: usize, map: &mut Map) {
    let [down, across] = [height, width].map(|side| side + 2 * padding);
    map.resize_for_image([down, across]);
    map.values[..down * across * IMAGE].par_chunks_mut(across * IMAGE).enumerate().for_each(|(y, row)| {
        let Some(y) = y.checked_sub(padding).filter(|y| *y < height) else {
            row.fill(0.0);
            return;
        };
        let (left, rest) = row.split_at_mut(padding * IMAGE);
        let (pixels, right) = rest.split_at_mut(width * IMAGE);
        left.fill(0.0);
        right.fill(0.0);
        let [red, green, blue] =
            std::array::from_fn(|channel| &image[(channel * height + y) * width..][..width]);
        for (x, pixel) in pixels.as_chunks_mut::<IMAGE>().0.iter_mut().enumerate() {
            *pixel = [red[x], green[x], blue[x]];
        }
    });
}

/// A map without the padding of its channels.
fn unpad(map: &Map, channels: usize) -> FeatureMap {
    let [rows, columns] = map.size;
    let mut values = Vec::with_capacity(rows * columns * channels);
    for pixel in map.values.chunks_exact(map.pitch) {
        values.extend_from_slice(&pixel[..channels]);
    }
    FeatureMap { values, rows, columns, channels }
}
