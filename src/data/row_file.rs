//! `RowFile`: rows that stay in a file and are read as they are needed.

mod from_csv;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use pulp::bytemuck::cast_slice_mut;

use super::bad_cells::BadCells;
use super::npy::Head;
use super::source::View;
use crate::error::Error;
use crate::scratch::with_buffer;

/// Rows of numbers in an NPY file, `n` of `dim` 64-bit numbers, of which only a part is in memory
/// at a time: how much does not depend on `n`.
///
/// Python writes such a file with `numpy.save("rows.npy", x)`, where `x` is `n x dim`, `float64`;
/// [`RowFile::create`] writes one row after another. Opening reads it twice: every number is
/// checked, and the columns' means and variances are taken. Nothing is remembered of the rows
/// themselves: a model reads them again in each pass, or those of a minibatch by their numbers.
/// The file must stay as it is: one that has changed since is an error at the next look.
///
/// ```
/// use elbo::data::RowFile;
/// let path = std::env::temp_dir().join(format!("elbo-doc-rows-{}.npy", std::process::id()));
/// let waits = RowFile::create(&path, 2, [[3.6, 79.0], [1.8, 54.0], [3.3, 74.0]])?;
/// assert_eq!((waits.len(), waits.dim(), waits.mean()), (3, 2, &[2.9, 69.0][..]));
/// # std::fs::remove_file(&path).expect("it was written");
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Debug)]
pub struct RowFile {
    path: PathBuf,
    file: Mutex<File>,
    head: Head,
    names: Vec<String>,
    mean: Vec<f64>,
    variance: Vec<f64>,
    missing: bool,
    /// Of when it was opened: length and time of the last change.
    state: State,
}

type State = (u64, Option<SystemTime>);

/// Bytes that are read together: what stays in the second cache.
const TOGETHER: usize = 1 << 16;

impl RowFile {
    /// Opens a file, reads it twice, and checks every number.
    ///
    /// # Errors
    /// A file that cannot be read, is no NPY file of 64-bit numbers row by row, or has another
    /// length than it says; no rows; a number that is not finite, by row and column.
    pub fn open(path: impl AsRef<Path>) -> Result<RowFile, Error> {
        RowFile::named(path, None, |x| !x.is_finite())
    }

    /// The same with NaN for what is missing.
    ///
    /// ```
    /// use elbo::data::RowFile;
    /// let path = std::env::temp_dir().join(format!("elbo-doc-gaps-{}.npy", std::process::id()));
    /// let rows = [[3.6, 79.0], [1.8, f64::NAN], [3.3, 74.0]];
    /// assert!(RowFile::create(&path, 2, rows).is_err()); // it is written, but not opened
    /// let waits = RowFile::with_missing(&path)?;
    /// assert!(waits.has_missing() && waits.mean() == [2.9, 76.5]);
    /// # std::fs::remove_file(&path).expect("it was written");
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`RowFile::open`], but for NaN; a row of which nothing is known.
    pub fn with_missing(path: impl AsRef<Path>) -> Result<RowFile, Error> {
        let rows = RowFile::named(path, None, f64::is_infinite)?;
        View::from(&rows).known_rows()?;
        Ok(rows)
    }

    /// The same with the names of the columns, which messages then use.
    ///
    /// # Errors
    /// As [`RowFile::open`]; another number of names than columns.
    pub fn with_names<N: Into<String>>(
        path: impl AsRef<Path>,
        names: impl IntoIterator<Item = N>,
    ) -> Result<RowFile, Error> {
        let names = names.into_iter().map(Into::into).collect();
        RowFile::named(path, Some(names), |x| !x.is_finite())
    }

    /// Writes rows one after another, however many, and opens the file.
    ///
    /// # Errors
    /// A file that cannot be written, a row without `dim` numbers, and as [`RowFile::open`].
    pub fn create<R: AsRef<[f64]>>(
        path: impl AsRef<Path>,
        dim: usize,
        rows: impl IntoIterator<Item = R>,
    ) -> Result<RowFile, Error> {
        let path = path.as_ref();
        let fail = |e: io::Error| bad(path, format!("it cannot be written: {e}"));
        let mut out = BufWriter::with_capacity(TOGETHER, File::create(path).map_err(fail)?);
        // A file that is not finished has no rows, but for too many bytes.
        out.write_all(&Head::write(0, dim)).map_err(fail)?;
        let mut n = 0;
        for row in rows {
            let row = row.as_ref();
            Error::expect_len(&format!("row {n}"), row.len(), "a row", dim)?;
            for x in row {
                out.write_all(&x.to_le_bytes()).map_err(fail)?;
            }
            n += 1;
        }
        out.seek(SeekFrom::Start(0)).map_err(fail)?;
        out.write_all(&Head::write(n, dim)).map_err(fail)?;
        out.into_inner().map_err(|e| fail(e.into_error()))?;
        RowFile::open(path)
    }

    fn named(
        path: impl AsRef<Path>,
        names: Option<Vec<String>>,
        wrong: fn(f64) -> bool,
    ) -> Result<RowFile, Error> {
        let path = path.as_ref().to_path_buf();
        let fail = |reason: String| bad(&path, reason);
        let file = File::open(&path).map_err(|e| fail(format!("it cannot be opened: {e}")))?;
        let remedy = "write it with numpy.save from a float64 array of rows by columns, or with RowFile::create";
        let head = Head::read(&mut BufReader::new(&file));
        let head = head.map_err(|reason| fail(format!("{reason}; {remedy}")))?;
        let (n, dim) = (head.rows, head.columns);
        let state = state(&file).map_err(|e| fail(format!("it cannot be read: {e}")))?;
        let bytes = n.checked_mul(dim).and_then(|cells| cells.checked_mul(8));
        let bytes = bytes.map(|b| b as u64 + head.offset);
        if bytes != Some(state.0) {
            let need = bytes.map_or("too many".to_string(), |b| b.to_string());
            return Err(fail(format!(
                "it says {n} rows of {dim} numbers, which take {need} bytes, but has {}; it was cut short or not finished: write it again",
                state.0
            )));
        }
        if n == 0 || dim == 0 {
            return Err(Error::NoData { what: path.display().to_string() });
        }
        let names = names.unwrap_or_else(|| (0..dim).map(|j| j.to_string()).collect());
        Error::expect_len("the list of names", names.len(), "a row", dim)?;
        let (mean, variance) = (vec![0.0; dim], vec![0.0; dim]);
        let file = Mutex::new(file);
        let mut rows = RowFile { path, file, head, names, mean, variance, missing: false, state };
        rows.look(wrong)?;
        Ok(rows)
    }

    /// Checks all numbers, and takes means and variances of those that are there, in the order of the
    /// rows.
    fn look(&mut self, wrong: fn(f64) -> bool) -> Result<(), Error> {
        let (n, dim) = (self.len(), self.dim());
        let (mut bad, mut sums) = (BadCells::default(), vec![0.0; dim]);
        let mut counts = vec![0.0; dim];
        self.each_row(|i, row| {
            bad.look(i, row, |_, x| wrong(x));
            for (j, x) in row.iter().enumerate().filter(|(_, x)| !x.is_nan()) {
                (sums[j], counts[j]) = (sums[j] + x, counts[j] + 1.0);
            }
            true
        })?;
        bad.refuse(n, |j| self.label(j), |_, rows| format!("Drop or impute {rows}"))?;
        self.missing = counts.iter().any(|c| *c < n as f64);
        let mean = |sums: &[f64]| sums.iter().zip(&counts).map(|(s, n)| s / n).collect();
        self.mean = mean(&sums);
        sums.fill(0.0);
        self.each_row(|_, row| {
            for (j, x) in row.iter().enumerate().filter(|(_, x)| !x.is_nan()) {
                sums[j] += (x - self.mean[j]) * (x - self.mean[j]);
            }
            true
        })?;
        self.variance = mean(&sums);
        Ok(())
    }

    /// Refuses missing numbers, for a model that has no use for them.
    ///
    /// # Errors
    /// The first missing number, by row and column; a file that cannot be read any more.
    pub fn complete(&self) -> Result<(), Error> {
        if !self.missing {
            return Ok(());
        }
        let mut bad = BadCells::default();
        self.each_row(|i, row| {
            bad.look(i, row, |_, x| x.is_nan());
            true
        })?;
        bad.refuse(self.len(), |j| self.label(j), |_, rows| format!("Drop or impute {rows}"))
    }

    /// Calls `f` with each row and its number, until it returns false.
    ///
    /// # Errors
    /// A file that has changed, or cannot be read any more.
    pub fn each_row(&self, mut f: impl FnMut(usize, &[f64]) -> bool) -> Result<(), Error> {
        self.unchanged()?;
        let (n, dim, together) = (self.len(), self.dim(), self.together());
        with_buffer(together * dim, |buffer| {
            for start in (0..n).step_by(together) {
                let rows = &mut buffer[..together.min(n - start) * dim];
                self.read(start, rows)?;
                for (r, row) in rows.chunks_exact(dim).enumerate() {
                    if !f(start + r, row) {
                        return Ok(());
                    }
                }
            }
            Ok(())
        })
    }

    /// How many rows to read together.
    pub(crate) fn together(&self) -> usize {
        (TOGETHER / (8 * self.dim())).clamp(1, self.len())
    }

    /// Fills `out` with neighbouring rows, from row `first` on.
    ///
    /// # Errors
    /// A file that cannot be read any more.
    ///
    /// # Panics
    /// If there are no such rows.
    pub fn read(&self, first: usize, out: &mut [f64]) -> Result<(), Error> {
        let dim = self.dim();
        assert!(out.len().is_multiple_of(dim) && first + out.len() / dim <= self.len());
        let place = self.head.offset + 8 * first as u64 * dim as u64;
        let bytes: &mut [u8] = cast_slice_mut(out);
        let done = {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(place)).and_then(|_| file.read_exact(bytes))
        };
        done.map_err(|e| bad(&self.path, format!("it cannot be read from row {first} on: {e}")))?;
        if cfg!(target_endian = "big") {
            out.iter_mut().for_each(|x| *x = f64::from_bits(x.to_bits().swap_bytes()));
        }
        Ok(())
    }

    /// An error unless the file is as it was when it was opened.
    pub(crate) fn unchanged(&self) -> Result<(), Error> {
        let fail = |reason: String| bad(&self.path, reason);
        let now = state(&self.file.lock().unwrap_or_else(PoisonError::into_inner));
        let now = now.map_err(|e| fail(format!("it cannot be read any more: {e}")))?;
        if now == self.state {
            return Ok(());
        }
        let how = match now.0 == self.state.0 {
            true => "written to".to_string(),
            false => format!("{} bytes, now {}", self.state.0, now.0),
        };
        Err(fail(format!("it has changed since it was opened ({how}); open it again and fit anew")))
    }

    /// How a message names column `j`: quoted, or its number where it has no name.
    pub fn label(&self, j: usize) -> String {
        super::label(&self.names, j)
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.head.rows
    }

    /// Never: there is at least one row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many numbers a row has.
    pub fn dim(&self) -> usize {
        self.head.columns
    }

    /// The names of the columns; their numbers where they have none.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether a number is missing.
    pub fn has_missing(&self) -> bool {
        self.missing
    }

    /// The mean of each column, over what is not missing.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The variance of each column, with divisor `n`, over what is not missing.
    pub fn variance(&self) -> &[f64] {
        &self.variance
    }
}

fn bad(path: &Path, reason: String) -> Error {
    Error::File { file: path.display().to_string(), reason }
}

fn state(file: &File) -> io::Result<State> {
    let about = file.metadata()?;
    Ok((about.len(), about.modified().ok()))
}
