//! The same samples from every kind of file make the same model; scaled features make a model of the features
//! as they were; models go to NPY files and back.

mod common;

use common::{fails, folder, json, npy, output, text, write};
use softmargin::LinearModel;
use softmargin_cli::data;
use std::{collections::HashMap, fs, path::Path};

const N: usize = 120;
const D: usize = 5;

/// Whole numbers, so that every type of element holds them; the last feature is always zero in the first rows.
fn value(i: usize, l: usize) -> u8 {
    let noise = (i * 7919 + l * 104_729) % 97 % 40;
    let value = noise + if i % 3 == l { 60 } else { 0 };
    if l == D - 1 && i < 100 { 0 } else { value as u8 }
}

fn label(i: usize) -> usize {
    i % 3
}

fn values<T>(of: impl Fn(u8) -> T) -> Vec<T> {
    (0..N * D).map(|i| of(value(i / D, i % D))).collect()
}

struct Files {
    folder: tempfile::TempDir,
    labels: String,
}

impl Files {
    fn new() -> Self {
        let folder = folder();
        let labels: Vec<u8> = (0..N).flat_map(|i| (label(i) as i64).to_le_bytes()).collect();
        let labels = write(&folder, "labels.npy", npy("<i8", false, "(120,)", &labels));
        Self { folder, labels }
    }

    fn npy(&self, element: &str) -> String {
        let data: Vec<u8> = match element {
            "<f2" => values(|v| half::f16::from(v).to_le_bytes()).concat(),
            "<f4" => values(|v| f32::from(v).to_le_bytes()).concat(),
            "<f8" => values(|v| f64::from(v).to_le_bytes()).concat(),
            _ => values(|v| v),
        };
        let name = format!("{}.npy", element.trim_start_matches(['<', '|']));
        write(&self.folder, &name, npy(element, false, "(120, 5)", &data))
    }

    fn csv(&self) -> String {
        let row = |i: usize| {
            let cells: Vec<String> = (0..D).map(|l| value(i, l).to_string()).collect();
            format!("{},{}\n", cells.join(","), label(i))
        };
        write(&self.folder, "data.csv", (0..N).map(row).collect::<String>())
    }

    fn svm(&self, first: usize) -> String {
        let row = |i: usize| {
            let cells = (0..D).filter(|l| value(i, *l) > 0);
            let cells: String = cells.map(|l| format!(" {}:{}", l + first, value(i, l))).collect();
            format!("{}{cells} # sample {i}\n", label(i))
        };
        write(&self.folder, "data.svm", (0..N).map(row).collect::<String>())
    }

    fn safetensors(&self, dtype: safetensors::Dtype) -> String {
        use safetensors::{Dtype, tensor::TensorView};
        let features: Vec<u8> = match dtype {
            Dtype::F16 => values(|v| half::f16::from(v).to_le_bytes()).concat(),
            Dtype::BF16 => values(|v| half::bf16::from(v).to_le_bytes()).concat(),
            Dtype::F32 => values(|v| f32::from(v).to_le_bytes()).concat(),
            _ => values(|v| v),
        };
        let labels: Vec<u8> = (0..N).flat_map(|i| (label(i) as i64).to_le_bytes()).collect();
        let tensors = [
            ("features", TensorView::new(dtype, vec![N, D], &features).unwrap()),
            ("labels", TensorView::new(Dtype::I64, vec![N], &labels).unwrap()),
        ];
        let bytes = safetensors::serialize(tensors, None).unwrap();
        write(&self.folder, "data.safetensors", bytes)
    }
}

/// Trains, and returns the objective and the model.
fn train(folder: &Path, arguments: &[&str]) -> (f64, LinearModel<f32>) {
    let out = text(&folder.join("out.safetensors"));
    let object = json(
        &[&["train", "--json", "--scale", "0.01", "--out", &out, "--data"], arguments].concat(),
    );
    (object["objective"].as_f64().unwrap(), parameters(&out).0)
}

/// W and b of a model file, and what else it says.
fn parameters(path: &str) -> (LinearModel<f32>, HashMap<String, String>) {
    LinearModel::load_with_metadata(path).unwrap()
}

#[test]
fn every_format_makes_the_same_model() {
    let files = Files::new();
    let folder = files.folder.path();
    let expected = train(folder, &[&files.csv()]);
    assert!(expected.0 < 0.1);
    let near = |(objective, _): &(f64, _), what: &str| {
        assert!((objective - expected.0).abs() < 1e-6, "{what}: {objective}");
    };
    // Read, and scaled, where they are: the same bits, whatever they are stored in.
    let in_place = train(folder, &[&files.npy("<f4"), "--labels", &files.labels]);
    near(&in_place, "<f4");
    for element in ["<f2", "<f4", "<f8", "|u1", "|i1"] {
        let path = files.npy(element);
        let got = train(folder, &[&path, "--labels", &files.labels]);
        assert!(
            got == if element == "<f8" { expected.clone() } else { in_place.clone() },
            "{element}"
        );
        // Converted again for every evaluation, and summed chunk by chunk.
        let streamed = train(folder, &[&path, "--labels", &files.labels, "--max-memory", "0"]);
        assert!((streamed.0 - expected.0).abs() < 1e-6, "{element}: {} streamed", streamed.0);
    }
    near(&train(folder, &[&files.svm(1)]), "SVMlight");
    near(&train(folder, &[&files.svm(0)]), "SVMlight from 0");
    use safetensors::Dtype;
    for dtype in [Dtype::F16, Dtype::BF16, Dtype::F32, Dtype::U8, Dtype::I8] {
        assert!(train(folder, &[&files.safetensors(dtype)]) == in_place, "{dtype:?}");
    }
}

/// The model that is saved takes the features as they were, by every command.
/// Features that take up twice the memory that the program may have: `f32` are read, and scaled, where they are in the
/// file, others are converted piece by piece.
#[test]
#[cfg(target_os = "linux")]
fn files_larger_than_memory() {
    use std::io::{BufWriter, Write};
    const ROWS: usize = 250_000;
    const LIMIT_KIB: usize = 100 << 10;
    let folder = folder();
    let value = |i: usize| if i % 10 == i / 10 % 2 { 1.0 } else { (i % 7) as f32 / 10.0 };
    let labels: Vec<u8> = (0..ROWS).map(|i| (i % 2) as u8).collect();
    let labels = write(&folder, "labels.npy", npy("|u1", false, "(250000,)", &labels));
    for (element, cols) in [("<f4", 200), ("<f8", 100)] {
        let path = folder.path().join("large.npy");
        let mut file = BufWriter::new(fs::File::create(&path).unwrap());
        file.write_all(&npy(element, false, &format!("({ROWS}, {cols})"), &[])).unwrap();
        let row = |i: usize| (0..cols).map(move |l| value(10 * i + l));
        let bytes = |i: usize| match element {
            "<f4" => row(i).flat_map(f32::to_le_bytes).collect::<Vec<u8>>(),
            _ => row(i).flat_map(|x| f64::from(x).to_le_bytes()).collect(),
        };
        // Rows of each label, again and again.
        let both = [bytes(0), bytes(1)].concat();
        (0..ROWS / 2).for_each(|_| file.write_all(&both).unwrap());
        drop(file);
        assert!(fs::metadata(&path).unwrap().len() > 190 << 20);

        // Of the memory of the program itself; a mapped file is none of it.
        let run = |more: &str| {
            let script = format!(
                "ulimit -d {LIMIT_KIB} && exec {} train --json --max-iter 5 --threads 2 {more} \
                 --data {} --labels {labels}",
                env!("CARGO_BIN_EXE_softmargin"),
                path.display()
            );
            std::process::Command::new("bash").args(["-c", &script]).output().unwrap()
        };
        let output = run("--max-memory 0");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{element}: {stderr}");
        let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(object["train_accuracy"], 1.0, "{element}");
        // Held out samples are looked up in no order, so that what is to be converted is brought into memory.
        let output = run("--standardize --validation 0.5 --max-memory 1000000");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), element == "<f4", "{element}: {stderr}");
    }
}

#[test]
fn scaling_is_folded_into_the_model() {
    let files = Files::new();
    let (data, out) = (files.npy("<f8"), text(&files.folder.path().join("model.safetensors")));
    let data = ["--data", &data, "--labels", &files.labels];
    for memory in ["4096", "0"] {
        let train = ["train", "--json", "--standardize", "--out", &out, "--max-memory", memory];
        let trained = json(&[&train[..], &data].concat());
        assert_eq!(trained["train_accuracy"], 1.0);
        let evaluate = ["evaluate", "--json", "--model", &out, "--l2", "0", "--max-memory", memory];
        let evaluated = json(&[&evaluate[..], &data].concat());
        assert_eq!(evaluated["accuracy"], 1.0);
        // Without the L2 term, which is of the weights of the scaled features.
        let (loss, objective) = (&evaluated["objective"], &trained["objective"]);
        assert!(loss.as_f64().unwrap() < objective.as_f64().unwrap());
    }
    let predict = ["predict", "--model", &out, "--data", &files.npy("|u1")];
    let labels: Vec<usize> =
        output(&predict).lines().skip(1).map(|line| line.parse().unwrap()).collect();
    assert_eq!(labels, (0..N).map(label).collect::<Vec<_>>());
}

#[test]
fn held_out_samples_stop_the_fit_and_choose_the_regularisation() {
    let files = Files::new();
    let data = ["--data", &files.csv(), "--scale", "0.01", "--validation", "0.3"];
    let early = json(&[&["train", "--json", "--patience", "1", "--l2", "0"], &data[..]].concat());
    let reason = early["stop_reason"].as_str().unwrap();
    assert!(["early_stopping", "gradient_tolerance", "relative_decrease"].contains(&reason));
    // Chunk by chunk, the same samples.
    let wide = files.npy("<f8");
    for solver in ["lbfgs", "newton"] {
        let run = |memory: &str| {
            let train = ["train", "--json", "--data", &wide, "--labels", &files.labels];
            let held_out = ["--validation", "0.3", "--patience", "2", "--solver", solver];
            let memory = ["--scale", "0.01", "--max-memory", memory];
            json(&[&train[..], &held_out, &memory].concat())
        };
        let (whole, streamed) = (run("4096"), run("0"));
        let loss = |object: &serde_json::Value| object["validation_loss"].as_f64().unwrap();
        assert!((loss(&whole) - loss(&streamed)).abs() < 1e-5, "{whole} {streamed}");
        assert_eq!(whole["validation_accuracy"], streamed["validation_accuracy"]);
        assert_eq!(whole["train_accuracy"], streamed["train_accuracy"]);
        assert_eq!(whole["metrics"]["classes"], streamed["metrics"]["classes"]);
    }
    let path = output(&[&["train", "--l2-path", "100,1e-4,1e-2"], &data[..]].concat());
    assert!(path.contains("the best of 3") && !path.contains("100, the best"), "{path}");
    fails(2, &["train", "--l2-path", "1,2"], &["required arguments"]);
    fails(2, &["train", "--validation", "1.5"], &["between 0 and 1"]);
}

#[test]
fn a_model_to_start_from() {
    let folder = folder();
    let model = text(&folder.path().join("model.safetensors"));
    let cold = json(&["train", "--json", "--out", &model]);
    let warm = json(&["train", "--json", "--start", &model]);
    assert!(warm["iterations"].as_u64() < cold["iterations"].as_u64());
    let csv = write(&folder, "data.csv", "1,2,0\n3,4,1\n");
    fails(1, &["train", "--data", &csv, "--start", &model], &["10 classes × 784", "2 × 2"]);
}

#[test]
fn models_go_to_npy_and_back() {
    let folder = folder();
    let at = |name: &str| text(&folder.path().join(name));
    let (model, weight, bias, again) =
        (at("model.safetensors"), at("w.npy"), at("b.npy"), at("again.safetensors"));
    let names = "ä,b,c,d,e,f,g,h,i,j";
    output(&["train", "--max-iter", "5", "--out", &model, "--class-names", names]);
    let parts = ["--weight", &weight, "--bias", &bias];
    output(&[&["convert", "--to", "npy", "--model", &model], &parts[..]].concat());
    output(&[&["convert", "--to", "safetensors", "--model", &again], &parts[..]].concat());
    let ((before, metadata), (after, _)) = (parameters(&model), parameters(&again));
    assert_eq!(after, before);
    assert_eq!(metadata["loss"], "cross_entropy");
    assert_eq!(metadata["l2"], "0.0001");
    assert_eq!(metadata["class_names"], r#"["ä","b","c","d","e","f","g","h","i","j"]"#);
    assert_eq!(metadata["labels"], "[0,1,2,3,4,5,6,7,8,9]");
    let (shape, values) = data::npy::parse_values(&fs::read(&weight).unwrap()).unwrap();
    let weights: Vec<f64> = before.weights().iter().copied().map(f64::from).collect();
    assert_eq!((shape, values), (vec![10, 784], weights));
    fails(
        1,
        &[
            "convert",
            "--to",
            "safetensors",
            "--model",
            &again,
            "--weight",
            &bias,
            "--bias",
            &weight,
        ],
        &["two dimensions"],
    );
}

/// Features far from zero need the digits that `f64` has: a model of them keeps these on its way through NPY files.
#[test]
fn models_in_f64_go_to_npy_and_back() {
    let folder = folder();
    let at = |name: &str| text(&folder.path().join(name));
    let (model, weight, bias, again) = (at("model"), at("w.npy"), at("b.npy"), at("again"));
    let rows = (0..60).map(|i| format!("{}.5,{}\n", 1_000_000 + i * 7 % 61, i * 7 % 61 / 31));
    let data = write(&folder, "far.csv", rows.collect::<String>());
    output(&["train", "--data", &data, "--standardize", "--out", &model]);
    assert_eq!(json(&["info", &model, "--json"])["element"], "f64");
    let parts = ["--weight", &weight, "--bias", &bias];
    output(&[&["convert", "--to", "npy", "--model", &model], &parts[..]].concat());
    output(&[&["convert", "--to", "safetensors", "--model", &again], &parts[..]].concat());
    let labelled = ["--data", &data, "--label-column", "1"];
    let proba =
        |model: &str| output(&[&["predict", "--proba", "--model", model], &labelled[..]].concat());
    assert_eq!(proba(&again), proba(&model));
    // Where a fit begins need not be exact.
    let start = ["train", "--data", &data, "--start", &again, "--max-iter", "0", "--json"];
    assert!(json(&start)["objective"].as_f64() < Some(0.1));
}

#[test]
fn files_that_are_not_what_they_say() {
    let files = Files::new();
    let f4 = fs::read(files.npy("<f4")).unwrap();
    let bad = |name: &str, bytes: &[u8], words: &[&str]| {
        let path = write(&files.folder, name, bytes);
        fails(1, &["train", "--data", &path, "--labels", &files.labels], words);
    };
    bad("a.npy", b"nonsense", &["a.npy", "not an NPY file"]);
    bad("a.npy", &f4[..40], &["truncated"]);
    bad("a.npy", &f4[..f4.len() - 1], &["promises 2400 bytes", "2399"]);
    bad("a.npy", &npy("<f4", false, "(1099511627776, 1099511627776)", &[]), &["overflows"]);
    bad("a.npy", &npy(">f4", false, "(1, 1)", &[0; 4]), &["big-endian"]);
    bad("a.npy", &npy(">f2", false, "(1, 1)", &[0; 2]), &["big-endian", "astype(\"<f2\")"]);
    bad("a.npy", &npy("<f16", false, "(1, 1)", &[0; 16]), &["<f16", "not supported", "float32"]);
    let nan = [0x00, 0x7e].repeat(600);
    bad("a.npy", &npy("<f2", true, "(120, 5)", &nan), &["a.npy", "row 0, feature 0", "NaN"]);
    bad("a.npy", &npy("<U2", false, "(1, 1)", &[0; 8]), &["text"]);
    bad("a.npy", &npy("|O", false, "(1,)", &[0; 8]), &["objects of Python", "not supported"]);
    bad("a.npy", &npy("<f4", false, "(0, 5)", &[]), &["no values"]);
    // Found by fuzzing: the parser of the header would never come to an end.
    bad("a.npy", &npy("<f4", false, &"[".repeat(40), &[]), &["not that of a plain array"]);
    bad("a.npy", &npy("<f4", false, "(2, 1)", &[0; 8]), &["120 labels for 2 samples"]);
    bad("a.svm", b"0 2:2 1:3\n", &["line 1", "does not follow"]);
    bad("a.svm", b"0 1:nan\n", &["line 1", "not finite"]);
    bad("a.svm", b"0 1:1\n1 1000000000:3\n", &["MiB", "--max-unpacked"]);
    bad("a.safetensors", b"12345678", &["a.safetensors"]);
    let nan = f32::NAN.to_le_bytes();
    let path = write(&files.folder, "n.npy", npy("<f4", false, "(120, 5)", &nan.repeat(600)));
    fails(1, &["train", "--data", &path, "--labels", &files.labels], &["row 0", "feature 0"]);
}

#[test]
fn a_report_is_whole() {
    let folder = folder();
    let report = text(&folder.path().join("new/report"));
    output(&[
        "train",
        "--max-iter",
        "5",
        "--report",
        &report,
        "--class-names",
        "<a>,b,c,d,e,f,g,h,i,j",
    ]);
    let page = fs::read_to_string(Path::new(&report).join("index.html")).unwrap();
    assert!(
        page.contains("&lt;a&gt;") && !page.contains("<a>") && !page.contains("http"),
        "{page}"
    );
    let pictures: Vec<&str> =
        page.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(pictures.len(), 13);
    for picture in pictures {
        let bytes = fs::read(Path::new(&report).join(picture)).unwrap();
        assert!(bytes.starts_with(b"<svg") || bytes.starts_with(b"\x89PNG"), "{picture}");
    }
    let csv = write(&folder, "data.csv", "1,2,0\n3,4,1\n");
    let plain = text(&folder.path().join("plain"));
    output(&["train", "--data", &csv, "--report", &plain]);
    assert!(!Path::new(&plain).join("template_0.png").exists());
    fails(
        1,
        &["train", "--max-iter", "1", "--report", &format!("{csv}/x")],
        &["cannot make the folder"],
    );
}

#[test]
fn completions() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(output(&["completions", shell]).contains("gradcheck"), "{shell}");
    }
}
