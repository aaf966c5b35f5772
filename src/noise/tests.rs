//! Normals are normal, independent, and the same bits everywhere.

use super::box_muller::{ln_uniform, octants};
use super::lanes::Lanes;
use super::{Fill, Pairs, Purpose, fill_normal, stream};
use crate::simd::on_each;
use crate::special::log_normal_cdf;
use rand::Rng;

/// Normals of one long stream.
fn normals(n: usize) -> Vec<f64> {
    let mut x = vec![f64::NAN; n];
    fill_normal(&mut stream(1, Purpose::Data, 0), &mut x);
    x
}

/// Five standard errors: one in two million if all is well.
const FIVE: f64 = 5.0;

#[test]
fn first_numbers_of_a_stream() {
    let mut x = [0.0; 40];
    fill_normal(&mut stream(1, Purpose::Data, 0), &mut x);
    let golden =
        [-0.1480030551983063, -0.41293484794495167, -0.26093464052193505, -2.393514859327148];
    assert_eq!([x[0], x[1], x[8], x[39]], golden);
    let mut single = [0f32; 40];
    fill_normal(&mut stream(1, Purpose::Data, 0), &mut single);
    assert!(x.iter().zip(single).all(|(&x, single)| x as f32 == single));
    let mut short = [0.0; 3];
    fill_normal(&mut stream(1, Purpose::Data, 0), &mut short);
    assert_eq!(short, [-0.09559663413130279, -1.6391961905669747, 1.885424059803382]);
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    for n in [33, 40, 47, 48, 49, 1000] {
        let mut x = vec![0.0f64; n];
        fill_normal(&mut stream(4, Purpose::Step, 9), &mut x);
        struct Owned(Lanes, usize);
        impl pulp::WithSimd for Owned {
            type Output = Vec<u64>;
            #[inline(always)]
            fn with_simd<S: pulp::Simd>(self, s: S) -> Vec<u64> {
                let mut out = vec![0.0; self.1];
                Fill { lanes: self.0, out: &mut out }.with_simd(s);
                out.into_iter().map(f64::to_bits).collect()
            }
        }
        let lanes = || Lanes::from_rng(&mut stream(4, Purpose::Step, 9));
        for (name, bits) in on_each(|| Owned(lanes(), n)) {
            assert!(x.iter().zip(&bits).all(|(x, bits)| x.to_bits() == *bits), "{name}, {n}");
        }
    }
}

#[test]
fn short_fills_are_the_same_pairs_on_every_instruction_set() {
    let mut all = [0.0f64; 32];
    fill_normal(&mut stream(4, Purpose::Step, 9), &mut all);
    let mut rng = stream(4, Purpose::Step, 9);
    for i in 0..16 {
        let want = super::box_muller(rng.next_u64(), rng.next_u64());
        assert_eq!((all[2 * i], all[2 * i + 1]), want);
    }
    for n in 0..=32 {
        let mut bytes = [0; 256];
        stream(4, Purpose::Step, 9).fill_bytes(&mut bytes);
        struct Owned(Vec<u8>, usize);
        impl pulp::WithSimd for Owned {
            type Output = Vec<f64>;
            #[inline(always)]
            fn with_simd<S: pulp::Simd>(self, s: S) -> Vec<f64> {
                let mut out = vec![0.0; self.1];
                Pairs { bytes: &self.0, out: &mut out }.with_simd(s);
                out
            }
        }
        let bytes = &bytes[..16 * usize::div_ceil(n, 2)];
        for (name, x) in on_each(|| Owned(bytes.to_vec(), n)) {
            assert_eq!(x, all[..n], "{name}, {n}");
        }
    }
}

#[test]
fn moments_are_those_of_a_normal() {
    let x = normals(1 << 21);
    // E x^k and the variance of x^k.
    let (moment, variance) = ([0.0, 1.0, 0.0, 3.0], [1.0, 2.0, 15.0, 96.0]);
    for k in 0..4 {
        let mean = x.iter().map(|x| x.powi(k as i32 + 1)).sum::<f64>() / x.len() as f64;
        let error = f64::sqrt(variance[k] / x.len() as f64);
        assert!((mean - moment[k]).abs() < FIVE * error, "E x^{} is {mean}", k + 1);
    }
    // How many are beyond 1, ..., 5: the count is nearly Poisson in the tail.
    for at in 1..=5 {
        for side in [-1.0, 1.0] {
            let count = x.iter().filter(|x| *x * side > f64::from(at)).count() as f64;
            let p = log_normal_cdf(f64::from(-at)).exp();
            let (mean, sd) = (p * x.len() as f64, (p * (1.0 - p) * x.len() as f64).sqrt());
            assert!((count - mean).abs() < FIVE * sd + 1.0, "{count} beyond {at}, not {mean}");
        }
    }
}

#[test]
fn the_distribution_function_is_followed_everywhere() {
    // Kolmogorov and Smirnov: sqrt(n) times the distance exceeds 2.7 once in a million.
    let mut x = normals(1 << 19);
    let n = x.len() as f64;
    x.sort_by(f64::total_cmp);
    let gap = |(i, x): (usize, &f64)| {
        let p = log_normal_cdf(*x).exp();
        (p - i as f64 / n).max((i + 1) as f64 / n - p)
    };
    let distance = x.iter().enumerate().map(gap).fold(0.0, f64::max);
    assert!(distance * n.sqrt() < 2.7, "{distance}");
}

#[test]
fn numbers_near_each_other_are_independent() {
    // Lag 8 pairs cosine with sine, multiples of 16 stay within a lane.
    let x = normals(1 << 19);
    let squares: Vec<f64> = x.iter().map(|x| x * x - 1.0).collect();
    for (x, variance) in [(&x, 1.0), (&squares, 2.0)] {
        for lag in 1..=48 {
            let n = x.len() - lag;
            let sum: f64 = x[..n].iter().zip(&x[lag..]).map(|(a, b)| a * b).sum();
            let error = variance * (n as f64).sqrt();
            assert!(sum.abs() < FIVE * error, "lag {lag}: {} errors", sum / error);
        }
    }
}

#[test]
fn neighbouring_streams_are_independent() {
    let fill = |seed, purpose, index| {
        let mut x = [0.0; 96];
        fill_normal(&mut stream(seed, purpose, index), &mut x);
        x
    };
    let dot = |a: [f64; 96], b: [f64; 96]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (mut index, mut purpose, mut seed) = (0.0, 0.0, 0.0);
    let n = 2000;
    for i in 0..n {
        let x = fill(1, Purpose::Step, i);
        index += dot(x, fill(1, Purpose::Step, i + 1));
        purpose += dot(x, fill(1, Purpose::Probe, i));
        seed += dot(x, fill(2, Purpose::Step, i));
    }
    for (name, sum) in [("index", index), ("purpose", purpose), ("seed", seed)] {
        let errors = sum / (96.0 * n as f64).sqrt();
        assert!(errors.abs() < FIVE, "{name}: {errors} errors");
    }
}

#[test]
fn uniform_numbers_reach_both_ends_and_angles_lie_on_the_circle() {
    // The ends of what a radius can be.
    assert!((ln_uniform(0) + 53.0 * std::f64::consts::LN_2).abs() < 1e-14);
    assert_eq!(ln_uniform(u64::MAX), -f64::EPSILON / 2.0);
    let mut rng = stream(5, Purpose::Data, 0);
    for k in 0..100_000 {
        // All magnitudes of u, not only the usual ones.
        let bits = rng.next_u64() >> (k % 53);
        let u = ((bits >> 12) as f64 + 0.5) * f64::EPSILON;
        let (ln, want) = (ln_uniform(bits), u.ln());
        assert!((ln - want).abs() < 4.0 * f64::EPSILON * want.abs(), "ln {u:e}: {ln:e}, {want:e}");
        let bits = rng.next_u64();
        let (cos, sin) = octants(bits);
        assert!((cos * cos + sin * sin - 1.0).abs() < 3.0 * f64::EPSILON);
        let angle = (((bits >> 12 | 1) as f64) * f64::EPSILON - 0.5) * std::f64::consts::FRAC_PI_2;
        let (sine, cosine) = angle.sin_cos();
        let want = if bits & 1 == 0 { (cosine, sine) } else { (sine, cosine) };
        assert!((cos - want.0).abs() <= f64::EPSILON && (sin - want.1).abs() <= f64::EPSILON);
    }
}

#[test]
fn a_generator_of_zeros_is_no_trap() {
    struct Zeros;
    impl rand::TryRng for Zeros {
        type Error = std::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Ok(0)
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            Ok(0)
        }
        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
            out.fill(0);
            Ok(())
        }
    }
    let mut x = [0.0; 400];
    fill_normal(&mut Zeros, &mut x);
    let mean_square = x[200..].iter().map(|x| x * x).sum::<f64>() / 200.0;
    assert!((mean_square - 1.0).abs() < FIVE * 0.1);
}
