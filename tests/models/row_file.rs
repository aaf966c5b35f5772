//! Rows that stay in a file: what is fitted to them is what is fitted to the same rows in memory.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use elbo::data::{IRIS, Observations, RowFile, View};
use elbo::models::gaussian_mixture::{Labels, Prior};
use elbo::models::{BayesianMixture, Covariance, GaussianMixture};
use elbo::{
    EStep, Error, Family, Fit, MStep, Minibatch, Model, NaturalStep, Options, Purpose, Run, Stop,
    fit, stream,
};

use crate::moves::message;

/// A file of a test, gone afterwards.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Temporary {
        let file = format!("elbo-{}-{name}.npy", std::process::id());
        Temporary(std::env::temp_dir().join(file))
    }

    /// With these rows.
    fn holding(name: &str, rows: &Observations) -> (Temporary, RowFile) {
        let file = Temporary::new(name);
        let rows = RowFile::create(&file.0, rows.dim(), rows.rows()).expect("a file of numbers");
        (file, rows)
    }

    fn write_at(&self, place: u64, bytes: &[u8]) {
        let mut file = OpenOptions::new().write(true).open(&self.0).expect("the file is there");
        file.seek(SeekFrom::Start(place)).and_then(|_| file.write_all(bytes)).expect("room");
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

/// More than a start looks at, than is read together, and than a chunk of a pass holds.
const N: usize = 21_003;

fn flowers(n: usize) -> Observations {
    let iris = Observations::new(IRIS.iter().flatten().copied().collect(), 4).expect("numbers");
    let truth = GaussianMixture::new(iris, 3).expect("flowers of three kinds");
    let (rows, _) = truth.sample(n, &mut stream(7, Purpose::Data, 0));
    Observations::new(rows, 4).expect("numbers")
}

fn steps(steps: usize) -> Options {
    Options { steps, stop: Stop::Budget, ..Options::default() }
}

fn theta(model: &GaussianMixture) -> Vec<f64> {
    let mut theta = vec![0.0; model.n_theta()];
    model.theta(&mut theta);
    theta
}

#[track_caller]
fn same(a: &Fit<GaussianMixture, Labels>, b: &Fit<GaussianMixture, Labels>) {
    assert_eq!(a.trace, b.trace);
    assert_eq!(theta(&a.model), theta(&b.model));
}

#[test]
fn whole_passes_have_the_bits_of_those_in_memory_on_any_number_of_threads() -> Result<(), Error> {
    let rows = flowers(N);
    let (_here, file) = Temporary::holding("passes", &rows);
    let file = std::sync::Arc::new(file);
    for covariance in Covariance::ALL {
        let memory = GaussianMixture::new(rows.clone(), 3)?.with_covariance(covariance)?;
        let streamed = GaussianMixture::new(file.clone(), 3)?.with_covariance(covariance)?;
        assert_eq!(theta(&memory), theta(&streamed), "the start");
        let em =
            |model: &GaussianMixture| fit(model.clone(), model.labels(), (EStep, MStep), steps(4));
        let want = em(&memory)?;
        for threads in [1, 2, 8] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            same(&want, &pool.expect("threads").install(|| em(&streamed))?);
        }
    }
    Ok(())
}

#[test]
fn minibatches_have_the_bits_of_those_in_memory() -> Result<(), Error> {
    for n in [N, 21_056] {
        let rows = flowers(n);
        let (_here, file) = Temporary::holding(&format!("batches-{n}"), &rows);
        let (memory, streamed) = (GaussianMixture::new(rows, 3)?, GaussianMixture::new(file, 3)?);
        let single = Minibatch::new(2500, (NaturalStep::decaying(1.0, 0.6), MStep));
        for moves in [single.clone(), single.clone().in_runs_of(64), single.in_runs_of(5000)] {
            let online = |model: &GaussianMixture| {
                fit(model.clone(), model.labels(), moves.clone(), steps(20))
            };
            same(&online(&memory)?, &online(&streamed)?);
        }
    }
    Ok(())
}

#[test]
fn the_bayesian_mixture_has_the_same_bits_too() -> Result<(), Error> {
    let rows = flowers(3000);
    let (_here, file) = Temporary::holding("bayesian", &rows);
    let (memory, streamed) = (BayesianMixture::new(rows, 3)?, BayesianMixture::new(file, 3)?);
    let whole = |model: &BayesianMixture| fit(model.clone(), model.posterior(), EStep, steps(4));
    assert_eq!(whole(&memory)?.trace, whole(&streamed)?.trace);
    let moves = Minibatch::new(500, NaturalStep::decaying(1.0, 0.6)).in_runs_of(25);
    let some =
        |model: &BayesianMixture| fit(model.clone(), model.posterior(), moves.clone(), steps(20));
    let (a, b) = (some(&memory)?, some(&streamed)?);
    assert_eq!(a.trace, b.trace);
    let [p, q] = [&a.q, &b.q].map(|q| {
        let mut params = vec![0.0; q.n_params()];
        q.params(&mut params);
        params
    });
    assert_eq!(p, q);
    let z: Vec<f64> = vec![1.0; a.q.dim()];
    assert_eq!(memory.log_joint(&z).to_bits(), streamed.log_joint(&z).to_bits());
    Ok(())
}

#[test]
fn an_interrupted_run_over_a_file_goes_on_with_the_same_bits() -> Result<(), Error> {
    let (_here, file) = Temporary::holding("resumed", &flowers(3000));
    let model = GaussianMixture::new(file, 3)?;
    let moves = || Minibatch::new(500, (NaturalStep::decaying(1.0, 0.6), MStep)).in_runs_of(50);
    let start = || Run::new(model.clone(), model.labels(), moves(), steps(15));
    let whole = start()?.finish()?;
    let mut half = start()?;
    for _ in 0..8 {
        half.step()?;
    }
    let saved = Temporary::new("resumed-run");
    half.save(&saved.0)?;
    let resumed: Run<GaussianMixture, Labels, Minibatch<(NaturalStep, MStep)>> =
        Run::resume(&saved.0, model.clone())?;
    same(&resumed.finish()?, &whole);
    Ok(())
}

#[test]
fn everything_said_of_rows_in_a_file_is_what_is_said_of_them_in_memory() -> Result<(), Error> {
    let rows = flowers(1500);
    let (_here, file) = Temporary::holding("said", &rows);
    let file = std::sync::Arc::new(file);
    let views = [View::from(&rows), View::from(&*file)];
    let [a, b] = views.map(|v| (v.len(), v.dim(), v.mean(), v.variance(), v.covariance()));
    assert_eq!(a, b);
    let some = [1499, 3, 3, 900];
    assert_eq!(views[0].gather(&some)?, views[1].gather(&some)?);
    assert_eq!(views[0].distinct(1600)?, views[1].distinct(1600)?);
    assert_eq!(Prior::weak(&rows, 3), Prior::weak(&*file, 3));

    let em = |model: GaussianMixture| fit(model.clone(), model.labels(), (EStep, MStep), steps(3));
    let memory = em(GaussianMixture::new(rows.clone(), 3)?)?;
    let streamed = em(GaussianMixture::new(file.clone(), 3)?)?;
    let (a, b) = (&memory.model, &streamed.model);
    assert_eq!(a.criteria(), b.criteria());
    assert_eq!(a.standard_errors()?, b.standard_errors()?);
    assert_eq!(a.score(&rows)?, b.score(&*file)?);
    assert_eq!(a.predict(&rows)?, b.predict(&*file)?);
    assert_eq!(a.responsibilities(&rows)?, b.responsibilities(&*file)?);
    let (p, q) = (&memory.q, &streamed.q);
    assert_eq!(p.responsibilities(), q.responsibilities());
    assert_eq!(p.responsibilities_of(&some), q.responsibilities_of(&some));
    let draw = |q: &Labels| {
        let mut z = vec![0.0; 2 * q.dim()];
        q.sample(&mut stream(1, Purpose::Report, 0), &mut z);
        z
    };
    let z = draw(p);
    assert_eq!(z, draw(q));
    let one = &z[..1500];
    assert_eq!((a.log_joint(one), p.log_prob(one)), (b.log_joint(one), q.log_prob(one)));
    Ok(())
}

#[test]
fn files_that_are_not_what_they_say_are_refused() {
    let rows = flowers(100);
    let (here, _) = Temporary::holding("refused", &rows);
    let open = || message(RowFile::open(&here.0));
    let name = here.0.display();

    // cell [17, 2] and those of six more rows; the numbers begin at byte 128
    for i in [17, 18, 20, 30, 40, 50, 60] {
        here.write_at(128 + 8 * (4 * i + 2), &f64::NAN.to_le_bytes());
    }
    assert_eq!(
        open(),
        "E01 data[17, 2] is NaN (7 of 100 rows). Drop or impute rows 17, 18, 20, 30, 40, ... (rows count from 0)."
    );
    let named = message(RowFile::with_names(&here.0, ["a", "b", "petal", "d"]));
    assert!(named.starts_with("E01 data[17, \"petal\"] is NaN"), "{named}");
    let named = message(RowFile::with_names(&here.0, ["a", "b"]));
    assert_eq!(named, "E03 the list of names has 2 values but a row has 4; make them agree");

    let file = OpenOptions::new().write(true).open(&here.0).expect("the file is there");
    file.set_len(3000).expect("a file can be cut");
    assert_eq!(
        open(),
        format!(
            "E11 {name}: it says 100 rows of 4 numbers, which take 3328 bytes, but has 3000; it was cut short or not finished: write it again"
        )
    );
    fs::write(&here.0, "a,b\n1,2\n").expect("a file can be written");
    assert!(
        open().starts_with(&format!("E11 {name}: it is no NPY file; write it with numpy.save"))
    );
    fs::remove_file(&here.0).expect("the file was there");
    assert!(open().starts_with(&format!("E11 {name}: it cannot be opened: ")), "{}", open());

    let none: [[f64; 2]; 0] = [];
    let none = message(RowFile::create(&here.0, 2, none));
    assert_eq!(none, format!("E02 {name} has no observations; give it at least one row"));
    let short = message(RowFile::create(&here.0, 2, [vec![1.0, 2.0], vec![3.0]]));
    assert_eq!(short, "E03 row 1 has 1 values but a row has 2; make them agree");
    // what was left there is not taken for a table
    assert!(open().contains("it says 0 rows of 2 numbers"), "{}", open());
    let constant = RowFile::create(&here.0, 2, [[1.0, 2.0], [3.0, 2.0], [4.0, 2.0]]);
    let constant = message(GaussianMixture::new(constant.expect("numbers"), 2));
    assert!(constant.starts_with("E01 column 1 is constant, 2"), "{constant}");
}

/// Another time of change, whatever the clock's grain.
fn touch(path: &Path) {
    let file = File::options().write(true).open(path).expect("the file is there");
    let later = SystemTime::now() + Duration::from_secs(5);
    file.set_modified(later).expect("times can be set");
}

#[test]
fn a_file_that_changes_during_a_fit_ends_it() -> Result<(), Error> {
    let (here, file) = Temporary::holding("changed", &flowers(2000));
    let model = GaussianMixture::new(file, 3)?;
    let mut whole = Run::new(model.clone(), model.labels(), (EStep, MStep), steps(9))?;
    let moves = Minibatch::new(100, (NaturalStep::decaying(1.0, 0.6), MStep));
    let mut some = Run::new(model.clone(), model.labels(), moves, steps(9))?;
    whole.step()?;
    some.step()?;
    touch(&here.0);
    let want = format!(
        "E11 {}: it has changed since it was opened (written to); open it again and fit anew",
        here.0.display()
    );
    assert_eq!(message(whole.step()), want);
    assert_eq!(message(some.step()), want);
    assert!(model.criteria().log_likelihood.is_nan());
    assert!(model.labels().responsibilities().iter().all(|r| r.is_nan()));
    File::options().write(true).open(&here.0).and_then(|f| f.set_len(640)).expect("cut");
    assert!(message(whole.step()).contains("(64128 bytes, now 640)"));
    Ok(())
}

#[test]
fn a_file_has_the_fingerprint_and_the_names_of_its_rows() -> Result<(), Error> {
    let rows = flowers(1_003);
    let (_file, held) = Temporary::holding("fingerprint", &rows);
    let (file, memory) = (View::from(&held), View::from(&rows));
    assert_eq!(file.fingerprint()?, memory.fingerprint()?);
    assert_eq!(file.names().len(), 4);
    let other = flowers(1_002);
    assert_ne!(file.fingerprint()?, other.fingerprint());
    Ok(())
}

#[test]
fn rows_with_gaps_in_a_file_have_the_bits_of_those_in_memory() -> Result<(), Error> {
    let hole = |(at, x): (usize, &f64)| if at % 11 == 3 { f64::NAN } else { *x };
    let cells: Vec<f64> = flowers(5_000).values().iter().enumerate().map(hole).collect();
    let rows = Observations::with_missing(cells, 4)?;
    let file = Temporary::new("gaps");
    let refused = message(RowFile::create(&file.0, 4, rows.rows()));
    assert!(refused.starts_with("E01 data[0, 3] is NaN (1818 of 5000 rows)."), "{refused}");
    let stream = RowFile::with_missing(&file.0)?;
    assert_eq!((stream.mean(), stream.variance()), (&rows.mean()[..], &rows.variance()[..]));
    assert!(message(stream.complete()).starts_with("E01 data[0, 3] is NaN (1818 of 5000 rows)."));
    let (memory, stream) = (GaussianMixture::new(rows, 3)?, GaussianMixture::new(stream, 3)?);
    let climb = |model: &GaussianMixture| {
        let q = model.labels();
        fit(model.clone(), q, (EStep, MStep), steps(4))
    };
    same(&climb(&memory)?, &climb(&stream)?);
    let (a, b) = (BayesianMixture::of(memory)?, BayesianMixture::of(stream)?);
    let climb = |model: BayesianMixture| {
        let q = model.posterior();
        fit(model, q, Minibatch::new(500, NaturalStep::decaying(1.0, 0.7)), steps(5))
    };
    assert_eq!(climb(a)?.trace, climb(b)?.trace);
    let gone = RowFile::create(&file.0, 2, [[1.0, 2.0], [f64::NAN; 2]]);
    assert!(gone.is_err());
    let text = message(RowFile::with_missing(&file.0));
    assert!(text.starts_with("E01 data[1] is missing altogether"), "{text}");
    Ok(())
}

#[test]
fn a_constant_column_of_a_file_is_named() -> Result<(), Error> {
    let rows = Observations::new(
        (0..40).map(|i| if i % 2 == 0 { 3.0 } else { f64::from(i) }).collect(),
        2,
    )?;
    let (_file, held) = Temporary::holding("constant", &rows);
    let said: Vec<String> = View::from(&held).warnings().iter().map(|w| w.to_string()).collect();
    assert!(said.len() == 1 && said[0].contains("is constant, 3"), "{said:?}");
    Ok(())
}

#[test]
fn a_table_of_text_becomes_a_file_of_rows() -> Result<(), Error> {
    let path = std::env::temp_dir().join(format!("elbo-csv-{}.npy", std::process::id()));
    let text: String = (0..2_000)
        .map(|i| format!("{}, {}\n", f64::from(i) * 0.37, f64::from(i * i % 91) - 45.5))
        .collect();
    let text = format!("a,b\n{text}");
    let rows = RowFile::from_csv(text.as_bytes(), &path)?;
    let read = elbo::data::Csv::read(text.as_bytes())?.observations()?;
    assert_eq!(View::from(&rows).fingerprint()?, read.fingerprint());
    assert_eq!(rows.names(), read.names());
    for (text, want) in [
        ("a,b\n1,2\n3\n", "E11 the table: line 3 has 1 cells, the header 2; make them agree"),
        ("a,b\n1,2\n3,\n", "E01 data[1, \"b\"] is \"\". Give a number in every cell"),
        ("a,b\n1,2\n3,inf\n", "E01 data[1, \"b\"] is \"inf\"."),
        ("a;b\n1;2\n", "E01 data[0, \"a;b\"] is \"1;2\". The lines are separated by ';', not by"),
        ("a,b\n", "E02 "),
    ] {
        let said = RowFile::from_csv(text.as_bytes(), &path).map(|_| ()).expect_err("bad");
        assert!(said.to_string().starts_with(want), "{said}");
    }
    std::fs::remove_file(&path).expect("it was written");
    Ok(())
}
