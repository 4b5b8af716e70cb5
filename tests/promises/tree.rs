//! The same bits on any number of processes: partials of numbered chunks, joined in the order of a tree, whichever
//! process has which chunks and whenever its nodes come; and so the same model, which L-BFGS fits to them.

use crate::common::{Case, Random, Shape, losses};
use softmargin::{Batch, Error, Evaluator, LinearModel, Partial, PartialTree, Scalar};
use std::ops::Range;

const PROCESSES: [u64; 5] = [1, 2, 3, 4, 7];

/// Rows of a chunk; the last one has fewer.
const ROWS: usize = 40;

const SHAPE: Shape = Shape { n: 17 * ROWS - 13, d: 5, c: 4 };

const N_CHUNKS: u64 = 17;

fn chunk<T: Scalar>(case: &Case<T>, i: u64) -> Batch<'_, T> {
    case.chunk(i as usize * ROWS..SHAPE.n.min((i as usize + 1) * ROWS)).unwrap()
}

/// What a process that has these chunks sends.
fn process<T: Scalar>(
    case: &Case<T>,
    model: &LinearModel<T>,
    chunks: impl IntoIterator<Item = u64>,
) -> Result<PartialTree<T>, Error> {
    let mut evaluator = Evaluator::new(case.objective);
    let mut tree = PartialTree::new();
    for i in chunks {
        let mut partial = Partial::new(SHAPE.c, SHAPE.d);
        evaluator.accumulate(model, &chunk(case, i), &mut partial)?;
        tree.push(i..i + 1, partial)?;
    }
    Ok(tree)
}

fn receive<T: Scalar>(trees: impl IntoIterator<Item = PartialTree<T>>) -> PartialTree<T> {
    let mut joined = PartialTree::new();
    for tree in trees {
        for (chunks, partial) in tree.nodes() {
            let sent = partial.sums().to_vec();
            let (c, d) = (partial.n_classes(), partial.n_features());
            joined.push(chunks, Partial::from_sums(c, d, sent).unwrap()).unwrap();
        }
    }
    joined
}

fn bits<T>(partial: &Partial<T>) -> Vec<u64> {
    partial.sums().iter().map(|sum| sum.to_bits()).collect()
}

/// The contiguous share of one of so many processes.
fn share(process: u64, processes: u64) -> Range<u64> {
    process * N_CHUNKS / processes..(process + 1) * N_CHUNKS / processes
}

/// The sums as the head of the module defines them, level by level.
fn by_definition<T: Scalar>(case: &Case<T>) -> Partial<T> {
    let leaf = |i| process(case, &case.model, [i]).unwrap().into_nodes().next().unwrap().1;
    let mut level: Vec<Partial<T>> = (0..N_CHUNKS).map(leaf).collect();
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| {
                let mut sum = pair[0].clone();
                pair.get(1).into_iter().for_each(|right| sum.merge(right).unwrap());
                sum
            })
            .collect();
    }
    level.remove(0)
}

fn however_the_chunks_are_spread<T: Scalar>() {
    let (mut random, mut order_shows) = (Random::new(17), false);
    for objective in losses() {
        let case = Case::<T>::random(objective.with_l2(0.01), SHAPE, 1);
        let expected = bits(&by_definition(&case));
        for processes in PROCESSES {
            let trees: Vec<_> = (0..processes)
                .map(|p| process(&case, &case.model, share(p, processes)).unwrap())
                .collect();
            let most = 2 * u64::BITS - 2 * (N_CHUNKS / processes).leading_zeros();
            assert!(trees.iter().all(|tree| tree.nodes().len() <= most as usize));
            let total = receive(trees.clone()).total(N_CHUNKS).unwrap();
            assert_eq!(bits(&total), expected, "{processes} processes");

            // They come in another order, and have every seventh chunk or some at random.
            let total = receive(trees.into_iter().rev()).total(N_CHUNKS).unwrap();
            assert_eq!(bits(&total), expected, "{processes} processes, the last one first");
            let mut chunks: Vec<u64> = (0..N_CHUNKS).collect();
            random.shuffle(&mut chunks);
            let scattered = (0..processes as usize).map(|p| {
                let own = chunks.iter().copied().skip(p).step_by(processes as usize);
                process(&case, &case.model, own).unwrap()
            });
            let total = receive(scattered).total(N_CHUNKS).unwrap();
            assert_eq!(bits(&total), expected, "{processes} processes, scattered");
        }
        // That this can fail: in another order there are other bits, but of so few `f32` the sums are exact.
        let mut in_a_row = Partial::new(SHAPE.c, SHAPE.d);
        let mut evaluator = Evaluator::new(case.objective);
        for i in 0..N_CHUNKS {
            evaluator.accumulate(&case.model, &chunk(&case, i), &mut in_a_row).unwrap();
        }
        order_shows |= bits(&in_a_row) != expected;
    }
    assert!(order_shows || size_of::<T>() == size_of::<f32>());
}

#[test]
fn however_the_chunks_are_spread_f32() {
    however_the_chunks_are_spread::<f32>();
}

#[test]
fn however_the_chunks_are_spread_f64() {
    however_the_chunks_are_spread::<f64>();
}

#[test]
fn every_number_of_chunks() {
    // 1e16 + 1 is 1e16: what is added up first shows.
    let leaf = |i: u64| {
        let sum = if i.is_multiple_of(3) { 1e16 } else { 1.0 + i as f64 };
        Partial::<f64>::from_sums(1, 1, vec![sum; 4]).unwrap()
    };
    for n in 1..40 {
        let mut level: Vec<f64> = (0..n).map(|i| leaf(i).sums()[0]).collect();
        while level.len() > 1 {
            level = level.chunks(2).map(|pair| pair.iter().sum()).collect();
        }
        for cut in 0..n {
            let mut left = PartialTree::new();
            (0..cut).for_each(|i| left.push(i..i + 1, leaf(i)).unwrap());
            let mut tree = PartialTree::new();
            (cut..n).for_each(|i| tree.push(i..i + 1, leaf(i)).unwrap());
            left.into_nodes().for_each(|(chunks, partial)| tree.push(chunks, partial).unwrap());
            assert_eq!(tree.total(n).unwrap().sums()[0].to_bits(), level[0].to_bits(), "{n} {cut}");
        }
    }
}

#[test]
fn what_is_no_tree() {
    let partial = || Partial::<f32>::new(2, 3);
    let mut tree = PartialTree::new();
    for chunks in [0..1, 1..2, 4..8] {
        tree.push(chunks, partial()).unwrap();
    }
    let before = tree.clone();
    let words = |result: Result<(), Error>, words: &str| {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    };
    for chunks in [1..2, 0..2, 0..8, 5..6, 4..8, 0..16] {
        let message = format!("{}..{} are there already", chunks.start, chunks.end);
        words(tree.push(chunks, partial()), &message);
    }
    #[expect(clippy::reversed_empty_ranges, reason = "they are no nodes")]
    for chunks in [2..2, 3..2, 9..11, 8..11, 2..6] {
        words(tree.push(chunks, partial()), "are no node of the tree");
    }
    words(tree.push(2..3, Partial::new(3, 2)), "partial");
    assert_eq!(tree, before, "changed by an error");
    words(tree.clone().total(8).map(|_| ()), "the chunks 2..4 are missing");
    tree.push(2..4, partial()).unwrap();
    let nodes = tree.nodes().map(|(chunks, _)| (chunks.start, chunks.end));
    assert_eq!(nodes.collect::<Vec<_>>(), [(0, 8)]);
    words(tree.clone().total(9).map(|_| ()), "the chunks 8..9 are missing");
    words(tree.clone().total(7).map(|_| ()), "the chunks 7..8 are beyond the last one");
    assert_eq!(PartialTree::<f32>::new().total(0), Err(Error::NoSamples));
    assert_eq!(tree.total(8).unwrap(), partial());
}

#[cfg(feature = "train")]
mod train {
    use super::*;
    use crate::common::binary_losses;
    use softmargin::{
        MatrixView, NonFinite, Objective,
        train::{DualAscent, Lbfgs, NewtonCg, Sgd, StopReason, Sums, optimality_gap},
    };
    use std::ops::ControlFlow;

    fn go_on(_: &softmargin::train::Progress, _: &LinearModel<f64>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// What a process that has these chunks answers.
    fn answer(
        case: &Case<f64>,
        sums: &Sums<'_, f64>,
        chunks: Range<u64>,
    ) -> Result<PartialTree<f64>, Error> {
        let mut evaluator = Evaluator::new(case.objective);
        let mut tree = PartialTree::new();
        for i in chunks {
            let mut partial = Partial::new(sums.model.n_classes(), SHAPE.d);
            sums.add(&mut evaluator, &chunk(case, i), &mut partial)?;
            tree.push(i..i + 1, partial)?;
        }
        Ok(tree)
    }

    /// All that many processes answer.
    fn total(
        case: &Case<f64>,
        sums: &Sums<'_, f64>,
        processes: u64,
    ) -> Result<Partial<f64>, Error> {
        let trees = (0..processes).map(|p| answer(case, sums, share(p, processes)));
        receive(trees.collect::<Result<Vec<_>, _>>()?).total(N_CHUNKS)
    }

    #[test]
    fn a_fit_has_the_same_bits_on_any_number_of_processes() {
        let case = Case::<f64>::random(Objective::cross_entropy().with_l2(1e-3), SHAPE, 2);
        let sample = case.batch();
        let fit = |processes: u64, sample: Option<&Batch<'_, f64>>| {
            let mut model = LinearModel::zeros(SHAPE.c, SHAPE.d);
            let summary = Lbfgs::default()
                .fit_partials(
                    &mut Evaluator::new(case.objective),
                    &mut model,
                    sample,
                    |sums, partial| {
                        *partial = total(&case, sums, processes)?;
                        Ok(SHAPE.n as u64)
                    },
                    go_on,
                )
                .unwrap();
            assert!(summary.stop_reason.converged(), "{summary:?}");
            let (n, evaluations) = (SHAPE.n as u64, summary.progress.evaluations as u64);
            assert!(sample.is_some() || summary.progress.samples == n * evaluations);
            (summary, model)
        };
        for sample in [None, Some(&sample)] {
            let alone = fit(1, sample);
            for processes in PROCESSES {
                assert_eq!(fit(processes, sample), alone, "{processes} processes");
            }
            // It is the optimum, to rounding, that a batch has.
            let mut model = LinearModel::zeros(SHAPE.c, SHAPE.d);
            let mut evaluator = Evaluator::new(case.objective);
            let whole =
                Lbfgs::default().fit(&mut evaluator, &mut model, &case.batch(), go_on).unwrap();
            let gap = (whole.progress.objective - alone.0.progress.objective).abs();
            assert!(gap < 1e-7, "{gap}");
            assert!(alone.0.gap.expect("a bound") < 1e-4 && whole.gap.is_some());
        }
    }

    #[test]
    fn newton_has_the_same_bits_on_any_number_of_processes() {
        for objective in [Objective::cross_entropy(), Objective::squared_hinge(1.0)] {
            let case = Case::<f64>::random(objective.with_l2(1e-3), SHAPE, 6);
            let whole = case.batch();
            let solver = NewtonCg { gradient_tolerance: 1e-10, ..NewtonCg::default() };
            let fit = |processes: u64, sample: Option<&Batch<'_, f64>>| {
                let mut model = LinearModel::zeros(SHAPE.c, SHAPE.d);
                let summary = solver.fit_partials(
                    &mut Evaluator::new(case.objective),
                    &mut model,
                    sample,
                    |sums, partial| {
                        *partial = total(&case, sums, processes)?;
                        Ok(SHAPE.n as u64)
                    },
                    go_on,
                );
                (summary.unwrap(), model)
            };
            for sample in [None, Some(&whole)] {
                let alone = fit(1, sample);
                assert!(alone.0.stop_reason.converged() && alone.0.gap.is_some(), "{:?}", alone.0);
                for processes in PROCESSES {
                    assert_eq!(fit(processes, sample), alone, "{processes} processes");
                }
                let mut model = LinearModel::zeros(SHAPE.c, SHAPE.d);
                let mut evaluator = Evaluator::new(case.objective);
                let of_whole = solver.fit(&mut evaluator, &mut model, &whole, go_on).unwrap();
                let gap = (of_whole.progress.objective - alone.0.progress.objective).abs();
                assert!(gap < 1e-12, "{gap}");
            }
        }
    }

    /// These see all samples, but have others evaluate them.
    #[test]
    fn dual_ascent_and_sgd_have_the_same_bits_on_any_number_of_processes() {
        let hinge = Objective::hinge(1.0).with_l2(1e-2);
        let binary = Objective::binary_hinge(1.0).with_l2(1e-2);
        for (objective, c) in [(hinge, SHAPE.c), (binary, 1)] {
            let case = Case::<f64>::random(objective, Shape { c, ..SHAPE }, 7);
            let (dual, sgd) = (DualAscent::default(), Sgd { epochs: 5, ..Sgd::default() });
            let fit = |processes: u64, steps: bool| {
                let mut model = case.model.clone();
                let mut evaluator = Evaluator::new(case.objective);
                let mut asked = 0;
                let sum = |sums: &Sums<'_, f64>, partial: &mut Partial<f64>| {
                    asked += 1;
                    *partial = total(&case, sums, processes)?;
                    Ok(SHAPE.n as u64)
                };
                let (evaluator, batch) = (&mut evaluator, &case.batch());
                let summary = match steps {
                    true => sgd.fit_partials(evaluator, &mut model, batch, sum, go_on),
                    false => dual.fit_partials(evaluator, &mut model, batch, sum, go_on),
                };
                (summary.unwrap(), model, asked)
            };
            for steps in [true, false] {
                let alone = fit(1, steps);
                for processes in PROCESSES {
                    assert_eq!(fit(processes, steps), alone, "{processes} processes");
                }
                let (summary, model, asked) = alone;
                let (mut evaluator, mut whole) =
                    (Evaluator::new(case.objective), case.model.clone());
                let of_whole = match steps {
                    true => sgd.fit(&mut evaluator, &mut whole, &case.batch(), go_on),
                    false => dual.fit(&mut evaluator, &mut whole, &case.batch(), go_on),
                };
                let of_whole = of_whole.unwrap();
                let difference = of_whole.progress.objective - summary.progress.objective;
                if steps {
                    // All steps are those of the fit in one piece; what is evaluated decides on none of them here.
                    assert_eq!(model, whole);
                    assert!(asked > sgd.epochs && difference.abs() < 1e-12, "{difference:e}");
                } else {
                    assert!(summary.stop_reason == StopReason::Gap && asked > 2, "{summary:?}");
                    let gap = summary.gap.zip(of_whole.gap).map(|(a, b)| a + b).expect("bounds");
                    assert!(difference.abs() <= gap, "{difference:e} and {gap:e}");
                }
            }
        }
    }

    /// That of the sums of all processes is that of all samples.
    #[test]
    fn the_bound_on_the_distance_to_the_optimum() {
        for objective in losses().into_iter().chain(binary_losses()) {
            let c = if objective.loss().is_binary() { 1 } else { SHAPE.c };
            let shape = Shape { c, ..SHAPE };
            let case = Case::<f64>::random(objective.with_l2(0.1), shape, 4);
            let few = Lbfgs { max_iterations: 5, ..Lbfgs::default() };
            let fit = |processes: u64| {
                let mut model = case.model.clone();
                let summary = few.fit_partials(
                    &mut Evaluator::new(case.objective),
                    &mut model,
                    None,
                    |sums, partial| {
                        *partial = total(&case, sums, processes)?;
                        Ok(SHAPE.n as u64)
                    },
                    go_on,
                );
                (summary.unwrap(), model)
            };
            let (summary, model) = fit(1);
            let mut evaluator = Evaluator::new(case.objective);
            let whole = optimality_gap(&mut evaluator, &model, &case.batch()).unwrap();
            match (summary.gap, whole) {
                (Some(gap), Some(whole)) => {
                    let what = format!("{objective:?}: {gap:e} and {whole:e}");
                    assert!((gap - whole).abs() <= 1e-9 * (whole + 1e-3), "{what}");
                }
                (gap, whole) => assert_eq!(gap, whole, "{objective:?}"),
            }
            for processes in PROCESSES {
                assert_eq!(fit(processes), (summary, model.clone()), "{processes} processes");
            }
        }
    }

    /// Who answers nothing but losses and gradients gets a fit, without a bound.
    #[test]
    fn a_bound_that_cannot_be_computed() {
        let case = Case::<f64>::random(Objective::cross_entropy().with_l2(1e-3), SHAPE, 5);
        let mut evaluator = Evaluator::new(case.objective);
        let summary = Lbfgs::default().fit_partials(
            &mut Evaluator::new(case.objective),
            &mut LinearModel::zeros(SHAPE.c, SHAPE.d),
            None,
            |sums, partial| {
                if sums.objective != case.objective || sums.direction.is_some() {
                    return Err(Error::NoSamples);
                }
                sums.add(&mut evaluator, &case.batch(), partial)?;
                Ok(SHAPE.n as u64)
            },
            go_on,
        );
        let summary = summary.unwrap();
        assert!(summary.stop_reason.converged() && summary.gap.is_none(), "{summary:?}");
    }

    /// Adds up sums over all samples, but fails at one evaluation.
    fn failing<'a>(
        case: &'a Case<f64>,
        at: usize,
        error: &'a Error,
        evaluations: &'a mut usize,
    ) -> impl FnMut(&Sums<'_, f64>, &mut Partial<f64>) -> Result<u64, Error> {
        let mut evaluator = Evaluator::new(case.objective);
        move |sums, partial| {
            *evaluations += 1;
            if *evaluations == at {
                return Err(error.clone());
            }
            sums.add(&mut evaluator, &case.batch(), partial)?;
            Ok(SHAPE.n as u64)
        }
    }

    /// A step that is too long is shortened; all else ends the fit.
    #[test]
    fn errors_of_other_processes() {
        let case = Case::<f64>::random(Objective::cross_entropy().with_l2(1e-3), SHAPE, 3);
        let too_long = Error::NonFinite { row: 7, cause: NonFinite::Score };
        let lost = Error::NoSamples;
        for (at, error, ends) in
            [(1, &too_long, true), (1, &lost, true), (3, &too_long, false), (3, &lost, true)]
        {
            let (mut evaluations, mut model) = (0, LinearModel::zeros(SHAPE.c, SHAPE.d));
            let result = Lbfgs::default().fit_partials(
                &mut Evaluator::new(case.objective),
                &mut model,
                None,
                failing(&case, at, error, &mut evaluations),
                go_on,
            );
            match ends {
                true => assert_eq!((result, evaluations), (Err(error.clone()), at)),
                false => assert!(result.unwrap().stop_reason.converged() && evaluations > at),
            }
        }
        // Of Newton's method, whatever it was asked for.
        for at in 1..7 {
            let (mut evaluations, mut model) = (0, LinearModel::zeros(SHAPE.c, SHAPE.d));
            let result = NewtonCg { gradient_tolerance: 0.0, ..NewtonCg::default() }.fit_partials(
                &mut Evaluator::new(case.objective),
                &mut model,
                None,
                failing(&case, at, &lost, &mut evaluations),
                go_on,
            );
            assert_eq!((result, evaluations), (Err(lost.clone()), at));
        }
        // Of those that take the steps here: of SGD before an epoch and after each, but not for the bound.
        let case = Case::<f64>::random(Objective::hinge(1.0).with_l2(1e-2), SHAPE, 3);
        for (at, error, ends) in [
            (1, &too_long, true),
            (1, &lost, true),
            (3, &too_long, false),
            (3, &lost, true),
            (6, &lost, true),
        ] {
            for steps in [true, false] {
                let (mut evaluations, mut model) = (0, LinearModel::zeros(SHAPE.c, SHAPE.d));
                let evaluator = &mut Evaluator::new(case.objective);
                let (batch, sum) = (&case.batch(), failing(&case, at, error, &mut evaluations));
                let result = match steps {
                    true => {
                        let sgd = Sgd { epochs: 5, ..Sgd::default() };
                        sgd.fit_partials(evaluator, &mut model, batch, sum, go_on)
                    }
                    false => {
                        let dual = DualAscent { tolerance: 1e-9, ..DualAscent::default() };
                        dual.fit_partials(evaluator, &mut model, batch, sum, go_on)
                    }
                };
                let what = format!("{error:?} at {at}, SGD: {steps}");
                match ends {
                    true => assert_eq!((result, evaluations), (Err(error.clone()), at), "{what}"),
                    false => assert!(!result.unwrap().stop_reason.failed(), "{what}"),
                }
            }
        }
        // What they step over is not what is evaluated, and is looked at for itself.
        let nan = [0.0, f64::NAN, 0.0, 0.0, 0.0];
        for (features, d, label, word) in [
            (&[0.0; 5][..], 5, 9, "label"),
            (&[0.0; 4], 4, 0, "features"),
            (&nan, 5, 0, "feature 1"),
        ] {
            let (features, labels) = ([features, features].concat(), [label, 0]);
            let batch = Batch::new(MatrixView::new(&features, 2, d).unwrap(), &labels).unwrap();
            let evaluator = &mut Evaluator::new(case.objective);
            let zeros = || LinearModel::zeros(SHAPE.c, SHAPE.d);
            let mut evaluations = 0;
            let sum = failing(&case, 0, &lost, &mut evaluations);
            let of_dual =
                DualAscent::default().fit_partials(evaluator, &mut zeros(), &batch, sum, go_on);
            let sum = failing(&case, 0, &lost, &mut evaluations);
            let of_sgd = Sgd::default().fit_partials(evaluator, &mut zeros(), &batch, sum, go_on);
            for error in [of_dual, of_sgd].map(Result::unwrap_err) {
                assert!(error.to_string().contains(word), "{error}");
            }
        }
        // A partial that is for other models is no sum of theirs.
        let result = Lbfgs::default().fit_partials(
            &mut Evaluator::new(case.objective),
            &mut LinearModel::zeros(SHAPE.c, SHAPE.d),
            None,
            |_, partial| {
                *partial = Partial::new(SHAPE.c, SHAPE.d + 1);
                Ok(1)
            },
            go_on,
        );
        assert!(matches!(result, Err(Error::Shape { what: "partial", .. })), "{result:?}");
    }
}
