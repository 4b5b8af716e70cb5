//! The cases of the tests, of what a fuzzer makes up: sizes, magnitudes, layout and a few special values come from its
//! input, the bulk of the numbers from a seed in it.

#![allow(dead_code, reason = "each target uses a part of it")]

#[path = "../../tests/common/case.rs"]
pub mod case;
#[path = "../../tests/common/random.rs"]
mod random;
#[path = "../../tests/common/stored.rs"]
mod stored;

pub use case::{Case, Shape, has_kinks, max_abs};
pub use random::Random;
pub use stored::Stored;

use arbitrary::Arbitrary;
use softmargin::reference::{self, Reference};
use softmargin::{Batch, Evaluator, Isa, Loss, Objective, Scalar};

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

impl Spec {
    /// Of a size that the objective is for.
    pub fn case<T: Scalar>(&self, objective: Objective) -> Case<T> {
        let (n, d, c) = self.sizes;
        let d = 1 + usize::from(d) % 70;
        let binary = objective.loss().is_binary();
        let c = if binary { 1 } else { 1 + usize::from(c) % 70 };
        // Several blocks, and tasks, where rows are cheap.
        let most = if d * c <= 64 {
            2000
        } else if d * c < 640 {
            300
        } else {
            40
        };
        let shape = Shape { n: 1 + usize::from(n) % most, d, c };
        // Not rounded, whether the loss has kinks or not: what is on one is told from the scores.
        let smooth = if binary { Objective::logistic() } else { Objective::cross_entropy() };
        let mut case = Case::<T> { objective, ..Case::random(smooth, shape, self.seed) };
        let range = if size_of::<T>() == 4 { 40 } else { 310 };
        let scale = |values: &mut [T], exponent: i16| {
            let scale = 10_f64.powi(i32::from(exponent % range));
            values.iter_mut().for_each(|value| *value = T::from_f64(scale * value.to_f64()));
        };
        scale(&mut case.x, self.x_exponent);
        scale(case.model.parameters_mut(), self.w_exponent);
        for &(place, kind) in self.specials.iter().take(4) {
            let (features, parameters) = (case.x.len(), case.model.parameters_mut());
            let place = usize::from(place) % (features + parameters.len());
            match place.checked_sub(features) {
                Some(place) => parameters[place] = special(kind),
                None => case.x[place] = special(kind),
            }
        }
        if let Some((place, label)) = self.bad_label {
            case.labels[usize::from(place) % shape.n] = label;
        }
        if self.weighted {
            case = case.randomly_weighted(self.seed);
        }
        case.selection = self.selection.as_ref().map(|selected| {
            let others = selected.iter().map(|row| u32::from(*row) % shape.n as u32);
            std::iter::once(0).chain(others).collect()
        });
        // Whatever is selected has a weight.
        case.sample_weights.iter_mut().for_each(|weights| weights[0] = T::from_f64(1.0));
        // Up to 20 numbers between rows, or so many that rows lie 4096 bytes apart, or nearly so.
        let padding = match usize::from(self.padding) {
            padding @ ..192 => padding % 20,
            padding => 1023 + padding % 3 - shape.d,
        };
        case.padded(padding).bare()
    }
}

/// The contract.
impl<T: Scalar> Case<T> {
    /// Whether it demands an error: a label that is no class, or a number in use that is not finite.
    pub fn must_fail(&self) -> bool {
        let finite = |values: &[T]| values.iter().all(|v| v.is_finite());
        let binary = self.objective.loss().is_binary();
        let n_classes = if binary { 2 } else { self.model.n_classes() };
        let bad = |row| !finite(self.row(row)) || self.labels[row] as usize >= n_classes;
        !finite(self.model.parameters()) || self.sample_rows().any(bad)
    }

    /// What the errors of the loss and of its derivatives by the scores are relative to. Sums of losses are as exact as
    /// the scores, each of which counts for every class of the hinge; squares are twice as far off, by what is squared.
    pub fn scales(&self) -> (f64, f64) {
        let (c, score) = (self.model.n_classes() as f64, self.largest_score(&self.model));
        match self.objective.loss() {
            Loss::Hinge { .. } => (c * score, c),
            Loss::SquaredHinge { margin } | Loss::BinarySquaredHinge { margin } => {
                let violation = 2.0 * score + margin;
                (c * violation * violation, 2.0 * c * violation)
            }
            _ => (score, 1.0 + score),
        }
    }

    /// What the errors of dW are relative to.
    pub fn gradient_scale(&self) -> f64 {
        self.scales().1 * self.largest_feature()
            + 2.0 * self.objective.l2() * largest(self.model.weights())
    }

    /// Whether nothing comes near an overflow, so that there must be a result.
    pub fn must_succeed(&self) -> bool {
        let (objective, model) = (self.objective, &self.model);
        let (x, w, b) = (self.largest_feature(), largest(model.weights()), largest(model.bias()));
        let (c, samples) = (model.n_classes() as f64, self.sample_rows().count() as f64);
        let margin = objective.loss().margin().unwrap_or(0.0);
        let violation = 2.0 * self.largest_score(model) + margin + 10.0;
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
        let squares = objective.l2().max(1.0) * w * w * model.weights().len() as f64;
        !self.must_fail()
            && largest.iter().all(|value| *value < T::MAX.to_f64() / 16.0)
            && squares < f64::MAX / 16.0
    }

    /// Whether a margin, or the difference of the scores of two classes, is so near to zero that rounding rightly
    /// decides about it.
    pub fn on_a_kink(&self, loss: Loss) -> bool {
        let (margin, of_two) = match loss {
            Loss::Hinge { margin } | Loss::BinaryHinge { margin } => (margin, false),
            Loss::CrammerSinger { margin } => (margin, true),
            _ => return false,
        };
        let near = tolerance::<T>() * (self.largest_score(&self.model) + margin);
        let binary = self.objective.loss().is_binary();
        self.sample_rows().any(|row| {
            let mut scores = reference::scores(&self.model, self.row(row));
            if binary {
                scores.insert(0, 0.0);
            }
            let label = self.labels[row] as usize;
            let gap = |k: usize| scores[k] - scores[label] + margin;
            let others = || (0..scores.len()).filter(|&k| k != label);
            let close = |k: usize| others().any(|j| j < k && (gap(k) - gap(j)).abs() <= near);
            others().any(|k| gap(k).abs() <= near || of_two && close(k))
        })
    }
}

fn largest<T: Scalar>(values: &[T]) -> f64 {
    max_abs(values.iter().map(|value| value.to_f64()))
}

/// The promised bound on scaled errors; twice that of the oracle, which in f64 errs as well.
pub fn tolerance<T: Scalar>() -> f64 {
    if size_of::<T>() == 4 { 1e-6 } else { 2e-14 }
}

/// Evaluates, row-major, column-major and as sparse rows, and holds the results to the contract.
pub fn check<T: Scalar>(evaluators: &mut [Evaluator<T>], case: &Case<T>) {
    let padding = case.stride - case.model.n_features();
    let columns = case.clone().column_major(padding).bare();
    for case in [case, &columns, &case.clone().sparse(1).bare()] {
        let (must_fail, must_succeed) = (case.must_fail(), case.must_succeed());
        let expected = must_succeed.then(|| case.reference());
        for evaluator in &mut *evaluators {
            check_evaluator(evaluator, case, must_fail, expected.as_ref());
        }
    }
}

fn check_evaluator<T: Scalar>(
    evaluator: &mut Evaluator<T>,
    case: &Case<T>,
    must_fail: bool,
    expected: Option<&Reference>,
) {
    let batch = case.batch();
    let untouched = T::from_f64(-77.5);
    let mut gradient = case.model.clone();
    gradient.parameters_mut().fill(untouched);
    let result = evaluator.loss_and_gradient(&case.model, &batch, &mut gradient);
    let isa = evaluator.isa();
    let loss = match result {
        Err(error) => {
            assert!(expected.is_none(), "{isa}: {error}");
            let written = gradient.parameters().iter().any(|g| *g != untouched);
            assert!(!written, "{isa}: written in spite of {error}");
            return;
        }
        Ok(loss) => loss,
    };
    assert!(!must_fail, "{isa}: no error, but a loss of {loss}");
    assert!(loss.is_finite() && loss >= 0.0, "{isa}: a loss of {loss}");
    assert!(gradient.parameters().iter().all(|g| g.is_finite()), "{isa}");
    if let Ok(alone) = evaluator.loss(&case.model, &batch) {
        assert_eq!(alone.to_bits(), loss.to_bits(), "{isa}");
    }
    let Some(expected) = expected else { return };

    // The oracle adds class by class and sample by sample, and so its own error grows with their numbers.
    let terms = case.sample_rows().count() + case.model.n_classes();
    let tolerance = tolerance::<T>() + terms as f64 * f64::EPSILON;
    let near = |what: &str, got: f64, expected: f64, scale: f64| {
        let error = (got - expected).abs();
        assert!(error <= tolerance * scale, "{isa}, {what}: {got:e}, not {expected:e}");
    };
    let (of_loss, of_slope) = case.scales();
    // Below the normal numbers there are no relative errors.
    let tiny = T::MIN_POSITIVE.to_f64();
    near("loss", loss, expected.loss, expected.loss.abs().max(of_loss).max(tiny));
    check_product(evaluator, case, &batch, tolerance);
    if case.on_a_kink(case.objective.loss()) {
        return;
    }
    let scale = case.gradient_scale() + tiny / tolerance;
    for (got, expected) in gradient.weights().iter().zip(&expected.weights) {
        near("dW", got.to_f64(), *expected, scale);
    }
    for (got, expected) in gradient.bias().iter().zip(&expected.bias) {
        near("db", got.to_f64(), *expected, of_slope);
    }
}

/// The Hessian times the model itself, of a case that comes near no overflow.
fn check_product<T: Scalar>(
    evaluator: &mut Evaluator<T>,
    case: &Case<T>,
    batch: &Batch<'_, T>,
    tolerance: f64,
) {
    let (objective, model) = (case.objective, &case.model);
    if has_kinks(objective) {
        return;
    }
    let (scale, samples) = (case.product_scale(model), case.sample_rows().count() as f64);
    if scale * samples * model.n_classes() as f64 > T::MAX.to_f64() / 16.0 {
        return;
    }
    let isa = evaluator.isa();
    let mut product = model.clone();
    if let Err(error) = evaluator.hessian_product(model, batch, model, &mut product) {
        panic!("{isa}: {error}");
    }
    // Where the second derivatives jump, rounding rightly decides.
    let jumps = match objective.loss() {
        Loss::SquaredHinge { margin } => Loss::Hinge { margin },
        Loss::BinarySquaredHinge { margin } => Loss::BinaryHinge { margin },
        smooth => smooth,
    };
    if case.on_a_kink(jumps) {
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
