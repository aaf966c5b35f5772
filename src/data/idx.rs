//! Files of the IDX format, in which MNIST is distributed: a magic number, sizes, bytes. The one
//! place that knows of gzip.

use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;

use crate::error::Error;

/// Labels, a byte each, in a file of the IDX format, gzipped or not.
///
/// # Errors
/// A file that cannot be read, is of another kind, or ends early; the message names it.
pub fn read_idx_labels(path: impl AsRef<Path>) -> Result<Vec<u8>, Error> {
    read::<1>(path.as_ref()).map(|(labels, _)| labels)
}

/// Bytes in `D` dimensions, and the sizes.
pub(super) fn read<const D: usize>(path: &Path) -> Result<(Vec<u8>, [usize; D]), Error> {
    let error = |reason: String| Error::File { file: path.display().to_string(), reason };
    let mut bytes = fs::read(path).map_err(|e| error(format!("cannot be read: {e}")))?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        GzDecoder::new(&bytes[..])
            .read_to_end(&mut plain)
            .map_err(|e| error(format!("cannot be unzipped: {e}; download it again")))?;
        bytes = plain;
    }
    parse(&bytes).map_err(error)
}

fn parse<const D: usize>(bytes: &[u8]) -> Result<(Vec<u8>, [usize; D]), String> {
    let word = |k: usize| {
        let four: Option<[u8; 4]> = bytes.get(4 * k..4 * k + 4).and_then(|b| b.try_into().ok());
        four.map(u32::from_be_bytes).ok_or_else(|| {
            format!("ends after {} bytes, inside its header; download it again", bytes.len())
        })
    };
    let (magic, wanted) = (word(0)?, 0x0800 + D as u32);
    if magic != wanted {
        let kind = match magic {
            0x0801 => " (labels)",
            0x0803 => " (images)",
            _ => "",
        };
        let expected = if D == 1 { "labels" } else { "images" };
        return Err(format!(
            "begins with 0x{magic:08x}{kind}, not 0x{wanted:08x} as {expected} do; give the file of {expected}"
        ));
    }
    let mut sizes = [0; D];
    for (k, size) in sizes.iter_mut().enumerate() {
        *size = word(k + 1)? as usize;
    }
    let there = bytes.len() - 4 * (D + 1);
    let count = sizes.iter().try_fold(1usize, |n, &s| n.checked_mul(s));
    if count != Some(there) {
        let sizes = sizes.map(|s| s.to_string()).join(" x ");
        let says = if count.is_some_and(|n| n > there) { "ends early" } else { "is too long" };
        return Err(format!(
            "{says}: its header says {sizes} bytes, and {there} follow; download it again"
        ));
    }
    Ok((bytes[4 * (D + 1)..].to_vec(), sizes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Images;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn file(name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("elbo-idx-{}-{name}", std::process::id()));
        fs::write(&path, bytes).expect("a temporary file");
        path
    }

    fn images() -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3];
        bytes.extend((0..12).map(|i| i * 20));
        bytes
    }

    #[test]
    fn images_and_labels_plain_and_gzipped() {
        let mut zipped = GzEncoder::new(Vec::new(), Compression::default());
        zipped.write_all(&images()).expect("memory");
        let zipped = zipped.finish().expect("memory");
        for (name, bytes) in [("plain", images()), ("gz", zipped.clone())] {
            let path = file(name, &bytes);
            let read = Images::read_idx(&path).expect("images");
            assert_eq!((read.len(), read.height(), read.width()), (2, 2, 3));
            assert_eq!(read.pixel(1, 5), 220.0 / 255.0);
            fs::remove_file(path).expect("it is there");
        }
        let path = file("labels", &[0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 9]);
        assert_eq!(read_idx_labels(&path).expect("labels"), [7, 0, 9]);
        fs::remove_file(path).expect("it is there");
        let path = file("cut", &zipped[..zipped.len() - 9]);
        let error = Images::read_idx(&path).expect_err("cut").to_string();
        assert!(error.contains("cannot be unzipped"), "{error}");
        fs::remove_file(path).expect("it is there");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let says = |bytes: &[u8]| parse::<3>(bytes).expect_err("wrong");
        assert!(says(&[0, 0, 8]).starts_with("ends after 3 bytes, inside its header"));
        let labels = says(&[0, 0, 8, 1, 0, 0, 0, 1, 7]);
        assert!(labels.contains("0x00000801 (labels), not 0x00000803 as images do"), "{labels}");
        let short = says(&images()[..20]);
        assert!(short.starts_with("ends early: its header says 2 x 2 x 3 bytes, and 4 follow"));
        let mut long = images();
        long.push(0);
        assert!(says(&long).starts_with("is too long"));
        let missing = Images::read_idx("/nowhere/images").expect_err("missing").to_string();
        assert!(missing.starts_with("E11 /nowhere/images: cannot be read"));
    }
}
