//! Is the gradient the slope of the plain formula, and the value its value?

use elbo::{Differentiable, Purpose, stream};
use rand_distr::{Distribution, StandardNormal};

use super::failure::Failure;
use super::quality::Plain;
use super::work::Job;

/// Looks at one batch of draws as the fit makes them. Every value is held to the plain formula; the
/// gradient at the first and the last draw to its central differences of the fourth order.
pub fn gradient(job: &Job, model: &impl Differentiable, plain: &impl Plain) -> Result<(), Failure> {
    let (d, draws) = (plain.dim(), job.work.draws);
    let mut rng = stream(1, Purpose::Start, 7);
    let z: Vec<f64> = (0..d * draws)
        .map(|_| 0.1 * <StandardNormal as Distribution<f64>>::sample(&StandardNormal, &mut rng))
        .collect();
    let (mut out, mut want) = (vec![0.0; draws], vec![0.0; draws]);
    let mut grad = vec![0.0; d * draws];
    model.log_joint_grad_batch(&z, &mut out, &mut grad, &mut []);
    plain.log_joint(&z, &mut want);
    let mut alone = vec![0.0; d * draws];
    model.grad_batch(&z, draws, &mut alone, &mut []);
    if let Some(i) = (0..d * draws).find(|&i| grad[i] != alone[i]) {
        let (with, alone) = (grad[i], alone[i]);
        let what = format!("entry {i} of the gradients is {with}, and {alone} without the values");
        return Err(Failure::new(format!("{}: {what}", job.work.name)));
    }
    for s in 0..draws {
        // sums of up to a million terms in another order
        if (out[s] - want[s]).abs() > 1e-9 * (1.0 + want[s].abs()) {
            let (got, want) = (out[s], want[s]);
            let what = format!("the log joint of draw {s} is {got}, the plain formula says {want}");
            return Err(Failure::new(format!("{}: {what}", job.work.name)));
        }
    }
    let mut worst: f64 = 0.0;
    for s in if draws == 1 { vec![0] } else { vec![0, draws - 1] } {
        let (z, grad) = (&z[s * d..(s + 1) * d], &grad[s * d..(s + 1) * d]);
        for i in 0..d {
            let (slope, tolerance) = slope(plain, z, i, want[s]);
            let off = (grad[i] - slope).abs() / tolerance;
            worst = worst.max(off);
            if off.is_nan() || off > 1.0 {
                let what = format!("the gradient of draw {s} in coordinate {i} is {}", grad[i]);
                let so = format!("the plain formula rises by {slope}, known to {tolerance:.1e}");
                return Err(Failure::new(format!("{}: {what}, but {so}", job.work.name)));
            }
        }
    }
    eprintln!(
        "{}: the gradient is the slope of the plain formula (worst: {worst:.2} of what the differences can tell)",
        job.work.name
    );
    Ok(())
}

/// The slope in coordinate `i` and how well it is known: `h^4` of the fifth derivative, and rounding
/// of a sum of many terms over `h`.
fn slope(plain: &impl Plain, z: &[f64], i: usize, here: f64) -> (f64, f64) {
    let h = 1e-3;
    let moved = [-2.0, -1.0, 1.0, 2.0].map(|k| {
        let mut z = z.to_vec();
        z[i] += k * h;
        z
    });
    let mut f = [0.0; 4];
    plain.log_joint(&moved.concat(), &mut f);
    let near = (f[2] - f[1]) / (2.0 * h);
    let far = (f[3] - f[0]) / (4.0 * h);
    // The far difference is wrong by 4 c h^2, the near one by c h^2: together by O(h^4).
    let slope = near + (near - far) / 3.0;
    let rounding = 1e3 * f64::EPSILON * (1.0 + here.abs()) / h;
    (slope, 1e-3 * (near - far).abs() + rounding + 1e-9 * (1.0 + slope.abs()))
}
