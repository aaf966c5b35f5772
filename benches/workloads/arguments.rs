//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

use lexopt::prelude::*;

use super::failure::Failure;
use super::work::{Job, Move, WORK};

/// What was asked for.
pub struct Arguments {
    data: PathBuf,
    pub threads: usize,
    check: bool,
    moves: Move,
    steps: Option<usize>,
    evaluations: usize,
    checkpoints: bool,
    begun: Instant,
    pub names: Vec<String>,
    /// Everything but the names, to be handed on.
    pub options: Vec<OsString>,
}

const USAGE: &str = "usage: cargo bench --bench workloads -- --data DIR [OPTION].. NAME..
  --data DIR        the inputs, a folder a workload
  --threads N       how many threads (1)
  --check           compare the gradient with finite differences of a plain formula first
  --steps N         so many steps instead of the workload's own
  --recommended     the optimizer the library recommends, in place of Adam
  --evaluations N   how many checkpoints have their ELBO evaluated (12; the last one always has)
  --checkpoints     also print mean and log sd of each checkpoint, a JSON line each";

impl Arguments {
    pub fn parse() -> Result<Arguments, Failure> {
        let wrong = |e: lexopt::Error| Failure::new(format!("{e}\n{USAGE}"));
        let mut parser = lexopt::Parser::from_env();
        let mut asked = Arguments {
            data: PathBuf::new(),
            threads: 1,
            check: false,
            moves: Move::Adam,
            steps: None,
            evaluations: 12,
            checkpoints: false,
            begun: Instant::now(),
            names: Vec::new(),
            options: Vec::new(),
        };
        while let Some(argument) = parser.next().map_err(wrong)? {
            match argument {
                Long("data") => asked.data = parser.value().map_err(wrong)?.into(),
                Long("threads") => asked.threads = number(&mut parser).map_err(wrong)?,
                Long("steps") => asked.steps = Some(number(&mut parser).map_err(wrong)?),
                Long("evaluations") => asked.evaluations = number(&mut parser).map_err(wrong)?,
                Long("check") => asked.check = true,
                Long("recommended") => asked.moves = Move::Recommended,
                Long("checkpoints") => asked.checkpoints = true,
                Long("bench") => {} // cargo says so to every bench
                Value(name) => asked.names.push(name.string().map_err(wrong)?),
                other => return Err(wrong(other.unexpected())),
            }
        }
        if asked.names.is_empty() || asked.data.as_os_str().is_empty() || asked.threads == 0 {
            return Err(Failure::new(USAGE));
        }
        let is_name = |a: &OsString| asked.names.iter().any(|n| a == n.as_str());
        asked.options = std::env::args_os().skip(1).filter(|a| !is_name(a)).collect();
        Ok(asked)
    }

    /// What is to be done for one workload.
    pub fn job(&self, name: &str) -> Result<Job, Failure> {
        let work = WORK.iter().find(|w| w.name == name);
        let mut work = *work.ok_or_else(|| Failure::new(format!("{name} has no row in WORK")))?;
        if let Some(steps) = self.steps {
            work.steps = steps;
            work.chunk = work.chunk.min(steps);
        }
        Ok(Job {
            work,
            data: self.data.clone(),
            threads: self.threads,
            check: self.check,
            moves: self.moves,
            evaluations: self.evaluations,
            checkpoints: self.checkpoints,
            begun: self.begun,
        })
    }
}

fn number(parser: &mut lexopt::Parser) -> Result<usize, lexopt::Error> {
    parser.value()?.parse()
}
