//! Buffers that live as long as a thread, so that a density evaluated a million times allocates
//! once.

use std::cell::RefCell;

thread_local! {
    static IDLE: RefCell<Vec<Vec<f64>>> = const { RefCell::new(Vec::new()) };
}

/// Lends a buffer of `len` numbers, of any value, to `f`. Calls may nest: each gets its own.
pub(crate) fn with_buffer<R>(len: usize, f: impl FnOnce(&mut [f64]) -> R) -> R {
    let mut buffer = IDLE.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    let result = f(&mut buffer[..len]);
    IDLE.with_borrow_mut(|idle| idle.push(buffer));
    result
}

#[cfg(test)]
mod tests {
    use super::with_buffer;

    #[test]
    fn nested_buffers_are_apart_and_reused() {
        let first = with_buffer(3, |a| {
            a.fill(1.0);
            with_buffer(5, |b| b.fill(2.0));
            assert_eq!(a, [1.0; 3]);
            a.as_ptr() as usize
        });
        let again =
            with_buffer(2, |b| with_buffer(2, |a| [a.as_ptr() as usize, b.as_ptr() as usize]));
        assert!(again.contains(&first));
    }
}
