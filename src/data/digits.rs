//! Handwritten digits of 8 x 8 pixels.

use super::Images;

/// Pixels, then the label, image after image.
static DIGITS: &[u8] = include_bytes!("digits.bin");

const SIZE: usize = 64;

/// The 1797 handwritten digits of the test set of "Optical Recognition of Handwritten Digits", 8 x 8
/// pixels of 17 levels, and which digit each is.
///
/// Written by 13 people on forms, scanned at 32 x 32 and counted in blocks of 4 x 4. Alpaydin and
/// Kaynak (1998), UCI Machine Learning Repository, <https://doi.org/10.24432/C50P49>, licensed
/// under Creative Commons Attribution 4.0; here as in scikit-learn's copy, a byte a pixel.
///
/// ```
/// use elbo::data::digits;
/// let (images, labels) = digits();
/// assert_eq!((images.len(), images.height(), images.width()), (1797, 8, 8));
/// assert_eq!(labels[..5], [0, 1, 2, 3, 4]);
/// ```
pub fn digits() -> (Images, Vec<u8>) {
    let rows = || DIGITS.chunks_exact(SIZE + 1);
    let levels = rows().flat_map(|row| row[..SIZE].iter().copied()).collect();
    let Ok(images) = Images::from_levels(levels, 8, 8, 16) else {
        unreachable!("the file that ships has levels up to 16")
    };
    (images, rows().map(|row| row[SIZE]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts of each digit and the sum of all levels, as scikit-learn's `load_digits` has them.
    #[test]
    fn the_digits_have_their_known_totals() {
        let (images, labels) = digits();
        let count = |d: u8| labels.iter().filter(|&&l| l == d).count();
        let counts: Vec<usize> = (0..10).map(count).collect();
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        let levels: usize =
            DIGITS.chunks_exact(65).flat_map(|r| &r[..64]).map(|&l| usize::from(l)).sum();
        assert_eq!(levels, 561_718);
        assert_eq!(images.pixel(0, 2), 5.0 / 16.0);
    }
}
