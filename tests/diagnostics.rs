//! Is it any good? Weights, bounds, tables and verdicts against exact answers.

mod support;

use elbo::diagnostics::{
    Checks, Ending, Estimate, Judgement, PriorAndLikelihood, WeightClass, elbo_by_regression,
    elbo_terms, examine, iwae_bound, psis, quadrature,
};
use elbo::{
    DMatrix, Delta, Error, FullRankGaussian, MeanFieldGaussian, Model, Posterior, Product, Real,
    Reparameterized, Space, Verdict, density, diagnostics, from_fn,
};
use support::{assert_close, exact_cases, numbers};

/// Off by more than this many standard errors once in 30 000 fair tests.
const ERRORS: f64 = 4.2;

#[track_caller]
fn assert_within_noise(what: &str, got: &Estimate, want: f64) {
    let off = (got.value - want).abs();
    assert!(off < ERRORS * got.mcse + 1e-10, "{what}: got {got}, want {want}");
}

fn real(case: &serde_json::Value, part: &str, name: &str) -> f64 {
    case[part][name].as_f64().unwrap_or_else(|| panic!("{part}.{name} is a number"))
}

#[test]
fn psis_equals_the_reference() {
    for case in exact_cases("psis") {
        let id = &case["id"];
        let got = psis(&numbers(&case["inputs"]["log_weights"])).unwrap();
        let want = &case["expected"];
        let tol = case["tol"]["abs"].as_f64().unwrap();
        let is = |what: &str, got: f64, want: &serde_json::Value| {
            let want = want.as_f64().unwrap();
            assert!((got - want).abs() < tol, "{id} {what}: got {got}, want {want}");
        };
        is("khat", got.khat, &want["khat"]);
        is("ess", got.ess, &want["ess_of_smoothed"]);
        let mut weights = got.weights();
        weights.sort_by(|a, b| b.total_cmp(a));
        for (i, w) in want["largest_normalised_weights"].as_array().unwrap().iter().enumerate() {
            is("weight", weights[i], w);
        }
        assert_close("sum of weights", weights.iter().sum(), 1.0, 1e-12);
    }
}

#[test]
fn psis_at_the_edges() {
    let equal = psis(&[-700.0; 400]).unwrap();
    assert_eq!((equal.khat, equal.class), (f64::NEG_INFINITY, WeightClass::Good));
    assert_close("ess of equal weights", equal.ess, 400.0, 1e-12);
    // two values only: no tail to fit
    let two: Vec<f64> = (0..400).map(|s| if s < 2 { 5.0 } else { 0.0 }).collect();
    let two = psis(&two).unwrap();
    assert_eq!((two.khat, two.class), (f64::INFINITY, WeightClass::Unreliable));
    assert_eq!(two.draws_needed(), f64::INFINITY);
    // draws outside the support weigh nothing
    let some: Vec<f64> =
        (0..400).map(|s| if s % 2 == 0 { f64::NEG_INFINITY } else { 0.001 * s as f64 }).collect();
    let some = psis(&some).unwrap();
    assert!(some.khat.is_finite() && some.weights()[0] == 0.0 && some.ess < 200.0);
    let message = |ratios: &[f64]| psis(ratios).unwrap_err().to_string();
    assert_eq!(
        message(&[0.0; 99]),
        "E10 draws is 99; the tail of the weights needs at least 100 draws"
    );
    let mut spoiled = [0.0; 100];
    spoiled[17] = f64::NAN;
    let wanted = "E10 log_ratios[17] is NaN; the log joint must be a number wherever q draws";
    assert!(message(&spoiled).starts_with(wanted));
    spoiled[17] = f64::INFINITY;
    assert!(message(&spoiled).starts_with("E10 log_ratios[17] is inf;"));
    assert!(message(&[f64::NEG_INFINITY; 100]).starts_with("E10 log_ratios is -inf at every draw"));
}

/// `z ~ N(0, 1)`, `y | z ~ N(z, s)`.
struct NormalNormal {
    y: f64,
    s: f64,
}

impl Model for NormalNormal {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.real("z");
        space
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        self.log_prior(z) + density::normal(self.y, z[0], self.s)
    }
}

impl PriorAndLikelihood for NormalNormal {
    fn log_prior(&self, z: &[f64]) -> f64 {
        density::normal(z[0], 0.0, 1.0)
    }
}

#[test]
fn elbo_and_tighter_bounds_equal_the_exact_ones() {
    for case in exact_cases("elbo_identity") {
        let input = |name| real(&case, "inputs", name);
        let want = |name| real(&case, "expected", name);
        let tol = case["tol"]["abs"].as_f64().unwrap();
        let model = NormalNormal { y: input("y"), s: input("s") };
        let q = MeanFieldGaussian::new(vec![input("m")], &[input("t")]).unwrap();
        let exact = quadrature(&model).unwrap();
        assert_close("log evidence", exact.log_evidence, want("log_evidence"), 1e-12);
        assert_close("mean", exact.mean[0], want("post_mean"), 1e-10);
        assert_close("sd", exact.sd[0], want("post_sd"), 1e-10);
        let elbo = diagnostics::elbo(&model, &q, 40_000, 1).unwrap();
        assert_within_noise("ELBO", &elbo, want("elbo"));
        let regressed = elbo_by_regression(&model, &q, 40_000, 1).unwrap();
        assert_within_noise("ELBO by regression", &regressed, want("elbo"));
        assert!(regressed.mcse < 1e-8, "a quadratic is explained entirely: {regressed}");
        let terms = elbo_terms(&model, &q, 40_000, 2).unwrap();
        assert_within_noise("third form", &terms.elbo, want("elbo"));
        let (m, t) = (input("m"), input("t"));
        let kl = 0.5 * (m * m + t * t - 1.0) - t.ln();
        assert_within_noise("KL to the prior", &terms.kl_to_prior, kl);
        for (k, bound) in case["expected"]["iwae_bounds"].as_object().unwrap() {
            let k: usize = k.parse().unwrap();
            let got = iwae_bound(&model, &q, k, 20_000, 3).unwrap();
            let off = (got.value - bound.as_f64().unwrap()).abs();
            assert!(off < ERRORS * got.mcse + tol, "IWAE, K = {k}: got {got}, want {bound}");
        }
    }
}

#[test]
fn a_coin_by_quadrature_and_by_its_best_normal() {
    for case in exact_cases("beta_bernoulli") {
        let input = |name| real(&case, "inputs", name);
        let want = |name| real(&case, "expected", name);
        let (a, b) = (input("prior_a"), input("prior_b"));
        let (heads, tails) = (input("k"), input("n") - input("k"));
        let mut space = Space::new();
        let logit = space.real("logit");
        // the density of the logit; prior and its normalising constant included
        let log_beta = |a: f64, b: f64| {
            statrs::function::gamma::ln_gamma(a) + statrs::function::gamma::ln_gamma(b)
                - statrs::function::gamma::ln_gamma(a + b)
        };
        let constant = log_beta(a, b);
        let model = from_fn(space, move |z| {
            (a + heads) * z[logit].log_sigmoid() + (b + tails) * (-z[logit]).log_sigmoid()
                - constant
        });
        let exact = quadrature(&model).unwrap();
        let evidence = want("log_evidence_of_ordered_sequence");
        assert_close("log evidence", exact.log_evidence, evidence, 1e-9);
        assert_close("mean", exact.mean[0], want("logit_mean"), 1e-9);
        assert_close("sd", exact.sd[0], want("logit_sd"), 1e-9);
        let best = &case["expected"]["advi_logit_normal"];
        let at = |name: &str| best[name].as_f64().unwrap();
        let q = MeanFieldGaussian::new(vec![at("m")], &[at("s")]).unwrap();
        let elbo = diagnostics::elbo(&model, &q, 100_000, 5).unwrap();
        assert_within_noise("ELBO", &elbo, at("elbo"));
        assert_close("gap", exact.log_evidence - at("elbo"), at("kl_gap"), 1e-9);
    }
}

#[test]
fn quadrature_says_what_it_cannot_do() {
    let mut space = Space::new();
    space.reals("x", 4);
    let four = from_fn(space, |z| -z.iter().map(|z| z.square()).sum::<elbo::Var>());
    let message = quadrature(&four).unwrap_err().to_string();
    assert!(message.starts_with("E10 dim is 4; a grid needs its points to the power"), "{message}");
    let mut space = Space::new();
    let x = space.real("x");
    let flat = from_fn(space, move |z| z[x] * 0.0);
    let message = quadrature(&flat).unwrap_err().to_string();
    assert!(message.contains("falls off on every side"), "{message}");
}

/// A normal with correlation `rho` between any two of `d` coordinates, or with skewed ones.
struct Correlated {
    d: usize,
    rho: f64,
    skewed: bool,
}

impl Correlated {
    /// The precision matrix's diagonal and off-diagonal entries.
    fn precision(&self) -> (f64, f64) {
        let share = self.rho / (1.0 + (self.d as f64 - 1.0) * self.rho);
        ((1.0 - share) / (1.0 - self.rho), -share / (1.0 - self.rho))
    }
    fn log_det(&self) -> f64 {
        let d = self.d as f64;
        (d - 1.0) * (1.0 - self.rho).ln() + (1.0 + (d - 1.0) * self.rho).ln()
    }
    /// What mean field makes of it.
    fn mean_field(&self) -> MeanFieldGaussian {
        let sd = self.precision().0.sqrt().recip();
        MeanFieldGaussian::new(vec![0.0; self.d], &vec![sd; self.d]).unwrap()
    }
    /// The normal itself.
    fn full_rank(&self) -> FullRankGaussian {
        let entry = |i, j| if i == j { 1.0 } else { self.rho };
        let covariance = DMatrix::from_fn(self.d, self.d, entry);
        FullRankGaussian::new(vec![0.0; self.d], &covariance).unwrap()
    }
}

impl Model for Correlated {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.reals("x", self.d);
        space
    }
    fn dim(&self) -> usize {
        self.d
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        let (diagonal, off) = self.precision();
        let sum: f64 = z.iter().sum();
        let square: f64 = z.iter().map(|z| z * z).sum();
        let normal = -0.5 * ((diagonal - off) * square + off * sum * sum)
            - 0.5 * self.log_det()
            - 0.9189385332046728 * self.d as f64;
        // e^z - 1 - z - z^2 / 2: nothing at 0, a wall to the right, a slope to the left
        let bend: f64 = z.iter().map(|z| z.exp_m1() - z - 0.5 * z * z).sum();
        if self.skewed { normal - 0.3 * bend } else { normal }
    }
}

/// Standard deviation per draw of the paired ELBO and of the regressed one.
fn noise(model: &Correlated, q: &impl Reparameterized) -> [f64; 2] {
    let draws = 5_000;
    let per_draw = |e: Estimate| e.mcse * (draws as f64).sqrt();
    let plain = diagnostics::elbo(model, q, draws, 1).unwrap();
    [per_draw(plain), per_draw(elbo_by_regression(model, q, draws, 1).unwrap())]
}

/// The measurement behind the default: regression pays where `q` is far from its optimum, and
/// nowhere else.
#[test]
fn regression_pays_away_from_the_optimum_only() {
    println!("sd per draw: d, target, family, where: plain, regressed");
    for d in [10, 100] {
        for skewed in [false, true] {
            let model = Correlated { d, rho: 0.5, skewed };
            let moved = MeanFieldGaussian::new(vec![1.0; d], &vec![0.5; d]).unwrap();
            let exact = model.full_rank();
            let entry = |i, j| if i == j { 0.25 } else { 0.125 };
            let narrow =
                FullRankGaussian::new(vec![1.0; d], &DMatrix::from_fn(d, d, entry)).unwrap();
            let found = [
                ("mean field", "moved", noise(&model, &moved)),
                ("full rank", "moved", noise(&model, &narrow)),
                ("mean field", "optimum of the normal", noise(&model, &model.mean_field())),
                ("full rank", "optimum of the normal", noise(&model, &exact)),
            ];
            for (family, place, [plain, regressed]) in found {
                let target = if skewed { "skewed" } else { "normal" };
                println!("{d:3} {target} {family:10} {place:22} {plain:8.3} {regressed:8.3}");
                match place {
                    "moved" => assert!(regressed < 0.7 * plain, "{d} {target} {family}"),
                    // cross-fitted coefficients of nothing cost (2d + 1) / n of the variance
                    _ => assert!(regressed < 1.05 * plain + 1e-10, "{d} {target} {family}"),
                }
            }
        }
    }
}

/// Neither the choice between two forms nor the fitted coefficients move the mean.
#[test]
fn the_elbo_is_unbiased_with_few_draws() {
    let mut space = Space::new();
    let u = space.real("u");
    let model = from_fn(space, move |z| 2.0 * z[u] - z[u].exp());
    let (m, s) = (0.4f64, 0.9f64);
    let q = MeanFieldGaussian::new(vec![m], &[s]).unwrap();
    let exact = 2.0 * m - (m + 0.5 * s * s).exp() + 0.5 + 0.9189385332046728 + s.ln();
    for (name, draws) in [("elbo", 10), ("regression", 60)] {
        let runs: Vec<f64> = (0..4_000)
            .map(|seed| match name {
                "elbo" => diagnostics::elbo(&model, &q, draws, seed).unwrap().value,
                _ => elbo_by_regression(&model, &q, draws, seed).unwrap().value,
            })
            .collect();
        assert_within_noise(name, &Estimate::mean(&runs), exact);
    }
}

#[test]
fn four_times_the_draws_halve_the_error() {
    let (model, q) = (NormalNormal { y: 1.0, s: 0.5 }, MeanFieldGaussian::standard(1));
    let few = diagnostics::elbo(&model, &q, 10_000, 1).unwrap().mcse;
    let many = diagnostics::elbo(&model, &q, 40_000, 2).unwrap().mcse;
    assert!((1.8..2.2).contains(&(few / many)), "{few} {many}");
}

fn judged(model: &impl Model, q: &impl elbo::Family, seed: u64) -> (Judgement, f64) {
    let seen = examine(model, q, Checks::default(), seed).unwrap();
    let judgement =
        Judgement::new(&Ending::NotRun, &seen.elbo, &seen.fidelity, "MeanFieldGaussian", &[]);
    (judgement, seen.fidelity.khat)
}

fn codes(judgement: &Judgement) -> Vec<&'static str> {
    judgement.warnings.iter().map(|w| w.code.as_str()).collect()
}

#[test]
fn mean_field_on_a_correlated_normal_is_warned_of_when_it_matters() {
    // k-hat averaged over 20 runs: 0.46 at correlation 0.5 and 0.83 at 0.9, each run's between
    // 0.35 and 0.60, and between 0.63 and 1.02
    let at = |rho| {
        let model = Correlated { d: 2, rho, skewed: false };
        judged(&model, &model.mean_field(), 1)
    };
    let (mild, khat) = at(0.5);
    assert!((khat - 0.46).abs() < 0.13, "k-hat {khat}");
    assert_eq!((mild.verdict, codes(&mild)), (Verdict::Good, vec![]));
    let (bad, khat) = at(0.9);
    assert!((khat - 0.83).abs() < 0.2, "k-hat {khat}");
    assert_eq!((bad.verdict, codes(&bad)), (Verdict::DoNotUse, vec!["W07", "W09"]));
    assert!(bad.warnings[0].to_string().contains("try: FullRankGaussian"), "{}", bad.warnings[0]);
}

#[test]
fn nothing_that_is_off_is_called_good() {
    // too narrow by e^0.27 and more, in every coordinate
    for d in [2, 5, 10, 30] {
        for rho in [0.66, 0.8, 0.95] {
            let model = Correlated { d, rho, skewed: false };
            let off = 0.5 * model.precision().0.ln();
            assert!(off > 0.25, "{off}");
            for seed in 0..3 {
                let (j, khat) = judged(&model, &model.mean_field(), seed);
                assert!(j.verdict > Verdict::Good, "d {d}, rho {rho}: k-hat {khat}");
            }
        }
    }
    // one mean of ten off by 0.35 sd; one sd of ten off either way by e^0.3
    let model = Correlated { d: 10, rho: 0.0, skewed: false };
    let (mut mean, sd) = (vec![0.0; 10], vec![1.0; 10]);
    mean[3] = 0.35;
    let shifted = MeanFieldGaussian::new(mean, &sd).unwrap();
    let (j, _) = judged(&model, &shifted, 1);
    assert!(j.verdict > Verdict::Good && codes(&j).contains(&"W21"), "{j:?}");
    assert!(j.warnings[0].message.contains("`x[4]`"), "{j:?}");
    for factor in [0.3f64.exp(), (-0.3f64).exp()] {
        let mut sd = vec![1.0; 10];
        sd[7] = factor;
        let (j, _) = judged(&model, &MeanFieldGaussian::new(vec![0.0; 10], &sd).unwrap(), 1);
        assert!(j.verdict > Verdict::Good && codes(&j).contains(&"W09"), "{factor}: {j:?}");
    }
}

#[test]
fn what_is_close_is_called_good() {
    for d in [1, 2, 10, 50] {
        let model = Correlated { d, rho: 0.7, skewed: false };
        let (j, khat) = judged(&model, &model.full_rank(), 1);
        assert_eq!((j.verdict, codes(&j)), (Verdict::Good, vec![]), "d {d}, k-hat {khat}");
        assert!(khat < 0.0, "equal weights: {khat}");
    }
    // a word below the best always says why
    let model = Correlated { d: 2, rho: 0.6, skewed: false };
    let (j, _) = judged(&model, &model.mean_field(), 1);
    assert!(j.verdict == Verdict::Good || !j.warnings.is_empty(), "{j:?}");
    // off by a little in every coordinate, as a stochastic fit is
    let model = Correlated { d: 20, rho: 0.0, skewed: false };
    let near = MeanFieldGaussian::new(vec![0.03; 20], &[0.97; 20]).unwrap();
    let (j, khat) = judged(&model, &near, 1);
    assert_eq!((j.verdict, codes(&j)), (Verdict::Good, vec![]), "k-hat {khat}");
}

/// Its weights are all equal, as those of the exact posterior are, and yet it knows no sd.
#[test]
fn a_point_is_never_good() {
    let model = Correlated { d: 3, rho: 0.5, skewed: false };
    let (j, khat) = judged(&model, &Delta::new(vec![0.0; 3]), 1);
    assert_eq!(
        (j.verdict, codes(&j), khat),
        (Verdict::UseWithCare, vec!["W09"], f64::NEG_INFINITY)
    );
    let said = "a point has no spread: all draws agree in `x[1]` and 2 more, so that the sd \
                is 0 and the weights cannot judge it";
    assert_eq!(j.warnings[0].message, said);
    assert!(j.warnings[0].to_string().contains("try: a family with a width"));
    // one coordinate of three; the others as they are given the first
    let model = Correlated { d: 3, rho: 0.0, skewed: false };
    let q = Product::new(Delta::new(vec![0.0]), MeanFieldGaussian::standard(2));
    let (j, _) = judged(&model, &q, 1);
    assert_eq!((j.verdict, codes(&j)), (Verdict::UseWithCare, vec!["W09"]));
    assert!(j.warnings[0].message.contains("all draws agree in `x[1]`,"), "{j:?}");
    assert!(diagnostics::elbo(&model, &q, 1000, 1).unwrap().value.is_finite());
}

#[test]
fn a_log_joint_that_is_not_a_number_is_never_good() {
    struct Spoiled(f64);
    impl Model for Spoiled {
        fn space(&self) -> Space {
            let mut space = Space::new();
            space.real("x");
            space
        }
        fn log_joint(&self, z: &[f64]) -> f64 {
            if z[0] > 2.0 { self.0 } else { -0.5 * z[0] * z[0] }
        }
    }
    let q = MeanFieldGaussian::standard(1);
    let (nan, _) = judged(&Spoiled(f64::NAN), &q, 1);
    assert_eq!((nan.verdict, codes(&nan)), (Verdict::DoNotUse, vec!["W03"]));
    let (outside, _) = judged(&Spoiled(f64::NEG_INFINITY), &q, 1);
    assert!(outside.verdict > Verdict::Good && codes(&outside).contains(&"W18"));
}

fn eight_schools(seed: u64) -> Posterior<MeanFieldGaussian> {
    use elbo::{Adam, Averaged, GradientAscent, Options, StickingTheLanding, Var, fit};
    let effect = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0];
    let sd = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0];
    let mut space = Space::new();
    let (mu, tau, eta) = (space.real("mu"), space.positive("tau"), space.reals("eta", 8));
    let model = from_fn(space, move |z| {
        let mut lp = density::normal(z[mu], 0.0, 5.0) + density::half_cauchy(z[tau], 5.0);
        for (j, &eta) in z[eta].iter().enumerate() {
            lp += density::normal(eta, 0.0, 1.0);
            lp += density::normal(Var::from(effect[j]), z[mu] + z[tau] * eta, sd[j]);
        }
        lp
    })
    .unconstrained();
    let ascent =
        GradientAscent::new(StickingTheLanding { draws: 10 }, Averaged::new(Adam::rate(0.02)));
    let options = Options { steps: 4_000, seed, ..Options::default() };
    fit(model, MeanFieldGaussian::standard(10), ascent, options).unwrap().posterior().unwrap()
}

#[test]
fn eight_schools_from_the_fit_to_the_page_and_back() {
    let posterior = eight_schools(2);
    // a long Markov chain: tau has mean 3.6 and sd 3.2, of which mean field sees too little: over
    // 24 seeds 2.44, which one seed misses by 0.11 (most of it is the few largest draws)
    let tau = posterior.row("tau").unwrap();
    let correction = tau.correction.unwrap();
    assert!(tau.sd < 2.44 + 5.0 * 0.11 && tau.sd * correction.sd_ratio > 2.8, "{tau:?}");
    assert_eq!(posterior.verdict(), Verdict::UseWithCare);
    let message = posterior.require(Verdict::Good).unwrap_err().to_string();
    assert!(
        message.starts_with("E16 the verdict is USE WITH CARE where GOOD was required: W21 "),
        "{message}"
    );
    let spread = posterior.warnings().iter().find(|w| w.code.as_str() == "W09").unwrap();
    assert!(spread.message.starts_with("the spread of `tau` is too small"), "{spread}");
    assert!(posterior.require(Verdict::UseWithCare).is_ok());

    let page = posterior.to_string();
    for wanted in ["ELBO  -31.6", "shift", "eta[8]", "verdict: USE WITH CARE", "k-hat"] {
        assert!(page.contains(wanted), "`{wanted}` is missing:\n{page}");
    }
    for line in page.lines() {
        assert!(line.chars().count() <= 100, "too long: {line}");
        assert!(!line.chars().any(char::is_control), "control characters: {line:?}");
    }
    let heads: Vec<usize> = page.lines().map(|l| l.chars().count()).skip(2).take(11).collect();
    assert!(heads.iter().all(|n| *n == heads[0]), "not aligned:\n{page}");

    let text = posterior.to_json().unwrap();
    let again = Posterior::<MeanFieldGaussian>::from_json(&text).unwrap();
    assert_eq!(again, posterior);
    assert_eq!(again.to_string(), page);
    assert_eq!(again.draws(500, 3).unwrap(), posterior.draws(500, 3).unwrap());
}

#[test]
fn the_table_as_csv() {
    let posterior = eight_schools(2);
    let mut csv = Vec::new();
    posterior.summary().unwrap().write_csv(&mut csv).unwrap();
    let csv = String::from_utf8(csv).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "name,mean,sd,mcse,q05,q50,q95,shift,sd_ratio");
    assert_eq!(lines.len(), 11);
    let mean: f64 = lines[2].split(',').nth(1).unwrap().parse().unwrap();
    assert_eq!(mean, posterior.row("tau").unwrap().mean);
    let mut csv = Vec::new();
    let mut draws = posterior.draws(3, 1).unwrap();
    draws.derive("twice, tau", |z| 2.0 * z[1]).write_csv(&mut csv).unwrap();
    let csv = String::from_utf8(csv).unwrap();
    assert!(csv.lines().next().unwrap().ends_with("eta[8],\"twice, tau\""), "{csv}");
    assert_eq!(csv.lines().count(), 4);
    let message = draws.column("theta").unwrap_err().to_string();
    assert!(message.starts_with("E10 column is `theta`; there are mu, tau, eta[1]"), "{message}");
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let mut space = Space::new();
    space.real("x");
    let posterior = Posterior::new(space, MeanFieldGaussian::standard(1)).unwrap();
    let text = posterior.to_json().unwrap();
    let read = |text: &str| {
        let error = Posterior::<MeanFieldGaussian>::from_json(text).unwrap_err();
        assert!(matches!(error, Error::File { .. }), "{error}");
        error.to_string()
    };
    let cut = read(&text[..text.len() / 2]);
    assert!(cut.starts_with("E11 the text: cut off at line"), "{cut}");
    let foreign = read("{\"format\": \"something else\"}");
    assert!(foreign.contains("this is something else, not elbo-posterior"), "{foreign}");
    let newer = read(&text.replace("\"version\": 1", "\"version\": 9"));
    assert!(newer.contains("format version 9, this elbo reads 1; update elbo"), "{newer}");
    let message = Posterior::<FullRankGaussian>::from_json(&text).unwrap_err().to_string();
    assert!(message.contains("load Posterior::<MeanFieldGaussian>"), "{message}");
    let nowhere = Posterior::<MeanFieldGaussian>::load("no/such/file.json").unwrap_err();
    assert!(nowhere.to_string().starts_with("E11 no/such/file.json: cannot read"), "{nowhere}");
    assert!(posterior.require(Verdict::DoNotUse).is_err(), "not examined");
    let file = std::env::temp_dir().join(format!("elbo-posterior-{}.json", std::process::id()));
    posterior.save(&file).unwrap();
    assert_eq!(Posterior::<MeanFieldGaussian>::load(&file).unwrap(), posterior);
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_model_moved_twice_has_the_same_prior() {
    struct Rate;
    impl Model for Rate {
        fn space(&self) -> Space {
            let mut space = Space::new();
            space.positive("rate");
            space
        }
        fn log_joint(&self, z: &[f64]) -> f64 {
            self.log_prior(z) - 3.0 * z[0]
        }
    }
    impl PriorAndLikelihood for Rate {
        fn log_prior(&self, z: &[f64]) -> f64 {
            density::exponential(z[0], 1.0)
        }
    }
    let once = Rate.unconstrained();
    let want = once.log_prior(&[0.7]);
    assert_close("prior", want, 0.7 - 0.7f64.exp(), 1e-12);
    assert_eq!(once.unconstrained().log_prior(&[0.7]), want);
}

#[test]
fn small_numbers_keep_their_digits_in_the_table() {
    let mut space = Space::new();
    space.real("small");
    let q = MeanFieldGaussian::new(vec![3.4e-12], &[1e-13]).unwrap();
    let table = Posterior::new(space, q).unwrap().draws(1000, 1).unwrap().summary().to_string();
    assert!(table.contains("3.40e-12") && !table.contains("0.0000000"), "{table}");
}

#[test]
fn an_enormous_elbo_fits_on_a_line() {
    assert_eq!(Estimate { value: 1.25e144, mcse: 3e140, n: 4 }.to_string(), "1.250e144 ± 3.0e140");
    assert_eq!(Estimate { value: -31.4159, mcse: 0.012, n: 4 }.to_string(), "-31.416 ± 0.012");
}

#[test]
fn draws_that_overflow_can_be_kept() {
    let mut space = Space::new();
    space.positive("scale");
    let q = MeanFieldGaussian::new(vec![0.0], &[1e3]).unwrap();
    let mut draws = Posterior::new(space.unconstrained(), q).unwrap().draws(100, 1).unwrap();
    draws.derive("inverse", |z| 1.0 / z[0]);
    assert!(draws.column("scale").unwrap().contains(&f64::INFINITY));
    let text = serde_json::to_string(&draws).unwrap();
    assert_eq!(serde_json::from_str::<elbo::Draws>(&text).unwrap(), draws);
}

/// Moments of a posterior with two modes by weighted draws of something wide, against exact ones:
/// of the closest normal in the forward direction.
#[test]
fn moments_are_matched() {
    use elbo::diagnostics::moment_match;
    use elbo::{
        Adam, Averaged, Family, GradientAscent, Options, Schedule, Scheduled, StickingTheLanding,
        Stop, fit,
    };
    let mixture = |weight: f64, means: [f64; 2], sds: [f64; 2]| {
        let mut space = Space::new();
        let z = space.real("z");
        from_fn(space, move |x| {
            let part = |k: usize| density::normal(x[z], means[k], sds[k]);
            let weights = [weight.ln().into(), (1.0 - weight).ln().into()];
            density::mixture(&weights, &[part(0), part(1)])
        })
    };
    fn near<M: Model>(model: &M, mean: f64, sd: f64) {
        let wide = MeanFieldGaussian::new(vec![mean], &[2.0 * sd]).unwrap();
        let got = moment_match(model, &wide, 40_000, 1).unwrap();
        // the mean of a normal's worth of effective draws, and the sd of a bounded kurtosis
        let se = sd / got.ess.sqrt();
        assert!(got.khat < 0.5 && got.ess > 4_000.0, "{} {}", got.khat, got.ess);
        assert!((got.q.mean()[0] - mean).abs() < 4.0 * se, "{:?}, want {mean}", got.q.mean());
        assert!((got.q.sd()[0] - sd).abs() < 4.0 * se, "{:?}, want {sd}", got.q.sd());
    }
    near(&mixture(0.5, [-3.0, 3.0], [1.0, 1.0]), 0.0, 10f64.sqrt());
    for case in support::exact_cases("bimodal_kl") {
        let of = |what: &str| case["inputs"][what].as_f64().unwrap();
        let forward = &case["expected"]["forward_kl_fit"];
        let model = mixture(of("weight1"), [of("mean1"), of("mean2")], [of("sd1"), of("sd2")]);
        near(&model, forward["mean"].as_f64().unwrap(), forward["sd"].as_f64().unwrap());
        // and each optimum of the reverse direction is where the ELBO has no slope
        let log_ratio = |q: &MeanFieldGaussian, z: f64| q.log_prob(&[z]) - model.log_joint(&[z]);
        let kl = |mean: f64, sd: f64| {
            let q = MeanFieldGaussian::new(vec![mean], &[sd]).unwrap();
            let step = 24.0 * sd / 6_000.0;
            let at = |k: i32| mean + step * f64::from(k);
            let term = |k: i32| q.log_prob(&[at(k)]).exp() * log_ratio(&q, at(k));
            (-3_000..=3_000).map(term).sum::<f64>() * step
        };
        for optimum in case["expected"]["reverse_kl_local_optima"].as_array().unwrap() {
            let of = |what: &str| optimum[what].as_f64().unwrap();
            let start = MeanFieldGaussian::new(vec![of("mean") + 0.1], &[of("sd")]).unwrap();
            let adam =
                Scheduled::new(Adam::rate(0.05), Schedule::Cosine { steps: 3_000, floor: 0.01 });
            let ascent = GradientAscent::new(StickingTheLanding { draws: 32 }, Averaged::new(adam));
            let options = Options { steps: 3_000, stop: Stop::Budget, ..Options::default() };
            let q = fit(model.clone(), start, ascent, options).unwrap().q;
            let (got, want) = (kl(q.mean()[0], q.sd()[0]), of("kl_q_p"));
            assert!((kl(of("mean"), of("sd")) - want).abs() < 2e-5);
            assert!(got - want < 2e-3, "{got} at {:?} {:?}, best {want}", q.mean(), q.sd());
        }
    }
    let text = |result: Result<elbo::diagnostics::MomentMatch, elbo::Error>| {
        result.unwrap_err().to_string()
    };
    let model = mixture(0.5, [-3.0, 3.0], [1.0, 1.0]);
    let standard = MeanFieldGaussian::standard(1);
    let few = text(moment_match(&model, &standard, 99, 1));
    assert_eq!(few, "E10 draws is 99; take at least 100");
    let mut space = Space::new();
    let rate = space.positive("rate");
    let waiting = from_fn(space, move |z| -z[rate]);
    let bounded = text(moment_match(&waiting, &standard, 100, 1));
    assert!(
        bounded.starts_with("E06 `rate` lives on Positive but the family covers Real"),
        "{bounded}"
    );
}
