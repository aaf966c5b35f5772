//! The hyperparameters of a Gaussian process.

use elbo::{Error, Real, Space, Var, density};

use super::case::{Case, Data};

/// `y ~ MultivariateNormal(0, K + sigma I)`, `K` the squared exponential kernel.
pub fn gp_regr(data: &Data) -> Result<Case, Error> {
    let (x, y) = (data.numbers("x"), data.numbers("y"));
    let y: Vec<Var> = y.into_iter().map(Var::from).collect();
    let mut space = Space::new();
    let (rho, alpha) = (space.positive("rho"), space.positive("alpha"));
    let sigma = space.positive("sigma");
    Ok(Case::new(space, move |z| {
        // The lower triangle of the covariance, row by row.
        let mut covariance = Vec::new();
        for i in 0..x.len() {
            for j in 0..=i {
                let apart = (x[i] - x[j]).powi(2);
                let kernel = z[alpha].square() * (z[rho].square().recip() * (-0.5 * apart)).exp();
                covariance.push(if i == j { kernel + z[sigma] } else { kernel });
            }
        }
        let mean = vec![Var::from(0.0); y.len()];
        density::gamma(z[rho], 25.0, 4.0)
            + density::half_normal(z[alpha], 2.0)
            + density::half_normal(z[sigma], 1.0)
            + density::multivariate_normal(&y, &mean, &density::cholesky(&covariance))
    }))
}
