//! Problems that a fuzzer makes up: sizes, magnitudes, layout and a few special values come from its input,
//! the bulk of the numbers from a seed in it.

#![allow(dead_code, reason = "each target uses a part of it")]

use arbitrary::Arbitrary;
use softmargin::{
    Batch, CsrView, Evaluator, Features, Isa, LinearModel, Loss, MatrixView, Objective, Scalar,
    reference,
};

#[derive(Arbitrary, Clone, Debug)]
pub struct Spec {
    sizes: (u16, u8, u8),
    seed: u64,
    x_exponent: i16,
    w_exponent: i16,
    padding: u8,
    weighted: bool,
    selection: Option<Vec<u8>>,
    /// Where in X, W and b, and what.
    specials: Vec<(u16, u8)>,
    bad_label: Option<(u16, u32)>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct ObjectiveSpec {
    loss: u8,
    /// Or the label smoothing.
    margin: u8,
    l2: u8,
}

impl ObjectiveSpec {
    pub fn objective(self) -> Objective {
        let margin = f64::from(self.margin) / 16.0;
        let smoothing = f64::from(self.margin) / 255.0;
        let objective = match self.loss % 8 {
            0 => Objective::cross_entropy(),
            1 => Objective::hinge(margin),
            2 => Objective::squared_hinge(margin),
            3 => Objective::crammer_singer(margin),
            4 => Objective::logistic(),
            5 => Objective::binary_hinge(margin),
            6 => Objective::binary_squared_hinge(margin),
            _ => Objective::cross_entropy().with_label_smoothing(smoothing),
        };
        objective.with_l2([0.0, 1e-4, 1.0, 1e3][usize::from(self.l2) % 4])
    }
}

/// A batch and a model.
#[derive(Debug)]
pub struct Problem<T> {
    pub rows: usize,
    pub d: usize,
    /// Rows of the model.
    pub c: usize,
    /// What labels are less than.
    pub n_classes: usize,
    pub stride: usize,
    pub x: Vec<T>,
    /// The same column by column.
    pub columns: Vec<T>,
    pub labels: Vec<u32>,
    pub sample_weights: Option<Vec<T>>,
    pub selection: Option<Vec<u32>>,
    pub model: LinearModel<T>,
}

/// Sparse rows.
#[derive(Debug)]
pub struct Sparse<T> {
    indptr: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<T>,
}

/// Marsaglia's xorshift.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// From −1 to 1.
    pub fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

fn special<T: Scalar>(kind: u8) -> T {
    let f = T::from_f64;
    match kind % 10 {
        0 => f(f64::NAN),
        1 => f(f64::INFINITY),
        2 => f(f64::NEG_INFINITY),
        3 => T::MAX,
        4 => -T::MAX,
        5 => T::MIN_POSITIVE,
        6 => f(-0.0),
        7 => f(if size_of::<T>() == 4 { 1e-45 } else { 5e-324 }),
        8 => f(1.0),
        _ => f(-1e4),
    }
}

impl<T: Scalar> Problem<T> {
    /// Of a size that the objective is for.
    pub fn new(spec: &Spec, objective: &Objective) -> Self {
        let (n, d, c) = spec.sizes;
        let d = 1 + usize::from(d) % 70;
        let (c, n_classes) = match objective.loss().is_binary() {
            true => (1, 2),
            false => (1 + usize::from(c) % 70, 1 + usize::from(c) % 70),
        };
        // Several blocks, and tasks, where rows are cheap.
        let most = if d * c <= 64 {
            2000
        } else if d * c < 640 {
            300
        } else {
            40
        };
        let rows = 1 + usize::from(n) % most;
        let stride = d + usize::from(spec.padding) % 20;
        let mut random = Random::new(spec.seed);
        let range = if size_of::<T>() == 4 { 40 } else { 310 };
        let scale = |exponent: i16| 10_f64.powi(i32::from(exponent % range));
        let (x_scale, w_scale) = (scale(spec.x_exponent), scale(spec.w_exponent));

        let padding = T::from_f64(f64::NAN);
        let mut x = vec![padding; (rows - 1) * stride + d];
        for row in x.chunks_mut(stride) {
            row.iter_mut().take(d).for_each(|x| *x = T::from_f64(x_scale * random.uniform()));
        }
        let mut parameters: Vec<T> =
            (0..c * (d + 1)).map(|_| T::from_f64(w_scale * random.uniform())).collect();
        for &(place, kind) in spec.specials.iter().take(4) {
            let place = usize::from(place) % (rows * d + parameters.len());
            match place.checked_sub(rows * d) {
                Some(place) => parameters[place] = special(kind),
                None => x[place / d * stride + place % d] = special(kind),
            }
        }
        let col_stride = rows + stride - d;
        let mut columns = vec![padding; (d - 1) * col_stride + rows];
        for place in 0..rows * d {
            let (row, col) = (place / d, place % d);
            columns[col * col_stride + row] = x[row * stride + col];
        }
        let mut labels: Vec<u32> = (0..rows).map(|_| random.below(n_classes) as u32).collect();
        if let Some((place, label)) = spec.bad_label {
            labels[usize::from(place) % rows] = label;
        }
        let sample_weights = spec.weighted.then(|| {
            let mut weights: Vec<T> =
                (0..rows).map(|_| T::from_f64((random.uniform() * 2.0).max(0.0))).collect();
            weights[0] = T::from_f64(1.0);
            weights
        });
        let selection = spec.selection.as_ref().map(|selected| {
            let others = selected.iter().map(|row| u32::from(*row) % rows as u32);
            std::iter::once(0).chain(others).collect()
        });
        let model = LinearModel::from_parameters(c, d, parameters).unwrap();
        Self { rows, d, c, n_classes, stride, x, columns, labels, sample_weights, selection, model }
    }

    pub fn batch(&self) -> Batch<'_, T> {
        self.batch_of(MatrixView::with_row_stride(&self.x, self.rows, self.d, self.stride).unwrap())
    }

    pub fn column_major_batch(&self) -> Batch<'_, T> {
        let stride = self.rows + self.stride - self.d;
        self.batch_of(
            MatrixView::with_col_stride(&self.columns, self.rows, self.d, stride).unwrap(),
        )
    }

    /// With other features, in the place of those of `x` or of `columns`.
    pub fn batch_as<'a, E>(&'a self, x: &'a [E], by_columns: bool) -> Batch<'a, T>
    where
        MatrixView<'a, E>: Into<Features<'a, T>>,
    {
        let (rows, d) = (self.rows, self.d);
        let view = match by_columns {
            true => MatrixView::with_col_stride(x, rows, d, rows + self.stride - d),
            false => MatrixView::with_row_stride(x, rows, d, self.stride),
        };
        self.batch_of(view.unwrap())
    }

    /// X as sparse rows: all but the zeros, some features in two entries.
    pub fn sparse(&self) -> Sparse<T> {
        let (mut indptr, mut indices, mut values) = (vec![0], vec![], vec![]);
        for row in 0..self.rows {
            for (feature, x) in
                self.row(row).iter().enumerate().filter(|(_, x)| **x != T::default())
            {
                let half = T::from_f64(x.to_f64() / 2.0);
                let twice = (row + feature).is_multiple_of(7) && half.to_f64() * 2.0 == x.to_f64();
                let (two, one) = ([half, half], [*x]);
                for part in if twice { &two[..] } else { &one } {
                    indices.push(feature as u32);
                    values.push(*part);
                }
            }
            indptr.push(indices.len());
        }
        Sparse { indptr, indices, values }
    }

    pub fn sparse_batch<'a>(&'a self, sparse: &'a Sparse<T>) -> Batch<'a, T> {
        let Sparse { indptr, indices, values } = sparse;
        self.batch_of(CsrView::new(self.rows, self.d, indptr, indices, values).unwrap())
    }

    fn batch_of<'a>(&'a self, x: impl Into<Features<'a, T>>) -> Batch<'a, T> {
        let mut batch = Batch::new(x, &self.labels).unwrap();
        if let Some(weights) = &self.sample_weights {
            batch = batch.with_sample_weights(weights).unwrap();
        }
        match &self.selection {
            Some(rows) => batch.select(rows).unwrap(),
            None => batch,
        }
    }

    /// The rows that count, in order.
    pub fn samples(&self) -> Vec<usize> {
        match &self.selection {
            Some(rows) => rows.iter().map(|row| *row as usize).collect(),
            None => (0..self.rows).collect(),
        }
    }

    pub fn row(&self, row: usize) -> &[T] {
        &self.x[row * self.stride..][..self.d]
    }

    /// Whether the contract demands an error: a label that is no class, or a number in use that is not
    /// finite.
    pub fn must_fail(&self) -> bool {
        let finite = |values: &[T]| values.iter().all(|v| v.to_f64().is_finite());
        let bad =
            |row: &usize| !finite(self.row(*row)) || self.labels[*row] as usize >= self.n_classes;
        !finite(self.model.parameters()) || self.samples().iter().any(bad)
    }

    /// The magnitudes that bound all that is computed.
    pub fn magnitudes(&self) -> Magnitudes {
        let abs = |values: &[T]| values.iter().fold(0.0, |m: f64, v| m.max(v.to_f64().abs()));
        let samples = self.samples();
        let x = samples.iter().map(|row| abs(self.row(*row))).fold(0.0, f64::max);
        let (w, b) = (abs(self.model.weights()), abs(self.model.bias()));
        let mut score = 0.0_f64;
        for row in &samples {
            for (w, b) in self.model.weights().chunks_exact(self.d).zip(self.model.bias()) {
                let products = w.iter().zip(self.row(*row));
                let products = products.map(|(w, x)| (w.to_f64() * x.to_f64()).abs());
                score = score.max(products.sum::<f64>() + b.to_f64().abs());
            }
        }
        Magnitudes { x, w, b, score, samples: samples.len() as f64 }
    }

    /// What the errors of the loss and of its derivatives by the scores are relative to. Sums of losses are as exact as
    /// the scores, each of which counts for every class of the hinge; squares are twice as far off, by what is squared.
    pub fn scales(&self, objective: &Objective) -> (f64, f64) {
        let (c, score) = (self.c as f64, self.magnitudes().score);
        match objective.loss() {
            Loss::Hinge { .. } => (c * score, c),
            Loss::SquaredHinge { margin } | Loss::BinarySquaredHinge { margin } => {
                let violation = 2.0 * score + margin;
                (c * violation * violation, 2.0 * c * violation)
            }
            _ => (score, 1.0 + score),
        }
    }

    /// Whether nothing comes near an overflow, so that there must be a result.
    pub fn must_succeed(&self, objective: &Objective) -> bool {
        let Magnitudes { x, w, b, score, samples } = self.magnitudes();
        let margin = objective.loss().margin().unwrap_or(0.0);
        let c = self.c as f64;
        let violation = 2.0 * score + margin + 10.0;
        let (loss, slope) = match objective.loss() {
            Loss::SquaredHinge { .. } | Loss::BinarySquaredHinge { .. } => {
                (violation * violation, 2.0 * violation)
            }
            _ => (violation, 1.0),
        };
        // Sample weights are at most 2, and the partial sums of scores at most the sum of magnitudes.
        let largest = [
            4.0 * samples * c * loss,
            4.0 * samples * c * slope * x,
            4.0 * objective.l2() * w,
            x,
            w,
            b,
        ];
        // The squares are summed before they are multiplied by λ.
        let squares = objective.l2().max(1.0) * w * w * self.model.weights().len() as f64;
        !self.must_fail()
            && largest.iter().all(|value| *value < T::MAX.to_f64() / 16.0)
            && squares < f64::MAX / 16.0
    }

    /// Whether a margin, or the difference of the scores of two classes, is so near to zero that rounding rightly
    /// decides about it.
    pub fn on_a_kink(&self, objective: &Objective) -> bool {
        let (margin, of_two) = match objective.loss() {
            Loss::Hinge { margin } | Loss::BinaryHinge { margin } => (margin, false),
            Loss::CrammerSinger { margin } => (margin, true),
            _ => return false,
        };
        let near = tolerance::<T>() * (self.magnitudes().score + margin);
        let binary = objective.loss().is_binary();
        self.samples().iter().any(|row| {
            let mut scores: Vec<f64> = self
                .model
                .weights()
                .chunks_exact(self.d)
                .zip(self.model.bias())
                .map(|(w, b)| {
                    let products = w.iter().zip(self.row(*row));
                    products.map(|(w, x)| w.to_f64() * x.to_f64()).sum::<f64>() + b.to_f64()
                })
                .collect();
            if binary {
                scores.insert(0, 0.0);
            }
            let label = self.labels[*row] as usize;
            let gap = |k: usize| scores[k] - scores[label] + margin;
            let others = || (0..scores.len()).filter(|&k| k != label);
            let close = |k: usize| others().any(|j| j < k && (gap(k) - gap(j)).abs() <= near);
            others().any(|k| gap(k).abs() <= near || of_two && close(k))
        })
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Magnitudes {
    pub x: f64,
    pub w: f64,
    pub b: f64,
    /// The largest sum of the magnitudes of what a score is the sum of.
    pub score: f64,
    pub samples: f64,
}

/// The promised bound on scaled errors; twice that of the oracle, which in f64 errs as well.
pub fn tolerance<T: Scalar>() -> f64 {
    if size_of::<T>() == 4 { 1e-6 } else { 2e-14 }
}

/// A sum in which many small terms beside a large one are not lost (Neumaier's).
fn sum(terms: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0);
    for term in terms {
        let next = sum + term;
        lost += if sum.abs() >= term.abs() { (sum - next) + term } else { (term - next) + sum };
        sum = next;
    }
    sum + lost
}

/// Evaluates, row-major, column-major and as sparse rows, and holds the results to the contract.
pub fn check<T: Scalar>(evaluator: &mut Evaluator<T>, problem: &Problem<T>) {
    check_batch(evaluator, problem, &problem.batch());
    check_batch(evaluator, problem, &problem.column_major_batch());
    check_batch(evaluator, problem, &problem.sparse_batch(&problem.sparse()));
}

fn check_batch<T: Scalar>(
    evaluator: &mut Evaluator<T>,
    problem: &Problem<T>,
    batch: &Batch<'_, T>,
) {
    let objective = evaluator.objective();
    let untouched = T::from_f64(-77.5);
    let parameters = vec![untouched; problem.c * (problem.d + 1)];
    let mut gradient = LinearModel::from_parameters(problem.c, problem.d, parameters).unwrap();
    let result = evaluator.loss_and_gradient(&problem.model, batch, &mut gradient);
    let isa = evaluator.isa();
    let loss = match result {
        Err(error) => {
            assert!(!problem.must_succeed(&objective), "{isa}: {error}");
            let written = gradient.parameters().iter().any(|g| *g != untouched);
            assert!(!written, "{isa}: written in spite of {error}");
            return;
        }
        Ok(loss) => loss,
    };
    assert!(!problem.must_fail(), "{isa}: no error, but a loss of {loss}");
    assert!(loss.is_finite() && loss >= 0.0, "{isa}: a loss of {loss}");
    assert!(gradient.parameters().iter().all(|g| g.to_f64().is_finite()), "{isa}");
    if let Ok(alone) = evaluator.loss(&problem.model, batch) {
        assert_eq!(alone.to_bits(), loss.to_bits(), "{isa}");
    }
    if !problem.must_succeed(&objective) {
        return;
    }

    // The oracle adds its squares to the loss one by one, where they may all be lost.
    let plain = objective.with_l2(0.0);
    let mut expected = reference::loss_and_gradient(&plain, &problem.model, batch);
    let l2 = objective.l2();
    let weights = problem.model.weights();
    expected.loss += l2 * sum(weights.iter().map(|w| w.to_f64() * w.to_f64()));
    for (slope, weight) in expected.weights.iter_mut().zip(weights) {
        *slope += 2.0 * l2 * weight.to_f64();
    }
    let m = problem.magnitudes();
    // The oracle adds class by class and sample by sample, and so its own error grows with their numbers.
    let tolerance = tolerance::<T>() + (m.samples + problem.c as f64) * f64::EPSILON;
    let near = |what: &str, got: f64, expected: f64, scale: f64| {
        let error = (got - expected).abs();
        assert!(error <= tolerance * scale, "{isa}, {what}: {got:e}, not {expected:e}");
    };
    let (of_loss, of_slope) = problem.scales(&objective);
    // Below the normal numbers there are no relative errors.
    let tiny = T::MIN_POSITIVE.to_f64();
    near("loss", loss, expected.loss, expected.loss.abs().max(of_loss).max(tiny));
    check_product(evaluator, problem, batch, tolerance);
    if problem.on_a_kink(&objective) {
        return;
    }
    let scale = of_slope * m.x + 2.0 * objective.l2() * m.w + tiny / tolerance;
    for (got, expected) in gradient.weights().iter().zip(&expected.weights) {
        near("dW", got.to_f64(), *expected, scale);
    }
    for (got, expected) in gradient.bias().iter().zip(&expected.bias) {
        near("db", got.to_f64(), *expected, of_slope);
    }
}

/// The Hessian times the model itself, of a problem that comes near no overflow.
fn check_product<T: Scalar>(
    evaluator: &mut Evaluator<T>,
    problem: &Problem<T>,
    batch: &Batch<'_, T>,
    tolerance: f64,
) {
    let (objective, model, m) = (evaluator.objective(), &problem.model, problem.magnitudes());
    let of_slope = match objective.loss() {
        Loss::SquaredHinge { .. } | Loss::BinarySquaredHinge { .. } => {
            4.0 * problem.c as f64 * m.score
        }
        Loss::CrossEntropy | Loss::Logistic => 2.0 * (1.0 + m.score) * m.score,
        _ => return,
    };
    let scale = of_slope * m.x.max(1.0) + 2.0 * objective.l2() * m.w;
    if scale * m.samples * problem.c as f64 > T::MAX.to_f64() / 16.0 {
        return;
    }
    let isa = evaluator.isa();
    let mut product = model.clone();
    if let Err(error) = evaluator.hessian_product(model, batch, model, &mut product) {
        panic!("{isa}: {error}");
    }
    // Where the second derivatives jump, rounding rightly decides.
    let hinge = match objective.loss() {
        Loss::SquaredHinge { margin } => Some(Objective::hinge(margin)),
        Loss::BinarySquaredHinge { margin } => Some(Objective::binary_hinge(margin)),
        _ => None,
    };
    if hinge.is_some_and(|hinge| problem.on_a_kink(&hinge)) {
        return;
    }
    let expected = reference::hessian_product(&objective, model, batch, model);
    for (got, expected) in product.parameters().iter().zip(expected) {
        let error = (got.to_f64() - expected).abs();
        let bound = tolerance * scale + T::MIN_POSITIVE.to_f64();
        assert!(error <= bound, "{isa}, product: {got:?}, not {expected:e}");
    }
}

/// An evaluator for each instruction set of this machine.
pub fn evaluators<T: Scalar>(objective: Objective) -> Vec<Evaluator<T>> {
    let with_isa = |isa| Evaluator::new(objective).with_isa(isa);
    Isa::available().into_iter().map(with_isa).collect()
}
