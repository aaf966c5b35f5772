//! How much work each workload is: the same for everyone who is measured.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::failure::Failure;
use super::npy::Array;

/// One row of the table. All start at mean 0 and sd 0.1, uncorrelated.
#[derive(Clone, Copy)]
pub struct Work {
    pub name: &'static str,
    /// The folder of its inputs.
    pub folder: &'static str,
    /// What makes them.
    pub made_by: &'static str,
    /// Draws a step.
    pub draws: usize,
    pub steps: usize,
    /// Steps that are timed together.
    pub chunk: usize,
    /// The rate of Adam.
    pub rate: f64,
    /// Rows a step, where not all.
    pub batch: Option<usize>,
    /// Antithetic draws of an evaluation of the ELBO; draws a test image of a weighted bound.
    pub evaluation: usize,
}

const fn all_rows(name: &'static str, made_by: &'static str, sizes: [usize; 4], rate: f64) -> Work {
    let [draws, steps, chunk, evaluation] = sizes;
    Work { name, folder: name, made_by, draws, steps, chunk, rate, batch: None, evaluation }
}

const fn some_rows(name: &'static str, batch: usize) -> Work {
    let work = all_rows(name, "w9", [1, 5000, 250, 16], 0.005);
    Work { folder: "w9", batch: Some(batch), ..work }
}

/// Every workload.
pub const WORK: [Work; 17] = [
    all_rows("w1", "w1", [10, 4000, 100, 4000], 0.02),
    all_rows("w2a", "w2", [10, 600, 20, 400], 0.02),
    all_rows("w2b", "w2", [10, 150, 5, 64], 0.05),
    all_rows("w3", "w3", [10, 1000, 25, 200], 0.02),
    Work { folder: "w4", ..all_rows("w4_em", "w4", [0, 50, 5, 0], 0.0) },
    Work { folder: "w4", ..all_rows("w4_vb", "w4", [0, 50, 5, 0], 0.0) },
    Work { batch: Some(128), ..all_rows("w5", "w5", [1, 468, 26, 1], 0.001) },
    Work {
        folder: "w5",
        batch: Some(128),
        ..all_rows("w5_elbo", "w5", [1, 9360, 468, 500], 0.001)
    },
    Work {
        folder: "w5",
        batch: Some(128),
        ..all_rows("w5_iwae", "w5", [50, 9360, 468, 500], 0.001)
    },
    all_rows("w6a", "w6", [10, 2000, 50, 0], 0.02),
    all_rows("w6b", "w6", [10, 100, 5, 0], 0.02),
    Work { folder: "w7", ..all_rows("w7_em", "w7", [0, 50, 5, 0], 0.0) },
    Work { folder: "w7", ..all_rows("w7_vb", "w7", [0, 50, 5, 0], 0.0) },
    Work { folder: "w8", ..all_rows("w8_batch", "w8", [0, 20, 20, 0], 0.0) },
    Work { folder: "w8", batch: Some(128), ..all_rows("w8_online", "w8", [0, 80, 80, 0], 0.0) },
    some_rows("w9_256", 256),
    some_rows("w9_1000", 1000),
];

/// Which move is repeated.
#[derive(Clone, Copy, PartialEq)]
pub enum Move {
    /// Reparameterized gradients and Adam at a constant rate, as everyone has them.
    Adam,
    /// Path gradients and the averaged optimizer without a rate.
    Recommended,
}

/// What is to be done.
pub struct Job {
    pub work: Work,
    pub data: PathBuf,
    pub threads: usize,
    pub check: bool,
    pub moves: Move,
    pub evaluations: usize,
    pub checkpoints: bool,
    pub begun: Instant,
}

impl Job {
    /// An input of the workload.
    pub fn input(&self, name: &str) -> Result<Array, Failure> {
        self.read(name, Array::read)
    }

    /// An input made of bytes, and its shape.
    pub fn bytes(&self, name: &str) -> Result<(Vec<usize>, Vec<u8>), Failure> {
        self.read(name, Array::bytes)
    }

    fn read<A>(&self, name: &str, read: fn(&Path) -> Result<A, String>) -> Result<A, Failure> {
        let file = self.data.join(self.work.folder).join(format!("{name}.npy"));
        read(&file).map_err(|reason| {
            let made_by = self.work.made_by;
            Failure::new(format!(
                "{}: {reason}. The inputs of {} are made by `python workloads/gen.py {made_by}` in the folder of the peers' harness, which writes data/{}",
                file.display(), self.work.name, self.work.folder
            ))
        })
    }
}
