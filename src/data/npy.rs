//! The head of an NPY file, which says what numbers follow it (numpy's `format.py`, versions 1 to
//! 3).

use std::io::{self, Read};

const MAGIC: &[u8] = b"\x93NUMPY";
/// Bytes before the numbers of the files written here.
pub(super) const HEAD: usize = 128;

/// A matrix of 64-bit numbers, one row after another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Head {
    /// Where the numbers begin, in bytes.
    pub(super) offset: u64,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Head {
    /// Reads it; what is wrong in words, where it is another file.
    pub(super) fn read(file: &mut impl Read) -> Result<Head, String> {
        let cut = |e: io::Error| match e.kind() {
            io::ErrorKind::UnexpectedEof => "it ends before its head does".to_string(),
            _ => format!("it cannot be read: {e}"),
        };
        let mut magic = [0; 8];
        file.read_exact(&mut magic).map_err(cut)?;
        if !magic.starts_with(MAGIC) {
            return Err("it is no NPY file".to_string());
        }
        let mut size = [0; 4];
        let wide = if magic[6] == 1 { 2 } else { 4 };
        file.read_exact(&mut size[..wide]).map_err(cut)?;
        let size = u32::from_le_bytes(size);
        if size > 1 << 16 {
            return Err(format!("its head has {size} bytes, which no table needs"));
        }
        let mut text = vec![0; size as usize];
        file.read_exact(&mut text).map_err(cut)?;
        let text = String::from_utf8_lossy(&text);
        let (rows, columns) = Head::shape(&text)?;
        Ok(Head { offset: (8 + wide) as u64 + u64::from(size), rows, columns })
    }

    fn shape(text: &str) -> Result<(usize, usize), String> {
        let after = |key: &str| text.split_once(key).map(|(_, rest)| rest.trim_start());
        let entry = |key: &str| after(key).ok_or(format!("its head has no {key}"));
        let kind = entry("'descr':")?;
        if !kind.starts_with("'<f8'") {
            let kind = kind.split([',', '}']).next().unwrap_or(kind);
            return Err(format!("its numbers are {kind}, not '<f8', float64"));
        }
        if entry("'fortran_order':")?.starts_with("True") {
            return Err("it holds one column after another (Fortran order)".to_string());
        }
        let shape = entry("'shape':")?;
        let inside = shape.strip_prefix('(').and_then(|s| s.split_once(')')).map(|(s, _)| s);
        let inside = inside.ok_or("its head has no shape")?;
        let sizes = inside.split(',').map(str::trim).filter(|s| !s.is_empty());
        let sizes: Result<Vec<usize>, _> = sizes.map(str::parse).collect();
        match sizes.as_deref() {
            Ok([rows]) => Ok((*rows, 1)),
            Ok([rows, columns]) => Ok((*rows, *columns)),
            _ => Err(format!("its shape is ({inside}), not (rows, columns)")),
        }
    }

    /// The head of a file written here, `HEAD` bytes.
    pub(super) fn write(rows: usize, columns: usize) -> Vec<u8> {
        let size = HEAD - 10;
        let entries = "{'descr': '<f8', 'fortran_order': False, 'shape': ";
        let text = format!("{entries}({rows}, {columns}), }}");
        let mut head = MAGIC.to_vec();
        head.extend([1, 0, size as u8, 0]);
        head.extend(format!("{text:<0$}\n", size - 1).bytes());
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_written_are_read_and_others_are_named() {
        for (rows, columns) in [(1, 1), (123_456_789_012, 65_536)] {
            let bytes = Head::write(rows, columns);
            assert_eq!(bytes.len(), HEAD);
            let offset = HEAD as u64;
            assert_eq!(Head::read(&mut &bytes[..]), Ok(Head { offset, rows, columns }));
        }
        let with = |text: &str| {
            let mut bytes = MAGIC.to_vec();
            bytes.extend([3, 0, text.len() as u8, 0, 0, 0]);
            bytes.extend(text.bytes());
            Head::read(&mut &bytes[..])
        };
        let line = with("{'descr': '<f8', 'fortran_order': False, 'shape': (7,), }\n");
        assert_eq!(line, Ok(Head { offset: 12 + 58, rows: 7, columns: 1 }));
        let said = |kind: &str, order: &str, shape: &str| {
            with(&format!("{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}"))
                .unwrap_err()
        };
        assert_eq!(said("'<f4'", "False", "(3, 2)"), "its numbers are '<f4', not '<f8', float64");
        assert!(said("'<f8'", "True", "(3, 2)").contains("Fortran order"));
        assert_eq!(
            said("'<f8'", "False", "(3, 2, 1)"),
            "its shape is (3, 2, 1), not (rows, columns)"
        );
        assert_eq!(Head::read(&mut &b"a,b\n1,2\n"[..]).unwrap_err(), "it is no NPY file");
        assert_eq!(Head::read(&mut &MAGIC[..4]).unwrap_err(), "it ends before its head does");
    }
}
