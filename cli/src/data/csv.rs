//! CSV files: one sample a line, of whose columns one may have the labels and one the sample weights. What
//! separates the cells, and whether the first line is a header, is found in the first lines.

use super::{
    Dataset,
    columns::{Columns, Role},
    header::{is_header, is_index, is_name, is_numeric, may_be_names},
    labels::{Labels, Texts},
    lost::Lost,
    number::{
        self, Unfit, has_decimal_comma, has_groups, is_boolean, is_missing, is_number, is_zero,
        quoted,
    },
    options::{Header, LabelColumn, ReadOptions},
    records::{Record, Records},
    source::{BOM, Source},
};
use anyhow::{Context, Result, bail};
use std::{collections::HashMap, io::Read};

/// Lines that are read before it is decided what they are; of very long ones, fewer.
const AHEAD: usize = 100;
const AHEAD_BYTES: usize = 8 << 20;

/// What to say of a label that would be another one for a slip of the keyboard.
const STRAY_QUOTE: &str =
    "has a stray quote; quotes are around all of a cell, and doubled where they are within";

/// A table of which the first lines are known.
struct Table<R> {
    /// If the first line names the columns.
    names: Option<Vec<String>>,
    /// The columns whose name another one before them has, with that one.
    repeated: Vec<(usize, usize)>,
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
    // Before it is decided what the columns are: of a title or a comment above the table, all of that would be wrong.
    table.ahead.iter().try_for_each(|record| check_length(record, n_columns))?;
    let columns = Columns::find(table.names.as_deref(), n_columns, &table.ahead, options)?;
    let Columns { roles, schema, notes } = columns;
    let n_features = roles.iter().filter(|role| matches!(role, Role::Feature(_))).count();

    let label_column = roles.iter().position(|role| *role == Role::Label);
    if let (Some(label), Some(names)) = (label_column, &table.names) {
        check_no_other_is_called(label, names, &table.repeated, &roles)?;
    }
    let mut labels = Texts::of_lines(label_column);
    // The first line without a label, of data for a model.
    let mut missing = None;
    let mut weights = roles.contains(&Role::Weight).then(Vec::new);
    // The first weight above zero that is zero in `f32`, and where it is.
    let mut vanished = None;
    let (mut features, mut n_samples) = (Vec::new(), 0);
    // Of each feature the first line with a truth value, and the first one with a number that is none.
    let mut truth = vec![(None, None); n_features];
    let mut read = |record: &Record| -> Result<()> {
        check_length(record, n_columns)?;
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
                    let value = number::parse(cell).map_err(|unfit| {
                        let again = table.names.as_ref().is_some_and(|names| names[i] == cell);
                        let hint =
                            match unfit {
                                Unfit::NoNumber if again => {
                                    "; the header is there again, as in files that were joined"
                                }
                                Unfit::NoNumber => comma_hint(cell).unwrap_or_else(|| {
                                    match is_numeric(i, &table.ahead) {
                                        true => "",
                                        false => " (--ignore-columns leaves a column out)",
                                    }
                                }),
                                _ => "",
                            };
                        fault(&format!("{unfit}{hint}"))
                    })?;
                    features[row + feature] = value;
                    let (boolean, number) = &mut truth[*feature];
                    let other = match (value == 0.0 || value == 1.0, is_boolean(cell)) {
                        (_, true) => {
                            boolean.get_or_insert(record.line);
                            number.map(|line| ("is a truth value", line, "a number"))
                        }
                        (false, _) => {
                            number.get_or_insert(record.line);
                            boolean.map(|line| ("is a number", line, "a truth value"))
                        }
                        (true, false) => None,
                    };
                    if let Some((this, line, that)) = other {
                        return Err(fault(&format!("{this}, but line {line} has {that} there")));
                    }
                }
                Role::Label if options.schema.is_some() && is_missing(cell) => {
                    missing = missing.or(Some(record.line));
                }
                Role::Label if record.has_stray_quote(i) => return Err(fault(STRAY_QUOTE)),
                Role::Label => labels.push(cell, record.line)?,
                Role::Weight => match number::parse(cell) {
                    // Those that are too small for f32 have a sign, too.
                    Ok(weight) if weight.is_sign_positive() || is_zero(cell) => {
                        weights.get_or_insert_default().push(weight);
                        if weight == 0.0 && vanished.is_none() && !is_zero(cell) {
                            vanished = Some(fault(
                                "is 0 in f32, as all other weights are; divide them by the largest",
                            ));
                        }
                    }
                    Err(Unfit::TooLarge) => return Err(fault(&Unfit::TooLarge.to_string())),
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

    if let (Some(error), Some(weights)) = (vanished, &weights)
        && weights.iter().all(|weight| *weight == 0.0)
    {
        return Err(error);
    }

    let mut data = Dataset::new(features, n_samples, n_features);
    data.lost = lost(&table.ahead, &roles, n_features);
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

/// Reads a text of labels, one a line, with a header or without. If it has the index of pandas or R before them,
/// that is left out.
pub(super) fn read_labels(
    source: Source<'_>,
    options: &ReadOptions<'_>,
    n_samples: usize,
) -> Result<(Labels, Vec<String>)> {
    let separator = options.separator.or_else(|| label_separator(source.head()));
    let plain = ReadOptions { header: Header::No, separator, ..options.clone() };
    let Table { ahead, mut rest, .. } = Table::open(source, &plain, None)?;
    let Some((first, later)) = ahead.split_first() else { bail!("there are no labels") };
    // R has no name for its index, nor a cell for it where spaces separate.
    let (header_only, rows) = match later.first() {
        Some(second)
            if options.header != Header::No
                && (first.len(), second.len()) == (1, 2)
                && !is_number(first.get(0))
                && is_index(0, later) =>
        {
            (Some(first.get(0)), later)
        }
        _ => (None, &*ahead),
    };
    let column = match rows[0].len() {
        1 => 0,
        // Below a name, any numbers may count the rows.
        2 if is_index(0, later)
            && (header_only.is_some() || !is_number(first.get(0)) || counts(&ahead)) =>
        {
            1
        }
        n => bail!("line {} has {n} columns; labels are one a line", rows[0].line),
    };
    let mut labels = Texts::of_lines((column > 0).then_some(column));
    let mut push = |record: &Record| {
        if record.len() != column + 1 {
            bail!(
                "line {} has {} columns, line {} {}",
                record.line,
                record.len(),
                rows[0].line,
                column + 1
            );
        }
        if record.has_stray_quote(column) {
            bail!("line {}: {} {STRAY_QUOTE}", record.line, quoted(record.get(column)));
        }
        labels.push(record.get(column), record.line)
    };
    for record in rows {
        push(record)?;
    }
    let mut record = Record::default();
    while rest.read(&mut record)? {
        push(&record)?;
    }
    let name = header_only.unwrap_or_else(|| first.get(column));
    let one_more = labels.len() == n_samples + 1;
    let unique = labels.first_is_unique();
    let header = match options.header {
        _ if header_only.is_some() => true,
        Header::Yes => true,
        Header::No => false,
        Header::Auto if column == 1 => !is_number(first.get(0)),
        // What could be a label itself is a header only if there is one line too many, as "0" is where pandas writes
        // labels without a name.
        Header::Auto if one_more && name == "0" && !unique => bail!(
            "{} labels for {n_samples} samples: line {} is \"0\", which may be a label, as in other lines, or the header, as \
             pandas writes it (--header yes says that it is one)",
            labels.len(),
            first.line
        ),
        Header::Auto => {
            let named = is_name(name) && (labels.first_is_the_only_name() || one_more);
            unique && (named || one_more && name == "0")
        }
    };
    let mut notes = Vec::new();
    if header {
        if header_only.is_none() {
            labels.forget_first();
        }
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
        // Numbers may be names or a sample; which they were taken for is to be seen, unless the model knows them.
        let expected = |first: &Record| {
            known.is_some_and(|names| first.iter().any(|cell| names.iter().any(|n| n == cell)))
        };
        let numbers = ahead
            .split_first()
            .filter(|(first, later)| !later.is_empty() && may_be_names(first) && !expected(first));
        let numbers = numbers.map(|(first, _)| format!("{}, {}, …", first.get(0), first.get(1)));
        let (names, repeated) = header.then(|| names(&ahead.remove(0))).unzip();
        let repeated = repeated.unwrap_or_default();
        if options.header == Header::Auto {
            let (decided, other) = match &names {
                Some(names) => {
                    (format!("yes ({} names)", names.len()), "--header no if they are a sample")
                }
                None => ("no".to_owned(), "--header yes if they are names"),
            };
            let numbers = numbers.map(|numbers| format!(", the first line is {numbers}; {other}"));
            notes.push(format!("header: {decided}{}", numbers.unwrap_or_default()));
        }
        Ok(Self { names, repeated, ahead, rest, notes })
    }
}

/// What to say of a number with commas. Of 1,234 nobody but its author knows which it is.
fn comma_hint(cell: &str) -> Option<&'static str> {
    let groups = has_groups(cell) && !cell.trim_start_matches(['-', '+']).starts_with('0');
    match (has_decimal_comma(cell), groups) {
        (true, true) => Some("; decimals are to have a point, and thousands nothing between them"),
        (true, false) => Some("; decimals are to have a point"),
        (false, true) => Some("; thousands are to have nothing between them"),
        (false, false) => None,
    }
}

/// Checks that a line has as many cells as the first one.
fn check_length(record: &Record, n_columns: usize) -> Result<()> {
    if record.len() != n_columns {
        bail!("line {} has {} columns, the first one {n_columns}", record.line, record.len());
    }
    Ok(())
}

/// The names of the columns. As pandas does, a column without one is called by its number, and one whose name
/// is taken has a number added. Those are told, each with the column whose name it has.
fn names(header: &Record) -> (Vec<String>, Vec<(usize, usize)>) {
    let mut taken = HashMap::new();
    let (mut names, mut repeated) = (Vec::with_capacity(header.len()), Vec::new());
    for (i, cell) in header.iter().enumerate() {
        let cell = if i == 0 { cell.trim_start_matches('#').trim_start() } else { cell };
        let base = if cell.is_empty() { format!("Unnamed: {i}") } else { cell.to_owned() };
        let mut name = base.clone();
        let mut count = 0;
        if let Some(first) = taken.get(&base) {
            repeated.push((i, *first));
        }
        while taken.contains_key(&name) {
            count += 1;
            name = format!("{base}.{count}");
        }
        taken.insert(name.clone(), i);
        names.push(name);
    }
    (names, repeated)
}

/// Checks that no feature has the name of the labels: it would be what is to be predicted.
fn check_no_other_is_called(
    label: usize,
    names: &[String],
    repeated: &[(usize, usize)],
    roles: &[Role],
) -> Result<()> {
    let is_feature = |column: usize| matches!(roles[column], Role::Feature(_));
    match repeated.iter().find(|(column, first)| *first == label && is_feature(*column)) {
        Some((other, _)) => bail!(
            "the columns {} and {} are both called {:?}, which is the label (--ignore-columns {:?} leaves out the second \
             one)",
            label + 1,
            other + 1,
            names[label],
            names[*other]
        ),
        None => Ok(()),
    }
}

/// What is lost of the features, by the first rows.
fn lost(rows: &[Record], roles: &[Role], n_features: usize) -> Lost {
    let mut columns = vec![0; n_features];
    for (column, role) in roles.iter().enumerate() {
        if let Role::Feature(feature) = role {
            columns[*feature] = column;
        }
    }
    Lost::of(n_features, |feature| {
        let values = rows.iter().map(|row| row.get(columns[feature]).parse());
        values.collect::<Result<_, _>>().unwrap_or_default()
    })
}

/// Whether the first column has 0, 1, 2, …
fn counts(rows: &[Record]) -> bool {
    rows.iter().enumerate().all(|(i, row)| row.get(0) == i.to_string())
}

/// What separates labels from what else is in their lines: the comma, unless another character is in every line, and, as
/// names have spaces within, the space only where it leaves an index and labels, or nothing but numbers.
fn label_separator(head: &[u8]) -> Option<u8> {
    let divides = |separator: u8| {
        let rows = first_rows(head, separator);
        let Some((_, later)) = rows.split_first() else { return false };
        let index = || later.iter().all(|row| row.len() == 2) && is_index(0, later);
        let numbers = || rows.iter().all(|row| row.iter().all(is_number));
        !later.is_empty()
            && later.iter().all(|row| row.len() > 1)
            && (separator != b' ' || index() || numbers())
    };
    let divides = |separator: &u8| divides(*separator);
    Some(SEPARATORS.into_iter().find(divides).unwrap_or(b','))
}

/// The first of the candidates is that of equals.
const SEPARATORS: [u8; 5] = *b",;\t| ";

/// The first lines of the start of a file, of which the last may be cut off.
fn first_rows(head: &[u8], separator: u8) -> Vec<Record> {
    const LINES: usize = 20;
    let head = head.strip_prefix(BOM).unwrap_or(head);
    let end = head.iter().rposition(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(head.len());
    let mut records = Records::new(&head[..end], separator);
    let (mut rows, mut record) = (Vec::new(), Record::default());
    while rows.len() < LINES && records.read(&mut record).unwrap_or(false) {
        rows.push(record.clone());
    }
    rows
}

/// What separates cells: that by which most cells of the first lines become numbers.
fn find_separator(head: &[u8]) -> u8 {
    let count = |separator: u8| -> (usize, usize) {
        let (mut numbers, mut cells) = (0, 0);
        for row in first_rows(head, separator).iter().filter(|row| row.len() > 1) {
            let is_number =
                |cell: &&str| is_number(cell) || separator != b',' && has_decimal_comma(cell);
            numbers += row.iter().filter(is_number).count();
            // Words have spaces within.
            cells += if separator == b' ' { 0 } else { row.len() };
        }
        (numbers, cells)
    };
    // The first of equals.
    let best = SEPARATORS.into_iter().rev().max_by_key(|separator| count(*separator));
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
        for (text, words) in [
            (
                "a,b,label\n\"20,787.59\",2,0\n3,4,1\n",
                "; thousands are to have nothing between them",
            ),
            ("a,b,label\n\"1,234\",2,0\n3,4,1\n", "a point, and thousands nothing between them"),
            ("# made by hand\na,b,label\n1,2,0\n", "line 2 has 3 columns, the first one 1"),
            ("# made by hand\n1,2,0\n", "line 2 has 3 columns, the header 1"),
            (
                "a;b;label\n0,189;2;0\n3;4;1\n",
                "\"0,189\" is no number; decimals are to have a point",
            ),
        ] {
            let error = plain_error(text);
            assert!(error.ends_with(words), "{text:?}: {error}");
        }
        let error = plain_error("a,b,label\n1,2,0\na,b,label\n3,4,1\n");
        let again = "line 3, column 1 (\"a\"): \"a\" is no number; the header is there again";
        assert!(error.starts_with(again), "{error}");
        let one = ReadOptions { separator: Some(b';'), ..ReadOptions::default() };
        let error = parse("a,b,label\n1,2,0\n", &one).unwrap_err().to_string();
        assert!(
            error.ends_with("no column beside the label (--separator says what separates columns)")
        );
        let error = plain_error("1,5;2,5;0\n3,5;4,5;1\n");
        assert!(error.contains("\"1,5\" is no number; decimals are to have a point"), "{error}");
    }

    /// A column of truth values is one of 0 and 1. Among other numbers they are none of these.
    #[test]
    fn truth_values_and_numbers() {
        for text in
            ["a,label\nTRUE,0\nFALSE,1\n", "a,label\ntrue,0\n0,1\n", "a,label\n1.0,0\nFalse,1\n"]
        {
            assert_eq!(features(&plain(text)), [[1.0], [0.0]], "{text:?}");
        }
        for (text, words) in [
            (
                "a,label\n5,0\nTRUE,1\n",
                [
                    "line 3, column 1 (\"a\")",
                    "\"TRUE\" is a truth value, but line 2 has a number there",
                ],
            ),
            (
                "a,label\nFalse,0\n1,1\n0.5,1\n",
                [
                    "line 4, column 1 (\"a\")",
                    "\"0.5\" is a number, but line 2 has a truth value there",
                ],
            ),
        ] {
            let error = plain_error(text);
            assert!(words.iter().all(|word| error.contains(word)), "{text:?}: {error}");
        }
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
        let data = plain("1,2,3,4\n5,6,7,0\n8,9,5,1\n");
        assert_eq!(data.n_samples, 3);
        let ambiguous = "header: no, the first line is 1, 2, …; --header yes if they are names";
        assert_eq!(data.notes[0], ambiguous);
        let data = plain("0,1,2\n5,6,0\n8,9,1\n");
        assert_eq!(data.n_samples, 2);
        let ambiguous =
            "header: yes (3 names), the first line is 0, 1, …; --header no if they are a sample";
        assert_eq!(data.notes[0], ambiguous);
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
            ("y,id,a,w,z,b\nno,x,1,-1e-50,-,2\n", &["line 2, column 4", "no sample weight"]),
            (
                "y,id,a,w,z,b\nno,x,1,0,-,2\nno,x,1,1e-50,-,2\nyes,x,1,2e-50,-,2\n",
                &[
                    "line 3, column 4 (\"w\")",
                    "\"1e-50\" is 0 in f32",
                    "divide them by the largest",
                ],
            ),
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
        for cell in ["x\"", "5\" pipe", "\"x\"y", " \"x\"\""] {
            let error = plain_error(&format!("a,label\n1,x\n2,{cell}\n3,x\n"));
            assert!(error.starts_with("line 3, column 2 (\"label\"): "), "{cell}: {error}");
            assert!(error.contains("has a stray quote"), "{cell}: {error}");
        }
        let data = plain("a,label\n1,\"5\"\" pipe\"\n2,a \"b\"\n3, \"c\"\n");
        assert_eq!(labels(&data), ["5\" pipe", "a \"b\"", "c"]);
        for (text, words) in [
            ("label,a,label\n0,1,2\n1,3,4\n", &["columns 1 and 3", "\"label\"", "\"label.1\""][..]),
            ("x,y,x\n0,1,2\n1,3,4\n", &["columns 1 and 3", "\"x\"", "\"x.1\""]),
        ] {
            let named = ReadOptions { label_column: column("x"), ..ReadOptions::default() };
            let options = if text.starts_with('x') { named } else { ReadOptions::default() };
            let error = format!("{:#}", parse(text, &options).unwrap_err());
            assert!(words.iter().all(|word| error.contains(word)), "{text:?}: {error}");
            let other =
                text.chars().next().map(|first| if first == 'x' { "x.1" } else { "label.1" });
            let ignore_columns = &[LabelColumn::Name(other.unwrap_or_default().to_owned())];
            let data = parse(text, &ReadOptions { ignore_columns, ..options }).unwrap();
            assert_eq!(
                (features(&data), labels(&data)),
                (vec![vec![1.0], vec![3.0]], vec!["0".into(), "1".into()])
            );
        }
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
        let parse_with = |text: &str, n_samples, header| -> Result<Vec<Label>> {
            let source = Source::new(text.as_bytes(), 1 << 20)?;
            let options = ReadOptions { header, ..ReadOptions::default() };
            let (labels, _) = read_labels(source, &options, n_samples)?;
            Ok(labels.codes().iter().map(|c| labels.distinct()[*c as usize].clone()).collect())
        };
        let parse = |text: &str, n_samples| parse_with(text, n_samples, Header::Auto);
        let numbers = [Label::Number(2), Label::Number(0), Label::Number(0)];
        for text in [
            "2\n0\n0\n",
            "\u{feff}label\r\n2\r\n0\r\n0",
            "y\n2\n0.0\n0\n",
            ",label\n0,2\n1,0\n2,0\n",
            // Other separators, and R, which has no cell for the name of its index.
            "\tlabel\n0\t2\n1\t0\n2\t0\n",
            "0;2\n1;0\n2;0\n",
            "0|2\n1|0\n2|0\n",
            "0 2\n1 0\n2 0\n",
            " label\n0 2\n1 0\n2 0\n",
            "\"x\"\n\"1\" 2\n\"2\" 0\n\"3\" 0\n",
        ] {
            assert_eq!(parse(text, 3).unwrap(), numbers, "{text:?}");
        }
        // pandas without a name.
        let zero = "0\n2\n0\n0\n";
        assert_eq!(parse_with(zero, 3, Header::Yes).unwrap(), numbers);
        assert_eq!(parse("0\n2\n1\n1\n", 3).unwrap(), [2, 1, 1].map(Label::Number));
        for (text, words) in [
            (zero, ["4 labels for 3 samples", "line 1 is \"0\"", "--header yes"]),
            ("1 2\n3 4\n1 5\n", ["line 1 has 2 columns", "", ""]),
            ("x;2\ny;0\nz;0\n", ["line 1 has 2 columns", "", ""]),
            ("x\n1,2\n2,0\n3\n", ["line 4 has 1 columns, line 2 2", "", ""]),
        ] {
            let error = parse(text, 3).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{text:?}: {error}");
        }
        // The rows are counted from this line on, so that it is one of them.
        assert_eq!(parse("0 0\n1 2\n2 1\n3 1\n", 3).unwrap().len(), 4);
        let names = ["New York", "Rome", "Rome"].map(|name| Label::Name(name.to_owned()));
        for text in [
            "New York\nRome\nRome\n",
            "\"\" \"city\"\n1 \"New York\"\n2 Rome\n3 Rome\n",
            "city\nNew York\nRome\nRome\n",
            "0\nNew York\nRome\nRome\n",
        ] {
            assert_eq!(parse(text, 3).unwrap(), names, "{text:?}");
        }
        for (text, word) in [
            ("2\n\"\"\nNA\n", "line 3: the label is missing"),
            ("2\n0.5\n0\n", "line 2: \"0.5\" is no class"),
            ("2,3\n0,4\n2,5\n", "line 1 has 2 columns"),
            ("2\n0,4\n", "line 2 has 2 columns"),
            ("x\ny\"\nx\n", "line 2: \"y\\\"\" has a stray quote"),
            ("", "no labels"),
        ] {
            let error = parse(text, 3).unwrap_err().to_string();
            assert!(error.contains(word), "{text:?}: {error}");
        }
    }
}
