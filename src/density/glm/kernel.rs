//! The node of a likelihood: with groups or without, over all rows or the rows of a subsample.

use super::dense::Dense;
use super::grouped::Grouped;
use super::panels::Panels;
use crate::autodiff::Primitive;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Link {
    BernoulliLogit,
    BinomialLogit,
    PoissonLog,
    Normal,
}

impl Link {
    pub(super) fn name(self) -> &'static str {
        match self {
            Link::BernoulliLogit => "bernoulli_logit",
            Link::BinomialLogit => "binomial_logit",
            Link::PoissonLog => "poisson_log",
            Link::Normal => "normal",
        }
    }
}

/// How many of everything a likelihood has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub link: Link,
    pub n_rows: usize,
    pub n_columns: usize,
    pub n_groups: usize,
    pub n_slopes: usize,
}

impl Shape {
    /// Coefficients, intercepts and slopes of groups, sd.
    pub(super) fn n_inputs(&self) -> usize {
        self.n_linear() + usize::from(self.link == Link::Normal)
    }

    /// The inputs that `eta` is linear in.
    pub(super) fn n_linear(&self) -> usize {
        self.n_columns + self.n_groups * (1 + self.n_slopes)
    }
}

/// What a likelihood is made of, row by row.
#[derive(Debug)]
pub(super) struct Data {
    pub link: Link,
    /// Row by row, for a likelihood with groups; otherwise empty.
    pub x: Vec<f64>,
    /// The same matrix for a likelihood without groups.
    pub panels: Panels,
    pub n_columns: usize,
    /// One a row, or none.
    pub offset: Vec<f64>,
    /// One a row, or none.
    pub group: Vec<u32>,
    pub n_groups: usize,
    /// Row by row.
    pub w: Vec<f64>,
    pub n_slopes: usize,
    pub y: Vec<f64>,
    /// One a row, or none.
    pub trials: Vec<f64>,
    /// What each row's log probability has that no parameter touches; or none.
    pub constants: Vec<f64>,
}

impl Data {
    pub(super) fn n_rows(&self) -> usize {
        self.y.len()
    }

    pub(super) fn shape(&self) -> Shape {
        Shape {
            link: self.link,
            n_rows: self.n_rows(),
            n_columns: self.n_columns,
            n_groups: self.n_groups,
            n_slopes: self.n_slopes,
        }
    }
}

/// A likelihood over the rows it looks at now.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Dense(Dense),
    Grouped(Grouped),
}

macro_rules! each {
    ($self:expr, $node:ident => $what:expr) => {
        match $self {
            Node::Dense($node) => $what,
            Node::Grouped($node) => $what,
        }
    };
}

impl Node {
    pub(super) fn new(data: Data) -> Node {
        if data.n_groups == 0 {
            Node::Dense(Dense::new(data))
        } else {
            Node::Grouped(Grouped::new(data))
        }
    }

    pub(super) fn shape(&self) -> Shape {
        each!(self, node => node.shape())
    }

    pub(super) fn subsample(&mut self, rows: &[usize]) {
        each!(self, node => node.subsample(rows));
    }

    pub(super) fn whole(&mut self) {
        each!(self, node => node.whole());
    }

    pub(super) fn arrange(&mut self, order: &[usize]) -> bool {
        match self {
            Node::Dense(node) => node.arrange(order),
            Node::Grouped(_) => false,
        }
    }
}

impl Primitive for Node {
    fn value_grad(&self, x: &[f64], grad: &mut [f64]) -> f64 {
        each!(self, node => node.value_grad(x, grad))
    }

    fn value_grad_lanes(&self, lanes: usize, x: &[f64], out: &mut [f64], grad: &mut [f64]) {
        each!(self, node => node.value_grad_lanes(lanes, x, out, grad));
    }

    fn value_lanes(&self, lanes: usize, x: &[f64], out: &mut [f64]) {
        each!(self, node => node.value_lanes(lanes, x, out));
    }

    fn grad_lanes(&self, lanes: usize, x: &[f64], grad: &mut [f64]) {
        each!(self, node => node.grad_lanes(lanes, x, grad));
    }

    fn keeps_together(&self) -> bool {
        // More than a core's own cache holds.
        let Shape { n_rows, n_columns, n_slopes, .. } = self.shape();
        8 * n_rows * (1 + n_columns + n_slopes) > 1 << 20
    }

    fn hess_vec(&self, x: &[f64], v: &[f64], out: &mut [f64]) {
        each!(self, node => node.hess_vec(x, v, out));
    }
}
