//! `infer` on models that are wrong, or that no Gaussian can answer: an error with a sentence, or a
//! verdict that is not good.

use elbo::{
    Error, Gaussian, Posterior, Real, Space, Support, TwiceDifferentiable, Var, Verdict, density,
    from_fn, infer,
};

fn on_line(log_joint: impl Fn(Var) -> Var) -> Result<Posterior<Gaussian>, Error> {
    let mut space = Space::new();
    let x = space.real("x");
    infer(from_fn(space, move |z| log_joint(z[x])))
}

#[track_caller]
fn refused(result: Result<Posterior<Gaussian>, Error>, parts: &[&str]) {
    let text = result.map(|p| p.to_string()).unwrap_err().to_string();
    assert!(parts.iter().all(|part| text.contains(part)), "{parts:?} in {text}");
}

#[track_caller]
fn warned(result: Result<Posterior<Gaussian>, Error>, code: &str) {
    let posterior = result.unwrap();
    assert!(posterior.verdict() > Verdict::Good, "{posterior}");
    assert!(posterior.warnings().iter().any(|w| w.code.as_str() == code), "{posterior}");
}

fn model(space: Space) -> impl TwiceDifferentiable {
    from_fn(space, |z| z.iter().map(|z| z.square()).sum())
}

#[test]
fn another_mode_as_good_as_the_answer_is_never_good() {
    let two =
        |x: Var| Var::log_sum_exp(&[density::normal(x, -4.0, 1.0), density::normal(x, 4.0, 1.0)]);
    warned(on_line(two), "W08");
    let posterior = on_line(two).unwrap();
    assert!(posterior.require(Verdict::Good).is_err());
}

#[test]
fn a_peak_with_a_kink_is_not_called_improper() {
    // half of the mass within ln 2 of zero, sd sqrt 2
    let posterior = on_line(|x| -x.abs()).unwrap();
    let row = posterior.row("x").unwrap();
    assert!(row.mean.abs() < 0.3 && row.sd > 0.7 && row.sd < 2.0, "{posterior}");
}

#[test]
fn limits_that_were_not_declared_are_never_good() {
    let inside = |x: Var| x.log_indicator(-1.0, 1.0);
    warned(on_line(inside), "W18");
    warned(on_line(|x| density::normal(x, 0.0, 1.0) + x.log_indicator(0.0, 1e9)), "W18");
    warned(on_line(|x| x.ln() * 2.0 - x), "W03");
}

#[test]
fn what_is_no_posterior_is_refused() {
    refused(on_line(|x| x * 0.0), &["E08", "`x`", "give it a prior or remove it"]);
    refused(on_line(|_| Var::from(1.0)), &["E08", "`x`"]);
    refused(on_line(|x| x.square()), &["E07", "`x`"]);
    refused(on_line(|x| (x - x).ln() * 0.0), &["E05", "x = 0"]);
}

#[test]
fn a_space_that_cannot_be_is_refused_before_it_is_used() {
    for len in [0, 1] {
        let mut space = Space::new();
        space.block("w", len, Support::Simplex);
        refused(infer(model(space)), &["E14", "the simplex `w` needs at least 2 coordinates"]);
    }
    let mut space = Space::new();
    space.block("L", 4, Support::CorrelationCholesky { rows: 3 });
    refused(infer(model(space)), &["E14", "`L`", "correlation_cholesky"]);
    refused(infer(model(Space::new())), &["E14", "no coordinates"]);
}

#[test]
fn the_scale_of_the_data_does_not_matter() {
    for scale in [1e-12, 1.0, 1e12] {
        let mut space = Space::new();
        let (mean, sd) = (space.real("mean"), space.positive("sd"));
        let model = from_fn(space, move |z| {
            let data = (0..20).map(|i| scale * (3.0 + 0.1 * f64::from(i)));
            let each = data.map(|y| density::normal(Var::from(y), z[mean], z[sd]));
            each.sum::<Var>()
                + density::normal(z[mean], 0.0, 10.0 * scale)
                + density::half_cauchy(z[sd], scale)
        });
        let posterior = infer(model).unwrap();
        let row = posterior.row("mean").unwrap();
        // about the mean of the data, 3.95, and the root of their mean square over 20, 0.13
        assert!((row.mean / scale - 3.95).abs() < 0.02, "{posterior}");
        assert!((row.sd / scale - 0.135).abs() < 0.02, "{posterior}");
    }
}

#[test]
fn a_point_outside_is_named_on_either_scale() {
    let mut space = Space::new();
    space.real("mu");
    space.positives("tau", 2);
    for space in [space.clone(), space.unconstrained()] {
        let mut at = [0.0; 3];
        let error = space.unconstrain(&[1.0, 2.0, -3.0], &mut at).unwrap_err().to_string();
        assert!(error.starts_with("E06 `tau[2]` = -3 is outside its support Positive"), "{error}");
        space.unconstrain(&[1.0, 2.0, 3.0], &mut at).unwrap();
        assert_eq!(at[0], 1.0);
    }
}
