//! `Var`: the scalar that writes a formula down, operation by operation, as a `Program`.

use std::cell::RefCell;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};
use std::sync::Arc;

use super::program::{Node, Op, PrimitiveNode, Program};
use super::real::{Primitive, Real};

const CONSTANT: u32 = u32::MAX;

/// A number in a formula that is being recorded: a node of the recording, or a constant.
///
/// A `Var` has no value. What is recorded is replayed later, at many points at once, so that a
/// gradient costs no bookkeeping. It lives only inside the closure or `log_joint` it was given to.
///
/// # Panics
/// Arithmetic with a `Var` that was carried out of the log joint it was handed to.
#[derive(Clone, Copy, Debug)]
pub struct Var {
    index: u32,
    constant: f64,
}

#[derive(Default)]
struct Recording {
    nodes: Vec<Node>,
    args: Vec<u32>,
    primitives: Vec<PrimitiveNode>,
    slopes: usize,
}

thread_local! {
    static RECORDINGS: RefCell<Vec<Recording>> = const { RefCell::new(Vec::new()) };
}

/// Takes the innermost recording off the stack when a recording ends, also by a panic.
struct Session;
impl Drop for Session {
    fn drop(&mut self) {
        RECORDINGS.with_borrow_mut(|stack| {
            stack.pop();
        });
    }
}

/// Runs `formula` on `inputs` fresh variables and keeps what it did, in the room of a program that
/// is no longer needed.
pub(super) fn record(
    inputs: usize,
    spare: Program,
    formula: impl FnOnce(&[Var], &mut Vec<Var>),
) -> Program {
    let Program { mut nodes, mut args, mut primitives, mut outputs, .. } = spare;
    nodes.clear();
    nodes.resize(inputs, Node { op: Op::Input, a: 0, b: 0, c: 0.0 });
    args.clear();
    primitives.clear();
    outputs.clear();
    let start = Recording { nodes, args, primitives, slopes: 0 };
    RECORDINGS.with_borrow_mut(|stack| stack.push(start));
    let session = Session;
    let z: Vec<Var> = (0..inputs as u32).map(|index| Var { index, constant: 0.0 }).collect();
    let mut results = Vec::new();
    formula(&z, &mut results);
    let done = RECORDINGS.with_borrow_mut(|stack| stack.last_mut().map(std::mem::take));
    drop(session);
    let done = done.unwrap_or_default();
    outputs.extend(
        results.iter().map(|v| if v.index == CONSTANT { Err(v.constant) } else { Ok(v.index) }),
    );
    let mut program = Program {
        inputs,
        outputs,
        nodes: done.nodes,
        args: done.args,
        primitives: done.primitives,
        slopes: done.slopes,
    };
    program.find_needed();
    program
}

fn with_recording<R>(f: impl FnOnce(&mut Recording) -> R) -> R {
    RECORDINGS.with_borrow_mut(|stack| match stack.last_mut() {
        Some(recording) => f(recording),
        None => panic!("a `Var` was used outside the log joint it was handed to"),
    })
}

fn push(op: Op, a: u32, b: u32, c: f64) -> Var {
    with_recording(|r| {
        r.nodes.push(Node { op, a, b, c });
        Var { index: r.nodes.len() as u32 - 1, constant: 0.0 }
    })
}

/// Puts the operands of an operation with many of them where its node points to.
fn push_args(r: &mut Recording, args: &[Var]) -> (u32, u32) {
    let start = r.args.len() as u32;
    for v in args {
        let index = if v.index == CONSTANT {
            r.nodes.push(Node { op: Op::Constant, a: 0, b: 0, c: v.constant });
            r.nodes.len() as u32 - 1
        } else {
            v.index
        };
        r.args.push(index);
    }
    (start, r.args.len() as u32)
}

impl Var {
    fn constant(self) -> Option<f64> {
        (self.index == CONSTANT).then_some(self.constant)
    }

    fn unary(self, op: Op, c: f64, fold: impl FnOnce(f64) -> f64) -> Var {
        match self.constant() {
            Some(x) => Var::from(fold(x)),
            None => push(op, self.index, 0, c),
        }
    }

    /// An operation without a form of its own for constants: they become nodes.
    fn node(self) -> u32 {
        match self.constant() {
            Some(c) => push(Op::Constant, 0, 0, c).index,
            None => self.index,
        }
    }

    fn binary(self, o: Var, op: Op, fold: impl FnOnce(f64, f64) -> f64) -> Var {
        match (self.constant(), o.constant()) {
            (Some(x), Some(y)) => Var::from(fold(x, y)),
            _ => {
                let (a, b) = (self.node(), o.node());
                push(op, a, b, 0.0)
            }
        }
    }
}

impl From<f64> for Var {
    fn from(constant: f64) -> Var {
        Var { index: CONSTANT, constant }
    }
}
impl Neg for Var {
    type Output = Var;
    fn neg(self) -> Var {
        self.unary(Op::Scale, -1.0, |x| -x)
    }
}
impl Add for Var {
    type Output = Var;
    fn add(self, o: Var) -> Var {
        match (self.constant(), o.constant()) {
            (_, Some(c)) => self + c,
            (Some(c), _) => o + c,
            _ => push(Op::Add, self.index, o.index, 0.0),
        }
    }
}
impl Sub for Var {
    type Output = Var;
    fn sub(self, o: Var) -> Var {
        match (self.constant(), o.constant()) {
            (_, Some(c)) => self + (-c),
            (Some(c), _) => push(Op::ConstantMinus, o.index, 0, c),
            _ => push(Op::Subtract, self.index, o.index, 0.0),
        }
    }
}
impl Mul for Var {
    type Output = Var;
    fn mul(self, o: Var) -> Var {
        match (self.constant(), o.constant()) {
            (_, Some(c)) => self * c,
            (Some(c), _) => o * c,
            _ if self.index == o.index => push(Op::Square, self.index, 0, 0.0),
            _ => push(Op::Multiply, self.index, o.index, 0.0),
        }
    }
}
impl Div for Var {
    type Output = Var;
    fn div(self, o: Var) -> Var {
        match (self.constant(), o.constant()) {
            (_, Some(c)) => self / c,
            (Some(c), _) => push(Op::ConstantOver, o.index, 0, c),
            _ => push(Op::Divide, self.index, o.index, 0.0),
        }
    }
}
impl Add<f64> for Var {
    type Output = Var;
    fn add(self, c: f64) -> Var {
        if c == 0.0 {
            return self;
        }
        self.unary(Op::Shift, c, |x| x + c)
    }
}
impl Sub<f64> for Var {
    type Output = Var;
    fn sub(self, c: f64) -> Var {
        self + (-c)
    }
}
impl Mul<f64> for Var {
    type Output = Var;
    fn mul(self, c: f64) -> Var {
        if c == 1.0 {
            return self;
        }
        self.unary(Op::Scale, c, |x| x * c)
    }
}
impl Div<f64> for Var {
    type Output = Var;
    fn div(self, c: f64) -> Var {
        self.unary(Op::OverConstant, c, |x| x / c)
    }
}
impl Add<Var> for f64 {
    type Output = Var;
    fn add(self, o: Var) -> Var {
        o + self
    }
}
impl Sub<Var> for f64 {
    type Output = Var;
    fn sub(self, o: Var) -> Var {
        Var::from(self) - o
    }
}
impl Mul<Var> for f64 {
    type Output = Var;
    fn mul(self, o: Var) -> Var {
        o * self
    }
}
impl Div<Var> for f64 {
    type Output = Var;
    fn div(self, o: Var) -> Var {
        Var::from(self) / o
    }
}
impl AddAssign for Var {
    fn add_assign(&mut self, o: Var) {
        *self = *self + o;
    }
}
impl SubAssign for Var {
    fn sub_assign(&mut self, o: Var) {
        *self = *self - o;
    }
}
impl MulAssign for Var {
    fn mul_assign(&mut self, o: Var) {
        *self = *self * o;
    }
}
impl AddAssign<f64> for Var {
    fn add_assign(&mut self, c: f64) {
        *self = *self + c;
    }
}
impl Sum for Var {
    fn sum<I: Iterator<Item = Var>>(iter: I) -> Var {
        let mut constant = 0.0;
        let terms: Vec<Var> = iter
            .filter(|v| match v.constant() {
                Some(c) => {
                    constant += c;
                    false
                }
                None => true,
            })
            .collect();
        let sum = match terms[..] {
            [] => return Var::from(constant),
            [one] => one,
            [one, two] => one + two,
            _ => {
                let (a, b) = with_recording(|r| push_args(r, &terms));
                push(Op::Sum, a, b, 0.0)
            }
        };
        sum + constant
    }
}

impl Real for Var {
    fn exp(self) -> Var {
        self.unary(Op::Exp, 0.0, f64::exp)
    }
    fn ln(self) -> Var {
        self.unary(Op::Ln, 0.0, f64::ln)
    }
    fn ln_1p(self) -> Var {
        self.unary(Op::Ln1p, 0.0, f64::ln_1p)
    }
    fn exp_m1(self) -> Var {
        self.unary(Op::ExpM1, 0.0, f64::exp_m1)
    }
    fn sqrt(self) -> Var {
        self.unary(Op::Sqrt, 0.0, f64::sqrt)
    }
    fn sin(self) -> Var {
        self.unary(Op::Sin, 0.0, f64::sin)
    }
    fn cos(self) -> Var {
        self.unary(Op::Cos, 0.0, f64::cos)
    }
    fn tanh(self) -> Var {
        self.unary(Op::Tanh, 0.0, f64::tanh)
    }
    fn atan(self) -> Var {
        self.unary(Op::Atan, 0.0, f64::atan)
    }
    fn powf(self, p: f64) -> Var {
        self.unary(Op::Power, p, |x| x.powf(p))
    }
    fn sigmoid(self) -> Var {
        self.unary(Op::Sigmoid, 0.0, Real::sigmoid)
    }
    fn softplus(self) -> Var {
        self.unary(Op::Softplus, 0.0, Real::softplus)
    }
    fn log_normal_cdf(self) -> Var {
        self.unary(Op::LogNormalCdf, 0.0, Real::log_normal_cdf)
    }
    fn log_gamma(self) -> Var {
        self.unary(Op::LogGamma, 0.0, Real::log_gamma)
    }
    fn polygamma(self, n: u32) -> Var {
        self.unary(Op::Polygamma, f64::from(n), |x| x.polygamma(n))
    }
    fn abs(self) -> Var {
        self.unary(Op::Abs, 0.0, f64::abs)
    }
    fn max(self, o: Var) -> Var {
        self.binary(o, Op::Max, Real::max)
    }
    fn min(self, o: Var) -> Var {
        self.binary(o, Op::Min, Real::min)
    }
    fn if_positive(self, yes: Var, no: Var) -> Var {
        match self.constant() {
            Some(c) if c > 0.0 => yes,
            Some(_) => no,
            None => {
                let (a, b) = with_recording(|r| push_args(r, &[self, yes, no]));
                push(Op::IfPositive, a, b, 0.0)
            }
        }
    }
    fn log_indicator(self, low: f64, high: f64) -> Var {
        match self.constant() {
            Some(c) => Var::from(c.log_indicator(low, high)),
            None => {
                let (a, b) =
                    with_recording(|r| push_args(r, &[self, Var::from(low), Var::from(high)]));
                push(Op::LogIndicator, a, b, 0.0)
            }
        }
    }
    fn ln_1p_square(self) -> Var {
        self.unary(Op::Ln1pSquare, 0.0, Real::ln_1p_square)
    }
    fn times_ln(self, x: Var) -> Var {
        match x.constant() {
            Some(c) if c > 0.0 && c < f64::INFINITY => self * c.ln(),
            _ => self.binary(x, Op::TimesLn, Real::times_ln),
        }
    }
    fn times_ln_1p(self, x: Var) -> Var {
        match x.constant() {
            Some(c) if c > -1.0 && c < f64::INFINITY => self * c.ln_1p(),
            _ => self.binary(x, Op::TimesLn1p, Real::times_ln_1p),
        }
    }
    fn primitive<P: Primitive + 'static>(x: &[Var], operation: &Arc<P>) -> Var {
        with_recording(|r| {
            let (start, end) = push_args(r, x);
            r.primitives.push(PrimitiveNode {
                operation: operation.clone(),
                args: start as usize..end as usize,
                slopes: r.slopes,
                value_needed: true,
            });
            r.slopes += x.len();
            let a = r.primitives.len() as u32 - 1;
            r.nodes.push(Node { op: Op::Primitive, a, b: 0, c: 0.0 });
            Var { index: r.nodes.len() as u32 - 1, constant: 0.0 }
        })
    }
    fn square(self) -> Var {
        self.unary(Op::Square, 0.0, |x| x * x)
    }
    fn log_sum_exp(x: &[Var]) -> Var {
        let (a, b) = with_recording(|r| push_args(r, x));
        push(Op::LogSumExp, a, b, 0.0)
    }
    fn dot(a: &[f64], x: &[Var]) -> Var {
        a.iter().zip(x).filter(|(a, _)| **a != 0.0).map(|(&a, &x)| x * a).sum()
    }
}
