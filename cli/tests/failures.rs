//! Bad arguments and bad data: the exit code, one clear line, and nothing written.

mod common;

use common::{
    fails, folder, gzip, idx, images, json, labels, npy, output, softmargin, text, write,
};
use std::fs;

#[test]
fn bad_arguments() {
    for (arguments, word) in [
        (&["train", "--l2", "-1"][..], "--l2"),
        (&["train", "--margin", "nan"], "--margin"),
        (&["train", "--loss", "square"], "--loss"),
        (&["train", "--threads", "0"], "at least 1"),
        (&["train", "--batch-size", "0"], "at least 1"),
        (&["train", "--isa", "mmx"], "unknown instruction set \"mmx\""),
        (&["train", "--no-such-flag"], "--no-such-flag"),
        (&["train", "--l2", "1e400"], "too large for f64"),
        (&["train", "--margin", "inf"], "must be finite"),
        (&["train", "--scale", "-1e400"], "too large for f64"),
        (&["train", "--class-weight", "0=1e39"], "the weight 1e39 of \"0\" is too large for f32"),
        (&["evaluate"], "--model"),
    ] {
        fails(
            2,
            arguments,
            if arguments == ["evaluate"] { &[] } else { std::slice::from_ref(&word) },
        );
    }
}

/// What is wrong with a number is said of it, and not that there is no such option.
#[test]
fn numbers_with_a_sign() {
    const OPTIONS: [(&str, &str); 4] = [
        (
            "train",
            "tolerance max-iter gradient-tolerance relative-decrease epochs batch-size learning-rate momentum principal \
             seed validation cv patience l2-path checkpoint-every l2 margin label-smoothing threads image-shape",
        ),
        ("predict", "max-classes max-unpacked max-memory threads"),
        ("gradcheck", "rows parameters seed"),
        ("bench", "density seconds"),
    ];
    for (command, options) in OPTIONS {
        for option in options.split_whitespace() {
            for number in ["-1", "-1e-3", "-.5", "-inf", "-x"] {
                let word = format!("invalid value '{number}' for '--{option} <");
                fails(2, &[command, &format!("--{option}"), number], &[&word]);
            }
        }
    }
    fails(1, &["train", "--data", "/no", "--scale", "-1e-3"], &["/no: No such file"]);
    fails(2, &["train", "--scale", "-1e-60"], &["too small for f32"]);
    let folder = folder();
    let data = write(&folder, "data.csv", "a,label\n1,x\n2,y\n");
    fails(1, &["train", "--data", &data, "--label-column", "-1"], &["no column \"-1\""]);
}

#[test]
fn missing_files() {
    fails(1, &["train", "--data", "/no/such/place"], &["/no/such/place", "No such file"]);
    let empty = folder();
    let path = text(empty.path());
    fails(1, &["train", "--data", &path], &[&path, "no train-images-idx3-ubyte"]);
    write(&empty, "train-images-idx3-ubyte", images());
    fails(1, &["train", "--data", &path], &["no labels"]);
    fails(1, &["evaluate", "--model", "/no/model"], &["cannot read the model /no/model"]);
}

#[test]
fn damaged_idx_files() {
    let bytes = images();
    let huge = idx(0x803, &[u32::MAX, u32::MAX, 1], &[0; 100]);
    let overflowing = idx(0x803, &[u32::MAX; 3], &[]);
    let gzipped = gzip(&bytes);
    for (images, words) in [
        (bytes[..30].to_vec(), &["truncated", "24 bytes", "14"][..]),
        (bytes[..9].to_vec(), &["truncated within its header"]),
        (Vec::new(), &["truncated within its header"]),
        ([&bytes[..], b"x"].concat(), &["more follows the 24 bytes"]),
        (idx(0x801, &[6], &[0; 6]), &["0x00000801", "0x00000803"]),
        (b"GIF89a not an IDX file".to_vec(), &["not an IDX file"]),
        (huge, &["truncated", "but there are 100"]),
        (overflowing, &["overflow"]),
        (idx(0x803, &[0, 2, 2], &[]), &["6 labels"]),
        (idx(0x803, &[5, 2, 2], &[0; 20]), &["5 images", "6 labels"]),
        (gzipped[..gzipped.len() - 12].to_vec(), &["train-images-idx3-ubyte"]),
    ] {
        let folder = folder();
        write(&folder, "train-images-idx3-ubyte", images);
        write(&folder, "train-labels-idx1-ubyte", labels());
        fails(1, &["train", "--data", &text(folder.path())], words);
    }
}

/// A few bytes that say that they unpack to 2 GiB; and a limit that can be moved.
#[test]
fn gzip_bombs() {
    let folder = folder();
    let bomb = gzip(&idx(0x803, &[1 << 20, 1 << 6, 1 << 5], &[0; 1 << 20]));
    write(&folder, "train-images-idx3-ubyte.gz", bomb);
    write(&folder, "train-labels-idx1-ubyte", labels());
    let path = text(folder.path());
    let words = ["promises 2147483648 bytes", "1073741824", "--max-unpacked"];
    fails(1, &["train", "--data", &path], &words);
    fails(1, &["train", "--data", &path, "--max-unpacked", "4096"], &["truncated", "1048576"]);

    write(&folder, "train-images-idx3-ubyte.gz", gzip(&images()));
    fails(1, &["train", "--data", &path, "--max-unpacked", "0"], &["promises 24 bytes"]);
    output(&["train", "--data", &path, "--max-iter", "1"]);
}

/// A mark of UTF-8 at the start, lines that end as on Windows, and none at the end.
#[test]
fn csv_from_elsewhere() {
    let folder = folder();
    let plain = write(&folder, "plain.csv", "a,b,label\n1,2,0\n3,4,1\n");
    let other = write(&folder, "other.csv", "\u{feff}a,b,label\r\n1,2,0\r\n3,4,1");
    let objective = |path: &str| json(&["train", "--json", "--data", path])["objective"].clone();
    assert_eq!(objective(&plain), objective(&other));
    let path = write(&folder, "bytes.csv", b"1,2,0\n\xff\xfe,4,1\n");
    fails(1, &["train", "--data", &path], &["bytes.csv", "UTF-8"]);
}

#[test]
fn no_images_at_all() {
    let folder = folder();
    write(&folder, "train-images-idx3-ubyte", idx(0x803, &[0, 2, 2], &[]));
    write(&folder, "train-labels-idx1-ubyte", idx(0x801, &[0], &[]));
    fails(1, &["train", "--data", &text(folder.path())], &["no samples"]);
    for sizes in [[3, 2, 0], [3, 0, 2]] {
        let path = write(&folder, "train-images-idx3-ubyte", idx(0x803, &sizes, &[]));
        write(&folder, "train-labels-idx1-ubyte", idx(0x801, &[3], &[0, 1, 2]));
        let words = [&*path, "there are no values", &format!("{sizes:?}")];
        fails(1, &["train", "--data", &text(folder.path())], &words);
    }
}

#[test]
fn bad_csv_cells() {
    let folder = folder();
    for (contents, words) in [
        ("1,2,0\n3,oops,1\n", &["line 2", "column 2", "\"oops\"", "no number"][..]),
        ("a,b,label\n1,2,0\n3,,1\n", &["line 3", "column 2", "no number"]),
        ("1,2,0\n3,4,0.5\n", &["line 2", "column 3", "\"0.5\"", "no class"]),
        ("1,2,0\n3,4,inf\n", &["line 2", "column 3", "no class"]),
        ("1,2,0\n3,4,NA\n", &["line 2", "column 3", "label is missing", "NA"]),
        ("1,2,0\n3,4,\n", &["line 2", "column 3", "label is missing"]),
        ("1,2,0\n3,NaN,1\n", &["line 2", "column 2", "not finite"]),
        ("1,2,0\n3,1e39,1\n", &["line 2", "column 2", "1e39", "too large for f32"]),
        ("1,2,0\n3,-1e400,1\n", &["line 2", "column 2", "too large for f32"]),
        ("1;2;0\n3;4,5;1\n", &["line 2", "column 2", "4,5", "decimals"]),
        // Lines as an editor counts them.
        ("a,b,label\r\n1,2,0\r\n\r\n3,oops,1\r\n", &["line 4", "column 2", "\"b\""]),
        ("a,b,label\r1,2,0\r3,oops,1\r", &["line 3", "column 2"]),
        ("a,b,label\n1,2,\"x\ny\"\n3,oops,z\n", &["line 4", "column 2"]),
        ("1,2,0\n3,4\n", &["line 2", "2 columns", "3"]),
        ("a,b,label\n1,0\n", &["line 2", "2 columns", "the header 3"]),
        ("a,label\n1,2,0\n", &["line 2", "3 columns", "the header 2"]),
        ("a,label\n1,0\n2,\"1\n3,1\n4,0\n", &["line 3", "a quote is opened and never closed"]),
        ("a,label\n1,x\n2,\"y\n3,x\"\n", &["line 3", "goes over several lines"]),
        ("label,a,label\n0,1,2\n1,3,4\n", &["columns 1 and 3", "\"label\"", "--ignore-columns"]),
        ("a,label\n7,0\n8,1\nTRUE,1\n", &["line 4", "\"TRUE\" is a truth value", "line 2"]),
        ("a,label\n1,\"1,234\"\n2,\"2,345\"\n", &["line 2", "\"1,234\" is no class"]),
        ("", &["no samples"]),
        ("a,b,label\n", &["no samples"]),
    ] {
        let path = write(&folder, "bad.csv", contents);
        fails(1, &["train", "--data", &path], words);
    }
    let path = write(&folder, "good.csv", "a,b\n1,0\n2,1\n");
    fails(1, &["train", "--data", &path, "--label-column", "c"], &["no column \"c\""]);
    fails(1, &["train", "--data", &path, "--label-column", "7"], &["no column 7"]);
}

/// What is finite before it is scaled, in memory and where it lies in the file.
#[test]
fn scaled_beyond_f32() {
    let folder = folder();
    let csv = write(&folder, "a.csv", "1,0\n2,1\n");
    let values = |values: [f32; 2]| values.map(f32::to_le_bytes).concat();
    let npy = |name, of| write(&folder, name, npy("<f4", false, "(2, 1)", &values(of)));
    let labels = write(&folder, "y.txt", "0\n1\n");
    let (finite, infinite) = (npy("x.npy", [3e38, 2.0]), npy("i.npy", [1.0, f32::INFINITY]));
    let too_large = "row 0, feature 0: scaled, it is too large for f32";
    fails(1, &["train", "--data", &csv, "--scale", "1e300"], &[&csv, too_large]);
    let of_file = |data: &str, factor: &str, words: &[&str]| {
        let train = ["train", "--data", data, "--labels", &labels, "--scale", factor];
        fails(1, &train, &[&[data], words].concat());
    };
    of_file(&finite, "2", &[too_large]);
    of_file(&infinite, "2", &["row 1, feature 0", "inf is not finite"]);
}

/// A few samples a class are few; less than two are of no classes.
#[test]
fn labels_that_may_be_identifiers() {
    let folder = folder();
    let train = |n: usize, classes: usize| {
        let rows: String = (0..n).map(|i| format!("{},id{}\n", i % 7, i % classes)).collect();
        let data = write(&folder, "ids.csv", rows);
        let assert = softmargin(&["train", "--data", &data]).assert().success();
        String::from_utf8_lossy(&assert.get_output().stderr).into_owned()
    };
    let said = train(30, 30);
    assert!(
        said.contains("warning: ") && said.contains("30 distinct labels of 30 samples"),
        "{said}"
    );
    for (n, classes) in [(60, 30), (20, 20)] {
        assert!(!train(n, classes).contains("distinct labels"), "{n} of {classes}");
    }
}

#[test]
fn data_that_does_not_fit() {
    let folder = folder();
    let two = write(&folder, "two.csv", "1,2,0\n3,4,1\n");
    let three = write(&folder, "three.csv", "1,2,3,0\n3,4,5,1\n");
    let more_classes = write(&folder, "more.csv", "1,2,0\n3,4,2\n");
    fails(1, &["train", "--data", &two, "--test", &three], &["test data", "2 features", "3"]);
    fails(1, &["train", "--data", &two, "--test", &more_classes], &["label 2", "2 classes"]);

    let model = text(&folder.path().join("model.safetensors"));
    output(&["train", "--data", &two, "--out", &model]);
    fails(1, &["evaluate", "--model", &model, "--data", &three], &["2 features", "3"]);
    fails(1, &["evaluate", "--model", &model, "--data", &more_classes], &["label 2", "2 classes"]);
    fails(1, &["predict", "--model", &model], &["2 features", "784", "there is no --data"]);
}

#[test]
fn models_that_are_none() {
    let folder = folder();
    for contents in
        [&b""[..], b"\xff\xff\xff\xff\xff\xff\xff\x7f{}", b"\x02\0\0\0\0\0\0\0{}", &[0; 64]]
    {
        let path = write(&folder, "model", contents);
        fails(1, &["predict", "--model", &path], &["cannot read the model", &path]);
    }
}

/// They are not read to their end, which they have not.
#[test]
#[cfg(unix)]
fn files_without_an_end() {
    let folder = folder();
    let zero = "/dev/zero";
    let out = text(&folder.path().join("out"));
    let data = write(&folder, "data.csv", "1,0\n2,1\n");
    let npy = write(&folder, "b.npy", npy("<f4", false, "(1,)", &[0; 4]));
    let (to_model, to_npy) =
        (["convert", "--to", "safetensors"], ["convert", "--to", "npy", "--weight", "w"]);
    for arguments in [
        &["info", zero][..],
        &["predict", "--data", &data, "--model", zero],
        &["train", "--data", &data, "--start", zero],
        &[&to_model[..], &["--model", &out, "--weight", zero, "--bias", &npy]].concat(),
        &[&to_model[..], &["--model", &out, "--weight", &npy, "--bias", zero]].concat(),
        &[&to_npy[..], &["--model", zero, "--bias", "b"]].concat(),
        &["train", "--data", zero],
        &["train", "--data", &npy, "--labels", zero],
    ] {
        fails(1, arguments, &[zero]);
    }
}

/// A file that is written over another one of the same command.
#[test]
fn one_place_for_two_files() {
    let folder = folder();
    let at = |name: &str| text(&folder.path().join(name));
    let (model, weight) = (at("model"), at("w.npy"));
    output(&["train", "--max-iter", "1", "--out", &model]);
    let before = fs::read(&model).unwrap();
    for [to, weight, bias] in [
        ["npy", &weight, &weight],
        ["npy", &model, &weight],
        ["npy", &at("./w.npy"), &weight],
        ["safetensors", &weight, &model],
    ] {
        let files = ["--model", &model, "--weight", weight, "--bias", bias];
        fails(1, &[&["convert", "--to", to], &files[..]].concat(), &["is given for two files"]);
    }
    assert_eq!(fs::read(&model).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    // Data is not replaced by what is made from it.
    let data = at("data.csv");
    fs::write(&data, "1,2,a\n3,4,b\n").unwrap();
    let twice = ["is given for two files"];
    fails(1, &["train", "--data", &data, "--out", &at("./data.csv")], &twice);
    fails(1, &["train", "--data", &model, "--test", &data, "--out", &data], &twice);
    fails(1, &["predict", "--model", &model, "--data", &data, "--out", &data], &twice);
    fails(1, &["predict", "--model", &model, "--data", &data, "--out", &model], &twice);
    assert_eq!(fs::read(&data).unwrap(), b"1,2,a\n3,4,b\n");
    assert_eq!(fs::read(&model).unwrap(), before);
    fs::remove_file(&data).unwrap();
    let new = at("new");
    let nothing = ["train", "--max-iter", "1", "--out", &new, "--report", &new];
    fails(1, &nothing, &["cannot write", &new, "it is a folder"]);
    assert!(!folder.path().join("new").exists());
}

/// Not even the folder for its report.
#[test]
fn a_fit_that_fails_leaves_nothing() {
    let folder = folder();
    let at = |name: &str| text(&folder.path().join(name));
    let (out, report) = (at("model"), at("new/report"));
    let train = ["train", "--l2", "1e300", "--out", &out, "--report", &report];
    fails(1, &train, &["λ is 1e300"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    // A folder that was there stays.
    fs::create_dir(folder.path().join("new")).unwrap();
    fails(1, &train, &["λ is 1e300"]);
    assert_eq!(fs::read_dir(folder.path().join("new")).unwrap().count(), 0);
}

/// What has no meaning for the data is not passed over.
#[test]
fn options_of_other_data() {
    let folder = folder();
    let csv = write(&folder, "a.csv", "a,label\n1,0\n2,1\n");
    let svm = write(&folder, "a.svm", "0 1:1\n1 1:2\n");
    let npy = write(&folder, "x.npy", npy("|u1", false, "(2, 1)", &[1, 2]));
    let labels = write(&folder, "y.txt", "label\n0\n1\n");
    for (option, value, other, kind) in [
        ("--label-column", "0", &svm, "CSV"),
        ("--weight-column", "0", &svm, "CSV"),
        ("--ignore-columns", "0", &svm, "CSV"),
        ("--header", "no", &svm, "CSV"),
        ("--separator", ";", &npy, "CSV"),
        ("--index-base", "0", &csv, "SVMlight"),
        ("--index-base", "1", &npy, "SVMlight"),
    ] {
        let train = ["train", "--data", other, option, value];
        fails(1, &train, &[other, option, &format!("is for {kind} files")]);
        // Nor for the bundled sample.
        fails(2, &["train", option, value], &["required arguments"]);
    }
    fails(2, &["train", "--labels", &labels], &["required arguments"]);
    fails(2, &["train", "--format", "csv"], &["required arguments"]);
    // It may be meant for the labels.
    output(&["train", "--data", &npy, "--labels", &labels, "--header", "yes"]);
}

/// Tensors of other types, other shapes and under other names.
#[test]
fn models_of_another_kind() {
    use safetensors::{Dtype, tensor::TensorView};
    let folder = folder();
    let bytes = [0; 48];
    let model = |tensors: [(&'static str, Dtype, &[usize]); 2]| {
        let view = |(name, dtype, shape): (&'static str, Dtype, &[usize])| {
            let len = shape.iter().product::<usize>() * if dtype == Dtype::I64 { 8 } else { 4 };
            (name, TensorView::new(dtype, shape.to_vec(), &bytes[..len]).expect("a tensor"))
        };
        let tensors = tensors.map(view);
        let bytes = safetensors::serialize(tensors, None).expect("a file");
        write(&folder, "model", bytes)
    };
    let (f32, i64) = (Dtype::F32, Dtype::I64);
    let (two, three, none): (&[usize], &[usize], &[usize]) = (&[2], &[3], &[0]);
    for (tensors, word) in [
        ([("weight", i64, &[2, 3][..]), ("bias", f32, two)], "\"weight\" is I64"),
        ([("weight", f32, &[2, 3]), ("bias", i64, two)], "\"bias\" is I64"),
        ([("weight", f32, &[6]), ("bias", f32, two)], "1 dimensions"),
        ([("weight", f32, &[2, 3]), ("bias", f32, three)], "[3], not [2]"),
        ([("weight", f32, &[0, 3]), ("bias", f32, none)], "0 classes"),
        ([("w", f32, &[2, 3]), ("bias", f32, two)], "no tensor is named \"weight\""),
    ] {
        let path = model(tensors);
        fails(1, &["predict", "--model", &path], &["cannot read the model", &path, word]);
    }
    let bytes = fs::read(model([("weight", f32, &[2, 3]), ("bias", f32, two)])).unwrap();
    for (key, value, word) in [
        ("class_names", r#"["cat", "cat"]"#, "two classes have the name \"cat\""),
        ("labels", "[7, 7]", "two classes have the label 7"),
        ("labels", "[1, 2, 3]", "it names 3 classes, but has 2"),
    ] {
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let metadata = [(key.to_owned(), value.to_owned())].into();
        let bytes = safetensors::serialize(tensors.tensors(), Some(metadata)).unwrap();
        let path = write(&folder, "model", bytes);
        fails(1, &["predict", "--model", &path], &["cannot read the model", &path, word]);
    }
}

/// `nn.Linear(D, 1)` decides between two classes.
#[test]
fn a_model_of_one_row() {
    use safetensors::{Dtype, tensor::TensorView};
    let folder = folder();
    let bytes = [2.0_f32, -1.0, 0.5].map(f32::to_le_bytes).concat();
    let tensors = [("weight", vec![1, 2], &bytes[..8]), ("bias", vec![1], &bytes[8..])];
    let tensors = tensors.map(|(name, shape, bytes)| {
        (name, TensorView::new(Dtype::F32, shape, bytes).expect("a tensor"))
    });
    let file = safetensors::serialize(tensors, None).expect("a file");
    let model = write(&folder, "model", file);
    let rows = write(&folder, "rows.csv", "a,b\n1,0\n0,1\n");
    let predict = ["predict", "--model", &model, "--data", &rows];
    assert_eq!(output(&predict), "label\n1\n0\n");
    let object = json(&[&predict[..], &["--proba", "--json"]].concat());
    for (row, score) in [(0, 2.5_f64), (1, -0.5)] {
        let p = object["probabilities"][row][1].as_f64().expect("a number");
        assert!((p - 1.0 / (1.0 + (-score).exp())).abs() < 1e-6, "{object}");
    }
}

/// An earlier model survives a run that fails, and so does one whose place cannot be written.
#[test]
fn an_earlier_model_survives() {
    let folder = folder();
    let model = write(&folder, "model.safetensors", "precious");
    let values = [1.0_f32, 2.0, 3.0, f32::NAN].map(f32::to_le_bytes).concat();
    let data = write(&folder, "x.npy", npy("<f4", false, "(4, 1)", &values));
    let labels = write(&folder, "y.npy", npy("|u1", false, "(4,)", &[0, 1, 0, 1]));
    // Found by the fit, which reads the values where they lie.
    let train = ["train", "--data", &data, "--labels", &labels, "--out", &model];
    let [validation, path] =
        [&["--validation", "0.5"][..], &["--validation", "0.5", "--l2-path", "1,0.1"]];
    for extra in [&["--solver", "lbfgs"][..], &["--solver", "sgd"], validation, path] {
        let train = [&train[..], extra].concat();
        fails(1, &train, &[&data, "row 3, feature 0", "NaN is not finite"]);
        assert_eq!(fs::read(&model).unwrap(), b"precious");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "a temporary file was left");
    let csv = write(&folder, "data.csv", "1,0\n-1,1\n");
    let words = ["λ is 1e39", "in the range"];
    fails(1, &["train", "--data", &csv, "--l2", "1e39", "--out", &model], &words);
    assert_eq!(fs::read(&model).unwrap(), b"precious");

    fails(1, &["train", "--out", "/no/such/folder/model"], &["cannot write /no/such/folder/model"]);
    let place = text(folder.path());
    fails(1, &["train", "--out", &place], &["cannot write", "it is a folder"]);
}
