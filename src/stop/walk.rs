//! `Walk`: whether the answer is still going somewhere, however little that gains.

use std::any::Any;

use serde::{Deserialize, Serialize};

use crate::ascent::{Ascent, buffers_of};
use crate::family::Family;
use crate::lossless;
use crate::model::Model;
use crate::scalar::Scalar;

/// How nearly two moves must point the same way, as a cosine, and how little the second may be
/// slower than the first, to count as one straight walk.
const STRAIGHT: f64 = 0.9;
/// How many moves in a row must be straight: noise along one soft direction may look so once.
const TWICE: u32 = 2;

/// Room for parameters of the run's own scalar type: not part of what a rule remembers.
#[derive(Debug, Default)]
struct Room(Option<Box<dyn Any + Send>>);

impl Clone for Room {
    fn clone(&self) -> Room {
        Room(None)
    }
}
impl PartialEq for Room {
    fn eq(&self, _: &Room) -> bool {
        true
    }
}

/// Where the answer was at the last check, and how fast it had moved before.
///
/// A rate that is far too small gains nothing that a test could see, but it moves the parameters in
/// one direction at one speed; a fit that has arrived slows down, or turns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Walk {
    steps: usize,
    /// How many moves in a row were straight.
    in_a_row: u32,
    #[serde(with = "lossless::many")]
    at: Vec<f64>,
    #[serde(with = "lossless::many")]
    velocity: Vec<f64>,
    #[serde(skip)]
    room: Room,
}

impl Walk {
    /// Looks at the parameters that would be reported now.
    pub(super) fn look<T: Scalar, M: Model<T>, Q: Family<T>, A: Ascent<M, Q, T>>(
        &mut self,
        steps: usize,
        (model, q, ascent): (&mut M, &mut Q, &A),
    ) -> bool {
        let mut room = std::mem::take(&mut self.room);
        let [kept, theta, answer] = buffers_of::<[Vec<T>; 3]>(&mut room.0);
        kept.resize(q.n_params(), T::default());
        answer.resize(q.n_params(), T::default());
        theta.resize(model.n_theta(), T::default());
        q.params(kept);
        model.theta(theta);
        ascent.answer(model, q);
        q.params(answer);
        q.set_params(kept);
        if !theta.is_empty() {
            model.set_theta(theta);
        }
        let straight = self.straight(answer.iter().map(|p| p.to_f64()), steps);
        self.room = room;
        straight
    }

    /// Notes where the answer is after `steps` steps; whether it is still walking straight on.
    fn straight(&mut self, params: impl Iterator<Item = f64>, steps: usize) -> bool {
        let known = self.steps > 0;
        let elapsed = (steps - self.steps).max(1) as f64;
        self.steps = steps;
        let (mut along, mut now, mut before) = (0.0, 0.0, 0.0);
        for (i, p) in params.enumerate() {
            if i == self.at.len() {
                self.at.push(p);
                self.velocity.push(0.0);
                continue;
            }
            let velocity = (p - self.at[i]) / elapsed;
            along += velocity * self.velocity[i];
            now += velocity * velocity;
            before += self.velocity[i] * self.velocity[i];
            self.at[i] = p;
            self.velocity[i] = velocity;
        }
        let (now, before) = (now.sqrt(), before.sqrt());
        let straight =
            known && now > 0.0 && along > STRAIGHT * now * before && now > STRAIGHT * before;
        self.in_a_row = if straight { self.in_a_row + 1 } else { 0 };
        self.in_a_row >= TWICE
    }
}

#[cfg(test)]
mod tests {
    use super::Walk;

    fn ends_straight(points: &[[f64; 2]]) -> bool {
        let mut walk = Walk::default();
        let mut last = false;
        for (k, p) in points.iter().enumerate() {
            last = walk.straight(p.iter().copied(), 100 * (k + 1));
        }
        last
    }

    #[test]
    fn one_direction_at_one_speed_is_a_walk() {
        assert!(ends_straight(&[[0.0, 0.0], [0.1, 0.2], [0.2, 0.4], [0.3, 0.6]]));
        assert!(ends_straight(&[[0.0, 0.0], [0.1, 0.0], [0.3, 0.0], [0.6, 0.0]]));
    }

    #[test]
    fn slowing_turning_and_standing_are_not() {
        assert!(!ends_straight(&[[0.0, 0.0], [0.1, 0.2], [0.15, 0.3]]));
        assert!(!ends_straight(&[[0.0, 0.0], [0.1, 0.0], [0.1, 0.1]]));
        assert!(!ends_straight(&[[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]));
        assert!(!ends_straight(&[[1.0, 2.0]]));
    }
}
