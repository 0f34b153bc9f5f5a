//! Matrix products of views with any strides.

use gemm::Parallelism;

/// A matrix in a slice.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    /// From one row to the next, from one column to the next.
    strides: [usize; 2],
}

impl<'a> View<'a> {
    /// Rows one after the other.
    pub(super) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self { data, rows, columns, strides: [columns, 1] }
    }

    /// Rows that begin `stride` apart.
    pub(super) fn strided(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        Self { data, rows, columns, strides: [stride, 1] }
    }

    /// Rows for columns.
    pub(super) fn turned(self) -> Self {
        Self { rows: self.columns, columns: self.rows, strides: [self.strides[1], self.strides[0]], ..self }
    }
}

/// Values that a matrix spans.
fn span(rows: usize, columns: usize, strides: [usize; 2]) -> usize {
    if rows * columns == 0 { 0 } else { (rows - 1) * strides[0] + (columns - 1) * strides[1] + 1 }
}

/// What becomes of the values that are there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum There {
    Replaced,
    Added,
}

/// `out = scale * a b`, or added to what is there; rows of `out` begin `stride` apart.
///
/// # Panics
/// When the sizes do not belong together: a mistake of this module's callers.
pub(super) fn product(out: &mut [f32], stride: usize, there: There, scale: f32, a: View, b: View) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    assert!(k == b.rows && stride >= n, "sizes of a product");
    assert!(out.len() >= span(m, n, [stride, 1]), "output of a product");
    assert!(a.data.len() >= span(m, k, a.strides) && b.data.len() >= span(k, n, b.strides), "inputs");
    let add = there == There::Added;
    // SAFETY: the spans of all three matrices lie within their slices (checked above), the output's rows do not
    // overlap (`stride >= n`), and the exclusive borrow of `out` keeps it apart from the inputs.
    #[allow(unsafe_code, reason = "the product library takes pointers")]
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride as isize,
            add,
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
