//! `Form`: a sum of terms that has not been given a place of its own yet.

use super::program::Op;

/// `constant + sum c x`: what goes into a function of one number.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub constant: f64,
    pub terms: Vec<(f64, u32)>,
}

/// `weight f(row)`
#[derive(Clone, Debug)]
pub(super) struct Map {
    pub weight: f64,
    pub op: Op,
    pub param: f64,
    pub row: Row,
}

/// `weight row by`, or its square but for the weight.
#[derive(Clone, Debug)]
pub(super) struct Ratio {
    pub weight: f64,
    pub by: u32,
    pub squared: bool,
    pub row: Row,
}

/// `weight` times 0 where `low <= x <= high`, otherwise times negative infinity.
#[derive(Clone, Copy, Debug)]
pub(super) struct Indicator {
    pub weight: f64,
    pub slot: u32,
    pub low: f64,
    pub high: f64,
}

/// `outer (constant + linear + products + maps + ratios + indicators)`
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub outer: f64,
    pub row: Row,
    pub products: Vec<(f64, u32, u32)>,
    pub maps: Vec<Map>,
    pub ratios: Vec<Ratio>,
    pub indicators: Vec<Indicator>,
}

impl Default for Form {
    fn default() -> Form {
        Form {
            outer: 1.0,
            row: Row::default(),
            products: Vec::new(),
            maps: Vec::new(),
            ratios: Vec::new(),
            indicators: Vec::new(),
        }
    }
}

/// What is known about an operation on the way.
#[derive(Clone, Debug, Default)]
pub(super) enum Held {
    #[default]
    Nothing,
    Constant(f64),
    /// `c x` for a number that has its place.
    Term(f64, u32),
    Form(Box<Form>),
}

impl Row {
    /// `c x`
    pub fn of(c: f64, slot: u32) -> Row {
        Row { constant: 0.0, terms: vec![(c, slot)] }
    }
}

impl Form {
    /// How many terms, without the constant.
    pub fn len(&self) -> usize {
        self.row.terms.len()
            + self.products.len()
            + self.maps.len()
            + self.ratios.len()
            + self.indicators.len()
    }

    /// Whether there is nothing but a constant and multiples.
    pub fn is_row(&self) -> bool {
        self.len() == self.row.terms.len()
    }

    /// Whether a factor can go into the terms without another rounding of what cancels there.
    pub fn takes(&self, factor: f64) -> bool {
        let exact = factor.to_bits() & ((1 << 52) - 1) == 0;
        exact || self.len() + usize::from(self.row.constant != 0.0) <= 1
    }

    /// Multiplies the terms by `outer c`, after which `outer` is 1.
    pub fn distribute(&mut self, c: f64) {
        let c = c * std::mem::replace(&mut self.outer, 1.0);
        if c == 1.0 {
            return;
        }
        self.row.constant *= c;
        self.row.terms.iter_mut().for_each(|t| t.0 *= c);
        self.products.iter_mut().for_each(|t| t.0 *= c);
        self.maps.iter_mut().for_each(|t| t.weight *= c);
        self.ratios.iter_mut().for_each(|t| t.weight *= c);
        self.indicators.iter_mut().for_each(|t| t.weight *= c);
    }

    /// Adds the terms of another, whose `outer` is 1 like that of this one.
    pub fn append(&mut self, mut other: Form) {
        if other.len() > self.len() {
            std::mem::swap(self, &mut other);
        }
        self.row.constant += other.row.constant;
        self.row.terms.append(&mut other.row.terms);
        self.products.append(&mut other.products);
        self.maps.append(&mut other.maps);
        self.ratios.append(&mut other.ratios);
        self.indicators.append(&mut other.indicators);
    }
}

/// Brings like terms together and adds their factors.
pub(super) fn merge_terms(terms: &mut Vec<(f64, u32)>) {
    terms.sort_by_key(|t| t.1);
    terms.dedup_by(|next, kept| {
        let same = next.1 == kept.1;
        if same {
            kept.0 += next.0;
        }
        same
    });
}

/// The same for products, whose factors may come in either order.
pub(super) fn merge_products(products: &mut Vec<(f64, u32, u32)>) {
    products.iter_mut().for_each(|p| (p.1, p.2) = (p.1.min(p.2), p.1.max(p.2)));
    products.sort_by_key(|p| (p.1, p.2));
    products.dedup_by(|next, kept| {
        let same = (next.1, next.2) == (kept.1, kept.2);
        if same {
            kept.0 += next.0;
        }
        same
    });
}
