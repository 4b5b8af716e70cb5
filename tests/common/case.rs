//! A batch and a model to evaluate, and its variants: the same samples with padded rows, scattered
//! among decoys and selected, or with repeats. All that no kernel may read is NaN, and the labels
//! there are no classes.

use super::{Random, Stored};
use softmargin::reference::{self, Reference};
use softmargin::{
    Batch, CsrView, Error, Features, LinearModel, Loss, MatrixView, Objective, Scalar,
};
use std::fmt;
use std::ops::{Deref, DerefMut, Range};

/// N × D × C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub n: usize,
    pub d: usize,
    pub c: usize,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.n, self.d, self.c)
    }
}

/// A slice with decoys before its first element and behind its last one.
#[derive(Clone, Debug)]
pub struct Guarded<A> {
    values: Vec<A>,
    guard: usize,
}

/// Odd, so that the slice inside is aligned to its element and to nothing more.
const GUARD: usize = 35;

impl<A: Copy> Guarded<A> {
    pub fn new(values: &[A], decoy: A) -> Self {
        let decoys = [decoy; GUARD];
        Self { values: [&decoys, values, &decoys].concat(), guard: GUARD }
    }

    /// Without decoys: the slice is an allocation of its own.
    pub fn bare(&self) -> Self {
        Self { values: self.to_vec(), guard: 0 }
    }
}

impl<A> Deref for Guarded<A> {
    type Target = [A];
    fn deref(&self) -> &[A] {
        &self.values[self.guard..self.values.len() - self.guard]
    }
}

impl<A> DerefMut for Guarded<A> {
    fn deref_mut(&mut self) -> &mut [A] {
        let end = self.values.len() - self.guard;
        &mut self.values[self.guard..end]
    }
}

/// All that one evaluation takes.
#[derive(Clone, Debug)]
pub struct Case<T> {
    pub objective: Objective,
    pub model: LinearModel<T>,
    pub x: Guarded<T>,
    pub rows: usize,
    pub stride: usize,
    pub labels: Guarded<u32>,
    pub sample_weights: Option<Guarded<T>>,
    pub selection: Option<Vec<u32>>,
    /// X column by column, and the distance between columns: evaluated instead of `x`.
    pub columns: Option<(Guarded<T>, usize)>,
    /// X as sparse rows: evaluated instead of `x`.
    pub sparse: Option<Sparse<T>>,
}

/// Sparse rows, with decoys around the slices that have entries.
#[derive(Clone, Debug)]
pub struct Sparse<T> {
    pub indptr: Vec<usize>,
    pub indices: Guarded<u32>,
    pub values: Guarded<T>,
}

/// Whether derivatives jump somewhere.
pub fn has_kinks(objective: Objective) -> bool {
    matches!(
        objective.loss(),
        Loss::Hinge { .. } | Loss::CrammerSinger { .. } | Loss::BinaryHinge { .. }
    )
}

/// max |v|, where a NaN counts as infinite.
pub fn max_abs(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |max, v| if v.is_nan() { f64::INFINITY } else { max.max(v.abs()) })
}

/// So many rows or columns, NaN between them, that end with the last element of the last one.
fn lines<T: Scalar>(
    count: usize,
    length: usize,
    stride: usize,
    value: impl Fn(usize, usize) -> T,
) -> Guarded<T> {
    let mut lines = vec![T::from_f64(f64::NAN); count.saturating_sub(1) * stride + length];
    for (i, line) in lines.chunks_mut(stride).enumerate() {
        line.iter_mut().take(length).enumerate().for_each(|(l, x)| *x = value(i, l));
    }
    Guarded::new(&lines, T::from_f64(f64::NAN))
}

/// A class that no model has.
const WILD_LABEL: u32 = u32::MAX;

impl<T: Scalar> Case<T> {
    /// A contiguous batch, all of it. The sizes follow from the model and the labels.
    pub fn new(objective: Objective, model: LinearModel<T>, x: &[T], labels: &[u32]) -> Self {
        Self {
            objective,
            x: Guarded::new(x, T::from_f64(f64::NAN)),
            rows: labels.len(),
            stride: model.n_features(),
            model,
            labels: Guarded::new(labels, WILD_LABEL),
            sample_weights: None,
            selection: None,
            columns: None,
            sparse: None,
        }
    }

    /// Of binary losses, C is 1. Normal features, weights (of variance 1 / D, so that the scores are of order 1) and biases.
    ///
    /// For losses with kinks in f32 they are rounded to eighths, and so clipped that every score is
    /// exact in any order of summation: where the loss has a kink, a rounding error in a score may
    /// otherwise rightly change the gradient by a whole sample. Many scores then are exactly on the
    /// kink, if the margin is a multiple of 1/64.
    pub fn random(objective: Objective, shape: Shape, seed: u64) -> Self {
        let Shape { n, d, c } = shape;
        let exact = has_kinks(objective) && size_of::<T>() == 4;
        let mut random = Random::new(seed);
        let mut normal = |deviation: f64| {
            let value = deviation * random.normal();
            T::from_f64(if exact { (value * 8.0).round().clamp(-32.0, 32.0) / 8.0 } else { value })
        };
        let deviation = if exact { 0.25 } else { 1.0 / (d as f64).sqrt() };
        let mut parameters: Vec<T> = (0..c * d).map(|_| normal(deviation)).collect();
        parameters.extend((0..c).map(|_| normal(0.5)));
        let x: Vec<T> = (0..n * d).map(|_| normal(1.0)).collect();
        let n_classes = if objective.loss().is_binary() { 2 } else { c };
        let labels: Vec<u32> = (0..n).map(|_| random.below(n_classes) as u32).collect();
        let model = LinearModel::from_parameters(c, d, parameters).unwrap();
        Self::new(objective, model, &x, &labels)
    }

    /// With the given sample weights, one a row.
    pub fn weighted(mut self, weights: &[T]) -> Self {
        self.sample_weights = Some(Guarded::new(weights, T::from_f64(f64::NAN)));
        self
    }

    /// With random sample weights, about a third of them zero (but never all).
    pub fn randomly_weighted(self, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut weights: Vec<T> =
            (0..self.rows).map(|_| T::from_f64((random.unit() * 3.0 - 1.0).max(0.0))).collect();
        weights[random.below(self.rows)] = T::from_f64(1.5);
        self.weighted(&weights)
    }

    /// The same rows, `padding` elements further apart; between them is NaN.
    pub fn padded(mut self, padding: usize) -> Self {
        let stride = self.stride + padding;
        self.x = lines(self.rows, self.model.n_features(), stride, |i, l| self.row(i)[l]);
        self.stride = stride;
        self
    }

    /// The same matrix column by column, with `padding` NaN between the columns.
    pub fn column_major(mut self, padding: usize) -> Self {
        let stride = self.rows + padding;
        let columns = lines(self.model.n_features(), self.rows, stride, |l, i| self.row(i)[l]);
        self.columns = Some((columns, stride));
        self
    }

    /// Most features zero, in some rows all: about so large a share is left.
    pub fn thinned(mut self, share: f64, seed: u64) -> Self {
        let mut random = Random::new(seed);
        for row in self.x.chunks_mut(self.stride) {
            let share = if random.below(8) == 0 { 0.0 } else { share };
            row.iter_mut().filter(|_| random.unit() >= share).for_each(|x| *x = T::default());
        }
        self
    }

    /// The same matrix as sparse rows, their entries in any order. Some features have two entries, some zeros one.
    pub fn sparse(mut self, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let (mut indptr, mut indices, mut values) = (vec![0], vec![], vec![]);
        for row in 0..self.rows {
            let mut entries = vec![];
            for (feature, x) in self.row(row).iter().enumerate() {
                let half = T::from_f64(x.to_f64() / 2.0);
                match random.below(10) {
                    // Where halves are exact.
                    0 if half.to_f64() * 2.0 == x.to_f64() => {
                        entries.extend([(feature as u32, half); 2]);
                    }
                    1 => entries.push((feature as u32, *x)),
                    _ if *x != T::default() => entries.push((feature as u32, *x)),
                    _ => {}
                }
            }
            if random.below(2) == 0 {
                random.shuffle(&mut entries);
            }
            indices.extend(entries.iter().map(|(index, _)| *index));
            values.extend(entries.iter().map(|(_, value)| *value));
            indptr.push(indices.len());
        }
        self.sparse = Some(Sparse {
            indptr,
            indices: Guarded::new(&indices, u32::MAX),
            values: Guarded::new(&values, T::from_f64(f64::NAN)),
        });
        self
    }

    /// The same samples scattered over twice as many rows and selected in random order. The other
    /// rows have NaN features, labels that are no classes, and heavy weights.
    pub fn selected(mut self, seed: u64) -> Self {
        assert!(self.selection.is_none());
        let rows = 2 * self.rows + 1;
        let mut places: Vec<usize> = (0..rows).collect();
        Random::new(seed).shuffle(&mut places);
        places.truncate(self.rows);

        let mut sources = vec![None; rows];
        let mut labels = vec![WILD_LABEL; rows];
        let mut weights = vec![T::from_f64(1e3); rows];
        for (from, &to) in places.iter().enumerate() {
            sources[to] = Some(from);
            labels[to] = self.labels[from];
            if let Some(sample_weights) = &self.sample_weights {
                weights[to] = sample_weights[from];
            }
        }
        let nan = T::from_f64(f64::NAN);
        self.x = lines(rows, self.model.n_features(), self.stride, |i, l| {
            sources[i].map_or(nan, |from| self.row(from)[l])
        });
        self.rows = rows;
        self.labels = Guarded::new(&labels, WILD_LABEL);
        if self.sample_weights.is_some() {
            self = self.weighted(&weights);
        }
        Random::new(seed ^ 1).shuffle(&mut places);
        self.selection = Some(places.iter().map(|&row| row as u32).collect());
        self
    }

    /// The features, `unit` times as large, rounded to what `E` has.
    pub fn rounded<E: Stored>(mut self, unit: f64) -> Self {
        let columns = self.columns.iter_mut().flat_map(|(columns, _)| columns.iter_mut());
        for x in self.x.iter_mut().chain(columns).filter(|x| x.is_finite()) {
            *x = T::from_f64(E::narrow(unit * x.to_f64()).widen());
        }
        self
    }

    /// Selects so many more rows, each of which is among the samples already.
    pub fn repeated(mut self, repeats: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let samples: Vec<u32> = self.sample_rows().map(|row| row as u32).collect();
        let mut rows = samples.clone();
        rows.extend((0..repeats).map(|_| samples[random.below(samples.len())]));
        self.selection = Some(rows);
        self
    }

    /// The samples in every layout of dense features, some of them weighted, by the names of the layouts.
    pub fn dense_layouts(&self, seed: u64) -> Vec<(&'static str, Self)> {
        let weighted = self.clone().randomly_weighted(seed);
        vec![
            ("rows", self.clone()),
            ("padded", weighted.clone().padded(3)),
            ("columns", self.clone().column_major(0)),
            ("padded columns", weighted.clone().column_major(5)),
            ("selected", self.clone().selected(2).repeated(9, 3)),
            ("selected columns", weighted.selected(2).repeated(9, 3).column_major(1)),
        ]
    }

    /// [`Self::dense_layouts`], and most of the features as sparse rows.
    pub fn layouts(&self, seed: u64) -> Vec<(&'static str, Self)> {
        let thin = self.clone().thinned(0.3, 5);
        let selected = thin.clone().randomly_weighted(seed).selected(2).repeated(9, 3);
        let sparse = [("sparse", thin.sparse(6)), ("selected sparse", selected.sparse(7))];
        self.dense_layouts(seed).into_iter().chain(sparse).collect()
    }

    /// Each slice without decoys, so that its ends are those of its allocation, beyond which a fence or a sanitizer
    /// sees every access.
    pub fn bare(&self) -> Self {
        Self {
            x: self.x.bare(),
            labels: self.labels.bare(),
            sample_weights: self.sample_weights.as_ref().map(Guarded::bare),
            columns: self.columns.as_ref().map(|(columns, stride)| (columns.bare(), *stride)),
            sparse: self.sparse.as_ref().map(|Sparse { indptr, indices, values }| Sparse {
                indptr: indptr.clone(),
                indices: indices.bare(),
                values: values.bare(),
            }),
            ..self.clone()
        }
    }

    /// The batch, as the caller of the crate would build it.
    pub fn batch(&self) -> Batch<'_, T> {
        if let Some(Sparse { indptr, indices, values }) = &self.sparse {
            let d = self.model.n_features();
            return self.batch_with(CsrView::new(self.rows, d, indptr, indices, values).unwrap());
        }
        self.batch_of(self.memory())
    }

    /// All that lies in memory between the first feature and the last one, in the order in which it lies.
    pub fn memory(&self) -> &[T] {
        self.columns.as_ref().map_or(&self.x, |(columns, _)| columns)
    }

    /// What lies in memory, each value as `E`: NaN as its decoy.
    pub fn stored<E: Stored>(&self) -> Guarded<E> {
        let stored = |x: &T| if x.to_f64().is_nan() { E::DECOY } else { E::narrow(x.to_f64()) };
        Guarded::new(&self.memory().iter().map(stored).collect::<Vec<_>>(), E::DECOY)
    }

    /// The batch with other features, stored in the order of this one's.
    pub fn batch_of<'a, E>(&'a self, x: &'a [E]) -> Batch<'a, T>
    where
        MatrixView<'a, E>: Into<Features<'a, T>>,
    {
        let d = self.model.n_features();
        // Every element that `MatrixView::new` would have is there in the contiguous case.
        let x = if let Some((_, stride)) = &self.columns {
            if *stride == self.rows {
                MatrixView::column_major(x, self.rows, d).unwrap()
            } else {
                MatrixView::with_col_stride(x, self.rows, d, *stride).unwrap()
            }
        } else if self.stride == d {
            MatrixView::new(x, self.rows, d).unwrap()
        } else {
            MatrixView::with_row_stride(x, self.rows, d, self.stride).unwrap()
        };
        self.batch_with(x)
    }

    /// The batch with any features.
    fn batch_with<'a>(&'a self, x: impl Into<Features<'a, T>>) -> Batch<'a, T> {
        let mut batch = Batch::new(x, &self.labels).unwrap();
        if let Some(weights) = &self.sample_weights {
            batch = batch.with_sample_weights(weights).unwrap();
        }
        match &self.selection {
            Some(rows) => batch.select(rows).unwrap(),
            None => batch,
        }
    }

    /// Some rows, of a case without a selection, as a batch of their own: an error if they have no weight.
    pub fn chunk(&self, rows: Range<usize>) -> Result<Batch<'_, T>, Error> {
        let whole = self.batch();
        let x = whole.features().slice_rows(rows.clone()).unwrap();
        let batch = Batch::new(x, &self.labels[rows.clone()])?;
        match &self.sample_weights {
            Some(weights) => batch.with_sample_weights(&weights[rows]),
            None => Ok(batch),
        }
    }

    pub fn row(&self, row: usize) -> &[T] {
        &self.x[row * self.stride..][..self.model.n_features()]
    }

    /// The rows of the samples, in order.
    pub fn sample_rows(&self) -> impl Iterator<Item = usize> {
        let all = if self.selection.is_none() { 0..self.rows } else { 0..0 };
        let selected = self.selection.as_deref().unwrap_or_default();
        all.chain(selected.iter().map(|&row| row as usize))
    }

    /// What the oracle says. The L2 term is added here: the oracle adds its squares to the loss one by
    /// one, and a hundred thousand of them cost more than the 1e-14 that f64 is to be held to.
    pub fn reference(&self) -> Reference {
        let (l2, weights) = (self.objective.l2(), self.model.weights());
        let plain = self.objective.with_l2(0.0);
        let mut reference = reference::loss_and_gradient(&plain, &self.model, &self.batch());
        let squares = |row: &[T]| row.iter().map(|w| w.to_f64() * w.to_f64()).sum::<f64>();
        reference.loss += l2 * weights.chunks(64).map(squares).sum::<f64>();
        for (gradient, weight) in reference.weights.iter_mut().zip(weights) {
            *gradient += 2.0 * l2 * weight.to_f64();
        }
        reference
    }

    /// The largest |x| of the samples.
    pub fn largest_feature(&self) -> f64 {
        max_abs(self.sample_rows().flat_map(|row| self.row(row)).map(|x| x.to_f64()))
    }

    /// The largest Σ_d |x_id w_cd| + |b_c| over samples and classes.
    pub fn largest_score(&self, model: &LinearModel<T>) -> f64 {
        let parameters = model.parameters().iter().map(|p| T::from_f64(p.to_f64().abs()));
        let (c, d) = (model.n_classes(), model.n_features());
        let model = LinearModel::from_parameters(c, d, parameters.collect()).unwrap();
        max_abs(self.sample_rows().flat_map(|row| {
            let x: Vec<f64> = self.row(row).iter().map(|x| x.to_f64().abs()).collect();
            reference::scores(&model, &x)
        }))
    }

    /// What the errors of a Hessian product are relative to. The second derivatives of the squared hinges are
    /// constant but for their jumps, those of the others depend on the scores.
    pub fn product_scale(&self, direction: &LinearModel<T>) -> f64 {
        let (s, t) = (self.largest_score(&self.model), self.largest_score(direction));
        let of_slope = match self.objective.loss() {
            Loss::SquaredHinge { .. } | Loss::BinarySquaredHinge { .. } => {
                4.0 * self.model.n_classes() as f64 * t
            }
            _ => 2.0 * (1.0 + s) * t,
        };
        let v_max = max_abs(direction.weights().iter().map(|v| v.to_f64()));
        of_slope * self.largest_feature().max(1.0) + 2.0 * self.objective.l2() * v_max
    }

    /// Feature `col` of row `row`, to be changed.
    pub fn feature_mut(&mut self, row: usize, col: usize) -> &mut T {
        let index = row * self.stride + col;
        &mut self.x[index]
    }
}
