//! A table as text, however long, into a file of rows.

use std::io::Read;
use std::path::Path;

use super::RowFile;
use crate::data::csv::{broken, other_separator};
use crate::error::Error;

impl RowFile {
    /// Reads CSV with a header line by line, writes its rows to an NPY file, and opens that with the
    /// names of the columns; a line at a time is in memory. The next time, [`RowFile::with_names`] opens
    /// the file itself.
    ///
    /// ```
    /// use elbo::data::RowFile;
    /// let path = std::env::temp_dir().join(format!("elbo-doc-csv-{}.npy", std::process::id()));
    /// let rows = RowFile::from_csv("eruption,waiting\n3.6,79\n1.8,54\n".as_bytes(), &path)?;
    /// assert_eq!((rows.len(), rows.names(), rows.mean()[1]), (2, &["eruption".to_string(), "waiting".to_string()][..], 66.5));
    /// let bad = RowFile::from_csv("eruption,waiting\n3.6,79\n1.8,soon\n".as_bytes(), &path);
    /// assert_eq!(
    ///     bad.unwrap_err().to_string(),
    ///     "E01 data[1, \"waiting\"] is \"soon\". Give a number in every cell (rows count from 0)"
    /// );
    /// # std::fs::remove_file(&path).expect("it was written");
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// A line of another length than the header, text that is not UTF-8, a cell that is no finite number, by
    /// row and column; and as [`RowFile::create`].
    pub fn from_csv(csv: impl Read, path: impl AsRef<Path>) -> Result<RowFile, Error> {
        let wrong = |e| broken("the table", &e);
        let mut reader = ::csv::ReaderBuilder::new().trim(::csv::Trim::All).from_reader(csv);
        let names: Vec<String> =
            reader.headers().map_err(wrong)?.iter().map(str::to_string).collect();
        let number = |i: usize, (j, cell): (usize, &str)| {
            let number = cell.parse::<f64>().ok().filter(|x| x.is_finite());
            number.ok_or_else(|| Error::Data {
                place: format!("data[{i}, {}]", crate::data::label(&names, j)),
                value: format!("\"{cell}\""),
                count: String::new(),
                remedy: match other_separator(&names, cell) {
                    Some(other) => format!("The lines are separated by {other:?}, not by commas"),
                    None => "Give a number in every cell (rows count from 0)".to_string(),
                },
            })
        };
        let mut failed = None;
        let rows = reader.records().enumerate().map_while(|(i, record)| {
            let row = record.map_err(wrong);
            let row = row.and_then(|row| {
                row.iter().enumerate().map(|cell| number(i, cell)).collect::<Result<Vec<f64>, _>>()
            });
            row.map_err(|e| failed = Some(e)).ok()
        });
        let made = RowFile::create(path.as_ref(), names.len(), rows);
        match failed {
            Some(e) => Err(e),
            None => made.and_then(|_| RowFile::with_names(path, names)),
        }
    }
}
