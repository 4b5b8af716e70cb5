//! How well predictions fit labels: the confusion matrix, and precision, recall and F1 of each class, as text and as
//! JSON. Samples are counted by their weights, and as they come, so that no prediction need be kept.

use crate::units;
use serde::Serialize;
use serde_json::{Value, json};

/// Counts of predictions.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// How many samples of each class (a row) are taken for each class (a column), unless that were too many numbers.
    confusion: Option<Vec<f64>>,
    /// Of each class: samples that are predicted rightly, samples, predictions.
    right: Vec<f64>,
    samples: Vec<f64>,
    predicted: Vec<f64>,
}

/// More classes have no matrix, which would take more than 32 MiB.
const MAX_MATRIX: usize = 2048;

/// With more classes, a terminal shows a choice of them.
const MAX_SHOWN: usize = 20;

/// How many of the weakest classes, and of the most frequent confusions, that choice has.
const CHOICE: usize = 10;

/// Characters of a name in a table.
const NAME_WIDTH: usize = 20;

/// How a class fares. What is not defined, as the precision of a class that is never predicted, is none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct OfClass {
    /// The share of its predictions that are right.
    precision: Option<f64>,
    /// The share of its samples that are predicted.
    recall: Option<f64>,
    /// The harmonic mean of both.
    f1: Option<f64>,
    samples: f64,
}

impl Metrics {
    pub(crate) fn new(n_classes: usize) -> Self {
        let confusion = (n_classes <= MAX_MATRIX).then(|| vec![0.0; n_classes * n_classes]);
        let zeros = vec![0.0; n_classes];
        Self { confusion, right: zeros.clone(), samples: zeros.clone(), predicted: zeros }
    }

    pub(crate) fn n_classes(&self) -> usize {
        self.samples.len()
    }

    /// Counts a sample.
    pub(crate) fn add(&mut self, label: u32, prediction: u32, weight: f64) {
        let (n, label, prediction) = (self.n_classes(), label as usize, prediction as usize);
        self.samples[label] += weight;
        self.predicted[prediction] += weight;
        if label == prediction {
            self.right[label] += weight;
        }
        if let Some(confusion) = &mut self.confusion {
            confusion[label * n + prediction] += weight;
        }
    }

    /// The share of the samples that are predicted rightly.
    pub(crate) fn accuracy(&self) -> f64 {
        self.right.iter().sum::<f64>() / self.samples.iter().sum::<f64>()
    }

    /// The same, where the samples of a class count what is given for it.
    pub(crate) fn accuracy_by(&self, class_weights: Option<&[f32]>) -> f64 {
        let Some(weights) = class_weights else { return self.accuracy() };
        sum_by(&self.right, weights) / sum_by(&self.samples, weights)
    }

    /// What the samples weigh, where those of a class count what is given for it.
    pub(crate) fn weight_by(&self, class_weights: Option<&[f32]>) -> f64 {
        class_weights
            .map_or_else(|| self.samples.iter().sum(), |weights| sum_by(&self.samples, weights))
    }

    /// The rows of the confusion matrix, if there is one.
    pub(crate) fn confusion(&self) -> Option<Vec<&[f64]>> {
        let rows = self.confusion.as_ref()?.chunks_exact(self.n_classes());
        Some(rows.collect())
    }

    pub(crate) fn of_class(&self, class: usize) -> OfClass {
        let (right, samples) = (self.right[class], self.samples[class]);
        let predicted = self.predicted[class];
        let share = |part: f64, whole: f64| (whole > 0.0).then(|| part / whole);
        OfClass {
            precision: share(right, predicted),
            recall: share(right, samples),
            f1: share(2.0 * right, samples + predicted),
            samples,
        }
    }

    /// The mean F1 of the classes that have samples or predictions.
    pub(crate) fn macro_f1(&self) -> Option<f64> {
        let all: Vec<f64> =
            (0..self.n_classes()).filter_map(|class| self.of_class(class).f1).collect();
        (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
    }

    /// For scripts. `label` tells what the data calls a class.
    pub(crate) fn json(&self, label: impl Fn(usize) -> Value) -> Value {
        let classes = (0..self.n_classes()).map(|class| {
            let OfClass { precision, recall, f1, samples } = self.of_class(class);
            json!({ "label": label(class), "precision": precision, "recall": recall, "f1": f1,
                    "samples": samples })
        });
        json!({
            "accuracy": self.accuracy(),
            "macro_f1": self.macro_f1(),
            "classes": classes.collect::<Vec<_>>(),
            "confusion_matrix": self.confusion(),
        })
    }

    /// For a terminal: the classes, or the weakest of many, and the confusion matrix, or the most frequent
    /// confusions.
    pub(crate) fn text(&self, name: impl Fn(usize) -> String) -> String {
        let name = |class: usize| shortened(&name(class));
        let mut classes: Vec<usize> = (0..self.n_classes()).collect();
        let many = classes.len() > MAX_SHOWN;
        if many {
            classes.retain(|class| self.samples[*class] > 0.0);
            let f1 = |class: &usize| self.of_class(*class).f1.unwrap_or(0.0);
            classes.sort_by(|a, b| f1(a).total_cmp(&f1(b)));
            classes.truncate(CHOICE);
        }
        let mut rows = vec![["", "precision", "recall", "F1", "samples"].map(str::to_owned)];
        for &class in &classes {
            let OfClass { precision, recall, f1, samples } = self.of_class(class);
            let [precision, recall, f1] = [precision, recall, f1].map(optional);
            rows.push([name(class), precision, recall, f1, number(samples)]);
        }
        let mut text = if many {
            format!("the {} weakest of {} classes\n", classes.len(), self.n_classes())
        } else {
            String::new()
        };
        text += &table(&rows.iter().map(Vec::from).collect::<Vec<_>>());
        match self.confusion() {
            Some(matrix) if !many => {
                text += "\nlabels (rows) and predictions (columns)\n";
                let head = [String::new()].into_iter().chain(classes.iter().map(|c| name(*c)));
                let mut rows: Vec<Vec<String>> = vec![head.collect()];
                for (class, row) in matrix.iter().enumerate() {
                    let counts = row.iter().map(|count| number(*count));
                    rows.push([name(class)].into_iter().chain(counts).collect());
                }
                text += &table(&rows);
            }
            Some(matrix) => {
                let mut wrong: Vec<(usize, usize, f64)> = (matrix.iter().enumerate())
                    .flat_map(|(i, row)| row.iter().enumerate().map(move |(j, n)| (i, j, *n)))
                    .filter(|(i, j, n)| i != j && *n > 0.0)
                    .collect();
                wrong.sort_by(|a, b| b.2.total_cmp(&a.2));
                wrong.truncate(CHOICE);
                if !wrong.is_empty() {
                    text += "\nthe most frequent confusions\n";
                    let mut rows =
                        vec![["label", "predicted", "samples"].map(str::to_owned).to_vec()];
                    rows.extend(wrong.iter().map(|(i, j, n)| vec![name(*i), name(*j), number(*n)]));
                    text += &table(&rows);
                }
            }
            None => {}
        }
        text
    }
}

fn optional(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), units::percent)
}

/// A count, or a sum of weights.
pub(crate) fn number(count: f64) -> String {
    if count.fract() == 0.0 { format!("{count:.0}") } else { format!("{count:.2}") }
}

fn shortened(name: &str) -> String {
    let name = units::one_line(name);
    match name.char_indices().nth(NAME_WIDTH) {
        Some(_) => name.chars().take(NAME_WIDTH - 1).chain(['…']).collect(),
        None => name,
    }
}

/// Lines with the first cell to the left and the others to the right of their columns.
fn table(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = format!("{:<1$}", row[0], widths[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            line += &format!("  {cell:>width$}");
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// Σ of what there is of each class, times what it counts.
fn sum_by(of_classes: &[f64], weights: &[f32]) -> f64 {
    of_classes.iter().zip(weights).map(|(samples, weight)| samples * f64::from(*weight)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Labels 0 0 0 1 1 2, predictions 0 0 1 1 1 1, by hand; class 3 has nothing.
    fn example() -> Metrics {
        let mut metrics = Metrics::new(4);
        for (label, prediction) in [(0, 0), (0, 0), (0, 1), (1, 1), (1, 1), (2, 1)] {
            metrics.add(label, prediction, 1.0);
        }
        metrics
    }

    #[test]
    fn of_each_class() {
        let metrics = example();
        assert_eq!(metrics.accuracy(), 4.0 / 6.0);
        let of = |class| {
            let OfClass { precision, recall, f1, samples } = metrics.of_class(class);
            (precision, recall, f1, samples)
        };
        assert_eq!(of(0), (Some(1.0), Some(2.0 / 3.0), Some(0.8), 3.0));
        assert_eq!(of(1), (Some(0.5), Some(1.0), Some(4.0 / 6.0), 2.0));
        assert_eq!(of(2), (None, Some(0.0), Some(0.0), 1.0));
        assert_eq!(of(3), (None, None, None, 0.0));
        let mean = (0.8 + 4.0 / 6.0) / 3.0;
        assert!((metrics.macro_f1().unwrap() - mean).abs() < 1e-15);
        let confusion = metrics.confusion().unwrap();
        assert_eq!(confusion[0], [2.0, 1.0, 0.0, 0.0]);
        assert_eq!(confusion[2], [0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn weights_count() {
        let mut metrics = Metrics::new(2);
        metrics.add(0, 0, 3.0);
        metrics.add(1, 0, 0.5);
        assert_eq!(metrics.accuracy(), 3.0 / 3.5);
        assert_eq!(metrics.of_class(0).precision, Some(3.0 / 3.5));
    }

    #[test]
    fn as_text() {
        let names = ["cat", "dog", "a name that is far too long for it", "d"];
        let text = example().text(|class| names[class].to_owned());
        let expected = "                      precision    recall       F1  samples
cat                    100.00 %   66.67 %  80.00 %        3
dog                     50.00 %  100.00 %  66.67 %        2
a name that is far …          –    0.00 %   0.00 %        1
d                             –         –        –        0

labels (rows) and predictions (columns)
                      cat  dog  a name that is far …  d
cat                     2    1                     0  0
dog                     0    2                     0  0
a name that is far …    0    1                     0  0
d                       0    0                     0  0
";
        assert_eq!(text, expected, "{text}");
    }

    /// Of many classes, the weakest; of very many, no matrix.
    #[test]
    fn many_classes() {
        for (n, matrix) in [(100, true), (5000, false)] {
            let mut metrics = Metrics::new(n);
            for class in 0..n as u32 {
                metrics.add(class, class, 1.0);
            }
            metrics.add(7, 9, 2.0);
            let text = metrics.text(|class| class.to_string());
            assert!(text.starts_with(&format!("the 10 weakest of {n} classes\n")), "{text}");
            assert_eq!(text.contains("confusions\nlabel  predicted  samples\n7"), matrix, "{text}");
            let json = metrics.json(Value::from);
            assert_eq!(json["confusion_matrix"].is_array(), matrix);
            assert_eq!(json["classes"].as_array().unwrap().len(), n);
        }
    }
}
