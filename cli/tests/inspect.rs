//! `softmargin evaluate`, `predict` and `gradcheck`, on the bundled images and on files.

mod common;

use common::{LOSSES, fails, folder, json, output, text, write};
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
    let table = output(&["evaluate", "--model", &model]);
    for word in ["accuracy", "precision", "recall", "F1", "labels (rows) and predictions (columns)"]
    {
        assert!(table.contains(word), "{table}");
    }
    let matrix = report["metrics"]["confusion_matrix"].as_array().unwrap();
    let row = |row: &serde_json::Value| -> f64 {
        row.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).sum()
    };
    assert_eq!((matrix.len(), matrix.iter().map(row).sum::<f64>()), (10, 500.0));
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
    let rows = ["gradcheck", "--rows", "100", "--parameters", "60"];
    for loss in LOSSES {
        let table = output(&[&rows[..], &["--loss", loss]].concat());
        assert!(table.contains("worst relative error"), "{table}");
    }
    output(&[&rows[..], &["--label-smoothing", "0.3"]].concat());
    let folder = folder();
    let data = write(&folder, "data.csv", "1,-2,0\n-1,2,1\n2,-1,2\n");
    assert!(output(&["gradcheck", "--data", &data]).contains("3 samples, 2 features, 3 classes"));
}

/// The loss, its margin and λ are those of the model; and so is the objective.
#[test]
fn evaluate_uses_the_model_s_objective() {
    let folder = folder();
    let model = text(&folder.path().join("model"));
    let hinge = ["--loss", "hinge", "--margin", "0.5", "--l2", "0.01"];
    for extra in [&[][..], &["--standardize"], &["--scale", "2"]] {
        let train = ["train", "--json", "--max-iter", "40", "--out", &model];
        let fit = json(&[&train[..], &hinge, extra].concat());
        let evaluate = ["evaluate", "--json", "--split", "train", "--model", &model];
        let objective =
            |extra: &[&str]| json(&[&evaluate[..], extra].concat())["objective"].as_f64().unwrap();
        let trained = fit["objective"].as_f64().unwrap();
        assert!((objective(&[]) / trained - 1.0).abs() < 1e-5, "{extra:?}: {trained}");
        assert!((objective(&["--margin", "1"]) / trained - 1.0).abs() > 0.1);
        assert!((objective(&["--loss", "cross-entropy"]) / trained - 1.0).abs() > 0.1);
    }
    let proba = common::softmargin(&["predict", "--proba", "--model", &model]).assert().success();
    let stderr = String::from_utf8_lossy(&proba.get_output().stderr).into_owned();
    assert!(stderr.starts_with("warning: the model was trained with the hinge loss"), "{stderr}");
}

/// Every loss is saved with its parameters and read again, and smoothing is for cross-entropy.
#[test]
fn models_know_their_loss() {
    let folder = folder();
    let model = text(&folder.path().join("model"));
    let smoothed = ["--loss", "cross-entropy", "--label-smoothing", "0.2"];
    let arguments = LOSSES.map(|loss| vec!["--loss", loss, "--margin", "0.5"]);
    for arguments in arguments.into_iter().chain([smoothed.to_vec()]) {
        let train = ["train", "--json", "--solver", "sgd", "--epochs", "2", "--out", &model];
        let fit = json(&[&train[..], &arguments].concat());
        let evaluate = ["evaluate", "--json", "--split", "train", "--model", &model];
        let [again, trained] =
            [&json(&evaluate), &fit].map(|object| object["objective"].as_f64().unwrap());
        assert!((again / trained - 1.0).abs() < 1e-5, "{arguments:?}: {again}, {trained}");
        let info = json(&["info", "--json", &model]);
        assert_eq!(info["loss"], arguments[1].replace('-', "_"));
        let smoothing = if arguments == smoothed { 0.2.into() } else { serde_json::Value::Null };
        assert_eq!(info["label_smoothing"], smoothing);
        let margin = if arguments[1] == "cross-entropy" { None } else { Some(0.5) };
        assert_eq!(info["margin"].as_f64(), margin);
    }
    assert!(output(&["info", &model]).contains("cross_entropy, labels smoothed by 0.2"));
    // Another loss has nothing to do with the smoothing of the model.
    json(&["evaluate", "--json", "--model", &model, "--loss", "hinge"]);
    let hinge = ["train", "--loss", "squared-hinge", "--label-smoothing", "0.1"];
    fails(1, &hinge, &["label smoothing", "0.1", "squared_hinge", "only cross-entropy"]);
}

#[test]
fn info_says_what_the_file_says() {
    let folder = folder();
    let data = write(&folder, "d.csv", "len,species,wid\n1,cat,2\n2,\"dog, big\",3\n3,cat,1\n");
    let model = text(&folder.path().join("model"));
    let train =
        ["train", "--data", &data, "--label-column", "species", "--l2", "0.5", "--out", &model];
    output(&train);
    let info = json(&["info", "--json", &model]);
    assert_eq!(info["labels"], serde_json::json!(["cat", "dog, big"]));
    assert_eq!(info["schema"]["columns"], serde_json::json!(["len", "wid"]));
    assert_eq!((&info["l2"], &info["loss"]), (&0.5.into(), &"cross_entropy".into()));
    let table = output(&["info", &model]);
    for word in ["cat, dog, big", "len, wid", "species", "0.5", "cross_entropy", "softmargin 0."] {
        assert!(table.contains(word), "no {word:?} in {table}");
    }
    let predicted = output(&["predict", "--model", &model, "--data", &data]);
    assert!(
        predicted.lines().skip(1).all(|line| ["cat", "\"dog, big\""].contains(&line)),
        "{predicted}"
    );
}

/// Far from zero, `f32` weights of features as they are would lose what was learnt.
#[test]
fn standardized_far_from_zero() {
    let folder = folder();
    let mut rows = String::new();
    for i in 0..200 {
        let x = 4e6 + f64::from(i * 37 % 100);
        rows += &format!("{x},{},{}\n", i % 5, u8::from(i * 37 % 100 >= 50));
    }
    let data = write(&folder, "d.csv", rows);
    let model = text(&folder.path().join("model"));
    let fit = json(&["train", "--json", "--data", &data, "--standardize", "--out", &model]);
    let evaluated = json(&["evaluate", "--json", "--data", &data, "--model", &model]);
    assert_eq!(fit["train_accuracy"], evaluated["accuracy"]);
    let [a, b] = [&fit, &evaluated].map(|report| report["objective"].as_f64().unwrap());
    assert!((a / b - 1.0).abs() < 1e-4, "{a} {b}");
    assert_eq!(json(&["info", "--json", &model])["element"], "f64");
    let right = output(&["predict", "--data", &data, "--model", &model]);
    assert_eq!(right.lines().count(), 201);
}

/// Features of any scale.
#[test]
fn gradcheck_suits_the_scale_of_features() {
    let folder = folder();
    let mut rows = String::new();
    for i in 0..60_u32 {
        let noise = |k: u32| f64::from(i * k % 17) - 8.0;
        rows += &format!(
            "{},{},{},{},{}\n",
            1e-6 * noise(7),
            16.0 * noise(5),
            1e5 * noise(3),
            1e9 + noise(11),
            i % 3
        );
    }
    let data = write(&folder, "d.csv", rows);
    for loss in LOSSES {
        for l2 in ["0", "1e-4", "10"] {
            output(&["gradcheck", "--data", &data, "--loss", loss, "--l2", l2]);
        }
    }
}

/// It is called as everywhere else.
#[test]
fn what_is_no_model() {
    let folder = folder();
    let data = write(&folder, "data.csv", "a,label\n1,0\n2,1\n");
    for command in [&["info", &data][..], &["predict", "--model", &data]] {
        fails(1, command, &["cannot read the model", &data, "it is no safetensors file"]);
    }
    let (model, bias) = (text(&folder.path().join("model")), text(&folder.path().join("bias.npy")));
    let run =
        ["convert", "--to", "safetensors", "--weight", &data, "--bias", &bias, "--model", &model];
    fails(1, &run, &[&data, "it is no NPY file"]);
}
