//! `Images`: many small pictures of one size, kept in as little memory as they need.

use std::path::Path;

use rand::Rng;

use super::idx;
use crate::error::Error;
use crate::noise::{Purpose, stream};
use crate::scalar::Scalar;

/// Pictures of one size, gray, row of pixels after row of pixels, one picture after another; or any
/// vectors of one length, as pictures of one row.
///
/// Pixels are numbers of any size ([`Images::new`]), or levels `0..=top` in a byte each that stand for
/// `level / top` ([`Images::from_levels`]). Rounding them to 0 or 1 at random, 1 with a probability
/// as large as the pixel is bright, can be done once ([`Images::binarised`]) or anew each time a
/// picture is shown ([`Images::binarised_anew`], Salakhutdinov and Murray 2008).
///
/// ```
/// use elbo::data::Images;
/// let images = Images::from_levels(vec![0, 4, 8, 16, 0, 16], 1, 3, 16)?;
/// assert_eq!((images.len(), images.size()), (2, 3));
/// assert_eq!(images.image(0), [0.0, 0.25, 0.5]);
/// let black_and_white = images.binarised(7);
/// assert_eq!(black_and_white.image(1), [1.0, 0.0, 1.0]);
/// let error = Images::new(vec![0.0, 1.0, f32::NAN], 1, 1).unwrap_err();
/// assert!(error.to_string().starts_with("E01 pixel 0 of image 2 is NaN"));
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Images {
    height: usize,
    width: usize,
    pixels: Pixels,
    /// The seed, where pixels are rounded to 0 or 1 each time they are shown.
    anew: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
enum Pixels {
    Levels { levels: Vec<u8>, top: u8 },
    Numbers(Vec<f32>),
}

/// No images: what a part that lost its data holds until it is given others.
impl Default for Images {
    fn default() -> Self {
        Images { height: 0, width: 0, pixels: Pixels::Numbers(Vec::new()), anew: None }
    }
}

impl Images {
    /// Pixels of any size.
    ///
    /// # Errors
    /// No images, a number of pixels that is not that of whole images, or a pixel that is not
    /// finite, by image and pixel.
    pub fn new(pixels: Vec<f32>, height: usize, width: usize) -> Result<Images, Error> {
        let images = Images { height, width, pixels: Pixels::Numbers(pixels), anew: None };
        images.check_size()?;
        images.refuse(
            |x| !x.is_finite(),
            "Drop or repair that image (images and pixels count from 0)",
        )?;
        Ok(images)
    }

    /// The same, a picture a slice.
    ///
    /// # Errors
    /// As [`Images::new`], and a picture of another size, by its number.
    pub fn from_slices<P: AsRef<[f32]>>(
        images: &[P],
        height: usize,
        width: usize,
    ) -> Result<Images, Error> {
        for (i, image) in images.iter().enumerate() {
            let size = format!("a picture of {height} x {width} pixels");
            Error::expect_len(&format!("image {i}"), image.as_ref().len(), &size, height * width)?;
        }
        Images::new(images.iter().flat_map(|i| i.as_ref().iter().copied()).collect(), height, width)
    }

    /// Levels `0..=top` that stand for `level / top`.
    ///
    /// # Errors
    /// No images, a number of pixels that is not that of whole images, or a level above `top`.
    pub fn from_levels(
        levels: Vec<u8>,
        height: usize,
        width: usize,
        top: u8,
    ) -> Result<Images, Error> {
        if top == 0 {
            return Err(Error::option("top", 0, "there are at least the levels 0 and 1"));
        }
        let images = Images { height, width, pixels: Pixels::Levels { levels, top }, anew: None };
        images.check_size()?;
        images.refuse(|x| x > 1.0, &format!("Levels go from 0 to {top}"))?;
        Ok(images)
    }

    /// Images in a file of the IDX format, gzipped or not, as those of MNIST (LeCun, Bottou, Bengio
    /// and Haffner 1998) and Fashion-MNIST (Xiao, Rasul and Vollgraf 2017).
    ///
    /// # Errors
    /// A file that cannot be read, is of another kind, or ends early; the message names it.
    pub fn read_idx(path: impl AsRef<Path>) -> Result<Images, Error> {
        let (levels, [_, height, width]) = idx::read::<3>(path.as_ref())?;
        Images::from_levels(levels, height, width, u8::MAX)
    }

    fn count(&self) -> usize {
        match &self.pixels {
            Pixels::Levels { levels, .. } => levels.len(),
            Pixels::Numbers(numbers) => numbers.len(),
        }
    }

    fn check_size(&self) -> Result<(), Error> {
        let (count, size) = (self.count(), self.size());
        if count == 0 || size == 0 {
            return Err(Error::NoData { what: "the set of images".to_string() });
        }
        if count.is_multiple_of(size) {
            return Ok(());
        }
        Err(Error::Length {
            left: "the list of pixels".to_string(),
            left_len: count,
            right: format!("{} images of {} x {} pixels", count / size, self.height, self.width),
            right_len: count / size * size,
        })
    }

    /// An error about the first pixel for which `bad` holds, and how many images have one.
    fn refuse(&self, bad: impl Fn(f64) -> bool, remedy: &str) -> Result<(), Error> {
        let first_of = |i: usize| (0..self.size()).find(|&p| bad(self.pixel(i, p)));
        let mut hits = (0..self.len()).filter_map(|i| first_of(i).map(|p| (i, p)));
        let Some((i, p)) = hits.next() else { return Ok(()) };
        Err(Error::Data {
            place: format!("pixel {p} of image {i}"),
            value: self.pixel(i, p).to_string(),
            count: format!(" ({} of {} images)", 1 + hits.count(), self.len()),
            remedy: remedy.to_string(),
        })
    }

    /// Refuses pixels outside `[0, 1]`, for a likelihood that takes them as probabilities.
    ///
    /// # Errors
    /// The first such pixel, by image and pixel.
    pub fn check_unit(&self) -> Result<(), Error> {
        self.refuse(
            |x| !(0.0..=1.0).contains(&x),
            "A Bernoulli likelihood takes pixels from 0 to 1: rescale them, or use a Gaussian one",
        )
    }

    /// How many images.
    pub fn len(&self) -> usize {
        self.count() / self.size().max(1)
    }

    /// Whether there are no images: never so for what a constructor made.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// Rows of pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Pixels of an image.
    pub fn size(&self) -> usize {
        self.height * self.width
    }

    /// How many levels a pixel may have, where pixels are levels.
    pub fn levels(&self) -> Option<usize> {
        match self.pixels {
            Pixels::Levels { top, .. } => Some(usize::from(top) + 1),
            Pixels::Numbers(_) => None,
        }
    }

    /// Whether pixels are rounded to 0 or 1 each time they are shown.
    pub fn is_anew(&self) -> bool {
        self.anew.is_some()
    }

    /// Pixel `p` of image `i`, before any rounding.
    ///
    /// # Panics
    /// If there is no such pixel.
    pub fn pixel(&self, i: usize, p: usize) -> f64 {
        let at = i * self.size() + p;
        match &self.pixels {
            Pixels::Levels { levels, top } => f64::from(levels[at]) / f64::from(*top),
            Pixels::Numbers(numbers) => f64::from(numbers[at]),
        }
    }

    /// Image `i`, before any rounding.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn image(&self, i: usize) -> Vec<f32> {
        (0..self.size()).map(|p| self.pixel(i, p) as f32).collect()
    }

    /// Some of the images, in the order given.
    ///
    /// # Errors
    /// None, or a number that no image has.
    pub fn select(&self, rows: impl IntoIterator<Item = usize>) -> Result<Images, Error> {
        let (n, size) = (self.len(), self.size());
        let rows: Vec<usize> = rows.into_iter().collect();
        if let Some(&i) = rows.iter().find(|&&i| i >= n) {
            return Err(Error::option("image", i, &format!("there are images 0 to {}", n - 1)));
        }
        fn pick<P: Copy>(from: &[P], rows: &[usize], size: usize) -> Vec<P> {
            rows.iter().flat_map(|i| from[i * size..(i + 1) * size].iter().copied()).collect()
        }
        let pixels = match &self.pixels {
            Pixels::Levels { levels, top } => {
                Pixels::Levels { levels: pick(levels, &rows, size), top: *top }
            }
            Pixels::Numbers(numbers) => Pixels::Numbers(pick(numbers, &rows, size)),
        };
        let images = Images { pixels, ..*self };
        images.check_size()?;
        Ok(images)
    }

    /// Every pixel rounded to 0 or 1 once, at random from the seed: 1 with the pixel as probability.
    /// Pixels outside `[0, 1]` go to the nearer end.
    pub fn binarised(&self, seed: u64) -> Images {
        let size = self.size();
        let mut levels = Vec::with_capacity(self.count());
        for i in 0..self.len() {
            round(seed, i, size, |p| self.pixel(i, p), |_, one| levels.push(one));
        }
        Images { pixels: Pixels::Levels { levels, top: 1 }, anew: None, ..*self }
    }

    /// The same images, whose pixels are rounded to 0 or 1 anew each time they are shown: each batch
    /// of rows has noise of its own, made from the seed and the rows of the batch, the same for
    /// encoder and decoder and in a run that is resumed.
    #[must_use]
    pub fn binarised_anew(mut self, seed: u64) -> Images {
        self.anew = Some(seed);
        self
    }

    /// What the noise of these rows (of all) is made from.
    pub(crate) fn key(&self, rows: Option<&[usize]>) -> u64 {
        let Some(seed) = self.anew else { return 0 };
        let mix = |h: u64, x: u64| (h ^ x).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        rows.unwrap_or(&[]).iter().fold(mix(1, seed), |h, &i| mix(h, i as u64 + 1))
    }

    /// Writes images `row(0) ..` as a panel: for each pixel its value in each of `columns` images.
    /// `key` and `from` say where in its batch the panel lies.
    pub(crate) fn panel<T: Scalar>(
        &self,
        key: u64,
        from: usize,
        columns: usize,
        row: impl Fn(usize) -> usize,
        x: &mut [T],
    ) {
        let size = self.size();
        if self.anew.is_some() {
            for j in 0..columns {
                round(
                    key,
                    from + j,
                    size,
                    |p| self.pixel(row(j), p),
                    |p, one| {
                        x[p * columns + j] = T::from_f64(f64::from(one));
                    },
                );
            }
            return;
        }
        match &self.pixels {
            Pixels::Levels { levels, top } => {
                let top = f64::from(*top);
                let table: [T; 256] = std::array::from_fn(|l| T::from_f64(l as f64 / top));
                transpose(levels, size, columns, row, x, |level| table[usize::from(level)]);
            }
            Pixels::Numbers(numbers) => {
                transpose(numbers, size, columns, row, x, |x| T::from_f64(f64::from(x)));
            }
        }
    }
}

/// A few pixels of every image at a time, so that what is written stays near.
fn transpose<P: Copy, T>(
    pixels: &[P],
    size: usize,
    columns: usize,
    row: impl Fn(usize) -> usize,
    x: &mut [T],
    value: impl Fn(P) -> T,
) {
    const BLOCK: usize = 16;
    for (b, x) in x[..size * columns].chunks_mut(BLOCK * columns).enumerate() {
        let width = x.len() / columns;
        for j in 0..columns {
            let from = row(j) * size + b * BLOCK;
            for (q, &pixel) in pixels[from..from + width].iter().enumerate() {
                x[q * columns + j] = value(pixel);
            }
        }
    }
}

/// Rounds each pixel of image `i` to 0 or 1: 1 with the pixel as probability, to one part in 65 536.
fn round(
    key: u64,
    i: usize,
    size: usize,
    pixel: impl Fn(usize) -> f64,
    mut put: impl FnMut(usize, u8),
) {
    let mut rng = stream(key, Purpose::Data, 1 << 40 | i as u64);
    let mut bits = 0;
    for p in 0..size {
        bits = if p % 4 == 0 { rng.next_u64() } else { bits >> 16 };
        put(p, u8::from(((bits & 0xffff) as f64) < pixel(p) * 65_536.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(images: Result<Images, Error>) -> String {
        images.map(|_| "fine".to_string()).unwrap_or_else(|e| e.to_string())
    }

    #[test]
    fn bad_images_are_named() {
        assert_eq!(
            message(Images::new(vec![], 8, 8)),
            "E02 the set of images has no observations; give it at least one row"
        );
        let unequal = [vec![0.0; 4], vec![0.0; 4], vec![0.0; 5]];
        assert_eq!(
            message(Images::from_slices(&unequal, 2, 2)),
            "E03 image 2 has 5 values but a picture of 2 x 2 pixels has 4; make them agree"
        );
        assert_eq!(
            message(Images::new(vec![0.0; 9], 2, 2)),
            "E03 the list of pixels has 9 values but 2 images of 2 x 2 pixels has 8; make them agree"
        );
        let nan = vec![0.0, 0.0, 0.5, f32::NAN, f32::INFINITY, 0.0];
        assert_eq!(
            message(Images::new(nan, 1, 2)),
            "E01 pixel 1 of image 1 is NaN (2 of 3 images). Drop or repair that image (images and pixels count from 0)"
        );
        let gray = Images::new(vec![0.0, 1.5], 1, 1).expect("finite");
        let outside = gray.check_unit().expect_err("outside").to_string();
        assert!(outside.starts_with("E01 pixel 0 of image 1 is 1.5 (1 of 2 images). A Bernoulli"));
        assert!(
            message(Images::from_levels(vec![3, 17], 1, 1, 16)).contains("Levels go from 0 to 16")
        );
        assert!(message(gray.select([2])).contains("E10 image is 2; there are images 0 to 1"));
    }

    /// A pixel of brightness p is 1 in a share p of the draws, to 5 standard errors; noise is new
    /// in each company of rows and the same in the same.
    #[test]
    fn rounding_keeps_the_mean() {
        let images = Images::from_levels((0..=10).collect(), 1, 11, 10).expect("levels");
        const SHOWN: usize = 4_000;
        let (mut fixed, mut anew) = ([0.0; 11], [0.0; 11]);
        let moving = images.clone().binarised_anew(3);
        let mut x = [0.0f32; 11];
        for i in 0..SHOWN {
            let once = images.binarised(i as u64);
            (0..11).for_each(|p| fixed[p] += once.pixel(0, p));
            let key = moving.key(Some(&[0, i]));
            moving.panel(key, 0, 1, |_| 0, &mut x);
            (0..11).for_each(|p| anew[p] += f64::from(x[p]));
            let mut again = [0.0f32; 11];
            moving.panel(key, 0, 1, |_| 0, &mut again);
            assert_eq!(x, again);
        }
        for p in 0..11 {
            let want = p as f64 / 10.0;
            let slack = 5.0 * (want * (1.0 - want) / SHOWN as f64).sqrt() + 1.0 / 65_536.0;
            for seen in [fixed[p], anew[p]] {
                assert!((seen / SHOWN as f64 - want).abs() <= slack, "{p}: {seen}");
            }
        }
    }

    #[test]
    fn panels_hold_the_pixels() {
        let levels: Vec<u8> = (0..5 * 37).map(|i| (i % 11) as u8).collect();
        let images = Images::from_levels(levels, 1, 37, 10).expect("levels");
        let numbers: Vec<f32> = (0..5).flat_map(|i| images.image(i)).collect();
        for images in [images.clone(), Images::new(numbers, 1, 37).expect("numbers")] {
            let rows = [4, 0, 2];
            let mut x = vec![9.0f64; 3 * 37];
            images.panel(0, 0, 3, |j| rows[j], &mut x);
            for p in 0..37 {
                for j in 0..3 {
                    assert!((x[p * 3 + j] - images.pixel(rows[j], p)).abs() < 1e-7);
                }
            }
        }
        assert_eq!(images.select([1, 3]).expect("there are").image(1), images.image(3));
    }
}
