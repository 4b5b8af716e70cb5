//! Any numbers for row pointers and indices: a view exactly where they are sparse rows, and then one that predicts
//! what its dense copy does.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use softmargin::{Batch, CsrView, Error, LinearModel, MatrixView};

#[derive(Arbitrary, Debug)]
struct Input {
    rows: u8,
    cols: u8,
    indptr: Vec<i8>,
    indices: Vec<u8>,
    values: Vec<i8>,
    range: (u8, u8),
}

fuzz_target!(|input: Input| {
    let Input { rows, cols, indptr, indices, values, range } = input;
    let (rows, cols) = (usize::from(rows), usize::from(cols));
    // Negative ones become huge.
    let indptr: Vec<usize> = indptr.iter().map(|p| *p as isize as usize).collect();
    let indices: Vec<u32> = indices.iter().map(|i| u32::from(*i)).collect();
    let values: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();

    let legal = indptr.len() == rows + 1
        && indices.len() == values.len()
        && indptr.is_sorted()
        && indptr[rows] <= indices.len()
        && indices[indptr[0]..indptr[rows]].iter().all(|i| (*i as usize) < cols);
    let x = match CsrView::new(rows, cols, &indptr, &indices, &values) {
        Ok(x) => x,
        Err(error) => {
            assert!(!legal, "{error}");
            return;
        }
    };
    assert!(legal, "{x:?}");
    let entries: usize = (0..rows).map(|i| x.row(i).expect("a row").0.len()).sum();
    assert!(x.n_entries() == entries && x.row(rows).is_none());

    let (start, end) = (usize::from(range.0), usize::from(range.1));
    match x.slice_rows(start..end) {
        Some(part) => assert!((start..end).all(|i| part.row(i - start) == x.row(i))),
        None => assert!(start > end || end > rows),
    }
    if cols == 0 {
        assert!(Batch::new(x, &vec![0; rows]).is_err());
        return;
    }
    let mut dense = vec![0.0; rows * cols];
    for (i, row) in dense.chunks_exact_mut(cols).enumerate() {
        let (indices, values) = x.row(i).expect("a row");
        indices.iter().zip(values).for_each(|(l, value)| row[*l as usize] += value);
    }
    let parameters = (0..3 * cols + 3).map(|i| (i * i % 17) as f64 - 8.0).collect();
    let model = LinearModel::from_parameters(3, cols, parameters).expect("a model");
    let dense = MatrixView::new(&dense, rows, cols).expect("a matrix");
    // Small integers: exact in any order.
    assert_eq!(model.scores(x), model.scores(dense));
    assert!(!matches!(model.predict(x), Err(Error::NonFinite { .. })));
});
