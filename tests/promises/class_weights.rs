//! Class weights are the sample weights that they stand for, bit for bit, wherever weights count.

use crate::common::failure::says;
use crate::common::{Case, Shape, for_each_isa, losses};
use softmargin::{
    Batch, Error, Evaluator, LinearModel, MatrixView, Objective, Partial, Predictor, Scalar,
};

const SHAPES: [Shape; 4] = [
    Shape { n: 3, d: 2, c: 2 },
    Shape { n: 400, d: 50, c: 5 },
    Shape { n: 300, d: 6, c: 20 },
    Shape { n: 700, d: 33, c: 40 },
];

/// Not all of which a float can hold, one of them 0.
fn class_weights<T: Scalar>(c: usize) -> Vec<T> {
    (0..c).map(|k| T::from_f64([0.3, 2.0, 0.0, 1.7][k % 4])).collect()
}

/// The loss, the gradient and the accuracy, and the same by chunks.
fn all<T: Scalar>(
    evaluator: &mut Evaluator<T>,
    model: &LinearModel<T>,
    batch: &Batch<'_, T>,
) -> (f64, LinearModel<T>, f64, LinearModel<T>, f64) {
    let zeros = || LinearModel::zeros(model.n_classes(), model.n_features());
    let (mut gradient, mut of_partial) = (zeros(), zeros());
    let loss = evaluator.loss_and_gradient(model, batch, &mut gradient).unwrap();
    assert_eq!(evaluator.loss(model, batch).unwrap(), loss);
    let mut partial = Partial::new(model.n_classes(), model.n_features());
    evaluator.accumulate(model, batch, &mut partial).unwrap();
    let by_chunks = evaluator.finish(model, &partial, &mut of_partial).unwrap();
    let accuracy = Predictor::new(model).with_isa(evaluator.isa()).accuracy(batch).unwrap();
    (loss, gradient, by_chunks, of_partial, accuracy)
}

fn stand_for_sample_weights<T: Scalar>() {
    for shape in SHAPES {
        for objective in losses().map(|objective| objective.with_l2(0.1)) {
            let case = Case::<T>::random(objective, shape, 3);
            let of_classes = class_weights::<T>(shape.c);
            for (_, case) in case.layouts(4) {
                let batch = case.batch().with_class_weights(&of_classes).unwrap();
                let product = |row: usize| {
                    let of_sample = case.sample_weights.as_ref().map_or(1.0, |w| w[row].to_f64());
                    let label = case.labels[row] as usize;
                    let of_class = of_classes.get(label).map_or(0.0, |w| w.to_f64());
                    T::from_f64(of_sample * of_class)
                };
                let products: Vec<T> = (0..case.rows).map(product).collect();
                let weighted = case.clone().weighted(&products);
                for_each_isa(|isa| {
                    let mut evaluator = Evaluator::new(objective).with_isa(isa);
                    let got = all(&mut evaluator, &case.model, &batch);
                    let expected = all(&mut evaluator, &case.model, &weighted.batch());
                    assert!(got == expected, "{shape}, {objective:?} on {isa}");
                    assert_eq!(batch.total_weight(), weighted.batch().total_weight());
                    let case =
                        Case { sample_weights: weighted.sample_weights.clone(), ..case.clone() };
                    let (loss, gradient, ..) = got;
                    crate::common::check_against_oracle(
                        &case,
                        &crate::common::Evaluated { loss, gradient },
                        &format!("{shape} on {isa}"),
                    );
                });
            }
        }
    }
}

#[test]
fn class_weights_are_sample_weights_bit_for_bit() {
    stand_for_sample_weights::<f32>();
    stand_for_sample_weights::<f64>();
}

/// Two samples of scores 0: each costs ln 2, with a derivative of ½. By hand: Z = 3 · 1 + 0.5 · 2 = 4.
#[test]
fn by_hand() {
    let x = [1.0_f64, 1.0];
    let batch = Batch::new(MatrixView::new(&x, 2, 1).unwrap(), &[0, 1]).unwrap();
    let batch = batch.with_sample_weights(&[1.0, 2.0]).unwrap();
    let batch = batch.with_class_weights(&[3.0, 0.5]).unwrap();
    assert_eq!(batch.total_weight(), 4.0);
    assert_eq!(batch.class_weights(), Some(&[3.0, 0.5][..]));
    let (model, mut gradient) = (LinearModel::zeros(2, 1), LinearModel::zeros(2, 1));
    let mut evaluator = Evaluator::new(Objective::cross_entropy());
    let loss = evaluator.loss_and_gradient(&model, &batch, &mut gradient).unwrap();
    assert!((loss - std::f64::consts::LN_2).abs() < 1e-15);
    assert_eq!(gradient.bias(), [-0.25, 0.25]);
    // Of equal scores the first class is predicted: what counts 3 of 4 is right.
    assert_eq!(Predictor::new(&model).accuracy(&batch), Ok(0.75));
}

#[test]
fn in_any_order() {
    let case = Case::<f32>::random(Objective::cross_entropy(), Shape { n: 30, d: 3, c: 4 }, 1);
    let weights: Vec<f32> = (0..30).map(|i| 0.1 * i as f32).collect();
    let (of_classes, rows) = (class_weights(4), [5, 29, 3, 3]);
    let batch = case.batch();
    let a = batch.with_class_weights(&of_classes).unwrap();
    let a = a.with_sample_weights(&weights).unwrap().select(&rows).unwrap();
    let b = batch.select(&rows).unwrap().with_sample_weights(&weights).unwrap();
    let b = b.with_class_weights(&of_classes).unwrap();
    assert_eq!(a.total_weight().to_bits(), b.total_weight().to_bits());
    let mut evaluator = Evaluator::new(Objective::cross_entropy());
    assert_eq!(evaluator.loss(&case.model, &a), evaluator.loss(&case.model, &b));
}

#[test]
fn what_is_no_weight() {
    let x = [0.0_f32; 4];
    let labels = [0, 2, 1, 0];
    let batch = Batch::new(MatrixView::new(&x, 4, 1).unwrap(), &labels).unwrap();
    for (class, value) in [(0, -1.0), (1, f32::NAN), (2, f32::INFINITY)] {
        let mut weights = [1.0; 3];
        weights[class] = value;
        let error = batch.with_class_weights(&weights).unwrap_err();
        let Error::ClassWeight { class: named, value: said } = error else { panic!("{error}") };
        assert_eq!((named, said.to_bits()), (class, f64::from(value).to_bits()));
        says(&error, &[&format!("class {class}"), &value.to_string()]);
    }
    let error = batch.with_class_weights(&[1.0, 1.0]).unwrap_err();
    assert_eq!(error, Error::NoClassWeight { row: 1, label: 2, weights: 2 });
    says(&error, &["row 1", "label 2", "2 class weights (0 to 1)"]);
    assert!(matches!(batch.with_class_weights(&[]), Err(Error::NoClassWeight { row: 0, .. })));
    // Nobody minds a row that is not selected, but by selecting it later.
    let selected = batch.select(&[0, 2]).unwrap().with_class_weights(&[1.0, 1.0]).unwrap();
    assert_eq!(selected.select(&[3, 1]).unwrap_err(), error);
    let error = batch.with_class_weights(&[0.0; 3]).unwrap_err();
    assert_eq!(error, Error::ZeroSampleWeights { samples: 4 });
    let weighted = batch.with_sample_weights(&[0.0, 1e30, 0.0, 0.0]).unwrap();
    assert_eq!(
        weighted.with_class_weights(&[1.0, 1.0, 0.0]).unwrap_err(),
        Error::ZeroSampleWeights { samples: 4 }
    );
    assert_eq!(
        weighted.with_class_weights(&[1.0, 1.0, 1e30]).unwrap_err(),
        Error::SampleWeightsOverflow { row: 1 }
    );
}
