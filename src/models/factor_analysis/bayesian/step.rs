//! The exact step, and the ELBO of any `q`, from the covariance of the data.

use super::posterior::{FactorPosterior, Sizes};
use super::{BayesianFactors, MEAN};
use crate::error::Error;
use crate::family::{Family, Gamma};
use crate::model::Conjugate;
use crate::models::factor_analysis::gaps::{Columns, Gaps, Sums, inverse_of_square};
use crate::scratch::with_buffer;
use crate::special::{LN_SQRT_2PI, log_gamma, polygamma};
use crate::triangle::{self, Lower, add_scaled, dot, factorize, len};

/// What the factors say, on average over rows: `E[(1, z)(1, z)']`, and `E[(1, z) x']`, a column of
/// the data after another. Where cells are missing, the same as sums over the rows that have a column,
/// both a column after another, and what rows have by themselves.
struct Averages<'a> {
    square: &'a mut [f64],
    cross: &'a mut [f64],
    own: f64,
}

impl Averages<'_> {
    /// The square that is meant for column `j`.
    fn square(&self, r: usize, j: usize) -> &[f64] {
        if self.square.len() == len(r) { self.square } else { &self.square[j * len(r)..][..len(r)] }
    }
}

/// Sums over rows with gaps in the place of averages.
fn averages(sums: &mut Sums) -> Averages<'_> {
    Averages { square: &mut sums.square, cross: &mut sums.cross, own: sums.own }
}

/// `<A, B>` of two symmetric matrices by their lower triangles.
fn inner(a: &[f64], b: &[f64]) -> f64 {
    let rows = triangle::rows(a).zip(triangle::rows(b));
    rows.map(|(a, b)| 2.0 * dot(a, b) - a[a.len() - 1] * b[b.len() - 1]).sum()
}

/// `E[(mu_j, W_j)(mu_j, W_j)']`, a lower triangle.
fn second_moments(q: &FactorPosterior, j: usize, out: &mut [f64]) {
    let r = q.sizes.q + 1;
    inverse_of_square(r, q.row_factor(j), out);
    let w = q.row(j);
    for i in 0..r {
        add_scaled(w[i], &w[..=i], &mut out[len(i)..len(i + 1)]);
    }
}

fn positive(factor: &[f64]) -> bool {
    triangle::rows(factor).all(|row| row[row.len() - 1] > 0.0 && row[row.len() - 1].is_finite())
}

fn extreme(what: &str) -> Error {
    let reason = format!("the precision of {what} is not positive definite; rescale the columns");
    Error::Ascent { block: "EStep".to_string(), reason }
}

/// `E[ln p] - E[ln q]` of gamma variables under one prior.
fn less_divergence(q: &Gamma, (a, b): (f64, f64)) -> f64 {
    let one = |i: usize| {
        let (shape, rate) = (q.shape(i), q.rate(i));
        let log = polygamma(0, shape) - rate.ln();
        let density =
            |a: f64, b: f64| a * b.ln() - log_gamma(a) + (a - 1.0) * log - b * shape / rate;
        density(a, b) - density(shape, rate)
    };
    (0..q.dim()).map(one).sum()
}

fn set(q: &mut Gamma, i: usize, shape: f64, rate: f64) {
    with_buffer(q.n_params(), |params| {
        q.params(params);
        let n = params.len() / 2;
        (params[i], params[n + i]) = (shape.ln(), rate.ln());
        q.set_params(params);
    });
}

impl BayesianFactors {
    /// Lends room for what the factors say.
    fn with_averages<R>(&self, f: impl FnOnce(Averages<'_>) -> R) -> R {
        let Sizes { d, q, .. } = self.sizes;
        with_buffer(len(q + 1) + d * (q + 1), |room| {
            let (square, cross) = room.split_at_mut(len(q + 1));
            f(Averages { square, cross, own: f64::NAN })
        })
    }

    /// What averages are multiplied by: with gaps they are sums.
    fn scale(&self) -> f64 {
        if self.point.gaps.is_some() { 1.0 } else { self.rows() }
    }

    /// Writes what each column says of the factors of a row that has it, at the loadings and precisions
    /// there are.
    pub(super) fn write_columns(&self, q: &FactorPosterior, out: &mut Columns) {
        let Sizes { d, q: k, .. } = self.sizes;
        out.resize(d, k);
        with_buffer(len(k + 1), |own| {
            for j in 0..d {
                let tau = q.tau(j);
                second_moments(q, j, own);
                let w = &q.row(j)[1..];
                let square = &mut out.square[j * len(k)..(j + 1) * len(k)];
                for i in 0..k {
                    let row = &own[len(i + 1)..len(i + 2)];
                    out.beta[j * k + i] = tau * w[i];
                    out.shift[j * k + i] = tau * row[0];
                    let to = &mut square[len(i)..len(i + 1)];
                    to.iter_mut().zip(&row[1..]).for_each(|(to, x)| *to = tau * x);
                }
            }
        });
    }

    /// The step where cells are missing.
    fn step_with_gaps(
        &self,
        gaps: &Gaps,
        q: &mut FactorPosterior,
        (columns, sums): &mut (Columns, Sums),
    ) -> Result<f64, Error> {
        self.write_columns(q, columns);
        q.keep(columns);
        gaps.sums(columns, self.sizes.q, sums);
        if !sums.own.is_finite() {
            return Err(extreme("the factors"));
        }
        let at = averages(sums);
        self.move_loadings(q, &at)?;
        self.move_precisions(q, &at);
        Ok(self.elbo_at(q, &at))
    }

    /// The factors of all rows, at the loadings and precisions there are.
    fn move_factors(&self, q: &mut FactorPosterior) -> Result<(), Error> {
        let Sizes { d, q: k, .. } = self.sizes;
        let r = k + 1;
        with_buffer(2 * len(r), |room| {
            let (own, sum) = room.split_at_mut(len(r));
            sum.fill(0.0);
            for j in 0..d {
                second_moments(q, j, own);
                add_scaled(q.tau(j), own, sum);
            }
            // the first column is what mean and loadings have in common
            for i in 0..k {
                let row = &sum[len(i + 1)..len(i + 2)];
                q.shift[i] = row[0];
                q.z_factor[len(i)..len(i + 1)].copy_from_slice(&row[1..]);
                q.z_factor[len(i + 1) - 1] += 1.0;
            }
        });
        factorize(&mut q.z_factor);
        if !positive(&q.z_factor) {
            return Err(extreme("the factors"));
        }
        for j in 0..d {
            let tau = q.tau(j);
            let (beta, w) = (&mut q.beta[j * k..(j + 1) * k], &q.w[j * r + 1..(j + 1) * r]);
            beta.iter_mut().zip(w).for_each(|(b, w)| *b = tau * w);
        }
        for points in [&mut q.beta, &mut q.shift] {
            Lower::new(k, &q.z_factor).solve(points);
            Lower::new(k, &q.z_factor).solve_transposed(points);
        }
        Ok(())
    }

    /// What the factors of `q` say. The rows are centred, so `E[z] = -h`, and `E[z x'] = B S`.
    fn average(&self, q: &FactorPosterior, out: &mut Averages<'_>) {
        let Sizes { d, q: k, .. } = self.sizes;
        let (r, s) = (k + 1, &self.point.covariance);
        for (j, cross) in out.cross.chunks_exact_mut(r).enumerate() {
            cross.fill(0.0);
            for (i, beta) in q.beta.chunks_exact(k).enumerate() {
                add_scaled(s[(i, j)], beta, &mut cross[1..]);
            }
        }
        with_buffer(len(k), |inverse| {
            inverse_of_square(k, &q.z_factor, inverse);
            out.square[0] = 1.0;
            for i in 0..k {
                let row = &mut out.square[len(i + 1)..len(i + 2)];
                row[0] = -q.shift[i];
                row[1..].copy_from_slice(&inverse[len(i)..len(i + 1)]);
                add_scaled(q.shift[i], &q.shift[..=i], &mut row[1..]);
            }
        });
        // B S B'
        for j in 0..d {
            let (beta, cross) = (&q.beta[j * k..(j + 1) * k], &out.cross[j * r + 1..(j + 1) * r]);
            for i in 0..k {
                add_scaled(cross[i], &beta[..=i], &mut out.square[len(i + 1) + 1..len(i + 2)]);
            }
        }
    }

    /// `E[|x_j - mu_j - W_j z|^2]`, on average over rows.
    fn residual(&self, j: usize, q: &FactorPosterior, own: &[f64], at: &Averages<'_>) -> f64 {
        let r = self.sizes.q + 1;
        let cross = dot(q.row(j), &at.cross[j * r..(j + 1) * r]);
        let whole = match &self.point.gaps {
            Some(gaps) => gaps.square[j],
            None => self.point.covariance[(j, j)],
        };
        whole - 2.0 * cross + inner(at.square(r, j), own)
    }

    /// Means and loadings of all columns.
    fn move_loadings(&self, q: &mut FactorPosterior, at: &Averages<'_>) -> Result<(), Error> {
        let Sizes { d, q: k, .. } = self.sizes;
        let (r, precisions) = (k + 1, self.sizes.precisions());
        for j in 0..d {
            let weight = self.scale() * q.tau(j);
            if j < precisions {
                let factor = &mut q.w_factor[j * len(r)..(j + 1) * len(r)];
                factor.iter_mut().zip(at.square(r, j)).for_each(|(p, s)| *p = weight * s);
                factor[0] += MEAN;
                for i in 0..k {
                    factor[len(i + 2) - 1] += q.alpha.shape(i) / q.alpha.rate(i);
                }
                factorize(factor);
                if !positive(factor) {
                    return Err(extreme(&format!("the loadings of column {j}")));
                }
            }
            let of = j.min(precisions - 1);
            let factor = Lower::new(r, &q.w_factor[of * len(r)..(of + 1) * len(r)]);
            let w = &mut q.w[j * r..(j + 1) * r];
            let cross = &at.cross[j * r..(j + 1) * r];
            w.iter_mut().zip(cross).for_each(|(w, c)| *w = weight * c);
            factor.solve(w);
            factor.solve_transposed(w);
        }
        Ok(())
    }

    /// Relevances and noises.
    fn move_precisions(&self, q: &mut FactorPosterior, at: &Averages<'_>) {
        let Sizes { d, q: k, noises, .. } = self.sizes;
        with_buffer(len(k + 1) + k + noises, |room| {
            let (own, sums) = room.split_at_mut(len(k + 1));
            sums.fill(0.0);
            for j in 0..d {
                second_moments(q, j, own);
                (0..k).for_each(|i| sums[i] += own[len(i + 2) - 1]);
                sums[k + j.min(noises - 1)] += self.residual(j, q, own, at);
            }
            for (i, sum) in sums[..k].iter().enumerate() {
                let (a, b) = self.alpha;
                set(&mut q.alpha, i, a + 0.5 * d as f64, b + 0.5 * sum);
            }
            for (i, sum) in sums[k..].iter().enumerate() {
                let (a, b) = self.tau;
                let each = match &self.point.gaps {
                    Some(gaps) if noises == d => gaps.count[i],
                    Some(gaps) => gaps.count.iter().sum(),
                    None => self.rows() * (d / noises) as f64,
                };
                set(&mut q.tau, i, a + 0.5 * each, b + 0.5 * self.scale() * sum);
            }
        });
    }

    /// The ELBO of any `q`, with every constant.
    pub fn elbo(&self, q: &FactorPosterior) -> f64 {
        if let Some(gaps) = &self.point.gaps {
            let mut sums = Sums::default();
            gaps.sums(&q.columns(), self.sizes.q, &mut sums);
            return self.elbo_at(q, &averages(&mut sums));
        }
        self.with_averages(|mut at| {
            self.average(q, &mut at);
            self.elbo_at(q, &at)
        })
    }

    fn elbo_at(&self, q: &FactorPosterior, at: &Averages<'_>) -> f64 {
        let Sizes { d, q: k, noises, .. } = self.sizes;
        let rows = self.rows();
        let log = |g: &Gamma, i: usize| polygamma(0, g.shape(i)) - g.rate(i).ln();
        let alpha = |i: usize| q.alpha.shape(i) / q.alpha.rate(i);
        let relevance: f64 = (0..k).map(|i| log(&q.alpha, i)).sum();
        let columns = with_buffer(len(k + 1), |own| {
            let one = |j: usize| {
                second_moments(q, j, own);
                let log_tau = log(&q.tau, j.min(noises - 1));
                let residual = self.residual(j, q, own, at);
                let data = match &self.point.gaps {
                    Some(gaps) => {
                        let peak = 0.5 * log_tau - LN_SQRT_2PI - self.point.unit[j].ln();
                        gaps.count[j] * peak - 0.5 * q.tau(j) * residual
                    }
                    None => rows * (0.5 * log_tau - LN_SQRT_2PI - 0.5 * q.tau(j) * residual),
                };
                let pull: f64 = (0..k).map(|i| alpha(i) * own[len(i + 2) - 1]).sum();
                let prior = 0.5 * (MEAN.ln() + relevance - MEAN * own[0] - pull);
                // the constants of prior and entropy leave half a coordinate each
                let entropy = 0.5 * (k + 1) as f64 - triangle::log_det(q.row_factor(j));
                data + prior + entropy
            };
            (0..d).map(one).sum::<f64>()
        });
        let precisions = less_divergence(&q.alpha, self.alpha) + less_divergence(&q.tau, self.tau);
        if self.point.gaps.is_some() {
            return columns + at.own + precisions;
        }
        let squares: f64 = (0..k).map(|i| at.square[len(i + 2) - 1]).sum();
        let factors = rows * (0.5 * (k as f64 - squares) - triangle::log_det(&q.z_factor));
        columns + factors + precisions - rows * self.point.log_units()
    }
}

impl Conjugate<FactorPosterior> for BayesianFactors {
    /// # Errors
    /// A rate other than 1: the factors are local, and cost nothing to make anew.
    fn natural_step(&self, q: &mut FactorPosterior, rate: f64) -> Result<f64, Error> {
        if rate != 1.0 {
            let remedy = "factors belong to single rows: use EStep";
            return Err(Error::option("rate of NaturalStep", rate, remedy));
        }
        q.attach(&self.point);
        if let Some(gaps) = &self.point.gaps {
            let mut room = std::mem::take(&mut q.room);
            let elbo = self.step_with_gaps(gaps, q, &mut room);
            q.room = room;
            return elbo;
        }
        self.move_factors(q)?;
        self.with_averages(|mut at| {
            self.average(q, &mut at);
            self.move_loadings(q, &at)?;
            self.move_precisions(q, &at);
            Ok(self.elbo_at(q, &at))
        })
    }
}
