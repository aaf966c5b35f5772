//! What spreading a batch over threads costs where there is little to spread, in CPU time.

use std::hint::black_box;

use elbo::{Differentiable, Error, Model};

use super::Micro;
use super::batches::{fused, normals, rows};
use super::schools::recorded;

pub fn measure(micro: &mut Micro) -> Result<(), Error> {
    let (plain, spread) = (recorded(), recorded().parallel());
    pair(micro, ("small_batch", "one_thread", "parallel"), &plain, &spread);
    let (x, y) = rows(2_000, 20);
    let (plain, spread) = (fused(&x, &y, 20)?, fused(&x, &y, 20)?.parallel());
    pair(micro, ("medium_batch", "one_thread", "parallel"), &plain, &spread);
    Ok(())
}

fn pair(
    micro: &mut Micro,
    (name, one, other): (&'static str, &'static str, &'static str),
    plain: &impl Differentiable,
    spread: &impl Differentiable,
) {
    let (d, draws) = (plain.dim(), 16);
    let z = normals(d * draws);
    let mut grad = vec![0.0; d * draws];
    micro.measure((name, one), (draws, "gradient"), || {
        plain.grad_batch(black_box(&z), draws, &mut grad, &mut []);
    });
    micro.measure((name, other), (draws, "gradient"), || {
        spread.grad_batch(black_box(&z), draws, &mut grad, &mut []);
    });
}
