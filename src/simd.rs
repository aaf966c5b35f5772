//! Elementary functions over registers and slices: AVX-512, AVX2 or plain scalars, chosen at run
//! time.
//!
//! A kernel is a struct that implements [`pulp::WithSimd`], all of it `#[inline(always)]` and
//! generic over the instruction set; [`dispatch`] runs it on the widest one there is. Functions of
//! one register ([`exp`], [`ln`], ...) are right on the whole line, subnormal numbers and infinities
//! included, and NaN in is NaN out. Unless said otherwise they are within two units in the last
//! place, and instruction sets agree to four (they differ in whether a product and a sum are rounded
//! once or twice). What comes out of a lane depends on what went into that lane alone.

// A library of functions: not every kernel there may be is there yet.
#![allow(dead_code, unused_imports)]

mod bits;
mod exponential;
mod gamma;
mod logarithm;
mod logistic;
pub(crate) mod single;
mod slices;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use pulp::{Arch, WithSimd};

pub(crate) use bits::any;
pub(crate) use exponential::{exp, exp_m1, tanh};
pub(crate) use gamma::{digamma, digamma_and_log_gamma, exp_digamma, log_gamma};
pub(crate) use logarithm::{ln, ln_1p};
pub(crate) use logistic::{log_sigmoid_pair, sigmoid, softplus};
pub(crate) use slices::{
    digamma_slice, digamma_to, exp_digamma_slice, exp_digamma_to, exp_m1_slice, exp_m1_to,
    exp_slice, exp_to, ln_1p_slice, ln_1p_to, ln_slice, ln_to, log_gamma_slice, log_gamma_to,
    sigmoid_slice, sigmoid_to, softplus_slice, softplus_to, tanh_slice, tanh_to,
};

/// Runs a kernel on the widest instruction set of this machine.
#[inline]
pub(crate) fn dispatch<K: WithSimd>(kernel: K) -> K::Output {
    static ARCH: OnceLock<Arch> = OnceLock::new();
    ARCH.get_or_init(Arch::new).dispatch(kernel)
}

/// What a kernel gives on each instruction set there is here, the narrowest first.
#[cfg(test)]
pub(crate) fn on_each<K: WithSimd>(kernel: impl Fn() -> K) -> Vec<(&'static str, K::Output)> {
    use pulp::Simd;
    let mut results = vec![("scalar", pulp::Scalar.vectorize(kernel()))];
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(s) = pulp::x86::V3::try_new() {
            results.push(("AVX2", Simd::vectorize(s, kernel())));
        }
        if let Some(s) = pulp::x86::V4::try_new() {
            results.push(("AVX-512", Simd::vectorize(s, kernel())));
        }
    }
    results.push(("dispatched", Arch::new().dispatch(kernel())));
    results
}
