//! Solutions of the exercises in the book: one module a chapter, one function an exercise.

mod amortization;
#[path = "../book/mod.rs"]
mod book;
mod coin;
mod compare;
mod custom_family;
mod diagnose;
mod em_gmm;
mod em_vs_vb;
mod faces;
mod gradients;
mod gumbel;
mod identity;
mod kl_directions;
mod lda;
mod logistic;
mod meanfield;
mod minibatch;
mod ppca;
mod prior_vs_q;
mod stopping;
mod time_series;
mod uncertain_networks;
mod vae;
mod vae_knobs;

fn main() -> Result<(), elbo::Error> {
    println!("Do the solutions of the exercises hold?");
    coin::solutions()?;
    identity::solutions();
    faces::solutions()?;
    diagnose::solutions()?;
    custom_family::solutions()?;
    prior_vs_q::solutions()?;
    gradients::solutions()?;
    logistic::solutions()?;
    stopping::solutions()?;
    minibatch::solutions()?;
    meanfield::solutions()?;
    em_gmm::solutions()?;
    compare::solutions()?;
    em_vs_vb::solutions()?;
    lda::solutions()?;
    time_series::solutions()?;
    ppca::solutions()?;
    vae::solutions()?;
    vae_knobs::solutions()?;
    amortization::solutions()?;
    uncertain_networks::solutions()?;
    kl_directions::solutions()?;
    gumbel::solutions()?;
    println!("OK: every solution holds");
    Ok(())
}
