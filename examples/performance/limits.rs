//! The least a step can cost, from counted work and what the machine can do.

use super::measured::Lines;

/// Rates of one thread, each per millisecond.
pub struct Machine {
    /// Floating-point operations in f64.
    flops: f64,
    exp: f64,
    sigmoid: f64,
    /// Bytes read, and bytes of one stream written for two read.
    read: f64,
    triad: f64,
}

/// A standard normal takes at least a nanosecond, a row from anywhere in memory twelve (ten loads on
/// their way at once).
const NORMALS: f64 = 1e6;
const ROWS: f64 = 1e6 / 12.0;

impl Machine {
    /// From the line of the machine's limits.
    pub fn of(lines: &Lines) -> Result<Machine, String> {
        let limits = lines.with("limits").ok_or("no line with the limits of the machine")?;
        let rate = |key: &str| {
            limits[key].as_f64().map(|g| g * 1e6).ok_or(format!("the limits have no {key}"))
        };
        Ok(Machine {
            flops: rate("fma_peak_gflops_f64")?,
            exp: rate("exp_f64_gops")?,
            sigmoid: rate("sigmoid_f64_gops")?,
            read: rate("read_gbs")?,
            triad: rate("triad_gbs")?,
        })
    }

    // ANCHOR: limit
    /// Milliseconds of one thread: what must be computed at the speed it can be, or what must be
    /// read, whichever is more.
    pub fn limit(&self, workload: &str) -> f64 {
        // logits and gradient: two products of rows x columns x draws
        let products =
            |rows: f64, columns: f64, draws: f64| 4.0 * rows * columns * draws / self.flops;
        match workload {
            "w1" => 2_500.0 / self.flops + 30.0 / self.exp + 100.0 / NORMALS,
            "w2a" => products(1e4, 50.0, 10.0) + 1e5 / self.sigmoid,
            "w2b" => (products(1e5, 100.0, 10.0) + 1e6 / self.sigmoid).max(8e7 / self.read),
            "w3" => 125e3 * 12.0 / self.flops + 125e3 / self.exp + 7_810.0 / NORMALS,
            "w4_em" | "w4_vb" => 176e6 / self.flops + 8e5 / self.exp,
            "w6a" => products(100.0, 100.0, 10.0) + 5_050.0 * 12.0 / self.flops + 1_000.0 / NORMALS,
            "w6b" => products(1e3, 1e3, 10.0).max(36e6 / self.triad),
            "w9_256" => products(256.0, 20.0, 1.0) + 256.0 / self.sigmoid + 256.0 / ROWS,
            "w9_1000" => products(1e3, 20.0, 1.0) + 1e3 / self.sigmoid + 1e3 / ROWS,
            _ => f64::NAN,
        }
    }
    // ANCHOR_END: limit

    /// Nanoseconds for one of what a small measurement counts, where it is known what must be done.
    pub fn limit_of(&self, pair: &str, path: &str) -> Option<f64> {
        let ns = match (pair, path) {
            ("logistic_10000x50", _) => 200.0 / self.flops + 1.0 / self.sigmoid,
            ("logistic_500x10", _) => 40.0 / self.flops + 1.0 / self.sigmoid,
            ("eight_schools", _) => 250.0 / self.flops + 3.0 / self.exp,
            // 800 observations and 198 groups, three operations and five
            ("hierarchy_of_200", _) => 3_400.0 / self.flops + 1.0 / self.exp,
            ("normals", _) => 1.0 / NORMALS,
            ("on_the_tape", path) if path.starts_with("exp") => 1.0 / self.exp,
            ("on_the_tape", path) if path.starts_with("sigmoid") => 1.0 / self.sigmoid,
            ("products", _) => 1.0 / self.flops,
            _ => return None,
        };
        Some(1e6 * ns)
    }
}
