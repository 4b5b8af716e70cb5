//! CSV files: one sample a line, one column of which may be its label. A first line with a cell that is no
//! number is a header.

use super::Dataset;
use anyhow::{Context, Result, bail};
use std::{fs::File, path::Path, str::FromStr};

/// Which column has the labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum LabelColumn {
    /// The one named `label`, or else the last one.
    #[default]
    Default,
    /// As `Default` if there is one column more than the model has features; with as many, none.
    BeyondFeatures(usize),
    /// The one of this name.
    Name(String),
    /// The one of this number, from 0.
    Index(usize),
}

impl FromStr for LabelColumn {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Index))
    }
}

/// Reads a CSV file.
pub fn read_csv(path: &Path, label_column: &LabelColumn) -> Result<Dataset> {
    parse_csv(File::open(path)?, label_column)
}

/// Reads CSV.
pub fn parse_csv(source: impl std::io::Read, label_column: &LabelColumn) -> Result<Dataset> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(source);
    let mut record = csv::StringRecord::new();
    let mut header = None;
    let mut columns = None;
    let (mut features, mut n_samples, mut n_features) = (Vec::new(), 0, 0);
    let mut labels: Option<Vec<u32>> = None;

    while reader.read_record(&mut record)? {
        let line = record.position().map_or(0, csv::Position::line);
        let (n_columns, label) = match columns {
            Some(columns) => columns,
            None => {
                if header.is_none() && record.iter().any(|cell| cell.parse::<f32>().is_err()) {
                    header = Some(record.clone());
                    continue;
                }
                if let Some(header) = &header
                    && header.len() != record.len()
                {
                    bail!("line {line} has {} columns, the header {}", record.len(), header.len());
                }
                let label = label_index(label_column, header.as_ref(), record.len())?;
                n_features = record.len() - usize::from(label.is_some());
                labels = label.map(|_| Vec::new());
                columns = Some((record.len(), label));
                (record.len(), label)
            }
        };
        if record.len() != n_columns {
            bail!("line {line} has {} columns, the first one {n_columns}", record.len());
        }
        for (i, cell) in record.iter().enumerate() {
            let place = || format!("line {line}, column {}: {cell:?}", i + 1);
            if Some(i) == label {
                let label = parse_label(cell)
                    .with_context(|| format!("{} is no label (0, 1, 2, …)", place()))?;
                labels.get_or_insert_default().push(label);
            } else {
                let value: f32 =
                    cell.parse().ok().with_context(|| format!("{} is no number", place()))?;
                if !value.is_finite() {
                    bail!("{} is not finite", place());
                }
                features.push(value);
            }
        }
        n_samples += 1;
    }
    if n_samples == 0 {
        bail!("there are no samples");
    }
    Ok(Dataset::new(features, n_samples, n_features, labels))
}

/// A whole number, also where it is written as a float, as pandas does when cells are missing.
fn parse_label(cell: &str) -> Option<u32> {
    let float = || cell.parse::<f64>().ok().filter(|f| f.fract() == 0.0 && (0.0..4e9).contains(f));
    cell.parse().ok().or_else(|| float().map(|label| label as u32))
}

fn label_index(
    column: &LabelColumn,
    header: Option<&csv::StringRecord>,
    n_columns: usize,
) -> Result<Option<usize>> {
    let named = |name: &str| header.and_then(|header| header.iter().position(|cell| cell == name));
    match column {
        LabelColumn::BeyondFeatures(d) if *d == n_columns => Ok(None),
        LabelColumn::Default | LabelColumn::BeyondFeatures(_) => {
            Ok(Some(named("label").unwrap_or(n_columns - 1)))
        }
        LabelColumn::Name(name) => {
            named(name).map(Some).with_context(|| format!("there is no column {name:?}"))
        }
        LabelColumn::Index(index) if *index < n_columns => Ok(Some(*index)),
        LabelColumn::Index(index) => {
            bail!("there is no column {index}: there are {n_columns}, numbered from 0")
        }
    }
}
