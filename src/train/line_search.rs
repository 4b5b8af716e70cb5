//! The line search of Moré and Thuente, which is that of the crate `argmin`, on a function of one number: the
//! objective along a direction.

use argmin::core::{CostFunction, Error, Gradient, IterState, LineSearch, Problem, Solver, State};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use core::cell::RefCell;

/// The objective at the end of a step, and its slope along the direction.
#[derive(Clone, Copy)]
pub(super) struct Along {
    pub(super) objective: f64,
    pub(super) slope: f64,
}

/// Looks for a step at the end of which the objective is lower and flatter than at `start` (the strong
/// conditions of Wolfe), beginning with `first`. Returns the last step of at most `tries`; it is the one that was
/// looked for, unless none was found.
///
/// None if the objective does not fall from `start` on, if `evaluate` returned none, or if the numbers lead nowhere.
pub(super) fn search(
    start: Along,
    first: f64,
    tries: usize,
    mut evaluate: impl FnMut(f64) -> Option<Along>,
) -> Option<f64> {
    // `argmin` has limits for steps, which are meant for steps of about 1.
    let scaled = |along: Along| Along { slope: along.slope * first, ..along };
    let start = scaled(start);
    let falls = start.slope < 0.0;
    if !falls {
        return None;
    }
    let evaluate = |step| evaluate(step * first).map(scaled);
    let function = Function(RefCell::new(Cached { evaluate, last: None }));
    let mut problem = Problem::new(&function);
    let mut solver = MoreThuenteLineSearch::<f64, f64, f64>::new();
    solver.search_direction(1.0);
    let state = Iterate::new().param(0.0).cost(start.objective).gradient(start.slope);
    let (mut state, _) = solver.init(&mut problem, state).ok()?;
    for _ in 0..tries {
        (state, _) = solver.next_iter(&mut problem, state).ok()?;
        if state.terminated() {
            break;
        }
    }
    let last = function.0.borrow().last;
    last.map(|(step, _)| step * first)
}

type Iterate = IterState<f64, f64, (), (), (), f64>;

/// A function of the length of a step. `argmin` asks through a shared reference, hence the cell.
struct Function<F>(RefCell<Cached<F>>);

/// The objective and the slope are asked for one by one, and are evaluated together.
struct Cached<F> {
    evaluate: F,
    last: Option<(f64, Along)>,
}

impl<F: FnMut(f64) -> Option<Along>> Function<F> {
    fn at(&self, step: f64) -> Result<Along, Error> {
        let mut cached = self.0.borrow_mut();
        if let Some((_, along)) = cached.last.filter(|(last, _)| *last == step) {
            return Ok(along);
        }
        let along = (cached.evaluate)(step).ok_or_else(|| Error::msg("not finite"))?;
        cached.last = Some((step, along));
        Ok(along)
    }
}

impl<F: FnMut(f64) -> Option<Along>> CostFunction for &Function<F> {
    type Param = f64;
    type Output = f64;

    fn cost(&self, step: &f64) -> Result<f64, Error> {
        Ok(self.at(*step)?.objective)
    }
}

impl<F: FnMut(f64) -> Option<Along>> Gradient for &Function<F> {
    type Param = f64;
    type Gradient = f64;

    fn gradient(&self, step: &f64) -> Result<f64, Error> {
        Ok(self.at(*step)?.slope)
    }
}
