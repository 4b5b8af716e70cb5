//! Inputs that once went wrong, replayed against values that were computed without this program.

mod common;

use common::{fails, folder, json, output, softmargin, text};
use serde_json::Value;
use std::{fs, path::Path, time::Instant};

/// The path of an input.
fn case(name: &str) -> String {
    format!("{}/tests/cases/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// What is known of a case.
fn right(name: &str) -> Value {
    let path = case(&format!("{name}/right.json"));
    serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

fn close(actual: &Value, expected: f64, tolerance: f64) {
    let actual = number(actual);
    assert!((actual - expected).abs() <= tolerance * expected.abs(), "{actual}, not {expected}");
}

fn train(arguments: &[&str]) -> Value {
    json(&[&["train", "--json"], arguments].concat())
}

/// What the program says beside its result.
fn said(arguments: &[&str]) -> String {
    let assert = softmargin(arguments).assert().success();
    String::from_utf8_lossy(&assert.get_output().stderr).into_owned()
}

/// The lines after the header.
fn labels(csv: &str) -> Vec<i64> {
    csv.lines().skip(1).map(|line| line.parse().expect("a number")).collect()
}

fn integers(value: &Value) -> Vec<i64> {
    value.as_array().expect("an array").iter().map(|v| v.as_i64().expect("whole")).collect()
}

#[test]
fn binary_coef() {
    let (right, folder) = (right("binary-coef"), folder());
    let model = text(&folder.path().join("m.safetensors"));
    let [coef, intercept] =
        ["coef.npy", "intercept.npy"].map(|f| case(&format!("binary-coef/{f}")));
    let files = ["--weight", &coef, "--bias", &intercept, "--model", &model];
    output(&[&["convert", "--to", "safetensors"], &files[..]].concat());
    let rows = case("binary-coef/rows.csv");
    let predict = ["predict", "--model", &model, "--data", &rows];
    assert_eq!(labels(&output(&predict)), integers(&right["labels"]));
    let proba = json(&[&predict[..], &["--proba", "--json"]].concat());
    let expected = right["probability_of_class_1"].as_array().expect("an array");
    for (row, expected) in proba["probabilities"].as_array().expect("rows").iter().zip(expected) {
        close(&row[1], number(expected), 1e-6);
    }
}

#[test]
fn finite_called_infinite() {
    let path = |name: &str| case(&format!("finite-called-infinite/{name}"));
    let (csv, svm, npy, labels) =
        (path("big.csv"), path("big.svm"), path("big.npy"), path("big_labels.npy"));
    let too_large = "too large for f32";
    fails(1, &["train", "--data", &csv], &[&csv, "line 2", "column 1", "1e39", too_large]);
    fails(1, &["train", "--data", &svm], &[&svm, "line 1", "1.79769313486e+308", too_large]);
    // Also where it is converted chunk by chunk.
    for extra in [&[][..], &["--max-memory", "0"], &["--max-memory", "0", "--standardize"]] {
        let train = [&["train", "--data", &npy, "--labels", &labels], extra].concat();
        fails(1, &train, &[&npy, "row 0, feature 0", "1e300", too_large]);
    }
}

#[test]
fn first_sample_dropped() {
    for (name, cell) in [("na.csv", "\"NA\""), ("empty.csv", "\"\"")] {
        let path = case(&format!("first-sample-dropped/{name}"));
        fails(1, &["train", "--data", &path], &[&path, "line 1", "column 2", cell]);
    }
}

/// One table as it comes from many programs.
#[test]
fn gaps() {
    let gaps = |name: &str| case(&format!("gaps/{name}"));
    let all = 0.106_154_232;
    for (name, optimum) in [
        ("index_column.csv", all),
        ("semicolons.csv", all),
        ("strings.csv", all),
        ("tabs.tsv", all),
        ("table.csv.gz", all),
        ("plus_minus_one.csv", 0.118_021_551),
        ("a1a_like", 0.102_122_630),
        ("a1a_like.svm.gz", 0.102_122_630),
    ] {
        let fit = train(&["--data", &gaps(name)]);
        assert_eq!(fit["converged"], true, "{name}");
        close(&fit["objective"], optimum, 1e-5);
    }
    for labels in ["labels.npy", "labels_column.npy"] {
        for (name, optimum) in [("fortran.npy", all), ("int64.npy", 0.097_630_497)] {
            let fit = train(&["--data", &gaps(name), "--labels", &gaps(labels)]);
            close(&fit["objective"], optimum, 1e-5);
        }
    }
    assert_eq!(train(&["--data", &gaps("bom.svm")])["samples"], 2);
    let names = said(&["train", "--data", &gaps("index_column.csv")]);
    assert!(names.contains("header: yes"), "{names}");
    assert!(names.contains("ignored") && names.contains("counts the rows"), "{names}");
}

/// Labels come out as they went in.
#[test]
fn labels_as_people_have_them() {
    let folder = folder();
    for (name, first, distinct) in [
        ("strings.csv", "setosa", &["setosa", "versicolor", "virginica"][..]),
        ("plus_minus_one.csv", "-1", &["-1", "1"]),
    ] {
        let (model, data) = (text(&folder.path().join(name)), case(&format!("gaps/{name}")));
        output(&["train", "--data", &data, "--out", &model]);
        let predicted = output(&["predict", "--model", &model, "--data", &data]);
        assert_eq!(predicted.lines().nth(1), Some(first));
        let mut labels: Vec<&str> = predicted.lines().skip(1).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels, distinct);
        let table = output(&["evaluate", "--model", &model, "--data", &data]);
        assert!(table.contains(&format!("\n{first} ")), "{table}");
    }
}

/// The optimum, or no claim of one.
#[test]
fn hinge_far_from_optimum() {
    let right = right("hinge-far-from-optimum");
    for name in ["chemistry", "bank"] {
        let data = case(&format!("hinge-far-from-optimum/{name}.csv"));
        let arguments = ["train", "--data", &data, "--loss", "hinge", "--l2", "0", "--json"];
        let optimum = number(&right[format!("optimum_{name}")]);
        let fit = json(&arguments);
        let near = number(&fit["objective"]) <= 1.01 * optimum;
        if !near {
            assert_eq!(fit["converged"], false, "{name}: {fit}");
            assert!(said(&arguments).contains("warning: not converged"), "{name}");
        }
    }
}

#[test]
fn int8_labels() {
    let fit = train(&["--data", &case("int8-labels/data.safetensors")]);
    close(&fit["objective"], number(&right("int8-labels")["optimum"]), 1e-5);
}

#[test]
fn label_column_forgotten() {
    let (right, folder) = (right("label-column-forgotten"), folder());
    let model = text(&folder.path().join("m.safetensors"));
    let pixels = case("label-column-forgotten/pixels.csv");
    let digit = ["--label-column", "digit"];
    let fit = train(&[&["--data", &pixels, "--out", &model], &digit[..]].concat());
    close(&fit["objective"], number(&right["optimum"]), 0.02);
    let predicted = output(&["predict", "--model", &model, "--data", &pixels]);
    assert_eq!(labels(&predicted), integers(&right["labels"]));
    let reversed = case("label-column-forgotten/reversed.csv");
    for columns in [&digit[..], &[]] {
        let evaluate = ["evaluate", "--model", &model, "--data", &reversed, "--json"];
        assert_eq!(json(&[&evaluate, columns].concat())["accuracy"], 1.0);
    }
}

#[test]
fn labels_are_amounts() {
    for (name, words) in [
        ("price.csv", ["line 2", "221900", "4 distinct labels", "604000"]),
        ("stamp.csv", ["line 2", "1700000000", "3 distinct labels", "1700000120"]),
    ] {
        let (path, start) = (case(&format!("labels-are-amounts/{name}")), Instant::now());
        fails(1, &["train", "--data", &path], &[&[&*path, "--max-classes"], &words[..]].concat());
        assert!(start.elapsed().as_secs() < 5);
    }
}

#[test]
fn multi_member_gzip() {
    let [two, one] = ["two-members", "one-member"]
        .map(|name| train(&["--data", &case(&format!("multi-member-gzip/{name}"))]));
    assert_eq!(two["samples"], right("multi-member-gzip")["samples"]);
    assert_eq!(two["objective"], one["objective"]);
}

#[test]
fn numeric_header() {
    let (right, data) = (right("numeric-header"), case("numeric-header/table.csv"));
    let fit = train(&["--data", &data]);
    assert_eq!((&fit["samples"], &fit["classes"]), (&right["samples"], &right["classes"]));
    close(&fit["objective"], number(&right["optimum"]), 1e-5);
    assert!(said(&["train", "--data", &data]).contains("header: yes (4 names)"));
}

/// Trained, or an error: no model of zeros that passes for one.
#[test]
fn sgd_explodes_silently() {
    let (right, folder) = (right("sgd-explodes-silently"), folder());
    let model = folder.path().join("m.safetensors");
    let (data, out) = (case("sgd-explodes-silently/table.csv"), text(&model));
    for l2 in ["10", "100"] {
        let fit = train(&["--data", &data, "--solver", "sgd", "--l2", l2, "--out", &out]);
        let objective = number(&fit["objective"]);
        assert!(objective < number(&right["objective_of_zeros"]), "λ = {l2}: {fit}");
        let optimum = number(&right[format!("optimum_l2_{l2}")]);
        assert!(objective < 1.02 * optimum, "λ = {l2}: {objective}, not {optimum}");
        assert!(Path::new(&model).exists());
    }
}

#[test]
fn standardize_constant() {
    let (right, folder) = (right("standardize-constant"), folder());
    let model = text(&folder.path().join("m.safetensors"));
    let data = case("standardize-constant/table.csv");
    let fit = train(&["--data", &data, "--standardize", "--out", &model]);
    close(&fit["objective"], number(&right["objective_in_standardised_space"]), 1e-3);
    let without = ["evaluate", "--model", &model, "--data", &data, "--json", "--l2", "0"];
    let evaluated = json(&without);
    close(&evaluated["objective"], number(&right["mean_loss_of_the_saved_model_without_l2"]), 1e-3);
    assert_eq!(evaluated["accuracy"], right["accuracy_of_the_saved_model"]);
    // With λ as in training, the objective of training.
    close(&json(&without[..6])["objective"], number(&fit["objective"]), 1e-5);
}

#[test]
fn svmlight_zero_based_test() {
    let right = right("svmlight-zero-based-test");
    let [data, test] =
        ["train.svm", "test.svm"].map(|f| case(&format!("svmlight-zero-based-test/{f}")));
    let fit = train(&["--data", &data, "--test", &test]);
    assert_eq!(fit["test_accuracy"], right["test_accuracy"]);
    close(&fit["objective"], number(&right["train_objective"]), 1e-5);
    // The model remembers what indices counted from.
    let folder = folder();
    let model = text(&folder.path().join("model"));
    output(&["train", "--data", &data, "--out", &model]);
    let evaluated = json(&["evaluate", "--json", "--model", &model, "--data", &test]);
    assert_eq!(evaluated["accuracy"], 1.0);
}

/// Every case is replayed by a test of its name.
#[test]
fn no_case_is_forgotten() {
    let source = include_str!("cases.rs");
    let mut n = 0;
    for entry in fs::read_dir(case("")).expect("cases").map(|entry| entry.expect("one")) {
        if entry.path().is_dir() {
            let name = entry.file_name().into_string().expect("UTF-8").replace('-', "_");
            assert!(source.contains(&format!("\nfn {name}()")), "{name} is not replayed");
            n += 1;
        }
    }
    assert_eq!(n, 13);
}
