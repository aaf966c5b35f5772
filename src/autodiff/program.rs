//! `Program`: a recorded formula, replayed forward and in reverse at several points at once.

mod node;
mod replay;

pub(super) use node::{Node, Op, PrimitiveNode};
pub(crate) use replay::{Replay, Want};

/// A formula with `inputs` variables and some outputs, each a node or a constant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    pub(super) inputs: usize,
    pub(super) outputs: Vec<Result<u32, f64>>,
    pub(super) nodes: Vec<Node>,
    pub(super) args: Vec<u32>,
    pub(super) primitives: Vec<PrimitiveNode>,
    pub(super) slopes: usize,
}

/// Everything one replay writes; kept from one replay to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workspace<S> {
    lanes: usize,
    values: Vec<S>,
    adjoints: Vec<S>,
    slopes: Vec<S>,
    gathered: Vec<S>,
}

impl Program {
    /// Room for another recording: what this one held on to, such as data, is let go.
    pub(super) fn emptied(mut self) -> Program {
        self.primitives.clear();
        self
    }

    /// How many points at once keep the working set inside a core's own cache.
    pub(crate) fn lanes(&self, wanted: usize) -> usize {
        const CACHE: usize = 512 * 1024;
        let bytes = 16 * (self.nodes.len() + self.slopes).max(1);
        wanted.min((CACHE / bytes).clamp(4, 64)).max(1)
    }

    /// Finds the primitives whose value a gradient needs: those that reach an output through
    /// anything but sums and constant factors.
    pub(super) fn find_needed(&mut self) {
        if self.primitives.is_empty() {
            return;
        }
        let mut needed = vec![false; self.nodes.len()];
        for k in (self.inputs..self.nodes.len()).rev() {
            let Node { op, a, b, .. } = self.nodes[k];
            let (one, two) = (a as usize, b as usize);
            let here = needed[k];
            match op {
                Op::Input | Op::Constant => {}
                Op::Shift | Op::Scale | Op::OverConstant | Op::ConstantMinus => needed[one] |= here,
                Op::Add | Op::Subtract => {
                    needed[one] |= here;
                    needed[two] |= here;
                }
                Op::Sum => self.args[one..two].iter().for_each(|&i| needed[i as usize] |= here),
                Op::LogSumExp | Op::IfPositive | Op::LogIndicator => {
                    self.args[one..two].iter().for_each(|&i| needed[i as usize] = true);
                }
                Op::Primitive => {
                    let p = &mut self.primitives[one];
                    p.value_needed = here;
                    self.args[p.args.clone()].iter().for_each(|&i| needed[i as usize] = true);
                }
                Op::Multiply | Op::Divide | Op::TimesLn | Op::TimesLn1p | Op::Max | Op::Min => {
                    needed[one] = true;
                    needed[two] = true;
                }
                _ => needed[one] = true,
            }
        }
    }

    /// Computes every node at `lanes` points; `z` holds one point after another. For gradients alone,
    /// an output may be wrong by the primitives that were not asked for their value, and says no more
    /// than where it is not finite; after values alone there is no reverse pass.
    pub(crate) fn forward<S: Replay>(
        &self,
        lanes: usize,
        z: &[S],
        want: Want,
        ws: &mut Workspace<S>,
    ) {
        ws.lanes = lanes;
        ws.values.resize(self.nodes.len() * lanes, S::default());
        ws.slopes.resize(self.slopes * lanes, S::default());
        for i in 0..self.inputs {
            for l in 0..lanes {
                ws.values[i * lanes + l] = z[l * self.inputs + i];
            }
        }
        for (k, node) in self.nodes.iter().enumerate().skip(self.inputs) {
            let (done, rest) = ws.values.split_at_mut(k * lanes);
            let out = &mut rest[..lanes];
            let at = |i: u32| &done[i as usize * lanes..][..lanes];
            let args = |a: u32, b: u32| &self.args[a as usize..b as usize];
            let c = node.c;
            macro_rules! unary {
                ($x:ident => $e:expr) => {
                    for (o, &$x) in out.iter_mut().zip(at(node.a)) {
                        *o = $e;
                    }
                };
            }
            macro_rules! binary {
                ($x:ident, $y:ident => $e:expr) => {
                    for ((o, &$x), &$y) in out.iter_mut().zip(at(node.a)).zip(at(node.b)) {
                        *o = $e;
                    }
                };
            }
            match node.op {
                Op::Input => {}
                Op::Constant => out.fill(S::from(c)),
                Op::Add => binary!(x, y => x + y),
                Op::Subtract => binary!(x, y => x - y),
                Op::Multiply => binary!(x, y => x * y),
                Op::Divide => binary!(x, y => x / y),
                Op::Shift => unary!(x => x + c),
                Op::Scale => unary!(x => x * c),
                Op::OverConstant => unary!(x => x / c),
                Op::ConstantMinus => unary!(x => S::from(c) - x),
                Op::ConstantOver => unary!(x => S::from(c) / x),
                Op::Square => unary!(x => x * x),
                Op::Exp => unary!(x => x.exp()),
                Op::Ln => unary!(x => x.ln()),
                Op::Ln1p => unary!(x => x.ln_1p()),
                Op::ExpM1 => unary!(x => x.exp_m1()),
                Op::Sqrt => unary!(x => x.sqrt()),
                Op::Sin => unary!(x => x.sin()),
                Op::Cos => unary!(x => x.cos()),
                Op::Tanh => unary!(x => x.tanh()),
                Op::Atan => unary!(x => x.atan()),
                Op::Power => unary!(x => x.powf(c)),
                Op::Sigmoid => unary!(x => x.sigmoid()),
                Op::Softplus => unary!(x => x.softplus()),
                Op::LogNormalCdf => unary!(x => x.log_normal_cdf()),
                Op::LogGamma => unary!(x => x.log_gamma()),
                Op::Polygamma => unary!(x => x.polygamma(c as u32)),
                Op::Abs => unary!(x => x.abs()),
                Op::Ln1pSquare => unary!(x => x.ln_1p_square()),
                Op::TimesLn => binary!(x, y => x.times_ln(y)),
                Op::TimesLn1p => binary!(x, y => x.times_ln_1p(y)),
                Op::Max => binary!(x, y => x.max(y)),
                Op::Min => binary!(x, y => x.min(y)),
                Op::Sum => {
                    out.fill(S::default());
                    for &i in args(node.a, node.b) {
                        for (o, &x) in out.iter_mut().zip(at(i)) {
                            *o += x;
                        }
                    }
                }
                Op::LogSumExp => {
                    for (l, o) in out.iter_mut().enumerate() {
                        ws.gathered.clear();
                        ws.gathered.extend(args(node.a, node.b).iter().map(|&i| at(i)[l]));
                        *o = S::log_sum_exp(&ws.gathered);
                    }
                }
                Op::IfPositive => {
                    if let [test, yes, no] = *args(node.a, node.b) {
                        for (l, o) in out.iter_mut().enumerate() {
                            *o = at(test)[l].if_positive(at(yes)[l], at(no)[l]);
                        }
                    }
                }
                Op::LogIndicator => {
                    if let [x, low, high] = *args(node.a, node.b) {
                        for (l, o) in out.iter_mut().enumerate() {
                            *o = at(x)[l].log_indicator(at(low)[l].re(), at(high)[l].re());
                        }
                    }
                }
                Op::Primitive => {
                    let p = &self.primitives[node.a as usize];
                    ws.gathered.clear();
                    for &i in &self.args[p.args.clone()] {
                        ws.gathered.extend_from_slice(at(i));
                    }
                    let slopes = &mut ws.slopes[p.slopes * lanes..][..p.args.len() * lanes];
                    let slopes = (want != Want::Values).then_some(slopes);
                    let out = if want != Want::Gradients || p.value_needed {
                        Some(out)
                    } else {
                        out.fill(S::default());
                        None
                    };
                    S::primitive_lanes(&*p.operation, lanes, &ws.gathered, out, slopes);
                }
            }
        }
    }

    /// Output `k` of the last forward pass, one number a point.
    pub(crate) fn output<S: Replay>(&self, k: usize, ws: &Workspace<S>, out: &mut [S]) {
        match self.outputs[k] {
            Ok(i) => out.copy_from_slice(&ws.values[i as usize * ws.lanes..][..ws.lanes]),
            Err(c) => out.fill(S::from(c)),
        }
    }

    /// Clears the adjoints before outputs are seeded.
    pub(crate) fn clear<S: Replay>(&self, ws: &mut Workspace<S>) {
        ws.adjoints.clear();
        ws.adjoints.resize(self.nodes.len() * ws.lanes, S::default());
    }

    /// Adds to the derivative of the final result with respect to output `k` at point `lane`.
    pub(crate) fn seed<S: Replay>(&self, k: usize, lane: usize, slope: S, ws: &mut Workspace<S>) {
        if let Ok(i) = self.outputs[k] {
            ws.adjoints[i as usize * ws.lanes + lane] += slope;
        }
    }

    /// Carries the seeds back to the inputs and writes the gradients, one point after another.
    pub(crate) fn reverse<S: Replay>(&self, ws: &mut Workspace<S>, grad: &mut [S]) {
        let lanes = ws.lanes;
        for (k, node) in self.nodes.iter().enumerate().skip(self.inputs).rev() {
            let (before, rest) = ws.adjoints.split_at_mut(k * lanes);
            let above = &rest[..lanes];
            if above.iter().all(|g| g.is_zero()) {
                continue;
            }
            let values = &ws.values;
            let value = |i: u32| &values[i as usize * lanes..][..lanes];
            let own = value(k as u32);
            let args = |a: u32, b: u32| &self.args[a as usize..b as usize];
            let c = node.c;
            // `g * slope`, where no adjoint arrives at all the slope does not matter.
            macro_rules! unary {
                ($x:ident, $o:ident => $e:expr) => {{
                    let below = &mut before[node.a as usize * lanes..][..lanes];
                    for (((d, &g), &$x), &$o) in
                        below.iter_mut().zip(above).zip(value(node.a)).zip(own)
                    {
                        if !g.is_zero() {
                            *d += g * $e;
                        }
                    }
                }};
            }
            macro_rules! linear {
                ($i:expr, $g:ident => $e:expr) => {
                    for (d, &$g) in before[$i as usize * lanes..][..lanes].iter_mut().zip(above) {
                        *d += $e;
                    }
                };
            }
            match node.op {
                Op::Input | Op::Constant | Op::LogIndicator => {}
                Op::Add => {
                    linear!(node.a, g => g);
                    linear!(node.b, g => g);
                }
                Op::Subtract => {
                    linear!(node.a, g => g);
                    linear!(node.b, g => -g);
                }
                Op::Shift => linear!(node.a, g => g),
                Op::Scale => linear!(node.a, g => g * c),
                Op::OverConstant => linear!(node.a, g => g / c),
                Op::ConstantMinus => linear!(node.a, g => -g),
                Op::Multiply => {
                    for l in (0..lanes).filter(|&l| !above[l].is_zero()) {
                        let (x, y) = (value(node.a)[l], value(node.b)[l]);
                        before[node.a as usize * lanes + l] += above[l] * y;
                        before[node.b as usize * lanes + l] += above[l] * x;
                    }
                }
                Op::Divide => {
                    for l in (0..lanes).filter(|&l| !above[l].is_zero()) {
                        let down = above[l] / value(node.b)[l];
                        before[node.a as usize * lanes + l] += down;
                        before[node.b as usize * lanes + l] -= down * own[l];
                    }
                }
                Op::ConstantOver => unary!(x, o => -(o / x)),
                Op::Square => unary!(x, _o => x * 2.0),
                Op::Exp => unary!(_x, o => o),
                Op::Ln => unary!(x, _o => x.recip()),
                Op::Ln1p => unary!(x, _o => (x + 1.0).recip()),
                Op::ExpM1 => unary!(x, _o => x.exp()),
                Op::Sqrt => unary!(_x, o => o.recip() * 0.5),
                Op::Sin => unary!(x, _o => x.cos()),
                Op::Cos => unary!(x, _o => -x.sin()),
                Op::Tanh => unary!(_x, o => S::from(1.0) - o * o),
                Op::Atan => unary!(x, _o => (x * x + 1.0).recip()),
                Op::Power if c == 0.0 => {}
                Op::Power => unary!(x, _o => x.powf(c - 1.0) * c),
                Op::Sigmoid => unary!(x, o => o * (-x).sigmoid()),
                Op::Softplus => unary!(x, _o => x.sigmoid()),
                Op::LogNormalCdf => unary!(x, _o => x.inverse_mills()),
                Op::LogGamma => unary!(x, _o => x.polygamma(0)),
                Op::Polygamma => unary!(x, _o => x.polygamma(c as u32 + 1)),
                Op::Abs => unary!(x, _o => S::from(match x.re() {
                    0.0 => 0.0,
                    re => re.signum(),
                })),
                // 2 x / (1 + x^2), without overflow
                Op::Ln1pSquare => unary!(x, _o => if x.re().abs() > 1.0 {
                    (x + x.recip()).recip() * 2.0
                } else {
                    x * 2.0 / (x * x + 1.0)
                }),
                Op::TimesLn | Op::TimesLn1p => {
                    for l in (0..lanes).filter(|&l| !above[l].is_zero()) {
                        let (a, x) = (value(node.a)[l], value(node.b)[l]);
                        let (log, inside) = match node.op {
                            Op::TimesLn => (x.ln(), x),
                            _ => (x.ln_1p(), x + 1.0),
                        };
                        if inside.re() > 0.0 {
                            before[node.a as usize * lanes + l] += above[l] * log;
                            before[node.b as usize * lanes + l] += above[l] * (a / inside);
                        }
                    }
                }
                Op::Max | Op::Min => {
                    for l in 0..lanes {
                        let (x, y) = (value(node.a)[l].re(), value(node.b)[l].re());
                        let first = if node.op == Op::Max { x >= y } else { x <= y };
                        let i = if first || x.is_nan() { node.a } else { node.b };
                        before[i as usize * lanes + l] += above[l];
                    }
                }
                Op::Sum => {
                    for &i in args(node.a, node.b) {
                        linear!(i, g => g);
                    }
                }
                Op::LogSumExp => {
                    for &i in args(node.a, node.b) {
                        for l in (0..lanes).filter(|&l| !above[l].is_zero()) {
                            let x = value(i)[l];
                            if x.re() != f64::NEG_INFINITY {
                                before[i as usize * lanes + l] += above[l] * (x - own[l]).exp();
                            }
                        }
                    }
                }
                Op::IfPositive => {
                    if let [test, yes, no] = *args(node.a, node.b) {
                        for l in 0..lanes {
                            let i = if value(test)[l].re() > 0.0 { yes } else { no };
                            before[i as usize * lanes + l] += above[l];
                        }
                    }
                }
                Op::Primitive => {
                    let p = &self.primitives[node.a as usize];
                    let slopes = ws.slopes[p.slopes * lanes..].chunks_exact(lanes);
                    for (&i, slope) in self.args[p.args.clone()].iter().zip(slopes) {
                        for l in (0..lanes).filter(|&l| !above[l].is_zero()) {
                            before[i as usize * lanes + l] += above[l] * slope[l];
                        }
                    }
                }
            }
        }
        for i in 0..self.inputs {
            for l in 0..lanes {
                grad[l * self.inputs + i] = ws.adjoints[i * lanes + l];
            }
        }
    }
}

#[cfg(test)]
impl Workspace<f64> {
    /// `sum |value adjoint|`, and the same with the largest slope on the way to an input.
    pub fn scales(&self) -> (f64, f64) {
        let sum: f64 = self.values.iter().zip(&self.adjoints).map(|(v, g)| (v * g).abs()).sum();
        let largest = self.adjoints.iter().fold(1.0, |m: f64, g| m.max(g.abs()));
        let values = self.values.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
        (1.0 + sum, largest * largest.max(values) * self.values.len() as f64)
    }
}
