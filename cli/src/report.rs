//! What a fit looks like: a page with pictures, in a folder of its own, that needs no network.

use crate::{metrics::Metrics, output::Output, plot};
use anyhow::{Context, Result};
use softmargin::{
    LinearModel,
    train::{CrossValidation, Progress},
};
use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

/// The folder of a report, which goes away again if it was not there before and nothing is written into it.
pub(crate) struct Folder {
    path: PathBuf,
    /// Those that were made for it, from the innermost on.
    made: Vec<PathBuf>,
}

impl Folder {
    /// Makes the folder, if it is not there yet.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let missing = path.ancestors().take_while(|folder| {
            !folder.as_os_str().is_empty() && folder.symlink_metadata().is_err()
        });
        let made = missing.map(Path::to_owned).collect();
        fs::create_dir_all(path)
            .with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(Self { path: path.to_owned(), made })
    }
}

impl std::ops::Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Only those that are empty can be removed.
        for folder in &self.made {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// All that is shown.
pub(crate) struct Report<'a> {
    pub(crate) title: String,
    /// What the program prints.
    pub(crate) table: Vec<(&'static str, String)>,
    /// What chose λ, if cross-validation did.
    pub(crate) cross_validation: Option<&'a CrossValidation>,
    /// The progress after so many seconds.
    pub(crate) history: &'a [(f64, Progress)],
    /// Of what the history has one entry each.
    pub(crate) unit: &'static str,
    pub(crate) model: &'a LinearModel<f32>,
    pub(crate) metrics: &'a Metrics,
    /// Of which samples they are: `test` or `training`.
    pub(crate) measured: &'static str,
    pub(crate) class_names: &'a [String],
    /// Height and width, if the features are pixels.
    pub(crate) image_shape: Option<(usize, usize)>,
}

/// With more classes, names and numbers could not be read.
const MAX_CLASSES: usize = 40;

impl Report<'_> {
    /// Writes `index.html` and the pictures on it. Pictures of an earlier report that this one has not are removed.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let names = self.class_names;
        let mut written = Vec::new();
        let mut write = |name: String, bytes: &[u8]| -> Result<()> {
            Output::create(&folder.join(&name))?.write(bytes)?;
            written.push(name);
            Ok(())
        };
        write("loss.svg".into(), plot::curves(self.history, self.unit)?.as_bytes())?;
        if let Some(cv) = self.cross_validation {
            write("cross_validation.svg".into(), plot::cross_validation(cv)?.as_bytes())?;
        }
        let confusion = self.metrics.confusion().filter(|_| names.len() <= MAX_CLASSES);
        if let Some(confusion) = &confusion {
            write("confusion.svg".into(), plot::confusion(confusion, names)?.as_bytes())?;
            write("accuracy.svg".into(), plot::accuracies(confusion, names)?.as_bytes())?;
        }
        let few = confusion.is_some();
        let templates = self.image_shape.filter(|_| few);
        if let Some((height, width)) = templates {
            for class in 0..names.len() {
                let weights = &self.model.weights()[class * height * width..][..height * width];
                write(format!("template_{class}.png"), &template(weights, height, width)?)?;
            }
        }
        write("index.html".into(), self.page(few, templates.is_some()).as_bytes())?;
        remove_stale(folder, &written)
    }

    fn page(&self, few: bool, templates: bool) -> String {
        let mut page = String::new();
        let title = escape(&self.title);
        let _ = write!(page, "{HEAD}<title>{title}</title>\n<h1>{title}</h1>\n<table>\n");
        for (name, value) in &self.table {
            let _ = writeln!(page, "<tr><th>{}</th><td>{}</td></tr>", escape(name), escape(value));
        }
        page += "</table>\n";
        if self.cross_validation.is_some() {
            page += "<h2>The choice of λ</h2>\n\
                     <p>The mean over the samples that each fold held out, and its standard error.</p>\n\
                     <img src=\"cross_validation.svg\" alt=\"Loss and accuracy by λ\">\n";
        }
        page += "<h2>The fit</h2>\n<img src=\"loss.svg\" alt=\"The loss and the norm of its gradient\">\n";
        if few {
            let _ = write!(
                page,
                "<h2>On the {} data</h2>\n<img src=\"confusion.svg\" alt=\"The confusion matrix\">\n\
                 <img src=\"accuracy.svg\" alt=\"The accuracy of each class\">\n",
                self.measured
            );
        }
        if templates {
            page += "<h2>The weights of each class</h2>\n\
                     <p>Pixels that speak for the class are red, those that speak against it blue.</p>\n<div>\n";
            for (class, name) in self.class_names.iter().enumerate() {
                let name = escape(name);
                let _ = writeln!(
                    page,
                    "<figure><img class=\"template\" src=\"template_{class}.png\" alt=\"The weights of {name}\">\
                     <figcaption>{name}</figcaption></figure>"
                );
            }
            page += "</div>\n";
        }
        page
    }
}

/// Removes pictures with the names of a report's that were not written now.
fn remove_stale(folder: &Path, written: &[String]) -> Result<()> {
    let of_a_report = |name: &str| {
        let class = name.strip_prefix("template_").and_then(|rest| rest.strip_suffix(".png"));
        ["confusion.svg", "accuracy.svg", "cross_validation.svg"].contains(&name)
            || class.is_some_and(|class| class.parse::<u32>().is_ok())
    };
    let context = || format!("cannot clear {}", folder.display());
    for entry in fs::read_dir(folder).with_context(context)? {
        let name = entry.with_context(context)?.file_name();
        let Some(name) = name.to_str().filter(|name| of_a_report(name)) else { continue };
        if !written.iter().any(|written| written == name) {
            fs::remove_file(folder.join(name)).with_context(context)?;
        }
    }
    Ok(())
}

const HEAD: &str = "\
<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #2d2d32; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.2rem; margin-top: 2.5rem }
th { text-align: left; font-weight: normal; color: #66666e; padding-right: 2rem }
td { font-variant-numeric: tabular-nums }
img { max-width: 100% }
div { display: flex; flex-wrap: wrap; gap: 1rem }
figure { margin: 0; text-align: center }
.template { width: 10rem; image-rendering: pixelated; border: 1px solid #d7d7dc }
</style>
";

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Weights as a PNG image: red above zero, blue below, white at it.
fn template(weights: &[f32], height: usize, width: usize) -> Result<Vec<u8>> {
    let largest = weights.iter().fold(f32::MIN_POSITIVE, |max, w| max.max(w.abs()));
    let pixels = weights.iter().flat_map(|w| plot::diverging(w / largest));
    let pixels: Vec<u8> = pixels.collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header()?.write_image_data(&pixels)?;
    Ok(bytes)
}
