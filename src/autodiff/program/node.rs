//! `Node`: one operation of a program.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::autodiff::real::Primitive;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::autodiff) enum Op {
    Input,
    Constant,
    Add,
    Subtract,
    Multiply,
    Divide,
    Shift,
    Scale,
    OverConstant,
    ConstantMinus,
    ConstantOver,
    Square,
    Exp,
    Ln,
    Ln1p,
    ExpM1,
    Sqrt,
    Sin,
    Cos,
    Tanh,
    Atan,
    Power,
    Sigmoid,
    Softplus,
    LogNormalCdf,
    LogGamma,
    Polygamma,
    Abs,
    Ln1pSquare,
    TimesLn,
    TimesLn1p,
    Max,
    Min,
    /// Operands `args[a..b]` from here on.
    Sum,
    LogSumExp,
    IfPositive,
    LogIndicator,
    /// Number `a` of `primitives`.
    Primitive,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::autodiff) struct Node {
    pub op: Op,
    pub a: u32,
    pub b: u32,
    pub c: f64,
}

#[derive(Clone)]
pub(in crate::autodiff) struct PrimitiveNode {
    pub operation: Arc<dyn Primitive>,
    pub args: Range<usize>,
    /// Where its partial derivatives are kept between the forward and the reverse pass.
    pub slopes: usize,
    /// Whether a gradient needs its value: not where it is only added up.
    pub value_needed: bool,
}

impl fmt::Debug for PrimitiveNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "primitive of {} inputs", self.args.len())
    }
}
