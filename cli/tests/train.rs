//! `softmargin train` on the bundled images and on files: what it prints, what it writes, and that it does
//! so again.

mod common;

use common::{fails, folder, gzip, images, json, labels, output, softmargin, text, write};
use std::{fs, process::Command};

const FASHION: &[&str] = &["train", "--json", "--max-iter", "50"];

#[test]
fn without_arguments() {
    let table = output(&["train"]);
    for word in [
        "2000 samples, 784 features, 10 classes",
        "train accuracy",
        "test accuracy",
        "GFLOP/s",
        "stopped by",
    ] {
        assert!(table.contains(word), "no {word:?} in:\n{table}");
    }
}

#[test]
fn json_has_every_key() {
    let object = json(FASHION);
    let keys: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "objective",
        "seconds",
        "iterations",
        "evaluations",
        "stop_reason",
        "train_accuracy",
        "test_accuracy",
        "threads",
        "isa",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert!(object["objective"].as_f64().unwrap() < 0.3);
    assert!(object["test_accuracy"].as_f64().unwrap() > 0.8);
    assert_eq!(object["iterations"], 50);
    assert_eq!(object["stop_reason"], "max_iterations");
    assert!(object["evaluations"].as_u64().unwrap() >= 50);
}

#[test]
fn stops_where_the_objective_falls_no_further() {
    let object = json(&["train", "--json", "--l2", "1"]);
    let reason = object["stop_reason"].as_str().unwrap();
    assert!(["relative_decrease", "gradient_tolerance"].contains(&reason), "{reason}");
    assert!(object["iterations"].as_u64().unwrap() < 200);
}

#[test]
fn plain_lines_where_there_is_no_terminal() {
    let assert = softmargin(&["train", "--max-iter", "20"]).assert().success();
    let stderr = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(stderr.lines().all(|line| line.starts_with("iteration ")), "{stderr}");
    assert_eq!(stderr.lines().count(), 11);
    assert!(!stderr.contains('\u{1b}'), "escape sequences: {stderr}");
}

/// The same model to the bit, whatever the threads, and again for the same seed.
#[test]
fn reproducible() {
    let folder = folder();
    for solver in [&["--max-iter", "15"][..], &["--solver", "sgd", "--epochs", "2"]] {
        let model = |name: &str, extra: &[&str]| {
            let out = text(&folder.path().join(name));
            output(&[&["train", "--out", &out], solver, extra].concat());
            fs::read(out).unwrap()
        };
        let one = model("one", &["--threads", "1"]);
        assert!(one == model("two", &["--threads", "2"]), "two threads");
        assert!(one == model("three", &["--threads", "3"]), "three threads");
        if solver.contains(&"sgd") {
            assert!(one != model("seed", &["--seed", "8"]), "another seed");
        }
    }
}

#[test]
fn every_solver_and_loss_learns() {
    for loss in ["cross-entropy", "hinge"] {
        for solver in
            [&["--solver", "lbfgs", "--max-iter", "60"][..], &["--solver", "sgd", "--epochs", "10"]]
        {
            let object =
                json(&[&["train", "--json", "--loss", loss, "--margin", "1"], solver].concat());
            let accuracy = object["test_accuracy"].as_f64().unwrap();
            assert!(accuracy > 0.78, "{loss} {solver:?}: {accuracy}");
        }
    }
}

#[test]
fn folders_of_idx_files_plain_and_gzipped() {
    let plain = folder();
    write(&plain, "train-images-idx3-ubyte", images());
    write(&plain, "train-labels-idx1-ubyte", labels());
    let gzipped = folder();
    write(&gzipped, "train-images-idx3-ubyte.gz", gzip(&images()));
    write(&gzipped, "train-labels-idx1-ubyte.gz", gzip(&labels()));
    write(&gzipped, "t10k-images-idx3-ubyte", images());
    write(&gzipped, "t10k-labels-idx1-ubyte", labels());

    let plain = json(&["train", "--json", "--data", &text(plain.path())]);
    assert_eq!(plain["train_accuracy"], 1.0);
    assert!(plain["test_accuracy"].is_null());
    let gzipped = json(&["train", "--json", "--data", &text(gzipped.path())]);
    assert_eq!(gzipped["objective"], plain["objective"]);
    assert_eq!(gzipped["test_accuracy"], 1.0);
}

#[test]
fn csv_files() {
    let folder = folder();
    let named = write(&folder, "named.csv", "label,a,b\n0,1.5,-2\n1,-1,2e0\n0,2,-1\n1,-2,1\n");
    let last = write(&folder, "last.csv", "1.5,-2,0\r\n-1,2,1\r\n2,-1,0\r\n-2,1,1\r\n");
    let moved = write(&folder, "moved.csv", "b,label,a\n-2,0,1.5\n2,1,-1\n-1,0,2\n1,1,-2\n");
    let other = write(&folder, "other.csv", "a, y ,b\n1.5,0,-2\n-1,1.0,2\n2,0,-1\n-2,1,1\n");
    let objective = |arguments: &[&str]| {
        let object = json(&[&["train", "--json", "--data"], arguments].concat());
        assert_eq!(object["train_accuracy"], 1.0);
        object["objective"].as_f64().unwrap()
    };
    let expected = objective(&[&named]);
    assert_eq!(objective(&[&last]), expected);
    assert_eq!(objective(&[&other, "--label-column", "y"]), expected);
    assert_eq!(objective(&[&other, "--label-column", "1"]), expected);
    // Matched by name; where there is none, the label could be any column.
    assert_eq!(
        json(&["train", "--json", "--data", &named, "--test", &moved])["test_accuracy"],
        1.0
    );
    fails(1, &["train", "--data", &named, "--test", &last], &["last.csv", "--label-column"]);
}

/// PyTorch's layout, as its own reader would find it.
#[test]
fn the_model_file_is_safetensors() {
    let folder = folder();
    let out = text(&folder.path().join("model.safetensors"));
    output(&["train", "--max-iter", "5", "--out", &out]);
    let bytes = fs::read(&out).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let (weight, bias) = (tensors.tensor("weight").unwrap(), tensors.tensor("bias").unwrap());
    assert_eq!((weight.shape(), bias.shape()), (&[10, 784][..], &[10][..]));
    assert_eq!((weight.dtype(), bias.dtype()), (safetensors::Dtype::F32, safetensors::Dtype::F32));
    assert_eq!(tensors.names().len(), 2);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file was left");
}

#[test]
fn a_reader_that_has_had_enough() {
    // The pipe is closed before the table is written.
    let binary = assert_cmd::cargo::cargo_bin("softmargin");
    let script = format!(
        "{} train --max-iter 30 2>/dev/null | true; exit ${{PIPESTATUS[0]}}",
        binary.display()
    );
    let status = Command::new("bash").args(["-c", &script]).status().unwrap();
    assert_eq!(status.code(), Some(0));
}
