//! The M-step: weights, means and covariances from the moments of the labelled rows.

use super::{Covariance, GaussianMixture, Labels};
use crate::error::Error;
use crate::models::components::Shape;
use crate::scratch::with_buffer;
use crate::triangle;

/// The share of a column's variance below which a component has none left.
const COLLAPSED: f64 = 1e-12;
/// The share of a row below which a component has no rows left.
const EMPTY: f64 = 1e-10;
/// What helps.
pub(super) const OFFER: &str = "`.with_prior(Prior::weak(&data, K))`";

impl GaussianMixture {
    /// Sets the parameters to their best values.
    pub(super) fn maximize_from(&mut self, q: &Labels) -> Result<(), Error> {
        let moments = &q.moments;
        if moments.is_empty() {
            let reason = "no E-step has been made yet; use the pair (EStep, MStep)".to_string();
            return Err(Error::Ascent { block: "MStep".to_string(), reason });
        }
        let (k, dim) = (self.len(), self.components.dim);
        let prior = self.prior.as_ref();
        if let Some(k) = (0..k).find(|&k| moments.count(k) < EMPTY)
            && prior.is_none()
        {
            let left = format!("{:.1e} rows of {} left", moments.count(k), self.data().len());
            return Err(self.lost(q, k, &format!("has emptied: it has {left}")));
        }
        let total: f64 = (0..k).map(|k| moments.count(k)).sum();
        let extra = prior.map_or(0.0, |p| p.prior.concentration - 1.0);
        let pull = prior.map_or((0.0, &[][..]), |p| (p.prior.shrinkage, &p.prior.mean[..]));
        for c in 0..k {
            self.parameters.weights[c] = (moments.count(c) + extra) / (total + extra * k as f64);
            moments.mean(c, pull, &mut self.parameters.mean[c * dim..(c + 1) * dim]);
        }
        let (len, tied) = (self.components.shape.len(dim), self.covariance == Covariance::Tied);
        with_buffer(2 * len, |buffer| {
            let (scatter, sum) = buffer.split_at_mut(len);
            sum.fill(0.0);
            for c in 0..k {
                let mean = &self.parameters.mean[c * dim..(c + 1) * dim];
                moments.scatter(c, mean, scatter);
                self.add_pull(mean, scatter);
                match tied {
                    true => triangle::add_scaled(1.0, scatter, sum),
                    false => self
                        .set_factor(c, scatter, moments.count(c))
                        .map_err(|what| self.lost(q, c, &what))?,
                }
            }
            if tied {
                self.set_factor(0, sum, total).map_err(|what| {
                    let reason = format!("the covariance that all components share {what}");
                    Error::Ascent { block: "MStep".to_string(), reason }
                })?;
            }
            Ok(())
        })?;
        self.settle();
        Ok(())
    }

    /// Adds what the prior knows of a mean to the scatter about it.
    fn add_pull(&self, mean: &[f64], scatter: &mut [f64]) {
        let Some(prior) = &self.prior else { return };
        let off = |j: usize| mean[j] - prior.prior.mean[j];
        match self.components.shape {
            Shape::Diagonal => {
                let worth = prior.prior.shrinkage;
                scatter.iter_mut().enumerate().for_each(|(j, s)| *s += worth * off(j) * off(j));
            }
            Shape::Full => {
                for i in 0..mean.len() {
                    let row = &mut scatter[triangle::len(i)..triangle::len(i + 1)];
                    let a = prior.prior.shrinkage * off(i);
                    row.iter_mut().enumerate().for_each(|(j, s)| *s += a * off(j));
                }
            }
        }
    }

    /// Makes the factor of component `k` from its scatter over `n` rows; what is wrong with it if
    /// it is singular.
    fn set_factor(&mut self, k: usize, scatter: &mut [f64], n: f64) -> Result<(), String> {
        let unit = &self.parameters.unit;
        let (dim, groups) = (unit.len(), self.len());
        let n = n + self.prior.as_ref().map_or(0.0, |p| p.extra(self.covariance, groups));
        let len = match self.covariance {
            Covariance::Spherical => 1,
            _ => scatter.len(),
        };
        match (self.components.shape, self.covariance) {
            (Shape::Full, _) => {
                if let Some(prior) = &self.prior {
                    triangle::add_scaled(1.0, &prior.lower, scatter);
                }
                scatter.iter_mut().for_each(|s| *s /= n);
                triangle::factorize(scatter);
                let pivots = triangle::rows(scatter).map(|row| row[row.len() - 1]);
                check(pivots, unit, |j| self.data().label(j))?;
            }
            (_, Covariance::Spherical) => {
                let prior = self.prior.as_ref();
                let sum = scatter.iter().sum::<f64>() + prior.map_or(0.0, |p| p.mean_variance());
                // every column counts, those of the prior have been counted
                let rows = prior.map_or(0.0, |p| p.extra(self.covariance, groups));
                scatter[0] = (sum / ((n - rows) * dim as f64 + rows)).sqrt();
                check(scatter[..1].iter().copied(), unit, |_| "any".to_string())?;
            }
            _ => {
                for (j, s) in scatter.iter_mut().enumerate() {
                    *s = ((*s + self.prior.as_ref().map_or(0.0, |p| p.variance(j))) / n).sqrt();
                }
                check(scatter.iter().copied(), unit, |j| self.data().label(j))?;
            }
        }
        self.parameters.factor[k * len..(k + 1) * len].copy_from_slice(&scatter[..len]);
        Ok(())
    }

    /// The error about a component that cannot go on, with its members.
    fn lost(&self, q: &Labels, k: usize, what: &str) -> Error {
        let members = self.members(q, k);
        let reason = format!(
            "component {k} {what} ({members}); take a prior, under which that cannot be, {OFFER}, or fewer components, or another start"
        );
        Error::Ascent { block: "MStep".to_string(), reason }
    }

    /// The rows that are mostly of component `k`, in words.
    pub(super) fn members(&self, q: &Labels, k: usize) -> String {
        let r = q.responsibilities();
        let members: Vec<usize> =
            (0..self.data().len()).filter(|&i| r[i * self.len() + k] > 0.5).collect();
        const SHOWN: usize = 8;
        let shown: Vec<String> = members.iter().take(SHOWN).map(usize::to_string).collect();
        let more = if members.len() > SHOWN { ", .." } else { "" };
        match members.len() {
            0 => "no row is mostly its own".to_string(),
            1 => format!("its only row is {}", shown[0]),
            n => format!("its {n} rows are {}{more}", shown.join(", ")),
        }
    }
}

/// What is wrong with standard deviations that are 0 against the unit of their column.
fn check(
    sds: impl Iterator<Item = f64>,
    unit: &[f64],
    label: impl Fn(usize) -> String,
) -> Result<(), String> {
    for (j, (sd, unit)) in sds.zip(unit).enumerate() {
        let share = (sd / unit).powi(2);
        if share.is_nan() || share < COLLAPSED {
            return Err(format!(
                "has collapsed: nothing is left of its variance in column {}",
                label(j)
            ));
        }
    }
    Ok(())
}
