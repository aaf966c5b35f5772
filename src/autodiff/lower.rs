//! From a recording to a `Tape`: sums are flattened, factors gathered, equal work done once.

use std::collections::{HashMap, HashSet};
use std::mem::take;

use super::equals::first_of_equals;
use super::form::{Form, Held, Indicator, Row};
use super::program::{Node, Op, PrimitiveNode, Program};
use super::tape::{Guard, Step, Tape};

/// The tape of a program with one result; none where the plain replay has to do it: a constant
/// result, or constants beyond what a number can hold.
pub(super) fn lower(program: &Program) -> Option<Tape> {
    let [Ok(output)] = program.outputs[..] else { return None };
    let first = first_of_equals(program);
    let output = first[output as usize] as usize;
    let mut uses = vec![0; program.nodes.len()];
    uses[output] = 1;
    for k in (program.inputs..=output).rev().filter(|&k| first[k] as usize == k) {
        if uses[k] > 0 {
            each_operand(program, k, |i| uses[first[i as usize] as usize] += 1);
        }
    }
    let mut lowering = Lowering {
        program,
        first,
        uses,
        held: vec![Held::Nothing; program.nodes.len()],
        tape: Tape { inputs: program.inputs, slots: program.inputs, ..Tape::default() },
        inverses: HashMap::new(),
        is_inverse: HashSet::new(),
        squares: HashMap::new(),
        exponents: HashMap::new(),
        odd: false,
    };
    for i in 0..program.inputs {
        lowering.held[i] = Held::Term(1.0, i as u32);
    }
    for k in program.inputs..=output {
        if lowering.uses[k] > 0 && lowering.first[k] as usize == k {
            let held = lowering.node(&program.nodes[k]);
            lowering.held[k] = match held {
                Held::Form(form) if lowering.uses[k] > 1 => {
                    let (c, slot) = lowering.settle(Held::Form(form));
                    Held::Term(c, slot)
                }
                held => held,
            };
        }
    }
    let result = take(&mut lowering.held[output]);
    lowering.finish(result)
}

/// Calls `f` with every node that node `k` reads.
fn each_operand(program: &Program, k: usize, mut f: impl FnMut(u32)) {
    let node = &program.nodes[k];
    let mut list = |a: usize, b: usize| program.args[a..b].iter().for_each(|&i| f(i));
    match node.op {
        Op::Input | Op::Constant => {}
        Op::Sum | Op::LogSumExp | Op::IfPositive | Op::LogIndicator => {
            list(node.a as usize, node.b as usize);
        }
        Op::Primitive => {
            let args = &program.primitives[node.a as usize].args;
            list(args.start, args.end);
        }
        Op::Add | Op::Subtract | Op::Multiply | Op::Divide => {
            f(node.a);
            f(node.b);
        }
        Op::TimesLn | Op::TimesLn1p | Op::Max | Op::Min => {
            f(node.a);
            f(node.b);
        }
        _ => f(node.a),
    }
}

pub(super) struct Lowering<'p> {
    program: &'p Program,
    first: Vec<u32>,
    uses: Vec<u32>,
    held: Vec<Held>,
    pub tape: Tape,
    /// Slots of `1 / x` and of `x^2` that are there already.
    pub inverses: HashMap<u32, u32>,
    pub is_inverse: HashSet<u32>,
    pub squares: HashMap<u32, u32>,
    /// Slots of `e^x`, with the `x`.
    pub exponents: HashMap<u32, Row>,
    /// A factor left the range in which it has all its digits.
    odd: bool,
}

impl Lowering<'_> {
    /// What is known of an operand; the only reader takes it away.
    pub fn operand(&mut self, id: u32) -> Held {
        let id = self.first[id as usize] as usize;
        if self.uses[id] == 1 { take(&mut self.held[id]) } else { self.held[id].clone() }
    }

    /// A slot that holds an operand itself.
    fn slot(&mut self, id: u32) -> u32 {
        let held = self.operand(id);
        let (c, slot) = self.settle(held);
        if c == 1.0 { slot } else { self.emit(Form { row: Row::of(c, slot), ..Form::default() }) }
    }

    /// `a b` for constants, kept in the range where it has all its digits.
    pub fn times(&mut self, a: f64, b: f64) -> f64 {
        let product = a * b;
        if !product.is_normal() && (product != 0.0 || (a != 0.0 && b != 0.0)) {
            self.odd = true;
        }
        product
    }

    fn node(&mut self, node: &Node) -> Held {
        let (a, b, c) = (node.a, node.b, node.c);
        match node.op {
            Op::Input => Held::Nothing,
            Op::Constant => Held::Constant(c),
            Op::Add => self.sum(&[(1.0, a), (1.0, b)], 0.0),
            Op::Subtract => self.sum(&[(1.0, a), (-1.0, b)], 0.0),
            Op::Shift => self.sum(&[(1.0, a)], c),
            Op::ConstantMinus => self.sum(&[(-1.0, a)], c),
            Op::Sum => {
                let args = &self.program.args[a as usize..b as usize];
                let terms: Vec<(f64, u32)> = args.iter().map(|&i| (1.0, i)).collect();
                self.sum(&terms, 0.0)
            }
            Op::Scale => {
                let held = self.operand(a);
                self.scaled(held, c)
            }
            Op::OverConstant => {
                let inverse = self.times(1.0 / c, 1.0);
                let held = self.operand(a);
                self.scaled(held, inverse)
            }
            Op::Multiply => {
                let (a, b) = (self.operand(a), self.operand(b));
                self.product(a, b)
            }
            Op::Divide => {
                let (a, inverse) = (self.operand(a), self.inverse(b));
                match a {
                    Held::Form(form) if self.is_short(&form) => self.ratio(*form, inverse),
                    a => self.product(a, Held::Term(1.0, inverse)),
                }
            }
            Op::ConstantOver => {
                let inverse = self.inverse(a);
                Held::Term(c, inverse)
            }
            Op::Square => {
                let held = self.operand(a);
                self.square(held)
            }
            // Where x is not positive the result is not finite, and the plain replay says what.
            Op::TimesLn | Op::TimesLn1p => {
                let op = if node.op == Op::TimesLn { Op::Ln } else { Op::Ln1p };
                let low = if node.op == Op::TimesLn { 0.0 } else { -1.0 };
                match self.operand(a) {
                    Held::Constant(0.0) => {
                        let slot = self.slot(b);
                        self.indicator(slot, low, f64::INFINITY)
                    }
                    factor => {
                        let x = self.operand(b);
                        let log = self.map(op, 0.0, x);
                        self.product(factor, log)
                    }
                }
            }
            Op::Max | Op::Min => {
                let (a, b) = (self.slot(a), self.slot(b));
                let operands = self.operands(&[a, b]);
                let out = self.new_slot();
                self.tape.steps.push(Step::Choose { op: node.op, out, test: a, operands });
                Held::Term(1.0, out)
            }
            Op::IfPositive => {
                let slots = self.slots(a, b);
                let operands = self.operands(&slots[1..]);
                let out = self.new_slot();
                self.tape.steps.push(Step::Choose { op: node.op, out, test: slots[0], operands });
                Held::Term(1.0, out)
            }
            Op::LogIndicator => {
                let limit =
                    |k: usize| self.program.nodes[self.program.args[a as usize + k] as usize].c;
                let (low, high) = (limit(1), limit(2));
                let slot = self.slot(self.program.args[a as usize]);
                self.indicator(slot, low, high)
            }
            Op::LogSumExp => {
                let slots = self.slots(a, b);
                self.odd |= slots.is_empty();
                let operands = self.operands(&slots);
                let out = self.new_slot();
                self.tape.steps.push(Step::LogSumExp { out, operands });
                Held::Term(1.0, out)
            }
            Op::Primitive => {
                let p = self.program.primitives[a as usize].clone();
                let slots = self.slots(p.args.start as u32, p.args.end as u32);
                let operands = self.operands(&slots);
                let out = self.new_slot();
                let index = self.tape.primitives.len() as u32;
                self.tape.primitives.push(PrimitiveNode { args: 0..slots.len(), ..p });
                self.tape.steps.push(Step::Primitive { out, index, operands, needed: true });
                Held::Term(1.0, out)
            }
            op => {
                let x = self.operand(a);
                self.map(op, c, x)
            }
        }
    }

    fn slots(&mut self, a: u32, b: u32) -> Vec<u32> {
        (a..b).map(|i| self.slot(self.program.args[i as usize])).collect()
    }

    fn indicator(&mut self, slot: u32, low: f64, high: f64) -> Held {
        let indicators = vec![Indicator { weight: 1.0, slot, low, high }];
        Held::Form(Box::new(Form { indicators, ..Form::default() }))
    }

    /// `(c, slot)` with the value `c slot`.
    pub fn settle(&mut self, held: Held) -> (f64, u32) {
        match held {
            Held::Nothing => (0.0, 0),
            Held::Term(c, slot) => (c, slot),
            Held::Constant(constant) => {
                let row = Row { constant, terms: Vec::new() };
                (1.0, self.emit(Form { row, ..Form::default() }))
            }
            Held::Form(form) => {
                let outer = form.outer;
                (outer, self.emit(*form))
            }
        }
    }

    /// The last sum: its indicators are guards.
    fn finish(mut self, result: Held) -> Option<Tape> {
        let mut form = Form::default();
        match result {
            Held::Form(whole) if whole.takes(whole.outer) => form = *whole,
            other => {
                let (c, slot) = self.settle(other);
                form.row.terms.push((c, slot));
            }
        }
        form.distribute(1.0);
        let guards = take(&mut form.indicators);
        let guards = guards.iter().map(|i| Guard { slot: i.slot, low: i.low, high: i.high });
        self.tape.guards.extend(guards);
        self.tape.output = self.emit(form);
        let constants = self.tape.steps.iter().all(|step| match step {
            Step::Sum { constant, .. } => constant.is_finite(),
            _ => true,
        });
        let finite = self.tape.multiples.iter().all(|m| m.c.is_finite())
            && self.tape.products.iter().all(|p| p.c.is_finite())
            && self.tape.runs.iter().all(|r| r.weight.is_finite() && !r.param.is_nan())
            && self.tape.coefficients.iter().all(|c| c.is_finite());
        if self.odd || !constants || !finite {
            return None;
        }
        self.tape.finish();
        Some(self.tape)
    }
}
