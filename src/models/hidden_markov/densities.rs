//! `Densities`: the log density of a row in each state, states side by side, and the sums over rows
//! that belong to it.

use serde::{Deserialize, Serialize};

use crate::models::components::{Partial, has_gap, invert, partial};
use crate::models::discrete_mixture::Layout;
use crate::scratch::with_buffer;
use crate::special::LN_SQRT_2PI;
use crate::triangle;

/// States side by side: a register of any width holds some of them.
pub(super) const SIDE: usize = 8;

/// How far apart the numbers of states stand: whole registers.
pub(super) fn stride(k: usize) -> usize {
    k.next_multiple_of(SIDE)
}

/// What the log density of a row looks like.
///
/// | | numbers a state | sums a state, of rows `x` with probability `r` |
/// |---|---|---|
/// | full | constant, mean, `W` by rows | `r`, `r y`, `r y y'` |
/// | diagonal | constants, means, `W`, one a column | `r`, `r y`, `r y^2`, of what is seen of a column |
/// | discrete | coefficients of features | `r` times features |
///
/// with `y = x - mean`, and the log density `constant - |W y|^2 / 2`. Of cells that are missing in a
/// row of a full state the sums have what is expected ([`partial`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Form {
    Full(usize),
    Diagonal(usize),
    Discrete(Layout),
}

impl Form {
    /// How many numbers, and how many sums, a state has.
    pub(super) fn numbers(&self) -> usize {
        match self {
            Form::Full(d) => 1 + d + triangle::len(*d),
            Form::Diagonal(d) => 3 * d,
            Form::Discrete(layout) => layout.features,
        }
    }

    /// Where the means stand.
    pub(super) fn means(&self) -> std::ops::Range<usize> {
        match self {
            Form::Full(d) => 1..1 + d,
            Form::Diagonal(d) => *d..2 * d,
            Form::Discrete(_) => 0..0,
        }
    }
}

/// The numbers of all states.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Densities {
    pub(super) form: Form,
    pub(super) k: usize,
    /// `stride` a number.
    pub(super) numbers: Vec<f64>,
}

impl Densities {
    pub(super) fn new(form: Form, k: usize) -> Densities {
        let numbers = vec![0.0; form.numbers() * stride(k)];
        Densities { form, k, numbers }
    }

    /// Number `i` of state `k`.
    pub(super) fn get(&self, i: usize, k: usize) -> f64 {
        self.numbers[i * stride(self.k) + k]
    }

    /// Sets the numbers of state `k`.
    pub(super) fn set(&mut self, k: usize, numbers: impl IntoIterator<Item = f64>) {
        let stride = stride(self.k);
        let places = self.numbers.iter_mut().skip(k).step_by(stride);
        places.zip(numbers).for_each(|(to, from)| *to = from);
    }

    /// Sets them to those of these values: mean and factor of the covariance, or mean and standard
    /// deviations, or probabilities and rates.
    pub(super) fn set_values(&mut self, k: usize, values: &[f64]) {
        let n = self.form.numbers();
        with_buffer(n, |numbers| {
            match &self.form {
                Form::Full(d) => {
                    let (mean, factor) = values.split_at(*d);
                    numbers[0] = -triangle::log_det(factor) - *d as f64 * LN_SQRT_2PI;
                    numbers[1..1 + d].copy_from_slice(mean);
                    invert(*d, factor, &mut numbers[1 + d..]);
                }
                Form::Diagonal(d) => {
                    for j in 0..*d {
                        let sd = values[d + j];
                        numbers[j] = -sd.ln() - LN_SQRT_2PI;
                        (numbers[d + j], numbers[2 * d + j]) = (values[j], 1.0 / sd);
                    }
                }
                Form::Discrete(layout) => {
                    for (kind, place) in layout.kinds() {
                        let values = &values[place.values(&*kind)];
                        kind.coefficients(values, &mut numbers[place.features(&*kind)]);
                    }
                }
            }
            self.set(k, numbers.iter().copied());
        });
    }

    /// States that fill the last register up are like the first, so that no number in them is
    /// extreme.
    pub(super) fn fill_up(&mut self) {
        let k = self.k;
        for side in self.numbers.chunks_exact_mut(stride(k)) {
            let first = side[0];
            side[k..].fill(first);
        }
    }

    /// `ln p(row | state k)`, but for what it has in every state; 0 of a row that is missing.
    pub(super) fn log_density(&self, k: usize, row: &[f64]) -> f64 {
        match &self.form {
            Form::Full(d) => {
                if has_gap(row) {
                    let none = row.iter().all(|x| x.is_nan());
                    let log = |at: Partial<'_>| self.get(0, k) + at.gain() - 0.5 * at.square;
                    return if none { 0.0 } else { self.partial(k, row, log) };
                }
                let mut at = 1 + d;
                let mut square = 0.0;
                for i in 0..*d {
                    let z: f64 =
                        (0..=i).map(|j| self.get(at + j, k) * (row[j] - self.get(1 + j, k))).sum();
                    square += z * z;
                    at += i + 1;
                }
                self.get(0, k) - 0.5 * square
            }
            Form::Diagonal(d) => {
                let seen = (0..*d).filter(|&j| !row[j].is_nan());
                seen.map(|j| {
                    let z = self.get(2 * d + j, k) * (row[j] - self.get(d + j, k));
                    self.get(j, k) - 0.5 * z * z
                })
                .sum()
            }
            Form::Discrete(layout) => {
                let mut sum = 0.0;
                layout.each(row, |f, x| sum += x * self.get(f, k));
                sum
            }
        }
    }

    /// Adds a row with these probabilities of the states to sums about the means.
    pub(super) fn add(&self, row: &[f64], labels: &[f64], sums: &mut [f64]) {
        labels.iter().enumerate().for_each(|(k, &r)| self.add_to(k, row, r, sums));
    }

    /// The same to the sums of state `k`.
    pub(super) fn add_to(&self, k: usize, row: &[f64], r: f64, sums: &mut [f64]) {
        let stride = stride(self.k);
        let mut put = |i: usize, x: f64| sums[i * stride + k] += x;
        match &self.form {
            Form::Full(d) => {
                if has_gap(row) {
                    if !row.iter().all(|x| x.is_nan()) {
                        self.add_partial(k, row, r, put);
                    }
                    return;
                }
                put(0, r);
                let y = |j: usize| row[j] - self.get(1 + j, k);
                let mut at = 1 + d;
                for i in 0..*d {
                    put(1 + i, r * y(i));
                    (0..=i).for_each(|j| put(at + j, r * y(i) * y(j)));
                    at += i + 1;
                }
            }
            Form::Diagonal(d) => {
                for j in (0..*d).filter(|&j| !row[j].is_nan()) {
                    let y = row[j] - self.get(d + j, k);
                    put(j, r);
                    put(d + j, r * y);
                    put(2 * d + j, r * y * y);
                }
            }
            Form::Discrete(layout) => layout.each(row, |f, x| put(f, r * x)),
        }
    }

    /// Calls `f` with what full state `k` makes of a row with missing cells.
    pub(super) fn partial<R>(&self, k: usize, row: &[f64], f: impl FnOnce(Partial<'_>) -> R) -> R {
        let factor = 1 + row.len();
        let w = |i: usize, j: usize| self.get(factor + triangle::len(i) + j, k);
        partial(row, |j| self.get(1 + j, k), w, f)
    }

    /// Adds such a row with probability `r` of full state `k`.
    fn add_partial(&self, k: usize, row: &[f64], r: f64, mut put: impl FnMut(usize, f64)) {
        let second = |i: usize, j: usize| 1 + row.len() + triangle::len(i) + j;
        self.partial(k, row, |at| {
            put(0, r);
            for i in 0..row.len() {
                put(1 + i, r * at.y[i]);
                (0..=i).for_each(|j| put(second(i, j), r * at.y[i] * at.y[j]));
            }
            at.each_covariance(|i, j, x| put(second(i, j), r * x));
        });
    }
}
