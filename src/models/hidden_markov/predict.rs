//! What a model says of sequences, old or new: states, likelihoods, what comes next, draws.

use std::ops::Range;

use rand::{Rng, RngExt};

use super::densities::Form;
use super::sums::{self, Sums};
use super::{HiddenMarkov, Sequences};
use crate::error::Error;
use crate::models::gaussian_mixture::Criteria;
use crate::noise::fill_normal;
use crate::triangle;

/// A number drawn with these probabilities.
fn draw(p: &[f64], rng: &mut dyn Rng) -> usize {
    let mut left: f64 = rng.random();
    let hit = p.iter().position(|p| {
        left -= p;
        left < 0.0
    });
    // rounding may leave something: then the last that is possible
    hit.unwrap_or_else(|| p.iter().rposition(|p| *p > 0.0).unwrap_or(0))
}

impl HiddenMarkov {
    /// The probabilities of the states of these rows under the parameters, given the whole sequence
    /// each is in, `K x n`: those of one row side by side.
    ///
    /// # Errors
    /// Rows of another length, or cells that the emission does not allow.
    pub fn marginals(&self, sequences: &Sequences) -> Result<Vec<f64>, Error> {
        self.expect(sequences)?;
        let mut out = vec![0.0; sequences.rows().len() * self.len()];
        sums::marginals(&self.chain, &self.densities, sequences, &mut out);
        Ok(out)
    }

    /// The most probable states of each sequence together, by the algorithm of Viterbi (1967): the
    /// path `z` with the largest `p(z | x)`. Its states need not be the most probable ones of their
    /// rows.
    ///
    /// # Errors
    /// As [`HiddenMarkov::marginals`].
    pub fn path(&self, sequences: &Sequences) -> Result<Vec<usize>, Error> {
        self.expect(sequences)?;
        let mut path = vec![0; sequences.rows().len()];
        let mut from = Vec::new();
        for range in sequences.ranges() {
            self.path_of(sequences, range.clone(), &mut from, &mut path[range]);
        }
        Ok(path)
    }

    fn path_of(
        &self,
        sequences: &Sequences,
        range: Range<usize>,
        from: &mut Vec<usize>,
        path: &mut [usize],
    ) {
        let k = self.len();
        let mut best: Vec<f64> = self.chain.log_initial.clone();
        let mut next = vec![0.0; k];
        from.clear();
        for (t, row) in range.map(|i| sequences.rows().row(i)).enumerate() {
            if t > 0 {
                for (j, next) in next.iter_mut().enumerate() {
                    let each = (0..k).map(|i| best[i] + self.chain.step(i, j)).enumerate();
                    let (i, log) =
                        each.fold((0, f64::NEG_INFINITY), |a, b| if b.1 > a.1 { b } else { a });
                    *next = log;
                    from.push(i);
                }
                std::mem::swap(&mut best, &mut next);
            }
            for (j, best) in best.iter_mut().enumerate() {
                *best += self.densities.log_density(j, row);
            }
        }
        let last = best
            .iter()
            .enumerate()
            .fold((0, f64::NEG_INFINITY), |a, (j, &b)| if b > a.1 { (j, b) } else { a });
        let mut now = last.0;
        for t in (0..path.len()).rev() {
            path[t] = now;
            if t > 0 {
                now = from[(t - 1) * k + now];
            }
        }
    }

    /// The log likelihood of each sequence in nats, whatever its weight: of sequences held out, how
    /// well they are predicted. Negative infinity where the parameters make one impossible.
    ///
    /// ```
    /// use elbo::data::Observations;
    /// use elbo::models::hidden_markov::{HiddenMarkov, Sequences};
    /// let seen = Observations::new(vec![0.0, 0.0, 1.0, 1.0, 1.0, 0.0], 1)?;
    /// let model = HiddenMarkov::categorical(Sequences::one(seen)?, 2, &[2])?;
    /// let model = model.with_parameters(&[1.0, 0.0], &[0.5, 0.5, 0.0, 1.0], &[1.0 - 1e-9, 1e-9, 0.5, 0.5])?;
    /// let new = Sequences::one(Observations::new(vec![1.0, 1.0], 1)?)?;
    /// // a state that hardly ever shows 1, then either
    /// let p = 1e-9 * (0.5 * 1e-9 + 0.5 * 0.5);
    /// assert!((model.score(&new)?[0] - f64::ln(p)).abs() < 1e-6);
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`HiddenMarkov::marginals`].
    pub fn score(&self, sequences: &Sequences) -> Result<Vec<f64>, Error> {
        self.expect(sequences)?;
        let rows = sequences.rows();
        let common = |range: Range<usize>| match &self.parameters.form {
            Form::Discrete(layout) => range.map(|i| layout.base(rows.row(i))).sum(),
            _ => 0.0,
        };
        let one = |i: usize| {
            let own = sums::log_likelihood(&self.chain, &self.densities, sequences, i);
            own + common(sequences.range(i))
        };
        Ok((0..sequences.len()).map(one).collect())
    }

    /// The probabilities of the state `ahead` rows after the end of each sequence, `K` a sequence.
    ///
    /// # Errors
    /// As [`HiddenMarkov::marginals`].
    pub fn states_ahead(&self, sequences: &Sequences, ahead: usize) -> Result<Vec<f64>, Error> {
        let (k, marginals) = (self.len(), self.marginals(sequences)?);
        let mut out = Vec::with_capacity(k * sequences.len());
        for range in sequences.ranges() {
            let mut p = marginals[(range.end - 1) * k..range.end * k].to_vec();
            for _ in 0..ahead {
                let into = |j: usize| (0..k).map(|i| p[i] * self.transition(i)[j]).sum();
                p = (0..k).map(into).collect();
            }
            out.extend(p);
        }
        Ok(out)
    }

    /// The row that is expected `ahead` rows after the end of each sequence, `d` numbers a sequence.
    ///
    /// # Errors
    /// As [`HiddenMarkov::marginals`].
    pub fn row_ahead(&self, sequences: &Sequences, ahead: usize) -> Result<Vec<f64>, Error> {
        let (k, d) = (self.len(), self.sequences.rows().dim());
        let means: Vec<Vec<f64>> = (0..k).map(|c| self.mean(c)).collect();
        let states = self.states_ahead(sequences, ahead)?;
        let one = |p: &[f64]| -> Vec<f64> {
            (0..d).map(|j| (0..k).map(|c| p[c] * means[c][j]).sum()).collect()
        };
        Ok(states.chunks_exact(k).flat_map(one).collect())
    }

    /// Draws a sequence of `n` rows, one after another, and their states.
    ///
    /// ```
    /// use elbo::data::{NILE, Observations};
    /// use elbo::models::hidden_markov::{HiddenMarkov, Sequences};
    /// use elbo::{Purpose, stream};
    /// let flows = Sequences::one(Observations::new(NILE.to_vec(), 1)?)?;
    /// let model = HiddenMarkov::gaussian(flows, 2)?;
    /// let (rows, states) = model.sample(5, &mut stream(1, Purpose::Data, 0));
    /// assert_eq!((rows.len(), states.len()), (5, 5));
    /// # Ok::<(), elbo::Error>(())
    /// ```
    pub fn sample(&self, n: usize, rng: &mut dyn Rng) -> (Vec<f64>, Vec<usize>) {
        let d = self.sequences.rows().dim();
        let (mut rows, mut states) = (Vec::with_capacity(n * d), Vec::with_capacity(n));
        let mut noise = vec![0.0; d];
        let mut now = draw(self.initial(), rng);
        for t in 0..n {
            if t > 0 {
                now = draw(self.transition(now), rng);
            }
            states.push(now);
            let values = self.parameters.values(now);
            match &self.parameters.form {
                Form::Discrete(layout) => {
                    for (kind, place) in layout.kinds() {
                        rows.push(kind.cell(&values[place.values(&*kind)], rng));
                    }
                }
                Form::Diagonal(_) => {
                    fill_normal(rng, &mut noise);
                    rows.extend((0..d).map(|j| values[j] + values[d + j] * noise[j]));
                }
                Form::Full(_) => {
                    fill_normal(rng, &mut noise);
                    let (mean, factor) = values.split_at(d);
                    let off = triangle::rows(factor).map(|l| triangle::dot(l, &noise[..l.len()]));
                    rows.extend(mean.iter().zip(off).map(|(m, off)| m + off));
                }
            }
        }
        (rows, states)
    }

    /// `p`: what is free in probabilities and states.
    pub fn n_parameters(&self) -> usize {
        self.parameters.n_free()
    }

    /// Goes over the sequences once and says how well the parameters fit: BIC, AIC and ICL, in which
    /// the number of rows counts.
    ///
    /// # Errors
    /// A sequence that has probability 0.
    pub fn criteria(&self) -> Result<Criteria, Error> {
        let mut sums = Sums::default();
        sums::sums(&self.chain, &self.densities, &self.sequences, &mut sums)?;
        let both = sums.log_normalizer - sums.expected_log_joint(&self.chain, &self.densities);
        let entropy =
            both - sums::entropy_of_missing(&self.chain, &self.densities, &self.sequences);
        let log_likelihood = sums.log_normalizer + self.base;
        let n = self.sequences.rows().total_weight();
        Ok(Criteria::new(log_likelihood, entropy.max(0.0), self.n_parameters(), n))
    }

    fn expect(&self, sequences: &Sequences) -> Result<(), Error> {
        let (new, old) = (sequences.rows().dim(), self.sequences.rows().dim());
        Error::expect_len("a row", new, "a row of the data", old)?;
        self.emission.form(sequences.rows()).map(|_| ())
    }
}
