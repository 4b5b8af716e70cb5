//! Inputs of other tools' users that were once read wrong, each with the right value beside it in `right.json`,
//! which says how that was computed.

mod common;

use common::{fails, folder, json, output, text};
use serde_json::Value;
use std::fs;

fn case(name: &str) -> String {
    format!("{}/tests/cases/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn right(name: &str) -> Value {
    serde_json::from_slice(&fs::read(case(name) + "/right.json").unwrap()).unwrap()
}

fn near(value: &Value, expected: &Value, tolerance: f64) {
    let (value, expected) = (value.as_f64().unwrap(), expected.as_f64().unwrap());
    assert!((value / expected - 1.0).abs() < tolerance, "{value}, not {expected}");
}

#[test]
fn finite_numbers_are_not_called_infinite() {
    let at = |name: &str| case("finite-called-infinite/") + name;
    let labels = at("big_labels.npy");
    fails(1, &["train", "--data", &at("big.svm")], &["line 1", "e+308", "too large for f32"]);
    let words = ["big.csv", "line 2, column 1", "1e39", "too large for f32"];
    fails(1, &["train", "--data", &at("big.csv")], &words);
    let words = ["big.npy", "row 0, feature 0", "1e300", "too large for f32"];
    fails(1, &["train", "--data", &at("big.npy"), "--labels", &labels], &words);
    // Also where it is converted chunk by chunk.
    let streamed = ["train", "--data", &at("big.npy"), "--labels", &labels, "--max-memory", "0"];
    fails(1, &streamed, &words);
    fails(1, &[&streamed[..], &["--standardize"]].concat(), &words);
}

#[test]
fn a_first_sample_with_a_gap_is_no_header() {
    for name in ["na.csv", "empty.csv"] {
        let path = case("first-sample-dropped/") + name;
        fails(1, &["train", "--data", &path], &[name, "line 1, column 2", "no number"]);
    }
}

#[test]
fn labels_that_are_amounts_are_refused() {
    for (name, label, words) in [
        ("price.csv", "221900", ["4 distinct labels", "604000"]),
        ("stamp.csv", "1700000000", ["3 distinct labels", "1700000120"]),
    ] {
        let path = case("labels-are-amounts/") + name;
        fails(
            1,
            &["train", "--data", &path],
            &[name, "line 2", label, "--max-classes", words[0], words[1]],
        );
    }
}

#[test]
fn tables_of_the_same_samples() {
    let (optimum, tolerance) = (&right("numeric-header")["optimum"], 1e-5);
    let table = output(&["train", "--data", &(case("numeric-header") + "/table.csv")]);
    assert!(table.contains("60 samples, 3 features, 3 classes"), "{table}");
    let at = |name: &str| case("gaps/") + name;
    for path in [
        case("numeric-header/table.csv"),
        at("index_column.csv"),
        at("semicolons.csv"),
        at("strings.csv"),
        at("table.csv.gz"),
        at("tabs.tsv"),
    ] {
        near(&json(&["train", "--json", "--data", &path])["objective"], optimum, tolerance);
    }
    for labels in ["labels.npy", "labels_column.npy"] {
        let run = ["train", "--json", "--data", &at("fortran.npy"), "--labels", &at(labels)];
        near(&json(&run)["objective"], optimum, tolerance);
    }
    let data = case("int8-labels/data.safetensors");
    let optimum = &right("int8-labels")["optimum"];
    near(&json(&["train", "--json", "--data", &data])["objective"], optimum, tolerance);
    // Others load, too.
    for name in ["a1a_like", "a1a_like.svm.gz", "bom.svm", "plus_minus_one.csv"] {
        let accuracy = &json(&["train", "--json", "--data", &at(name)])["train_accuracy"];
        assert!(accuracy.as_f64().unwrap() > 0.95, "{name}");
    }
    json(&["train", "--json", "--data", &at("int64.npy"), "--labels", &at("labels.npy")]);
}

#[test]
fn members_of_gzip_are_joined() {
    let objective = |name: &str| {
        let data = case("multi-member-gzip/") + name;
        json(&["train", "--json", "--data", &data])["objective"].clone()
    };
    assert_eq!(objective("two-members"), objective("one-member"));
}

#[test]
fn indices_count_in_tests_as_in_training() {
    let at = |name: &str| case("svmlight-zero-based-test/") + name;
    let right = right("svmlight-zero-based-test");
    let run = ["train", "--json", "--data", &at("train.svm"), "--test", &at("test.svm")];
    let object = json(&run);
    assert_eq!(object["test_accuracy"], right["test_accuracy"]);
    near(&object["objective"], &right["train_objective"], 1e-3);
    // The model remembers it.
    let folder = folder();
    let model = text(&folder.path().join("model"));
    output(&["train", "--data", &at("train.svm"), "--out", &model]);
    let evaluated = json(&["evaluate", "--json", "--model", &model, "--data", &at("test.svm")]);
    assert_eq!(evaluated["accuracy"], 1.0);
}

#[test]
fn a_label_column_need_not_be_said_again() {
    let at = |name: &str| case("label-column-forgotten/") + name;
    let right = right("label-column-forgotten");
    let folder = folder();
    let model = text(&folder.path().join("model"));
    let train = ["train", "--json", "--data", &at("pixels.csv"), "--label-column", "digit"];
    let trained = json(&[&train[..], &["--out", &model]].concat());
    near(&trained["objective"], &right["optimum"], 2e-3);
    let predicted = json(&["predict", "--json", "--model", &model, "--data", &at("pixels.csv")]);
    assert_eq!(predicted["labels"], right["labels"]);
    for label in [&["--label-column", "digit"][..], &[]] {
        let run = ["evaluate", "--json", "--model", &model, "--data", &at("reversed.csv")];
        assert_eq!(json(&[&run, label].concat())["accuracy"], 1.0);
    }
}

#[test]
fn a_constant_feature_is_no_harm() {
    let data = case("standardize-constant/table.csv");
    let right = right("standardize-constant");
    let folder = folder();
    let model = text(&folder.path().join("model"));
    let train = ["train", "--json", "--standardize", "--data", &data, "--out", &model];
    near(&json(&train)["objective"], &right["objective_in_standardised_space"], 1e-3);
    let evaluate = ["evaluate", "--json", "--model", &model, "--data", &data, "--l2", "0"];
    let evaluated = json(&evaluate);
    assert_eq!(evaluated["accuracy"], right["accuracy_of_the_saved_model"]);
    near(&evaluated["objective"], &right["mean_loss_of_the_saved_model_without_l2"], 1e-3);
}

/// Every case is replayed by a test above.
#[test]
fn no_case_is_forgotten() {
    let tests = include_str!("cases.rs");
    for entry in fs::read_dir(case("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(tests.contains(&format!("case(\"{name}")), "{name}");
    }
}
