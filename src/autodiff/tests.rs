//! The tape against the plain replay of the same recording, on formulas made at random.

use std::sync::Arc;

use super::formula::Formula;
use super::program::{Program, Want};
use super::real::Real;
use super::record::{Var, record};

/// A stream of numbers, the same in every run: Steele, Lea and Flood (2014), SplitMix.
struct Stream(u64);

impl Stream {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

const INPUTS: usize = 5;

/// `sum x^2 y_i`, `y` the last input: a primitive that wants all its points at once.
fn primitive() -> Arc<impl super::Primitive + 'static> {
    Arc::new(|x: &[f64], grad: &mut [f64]| {
        let last = x[x.len() - 1];
        let squares: f64 = x.iter().map(|x| x * x).sum();
        for (g, x) in grad.iter_mut().zip(x) {
            *g = 2.0 * x * last;
        }
        grad[x.len() - 1] += squares;
        squares * last
    })
}

/// `tame` keeps arguments inside the domain of every function and results of moderate size.
fn random_formula(stream: &mut Stream, z: &[Var], size: usize, tame: bool) -> Var {
    let mut pool = z.to_vec();
    let norm = primitive();
    for _ in 0..size {
        let pick = |stream: &mut Stream| pool[stream.below(pool.len())];
        let (x, y, w) = (pick(stream), pick(stream), pick(stream));
        let c = stream.between(-2.0, 2.0);
        let positive = |x: Var| if tame { x.square() + 0.5 } else { x };
        let result = match stream.below(44) {
            0 | 1 => x + y,
            2 | 3 => x - y,
            4 | 5 => x * y,
            6 | 7 => x / positive(y),
            8 => x + c,
            9 => x * c,
            10 => x / if c == 0.0 { 1.0 } else { c },
            11 => Var::from(c) - x,
            12 => Var::from(c) / positive(x),
            13 => x.square(),
            14 => (if tame { x.tanh() } else { x }).exp(),
            15 => positive(x).ln(),
            16 => positive(x).ln_1p(),
            17 => (if tame { x.tanh() } else { x }).exp_m1(),
            18 => positive(x).sqrt(),
            19 => x.sin(),
            20 => x.cos(),
            21 => x.tanh(),
            22 => x.atan(),
            23 => positive(x).powf(c),
            24 => x.sigmoid(),
            25 => x.softplus(),
            26 => x.log_normal_cdf(),
            27 => positive(x).log_gamma(),
            28 => positive(x).polygamma(1),
            29 => x.abs(),
            30 => x.ln_1p_square(),
            31 => x.times_ln(positive(y)),
            32 => x.times_ln_1p(positive(y)),
            33 => x.max(y),
            34 => x.min(y * c),
            35 => Var::log_sum_exp(&[x, y, w]),
            36 => x.if_positive(y, w),
            37 => x.log_indicator(if tame { -1e9 } else { -1.0 }, 1e9) + y,
            38 => Var::from(1.0).times_ln(positive(x)),
            39 => [x, y, w, x * c].into_iter().sum(),
            40 => Var::primitive(&[x.tanh(), y.tanh(), w.tanh()], &norm),
            41 => ((x - y + c) / positive(w)).square(),
            42 => ((x - c) / positive(w)).square() - ((y - c) / positive(w)).square() * 0.5,
            _ => ((x - y * c) / 3.0).square() * -0.5 + (x * c - w).softplus() - (x * c).softplus(),
        };
        // keeps what is squared again and again from running away
        let large = tame && stream.below(3) == 0;
        pool.push(if large { result.tanh() * 2.0 } else { result });
    }
    let late = pool.len() - size.min(10);
    pool[late..].iter().copied().sum()
}

fn program(seed: u64, size: usize, tame: bool) -> Program {
    record(INPUTS, Program::default(), |z, outputs| {
        outputs.push(random_formula(&mut Stream(seed), z, size, tame));
    })
}

fn evaluated(formula: &Formula, want: Want, z: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let columns = z.len() / INPUTS;
    let (mut out, mut grad) = (vec![0.0; columns], vec![0.0; z.len()]);
    formula.evaluate(want, columns, z, &mut out, &mut grad);
    (out, grad)
}

#[test]
fn the_tape_agrees_with_the_plain_replay_on_random_formulas() {
    let mut tapes = 0;
    for seed in 0..400 {
        let program = program(seed, 4 + seed as usize % 40, true);
        let (tape, plain) = (Formula::new(program.clone()), Formula::passing(program));
        tapes += u32::from(tape.has_tape());
        let mut stream = Stream(!seed);
        let z: Vec<f64> = (0..10 * INPUTS).map(|_| stream.between(-2.0, 2.0)).collect();
        let (values, grads) = evaluated(&tape, Want::Both, &z);
        let (plain_values, plain_grads) = evaluated(&plain, Want::Both, &z);
        for s in 0..10 {
            // Every operation is rounded once or twice more, or less, than in the plain replay:
            // what that does is bounded by the sizes of numbers and of slopes on the way.
            let (value_scale, slope_scale) = plain.scales(&z[s * INPUTS..(s + 1) * INPUTS]);
            let off = (values[s] - plain_values[s]).abs();
            assert!(
                off <= 1e-14 * value_scale,
                "formula {seed}: {} and {}, scale {value_scale}",
                values[s],
                plain_values[s]
            );
            for i in s * INPUTS..(s + 1) * INPUTS {
                let off = (grads[i] - plain_grads[i]).abs();
                assert!(
                    off <= 1e-14 * slope_scale,
                    "formula {seed}: slopes {} and {}, scale {slope_scale}",
                    grads[i],
                    plain_grads[i]
                );
            }
        }
    }
    assert!(tapes > 390, "only {tapes} of 400 formulas have a tape");
}

#[test]
fn slopes_of_the_tape_are_those_of_its_values() {
    for seed in 1000..1100 {
        let formula = Formula::new(program(seed, 12, true));
        let mut stream = Stream(seed);
        let z: Vec<f64> = (0..INPUTS).map(|_| stream.between(-1.5, 1.5)).collect();
        let (_, grad) = evaluated(&formula, Want::Both, &z);
        for i in 0..INPUTS {
            // Third derivatives of these formulas reach 1e4: h^2 1e4 / 6 is 2e-7 of what there is.
            let h = 1e-5;
            let at = |x: f64| {
                let mut z = z.clone();
                z[i] += x;
                evaluated(&formula, Want::Values, &z).0[0]
            };
            let difference = |h: f64| (at(h) - at(-h)) / (2.0 * h);
            let (fine, coarse) = (difference(h), difference(2.0 * h));
            // Where the two differ there is a kink or a pole nearby.
            if (fine - coarse).abs() < 1e-6 * (1.0 + fine.abs()) {
                let off = (grad[i] - fine).abs();
                assert!(off < 1e-5 * (1.0 + fine.abs()), "{seed}: {} and {fine}", grad[i]);
            }
        }
    }
}

#[test]
fn what_is_not_finite_is_so_in_the_same_way() {
    let kind = |x: f64| match x {
        x if x.is_nan() => "NaN",
        f64::INFINITY => "infinity",
        f64::NEG_INFINITY => "negative infinity",
        _ => "finite",
    };
    let special = [0.0, -1.0, 1.0, -0.5, 800.0, -800.0, 30.0, f64::INFINITY, f64::NAN];
    let mut not_finite = 0;
    for seed in 0..600 {
        let program = program(seed, 3 + seed as usize % 12, false);
        let (tape, plain) = (Formula::new(program.clone()), Formula::passing(program));
        let mut stream = Stream(!seed);
        let mut point = || {
            let extremes = if stream.below(4) == 0 { 0 } else { 2 };
            special[stream.below(special.len() - extremes)]
        };
        let z: Vec<f64> = (0..9 * INPUTS).map(|_| point()).collect();
        let (values, grads) = evaluated(&tape, Want::Both, &z);
        let (plain_values, plain_grads) = evaluated(&plain, Want::Both, &z);
        let alone = evaluated(&tape, Want::Values, &z).0;
        let only = evaluated(&tape, Want::Gradients, &z).1;
        for s in 0..9 {
            let (got, want) = (kind(values[s]), kind(plain_values[s]));
            assert_eq!(got, want, "formula {seed} at {:?}", &z[s * INPUTS..(s + 1) * INPUTS]);
            assert_eq!(kind(alone[s]), want, "formula {seed}, value alone");
            let range = s * INPUTS..(s + 1) * INPUTS;
            for i in range.clone() {
                assert_eq!(kind(grads[i]), kind(plain_grads[i]), "formula {seed}, slope {i}");
            }
            if want != "finite" {
                not_finite += 1;
                let seen = only[range].iter().any(|g| !g.is_finite());
                assert!(seen, "formula {seed}: the gradient alone hides a value that is {want}");
            }
        }
    }
    assert!(not_finite > 500, "only {not_finite} values were not finite");
}

#[test]
fn a_point_has_the_same_bits_alone_and_among_others() {
    let bits = |x: &[f64]| x.iter().map(|x| x.to_bits()).collect::<Vec<u64>>();
    for seed in 0..60 {
        let formula = Formula::new(program(seed, 30, true));
        let mut stream = Stream(seed);
        for columns in [1, 2, 7, 8, 9, 10, 17, 33, 70] {
            let z: Vec<f64> = (0..columns * INPUTS).map(|_| stream.between(-2.0, 2.0)).collect();
            let (values, grads) = evaluated(&formula, Want::Both, &z);
            assert_eq!(bits(&values), bits(&evaluated(&formula, Want::Values, &z).0));
            assert_eq!(bits(&grads), bits(&evaluated(&formula, Want::Gradients, &z).1));
            for (s, z) in z.chunks_exact(INPUTS).enumerate() {
                let (value, grad) = evaluated(&formula, Want::Both, z);
                assert_eq!(value[0].to_bits(), values[s].to_bits(), "{seed}, {columns} points");
                assert_eq!(bits(&grad), bits(&grads[s * INPUTS..(s + 1) * INPUTS]));
            }
        }
    }
}

#[test]
fn equal_work_is_done_once_and_like_terms_are_one() {
    // 40 observations with one mean and one sd, written one by one
    let program = record(2, Program::default(), |z, outputs| {
        let (mean, sd) = (z[0], z[1].exp());
        let mut lp = Var::from(0.0);
        for i in 0..40 {
            lp += crate::density::normal(Var::from(f64::from(i)), mean, sd);
        }
        outputs.push(lp);
    });
    let formula = Formula::new(program);
    // exp, 1 / sd, its square, the squares, the result; the log of the sd is the input
    assert_eq!(formula.steps(), 5);
    let (mean, log_sd) = (17.0, 0.3f64);
    let (values, grads) = evaluated_two(&formula, &[mean, log_sd]);
    let want: f64 = (0..40).map(|i| crate::density::normal(f64::from(i), mean, log_sd.exp())).sum();
    let squares: f64 = (0..40).map(|i| ((f64::from(i) - mean) / log_sd.exp()).powi(2)).sum();
    let pull: f64 = (0..40).map(|i| f64::from(i) - mean).sum::<f64>() / (2.0 * log_sd).exp();
    assert!((values / want - 1.0).abs() < 1e-13);
    assert!((grads[0] / pull - 1.0).abs() < 1e-13);
    assert!((grads[1] / (squares - 40.0) - 1.0).abs() < 1e-13);
}

fn evaluated_two(formula: &Formula, z: &[f64]) -> (f64, Vec<f64>) {
    let (mut out, mut grad) = ([0.0], vec![0.0; 2]);
    formula.evaluate(Want::Both, 1, z, &mut out, &mut grad);
    (out[0], grad)
}
