//! The same samples in files as people have them: other types and orders of elements, archives, compressed,
//! without a suffix, through a pipe, under other names; and files that are none of that.

mod common;

use common::{
    fails, folder, gzip, idx, images, json, labels, npy, npz, output, softmargin, text, write,
};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

const N: usize = 60;
const D: usize = 4;

/// Truth values, so that every type of element has them.
fn value(i: usize, l: usize) -> u8 {
    u8::from((i * 7919 + l * 104_729) % 97 < 48 || i % 3 == l)
}

fn label(i: usize) -> u8 {
    (i % 3) as u8
}

/// A value in a type of NumPy.
fn bytes(element: &str, value: u8) -> Vec<u8> {
    match element {
        "<f2" => half::f16::from(value).to_le_bytes().to_vec(),
        "<f4" => f32::from(value).to_le_bytes().to_vec(),
        "<f8" => f64::from(value).to_le_bytes().to_vec(),
        _ => {
            let size = element[2..].parse().unwrap();
            let mut bytes = vec![0; size];
            bytes[0] = value;
            bytes
        }
    }
}

const ELEMENTS: [&str; 12] =
    ["<f2", "<f4", "<f8", "|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8"];

fn features(element: &str, columns: bool) -> Vec<u8> {
    let places = (0..N * D).map(|i| if columns { (i % N, i / N) } else { (i / D, i % D) });
    let data: Vec<u8> = places.flat_map(|(i, l)| bytes(element, value(i, l))).collect();
    npy(element, columns, &format!("({N}, {D})"), &data)
}

fn label_file(element: &str, shape: &str) -> Vec<u8> {
    npy(element, false, shape, &(0..N).flat_map(|i| bytes(element, label(i))).collect::<Vec<_>>())
}

fn csv() -> String {
    let row = |i: usize| {
        let cells: String = (0..D).map(|l| format!("{},", value(i, l))).collect();
        format!("{cells}{}\n", label(i))
    };
    (0..N).map(row).collect()
}

fn svm() -> String {
    let row = |i: usize| {
        let cells = (0..D).filter(|l| value(i, *l) > 0);
        let cells: String = cells.map(|l| format!(" {}:1", l + 1)).collect();
        format!("{}{cells}\n", label(i))
    };
    (0..N).map(row).collect()
}

fn objective(arguments: &[&str]) -> f64 {
    json(&[&["train", "--json"], arguments].concat())["objective"].as_f64().unwrap()
}

fn expected(folder: &tempfile::TempDir) -> f64 {
    objective(&["--data", &write(folder, "expected.csv", csv())])
}

#[test]
fn arrays_of_every_type_and_order() {
    let folder = folder();
    let expected = expected(&folder);
    let labels = write(&folder, "labels.npy", label_file("<i8", "(60,)"));
    let mut of_sgd = None;
    for element in ELEMENTS {
        for columns in [false, true] {
            let path = write(&folder, "x.npy", features(element, columns));
            let run = ["--data", &path, "--labels", &labels];
            // Columns are read where they are, in sums of another order.
            let same = |objective: f64| {
                let difference = (objective - expected).abs();
                assert!(
                    difference <= if columns { 1e-6 } else { 0.0 },
                    "{element} {columns}: {objective}"
                );
            };
            same(objective(&run));
            for solver in ["lbfgs", "newton"] {
                let streamed = ["train", "--json", "--max-memory", "0", "--solver", solver];
                let streamed = json(&[&streamed[..], &run].concat());
                assert!(streamed["gap"].as_f64().is_some(), "{element} {columns}: no bound");
                let streamed = streamed["objective"].as_f64().unwrap();
                assert!((streamed - expected).abs() < 1e-6, "{element} {columns}: {streamed}");
            }
            // What is in a pipe cannot be mapped.
            let path = write(&folder, "x.npy.gz", gzip(&features(element, columns)));
            same(objective(&["--data", &path, "--labels", &labels]));
            // Samples are picked from rows.
            let sgd = [
                "train", "--json", "--solver", "sgd", "--epochs", "2", "--data", &path, "--labels",
                &labels,
            ];
            let sgd = json(&sgd)["objective"].as_f64().unwrap();
            let rows = *of_sgd.get_or_insert(sgd);
            assert_eq!(sgd, rows, "{element} {columns}");
        }
    }
    let images = npy("|u1", false, "(60, 2, 2)", &features("|u1", false)[128..]);
    let path = write(&folder, "images.npy", images);
    assert_eq!(objective(&["--data", &path, "--labels", &labels]), expected);
}

#[test]
fn labels_of_every_kind() {
    let folder = folder();
    let expected = expected(&folder);
    let data = write(&folder, "x.npy", features("<f4", false));
    let words = ["ant", "bee", "cat"].map(|word| word.as_bytes());
    let ascii: Vec<u8> = (0..N).flat_map(|i| words[i % 3].to_vec()).collect();
    let utf32: Vec<u8> = ascii.iter().flat_map(|b| u32::from(*b).to_le_bytes()).collect();
    let lines: String = (0..N).map(|i| format!("{}\r\n", label(i))).collect();
    let names: String = (0..N).map(|i| format!("{}\n", ["ant", "bee", "cat"][i % 3])).collect();
    let with_index: String = (0..N).map(|i| format!("{i},{}\n", label(i))).collect();
    let of_idx: Vec<u8> = (0..N).map(label).collect();
    let mut files = vec![
        ("column.npy", label_file("<i8", "(60, 1)")),
        ("ascii.npy", npy("|S3", false, "(60,)", &ascii)),
        ("utf32.npy", npy("<U3", false, "(60,)", &utf32)),
        ("labels.npy.gz", gzip(&label_file("|u1", "(60,)"))),
        ("labels-idx1-ubyte", idx(0x801, &[N as u32], &of_idx)),
        ("labels-idx1-ubyte.gz", gzip(&idx(0x801, &[N as u32], &of_idx))),
        ("lines.txt", lines.clone().into_bytes()),
        ("header.csv", format!("\u{feff}class\n{lines}").into_bytes()),
        ("names.txt", names.clone().into_bytes()),
        ("names.csv.gz", gzip(format!("species\n{names}").as_bytes())),
        ("series.csv", format!(",species\n{with_index}").into_bytes()),
        ("series.tsv", format!("\tspecies\n{with_index}").replace(',', "\t").into_bytes()),
        ("series.txt", with_index.replace(',', " ").into_bytes()),
        ("series", format!(";species\n{with_index}").replace(',', ";").into_bytes()),
        ("of_r.txt", format!("\"x\"\n{with_index}").replace(',', " ").into_bytes()),
    ];
    for element in ELEMENTS.iter().filter(|element| **element != "|b1") {
        files.push(("typed.npy", label_file(element, "(60,)")));
    }
    for (name, bytes) in files {
        let labels = write(&folder, name, bytes);
        assert_eq!(objective(&["--data", &data, "--labels", &labels]), expected, "{name}");
    }
    // One too many, of which the first may be a header of pandas.
    let one_more = write(&folder, "one_more.txt", format!("0\n{}", lines.replace('\r', "")));
    let run = ["train", "--data", &data, "--labels", &one_more];
    fails(1, &run, &[&one_more, "61 labels for 60 samples", "line 1 is \"0\"", "--header yes"]);
    assert_eq!(objective(&[&run[1..], &["--header", "yes"]].concat()), expected);
    // With features.
    let with_features = write(&folder, "labels.txt", svm());
    fails(1, &["train", "--data", &data, "--labels", &with_features], &["it is SVMlight"]);
    let bools: Vec<u8> = (0..N).map(|i| u8::from(i % 3 == 0)).collect();
    let labels = write(&folder, "bools.npy", npy("|b1", false, "(60,)", &bools));
    let model = text(&folder.path().join("model"));
    output(&["train", "--data", &data, "--labels", &labels, "--out", &model]);
    let predicted = output(&["predict", "--model", &model, "--data", &data]);
    let mut lines = predicted.lines();
    assert_eq!(lines.next(), Some("label"));
    let right = lines.enumerate().filter(|(i, line)| *line == ["True", "False", "False"][i % 3]);
    assert!(right.count() > N / 2, "{predicted}");
}

#[test]
fn archives_of_arrays() {
    let folder = folder();
    let expected = expected(&folder);
    let (x, y) = (features("<f4", false), label_file("<i8", "(60,)"));
    let other = label_file("<f8", "(60,)");
    for packed in [false, true] {
        for arrays in [
            &[("X", x.clone()), ("y", y.clone())][..],
            &[("features", x.clone()), ("ids", other.clone()), ("labels", y.clone())],
            &[("arr_0", x.clone()), ("arr_1", y.clone())],
            &[("data", features("<i4", true)), ("target", label_file("<f8", "(60, 1)"))],
        ] {
            let path = write(&folder, "arrays.npz", npz(arrays, packed));
            assert_eq!(objective(&["--data", &path]), expected, "{}", arrays[0].0);
        }
        let parts = [
            ("x_train", x.clone()),
            ("y_train", y.clone()),
            ("x_test", x.clone()),
            ("y_test", y.clone()),
        ];
        let path = write(&folder, "parts", npz(&parts, packed));
        let trained = json(&["train", "--json", "--data", &path]);
        assert_eq!(trained["objective"], expected);
        assert_eq!(trained["test_accuracy"], trained["train_accuracy"]);
    }
    let data = |arrays: &[(&str, Vec<u8>)]| write(&folder, "bad.npz", npz(arrays, true));
    let train = |path: &str, words: &[&str]| fails(1, &["train", "--data", path], words);
    train(&data(&[("a", x.clone())]), &["no features", "\"a\""]);
    train(&data(&[("X", x.clone()), ("x", x.clone())]), &["several arrays", "X, x"]);
    train(&data(&[("X", x.clone())]), &["no labels"]);
    train(&data(&[("X", x[..x.len() - 1].to_vec()), ("y", y.clone())]), &["\"X\"", "promises"]);
    train(&data(&[("X", x.clone()), ("y", label_file("<i8", "(1, 60)"))]), &["\"y\"", "[1, 60]"]);
    train(&data(&[]), &["without arrays"]);
    let whole = npz(&[("X", x), ("y", y)], true);
    train(&write(&folder, "cut.npz", &whole[..whole.len() - 30]), &["cut.npz"]);
    // Zeros unpack to a thousand times their size.
    let zeros = npy("|u1", false, "(1, 3000000)", &vec![0; 3_000_000]);
    let path = data(&[("X", zeros), ("y", npy("|u1", false, "(1,)", &[0]))]);
    let run = ["train", "--data", &path, "--max-unpacked", "1"];
    fails(1, &run, &["\"X\"", "--max-unpacked"]);
}

#[test]
fn tensors() {
    use safetensors::{Dtype, tensor::TensorView};
    let folder = folder();
    let expected = expected(&folder);
    let write_file = |features: (&str, Dtype, &[u8]), labels: (&str, Dtype, &[usize], &[u8])| {
        let tensors = [
            (features.0, TensorView::new(features.1, vec![N, D], features.2).unwrap()),
            (labels.0, TensorView::new(labels.1, labels.2.to_vec(), labels.3).unwrap()),
        ];
        write(&folder, "tensors", safetensors::serialize(tensors, None).unwrap())
    };
    let of = |element: &str| (0..N).flat_map(|i| bytes(element, label(i))).collect::<Vec<u8>>();
    let (f4, u1) = (&features("<f4", false)[128..], &features("|u1", false)[128..]);
    let f8 = &features("<f8", false)[128..];
    for (element, dtype) in [
        ("|i1", Dtype::I8),
        ("|u1", Dtype::U8),
        ("<i2", Dtype::I16),
        ("<i4", Dtype::I32),
        ("<i8", Dtype::I64),
        ("<f4", Dtype::F32),
        ("<f8", Dtype::F64),
    ] {
        let path = write_file(("features", Dtype::F32, f4), ("labels", dtype, &[N], &of(element)));
        assert_eq!(objective(&["--data", &path]), expected, "{element}");
    }
    let labels = of("<i8");
    for (dtype, data) in [(Dtype::U8, u1), (Dtype::I8, u1), (Dtype::F64, f8)] {
        let path = write_file(("x", dtype, data), ("y", Dtype::I64, &[N, 1], &labels));
        assert_eq!(objective(&["--data", &path]), expected, "{dtype:?}");
    }
    let path = write_file(("z", Dtype::U8, u1), ("labels", Dtype::I64, &[N], &labels));
    fails(1, &["train", "--data", &path], &["no features", "\"labels\", \"z\""]);
}

#[test]
fn contents_tell_the_format() {
    let folder = folder();
    let expected = expected(&folder);
    let windows = csv().replace('\n', "\r\n");
    for (name, bytes) in [
        ("table.csv.gz", gzip(csv().as_bytes())),
        ("packed", gzip(windows.as_bytes())),
        // Two members, as of files that were joined.
        ("joined.gz", [gzip(&csv().as_bytes()[..100]), gzip(&csv().as_bytes()[100..])].concat()),
        // Filled up to a block, as on a tape.
        ("padded.csv.gz", [gzip(csv().as_bytes()), vec![0; 512]].concat()),
        ("table.data", windows.clone().into_bytes()),
        ("table.txt", windows.replace(',', " ").into_bytes()),
        ("table.tsv", windows.replace(',', "\t").into_bytes()),
    ] {
        assert_eq!(objective(&["--data", &write(&folder, name, bytes)]), expected, "{name}");
    }
    // Sparse rows are summed in another order.
    let path = write(&folder, "svm.csv", svm());
    let sparse = objective(&["--data", &path, "--format", "svmlight"]);
    assert!((sparse - expected).abs() < 1e-6, "{sparse}");
    fails(
        1,
        &["train", "--data", &path],
        &["svm.csv: it looks like SVMlight", "--format svmlight"],
    );
    let path = write(&folder, "csv.svm", csv());
    fails(1, &["train", "--data", &path], &["csv.svm: line 1", "several labels", "--format csv"]);
    assert_eq!(objective(&["--data", &path, "--format", "csv"]), expected);
    for (name, bytes) in [
        ("a1a", svm().into_bytes()),
        ("a1a.t", format!("\u{feff}{}", svm().replace('\n', "\r\n")).into_bytes()),
        ("data.svm.gz", gzip(svm().as_bytes())),
        ("data.gz", gzip(svm().as_bytes())),
    ] {
        assert_eq!(objective(&["--data", &write(&folder, name, bytes)]), sparse, "{name}");
    }
    let path = write(
        &folder,
        "a.csv",
        npz(&[("X", features("<f4", false)), ("y", label_file("<i8", "(60,)"))], false),
    );
    assert_eq!(objective(&["--data", &path]), expected, "an archive that is called CSV");
    fails(1, &["train", "--data", &path, "--format", "csv"], &["a.csv", "UTF-8"]);
    for (format, other) in
        [("csv", "npy"), ("npz", "npy"), ("safetensors", "npz"), ("idx", "svmlight")]
    {
        let bytes = match other {
            "npy" => features("<f4", false),
            "npz" => npz(&[("X", features("<f4", false))], false),
            _ => svm().into_bytes(),
        };
        let path = write(&folder, "data", bytes);
        let words = ["it looks like", &format!("which --format {other} reads")];
        fails(1, &["train", "--data", &path, "--format", format], &words);
    }
    fails(1, &["train", "--data", &path, "--label-column", "y"], &["--label-column", "CSV"]);
}

#[test]
fn standard_input() {
    let folder = folder();
    let expected = expected(&folder);
    let of_input = |bytes: Vec<u8>, more: &[&str]| {
        let mut command = softmargin(&[&["train", "--json", "--data", "-"], more].concat());
        let assert = command.write_stdin(bytes).assert().success();
        let object: serde_json::Value =
            serde_json::from_slice(&assert.get_output().stdout).unwrap();
        object["objective"].as_f64().unwrap()
    };
    let labels = write(&folder, "labels.npy", label_file("<i8", "(60,)"));
    assert_eq!(of_input(csv().into_bytes(), &[]), expected);
    let sparse = objective(&["--data", &write(&folder, "data.svm", svm())]);
    assert_eq!(of_input(gzip(svm().as_bytes()), &[]), sparse);
    assert_eq!(of_input(features("<f4", false), &["--labels", &labels]), expected);
    let arrays = [("X", features("<f8", false)), ("y", label_file("<i8", "(60,)"))];
    assert_eq!(of_input(npz(&arrays, true), &[]), expected);
    fails(1, &["train", "--data", "-", "--labels", "-"], &["standard input"]);
    let twice = ["train", "--data", "-", "--test", "-"];
    let assert = softmargin(&twice).write_stdin(csv()).assert().code(1);
    let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(stderr.contains("standard input: it is given for two files"), "{stderr}");
    let words = ["standard input: line 2, column 2"];
    let assert = softmargin(&["train", "--data", "-"]).write_stdin("1,2,0\n3,x,1\n").assert();
    let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(assert.get_output().status.code() == Some(1) && stderr.contains(words[0]), "{stderr}");
}

/// What has no end is no reason to take all memory.
#[test]
#[cfg(target_os = "linux")]
fn data_without_an_end() {
    for format in ["auto", "csv", "svmlight", "npy", "npz", "safetensors", "idx"] {
        let program = env!("CARGO_BIN_EXE_softmargin");
        let script = format!(
            "ulimit -v 2000000 && exec {program} train --data /dev/zero --max-unpacked 64 --format {format}"
        );
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{format}: {stderr}");
        assert!(stderr.starts_with("error: /dev/zero: "), "{format}: {stderr}");
    }
    let mut yes = Command::new("yes").arg("1,2,0").stdout(Stdio::piped()).spawn().unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_softmargin"))
        .args(["train", "--data", "-", "--max-unpacked", "1"])
        .stdin(yes.stdout.take().unwrap())
        .output()
        .unwrap();
    yes.kill().unwrap();
    yes.wait().unwrap();
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("more than 1048576 bytes") && stderr.contains("--max-unpacked"),
        "{stderr}"
    );
}

#[test]
fn damaged_files() {
    let folder = folder();
    let packed = gzip(csv().as_bytes());
    for (name, bytes, word) in [
        ("cut.csv.gz", packed[..packed.len() - 5].to_vec(), "cut.csv.gz"),
        ("more.csv.gz", [&packed, &b"garbage"[..]].concat(), "more.csv.gz"),
        ("zeros.csv.gz", [&packed, &b"\0\0garbage"[..]].concat(), "zeros, and more after them"),
        ("binary.csv", b"1,2,\0\n3,4,\0\n".to_vec(), "binary"),
        ("binary", b"1,2,\0\n3,4,\0\n".to_vec(), "binary"),
        ("utf16.csv", b"\xff\xfe1\0,\x002\0".to_vec(), "UTF-16"),
        ("latin1.csv", b"a,\xe9,label\n1,2,0\n".to_vec(), "UTF-8"),
        ("empty.csv", Vec::new(), "no samples"),
        ("empty.svm", Vec::new(), "no samples"),
        ("empty.npy", Vec::new(), "not an NPY file"),
        ("empty.gz", gzip(b""), "no samples"),
        ("twice.csv.gz", gzip(&packed), "compressed with gzip twice"),
        ("table.parquet", b"PAR1....".to_vec(), "Parquet"),
    ] {
        let path = write(&folder, name, bytes);
        fails(1, &["train", "--data", &path], &[name, word]);
    }
    fails(1, &["train", "--data", "/no/such/file.csv"], &["/no/such/file.csv", "No such file"]);
}

#[test]
fn folders_of_idx_files_under_other_names() {
    let set = |names: [&str; 2], packed: bool| {
        let folder = folder();
        let pack = |bytes: Vec<u8>| if packed { gzip(&bytes) } else { bytes };
        write(&folder, names[0], pack(images()));
        write(&folder, names[1], pack(labels()));
        folder
    };
    for (names, packed) in [
        (["train-images-idx3-ubyte", "train-labels-idx1-ubyte"], false),
        (["train-images.idx3-ubyte", "train-labels.idx1-ubyte"], false),
        (["train-images.idx3-ubyte.gz", "train-labels.idx1-ubyte.gz"], true),
        (
            [
                "emnist-letters-train-images-idx3-ubyte.gz",
                "emnist-letters-train-labels-idx1-ubyte.gz",
            ],
            true,
        ),
    ] {
        let folder = set(names, packed);
        let run = ["train", "--json", "--data", &text(folder.path())];
        assert_eq!(json(&run)["train_accuracy"], 1.0, "{names:?}");
        // Of the same names for test.
        for part in ["t10k", "test"] {
            for name in names {
                let from = folder.path().join(name);
                fs::copy(from, folder.path().join(name.replace("train", part))).unwrap();
            }
            assert_eq!(json(&run)["test_accuracy"], 1.0, "{names:?}");
            for name in names {
                fs::remove_file(folder.path().join(name.replace("train", part))).unwrap();
            }
        }
        // Two sets are one too many; each of them is a file.
        write(&folder, "other-train-images-idx3-ubyte", images());
        let path = text(folder.path());
        let words = ["several sets", names[0], "other-train-images-idx3-ubyte"];
        fails(1, &["train", "--data", &path], &words);
        let [images, labels] = names.map(|name| text(&folder.path().join(name)));
        let run = ["train", "--json", "--data", &images, "--labels", &labels];
        assert_eq!(json(&run)["train_accuracy"], 1.0);
        fails(1, &["train", "--data", &labels], &["0x00000801"]);
    }
    let folder = set(["train-images-idx3-ubyte", "train-labels-idx1-ubyte"], false);
    write(&folder, "train-images-idx3-ubyte.gz", "not read, as the plain one is there");
    assert!(Path::new(&text(folder.path())).exists());
    json(&["train", "--json", "--data", &text(folder.path())]);
}

/// Names of classes as labels, from training to prediction.
#[test]
fn names_come_back() {
    let folder = folder();
    let names = ["setosa", "virginica", "versicolor"];
    let row = |i: usize| {
        let cells: String = (0..D).map(|l| format!("{},", value(i, l))).collect();
        format!("{cells}{}\n", names[i % 3])
    };
    let table: String = (0..N).map(row).collect();
    let data = write(&folder, "iris.csv", format!("a,b,c,d,species\n{table}"));
    let model = text(&folder.path().join("model"));
    output(&["train", "--data", &data, "--out", &model]);
    let predicted = output(&["predict", "--model", &model, "--data", &data]);
    assert!(predicted.lines().skip(1).all(|line| names.contains(&line)), "{predicted}");
    let unlabelled = table.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned() + "\n");
    let unlabelled = write(&folder, "new.csv", unlabelled.collect::<String>());
    assert_eq!(output(&["predict", "--model", &model, "--data", &unlabelled]), predicted);
    let other = write(&folder, "other.csv", "a,b,c,d,species\n1,0,0,1,rose\n");
    let words = ["other.csv: line 2, column 5", "\"rose\"", "setosa, versicolor, virginica"];
    fails(1, &["evaluate", "--model", &model, "--data", &other], &words);
}
