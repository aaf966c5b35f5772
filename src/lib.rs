//! Variational inference you can check: one functional, one loop, many moves.

pub mod ascent;
pub mod autodiff;
pub mod bijector;
#[cfg(doctest)]
mod book;
pub(crate) mod caught;
pub mod check;
pub(crate) mod checkpoint;
pub(crate) mod clock;
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
pub mod noise;
pub mod observe;
pub mod optimizer;
pub mod outcome;
pub mod posterior;
pub(crate) mod runaway;
pub mod scalar;
pub(crate) mod scratch;
pub mod space;
pub(crate) mod special;
pub(crate) mod start;
pub mod stop;
pub mod trace;
pub(crate) mod triangle;
pub mod warning;
pub mod witness;

pub use ascent::{
    Ascent, FixedDraws, FixedNoise, GradientAscent, Laplace, LinearResponse, Minibatch, Step,
};
pub use autodiff::{Autodiff, LogJoint, Primitive, Real, Var};
pub use bijector::Support;
pub use check::{ModelCheck, check_model, check_model_at};
pub use diagnostics::{Checks, Estimate, Summary, Verdict};
pub use error::Error;
pub use estimator::{
    GradientEstimator, NonFinite, Reparameterization, ScoreFunction, StickingTheLanding,
};
pub use family::{
    Affine, Beta, Bijection, Delta, Divergence, Family, FullRankGaussian, LowRankGaussian,
    MeanFieldGaussian, NaturalScale, Product, Reparameterized, Scored, Smooth, Transformed,
};
pub use fit::{Fit, Options, Outcome, Run, fit, fit_with};
pub use infer::{Gaussian, InferOptions, infer, infer_with};
pub use model::{
    DifferencedHessian, Differentiable, Model, Parallel, Subsample, TwiceDifferentiable,
    Unconstrained, Whitened, from_fn,
};
pub use nalgebra::DMatrix;
pub use noise::{Purpose, stream};
pub use optimizer::{
    Adam, AdamW, Averaged, ClipNorm, ClipValue, DoWG, Only, Optimizer, Schedule, Scheduled, Sgd,
};
pub use posterior::{Draws, Posterior, Report};
pub use rand::Rng;
pub use scalar::Scalar;
pub use space::{Block, Coordinate, Space};
pub use stop::{Paired, Stop};
pub use warning::Warning;
pub use witness::Witness;
