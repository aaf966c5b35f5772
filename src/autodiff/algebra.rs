//! What becomes of a sum, a product, a square or a function of what is held so far.

use std::mem::take;

use super::form::{Form, Held, Map, Ratio, Row};
use super::lower::Lowering;
use super::program::Op;
use super::tape::Guard;

/// Sums of more terms than this get a slot before a function is taken of them.
const LONGEST_ROW: usize = 3;

impl Lowering<'_> {
    /// `constant + sum c x`
    pub fn sum(&mut self, terms: &[(f64, u32)], constant: f64) -> Held {
        let mut form = Form::default();
        for &(c, id) in terms {
            let held = self.operand(id);
            self.add(&mut form, c, held);
        }
        form.row.constant += constant;
        match form.row.terms[..] {
            [(c, slot)] if form.len() == 1 && form.row.constant == 0.0 => Held::Term(c, slot),
            _ => Held::Form(Box::new(form)),
        }
    }

    /// Adds `c held` to a form.
    fn add(&mut self, form: &mut Form, c: f64, held: Held) {
        match held {
            Held::Nothing => {}
            Held::Constant(x) => form.row.constant += c * x,
            Held::Term(d, slot) => form.row.terms.push((c * d, slot)),
            Held::Form(mut other) => {
                let outer = self.times(other.outer, c);
                if other.takes(outer) {
                    other.distribute(c);
                    form.append(*other);
                } else {
                    let (outer, slot) = self.settle(Held::Form(other));
                    form.row.terms.push((outer * c, slot));
                }
            }
        }
    }

    pub fn scaled(&mut self, held: Held, c: f64) -> Held {
        match held {
            Held::Nothing => Held::Nothing,
            Held::Constant(x) => Held::Constant(x * c),
            Held::Term(d, slot) => Held::Term(self.times(d, c), slot),
            Held::Form(mut form) => {
                form.outer = self.times(form.outer, c);
                Held::Form(form)
            }
        }
    }

    /// The slot of `1 / x`.
    pub fn inverse(&mut self, id: u32) -> u32 {
        let held = self.operand(id);
        let (c, slot) = self.settle(held);
        // 1 / (c x) with c = 1 in nearly every case
        let slot = if c == 1.0 {
            slot
        } else {
            self.emit(Form { row: Row::of(c, slot), ..Form::default() })
        };
        if let Some(&inverse) = self.inverses.get(&slot) {
            return inverse;
        }
        let map = Map { weight: 1.0, op: Op::ConstantOver, param: 1.0, row: Row::of(1.0, slot) };
        let inverse = self.emit(Form { maps: vec![map], ..Form::default() });
        self.inverses.insert(slot, inverse);
        self.is_inverse.insert(inverse);
        inverse
    }

    /// Whether it can be the inside of a function without a slot of its own.
    pub fn is_short(&self, form: &Form) -> bool {
        form.is_row() && form.len() <= LONGEST_ROW
    }

    /// `form by`
    pub fn ratio(&mut self, form: Form, by: u32) -> Held {
        let Form { outer, row, .. } = form;
        let ratios = vec![Ratio { weight: 1.0, by, squared: false, row }];
        Held::Form(Box::new(Form { outer, ratios, ..Form::default() }))
    }

    pub fn product(&mut self, a: Held, b: Held) -> Held {
        match (a, b) {
            (Held::Constant(c), x) | (x, Held::Constant(c)) => self.scaled(x, c),
            (a, b) => {
                let ((c, a), (d, b)) = (self.settle(a), self.settle(b));
                let products = vec![(self.times(c, d), a, b)];
                Held::Form(Box::new(Form { products, ..Form::default() }))
            }
        }
    }

    pub fn square(&mut self, x: Held) -> Held {
        let mut square = Form::default();
        match x {
            Held::Nothing => {}
            Held::Constant(c) => return Held::Constant(c * c),
            Held::Term(c, slot) => square.products.push((self.times(c, c), slot, slot)),
            Held::Form(mut form) => {
                let weight = self.times(form.outer, form.outer);
                let alone = form.len() == 1 && form.row.constant == 0.0;
                if self.is_short(&form) {
                    square.maps.push(Map {
                        weight,
                        op: Op::Square,
                        param: 0.0,
                        row: take(&mut form.row),
                    });
                } else if let (true, [Ratio { weight: w, by, squared: false, row }]) =
                    (alone, &mut form.ratios[..])
                {
                    let weight = self.times(weight, *w * *w);
                    square.ratios.push(Ratio { weight, by: *by, squared: true, row: take(row) });
                } else if let (true, [(c, a, b)]) = (alone, &form.products[..])
                    && (self.is_inverse.contains(a) || self.is_inverse.contains(b))
                {
                    let (x, by) = if self.is_inverse.contains(b) { (*a, *b) } else { (*b, *a) };
                    let weight = self.times(weight, c * c);
                    square.ratios.push(Ratio { weight, by, squared: true, row: Row::of(1.0, x) });
                } else {
                    let (c, slot) = self.settle(Held::Form(form));
                    square.products.push((self.times(c, c), slot, slot));
                }
            }
        }
        Held::Form(Box::new(square))
    }

    /// A function of one number.
    pub fn map(&mut self, op: Op, param: f64, x: Held) -> Held {
        if op == Op::Ln {
            return self.log(x);
        }
        let row = match x {
            Held::Form(mut form) if self.is_short(&form) && form.takes(form.outer) => {
                form.distribute(1.0);
                form.row
            }
            x => {
                let (c, slot) = self.settle(x);
                Row::of(c, slot)
            }
        };
        let maps = vec![Map { weight: 1.0, op, param, row }];
        Held::Form(Box::new(Form { maps, ..Form::default() }))
    }

    /// `ln x`, which for `x = e^y` is `y` as long as `x` is in range.
    fn log(&mut self, x: Held) -> Held {
        let (c, slot) = self.settle(x);
        let Some(row) = self.exponents.get(&slot).filter(|_| c == 1.0).cloned() else {
            let maps = vec![Map { weight: 1.0, op: Op::Ln, param: 0.0, row: Row::of(c, slot) }];
            return Held::Form(Box::new(Form { maps, ..Form::default() }));
        };
        self.tape.guards.push(Guard { slot, low: f64::MIN_POSITIVE, high: f64::MAX });
        match row.terms[..] {
            [(c, slot)] if row.constant == 0.0 => Held::Term(c, slot),
            _ => Held::Form(Box::new(Form { row, ..Form::default() })),
        }
    }
}
