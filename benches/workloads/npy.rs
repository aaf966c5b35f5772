//! Arrays of numbers in NPY files, little-endian and row by row.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// Numbers and how they are laid out.
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

impl Array {
    /// Reads an array of `<f8`, `<f4` or `<i8` without a second copy of it in memory.
    pub fn read(file: &Path) -> Result<Array, String> {
        let file = File::open(file).map_err(|e| e.to_string())?;
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let header = header(&mut reader)?;
        let shape = shape(&header).ok_or("no shape in its header")?;
        if header.contains("'fortran_order': True") {
            return Err("it is column by column; save np.ascontiguousarray(..)".to_string());
        }
        let (width, number): (usize, fn([u8; 8]) -> f64) = if header.contains("'<f8'") {
            (8, f64::from_le_bytes)
        } else if header.contains("'<i8'") {
            (8, |bytes| i64::from_le_bytes(bytes) as f64)
        } else if header.contains("'<f4'") {
            (4, |[a, b, c, d, ..]| f64::from(f32::from_le_bytes([a, b, c, d])))
        } else {
            return Err("it holds neither f64 nor f32 nor i64".to_string());
        };
        let mut values = Vec::with_capacity(shape.iter().product());
        let mut bytes = [0; 8];
        for _ in 0..shape.iter().product() {
            reader.read_exact(&mut bytes[..width]).map_err(|e| e.to_string())?;
            values.push(number(bytes));
        }
        Ok(Array { shape, values })
    }

    /// The bytes of an array of `|u1`.
    pub fn bytes(file: &Path) -> Result<(Vec<usize>, Vec<u8>), String> {
        let mut reader = BufReader::new(File::open(file).map_err(|e| e.to_string())?);
        let header = header(&mut reader)?;
        let shape = shape(&header).ok_or("no shape in its header")?;
        if !header.contains("'|u1'") || header.contains("'fortran_order': True") {
            return Err("it does not hold bytes row by row".to_string());
        }
        let mut bytes = vec![0; shape.iter().product()];
        reader.read_exact(&mut bytes).map_err(|e| e.to_string())?;
        Ok((shape, bytes))
    }

    /// Numbers in a row.
    pub fn columns(&self) -> usize {
        self.shape.get(1).copied().unwrap_or(1)
    }
}

fn header(reader: &mut impl Read) -> Result<String, String> {
    let mut start = [0; 8];
    reader.read_exact(&mut start).map_err(|e| e.to_string())?;
    if &start[..6] != b"\x93NUMPY" {
        return Err("it is no NPY file".to_string());
    }
    let mut length = [0; 4];
    let bytes = if start[6] == 1 { 2 } else { 4 };
    reader.read_exact(&mut length[..bytes]).map_err(|e| e.to_string())?;
    let mut header = vec![0; u32::from_le_bytes(length) as usize];
    reader.read_exact(&mut header).map_err(|e| e.to_string())?;
    Ok(String::from_utf8_lossy(&header).into_owned())
}

fn shape(header: &str) -> Option<Vec<usize>> {
    let numbers = header.split("'shape': (").nth(1)?.split(')').next()?;
    numbers.split(',').map(str::trim).filter(|n| !n.is_empty()).map(|n| n.parse().ok()).collect()
}
