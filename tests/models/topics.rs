//! Latent Dirichlet allocation, by coordinate ascent and by stochastic variational inference.

use elbo::data::{Corpus, postcards};
use elbo::models::{Topics, TopicsPosterior};
use elbo::{
    EStep, Error, Family, Fit, MStep, Minibatch, Model, NaturalStep, Options, Run, Stop, Subsample,
    fit, warning::Warning,
};
use statrs::function::gamma::{digamma, ln_gamma};

use crate::moves::{elbo_is_the_mean_of_its_draws, last, message, never_descends};
use crate::support::assert_close;

fn steps(steps: usize) -> Options {
    Options { steps, stop: Stop::Budget, ..Options::default() }
}

/// Six words in three short documents of two kinds.
fn tiny() -> Corpus {
    let triples = [(0, 0, 2.0), (0, 1, 1.0), (1, 4, 1.0), (1, 3, 2.0), (2, 0, 1.0), (2, 5, 1.0)];
    Corpus::from_triples(triples, 3, 6).expect("fine")
}

/// Twelve words, a dozen documents of some twenty words.
fn small() -> Corpus {
    let count = |d: usize, w: usize| {
        let own = usize::from(w / 4 == d % 3) * (2 + (d * w) % 4);
        (own + usize::from((7 * d + 5 * w).is_multiple_of(11))) as f64
    };
    let all = (0..12).flat_map(|d| (0..12).map(move |w| (d, w, count(d, w))));
    Corpus::from_triples(all.filter(|t| t.2 > 0.0), 12, 12).expect("fine")
}

fn log_beta(a: &[f64]) -> f64 {
    a.iter().map(|a| ln_gamma(*a)).sum::<f64>() - ln_gamma(a.iter().sum())
}

/// The ELBO under the best labels, by its definition; `gamma` and `lambda` row by row.
fn bound(model: &Topics, gamma: &[Vec<f64>], lambda: &[Vec<f64>]) -> f64 {
    let log_mean = |a: &[f64]| -> Vec<f64> {
        let total = digamma(a.iter().sum());
        a.iter().map(|a| digamma(*a) - total).collect()
    };
    let minus_kl = |q: &[f64], p: &[f64]| {
        let logs = log_mean(q);
        let moved: f64 = q.iter().zip(p).zip(&logs).map(|((q, p), l)| (p - q) * l).sum();
        log_beta(q) - log_beta(p) + moved
    };
    let topics: Vec<Vec<f64>> = lambda.iter().map(|l| log_mean(l)).collect();
    let corpus = model.corpus();
    let eta = vec![model.eta(); corpus.n_words()];
    let mut sum: f64 = lambda.iter().map(|l| minus_kl(l, &eta)).sum();
    for (d, gamma) in gamma.iter().enumerate() {
        let logs = log_mean(gamma);
        let mut own = minus_kl(gamma, model.alpha());
        let (words, counts) = corpus.document(d);
        for (&w, &n) in words.iter().zip(counts) {
            let each = logs.iter().zip(&topics).map(|(l, t)| (l + t[w as usize]).exp());
            own += f64::from(n) * each.sum::<f64>().ln();
        }
        sum += corpus.weight(d) * own;
    }
    sum
}

fn parts(model: &Topics, q: &TopicsPosterior) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let gamma = (0..model.corpus().len()).map(|d| q.of_document(d).to_vec()).collect();
    (gamma, (0..model.len()).map(|k| q.concentrations(k)).collect())
}

fn cavi(model: Topics, options: Options) -> Result<Fit<Topics, TopicsPosterior>, Error> {
    let q = model.start(3);
    fit(model, q, EStep, options)
}

/// With one topic every label is known, and the bound is the evidence of Dirichlet-multinomial
/// counts: nothing is left to bound.
#[test]
fn one_topic_gives_the_evidence() -> Result<(), Error> {
    let model = Topics::new(small(), 1)?.with_prior(&[0.7], 0.3)?;
    let mut counts = vec![0.3; 12];
    for d in 0..12 {
        let (words, n) = model.corpus().document(d);
        words.iter().zip(n).for_each(|(&w, &n)| counts[w as usize] += f64::from(n));
    }
    let fit = cavi(model, steps(2))?;
    let want = log_beta(&counts) - log_beta(&[0.3; 12]);
    assert_close("bound", last(&fit), want, 1e-12);
    assert_close("lambda", fit.q.concentrations(0)[4], counts[4], 1e-13);
    Ok(())
}

/// `ln p(x)` by all labels of all words, proportions and topics integrated out.
fn log_evidence(model: &Topics) -> f64 {
    let (corpus, k) = (model.corpus(), model.len());
    let mut tokens = Vec::new();
    for d in 0..corpus.len() {
        let (words, counts) = corpus.document(d);
        for (&w, &n) in words.iter().zip(counts) {
            tokens.extend(vec![(d, w as usize); n as usize]);
        }
    }
    let terms = (0..k.pow(tokens.len() as u32)).map(|mut code| {
        let mut of_documents = vec![model.alpha().to_vec(); corpus.len()];
        let mut of_topics = vec![vec![model.eta(); corpus.n_words()]; k];
        for &(d, w) in &tokens {
            of_documents[d][code % k] += 1.0;
            of_topics[code % k][w] += 1.0;
            code /= k;
        }
        let eta = vec![model.eta(); corpus.n_words()];
        of_documents.iter().map(|a| log_beta(a) - log_beta(model.alpha())).sum::<f64>()
            + of_topics.iter().map(|a| log_beta(a) - log_beta(&eta)).sum::<f64>()
    });
    let terms: Vec<f64> = terms.collect();
    let top = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + terms.iter().map(|t| (t - top).exp()).sum::<f64>().ln()
}

#[test]
fn the_bound_lies_below_the_evidence() -> Result<(), Error> {
    for k in [2, 3] {
        for (alpha, eta) in [(0.5, 0.5), (2.0, 1.0), (0.1, 0.05)] {
            let model = Topics::new(tiny(), k)?.with_prior(&[alpha], eta)?;
            let evidence = log_evidence(&model);
            let fit = never_descends(model.clone(), model.start(1), EStep);
            let bound = last(&fit);
            // labels of one word alone have an entropy of at most ln k: a gap of more than that for
            // each of the eight words would be a constant gone astray
            assert!(
                bound < evidence && bound > evidence - 8.0 * (k as f64).ln(),
                "{bound} {evidence}"
            );
        }
    }
    Ok(())
}

/// What is reported is the ELBO of `q` as it is, in the middle of a climb, too.
#[test]
fn the_elbo_is_the_mean_of_its_draws() -> Result<(), Error> {
    for k in [1, 2, 3] {
        let alpha = [0.4, 0.9, 1.7];
        let model = Topics::new(small(), k)?.with_prior(&alpha[..k], 0.3)?;
        for n in [1, 4] {
            let fit = cavi(model.clone(), steps(n))?;
            elbo_is_the_mean_of_its_draws(&fit.model, &fit.q, last(&fit));
            assert_close("sum", fit.q.bound().total(), last(&fit), 1e-14);
        }
        let weights = (0..12).map(|d| f64::from(d % 4) * 0.5).collect();
        let weighted = Topics::new(small().weighted(weights)?, k)?.with_prior(&alpha[..k], 0.3)?;
        let fit = cavi(weighted, steps(2))?;
        elbo_is_the_mean_of_its_draws(&fit.model, &fit.q, last(&fit));
        assert_eq!((fit.q.dim(), fit.model.space().dim()), (fit.model.dim(), fit.model.dim()));
        for i in 0..fit.q.dim() {
            assert_eq!(fit.q.support(i), fit.model.space().support(i), "coordinate {i}");
        }
    }
    Ok(())
}

/// A weight of two is a document twice.
#[test]
fn weights_count_documents() -> Result<(), Error> {
    let twice = small().select((0..12).chain(0..4))?;
    let weights = (0..12).map(|d| if d < 4 { 2.0 } else { 1.0 }).collect();
    let (a, b) = (Topics::new(small().weighted(weights)?, 3)?, Topics::new(twice, 3)?);
    let same: Vec<f64> = (0..36).map(|i| 1.0 + f64::from(i * i % 7)).collect();
    let climb = |model: Topics| {
        let q = model.start_from(&same)?;
        fit(model, q, EStep, steps(6))
    };
    let (a, b) = (climb(a)?, climb(b)?);
    assert_close("ELBO", last(&a), last(&b), 1e-11);
    for (x, y) in a.q.concentrations(1).iter().zip(b.q.concentrations(1)) {
        assert_close("lambda", *x, y, 1e-9);
    }
    Ok(())
}

#[test]
fn no_step_descends_and_the_end_has_no_slope() -> Result<(), Error> {
    let model = Topics::new(small(), 3)?.with_prior(&[0.4, 0.9, 1.7], 0.3)?;
    for rounds in [1, 20] {
        let model = model.clone().with_search(0.0, rounds)?;
        let q = model.start(3);
        let options = Options { steps: 5000, stop: Stop::Exact { gain: 0.0 }, ..Options::exact() };
        never_descends(model.clone(), q.clone(), EStep);
        let fit = fit(model, q, EStep, options)?;
        let (gamma, lambda) = parts(&fit.model, &fit.q);
        let top = bound(&fit.model, &gamma, &lambda);
        assert_close("ELBO", last(&fit), top, 1e-11);
        // On each side of a top whose curvature is about c, a step of h in a logarithm lowers the
        // ELBO by c h^2 / 2; a slope s would show as 2 s h between the two sides. The run ends where
        // a step gains no more than rounding, about 1e-12: within sqrt(1e-12 c) of no slope.
        const H: f64 = 1e-4;
        let slack = 2.0 * H * 1e-4;
        for d in 0..gamma.len() {
            for k in 0..3 {
                let at = |h: f64| {
                    let mut moved = gamma.clone();
                    moved[d][k] *= h.exp();
                    bound(&fit.model, &moved, &lambda)
                };
                let both = at(H) - at(-H);
                assert!(both.abs() < slack, "slope of gamma[{d}][{k}]: {}", both / (2.0 * H));
            }
        }
        for k in 0..3 {
            for w in 0..12 {
                let at = |h: f64| {
                    let mut moved = lambda.clone();
                    moved[k][w] *= h.exp();
                    bound(&fit.model, &gamma, &moved)
                };
                let both = at(H) - at(-H);
                assert!(both.abs() < slack, "slope of lambda[{k}][{w}]: {}", both / (2.0 * H));
            }
        }
    }
    Ok(())
}

#[test]
fn all_documents_at_rate_one_are_coordinate_ascent() -> Result<(), Error> {
    let model = Topics::new(postcards()?.corpus, 6)?;
    let (q, n) = (model.start(2), model.corpus().len());
    let one = fit(model.clone(), q.clone(), EStep, steps(4))?;
    let other = fit(model, q, Minibatch::new(n, NaturalStep::constant(1.0)), steps(4))?;
    assert_close("ELBO", last(&one), last(&other), 1e-12);
    for k in 0..6 {
        for (a, b) in one.q.concentrations(k).iter().zip(other.q.concentrations(k)) {
            assert_close("lambda", *a, b, 1e-11);
        }
    }
    Ok(())
}

/// A batch stands for all documents, and the topics are counted once: with topics held still, the
/// bound of batches averages to that of everything.
#[test]
fn batches_average_to_the_whole() -> Result<(), Error> {
    let mut model = Topics::new(postcards()?.corpus, 6)?;
    let q = cavi(model.clone(), steps(5))?.q;
    let still = 1e-12;
    let step = |model: &Topics| -> Result<(f64, f64), Error> {
        let mut q = q.clone();
        elbo::Conjugate::natural_step(model, &mut q, still)?;
        Ok((q.bound().documents, q.bound().topics))
    };
    let (all, of_topics) = step(&model)?;
    let mut mean = 0.0;
    for b in 0..10 {
        let rows: Vec<usize> = (0..50).map(|i| 10 * i + b).collect();
        model.subsample(&rows);
        let (documents, topics) = step(&model)?;
        assert_close("topics", topics, of_topics, 1e-8);
        mean += documents / 10.0;
    }
    assert_close("documents", mean, all, 1e-10);
    Ok(())
}

/// How far topics are from those planted: for each of the latter the nearest by total variation.
fn mean_best_match(planted: &[Vec<f64>], q: &TopicsPosterior) -> f64 {
    let found: Vec<Vec<f64>> = (0..q.len()).map(|k| q.topic(k)).collect();
    let apart =
        |a: &[f64], b: &[f64]| 0.5 * a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>();
    let best = |topic: &Vec<f64>| found.iter().map(|f| apart(topic, f)).fold(1.0, f64::min);
    planted.iter().map(best).sum::<f64>() / planted.len() as f64
}

#[test]
fn planted_topics_are_found_by_both() -> Result<(), Error> {
    let cards = postcards()?;
    let model = Topics::new(cards.corpus, 6)?.with_prior(&[0.2], 0.1)?;
    for seed in 0..4 {
        let batch = model.fit(seed)?.fit;
        // the best of five starts here, too
        let mut best: Option<(f64, TopicsPosterior)> = None;
        for start in 0..5 {
            let moves = Minibatch::new(50, NaturalStep::decaying(64.0, 0.7));
            let q = model.start(5 * seed + start);
            let mut q = fit(model.clone(), q, moves, Options { seed, ..steps(300) })?.q;
            // its last ELBO is an estimate from 50 documents; this is that of one more step on all, of
            // rate almost 0, which may start from better proportions
            let elbo = model.bound(&q)?.total();
            let stepped = elbo::Conjugate::natural_step(&model, &mut q, 1e-12)?;
            let less = (stepped - elbo) / elbo.abs();
            assert!(less > -1e-9 && less < 1e-3, "{elbo} {stepped}");
            assert_close("topics", model.bound(&q)?.topics, q.bound().topics, 1e-8);
            if best.as_ref().is_none_or(|(top, _)| elbo > *top) {
                best = Some((elbo, q));
            }
        }
        let Some((elbo, online)) = best else { unreachable!("five starts") };
        let short = (last(&batch) - elbo) / last(&batch).abs();
        assert!(short < 0.02, "seed {seed}: {elbo} of {}", last(&batch));
        let planted = &cards.topics;
        let (a, b) = (mean_best_match(planted, &batch.q), mean_best_match(planted, &online));
        println!("seed {seed}: {a:.3} {b:.3}, short by {short:.4}, {} steps", batch.trace.len());
        assert!(a < 0.15 && b < 0.15, "seed {seed}: {a} {b}");
    }
    Ok(())
}

#[test]
fn the_prior_is_learned() -> Result<(), Error> {
    let cards = postcards()?;
    let model = Topics::new(cards.corpus, 6)?;
    let q = model.start(1);
    let fit = never_descends(model, q, (EStep, MStep));
    let (gamma, lambda) = parts(&fit.model, &fit.q);
    assert_close("ELBO", fit.trace.last().and_then(|s| s.between).unwrap_or(0.0), last(&fit), 1e-9);
    // no slope in the logarithm of any of them
    let k = fit.model.len();
    let at = |i: usize, h: f64| {
        let mut moved = fit.model.clone();
        let mut theta = vec![0.0; k + 1];
        moved.theta(&mut theta);
        theta[i] += h;
        moved.set_theta(&theta);
        bound(&moved, &gamma, &lambda)
    };
    for i in 0..=k {
        const H: f64 = 1e-3;
        let (slope, curvature) = (
            (at(i, H) - at(i, -H)) / (2.0 * H),
            (at(i, H) - 2.0 * at(i, 0.0) + at(i, -H)) / (H * H),
        );
        // rounding of 1e5 nats is 1e-11, over H; the third derivative is about the curvature
        assert!(
            slope.abs() < 1e-6 * curvature.abs() + 1e-5,
            "{i}: slope {slope}, curvature {curvature}"
        );
    }
    println!("alpha {:?}, eta {}", fit.model.alpha(), fit.model.eta());
    // planted: 0.2; the first order of what a prior is for
    assert!(fit.model.alpha().iter().all(|a| (0.1..0.4).contains(a)), "{:?}", fit.model.alpha());
    Ok(())
}

#[test]
fn held_out_words_are_predicted() -> Result<(), Error> {
    let cards = postcards()?;
    let (train, test) = (cards.corpus.select(0..400)?, cards.corpus.select(400..500)?);
    let model = Topics::new(train.clone(), 6)?.with_prior(&[0.2], 0.1)?;
    // learned from 400 cards: topics a little off, which costs less than a tenth of a nat a word
    let fit = model.fit(1)?.fit;
    let ours = fit.model.completion(&fit.q, &test, 1)?;
    assert_eq!(ours.n_tokens, 2000);
    // the truth: topics so sharp that they are those planted
    let sharp: Vec<f64> = cards.topics.iter().flatten().map(|p| 0.002 + 1e9 * p).collect();
    let truth = fit.model.completion(&fit.model.start_from(&sharp)?, &test, 1)?;
    let one = Topics::new(train, 1)?;
    let one = fit_one(one)?;
    let none = one.model.completion(&one.q, &test, 1)?;
    println!("{} {} {}", ours.per_word(), truth.per_word(), none.per_word());
    assert!(ours.per_word() < truth.per_word() + 0.01 && ours.per_word() > truth.per_word() - 0.1);
    assert!(none.per_word() < ours.per_word() - 0.3);
    // of the documents that were fitted it says what the fit says of them
    let whole = fit.model.bound_of(&fit.q, fit.model.corpus())?;
    assert_close("bound", whole, fit.q.bound().documents, 1e-5);
    assert_close("ELBO", fit.model.bound(&fit.q)?.total(), fit.q.bound().total(), 1e-5);
    assert_close("topics", fit.model.bound(&fit.q)?.topics, fit.q.bound().topics, 1e-10);
    let theta = fit.model.proportions(&fit.q, &test)?;
    let off = theta.iter().map(|t| (t.iter().sum::<f64>() - 1.0).abs()).fold(0.0, f64::max);
    assert!(theta.len() == 100 && off < 1e-12);
    Ok(())
}

fn fit_one(model: Topics) -> Result<Fit<Topics, TopicsPosterior>, Error> {
    cavi(model, steps(2))
}

#[test]
fn resumed_is_uninterrupted() -> Result<(), Error> {
    let file = std::env::temp_dir().join(format!("elbo-topics-{}.json", std::process::id()));
    let model = Topics::new(postcards()?.corpus, 4)?;
    let q = model.start(1);
    fn all<
        A: elbo::Ascent<Topics, TopicsPosterior> + serde::Serialize + serde::de::DeserializeOwned,
    >(
        file: &std::path::Path,
        model: &Topics,
        q: &TopicsPosterior,
        ascent: impl Fn() -> A,
    ) -> Result<(), Error> {
        let whole = fit(model.clone(), q.clone(), ascent(), steps(9))?;
        let mut run = Run::new(model.clone(), q.clone(), ascent(), steps(9))?;
        for _ in 0..4 {
            run.step()?;
        }
        run.save(file)?;
        drop(run);
        let fit = Run::<_, TopicsPosterior, A>::resume(file, model.clone())?.finish()?;
        let lambda = |q: &TopicsPosterior| (0..4).map(|k| q.concentrations(k)).collect::<Vec<_>>();
        assert_eq!(fit.trace, whole.trace);
        assert_eq!(lambda(&fit.q), lambda(&whole.q));
        assert_eq!(fit.model.alpha(), whole.model.alpha());
        Ok(())
    }
    all(&file, &model, &q, || EStep)?;
    all(&file, &model, &q, || (EStep, MStep))?;
    all(&file, &model, &q, || Minibatch::new(70, NaturalStep::decaying(64.0, 0.7)))?;
    std::fs::remove_file(&file).ok();
    Ok(())
}

#[test]
fn the_number_of_threads_changes_no_bit() -> Result<(), Error> {
    let model = Topics::new(postcards()?.corpus, 20)?;
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("threads").install(|| {
            let batch = cavi(model.clone(), steps(4))?;
            let moves = Minibatch::new(200, NaturalStep::decaying(8.0, 0.7));
            let online = fit(model.clone(), model.start(0), moves, steps(8))?;
            let lambda: Vec<f64> = (0..20).flat_map(|k| online.q.concentrations(k)).collect();
            Ok::<_, Error>((batch.trace, online.trace, lambda))
        })
    };
    let one = on(1)?;
    assert!(on(2)? == one && on(8)? == one);
    Ok(())
}

#[test]
fn parameters_come_back_and_set_the_labels() -> Result<(), Error> {
    let model = Topics::new(small(), 3)?;
    let mut q = cavi(model.clone(), steps(3))?.q;
    let mut params = vec![0.0; q.n_params()];
    q.params(&mut params);
    assert_eq!(params.len(), 3 * (12 + 12));
    q.set_params(&params);
    let mut back = vec![0.0; q.n_params()];
    q.params(&mut back);
    for (a, b) in params.iter().zip(&back) {
        assert_close("parameter", *a, *b, 1e-14);
    }
    // now the labels are the best for the rest, as the plain bound has them
    let (gamma, lambda) = parts(&model, &q);
    elbo_is_the_mean_of_its_draws(&model, &q, bound(&model, &gamma, &lambda));
    Ok(())
}

/// With nothing chosen but their number.
#[test]
fn the_defaults_end_well() -> Result<(), Error> {
    let cards = postcards()?;
    let best = Topics::new(cards.corpus, 6)?.fit(0)?;
    let Fit { model, q, outcome, warnings, .. } = &best.fit;
    assert!(matches!(outcome, elbo::Outcome::Converged { .. }), "{outcome}");
    assert!(warnings.is_empty(), "{warnings:?}");
    // the first five words of a topic are of one theme, twelve words each
    let mut themes: Vec<usize> = (0..6).map(|k| q.top_words(k, 1)[0] / 12).collect();
    for (k, theme) in themes.iter().enumerate() {
        let own = q.top_words(k, 5).iter().all(|w| w / 12 == *theme);
        assert!(own, "topic {k}: {:?}", model.top_words(q, k, 5));
    }
    themes.sort_unstable();
    assert_eq!(themes, [0, 1, 2, 3, 4, 5]);
    Ok(())
}

#[test]
fn more_topics_than_words_are_refused() -> Result<(), Error> {
    // six words in the vocabulary, and five of them occur
    let said = message(Topics::new(tiny(), 6));
    assert_eq!(
        said,
        "E10 topics is 6; topics differ in their words, and the documents have 5 different ones: \
         take at most 5"
    );
    let one_word = Corpus::from_triples([(0, 2, 5.0), (1, 2, 3.0)], 2, 4)?;
    assert!(message(Topics::new(one_word.clone(), 2)).contains("take at most 1"));
    let alone = fit_one(Topics::new(one_word, 1)?)?;
    assert!(last(&alone).is_finite());
    Ok(())
}

#[test]
fn more_topics_than_documents_are_a_warning() -> Result<(), Error> {
    let best = Topics::new(tiny(), 5)?.fit(1)?;
    let warnings = &best.fit.warnings;
    let said: Vec<&Warning> = warnings.iter().filter(|w| w.code.as_str() == "W12").collect();
    let [said] = said[..] else { panic!("{warnings:?}") };
    assert!(said.message.starts_with("there are 5 topics and 3 documents: topics are told apart"));
    assert_eq!(said.actions[0], "at most 3");
    assert!(Topics::new(tiny(), 3)?.warnings().is_empty());
    // a single document says nothing of topics, and the fit ends all the same
    let letter = Topics::new(Corpus::from_texts(["sea sun sea sand snow sea"], &[])?, 2)?.fit(1)?;
    assert!(matches!(letter.fit.outcome, elbo::Outcome::Converged { .. }));
    let said = &letter.fit.warnings[0].message;
    assert!(said.starts_with("there are 2 topics and 1 document: "), "{said}");
    Ok(())
}

/// A move on minibatches cannot tell by itself that it has arrived: what to ask for instead is said.
#[test]
fn stop_rules_that_do_not_fit_are_named() -> Result<(), Error> {
    let model = Topics::new(postcards()?.corpus, 6)?;
    let run = |options: Options| {
        let moves = Minibatch::new(50, NaturalStep::decaying(10.0, 0.7));
        message(fit(model.clone(), model.start(1), moves, options))
    };
    assert!(run(Options::default()).contains("use Stop::exact() for an exact move"));
    assert!(run(Options::exact()).contains("if the move is stochastic use Stop::Paired or Stop::"));
    Ok(())
}

#[test]
fn bad_settings_are_named() -> Result<(), Error> {
    let model = || Topics::new(small(), 3);
    assert_eq!(message(Topics::new(small(), 0)), "E10 topics is 0; take at least one");
    let prior = |alpha: &[f64], eta: f64| message(model().and_then(|m| m.with_prior(alpha, eta)));
    assert!(prior(&[0.1, -1.0, 0.1], 0.1).starts_with("E10 alpha[1] is -1; a concentration is"));
    assert!(
        prior(&[0.1, 0.1], 0.1).starts_with("E03 alpha has 2 values but the list of topics has 3")
    );
    assert!(prior(&[0.1], 1e-3).starts_with("E10 eta is 0.001; take 0.002 or more"));
    let search = |t: f64, n: usize| message(model().and_then(|m| m.with_search(t, n)));
    assert!(search(f64::NAN, 1).starts_with("E10 tolerance is NaN; it must be 0 or more"));
    assert!(search(0.1, 0).starts_with("E10 rounds is 0; take at least one"));
    let start = |c: &[f64]| message(model().and_then(|m| m.start_from(c)));
    assert!(
        start(&[1.0; 3]).starts_with("E03 the concentrations has 3 values but the topics has 36")
    );
    let mut bad = [1.0; 36];
    bad[14] = 0.0;
    assert!(start(&bad).starts_with("E10 concentration of word 2 in topic 1 is 0; take 0.002"));
    let early = fit(model()?, model()?.start(0), MStep, steps(1));
    assert!(message(early).contains("q has taken no step yet; let EStep go first"));
    let fine = cavi(model()?, steps(1))?;
    let other = fine.model.completion(&fine.q, &tiny(), 0);
    assert!(
        message(other).starts_with("E03 the vocabulary has 6 values but that of the topics has 12")
    );
    Ok(())
}
