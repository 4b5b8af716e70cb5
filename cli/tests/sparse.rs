//! Sparse data, of SVMlight and of SciPy, makes the models that the same data makes with its zeros, by every command;
//! and what is wrong with it is said.

mod common;

use common::{fails, folder, json, npy, npz, output, text, write};
use serde_json::Value;
use tempfile::TempDir;

const N: usize = 120;
const D: usize = 30;

/// A quarter of the values is not zero. Rows 7, 17, … are empty.
fn value(i: usize, l: usize) -> i8 {
    let random = (i * 7919 + l * 104_729 + i * l * 31) % 97;
    match (i % 10, random) {
        (7, _) => 0,
        _ if l == i % 3 => 2,
        (_, 0..24) => (random as i8 % 5) - 2,
        _ => 0,
    }
}

fn label(i: usize) -> usize {
    i % 3
}

/// (row, feature, value) of what is not zero.
fn entries() -> impl Iterator<Item = (usize, usize, i8)> {
    let all = (0..N * D).map(|at| (at / D, at % D, value(at / D, at % D)));
    all.filter(|(_, _, value)| *value != 0)
}

/// The parts of a CSR matrix.
struct Csr {
    indptr: Vec<i64>,
    indices: Vec<i64>,
    values: Vec<f64>,
    shape: [i64; 2],
    format: &'static str,
}

impl Csr {
    fn new() -> Self {
        let start = |row: usize| entries().filter(|(i, ..)| *i < row).count() as i64;
        Self {
            indptr: (0..=N).map(start).collect(),
            indices: entries().map(|(_, l, _)| l as i64).collect(),
            values: entries().map(|(_, _, value)| value.into()).collect(),
            shape: [N as i64, D as i64],
            format: "csr",
        }
    }

    /// As SciPy saves it, with these types of indices and values.
    fn parts(&self, index: &str, element: &str) -> Vec<(&'static str, Vec<u8>)> {
        let numbers = |values: &[i64], element: &str| {
            let bytes = |v: &i64| v.to_le_bytes()[..if element == "<i4" { 4 } else { 8 }].to_vec();
            let data = values.iter().flat_map(bytes).collect::<Vec<_>>();
            npy(element, false, &format!("({},)", values.len()), &data)
        };
        let bytes = |v: &f64| match element {
            "<f4" => (*v as f32).to_le_bytes().to_vec(),
            "|i1" => (*v as i8).to_le_bytes().to_vec(),
            _ => v.to_le_bytes().to_vec(),
        };
        let data: Vec<u8> = self.values.iter().flat_map(bytes).collect();
        vec![
            ("indices", numbers(&self.indices, index)),
            ("indptr", numbers(&self.indptr, index)),
            ("format", npy("|S3", false, "()", self.format.as_bytes())),
            ("shape", numbers(&self.shape, "<i8")),
            ("data", npy(element, false, &format!("({},)", self.values.len()), &data)),
        ]
    }
}

struct Files {
    folder: TempDir,
    labels: String,
    dense: String,
    svm: String,
    csr: String,
}

impl Files {
    fn new() -> Self {
        let folder = folder();
        let labels: Vec<u8> = (0..N).map(|i| label(i) as u8).collect();
        let values: Vec<u8> = (0..N * D).map(|at| value(at / D, at % D) as u8).collect();
        let line = |i: usize| {
            let row = entries().filter(|(row, ..)| *row == i);
            let cells: String = row.map(|(_, l, value)| format!(" {}:{value}", l + 1)).collect();
            format!("{}{cells}\n", label(i))
        };
        Self {
            labels: write(&folder, "y.npy", npy("|u1", false, "(120,)", &labels)),
            dense: write(&folder, "x.npy", npy("|i1", false, "(120, 30)", &values)),
            svm: write(&folder, "x.svm", (0..N).map(line).collect::<String>()),
            csr: write(&folder, "x.npz", npz(&Csr::new().parts("<i4", "<f4"), true)),
            folder,
        }
    }

    /// What a command says of the same data in each kind of file; the first has the zeros.
    fn each(&self, arguments: &[&str]) -> [Value; 3] {
        [&self.dense, &self.svm, &self.csr].map(|data| {
            let labels: &[&str] = if *data == self.svm { &[] } else { &["--labels", &self.labels] };
            json(&[arguments, &["--json", "--data", data], labels].concat())
        })
    }

    fn bad(&self, parts: &[(&str, Vec<u8>)], words: &[&str]) {
        let path = write(&self.folder, "bad.npz", npz(parts, false));
        fails(
            1,
            &["train", "--data", &path, "--labels", &self.labels],
            &[&["bad.npz"], words].concat(),
        );
    }
}

fn assert_near(all: &[Value; 3], key: &str, tolerance: f64, what: &[&str]) {
    let [dense, sparse @ ..] = all;
    let expected = dense[key].as_f64().unwrap();
    for sparse in sparse {
        let got = sparse[key].as_f64().unwrap();
        assert!((got - expected).abs() <= tolerance, "{what:?}: {key} {got}, not {expected}");
    }
}

#[test]
fn every_fit_is_that_of_the_data_with_its_zeros() {
    let files = Files::new();
    for (arguments, tolerance) in [
        (&["--standardize"][..], 1e-5),
        (&["--scale", "0.5"], 1e-6),
        (&["--loss", "squared-hinge"], 1e-5),
        (&["--solver", "newton"], 1e-6),
        // How far its steps go is estimated in another way.
        (&["--solver", "sgd", "--epochs", "30"], 0.05),
        (&["--solver", "sgd", "--epochs", "30", "--standardize"], 0.05),
        (&["--solver", "sgd", "--loss", "crammer-singer", "--l2", "0.1"], 0.05),
        (&["--validation", "0.2", "--patience", "100"], 1e-5),
        (&["--validation", "0.2", "--l2-path", "1,0.01"], 1e-5),
        (&["--class-weight", "0=2,1=0.5"], 1e-6),
        (&["--label-smoothing", "0.1"], 1e-6),
    ] {
        let all = files.each(&[&["train", "--max-iter", "1000"], arguments].concat());
        assert_near(&all, "objective", tolerance, arguments);
        assert_near(&all, "train_accuracy", 0.02, arguments);
    }
    for loss in ["cross-entropy", "squared-hinge"] {
        let all = files.each(&["gradcheck", "--loss", loss]);
        assert_near(&all, "worst_relative_error", 1e-6, &[loss]);
    }
}

#[test]
fn a_model_of_sparse_data_is_one_of_any_data() {
    let files = Files::new();
    let model = text(&files.folder.path().join("model"));
    // Without and with weights that need `f64`.
    for scaling in [&[][..], &["--standardize"]] {
        let train = ["train", "--data", &files.svm, "--test", &files.csr, "--out", &model];
        let train = [&train[..], &["--json", "--test-labels", &files.labels], scaling].concat();
        let fit = json(&train);
        assert_eq!(fit["test_accuracy"], fit["train_accuracy"]);
        let all = files.each(&["evaluate", "--model", &model]);
        assert_near(&all, "loss", 1e-6, scaling);
        assert_near(&all, "accuracy", 0.0, scaling);
        let predict = |data: &str| {
            output(&["predict", "--model", &model, "--data", data, "--label-column", "0"][..5])
        };
        let expected = predict(&files.dense);
        assert_eq!(expected.lines().count(), N + 1);
        assert_eq!(predict(&files.svm), expected);
        assert_eq!(predict(&files.csr), expected);
    }
    let table = output(&["train", "--data", &files.svm]);
    assert!(
        table.contains(&format!("30 features ({} values stored)", entries().count())),
        "{table}"
    );
    // A model in `f64`, as scikit-learn has them.
    let at = |name: &str| text(&files.folder.path().join(name));
    let (w, b, wide) = (at("w.npy"), at("b.npy"), at("wide"));
    let numbers =
        |n: usize| (0..n).flat_map(|i| (0.1 + i as f64).sin().to_le_bytes()).collect::<Vec<_>>();
    write(&files.folder, "w.npy", npy("<f8", false, "(3, 30)", &numbers(3 * D)));
    write(&files.folder, "b.npy", npy("<f8", false, "(3,)", &numbers(3)));
    output(&["convert", "--to", "safetensors", "--weight", &w, "--bias", &b, "--model", &wide]);
    assert_eq!(json(&["info", &wide, "--json"])["element"], "f64");
    assert_near(&files.each(&["evaluate", "--model", &wide]), "loss", 1e-12, &[]);
}

#[test]
fn matrices_of_scipy_in_every_type() {
    let files = Files::new();
    let objective = |parts: &[(&str, Vec<u8>)], labels: &[&str]| {
        let path = write(&files.folder, "again.npz", npz(parts, false));
        let train = ["train", "--json", "--data", &path];
        json(&[&train[..], labels].concat())["objective"].as_f64().unwrap()
    };
    let labels = ["--labels", &files.labels[..]];
    let expected = objective(&Csr::new().parts("<i4", "<f4"), &labels);
    for (index, element) in [("<i4", "<f8"), ("<i8", "<f4"), ("<i8", "|i1")] {
        let parts = Csr::new().parts(index, element);
        assert_eq!(objective(&parts, &labels), expected, "{index} {element}");
    }
    // In no order, and in parts that add up.
    let mut csr = Csr::new();
    let last = csr.indptr[N] as usize;
    let start = csr.indptr[N - 1] as usize;
    csr.indices[start..].reverse();
    csr.values[start..].reverse();
    csr.indices.push(csr.indices[start]);
    csr.values.push(1.5);
    csr.values[start] -= 1.5;
    csr.indptr[N] += 1;
    assert!(last - start > 1);
    assert_eq!(objective(&csr.parts("<i4", "<f8"), &labels), expected);
    // With labels beside it.
    let mut parts = Csr::new().parts("<i4", "<f4");
    let y: Vec<u8> = (0..N).map(|i| label(i) as u8).collect();
    parts.push(("y", npy("|u1", false, "(120,)", &y)));
    assert_eq!(objective(&parts, &[]), expected);
}

#[test]
fn matrices_that_are_wrong() {
    let files = Files::new();
    let with = |change: fn(&mut Csr), words: &[&str]| {
        let mut csr = Csr::new();
        change(&mut csr);
        files.bad(&csr.parts("<i8", "<f8"), words);
    };
    with(|csr| csr.indices[3] = 30, &["row 0", "indices[3] is 30", "30 features"]);
    with(|csr| csr.indices[3] = -1, &["\"indices\"", "element 3 is -1"]);
    with(|csr| csr.indptr[5] = 1_000_000, &["row 4", "1000000"]);
    with(|csr| csr.indptr[5] = 0, &["row 4"]);
    with(|csr| csr.indptr[0] = 1, &["\"indptr\" is to begin with 0, and begins with 1"]);
    with(|csr| csr.indptr.truncate(50), &["indptr", "50 elements", "[120, 30]"]);
    with(|csr| csr.values.truncate(5), &["indices", "5"]);
    with(|csr| csr.values[0] = f64::NAN, &["row 0, feature 0", "NaN is not finite"]);
    with(|csr| csr.values[0] = 1e300, &["row 0, feature 0", "1e300 is too large"]);
    with(|csr| csr.shape = [119, 30], &["indptr", "121 elements", "[119, 30]"]);
    with(|csr| csr.shape = [120, 0], &["no values", "[120, 0]"]);
    with(|csr| csr.shape = [120, 1 << 40], &["features", "--max-unpacked"]);
    with(|csr| csr.format = "csc", &["\"csc\"", "save X.tocsr()"]);
    let mut parts = Csr::new().parts("<i4", "<f4");
    parts.retain(|(name, _)| *name != "indptr");
    files.bad(&parts, &["\"indptr\"", "not found"]);
    let mut parts = Csr::new().parts("<i4", "<f4");
    parts[0].1 = npy("<f4", false, "(1,)", &[0; 4]);
    files.bad(&parts, &["\"indices\"", "no integers"]);
    // A model of other data.
    let model = text(&files.folder.path().join("model"));
    output(&["train", "--data", &files.svm, "--out", &model]);
    let wide = write(&files.folder, "wide.npz", {
        let csr = Csr { shape: [N as i64, 40], ..Csr::new() };
        npz(&csr.parts("<i4", "<f4"), true)
    });
    fails(1, &["predict", "--model", &model, "--data", &wide], &["30 features", "40"]);
    // A slip that would make a model of gigabytes.
    let slip = write(&files.folder, "slip.svm", "0 1:1\n1 200000000:1\n2 2:1\n");
    fails(1, &["train", "--data", &slip], &["3 classes", "200000000 features", "--max-unpacked"]);
    fails(1, &["gradcheck", "--data", &slip], &["3 classes", "--max-unpacked"]);
}
