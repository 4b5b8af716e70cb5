//! Sparse rows: of each sample the features that are not zero, as SVMlight files and SciPy's CSR matrices have them.

use super::array::BadValue;
use anyhow::{Result, bail};
use softmargin::{CsrView, Error, NonFinite};

/// N × D values, of which those that are not there are zero.
#[derive(Debug)]
pub(super) struct Sparse {
    /// Where the entries of each row begin, and those of the last one end.
    indptr: Vec<usize>,
    /// Ascending within a row.
    indices: Vec<u32>,
    values: Vec<f32>,
    n_features: usize,
}

impl Sparse {
    /// Rows in the layout of [`CsrView`]. Indices are sorted, and entries of the same feature added up.
    ///
    /// # Errors
    /// As [`CsrView::new`]; and [`Error::NonFinite`] for a sum that is too large for `f32`.
    pub(super) fn new(
        indptr: Vec<usize>,
        indices: Vec<u32>,
        values: Vec<f32>,
        n_features: usize,
    ) -> Result<Self, Error> {
        CsrView::new(indptr.len().saturating_sub(1), n_features, &indptr, &indices, &values)?;
        let mut sparse = Self { indptr, indices, values, n_features };
        sparse.sum_duplicates()?;
        Ok(sparse)
    }

    fn sum_duplicates(&mut self) -> Result<(), Error> {
        let ascending = |row: &[usize]| self.indices[row[0]..row[1]].is_sorted_by(|a, b| a < b);
        // Entries that are of no row go, too.
        let all = [self.indptr[0], self.indptr[self.n_samples()]] == [0, self.values.len()];
        if all && self.indptr.windows(2).all(ascending) {
            return Ok(());
        }
        let (mut start, mut kept) = (self.indptr[0], 0);
        self.indptr[0] = 0;
        for (row_number, end) in self.indptr[1..].iter_mut().enumerate() {
            let entries = self.indices[start..*end].iter().zip(&self.values[start..*end]);
            let mut row: Vec<(u32, f64)> = entries.map(|(i, x)| (*i, f64::from(*x))).collect();
            row.sort_by_key(|(index, _)| *index);
            row.dedup_by(|next, sum| {
                let same = next.0 == sum.0;
                sum.1 += if same { next.1 } else { 0.0 };
                same
            });
            // Never past what has been read.
            for (index, value) in row {
                if (value as f32).is_infinite() && value.is_finite() {
                    let cause = NonFinite::Feature { feature: index as usize, value };
                    return Err(Error::NonFinite { row: row_number, cause });
                }
                (self.indices[kept], self.values[kept]) = (index, value as f32);
                kept += 1;
            }
            (start, *end) = (*end, kept);
        }
        self.indices.truncate(kept);
        self.values.truncate(kept);
        Ok(())
    }

    /// N.
    pub(super) fn n_samples(&self) -> usize {
        self.indptr.len() - 1
    }

    /// D.
    pub(super) fn n_features(&self) -> usize {
        self.n_features
    }

    /// The values of all entries.
    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    /// The same.
    pub(super) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// The feature and the value of every entry.
    pub(super) fn entries(&self) -> impl Iterator<Item = (usize, f32)> {
        self.indices.iter().map(|index| *index as usize).zip(self.values.iter().copied())
    }

    /// The matrix with the values of its entries in another type.
    pub(super) fn view<'a, T>(&'a self, values: &'a [T]) -> Result<CsrView<'a, T>, Error> {
        CsrView::new(self.n_samples(), self.n_features, &self.indptr, &self.indices, values)
    }
}

/// An error of [`Sparse::new`] as a message.
pub(super) fn explain(error: Error) -> anyhow::Error {
    match error {
        Error::NonFinite { row, cause: NonFinite::Feature { feature, value } } => {
            BadValue { row, column: feature, value }.error()
        }
        other => other.into(),
    }
}

/// Checks that a model of sparse data, whose features may be far more than its values, takes up no more than so many
/// bytes.
pub(super) fn check_weights(n_classes: usize, n_features: usize, max_bytes: u64) -> Result<()> {
    let bytes = n_classes.checked_mul(n_features).and_then(|n| n.checked_mul(size_of::<f32>()));
    if bytes.is_none_or(|bytes| bytes as u64 > max_bytes) {
        let classes =
            if n_classes == 1 { "a class".into() } else { format!("{n_classes} classes") };
        bail!(
            "the weights of {classes} for {n_features} features take up more than {} MiB (--max-unpacked raises \
             the limit)",
            max_bytes >> 20
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_add_up() {
        let indptr = vec![1, 4, 4, 6, 9];
        let indices = vec![9, 2, 0, 2, 1, 3, 3, 3, 0];
        let values = vec![9.0, 1.0, 2.0, 4.0, 5.0, 6.0, 0.5, -0.5, 7.0];
        let sparse = Sparse::new(indptr, indices, values, 4).unwrap();
        assert_eq!(sparse.indptr, [0, 2, 2, 4, 6]);
        let entries: Vec<(usize, f32)> = sparse.entries().collect();
        assert_eq!(entries, [(0, 2.0), (2, 5.0), (1, 5.0), (3, 6.0), (0, 7.0), (3, 0.0)]);
        let error = Sparse::new(vec![0, 1], vec![4], vec![1.0], 4).unwrap_err();
        assert!(error.to_string().contains("row 0"), "{error}");
        let large = Sparse::new(vec![0, 0, 2], vec![3, 3], vec![3e38, 3e38], 4).unwrap_err();
        let message = explain(large).to_string();
        assert!(
            message.starts_with("row 1, feature 3: ") && message.ends_with("too large for f32"),
            "{message}"
        );
    }

    #[test]
    fn weights_that_are_too_many() {
        assert!(check_weights(2, 1 << 18, 2 << 20).is_ok());
        for (n_classes, n_features) in [(2, (1 << 18) + 1), (1 << 20, 1 << 44)] {
            let error = check_weights(n_classes, n_features, 2 << 20).unwrap_err().to_string();
            assert!(error.contains("2 MiB") && error.contains("--max-unpacked"), "{error}");
        }
    }
}
