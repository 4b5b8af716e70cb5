//! What can be wrong with the caller's input. Every variant carries the sizes, the row or the value
//! at fault, so that the message alone is enough to mend it.

/// An input that cannot be evaluated. Whenever one is returned, no output has been written.
///
/// Rows are numbered from 0 in the data that the caller holds: with a selection, it is the original
/// row that is named.
///
/// ```
/// use softmargin::{Batch, Error, Evaluator, LinearModel, MatrixView, NonFinite, Objective};
///
/// # fn main() -> Result<(), Error> {
/// let features = [1.0_f32, 2.0, f32::NAN, 4.0];
/// let batch = Batch::<f32>::new(MatrixView::new(&features, 2, 2)?, &[0, 2])?;
/// let mut evaluator = Evaluator::new(Objective::cross_entropy());
///
/// let error = evaluator.loss(&LinearModel::zeros(2, 2), &batch).unwrap_err();
/// assert_eq!(error, Error::Label { row: 1, label: 2, classes: 2 });
/// assert_eq!(error.to_string(), "row 1 has label 2, but the model has 2 classes (0 to 1)");
///
/// let error = evaluator.loss(&LinearModel::zeros(3, 2), &batch).unwrap_err();
/// assert!(matches!(error, Error::NonFinite { row: 1, cause: NonFinite::Feature { feature: 0, .. } }));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The slice does not hold exactly `rows × cols` elements.
    #[error("a matrix of {rows} × {cols} needs {expected} elements, but the slice has {actual}")]
    DataLength {
        /// Rows asked for.
        rows: usize,
        /// Columns asked for.
        cols: usize,
        /// `rows × cols`.
        expected: usize,
        /// Elements in the slice.
        actual: usize,
    },
    /// The slice ends before the last row (or column) does.
    #[error(
        "a matrix of {rows} × {cols} with stride {stride} needs at least {expected} elements, but the slice has {actual}"
    )]
    StridedLength {
        /// Rows asked for.
        rows: usize,
        /// Columns asked for.
        cols: usize,
        /// Elements from the start of one row (or column) to the start of the next.
        stride: usize,
        /// What the last element asks for.
        expected: usize,
        /// Elements in the slice.
        actual: usize,
    },
    /// Rows would overlap.
    #[error("the row stride is {row_stride}, less than the {cols} columns of a row")]
    RowStride {
        /// Elements from the start of one row to the start of the next.
        row_stride: usize,
        /// Columns of the matrix.
        cols: usize,
    },
    /// Columns would overlap.
    #[error("the column stride is {col_stride}, less than the {rows} rows of a column")]
    ColStride {
        /// Elements from the start of one column to the start of the next.
        col_stride: usize,
        /// Rows of the matrix.
        rows: usize,
    },
    /// A matrix of another crate is neither row-major nor column-major: neither of its strides is 1.
    #[error(
        "the matrix is neither row-major nor column-major: its strides are {row_stride} and {col_stride}, and \
         one must be 1; copy it (in ndarray, `as_standard_layout`; in faer, `to_owned`)"
    )]
    Strides {
        /// Elements from one row to the next.
        row_stride: isize,
        /// Elements from one column to the next.
        col_stride: isize,
    },
    /// The number of elements does not fit the address space.
    #[error("a matrix of {rows} rows of {row_stride} elements overflows the address space")]
    SizeOverflow {
        /// Rows asked for.
        rows: usize,
        /// Elements a row.
        row_stride: usize,
    },
    /// The row pointers of a sparse matrix are not one more than its rows.
    #[error("{pointers} row pointers for {rows} rows; there must be one more than rows")]
    RowPointersLength {
        /// Row pointers given.
        pointers: usize,
        /// Rows asked for.
        rows: usize,
    },
    /// A row of a sparse matrix ends before it begins, or past the last entry.
    #[error(
        "row {row} has the entries {start}..{end}, which are none of the {entries} that there are"
    )]
    RowPointer {
        /// The row.
        row: usize,
        /// Its first entry.
        start: usize,
        /// Past its last entry.
        end: usize,
        /// Entries in the slices.
        entries: usize,
    },
    /// A sparse matrix has not as many indices as values.
    #[error("{indices} indices for {values} values")]
    IndicesLength {
        /// Indices given.
        indices: usize,
        /// Values given.
        values: usize,
    },
    /// An index of a sparse matrix is no column.
    #[error("row {row}: indices[{position}] is {index}, but there are {cols} features{}", span(*.cols))]
    FeatureIndex {
        /// The row.
        row: usize,
        /// The place among all indices.
        position: usize,
        /// The index there.
        index: u32,
        /// Columns of the matrix.
        cols: usize,
    },
    /// Partials of numbered chunks do not make up a tree.
    #[error("the chunks {start}..{end} {what}")]
    Chunks {
        /// The first chunk at fault.
        start: u64,
        /// Past the last one.
        end: u64,
        /// What is wrong with them.
        what: &'static str,
    },
    /// The batch has no samples, so its mean does not exist.
    #[error("there are no samples")]
    NoSamples,
    /// The sums of a [`Partial`](crate::Partial) are, or some of them, those of Hessian products, which have no loss.
    #[error("the sums are of Hessian products, from which no loss and no gradient follow")]
    NoLoss,
    /// The data or the model has no features.
    #[error("there are no features (D = 0)")]
    NoFeatures,
    /// The model has no classes.
    #[error("the model has no classes (C = 0)")]
    NoClasses,
    /// There is not one label for every row.
    #[error("{labels} labels for {rows} rows")]
    LabelsLength {
        /// Labels given.
        labels: usize,
        /// Rows of the feature matrix.
        rows: usize,
    },
    /// A label names a class that the model does not have.
    #[error("row {row} has label {label}, but the model has {classes} classes (0 to {})", .classes.saturating_sub(1))]
    Label {
        /// The row.
        row: usize,
        /// Its label.
        label: u32,
        /// C, the number of classes.
        classes: usize,
    },
    /// There is not one sample weight for every row.
    #[error("{weights} sample weights for {rows} rows")]
    SampleWeightsLength {
        /// Weights given.
        weights: usize,
        /// Rows of the feature matrix.
        rows: usize,
    },
    /// A sample weight is negative, infinite or NaN.
    #[error("the sample weight of row {row} is {value}; weights must be finite and at least 0")]
    SampleWeight {
        /// The row.
        row: usize,
        /// Its weight.
        value: f64,
    },
    /// The weight of a class is negative, infinite or NaN.
    #[error("the weight of class {class} is {value}; weights must be finite and at least 0")]
    ClassWeight {
        /// The class.
        class: usize,
        /// Its weight.
        value: f64,
    },
    /// A label names a class that has no weight.
    #[error("row {row} has label {label}, but there are {weights} class weights (0 to {})", .weights.saturating_sub(1))]
    NoClassWeight {
        /// The row.
        row: usize,
        /// Its label.
        label: u32,
        /// Weights given.
        weights: usize,
    },
    /// The weights of the samples, each times that of its class, sum to zero, so their mean does not exist.
    #[error("the weights of all {samples} samples sum to 0")]
    ZeroSampleWeights {
        /// Samples in the batch.
        samples: usize,
    },
    /// A sample weight times that of its class is beyond the range of the element type, or the sum of
    /// the weights beyond that of f64.
    #[error("the sum of the sample weights overflows at row {row}")]
    SampleWeightsOverflow {
        /// The row at which the sum became infinite.
        row: usize,
    },
    /// A scaling has not one scale for each shift.
    #[error("{shifts} shifts, but {scales} scales")]
    ScalingLength {
        /// Shifts given.
        shifts: usize,
        /// Scales given.
        scales: usize,
    },
    /// A scaling is for another number of features.
    #[error("the scaling is for {scaling} features, the data has {data}")]
    ScalingFeatures {
        /// Features of the scaling.
        scaling: usize,
        /// D of the data.
        data: usize,
    },
    /// A shift or a scale is NaN, or infinite in the type that is computed in.
    #[error(
        "the {what} of feature {feature} is {value:e}, which is not finite as it is computed with"
    )]
    ScalingValue {
        /// "shift" or "scale".
        what: &'static str,
        /// The feature.
        feature: usize,
        /// Its value.
        value: f64,
    },
    /// A selected row does not exist.
    #[error("selection[{position}] is row {row}, but there are {rows} rows")]
    SelectedRow {
        /// Index into the selection.
        position: usize,
        /// The row asked for.
        row: u32,
        /// Rows of the feature matrix.
        rows: usize,
    },
    /// The model was made for another number of features.
    #[error("the model has {model} features, the data {data}")]
    Features {
        /// D of the model.
        model: usize,
        /// D of the data.
        data: usize,
    },
    /// The gradient, or the sums of a [`Partial`](crate::Partial), has another shape than the model.
    #[error(
        "the {what} has {classes} classes × {features} features, the model {model_classes} × {model_features}"
    )]
    Shape {
        /// What has the wrong shape.
        what: &'static str,
        /// Its number of classes.
        classes: usize,
        /// Its number of features.
        features: usize,
        /// C of the model.
        model_classes: usize,
        /// D of the model.
        model_features: usize,
    },
    /// The model has not the one row that a binary loss is for, or not as many as a conversion between one and two.
    #[error("{what} is for models of {}, but this one has {}", rows(*.expected), rows(*.actual))]
    Rows {
        /// The loss or the conversion.
        what: &'static str,
        /// Rows asked for.
        expected: usize,
        /// Rows of the model, as many as it has classes.
        actual: usize,
    },
    /// The buffer of parameters or sums is not as long as its shape asks.
    #[error(
        "{classes} classes × {features} features need {expected} values, but there are {actual}"
    )]
    ParametersLength {
        /// C.
        classes: usize,
        /// D.
        features: usize,
        /// Values needed.
        expected: usize,
        /// Values given.
        actual: usize,
    },
    /// λ is negative, infinite or NaN.
    #[error("the L2 coefficient λ is {value}; it must be finite and at least 0")]
    L2 {
        /// λ as given.
        value: f64,
    },
    /// The margin Δ is negative, infinite or NaN.
    #[error("the margin Δ is {value}; it must be finite and at least 0")]
    Margin {
        /// Δ as given.
        value: f64,
    },
    /// The label smoothing ε is not from 0 to 1.
    #[error("the label smoothing ε is {value}; it must be from 0 to 1")]
    LabelSmoothing {
        /// ε as given.
        value: f64,
    },
    /// Labels are smoothed for a loss other than cross-entropy.
    #[error(
        "the label smoothing ε is {value}, but the {loss} loss has none; only cross-entropy does"
    )]
    LabelSmoothingOf {
        /// The loss.
        loss: &'static str,
        /// ε as given.
        value: f64,
    },
    /// There is no λ to choose from.
    #[error("there is no L2 coefficient λ to choose from")]
    NoL2,
    /// Samples cannot be divided into so many folds.
    #[error(
        "{folds} folds of {samples} samples that count; there must be at least 2, and no more than samples"
    )]
    Folds {
        /// Folds asked for.
        folds: usize,
        /// Samples whose weight is not zero.
        samples: usize,
    },
    /// The loss has kinks, and so no second derivatives.
    #[error(
        "the {loss} loss has kinks, and no second derivatives; squared_hinge and cross_entropy have, and of the binary \
         ones binary_squared_hinge and logistic"
    )]
    NoHessian {
        /// The loss.
        loss: &'static str,
    },
    /// The loss is none that dual coordinate ascent is for.
    #[error(
        "dual coordinate ascent is for hinge, crammer_singer and squared_hinge, and the binary hinges, not for the \
         {loss} loss"
    )]
    NoDual {
        /// The loss.
        loss: &'static str,
    },
    /// A number of the direction that the Hessian is to be multiplied with is NaN or infinite.
    #[error("parameter {index} of the direction (W row-major, then b) is {value}")]
    Direction {
        /// Its place among the parameters.
        index: usize,
        /// Its value.
        value: f64,
    },
    /// A number that a solver was given is out of its range.
    #[error("the {what} is {}; it must be {rule}", short(*.value))]
    Setting {
        /// Which one.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The range.
        rule: &'static str,
    },
    /// A checkpoint is of another fit than the one that is to go on from it.
    #[error("the checkpoint is of another fit: the {what} was {saved}, and is {given} now")]
    Checkpoint {
        /// What differs first.
        what: String,
        /// What the checkpoint has.
        saved: String,
        /// What the fit has.
        given: String,
    },
    /// A file cannot be read or written, or what it has is no model.
    #[error("{}: {message}", .path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        message: String,
    },
    /// These bytes are no model or checkpoint in the format of safetensors, or a model cannot be written in it.
    #[error("{message}")]
    Safetensors {
        /// What is wrong.
        message: String,
    },
    /// No instruction set has this name.
    #[error("unknown instruction set {name:?} (known: {known})", known = crate::Isa::NAMES.join(", "))]
    UnknownIsa {
        /// The name as given.
        name: String,
    },
    /// This machine lacks the instruction set.
    #[error("this machine has no {name} (it has: {available})")]
    IsaUnavailable {
        /// The instruction set asked for.
        name: &'static str,
        /// Those that the machine has.
        available: String,
    },
    /// A NaN, an infinity or an overflow made the result of a row meaningless.
    #[error("row {row}: {cause}")]
    NonFinite {
        /// The first row whose result is not finite.
        row: usize,
        /// Where it came from.
        cause: NonFinite,
    },
    /// Every row is finite, but the loss or the gradient is not: λ ΣW², 2λW or the mean itself is beyond
    /// the range of its type.
    #[error("the {what} overflows")]
    Overflow {
        /// The quantity that overflows.
        what: &'static str,
    },
}

/// The first and the last of so many, if there are any.
fn span(n: usize) -> String {
    if n == 0 { String::new() } else { format!(" (0 to {})", n - 1) }
}

fn rows(n: usize) -> String {
    if n == 1 { "1 row of weights".to_owned() } else { format!("{n} rows of weights") }
}

/// A number as one would write it: neither 1 followed by 39 zeros, nor 1.0.
fn short(value: f64) -> String {
    let text = format!("{value:?}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// Where a result that is not finite came from.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NonFinite {
    /// A feature of the row is NaN or infinite.
    #[error("feature {feature} is {value}")]
    Feature {
        /// Column of the feature matrix.
        feature: usize,
        /// Its value.
        value: f64,
    },
    /// A feature of the row is finite, but not in the type that is computed with once it is scaled.
    #[error("feature {feature} is {}, and overflows as it is scaled", short(*.value))]
    Scaled {
        /// Column of the feature matrix.
        feature: usize,
        /// Its value, not scaled.
        value: f64,
    },
    /// A weight of the model is NaN or infinite.
    #[error("the model's weight of class {class}, feature {feature} is {value}")]
    Weight {
        /// The class.
        class: usize,
        /// The feature.
        feature: usize,
        /// Its value.
        value: f64,
    },
    /// A bias of the model is NaN or infinite.
    #[error("the model's bias of class {class} is {value}")]
    Bias {
        /// The class.
        class: usize,
        /// Its value.
        value: f64,
    },
    /// All inputs are finite; a score is not.
    #[error("a score overflows")]
    Score,
    /// All scores are finite; the loss is not.
    #[error("the loss overflows")]
    Loss,
    /// All losses are finite; the sum for the gradient is not.
    #[error("the sum of the gradient overflows")]
    Gradient,
}
