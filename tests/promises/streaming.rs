//! Chunks are as good as the whole: however a data set is divided, accumulated in one partial or in
//! many, merged in any order or sent from process to process as bare sums, its loss and gradient are
//! those of one evaluation, to rounding.

use crate::common::{Case, Evaluated, Random, Shape, check_against_oracle, for_each_isa, losses};
use softmargin::{Error, Evaluator, LinearModel, Objective, Partial, Scalar};

fn objectives() -> [Objective; 5] {
    losses().map(|objective| objective.with_l2(0.01))
}

/// A case all of whose rows have a sample weight, and of which no chunk has none.
fn weighted_case<T: Scalar>(objective: Objective, shape: Shape, seed: u64) -> Case<T> {
    let case = Case::random(objective, shape, seed);
    let mut random = Random::new(seed ^ 9);
    let weights: Vec<T> = (0..shape.n).map(|_| T::from_f64(0.25 + random.unit())).collect();
    case.weighted(&weights)
}

/// Divides 0..n at random into so many chunks.
fn split(n: usize, chunks: usize, random: &mut Random) -> Vec<std::ops::Range<usize>> {
    let mut cuts: Vec<usize> = (1..n).collect();
    random.shuffle(&mut cuts);
    cuts.truncate(chunks - 1);
    cuts.extend([0, n]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

fn finish<T: Scalar>(
    evaluator: &mut Evaluator<T>,
    case: &Case<T>,
    partial: &Partial<T>,
) -> Evaluated<T> {
    let (c, d) = (case.model.n_classes(), case.model.n_features());
    let nan = vec![T::from_f64(f64::NAN); c * (d + 1)];
    let mut gradient = LinearModel::from_parameters(c, d, nan).unwrap();
    let loss = evaluator.finish(&case.model, partial, &mut gradient).unwrap();
    Evaluated { loss, gradient }
}

fn chunks_equal_the_whole<T: Scalar>() {
    for (objective, weighted) in objectives().iter().flat_map(|o| [(*o, false), (*o, true)]) {
        for (seed, (n, d, c)) in [(2, 3, 2), (300, 37, 10), (1000, 9, 17)].into_iter().enumerate() {
            let (seed, shape) = (seed as u64, Shape { n, d, c });
            let case: Case<T> = if weighted {
                weighted_case(objective, shape, seed)
            } else {
                Case::random(objective, shape, seed)
            };
            let mut random = Random::new(seed);
            for_each_isa(|isa| {
                for chunks in [1, 2, 7, 50].into_iter().filter(|&chunks| chunks <= n) {
                    let context = format!("{shape} in {chunks} chunks on {isa}");
                    let mut evaluator = Evaluator::new(objective).with_isa(isa);
                    let ranges = split(n, chunks, &mut random);

                    // One after the other into one.
                    let mut sum = Partial::new(c, d);
                    for range in ranges.clone() {
                        let batch = case.chunk(range).unwrap();
                        evaluator.accumulate(&case.model, &batch, &mut sum).unwrap();
                    }
                    let total = case.batch().total_weight();
                    assert!((sum.total_weight() - total).abs() <= 1e-14 * total, "{context}");
                    let got = finish(&mut evaluator, &case, &sum);
                    check_against_oracle(&case, &got, &format!("{context}, one partial"));

                    // Each into its own, sent as sums, merged in random order by pairs.
                    let mut partials: Vec<Partial<T>> = ranges
                        .into_iter()
                        .map(|range| {
                            let mut partial = Partial::new(c, d);
                            let batch = case.chunk(range).unwrap();
                            evaluator.accumulate(&case.model, &batch, &mut partial).unwrap();
                            let sent = partial.sums().to_vec();
                            let received = Partial::from_sums(c, d, sent).unwrap();
                            assert_eq!(received, partial);
                            received
                        })
                        .collect();
                    while partials.len() > 1 {
                        let other = partials.swap_remove(random.below(partials.len()));
                        let index = random.below(partials.len());
                        partials[index].merge(&other).unwrap();
                    }
                    let got = finish(&mut evaluator, &case, &partials[0]);
                    check_against_oracle(&case, &got, &format!("{context}, merged"));
                }
            });
        }
    }
}

#[test]
fn chunks_equal_the_whole_f32() {
    chunks_equal_the_whole::<f32>();
}

#[test]
fn chunks_equal_the_whole_f64() {
    chunks_equal_the_whole::<f64>();
}

/// Bare sums from many processes add up element by element.
#[test]
fn sums_add_up() {
    let (c, d) = (4, 6);
    let case = weighted_case::<f64>(objectives()[1], Shape { n: 90, d, c }, 3);
    let mut evaluator = Evaluator::new(case.objective);
    let mut total = vec![0.0; c * d + c + 2];
    for range in split(90, 5, &mut Random::new(3)) {
        let mut partial = Partial::new(c, d);
        evaluator.accumulate(&case.model, &case.chunk(range).unwrap(), &mut partial).unwrap();
        for (total, sum) in total.iter_mut().zip(partial.sums()) {
            *total += sum;
        }
    }
    let partial = Partial::from_sums(c, d, total).unwrap();
    let got = finish(&mut evaluator, &case, &partial);
    check_against_oracle(&case, &got, &"sums");
}

#[test]
fn cleared_is_as_new() {
    let case = Case::<f32>::random(objectives()[0], Shape { n: 40, d: 5, c: 3 }, 4);
    let mut evaluator = Evaluator::new(case.objective);
    let mut new = Partial::new(3, 5);
    evaluator.accumulate(&case.model, &case.chunk(20..40).unwrap(), &mut new).unwrap();
    let mut cleared = Partial::new(3, 5);
    evaluator.accumulate(&case.model, &case.chunk(0..20).unwrap(), &mut cleared).unwrap();
    assert_ne!(cleared, new);
    cleared.clear();
    assert_eq!(cleared, Partial::new(3, 5));
    evaluator.accumulate(&case.model, &case.chunk(20..40).unwrap(), &mut cleared).unwrap();
    assert_eq!(cleared, new);
}

#[test]
fn nothing_accumulated_has_no_mean() {
    let model = LinearModel::<f64>::zeros(3, 5);
    let mut gradient = model.clone();
    gradient.parameters_mut().fill(7.0);
    let mut evaluator = Evaluator::new(Objective::cross_entropy());
    let result = evaluator.finish(&model, &Partial::new(3, 5), &mut gradient);
    assert_eq!(result, Err(Error::NoSamples));
    assert!(gradient.parameters().iter().all(|&g| g == 7.0), "the gradient was written");
}

/// Whether the error is found before any row is read or only in the last one, the partial keeps what
/// it had, bit for bit, and goes on from there.
fn untouched_on_error<T: Scalar>() {
    let shape = Shape { n: 4000, d: 20, c: 5 };
    for objective in objectives() {
        let good = Case::<T>::random(objective, shape, 6);
        let mut bad_feature = good.clone();
        *bad_feature.feature_mut(3999, 7) = T::from_f64(f64::NAN);
        let mut bad_label = good.clone();
        bad_label.labels[3999] = 5;
        let other_model = Case::<T>::random(objective, Shape { c: 6, ..shape }, 6);
        for_each_isa(|isa| {
            let mut evaluator = Evaluator::new(objective).with_isa(isa);
            let mut partial = Partial::new(5, 20);
            evaluator.accumulate(&good.model, &good.batch(), &mut partial).unwrap();
            let before = partial.clone();
            for bad in [&bad_feature, &bad_label, &other_model] {
                evaluator.accumulate(&bad.model, &bad.batch(), &mut partial).unwrap_err();
                assert_eq!(partial, before, "{isa}");
            }
            assert!(partial.merge(&Partial::new(6, 20)).is_err());
            assert_eq!(partial, before, "{isa}");

            let rest = Case::<T>::random(objective, Shape { n: 9, ..shape }, 7);
            let mut expected = before.clone();
            let mut fresh = Evaluator::new(objective).with_isa(isa);
            fresh.accumulate(&good.model, &rest.batch(), &mut expected).unwrap();
            evaluator.accumulate(&good.model, &rest.batch(), &mut partial).unwrap();
            assert_eq!(partial, expected, "{isa}: after an error");
        });
    }
}

#[test]
fn an_error_leaves_the_partial_as_it_was() {
    untouched_on_error::<f32>();
    untouched_on_error::<f64>();
}
