//! The pages of the book and the README, so that `cargo test --doc` runs the code in them.

macro_rules! pages {
    ($($name:ident = $file:literal,)*) => {
        $(#[doc = include_str!($file)] struct $name;)*
    };
}

pages! {
    Readme = "../README.md",
    Introduction = "../book/src/introduction.md",
    Start = "../book/src/start.md",
    Coin = "../book/src/01-coin.md",
    Identity = "../book/src/02-identity.md",
    Faces = "../book/src/03-faces.md",
    Prior = "../book/src/04-prior.md",
    Gradients = "../book/src/05-gradients.md",
    YourModel = "../book/src/06-model.md",
    Stopping = "../book/src/07-stopping.md",
    Minibatch = "../book/src/08-minibatch.md",
    Factors = "../book/src/factors.md",
    Directions = "../book/src/09-kl-directions.md",
    Discrete = "../book/src/19-discrete.md",
    MeanField = "../book/src/10-mean-field.md",
    EmVsVb = "../book/src/14-em-vs-vb.md",
    Topics = "../book/src/15-lda.md",
    Architecture = "../book/src/architecture.md",
    Notation = "../book/src/notation.md",
    Glossary = "../book/src/glossary.md",
    Corrections = "../book/src/corrections.md",
    Checking = "../book/src/11-checking.md",
    Autoencoder = "../book/src/16-vae.md",
    Knobs = "../book/src/17-knobs.md",
    Amortization = "../book/src/18-amortization.md",
    Em = "../book/src/13-em.md",
    Choosing = "../book/src/21-choosing.md",
    UncertainNetworks = "../book/src/20-uncertain-networks.md",
    Extending = "../book/src/24-extending.md",
    TimeSeries = "../book/src/time-series.md",
    Performance = "../book/src/performance.md",
}
