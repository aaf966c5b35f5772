//! `Optimizer`: the first step goes uphill, a quadratic is climbed, a saved state goes on as if
//! nothing had happened, `f32` works, and nonsense is refused with a sentence.

use elbo::{
    Adam, AdamW, Averaged, ClipNorm, ClipOutliers, ClipValue, DoWG, Error, Only, Optimizer,
    Schedule, Scheduled, Sgd,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::family::message;
use crate::support::assert_close;

const CURVATURE: [f64; 3] = [0.5, 2.0, 8.0];
const TOP: [f64; 3] = [1.0, -2.0, 0.5];

/// How far below the top of `-1/2 sum_i curvature_i (x_i - top_i)^2` a point is.
fn height_missing(x: &[f64]) -> f64 {
    (0..3).map(|i| 0.5 * CURVATURE[i] * (x[i] - TOP[i]).powi(2)).sum()
}

fn gradient(x: &[f64]) -> [f64; 3] {
    std::array::from_fn(|i| -CURVATURE[i] * (x[i] - TOP[i]))
}

fn climb(optimizer: &mut impl Optimizer, x: &mut [f64; 3], steps: usize) {
    for _ in 0..steps {
        let mut step = gradient(x);
        optimizer.step(x, &mut step);
        (0..3).for_each(|i| x[i] += step[i]);
    }
}

/// Every law; `steps` are as many as the optimizer's rate and schedule allow for.
#[track_caller]
fn laws<O>(make: impl Fn() -> O, steps: usize)
where
    O: Optimizer + Clone + PartialEq + std::fmt::Debug + Serialize + DeserializeOwned,
{
    assert_eq!(make().check(), Ok(()));

    // uphill: <step, gradient> > 0
    let mut step = gradient(&[0.0; 3]);
    make().step(&[0.0; 3], &mut step);
    let slope: f64 = step.iter().zip(gradient(&[0.0; 3])).map(|(s, g)| s * g).sum();
    assert!(slope > 0.0, "the first step {step:?} does not go uphill");

    // climbed: 99.99 % of the way is made
    let (mut optimizer, mut x) = (make(), [0.0; 3]);
    climb(&mut optimizer, &mut x, steps);
    let answer = optimizer.answer().unwrap_or(&x);
    let left = height_missing(answer) / height_missing(&[0.0; 3]);
    assert!(left < 1e-4, "after {steps} steps {left:e} of the way is left, at {answer:?}");

    // saved, loaded, continued = never interrupted, to the bit
    let (mut optimizer, mut x) = (make(), [0.0; 3]);
    climb(&mut optimizer, &mut x, 7);
    let text = serde_json::to_string(&optimizer).expect("an optimizer can be written");
    let mut loaded: O = serde_json::from_str(&text).expect("and read");
    assert_eq!(loaded, optimizer);
    let mut y = x;
    climb(&mut optimizer, &mut x, 7);
    climb(&mut loaded, &mut y, 7);
    assert_eq!(x, y);
    assert_eq!(loaded, optimizer);
}

#[test]
fn sgd() {
    laws(|| Sgd::rate(0.1), 200);
    laws(|| Sgd::rate(0.02).momentum(0.9), 200);
}
#[test]
fn adam() {
    laws(|| Adam::rate(0.05), 600);
}
#[test]
fn adamw() {
    laws(|| AdamW::rate(0.05).decay(1e-4), 600);
}
#[test]
fn dowg() {
    laws(DoWG::new, 400);
    laws(DoWG::whole, 1_000);
}
#[test]
fn clipped() {
    laws(|| (ClipNorm(1.0), Sgd::rate(0.1)), 200);
    laws(|| (ClipOutliers::new(), Sgd::rate(0.1)), 200);
    laws(|| (ClipValue(1.0), Sgd::rate(0.1)), 200);
}
#[test]
fn scheduled() {
    let cosine = Schedule::Cosine { steps: 600, floor: 0.01 };
    laws(|| Scheduled::new(Adam::rate(0.05), cosine), 600);
    let falling = Schedule::InverseTime { delay: 100.0, power: 0.75 };
    laws(|| Scheduled::new(Sgd::rate(0.1), falling), 1_000);
}
#[test]
fn averaged() {
    laws(|| Averaged::new(Adam::rate(0.05)), 2_000);
    laws(|| Averaged::new(DoWG::new()), 1_000);
}
#[test]
fn only_everything() {
    laws(|| (Only(0..3), Adam::rate(0.05)), 600);
}

#[test]
fn only_some_move() {
    let mut x = [0.0; 3];
    climb(&mut (Only(1..2), Adam::rate(0.05)), &mut x, 600);
    assert!(x[0] == 0.0 && x[2] == 0.0 && (x[1] - TOP[1]).abs() < 1e-3, "{x:?}");
    // an optimizer that moves without a gradient is held when it comes first
    let mut x = [1.0; 3];
    climb(&mut (AdamW::rate(0.05), Only(1..2)), &mut x, 600);
    assert!(x[0] == 1.0 && x[2] == 1.0 && x[1] < 0.0, "{x:?}");
}

#[test]
fn single_precision() {
    fn one(mut optimizer: impl Optimizer<f32>) {
        let mut step = [1.0f32, -2.0];
        optimizer.step(&[0.0, 0.0], &mut step);
        assert!(step[0] > 0.0 && step[1] < 0.0, "{step:?}");
    }
    one(Sgd::rate(0.1).momentum(0.9));
    one(Adam::rate(0.1));
    one(AdamW::rate(0.1));
    one(DoWG::new());
    one((ClipNorm(1.0), (ClipValue(0.5), Averaged::new(Sgd::rate(0.1)))));
    one((ClipOutliers::new(), Averaged::new(DoWG::new())));
    one(Scheduled::new((Only(0..2), DoWG::whole()), Schedule::Constant));
}

/// The first step of Adam is the rate, by its definition; of DoWG the first length.
#[test]
fn first_steps_have_the_length_they_promise() {
    let mut step = [3.0f64, -0.25];
    DoWG::new().step(&[5.0, 5.0], &mut step);
    assert!((step[0] - 1e-3).abs() < 1e-15 && (step[1] + 1e-3).abs() < 1e-15, "{step:?}");
    let mut step = [3.0f64, -4.0];
    DoWG::whole().step(&[5.0, 5.0], &mut step);
    assert!((step[0] - 6e-4).abs() < 1e-15 && (step[1] + 8e-4).abs() < 1e-15, "{step:?}");
}

/// The distance for each parameter is what lets scales differ: the published form is left behind.
#[test]
fn dowg_on_a_badly_scaled_quadratic() {
    let worst = |mut dowg: DoWG| {
        let (curvature, top) = ([1e-2, 1.0, 1e4], [10.0, 1.0, 0.01]);
        let mut x = [0.0; 3];
        for _ in 0..500 {
            let mut step: [f64; 3] = std::array::from_fn(|i| -curvature[i] * (x[i] - top[i]));
            dowg.step(&x, &mut step);
            (0..3).for_each(|i| x[i] += step[i]);
        }
        (0..3).map(|i| ((x[i] - top[i]) / top[i]).abs()).fold(0.0, f64::max)
    };
    let (each, whole) = (worst(DoWG::new()), worst(DoWG::whole()));
    assert!(each < 1e-3 && whole > 0.5, "left of the way: each {each:e}, whole {whole:e}");
}

/// With the weights `(eta + 1) / (t + eta)`, `eta = 8`, of the definition.
#[test]
fn the_average_is_the_one_of_its_formula() {
    let mut optimizer = Averaged::new(Sgd::rate(1.0));
    assert!(Optimizer::<f64>::answer(&optimizer).is_none(), "no step, no answer");
    let (mut x, mut want) = (0.0, 0.0);
    for t in 1..=20 {
        let mut step = [(t as f64).sin()];
        optimizer.step(&[x], &mut step);
        x += step[0];
        want += 9.0 / (t as f64 + 8.0) * (x - want);
    }
    let got = optimizer.answer().expect("an answer after a step")[0];
    assert!((got - want).abs() < 1e-14, "got {got}, want {want}");
}

#[test]
fn schedules() {
    let annealed = Schedule::Anneal { from: 2.0, rate: 0.5, floor: 0.1 };
    assert_eq!([annealed.value(0), annealed.value(100), annealed.limit()], [2.0, 0.1, 0.1]);
    assert_close("annealed", annealed.value(3), 2.0 * (-1.5f64).exp(), 1e-15);
    assert_eq!([Schedule::Fixed(4.0).value(9), Schedule::Fixed(4.0).limit()], [4.0; 2]);
    assert_eq!(annealed.check_positive("beta"), Ok(()));
    message(
        Schedule::Linear { steps: 9, from: 0.0, to: 1.0 }.check_positive("beta"),
        &["E10 beta is 0", "positive"],
    );
    message(
        Schedule::Anneal { from: 1.0, rate: -0.1, floor: 0.5 }.check(),
        &["E10 Anneal rate is -0.1", "0 or more"],
    );
    let linear = Schedule::Linear { steps: 10, from: 0.0, to: 1.0 };
    assert_eq!([0, 5, 10, 99].map(|t| linear.value(t)), [0.0, 0.5, 1.0, 1.0]);
    let stairs = Schedule::Step { every: 10, factor: 0.5 };
    assert_eq!([0, 9, 10, 25].map(|t| stairs.value(t)), [1.0, 1.0, 0.5, 0.25]);
    let falling = Schedule::InverseTime { delay: 4.0, power: 0.5 };
    assert_eq!([0, 12].map(|t| falling.value(t)), [1.0, 0.5]);
    assert_eq!([0, 1_000].map(|t| Schedule::Constant.value(t)), [1.0, 1.0]);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let said = |optimizer: &dyn Optimizer| match optimizer.check() {
        Err(e) => e.to_string(),
        Ok(()) => "accepted".to_string(),
    };
    let positive = "it must be a positive, finite number";
    let decay = "it must lie in [0, 1)";
    let level = "it must be 0 or more, and finite";
    let (mut adam, mut dowg) = (Adam::<f64>::rate(0.1), DoWG::<f64>::new());
    (adam.beta2, dowg.first) = (1.5, 0.0);
    let scheduled = |schedule| Scheduled::new(Sgd::<f64>::rate(0.1), schedule);
    let cases: [(&dyn Optimizer, String); 12] = [
        (&Sgd::<f64>::rate(-0.1), format!("E10 Sgd rate is -0.1; {positive}")),
        (&Sgd::<f64>::rate(0.1).momentum(1.0), format!("E10 Sgd momentum is 1; {decay}")),
        (&Adam::<f64>::rate(f64::NAN), format!("E10 Adam rate is NaN; {positive}")),
        (&adam, format!("E10 Adam beta2 is 1.5; {decay}")),
        (
            &AdamW::<f64>::rate(0.1).decay(-1.0),
            "E10 AdamW decay is -1; it must be 0 or more, and rate * decay below 1".to_string(),
        ),
        (&dowg, format!("E10 DoWG first is 0; {positive}")),
        (&(ClipNorm(0.0), Sgd::<f64>::rate(0.1)), format!("E10 ClipNorm is 0; {positive}")),
        (&ClipValue(-1.0), format!("E10 ClipValue is -1; {positive}")),
        (
            &(Only(3..3), Sgd::<f64>::rate(0.1)),
            "E10 Only is 3..3; the range must hold a parameter, or nothing moves".to_string(),
        ),
        (
            &scheduled(Schedule::Cosine { steps: 0, floor: 0.1 }),
            "E10 Cosine steps is 0; it must be at least one step".to_string(),
        ),
        (
            &scheduled(Schedule::InverseTime { delay: -1.0, power: 1.0 }),
            format!("E10 InverseTime delay is -1; {positive}"),
        ),
        (
            &Averaged::<_, f64>::new(scheduled(Schedule::Linear { steps: 9, from: 1.0, to: -1.0 })),
            format!("E10 Linear to is -1; {level}"),
        ),
    ];
    for (optimizer, want) in cases {
        assert_eq!(said(optimizer), want);
    }
}

#[test]
fn an_average_sees_the_steps_that_are_taken() {
    let averaged = || Averaged::new(Sgd::<f64>::rate(1.0));
    let refused = |check: Result<(), Error>, place: &str| {
        let text = check.unwrap_err().to_string();
        assert!(text.starts_with("E10 Averaged is inside ") && text.contains(place), "{text}");
        assert!(text.ends_with("put Averaged::new around the whole"), "{text}");
    };
    refused(Optimizer::<f64>::check(&(averaged(), Only(0..1))), "the first of a pair");
    refused(((averaged(), Only(0..1)), Sgd::rate(1.0)).check(), "the first of a pair");
    let halving = Schedule::Step { every: 1, factor: 0.5 };
    refused(Optimizer::<f64>::check(&Scheduled::new(averaged(), halving)), "Scheduled");
    for right in [
        Optimizer::<f64>::check(&(Only(0..1), averaged())),
        Averaged::<_, f64>::new((Sgd::rate(1.0), Only(0..1))).check(),
        Averaged::<_, f64>::new(Scheduled::new(Sgd::<f64>::rate(1.0), halving)).check(),
    ] {
        right.unwrap();
    }
}

#[test]
fn a_step_that_overflows_leaves_the_average_alone() {
    let mut averaged = Averaged::new(Sgd::rate(1.0));
    averaged.step(&[1.0], &mut [1.0]);
    averaged.step(&[f64::MAX], &mut [f64::MAX]);
    assert_eq!(averaged.answer(), Some(&[2.0][..]));
}

/// A gradient a million times too long, once, on the way to the top of `-(x - 1)^2`.
fn after_an_outlier(mut optimizer: impl Optimizer) -> f64 {
    let mut at = [0.0];
    for t in 0..400 {
        let mut step = [-2.0 * (at[0] - 1.0) * if t == 3 { 1e6 } else { 1.0 }];
        optimizer.step(&at, &mut step);
        at[0] += step[0];
    }
    (at[0] - 1.0).abs()
}

#[test]
fn one_outlier_stops_dowg_and_is_clipped() {
    assert!(after_an_outlier(DoWG::new()) > 0.5);
    assert!(after_an_outlier((ClipOutliers::new(), DoWG::new())) < 1e-3);
}

/// A step taken in one pass is the step, added: the same bits, and the same memory afterwards.
fn one_pass_is_two<O: Optimizer + Clone>(optimizer: O) {
    for n in [1, 7, 8, 9, 63, 65] {
        let (mut one, mut two) = (optimizer.clone(), optimizer.clone());
        let mut params: Vec<f64> = (0..n).map(|i| 0.3 * i as f64 - 1.0).collect();
        for t in 0..20 {
            let slope = |(i, p): (usize, &f64)| -(1.0 + i as f64) * p + f64::from(t % 3);
            let mut next: Vec<f64> = params.iter().enumerate().map(slope).collect();
            let mut step = next.clone();
            assert!(one.advance(&params, &mut next));
            two.step(&params, &mut step);
            let sum: Vec<f64> = params.iter().zip(&step).map(|(p, s)| p + s).collect();
            let bits = |x: &[f64]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&next), bits(&sum), "{n} parameters, step {t}");
            assert_eq!(one.answer().map(bits), two.answer().map(bits));
            params = next;
        }
    }
}

#[test]
fn a_step_in_one_pass() {
    let schedule = Schedule::Cosine { steps: 100, floor: 0.1 };
    one_pass_is_two(Adam::rate(0.01));
    one_pass_is_two(AdamW::rate(0.01));
    one_pass_is_two(DoWG::new());
    one_pass_is_two(DoWG::whole());
    one_pass_is_two(Sgd::rate(1e-3).momentum(0.9));
    one_pass_is_two(Averaged::new(Adam::rate(0.01)));
    one_pass_is_two((ClipOutliers::new(), Averaged::new(DoWG::new())));
    one_pass_is_two((ClipNorm(10.0), (ClipValue(1.0), Scheduled::new(Adam::rate(0.01), schedule))));
    one_pass_is_two((AdamW::rate(0.01), Only(0..1)));
}

/// A step that leads to no number is not taken, and its average has not seen it.
#[test]
fn a_step_to_no_number_is_refused() {
    let mut averaged = Averaged::new(Sgd::rate(1.0));
    assert!(averaged.advance(&[1.0, 2.0], &mut [0.5, 0.5]));
    let before = averaged.answer().map(<[f64]>::to_vec);
    assert!(!averaged.advance(&[1.0, f64::MAX], &mut [0.5, f64::MAX]));
    assert_eq!(averaged.answer().map(<[f64]>::to_vec), before);
}
