//! A family that breaks a law is told which.

use elbo::laws::{self, Broken};
use elbo::{Family, MeanFieldGaussian, Reparameterized, Rng, Scored, Smooth};

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    Constant,
    Entropy,
    Forgets,
    Score,
    PullBack,
    Slope,
}

/// A normal family with one mistake.
#[derive(Clone)]
struct Wrong(MeanFieldGaussian, Fault);

impl Wrong {
    fn if_at(&self, fault: Fault, value: f64) -> f64 {
        if self.1 == fault { value } else { 0.0 }
    }
}

impl Family for Wrong {
    fn dim(&self) -> usize {
        Family::<f64>::dim(&self.0)
    }
    fn n_params(&self) -> usize {
        Family::<f64>::n_params(&self.0)
    }
    fn params(&self, out: &mut [f64]) {
        self.0.params(out);
    }
    fn set_params(&mut self, params: &[f64]) {
        self.0.set_params(params);
        if self.1 == Fault::Forgets {
            self.0.set_params(&vec![0.0; params.len()]);
        }
    }
    fn sample(&self, rng: &mut dyn Rng, z: &mut [f64]) {
        self.0.sample(rng, z);
    }
    fn log_prob(&self, z: &[f64]) -> f64 {
        self.0.log_prob(z) + self.if_at(Fault::Constant, 0.1)
    }
    fn entropy(&self) -> Option<f64> {
        self.0.entropy().map(|h| h + self.if_at(Fault::Entropy, 0.1))
    }
}

impl Scored for Wrong {
    fn add_score(&self, z: &[f64], weight: f64, grad: &mut [f64]) {
        self.0.add_score(z, weight, grad);
        grad[0] += self.if_at(Fault::Score, 0.01 * weight);
    }
}

impl Reparameterized for Wrong {
    type Residuals = <MeanFieldGaussian as Reparameterized>::Residuals;

    fn transport(&self, eps: &[f64], z: &mut [f64], log_q: &mut [f64], r: &mut Self::Residuals) {
        self.0.transport(eps, z, log_q, r);
        log_q[0] += self.if_at(Fault::Constant, 0.1);
    }
    fn pull_back(
        &self,
        eps: &[f64],
        r: &Self::Residuals,
        dz: &[f64],
        dlog_q: &[f64],
        grad: &mut [f64],
    ) {
        self.0.pull_back(eps, r, dz, dlog_q, grad);
        grad[1] += self.if_at(Fault::PullBack, 0.01);
    }
}

impl Smooth for Wrong {
    fn log_prob_grad(&self, eps: &[f64], r: &Self::Residuals, z: &[f64], grad: &mut [f64]) {
        self.0.log_prob_grad(eps, r, z, grad);
        grad[0] += self.if_at(Fault::Slope, 0.01);
    }
}

fn asked(fault: Fault) -> Result<(), Broken> {
    let q = Wrong(MeanFieldGaussian::standard(2), fault);
    laws::family(&q)?;
    laws::scored(&q)?;
    laws::reparameterized(&q)?;
    laws::smooth(&q)
}

#[test]
fn every_mistake_is_named() {
    assert_eq!(asked(Fault::None), Ok(()));
    for (fault, what) in [
        (Fault::Constant, "E_q[r / q]"),
        (Fault::Entropy, "-E[log q]"),
        (Fault::Forgets, "params after set_params"),
        (Fault::Score, "score[0]"),
        (Fault::PullBack, "pull_back[1]"),
        (Fault::Slope, "log_prob_grad[0]"),
    ] {
        let broken = asked(fault).expect_err("there is a mistake");
        assert_eq!(broken.what, what);
        assert!(broken.to_string().starts_with(&format!("{what}: ")), "{broken}");
        assert!(broken.seen.contains("want"), "{broken}");
    }
}
