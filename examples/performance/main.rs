//! What a step costs: measured lines beside the book, read and put beside the limit of the machine.
//!
//! Nothing is timed here. The lines in `book/measured/performance.jsonl` are what the benches and
//! the peers printed on one machine in one run; this program makes the page's tables and figure of
//! them, and checks what the page claims.

#[path = "../book/mod.rs"]
mod book;
mod limits;
mod measured;

use std::error::Error;
use std::fmt::Write;

use book::Figure;
use limits::Machine;
use measured::{Lines, Run};

/// A workload, and what is done in it.
const WORKLOADS: [(&str, &str); 8] = [
    ("w1", "eight schools by autodiff, 10 unknowns"),
    ("w2a", "logistic regression, 10 000 x 50"),
    ("w2b", "logistic regression, 100 000 x 100"),
    ("w3", "Poisson regression with 388 groups, 781 unknowns"),
    ("w6a", "Gaussian, full rank, 100 unknowns"),
    ("w6b", "Gaussian, full rank, 1 000 unknowns"),
    ("w9_256", "logistic regression, 256 of 1 000 000 rows x 20"),
    ("w9_1000", "logistic regression, 1 000 of 1 000 000 rows x 20"),
];

/// A workload of exact moves, what is done in it, and what its lines call the quality.
const EXACT: [(&str, &str, &str); 6] = [
    ("w4_em", "EM: mixture of 8 normal distributions, 100 000 x 10", "loglik_mean"),
    ("w4_vb", "the same with everything latent: coordinate ascent", "loglik_mean"),
    ("w7_em", "EM: hidden Markov model of 8 states, 100 000 rows x 2", "loglik_mean"),
    ("w7_vb", "the same with everything latent: coordinate ascent", "loglik_mean"),
    ("w8_batch", "topics: 20 of 2 000 documents, 5 000 words; a pass", "predictive_ll_word"),
    ("w8_online", "the same by minibatches of 128; a pass", "predictive_ll_word"),
];

/// Networks, of which the data are shown a batch at a time.
const NETWORKS: [(&str, &str, &str); 1] =
    [("w5", "autoencoder 784-500-2x20-500-784, 128 images a step, one epoch", "elbo")];

fn main() -> Result<(), Box<dyn Error>> {
    println!("What does a step cost, beside the limit of the machine and beside other tools?");
    let lines = Lines::read(include_str!("../../book/measured/performance.jsonl"))?;
    let machine = Machine::of(&lines)?;
    book::fragment("performance_machine", &about(&lines));

    println!("               us a step     best peer           ratio   limit   x limit");
    let mut table = String::from(
        "| | workload | µs a step | best peer, µs | ratio | limit, µs | × limit |\n|---|---|---|---|---|---|---|\n",
    );
    for (name, what) in WORKLOADS {
        let ours = lines.step(name, "elbo").ok_or(format!("no line of {name}"))?;
        let (peer, theirs) = lines.best_peer(name).ok_or(format!("no peer in {name}"))?;
        let (ratio, limit) = (ours / theirs, machine.limit(name));
        println!(
            "{name:8} {:15} {:>12} ({peer:10}) {ratio:7.2} {:>8} {:8.1}",
            micro(ours),
            micro(theirs),
            micro(limit),
            ours / limit
        );
        writeln!(
            table,
            "| {name} | {what} | {} | {} ({peer}) | **{ratio:.2}** | {} | {:.1} |",
            micro(ours),
            micro(theirs),
            micro(limit),
            ours / limit
        )?;
    }
    book::fragment("performance", &table);
    whole_passes(&lines, &machine, &EXACT, "performance_exact")?;
    whole_passes(&lines, &machine, &NETWORKS, "performance_networks")?;
    epochs(&lines)?;
    topics(&lines)?;
    quality(&lines)?;
    slopes(&lines)?;
    streaming(&lines)?;
    pairs(&lines, &machine)?;
    whole(&lines)?;
    threads(&lines)?;
    println!(
        "OK: cost is linear in rows, draws and unknowns, and no answer to w2 or w9 is 0.1 sd off"
    );
    Ok(())
}

/// Milliseconds as microseconds.
fn micro(ms: f64) -> String {
    digits(ms * 1e3)
}

/// Three digits, no exponent.
fn digits(x: f64) -> String {
    let places = (2 - x.log10().floor() as i32).max(0) as usize;
    format!("{x:.places$}")
}

/// The machine, the day, and the versions.
fn about(lines: &Lines) -> String {
    let of = |key: &str| lines.about(key);
    format!(
        "Measured on {}, {}; {}. Peers: {}.",
        of("date"),
        of("machine"),
        of("compiler"),
        lines.versions().join(", ")
    )
}

/// How good the answer is after the same steps, and with the optimizer the library recommends.
fn quality(lines: &Lines) -> Result<(), Box<dyn Error>> {
    let mut table = String::from(
        "| | steps | ELBO | peers' | sd off | peers' | recommended: same steps | more steps |\n|---|---|---|---|---|---|---|---|\n",
    );
    for (name, _) in WORKLOADS {
        let ours = lines.adam(name, "elbo").ok_or(format!("no line of {name}"))?;
        let peers = lines.peers(name);
        let range = |of: fn(&Run) -> Option<f64>, places: usize| {
            let all = || peers.iter().filter_map(of);
            let (low, high) =
                (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
            if peers.len() > 1 && high - low > 0.5 * 0.1f64.powi(places as i32) {
                format!("{low:.places$} to {high:.places$}")
            } else {
                format!("{low:.places$}")
            }
        };
        let (elbos, errors) = (range(|r| r.elbo, 1), range(|r| r.mean_err_sd, 2));
        let (elbo, error) = (ours.elbo.unwrap_or(f64::NAN), ours.mean_err_sd.unwrap_or(f64::NAN));
        let by = lines.recommended(name);
        let off = |r: &Run| r.mean_err_sd.map_or("?".to_string(), |e| format!("{e:.2}"));
        let same = by.iter().find(|r| r.steps == ours.steps).map_or(String::new(), off);
        let more = by
            .iter()
            .filter(|r| r.steps > ours.steps)
            .map(|r| format!("{} after {}", off(r), r.steps));
        let more = more.collect::<Vec<_>>().join(", ");
        let steps = ours.steps;
        writeln!(
            table,
            "| {name} | {steps} | {elbo:.1} | {elbos} | {error:.2} | {errors} | {same} | {more} |"
        )?;
        // ANCHOR: claim
        if name.starts_with("w2") || name.starts_with("w9") {
            let best = by.iter().filter_map(|r| r.mean_err_sd).fold(f64::INFINITY, f64::min);
            assert!(best < 0.1, "{name}: the recommended optimizer is {best} sd off");
        }
        // ANCHOR_END: claim
    }
    book::fragment("performance_quality", &table);
    Ok(())
}

/// Steps of exact moves: the same table, with the answer each tool has after the same steps.
fn whole_passes(
    lines: &Lines,
    machine: &Machine,
    workloads: &[(&str, &str, &str)],
    fragment: &str,
) -> Result<(), Box<dyn Error>> {
    let mut table = String::from(
        "| | workload | ms a step | peers, ms | ratio to the best | limit, ms | × limit | MiB | quality | peers' |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for &(name, what, quality) in workloads {
        let ours = lines.step(name, "elbo").ok_or(format!("no line of {name}"))?;
        let (_, best) = lines.best_peer(name).ok_or(format!("no peer in {name}"))?;
        let limit = machine.limit(name);
        let (bound, times) = match limit.is_nan() {
            true => (String::new(), String::new()),
            false => (digits(limit), format!("{:.1}", ours / limit)),
        };
        let list = |of: &dyn Fn(&str) -> Option<String>| {
            let each = lines.names(name);
            let each = each.iter().filter_map(|p| of(p).map(|text| format!("{text} ({p})")));
            each.collect::<Vec<_>>().join(", ")
        };
        let theirs = list(&|p| lines.step(name, p).map(digits));
        let answer = |p: &str| lines.quality(name, p, quality).map(|q| format!("{q:.4}"));
        let peak = lines.adam(name, "elbo").and_then(|r| r.peak_mb).map_or(String::new(), digits);
        let ratio = ours / best;
        println!("{name:8} {:12} ms   {theirs}   ratio {ratio:.3}", digits(ours));
        writeln!(
            table,
            "| {name} | {what} | {} | {theirs} | **{ratio:.3}** | {bound} | {times} | {peak} | {} | {} |",
            digits(ours),
            answer("elbo").unwrap_or_default(),
            list(&answer)
        )?;
    }
    book::fragment(fragment, &table);
    Ok(())
}

/// What twenty epochs of an autoencoder reach at images that were not learned from.
fn epochs(lines: &Lines) -> Result<(), Box<dyn Error>> {
    let mut table = String::from(
        "| climbed | ELBO | weighted bound, 500 draws | standard error | s |\n|---|---|---|---|---|\n",
    );
    for (name, what) in [
        ("w5_elbo", "the ELBO, one draw"),
        ("w5_elbo_recommended", "the ELBO, four draws, divergence in closed form"),
        ("w5_iwae", "50 draws, weighed image by image"),
    ] {
        let of = |key: &str| {
            lines.quality(name, "elbo", key).ok_or(format!("no {key} in a line of {name}"))
        };
        let seconds = of("cpu_ms_step_median")? * of("steps")? / 1e3;
        writeln!(
            table,
            "| {what} | {:.1} | {:.1} | {:.2} | {} |",
            of("elbo")?,
            of("bound")?,
            of("bound_mcse")?,
            digits(seconds)
        )?;
    }
    let jax =
        lines.quality("w5_elbo", "jax-hand", "elbo").ok_or("no line of JAX over twenty epochs")?;
    writeln!(table, "| JAX: the ELBO, one draw, divergence in closed form | {jax:.1} | | | |")?;
    book::fragment("performance_epochs", &table);
    Ok(())
}

/// Topics from different starts: predictions by six seeds, and by six more of our own that start and
/// search as the peer does.
fn topics(lines: &Lines) -> Result<(), Box<dyn Error>> {
    let mut table = String::from(
        "| | starts far apart, six seeds | the peer's kind of start and search | ms a step then | the peer, six seeds |\n|---|---|---|---|---|\n",
    );
    for name in ["w8_batch", "w8_online"] {
        let (own, theirs) = (
            lines.quality(name, "elbo", "predictive_ll_word"),
            lines.quality(name, "elbo", "predictive_ll_word_as_peers"),
        );
        let (own, theirs) = own.zip(theirs).ok_or(format!("no line of {name} as peers do it"))?;
        let ms = lines.median(name, "elbo", "cpu_ms_step_as_peers").unwrap_or(f64::NAN);
        let (low, mean, high) = lines.six_seeds(name).ok_or(format!("no six seeds of {name}"))?;
        writeln!(
            table,
            "| {name} | {own:.3} | {theirs:.3} | {} | {mean:.3} ({low:.3} to {high:.3}) |",
            digits(ms)
        )?;
    }
    book::fragment("performance_topics", &table);
    Ok(())
}

/// Steps that get longer with the problem, and steps of a mixture with its rows in memory, in a file,
/// and some of them at a time.
fn slopes(lines: &Lines) -> Result<(), Box<dyn Error>> {
    let growing = [
        ("rows", "rows (10 columns, 10 draws)"),
        ("draws", "draws (10 000 rows, 50 columns)"),
        ("dimension", "unknowns, on the tape (10 draws)"),
    ];
    let figure = Figure::new("What a step costs as the problem grows")
        .axes("rows, draws, unknowns", "CPU milliseconds a step");
    slope(lines, "performance_slopes", figure, growing)?;
    let mixture = [
        ("mixture", "EM, rows in memory"),
        ("mixture_file", "EM, rows in a file"),
        ("mixture_epoch", "online EM, an epoch from the file"),
    ];
    let figure = Figure::new("A mixture of 8 normal distributions in 10 dimensions")
        .axes("rows", "CPU milliseconds a pass over all rows");
    slope(lines, "performance_mixture", figure, mixture)
}

/// Slopes on logarithmic axes: cost that is linear is a line that rises by one decade a decade.
fn slope<const N: usize>(
    lines: &Lines,
    file: &str,
    figure: Figure,
    slopes: [(&str, &str); N],
) -> Result<(), Box<dyn Error>> {
    let mut figure = figure.log_x().log_y();
    for (k, (slope, name)) in slopes.into_iter().enumerate() {
        let points = lines.slope(slope);
        let (x, y): (Vec<f64>, Vec<f64>) = points.iter().map(|p| (p.x, p.ms)).unzip();
        let (first, last) = (points.first().ok_or("no slope")?, points.last().ok_or("no slope")?);
        let ideal: Vec<f64> = x.iter().map(|x| last.ms * x / last.x).collect();
        figure = figure.dashed("", &x, &ideal).colour(6).line(name, &x, &y).colour(k + 1);
        figure = figure.points("", &x, &y).colour(k + 1);
        let growth = (last.ms / first.ms).log10() / (last.x / first.x).log10();
        println!("{slope:13} times 10: cost times {:.1}", 10f64.powf(growth));
        // No worse than linear, but for caches: a tenth of a decade a decade.
        assert!(growth < 1.1, "{slope}: cost grows as the power {growth}");
    }
    figure.save_or_check(file);
    Ok(())
}

/// Rows in a file: what they cost, and the memory they take.
fn streaming(lines: &Lines) -> Result<(), Box<dyn Error>> {
    let last = |slope: &str| lines.slope(slope).pop().ok_or(format!("no slope {slope}"));
    let (whole, epoch) = (last("mixture_file")?, last("mixture_epoch")?);
    let per_row = |ms: f64, x: f64| 1e6 * ms / x;
    let memory = last("mixture")?;
    let peak = |slope: &str| lines.slope_peak(slope).ok_or(format!("no memory of {slope}"));
    let peak = peak("mixture_file")?.max(peak("mixture_epoch")?);
    let (rows, size) = (whole.x, 80.0 * whole.x / 1024.0 / 1024.0);
    assert!(peak < 64.0, "{rows} rows of {size:.0} MiB took {peak} MiB");
    let text = format!(
        "With {:.0} million rows in a file of {size:.0} MiB the process never held more than {peak:.0} MiB. A row costs {:.0} ns where it is in memory, {:.0} ns in a whole pass over the file, and {:.0} ns in an epoch of online EM.",
        rows / 1e6,
        per_row(memory.ms, memory.x),
        per_row(whole.ms, whole.x),
        per_row(epoch.ms, epoch.x)
    );
    println!("{text}");
    book::fragment("performance_streaming", &text);
    Ok(())
}

/// The small measurements, pair by pair.
fn pairs(lines: &Lines, machine: &Machine) -> Result<(), Box<dyn Error>> {
    let mut table = String::from("| | path | ns | per | limit, ns |\n|---|---|---|---|---|\n");
    let mut before = String::new();
    for point in &lines.micro() {
        let (pair, path) = (words(&point.pair), words(&point.path));
        let limit = machine.limit_of(&point.pair, &point.path).map_or(String::new(), digits);
        let shown = if pair == before { "" } else { &pair };
        writeln!(table, "| {shown} | {path} | {} | {} | {limit} |", digits(point.each), point.per)?;
        before = pair;
    }
    book::fragment("performance_pairs", &table);
    Ok(())
}

/// How long until there is an answer, and the memory it takes.
fn whole(lines: &Lines) -> Result<(), Box<dyn Error>> {
    let mut table = String::from(
        "| | elbo: process start to answer, s | peers: before the first step, s | elbo: peak MiB | peers' peak MiB |\n|---|---|---|---|---|\n",
    );
    for name in ["w1", "w2a", "w2b", "w3"] {
        let ours = lines.adam(name, "elbo").ok_or(format!("no line of {name}"))?;
        let peers = lines.peers(name);
        let list = |of: fn(&Run) -> Option<f64>, places: usize| {
            let each =
                peers.iter().filter_map(|p| Some(format!("{:.places$} ({})", of(p)?, p.peer)));
            each.collect::<Vec<_>>().join(", ")
        };
        let (seconds, peak) = (ours.answer_s.unwrap_or(f64::NAN), ours.peak_mb.unwrap_or(f64::NAN));
        let (first, peaks) = (list(|r| r.first_s, 1), list(|r| r.peak_mb, 0));
        writeln!(table, "| {name} | {seconds:.2} | {first} | {peak:.0} | {peaks} |")?;
    }
    book::fragment("performance_whole", &table);
    Ok(())
}

/// Milliseconds on the clock with one thread and with two, the second core being idle.
fn threads(lines: &Lines) -> Result<(), Box<dyn Error>> {
    let mut table =
        String::from("| | one thread, ms a step | two threads | faster |\n|---|---|---|---|\n");
    for name in ["w2a", "w2b", "w3", "w4_em", "w5", "w8_batch", "w8_online"] {
        let ms = |n: u64| lines.with_threads(name, n).ok_or(format!("no line of {name}"));
        let (one, two) = (ms(1)?, ms(2)?);
        writeln!(table, "| {name} | {} | {} | {:.2} |", digits(one), digits(two), one / two)?;
    }
    book::fragment("performance_threads", &table);
    Ok(())
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}
