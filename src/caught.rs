//! Panics in a user's density, caught with the draw that caused them where it is known.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::panicking;

use crate::error::Error;
use crate::scalar::Scalar;

/// A panic, and the draw under evaluation when it happened.
#[derive(Clone, Debug)]
pub(crate) struct Caught {
    message: String,
    draw: Option<(usize, Vec<f64>)>,
}

thread_local! {
    static DRAW: RefCell<Option<(usize, Vec<f64>)>> = const { RefCell::new(None) };
}

/// Held while one draw is evaluated; a panic leaves through it and is marked. Nested ones add up.
pub(crate) struct AtDraw<'a, T: Scalar>(pub usize, pub &'a [T]);

impl<T: Scalar> Drop for AtDraw<'_, T> {
    fn drop(&mut self) {
        if panicking() {
            DRAW.with_borrow_mut(|draw| match draw {
                Some((s, _)) => *s += self.0,
                None => *draw = Some((self.0, self.1.iter().map(|z| z.to_f64()).collect())),
            });
        }
    }
}

/// Held while a group of draws that starts at this one is evaluated.
pub(crate) struct FromDraw(pub usize);

impl Drop for FromDraw {
    fn drop(&mut self) {
        if panicking() {
            DRAW.with_borrow_mut(|draw| {
                if let Some((s, _)) = draw {
                    *s += self.0;
                }
            });
        }
    }
}

impl Caught {
    /// Runs `f`, and catches its panic.
    pub(crate) fn by<R>(f: impl FnOnce() -> R) -> Result<R, Caught> {
        DRAW.take();
        catch_unwind(AssertUnwindSafe(f)).map_err(|payload| Caught::new(payload, DRAW.take()))
    }

    fn new(payload: Box<dyn Any + Send>, draw: Option<(usize, Vec<f64>)>) -> Caught {
        let payload = match payload.downcast::<Caught>() {
            Ok(caught) => return *caught,
            Err(payload) => payload,
        };
        let message = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
            (Some(text), _) => text.to_string(),
            (_, Some(text)) => text.clone(),
            _ => "it gave no message".to_string(),
        };
        Caught { message, draw }
    }

    /// Goes on unwinding, `start` draws further on: from a block of draws to the whole batch.
    pub(crate) fn resume(mut self, start: usize) -> ! {
        if let Some((s, _)) = &mut self.draw {
            *s += start;
        }
        resume_unwind(Box::new(self))
    }

    /// As the error of a step.
    pub(crate) fn at_step(self, step: usize) -> Error {
        const SHOWN: usize = 8;
        let mut message = self.message;
        if let Some((draw, z)) = self.draw {
            let shown: Vec<String> = z.iter().take(SHOWN).map(|z| format!("{z:.4}")).collect();
            let more = if z.len() > SHOWN { ", .." } else { "" };
            message += &format!(" (draw {draw}, z = [{}{more}])", shown.join(", "));
        }
        message += "; return NaN or negative infinity where the density cannot be evaluated";
        Error::Panicked { step, message }
    }
}
