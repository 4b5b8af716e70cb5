//! Whether the first line of a CSV file names its columns. It does only if no cell that has a number in the
//! next lines is merely broken in it, since a header that was none is a sample lost, and a sample that was
//! none a wrong one.

use super::{
    number::{has_decimal_comma, is_missing, is_number, quoted},
    records::Record,
};
use anyhow::{Result, bail};

/// How many cells must count 0, 1, 2, … for numbers to be taken for names.
const COUNTING: usize = 3;

/// Decides by the lines that follow. Cells in `known` are names that the columns are expected to have.
///
/// # Errors
/// If the line is no header, but a cell has no number where the next lines have one.
pub(super) fn is_header(first: &Record, later: &[Record], known: &[&str]) -> Result<bool> {
    let columns = 0..first.len();
    let is_known = |column: &usize| known.contains(&first.get(*column));
    if !known.is_empty() && known.iter().all(|name| first.iter().any(|cell| cell == *name)) {
        return Ok(true);
    }
    let numeric: Vec<bool> = columns.clone().map(|column| is_numeric(column, later)).collect();
    let (numbers, words): (Vec<usize>, Vec<usize>) =
        columns.partition(|column| is_written_number(first.get(*column)));
    let broken = |column: &&usize| numeric[**column];
    // What is said again in the same column is no name of it.
    let recurs = words.iter().any(|column| {
        let cell = first.get(*column);
        let in_another = |row: &Record| *column < row.len() && row.get(*column) == cell;
        // Files that were joined have the whole header again.
        let again = |row: &Record| row.iter().eq(first.iter());
        !is_missing(cell)
            && !numeric[*column]
            && later.iter().any(|row| in_another(row) && !again(row))
    });

    let header = if words.is_empty() {
        // Of one line alone, that line is a sample.
        !later.is_empty() && numbers.len() >= COUNTING && counts_from(first, &numbers, 0)
    } else if later.is_empty() {
        numbers.is_empty() && words.iter().all(|column| is_name(first.get(*column)))
    } else if numbers.is_empty() {
        let broken = words.iter().filter(broken);
        !recurs && broken.clone().any(|column| is_name(first.get(*column)))
    } else {
        // Numbers as names, as pandas gives them, beside names.
        let index = words[0] == 0 && first.get(0).is_empty() && is_index(0, later);
        let named = words.iter().all(|column| is_name(first.get(*column)) || *column == 0 && index);
        let counts = counts_from(first, &numbers, 0) || counts_from(first, &numbers, 1);
        let enough = numbers.len() >= COUNTING || index || words.iter().any(is_known);
        named && (counts && enough || is_scale(first, &numbers)) && !recurs
    };
    if !header
        && !later.is_empty()
        && let Some(column) = words.iter().find(broken)
    {
        bail!(
            "line {}, column {}: {} is no number, as the next lines have there (--header yes makes the \
             line a header)",
            first.line,
            column + 1,
            quoted(first.get(*column)),
        );
    }
    Ok(header)
}

/// Whether a line of nothing but numbers may name the columns all the same: they count, or are points of a scale.
pub(super) fn may_be_names(first: &Record) -> bool {
    let columns: Vec<usize> = (0..first.len()).collect();
    let counts = |start| columns.len() >= COUNTING && counts_from(first, &columns, start);
    counts(0) || counts(1) || is_scale(first, &columns)
}

/// Whether a cell has a number, be it with a comma for its point.
fn is_written_number(cell: &str) -> bool {
    is_number(cell) || has_decimal_comma(cell)
}

/// Whether most of what there is in a column is numbers.
pub(super) fn is_numeric(column: usize, rows: &[Record]) -> bool {
    let cells = rows.iter().filter(|row| column < row.len()).map(|row| row.get(column));
    let present = cells.filter(|cell| !is_missing(cell));
    let (numbers, words) = present.fold((0, 0), |(numbers, words), cell| {
        if is_written_number(cell) { (numbers + 1, words) } else { (numbers, words + 1) }
    });
    numbers > words
}

/// Whether a cell looks like a name: of those of `np.savetxt`, the first follows a `#`.
pub(super) fn is_name(cell: &str) -> bool {
    let cell = cell.trim_start_matches('#').trim_start();
    !is_missing(cell) && cell.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn counts_from(first: &Record, columns: &[usize], start: usize) -> bool {
    columns.iter().enumerate().all(|(i, column)| first.get(*column) == (start + i).to_string())
}

/// Whether the cells are years, wavelengths or other points of a scale: each above the one before by the same step, or
/// so many of them that no sample would ascend throughout.
fn is_scale(first: &Record, columns: &[usize]) -> bool {
    const ASCENDING: usize = 8;
    let points = columns.iter().map(|column| first.get(*column).parse::<f64>());
    let Ok(points) = points.collect::<Result<Vec<_>, _>>() else { return false };
    let steps: Vec<f64> = points.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let ascends = steps.iter().all(|step| *step > 0.0);
    let even = steps.iter().all(|step| (step - steps[0]).abs() <= 1e-9 * steps[0]);
    ascends && (points.len() >= ASCENDING || points.len() >= COUNTING && even)
}

/// Whether a column has whole numbers, each once, as the index that pandas and R write.
pub(super) fn is_index(column: usize, rows: &[Record]) -> bool {
    let mut seen = std::collections::HashSet::new();
    !rows.is_empty()
        && rows.iter().all(|row| {
            let number =
                (column < row.len()).then(|| row.get(column).parse::<u64>().ok()).flatten();
            number.is_some_and(|number| seen.insert(number))
        })
}

#[cfg(test)]
mod tests {
    use super::{
        super::records::{Record, Records},
        *,
    };

    fn decide(text: &str, known: &[&str]) -> Result<bool> {
        let mut records = Records::new(text.as_bytes(), b',');
        let (mut record, mut all) = (Record::default(), Vec::new());
        while records.read(&mut record)? {
            all.push(record.clone());
        }
        is_header(&all[0], &all[1..], known)
    }

    #[test]
    fn headers_and_samples() {
        for (text, expected) in [
            ("a,b,label\n1,2,0\n", true),
            ("sepal,petal,species\n1,2,setosa\n", true),
            ("größe,_x,Änderung\n1,2,0\n", true),
            ("# x,y,label\n1,2,0\n", true),
            // One name is enough where no cell is a number.
            ("2010-Q1,2010-Q2,label\n1,2,0\n", true),
            ("a,b,label\n1,NA,0\n,2,1\n", true),
            ("a,b,label,\n1,2,0,\n3,4,1,\n", true),
            ("1,2,0\n3,4,1\n", false),
            ("1,2,setosa\n3,4,virginica\n", false),
            // pandas without names, alone and beside a name or an index.
            ("0,1,2,3\n2.3,-0.3,1.5,0\n", true),
            ("0,1,2,label\n2.3,-0.3,1.5,0\n", true),
            ("label,1,2,3\n0,2.3,-0.3,1.5\n", true),
            ("0,1,2,species\n2.3,-0.3,1.5,setosa\n", true),
            (",0,1\n0,2.5,1\n1,3.5,0\n", true),
            ("2019,2020,2021,species\n2.3,-0.3,1.5,setosa\n", true),
            ("class,400.0,402.5,405.0\na,2.3,-0.3,1.5\n", true),
            ("1.1,2.7,3,5,5.5,8,9,11,mineral\n2,1,4,3,5,6,8,1,quartz\n", true),
            ("2019,2021,2020,setosa\n2.3,-0.3,1.5,rose\n", false),
            ("1.1,2.7,3,setosa\n2.3,-0.3,1.5,rose\n", false),
            ("2019,2020,2021,setosa\n2.3,-0.3,1.5,setosa\n", false),
            // Two files that were joined.
            ("a,b,species\n1,2,setosa\na,b,species\n2,3,rose\n", true),
            ("0,1\n5,1\n", false),
            ("1,2,3\n4,5,0\n", false),
            ("0,1.0,2\n4,5,0\n", false),
            // A name that recurs is a label.
            ("0,1,2,setosa\n2.3,-0.3,1.5,setosa\n", false),
            // Nothing follows.
            ("a,b,label\n", true),
            ("1,2,0\n", false),
            ("0,1,2\n", false),
            ("1,2,setosa\n", false),
        ] {
            assert_eq!(decide(text, &[]).unwrap(), expected, "{text:?}");
        }
        assert!(decide("0,1,digit\n5,3,1\n", &["digit"]).unwrap());
        assert!(decide("0,1\n5,3\n", &["1", "0"]).unwrap());
    }

    #[test]
    fn numbers_that_may_be_names() {
        for (text, expected) in [
            ("0,1,2\n", true),
            ("1,2,3,4\n", true),
            ("2019,2020,2021\n", true),
            ("400,402.5,405,407.5\n", true),
            ("1,2\n", false),
            ("5.1,3.5,1.4,0.2,0\n", false),
            ("1,2,4\n", false),
            ("0,1,label\n", false),
        ] {
            let mut record = Record::default();
            assert!(Records::new(text.as_bytes(), b',').read(&mut record).unwrap());
            assert_eq!(may_be_names(&record), expected, "{text:?}");
        }
    }

    #[test]
    fn a_broken_sample_is_no_header() {
        for (text, column) in [
            ("2.3,NA,1.5,0\n1,2,3,0\n", 2),
            ("2.3,,1.5,0\n1,2,3,0\n", 2),
            (",2.3,1.5,0\n1,2,3,0\n", 1),
            ("2.3,oops,1.5,0\n1,2,3,0\n", 2),
            ("2.3,1.2.3,1.5,0\n1,2,3,0\n", 2),
            ("2.3,1.5,?\n1,2,0\n", 3),
            ("NA,NA,0\n1,2,0\n", 1),
            ("NA,setosa\n1,virginica\n", 1),
            ("oops,0\n1.5,1\n", 1),
            ("l.5,setosa\n2.5,setosa\n", 1),
            (",0,1\n7.5,2.5,1\n", 1),
            ("1.5,2.5,two\n3,4,1\n", 3),
        ] {
            let error = decide(text, &[]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("line 1, column {column}: ")), "{text:?}: {error}");
        }
    }
}
