//! `softmargin info`.

use super::{print_json, print_table};
use crate::{
    data::Schema,
    model_file::{ModelFile, Parameters},
    units,
};
use anyhow::Result;
use clap::Args;
use serde_json::json;
use softmargin::Loss;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  softmargin info model.safetensors
  softmargin info model.safetensors --json")]
pub(super) struct Info {
    /// The model, as `train --out` writes it
    model: PathBuf,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// Names in a table, at most.
const SHOWN: usize = 12;

impl Info {
    pub(super) fn run(self) -> Result<()> {
        let file = ModelFile::load(&self.model)?;
        let about = &file.about;
        let classes = about.classes_or_numbered(file.parameters.n_classes());
        let (c, d) = (classes.n(), file.parameters.n_features());
        let element = match file.parameters {
            Parameters::F32(_) => "f32",
            Parameters::F64(_) => "f64",
        };
        let (loss, margin) = (about.loss.map(Loss::name), about.loss.and_then(Loss::margin));
        if self.json {
            let labels: Vec<_> = (0..c).map(|class| classes.label(class)).collect();
            return print_json(&json!({
                "classes": c,
                "features": d,
                "element": element,
                "labels": labels,
                "class_names": classes.names(),
                "loss": loss,
                "margin": margin,
                "label_smoothing": about.label_smoothing,
                "l2": about.l2,
                "l2_penalty": about.l2_penalty,
                "schema": about.schema,
                "softmargin_version": about.version,
            }));
        }
        let unknown = || "the file does not say".to_owned();
        let mut rows = vec![
            ("classes", format!("{c}: {}", few(classes.names()))),
            ("features", d.to_string()),
            ("numbers", element.to_owned()),
            (
                "loss",
                match (loss, margin, about.label_smoothing) {
                    (Some(loss), Some(margin), _) => {
                        format!("{loss}, margin {}", units::number(margin))
                    }
                    (Some(loss), None, Some(smoothing)) => {
                        format!("{loss}, labels smoothed by {}", units::number(smoothing))
                    }
                    (Some(loss), None, None) => loss.to_owned(),
                    _ => unknown(),
                },
            ),
            ("λ", about.l2.map_or_else(unknown, units::number)),
        ];
        let Schema { columns, label_column, weight_column, ignored_columns, index_base, .. } =
            about.schema.clone().unwrap_or_default();
        if let Some(columns) = columns {
            rows.push(("columns", few(&columns)));
        }
        if let Some(column) = label_column {
            rows.push(("label column", column.to_string()));
        }
        if let Some(column) = weight_column {
            rows.push(("weight column", column.to_string()));
        }
        if !ignored_columns.is_empty() {
            let names: Vec<String> = ignored_columns.iter().map(ToString::to_string).collect();
            rows.push(("ignored columns", few(&names)));
        }
        if let Some(base) = index_base {
            rows.push(("indices", format!("count from {base}")));
        }
        rows.push((
            "written by",
            match &about.version {
                Some(version) => format!("softmargin {version}"),
                None => unknown(),
            },
        ));
        print_table(&rows)
    }
}

/// The first names of many.
fn few(names: &[String]) -> String {
    let more =
        if names.len() > SHOWN { format!(", … ({} in all)", names.len()) } else { String::new() };
    names.iter().take(SHOWN).map(|name| units::one_line(name)).collect::<Vec<_>>().join(", ")
        + &more
}
