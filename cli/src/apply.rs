//! A model applied to data, some rows after the other, so that the memory it takes does not depend on the number of
//! samples or classes.

use crate::{
    data::{Compute, Dataset, in_all_rows},
    metrics::Metrics,
    model_file::Parameters,
    with_model,
};
use anyhow::Result;
use softmargin::{
    Batch, Element, Error, Evaluator, Features, Isa, LinearModel, Objective, Predictor, Scalar,
};
use std::ops::Range;

/// What the scores of the rows that are handled at a time take up, about.
const CHUNK_BYTES: usize = 16 << 20;

/// Rows that all threads have some of, however many classes there are.
const MIN_ROWS: usize = 256;

/// A model that is applied with some instruction set.
#[derive(Clone, Copy)]
pub(crate) struct Applied<'a> {
    pub(crate) parameters: &'a Parameters,
    pub(crate) isa: Isa,
}

impl Applied<'_> {
    /// Calls `f` with the classes that are predicted of some rows after the other.
    pub(crate) fn predict(
        &self,
        data: &Dataset,
        f: impl FnMut(Range<usize>, &[u32]) -> Result<()>,
    ) -> Result<()> {
        self.predict_rows(data, 0..data.n_samples, f)
    }

    /// The same for a range of the rows alone.
    pub(crate) fn predict_rows(
        &self,
        data: &Dataset,
        rows: Range<usize>,
        mut f: impl FnMut(Range<usize>, &[u32]) -> Result<()>,
    ) -> Result<()> {
        with_model!(self.parameters, model => {
            let predictor = Predictor::new(model).with_isa(self.isa);
            for_each_chunk(model, data, rows, |rows, x| f(rows, &predictor.predict(x)?))
        })
    }

    /// Calls `f` with the probabilities of all classes of some rows after the other, row by row.
    pub(crate) fn predict_proba(
        &self,
        data: &Dataset,
        mut f: impl FnMut(Range<usize>, &[f32]) -> Result<()>,
    ) -> Result<()> {
        with_model!(self.parameters, model => {
            let predictor = Predictor::new(model).with_isa(self.isa);
            for_each_chunk(model, data, 0..data.n_samples, |rows, x| {
                let probabilities = predictor.predict_proba(x)?.into_iter();
                let probabilities: Vec<f32> = probabilities.map(|p| p.to_f64() as f32).collect();
                f(rows, &probabilities)
            })
        })
    }

    /// How well the predictions fit the labels, which are classes.
    pub(crate) fn measure(&self, data: &Dataset, labels: &[u32]) -> Result<Metrics> {
        Ok(self.measure_parts(data, labels, &[])?.0)
    }

    /// The same, of the rows that are not held out, and of those that are, which are in ascending order. One pass.
    pub(crate) fn measure_parts(
        &self,
        data: &Dataset,
        labels: &[u32],
        held_out: &[u32],
    ) -> Result<(Metrics, Metrics)> {
        let new = || Metrics::new(self.parameters.n_classes());
        let (mut training, mut validation) = (new(), new());
        let mut held_out = held_out.iter().map(|row| *row as usize).peekable();
        self.predict(data, |range, classes| {
            for (i, class) in range.zip(classes) {
                let part = match held_out.next_if_eq(&i) {
                    Some(_) => &mut validation,
                    None => &mut training,
                };
                let weight = data.weights.as_ref().map_or(1.0, |w| f64::from(w[i]));
                part.add(labels[i], *class, weight);
            }
            Ok(())
        })?;
        Ok((training, validation))
    }

    /// The mean loss of the samples, without an L2 term.
    pub(crate) fn loss(&self, data: &Dataset, labels: &[u32], objective: Objective) -> Result<f64> {
        data.check_sample_weights()?;
        let objective = objective.with_l2(0.0);
        let weights = data.weights.as_deref();
        let (mut sum, mut total) = (0.0, 0.0);
        let mut add = |loss: f64, weight: f64| {
            sum += loss * weight;
            total += weight;
        };
        with_model!(self.parameters, model => {
            let mut evaluator = Evaluator::new(objective).with_isa(self.isa);
            for_each_chunk(model, data, 0..data.n_samples, |rows, x| {
                let weights = weights.map(|weights| Compute::numbers(&weights[rows.clone()]));
                let batch = weighted(Batch::new(x, &labels[rows])?, weights.as_deref(), None);
                if let Some(batch) = that_counts(batch)? {
                    add(evaluator.loss(model, &batch)?, batch.total_weight());
                }
                Ok(())
            })?;
        });
        Ok(sum / total)
    }
}

/// Calls `f` with so many rows at a time that the scores that a model gives them take up little memory.
fn for_each_chunk<T: Compute>(
    model: &LinearModel<T>,
    data: &Dataset,
    rows: Range<usize>,
    mut f: impl FnMut(Range<usize>, Features<'_, T>) -> Result<()>,
) -> Result<()> {
    let step = (CHUNK_BYTES / (model.n_classes() * size_of::<T>())).max(MIN_ROWS);
    // An error that is none of the evaluation, as of a full disk.
    let mut other = None;
    let pass = data.for_each_chunk_of([rows], |range, x| {
        for start in (0..x.rows()).step_by(step) {
            let end = x.rows().min(start + step);
            let Some(rows) = x.slice_rows(start..end) else { continue };
            let result = f(range.start + start..range.start + end, rows);
            result.map_err(|error| match error.downcast() {
                Ok(error) => in_all_rows(error, start),
                Err(error) => {
                    other = Some(error);
                    Error::NoSamples
                }
            })?;
        }
        Ok(())
    });
    match other {
        Some(error) => Err(error),
        None => pass.map_err(|error| data.explain(error)),
    }
}

/// A batch with sample weights and class weights, where there are any.
pub(crate) fn weighted<'a, T: Scalar>(
    batch: Batch<'a, T>,
    sample_weights: Option<&'a [T]>,
    class_weights: Option<&'a [T]>,
) -> Result<Batch<'a, T>, Error> {
    let batch = sample_weights.map_or(Ok(batch), |weights| batch.with_sample_weights(weights))?;
    class_weights.map_or(Ok(batch), |weights| batch.with_class_weights(weights))
}

/// Leaves out a part of the data in which no sample counts.
pub(crate) fn that_counts<T: Scalar>(
    batch: Result<Batch<'_, T>, Error>,
) -> Result<Option<Batch<'_, T>>, Error> {
    match batch {
        Err(Error::ZeroSampleWeights { .. }) => Ok(None),
        batch => batch.map(Some),
    }
}
