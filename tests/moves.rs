//! Exact moves and mixed pairs on a model whose answers are known: means of groups that share a
//! normal, `y_j ~ N(z_j, s_j)`, `z_j ~ N(mu, tau)`, `theta = (mu, ln tau)`.

use elbo::{
    Adam, Anderson, Ascent, Averaged, Conjugate, Differentiable, EStep, Error, Fit, GradientAscent,
    MStep, Maximize, MeanFieldGaussian, Model, NaturalStep, Only, Options, Reparameterization, Run,
    Space, Squarem, StickingTheLanding, Stop, fit,
};

const Y: [f64; 8] = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 42.0];
const S: [f64; 8] = [9.0, 10.0, 6.0, 11.0, 9.0, 5.0, 10.0, 8.0];
const LN_2PI: f64 = 1.8378770664093453;

fn log_normal(x: f64, mean: f64, sd: f64) -> f64 {
    let u = (x - mean) / sd;
    -0.5 * (u * u + LN_2PI) - sd.ln()
}

#[derive(Clone, Debug)]
struct Means {
    mu: f64,
    log_tau: f64,
    /// Added to `mu` by the M-step: 0, unless a test wants a wrong one.
    fault: f64,
}

impl Means {
    fn new(mu: f64, log_tau: f64) -> Means {
        Means { mu, log_tau, fault: 0.0 }
    }

    /// `log p_theta(y)`: the effects integrated out.
    fn log_evidence(&self) -> f64 {
        let tau = self.log_tau.exp();
        Y.iter().zip(S).map(|(&y, s)| log_normal(y, self.mu, s.hypot(tau))).sum()
    }

    /// The gradient of the log evidence in `(mu, ln tau)`.
    fn slope(&self) -> [f64; 2] {
        let t2 = (2.0 * self.log_tau).exp();
        let mut g = [0.0; 2];
        for (y, s) in Y.iter().zip(S) {
            let (u, v) = (y - self.mu, s * s + t2);
            g[0] += u / v;
            g[1] += t2 * (u * u / v - 1.0) / v;
        }
        g
    }

    /// Mean and sd of effect `j` given the data.
    fn posterior(&self, j: usize) -> (f64, f64) {
        let (a, b) = (1.0 / (S[j] * S[j]), (-2.0 * self.log_tau).exp());
        ((a * Y[j] + b * self.mu) / (a + b), (a + b).recip().sqrt())
    }

    /// The ELBO of normal effects, in closed form.
    fn elbo(&self, mean: &[f64], sd: &[f64]) -> f64 {
        let tau = self.log_tau.exp();
        (0..8)
            .map(|j| {
                let v = sd[j] * sd[j];
                log_normal(Y[j], mean[j], S[j]) - 0.5 * v / (S[j] * S[j])
                    + log_normal(mean[j], self.mu, tau)
                    - 0.5 * v / (tau * tau)
                    + 0.5 * (1.0 + LN_2PI)
                    + sd[j].ln()
            })
            .sum()
    }
}

impl Model for Means {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.reals("z", 8);
        space
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        let tau = self.log_tau.exp();
        (0..8).map(|j| log_normal(Y[j], z[j], S[j]) + log_normal(z[j], self.mu, tau)).sum()
    }
    fn n_theta(&self) -> usize {
        2
    }
    fn theta(&self, out: &mut [f64]) {
        out.copy_from_slice(&[self.mu, self.log_tau]);
    }
    fn set_theta(&mut self, theta: &[f64]) {
        [self.mu, self.log_tau] = [theta[0], theta[1]];
    }
    fn add_theta_grad(&self, z: &[f64], weights: &[f64], grad: &mut [f64]) {
        let t2 = (2.0 * self.log_tau).exp();
        for (z, w) in z.chunks_exact(8).zip(weights) {
            for z in z {
                grad[0] += w * (z - self.mu) / t2;
                grad[1] += w * ((z - self.mu).powi(2) / t2 - 1.0);
            }
        }
    }
}

impl Differentiable for Means {
    fn log_joint_grad(&self, z: &[f64], grad: &mut [f64]) -> f64 {
        let t2 = (2.0 * self.log_tau).exp();
        for j in 0..8 {
            grad[j] = (Y[j] - z[j]) / (S[j] * S[j]) + (self.mu - z[j]) / t2;
        }
        self.log_joint(z)
    }
}

impl Conjugate<MeanFieldGaussian> for Means {
    fn natural_step(&self, q: &mut MeanFieldGaussian, rate: f64) -> Result<f64, Error> {
        let (mut mean, mut sd) = (q.mean().to_vec(), q.sd().to_vec());
        for j in 0..8 {
            let (to, width) = self.posterior(j);
            let (old, new) = (sd[j].powi(-2), width.powi(-2));
            let precision = (1.0 - rate) * old + rate * new;
            mean[j] = ((1.0 - rate) * old * mean[j] + rate * new * to) / precision;
            sd[j] = precision.recip().sqrt();
        }
        let elbo = self.elbo(&mean, &sd);
        *q = MeanFieldGaussian::new(mean, &sd)?;
        Ok(elbo)
    }
}

impl Maximize<MeanFieldGaussian> for Means {
    fn maximize(&mut self, q: &MeanFieldGaussian) -> Result<f64, Error> {
        let (mean, sd) = (q.mean(), q.sd());
        let mu = mean.iter().sum::<f64>() / 8.0;
        let t2 = (0..8).map(|j| (mean[j] - mu).powi(2) + sd[j] * sd[j]).sum::<f64>() / 8.0;
        self.mu = mu + self.fault;
        self.log_tau = 0.5 * t2.ln();
        Ok(self.elbo(mean, sd))
    }
}

fn start() -> MeanFieldGaussian {
    MeanFieldGaussian::standard(8)
}

fn exact() -> Options {
    Options { stop: Stop::Exact { gain: 1e-14 }, ..Options::exact() }
}

/// At the maximum of the evidence, to `tolerance` in its slope.
fn at_the_top<Q>(fit: &Fit<Means, Q>, tolerance: f64) {
    let slope = fit.model.slope();
    assert!(slope.iter().all(|g| g.abs() < tolerance), "slope {slope:?}");
}

#[test]
fn em_climbs_on_every_half_step_to_the_maximum_of_the_evidence() -> Result<(), Error> {
    let mut run = Run::new(Means::new(0.0, 0.0), start(), (EStep, MStep), exact())?;
    let mut last = f64::NEG_INFINITY;
    loop {
        let evidence = run.model.log_evidence();
        let ended = run.step()?;
        let step = run.trace.last().expect("a step was taken");
        let (half, whole) = (step.between.expect("E"), step.elbo.expect("M"));
        // after the E-step the bound touches
        assert!((half - evidence).abs() < 1e-9, "{half} {evidence}");
        assert!(half >= last - 1e-10 * half.abs() && whole >= half - 1e-10 * half.abs());
        last = whole;
        if ended.is_some() {
            break;
        }
    }
    // EM has slowed to 1e-14 of the ELBO a step: the slope is of the order of its square root
    at_the_top(&run.finish()?, 1e-4);
    Ok(())
}

#[test]
fn squarem_arrives_at_the_same_place_in_fewer_moves() -> Result<(), Error> {
    let plain = fit(Means::new(0.0, 0.0), start(), (EStep, MStep), exact())?;
    let fast = fit(Means::new(0.0, 0.0), start(), Squarem::new((EStep, MStep)), exact())?;
    at_the_top(&fast, 1e-4);
    assert!((fast.model.mu - plain.model.mu).abs() < 1e-3);
    assert!(3 * fast.trace.len() < plain.trace.len(), "{} {}", fast.trace.len(), plain.trace.len());
    let rise = fast.trace.windows(2).all(|w| w[1].elbo >= w[0].elbo.map(|e| e - 1e-10 * e.abs()));
    assert!(rise);
    Ok(())
}

#[test]
fn anderson_arrives_at_the_same_place_in_fewer_steps() -> Result<(), Error> {
    let plain = fit(Means::new(0.0, 0.0), start(), (EStep, MStep), exact())?;
    let fast = fit(Means::new(0.0, 0.0), start(), Anderson::new((EStep, MStep)), exact())?;
    at_the_top(&fast, 1e-4);
    assert!((fast.model.mu - plain.model.mu).abs() < 1e-3);
    assert!(fast.trace.len() < plain.trace.len(), "{} {}", fast.trace.len(), plain.trace.len());
    let rise = fast.trace.windows(2).all(|w| w[1].elbo >= w[0].elbo.map(|e| e - 1e-10 * e.abs()));
    assert!(rise);
    Ok(())
}

#[test]
fn anderson_goes_on_from_a_file_with_the_same_bits() -> Result<(), Error> {
    let options = Options { steps: 12, stop: Stop::Budget, ..Options::exact() };
    let new =
        || Run::new(Means::new(0.0, 0.0), start(), Anderson::new((EStep, MStep)), options.clone());
    let whole = new()?.finish()?;
    let file = std::env::temp_dir().join(format!("elbo-anderson-{}.json", std::process::id()));
    for after in [1, 5, 9] {
        let mut run = new()?;
        (0..after).for_each(|_| assert_eq!(run.step().expect("it climbs"), None));
        run.save(&file)?;
        let resumed: Run<Means, MeanFieldGaussian, Anderson<(EStep, MStep)>> =
            Run::resume(&file, Means::new(0.0, 0.0))?;
        assert_eq!(resumed.finish()?.trace, whole.trace);
    }
    std::fs::remove_file(&file).expect("it was there");
    Ok(())
}

#[test]
fn anderson_refuses_a_move_that_is_not_exact_and_to_remember_nothing() {
    let ascent =
        Anderson::new(GradientAscent::new(Reparameterization { draws: 1 }, Adam::rate(0.1)));
    let e = fit(Means::new(0.0, 0.0), start(), ascent, exact()).expect_err("not exact");
    assert!(e.to_string().starts_with("E10 the move of Anderson is GradientAscent<"), "{e}");
    let mut ascent = Anderson::new((EStep, MStep));
    ascent.depth = 0;
    let e = fit(Means::new(0.0, 0.0), start(), ascent, exact()).expect_err("nothing");
    assert!(e.to_string().starts_with("E10 depth of Anderson is 0; remember at least one"), "{e}");
}

#[test]
fn squarem_refuses_a_move_that_is_not_exact() {
    let ascent =
        Squarem::new(GradientAscent::new(Reparameterization { draws: 1 }, Adam::rate(0.1)));
    let e = fit(Means::new(0.0, 0.0), start(), ascent, exact()).expect_err("not exact");
    assert!(e.to_string().starts_with("E10 the move of Squarem is GradientAscent<"), "{e}");
}

#[test]
fn the_e_step_alone_is_done_after_one_step_and_a_half_step_goes_half_way() -> Result<(), Error> {
    let model = Means::new(5.0, 1.0);
    let done = fit(model.clone(), start(), EStep, exact())?;
    assert_eq!(done.trace.len(), 2);
    assert!((done.trace[0].elbo.expect("known") - model.log_evidence()).abs() < 1e-9);
    let options = Options { steps: 1, stop: Stop::Budget, ..Options::default() };
    let half = fit(model.clone(), start(), NaturalStep::constant(0.5), options)?;
    for j in 0..8 {
        let precision = 0.5 * (1.0 + model.posterior(j).1.powi(-2));
        assert!((half.q.sd()[j].powi(-2) - precision).abs() < 1e-12);
    }
    Ok(())
}

#[test]
fn an_m_step_that_descends_is_an_error_that_names_it() {
    let wrong = Means { fault: 3.0, ..Means::new(0.0, 2.0) };
    let e = fit(wrong, start(), (EStep, MStep), exact()).expect_err("it descends");
    let text = e.to_string();
    assert!(text.starts_with("E15 MStep: the ELBO went from -"), "{text}");
    assert!(text.contains("an exact move never descends"), "{text}");
}

/// An E-step that forgets to climb.
struct Forgetful(usize);
impl Ascent<Means, MeanFieldGaussian> for Forgetful {
    fn exact(&self) -> bool {
        true
    }
    fn step(
        &mut self,
        model: &mut Means,
        q: &mut MeanFieldGaussian,
        _: &mut dyn elbo::Rng,
    ) -> Result<elbo::Step, Error> {
        self.0 += 1;
        let wide = MeanFieldGaussian::new(vec![0.0; 8], &[self.0 as f64; 8])?;
        *q = wide;
        let elbo = Some(model.elbo(q.mean(), q.sd()));
        Ok(elbo::Step { elbo, ..elbo::Step::default() })
    }
}

#[test]
fn a_first_block_that_descends_is_named_under_any_stop_rule() {
    let options = Options { steps: 30, stop: Stop::Budget, ..Options::default() };
    let e =
        fit(Means::new(0.0, 0.0), start(), (Forgetful(0), MStep), options).expect_err("it falls");
    assert!(e.to_string().starts_with("E15 Forgetful at step "), "{e}");
}

#[test]
fn an_exact_e_step_and_an_m_step_by_gradient_climb_to_the_same_top() -> Result<(), Error> {
    let m_step = GradientAscent::new(
        Reparameterization { draws: 16 },
        Averaged::new((Only(0..2), Adam::rate(0.05))),
    );
    let options = Options { steps: 6000, stop: Stop::Budget, ..Options::default() };
    let fit = fit(Means::new(5.0, 2.0), start(), (EStep, m_step), options)?;
    // Within the noise of the average: compare with the maximum by EM.
    let top = elbo::fit(Means::new(5.0, 2.0), start(), (EStep, MStep), exact())?;
    let lost = top.model.log_evidence() - fit.model.log_evidence();
    assert!((0.0..0.01).contains(&lost), "{lost} nats below the top");
    Ok(())
}

#[test]
fn an_e_step_by_gradient_and_an_exact_m_step_climb_to_the_same_top() -> Result<(), Error> {
    let e_step =
        GradientAscent::new(StickingTheLanding { draws: 16 }, (Only(2..18), Adam::rate(0.05)));
    let options = Options { steps: 6000, stop: Stop::Budget, ..Options::default() };
    let fit = fit(Means::new(5.0, 2.0), start(), (e_step, MStep), options)?;
    let top = elbo::fit(Means::new(5.0, 2.0), start(), (EStep, MStep), exact())?;
    let lost = top.model.log_evidence() - fit.model.log_evidence();
    assert!((-1e-9..0.01).contains(&lost), "{lost} nats below the top");
    Ok(())
}
