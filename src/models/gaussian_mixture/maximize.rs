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

impl GaussianMixture {
    /// Sets the parameters to their best values.
    pub(super) fn maximize_from(&mut self, q: &Labels) -> Result<(), Error> {
        let moments = &q.moments;
        if moments.is_empty() {
            let reason = "no E-step has been made yet; use the pair (EStep, MStep)".to_string();
            return Err(Error::Ascent { block: "MStep".to_string(), reason });
        }
        let (k, dim) = (self.len(), self.data.dim());
        if let Some(k) = (0..k).find(|&k| moments.count(k) < EMPTY) {
            let left = format!("{:.1e} rows of {} left", moments.count(k), self.data.len());
            return Err(self.lost(q, k, &format!("has emptied: it has {left}")));
        }
        let total: f64 = (0..k).map(|k| moments.count(k)).sum();
        for k in 0..k {
            self.parameters.weights[k] = moments.count(k) / total;
            moments.mean(k, &mut self.parameters.mean[k * dim..(k + 1) * dim]);
        }
        let len = self.components.shape.len(dim);
        with_buffer(2 * len, |buffer| {
            let (scatter, sum) = buffer.split_at_mut(len);
            sum.fill(0.0);
            for k in 0..k {
                let mean = &self.parameters.mean[k * dim..(k + 1) * dim];
                moments.scatter(k, mean, scatter);
                if self.covariance == Covariance::Tied {
                    triangle::add_scaled(1.0 / total, scatter, sum);
                    continue;
                }
                let n = moments.count(k);
                scatter.iter_mut().for_each(|s| *s /= n);
                self.set_factor(k, scatter).map_err(|what| self.lost(q, k, &what))?;
            }
            if self.covariance == Covariance::Tied {
                self.set_factor(0, sum).map_err(|what| {
                    let reason = format!("the covariance that all components share {what}");
                    Error::Ascent { block: "MStep".to_string(), reason }
                })?;
            }
            Ok(())
        })?;
        self.refresh();
        Ok(())
    }

    /// Makes the factor of component `k` from its covariance; what is wrong with it if it is
    /// singular.
    fn set_factor(&mut self, k: usize, covariance: &mut [f64]) -> Result<(), String> {
        let unit = &self.parameters.unit;
        let dim = unit.len();
        if self.components.shape == Shape::Full {
            triangle::factorize(covariance);
            let pivots = triangle::rows(covariance).map(|row| row[row.len() - 1]);
            check(pivots, unit, |j| self.data.label(j))?;
        } else if self.covariance == Covariance::Spherical {
            let variance = covariance.iter().sum::<f64>() / dim as f64;
            covariance[0] = variance.sqrt();
            check(covariance[..1].iter().copied(), unit, |_| "all columns".to_string())?;
        } else {
            covariance.iter_mut().for_each(|v| *v = v.sqrt());
            check(covariance.iter().copied(), unit, |j| self.data.label(j))?;
        }
        let len = match self.covariance {
            Covariance::Spherical => 1,
            _ => covariance.len(),
        };
        self.parameters.factor[k * len..(k + 1) * len].copy_from_slice(&covariance[..len]);
        Ok(())
    }

    /// The error about a component that cannot go on, with its members.
    fn lost(&self, q: &Labels, k: usize, what: &str) -> Error {
        let r = q.responsibilities();
        let members: Vec<usize> =
            (0..self.data.len()).filter(|&i| r[i * self.len() + k] > 0.5).collect();
        const SHOWN: usize = 8;
        let shown: Vec<String> = members.iter().take(SHOWN).map(usize::to_string).collect();
        let more = if members.len() > SHOWN { ", .." } else { "" };
        let rows = match members.len() {
            0 => "no row is mostly its own".to_string(),
            n => format!("its rows: {n}, of numbers {}{more}", shown.join(", ")),
        };
        let reason = format!(
            "component {k} {what} ({rows}); take fewer components, another start, or covariances that share more"
        );
        Error::Ascent { block: "MStep".to_string(), reason }
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
                "has collapsed: nothing is left of the variance in column {}",
                label(j)
            ));
        }
    }
    Ok(())
}
