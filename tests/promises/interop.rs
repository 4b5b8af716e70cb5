//! Matrices of `ndarray` and `faer`: whole and in part, in either order, they are views of the same features; what
//! is neither row-major nor column-major is an error that says what to do.

#![cfg(all(feature = "ndarray", feature = "faer"))]

use ndarray::{Array2, ShapeBuilder, s};
use softmargin::{Batch, Error, Evaluator, LinearModel, MatrixView, Objective};

const N: usize = 50;
const D: usize = 7;
const C: usize = 3;

fn value(i: usize, l: usize) -> f64 {
    ((i * 31 + l * 17) % 23) as f64 / 11.0 - 1.0
}

fn model() -> LinearModel<f64> {
    let parameters = (0..C * (D + 1)).map(|i| value(i, 3)).collect();
    LinearModel::from_parameters(C, D, parameters).unwrap()
}

fn gradient(x: MatrixView<'_, f64>) -> LinearModel<f64> {
    assert_eq!((x.rows(), x.cols()), (N, D));
    let labels: Vec<u32> = (0..N).map(|i| (i % C) as u32).collect();
    let mut gradient = LinearModel::zeros(C, D);
    let mut evaluator = Evaluator::new(Objective::cross_entropy());
    evaluator.loss_and_gradient(&model(), &Batch::new(x, &labels).unwrap(), &mut gradient).unwrap();
    gradient
}

/// The gradient of a view, and that of a slice in the same order.
fn gradients(x: MatrixView<'_, f64>) -> [LinearModel<f64>; 2] {
    let by_rows: Vec<f64> = (0..N * D).map(|i| value(i / D, i % D)).collect();
    let by_columns: Vec<f64> = (0..N * D).map(|i| value(i % N, i / N)).collect();
    let expected = match x.col_stride() {
        1 => MatrixView::new(&by_rows, N, D),
        _ => MatrixView::column_major(&by_columns, N, D),
    };
    [x, expected.unwrap()].map(gradient)
}

#[test]
fn arrays() {
    let by_rows = Array2::from_shape_fn((N, D), |(i, l)| value(i, l));
    let by_columns = Array2::from_shape_fn((N, D).f(), |(i, l)| value(i, l));
    let with_labels = Array2::from_shape_fn((N, D + 1), |(i, l)| value(i, l));
    let taller = Array2::from_shape_fn((N + 3, D).f(), |(i, l)| value(i, l));
    for view in [
        MatrixView::try_from(&by_rows),
        MatrixView::try_from(&by_columns),
        MatrixView::try_from(by_rows.view()),
        MatrixView::try_from(with_labels.slice(s![.., ..-1])),
        MatrixView::try_from(taller.slice(s![..N, ..])),
    ] {
        let [got, expected] = gradients(view.unwrap());
        assert_eq!(got, expected);
    }
    assert!(MatrixView::try_from(taller.slice(s![4..5, ..])).is_ok(), "one row, far apart");
    let error = MatrixView::try_from(with_labels.slice(s![.., ..;2])).unwrap_err();
    assert_eq!(error, Error::Strides { row_stride: 8, col_stride: 2 });
    assert!(error.to_string().contains("as_standard_layout"), "{error}");
    let error = MatrixView::try_from(by_rows.slice(s![..;-1, ..])).unwrap_err();
    assert_eq!(error, Error::Strides { row_stride: -7, col_stride: 1 });
}

#[test]
fn models_as_arrays() {
    let mut model = model();
    assert_eq!(model.weights_array().dim(), (C, D));
    assert_eq!(model.weights_array()[(2, 4)], model.weights()[2 * D + 4]);
    assert_eq!(model.bias_array().to_vec(), model.bias());
    model.weights_array_mut()[(1, 2)] = 9.0;
    model.bias_array_mut()[1] = 8.0;
    assert_eq!((model.weights()[D + 2], model.bias()[1]), (9.0, 8.0));
}

#[test]
fn matrices_of_faer() {
    let matrix = faer::Mat::from_fn(N, D, value);
    let transposed = faer::Mat::from_fn(D, N, |l, i| value(i, l));
    let larger = faer::Mat::from_fn(N + 2, D + 1, value);
    for view in [
        MatrixView::try_from(&matrix),
        MatrixView::try_from(transposed.as_ref().transpose()),
        MatrixView::try_from(larger.as_ref().submatrix(0, 0, N, D)),
    ] {
        let [got, expected] = gradients(view.unwrap());
        assert_eq!(got, expected);
    }
    let error = MatrixView::try_from(matrix.as_ref().reverse_rows()).unwrap_err();
    assert!(matches!(error, Error::Strides { row_stride: -1, .. }), "{error}");
    let model = model();
    assert_eq!(model.weights_matrix()[(2, 4)], model.weights()[2 * D + 4]);
    assert_eq!(model.bias_column()[1], model.bias()[1]);
}
