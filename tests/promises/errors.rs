//! Bad input is an error that names the sizes, the row or the value at fault, before any output is
//! touched. One test for every way to be wrong; numbers that are not finite have their own file.

use crate::common::failure::{error_of, says};
use crate::common::{Case, Shape, for_each_isa};
use softmargin::{
    Batch, CsrView, Error, Evaluator, Features, Isa, LinearModel, MatrixView, Objective, Partial,
    Scaling,
};

const BIG: usize = usize::MAX / 2;

fn objectives() -> [Objective; 2] {
    [Objective::hinge(1.0), Objective::cross_entropy()]
}

/// 40 rows of 7 features, of 5 classes.
fn good_case(objective: Objective) -> Case<f32> {
    Case::random(objective, Shape { n: 40, d: 7, c: 5 }, 51)
}

#[test]
fn data_length() {
    for actual in [0, 220, 222] {
        let error = MatrixView::new(&vec![0.0_f32; actual], 13, 17).unwrap_err();
        assert_eq!(error, Error::DataLength { rows: 13, cols: 17, expected: 221, actual });
        says(&error, &["13", "17", "221", &actual.to_string()]);
    }
    assert!(MatrixView::new(&[0.0_f32; 221], 13, 17).is_ok());
}

#[test]
fn strided_length() {
    let error = MatrixView::with_row_stride(&[0.0_f64; 256], 13, 17, 20).unwrap_err();
    let expected =
        Error::StridedLength { rows: 13, cols: 17, stride: 20, expected: 257, actual: 256 };
    assert_eq!(error, expected);
    says(&error, &["13", "17", "20", "257", "256"]);
    // The last row may end the slice.
    assert!(MatrixView::with_row_stride(&[0.0_f64; 257], 13, 17, 20).is_ok());
    assert!(MatrixView::with_row_stride(&[0.0_f64; 0], 0, 17, 20).is_ok());
}

#[test]
fn row_stride() {
    let error = MatrixView::with_row_stride(&[0.0_f32; 1000], 13, 17, 16).unwrap_err();
    assert_eq!(error, Error::RowStride { row_stride: 16, cols: 17 });
    says(&error, &["16", "17"]);
}

#[test]
fn size_overflow() {
    let error = MatrixView::new(&[0.0_f32; 8], BIG, 3).unwrap_err();
    assert_eq!(error, Error::SizeOverflow { rows: BIG, row_stride: 3 });
    says(&error, &[&BIG.to_string(), "3 elements"]);
    let error = MatrixView::with_row_stride(&[0.0_f32; 8], BIG, 1, 3).unwrap_err();
    assert_eq!(error, Error::SizeOverflow { rows: BIG, row_stride: 3 });
    let error = MatrixView::with_row_stride(&[0.0_f32; 8], 3, 2, usize::MAX).unwrap_err();
    assert_eq!(error, Error::SizeOverflow { rows: 3, row_stride: usize::MAX });
    let error = LinearModel::<f32>::from_parameters(BIG, 3, vec![]).unwrap_err();
    assert_eq!(error, Error::SizeOverflow { rows: BIG, row_stride: 3 });
    let error = Partial::<f32>::from_sums(BIG, 3, vec![]).unwrap_err();
    assert_eq!(error, Error::SizeOverflow { rows: BIG, row_stride: 3 });
    // Two more values than there are numbers.
    let error = Partial::<f32>::from_sums(1, usize::MAX - 1, vec![]).unwrap_err();
    assert_eq!(error, Error::SizeOverflow { rows: 1, row_stride: usize::MAX - 1 });
}

#[test]
fn no_samples() {
    let x = MatrixView::<f32>::new(&[], 0, 7).unwrap();
    assert_eq!(Batch::<f32>::new(x, &[]).unwrap_err(), Error::NoSamples);
}

#[test]
fn empty_selection() {
    let case = good_case(objectives()[0]);
    assert_eq!(case.batch().select(&[]).unwrap_err(), Error::NoSamples);
}

#[test]
fn no_features() {
    let x = MatrixView::<f32>::new(&[], 3, 0).unwrap();
    let error = Batch::<f32>::new(x, &[0, 0, 0]).unwrap_err();
    assert_eq!(error, Error::NoFeatures);
    says(&error, &["D = 0"]);
    for objective in objectives() {
        let good = good_case(objective);
        let mut evaluator = Evaluator::new(objective);
        let (model, mut gradient) = (LinearModel::zeros(5, 0), LinearModel::zeros(5, 0));
        let result = evaluator.loss_and_gradient(&model, &good.batch(), &mut gradient);
        assert_eq!(result, Err(Error::NoFeatures));
        assert_eq!(evaluator.loss(&model, &good.batch()), Err(Error::NoFeatures));
    }
    assert_eq!(LinearModel::<f32>::zeros(5, 0).scores(x).unwrap_err(), Error::NoFeatures);
}

#[test]
fn no_classes() {
    for objective in objectives() {
        let case = Case { model: LinearModel::zeros(0, 7), ..good_case(objective) };
        let error = error_of(&case);
        assert_eq!(error, Error::NoClasses);
        says(&error, &["C = 0"]);
        let rows = case.batch().features();
        assert_eq!(case.model.scores(rows).unwrap_err(), Error::NoClasses);
        assert_eq!(case.model.predict(rows).unwrap_err(), Error::NoClasses);
        assert_eq!(case.model.predict_proba(rows).unwrap_err(), Error::NoClasses);
    }
}

#[test]
fn row_pointers_length() {
    for (indptr, rows) in [(&[0, 1, 2][..], 3), (&[0, 1, 2], 1), (&[], 0)] {
        let error = CsrView::new(rows, 5, indptr, &[0, 1], &[1.0_f32; 2]).unwrap_err();
        assert_eq!(error, Error::RowPointersLength { pointers: indptr.len(), rows });
        says(&error, &[&indptr.len().to_string(), &format!("{rows} rows")]);
    }
    assert!(CsrView::<f32>::new(0, 5, &[0], &[], &[]).is_ok());
    assert!(CsrView::<f32>::new(usize::MAX, 5, &[], &[], &[]).is_err());
    let error = CsrView::<f32>::new(0, 5, &[7], &[], &[]).unwrap_err();
    assert_eq!(error, Error::RowPointer { row: 0, start: 7, end: 7, entries: 0 });
}

#[test]
fn row_pointer() {
    for (indptr, row) in
        [([0, 3, 2, 4], 1), ([0, 2, 3, 5], 2), ([9, 2, 3, 4], 0), ([0, 9, 9, 9], 0)]
    {
        let error = CsrView::new(3, 7, &indptr, &[0; 4], &[1.0_f64; 4]).unwrap_err();
        let (start, end) = (indptr[row], indptr[row + 1]);
        assert_eq!(error, Error::RowPointer { row, start, end, entries: 4 });
        says(&error, &[&format!("row {row}"), &start.to_string(), &end.to_string(), "4"]);
    }
    // Rows of a larger matrix.
    let x = CsrView::new(2, 7, &[1, 1, 3], &[9, 6, 0, 9], &[1.0, 2.0, 3.0, 4.0]).unwrap();
    assert_eq!((x.n_entries(), x.row(1)), (2, Some((&[6, 0][..], &[2.0, 3.0][..]))));
}

#[test]
fn indices_length() {
    let error = CsrView::new(1, 7, &[0, 1], &[0, 1], &[1.0_f32; 3]).unwrap_err();
    assert_eq!(error, Error::IndicesLength { indices: 2, values: 3 });
    says(&error, &["2 indices", "3 values"]);
}

#[test]
fn feature_index() {
    let indices = [0, 6, 2, 7, u32::MAX];
    let error = CsrView::new(3, 7, &[0, 2, 2, 5], &indices, &[0.0_f32; 5]).unwrap_err();
    assert_eq!(error, Error::FeatureIndex { row: 2, position: 3, index: 7, cols: 7 });
    says(&error, &["row 2", "indices[3] is 7", "7 features (0 to 6)"]);
    let error = CsrView::new(1, 0, &[0, 1], &[0], &[0.0_f32]).unwrap_err();
    says(&error, &["row 0", "0 features"]);
    assert!(CsrView::new(1, 1 << 32, &[0, 1], &[u32::MAX], &[0.0_f32]).is_ok());
}

#[test]
fn labels_length() {
    for labels in [0, 12, 14] {
        let x = MatrixView::new(&[0.0_f32; 221], 13, 17).unwrap();
        let error = Batch::<f32>::new(x, &vec![0; labels]).unwrap_err();
        assert_eq!(error, Error::LabelsLength { labels, rows: 13 });
        says(&error, &[&labels.to_string(), "13"]);
    }
}

#[test]
fn scaling() {
    let error = Scaling::new([1.0, 2.0], [1.0]).unwrap_err();
    assert_eq!(error, Error::ScalingLength { shifts: 2, scales: 1 });
    says(&error, &["2 shifts", "1 scales"]);
    let error = Scaling::new([1.0, f64::INFINITY], [1.0, 2.0]).unwrap_err();
    let value = f64::INFINITY;
    assert_eq!(error, Error::ScalingValue { what: "shift", feature: 1, value });
    let case = good_case(objectives()[0]);
    let other = Scaling::new([0.0; 16], [1.0; 16]).unwrap();
    let d = case.model.n_features();
    let error = case.batch().with_scaling(&other).unwrap_err();
    assert_eq!(error, Error::ScalingFeatures { scaling: 16, data: d });
    says(&error, &["16", &d.to_string()]);
    // Finite, but not as it is computed with.
    let (shift, mut scale) = (vec![0.0; d], vec![1.0; d]);
    scale[3] = 1e39;
    let large = Scaling::new(&shift, &scale).unwrap();
    let x = [1_u8; 17];
    let x = MatrixView::new(&x[..d], 1, d).unwrap();
    assert!(Batch::<f64>::new(x, &[0]).unwrap().with_scaling(&large).is_ok());
    let error = Batch::<f32>::new(x, &[0]).unwrap().with_scaling(&large).unwrap_err();
    assert_eq!(error, Error::ScalingValue { what: "scale", feature: 3, value: 1e39 });
    says(&error, &["scale", "feature 3", "1e39"]);
    let by = Scaling::by(f64::NAN);
    let error = case.batch().with_scaling(&by).unwrap_err();
    says(&error, &["scale", "feature 0", "NaN"]);
    assert!(Features::<f32>::from(x).with_scaling(&by).is_err());
}

#[test]
fn label() {
    for objective in objectives() {
        for (row, label) in [(0, 5), (33, 6), (39, u32::MAX)] {
            let mut case = good_case(objective);
            case.labels[row] = label;
            let error = error_of(&case);
            assert_eq!(error, Error::Label { row, label, classes: 5 });
            says(&error, &[&row.to_string(), &label.to_string(), "5 classes", "4"]);

            // The original row is named; nobody minds a row that is not selected.
            let others: Vec<u32> = (0..40).rev().filter(|&other| other as usize != row).collect();
            let with = Some([&others[..20], &[row as u32]].concat());
            let error = error_of(&Case { selection: with, ..case.clone() });
            assert_eq!(error, Error::Label { row, label, classes: 5 });
            let without = Case { selection: Some(others), ..case };
            for_each_isa(|isa| assert!(crate::common::evaluate(isa, &without).loss.is_finite()));
        }
    }
}

#[test]
fn sample_weights_length() {
    let case = good_case(objectives()[0]);
    for weights in [0, 39, 41] {
        let error = case.batch().with_sample_weights(&vec![1.0; weights]).unwrap_err();
        assert_eq!(error, Error::SampleWeightsLength { weights, rows: 40 });
        says(&error, &[&weights.to_string(), "40"]);
    }
    // As many as rows, not as the samples selected.
    let error = case.batch().select(&[1, 2]).unwrap().with_sample_weights(&[1.0; 2]).unwrap_err();
    assert_eq!(error, Error::SampleWeightsLength { weights: 2, rows: 40 });
}

#[test]
fn sample_weight() {
    let case = good_case(objectives()[0]);
    for (row, value) in [(0, -0.5), (17, f32::NAN), (39, f32::INFINITY), (5, f32::NEG_INFINITY)] {
        let mut weights = vec![1.0; 40];
        weights[row] = value;
        let error = case.batch().with_sample_weights(&weights).unwrap_err();
        let Error::SampleWeight { row: named, value: said } = error else { panic!("{error}") };
        assert_eq!((named, said.to_bits()), (row, f64::from(value).to_bits()));
        says(&error, &[&row.to_string(), &value.to_string()]);
        // Selected or not.
        let selected = case.batch().select(&[1, 2]).unwrap();
        assert!(selected.with_sample_weights(&weights).is_err());
    }
    assert!(case.batch().with_sample_weights(&[-0.0; 40]).is_err(), "but the sum is zero");
}

#[test]
fn zero_sample_weights() {
    let case = good_case(objectives()[0]);
    let error = case.batch().with_sample_weights(&[0.0; 40]).unwrap_err();
    assert_eq!(error, Error::ZeroSampleWeights { samples: 40 });
    says(&error, &["40"]);
    // Those that are selected, in whichever order it is said.
    let mut weights = [0.0; 40];
    weights[17] = 1.0;
    let weighted = case.batch().with_sample_weights(&weights).unwrap();
    assert!(weighted.select(&[17, 3]).is_ok());
    let expected = Error::ZeroSampleWeights { samples: 3 };
    assert_eq!(weighted.select(&[1, 2, 3]).unwrap_err(), expected);
    let selected = case.batch().select(&[1, 2, 3]).unwrap();
    assert_eq!(selected.with_sample_weights(&weights).unwrap_err(), expected);
}

#[test]
fn sample_weights_overflow() {
    let case = Case::<f64>::random(objectives()[1], Shape { n: 4, d: 2, c: 2 }, 1);
    let weights = [0.5, f64::MAX, f64::MAX, 0.5];
    let error = case.batch().with_sample_weights(&weights).unwrap_err();
    assert_eq!(error, Error::SampleWeightsOverflow { row: 2 });
    says(&error, &["row 2"]);
}

#[test]
fn selected_row() {
    let case = good_case(objectives()[0]);
    let error = case.batch().select(&[3, 39, 40, 77]).unwrap_err();
    assert_eq!(error, Error::SelectedRow { position: 2, row: 40, rows: 40 });
    says(&error, &["[2]", "row 40", "40 rows"]);
    let error = case.batch().select(&[u32::MAX]).unwrap_err();
    assert_eq!(error, Error::SelectedRow { position: 0, row: u32::MAX, rows: 40 });
}

#[test]
fn features() {
    let expected = Error::Features { model: 8, data: 7 };
    says(&expected, &["8", "7"]);
    for objective in objectives() {
        let good = good_case(objective);
        let model = LinearModel::zeros(5, 8);
        let mut gradient = LinearModel::zeros(5, 8);
        gradient.parameters_mut().fill(9.5);
        let mut evaluator = Evaluator::new(objective);
        let result = evaluator.loss_and_gradient(&model, &good.batch(), &mut gradient);
        assert_eq!(result, Err(expected.clone()));
        assert!(gradient.parameters().iter().all(|&g| g == 9.5));
        assert_eq!(evaluator.loss(&model, &good.batch()), Err(expected.clone()));
        let result = evaluator.accumulate(&model, &good.batch(), &mut Partial::new(5, 8));
        assert_eq!(result, Err(expected.clone()));
        assert_eq!(model.scores(good.batch().features()).unwrap_err(), expected);
        assert!(evaluator.loss(&good.model, &good.batch()).is_ok());
    }
}

#[test]
fn shape() {
    for (classes, features) in [(6, 7), (5, 8), (7, 5), (0, 0)] {
        for objective in objectives() {
            let good = good_case(objective);
            let mut evaluator = Evaluator::new(objective);
            let check = |error: Error, what: &str| {
                let Error::Shape { what: named, .. } = error else { panic!("{error}") };
                let (model_classes, model_features) = (5, 7);
                let expected =
                    Error::Shape { what: named, classes, features, model_classes, model_features };
                assert_eq!(error, expected);
                says(&error, &[what, &format!("{classes} classes × {features} features"), "5 × 7"]);
            };
            let mut partial = Partial::new(5, 7);
            evaluator.accumulate(&good.model, &good.batch(), &mut partial).unwrap();
            let other = Partial::new(classes, features);

            let mut gradient = LinearModel::zeros(classes, features);
            gradient.parameters_mut().fill(9.5);
            let result = evaluator.loss_and_gradient(&good.model, &good.batch(), &mut gradient);
            check(result.unwrap_err(), "gradient");
            let result = evaluator.finish(&good.model, &partial, &mut gradient);
            check(result.unwrap_err(), "gradient");
            assert!(gradient.parameters().iter().all(|&g| g == 9.5));

            let result = evaluator.accumulate(&good.model, &good.batch(), &mut other.clone());
            check(result.unwrap_err(), "partial");
            let result = evaluator.finish(&good.model, &other, &mut LinearModel::zeros(5, 7));
            check(result.unwrap_err(), "partial");
            check(partial.merge(&other).unwrap_err(), "partial");
        }
    }
}

#[test]
fn parameters_length() {
    let expected =
        Error::ParametersLength { classes: 13, features: 17, expected: 234, actual: 221 };
    says(&expected, &["13", "17", "234", "221"]);
    let result = LinearModel::from_parameters(13, 17, vec![0.0_f64; 221]);
    assert_eq!(result.unwrap_err(), expected);
    let error = Partial::<f64>::from_sums(13, 17, vec![0.0; 234]).unwrap_err();
    assert!(matches!(error, Error::ParametersLength { expected: 236, actual: 234, .. }), "{error}");
}

#[test]
fn l2() {
    for value in [-1e-9, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for objective in objectives() {
            let error = error_of(&good_case(objective.with_l2(value)));
            let Error::L2 { value: named } = error else { panic!("{error}") };
            assert_eq!(named.to_bits(), value.to_bits());
            says(&error, &["λ", &value.to_string()]);
        }
    }
}

#[test]
fn margin() {
    for value in [-1e-9, f64::NAN, f64::INFINITY] {
        for hinge in [Objective::hinge, Objective::squared_hinge, Objective::crammer_singer] {
            let error = error_of(&good_case(hinge(value)));
            let Error::Margin { value: named } = error else { panic!("{error}") };
            assert_eq!(named.to_bits(), value.to_bits());
            says(&error, &["Δ", &value.to_string()]);
        }
    }
}

#[test]
fn label_smoothing() {
    for value in [-1e-9, 1.0 + f64::EPSILON, f64::NAN, f64::INFINITY] {
        for objective in objectives() {
            let error = error_of(&good_case(objective.with_label_smoothing(value)));
            let Error::LabelSmoothing { value: named } = error else { panic!("{error}") };
            assert_eq!(named.to_bits(), value.to_bits());
            says(&error, &["ε", &value.to_string(), "from 0 to 1"]);
        }
    }
    for (hinge, loss) in [
        (Objective::hinge(1.0), "hinge"),
        (Objective::squared_hinge(1.0), "squared_hinge"),
        (Objective::crammer_singer(1.0), "crammer_singer"),
    ] {
        let error = error_of(&good_case(hinge.with_label_smoothing(0.1)));
        assert_eq!(error, Error::LabelSmoothingOf { loss, value: 0.1 });
        says(&error, &["ε", "0.1", loss, "cross-entropy"]);
        let case = good_case(hinge.with_label_smoothing(0.0));
        assert!(Evaluator::new(case.objective).loss(&case.model, &case.batch()).is_ok());
    }
}

#[test]
fn unknown_isa() {
    for name in ["", "AVX2", "sse9", "avx512 "] {
        let error = name.parse::<Isa>().unwrap_err();
        assert_eq!(error, Error::UnknownIsa { name: name.to_owned() });
        let quoted = format!("{name:?}");
        says(&error, &[&[quoted.as_str()], Isa::NAMES].concat());
    }
}

#[test]
fn unavailable_isa() {
    let here: Vec<_> = Isa::available().iter().map(|isa| isa.name()).collect();
    for &name in Isa::NAMES {
        match name.parse::<Isa>() {
            Ok(isa) => assert!(isa.name() == name && here.contains(&name)),
            Err(error) => {
                assert!(!here.contains(&name));
                assert_eq!(error, Error::IsaUnavailable { name, available: here.join(", ") });
                says(&error, &[name, "portable"]);
            }
        }
    }
}
