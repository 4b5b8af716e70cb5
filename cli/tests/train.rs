//! `softmargin train` on the bundled images and on files: what it prints, what it writes, and that it does
//! so again.

mod common;

use common::{
    LOSSES, fails, folder, gzip, images, json, labels, npy, output, softmargin, text, write,
};
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
    let expected = [
        "classes",
        "converged",
        "cross_validation",
        "evaluations",
        "features",
        "gap",
        "isa",
        "iterations",
        "l2",
        "l2_path",
        "metrics",
        "metrics_of",
        "objective",
        "processes",
        "resumed_at",
        "samples",
        "seconds",
        "stop_reason",
        "test_accuracy",
        "threads",
        "train_accuracy",
        "validation_accuracy",
        "validation_loss",
    ];
    assert_eq!(keys, expected);
    assert!(object["objective"].as_f64().unwrap() < 0.3);
    assert!(object["test_accuracy"].as_f64().unwrap() > 0.8);
    assert_eq!(object["iterations"], 50);
    assert_eq!(object["stop_reason"], "max_iterations");
    assert_eq!(object["converged"], false);
    assert_eq!(object["metrics"]["classes"].as_array().unwrap().len(), 10);
    assert!(object["evaluations"].as_u64().unwrap() >= 50);
    // The optimum is 0.134942; so far from it the bound is a loose one.
    let (objective, gap) = (object["objective"].as_f64().unwrap(), object["gap"].as_f64().unwrap());
    assert!(objective - 0.134_942 <= gap && gap < 10.0, "{objective} is at most {gap} too high");
}

#[test]
fn stops_where_the_objective_falls_no_further() {
    let object = json(&["train", "--json", "--l2", "1"]);
    let reason = object["stop_reason"].as_str().unwrap();
    assert!(["relative_decrease", "gradient_tolerance"].contains(&reason), "{reason}");
    assert!(object["iterations"].as_u64().unwrap() < 200);
}

/// A sample far from all others, on its side of the decision, has curvature at the start alone: steps that are short for it
/// are no optimum.
#[test]
fn one_sample_far_from_all_others() {
    let folder = folder();
    let mut rows = "a,label\n".to_owned();
    for i in 0..12 {
        let x = if i == 6 { 999_999.0 } else { 0.5 * f64::from(i) };
        rows += &format!("{x},{}\n", i / 6);
    }
    let data = write(&folder, "far.csv", rows);
    for (loss, optimum) in [("cross-entropy", 0.005_915), ("squared-hinge", 0.000_199_8)] {
        let fit = json(&["train", "--json", "--data", &data, "--loss", loss]);
        let objective = fit["objective"].as_f64().unwrap();
        assert!(objective < 1.01 * optimum, "{loss}: {objective}");
    }
}

/// Unix times within some days: in `f32`, what a fit gains may be lost where the model is one of the features as they are.
#[test]
fn features_far_from_zero() {
    let folder = folder();
    let mut rows = "time,b,label\n".to_owned();
    for i in 0..200_u64 {
        let time = 1_700_000_000 + i * 7_919_000 % 259_200;
        rows += &format!("{time},{},{}\n", i * i % 17, i % 3);
    }
    let data = write(&folder, "times.csv", rows);
    let zeros = 2.0;
    for solver in ["newton", "lbfgs"] {
        let run =
            ["train", "--json", "--data", &data, "--loss", "squared-hinge", "--solver", solver];
        let assert = softmargin(&run).assert();
        let (code, stdout) = (assert.get_output().status.code(), &assert.get_output().stdout);
        let stderr = String::from_utf8_lossy(&assert.get_output().stderr);
        assert!(stderr.contains("the values of \"time\" lie far from 0"), "{stderr}");
        assert!(stderr.contains("--standardize"), "{stderr}");
        match code {
            Some(0) => {
                let object: serde_json::Value = serde_json::from_slice(stdout).unwrap();
                assert!(object["objective"].as_f64().unwrap() <= zeros, "{solver}: {object}");
            }
            _ => assert!(code == Some(1) && stderr.contains("the fit failed"), "{stderr}"),
        }
    }
    // All of them are one in `f32`.
    let rows: String = (0..50).map(|i| format!("{},{}\n", 1_700_000_000 + i, i % 2)).collect();
    let data = write(&folder, "seconds.csv", rows);
    let assert = softmargin(&["train", "--data", &data]).assert().success();
    let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(stderr.contains("the values of feature 0 lie far from 0"), "{stderr}");
}

/// Numbers of ten digits, as far from each other as from zero, of which some are the same in `f32`.
#[test]
fn identifiers_among_the_features() {
    let folder = folder();
    let warned_of = |name: &str, id: &dyn Fn(u64) -> String| {
        let rows: String = (0..50).map(|i| format!("{},{},{}\n", id(i), i % 7, i % 2)).collect();
        let data = write(&folder, name, format!("id,b,label\n{rows}"));
        let assert = softmargin(&["train", "--data", &data]).assert().success();
        let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        let identifiers =
            stderr.contains("the values of \"id\" are whole numbers with more digits");
        assert!(!stderr.contains("\"b\""), "{stderr}");
        assert!(!identifiers || stderr.contains("--ignore-columns"), "{stderr}");
        identifiers
    };
    let spread = |i: u64| 1_000_000_001 + i * 7_919_104_729 % 8_999_999_989;
    assert!(warned_of("spread.csv", &|i| spread(i).to_string()));
    // Two runs of them.
    assert!(warned_of("runs.csv", &|i| (1_000_000_000 + i % 2 * 8_000_000_000 + i).to_string()));
    // Those that f32 has, those that recur, and amounts are none.
    assert!(!warned_of("short.csv", &|i| (1_000_000 + i * 7919).to_string()));
    assert!(!warned_of("twice.csv", &|i| spread(i / 2).to_string()));
    assert!(!warned_of("amounts.csv", &|i| (i * i * i * 99_991 + 7).to_string()));
    assert!(!warned_of("fractions.csv", &|i| format!("{}.5", spread(i))));
}

/// What `train` says of features that are lost where they are read, or that are none.
#[test]
fn features_that_tell_nothing() {
    let folder = folder();
    let said_of = |data: &str, more: &[&str]| {
        let run = [&["train", "--max-iter", "2", "--data", data], more].concat();
        let assert = softmargin(&run).assert().success();
        String::from_utf8_lossy(&assert.get_output().stderr).into_owned()
    };
    let rows: String = (1..=40).map(|i| format!("{i},{},{}\n", i % 7, i / 20)).collect();
    let data = write(&folder, "counted.csv", format!("Id,b,label\n{rows}"));
    let stderr = said_of(&data, &[]);
    let counts = "the values of \"Id\" count the rows";
    assert!(stderr.contains(counts) && stderr.contains("--ignore-columns"), "{stderr}");
    assert!(!said_of(&data, &["--ignore-columns", "Id"]).contains("warning: counted.csv"));
    let data = write(&folder, "small.csv", "a,b,label\n1e-50,2,0\n3e-50,3,1\n0,1,0\n");
    let stderr = said_of(&data, &[]);
    assert!(stderr.contains("the values of \"a\" are too small for f32"), "{stderr}");
    assert!(!stderr.contains("far from 0"), "{stderr}");
    // In arrays, of integers and of f64.
    let labels: String = (0..50).map(|i| format!("{}\n", i % 2)).collect();
    let labels = write(&folder, "labels.txt", labels);
    let ids = |i: i64, l: i64| if l == 0 { 7_000_000_000 + i } else { i % 7 };
    let of = |element: &str, bytes: &dyn Fn(i64) -> Vec<u8>| {
        let data: Vec<u8> = (0..100).flat_map(|i| bytes(ids(i / 2, i % 2))).collect();
        let path = write(&folder, "ids.npy", npy(element, false, "(50, 2)", &data));
        said_of(&path, &["--labels", &labels])
    };
    for stderr in [
        of("<i8", &|value| value.to_le_bytes().to_vec()),
        of("<f8", &|value| (value as f64).to_le_bytes().to_vec()),
    ] {
        assert!(stderr.contains("the values of feature 0 lie far from 0"), "{stderr}");
    }
}

/// A number that is none where it is computed with.
#[test]
fn factors_too_small_for_f32() {
    for run in [["--scale", "1e-50"], ["--scale", "1e-300"], ["--class-weight", "1=1e-50"]] {
        fails(2, &["train", run[0], run[1]], &["too small for f32"]);
    }
}

#[test]
fn plain_lines_where_there_is_no_terminal() {
    let assert = softmargin(&["train", "--max-iter", "20"]).assert().success();
    let stderr = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    let (warnings, lines): (Vec<&str>, Vec<&str>) =
        stderr.lines().partition(|line| line.starts_with("warning: "));
    assert!(lines.iter().all(|line| line.starts_with("iteration ")), "{stderr}");
    assert_eq!(lines.len(), 11);
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("not converged: stopped after 20 iterations"), "{stderr}");
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
    for loss in LOSSES {
        let newton = ["--solver", "newton", "--max-iter", "10"];
        for solver in [
            &["--solver", "lbfgs", "--max-iter", "60"][..],
            &newton,
            &["--solver", "sgd", "--epochs", "10"],
        ] {
            if loss == "crammer-singer" && solver[1] == "lbfgs" {
                let arguments = [&["train", "--loss", loss], solver].concat();
                fails(1, &arguments, &["--solver dual", "sgd", "zeros"]);
                continue;
            }
            if solver == newton && ["hinge", "crammer-singer"].contains(&loss) {
                let arguments = [&["train", "--loss", loss], solver].concat();
                fails(1, &arguments, &[&loss.replace('-', "_"), "kinks"]);
                continue;
            }
            let object =
                json(&[&["train", "--json", "--loss", loss, "--margin", "1"], solver].concat());
            let accuracy = object["test_accuracy"].as_f64().unwrap();
            // The squared hinge learns the outliers of so few samples by heart.
            let least = if loss == "squared-hinge" { 0.7 } else { 0.78 };
            assert!(accuracy > least, "{loss} {solver:?}: {accuracy}");
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

/// What the samples of a class count: in the loss, not in what is counted afterwards.
#[test]
fn class_weights() {
    let folder = folder();
    let mut rows = "x,species\n".to_owned();
    (0..40).for_each(|i| {
        rows += &format!("{},{}\n", i % 7, if i % 10 == 0 { "rare, odd" } else { "often" })
            .replace("rare, odd", "\"rare, odd\"")
    });
    let data = write(&folder, "data.csv", rows);
    let fit = |weights: &[&str]| json(&[&["train", "--json", "--data", &data], weights].concat());
    let plain = fit(&[]);
    let balanced = fit(&["--class-weight", "balanced"]);
    // N / (C n): 4 of the 40 samples are rare.
    let by_name = fit(&["--class-weight", "\"rare, odd=5\",often=0.5555556"]);
    let objective = |fit: &serde_json::Value| fit["objective"].as_f64().unwrap();
    assert!((objective(&balanced) - objective(&by_name)).abs() < 1e-6);
    assert!((objective(&plain) - objective(&balanced)).abs() > 0.1);
    let recall = |fit: &serde_json::Value| fit["metrics"]["classes"][1]["recall"].as_f64().unwrap();
    assert!(recall(&plain) == 0.0 && recall(&balanced) > 0.4, "{balanced}");
    for (weights, word) in
        [("seldom=2", "no class \"seldom\""), ("often=0,\"rare, odd=0\"", "sum to 0")]
    {
        common::fails(1, &["train", "--data", &data, "--class-weight", weights], &[word]);
    }
    common::fails(2, &["train", "--data", &data, "--class-weight", "often"], &[]);
}

#[test]
fn weight_column() {
    let folder = folder();
    let weighted = write(&folder, "w.csv", "x,label,w\n1,0,2\n2,1,1\n3,0,0\n4,1,3\n");
    let repeated = write(&folder, "r.csv", "x,label\n1,0\n1,0\n2,1\n4,1\n4,1\n4,1\n");
    let model = text(&folder.path().join("model"));
    let train = ["train", "--json", "--l2", "0.01", "--data"];
    let a = json(&[&train[..], &[&weighted, "--weight-column", "w", "--out", &model]].concat());
    let b = json(&[&train[..], &[&repeated]].concat());
    let objective = |fit: &serde_json::Value| fit["objective"].as_f64().unwrap();
    assert!((objective(&a) - objective(&b)).abs() < 1e-6, "{a} {b}");
    assert_eq!(a["metrics"]["classes"][1]["samples"], 4.0);
    // The model knows the column.
    let evaluated = json(&["evaluate", "--json", "--model", &model, "--data", &weighted]);
    assert!((objective(&evaluated) - objective(&a)).abs() < 1e-6, "{evaluated}");
    // Where no sample counts, the file is named: of those to train on, and of those to test on.
    let zeros = write(&folder, "zeros.csv", "x,label,w\n1,0,0\n2,1,0.0\n3,0,0\n4,1,-0\n");
    let words = ["zeros.csv: ", "of all 4 samples sum to 0"];
    for run in [
        &["train", "--weight-column", "w", "--data", &zeros][..],
        &["train", "--weight-column", "w", "--data", &zeros, "--cv", "2"],
        &["train", "--weight-column", "w", "--data", &weighted, "--test", &zeros],
        &["evaluate", "--model", &model, "--data", &zeros],
    ] {
        common::fails(1, run, &words);
    }
    assert_eq!(output(&["predict", "--model", &model, "--data", &zeros]).lines().count(), 5);
    // Where a part of them has no sample that counts, the part.
    let one = write(&folder, "one.csv", "x,label,w\n1,0,0\n2,1,0\n3,0,1\n4,1,0\n");
    for seed in ["0", "1", "2", "3"] {
        let part = ["train", "--weight-column", "w", "--data", &one, "--validation", "0.5"];
        let words = ["--validation: of the samples that are ", "of all 2 samples sum to 0"];
        common::fails(1, &[&part[..], &["--seed", seed]].concat(), &words);
    }
    // And says so where it is missing.
    let said = |data: &str| {
        let assert =
            softmargin(&["evaluate", "--model", &model, "--data", data]).assert().success();
        String::from_utf8_lossy(&assert.get_output().stderr).into_owned()
    };
    assert!(said(&repeated).contains("warning: the model was trained with sample weights"));
    assert!(said(&repeated).contains("those of column \"w\""), "{}", said(&repeated));
    assert!(!said(&weighted).contains("sample weights"), "{}", said(&weighted));
}

/// Numbers that are very small or very large have few zeros, wherever they are printed.
#[test]
fn extremes_in_scientific_notation() {
    let folder = folder();
    let data = write(&folder, "a.csv", "x,label\n1,0\n2,1\n3,0\n4,1\n2,0\n5,1\n");
    let model = text(&folder.path().join("model"));
    let train = ["train", "--data", &data, "--out", &model];
    output(&[&train[..], &["--l2", "1e-300"]].concat());
    let info = output(&["info", &model]);
    assert!(info.lines().any(|line| line.starts_with('λ') && line.ends_with(" 1e-300")), "{info}");
    let cv = output(&[&train[..], &["--cv", "2", "--l2-path", "1e-300,1e-3"]].concat());
    assert!(cv.contains("1e-300") && !cv.contains("0.000000000"), "{cv}");
}

/// In `f32`, no gradient is zero: that the digits are used up is told, and what to do.
#[test]
fn a_tolerance_beyond_the_digits() {
    let train = ["train", "--solver", "newton", "--gradient-tolerance", "1e-30", "--json"];
    let assert = softmargin(&train).assert().success();
    let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    for word in
        ["not converged", "line_search", "digits of f32", "--gradient-tolerance", "--standardize"]
    {
        assert!(stderr.contains(word), "no {word:?} in: {stderr}");
    }
}

/// Held-out samples are no training samples, and what they chose is told.
#[test]
fn validation_is_told() {
    let path = ["--validation", "0.2", "--l2-path", "0.1,0.001"];
    let fit =
        json(&[&["train", "--json", "--max-iter", "30", "--isa", "portable"], &path[..]].concat());
    assert_eq!(fit["isa"], "portable");
    let points = fit["l2_path"].as_array().unwrap();
    assert_eq!(points.iter().map(|p| p["l2"].as_f64().unwrap()).collect::<Vec<_>>(), [0.1, 0.001]);
    let best = points.iter().find(|point| point["l2"] == fit["l2"]).expect("the chosen one");
    assert_eq!(best["validation_accuracy"], fit["validation_accuracy"]);
    assert_eq!(best["validation_loss"], fit["validation_loss"]);
    let samples: f64 = fit["metrics"]["classes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|class| class["samples"].as_f64().unwrap())
        .sum();
    assert_eq!((samples, &fit["metrics_of"]), (500.0, &"test".into()));
}

/// What is given in vain is said; a default is not given.
#[test]
fn arguments_without_effect() {
    let warnings = |arguments: &[&str]| {
        let assert =
            softmargin(&[&["train", "--l2", "0.1"], arguments].concat()).assert().success();
        let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        let lines = stderr.lines().filter(|line| line.contains("has no effect"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    for arguments in [&["--solver", "sgd", "--epochs", "1"][..], &["--max-iter", "2"]] {
        assert_eq!(warnings(arguments), [""; 0], "{arguments:?}");
    }
    let of_lbfgs = warnings(&["--max-iter", "2", "--nesterov", "--epochs", "1"]);
    assert_eq!(of_lbfgs.len(), 2, "{of_lbfgs:?}");
    assert!(of_lbfgs[0].contains("--epochs") && of_lbfgs[0].contains("--solver lbfgs"));
    let of_sgd =
        warnings(&["--solver", "sgd", "--epochs", "1", "--max-iter", "3", "--margin", "2"]);
    assert!(of_sgd[0].contains("--max-iter") && of_sgd[1].contains("--loss cross-entropy"));
    let path = ["train", "--validation", "0.2", "--l2-path", "1,0.1", "--patience", "3"];
    fails(2, &path, &["--l2-path", "--patience"]);
}

/// A path is for every solver that goes to the optimum, which they all find; also where the features do not fit memory.
#[test]
fn a_path_of_every_solver() {
    let folder = folder();
    let values: Vec<f64> = (0..600).map(|i| f64::from(i * i % 37) / 18.5 - 1.0).collect();
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let labels: Vec<u8> = values.chunks(3).map(|row| u8::from(row[0] > row[1] * row[2])).collect();
    let data = write(&folder, "x.npy", npy("<f8", false, "(200, 3)", &bytes));
    let labels = write(&folder, "y.npy", npy("|u1", false, "(200,)", &labels));
    let train = ["train", "--json", "--data", &data, "--labels", &labels, "--validation", "0.25"];
    let train = [&train[..], &["--loss", "squared-hinge", "--l2-path", "0.01,1"]].concat();
    let first = json(&train);
    for more in [&["--solver", "newton"][..], &["--max-memory", "0"]] {
        let other = json(&[&train[..], more].concat());
        for (point, expected) in [(&other, &first), (&other["l2_path"][0], &first["l2_path"][0])] {
            assert_eq!(point["l2"], expected["l2"]);
            for name in ["validation_loss", "validation_accuracy"] {
                let [point, expected] = [point, expected].map(|x| x[name].as_f64().expect("one"));
                assert!(
                    (point - expected).abs() < 1e-3,
                    "{more:?}, {name}: {point} and {expected}"
                );
            }
        }
    }

    // Of a loss with kinks, dual ascent is the default, whose bound holds for each λ.
    let hinge = [&train[..8], &["--loss", "hinge", "--l2-path"]].concat();
    let path = json(&[&hinge[..], &["1,0.01"]].concat());
    assert_eq!(path["stop_reason"], "gap");
    fails(1, &[&hinge[..], &["1,0", "--solver", "dual"]].concat(), &["λ = 0", "dual"]);
    fails(1, &[&hinge[..], &["1", "--solver", "sgd"]].concat(), &["--l2-path", "sgd does not"]);
}

/// Pictures of an earlier report are none of this one.
#[test]
fn a_report_folder_is_reused() {
    let folder = folder();
    let report = text(&folder.path().join("report"));
    output(&["train", "--max-iter", "2", "--report", &report]);
    let files = || -> Vec<String> {
        let entries = fs::read_dir(&report).unwrap();
        let mut names: Vec<String> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert!(files().contains(&"template_9.png".to_owned()));
    fs::write(folder.path().join("report/notes.txt"), "mine").unwrap();
    let data = write(&folder, "d.csv", "1,-2,0\n-1,2,1\n2,-1,0\n");
    output(&["train", "--data", &data, "--report", &report]);
    assert_eq!(files(), ["accuracy.svg", "confusion.svg", "index.html", "loss.svg", "notes.txt"]);
}

#[test]
fn arguments_that_do_not_fit() {
    let folder = folder();
    let data = write(&folder, "d.csv", "1,-2,3,4,0\n-1,2,1,1,1\n2,-1,0,1,0\n");
    let shape = |shape: &'static str| ["train", "--data", &data, "--image-shape", shape];
    common::fails(1, &shape("3x3"), &["--image-shape 3x3", "4 features"]);
    let huge = "4294967297x4294967296";
    common::fails(1, &shape(huge), &["--image-shape", "4 features"]);
    output(&shape("2x2"));
    common::fails(2, &["train", "--threads", "100000"], &["at most 1024"]);
    common::fails(2, &["train", "--class-names", "a,b,a"], &["twice"]);
    common::fails(2, &["train", "--class-names", "a,,b"], &["empty"]);
    common::fails(1, &["train", "--class-names", "a,b"], &["2 names", "10 distinct labels"]);
    // Other names would go to the labels in their order, and so a name to another label.
    let folder = common::folder();
    let table = common::write(&folder, "t.csv", "a,label\n1,neg\n2,pos\n");
    let train = ["train", "--data", &table, "--class-names", "pos,other"];
    common::fails(1, &train, &["\"pos\" is among the names", "\"neg\" is not"]);
}

/// A fit that is no better than its start has failed: nothing is written.
#[test]
fn a_fit_that_fails_leaves_nothing() {
    let folder = folder();
    let model = folder.path().join("model");
    let data = write(&folder, "d.csv", "1e30,0\n-1e30,1\n2e30,0\n-3e30,1\n");
    let out = text(&model);
    let assert = softmargin(&["train", "--data", &data, "--l2", "1e38", "--out", &out]).assert();
    let output = assert.get_output();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || stderr.contains("error: "), "{stderr}");
    assert_eq!(output.status.success(), model.exists(), "{stderr}");
}
