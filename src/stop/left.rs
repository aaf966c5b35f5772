//! `left`: what an exact run has still to gain, from what it has gained so far.

/// An estimate, in nats, of how far below its limit a climb stands after the ELBOs
/// `elbo(0), .., elbo(last)`: infinite where it does not slow down, so that nothing can be said.
///
/// A climb that gains `early` in so many steps and `late` in as many after them, and goes on slowing
/// down at that pace, has `late^2 / (early - late)` left (Aitken 1926; Boehning, Dietz, Schaub,
/// Schlattmann and Lindsay 1994 for EM). One step beside the one before says that where each is a
/// fixed share of the last, but moves that look ahead gain in fits and starts, and rounding hides
/// what a single slow step gains. So the last steps are looked at 1, 2, 4, .. at a time, as far
/// back as there are any, and the largest of all estimates counts. Differences within `noise` say
/// nothing: where all are, and all that was gained on the way is, the run stands at its limit.
pub(super) fn left(elbo: impl Fn(usize) -> Option<f64>, last: usize, noise: f64) -> f64 {
    let gained = |from: usize, to: usize| Some(elbo(to)? - elbo(from)?);
    let (mut most, mut width): (Option<f64>, _) = (None, 1);
    while 2 * width <= last {
        let middle = last - width;
        let Some((early, late)) = gained(middle - width, middle).zip(gained(middle, last)) else {
            break;
        };
        if late - early > noise {
            return f64::INFINITY;
        }
        if early - late > noise {
            let late = late.max(0.0);
            most = Some((late * late / (early - late)).max(most.unwrap_or(0.0)));
        }
        width *= 2;
    }
    // Nothing slowed down: either nothing was gained as far back as was looked, or at one pace.
    let seen = if width == 1 { last } else { width };
    let gained = gained(last - seen, last).unwrap_or(f64::INFINITY);
    most.unwrap_or(if gained > noise { f64::INFINITY } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::left;

    fn of(climb: &[f64]) -> f64 {
        left(|i| climb.get(i).copied(), climb.len() - 1, 1e-12)
    }

    /// `-remaining(0), -remaining(1), ..`
    fn towards(steps: usize, remaining: impl Fn(f64) -> f64) -> Vec<f64> {
        (0..steps).map(|t| -remaining(t as f64)).collect()
    }

    #[test]
    fn a_climb_at_one_pace_has_left_what_it_has_left() {
        for pace in [0.1f64, 0.9, 0.999, 0.999_99] {
            let climb = towards(300, |t| 5.0 * pace.powf(t));
            let (want, got) = (-climb[299], of(&climb));
            assert!((got - want).abs() < 1e-3 * want + 1e-11, "{pace}: {got} {want}");
        }
    }

    #[test]
    fn a_slow_part_behind_a_fast_one_is_seen() {
        let climb = towards(40, |t| 500.0 * 0.3f64.powf(t) + 0.3 * 0.999f64.powf(t));
        assert!(of(&climb) > 0.25, "{}", of(&climb));
    }

    /// At the edge of the parameters the ELBO comes nearer like `1 / t`: half of it is seen.
    #[test]
    fn a_climb_that_slows_ever_more_is_seen_within_a_factor_of_two() {
        let climb = towards(1000, |t| 1.0 / (1.0 + t));
        let (want, got) = (-climb[999], of(&climb));
        assert!(got > 0.45 * want && got < 1.1 * want, "{got} {want}");
    }

    #[test]
    fn one_lucky_step_among_others_does_not_hide_them() {
        let mut climb = towards(41, |t| 0.8f64.powf(t));
        climb.push(climb[40] + 1e-11);
        assert!(of(&climb) > 1e-5, "{}", of(&climb));
    }

    #[test]
    fn a_plateau_before_a_rise_has_no_limit_yet() {
        let climb = towards(200, |t| -1e-9 * 1.05f64.powf(t));
        assert_eq!(of(&climb), f64::INFINITY);
        let steady = towards(50, |t| -1e-9 * t);
        assert_eq!(of(&steady), f64::INFINITY);
    }

    #[test]
    fn a_climb_that_starts_at_its_limit_has_nothing_left() {
        assert_eq!(of(&[3.0, 3.0]), 0.0);
        assert_eq!(of(&[3.0, 3.0 + 1e-13, 3.0, 3.0 - 1e-13, 3.0]), 0.0);
        assert_eq!(of(&[3.0, 3.1]), f64::INFINITY);
    }
}
