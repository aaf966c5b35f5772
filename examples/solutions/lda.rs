//! Chapter 15.

use elbo::data::postcards;
use elbo::models::Topics;
use elbo::{EStep, Error, MStep, Minibatch, NaturalStep, Options, Stop, fit};
use statrs::function::gamma::ln_gamma;

pub fn solutions() -> Result<(), Error> {
    room_for_twelve()?;
    wrong_rates()?;
    the_prior()
}

// ANCHOR: one
fn room_for_twelve() -> Result<(), Error> {
    let bound = |k: usize| -> Result<(f64, f64), Error> {
        let fit = Topics::new(postcards()?.corpus, k)?.fit(1)?.fit;
        let words = |k: usize| fit.q.concentrations(k).iter().sum::<f64>() - 80.0 * fit.model.eta();
        let least = (0..k).map(words).fold(f64::INFINITY, f64::min);
        Ok((least, fit.q.bound().total() + ln_gamma(k as f64 + 1.0)))
    };
    let (six, twelve) = (bound(6)?, bound(12)?);
    assert!(twelve.0 > 100.0); // of 20 000 words each of the twelve has some hundreds
    assert!(twelve.1 < six.1 - 1000.0);
    Ok(())
}
// ANCHOR_END: one

// ANCHOR: two
fn wrong_rates() -> Result<(), Error> {
    let cards = postcards()?;
    let model = Topics::new(cards.more(10_000, 1)?.corpus, 6)?;
    let ends = |step: NaturalStep| -> Result<(f64, f64), Error> {
        let options = Options { steps: 1000, stop: Stop::Budget, ..Options::default() };
        let online = fit(model.clone(), model.start(3), Minibatch::new(20, step), options)?;
        let counted: f64 = (0..6).map(|k| online.q.concentrations(k).iter().sum::<f64>()).sum();
        Ok((model.completion(&online.q, &cards.corpus, 1)?.per_word(), counted))
    };
    let (right, counted) = ends(NaturalStep::decaying(10.0, 0.7))?;
    let (forgets, of_batch) = ends(NaturalStep::constant(1.0))?;
    let (stops, _) = ends(NaturalStep::decaying(1.0, 2.0))?;
    assert!(forgets < right - 0.05 && stops < right - 0.02);
    // 400 000 words and the prior of 6 topics of 80, whatever was read last
    assert!((counted / 400_080.0 - 1.0).abs() < 1e-2 && (of_batch - 400_080.0).abs() < 1e-3);
    Ok(())
}
// ANCHOR_END: two

// ANCHOR: three
fn the_prior() -> Result<(), Error> {
    let even = Topics::new(postcards()?.corpus, 6)?.fit(1)?.fit; // alpha = 1/6, eta = 1/6
    let before = even.q.bound().total();
    let learned = fit(even.model, even.q, (EStep, MStep), Options::exact())?;
    assert!(learned.q.bound().total() > before + 10.0);
    // planted were 0.2, and topics in which most words do not occur
    assert!(learned.model.alpha().iter().all(|a| (0.1..0.2).contains(a)));
    assert!(learned.model.eta() < 1.0 / 6.0);
    Ok(())
}
// ANCHOR_END: three
