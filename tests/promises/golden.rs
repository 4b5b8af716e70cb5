//! The promise of correctness: against reference values computed exactly and stored with the tests,
//! the scaled error is at most 1e-6 in f32 and 1e-14 in f64. It holds on every instruction set, on
//! one thread and on two, for contiguous and padded rows and for columns, for whole batches and selected
//! rows.

use crate::common::{Case, Scales, evaluate, for_each_isa, for_each_threads, tolerance};
use serde::Deserialize;
use softmargin::reference::{self, Reference};
use softmargin::{LinearModel, Objective, Scalar};

#[derive(Clone, Deserialize)]
struct Golden {
    name: String,
    loss: String,
    n: usize,
    d: usize,
    c: usize,
    l2: f64,
    margin: f64,
    x: Vec<f64>,
    w: Vec<f64>,
    b: Vec<f64>,
    y: Vec<u32>,
    sample_weights: Option<Vec<f64>>,
    #[serde(default)]
    label_smoothing: f64,
    expected: Expected,
}

/// What another loss makes of the inputs of a case.
#[derive(Deserialize)]
struct OtherLoss {
    name: String,
    inputs: String,
    loss: String,
    label_smoothing: f64,
    expected: Expected,
}

#[derive(Clone, Deserialize)]
struct Expected {
    loss: f64,
    d_weights: Vec<f64>,
    d_bias: Vec<f64>,
}

/// The values in the element type; all of them fit f32 exactly.
fn exactly<T: Scalar>(values: &[f64]) -> Vec<T> {
    let exactly = |&value: &f64| {
        let element = T::from_f64(value);
        assert_eq!(element.to_f64(), value, "a golden input that f32 cannot hold");
        element
    };
    values.iter().map(exactly).collect()
}

impl Golden {
    fn case<T: Scalar>(&self) -> Case<T> {
        assert_eq!((self.x.len(), self.y.len()), (self.n * self.d, self.n), "{}", self.name);
        let objective = match self.loss.as_str() {
            "hinge" => Objective::hinge(self.margin),
            "squared_hinge" => Objective::squared_hinge(self.margin),
            "crammer_singer" => Objective::crammer_singer(self.margin),
            "cross_entropy" => {
                Objective::cross_entropy().with_label_smoothing(self.label_smoothing)
            }
            "logistic" => Objective::logistic(),
            "binary_hinge" => Objective::binary_hinge(self.margin),
            "binary_squared_hinge" => Objective::binary_squared_hinge(self.margin),
            other => panic!("{}: unknown loss {other}", self.name),
        };
        let (mut rows, mut labels) = (self.c, self.y.clone());
        if objective.loss().is_binary() {
            rows = 1;
            labels.iter_mut().for_each(|label| *label %= 2);
        }
        let parameters = exactly(&[&self.w[..rows * self.d], &self.b[..rows]].concat());
        let model = LinearModel::from_parameters(rows, self.d, parameters).unwrap();
        let case = Case::new(objective.with_l2(self.l2), model, &exactly(&self.x), &labels);
        match &self.sample_weights {
            Some(weights) => case.weighted(&exactly(weights)),
            None => case,
        }
    }

    fn expected(&self) -> Reference {
        let Expected { loss, d_weights, d_bias } = &self.expected;
        Reference { loss: *loss, weights: d_weights.clone(), bias: d_bias.clone() }
    }
}

fn golden_cases() -> Vec<Golden> {
    let mut cases: Vec<Golden> =
        serde_json::from_str(include_str!("../golden/cases.json")).unwrap();
    let others: Vec<OtherLoss> =
        serde_json::from_str(include_str!("../golden/losses.json")).unwrap();
    assert!(cases.len() >= 30 && others.len() >= 80, "{} and {}", cases.len(), others.len());
    for OtherLoss { name, inputs, loss, label_smoothing, expected } in others {
        let inputs = cases.iter().find(|case| case.name == inputs).expect("the inputs").clone();
        cases.push(Golden { name, loss, label_smoothing, expected, ..inputs });
    }
    cases
}

fn all_cases<T: Scalar>() {
    let cases = golden_cases();
    for_each_isa(|isa| {
        for_each_threads(&[1, 2], |threads| {
            for golden in &cases {
                let expected = golden.expected();
                let whole = golden.case::<T>();
                let selected = whole.clone().selected(7);
                let variants = [
                    ("whole, contiguous", whole.clone()),
                    ("whole, column-major", whole.clone().column_major(0)),
                    ("whole, padded", whole.padded(3)),
                    ("selected, contiguous", selected.clone()),
                    ("whole, sparse", golden.case::<T>().sparse(8)),
                    ("selected, sparse", selected.clone().sparse(9)),
                    ("selected, padded", selected.padded(3)),
                ];
                for (variant, case) in variants {
                    let got = evaluate(isa, &case);
                    let scales = Scales::new(&case, &expected);
                    let context =
                        format!("{} ({variant}) on {isa}, {threads} threads", golden.name);
                    scales.check(&got, &expected, tolerance::<T>(), &context);
                }
            }
        });
    });
}

#[test]
fn golden_f32() {
    all_cases::<f32>();
}

#[test]
fn golden_f64() {
    all_cases::<f64>();
}

/// The oracle that the other tests ask must itself give the golden values.
#[test]
fn oracle() {
    for golden in golden_cases() {
        let case = golden.case::<f64>();
        let oracle = reference::loss_and_gradient(&case.objective, &case.model, &case.batch());
        let gradient = [&oracle.weights[..], &oracle.bias].concat();
        let rows = case.model.n_classes();
        let gradient = LinearModel::from_parameters(rows, golden.d, gradient).unwrap();
        let expected = golden.expected();
        let got = crate::common::Evaluated { loss: oracle.loss, gradient };
        Scales::new(&case, &expected).check(&got, &expected, 1e-14, &golden.name);
    }
}
