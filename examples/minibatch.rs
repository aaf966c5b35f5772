//! Fifty rows at a time: why the likelihood must be multiplied by N / B.

mod book;

use std::sync::atomic::{AtomicUsize, Ordering};

use book::{Figure, grid};
use elbo::{
    Averaged, Differentiable, DoWG, Error, GradientAscent, MeanFieldGaussian, Minibatch, Model,
    Options, Purpose, Run, Space, StickingTheLanding, Stop, Subsample, density, stream,
};
use rand::RngExt;
use rand_distr::StandardNormal;

// ANCHOR: model
/// `y_i ~ N(mu, 1)`, `mu ~ N(0, 100^2)`. Counts the rows it looks at.
struct Mean {
    y: Vec<f64>,
    rows: Vec<usize>,
    scale: f64,
    right: bool,
    looked_at: AtomicUsize,
}

impl Subsample for Mean {
    fn n_data(&self) -> usize {
        self.y.len()
    }
    fn subsample(&mut self, rows: &[usize]) {
        self.rows.clear();
        self.rows.extend_from_slice(rows);
        self.scale = if self.right { self.y.len() as f64 / rows.len() as f64 } else { 1.0 };
    }
    fn whole(&mut self) {
        self.rows = (0..self.y.len()).collect();
        self.scale = 1.0;
    }
}

impl Model for Mean {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.real("mu");
        space
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        self.log_joint_grad(z, &mut [0.0])
    }
}

impl Differentiable for Mean {
    fn log_joint_grad(&self, z: &[f64], grad: &mut [f64]) -> f64 {
        self.looked_at.fetch_add(self.rows.len(), Ordering::Relaxed);
        let off = |i: &usize| self.y[*i] - z[0];
        let (sum, squares) =
            self.rows.iter().map(off).fold((0.0, 0.0), |(s, q), off| (s + off, q + off * off));
        grad[0] = self.scale * sum - z[0] / 1e4;
        let rows = self.rows.len() as f64;
        let likelihood = -0.5 * squares + rows * density::normal(0.0, 0.0, 1.0);
        density::normal(z[0], 0.0, 100.0) + self.scale * likelihood
    }
}
// ANCHOR_END: model

/// Rows drawn around 2.
fn mean(n: usize, right: bool) -> Mean {
    let mut rng = stream(1, Purpose::Data, 0);
    let y = (0..n).map(|_| 2.0 + rng.sample::<f64, _>(StandardNormal)).collect();
    let mut model = Mean { y, rows: vec![], scale: 1.0, right, looked_at: AtomicUsize::new(0) };
    model.whole();
    model
}

// ANCHOR: fit
/// Fits with `batch` rows a step: mean and sd of the answer, and the rows looked at.
fn fitted(model: Mean, batch: usize, steps: usize) -> Result<(f64, f64, usize), Error> {
    let draws = 3_200_usize.div_ceil(batch); // about the same work, and noise, for each batch size
    let options = Options { steps, seed: 1, stop: Stop::Budget, ..Options::default() };
    let inner = GradientAscent::new(StickingTheLanding { draws }, Averaged::new(DoWG::new()));
    let q = MeanFieldGaussian::standard(1);
    let run = Run::new(model, q, Minibatch::new(batch, inner), options)?;
    run.model.looked_at.store(0, Ordering::Relaxed);
    let fit = run.finish()?;
    let rows = fit.model.looked_at.load(Ordering::Relaxed);
    assert_eq!(rows, steps * draws * batch, "no step looks at more than its batch");
    Ok((fit.q.mean()[0], fit.q.sd()[0], rows))
}
// ANCHOR_END: fit

fn main() -> Result<(), Error> {
    println!("Fifty rows a step instead of 5 000: does the posterior come out the same?");
    let n = 5_000;
    let data_mean = mean(n, true).y.iter().sum::<f64>() / n as f64;
    let exact = 1.0 / (n as f64 + 1e-4).sqrt(); // the prior counts as 1e-4 rows
    println!("{n} rows; exact posterior sd {exact:.5}");
    println!("     B   N/B times   left alone   1/sqrt(B)   ratio   sqrt(N/B)");
    let mut rows = Vec::new();
    // ANCHOR: claim
    for batch in [10, 50, 250, 1_000] {
        let (m, scaled, looked_at) = fitted(mean(n, true), batch, 10_000)?;
        let (_, unscaled, the_same) = fitted(mean(n, false), batch, 10_000)?;
        assert_eq!(looked_at, the_same);
        // The noise that is left in a log sd is 1.4 %: see the chapter.
        assert!((scaled / exact - 1.0).abs() < 0.05, "within 5 %: {scaled}");
        assert!((m - data_mean).abs() < exact, "within a posterior sd: {m}, {data_mean}");
        let wrong = 1.0 / (batch as f64 + 1e-4).sqrt(); // the posterior of `batch` rows
        assert!((unscaled / wrong - 1.0).abs() < 0.05);
        let (ratio, known) = (unscaled / scaled, (n as f64 / batch as f64).sqrt());
        assert!((ratio / known - 1.0).abs() < 0.08);
        println!(
            "{batch:6}   {scaled:9.5}   {unscaled:10.5}   {wrong:9.5}   {ratio:5.2}   {known:9.2}"
        );
        rows.push([batch as f64, scaled, unscaled, wrong, known]);
    }
    // ANCHOR_END: claim

    // ANCHOR: cost
    let (_, _, few) = fitted(mean(5_000, true), 50, 100)?;
    let (_, _, many) = fitted(mean(500_000, true), 50, 100)?;
    assert_eq!(few, many);
    // ANCHOR_END: cost
    println!("100 steps look at {few} rows, whether there are 5 000 or 500 000");

    show(&rows, exact);
    println!("OK: with N/B in front the posterior is right from 10 rows a step on, without never");
    Ok(())
}

/// The figure and the table of the book.
fn show(rows: &[[f64; 5]], exact: f64) {
    let column = |i: usize| rows.iter().map(|row| row[i]).collect::<Vec<f64>>();
    let sizes: Vec<f64> = grid(1.0, 5_000_f64.log10(), 20).iter().map(|b| 10f64.powf(*b)).collect();
    let wrong: Vec<f64> = sizes.iter().map(|b| b.powf(-0.5)).collect();
    Figure::new("Posterior sd of a mean, fitted by minibatches of 5 000 rows")
        .axes("rows a step", "posterior sd")
        .log_x()
        .log_y()
        .y_from(0.01, 1.0)
        .dashed("exact", &[10.0, 5_000.0], &[exact; 2])
        .colour(6)
        .points("likelihood times N/B", &column(0), &column(1))
        .colour(1)
        .dashed("posterior of B rows", &sizes, &wrong)
        .colour(5)
        .points("likelihood left alone", &column(0), &column(2))
        .colour(2)
        .save_or_check("minibatch");
    let line = |[batch, scaled, unscaled, wrong, known]: &[f64; 5]| {
        format!("| {batch} | {scaled:.4} | {unscaled:.4} | {wrong:.4} | {known:.2} |\n")
    };
    let head = "| rows a step $B$ | times $N/B$ | left alone | $1/\\sqrt{B}$ | $\\sqrt{N/B}$ |\n|---|---|---|---|---|\n";
    let lines: String = rows.iter().map(line).collect();
    book::fragment("minibatch", &(head.to_string() + &lines));
}
