//! `Case`: a model with its data inside, and how its parameters are reported.

use elbo::autodiff::Autodiff;
use elbo::model::FromFn;
use elbo::{Model, Space, Var, from_fn};
use serde_json::Value;

/// A log joint made by [`from_fn`], its closure in a box: so that all cases are of one type.
pub type LogJoint = Autodiff<FromFn<Box<dyn Fn(&[Var]) -> Var + Send + Sync>>>;

/// From the model's own coordinates to the reported ones, in place.
type To = Box<dyn Fn(&mut [f64])>;

/// The way back, with the log Jacobian of the way there.
type Back = Box<dyn Fn(&mut [f64]) -> f64>;

/// A model of the collection.
pub struct Case {
    pub model: LogJoint,
    pub report: Report,
}

/// How the coordinates of a model are reported, where the parameters of interest are others than
/// those the model is written in: `theta = mu + tau eta`.
pub struct Report {
    /// The names of the reported parameters, coordinate by coordinate.
    pub names: Vec<String>,
    to: To,
    back: Back,
}

impl Case {
    /// A model that is reported as it is written.
    pub fn new(space: Space, log_joint: impl Fn(&[Var]) -> Var + Send + Sync + 'static) -> Case {
        let report = Report { names: space.names(), to: Box::new(|_| ()), back: Box::new(|_| 0.0) };
        Case { model: from_fn(space, Box::new(log_joint)), report }
    }

    /// Reports other parameters than those the model is written in. `to` turns a point of the
    /// model into one of the report, in place; `back` is the way back and returns
    /// `log |d reported / d own|`, by which the density over the model's own coordinates is larger.
    /// `renamed` pairs the names of the blocks that change: own, reported.
    pub fn reported(
        mut self,
        renamed: &[(&str, &str)],
        to: impl Fn(&mut [f64]) + 'static,
        back: impl Fn(&mut [f64]) -> f64 + 'static,
    ) -> Case {
        for name in &mut self.report.names {
            let (block, index) = name.split_at(name.find('[').unwrap_or(name.len()));
            if let Some((_, new)) = renamed.iter().find(|(own, _)| *own == block) {
                *name = format!("{new}{index}");
            }
        }
        self.report.to = Box::new(to);
        self.report.back = Box::new(back);
        self
    }

    /// The log joint at a point whose coordinates are given by name, the model's own names or the
    /// reported ones, as a density over these; `None` where one is missing.
    pub fn log_joint_at(&self, value: impl Fn(&str) -> Option<f64>) -> Option<f64> {
        let point = |names: &[String]| names.iter().map(|n| value(n)).collect::<Option<Vec<f64>>>();
        if let Some(z) = point(&self.model.space().names()) {
            return Some(self.model.log_joint(&z));
        }
        let mut z = point(&self.report.names)?;
        let log_det = (self.report.back)(&mut z);
        Some(self.model.log_joint(&z) - log_det)
    }
}

impl Report {
    /// Turns a point of the model into the reported parameters.
    pub fn apply(&self, z: &mut [f64]) {
        (self.to)(z);
    }
}

/// The data of a model: one JSON object.
pub struct Data(pub Value);

impl Data {
    /// A number.
    pub fn number(&self, name: &str) -> f64 {
        self.0[name].as_f64().unwrap_or_else(|| panic!("the data have no number `{name}`"))
    }

    /// A list of numbers.
    pub fn numbers(&self, name: &str) -> Vec<f64> {
        list(&self.0[name]).unwrap_or_else(|| panic!("the data have no numbers `{name}`"))
    }

    /// A table of numbers, row by row.
    pub fn rows(&self, name: &str) -> Vec<Vec<f64>> {
        let rows = self.0[name].as_array().and_then(|rows| rows.iter().map(list).collect());
        rows.unwrap_or_else(|| panic!("the data have no table `{name}`"))
    }
}

fn list(value: &Value) -> Option<Vec<f64>> {
    value.as_array()?.iter().map(Value::as_f64).collect()
}
