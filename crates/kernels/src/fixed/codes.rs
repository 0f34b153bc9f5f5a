//! Vectors of 16-bit codes, and which instructions a CPU has for them.

use super::avx2::Avx2;
use super::avx512::Avx512;
use crate::Level;
use pulp::Simd;

/// Floats of a vector.
pub(crate) type F32s<C> = <<C as Codes>::Simd as Simd>::f32s;

/// 32-bit integers of a vector, or two codes in each.
pub(crate) type I32s<C> = <<C as Codes>::Simd as Simd>::i32s;

/// Operations on codes, two in an element of 32 bits, beside pulp's on floats. Every implementation gives the same bits.
pub(crate) trait Codes: Copy {
    /// The vectors of floats.
    type Simd: Simd;
    /// How far codes are split by [`split`](Self::split).
    type Point: Copy;

    fn simd(self) -> Self::Simd;

    /// The nearest integers, of two the even one.
    fn round(self, x: F32s<Self>) -> I32s<Self>;

    /// Integers of 32 bits as floats.
    fn floats(self, x: I32s<Self>) -> F32s<Self>;

    /// A code in all halves.
    fn splat(self, code: u16) -> I32s<Self>;

    /// Adds the products of both halves of elements.
    fn add_products(self, sums: I32s<Self>, a: I32s<Self>, b: I32s<Self>) -> I32s<Self>;

    /// The lower halves of the elements of two vectors as the lower and the upper halves of one.
    fn pair_lower(self, low: I32s<Self>, high: I32s<Self>) -> I32s<Self>;

    /// The upper halves, likewise.
    fn pair_upper(self, low: I32s<Self>, high: I32s<Self>) -> I32s<Self>;

    /// Integers of 16 bits of one vector, then those of another, as codes.
    fn narrow(self, first: I32s<Self>, second: I32s<Self>) -> I32s<Self>;

    /// The upper halves as integers of 32 bits.
    fn upper(self, x: I32s<Self>) -> I32s<Self>;

    /// Both halves exchanged.
    fn swap(self, x: I32s<Self>) -> I32s<Self>;

    fn min(self, a: I32s<Self>, b: I32s<Self>) -> I32s<Self>;

    fn sub(self, a: I32s<Self>, b: I32s<Self>) -> I32s<Self>;

    /// The upper halves of the products of unsigned codes.
    fn multiply_upper(self, a: I32s<Self>, b: I32s<Self>) -> I32s<Self>;

    /// For numbers with so many fractional bits, 1 to 15, in both halves of an element.
    fn point(self, bits: I32s<Self>) -> Self::Point;

    /// The fractions of unsigned numbers, from the top of 16 bits on, and their integer parts.
    fn split(self, x: I32s<Self>, point: Self::Point) -> [I32s<Self>; 2];

    /// Unsigned codes shifted to the right, to zero by 16 and more.
    fn shift(self, x: I32s<Self>, by: I32s<Self>) -> I32s<Self>;

    /// Half of unsigned codes, rounded up.
    fn halve(self, x: I32s<Self>) -> I32s<Self>;
}

/// What runs with any [`Codes`].
pub(crate) trait WithCodes {
    type Output;

    fn with_codes<C: Codes>(self, codes: C) -> Self::Output;
}

/// Proof that the CPU has instructions for codes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Instructions {
    /// AVX-512 F, BW and VNNI. Without VNNI 512-bit vectors are hardly faster than in f32: a product and a sum then take the
    /// place of a multiply-add of two.
    Avx512(Avx512),
    /// AVX2 and AVX-VNNI.
    AvxVnni(Avx2<true>),
    /// AVX2.
    Avx2(Avx2<false>),
}

impl Instructions {
    /// The best ones of a level.
    pub(crate) fn of(level: Level) -> Option<Self> {
        Self::available(level).next()
    }

    /// Those of a level, the best ones first.
    pub(crate) fn available(level: Level) -> impl Iterator<Item = Self> {
        let (wide, narrow) = (level == Level::Avx512, level == Level::Avx2);
        let all = [
            Avx512::find().filter(|_| wide).map(Self::Avx512),
            Avx2::find().filter(|_| narrow).map(Self::AvxVnni),
            Avx2::find().filter(|_| narrow).map(Self::Avx2),
        ];
        all.into_iter().flatten()
    }

    /// Whether they have 32 registers.
    pub(crate) fn is_wide(self) -> bool {
        matches!(self, Self::Avx512(_))
    }

    /// Runs `op` with these instructions.
    #[inline(always)]
    pub(crate) fn run<Op: WithCodes>(self, op: Op) -> Op::Output {
        // SAFETY: `find` has found all features that the functions enable.
        #[allow(unsafe_code, reason = "instructions that pulp's levels do not have")]
        unsafe {
            match self {
                Self::Avx512(codes) => with_avx512(codes, op),
                Self::AvxVnni(codes) => with_avx_vnni(codes, op),
                Self::Avx2(codes) => with_avx2(codes, op),
            }
        }
    }
}

#[target_feature(enable = "fma,avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni")]
fn with_avx512<Op: WithCodes>(codes: Avx512, op: Op) -> Op::Output {
    op.with_codes(codes)
}

#[target_feature(enable = "avx2,fma,avxvnni")]
fn with_avx_vnni<Op: WithCodes>(codes: Avx2<true>, op: Op) -> Op::Output {
    op.with_codes(codes)
}

#[target_feature(enable = "avx2,fma")]
fn with_avx2<Op: WithCodes>(codes: Avx2<false>, op: Op) -> Op::Output {
    op.with_codes(codes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::{Floats, vectors, vectors_mut};
    use proptest::prelude::*;

    /// The result of an operation of two vectors, and of a third one.
    struct Apply<'a>([&'a [f32]; 3], usize, &'a mut [f32]);

    impl WithCodes for Apply<'_> {
        type Output = ();

        #[inline(always)]
        fn with_codes<C: Codes>(self, codes: C) {
            let simd = codes.simd();
            let [a, b, c] = self.0.map(|x| simd.transmute_i32s_f32s(vectors::<C::Simd>(x)[0]));
            let found = match self.1 {
                0 => codes.add_products(c, a, b),
                1 => codes.pair_lower(a, b),
                2 => codes.pair_upper(a, b),
                3 => codes.narrow(a, b),
                4 => codes.upper(a),
                5 => codes.swap(a),
                6 => codes.min(a, b),
                7 => codes.sub(a, b),
                8 => codes.multiply_upper(a, b),
                9 => codes.split(a, codes.point(b))[0],
                10 => codes.split(a, codes.point(b))[1],
                11 => codes.shift(a, b),
                12 => codes.halve(a),
                13 => codes.round(simd.transmute_f32s_i32s(a)),
                14 => simd.transmute_i32s_f32s(codes.floats(a)),
                _ => codes.splat(0xabcd),
            };
            vectors_mut::<C::Simd>(self.2)[0] = simd.transmute_f32s_i32s(found);
        }
    }

    /// The same, one element after the other.
    fn plain([a, b, c]: [&[u32]; 3], operation: usize) -> Vec<u32> {
        let halves = |x: u32| [x as u16, (x >> 16) as u16];
        let join = |[low, high]: [u16; 2]| u32::from(low) | u32::from(high) << 16;
        let each = |of: &dyn Fn(u16, u16) -> u16, a: u32, b: u32| {
            join([0, 1].map(|i| of(halves(a)[i], halves(b)[i])))
        };
        let signed = |x: u16| i32::from(x.cast_signed());
        if operation == 3 {
            let all: Vec<u16> = a.iter().chain(b).map(|x| *x as u16).collect();
            return all.as_chunks::<2>().0.iter().map(|pair| join(*pair)).collect();
        }
        let elements = a.iter().zip(b).zip(c);
        let of = |((a, b), c): ((&u32, &u32), &u32)| {
            let (a, b) = (*a, *b);
            let float = f32::from_bits(a);
            match operation {
                0 => {
                    let products = [0, 1].map(|i| signed(halves(a)[i]) * signed(halves(b)[i]));
                    let sum = c.cast_signed().wrapping_add(products[0]).wrapping_add(products[1]);
                    sum.cast_unsigned()
                }
                1 => join([halves(a)[0], halves(b)[0]]),
                2 => join([halves(a)[1], halves(b)[1]]),
                4 => signed(halves(a)[1]).cast_unsigned(),
                5 => a.rotate_left(16),
                6 => each(&|a, b| a.cast_signed().min(b.cast_signed()).cast_unsigned(), a, b),
                7 => each(&u16::wrapping_sub, a, b),
                8 => each(&|a, b| ((u32::from(a) * u32::from(b)) >> 16) as u16, a, b),
                9 => each(&|a, b| a << (16 - b), a, b),
                10 => each(&|a, b| a >> b, a, b),
                11 => each(&|a, b| a.checked_shr(b.into()).unwrap_or(0), a, b),
                12 => each(&|a, _| a.div_ceil(2), a, b),
                // Where there is no such integer, all bits but the first are zero.
                13 if float.abs() < 2_147_483_648.0 => (float.round_ties_even() as i32).cast_unsigned(),
                13 => 1 << 31,
                14 => (a.cast_signed() as f32).to_bits(),
                _ => 0xabcd_abcd,
            }
        };
        elements.map(of).collect()
    }

    /// Random numbers as an operation takes them.
    fn arguments(a: &[u32], b: &[u32], operation: usize) -> [Vec<u32>; 2] {
        let map = |x: &[u32], of: fn(u32) -> u32| x.iter().map(|x| of(*x)).collect();
        let halves = |x: &[u32], of: fn(u32) -> u32| -> Vec<u32> {
            x.iter().map(|x| of(x & 0xffff) | (of(x >> 16) << 16)).collect()
        };
        let small = |x: u32| (x.cast_signed() % 2048).cast_unsigned();
        match operation {
            // The sum of both products is to have 32 bits.
            0 => [halves(a, |x| if x == 0x8000 { 0 } else { x }), b.to_vec()],
            3 => [map(a, small), map(b, small)],
            9 | 10 => [a.to_vec(), map(b, |x| (x % 15 + 1) * 0x1_0001)],
            // Half of them by few bits.
            11 => [a.to_vec(), halves(b, |x| if x % 2 == 0 { x % 24 } else { x })],
            _ => [a.to_vec(), b.to_vec()],
        }
    }

    proptest! {
        #[test]
        fn operations_equal_plain_ones(
            a in prop::collection::vec(any::<u32>(), 16),
            b in prop::collection::vec(any::<u32>(), 16),
            c in prop::collection::vec(any::<u32>(), 16),
        ) {
            for level in Level::available() {
                for instructions in Instructions::available(level) {
                    for operation in 0..16 {
                        let lanes = level.lanes();
                        let [a, b] = arguments(&a, &b, operation);
                        let input = [&a, &b, &c].map(|x| {
                            let mut floats = Floats::zeros(lanes);
                            floats.iter_mut().zip(x).for_each(|(to, from)| *to = f32::from_bits(*from));
                            floats
                        });
                        let mut out = Floats::zeros(lanes);
                        instructions.run(Apply(input.each_ref().map(|x| &**x), operation, &mut out));
                        let found: Vec<u32> = out.iter().map(|v| v.to_bits()).collect();
                        let expected = plain([&a[..lanes], &b[..lanes], &c[..lanes]], operation);
                        prop_assert_eq!(found, expected, "{:?}, operation {}", instructions, operation);
                    }
                }
            }
        }
    }
}
