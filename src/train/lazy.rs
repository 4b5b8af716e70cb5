//! Steps of SGD over sparse rows that take what the entries of a minibatch take, not C × D.
//!
//! The gradient is that of a small problem: of the features that the minibatch has, and of their weights. All other
//! features take the step without a slope, which the L2 term and the momentum ask for; it is the same linear map for
//! every one of them. A feature takes the steps that it has missed when it is seen next, at once, by the product of
//! their maps (for plain shrinking that is known as lazy regularisation: Carpenter, "Lazy sparse stochastic gradient
//! descent for regularized multinomial logistic regression", 2008). The products are made anew from a few maps each
//! time, so that no rounding error builds up.

use super::sgd::{Rule, State, Steps};
use crate::{Batch, CsrView, Error, Evaluator, LinearModel, Scalar, features::Storage};

/// Steps after which all features are brought up to date, which takes C × D once.
const MOST_MISSED: usize = 256;

/// Features whose weights are copied together: those of a class fill whole cache lines.
const TOGETHER: usize = 16;

/// No place among the features of a minibatch.
const NONE: u32 = u32::MAX;

/// What a step without a slope makes of each part of the state of a parameter.
type Map = [State; 3];

/// Which steps the features have missed, and memory for the minibatches.
pub(super) struct Lazy<T> {
    n_classes: usize,
    /// The steps since all features were up to date.
    maps: Vec<Map>,
    /// How many of them each feature has taken.
    taken: Vec<u32>,
    /// Where each feature is among those of the minibatch.
    places: Vec<u32>,
    /// Those of the minibatch.
    features: Vec<u32>,
    indptr: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<T>,
    labels: Vec<u32>,
    weights: Vec<T>,
}

impl<T: Scalar> Lazy<T> {
    /// For sparse rows; not where they are scaled, as a shift gives every row all features.
    pub(super) fn of(batch: &Batch<'_, T>, n_classes: usize) -> Option<Self> {
        let d = batch.n_features();
        (batch.features().is_sparse() && batch.features().scaling().is_none()).then(|| Self {
            n_classes,
            maps: Vec::new(),
            taken: vec![0; d],
            places: vec![NONE; d],
            features: Vec::new(),
            indptr: Vec::new(),
            indices: Vec::new(),
            values: Vec::new(),
            labels: Vec::new(),
            weights: Vec::new(),
        })
    }

    /// One step against the gradient of the mean loss of a minibatch.
    pub(super) fn step(
        &mut self,
        evaluator: &mut Evaluator<T>,
        steps: &mut Steps<'_>,
        minibatch: &Batch<'_, T>,
        n_steps: f64,
    ) -> Result<(), Error> {
        self.read(minibatch);
        self.take_missed(steps);
        let (c, width) = (self.n_classes, self.features.len());
        let n_weights = c * self.taken.len();
        let mut model = LinearModel::zeros(c, width);
        for (part, features) in self.features.chunks(TOGETHER).enumerate() {
            for (class, weights) in model.weights_mut().chunks_exact_mut(width).enumerate() {
                for (weight, feature) in weights[part * TOGETHER..].iter_mut().zip(features) {
                    *weight = T::from_f64(steps.parameters[*feature as usize * c + class]);
                }
            }
        }
        for (bias, value) in model.bias_mut().iter_mut().zip(&steps.parameters[n_weights..]) {
            *bias = T::from_f64(*value);
        }
        let n = self.labels.len();
        let x = CsrView::new(n, width, &self.indptr, &self.indices, &self.values)?;
        let batch = Batch::new(x, &self.labels)?.with_sample_weights(&self.weights)?;
        let mut gradient = LinearModel::zeros(c, width);
        evaluator.loss_and_gradient(&model, &batch, &mut gradient)?;

        let [of_weights, of_bias] = steps.next_rules(n_steps);
        let mut slopes = vec![0.0; TOGETHER * c];
        for (part, features) in self.features.chunks(TOGETHER).enumerate() {
            for (class, of_class) in gradient.weights().chunks_exact(width).enumerate() {
                let of_class = &of_class[part * TOGETHER..][..features.len()];
                for (i, slope) in of_class.iter().enumerate() {
                    slopes[i * c + class] = slope.to_f64();
                }
            }
            for (feature, slopes) in features.iter().zip(slopes.chunks_exact(c)) {
                steps.step_some(*feature as usize * c, &of_weights, slopes);
            }
        }
        let slopes: Vec<f64> = gradient.bias().iter().map(|slope| slope.to_f64()).collect();
        steps.step_some(n_weights, &of_bias, &slopes);
        self.maps.push(map(&of_weights));
        for feature in &self.features {
            self.taken[*feature as usize] = self.maps.len() as u32;
        }
        if self.maps.len() == MOST_MISSED {
            self.take_all_missed(steps);
        }
        Ok(())
    }

    /// Copies the samples of a minibatch, with the numbers of features among those that it has.
    fn read(&mut self, minibatch: &Batch<'_, T>) {
        let Storage::Sparse(x) = minibatch.features().storage() else {
            unreachable!("only sparse rows are read so")
        };
        let n = minibatch.n_samples();
        self.features.clear();
        self.indptr.clear();
        self.indices.clear();
        self.values.clear();
        self.labels.clear();
        self.indptr.push(0);
        for i in 0..n {
            let row = minibatch.row_index(i);
            let (indices, values) = x.row(row).expect("a row of X");
            for feature in indices {
                let place = &mut self.places[*feature as usize];
                if *place == NONE {
                    *place = self.features.len() as u32;
                    self.features.push(*feature);
                }
                self.indices.push(*place);
            }
            self.values.extend_from_slice(values);
            self.indptr.push(self.indices.len());
            self.labels.push(minibatch.labels()[row]);
        }
        for feature in &self.features {
            self.places[*feature as usize] = NONE;
        }
        if self.features.is_empty() {
            // There is no batch without features.
            self.features.push(0);
        }
        self.weights.resize(n, T::default());
        minibatch.write_weights(0, &mut self.weights);
    }

    /// Takes the steps that the features of the minibatch have missed.
    fn take_missed(&self, steps: &mut Steps<'_>) {
        let missed = self.products();
        for feature in &self.features {
            let feature = *feature as usize;
            self.advance(steps, feature, &missed[self.taken[feature] as usize]);
        }
    }

    /// Takes the steps that any feature has missed.
    pub(super) fn take_all_missed(&mut self, steps: &mut Steps<'_>) {
        let missed = self.products();
        for (feature, taken) in self.taken.iter().enumerate() {
            self.advance(steps, feature, &missed[*taken as usize]);
        }
        self.forget();
    }

    fn advance(&self, steps: &mut Steps<'_>, feature: usize, map: &Map) {
        let places = feature * self.n_classes..(feature + 1) * self.n_classes;
        steps.update(places, |_, state| apply(map, state));
    }

    /// Starts anew: no feature has missed a step.
    pub(super) fn forget(&mut self) {
        self.maps.clear();
        self.taken.fill(0);
    }

    /// For each number of steps taken, what those that were missed do.
    fn products(&self) -> Vec<Map> {
        let identity = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let mut products = vec![identity; self.maps.len() + 1];
        for i in (0..self.maps.len()).rev() {
            products[i] = self.maps[i].map(|column| apply(&products[i + 1], column));
        }
        products
    }
}

/// The map of a step without a slope.
fn map(rule: &Rule) -> Map {
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]].map(|part| rule.step(part, 0.0))
}

/// What a map makes of a state.
#[inline(always)]
fn apply(map: &Map, [a, b, c]: State) -> State {
    let part = |i: usize| map[0][i] * a + map[1][i] * b + map[2][i] * c;
    [part(0), part(1), part(2)]
}
