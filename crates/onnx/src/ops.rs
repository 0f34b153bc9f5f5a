//! Operations of opset 17 with the arguments that models use.

use crate::backbone::Grid;
use crate::graph::{Graph, Value, int, ints};
use crate::sizes::{Number, REST, SAME, Size};

impl Graph<'_> {
    fn binary(&mut self, op: &str, a: &Value, b: &Value) -> Value {
        self.node(op, &[a, b], Vec::new())
    }

    fn unary(&mut self, op: &str, x: &Value) -> Value {
        self.node(op, &[x], Vec::new())
    }

    pub(crate) fn add(&mut self, a: &Value, b: &Value) -> Value {
        self.binary("Add", a, b)
    }

    pub(crate) fn sub(&mut self, a: &Value, b: &Value) -> Value {
        self.binary("Sub", a, b)
    }

    pub(crate) fn mul(&mut self, a: &Value, b: &Value) -> Value {
        self.binary("Mul", a, b)
    }

    pub(crate) fn div(&mut self, a: &Value, b: &Value) -> Value {
        self.binary("Div", a, b)
    }

    /// The product over the last two axes; the others broadcast.
    pub(crate) fn matmul(&mut self, a: &Value, b: &Value) -> Value {
        self.binary("MatMul", a, b)
    }

    pub(crate) fn with_number(&mut self, op: &str, x: &Value, number: impl Into<Number>) -> Value {
        let number = self.number_value(&number.into());
        self.binary(op, x, &number)
    }

    pub(crate) fn scale(&mut self, x: &Value, by: impl Into<Number>) -> Value {
        self.with_number("Mul", x, by)
    }

    pub(crate) fn relu(&mut self, x: &Value) -> Value {
        self.unary("Relu", x)
    }

    pub(crate) fn exp(&mut self, x: &Value) -> Value {
        self.unary("Exp", x)
    }

    pub(crate) fn neg(&mut self, x: &Value) -> Value {
        self.unary("Neg", x)
    }

    pub(crate) fn sigmoid(&mut self, x: &Value) -> Value {
        self.unary("Sigmoid", x)
    }

    pub(crate) fn sin(&mut self, x: &Value) -> Value {
        self.unary("Sin", x)
    }

    pub(crate) fn cos(&mut self, x: &Value) -> Value {
        self.unary("Cos", x)
    }

    /// The exact GELU, by the error function: opset 17 has none of its own.
    pub(crate) fn gelu(&mut self, x: &Value) -> Value {
        let scaled = self.with_number("Div", x, std::f64::consts::SQRT_2);
        let error = self.unary("Erf", &scaled);
        let share = self.with_number("Add", &error, 1.0);
        let product = self.mul(x, &share);
        self.scale(&product, 0.5)
    }

    /// `x * sigmoid(x)`.
    pub(crate) fn silu(&mut self, x: &Value) -> Value {
        let share = self.sigmoid(x);
        self.mul(x, &share)
    }

    /// Over the last axis.
    pub(crate) fn softmax(&mut self, x: &Value) -> Value {
        self.node("Softmax", &[x], vec![int("axis", -1)])
    }

    pub(crate) fn clamp_min(&mut self, x: &Value, least: f32) -> Value {
        let least = self.floats(&[], &[least]);
        self.node("Clip", &[x, &least], Vec::new())
    }

    pub(crate) fn clamp(&mut self, x: &Value, [least, most]: [f32; 2]) -> Value {
        let (least, most) = (self.floats(&[], &[least]), self.floats(&[], &[most]));
        self.node("Clip", &[x, &least, &most], Vec::new())
    }

    pub(crate) fn pow(&mut self, x: &Value, power: &Value) -> Value {
        self.binary("Pow", x, power)
    }

    pub(crate) fn cast(&mut self, x: &Value, to: i32) -> Value {
        self.node("Cast", &[x], vec![int("to", to.into())])
    }

    pub(crate) fn transpose(&mut self, x: &Value, axes: &[i64]) -> Value {
        self.node("Transpose", &[x], vec![ints("perm", axes)])
    }

    pub(crate) fn reshape(&mut self, x: &Value, sizes: &[Size]) -> Value {
        let shape = self.shape(sizes);
        self.binary("Reshape", x, &shape)
    }

    /// Repeats along axes of size 1.
    pub(crate) fn expand(&mut self, x: &Value, sizes: &[Size]) -> Value {
        let shape = self.shape(sizes);
        self.binary("Expand", x, &shape)
    }

    pub(crate) fn concat(&mut self, parts: &[&Value], axis: i64) -> Value {
        self.node("Concat", parts, vec![int("axis", axis)])
    }

    pub(crate) fn split<const N: usize>(&mut self, x: &Value, sizes: [usize; N], axis: i64) -> [Value; N] {
        let sizes = self.ints(&sizes.map(|size| size as i64));
        self.node_of("Split", &[x, &sizes], vec![int("axis", axis)])
    }

    /// From `first` up to `end`, or to the end.
    pub(crate) fn slice(&mut self, x: &Value, axis: i64, first: usize, end: Option<usize>) -> Value {
        let end = end.map_or(i64::MAX, |end| end as i64);
        let (first, end, axis) = (self.ints(&[first as i64]), self.ints(&[end]), self.ints(&[axis]));
        self.node("Slice", &[x, &first, &end, &axis], Vec::new())
    }

    /// All rows along the second axis but the last `count`.
    pub(crate) fn without_last(&mut self, x: &Value, count: usize) -> Value {
        let end = if count == 0 { i64::MAX } else { -(count as i64) };
        let (first, end, axis) = (self.ints(&[0]), self.ints(&[end]), self.ints(&[1]));
        self.node("Slice", &[x, &first, &end, &axis], Vec::new())
    }

    pub(crate) fn unsqueeze(&mut self, x: &Value, axis: i64) -> Value {
        let axes = self.ints(&[axis]);
        self.binary("Unsqueeze", x, &axes)
    }

    pub(crate) fn squeeze(&mut self, x: &Value, axis: i64) -> Value {
        let axes = self.ints(&[axis]);
        self.binary("Squeeze", x, &axes)
    }

    pub(crate) fn sum(&mut self, x: &Value, axes: &[i64], keep: bool) -> Value {
        let axes = self.ints(axes);
        self.node("ReduceSum", &[x, &axes], vec![int("keepdims", keep.into())])
    }

    pub(crate) fn mean(&mut self, x: &Value, axis: i64, keep: bool) -> Value {
        self.node("ReduceMean", &[x], vec![ints("axes", &[axis]), int("keepdims", keep.into())])
    }

    pub(crate) fn max(&mut self, x: &Value, axis: i64) -> Value {
        self.node("ReduceMax", &[x], vec![ints("axes", &[axis]), int("keepdims", 1)])
    }

    /// The length along the last axis, which stays with size 1.
    pub(crate) fn length(&mut self, x: &Value) -> Value {
        self.node("ReduceL2", &[x], vec![ints("axes", &[-1]), int("keepdims", 1)])
    }

    /// The last axis divided by its length, of at least 1e-12.
    pub(crate) fn unit(&mut self, x: &Value) -> Value {
        let length = self.length(x);
        let length = self.clamp_min(&length, 1e-12);
        self.div(x, &length)
    }

    /// The largest values of the last axis in descending order, and their places.
    pub(crate) fn topk(&mut self, x: &Value, count: &Size) -> [Value; 2] {
        let count = self.size_value(count);
        self.node_of("TopK", &[x, &count], vec![int("axis", -1), int("largest", 1), int("sorted", 1)])
    }

    /// Rows of `[batch, rows, width]` by their numbers `[batch, count]`.
    pub(crate) fn rows(&mut self, x: &Value, numbers: &Value) -> Value {
        let numbers = self.unsqueeze(numbers, -1);
        self.node("GatherND", &[x, &numbers], vec![int("batch_dims", 1)])
    }

    /// 1 where `x` is greater than a number, else 0.
    pub(crate) fn above(&mut self, x: &Value, least: f64) -> Value {
        let above = self.with_number("Greater", x, least);
        self.cast(&above, crate::proto::FLOAT)
    }

    /// `[batch, channels, rows, columns]` as `[batch, rows * columns, channels]`.
    pub(crate) fn as_tokens(&mut self, map: &Value) -> Value {
        let flat = self.reshape(map, &[SAME, SAME, REST]);
        self.transpose(&flat, &[0, 2, 1])
    }

    /// `[batch, rows * columns, channels]` as `[batch, channels, rows, columns]`.
    pub(crate) fn as_map(&mut self, patches: &Value, grid: &Grid) -> Value {
        let flat = self.transpose(patches, &[0, 2, 1]);
        self.reshape(&flat, &[SAME, SAME, grid.rows.clone(), grid.columns.clone()])
    }

    /// The tokens after so many.
    pub(crate) fn after(&mut self, tokens: &Value, prefix: usize) -> Value {
        match prefix {
            0 => tokens.clone(),
            prefix => self.slice(tokens, 1, prefix, None),
        }
    }
}
