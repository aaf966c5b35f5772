//! `Layout`: where the features and the values of each column stand.

use serde::{Deserialize, Serialize};

use super::column::{Column, Kind};
use crate::data::Observations;
use crate::error::Error;
use crate::special::log_gamma;

/// A column and its place.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) column: Column,
    /// Its first feature.
    pub(crate) feature: usize,
    /// Its first value in a component.
    pub(crate) value: usize,
    /// Its first coordinate in a component.
    pub(crate) free: usize,
}

/// The columns, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Layout {
    pub(crate) places: Vec<Place>,
    /// How many features there are.
    pub(crate) features: usize,
    /// How many values a component has.
    pub(crate) values: usize,
    /// How many of them are free.
    pub(crate) free: usize,
}

impl Layout {
    pub(crate) fn new(columns: &[Column]) -> Layout {
        let mut layout = Layout::default();
        for &column in columns {
            let (feature, value, free) = (layout.features, layout.values, layout.free);
            layout.places.push(Place { column, feature, value, free });
            let kind = column.kind();
            layout.features += kind.features();
            layout.values += kind.values();
            layout.free += kind.free();
        }
        layout
    }

    /// Calls `f` with each feature of a row that is not 0, and its value. A missing cell has none.
    #[inline(always)]
    pub(crate) fn each(&self, row: &[f64], mut f: impl FnMut(usize, f64)) {
        for (&x, place) in row.iter().zip(&self.places) {
            if x.is_nan() {
                continue;
            }
            match place.column {
                Column::Count => {
                    f(place.feature, x);
                    f(place.feature + 1, 1.0);
                }
                Column::Binary | Column::Levels(_) => f(place.feature + x as usize, 1.0),
            }
        }
    }

    /// What the log probability of a row has in every component: `-sum ln x!` over counts.
    pub(crate) fn base(&self, row: &[f64]) -> f64 {
        let counts = row.iter().zip(&self.places);
        let counts = counts.filter(|(x, p)| p.column == Column::Count && !x.is_nan());
        -counts.map(|(x, _)| log_gamma(x + 1.0)).sum::<f64>()
    }

    /// Calls `f` with the kind of each column, its features, values and coordinates.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (super::column::AnyKind, Place)> {
        self.places.iter().map(|&place| (place.column.kind(), place))
    }

    /// Refuses rows with a cell that is not of its column's kind, or of another length.
    pub(crate) fn check(&self, data: &Observations) -> Result<(), Error> {
        let dim = self.places.len();
        Error::expect_len("a row", data.dim(), "the list of columns", dim)?;
        data.expect_cells(
            |j, x| self.places[j].column.kind().holds(x),
            |j| self.places[j].column.kind().must(),
        )
    }

    /// How far apart two rows are, squared: over the cells both have.
    pub(crate) fn distance(&self, a: &[f64], b: &[f64]) -> f64 {
        let (mut sum, mut seen) = (0.0, 0.0);
        for ((a, b), place) in a.iter().zip(b).zip(&self.places) {
            if !a.is_nan() && !b.is_nan() {
                sum += place.column.kind().distance(*a, *b);
                seen += 1.0;
            }
        }
        if seen > 0.0 { sum * a.len() as f64 / seen } else { 0.0 }
    }
}

impl Place {
    pub(crate) fn features(&self, kind: &dyn Kind) -> std::ops::Range<usize> {
        self.feature..self.feature + kind.features()
    }
    pub(crate) fn values(&self, kind: &dyn Kind) -> std::ops::Range<usize> {
        self.value..self.value + kind.values()
    }
    pub(crate) fn free(&self, kind: &dyn Kind) -> std::ops::Range<usize> {
        self.free..self.free + kind.free()
    }
}
