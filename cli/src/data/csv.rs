//! CSV files: one sample a line, of whose columns one may have the labels and one the sample weights. What
//! separates the cells, and whether the first line is a header, is found in the first lines.

use super::{
    Dataset,
    columns::{Columns, Role},
    header::{is_header, is_index, is_name, is_numeric},
    labels::{Labels, Texts},
    number::{self, Unfit, has_decimal_comma, is_missing, is_number, quoted},
    options::{Header, LabelColumn, ReadOptions},
    records::{Record, Records},
    source::{BOM, Source},
};
use anyhow::{Context, Result, bail};
use std::{collections::HashSet, io::Read};

/// Lines that are read before it is decided what they are; of very long ones, fewer.
const AHEAD: usize = 100;
const AHEAD_BYTES: usize = 8 << 20;

/// A table of which the first lines are known.
struct Table<R> {
    /// If the first line names the columns.
    names: Option<Vec<String>>,
    ahead: Vec<Record>,
    rest: Records<R>,
    notes: Vec<String>,
}

/// Reads a CSV file.
pub(super) fn read(source: Source<'_>, options: &ReadOptions<'_>) -> Result<Dataset> {
    let known = options.schema.and_then(|schema| schema.columns.as_deref());
    let mut table = Table::open(source, options, known)?;
    let n_columns = match (table.ahead.first(), &table.names) {
        (Some(first), Some(names)) if first.len() != names.len() => {
            bail!("line {} has {} columns, the header {}", first.line, first.len(), names.len())
        }
        (Some(first), _) => first.len(),
        (None, _) => bail!("there are no samples"),
    };
    let columns = Columns::find(table.names.as_deref(), n_columns, &table.ahead, options)?;
    let Columns { roles, schema, notes } = columns;
    let n_features = roles.iter().filter(|role| matches!(role, Role::Feature(_))).count();

    let label_column = roles.iter().position(|role| *role == Role::Label);
    let mut labels = Texts::of_lines(label_column);
    // The first line without a label, of data for a model.
    let mut missing = None;
    let mut weights = roles.contains(&Role::Weight).then(Vec::new);
    let (mut features, mut n_samples) = (Vec::new(), 0);
    let mut read = |record: &Record| -> Result<()> {
        if record.len() != n_columns {
            bail!("line {} has {} columns, the first one {n_columns}", record.line, record.len());
        }
        let row = features.len();
        features.resize(row + n_features, 0.0);
        for (i, (cell, role)) in record.iter().zip(&roles).enumerate() {
            let fault = |what: &str| {
                let name = table.names.as_ref().map_or(String::new(), |n| format!(" ({:?})", n[i]));
                let place = format!("line {}, column {}{name}", record.line, i + 1);
                anyhow::anyhow!("{place}: {} {what}", quoted(cell))
            };
            match role {
                Role::Feature(feature) => {
                    features[row + feature] = number::parse(cell).map_err(|unfit| {
                        let hint = match unfit {
                            Unfit::NoNumber if has_decimal_comma(cell) => {
                                "; decimals are to have a point"
                            }
                            Unfit::NoNumber if !is_numeric(i, &table.ahead) => {
                                " (--ignore-columns leaves a column out)"
                            }
                            _ => "",
                        };
                        fault(&format!("{unfit}{hint}"))
                    })?;
                }
                Role::Label if options.schema.is_some() && is_missing(cell) => {
                    missing = missing.or(Some(record.line));
                }
                Role::Label => labels.push(cell, record.line)?,
                Role::Weight => match number::parse(cell) {
                    Ok(weight) if weight >= 0.0 => weights.get_or_insert_default().push(weight),
                    _ => return Err(fault("is no sample weight (a number of at least 0)")),
                },
                Role::Ignored => {}
            }
        }
        n_samples += 1;
        Ok(())
    };
    for record in &table.ahead {
        read(record)?;
    }
    let mut record = Record::default();
    while table.rest.read(&mut record)? {
        read(&record)?;
    }

    let mut data = Dataset::new(features, n_samples, n_features);
    data.notes.extend(table.notes);
    data.notes.extend(notes);
    if label_column.is_some() && labels.len() == 0 {
        data.notes.push("labels: all are missing".to_owned());
    } else if let (Some(column), Some(line)) = (label_column, missing) {
        bail!("line {line}, column {}: the label is missing", column + 1);
    } else if label_column.is_some() {
        // What was taken for the labels without being asked may be why they are none.
        let how = data.notes.iter().find(|note| note.starts_with("labels: ")).cloned();
        let found = labels.finish();
        let (labels, note) = match how {
            Some(how) => found.context(how)?,
            None => found?,
        };
        data.notes.extend(note);
        data.labels = Some(labels);
    }
    data.weights = weights;
    data.schema = schema;
    Ok(data)
}

/// Reads a text of labels, one a line, with a header or without. If it has the index of pandas before them,
/// that is left out.
pub(super) fn read_labels(
    source: Source<'_>,
    options: &ReadOptions<'_>,
    n_samples: usize,
) -> Result<(Labels, Vec<String>)> {
    let separator = options.separator.or(Some(b','));
    let plain = ReadOptions { header: Header::No, separator, ..options.clone() };
    let Table { ahead, mut rest, .. } = Table::open(source, &plain, None)?;
    let Some((first, later)) = ahead.split_first() else { bail!("there are no labels") };
    let column = match first.len() {
        1 => 0,
        // Below a name, any numbers may count the rows.
        2 if is_index(0, later) && (!is_number(first.get(0)) || counts(&ahead)) => 1,
        n => bail!("line {} has {n} columns; labels are one a line", first.line),
    };
    let mut labels = Texts::of_lines((column > 0).then_some(column));
    let mut push = |record: &Record| {
        if record.len() != column + 1 {
            bail!(
                "line {} has {} columns, the first one {}",
                record.line,
                record.len(),
                column + 1
            );
        }
        labels.push(record.get(column), record.line)
    };
    for record in &ahead {
        push(record)?;
    }
    let mut record = Record::default();
    while rest.read(&mut record)? {
        push(&record)?;
    }
    let name = first.get(column);
    let one_more = labels.len() == n_samples + 1;
    let header = match options.header {
        Header::Yes => true,
        Header::No => false,
        Header::Auto => {
            // What could be a label itself is a header only if there is one line too many, as "0" is where
            // pandas writes labels without a name.
            let index = column == 1 && !is_number(first.get(0));
            let named = is_name(name) && (labels.first_is_the_only_name() || one_more);
            index || named && labels.first_is_unique() || one_more && name == "0"
        }
    };
    let mut notes = Vec::new();
    if header {
        labels.forget_first();
        notes.push(format!("header of the labels: yes ({name:?})"));
    }
    let (labels, note) = labels.finish()?;
    notes.extend(note);
    Ok((labels, notes))
}

impl<'a> Table<Box<dyn Read + 'a>> {
    /// Reads the first lines, and the header if there is one; `known` are the names it is to have.
    fn open(
        source: Source<'a>,
        options: &ReadOptions<'_>,
        known: Option<&[String]>,
    ) -> Result<Self> {
        let mut notes = Vec::new();
        // Excel says it in a line of its own.
        let said = match source.head().strip_prefix(BOM).unwrap_or(source.head()) {
            [b's', b'e', b'p', b'=', separator, b'\r' | b'\n', ..] => Some(*separator),
            _ => None,
        };
        let separator = options.separator.or(said).unwrap_or_else(|| find_separator(source.head()));
        if options.separator.is_none() && separator != b',' {
            let name = match separator {
                b'\t' => "tab".to_owned(),
                b' ' => "space".to_owned(),
                other => char::from(other).to_string(),
            };
            notes.push(format!("separator: {name}"));
        }
        let mut rest = Records::new(Box::new(source.text()) as Box<dyn Read + 'a>, separator);
        let (mut ahead, mut bytes) = (Vec::new(), 0);
        let mut record = Record::default();
        if said.is_some() {
            rest.read(&mut record)?;
        }
        while ahead.len() <= AHEAD && bytes < AHEAD_BYTES && rest.read(&mut record)? {
            bytes += record.bytes();
            ahead.push(record.clone());
        }
        let header = match (options.header, ahead.split_first()) {
            (_, None) | (Header::No, _) => false,
            (Header::Yes, _) => true,
            (Header::Auto, Some((first, later))) => {
                let asked = [&options.label_column, &options.weight_column];
                let asked = asked.into_iter().flatten().chain(options.ignore_columns);
                let asked = asked.filter_map(|column| match column {
                    LabelColumn::Name(name) => Some(name.as_str()),
                    LabelColumn::Index(_) => None,
                });
                let known = known.into_iter().flatten().map(String::as_str);
                let known: Vec<&str> = known.chain(asked).collect();
                is_header(first, later, &known)?
            }
        };
        let names = header.then(|| names(&ahead.remove(0)));
        if options.header == Header::Auto {
            notes.push(match &names {
                Some(names) => format!("header: yes ({} names)", names.len()),
                None => "header: no".to_owned(),
            });
        }
        Ok(Self { names, ahead, rest, notes })
    }
}

/// The names of the columns. As pandas does, a column without one is called by its number, and one whose name
/// is taken has a number added.
fn names(header: &Record) -> Vec<String> {
    let mut taken = HashSet::new();
    let mut names = Vec::with_capacity(header.len());
    for (i, cell) in header.iter().enumerate() {
        let cell = if i == 0 { cell.trim_start_matches('#').trim_start() } else { cell };
        let base = if cell.is_empty() { format!("Unnamed: {i}") } else { cell.to_owned() };
        let mut name = base.clone();
        let mut count = 0;
        while !taken.insert(name.clone()) {
            count += 1;
            name = format!("{base}.{count}");
        }
        names.push(name);
    }
    names
}

/// Whether the first column has 0, 1, 2, …
fn counts(rows: &[Record]) -> bool {
    rows.iter().enumerate().all(|(i, row)| row.get(0) == i.to_string())
}

/// What separates cells: that by which most cells of the first lines become numbers.
fn find_separator(head: &[u8]) -> u8 {
    const CANDIDATES: [u8; 5] = *b",;\t| ";
    const LINES: usize = 20;
    let head = head.strip_prefix(BOM).unwrap_or(head);
    // The last line may be cut off.
    let end = head.iter().rposition(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(head.len());
    let count = |separator: u8| -> (usize, usize) {
        let mut records = Records::new(&head[..end], separator);
        let mut record = Record::default();
        let (mut numbers, mut cells) = (0, 0);
        for _ in 0..LINES {
            if !records.read(&mut record).unwrap_or(false) {
                break;
            }
            if record.len() > 1 {
                let is_number =
                    |cell: &&str| is_number(cell) || separator != b',' && has_decimal_comma(cell);
                numbers += record.iter().filter(is_number).count();
                // Words have spaces within.
                cells += if separator == b' ' { 0 } else { record.len() };
            }
        }
        (numbers, cells)
    };
    // The first of equals.
    let best = CANDIDATES.into_iter().rev().max_by_key(|separator| count(*separator));
    best.filter(|separator| count(*separator) > (0, 0)).unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use super::{super::Label, *};

    fn parse(text: &str, options: &ReadOptions<'_>) -> Result<Dataset> {
        read(Source::new(text.as_bytes(), 1 << 20)?, options)
    }

    fn plain(text: &str) -> Dataset {
        parse(text, &ReadOptions::default()).unwrap_or_else(|error| panic!("{text:?}: {error:#}"))
    }

    fn features(data: &Dataset) -> Vec<Vec<f32>> {
        let view = data.view().unwrap();
        (0..view.rows()).map(|row| view.row(row).unwrap()).collect()
    }

    fn column(text: &str) -> Option<LabelColumn> {
        Some(text.parse().unwrap())
    }

    fn labels(data: &Dataset) -> Vec<String> {
        let labels = data.labels.as_ref().unwrap();
        (0..labels.len()).map(|i| labels.label(i).to_string()).collect()
    }

    #[test]
    fn separators() {
        for text in [
            "a,b,label\n1.5,2,0\n-3,4,1\n",
            "a;b;label\n1.5;2;0\n-3;4;1\n",
            "a\tb\tlabel\n1.5\t2\t0\n-3\t4\t1\n",
            "a|b|label\r\n1.5|2|0\r\n-3|4|1\r\n",
            "a b label\r1.5   2 0\r-3 4 1\r",
            "\u{feff}\"a\", \"b\", \"label\"\n\"1.5\", 2, 0\n\n-3, 4, 1",
            "# a,b,label\n1.5,2,0\n-3,4,1\n",
            "sep=;\r\na;b;label\r\n1.5;2;0\r\n-3;4;1\r\n",
            "1.5;2;0\n-3;4;1\n",
            "1.5 2 0\n-3 4 1\n",
            // Words with spaces and commas.
            "a;b;label;ignored\n1.5;2;0;red, green\n-3;4;1;blue, white\n",
        ] {
            let ignored = [LabelColumn::Name("ignored".to_owned())];
            let ignore_columns = if text.contains("ignored") { &ignored[..] } else { &[] };
            let data = parse(text, &ReadOptions { ignore_columns, ..ReadOptions::default() });
            let data = data.unwrap_or_else(|error| panic!("{text:?}: {error:#}"));
            assert_eq!(features(&data), [[1.5, 2.0], [-3.0, 4.0]], "{text:?}");
            assert_eq!(labels(&data), ["0", "1"]);
        }
        let options = ReadOptions { separator: Some(b':'), ..ReadOptions::default() };
        assert_eq!(features(&parse("1:2:0\n3:4:1\n", &options).unwrap()), [[1.0, 2.0], [3.0, 4.0]]);
        let error = plain_error("a;b;label\n1,5;2,5;x\n3,5;4,5;y\n");
        assert!(
            error.starts_with("line 2, column 1 (\"a\"): \"1,5\" is no number; dec"),
            "{error}"
        );
        let error = plain_error("1,5;2,5;0\n3,5;4,5;1\n");
        assert!(error.contains("\"1,5\" is no number; decimals are to have a point"), "{error}");
    }

    fn plain_error(text: &str) -> String {
        format!("{:#}", parse(text, &ReadOptions::default()).unwrap_err())
    }

    #[test]
    fn columns_of_training() {
        for (text, expected, label) in [
            ("label,a\n0,5\n1,6\n", [[5.0], [6.0]], "label"),
            ("Class,a\n0,5\n1,6\n", [[5.0], [6.0]], "Class"),
            ("target,a\n0,5\n1,6\n", [[5.0], [6.0]], "target"),
            ("class,label\n5,0\n6,1\n", [[5.0], [6.0]], "label"),
            ("x,y\n5,0\n6,1\n", [[5.0], [6.0]], "y"),
            ("a,a\n5,0\n6,1\n", [[5.0], [6.0]], "a.1"),
            (",a,label\n0,5,0\n1,6,1\n", [[5.0], [6.0]], "label"),
            ("\"\",a,label\n1,5,0\n2,6,1\n", [[5.0], [6.0]], "label"),
            ("Unnamed: 0,a,label\n17,5,0\n3,6,1\n", [[5.0], [6.0]], "label"),
        ] {
            let data = plain(text);
            assert_eq!(features(&data), expected, "{text:?}");
            assert_eq!(labels(&data), ["0", "1"], "{text:?}");
            let schema = data.schema();
            assert_eq!(schema.label_column, Some(LabelColumn::Name(label.to_owned())));
            assert_eq!((schema.n_features, schema.columns.as_ref().map(Vec::len)), (1, Some(1)));
        }
        // An unnamed column that is no index is a feature.
        assert_eq!(features(&plain(",label\n0.5,0\n0.5,1\n")), [[0.5], [0.5]]);
        let data = plain("5,0\n6,1\n");
        assert_eq!(data.schema().label_column, Some(LabelColumn::Index(1)));
        assert_eq!(data.notes, ["header: no", "labels: the last column, 1"]);
        let data = plain("a,label\n5,0\n6,1\n");
        assert_eq!(data.notes, ["header: yes (2 names)", "labels: the column \"label\""]);

        let options = ReadOptions {
            label_column: column("0"),
            weight_column: column("w"),
            ignore_columns: &[LabelColumn::Name("id".to_owned()), LabelColumn::Index(4)],
            ..ReadOptions::default()
        };
        let text = "y,id,a,w,z,b\nno,x,1,0.5,-,2\nyes,x,3,2,-,4\n";
        let data = parse(text, &options).unwrap();
        assert_eq!(features(&data), [[1.0, 2.0], [3.0, 4.0]]);
        assert_eq!(labels(&data), ["no", "yes"]);
        assert_eq!(data.weights, Some(vec![0.5, 2.0]));
        for (text, words) in [
            ("y,id,a,w,z,b\nno,x,1,-1,-,2\n", &["line 2, column 4", "no sample weight"][..]),
            ("y,id,a,w,z,b\nno,x,1,,-,2\n", &["line 2, column 4", "no sample weight"]),
            ("y,a,w,z,b\nno,1,1,-,2\n", &["no column \"id\"", "\"y\", \"a\""]),
            ("id,y,a,w,z,b\nx,no,1,1,-,2\n", &["\"id\"", "to be ignored", "the label"]),
            ("1,2,3,4,5,6\n7,8,9,10,11,12\n", &["no column \"id\"", "no header"]),
        ] {
            let error = format!("{:#}", parse(text, &options).unwrap_err());
            assert!(words.iter().all(|word| error.contains(word)), "{text:?}: {error}");
        }
        let error = plain_error("y,x1,x2\n0,1,2.5\n1,3,4.5\n");
        assert!(error.starts_with("labels: the last column, \"x2\": line 2, column 3: \"2.5\""));
        assert!(plain_error("label\n0\n1\n").contains("no features"));
        let error = plain_error("a,colour,label\n1,red,0\n2,blue,1\n");
        assert!(error.contains("column 2 (\"colour\"): \"red\" is no number (--ignore-columns"));
    }

    /// Columns of data for a model that was trained on a file with a header.
    #[test]
    fn columns_by_name() {
        let trained = plain("label,a,b\n0,1,2\n1,3,4\n");
        let options = ReadOptions { schema: Some(trained.schema()), ..ReadOptions::default() };
        for (text, labelled) in [
            ("label,a,b\n0,1,2\n1,3,4\n", true),
            ("b,label,a\n2,0,1\n4,1,3\n", true),
            ("b,a\n2,1\n4,3\n", false),
            (",a,b\n5,1,2\n9,3,4\n", false),
            ("a,b,label\n1,2,?\n3,4,?\n", false),
            // By order, as there are no names.
            ("1,2\n3,4\n", false),
        ] {
            let data = parse(text, &options).unwrap();
            assert_eq!(features(&data), [[1.0, 2.0], [3.0, 4.0]], "{text:?}");
            assert_eq!(data.labels.is_some(), labelled, "{text:?}");
        }
        for (text, words) in [
            ("label,a,c\n0,1,2\n", &["1 of the 2", "missing: \"b\"", "\"c\""][..]),
            ("a,b,c\n1,2,3\n", &["without the column \"c\"", "--ignore-columns", "--label-column"]),
            ("1,2,0\n3,4,1\n", &["2 features", "--label-column"]),
            ("1,2,0,5\n3,4,1,6\n", &["2 features, the data 4"]),
            ("a,b,label\n1,2,0\n3,4,?\n", &["line 3", "label is missing"]),
        ] {
            let error = format!("{:#}", parse(text, &options).unwrap_err());
            assert!(words.iter().all(|word| error.contains(word)), "{text:?}: {error}");
        }
        let other = ReadOptions { label_column: column("c"), ..options.clone() };
        let data = parse("c,label,b,a\n7,0,2,1\n8,1,4,3\n", &other).unwrap();
        assert_eq!(features(&data), [[1.0, 2.0], [3.0, 4.0]]);
        assert_eq!(labels(&data), ["7", "8"]);
        let twice = ReadOptions { label_column: column("a"), ..options.clone() };
        let error = parse("a,b\n1,2\n", &twice).unwrap_err().to_string();
        assert!(error.contains("\"a\" cannot be both the label and a feature"), "{error}");
        let ignore_columns = &[LabelColumn::Name("c".to_owned())];
        let ignored = ReadOptions { ignore_columns, ..options.clone() };
        assert_eq!(features(&parse("c,b,a\nx,2,1\n", &ignored).unwrap()), [[1.0, 2.0]]);
    }

    /// Columns of data for a model that was trained on a file without a header, or on another format.
    #[test]
    fn columns_by_order() {
        let options = ReadOptions {
            label_column: column("1"),
            ignore_columns: &[LabelColumn::Index(0)],
            ..ReadOptions::default()
        };
        let trained = parse("x,0,1,2\nx,1,3,4\n", &options).unwrap();
        let schema = trained.schema();
        assert_eq!(schema.ignored_columns, [LabelColumn::Index(0)]);
        let options = ReadOptions { schema: Some(schema), ..ReadOptions::default() };
        for (text, labelled) in [
            ("x,0,1,2\nx,1,3,4\n", true),
            ("x,1,2\nx,3,4\n", false),
            ("1,2\n3,4\n", false),
            ("p,q\n1,2\n3,4\n", false),
        ] {
            let data = parse(text, &ReadOptions { header: Header::Auto, ..options.clone() });
            let data = data.unwrap_or_else(|error| panic!("{text:?}: {error:#}"));
            assert_eq!(features(&data), [[1.0, 2.0], [3.0, 4.0]], "{text:?}");
            assert_eq!(data.labels.is_some(), labelled, "{text:?}");
            let note = data.notes.iter().find(|note| note.starts_with("columns: by their order"));
            assert!(
                note.is_some_and(|note| text.starts_with('p') == note.contains("\"p\", \"q\""))
            );
        }
        // Said again.
        let again = ReadOptions {
            label_column: column("1"),
            ignore_columns: &[LabelColumn::Index(0)],
            ..options.clone()
        };
        assert_eq!(features(&parse("x,0,1,2\nx,1,3,4\n", &again).unwrap()).len(), 2);
        let only = super::super::Schema::of_features(2);
        let options = ReadOptions { schema: Some(&only), ..ReadOptions::default() };
        assert_eq!(features(&parse("a,b\n1,2\n", &options).unwrap()), [[1.0, 2.0]]);
        for text in ["1,2,0\n", "a,b,label\n1,2,0\n"] {
            let error = parse(text, &options).unwrap_err().to_string();
            assert!(error.contains("2 features, the data 3") && error.contains("--label-column"));
        }
        let with_label = ReadOptions { label_column: column("0"), ..options };
        assert_eq!(features(&parse("0,1,2\n", &with_label).unwrap()), [[1.0, 2.0]]);
    }

    #[test]
    fn labels_of_their_own() {
        let parse = |text: &str, n_samples| -> Result<Vec<Label>> {
            let source = Source::new(text.as_bytes(), 1 << 20)?;
            let (labels, _) = read_labels(source, &ReadOptions::default(), n_samples)?;
            Ok(labels.codes().iter().map(|c| labels.distinct()[*c as usize].clone()).collect())
        };
        let numbers = [Label::Number(2), Label::Number(0), Label::Number(0)];
        for text in [
            "2\n0\n0\n",
            "\u{feff}label\r\n2\r\n0\r\n0",
            "y\n2\n0.0\n0\n",
            ",label\n0,2\n1,0\n2,0\n",
        ] {
            assert_eq!(parse(text, 3).unwrap(), numbers, "{text:?}");
        }
        assert_eq!(parse("0\n2\n0\n0\n", 3).unwrap(), numbers, "pandas without a name");
        let names = ["New York", "Rome", "Rome"].map(|name| Label::Name(name.to_owned()));
        for text in
            ["New York\nRome\nRome\n", "city\nNew York\nRome\nRome\n", "0\nNew York\nRome\nRome\n"]
        {
            assert_eq!(parse(text, 3).unwrap(), names, "{text:?}");
        }
        for (text, word) in [
            ("2\n\"\"\nNA\n", "line 3: the label is missing"),
            ("2\n0.5\n0\n", "line 2: \"0.5\" is no class"),
            ("2,3\n0,4\n2,5\n", "line 1 has 2 columns"),
            ("2\n0,4\n", "line 2 has 2 columns"),
            ("", "no labels"),
        ] {
            let error = parse(text, 3).unwrap_err().to_string();
            assert!(error.contains(word), "{text:?}: {error}");
        }
    }
}
