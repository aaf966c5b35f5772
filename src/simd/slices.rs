//! Functions of one register over slices; what is left over at the end is one part-filled register,
//! so a value does not depend on where it stands.

use pulp::{Simd, WithSimd};

/// A function of one number, on registers.
pub(crate) trait Elementwise: Copy {
    /// The value in each lane.
    fn apply<S: Simd>(self, s: S, x: S::f64s) -> S::f64s;
}

/// `out_i = f(x_i)`
pub(super) struct To<'a, F>(pub(super) F, pub(super) &'a [f64], pub(super) &'a mut [f64]);

impl<F: Elementwise> WithSimd for To<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let To(f, x, out) = self;
        assert_eq!(x.len(), out.len(), "one value out for each in");
        let (x, x_tail) = S::as_simd_f64s(x);
        let (out, out_tail) = S::as_mut_simd_f64s(out);
        for (x, out) in x.iter().zip(out) {
            *out = f.apply(s, *x);
        }
        if !x_tail.is_empty() {
            s.partial_store_f64s(out_tail, f.apply(s, s.partial_load_f64s(x_tail)));
        }
    }
}

/// `x_i = f(x_i)`
pub(super) struct InPlace<'a, F>(pub(super) F, pub(super) &'a mut [f64]);

impl<F: Elementwise> WithSimd for InPlace<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let InPlace(f, x) = self;
        let (x, tail) = S::as_mut_simd_f64s(x);
        for x in x {
            *x = f.apply(s, *x);
        }
        if !tail.is_empty() {
            let value = f.apply(s, s.partial_load_f64s(tail));
            s.partial_store_f64s(tail, value);
        }
    }
}

macro_rules! elementwise {
    ($($function:ident, $struct:ident, $slice:ident, $to:ident, $text:literal;)*) => {$(
        #[derive(Clone, Copy)]
        pub(super) struct $struct;

        impl Elementwise for $struct {
            #[inline(always)]
            fn apply<S: Simd>(self, s: S, x: S::f64s) -> S::f64s {
                super::$function(s, x)
            }
        }

        #[doc = concat!("`", $text, "` of every number, in place.")]
        pub(crate) fn $slice(x: &mut [f64]) {
            super::dispatch(InPlace($struct, x));
        }

        #[doc = concat!("`", $text, "` of every number.")]
        ///
        /// # Panics
        /// Slices of different lengths.
        pub(crate) fn $to(x: &[f64], out: &mut [f64]) {
            super::dispatch(To($struct, x, out));
        }
    )*};
}
elementwise! {
    exp, Exp, exp_slice, exp_to, "e^x";
    exp_m1, ExpM1, exp_m1_slice, exp_m1_to, "e^x - 1";
    ln, Ln, ln_slice, ln_to, "ln x";
    ln_1p, Ln1p, ln_1p_slice, ln_1p_to, "ln(1 + x)";
    sigmoid, Sigmoid, sigmoid_slice, sigmoid_to, "1 / (1 + e^-x)";
    digamma, Digamma, digamma_slice, digamma_to, "psi(x)";
    exp_digamma, ExpDigamma, exp_digamma_slice, exp_digamma_to, "e^psi(x)";
    log_gamma, LogGamma, log_gamma_slice, log_gamma_to, "ln Gamma(x)";
    softplus, Softplus, softplus_slice, softplus_to, "ln(1 + e^x)";
    tanh, Tanh, tanh_slice, tanh_to, "tanh x";
}
