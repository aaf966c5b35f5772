//! `Tape`: a recording put into an order and a layout that registers of several points go through.
//!
//! What a formula names is a slot. Most steps are one sum: a constant, multiples of slots, products
//! of two and functions of short sums. The way back pulls: a slot adds up what every later one
//! passes to it, so nothing is cleared and nothing is written twice.

use super::program::{Op, PrimitiveNode};

/// Operands `start..end` of a list.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// This part of a list.
    #[inline(always)]
    pub fn of<T>(self, list: &[T]) -> &[T] {
        &list[self.start as usize..self.end as usize]
    }
}

/// `c slot`
#[derive(Clone, Copy, Debug)]
pub(super) struct Multiple {
    pub c: f64,
    pub slot: u32,
}

/// `c a b`
#[derive(Clone, Copy, Debug)]
pub(super) struct Product {
    pub c: f64,
    pub a: u32,
    pub b: u32,
}

/// A slot that is read, and where the slope in it is kept for the way back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operand {
    pub slot: u32,
    pub slope: u32,
}

/// `weight sum_i f(c_i0 + sum_k c_ik x_k)`: rows over the same operands, `c` row by row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub op: Op,
    pub param: f64,
    pub weight: f64,
    pub operands: Span,
    pub coefficients: Span,
}

/// A number that must lie between two others, or the result is that of the plain replay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guard {
    pub slot: u32,
    pub low: f64,
    pub high: f64,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// A sum of everything there is. Whether its value is read by anything but the result is
    /// `needed`: if not, a gradient alone can do without it.
    Sum {
        out: u32,
        constant: f64,
        multiples: Span,
        products: Span,
        runs: Span,
        needed: bool,
    },
    /// `Max`, `Min` or `IfPositive`: one of the last two operands.
    Choose {
        op: Op,
        out: u32,
        test: u32,
        operands: Span,
    },
    /// 0 or negative infinity.
    Indicator {
        out: u32,
        guard: Guard,
    },
    LogSumExp {
        out: u32,
        operands: Span,
    },
    /// Number `index` of the primitives.
    Primitive {
        out: u32,
        index: u32,
        operands: Span,
        needed: bool,
    },
}

impl Step {
    /// The slot it writes.
    pub fn out(&self) -> u32 {
        match *self {
            Step::Sum { out, .. }
            | Step::Choose { out, .. }
            | Step::Indicator { out, .. }
            | Step::LogSumExp { out, .. }
            | Step::Primitive { out, .. } => out,
        }
    }
}

/// `(sum of slopes start..end) (what arrives at out)`
#[derive(Clone, Copy, Debug)]
pub(super) struct Fan {
    pub out: u32,
    pub slopes: Span,
}

/// What a slot gets on the way back: `slot` and `b` below are later ones.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pull {
    pub multiples: Span,
    pub products: Span,
    pub fans: Span,
}

/// A formula with one result.
#[derive(Clone, Debug, Default)]
pub(super) struct Tape {
    pub inputs: usize,
    pub slots: usize,
    pub slopes: usize,
    pub output: u32,
    /// Whether a value can be infinite where the gradient is not: it holds indicators.
    pub hides: bool,
    pub steps: Vec<Step>,
    pub multiples: Vec<Multiple>,
    pub products: Vec<Product>,
    pub runs: Vec<Run>,
    pub operands: Vec<Operand>,
    pub coefficients: Vec<f64>,
    pub guards: Vec<Guard>,
    pub primitives: Vec<PrimitiveNode>,
    pub pulls: Vec<Pull>,
    pub pulled_multiples: Vec<Multiple>,
    /// `c`, the step `a` and the other factor `b`.
    pub pulled_products: Vec<Product>,
    pub pulled_fans: Vec<Fan>,
}

impl Tape {
    /// Marks what is read, and turns what steps read into what slots pull. Once, at the end.
    pub fn finish(&mut self) {
        self.mark();
        let (mut multiples, mut products) = (Vec::new(), Vec::new());
        let mut fans = Vec::new();
        for step in &self.steps {
            let out = step.out();
            let mut fan = |operands: &[Operand]| {
                fans.extend(operands.iter().map(|o| {
                    let slopes = Span { start: o.slope, end: o.slope + 1 };
                    (o.slot, Fan { out, slopes })
                }));
            };
            match *step {
                Step::Sum { multiples: m, products: p, runs, .. } => {
                    multiples.extend(
                        m.of(&self.multiples)
                            .iter()
                            .map(|m| (m.slot, Multiple { c: m.c, slot: out })),
                    );
                    for &Product { c, a, b } in p.of(&self.products) {
                        if a == b {
                            products.push((a, Product { c: 2.0 * c, a: out, b }));
                        } else {
                            products.push((a, Product { c, a: out, b }));
                            products.push((b, Product { c, a: out, b: a }));
                        }
                    }
                    let runs = runs.of(&self.runs);
                    runs.iter().for_each(|r| fan(r.operands.of(&self.operands)));
                }
                Step::Choose { operands, .. }
                | Step::LogSumExp { operands, .. }
                | Step::Primitive { operands, .. } => fan(operands.of(&self.operands)),
                Step::Indicator { .. } => {}
            }
        }
        multiples.sort_by_key(|m| m.0);
        products.sort_by_key(|p| p.0);
        fans.sort_by_key(|(slot, f)| (*slot, f.out, f.slopes.start));
        // Slopes side by side that the same sum passes to the same slot are added up first.
        fans.dedup_by(|next, kept| {
            let beside = next.0 == kept.0
                && next.1.out == kept.1.out
                && next.1.slopes.start == kept.1.slopes.end;
            if beside {
                kept.1.slopes.end = next.1.slopes.end;
            }
            beside
        });
        let ends = |slot: usize, of: &mut dyn Iterator<Item = u32>, from: &mut u32| {
            let start = *from;
            *from += of.take_while(|s| *s == slot as u32).count() as u32;
            Span { start, end: *from }
        };
        let (mut m, mut p, mut f) = (0, 0, 0);
        self.pulls = (0..self.slots)
            .map(|slot| Pull {
                multiples: ends(slot, &mut multiples[m as usize..].iter().map(|x| x.0), &mut m),
                products: ends(slot, &mut products[p as usize..].iter().map(|x| x.0), &mut p),
                fans: ends(slot, &mut fans[f as usize..].iter().map(|x| x.0), &mut f),
            })
            .collect();
        self.pulled_multiples = multiples.into_iter().map(|x| x.1).collect();
        self.pulled_products = products.into_iter().map(|x| x.1).collect();
        self.pulled_fans = fans.into_iter().map(|x| x.1).collect();
    }

    /// Finds the sums whose value only the result reads.
    fn mark(&mut self) {
        let mut read = vec![false; self.slots];
        for step in self.steps.iter_mut().rev() {
            let read_all = |operands: Span, read: &mut [bool]| {
                operands.of(&self.operands).iter().for_each(|o| read[o.slot as usize] = true);
            };
            match step {
                Step::Sum { out, multiples, products, runs, needed, .. } => {
                    *needed = read[*out as usize];
                    if *needed {
                        let multiples = multiples.of(&self.multiples);
                        multiples.iter().for_each(|m| read[m.slot as usize] = true);
                    }
                    for p in products.of(&self.products) {
                        (read[p.a as usize], read[p.b as usize]) = (true, true);
                    }
                    runs.of(&self.runs).iter().for_each(|r| read_all(r.operands, &mut read));
                }
                Step::Choose { test, operands, .. } => {
                    read[*test as usize] = true;
                    read_all(*operands, &mut read);
                }
                Step::Indicator { guard, .. } => read[guard.slot as usize] = true,
                Step::LogSumExp { operands, .. } => read_all(*operands, &mut read),
                Step::Primitive { out, operands, needed, .. } => {
                    *needed = read[*out as usize];
                    read_all(*operands, &mut read);
                }
            }
        }
    }
}
