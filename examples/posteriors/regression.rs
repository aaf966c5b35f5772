//! Linear regressions, their predictors as they were measured.

use elbo::density::{self, glm::Design};
use elbo::{Error, Space};

use super::case::{Case, Data};

/// Log earnings on height, sex and their interaction.
pub fn earnings_interaction(data: &Data) -> Result<Case, Error> {
    let (height, male) = (data.numbers("height"), data.numbers("male"));
    let log_earn = logs(data, "earn");
    flat_regression(&[&height, &male, &product(&height, &male)], &log_earn)
}

/// Biomass of mesquite bushes, log-log.
pub fn logmesquite(data: &Data) -> Result<Case, Error> {
    let names = ["diam1", "diam2", "canopy_height", "total_height", "density"];
    let [diam1, diam2, canopy, height, density] = names.map(|name| logs(data, name));
    let columns = [&diam1, &diam2, &canopy, &height, &density, &data.numbers("group")];
    flat_regression(&columns, &logs(data, "weight"))
}

/// Party identification, with a level for each age group after the first.
pub fn nes1980(data: &Data) -> Result<Case, Error> {
    let names = ["real_ideo", "race_adj", "educ1", "gender", "income", "age_discrete"];
    let [ideology, race, education, gender, income, age] = names.map(|name| data.numbers(name));
    let in_group = |group: f64| age.iter().map(|&a| f64::from(a == group)).collect::<Vec<_>>();
    let [second, third, fourth] = [2.0, 3.0, 4.0].map(in_group);
    flat_regression(
        &[&ideology, &race, &second, &third, &fourth, &education, &gender, &income],
        &data.numbers("partyid7"),
    )
}

/// An intercept and the columns, with flat priors.
fn flat_regression(columns: &[&Vec<f64>], y: &[f64]) -> Result<Case, Error> {
    let likelihood = Design::columns(columns).intercept().normal(y)?;
    let mut space = Space::new();
    let (beta, sigma) = (space.reals("beta", columns.len() + 1), space.positive("sigma"));
    Ok(Case::new(space, move |z| likelihood.log_prob(&z[beta], z[sigma])))
}

/// Test scores of children on the mother's school and IQ.
pub fn kidiq_interaction(data: &Data) -> Result<Case, Error> {
    let (school, iq) = (data.numbers("mom_hs"), data.numbers("mom_iq"));
    let likelihood = Design::columns(&[&school, &iq, &product(&school, &iq)])
        .intercept()
        .normal(&data.numbers("kid_score"))?;
    let mut space = Space::new();
    let (beta, sigma) = (space.reals("beta", 4), space.positive("sigma"));
    Ok(Case::new(space, move |z| {
        density::half_cauchy(z[sigma], 2.5) + likelihood.log_prob(&z[beta], z[sigma])
    }))
}

/// Five predictors, nearly orthogonal.
pub fn sblri(data: &Data) -> Result<Case, Error> {
    let likelihood = Design::rows(&data.rows("X").concat(), 5).normal(&data.numbers("y"))?;
    let mut space = Space::new();
    let (beta, sigma) = (space.reals("beta", 5), space.positive("sigma"));
    Ok(Case::new(space, move |z| {
        density::normals(&z[beta], 0.0, 10.0)
            + density::half_normal(z[sigma], 10.0)
            + likelihood.log_prob(&z[beta], z[sigma])
    }))
}

/// Summer temperature by year: intercept and slope are almost one direction.
pub fn kilpisjarvi(data: &Data) -> Result<Case, Error> {
    let likelihood =
        Design::columns(&[&data.numbers("x")]).intercept().normal(&data.numbers("y"))?;
    let (alpha_mean, alpha_sd) = (data.number("pmualpha"), data.number("psalpha"));
    let (beta_mean, beta_sd) = (data.number("pmubeta"), data.number("psbeta"));
    let mut space = Space::new();
    let (alpha, beta) = (space.real("alpha"), space.real("beta"));
    let sigma = space.positive("sigma");
    Ok(Case::new(space, move |z| {
        density::normal(z[alpha], alpha_mean, alpha_sd)
            + density::normal(z[beta], beta_mean, beta_sd)
            + likelihood.log_prob(&[z[alpha], z[beta]], z[sigma])
    }))
}

fn logs(data: &Data, name: &str) -> Vec<f64> {
    data.numbers(name).iter().map(|x| x.ln()).collect()
}

fn product(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a * b).collect()
}
