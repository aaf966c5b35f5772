//! The search of hidden Markov models: what it finds is no worse than a climb from the truth.

use elbo::data::Observations;
use elbo::models::HiddenMarkov;
use elbo::models::hidden_markov::Sequences;
use elbo::{EStep, MStep, Options, Purpose, Squarem, fit, stream};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

use crate::moves::last;

const SDS: [f64; 2] = [1.0, 0.3];
const STAY: f64 = 0.95;

/// Two states with the same mean that differ in how far rows scatter: centres tell nothing of them.
fn quiet_and_loud(seed: u64) -> Sequences {
    let mut rng = stream(seed, Purpose::Data, 0);
    let mut state = 0;
    let rows = (0..400)
        .map(|_| {
            if rng.random::<f64>() > STAY {
                state = 1 - state;
            }
            let e: f64 = StandardNormal.sample(&mut rng);
            SDS[state] * e
        })
        .collect();
    Sequences::one(Observations::new(rows, 1).expect("finite")).expect("long enough")
}

/// A model with room for `k` states at the truth, only two of which are ever entered.
fn at_the_truth(sequences: Sequences, k: usize) -> HiddenMarkov {
    let mut transitions = vec![0.0; k * k];
    for (i, row) in transitions.chunks_exact_mut(k).enumerate() {
        row[..2].fill(1.0 - STAY);
        row[i.min(1)] = STAY;
    }
    let mut initial = vec![0.0; k];
    initial[..2].fill(0.5);
    let states: Vec<f64> = (0..k).flat_map(|c| [0.0, SDS[c.min(1)] * SDS[c.min(1)]]).collect();
    HiddenMarkov::gaussian(sequences, k)
        .and_then(|model| model.with_parameters(&initial, &transitions, &states))
        .expect("a model")
}

#[test]
fn states_that_differ_in_scatter_alone_are_found() {
    for seed in 0..5 {
        let model = at_the_truth(quiet_and_loud(seed), 2);
        let best = model.fit(1).expect("fine");
        let q = model.states();
        let near = fit(model, q, Squarem::new((EStep, MStep)), Options::exact()).expect("fine");
        let (found, truth) = (last(&best.fit), last(&near));
        assert!(found >= truth - 1e-6 * truth.abs(), "{seed}: {found}, from the truth {truth}");
    }
}

/// With room for five, the bound is at least that of the two states that there are with three empty.
#[test]
fn room_for_states_that_are_not_there_costs_nothing() {
    for seed in 0..5 {
        let truth = at_the_truth(quiet_and_loud(seed), 5);
        let model = truth.bayesian();
        let best = model.fit(1).expect("fine");
        let start = model.start_from(&truth).expect("fine");
        let near = fit(model, start, Squarem::new(EStep), Options::exact()).expect("fine");
        let (found, truth) = (last(&best.fit), last(&near));
        assert!(found >= truth - 1e-6 * truth.abs(), "{seed}: {found}, from the truth {truth}");
        assert_eq!(best.fit.q.occupied().len(), 2, "{seed}");
    }
}
