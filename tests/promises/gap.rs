//! The bound on the distance to the optimum is one, for any model, and near the optimum it is useful.

#![cfg(feature = "train")]

use crate::common::{Random, data::Data, losses};
use core::ops::ControlFlow;
use softmargin::{
    Batch, Error, Evaluator, Features, LinearModel, Loss, MatrixView, Objective, Scalar,
    train::{DualAscent, Lbfgs, NewtonCg, Progress, optimality_gap},
};

fn go_on<T>(_: &Progress, _: &LinearModel<T>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn batch_of(data: &Data<f64>, weighted: bool) -> Result<Batch<'_, f64>, Error> {
    if weighted { data.batch().with_sample_weights(&data.weights) } else { Ok(data.batch()) }
}

/// F − F* of a model and the bound on it, in units of F*.
fn gap_and_bound(
    data: &Data<f64>,
    objective: Objective,
    model: &LinearModel<f64>,
) -> Result<(f64, f64), Error> {
    let batch = batch_of(data, objective.l2() > 1e-3)?;
    let mut evaluator = Evaluator::new(objective);
    let loss = evaluator.loss(model, &batch)?;
    let bound = optimality_gap(&mut evaluator, model, &batch)?;
    let mut best = model.clone();
    if matches!(objective.loss(), Loss::CrossEntropy | Loss::SquaredHinge { .. }) {
        let newton = NewtonCg { gradient_tolerance: 1e-13, ..NewtonCg::default() };
        newton.fit(&mut evaluator, &mut best, &batch, go_on)?;
    } else {
        let dual = DualAscent { tolerance: 1e-6, max_epochs: 5000, ..DualAscent::default() };
        dual.fit(&mut evaluator, &mut best, &batch, go_on)?;
    }
    let least = evaluator.loss(&best, &batch)?;
    Ok(((loss - least) / least, bound.map_or(f64::INFINITY, |bound| bound / least)))
}

#[test]
fn it_is_a_bound_after_any_number_of_iterations_and_useful_after_the_last() -> Result<(), Error> {
    let smoothed = Objective::cross_entropy().with_label_smoothing(0.1);
    for (seed, shape) in
        [[200, 3, 2], [500, 6, 4], [300, 20, 7], [60, 2, 9]].into_iter().enumerate()
    {
        let data = Data::new(seed as u64, shape, -6.0..6.0).unequally_scaled::<f64>();
        for objective in [Objective::cross_entropy(), smoothed, Objective::squared_hinge(1.0)] {
            for l2 in [1e-4, 1e-2, 1.0] {
                let objective = objective.with_l2(l2);
                let batch = batch_of(&data, l2 > 1e-3)?;
                for max_iterations in [0, 3, 10, 1000] {
                    let solver = Lbfgs { max_iterations, ..Lbfgs::default() };
                    let mut model = LinearModel::zeros(shape[2], shape[1]);
                    let mut evaluator = Evaluator::new(objective);
                    let summary = solver.fit(&mut evaluator, &mut model, &batch, go_on)?;
                    assert_eq!(summary.gap, optimality_gap(&mut evaluator, &model, &batch)?);
                    let (gap, bound) = gap_and_bound(&data, objective, &model)?;
                    let what = format!("{shape:?}, λ = {l2}, {max_iterations} iterations: {gap:e}");
                    assert!(bound >= gap - 1e-13, "{what} is above {bound:e}");
                    if max_iterations == 1000 {
                        // Where λ is a small part of the curvature, there are better dual points.
                        let (most, small) = match objective.loss() {
                            Loss::CrossEntropy => (1e-4, 1e-2),
                            _ => (1e-2, 1.0),
                        };
                        assert!(bound < most, "{what} is far below {bound:e}");
                        // A fit may come nearer than anyone asks a bound to tell.
                        let useful = bound < (100.0 * gap).max(1e-6);
                        assert!(l2 < small || useful, "{what} is far below {bound:e}");
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn at_kinks_it_is_a_bound() -> Result<(), Error> {
    for (seed, shape) in [[200, 3, 2], [150, 6, 4], [60, 2, 9]].into_iter().enumerate() {
        let data = Data::new(seed as u64, shape, -6.0..6.0).unequally_scaled::<f64>();
        for objective in [Objective::hinge(1.0), Objective::crammer_singer(0.5)] {
            for l2 in [1e-3, 0.1] {
                let objective = objective.with_l2(l2);
                let batch = batch_of(&data, l2 > 1e-3)?;
                let mut model = LinearModel::zeros(shape[2], shape[1]);
                let mut evaluator = Evaluator::new(objective);
                for max_epochs in [0, 1, 5] {
                    let few = DualAscent { max_epochs, ..DualAscent::default() };
                    few.fit(&mut evaluator, &mut model, &batch, go_on)?;
                    let (gap, bound) = gap_and_bound(&data, objective, &model)?;
                    let what = format!("{shape:?}, {objective:?}, {max_epochs} epochs");
                    assert!(bound >= gap - 1e-13, "{what}: {gap:e} is above {bound:e}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn models_that_no_solver_made_have_one() -> Result<(), Error> {
    let data = Data::new(9, [300, 5, 3], -6.0..6.0).unequally_scaled::<f64>();
    let objective = Objective::cross_entropy().with_l2(1e-2);
    let mut random = Random::new(1);
    for scale in [1e-3, 0.1, 1.0] {
        let mut model = LinearModel::zeros(3, 5);
        for parameter in model.parameters_mut() {
            *parameter = scale * (random.unit() - 0.5);
        }
        let (gap, bound) = gap_and_bound(&data, objective, &model)?;
        assert!(bound >= gap, "{scale}: {gap:e} is above {bound:e}");
    }
    Ok(())
}

#[test]
fn in_single_precision_it_holds_up_to_rounding() -> Result<(), Error> {
    let new = || Data::new(3, [2000, 8, 5], -6.0..6.0);
    let (narrow, wide) = (new().unequally_scaled::<f32>(), new().unequally_scaled::<f64>());
    let objective = Objective::cross_entropy().with_l2(1e-3);
    let mut evaluator = Evaluator::new(objective);
    let mut model = LinearModel::zeros(5, 8);
    let batch = narrow.batch::<f32>();
    Lbfgs::default().fit(&mut evaluator, &mut model, &batch, go_on)?;
    let bound = optimality_gap(&mut evaluator, &model, &batch)?.expect("a bound");
    let parameters = model.parameters().iter().map(|p| f64::from(*p)).collect();
    let model = LinearModel::from_parameters(5, 8, parameters)?;
    let (gap, _) = gap_and_bound(&wide, objective, &model)?;
    assert!(bound >= gap - 1e-7 && bound < 1e-5, "{gap:e}, {bound:e}");
    Ok(())
}

/// Where the weights are next to nothing, all that is left of the derivatives of the bias may be rounding errors of one
/// sign.
#[test]
fn under_a_large_l2_there_is_one() -> Result<(), Error> {
    fn check<T: Scalar>(data: &Data<T>, what: &str) -> Result<(), Error>
    where
        for<'a> MatrixView<'a, T>: Into<Features<'a, T>>,
    {
        let batch = data.batch::<T>();
        for objective in losses().into_iter().filter(|objective| objective.is_smooth()) {
            for l2 in [1e2, 1e5] {
                let mut evaluator = Evaluator::new(objective.with_l2(l2));
                let mut model = LinearModel::zeros(data.shape[2], data.shape[1]);
                let summary = Lbfgs::default().fit(&mut evaluator, &mut model, &batch, go_on)?;
                let loss = evaluator.loss(&model, &batch)?;
                let what = format!("{what}, {objective:?}, λ = {l2}");
                let gap = summary.gap.unwrap_or_else(|| panic!("{what}: no bound, {summary:?}"));
                assert!(gap <= 1e-2 * loss, "{what}: {gap:e} of {loss}");
            }
        }
        Ok(())
    }
    for seed in 0..20 {
        let shape = [[150, 4, 3], [60, 2, 9]][seed as usize % 2];
        let new = || Data::new(seed, shape, -6.0..6.0);
        check(&new().unequally_scaled::<f64>(), &format!("{shape:?}, f64"))?;
        check(&new().unequally_scaled::<f32>(), &format!("{shape:?}, f32"))?;
    }
    Ok(())
}

#[test]
fn there_is_none_where_none_is_known() -> Result<(), Error> {
    let data = Data::new(4, [50, 3, 3], -6.0..6.0).unequally_scaled::<f64>();
    let batch = data.batch::<f64>();
    let model = LinearModel::zeros(3, 3);
    for objective in [Objective::cross_entropy(), Objective::hinge(1.0)] {
        assert_eq!(optimality_gap(&mut Evaluator::new(objective), &model, &batch)?, None);
    }
    // The fourth class has no samples.
    let mut evaluator = Evaluator::new(Objective::cross_entropy().with_l2(1e-2));
    assert_eq!(optimality_gap(&mut evaluator, &LinearModel::zeros(4, 3), &batch)?, None);
    Ok(())
}
