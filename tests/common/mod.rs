//! What the tests share: the instruction sets and thread counts to run on, cases with their padded
//! and selected variants, one guarded evaluation, and errors on the scales of the promise. Every
//! buffer that a kernel reads or writes has canaries around it.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test compiles its own copy of this file and uses a part of it"
)]

pub mod case;
pub mod data;
pub mod failure;
mod random;
mod stored;

pub use case::{Case, Shape, max_abs};
pub use random::Random;
pub use stored::Stored;

use softmargin::reference::Reference;
use softmargin::{Error, Evaluator, Isa, LinearModel, Loss, Objective, Scalar};
use std::{cell::RefCell, collections::HashSet, io::Write};

/// Calls `test` with every instruction set of this machine. What it lacks is reported on stderr,
/// and is a failure if the environment variable `SOFTMARGIN_REQUIRE_ISA` (names separated by
/// commas) asks for it: a machine of which we know what it has must not skip in silence.
pub fn for_each_isa(mut test: impl FnMut(Isa)) {
    let required = std::env::var("SOFTMARGIN_REQUIRE_ISA").unwrap_or_default();
    for name in required.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        assert!(Isa::NAMES.contains(&name), "SOFTMARGIN_REQUIRE_ISA: {name:?} is not known");
    }
    for &name in Isa::NAMES {
        match name.parse::<Isa>() {
            Ok(isa) => test(isa),
            Err(error) => {
                let required = required.split(',').any(|required| required.trim() == name);
                assert!(!required, "SOFTMARGIN_REQUIRE_ISA asks for {name}: {error}");
                skipped(&format!("this machine has no {name}"));
            }
        }
    }
}

/// Says, once a test, what it leaves out. A test has a thread for itself, after which the harness names it.
pub fn skipped(why: &str) {
    thread_local! {
        static SAID: RefCell<HashSet<String>> = RefCell::default();
    }
    if SAID.with_borrow_mut(|said| said.insert(why.to_owned())) {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        // Written past the test harness, which would keep it to itself.
        let _ = writeln!(std::io::stderr(), "SKIPPED in {test}: {why}");
    }
}

/// Runs `f` in a pool of so many threads; without the feature `rayon`, on this thread.
pub fn with_threads<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    if cfg!(feature = "rayon") {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(f)
    } else {
        f()
    }
}

/// Calls `test` in a pool of each of the given numbers of threads.
pub fn for_each_threads(counts: &[usize], mut test: impl FnMut(usize) + Send) {
    for &threads in counts {
        with_threads(threads, || test(threads));
    }
}

/// One of each loss.
pub fn losses() -> [Objective; 5] {
    [
        Objective::hinge(1.0),
        Objective::cross_entropy(),
        Objective::squared_hinge(1.0),
        Objective::crammer_singer(1.0),
        Objective::cross_entropy().with_label_smoothing(0.1),
    ]
}

/// One of each binary loss, for models of one row.
pub fn binary_losses() -> [Objective; 3] {
    [Objective::logistic(), Objective::binary_hinge(1.0), Objective::binary_squared_hinge(1.0)]
}

/// One of each loss that is for models of so many rows.
pub fn losses_of(n_rows: usize) -> Vec<Objective> {
    let binary = binary_losses().into_iter().filter(|_| n_rows == 1);
    losses().into_iter().chain(binary).collect()
}

/// The promised bound on scaled errors for the element type.
pub fn tolerance<T: Scalar>() -> f64 {
    if size_of::<T>() == 4 { 1e-6 } else { 1e-14 }
}

/// A loss and its gradient.
#[derive(Clone, Debug)]
pub struct Evaluated<T> {
    pub loss: f64,
    pub gradient: LinearModel<T>,
}

impl<T: Scalar> Evaluated<T> {
    /// The bits of the loss, of dL/dW and of dL/db. (f32 to f64 is injective.)
    pub fn bits(&self) -> Vec<u64> {
        let values = self.gradient.parameters().iter().map(|value| value.to_f64());
        std::iter::once(self.loss).chain(values).map(f64::to_bits).collect()
    }
}

/// Values behind the end of the gradient that no evaluation may write.
const SPARE: usize = 64;
const CANARY: f64 = -77.5;

/// Evaluates the case into a gradient full of NaN, with canaries behind its end, and checks that
/// `loss` gives the same bits as `loss_and_gradient`.
pub fn try_evaluate<T: Scalar>(
    evaluator: &mut Evaluator<T>,
    case: &Case<T>,
) -> Result<Evaluated<T>, Error> {
    let (c, d) = (case.model.n_classes(), case.model.n_features());
    let length = c * (d + 1);
    let mut buffer = vec![T::from_f64(f64::NAN); length];
    buffer.resize(length + SPARE, T::from_f64(CANARY));
    buffer.truncate(length);
    let mut gradient = LinearModel::from_parameters(c, d, buffer)?;

    let loss = evaluator.loss_and_gradient(&case.model, &case.batch(), &mut gradient)?;
    let loss_alone = evaluator.loss(&case.model, &case.batch())?;
    assert_eq!(loss.to_bits(), loss_alone.to_bits(), "loss() says {loss_alone}, not {loss}");

    let mut buffer = gradient.into_parameters();
    assert!(buffer.capacity() >= length + SPARE, "the buffer was replaced");
    // SAFETY: the buffer has the capacity, and `resize` initialised it up to there.
    unsafe { buffer.set_len(length + SPARE) };
    let written = buffer[length..].iter().position(|value| value.to_f64() != CANARY);
    assert_eq!(written, None, "written behind the end of the gradient");
    buffer.truncate(length);
    Ok(Evaluated { loss, gradient: LinearModel::from_parameters(c, d, buffer)? })
}

/// [`try_evaluate`] of a case that is known to be good, with a new evaluator.
pub fn evaluate<T: Scalar>(isa: Isa, case: &Case<T>) -> Evaluated<T> {
    let mut evaluator = Evaluator::new(case.objective).with_isa(isa);
    try_evaluate(&mut evaluator, case).unwrap()
}

/// What the errors of loss, dL/dW and dL/db are measured against.
#[derive(Clone, Copy, Debug)]
pub struct Scales {
    loss: f64,
    weights: f64,
    bias: f64,
}

impl Scales {
    /// For dW: max(|dW|, |X|, 2λ|W|); for db: max(|db|, 1); for the loss: max(|L|, the largest
    /// Σ_d |x_id w_cd| + |b_c| over rows and classes), which bounds the scores before cancellation. The
    /// derivatives of the squared hinge are twice differences of scores, and its losses their squares: that is
    /// what its errors are measured against.
    pub fn new<T: Scalar>(case: &Case<T>, expected: &Reference) -> Self {
        let (x_max, score_max) = (case.largest_feature(), case.largest_score(&case.model));
        let w_max = max_abs(case.model.weights().iter().map(|w| w.to_f64()));
        let dw_max = max_abs(expected.weights.iter().copied());
        let (of_loss, of_slope) = match case.objective.loss() {
            Loss::SquaredHinge { margin } | Loss::BinarySquaredHinge { margin } => {
                ((score_max + margin).powi(2), 2.0 * (score_max + margin).max(0.5))
            }
            _ => (score_max, 1.0),
        };
        Self {
            loss: expected.loss.abs().max(of_loss),
            weights: dw_max.max(of_slope * x_max).max(2.0 * case.objective.l2() * w_max),
            bias: max_abs(expected.bias.iter().copied()).max(of_slope),
        }
    }

    /// Panics where a scaled error is beyond `tolerance`, or is not a number.
    #[track_caller]
    pub fn check<T: Scalar>(
        &self,
        got: &Evaluated<T>,
        expected: &Reference,
        tolerance: f64,
        context: &dyn std::fmt::Display,
    ) {
        let errors = [
            ("loss", (got.loss - expected.loss).abs(), self.loss),
            ("dW", max_difference(got.gradient.weights(), &expected.weights), self.weights),
            ("db", max_difference(got.gradient.bias(), &expected.bias), self.bias),
        ];
        for (what, error, scale) in errors {
            // Written so that a NaN fails; a zero error is right on a zero scale too.
            let good = error == 0.0 || error / scale <= tolerance;
            assert!(
                good,
                "{context}: {what} is off by {error:e}, {:e} on the scale {scale:e} (at most {tolerance:e})",
                error / scale
            );
        }
    }
}

/// Checks an evaluation against the oracle, on the scales of the case.
#[track_caller]
pub fn check_against_oracle<T: Scalar>(
    case: &Case<T>,
    got: &Evaluated<T>,
    context: &dyn std::fmt::Display,
) {
    let expected = case.reference();
    Scales::new(case, &expected).check(got, &expected, tolerance::<T>(), context);
}

/// max |got − expected|, where a NaN counts as infinite.
#[track_caller]
pub fn max_difference<T: Scalar>(got: &[T], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    max_abs(got.iter().zip(expected).map(|(got, expected)| got.to_f64() - expected))
}
