//! The passes in registers against the pass in logarithms: at all sizes, on every instruction set,
//! and for sequences longer than what is kept at once.

use pulp::{Simd, WithSimd};

use super::chain::{Chain, Mode};
use super::densities::{Densities, Form, stride};
use super::kernel::{Backward, Forward, Stretch, Totals};
use super::sums::{Sums, sums};
use super::{Sequences, logs};
use crate::data::Observations;
use crate::models::discrete_mixture::{Column, Layout};
use crate::noise::{Purpose, fill_normal, stream};
use crate::simd::on_each;

fn numbers(seed: u64, len: usize) -> Vec<f64> {
    let mut out = vec![0.0; len];
    fill_normal(&mut stream(seed, Purpose::Data, 11), &mut out);
    out
}

fn chain(k: usize, forbidden: bool) -> Chain {
    let mut chain = Chain::new(k);
    let raw = numbers(1, k + k * k);
    let rows =
        chain.log_initial.chunks_exact_mut(k).chain(chain.log_transition.chunks_exact_mut(k));
    for (row, raw) in rows.zip(raw.chunks_exact(k)) {
        let total = logs::log_sum(raw.iter().copied());
        row.iter_mut().zip(raw).for_each(|(log, raw)| *log = raw - total);
    }
    if forbidden && k > 1 {
        // from each state but the first there is no way to the one before
        (1..k).for_each(|i| chain.log_transition[i * k + i - 1] = f64::NEG_INFINITY);
    }
    chain.settle();
    chain
}

fn densities(form: Form, k: usize) -> Densities {
    let mut densities = Densities::new(form, k);
    let n = densities.form.numbers();
    for (k, own) in numbers(2, n * k).chunks_exact(n).enumerate() {
        densities.set(k, own.iter().copied());
    }
    densities.fill_up();
    densities
}

fn rows(form: &Form, n: usize) -> Observations {
    let (dim, discrete) = match form {
        Form::Full(d) | Form::Diagonal(d) => (*d, false),
        Form::Discrete(layout) => (layout.places.len(), true),
    };
    let mut cells = numbers(3, n * dim);
    if discrete {
        cells.iter_mut().for_each(|x| *x = (x.abs() * 1.5).floor().min(2.0));
    }
    // a gap of two rows
    cells[2 * dim..4 * dim].fill(f64::NAN);
    // and single cells
    cells[5 * dim] = f64::NAN;
    cells[8 * dim - 1] = f64::NAN;
    Observations::with_gaps(cells, dim).expect("finite")
}

fn forms() -> Vec<Form> {
    let columns = [Column::Levels(3), Column::Count];
    vec![Form::Full(2), Form::Full(3), Form::Diagonal(2), Form::Discrete(Layout::new(&columns))]
}

/// All that a pass says, in a row.
struct Pass<'a> {
    chain: &'a Chain,
    densities: &'a Densities,
    rows: &'a Observations,
}

/// Room for sums.
struct Room {
    first: Vec<f64>,
    occupancy: Vec<f64>,
    steps: Vec<f64>,
    whole_steps: Vec<f64>,
    rows: Vec<f64>,
}

impl Room {
    fn new(densities: &Densities) -> Room {
        let side = stride(densities.k);
        Room {
            first: vec![0.0; side],
            occupancy: vec![0.0; side],
            steps: vec![0.0; side * side],
            whole_steps: vec![0.0; side * side],
            rows: vec![0.0; densities.numbers.len()],
        }
    }
    fn totals(&mut self) -> Totals<'_> {
        let Room { first, occupancy, steps, whole_steps, rows } = self;
        Totals { first, occupancy, steps, whole_steps, rows }
    }
    /// What the states that there are have.
    fn flat(&self, chain: &Chain) -> Vec<f64> {
        let (k, side) = (chain.k, stride(chain.k));
        let mut out = [&self.first[..k], &self.occupancy[..k]].concat();
        for at in (0..k).flat_map(|i| (0..k).map(move |j| i * side + j)) {
            out.push(self.steps[at] * chain.onward[at] + self.whole_steps[at]);
        }
        out.extend(self.rows.chunks_exact(side).flat_map(|side| side[..k].to_vec()));
        out
    }
}

impl WithSimd for Pass<'_> {
    type Output = Vec<f64>;
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) -> Vec<f64> {
        let Pass { chain, densities, rows } = self;
        let (n, side) = (rows.len(), stride(chain.k));
        let watch = chain.mode == Mode::Watch;
        let on = Stretch { chain, densities, rows, start: 0, count: n, watch };
        let (mut a, mut b) = (vec![0.0; n * side], vec![0.0; n * side]);
        let forward = Forward { on, before: None, b: &mut b, a: &mut a };
        let total = forward.with_simd(s).expect("no digits are lost");
        let (mut after, mut v) = (vec![1.0; side], vec![0.0; side]);
        let (mut room, mut marginals) = (Room::new(densities), vec![0.0; n * chain.k]);
        let backward = Backward {
            on,
            b: &mut b,
            a: &a,
            after: &mut after,
            ends: true,
            starts: true,
            weight: 1.5,
            into: room.totals(),
            room: &mut v,
            marginals: Some(&mut marginals),
        };
        assert!(backward.with_simd(s));
        let mut out = vec![total];
        out.extend(room.flat(chain));
        out.extend(marginals);
        out
    }
}

#[test]
fn registers_say_what_logarithms_say_on_every_instruction_set() {
    const ROWS: usize = 40;
    for form in forms() {
        for (k, forbidden) in [(1, false), (3, true), (8, false), (9, true), (17, false)] {
            let (chain, densities) = (chain(k, forbidden), densities(form.clone(), k));
            let data = rows(&form, ROWS);
            let (mut room, mut marginals) = (Room::new(&densities), vec![0.0; ROWS * k]);
            let whole = 0..ROWS;
            let totals = room.totals();
            let out = Some(&mut marginals[..]);
            let total = logs::sequence(&chain, &densities, &data, whole, 1.5, totals, out);
            let mut want = vec![total];
            want.extend(room.flat(&chain));
            want.extend(marginals);
            let pass = || Pass { chain: &chain, densities: &densities, rows: &data };
            for (name, got) in on_each(pass) {
                assert_eq!(got.len(), want.len());
                for (at, (got, want)) in got.iter().zip(&want).enumerate() {
                    let off = (got - want).abs();
                    let what = format!("{name}, {form:?}, {k} states, number {at}");
                    // forty rows, each of which adds a few roundings of sums of some hundred
                    assert!(off <= 1e-11 * (1.0 + want.abs()), "{what}: {got} {want}");
                }
            }
        }
    }
}

#[test]
fn long_sequences_are_taken_stretch_by_stretch() {
    const ROWS: usize = 140_000;
    let (form, k) = (Form::Diagonal(1), 9);
    let (chain, densities) = (chain(k, false), densities(form.clone(), k));
    let data = rows(&form, ROWS);
    let mut room = Room::new(&densities);
    let totals = room.totals();
    let total = logs::sequence(&chain, &densities, &data, 0..ROWS, 1.0, totals, None);
    let want = room.flat(&chain);
    let mut got = Sums::default();
    let sequences = Sequences::one(data).expect("long enough");
    sums(&chain, &densities, &sequences, &mut got).expect("possible");
    let close = |what: &str, got: f64, want: f64| {
        assert!((got - want).abs() <= 1e-10 * (1.0 + want.abs()), "{what}: {got} {want}");
    };
    close("log likelihood", got.log_normalizer, total);
    let all = got.first.iter().chain(&got.occupancy).chain(&got.steps);
    all.zip(&want).for_each(|(got, want)| close("count", *got, *want));
}
