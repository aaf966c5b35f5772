//! Postcards: a simulated corpus whose topics are known.

use rand::{Rng, RngExt};

use super::Corpus;
use crate::error::Error;
use crate::family::{Dirichlet, Family};
use crate::noise::{Purpose, stream};

/// What postcards are about, each with words of its own, the first the most frequent.
const THEMES: [[&str; 12]; 6] = [
    [
        "sea", "beach", "sand", "wave", "swim", "shell", "sail", "tide", "gull", "harbour", "salt",
        "pier",
    ],
    [
        "mountain", "hut", "snow", "summit", "hike", "glacier", "rope", "valley", "peak", "boots",
        "ridge", "trail",
    ],
    [
        "bread", "wine", "cheese", "soup", "dinner", "garlic", "cake", "market", "olive", "cook",
        "taste", "plate",
    ],
    [
        "concert", "music", "piano", "opera", "song", "dance", "violin", "choir", "stage", "band",
        "drum", "tune",
    ],
    [
        "museum", "painting", "church", "tower", "bridge", "palace", "ruin", "statue", "guide",
        "gallery", "square", "arch",
    ],
    [
        "train", "station", "ticket", "delay", "airport", "luggage", "bus", "ferry", "map",
        "queue", "taxi", "driver",
    ],
];

/// Words that are on every postcard.
const COMMON: [&str; 8] = ["love", "weather", "week", "morning", "friends", "home", "sun", "rain"];

/// The concentration of the proportions.
const MIXING: f64 = 0.2;
/// Words on a card.
const LENGTH: usize = 40;

/// A corpus and what it was simulated from.
#[derive(Clone, Debug, PartialEq)]
pub struct Planted {
    /// The documents.
    pub corpus: Corpus,
    /// The probability of each word, topic by topic.
    pub topics: Vec<Vec<f64>>,
    /// The proportions of the topics, document by document.
    pub proportions: Vec<Vec<f64>>,
}

/// 500 postcards of 40 words on six themes (sea, mountains, food, music, sights, travel), in a
/// vocabulary of 80.
///
/// Simulated, not written by anybody, and free for any use (CC0): a card mixes the themes in
/// proportions from `Dirichlet(0.2)`; a word of a theme is one of its own twelve, the first the most
/// frequent, or in one case of four one of eight that are on every card. Order the rows of
/// [`Planted::topics`] as the themes above.
///
/// ```
/// let cards = elbo::data::postcards()?;
/// assert_eq!((cards.corpus.len(), cards.corpus.n_words(), cards.corpus.n_tokens()), (500, 80, 20_000));
/// assert_eq!(cards.corpus.vocabulary()[0], "sea");
/// assert!((cards.topics[0].iter().sum::<f64>() - 1.0).abs() < 1e-12);
/// # Ok::<(), elbo::Error>(())
/// ```
///
/// # Errors
/// None.
pub fn postcards() -> Result<Planted, Error> {
    let mut words: Vec<&str> = THEMES.concat();
    words.extend(COMMON);
    let topics: Vec<Vec<f64>> = (0..THEMES.len())
        .map(|k| {
            let mut topic = vec![0.0; words.len()];
            let own: f64 = (0..12).map(|i| 1.0 / f64::from(i + 3)).sum();
            for i in 0..12 {
                topic[12 * k + i] = 0.75 / (i + 3) as f64 / own;
            }
            topic[12 * THEMES.len()..].fill(0.25 / COMMON.len() as f64);
            topic
        })
        .collect();
    let mut rng = stream(1840, Purpose::Data, 0);
    let (triples, proportions) = write(&topics, 500, &mut rng)?;
    let corpus = Corpus::from_triples(triples, 500, words.len())?.with_vocabulary(words)?;
    Ok(Planted { corpus, topics, proportions })
}

impl Planted {
    /// So many more, simulated in the same way from the same topics.
    ///
    /// ```
    /// let more = elbo::data::postcards()?.more(100, 1)?;
    /// assert_eq!((more.corpus.len(), more.corpus.n_words(), more.corpus.n_tokens()), (100, 80, 4_000));
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// No documents.
    pub fn more(&self, documents: usize, seed: u64) -> Result<Planted, Error> {
        let mut rng = stream(seed, Purpose::Data, 1);
        let (triples, proportions) = write(&self.topics, documents, &mut rng)?;
        let words = self.corpus.vocabulary();
        let corpus = Corpus::from_triples(triples, documents, words.len())?;
        let corpus = corpus.with_vocabulary(words.iter().cloned())?;
        Ok(Planted { corpus, topics: self.topics.clone(), proportions })
    }
}

/// Document, word and count of each word.
type Words = Vec<(usize, usize, f64)>;

/// The words of cards on these topics, and the proportions of each.
fn write(
    topics: &[Vec<f64>],
    documents: usize,
    rng: &mut dyn Rng,
) -> Result<(Words, Vec<Vec<f64>>), Error> {
    let mixing = Dirichlet::new(&vec![MIXING; topics.len()])?;
    let (mut words, mut proportions) = (Vec::new(), Vec::new());
    for d in 0..documents {
        let mut theta = vec![0.0; topics.len()];
        mixing.sample(rng, &mut theta);
        for _ in 0..LENGTH {
            let topic = pick(&theta, rng);
            words.push((d, pick(&topics[topic], rng), 1.0));
        }
        proportions.push(theta);
    }
    Ok((words, proportions))
}

/// One of several, with these probabilities.
fn pick(p: &[f64], rng: &mut dyn Rng) -> usize {
    let mut left: f64 = rng.random();
    let hit = p.iter().position(|p| {
        left -= p;
        left < 0.0
    });
    hit.unwrap_or(p.len() - 1)
}
