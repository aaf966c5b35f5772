//! `Csv`: a table of text with named columns, and the numbers in it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ::csv::{ErrorKind, ReaderBuilder, Trim};

use super::Observations;
use crate::error::Error;

/// A table read from comma-separated values: the first line names the columns, each other line is a
/// row. Cells become numbers when they are asked for, and what is none is named by row and column.
///
/// Empty cells, `NA` and `NaN` are missing. Rows count from 0; line 1 of a file is the header.
///
/// ```
/// use elbo::data::Csv;
/// let text = "mpg,weight,origin\n18.0,3504,USA\n24.0,2372,Japan\n";
/// let table = Csv::read(text.as_bytes())?;
/// let data = table.select(["mpg", "weight"])?.observations()?;
/// assert_eq!((data.len(), data.row(1)), (2, [24.0, 2372.0].as_slice()));
/// let bad = table.observations().unwrap_err();
/// assert_eq!(
///     bad.to_string(),
///     "E01 data[0, \"origin\"] is \"USA\", no number (2 of 2 rows). Leave the column out with `.select([..])`, or recode it"
/// );
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csv {
    names: Vec<String>,
    /// Row after row.
    cells: Vec<String>,
}

/// What a missing cell is written as.
fn missing(cell: &str) -> bool {
    ["", "na", "nan"].iter().any(|word| cell.eq_ignore_ascii_case(word))
}

/// What is wrong with a table, by line.
pub(super) fn broken(file: &str, e: &::csv::Error) -> Error {
    let line = |pos: &Option<::csv::Position>| pos.as_ref().map_or(0, ::csv::Position::line);
    let reason = match e.kind() {
        ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = line(pos);
            format!("line {line} has {len} cells, the header {expected_len}; make them agree")
        }
        ErrorKind::Utf8 { pos, .. } => {
            format!("line {} is not UTF-8; save the table as UTF-8", line(pos))
        }
        _ => e.to_string(),
    };
    Error::File { file: file.to_string(), reason }
}

/// What separates the cells of a table where the only column there is seems to hold whole lines.
pub(super) fn other_separator(names: &[String], cell: &str) -> Option<char> {
    let [name] = names else { return None };
    let many = |text: &str, separator: char| text.matches(separator).count();
    let as_many = |other: &char| many(name, *other) > 0 && many(name, *other) == many(cell, *other);
    [';', '\t', '|'].into_iter().find(as_many)
}

impl Csv {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that is not there, and as [`Csv::read`].
    pub fn open(path: impl AsRef<Path>) -> Result<Csv, Error> {
        let name = path.as_ref().display().to_string();
        let file = File::open(&path).map_err(|e| Error::File {
            file: name.clone(),
            reason: format!("cannot be read: {e}"),
        })?;
        Csv::parse(&name, file, b',')
    }

    /// Reads anything that can be read.
    ///
    /// # Errors
    /// No header, numbers in its place, no rows, two columns of one name, a row that is longer or shorter than the
    /// header (by line), or text that is not UTF-8.
    pub fn read(from: impl Read) -> Result<Csv, Error> {
        Csv::parse("the table", from, b',')
    }

    /// The same with another separator, such as `b';'` or `b'\t'`.
    ///
    /// # Errors
    /// As [`Csv::read`].
    pub fn read_separated(from: impl Read, separator: u8) -> Result<Csv, Error> {
        Csv::parse("the table", from, separator)
    }

    fn parse(file: &str, from: impl Read, separator: u8) -> Result<Csv, Error> {
        let wrong = |reason: String| Error::File { file: file.to_string(), reason };
        let broken = |e: ::csv::Error| broken(file, &e);
        let mut reader =
            ReaderBuilder::new().delimiter(separator).trim(Trim::All).from_reader(from);
        let header = reader.headers().map_err(broken)?;
        let names: Vec<String> = header.iter().map(str::to_string).collect();
        if names.iter().all(String::is_empty) {
            return Err(wrong("has no header; its first line must name the columns".to_string()));
        }
        // years may name columns, measurements may not
        let numbers = names.iter().all(|name| name.parse::<f64>().is_ok_and(f64::is_finite));
        if numbers && names.iter().any(|name| name.parse::<u64>().is_err()) {
            return Err(wrong(
                "has numbers in its first line, which must name the columns; put names above them"
                    .to_string(),
            ));
        }
        if let Some(j) = (0..names.len()).find(|&j| names[..j].contains(&names[j])) {
            return Err(wrong(format!("has two columns called \"{}\"; rename one", names[j])));
        }
        let mut cells = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|e| match &names[..] {
                [only] if only.contains([';', '\t', '|']) => wrong(format!(
                    "has one column called \"{only}\", and rows of more; other separators than a comma need `Csv::read_separated`"
                )),
                _ => broken(e),
            })?;
            cells.extend(record.iter().map(str::to_string));
        }
        if cells.is_empty() {
            return Err(Error::NoData { what: file.to_string() });
        }
        Ok(Csv { names, cells })
    }

    /// The names of the columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.cells.len() / self.names.len()
    }

    /// Never: there is at least one row.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// The number of a column.
    fn place(&self, name: &str) -> Result<usize, Error> {
        self.names.iter().position(|n| n == name).ok_or_else(|| {
            let hint = if self.names.len() == 1 {
                "; other separators need `Csv::read_separated`"
            } else {
                ""
            };
            let there = format!("the columns are {}{hint}", self.names.join(", "));
            Error::option("column", format!("`{name}`"), &there)
        })
    }

    /// The table with these columns only, in this order.
    ///
    /// # Errors
    /// No column has such a name: the message lists those there are.
    pub fn select<N: AsRef<str>>(&self, names: impl IntoIterator<Item = N>) -> Result<Csv, Error> {
        let places = names.into_iter().map(|name| self.place(name.as_ref()));
        let places = places.collect::<Result<Vec<usize>, Error>>()?;
        if places.is_empty() {
            return Err(Error::option("columns", "none", "select at least one"));
        }
        let row = |row: &[String]| places.iter().map(|&j| row[j].clone()).collect::<Vec<_>>();
        Ok(Csv {
            names: places.iter().map(|&j| self.names[j].clone()).collect(),
            cells: self.cells.chunks_exact(self.names.len()).flat_map(row).collect(),
        })
    }

    /// The cells of a column as they stand: for labels and categories.
    ///
    /// # Errors
    /// No column has this name.
    pub fn text(&self, name: &str) -> Result<Vec<&str>, Error> {
        let j = self.place(name)?;
        Ok(self.cells.chunks_exact(self.names.len()).map(|row| row[j].as_str()).collect())
    }

    /// The numbers of a column: for outcomes and weights.
    ///
    /// # Errors
    /// No column has this name, or a cell that is no number or not finite, by its row.
    pub fn column(&self, name: &str) -> Result<Vec<f64>, Error> {
        Ok(self.select([name])?.observations()?.values().to_vec())
    }

    /// All numbers, by row and column.
    ///
    /// # Errors
    /// The first cell that is no number, is missing or is not finite, and how many rows have one.
    pub fn observations(&self) -> Result<Observations, Error> {
        Observations::with_names(self.numbers()?, self.names.clone())
    }

    /// The same where cells may be missing.
    ///
    /// # Errors
    /// As [`Csv::observations`], but for what is missing; a row of which nothing is known.
    pub fn with_missing(&self) -> Result<Observations, Error> {
        Observations::named_with_missing(self.numbers()?, self.names.clone())
    }

    /// NaN where a cell is missing.
    fn numbers(&self) -> Result<Vec<f64>, Error> {
        let dim = self.names.len();
        let number = |cell: &String| if missing(cell) { Ok(f64::NAN) } else { cell.parse::<f64>() };
        let word = |cell: &String| number(cell).is_err();
        let Some(at) = self.cells.iter().position(word) else {
            return Ok(self.cells.iter().map(|c| number(c).unwrap_or(f64::NAN)).collect());
        };
        let (i, j) = (at / dim, at % dim);
        let rows = (0..self.len()).filter(|i| word(&self.cells[i * dim + j])).count();
        let remedy = match other_separator(&self.names, &self.cells[at]) {
            Some(other) => format!(
                "The lines are separated by {other:?}: read them with `Csv::read_separated(.., b{other:?})`"
            ),
            None => "Leave the column out with `.select([..])`, or recode it".to_string(),
        };
        Err(Error::Data {
            place: format!("data[{i}, \"{}\"]", self.names[j]),
            value: format!("\"{}\", no number", self.cells[at]),
            count: format!(" ({rows} of {} rows)", self.len()),
            remedy,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn text<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
        result.expect_err("an error").to_string()
    }

    fn read(text: &str) -> Result<Csv, Error> {
        Csv::read(text.as_bytes())
    }

    #[test]
    fn numbers_come_with_their_names() {
        let table = read("a, b ,kind\n1, 2.5e3,x\n-3,0,y\n").expect("a table");
        assert_eq!((table.len(), table.names()), (2, &["a", "b", "kind"].map(String::from)[..]));
        let data = table.select(["b", "a"]).and_then(|t| t.observations()).expect("numbers");
        assert_eq!(data.names(), ["b", "a"]);
        assert_eq!(data.values(), [2500.0, 1.0, 0.0, -3.0]);
        assert_eq!(table.text("kind").expect("there"), ["x", "y"]);
        assert_eq!(table.column("a").expect("numbers"), [1.0, -3.0]);
        let other = Csv::read_separated("a;b\n1;2\n".as_bytes(), b';').expect("a table");
        assert_eq!(other.observations().expect("numbers").row(0), [1.0, 2.0]);
    }

    #[test]
    fn what_is_no_number_is_named_by_row_and_column() {
        let table = read("a,b\n1,2\n3,4 cm\n5,6 cm\n").expect("a table");
        assert_eq!(
            text(table.observations()),
            "E01 data[1, \"b\"] is \"4 cm\", no number (2 of 3 rows). Leave the column out with `.select([..])`, or recode it"
        );
        let table = read("a,b\n1,inf\n3,4\n").expect("a table");
        assert!(text(table.with_missing()).starts_with("E01 data[0, \"b\"] is inf (1 of 2 rows)"));
    }

    #[test]
    fn missing_cells_are_refused_unless_they_are_let_in() {
        let table = read("a,b\n1,2\n3,\nNA,nan\n").expect("a table");
        assert_eq!(
            text(table.observations()),
            "E01 data[1, \"b\"] is NaN (2 of 3 rows). Drop or impute rows 1, 2 (rows count from 0)."
        );
        assert!(text(table.with_missing()).contains("data[2] is missing altogether"));
        let data = read("a,b\n1,2\n3,\n").and_then(|t| t.with_missing()).expect("allowed");
        assert!(data.has_missing() && data.row(1)[0] == 3.0 && data.row(1)[1].is_nan());
        assert_eq!(data.names(), ["a", "b"]);
    }

    #[test]
    fn tables_that_are_none_are_refused_by_line() {
        assert_eq!(
            text(read("a,b\n1,2\n3\n")),
            "E11 the table: line 3 has 1 cells, the header 2; make them agree"
        );
        assert!(
            text(read("1.5,2\n3,4\n")).contains("has numbers in its first line, which must name")
        );
        assert_eq!(read("2019,2020\n3,4\n").expect("years").names(), ["2019", "2020"]);
        assert!(text(read("")).contains("has no header; its first line must name the columns"));
        assert!(text(read("a,b\n")).starts_with("E02 the table has no observations"));
        assert!(text(read("a,a\n1,2\n")).contains("has two columns called \"a\"; rename one"));
        let bytes: &[u8] = b"a,b\n1,\xff\n";
        assert!(text(Csv::read(bytes)).contains("line 2 is not UTF-8"));
        let open = text(Csv::open("no/such/file.csv"));
        assert!(open.starts_with("E11 no/such/file.csv: cannot be read"), "{open}");
        let semicolons = read("a;b\n1;2\n").expect("one column");
        assert_eq!(
            text(semicolons.observations()),
            "E01 data[0, \"a;b\"] is \"1;2\", no number (1 of 1 rows). The lines are separated by ';': read them with `Csv::read_separated(.., b';')`"
        );
        let decimals = text(read("a;b\n1,5;2\n"));
        assert!(
            decimals.contains("separators than a comma need `Csv::read_separated`"),
            "{decimals}"
        );
        let tabs = read("a\tb\n1\t2\n").expect("one column");
        assert!(text(tabs.observations()).contains("read_separated(.., b'\\t')"));
        assert_eq!(
            text(semicolons.select(["a"])),
            "E10 column is `a`; the columns are a;b; other separators need `Csv::read_separated`"
        );
    }
}
