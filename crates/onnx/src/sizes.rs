//! Sizes that are known at export, or computed by the graph from its input. What is known is computed here, so that a graph for one
//! image size has constants where others compute.

use crate::graph::{Graph, Value, int};

/// A size.
#[derive(Debug, Clone)]
pub(crate) enum Size {
    Known(i64),
    /// An int64 tensor of one value.
    Computed(Value),
}

/// A number that follows from sizes.
#[derive(Debug, Clone)]
pub(crate) enum Number {
    Known(f64),
    /// A float tensor of one value.
    Computed(Value),
}

impl From<usize> for Size {
    fn from(size: usize) -> Self {
        Self::Known(size as i64)
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Known(value)
    }
}

/// A size in a `Reshape` that stays as it is.
pub(crate) const SAME: Size = Size::Known(0);
/// The size in a `Reshape` that follows from the others.
pub(crate) const REST: Size = Size::Known(-1);

impl Graph<'_> {
    /// The size of a tensor along an axis.
    pub(crate) fn size_of(&mut self, x: &Value, axis: i64) -> Size {
        Size::Computed(self.node("Shape", &[x], vec![int("start", axis), int("end", axis + 1)]))
    }

    pub(crate) fn size_value(&mut self, size: &Size) -> Value {
        match size {
            Size::Known(size) => self.ints(&[*size]),
            Size::Computed(value) => value.clone(),
        }
    }

    /// A shape, for `Reshape` and `Expand`.
    pub(crate) fn shape(&mut self, sizes: &[Size]) -> Value {
        let known: Option<Vec<i64>> = sizes
            .iter()
            .map(|size| match size {
                Size::Known(size) => Some(*size),
                Size::Computed(_) => None,
            })
            .collect();
        if let Some(known) = known {
            return self.ints(&known);
        }
        let parts: Vec<Value> = sizes.iter().map(|size| self.size_value(size)).collect();
        let parts: Vec<&Value> = parts.iter().collect();
        self.node("Concat", &parts, vec![int("axis", 0)])
    }

    fn size_op(&mut self, op: &str, apply: fn(i64, i64) -> i64, a: &Size, b: &Size) -> Size {
        if let (Size::Known(a), Size::Known(b)) = (a, b) {
            return Size::Known(apply(*a, *b));
        }
        let (a, b) = (self.size_value(a), self.size_value(b));
        Size::Computed(self.node(op, &[&a, &b], Vec::new()))
    }

    /// The quotient, rounded down.
    pub(crate) fn size_div(&mut self, a: &Size, b: usize) -> Size {
        self.size_op("Div", |a, b| a / b.max(1), a, &b.into())
    }

    pub(crate) fn size_mul(&mut self, a: &Size, b: &Size) -> Size {
        self.size_op("Mul", |a, b| a * b, a, b)
    }

    pub(crate) fn size_min(&mut self, a: &Size, b: &Size) -> Size {
        self.size_op("Min", i64::min, a, b)
    }

    pub(crate) fn size_max(&mut self, a: &Size, b: &Size) -> Size {
        self.size_op("Max", i64::max, a, b)
    }

    /// A size as a float.
    pub(crate) fn number(&mut self, size: &Size) -> Number {
        match size {
            Size::Known(size) => Number::Known(*size as f64),
            Size::Computed(value) => Number::Computed(self.cast(value, crate::proto::FLOAT)),
        }
    }

    /// A number as a tensor that broadcasts with every other.
    pub(crate) fn number_value(&mut self, number: &Number) -> Value {
        match number {
            Number::Known(value) => self.floats(&[1], &[*value as f32]),
            Number::Computed(value) => value.clone(),
        }
    }

    /// `Add`, `Sub`, `Mul`, `Div` or `Max` of two numbers.
    pub(crate) fn numbers(&mut self, op: &str, a: &Number, b: impl Into<Number>) -> Number {
        let b = b.into();
        if let (Number::Known(a), Number::Known(b)) = (a, &b) {
            return Number::Known(match op {
                "Add" => a + b,
                "Sub" => a - b,
                "Mul" => a * b,
                "Max" => a.max(*b),
                _ => a / b,
            });
        }
        let (a, b) = (self.number_value(a), self.number_value(&b));
        Number::Computed(self.node(op, &[&a, &b], Vec::new()))
    }

    /// The natural logarithm.
    pub(crate) fn ln(&mut self, number: &Number) -> Number {
        match number {
            Number::Known(value) => Number::Known(value.ln()),
            Number::Computed(value) => Number::Computed(self.node("Log", &[value], Vec::new())),
        }
    }

    /// 0, 1, ... up to a size, as int64.
    pub(crate) fn count_up_to(&mut self, size: &Size) -> Value {
        let (zero, one) = (self.int(0), self.int(1));
        let end = match size {
            Size::Known(size) => self.int(*size),
            Size::Computed(value) => {
                let axis = self.ints(&[0]);
                self.node("Squeeze", &[value, &axis], Vec::new())
            }
        };
        self.node("Range", &[&zero, &end, &one], Vec::new())
    }
}
