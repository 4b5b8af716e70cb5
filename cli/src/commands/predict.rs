//! `softmargin predict`.

use super::{ComputeArgs, DataArgs, STDOUT, warn};
use crate::{
    apply::Applied,
    data::{Classes, Dataset, Split},
    model_file::ModelFile,
    output::{Output, check_distinct},
    progress::Rows,
};
use anyhow::Result;
use clap::Args;
use rayon::prelude::*;
use serde_json::json;
use softmargin::Loss;
use std::{
    io::{self, BufWriter, Write, stdout},
    path::PathBuf,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  softmargin predict --model model.safetensors --data new.csv
  softmargin predict --model model.safetensors --data embeddings.npy --proba --out probabilities.csv")]
pub(super) struct Predict {
    /// The model, as `train --out` writes it
    #[arg(long)]
    model: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Which images of a folder, or of the bundled sample
    #[arg(long, value_enum, default_value_t = Split::Test)]
    split: Split,
    /// The probability of every class instead of the label
    #[arg(long)]
    proba: bool,
    #[command(flatten)]
    compute: ComputeArgs,
    /// Print one JSON object instead of CSV
    #[arg(long)]
    json: bool,
    /// Write here instead of to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Predict {
    pub(super) fn prints(&self) -> bool {
        self.out.is_none()
    }

    pub(super) fn run(self) -> Result<()> {
        if let Some(out) = &self.out {
            check_distinct(out, self.data.files().chain([self.model.as_path()]))?;
        }
        let ModelFile { parameters, about } = ModelFile::load(&self.model)?;
        let classes = about.classes_or_numbered(parameters.n_classes());
        let data = self.data.read_for_model(self.split, &about, parameters.n_features())?;
        if self.proba
            && let Some(loss) = about.loss.filter(|loss| *loss != Loss::CrossEntropy)
        {
            warn(&format!(
                "the model was trained with the {} loss, whose scores are no logarithms of probabilities: \
                 their softmax adds up to 1, but says little of how likely a class is",
                loss.name().replace('_', " ")
            ));
        }
        let output = self.out.as_deref().map(Output::create).transpose()?;
        self.compute.install(|_| {
            let applied = Applied { parameters: &parameters, isa: self.compute.isa() };
            match output {
                Some(mut output) => {
                    self.write(&applied, &data, &classes, &mut output)
                        .map_err(|error| name_target(error, &output.cannot_write()))?;
                    output.commit()
                }
                None => {
                    // A row that cannot be predicted is found before anything is printed.
                    applied.predict(&data, |_, _| Ok(()))?;
                    let mut out = BufWriter::with_capacity(1 << 20, stdout());
                    self.write(&applied, &data, &classes, &mut out)
                        .and_then(|()| Ok(out.flush()?))
                        .map_err(|error| name_target(error, STDOUT))
                }
            }
        })
    }

    fn write(
        &self,
        applied: &Applied<'_>,
        data: &Dataset,
        classes: &Classes,
        out: &mut (dyn Write + Send),
    ) -> Result<()> {
        let mut rows = Rows::new(data.n_samples);
        if self.proba {
            let text = if self.json { Text::JSON_ROWS } else { Text::CSV };
            if !self.json {
                let names = (0..classes.n()).map(|class| format!("class_{}", classes.name(class)));
                out.write_all(&csv_line(names)?)?;
            }
            out.write_all(if self.json { b"{\"probabilities\":[" } else { b"" })?;
            let mut first = true;
            // Rows are written while the next ones are turned into text.
            let mut ready: Vec<Vec<u8>> = Vec::new();
            applied.predict_proba(data, |range, probabilities| {
                let (next, written) = rayon::join(
                    || text.rows(probabilities, classes.n(), &mut first),
                    || ready.iter().try_for_each(|part| out.write_all(part)),
                );
                ready = next;
                rows.done(range.end);
                Ok(written?)
            })?;
            ready.iter().try_for_each(|part| out.write_all(part))?;
        } else {
            let cells = (0..classes.n()).map(|class| self.cell(classes, class));
            let cells = cells.collect::<Result<Vec<_>>>()?;
            out.write_all(if self.json { b"{\"labels\":[" } else { b"label\n" })?;
            let mut first = true;
            applied.predict(data, |range, predicted| {
                for class in predicted {
                    if self.json && !std::mem::take(&mut first) {
                        out.write_all(b",")?;
                    }
                    out.write_all(&cells[*class as usize])?;
                }
                rows.done(range.end);
                Ok(())
            })?;
        }
        out.write_all(if self.json { b"]}\n" } else { b"" })?;
        Ok(())
    }

    /// How the label of a class is written.
    fn cell(&self, classes: &Classes, class: usize) -> Result<Vec<u8>> {
        let label = classes.label(class);
        if self.json {
            Ok(json!(label).to_string().into_bytes())
        } else {
            csv_line([label.to_string()])
        }
    }
}

/// Says where it was that nothing could be written. What is wrong with the data says where it is itself.
fn name_target(error: anyhow::Error, cannot_write: &str) -> anyhow::Error {
    if error.is::<io::Error>() { error.context(cannot_write.to_owned()) } else { error }
}

fn csv_line(cells: impl IntoIterator<Item = String>) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells.into_iter().map(String::into_bytes))?;
    Ok(writer.into_inner()?)
}

/// What stands around the numbers of a row.
struct Text {
    between_rows: &'static [u8],
    before: &'static [u8],
    after: &'static [u8],
}

impl Text {
    const CSV: Self = Self { between_rows: b"", before: b"", after: b"\n" };
    const JSON_ROWS: Self = Self { between_rows: b",", before: b"[", after: b"]" };

    /// Rows of `width` numbers as text, in parts. Half a billion numbers take longer to write down than to compute:
    /// all threads do it, and with the fewest digits that tell the number.
    fn rows(&self, values: &[f32], width: usize, first: &mut bool) -> Vec<Vec<u8>> {
        let is_first = std::mem::take(first);
        let rows_a_part = (1 << 16) / width + 1;
        let part = |(i, values): (usize, &[f32])| {
            let mut text = Vec::with_capacity(values.len() * 14);
            let mut buffer = zmij::Buffer::new();
            for (j, row) in values.chunks_exact(width).enumerate() {
                if !(is_first && i == 0 && j == 0) {
                    text.extend_from_slice(self.between_rows);
                }
                text.extend_from_slice(self.before);
                for (k, value) in row.iter().enumerate() {
                    if k > 0 {
                        text.push(b',');
                    }
                    // Probabilities are finite.
                    text.extend_from_slice(buffer.format_finite(*value).as_bytes());
                }
                text.extend_from_slice(self.after);
            }
            text
        };
        values.par_chunks(rows_a_part * width).enumerate().map(part).collect()
    }
}
