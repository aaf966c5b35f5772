//! Gives a `Form` its slot: like terms become one, functions of the same operands one run.

use super::form::{Form, Map, Ratio, Row, merge_products, merge_terms};
use super::lower::Lowering;
use super::program::Op;
use super::tape::{Guard, Multiple, Operand, Product, Run, Span, Step};

impl Lowering<'_> {
    /// The next slot.
    pub fn new_slot(&mut self) -> u32 {
        self.tape.slots += 1;
        self.tape.slots as u32 - 1
    }

    /// Operands of an operation that keeps a slope in each.
    pub fn operands(&mut self, slots: &[u32]) -> Span {
        let start = self.tape.operands.len() as u32;
        for &slot in slots {
            self.tape.operands.push(Operand { slot, slope: self.tape.slopes as u32 });
            self.tape.slopes += 1;
        }
        Span { start, end: self.tape.operands.len() as u32 }
    }

    /// The slot of all there is in a form but `outer`.
    pub fn emit(&mut self, mut form: Form) -> u32 {
        self.gather_ratios(&mut form);
        for i in std::mem::take(&mut form.indicators) {
            self.tape.hides = true;
            let out = self.new_slot();
            let guard = Guard { slot: i.slot, low: i.low, high: i.high };
            self.tape.steps.push(Step::Indicator { out, guard });
            form.row.terms.push((i.weight, out));
        }
        form.maps.retain_mut(|map| {
            merge_terms(&mut map.row.terms);
            match (map.op, &map.row) {
                (Op::Square, Row { constant: 0.0, terms }) if terms.len() == 1 => {
                    let (c, slot) = terms[0];
                    form.products.push((map.weight * c * c, slot, slot));
                    false
                }
                _ => true,
            }
        });
        merge_terms(&mut form.row.terms);
        merge_products(&mut form.products);
        let exponent = match (&form.maps[..], form.len(), form.row.constant) {
            ([Map { weight: 1.0, op: Op::Exp, row, .. }], 1, 0.0) => Some(row.clone()),
            _ => None,
        };
        let multiples = self.tape.multiples.len() as u32;
        let terms = form.row.terms.iter();
        self.tape.multiples.extend(terms.map(|&(c, slot)| Multiple { c, slot }));
        let products = self.tape.products.len() as u32;
        let terms = form.products.iter();
        self.tape.products.extend(terms.map(|&(c, a, b)| Product { c, a, b }));
        let runs = self.emit_runs(form.maps);
        let out = self.new_slot();
        self.tape.steps.push(Step::Sum {
            out,
            constant: form.row.constant,
            multiples: Span { start: multiples, end: self.tape.multiples.len() as u32 },
            products: Span { start: products, end: self.tape.products.len() as u32 },
            runs,
            needed: true,
        });
        if let Some(row) = exponent {
            self.exponents.insert(out, row);
        }
        out
    }

    /// `sum_i w_i (x_i by)^2` becomes `(sum_i w_i x_i^2) by^2`, and `x by` a product.
    fn gather_ratios(&mut self, form: &mut Form) {
        let mut ratios = std::mem::take(&mut form.ratios);
        ratios.sort_by_key(|r| (r.by, r.squared));
        for group in ratios.chunk_by_mut(|r, s| (r.by, r.squared) == (s.by, s.squared)) {
            let (by, squared) = (group[0].by, group[0].squared);
            if !squared {
                for Ratio { weight, row, .. } in group {
                    let row = std::mem::take(row);
                    let slot = self.emit(Form { row, ..Form::default() });
                    form.products.push((*weight, slot, by));
                }
                continue;
            }
            let maps = group
                .iter_mut()
                .map(|r| Map {
                    weight: r.weight,
                    op: Op::Square,
                    param: 0.0,
                    row: std::mem::take(&mut r.row),
                })
                .collect();
            let sum = self.emit(Form { maps, ..Form::default() });
            let square = match self.squares.get(&by) {
                Some(&slot) => slot,
                None => {
                    let products = vec![(1.0, by, by)];
                    let slot = self.emit(Form { products, ..Form::default() });
                    self.squares.insert(by, slot);
                    slot
                }
            };
            form.products.push((1.0, sum, square));
        }
    }

    /// Rows of the same function over the same operands, side by side.
    fn emit_runs(&mut self, mut maps: Vec<Map>) -> Span {
        let key = |m: &Map| (m.op as u8, m.param.to_bits(), m.weight.to_bits());
        let slots = |m: &Map| m.row.terms.iter().map(|t| t.1).collect::<Vec<u32>>();
        let same = |m: &Map, n: &Map| {
            let (m_slots, n_slots) = (m.row.terms.iter(), n.row.terms.iter());
            key(m) == key(n) && m_slots.map(|t| t.1).eq(n_slots.map(|t| t.1))
        };
        maps.sort_by(|m, n| {
            let (m_slots, n_slots) = (m.row.terms.iter(), n.row.terms.iter());
            key(m).cmp(&key(n)).then_with(|| m_slots.map(|t| t.1).cmp(n_slots.map(|t| t.1)))
        });
        let start = self.tape.runs.len();
        let mut read = Vec::new();
        for group in maps.chunk_by(same) {
            let first = self.tape.operands.len() as u32;
            for slot in slots(&group[0]) {
                read.push((slot, self.tape.operands.len()));
                self.tape.operands.push(Operand { slot, slope: 0 });
            }
            let coefficients = self.tape.coefficients.len() as u32;
            for map in group {
                self.tape.coefficients.push(map.row.constant);
                self.tape.coefficients.extend(map.row.terms.iter().map(|t| t.0));
            }
            self.tape.runs.push(Run {
                op: group[0].op,
                param: group[0].param,
                weight: group[0].weight,
                operands: Span { start: first, end: self.tape.operands.len() as u32 },
                coefficients: Span {
                    start: coefficients,
                    end: self.tape.coefficients.len() as u32,
                },
            });
        }
        // Slopes in one slot stand side by side, so that the way back adds them up in one go.
        read.sort_unstable();
        for (_, operand) in read {
            self.tape.operands[operand].slope = self.tape.slopes as u32;
            self.tape.slopes += 1;
        }
        Span { start: start as u32, end: self.tape.runs.len() as u32 }
    }
}
