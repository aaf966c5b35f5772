//! Mixtures: what remains when the component is summed out.

use crate::autodiff::Real;

/// `ln sum_k e^(log_weight_k + log_density_k)`: the density of a mixture, its component summed out.
///
/// ```
/// use elbo::density;
/// let parts = [density::normal(0.3, -1.0, 1.0), density::normal(0.3, 1.0, 1.0)];
/// let both = density::mixture(&[0.5f64.ln(), 0.5f64.ln()], &parts);
/// assert!((both - (0.5 * parts[0].exp() + 0.5 * parts[1].exp()).ln()).abs() < 1e-14);
/// ```
///
/// # Panics
/// If there are not as many weights as densities.
pub fn mixture<T: Real>(log_weights: &[T], log_densities: &[T]) -> T {
    let (n, m) = (log_weights.len(), log_densities.len());
    assert!(n == m, "mixture: {n} weights but {m} densities; give one weight for each density");
    let terms: Vec<T> = log_weights.iter().zip(log_densities).map(|(&w, &d)| w + d).collect();
    T::log_sum_exp(&terms)
}

/// The same with weights on their own scale, such as a simplex `&z[w]`; a weight of 0 takes its
/// component out.
pub fn mixture_of<T: Real>(weights: &[T], log_densities: &[T]) -> T {
    let logs: Vec<T> = weights.iter().map(|&w| T::from(1.0).times_ln(w)).collect();
    mixture(&logs, log_densities)
}
