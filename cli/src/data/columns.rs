//! What each column of a CSV file is: a feature, the label, the weight of the sample, or nothing to be read.
//! For data of a model the columns of the model are found by their names, or else by their order.

use super::{
    header::is_index,
    options::{LabelColumn, ReadOptions, Schema},
    records::Record,
};
use anyhow::{Context, Result, bail};

/// What a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The feature of this number.
    Feature(usize),
    Label,
    Weight,
    Ignored,
}

/// The columns of a file.
#[derive(Debug)]
pub(super) struct Columns {
    /// One a column.
    pub(super) roles: Vec<Role>,
    pub(super) schema: Schema,
    pub(super) notes: Vec<String>,
}

/// Names that a column of labels has in many files, in lower case. The first is the one to prefer.
const LABEL_NAMES: [&str; 4] = ["label", "labels", "class", "target"];

impl Columns {
    /// Decides by the names, if there are any, and by the first rows.
    pub(super) fn find(
        names: Option<&[String]>,
        n_columns: usize,
        rows: &[Record],
        options: &ReadOptions<'_>,
    ) -> Result<Self> {
        let mut roles = Roles { names, roles: vec![None; n_columns], notes: Vec::new() };
        let asked = options.ignore_columns.iter().map(|column| (column, Role::Ignored));
        let asked = asked.chain(options.weight_column.iter().map(|column| (column, Role::Weight)));
        for (column, role) in asked.chain(options.label_column.iter().map(|c| (c, Role::Label))) {
            match roles.find(column) {
                Ok(column) => roles.set(column, role)?,
                // What was said of the data of training need not be in data that the model is used on.
                Err(_) if options.schema.is_some() && role != Role::Label => {}
                Err(error) => return Err(error),
            }
        }
        let of_model = |name: &String| {
            options
                .schema
                .and_then(|s| s.columns.as_ref())
                .is_some_and(|names| names.contains(name))
        };
        if let Some([first, _, ..]) = names
            && is_unnamed(first)
            && !of_model(first)
            && roles.roles[0].is_none()
            && is_index(0, rows)
        {
            roles.set(0, Role::Ignored)?;
            let numbers = rows.iter().map(|row| row.get(0).parse::<usize>().unwrap_or_default());
            let start: usize = rows[0].get(0).parse().unwrap_or_default();
            let counts = numbers.zip(start..).all(|(number, expected)| number == expected);
            let what = if counts { "which counts the rows" } else { "an index of the rows" };
            roles.notes.push(format!("ignored: the unnamed first column, {what}"));
        }
        match (options.schema, names) {
            (None, _) => roles.of_training(options.labels.is_some()),
            (Some(schema), Some(_)) if schema.columns.is_some() => roles.by_name(schema),
            (Some(schema), _) => roles.by_order(schema),
        }
    }
}

/// Whether the header has no name for a column.
fn is_unnamed(name: &str) -> bool {
    name.starts_with("Unnamed: ")
}

/// The columns, as far as it is known what they are.
struct Roles<'a> {
    names: Option<&'a [String]>,
    roles: Vec<Option<Role>>,
    notes: Vec<String>,
}

impl Roles<'_> {
    /// A column that was asked for. A number is a name if the header has it.
    fn find(&self, column: &LabelColumn) -> Result<usize> {
        let n = self.roles.len();
        match column {
            LabelColumn::Name(name) => match self.named(name) {
                Some(column) => Ok(column),
                None if self.names.is_some() => {
                    bail!("there is no column {name:?} in the header ({})", self.list(0..n))
                }
                None => bail!(
                    "there is no column {name:?}, as there is no header; use its number, from 0"
                ),
            },
            LabelColumn::Index(index) => match self.named(&index.to_string()) {
                Some(column) => Ok(column),
                None if *index < n => Ok(*index),
                None => bail!("there is no column {index}: there are {n}, numbered from 0"),
            },
        }
    }

    fn named(&self, name: &str) -> Option<usize> {
        self.names?.iter().position(|other| other == name)
    }

    fn set(&mut self, column: usize, role: Role) -> Result<()> {
        let what = |role| match role {
            Role::Feature(_) => "a feature of the model",
            Role::Label => "the label",
            Role::Weight => "the sample weight",
            Role::Ignored => "to be ignored",
        };
        match self.roles[column] {
            Some(other) if other != role => {
                bail!(
                    "column {} cannot be both {} and {}",
                    self.say(column),
                    what(other),
                    what(role)
                )
            }
            _ => self.roles[column] = Some(role),
        }
        Ok(())
    }

    /// A column as a message names it.
    fn say(&self, column: usize) -> String {
        self.reference(column).to_string()
    }

    /// A column as a model remembers it.
    fn reference(&self, column: usize) -> LabelColumn {
        match self.names {
            Some(names) => LabelColumn::Name(names[column].clone()),
            None => LabelColumn::Index(column),
        }
    }

    fn list(&self, columns: impl IntoIterator<Item = usize>) -> String {
        const MOST: usize = 10;
        let mut shown: Vec<String> = columns.into_iter().map(|c| self.say(c)).collect();
        if shown.len() > MOST {
            shown.truncate(MOST);
            shown.push("…".to_owned());
        }
        shown.join(", ")
    }

    fn with(&self, role: Role) -> impl Iterator<Item = usize> {
        let columns = self.roles.iter().enumerate();
        columns.filter(move |(_, other)| **other == Some(role)).map(|(column, _)| column)
    }

    fn open(&self) -> Vec<usize> {
        (0..self.roles.len()).filter(|column| self.roles[*column].is_none()).collect()
    }

    /// Nothing is known of the data: the label is the column that is called so, or the last one.
    fn of_training(mut self, has_labels: bool) -> Result<Columns> {
        let open = self.open();
        if self.with(Role::Label).next().is_none() {
            let called = self.names.and_then(|names| {
                let has_name = |wanted: &str| {
                    open.iter().copied().find(|column| names[*column].eq_ignore_ascii_case(wanted))
                };
                let exact = open.iter().copied().find(|column| names[*column] == LABEL_NAMES[0]);
                exact.or_else(|| LABEL_NAMES.iter().find_map(|name| has_name(name)))
            });
            match (called, open.last()) {
                (Some(column), _) if has_labels => bail!(
                    "the labels are there twice: in the file of labels, and in the column {} \
                     (--ignore-columns leaves it out)",
                    self.say(column)
                ),
                (None, _) if has_labels => {}
                (Some(column), _) => {
                    self.notes.push(format!("labels: the column {}", self.say(column)));
                    self.set(column, Role::Label)?;
                }
                (None, Some(&last)) => {
                    self.notes.push(format!("labels: the last column, {}", self.say(last)));
                    self.set(last, Role::Label)?;
                }
                (None, None) => {}
            }
        } else if has_labels {
            bail!("the labels are there twice: in the file of labels, and in --label-column");
        }
        let open = self.open();
        if open.is_empty() {
            let hint = match &*self.roles {
                [_] => " (--separator says what separates columns)",
                _ => "",
            };
            bail!("there are no features: there is no column beside the label{hint}");
        }
        for (feature, column) in open.iter().enumerate() {
            self.roles[*column] = Some(Role::Feature(feature));
        }
        let reference = |column| self.reference(column);
        let schema = Schema {
            n_features: open.len(),
            columns: self.names.map(|names| open.iter().map(|c| names[*c].clone()).collect()),
            label_column: self.with(Role::Label).next().map(reference),
            weight_column: self.with(Role::Weight).next().map(reference),
            ignored_columns: self.with(Role::Ignored).map(reference).collect(),
            index_base: None,
        };
        self.finish(schema)
    }

    /// The columns have the names of those that the model was trained on, in any order.
    fn by_name(mut self, schema: &Schema) -> Result<Columns> {
        let columns = schema.columns.as_deref().unwrap_or_default();
        let mut missing = Vec::new();
        let mut in_order = true;
        let mut last = 0;
        for (feature, name) in columns.iter().enumerate() {
            match self.named(name) {
                Some(column) => {
                    self.set(column, Role::Feature(feature))?;
                    in_order &= column >= last;
                    last = column;
                }
                None => missing.push(format!("{name:?}")),
            }
        }
        if !missing.is_empty() {
            let n = missing.len();
            missing.truncate(10);
            let more = if n > 10 { ", …" } else { "" };
            bail!(
                "{n} of the {} columns that the model was trained on are missing: {}{more}; there are {}",
                columns.len(),
                missing.join(", "),
                self.list(0..self.roles.len())
            );
        }
        let of_model = |column: &Option<LabelColumn>| match column {
            Some(LabelColumn::Name(name)) => self.named(name),
            _ => None,
        };
        let (label, weight) = (of_model(&schema.label_column), of_model(&schema.weight_column));
        let ignored: Vec<usize> =
            schema.ignored_columns.iter().filter_map(|c| of_model(&Some(c.clone()))).collect();
        // What is said now comes before what was said in training.
        let (has_label, has_weight) =
            (self.with(Role::Label).next().is_some(), self.with(Role::Weight).next().is_some());
        let mut fill = |column: usize, role| {
            self.roles[column].get_or_insert(role);
        };
        label
            .into_iter()
            .for_each(|c| fill(c, if has_label { Role::Ignored } else { Role::Label }));
        weight
            .into_iter()
            .for_each(|c| fill(c, if has_weight { Role::Ignored } else { Role::Weight }));
        ignored.into_iter().for_each(|c| fill(c, Role::Ignored));
        let open = self.open();
        if !open.is_empty() {
            bail!(
                "the model was trained without the column {} (--ignore-columns leaves out a column, \
                 --label-column makes it the label)",
                self.list(open)
            );
        }
        if !in_order {
            self.notes
                .push("columns: in another order than in training, matched by name".to_owned());
        }
        self.finish(schema.clone())
    }

    /// The columns are in the order of training, with the label and the others or without.
    fn by_order(mut self, schema: &Schema) -> Result<Columns> {
        let d = schema.n_features;
        // In order, without what was said now.
        let mut of_training = schema.roles_by_order();
        of_training.retain(|role| !self.roles.contains(&Some(*role)));
        let without_label: Vec<Role> =
            of_training.iter().copied().filter(|role| *role != Role::Label).collect();
        let open = self.open();
        let n = open.len();
        let roles = if n == d {
            (0..d).map(Role::Feature).collect()
        } else if n == of_training.len() {
            of_training
        } else if n == without_label.len() {
            without_label
        } else {
            let found = n.saturating_sub(of_training.len() - d);
            let hint = if n == d + 1 {
                "; --label-column or --ignore-columns says what the other one is"
            } else {
                ""
            };
            bail!(
                "the model has {d} features, the data {found} (in {} columns){hint}",
                self.roles.len()
            );
        };
        for (column, role) in open.into_iter().zip(roles) {
            self.roles[column] = Some(role);
        }
        let features = self.roles.iter().enumerate();
        let features = features.filter(|(_, role)| matches!(role, Some(Role::Feature(_))));
        let features = self.list(features.map(|(column, _)| column));
        self.notes.push(format!("columns: by their order, the features are {features}"));
        self.finish(schema.clone())
    }

    fn finish(self, schema: Schema) -> Result<Columns> {
        let roles: Option<Vec<Role>> = self.roles.into_iter().collect();
        let roles = roles.context("a column is nothing")?;
        Ok(Columns { roles, schema, notes: self.notes })
    }
}

impl Schema {
    /// The columns of a file without a header as the model was trained on.
    fn roles_by_order(&self) -> Vec<Role> {
        let mut special: Vec<(usize, Role)> = Vec::new();
        let mut add = |column: &LabelColumn, role| {
            if let LabelColumn::Index(index) = column {
                special.push((*index, role));
            }
        };
        self.label_column.iter().for_each(|column| add(column, Role::Label));
        self.weight_column.iter().for_each(|column| add(column, Role::Weight));
        self.ignored_columns.iter().for_each(|column| add(column, Role::Ignored));
        special.sort_unstable_by_key(|(index, _)| *index);
        let mut roles: Vec<Role> = (0..self.n_features).map(Role::Feature).collect();
        for (index, role) in special {
            roles.insert(index.min(roles.len()), role);
        }
        roles
    }
}
