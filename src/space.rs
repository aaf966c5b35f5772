//! `Space`: the names, sizes and supports of the coordinates of `z`, declared once.

use std::ops::{Index, IndexMut};

use serde::{Deserialize, Serialize};

use crate::autodiff::Real;
use crate::bijector::Support;
use crate::error::Error;
use crate::scratch::with_buffer;

/// One coordinate of `z`: reads as `z[mu]`, and is written so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coordinate(usize);

/// Several coordinates of `z` side by side: reads as the slice `z[eta]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    start: usize,
    end: usize,
}

impl Block {
    /// How many coordinates.
    pub fn len(&self) -> usize {
        self.end - self.start
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.end == self.start
    }
}

impl<T> Index<Coordinate> for [T] {
    type Output = T;
    fn index(&self, i: Coordinate) -> &T {
        &self[i.0]
    }
}
impl<T> Index<Block> for [T] {
    type Output = [T];
    fn index(&self, i: Block) -> &[T] {
        &self[i.start..i.end]
    }
}
impl<T> IndexMut<Coordinate> for [T] {
    fn index_mut(&mut self, i: Coordinate) -> &mut T {
        &mut self[i.0]
    }
}
impl<T> IndexMut<Block> for [T] {
    fn index_mut(&mut self, i: Block) -> &mut [T] {
        &mut self[i.start..i.end]
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    name: String,
    support: Support,
    /// Coordinates on the natural scale.
    len: usize,
    /// Whether the name stands for one number (`mu`) or is indexed (`theta[3]`).
    indexed: bool,
    /// Whether coordinates are those of `R^k` that map onto the support.
    moved: bool,
}

/// Names, lengths and supports of the coordinates of `z`, block after block.
///
/// Declaring a block returns a handle; a log joint reads `z` through it, without counting offsets.
///
/// ```
/// use elbo::Space;
/// let mut space = Space::new();
/// let mu = space.real("mu");
/// let eta = space.reals("eta", 2);
/// let z = vec![1.0, 2.0, 3.0];
/// assert_eq!(z[..][mu], 1.0);
/// assert_eq!(&z[..][eta], &[2.0, 3.0]);
/// assert_eq!(space.names(), ["mu", "eta[1]", "eta[2]"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Space {
    entries: Vec<Entry>,
}

macro_rules! declare {
    ($(#[$one:meta])* $single:ident, $(#[$many:meta])* $several:ident, $support:expr) => {
        $(#[$one])*
        pub fn $single(&mut self, name: &str) -> Coordinate {
            self.one(name, $support)
        }
        $(#[$many])*
        pub fn $several(&mut self, name: &str, len: usize) -> Block {
            self.block(name, len, $support)
        }
    };
}

impl Space {
    /// A space without coordinates.
    pub fn new() -> Space {
        Space::default()
    }

    declare!(
        /// Declares a real number.
        real,
        /// Declares a vector of real numbers.
        reals,
        Support::Real
    );
    declare!(
        /// Declares a positive number.
        positive,
        /// Declares a vector of positive numbers.
        positives,
        Support::Positive
    );
    declare!(
        /// Declares a number between 0 and 1.
        unit,
        /// Declares a vector of numbers between 0 and 1.
        units,
        Support::Unit
    );

    /// Declares one number on any support that acts number by number.
    pub fn one(&mut self, name: &str, support: Support) -> Coordinate {
        Coordinate(self.declare(name, 1, support, false).start)
    }

    /// Declares `len` coordinates on a support: `space.block("w", 3, Support::Simplex)`.
    pub fn block(&mut self, name: &str, len: usize, support: Support) -> Block {
        self.declare(name, len, support, true)
    }

    /// Declares the Cholesky factor of a `rows x rows` correlation matrix; the block holds its
    /// lower triangle with the diagonal, row by row, and is named `L[2,1]`.
    pub fn correlation_cholesky(&mut self, name: &str, rows: usize) -> Block {
        self.declare(name, rows * (rows + 1) / 2, Support::CorrelationCholesky { rows }, true)
    }

    fn declare(&mut self, name: &str, len: usize, support: Support, indexed: bool) -> Block {
        let start = self.dim();
        self.entries.push(Entry { name: name.to_string(), support, len, indexed, moved: false });
        Block { start, end: start + len }
    }

    /// How many coordinates a point of this space has.
    pub fn dim(&self) -> usize {
        self.entries.iter().map(Entry::dim).sum()
    }

    /// How many coordinates a point has on the natural scale.
    pub fn natural_dim(&self) -> usize {
        self.entries.iter().map(|e| e.len).sum()
    }

    /// A name for each coordinate on the natural scale: `mu`, `theta[3]`, `L[2,1]`.
    pub fn names(&self) -> Vec<String> {
        self.entries.iter().flat_map(|e| e.names(e.len)).collect()
    }

    /// A name for each coordinate of this space: where a block has been moved to `R^k`, what the
    /// coordinate means there, such as `log(tau)`.
    pub fn coordinate_names(&self) -> Vec<String> {
        self.entries.iter().flat_map(Entry::coordinate_names).collect()
    }

    /// The support of coordinate `i` of this space; `Real` where it has been moved to `R^k`.
    pub fn support(&self, i: usize) -> Support {
        let mut end = 0;
        for e in &self.entries {
            end += e.dim();
            if i < end {
                return if e.moved { Support::Real } else { e.support };
            }
        }
        Support::Real
    }

    /// Whether there are labels among the coordinates.
    pub(crate) fn has_labels(&self) -> bool {
        self.entries.iter().any(|e| matches!(e.support, Support::Category(_)))
    }

    /// The natural support of coordinate `i` of this space, and whether it has been moved to
    /// `R^k`.
    pub(crate) fn coordinate(&self, i: usize) -> Option<(Support, bool)> {
        let mut end = 0;
        self.entries.iter().find_map(|e| {
            end += e.dim();
            (i < end).then_some((e.support, e.moved))
        })
    }

    /// The same blocks with their coordinates moved to `R^k`; labels stay where they are.
    ///
    /// ```
    /// use elbo::{Space, Support};
    /// let mut space = Space::new();
    /// space.positive("sd");
    /// space.block("label", 2, Support::Category(3));
    /// let free = space.unconstrained();
    /// assert_eq!(free.coordinate_names(), ["log(sd)", "label[1]", "label[2]"]);
    /// assert_eq!(free.support(1), Support::Category(3));
    /// let mut u = [0.0; 3];
    /// assert_eq!(
    ///     free.unconstrain(&[1.0, 2.0, 3.0], &mut u).unwrap_err().to_string(),
    ///     "E06 `label[2]` = 3 is outside its support Category(3); move it inside or declare another support"
    /// );
    /// ```
    pub fn unconstrained(&self) -> Space {
        let mut moved = self.clone();
        for e in &mut moved.entries {
            e.moved = !matches!(e.support, Support::Category(_));
        }
        moved
    }

    /// The space whose labels choose among the weights of this one's simplexes, and how many
    /// weights each has.
    ///
    /// # Errors
    /// A block that is no simplex, or has been moved to `R^k`.
    pub(crate) fn labels_of_simplexes(&self) -> Result<(Space, Vec<usize>), Error> {
        let mut labels = Space::new();
        let mut lengths = Vec::new();
        for e in &self.entries {
            if e.support != Support::Simplex || e.moved {
                let reason = format!(
                    "`{}` lives on {}; one-hot vectors are blocks on Simplex: declare it with \
                     `space.block(\"{}\", n, Support::Simplex)`",
                    e.name,
                    if e.moved { "R^k".to_string() } else { e.support.name() },
                    e.name
                );
                return Err(Error::Space { reason });
            }
            labels.one(&e.name, Support::Category(u32::try_from(e.len).unwrap_or(u32::MAX)));
            lengths.push(e.len);
        }
        Ok((labels, lengths))
    }

    /// The same blocks on their natural scale.
    pub fn natural(&self) -> Space {
        let mut back = self.clone();
        back.entries.iter_mut().for_each(|e| e.moved = false);
        back
    }

    /// Writes the point on the natural scale that `u` stands for, and returns the sum of
    /// `log|det J|` over the blocks that have been moved. Lengths [`Space::dim`] and
    /// [`Space::natural_dim`].
    pub fn constrain<T: Real>(&self, u: &[T], z: &mut [T]) -> T {
        self.constrain_unless(|_| false, u, z)
    }

    /// The map from this space, moved to `R^k`, to the same blocks in `inner`, where some may have
    /// been moved already: those are copied. Returns the sum of `log|det J|` of the others.
    pub(crate) fn constrain_to<T: Real>(&self, inner: &Space, u: &[T], z: &mut [T]) -> T {
        self.constrain_unless(|k| inner.entries[k].moved, u, z)
    }

    /// Constrains every block that has been moved, unless told to leave it.
    fn constrain_unless<T: Real>(&self, leave: impl Fn(usize) -> bool, u: &[T], z: &mut [T]) -> T {
        let (mut from, mut to) = (0, 0);
        let mut log_det = T::from(0.0);
        for (k, e) in self.entries.iter().enumerate() {
            let free = e.dim();
            let len = if leave(k) { free } else { e.len };
            let (u, z) = (&u[from..from + free], &mut z[to..to + len]);
            if e.moved && !leave(k) {
                log_det += e.support.constrain(u, z);
            } else {
                z.copy_from_slice(u);
            }
            from += free;
            to += len;
        }
        log_det
    }

    /// Writes the coordinates in this space of the natural point `z`.
    ///
    /// # Errors
    /// A coordinate outside its support is named.
    pub fn unconstrain(&self, z: &[f64], u: &mut [f64]) -> Result<(), Error> {
        Error::expect_len("the point", z.len(), "the space", self.natural_dim())?;
        let (mut from, mut to) = (0, 0);
        for e in &self.entries {
            let (z, u) = (&z[from..from + e.len], &mut u[to..to + e.dim()]);
            let outside = |free: &[f64]| free.iter().position(|u| !u.is_finite());
            let bad = if e.moved {
                e.support.unconstrain(z, u);
                outside(u)
            } else {
                u.copy_from_slice(z);
                with_buffer(e.support.free_len(e.len), |free| {
                    e.support.unconstrain(z, free);
                    outside(free)
                })
            };
            if let Some(i) = bad {
                let i = i.min(e.len - 1);
                return Err(Error::OutsideSupport {
                    name: e.names(e.len).swap_remove(i),
                    value: z[i],
                    support: e.support.name(),
                });
            }
            from += e.len;
            to += e.dim();
        }
        Ok(())
    }

    /// Says what is wrong with the declaration: an empty or repeated name, limits out of order.
    ///
    /// # Errors
    /// The first block that cannot be, with what to change.
    pub fn check(&self) -> Result<(), Error> {
        for (i, e) in self.entries.iter().enumerate() {
            let wrong = if e.name.is_empty() {
                Some("a block has no name".to_string())
            } else if self.entries[..i].iter().any(|o| o.name == e.name) {
                Some(format!("`{}` is declared twice; every block needs a name of its own", e.name))
            } else {
                match e.support {
                    Support::Interval(low, high) if !(low < high && (high - low).is_finite()) => {
                        Some(format!(
                            "`{}` lives on Interval({low}, {high}); need low < high",
                            e.name
                        ))
                    }
                    Support::Lower(x) | Support::Upper(x) if !x.is_finite() => {
                        Some(format!("the limit of `{}` is {x}; use Real instead", e.name))
                    }
                    Support::Simplex if e.len < 2 => {
                        Some(format!("the simplex `{}` needs at least 2 coordinates", e.name))
                    }
                    Support::Simplexes(n) if n < 2 || !e.len.is_multiple_of(n) => Some(format!(
                        "`{}` holds simplexes of {n} coordinates in {} numbers; a simplex needs \
                         at least 2, and all of them the same",
                        e.name, e.len
                    )),
                    Support::CorrelationCholesky { rows } if e.len != rows * (rows + 1) / 2 => {
                        Some(format!(
                            "`{}` holds the lower triangle of {rows} rows, which has {} \
                             coordinates, not {}; declare it with `correlation_cholesky`",
                            e.name,
                            rows * (rows + 1) / 2,
                            e.len
                        ))
                    }
                    _ => None,
                }
            };
            if let Some(reason) = wrong {
                return Err(Error::Space { reason });
            }
        }
        Ok(())
    }
}

impl Entry {
    fn dim(&self) -> usize {
        if self.moved { self.support.free_len(self.len) } else { self.len }
    }

    fn names(&self, len: usize) -> Vec<String> {
        let name = &self.name;
        if let Support::CorrelationCholesky { rows } = self.support
            && len == self.len
        {
            let entry = |i| (1..=i).map(move |j| format!("{name}[{i},{j}]"));
            return (1..=rows).flat_map(entry).collect();
        }
        if !self.indexed {
            return vec![name.clone()];
        }
        (1..=len).map(|i| format!("{name}[{i}]")).collect()
    }

    fn coordinate_names(&self) -> Vec<String> {
        let plain = self.names(self.dim());
        if !self.moved {
            return plain;
        }
        let wrap = |f: &str| plain.iter().map(|n| format!("{f}({n})")).collect();
        match self.support {
            Support::Real => plain,
            Support::Positive => wrap("log"),
            Support::Unit => wrap("logit"),
            _ => wrap("free"),
        }
    }
}
