//! Matrix products of strided views, by the `gemm` crate.

use gemm::Parallelism;

/// A strided matrix in a slice.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    /// Row stride, column stride.
    strides: [usize; 2],
}

impl<'a> View<'a> {
    /// Contiguous rows.
    pub(super) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self { data, rows, columns, strides: [columns, 1] }
    }

    /// Rows `stride` values apart.
    pub(super) fn strided(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        Self { data, rows, columns, strides: [stride, 1] }
    }

    /// The transpose.
    pub(super) fn transposed(self) -> Self {
        Self { rows: self.columns, columns: self.rows, strides: [self.strides[1], self.strides[0]], ..self }
    }
}

/// Values between the first and the last element, both included.
fn span(rows: usize, columns: usize, strides: [usize; 2]) -> usize {
    if rows * columns == 0 { 0 } else { (rows - 1) * strides[0] + (columns - 1) * strides[1] + 1 }
}

/// What happens to the previous output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Update {
    Overwrite,
    Accumulate,
}

/// `out = scale * a b` or `out += scale * a b`; rows of `out` are `stride` values apart.
///
/// # Panics
/// If the sizes do not match, which is a bug of the caller in this module.
pub(super) fn product(out: &mut [f32], stride: usize, update: Update, scale: f32, a: View, b: View) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    assert!(k == b.rows && stride >= n, "sizes of a product");
    assert!(out.len() >= span(m, n, [stride, 1]), "output of a product");
    assert!(a.data.len() >= span(m, k, a.strides) && b.data.len() >= span(k, n, b.strides), "inputs");
    let accumulate = update == Update::Accumulate;
    // SAFETY: `gemm` accesses element (i, j) of each matrix at `i * row stride + j * column stride`, and the spans asserted
    // above bound these offsets by the slices' lengths. Rows of the output do not overlap (`stride >= n`), and the
    // exclusive borrow of `out` excludes aliasing with the inputs.
    #[allow(unsafe_code, reason = "`gemm` takes raw pointers")]
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.strides[1] as isize,
            a.strides[0] as isize,
            b.data.as_ptr(),
            b.strides[1] as isize,
            b.strides[0] as isize,
            1.0,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
