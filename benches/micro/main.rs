//! Small measurements that belong together in pairs: what a faster path gains over a plainer one.
//!
//! `cargo bench --bench micro [-- FILTER]`
//!
//! Times are CPU times. At the end there is a JSON line a measurement: `{"micro": "pair/path",
//! "ns": least time of one call, "per": what a call does, "count": how many of it}`, from which the
//! book's page on performance has its numbers.

mod batches;
mod cpu;
mod elementary;
mod networks;
mod products;
mod schools;
mod tape;
mod threads;

use std::path::Path;
use std::time::Duration;

use cpu::CpuTime;
use criterion::{BenchmarkId, Criterion};
use serde_json::{Value, json};

/// The measurements so far.
struct Micro {
    criterion: Criterion<CpuTime>,
    /// Pair, path, what a call does, and how many of it.
    known: Vec<(&'static str, &'static str, &'static str, usize)>,
}

impl Micro {
    /// Measures one path of a pair; a call of it does `count` of what `per` says.
    fn measure(
        &mut self,
        (pair, path): (&'static str, &'static str),
        (count, per): (usize, &'static str),
        mut call: impl FnMut(),
    ) {
        let mut group = self.criterion.benchmark_group(pair);
        group.bench_function(BenchmarkId::from_parameter(path), |b| b.iter(&mut call));
        group.finish();
        self.known.push((pair, path, per, count));
    }

    /// A JSON line for each measurement that was made.
    fn print(&self, folder: &Path) {
        for (pair, path, per, count) in &self.known {
            if let Some(ns) = least(&folder.join(pair).join(path).join("new/sample.json")) {
                let micro = format!("{pair}/{path}");
                println!("{}", json!({"micro": micro, "ns": ns, "per": per, "count": count}));
            }
        }
    }
}

/// The least time of a call among the samples.
fn least(file: &Path) -> Option<f64> {
    let sample: Value = serde_json::from_str(&std::fs::read_to_string(file).ok()?).ok()?;
    let numbers = |key: &str| sample[key].as_array().cloned().unwrap_or_default();
    let pairs = numbers("times").into_iter().zip(numbers("iters"));
    pairs.filter_map(|(t, n)| Some(t.as_f64()? / n.as_f64()?)).reduce(f64::min)
}

fn main() -> Result<(), elbo::Error> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("micro");
    // Measurements of another day are no part of this one.
    let _ = std::fs::remove_dir_all(&folder);
    let criterion = Criterion::default()
        .with_measurement(CpuTime)
        .output_directory(&folder)
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let mut micro = Micro { criterion, known: Vec::new() };
    batches::measure(&mut micro)?;
    tape::measure(&mut micro);
    elementary::measure(&mut micro);
    networks::measure(&mut micro)?;
    products::measure(&mut micro)?;
    threads::measure(&mut micro)?;
    micro.print(&folder);
    Ok(())
}
