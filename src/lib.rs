//! Variational inference you can check: one functional, one loop, many moves.
//!
//! Everything climbs one functional of two arguments (Neal and Hinton 1998), the evidence lower
//! bound, in nats and with all constants kept:
//!
//! ```text
//! ELBO(theta, q) = E_q[ log p_theta(x, z) ] + H(q)
//! ```
//!
//! A **move** ([`Ascent`]) takes `(model, q)` uphill, exactly or in expectation. Moves combine, and
//! one loop ([`fit`](fit())) repeats a move. [`infer`](infer()) is a choice of moves that needs no
//! settings:
//!
//! ```
//! use elbo::{Space, Var, Verdict, density, from_fn, infer};
//!
//! let effect = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]; // of coaching, in eight schools
//! let sd = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]; // its standard error (Rubin 1981)
//!
//! let mut space = Space::new();
//! let (mu, tau, eta) = (space.real("mu"), space.positive("tau"), space.reals("eta", 8));
//! let model = from_fn(space, move |z| {
//!     let mut lp = density::normal(z[mu], 0.0, 5.0) + density::half_cauchy(z[tau], 5.0);
//!     for (j, &eta) in z[eta].iter().enumerate() {
//!         lp += density::normal(eta, 0.0, 1.0);
//!         lp += density::normal(Var::from(effect[j]), z[mu] + z[tau] * eta, sd[j]);
//!     }
//!     lp
//! });
//! let posterior = infer(model)?;
//! println!("{posterior}"); // a table with names, the ELBO with its error, a verdict
//! assert!((posterior.row("mu")?.mean - 4.4).abs() < 0.5);
//! assert!(posterior.verdict() < Verdict::DoNotUse);
//! # Ok::<(), elbo::Error>(())
//! ```
//!
//! | the field says | here |
//! |---|---|
//! | black-box variational inference, ADVI | [`GradientAscent`] of [`Reparameterization`] and [`Adam`] |
//! | the same without noise at the answer | [`GradientAscent`] of [`StickingTheLanding`] and [`DoWG`] |
//! | the same from values alone | [`GradientAscent`] of [`ScoreFunction`] |
//! | tighter bounds by weighted draws: IWAE, Renyi, doubly reparameterized | [`GradientAscent`] of [`DoublyReparameterized`] |
//! | labels: exact sums, VIMCO, DisARM, Gumbel-softmax | [`GradientAscent`] of [`Enumeration`], [`Vimco`], [`Disarm`], [`GumbelSoftmax`] |
//! | Laplace's approximation | [`Laplace`] |
//! | fixed draws with linear response (DADVI) | [`FixedDraws`] |
//! | EM | the pair ([`EStep`], [`MStep`]) |
//! | coordinate ascent (CAVI) | [`EStep`], on a model without `theta` |
//! | stochastic variational inference (SVI) | [`Minibatch`] of [`NaturalStep`] |
//! | stochastic: some rows a step | [`Minibatch`] around a move |
//! | two blocks in turn | a pair of moves is a move |
//!
//! A model is written as a closure ([`from_fn`]), a [`LogJoint`] over any [`Real`], a
//! [`Differentiable`] with its own gradient, or a plain [`Model`]; its coordinates are declared in a
//! [`Space`]. What approximates is a [`Family`]. What a fit is kept as is a [`Posterior`].
//! [`diagnostics`] says whether it is any good, and [`laws`] what every implementor obeys.

pub mod ascent;
pub mod autodiff;
pub mod bijector;
#[cfg(doctest)]
mod book;
pub(crate) mod caught;
pub mod check;
pub(crate) mod checkpoint;
pub(crate) mod cholesky;
pub(crate) mod clock;
pub(crate) mod collapse;
pub mod compare;
pub mod data;
pub mod density;
pub mod diagnostics;
pub mod error;
pub mod estimator;
pub mod family;
pub mod fit;
pub(crate) mod incomplete_beta;
pub mod infer;
pub mod laplace;
pub mod laws;
pub(crate) mod lossless;
pub(crate) mod minimize;
pub mod model;
pub mod models;
pub mod nn;
pub mod noise;
pub mod observe;
pub mod optimizer;
pub mod outcome;
#[cfg(feature = "plot")]
mod plot;
pub(crate) mod pool;
pub mod posterior;
pub(crate) mod product;
pub(crate) mod quantile;
pub mod restarts;
pub(crate) mod runaway;
pub mod scalar;
pub(crate) mod scratch;
pub(crate) mod simd;
pub mod space;
pub(crate) mod special;
pub(crate) mod start;
pub mod stop;
pub(crate) mod symmetric;
pub(crate) mod threads;
pub mod trace;
pub(crate) mod triangle;
pub mod warning;
pub mod witness;

pub use ascent::{
    Anderson, Ascent, EStep, FixedDraws, FixedNoise, GradientAscent, Laplace, LinearResponse,
    MStep, Minibatch, NaturalStep, Squarem, Step,
};
pub use autodiff::{Autodiff, LogJoint, Primitive, Real, Var};
pub use bijector::Support;
pub use check::{ModelCheck, check_model, check_model_at};
pub use compare::{Compared, Comparison, Entry, compare};
pub use diagnostics::{Checks, Estimate, Summary, Verdict};
pub use error::Error;
pub use estimator::{
    ClosedFormKl, Disarm, DoublyReparameterized, Enumeration, GradientEstimator, GumbelSoftmax,
    ImportanceWeighted, NonFinite, Objective, PerDatum, Reparameterization, ScoreFunction,
    StickingTheLanding, Vimco,
};
pub use family::{
    Affine, Bernoulli, Beta, Bijection, Binary, Categorical, Delta, Dirichlet, Discrete,
    Divergence, Family, FullRankGaussian, Gamma, LocalFamily, LowRankGaussian, MeanFieldGaussian,
    NaturalScale, Product, Reparameterized, Scored, Smooth, Transformed,
};
pub use fit::{Fit, Options, Outcome, Run, fit, fit_with};
pub use infer::{Gaussian, InferOptions, infer, infer_with};
pub use model::{
    Conjugate, DifferencedHessian, Differentiable, KnownPrior, LocalModel, Maximize, Model, OneHot,
    Parallel, Relaxed, Subsample, TwiceDifferentiable, Unconstrained, Whitened, from_fn,
};
pub use nalgebra::DMatrix;
pub use noise::{Purpose, stream};
pub use optimizer::{
    Adam, AdamW, Averaged, ClipNorm, ClipOutliers, ClipValue, DoWG, Only, Optimizer, Schedule,
    Scheduled, Sgd,
};
pub use posterior::{Draws, Posterior, Report};
pub use rand::Rng;
pub use scalar::Scalar;
pub use space::{Block, Coordinate, Space};
pub use stop::{Paired, Stop};
pub use warning::Warning;
pub use witness::Witness;
