//! The measured lines: one JSON object each, of the benches, of the peers, and of the machine.

use serde_json::Value;

/// All of them.
pub struct Lines(Vec<Value>);

/// A fit of a workload.
pub struct Run {
    pub peer: String,
    pub steps: u64,
    pub elbo: Option<f64>,
    pub mean_err_sd: Option<f64>,
    /// Seconds of compiling before the first step.
    pub first_s: Option<f64>,
    /// Seconds from the start of the process to the answer.
    pub answer_s: Option<f64>,
    pub peak_mb: Option<f64>,
}

/// A point of a slope.
pub struct Point {
    pub x: f64,
    pub ms: f64,
}

/// A small measurement: one path of a pair.
pub struct Path {
    pub pair: String,
    pub path: String,
    pub per: String,
    /// Nanoseconds for one of what `per` says.
    pub each: f64,
}

impl Lines {
    pub fn read(text: &str) -> Result<Lines, serde_json::Error> {
        text.lines().map(serde_json::from_str).collect::<Result<_, _>>().map(Lines)
    }

    /// The first line that has this key.
    pub fn with(&self, key: &str) -> Option<&Value> {
        self.0.iter().find_map(|line| line.get(key))
    }

    /// What the line about the machine says.
    pub fn about(&self, key: &str) -> &str {
        self.with(key).and_then(Value::as_str).unwrap_or("?")
    }

    fn runs<'a>(&'a self, workload: &'a str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(move |l| l["workload"] == workload && l["threads"] == 1)
    }

    fn is_recommended(line: &Value) -> bool {
        line["config"]["optimizer"].as_str().is_some_and(|o| o.contains("DoWG"))
    }

    /// Every peer's name and version.
    pub fn versions(&self) -> Vec<String> {
        let text = |l: &Value, key: &str| l[key].as_str().unwrap_or("?").to_string();
        let peers = self.0.iter().filter(|l| l["peer"].is_string() && l["peer"] != "elbo");
        let mut all: Vec<String> =
            peers.map(|l| text(l, "peer") + " " + &text(l, "version")).collect();
        all.sort();
        all.dedup();
        all
    }

    /// CPU milliseconds a step: the median over the rounds of the medians over chunks of steps.
    pub fn step(&self, workload: &str, peer: &str) -> Option<f64> {
        self.median(workload, peer, "cpu_ms_step_median")
    }

    /// The median over the rounds of what they say under a key.
    pub fn median(&self, workload: &str, peer: &str, key: &str) -> Option<f64> {
        let rounds = self.runs(workload).filter(|l| l["peer"] == peer && !Self::is_recommended(l));
        let mut ms: Vec<f64> = rounds.filter_map(|l| l[key].as_f64()).collect();
        ms.sort_by(f64::total_cmp);
        ms.get(ms.len() / 2).copied()
    }

    /// What the last fit says of its quality; of predictions, how far they are from what the truth
    /// predicts of the same words.
    pub fn quality(&self, workload: &str, peer: &str, key: &str) -> Option<f64> {
        let line = self.runs(workload).filter(|l| l["peer"] == peer).last()?;
        let truth = match key.starts_with("predictive") {
            true => line["true_predictive_ll_word"].as_f64()?,
            false => 0.0,
        };
        Some(line[key].as_f64()? - truth)
    }

    /// Least, mean and most that a peer's predictions are off the truth, over six seeds.
    pub fn six_seeds(&self, workload: &str) -> Option<(f64, f64, f64)> {
        let line = self.0.iter().find(|l| l["six_seeds"] == workload)?;
        let all: Vec<f64> =
            line["off_truth"].as_array()?.iter().filter_map(Value::as_f64).collect();
        let (low, high) =
            all.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (x.min(a), x.max(b)));
        Some((low, all.iter().sum::<f64>() / all.len() as f64, high))
    }

    /// The peers that were measured.
    pub fn names(&self, workload: &str) -> Vec<String> {
        let names = self.runs(workload).filter_map(|l| l["peer"].as_str()).filter(|p| *p != "elbo");
        let mut names: Vec<String> = names.map(str::to_string).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The fastest peer.
    pub fn best_peer(&self, workload: &str) -> Option<(String, f64)> {
        let all = self.names(workload).into_iter();
        let steps = all.filter_map(|p| self.step(workload, &p).map(|ms| (p, ms)));
        steps.min_by(|a, b| a.1.total_cmp(&b.1))
    }

    fn run(line: &Value) -> Run {
        Run {
            peer: line["peer"].as_str().unwrap_or("?").to_string(),
            steps: line["steps"].as_u64().unwrap_or(0),
            first_s: line["jit_s"].as_f64(),
            answer_s: line["process_to_fit_s"].as_f64(),
            peak_mb: line["peak_rss_mb"].as_f64(),
            elbo: line["elbo"].as_f64(),
            mean_err_sd: line["mean_err_sd"].as_f64(),
        }
    }

    /// The last fit of one tool with the matched work.
    pub fn adam(&self, workload: &str, peer: &str) -> Option<Run> {
        let runs = self.runs(workload).filter(|l| l["peer"] == peer && !Self::is_recommended(l));
        runs.last().map(Self::run)
    }

    /// The last fit of each peer.
    pub fn peers(&self, workload: &str) -> Vec<Run> {
        self.names(workload).iter().filter_map(|p| self.adam(workload, p)).collect()
    }

    /// Fits with the recommended optimizer, the longest last.
    pub fn recommended(&self, workload: &str) -> Vec<Run> {
        let runs = self.runs(workload).filter(|l| l["peer"] == "elbo" && Self::is_recommended(l));
        let mut runs: Vec<Run> = runs.map(Self::run).collect();
        runs.sort_by_key(|r| r.steps);
        runs
    }

    /// Milliseconds on the clock that a step takes with so many threads.
    pub fn with_threads(&self, workload: &str, threads: u64) -> Option<f64> {
        let is = |l: &&Value| l["two_threads"] == workload && l["threads_used"] == threads;
        self.0.iter().find(is).and_then(|l| l["wall_ms_step"].as_f64())
    }

    /// The most memory that a slope took, in MiB.
    pub fn slope_peak(&self, name: &str) -> Option<f64> {
        let points = self.0.iter().filter(|l| l["slope"] == name);
        points.filter_map(|l| l["peak_rss_mb"].as_f64()).reduce(f64::max)
    }

    /// The points of a slope, from small to large.
    pub fn slope(&self, name: &str) -> Vec<Point> {
        let points = self.0.iter().filter(|l| l["slope"] == name);
        points
            .filter_map(|l| Some(Point { x: l["x"].as_f64()?, ms: l["cpu_ms_step_min"].as_f64()? }))
            .collect()
    }

    /// The small measurements in their order.
    pub fn micro(&self) -> Vec<Path> {
        let path = |l: &Value| {
            let (pair, path) = l["micro"].as_str()?.split_once('/')?;
            let each = l["ns"].as_f64()? / l["count"].as_f64()?;
            let per = l["per"].as_str()?.to_string();
            Some(Path { pair: pair.to_string(), path: path.to_string(), per, each })
        };
        self.0.iter().filter_map(path).collect()
    }
}
