//! Words as features: sparse rows of hashed words and pairs of words, and L-BFGS.
//!
//! cargo run --release --example text_sparse --features train

use core::ops::ControlFlow;
use softmargin::{Batch, CsrView, Evaluator, LinearModel, Objective, train::Lbfgs};

/// The number of features: hashes are cut to so many bits.
const D: usize = 1 << 18;

/// Sentences and what they are about: 0 the weather, 1 the kitchen, 2 the railway.
const SENTENCES: [(&str, u32); 12] = [
    ("rain is expected in the north tonight", 0),
    ("a cold wind from the east and some snow", 0),
    ("sunny with clouds in the afternoon", 0),
    ("storm and heavy rain along the coast", 0),
    ("add the flour and stir until smooth", 1),
    ("bake the bread in a hot oven", 1),
    ("chop the onions and add some salt", 1),
    ("stir the soup and serve it hot", 1),
    ("the train to the north leaves from platform two", 2),
    ("tickets are sold at the station", 2),
    ("the night train is delayed by snow", 2),
    ("change at the next station for the coast", 2),
];

/// FNV-1a.
fn hash(words: &[&str]) -> u32 {
    let bytes = words.iter().flat_map(|word| word.bytes().chain([b' ']));
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// Appends a row: an entry for each word and pair of words, of length 1 in all. Entries that fall on one feature
/// add up, so that nobody need look.
fn add_row(text: &str, indptr: &mut Vec<usize>, indices: &mut Vec<u32>, values: &mut Vec<f32>) {
    let words: Vec<&str> = text.split_whitespace().collect();
    let grams = words.chunks(1).chain(words.windows(2));
    indices.extend(grams.map(|gram| hash(gram) % D as u32));
    let n = indices.len() - indptr.last().unwrap_or(&0);
    values.resize(indices.len(), 1.0 / (n as f32).sqrt());
    indptr.push(indices.len());
}

fn main() -> Result<(), softmargin::Error> {
    let (mut indptr, mut indices, mut values) = (vec![0], vec![], vec![]);
    for (text, _) in SENTENCES {
        add_row(text, &mut indptr, &mut indices, &mut values);
    }
    let labels = SENTENCES.map(|(_, label)| label);
    let x = CsrView::new(SENTENCES.len(), D, &indptr, &indices, &values)?;
    let batch = Batch::new(x, &labels)?;

    let mut model = LinearModel::<f32>::zeros(3, D);
    let mut evaluator = Evaluator::new(Objective::cross_entropy().with_l2(1e-3));
    let go_on = |_: &_, _: &_| ControlFlow::Continue(());
    let summary = Lbfgs::default().fit(&mut evaluator, &mut model, &batch, go_on)?;
    println!("{} iterations, {}", summary.progress.iteration, summary.stop_reason);

    let (mut indptr, mut indices, mut values) = (vec![0], vec![], vec![]);
    let questions = ["is the train from the coast delayed", "stir and add salt", "wind and rain"];
    for text in questions {
        add_row(text, &mut indptr, &mut indices, &mut values);
    }
    let x = CsrView::new(questions.len(), D, &indptr, &indices, &values)?;
    let topics = model.predict(x)?;
    for (text, topic) in questions.iter().zip(&topics) {
        println!("{text:40} {}", ["weather", "kitchen", "railway"][*topic as usize]);
    }
    assert_eq!(topics, [2, 1, 0]);
    Ok(())
}
