//! Regressions of yes or no, and of counts.

use elbo::density::{self, glm::Design};
use elbo::{Error, Space, Support};

use super::case::{Case, Data};

/// Who switched to another well: distance, arsenic, their interaction, associations, schooling.
pub fn wells(data: &Data) -> Result<Case, Error> {
    let centred = |name: &str, unit: f64| -> Vec<f64> {
        let values = data.numbers(name);
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.iter().map(|x| (x - mean) / unit).collect()
    };
    let (distance, arsenic) = (centred("dist", 100.0), centred("arsenic", 1.0));
    let both: Vec<f64> = distance.iter().zip(&arsenic).map(|(d, a)| d * a).collect();
    let assoc = data.numbers("assoc");
    let educ: Vec<f64> = data.numbers("educ").iter().map(|years| years / 4.0).collect();
    let likelihood = Design::columns(&[&distance, &arsenic, &both, &assoc, &educ])
        .intercept()
        .bernoulli_logit(&data.numbers("switched"))?;
    let mut space = Space::new();
    let (alpha, beta) = (space.real("alpha"), space.reals("beta", 5));
    Ok(Case::new(space, move |z| likelihood.log_prob(&[&[z[alpha]], &z[beta]].concat())))
}

/// Dogs learning to avoid a shock, from shocks avoided and shocks taken before.
pub fn dogs(data: &Data) -> Result<Case, Error> {
    let (mut x, mut shock) = (Vec::new(), Vec::new());
    for trials in data.rows("y") {
        let (mut avoided, mut taken) = (0.0, 0.0);
        for y in trials {
            x.extend([1.0, avoided, taken]);
            shock.push(y);
            avoided += 1.0 - y;
            taken += y;
        }
    }
    let likelihood = Design::rows(&x, 3).bernoulli_logit(&shock)?;
    let mut space = Space::new();
    let beta = space.reals("beta", 3);
    Ok(Case::new(space, move |z| {
        density::normals(&z[beta], 0.0, 100.0) + likelihood.log_prob(&z[beta])
    }))
}

/// Counts of peregrines, a cubic of the year.
pub fn glm_poisson(data: &Data) -> Result<Case, Error> {
    let year = data.numbers("year");
    let [square, cube] = [2, 3].map(|p| year.iter().map(|t| t.powi(p)).collect::<Vec<_>>());
    let likelihood =
        Design::columns(&[&year, &square, &cube]).intercept().poisson_log(&data.numbers("C"))?;
    let mut space = Space::new();
    let alpha = space.one("alpha", Support::Interval(-20.0, 20.0));
    let [beta1, beta2, beta3] =
        ["beta1", "beta2", "beta3"].map(|name| space.one(name, Support::Interval(-10.0, 10.0)));
    Ok(Case::new(space, move |z| {
        let mut lp = density::uniform(z[alpha], -20.0, 20.0);
        for beta in [beta1, beta2, beta3] {
            lp += density::uniform(z[beta], -10.0, 10.0);
        }
        lp + likelihood.log_prob(&[z[alpha], z[beta1], z[beta2], z[beta3]])
    }))
}
