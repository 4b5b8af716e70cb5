//! Labels as people have them, whole numbers or names, and the classes that a model makes of them. Labels
//! are read once, each distinct one is kept once, and samples refer to it by its place in their order:
//! numbers by value, names by code point, as scikit-learn sorts them.

use super::number::{has_decimal_comma, has_groups, is_missing, quoted};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::{
    collections::{HashMap, HashSet},
    fmt,
    hash::Hash,
};

/// What a sample is said to be. Numbers come before names, numbers by value, names by code point.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Label {
    /// A whole number.
    Number(i64),
    /// A name.
    Name(String),
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// The labels of samples.
#[derive(Clone, Debug)]
pub struct Labels {
    codes: Vec<u32>,
    distinct: Vec<Label>,
    /// Where each distinct one appears first.
    first: Vec<u64>,
    place: Place,
}

/// Where labels come from, for messages.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Place {
    file: String,
    in_text: bool,
    column: Option<usize>,
}

impl Place {
    /// Without the file.
    fn at(&self, position: u64) -> String {
        let unit = if self.in_text { "line" } else { "row" };
        match self.column {
            Some(column) => format!("{unit} {position}, column {}", column + 1),
            None => format!("{unit} {position}"),
        }
    }
}

impl Labels {
    /// Whole numbers, one a sample.
    pub fn of_numbers(numbers: impl IntoIterator<Item = i64>) -> Self {
        let mut builder = Numbers::default();
        for (row, number) in numbers.into_iter().enumerate() {
            builder.push(number, row as u64);
        }
        builder.finish()
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// The different labels, in order.
    pub fn distinct(&self) -> &[Label] {
        &self.distinct
    }

    /// For each sample the place of its label among the [`distinct`](Self::distinct) ones.
    pub fn codes(&self) -> &[u32] {
        &self.codes
    }

    /// The label of a sample.
    ///
    /// # Panics
    /// If there are not so many samples.
    pub fn label(&self, sample: usize) -> &Label {
        &self.distinct[self.codes[sample] as usize]
    }

    /// The labels of some samples.
    ///
    /// # Panics
    /// If there are not so many samples.
    pub fn select(&self, samples: &[usize]) -> Self {
        let codes = samples.iter().map(|sample| self.codes[*sample]).collect();
        Self { codes, ..self.clone() }
    }

    /// Two labels that look the same but for case and the spaces around them, if there are such. Single letters, as those
    /// that are read from images, may be meant to differ so.
    pub(super) fn alike(&self) -> Option<[&str; 2]> {
        let mut seen = HashMap::new();
        self.distinct.iter().find_map(|label| match label {
            Label::Name(name) if name.trim().chars().nth(1).is_some() => {
                Some([seen.insert(name.trim().to_lowercase(), &**name)?, name])
            }
            _ => None,
        })
    }

    pub(super) fn name_file(&mut self, file: &str) {
        self.place.file = file.to_owned();
    }

    /// As [`name_file`](Self::name_file), unless the file has a name already.
    pub(super) fn name_file_once(&mut self, file: &str) {
        if self.place.file.is_empty() {
            self.name_file(file);
        }
    }

    /// Where the distinct label of this place in their order appears first: file, line and column.
    fn place(&self, code: usize) -> String {
        let at = self.place.at(self.first[code]);
        if self.place.file.is_empty() { at } else { format!("{}: {at}", self.place.file) }
    }

    /// Whether all are whole numbers from 0 to n − 1.
    fn are_below(&self, n: usize) -> bool {
        self.distinct
            .iter()
            .all(|label| matches!(label, Label::Number(number) if (0..n as i64).contains(number)))
    }
}

/// Each distinct key once, in order of appearance.
#[derive(Serialize, Deserialize)]
#[serde(bound(deserialize = "K: Deserialize<'de> + Eq + Hash"))]
struct Interned<K> {
    codes: Vec<u32>,
    places: HashMap<K, u32>,
    first: Vec<u64>,
}

impl<K> Default for Interned<K> {
    fn default() -> Self {
        Self { codes: Vec::new(), places: HashMap::new(), first: Vec::new() }
    }
}

impl<K: Eq + Hash> Interned<K> {
    fn push_new(&mut self, key: K, position: u64) {
        let code = self.add(key, position);
        self.codes.push(code);
    }

    fn add(&mut self, key: K, position: u64) -> u32 {
        let code = self.first.len() as u32;
        self.places.insert(key, code);
        self.first.push(position);
        code
    }

    /// Appends keys, which come after these.
    fn append(&mut self, next: Self) {
        let mut keys: Vec<(K, u32)> = next.places.into_iter().collect();
        keys.sort_unstable_by_key(|(_, code)| *code);
        let code = |(key, code): (K, u32)| match self.places.get(&key) {
            Some(known) => *known,
            None => self.add(key, next.first[code as usize]),
        };
        let codes: Vec<u32> = keys.into_iter().map(code).collect();
        self.codes.extend(next.codes.iter().map(|code| codes[*code as usize]));
    }

    /// The labels that `label` makes of the keys.
    fn finish(self, label: impl Fn(&K) -> Label, place: Place) -> Labels {
        let mut labels: Vec<(Label, u32)> =
            self.places.iter().map(|(key, code)| (label(key), *code)).collect();
        // By appearance among equals, so that the first one is found first.
        labels.sort_unstable();
        let mut codes = vec![0; self.first.len()];
        let (mut distinct, mut first) = (Vec::new(), Vec::new());
        for (label, code) in labels {
            if distinct.last() != Some(&label) {
                distinct.push(label);
                first.push(self.first[code as usize]);
            }
            codes[code as usize] = distinct.len() as u32 - 1;
        }
        let codes = self.codes.into_iter().map(|code| codes[code as usize]).collect();
        Labels { codes, distinct, first, place }
    }
}

/// Collects labels that are whole numbers.
#[derive(Default)]
pub(super) struct Numbers(Interned<i64>);

impl Numbers {
    pub(super) fn push(&mut self, number: i64, row: u64) {
        match self.0.places.get(&number) {
            Some(code) => self.0.codes.push(*code),
            None => self.0.push_new(number, row),
        }
    }

    /// A float, which must be whole.
    pub(super) fn push_float(&mut self, value: f64, row: u64) -> Result<()> {
        if value.is_nan() {
            bail!("row {row}: the label is missing (NaN)");
        }
        let number = whole(value).with_context(|| no_class(&format!("row {row}"), value, value))?;
        self.push(number, row);
        Ok(())
    }

    pub(super) fn finish(self) -> Labels {
        self.0.finish(|number| Label::Number(*number), Place::default())
    }
}

fn no_class(place: &str, shown: impl fmt::Display, value: f64) -> String {
    if value.is_finite() && value.fract() == 0.0 {
        return format!("{place}: {shown} is no class: it is too large a number");
    }
    format!("{place}: {shown} is no class: labels are whole numbers or names")
}

/// A float as a whole number, if it is one exactly.
fn whole(value: f64) -> Option<i64> {
    let exact = value.fract() == 0.0 && value.abs() <= (1_u64 << 53) as f64;
    exact.then_some(value as i64)
}

/// Collects labels that are written as text.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Texts {
    keys: Interned<Box<str>>,
    place: Place,
}

impl Texts {
    /// Of the lines of a text, in this column if it has columns.
    pub(super) fn of_lines(column: Option<usize>) -> Self {
        Self { place: Place { in_text: true, column, ..Place::default() }, ..Self::default() }
    }

    pub(super) fn push(&mut self, text: &str, position: u64) -> Result<()> {
        match self.keys.places.get(text) {
            Some(code) => self.keys.codes.push(*code),
            None if is_missing(text) => {
                bail!("{}: the label is missing ({text:?})", self.place.at(position))
            }
            None => self.keys.push_new(text.into(), position),
        }
        Ok(())
    }

    /// Appends the labels of the samples that follow.
    pub(super) fn append(&mut self, next: Self) {
        self.keys.append(next.keys);
    }

    pub(super) fn len(&self) -> usize {
        self.keys.codes.len()
    }

    /// The first label that is so, and its line.
    pub(super) fn find(&self, is_so: impl Fn(&str) -> bool) -> Option<(&str, u64)> {
        let found = self.keys.places.iter().filter(|(text, _)| is_so(text));
        let first = found.min_by_key(|(_, code)| **code);
        first.map(|(text, code)| (&**text, self.keys.first[*code as usize]))
    }

    /// Whether the first label is none of the others.
    pub(super) fn first_is_unique(&self) -> bool {
        self.keys.codes.iter().filter(|code| **code == 0).count() == 1
    }

    /// Whether the first label is a name, and all others are numbers.
    pub(super) fn first_is_the_only_name(&self) -> bool {
        self.len() > 1
            && (self.keys.places.iter())
                .all(|(text, code)| matches!(Written::of(text), Written::Name) == (*code == 0))
    }

    /// Leaves out the first label, which was a header.
    pub(super) fn forget_first(&mut self) {
        if self.first_is_unique() {
            self.keys.places.retain(|_, code| *code != 0);
        }
        self.keys.codes.remove(0);
    }

    /// Numbers if all are; names if one is. If there are both, a note says so.
    pub(super) fn finish(self) -> Result<(Labels, Option<String>)> {
        let Self { keys, place } = self;
        let kinds = |kind: fn(&Written) -> bool| {
            let mut of_kind: Vec<_> =
                keys.places.iter().filter(|(text, _)| kind(&Written::of(text))).collect();
            of_kind.sort_unstable_by_key(|(_, code)| **code);
            of_kind
        };
        let names = kinds(|written| matches!(written, Written::Name));
        if let Some((name, code)) = names.first() {
            let n_names = names.len();
            let numbers = keys.places.len() - n_names;
            let at = place.at(keys.first[**code as usize]);
            let note = (numbers > 0).then(|| {
                let name = quoted(name);
                format!("labels: {numbers} numbers and {n_names} names, so that all are names ({at}: {name})")
            });
            return Ok((keys.finish(|text| Label::Name(text.to_string()), place), note));
        }
        if let Some((text, code)) = kinds(|written| matches!(written, Written::Fraction)).first() {
            let value = text.parse().unwrap_or(f64::NAN);
            bail!(no_class(&place.at(keys.first[**code as usize]), quoted(text), value));
        }
        let number = |text: &str| match Written::of(text) {
            Written::Whole(number) => Label::Number(number),
            _ => Label::Name(text.to_owned()),
        };
        Ok((keys.finish(|text| number(text), place), None))
    }
}

/// What a text says.
enum Written {
    Whole(i64),
    /// A number, but not a whole one, or not written as one: an amount.
    Fraction,
    Name,
}

impl Written {
    fn of(text: &str) -> Self {
        match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(number), _) => Self::Whole(number),
            (Err(_), Ok(value)) => whole(value).map_or(Self::Fraction, Self::Whole),
            (Err(_), Err(_)) if has_decimal_comma(text) || has_groups(text) => Self::Fraction,
            (Err(_), Err(_)) => Self::Name,
        }
    }
}

/// The classes of a model, in order: the label of each, and the name it is shown by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classes {
    labels: Vec<Label>,
    names: Vec<String>,
}

impl Classes {
    /// One class for each distinct label, in their order.
    ///
    /// # Errors
    /// If there are more than `max_classes`, or a number beyond it: then they are no classes, but amounts,
    /// years or identifiers.
    pub fn of(labels: &Labels, max_classes: usize) -> Result<Self> {
        let n = labels.distinct.len();
        let refused = |code: usize, what: &str| {
            let (place, label) = (labels.place(code), quoted_label(&labels.distinct[code]));
            let largest = quoted_label(&labels.distinct[n - 1]);
            bail!(
                "{place}: the label {label} {what}: there are {n} distinct labels, up to {largest}; \
                 amounts and identifiers are no classes (--max-classes, here {max_classes}, allows more)"
            )
        };
        let first_in_file =
            |codes: &mut dyn Iterator<Item = usize>| codes.min_by_key(|c| labels.first[*c]);
        let beyond = |code: &usize| matches!(labels.distinct[*code], Label::Number(v) if v.unsigned_abs() > max_classes as u64);
        if let Some(code) = first_in_file(&mut (0..n).filter(beyond)) {
            return refused(code, "is too large a number for a class");
        }
        if n > max_classes {
            let mut by_appearance: Vec<usize> = (0..n).collect();
            by_appearance.sort_unstable_by_key(|code| labels.first[*code]);
            return refused(by_appearance[max_classes], "is one too many");
        }
        let over_lines = |code: &usize| matches!(&labels.distinct[*code], Label::Name(name) if name.contains(['\n', '\r']));
        if let Some(code) = first_in_file(&mut (0..n).filter(over_lines)) {
            let (place, label) = (labels.place(code), quoted_label(&labels.distinct[code]));
            bail!("{place}: the label {label} goes over several lines; a quote may be missing");
        }
        if n == 0 {
            bail!("there are no samples");
        }
        let names = labels.distinct.iter().map(Label::to_string).collect();
        Ok(Self { labels: labels.distinct.clone(), names })
    }

    /// Classes with these names. Labels that are all numbers from 0 to n − 1 have the name of their number,
    /// also where a number has no sample; labels that are all among the names have themselves, in the order
    /// of the names; otherwise as many names as labels, none of which is a label, go to the labels in their order.
    ///
    /// # Errors
    /// If a name is empty or there twice, if the names fit in none of these ways, or as [`of`](Self::of).
    pub fn named(names: &[String], labels: &Labels, max_classes: usize) -> Result<Self> {
        if names.iter().any(|name| name.trim().is_empty()) {
            bail!("a class has an empty name (in {})", list(names.iter()));
        }
        if let Some(name) = first_again(names) {
            bail!("two classes have the name {}", quoted(name));
        }
        if names.len() > max_classes {
            bail!("{} names for classes, more than --max-classes {max_classes}", names.len());
        }
        let found = Self::of(labels, max_classes)?.labels;
        let known: HashSet<&String> = names.iter().collect();
        let is_name = |label: &Label| matches!(label, Label::Name(name) if known.contains(name));
        let classes = if labels.are_below(names.len()) {
            (0..names.len() as i64).map(Label::Number).collect()
        } else if found.iter().all(is_name) {
            names.iter().cloned().map(Label::Name).collect()
        } else if let Some(named) = found.iter().find(|label| is_name(label)) {
            let other = found.iter().find(|label| !is_name(label)).unwrap_or(named);
            bail!(
                "the label {} is among the names ({}), but {} is not",
                quoted_label(named),
                list(names.iter()),
                quoted_label(other)
            );
        } else if names.len() == found.len() {
            found
        } else {
            bail!(
                "{} names ({}) for {} distinct labels ({})",
                names.len(),
                list(names.iter()),
                found.len(),
                list(found.iter())
            );
        };
        Ok(Self { labels: classes, names: names.to_vec() })
    }

    /// The classes of a model file, which may say what their labels are, what they are called, both or nothing.
    ///
    /// # Errors
    /// If there is not one name for each label, or a label or a name twice.
    pub fn of_parts(
        labels: Option<Vec<Label>>,
        names: Option<Vec<String>>,
    ) -> Result<Option<Self>> {
        let (labels, names) = match (labels, names) {
            (None, None) => return Ok(None),
            (Some(labels), Some(names)) => (labels, names),
            (Some(labels), None) => {
                let names = labels.iter().map(Label::to_string).collect();
                (labels, names)
            }
            (None, Some(names)) => ((0..names.len() as i64).map(Label::Number).collect(), names),
        };
        if labels.len() != names.len() {
            bail!("there is not one name and one label for each class");
        }
        if let Some(label) = first_again(&labels) {
            bail!("two classes have the label {}", quoted_label(label));
        }
        if let Some(name) = first_again(&names) {
            bail!("two classes have the name {}", quoted(name));
        }
        Ok(Some(Self { labels, names }))
    }

    /// The classes 0 to n − 1, of a model that says no more.
    pub fn numbered(n: usize) -> Self {
        let labels: Vec<Label> = (0..n as i64).map(Label::Number).collect();
        let names = labels.iter().map(Label::to_string).collect();
        Self { labels, names }
    }

    /// C.
    pub fn n(&self) -> usize {
        self.labels.len()
    }

    /// The label of a class.
    ///
    /// # Panics
    /// If there is no such class.
    pub fn label(&self, class: usize) -> &Label {
        &self.labels[class]
    }

    /// What a class is called where results are shown.
    ///
    /// # Panics
    /// If there is no such class.
    pub fn name(&self, class: usize) -> &str {
        &self.names[class]
    }

    /// The labels of all classes.
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// What all classes are called.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether these are the same classes in the same order, whatever they are called.
    pub fn same_labels(&self, other: &Self) -> bool {
        self.labels == other.labels
    }

    /// The class of each sample. A name by which a class is shown is understood as its label, too.
    ///
    /// # Errors
    /// If there is a label of no class.
    pub fn encode(&self, labels: &Labels) -> Result<Vec<u32>> {
        let mut classes = HashMap::new();
        let names = self.names.iter().cloned().map(Label::Name);
        for (class, label) in names.enumerate().chain(self.labels.iter().cloned().enumerate()) {
            classes.insert(label, class as u32);
        }
        let of_codes: Vec<Option<u32>> =
            labels.distinct.iter().map(|label| classes.get(label).copied()).collect();
        let unknown = (0..of_codes.len()).filter(|code| of_codes[*code].is_none());
        if let Some(code) = unknown.min_by_key(|code| labels.first[*code]) {
            bail!(
                "{}: the label {} is none of the model's {} classes ({})",
                labels.place(code),
                quoted_label(&labels.distinct[code]),
                self.n(),
                list(self.labels.iter())
            );
        }
        Ok(labels.codes.iter().map(|code| of_codes[*code as usize].unwrap_or_default()).collect())
    }
}

/// The first item that is there before, too.
fn first_again<T: Eq + Hash>(items: &[T]) -> Option<&T> {
    let mut seen = HashSet::new();
    items.iter().find(|item| !seen.insert(*item))
}

fn quoted_label(label: &Label) -> String {
    match label {
        Label::Number(number) => number.to_string(),
        Label::Name(name) => quoted(name),
    }
}

/// The first few.
fn list(items: impl ExactSizeIterator<Item = impl fmt::Display>) -> String {
    const MOST: usize = 10;
    let more = items.len() > MOST;
    let mut shown: Vec<String> = items.take(MOST).map(|item| item.to_string()).collect();
    if more {
        shown.push("…".to_owned());
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(texts: &[&str]) -> Labels {
        let mut labels = Texts::of_lines(Some(2));
        for (i, text) in texts.iter().enumerate() {
            labels.push(text, i as u64 + 2).unwrap();
        }
        labels.finish().unwrap().0
    }

    fn shown(classes: &Classes) -> Vec<String> {
        (0..classes.n()).map(|c| format!("{}={}", classes.label(c), classes.name(c))).collect()
    }

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn classes_are_sorted() {
        for (texts, distinct, codes) in [
            (&["10", "9", "+10", "9.0", "1e1"][..], &["9", "10"][..], &[1, 0, 1, 0, 1][..]),
            (&["1", "-1", "+1"], &["-1", "1"], &[1, 0, 1]),
            (&["b", "a", "B", "é"], &["B", "a", "b", "é"], &[2, 1, 0, 3]),
            (&["True", "False"], &["False", "True"], &[1, 0]),
            (&["10", "x", "9"], &["10", "9", "x"], &[0, 2, 1]),
            (&["0", "-0.0"], &["0"], &[0, 0]),
        ] {
            let labels = labels(texts);
            let classes = Classes::of(&labels, 1000).unwrap();
            assert_eq!(classes.names(), distinct, "{texts:?}");
            assert_eq!(classes.encode(&labels).unwrap(), codes, "{texts:?}");
        }
        assert_eq!(labels(&["2", "x"]).distinct()[0], Label::Name("2".to_owned()));
        let mut mixed = Texts::of_lines(None);
        ["1", "2", "oops"].iter().zip(1..).for_each(|(text, line)| mixed.push(text, line).unwrap());
        let note = mixed.finish().unwrap().1.unwrap();
        assert!(note.contains("2 numbers and 1 names") && note.contains("line 3"), "{note}");
    }

    #[test]
    fn labels_that_are_no_classes() {
        for text in ["", "NA", "nan", "NaN", "null", "None", "N/A", "?"] {
            let mut labels = Texts::of_lines(Some(2));
            let error = labels.push(text, 7).unwrap_err().to_string();
            assert!(error.starts_with("line 7, column 3: the label is missing"), "{error}");
        }
        for text in ["0.5", "inf", "1e300", "0,5", "1,234", "-1,234,567.89"] {
            let mut labels = Texts::of_lines(None);
            labels.push("1", 1).unwrap();
            labels.push(text, 2).unwrap();
            let error = labels.finish().unwrap_err().to_string();
            assert!(error.starts_with(&format!("line 2: \"{text}\" is no class")), "{error}");
        }
        for (texts, max, words) in [
            (
                &["1", "1999", "2020"][..],
                1000,
                &["line 3, column 3", "1999", "3 distinct", "2020"][..],
            ),
            (&["-604000", "1"], 1000, &["line 2", "-604000", "2 distinct"]),
            (&["a", "b", "a", "c"], 2, &["line 5", "\"c\"", "3 distinct", "--max-classes"]),
        ] {
            let error = Classes::of(&labels(texts), max).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
        assert_eq!(Classes::of(&labels(&["10", "20", "1000"]), 1000).unwrap().n(), 3);
        assert_eq!(Classes::of(&labels(&["2019", "2020"]), 3000).unwrap().n(), 2);
    }

    #[test]
    fn names_of_classes() {
        let named =
            |names: &[&str], texts: &[&str]| Classes::named(&strings(names), &labels(texts), 10);
        // By number, also where there is no sample.
        assert_eq!(shown(&named(&["a", "b", "c"], &["2", "0"]).unwrap()), ["0=a", "1=b", "2=c"]);
        assert_eq!(shown(&named(&["no", "yes"], &["1", "-1"]).unwrap()), ["-1=no", "1=yes"]);
        assert_eq!(shown(&named(&["x", "y"], &["2", "1"]).unwrap()), ["1=x", "2=y"]);
        // The labels themselves in an order of their own, not the names of others.
        assert_eq!(shown(&named(&["b", "a"], &["a", "b"]).unwrap()), ["b=b", "a=a"]);
        assert_eq!(shown(&named(&["b", "a", "c"], &["a"]).unwrap()), ["b=b", "a=a", "c=c"]);
        assert_eq!(shown(&named(&["A", "B"], &["b", "a"]).unwrap()), ["a=A", "b=B"]);
        for (names, texts, words) in [
            (
                &["a", "b", "c"][..],
                &["x", "y"][..],
                &["3 names (a, b, c)", "2 distinct labels (x, y)"][..],
            ),
            (&["a"], &["0", "1"], &["1 names", "2 distinct"]),
            (&["a", "a"], &["0", "1"], &["two classes", "\"a\""]),
            (&["a", " "], &["0", "1"], &["empty name"]),
        ] {
            let error = named(names, texts).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
        assert!(Classes::named(&strings(&["a", "b", "c"]), &labels(&["0"]), 2).is_err());
    }

    #[test]
    fn labels_that_look_the_same() {
        for (texts, expected) in [
            (&["cat", "dog", "Cat"][..], Some(["Cat", "cat"])),
            (&["True", "False", "TRUE"], Some(["TRUE", "True"])),
            (&["ab ", "ab"], Some(["ab", "ab "])),
            (&["É1", "é1"], Some(["É1", "é1"])),
            (&["a", "A"], None),
            (&["cat", "cats"], None),
            (&["1", "2"], None),
        ] {
            assert_eq!(labels(texts).alike(), expected, "{texts:?}");
        }
    }

    #[test]
    fn labels_of_other_data() {
        let classes = Classes::named(&strings(&["cat", "dog"]), &labels(&["1", "0"]), 10).unwrap();
        assert_eq!(classes.encode(&labels(&["1.0", "0"])).unwrap(), [1, 0]);
        assert_eq!(classes.encode(&labels(&["dog", "cat"])).unwrap(), [1, 0], "by the name shown");
        let mut unknown = labels(&["1", "2", "3"]);
        unknown.name_file("test.csv");
        let error = classes.encode(&unknown).unwrap_err().to_string();
        assert_eq!(
            error,
            "test.csv: line 3, column 3: the label 2 is none of the model's 2 classes (0, 1)"
        );
        assert_eq!(Classes::numbered(3).encode(&Labels::of_numbers([2, 0])).unwrap(), [2, 0]);
        assert_eq!(labels(&["b", "a", "b"]).select(&[1, 2]).codes(), [0, 1]);
    }

    #[test]
    fn classes_of_the_parts_of_a_file() {
        for classes in [
            Classes::numbered(2),
            Classes::of(&labels(&["x", "y"]), 10).unwrap(),
            Classes::named(&strings(&["no", "yes"]), &labels(&["-1", "1"]), 10).unwrap(),
        ] {
            let json = serde_json::to_string(classes.labels()).unwrap();
            let labels: Vec<Label> = serde_json::from_str(&json).unwrap();
            let names = classes.names().to_vec();
            assert_eq!(Classes::of_parts(Some(labels), Some(names)).unwrap(), Some(classes));
        }
        let names = strings(&["a", "b"]);
        let named = Classes::of_parts(None, Some(names.clone())).unwrap().unwrap();
        assert_eq!((named.label(1), named.name(1)), (&Label::Number(1), "b"));
        assert_eq!(Classes::of_parts(None, None).unwrap(), None);
        let error = |labels, names| Classes::of_parts(labels, names).unwrap_err().to_string();
        let twice = vec![Label::Number(3), Label::Number(3)];
        assert_eq!(error(Some(twice), None), "two classes have the label 3");
        assert_eq!(error(None, Some(strings(&["b", "a", "b"]))), "two classes have the name \"b\"");
        assert!(Classes::of_parts(Some(vec![Label::Number(0)]), Some(names)).is_err());
    }
}
