//! Hierarchical models; mostly non-centred: an effect is `location + scale z`, `z ~ Normal(0, 1)`.

use std::sync::Arc;

use elbo::density::{self, glm::Design};
use elbo::{Error, Real, Space, Var};

use super::case::{Case, Data};

/// Coaching in eight schools: a mean, a spread, and eight effects.
pub fn eight_schools(data: &Data) -> Result<Case, Error> {
    let (y, sigma) = (data.numbers("y"), data.numbers("sigma"));
    let sigma: Vec<Var> = sigma.into_iter().map(Var::from).collect();
    let mut space = Space::new();
    let (mu, tau) = (space.real("mu"), space.positive("tau"));
    let eta = space.reals("eta", y.len());
    let case = Case::new(space, move |z| {
        let theta: Vec<Var> = z[eta].iter().map(|&eta| z[mu] + z[tau] * eta).collect();
        density::normal(z[mu], 0.0, 5.0)
            + density::half_cauchy(z[tau], 5.0)
            + density::normals(&z[eta], 0.0, 1.0)
            + density::normals_observed(&y, &theta, &sigma)
    });
    Ok(case.reported(
        &[("eta", "theta")],
        move |z| stretch(z[mu], z[tau], &mut z[eta]),
        move |z| shrink(z[mu], z[tau], &mut z[eta]),
    ))
}

/// Radon in the houses of Minnesota: an intercept for each county.
pub fn radon_hier(data: &Data) -> Result<Case, Error> {
    let (uranium, floor) = (data.numbers("log_uppm"), data.numbers("floor_measure"));
    let county: Vec<usize> = data.numbers("county_idx").iter().map(|c| *c as usize - 1).collect();
    let counties = data.number("J") as usize;
    let likelihood = Design::columns(&[&uranium, &floor])
        .groups(&county, counties)
        .normal(&data.numbers("log_radon"))?;
    let mut space = Space::new();
    let (mu, sigma) = (space.real("mu_alpha"), space.positive("sigma_alpha"));
    let raw = space.reals("alpha_raw", counties);
    let (beta, sigma_y) = (space.reals("beta", 2), space.positive("sigma_y"));
    let case = Case::new(space, move |z| {
        let alpha: Vec<Var> = z[raw].iter().map(|&raw| z[mu] + z[sigma] * raw).collect();
        density::normal(z[mu], 0.0, 10.0)
            + density::half_normal(z[sigma], 1.0)
            + density::half_normal(z[sigma_y], 1.0)
            + density::normals(&z[beta], 0.0, 10.0)
            + density::normals(&z[raw], 0.0, 1.0)
            + likelihood.at(&z[beta], z[sigma_y]).intercepts(&alpha).log_prob()
    });
    Ok(case.reported(
        &[("alpha_raw", "alpha")],
        move |z| stretch(z[mu], z[sigma], &mut z[raw]),
        move |z| shrink(z[mu], z[sigma], &mut z[raw]),
    ))
}

/// Seeds that germinate, plate by plate: a binomial regression with an effect for each plate.
pub fn seeds(data: &Data) -> Result<Case, Error> {
    let (x1, x2) = (data.numbers("x1"), data.numbers("x2"));
    let both: Vec<f64> = x1.iter().zip(&x2).map(|(x1, x2)| x1 * x2).collect();
    let plate: Vec<usize> = (0..x1.len()).collect();
    let likelihood = Design::columns(&[&x1, &x2, &both])
        .intercept()
        .groups(&plate, plate.len())
        .binomial_logit(&data.numbers("n"), &data.numbers("N"))?;
    let mut space = Space::new();
    let (alpha0, alpha1) = (space.real("alpha0"), space.real("alpha1"));
    let (alpha2, alpha12) = (space.real("alpha2"), space.real("alpha12"));
    let (sigma, raw) = (space.positive("sigma"), space.reals("b_raw", plate.len()));
    let case = Case::new(space, move |z| {
        let alpha = [z[alpha0], z[alpha1], z[alpha2], z[alpha12]];
        let b: Vec<Var> = z[raw].iter().map(|&raw| z[sigma] * raw).collect();
        density::normals(&alpha, 0.0, 1.0)
            + density::half_cauchy(z[sigma], 1.0)
            + density::normals(&z[raw], 0.0, 1.0)
            + likelihood.at(&alpha).intercepts(&b).log_prob()
    });
    Ok(case.reported(
        &[("b_raw", "b")],
        move |z| stretch(0.0, z[sigma], &mut z[raw]),
        move |z| shrink(0.0, z[sigma], &mut z[raw]),
    ))
}

/// Answers of persons to items: ability, discrimination, difficulty.
///
/// Centred: 100 answers to an item and 20 of a person say much about each. And for a Gaussian `q`
/// over `log sigma_a` and `x` the mean of `exp(sigma_a x)` is infinite: with the discrimination
/// non-centred no ELBO would be finite.
pub fn irt_2pl(data: &Data) -> Result<Case, Error> {
    let answers = data.rows("y");
    let (items, persons) = (answers.len(), answers[0].len());
    let mut space = Space::new();
    let (sigma_theta, theta) = (space.positive("sigma_theta"), space.reals("theta", persons));
    let (sigma_a, a) = (space.positive("sigma_a"), space.positives("a", items));
    let (mu_b, sigma_b) = (space.real("mu_b"), space.positive("sigma_b"));
    let b = space.reals("b", items);
    let likelihood = Arc::new(move |x: &[f64], grad: &mut [f64]| answered(&answers, x, grad));
    Ok(Case::new(space, move |z| {
        let mut lp = density::normal(z[mu_b], 0.0, 5.0)
            + density::normals(&z[theta], 0.0, z[sigma_theta])
            + density::normals(&z[b], z[mu_b], z[sigma_b]);
        for sigma in [z[sigma_theta], z[sigma_a], z[sigma_b]] {
            lp += density::half_cauchy(sigma, 2.0);
        }
        for &a in &z[a] {
            lp += density::log_normal(a, 0.0, z[sigma_a]);
        }
        lp + Var::primitive(&[&z[theta], &z[a], &z[b]].concat(), &likelihood)
    }))
}

/// `sum_ij log Bernoulli(y_ij; sigmoid(a_i (theta_j - b_i)))` with its gradient, `x` being `theta`,
/// `a` and `b`. By hand, so that thousands of answers are one operation of the model.
fn answered(answers: &[Vec<f64>], x: &[f64], grad: &mut [f64]) -> f64 {
    let (items, persons) = (answers.len(), answers[0].len());
    let (theta, rest) = x.split_at(persons);
    let (a, b) = rest.split_at(items);
    grad.fill(0.0);
    let mut lp = 0.0;
    for (i, answers) in answers.iter().enumerate() {
        // One logarithm an item: a hundred factors between 1 and 2 are far from overflow.
        let mut product = 1.0;
        for (j, &answer) in answers.iter().enumerate() {
            let logit = a[i] * (theta[j] - b[i]);
            let small = (-logit.abs()).exp();
            let right = if logit > 0.0 { 1.0 } else { small } / (1.0 + small);
            lp += answer * logit - logit.max(0.0);
            product *= 1.0 + small;
            let residual = answer - right;
            grad[j] += residual * a[i];
            grad[persons + i] += residual * (theta[j] - b[i]);
            grad[persons + items + i] -= residual * a[i];
        }
        lp -= product.ln();
    }
    lp
}

/// `x = location + scale * x`
fn stretch(location: f64, scale: f64, x: &mut [f64]) {
    x.iter_mut().for_each(|x| *x = location + scale * *x);
}

/// The way back; returns the log Jacobian of [`stretch`].
fn shrink(location: f64, scale: f64, x: &mut [f64]) -> f64 {
    x.iter_mut().for_each(|x| *x = (*x - location) / scale);
    x.len() as f64 * scale.ln()
}
