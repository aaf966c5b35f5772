//! Latent units that carry no information, and the warning that names them.

use crate::warning::{Code, Warning};

/// A unit with a smaller divergence from the prior than this, in nats a datum, has collapsed.
pub(crate) const COLLAPSED: f64 = 0.01;

/// The units with so small a divergence, of the mean over data of each.
pub(crate) fn collapsed(kl: &[f64]) -> Vec<usize> {
    (0..kl.len()).filter(|&k| kl[k] < COLLAPSED).collect()
}

/// What to say of those units, if there are any.
pub(crate) fn warning(kl: &[f64]) -> Option<Warning> {
    const SHOWN: usize = 12;
    let units = collapsed(kl);
    let which = match units.len() {
        0 => return None,
        1 => format!("1 of {} latent units carries", kl.len()),
        n if n == kl.len() => format!("all {n} latent units carry"),
        n => format!("{n} of {} latent units carry", kl.len()),
    };
    let mut names = units.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>();
    if units.len() > SHOWN {
        names.push(format!(".. ({} more)", units.len() - SHOWN));
    }
    let message = if kl.len() == 1 {
        // one unit, or one number for all of them
        format!(
            "the latent numbers carry no information: their divergence from the prior is below {COLLAPSED} nats a datum"
        )
    } else {
        format!(
            "{which} no information: {}; the divergence of each from the prior is below {COLLAPSED} nats a datum",
            names.join(", ")
        )
    };
    let warning = Warning::new(Code::CollapsedUnits, message)
        .try_this("a warm-up: ClosedFormKl::new(draws).scheduled(Schedule::Linear { steps, from: 0.0, to: 1.0 })")
        .try_this("free nats: ClosedFormKl::new(draws).free(0.05)")
        .try_this("less noise in the likelihood, or fewer latent units: below the noise this is the best answer");
    Some(warning)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(kl: &[f64]) -> Option<String> {
        warning(kl).map(|w| w.to_string().lines().next().unwrap_or_default().to_string())
    }

    #[test]
    fn units_are_named() {
        assert_eq!(said(&[0.3, 0.02]), None);
        assert_eq!(said(&[]), None);
        let rest = "the divergence of each from the prior is below 0.01 nats a datum";
        let says =
            |kl: &[f64], what: &str| assert_eq!(said(kl), Some(format!("W10 {what}; {rest}")));
        says(&[0.3, 0.0, 2.0], "1 of 3 latent units carries no information: 1");
        let one = said(&[0.0]).expect("collapsed");
        assert!(one.starts_with("W10 the latent numbers carry no information: their div"), "{one}");
        says(&[0.001, 0.3, 0.0], "2 of 3 latent units carry no information: 0, 2");
        says(&[0.0; 3], "all 3 latent units carry no information: 0, 1, 2");
        let many = said(&[0.0; 20]).expect("collapsed");
        assert!(many.contains("10, 11, .. (8 more); "), "{many}");
    }
}
