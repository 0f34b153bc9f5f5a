use super::*;
use crate::Level;
use proptest::prelude::*;

const DIM: usize = 2 * SIZE;

/// All instructions of this machine, and the tokens of a panel.
fn machines() -> impl Iterator<Item = (Instructions, usize)> {
    let of = |level: Level| Instructions::available(level).map(move |all| (all, level.columns()));
    Level::available().flat_map(of)
}

/// Tokens `[count, rows]` as panels `[rows, NR]`; what is no token is NaN.
fn panels(tokens: &[f32], rows: usize, columns: usize) -> Floats {
    let count = tokens.len() / rows;
    let mut panels = Floats::zeros(count.div_ceil(columns) * rows * columns);
    panels.fill(f32::NAN);
    for (t, token) in tokens.chunks_exact(rows).enumerate() {
        for (row, value) in token.iter().enumerate() {
            panels[(t / columns * rows + row) * columns + t % columns] = *value;
        }
    }
    panels
}

/// The bits of the contexts `[count, DIM]` of queries `[count, DIM]`, with keys and values `[count, 2 * DIM]`; `None` where
/// they are left to f32.
fn contexts(machine: Instructions, columns: usize, queries: &[f32], kv: &[f32]) -> Option<Vec<u32>> {
    let count = queries.len() / DIM;
    let (queries, kv) = (panels(queries, DIM, columns), panels(kv, 2 * DIM, columns));
    let mut fixed = Fixed::default();
    if !fixed.fill(machine, &queries, &kv, DIM, count) {
        return None;
    }
    let (mut out, mut context) = (vec![0; count * DIM], Floats::zeros(SIZE * columns));
    for (part, queries) in queries.chunks_exact(SIZE * columns).enumerate() {
        let (panel, head) = (part / 2, part % 2);
        fixed.attend(machine, head, queries, &mut context);
        for c in 0..columns.min(count - panel * columns) {
            for h in 0..SIZE {
                out[(panel * columns + c) * DIM + head * SIZE + h] = context[h * columns + c].to_bits();
            }
        }
    }
    Some(out)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn all_instructions_give_the_same_bits(
        count in prop::sample::select(vec![1usize, 2, 15, 16, 17, 31, 33, 48, 64, 95, 127, 128, 129, 150]),
        // Scores up to 0, 5, 20 and 60, and so large that they are left to f32.
        scale in prop::sample::select(vec![0.0f32, 1e-20, 1.0, 2.0, 3.4, 20.0]),
        spread in prop::sample::select(vec![1.0f32, 1e-8, 1e8]),
        seed in prop::collection::vec(-1.0f32..1.0, 150 * 3 * DIM),
    ) {
        let queries: Vec<f32> = seed[..count * DIM].iter().map(|v| v * scale * spread).collect();
        let mut kv = seed[150 * DIM..][..count * 2 * DIM].to_vec();
        for token in kv.chunks_exact_mut(2 * DIM) {
            token[..DIM].iter_mut().for_each(|v| *v *= scale / spread);
        }
        let all: Vec<_> = machines().map(|(own, columns)| (own, contexts(own, columns, &queries, &kv))).collect();
        for (machine, found) in &all {
            prop_assert_eq!(found, &all[0].1, "{:?} and {:?}", machine, all[0].0);
        }
    }
}

/// [`weights`] of numbers with so many fractional bits.
struct Exponentials<'a>(&'a mut [f32], u16);

impl WithCodes for Exponentials<'_> {
    type Output = ();

    #[inline(always)]
    fn with_codes<C: Codes>(self, codes: C) {
        let simd = codes.simd();
        let point = codes.point(codes.splat(self.1));
        for x in vectors_mut::<C::Simd>(self.0) {
            *x = simd.transmute_f32s_i32s(weights(codes, simd.transmute_i32s_f32s(*x), point));
        }
    }
}

#[test]
fn exponentials_are_within_their_error() {
    for (machine, _) in machines() {
        for bits in 1..=15u16 {
            let mut all = Floats::zeros(1 << 15);
            let codes = |x: f32| [x.to_bits() & 0xffff, x.to_bits() >> 16];
            for (i, x) in all.iter_mut().enumerate() {
                *x = f32::from_bits(((2 * i) | ((2 * i + 1) << 16)) as u32);
            }
            machine.run(Exponentials(&mut all, bits));
            for (x, weight) in all.iter().flat_map(|pair| codes(*pair)).enumerate() {
                let exact = 32_767.5 * (-(x as f64) / f64::from(1u32 << bits)).exp2();
                // And rounded to a unit.
                let near = 1.3e-4 * exact + 0.51;
                assert!(
                    (f64::from(weight) - exact).abs() < near,
                    "{machine:?} {bits} {x}: {weight}, not {exact}"
                );
            }
        }
    }
}
