//! A comparison as text, as CSV and as JSON.

use std::fmt;
use std::io::Write;

use super::{Comparison, Parameter, Quantity};
use crate::diagnostics::summary::{fitted, number};
use crate::error::Error;
use crate::posterior::file_error;

impl Comparison {
    /// How many parameters are printed.
    pub const SHOWN: usize = 20;

    /// Writes a header and one line a parameter and method, all digits: the columns `parameter`,
    /// `method`, `estimate`, `sd`, `q05`, `q95`, and of the method `quantity`, `reached`, `mcse`,
    /// `seconds`, `steps`, `gradients`, `data`. What is not known is empty.
    ///
    /// # Errors
    /// The writer's.
    pub fn write_csv(&self, to: impl Write) -> Result<(), Error> {
        let mut csv = csv::Writer::from_writer(to);
        let some = |x: Option<f64>| x.map(|x| x.to_string()).unwrap_or_default();
        let count = |n: Option<usize>| n.map(|n| n.to_string()).unwrap_or_default();
        let mut write = || -> Result<(), csv::Error> {
            csv.write_record([
                "parameter",
                "method",
                "estimate",
                "sd",
                "q05",
                "q95",
                "quantity",
                "reached",
                "mcse",
                "seconds",
                "steps",
                "gradients",
                "data",
            ])?;
            for name in self.parameters() {
                for (entry, p) in self.told(&name) {
                    let reached = entry.objective.map(|o| o.reached);
                    csv.write_record([
                        name.clone(),
                        entry.method.clone(),
                        p.estimate.to_string(),
                        some(p.sd),
                        some(p.q05),
                        some(p.q95),
                        entry.objective.map(|o| o.quantity.to_string()).unwrap_or_default(),
                        some(reached.map(|r| r.value)),
                        some(reached.map(|r| r.mcse)),
                        some(entry.seconds),
                        count(entry.steps),
                        count(entry.gradients),
                        self.data.to_string(),
                    ])?;
                }
            }
            Ok(csv.flush()?)
        };
        write().map_err(|e| file_error("the comparison", e))
    }

    /// All of it as JSON, densities included and every digit kept.
    ///
    /// # Errors
    /// None that is known of.
    pub fn to_json(&self) -> Result<String, Error> {
        serde_json::to_string_pretty(self).map_err(|e| file_error("the comparison", e))
    }

    /// Reads what [`Comparison::to_json`] wrote.
    ///
    /// # Errors
    /// Text that is cut off or from elsewhere.
    pub fn from_json(text: &str) -> Result<Comparison, Error> {
        let not = |e| file_error("the text", format!("not a saved comparison: {e}"));
        serde_json::from_str(text).map_err(not)
    }

    /// Those that say something of a parameter, and what.
    pub(crate) fn told(&self, name: &str) -> Vec<(&super::Entry, &Parameter)> {
        let one = |e: &'_ super::Entry| e.parameters.iter().position(|p| p.label() == name);
        self.entries.iter().filter_map(|e| one(e).map(|at| (e, &e.parameters[at]))).collect()
    }
}

/// A line a method, then a line a parameter and method; what is not known is a dash.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WIDEST: usize = 32;
        let width = |names: &[String], least: usize| {
            names.iter().map(|n| n.chars().count()).max().unwrap_or(0).clamp(least, WIDEST)
        };
        let methods: Vec<String> = self.entries.iter().map(|e| fitted(&e.method, WIDEST)).collect();
        let wide = width(&methods, 6);
        let dash = || "–".to_string();
        write!(f, "{:wide$}  {:14} {:>21} {:>9}", "method", "", "nats", "seconds")?;
        write!(f, " {:>8} {:>9}", "steps", "gradients")?;
        for (entry, method) in self.entries.iter().zip(&methods) {
            let (quantity, reached) = match &entry.objective {
                Some(o) if o.reached.mcse < 5e-5 => {
                    (o.quantity.to_string(), format!("{:.4}", o.reached.value))
                }
                Some(o) => (o.quantity.to_string(), o.reached.to_string()),
                None => (dash(), dash()),
            };
            let seconds = entry.seconds.map_or_else(dash, |s| number(s, 3));
            let count = |n: Option<usize>| n.map_or_else(dash, |n| n.to_string());
            let (steps, gradients) = (count(entry.steps), count(entry.gradients));
            write!(f, "\n{method:wide$}  {quantity:14} {reached:>21} {seconds:>9}")?;
            write!(f, " {steps:>8} {gradients:>9}")?;
        }
        let names = self.parameters();
        let shown = &names[..names.len().min(Comparison::SHOWN)];
        let fit: Vec<String> = shown.iter().map(|n| fitted(n, WIDEST)).collect();
        let name_width = width(&fit, 9);
        write!(f, "\n\n{:name_width$}  {:wide$}", "parameter", "method")?;
        for head in ["estimate", "sd", "5%", "95%"] {
            write!(f, " {head:>9}")?;
        }
        for (name, fitted) in shown.iter().zip(&fit) {
            let told = self.told(name);
            let spreads = told.iter().filter_map(|(_, p)| p.sd).filter(|s| *s > 0.0);
            let spread = spreads.fold(f64::INFINITY, f64::min);
            // of a point without an error, three digits
            let sizes = told.iter().map(|(_, p)| 0.1 * p.estimate.abs()).filter(|x| *x > 0.0);
            let spread = if spread.is_finite() { spread } else { sizes.fold(1.0, f64::min) };
            let decimals = (2.0 - spread.log10().floor()).clamp(0.0, 7.0) as usize;
            for (i, (entry, p)) in told.into_iter().enumerate() {
                let name = if i == 0 { fitted.as_str() } else { "" };
                let at = self.entries.iter().position(|e| e.method == entry.method).unwrap_or(0);
                write!(f, "\n{name:name_width$}  {:wide$}", methods[at])?;
                for x in [Some(p.estimate), p.sd, p.q05, p.q95] {
                    write!(f, " {:>9}", x.map_or_else(dash, |x| number(x, decimals)))?;
                }
            }
        }
        if names.len() > shown.len() {
            write!(f, "\n... and {} more parameters", names.len() - shown.len())?;
        }
        let has = |wanted: &[Quantity]| {
            self.entries.iter().filter_map(|e| e.objective).any(|o| wanted.contains(&o.quantity))
        };
        if has(&[Quantity::Elbo, Quantity::LogEvidence])
            && has(&[Quantity::LogLikelihood, Quantity::LogJoint])
        {
            write!(f, "\nnats at a point do not compare with a bound or an evidence")?;
        }
        Ok(())
    }
}
