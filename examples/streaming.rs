//! A file larger than the memory one is willing to give: one evaluation of all of it, chunk by chunk, with
//! the same result as in one piece.
//!
//! cargo run --release --example streaming

use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective, Partial};
use std::error::Error;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};

const N: usize = 40_000;
const D: usize = 64;
const C: usize = 10;
/// 1 MiB of features at a time; the file has ten.
const CHUNK_ROWS: usize = (1 << 20) / size_of::<f32>() / D;

fn main() -> Result<(), Box<dyn Error>> {
    let path =
        std::env::temp_dir().join(format!("softmargin-streaming-{}.f32", std::process::id()));
    let feature = |i: usize| ((i * 7919 % 1009) as f32 / 504.0) - 1.0;
    let mut file = BufWriter::new(File::create(&path)?);
    for i in 0..N * D {
        file.write_all(&feature(i).to_le_bytes())?;
    }
    file.into_inner()?;
    let labels: Vec<u32> = (0..N).map(|i| (i % C) as u32).collect();
    let mut model = LinearModel::<f32>::zeros(C, D);
    model.weights_mut().iter_mut().enumerate().for_each(|(i, w)| *w = feature(i) / 8.0);

    let mut evaluator = Evaluator::new(Objective::cross_entropy().with_l2(1e-4));
    let mut partial = Partial::new(C, D);
    let mut file = BufReader::new(File::open(&path)?);
    let mut bytes = vec![0; CHUNK_ROWS * D * size_of::<f32>()];
    for labels in labels.chunks(CHUNK_ROWS) {
        let bytes = &mut bytes[..labels.len() * D * size_of::<f32>()];
        file.read_exact(bytes)?;
        let chunk: Vec<f32> =
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let batch = Batch::new(MatrixView::new(&chunk, labels.len(), D)?, labels)?;
        evaluator.accumulate(&model, &batch, &mut partial)?;
    }
    let mut gradient = LinearModel::zeros(C, D);
    let loss = evaluator.finish(&model, &partial, &mut gradient)?;
    std::fs::remove_file(&path)?;

    let all: Vec<f32> = (0..N * D).map(feature).collect();
    let whole = evaluator.loss(&model, &Batch::new(MatrixView::new(&all, N, D)?, &labels)?)?;
    println!(
        "loss {loss:.9} in {} chunks, {whole:.9} in one piece",
        labels.len().div_ceil(CHUNK_ROWS)
    );
    assert!((loss - whole).abs() < 1e-9);
    Ok(())
}
