//! Models go to scikit-learn and PyTorch and come from them, and predict the same there. `SOFTMARGIN_PYTHON`
//! names a Python that has `python/requirements.txt`, and PyTorch if that is to be tested, too; without it the
//! test is skipped.

mod common;

use common::{folder, json, output, text};
use serde_json::Value;
use std::process::Command;

fn python(script: &str, arguments: &[&str]) -> Option<String> {
    let Ok(python) = std::env::var("SOFTMARGIN_PYTHON") else {
        eprintln!("skipped: SOFTMARGIN_PYTHON names no Python");
        return None;
    };
    let script = format!("{}/tests/python/{script}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(python).arg(script).args(arguments).output().expect("a Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        value => vec![value.as_f64().expect("a number")],
    }
}

#[test]
fn models_predict_the_same_in_python() {
    let folder = folder();
    let path = |name: &str| text(&folder.path().join(name));
    let Some(_) = python("make_data.py", &[&text(folder.path())]) else { return };
    let (data, labels, model) = (path("features.npy"), path("labels.npy"), path("model"));
    output(&["train", "--data", &data, "--labels", &labels, "--standardize", "--out", &model]);
    let predict = |model: &str, proba: &[&str]| {
        json(&[&["predict", "--model", model, "--data", &data, "--json"], proba].concat())
    };
    let ours = numbers(&predict(&model, &["--proba"])["probabilities"]);
    let labels = numbers(&predict(&model, &[])["labels"]);

    let theirs = python("load_model.py", &[&model, &data]).expect("a Python");
    let theirs: Value = serde_json::from_str(&theirs).expect("JSON");
    let libraries = theirs.as_object().expect("an object");
    assert!(libraries.contains_key("scikit-learn"));
    for (library, predicted) in libraries {
        eprintln!("{library}");
        assert_eq!(numbers(&predicted["labels"]), labels, "{library}");
        let probabilities = numbers(&predicted["probabilities"]);
        assert_eq!(probabilities.len(), ours.len());
        for (theirs, ours) in probabilities.iter().zip(&ours) {
            assert!((theirs - ours).abs() < 1e-5, "{library}: {theirs}, {ours}");
        }
    }

    // And the other way: what scikit-learn has trained.
    let (weight, bias, converted) = (path("coef.npy"), path("intercept.npy"), path("converted"));
    let files = ["--weight", &weight, "--bias", &bias, "--model", &converted];
    output(&[&["convert", "--to", "safetensors"], &files[..]].concat());
    let predicted = output(&["predict", "--model", &converted, "--data", &data]);
    let expected = std::fs::read_to_string(path("expected.csv")).expect("predictions");
    assert_eq!(predicted, expected);
}
