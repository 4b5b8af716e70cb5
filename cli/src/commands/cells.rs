//! Arguments that are several names: one line of CSV, so that a name may have a comma in quotes.

use crate::data::LabelColumn;
use std::str::FromStr;

/// Columns of a CSV file.
#[derive(Clone, Debug)]
pub(super) struct Columns(pub(super) Vec<LabelColumn>);

impl FromStr for Columns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let column = |cell: String| match cell.parse() {
            Ok(column) => column,
            Err(never) => match never {},
        };
        Ok(Self(cells(text)?.into_iter().map(column).collect()))
    }
}

/// The cells of one line of CSV.
pub(super) fn cells(text: &str) -> Result<Vec<String>, String> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let mut records = reader.records();
    let record = match records.next() {
        Some(record) => record.map_err(|error| error.to_string())?,
        None => return Err("nothing is named".to_owned()),
    };
    match records.next() {
        None => Ok(record.iter().map(str::to_owned).collect()),
        Some(_) => Err("there is more than one line".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns() {
        let columns = |text: &str| text.parse::<Columns>().map(|columns| columns.0);
        let name = |text: &str| LabelColumn::Name(text.to_owned());
        assert_eq!(columns("id, 3").unwrap(), [name("id"), LabelColumn::Index(3)]);
        assert_eq!(
            columns("\"a, b\",\"say \"\"c\"\"\"").unwrap(),
            [name("a, b"), name("say \"c\"")]
        );
        assert!(columns("").is_err());
    }
}
