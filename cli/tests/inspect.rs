//! `softmargin evaluate`, `predict` and `gradcheck`, on the bundled images and on files.

mod common;

use common::{folder, json, output, text, write};
use std::fs;

/// A model of the bundled images, and the accuracy that training reported.
fn trained(folder: &tempfile::TempDir) -> (String, f64) {
    let model = text(&folder.path().join("model.safetensors"));
    let report = json(&["train", "--json", "--max-iter", "30", "--out", &model]);
    (model, report["test_accuracy"].as_f64().unwrap())
}

#[test]
fn evaluate_agrees_with_train() {
    let folder = folder();
    let (model, accuracy) = trained(&folder);
    let report = json(&["evaluate", "--model", &model, "--json"]);
    assert_eq!(report["accuracy"].as_f64().unwrap(), accuracy);
    assert_eq!(report["samples"], 500);
    let train = json(&["evaluate", "--model", &model, "--split", "train", "--json"]);
    assert!(train["objective"].as_f64().unwrap() < report["objective"].as_f64().unwrap());
    assert!(output(&["evaluate", "--model", &model]).contains("accuracy"));
}

#[test]
fn predict_labels_and_probabilities() {
    let folder = folder();
    let (model, accuracy) = trained(&folder);
    let labels = output(&["predict", "--model", &model]);
    let mut lines = labels.lines();
    assert_eq!(lines.next(), Some("label"));
    let labels: Vec<usize> = lines.map(|line| line.parse().unwrap()).collect();
    assert_eq!(labels.len(), 500);

    let out = text(&folder.path().join("probabilities.csv"));
    assert_eq!(output(&["predict", "--proba", "--model", &model, "--out", &out]), "");
    let csv = fs::read_to_string(out).unwrap();
    assert!(csv.starts_with("class_0,class_1,"));
    for (line, label) in csv.lines().skip(1).zip(labels) {
        let p: Vec<f64> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-5);
        assert!(p.iter().all(|q| *q <= p[label]));
    }
    assert!(accuracy > 0.7);
}

#[test]
fn json_on_every_command() {
    let folder = folder();
    let (model, _) = trained(&folder);
    let csv = output(&["predict", "--model", &model]);
    let labels = json(&["predict", "--model", &model, "--json"]);
    let labels: Vec<String> =
        labels["labels"].as_array().unwrap().iter().map(|label| format!("{label}\n")).collect();
    assert_eq!(format!("label\n{}", labels.concat()), csv);
    let probabilities = json(&["predict", "--model", &model, "--json", "--proba"]);
    let rows = probabilities["probabilities"].as_array().unwrap();
    assert_eq!((rows.len(), rows[0].as_array().unwrap().len()), (500, 10));

    let [weight, bias] = ["w.npy", "b.npy"].map(|name| text(&folder.path().join(name)));
    let files = ["--model", &model, "--weight", &weight, "--bias", &bias];
    let converted = json(&[&["convert", "--to", "npy", "--json"], &files[..]].concat());
    let expected = serde_json::json!({ "classes": 10, "features": 784, "written": [weight, bias] });
    assert_eq!(converted, expected);

    let check = json(&["gradcheck", "--rows", "50", "--parameters", "20", "--json"]);
    assert!(check["worst_relative_error"].as_f64().unwrap() < 1e-6);
    assert_eq!(check["checked"], 20);
}

/// With labels, which are left out, or without.
#[test]
fn predict_from_csv() {
    let folder = folder();
    let train = write(&folder, "train.csv", "x,y,label\n1,-2,0\n-1,2,1\n2,-1,0\n-2,1,1\n");
    let model = text(&folder.path().join("model"));
    output(&["train", "--data", &train, "--out", &model]);
    let unlabelled = write(&folder, "new.csv", "x,y\n3,-3\n-3,3\n");
    assert_eq!(output(&["predict", "--model", &model, "--data", &unlabelled]), "label\n0\n1\n");
    assert_eq!(output(&["predict", "--model", &model, "--data", &train]), "label\n0\n1\n0\n1\n");
}

#[test]
fn gradcheck_passes() {
    for loss in ["cross-entropy", "hinge"] {
        let table = output(&["gradcheck", "--loss", loss, "--rows", "100", "--parameters", "60"]);
        assert!(table.contains("worst relative error"), "{table}");
    }
    let folder = folder();
    let data = write(&folder, "data.csv", "1,-2,0\n-1,2,1\n2,-1,2\n");
    assert!(output(&["gradcheck", "--data", &data]).contains("3 samples, 2 features, 3 classes"));
}
