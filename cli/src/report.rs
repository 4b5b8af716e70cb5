//! What a fit looks like: a page with pictures, in a folder of its own, that needs no network.

use crate::{output::Output, plot};
use anyhow::{Context, Result};
use softmargin::{LinearModel, train::Progress};
use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

/// Makes the folder, if it is not there yet.
pub(crate) fn create_folder(folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    Ok(folder.to_owned())
}

/// All that is shown.
pub(crate) struct Report<'a> {
    pub(crate) title: String,
    /// What the program prints.
    pub(crate) table: Vec<(&'static str, String)>,
    /// The progress after so many seconds.
    pub(crate) history: &'a [(f64, Progress)],
    /// Of what the history has one entry each.
    pub(crate) unit: &'static str,
    pub(crate) model: &'a LinearModel<f32>,
    pub(crate) labels: &'a [u32],
    pub(crate) predictions: &'a [u32],
    /// Whether they are of test data.
    pub(crate) on_test: bool,
    pub(crate) class_names: &'a [String],
    /// Height and width, if the features are pixels.
    pub(crate) image_shape: Option<(usize, usize)>,
}

/// With more classes, names and numbers could not be read.
const MAX_CLASSES: usize = 40;

impl Report<'_> {
    /// Writes `index.html` and the pictures on it.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let (counts, names) = (self.confusion(), self.names());
        let write = |name: &str, bytes: &[u8]| Output::create(&folder.join(name))?.write(bytes);
        write("loss.svg", plot::curves(self.history, self.unit)?.as_bytes())?;
        let few = names.len() <= MAX_CLASSES;
        if few {
            write("confusion.svg", plot::confusion(&counts, &names)?.as_bytes())?;
            write("accuracy.svg", plot::accuracies(&counts, &names)?.as_bytes())?;
        }
        let templates = self.image_shape.filter(|_| few);
        if let Some((height, width)) = templates {
            for class in 0..names.len() {
                let weights = &self.model.weights()[class * height * width..][..height * width];
                write(&format!("template_{class}.png"), &template(weights, height, width)?)?;
            }
        }
        write("index.html", self.page(&names, few, templates.is_some()).as_bytes())
    }

    fn names(&self) -> Vec<String> {
        match self.class_names {
            [] => (0..self.model.n_classes()).map(|class| class.to_string()).collect(),
            names => names.to_vec(),
        }
    }

    /// How many samples of each class (a row) are taken for each class (a column).
    fn confusion(&self) -> Vec<Vec<usize>> {
        let c = self.model.n_classes();
        let mut counts = vec![vec![0; c]; c];
        for (label, prediction) in self.labels.iter().zip(self.predictions) {
            counts[*label as usize][*prediction as usize] += 1;
        }
        counts
    }

    fn page(&self, names: &[String], few: bool, templates: bool) -> String {
        let mut page = String::new();
        let title = escape(&self.title);
        let _ = write!(page, "{HEAD}<title>{title}</title>\n<h1>{title}</h1>\n<table>\n");
        for (name, value) in &self.table {
            let _ = writeln!(page, "<tr><th>{}</th><td>{}</td></tr>", escape(name), escape(value));
        }
        page += "</table>\n<h2>The fit</h2>\n<img src=\"loss.svg\" alt=\"The loss and the norm of its gradient\">\n";
        if few {
            let data = if self.on_test { "test" } else { "training" };
            let _ = write!(
                page,
                "<h2>On the {data} data</h2>\n<img src=\"confusion.svg\" alt=\"The confusion matrix\">\n\
                 <img src=\"accuracy.svg\" alt=\"The accuracy of each class\">\n"
            );
        }
        if templates {
            page += "<h2>The weights of each class</h2>\n\
                     <p>Pixels that speak for the class are red, those that speak against it blue.</p>\n<div>\n";
            for (class, name) in names.iter().enumerate() {
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
