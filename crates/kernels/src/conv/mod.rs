//! Convolutional networks for one image: a list of convolutions, additions and maximum poolings over a few maps.
//!
//! A map is stored pixel after pixel with its channels as neighbours, padded with zero channels to a multiple of NR. 1x1
//! convolutions, those of stride 2 and the first one, which reads the image, are packed products ([`direct`]); 3x3
//! convolutions of stride 1 are computed by Winograd's algorithm ([`winograd`]). Bias, addition and ReLU happen while the sums
//! are in registers.

mod direct;
mod gemm;
mod pool;
#[cfg(test)]
mod tests;
mod winograd;

use crate::buffer::Floats;
use crate::pool::Pool;
use crate::{KernelError, Level};
use direct::{Direct, Source};
use pool::MaxPool;
use rayon::prelude::*;
use winograd::Winograd;

/// Channels of an image.
const IMAGE: usize = 3;

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
    steps: Vec<Step>,
    /// Channels of each slot after the steps so far; 0 where there is no map.
    channels: Vec<usize>,
    /// Padding of the image: that of the first convolution.
    padding: usize,
    buffers: Pool<Vec<Map>>,
    lines: Pool<Floats>,
    tiles: Pool<winograd::Scratch>,
}

#[derive(Debug, Clone)]
enum Step {
    Convolve { kernel: Kernel, shape: Shape, from: Slot, to: Slot, add: bool, relu: bool },
    Pool { pool: MaxPool, from: Slot, to: Slot },
    Keep { from: Slot, channels: usize },
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
}

impl Map {
    fn source(&self) -> Source<'_> {
        Source { values: &self.values, size: self.size, pitch: self.pitch }
    }

    fn resize(&mut self, size: [usize; 2], pitch: usize) {
        (self.size, self.pitch) = (size, pitch);
        self.values.resize(size[0] * size[1] * pitch);
    }
}

impl ConvNet {
    /// A network without layers, for images of three channels.
    pub fn new(level: Level) -> Self {
        Self {
            level,
            steps: Vec::new(),
            channels: vec![IMAGE],
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
        let pitch = if first { IMAGE } else { self.pitch(inputs) };
        let kernel = if side == 3 && stride == 1 && !first {
            Kernel::Winograd(Winograd::pack(self.level, &shape, pitch, weight, bias))
        } else {
            Kernel::Direct(Direct::pack(self.level, &shape, pitch, first, weight, bias))
        };
        if first {
            self.padding = side / 2;
            // The image has no padding channels, which other layers rely on.
            self.channels[from.0] = 0;
        }
        self.channels[to.0] = outputs;
        self.steps.push(Step::Convolve { kernel, shape, from, to, add, relu });
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
        self.channels[to.0] = channels;
        self.steps.push(Step::Pool { pool: MaxPool { side, stride, padding }, from, to });
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
                Step::Convolve { kernel, shape, from, to, add, relu } => {
                    let mut target = std::mem::take(&mut slots[to.0]);
                    let source = slots[from.0].source();
                    // The image has its padding in its size.
                    let [rows, columns] = if index == 0 { size } else { source.size };
                    let out = [rows, columns].map(|length| length.div_ceil(shape.stride));
                    let pitch = self.pitch(shape.outputs);
                    if *add && (target.size, target.pitch) != (out, pitch) {
                        return Err(KernelError::Input("maps of two sizes are added".into()));
                    }
                    target.resize(out, pitch);
                    match kernel {
                        Kernel::Direct(direct) => direct.run(
                            self.level,
                            source,
                            out[1],
                            [*add, *relu],
                            &mut target.values,
                            &self.lines,
                        ),
                        Kernel::Winograd(winograd) => {
                            winograd.run(self.level, source, [*add, *relu], &mut target.values, &self.tiles);
                        }
                    }
                    slots[to.0] = target;
                }
                Step::Pool { pool, from, to } => {
                    let mut target = std::mem::take(&mut slots[to.0]);
                    let source = slots[from.0].source();
                    let Some(out) = pool.size(source.size) else {
                        return Err(KernelError::Input(format!(
                            "{height} x {width} pixels are too few for the network"
                        )));
                    };
                    target.resize(out, source.pitch);
                    pool.run(self.level, source, out[1], &mut target.values);
                    slots[to.0] = target;
                }
                Step::Keep { from, channels } => kept.push(unpad(&slots[from.0], *channels)),
            }
        }
        Ok(kept)
    }
}

/// The image pixel after pixel, within a border of zeros.
fn pad_image(image: &[f32], [height, width]: [usize; 2], padding: usize, map: &mut Map) {
    let [down, across] = [height, width].map(|side| side + 2 * padding);
    map.resize([down, across], IMAGE);
    map.values.par_chunks_mut(across * IMAGE).enumerate().for_each(|(y, row)| {
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
