//! The laws of exact moves, for any model: a new model adds its lines.

use elbo::{Ascent, Error, Family, Fit, Model, Options, Purpose, Run, Stop, stream};

/// How many standard errors a mean may be off: false alarm in 1 of 16 000 uses.
const SIGMA: f64 = 4.0;

/// Runs an exact move to its end; every half step is at least as high as the one before.
pub fn never_descends<M, Q, A>(model: M, q: Q, ascent: A) -> Fit<M, Q>
where
    M: Model,
    Q: Family,
    A: Ascent<M, Q>,
{
    let options = Options { stop: Stop::Exact { gain: 1e-13 }, ..Options::exact() };
    let fit = Run::new(model, q, ascent, options).and_then(Run::finish).expect("it climbs");
    let halves = fit.trace.iter().flat_map(|s| [s.between, s.elbo]).flatten();
    let all: Vec<f64> = halves.collect();
    assert!(all.len() >= fit.trace.len(), "an exact move knows its ELBO");
    for (i, pair) in all.windows(2).enumerate() {
        let slack = 1e-10 * pair[0].abs().max(1.0);
        assert!(pair[1] >= pair[0] - slack, "half step {i}: from {} to {}", pair[0], pair[1]);
    }
    fit
}

/// The reported ELBO is the mean of `log p - log q` over draws of `q`.
pub fn elbo_is_the_mean_of_its_draws<M: Model, Q: Family>(model: &M, q: &Q, elbo: f64) {
    const DRAWS: usize = 4_000;
    let mut rng = stream(1, Purpose::Report, 0);
    let mut z = vec![0.0; q.dim()];
    let (mut mean, mut square) = (0.0, 0.0);
    for s in 0..DRAWS {
        q.sample(&mut rng, &mut z);
        let term = model.log_joint(&z) - q.log_prob(&z);
        let off = term - mean;
        mean += off / (s + 1) as f64;
        square += off * (term - mean);
    }
    let se = (square / (DRAWS * (DRAWS - 1)) as f64).sqrt();
    // where q is the posterior every draw says the same, up to rounding
    let slack = SIGMA * se + 1e-9 * (1.0 + elbo.abs());
    assert!((mean - elbo).abs() < slack, "draws say {mean} ± {se}, reported {elbo}");
}

/// The last ELBO of a trace.
pub fn last<M, Q>(fit: &Fit<M, Q>) -> f64 {
    fit.trace.last().and_then(|s| s.elbo).expect("an exact move knows its ELBO")
}

/// What an error says.
pub fn message<T>(result: Result<T, Error>) -> String {
    result.err().map(|e| e.to_string()).expect("an error")
}
