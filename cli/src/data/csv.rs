//! CSV files: one sample a line, of whose columns one may have the labels and one the sample weights. What
//! separates the cells, and whether the first line is a header, is found in the first lines.

use super::{
    Dataset,
    columns::{Columns, Role},
    header::{is_header, is_index, is_name},
    labels::{Labels, Texts},
    number::{self, is_number, quoted},
    options::{Header, LabelColumn, ReadOptions},
    records::{Record, Records},
    source::{BOM, Source},
};
use anyhow::{Result, bail};
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
                        let comma = unfit == number::Unfit::NoNumber && has_decimal_comma(cell);
                        let hint = if comma { "; decimals are to have a point" } else { "" };
                        fault(&format!("{unfit}{hint}"))
                    })?;
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
    if label_column.is_some() {
        let (labels, note) = labels.finish()?;
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
        2 if is_index(0, later) => 1,
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
            let index = column == 1 && first.get(0).is_empty();
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
        let separator = options.separator.unwrap_or_else(|| find_separator(source.head()));
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

/// Whether a cell is a number with a comma for its point.
fn has_decimal_comma(cell: &str) -> bool {
    let mut parts = cell.splitn(2, ',');
    let whole = parts.next().unwrap_or_default().trim_start_matches(['-', '+']);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    parts.next().is_some_and(|rest| {
        !rest.is_empty()
            && digits(whole)
            && rest.starts_with(|c: char| c.is_ascii_digit())
            && number::parse(&format!("{whole}.{rest}")).is_ok()
    })
}
