//! Training on many processes, by a real `mpirun`: the same bits on any number of them, one message and exit status 1
//! for what goes wrong on any, and no hang. Skipped where there is no `mpirun` or the program is built without the
//! feature `mpi`, unless `SOFTMARGIN_REQUIRE_MPI` is set.

#![cfg(unix)]

mod common;

use assert_cmd::Command;
use common::{folder, gzip, json, npy, text, write};
use rand_xoshiro::{
    Xoshiro256PlusPlus,
    rand_core::{Rng, SeedableRng},
};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command as Process, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_softmargin");

const D: usize = 12;

const C: u32 = 5;

/// Ten chunks of rows.
const N: usize = 20_000;

/// Whether there is what the tests need.
fn available() -> bool {
    let mpirun = Process::new("mpirun").arg("--version").output();
    let missing = match (cfg!(feature = "mpi"), mpirun) {
        (true, Ok(output)) if output.status.success() => return true,
        (false, _) => "feature mpi",
        _ => "mpirun",
    };
    assert!(std::env::var_os("SOFTMARGIN_REQUIRE_MPI").is_none(), "there is no {missing}");
    eprintln!("skipped: there is no {missing}");
    false
}

/// The arguments of `mpirun` for one program, or for several on some ranks each.
fn on_ranks(programs: &[(usize, &[&str])]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for (ranks, arguments) in programs {
        let first = ["--oversubscribe", "--allow-run-as-root"];
        let start = if all.is_empty() { &first[..] } else { &[":"] };
        all.extend(start.iter().map(ToString::to_string));
        all.extend(["-n".to_owned(), ranks.to_string(), PROGRAM.to_owned()]);
        all.extend(arguments.iter().map(ToString::to_string));
    }
    all
}

fn run(programs: &[(usize, &[&str])]) -> Output {
    let mut command = Command::new("mpirun");
    command.args(on_ranks(programs)).env("RAYON_NUM_THREADS", "1");
    // A hang is a failure.
    command.timeout(Duration::from_secs(300)).output().expect("mpirun")
}

/// Runs what must succeed, and returns the object that it prints.
fn trained(ranks: usize, arguments: &[&str]) -> Value {
    let output = run(&[(ranks, &[arguments, &["--json"]].concat())]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON object, of one rank")
}

/// Runs what must fail, with one message that has all of `words`.
fn fails(programs: &[(usize, &[&str])], words: &[&str]) {
    let output = run(programs);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(output.stdout.iter().all(u8::is_ascii_whitespace) || !has_table(&output.stdout));
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "not one error line: {stderr}");
    for word in words {
        assert!(errors[0].contains(word), "no {word:?} in: {stderr}");
    }
}

/// Whether standard output has a result. Open MPI writes there, too, of processes that fail.
fn has_table(stdout: &[u8]) -> bool {
    String::from_utf8_lossy(stdout).contains("accuracy")
}

/// Features with labels that they tell something of, in rows and as `f64` values.
struct Samples {
    x: Vec<f64>,
    labels: Vec<u8>,
}

impl Samples {
    fn new(n: usize, d: usize, seed: u64) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut unit = || (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        let x: Vec<f64> = (0..n * d).map(|_| f64::from((unit() + unit() - 1.0) as f32)).collect();
        let label = |row: &[f64]| ((3.0 + row[0] + row[1] * row[2] + unit()) * 17.0) as u32 % C;
        let labels = x.chunks(d).map(label).map(|label| label as u8).collect();
        Self { x, labels }
    }

    fn f32(&self, d: usize) -> Vec<u8> {
        let bytes: Vec<u8> = self.x.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect();
        npy("<f4", false, &format!("({}, {d})", self.labels.len()), &bytes)
    }

    fn f64(&self, d: usize) -> Vec<u8> {
        let bytes: Vec<u8> = self.x.iter().flat_map(|x| x.to_le_bytes()).collect();
        npy("<f8", false, &format!("({}, {d})", self.labels.len()), &bytes)
    }

    fn labels(&self) -> Vec<u8> {
        npy("|u1", false, &format!("({},)", self.labels.len()), &self.labels)
    }
}

/// A folder with `x.npy`, `wide.npy`, `y.npy`, and `sparse.svm`.
fn data() -> TempDir {
    let folder = folder();
    let samples = Samples::new(N, D, 1);
    write(&folder, "x.npy", samples.f32(D));
    write(&folder, "wide.npy", samples.f64(D));
    write(&folder, "y.npy", samples.labels());
    let mut sparse = String::new();
    for (row, label) in samples.x.chunks(D).zip(&samples.labels).take(5000) {
        sparse +=
            &format!("{label} 1:{} 5:{} 12:{}\n", row[0] as f32, row[2] as f32, row[1] as f32);
    }
    write(&folder, "sparse.svm", sparse);
    folder
}

fn path(folder: &TempDir, name: &str) -> String {
    text(&folder.path().join(name))
}

/// What a fit says, of which all but the time it takes is the same on any number of ranks, to the bits of the model.
fn same_on_any_number(folder: &TempDir, case: usize, train: &[&str]) -> Value {
    let mut first: Option<(Vec<u8>, Value)> = None;
    for ranks in [1, 2, 3, 4, 7] {
        let out = path(folder, &format!("model-{case}-{ranks}"));
        let mut object = trained(ranks, &[train, &["--out", &out]].concat());
        assert_eq!(object["processes"], ranks);
        for other in ["processes", "seconds", "threads"] {
            object[other] = Value::Null;
        }
        if let Some(cv) = object["cross_validation"].as_object_mut() {
            cv.remove("seconds");
        }
        let model = fs::read(&out).expect("a model");
        let (first_model, first_object) = first.get_or_insert((model.clone(), object.clone()));
        assert_eq!(*first_object, object, "case {case}, {ranks} ranks");
        assert!(*first_model == model, "case {case}, {ranks} ranks: other bits");
    }
    first.expect("some runs").1
}

#[test]
fn the_same_bits_on_any_number_of_ranks() {
    if !available() {
        return;
    }
    let folder = data();
    let [x, wide, y, sparse] =
        ["x.npy", "wide.npy", "y.npy", "sparse.svm"].map(|name| path(&folder, name));
    // Losses of one size are added up exactly in `f64`, in any order; those that count so little are not.
    let weights = ["--class-weight", "1=1e-7,3=1e-9"];
    let plain = [&["--data", &x, "--labels", &y, "--l2", "1e-3"], &weights[..]].concat();
    // Converted on the way, by each rank its rows.
    let converted = ["--data", &wide, "--labels", &y, "--loss", "squared-hinge", "--scale", "0.5"];
    let converted = [&converted[..], &["--class-weight", "balanced", "--l2", "1e-3"]].concat();
    let sparse = ["--data", &sparse, "--l2", "1e-3"];
    let standardized = ["--data", &x, "--labels", &y, "--l2", "1e-3", "--standardize"];
    let of_wide = ["--data", &wide, "--labels", &y, "--l2", "1e-3", "--standardize"];
    let of_sparse = [&sparse[..], &["--standardize"]].concat();
    let newton = [&standardized[..], &["--solver", "newton"]].concat();
    let newton_of_wide = [&converted[..], &["--solver", "newton"]].concat();
    let cases = [&plain[..], &converted, &sparse, &standardized, &of_wide, &of_sparse];
    let cases = cases.into_iter().chain([&newton[..], &newton_of_wide]);
    for (case, arguments) in cases.enumerate() {
        let object = same_on_any_number(&folder, case, &[&["train"], arguments].concat());
        // And it is the model that one process has, to rounding.
        let alone = json(&[&["train", "--json"], arguments].concat());
        assert_eq!(object["converged"], true);
        // As far as the optimum as one process says; unless classes count too little for a bound.
        let [gap, of_one] = [&object, &alone].map(|object| object["gap"].as_f64());
        assert!(gap.is_some() && of_one.is_some() || case == 0, "case {case}: {gap:?}, {of_one:?}");
        if let (Some(gap), Some(of_one)) = (gap, of_one) {
            assert!(gap <= 2.0 * of_one + 1e-5, "case {case}: {gap:e}, {of_one:e}");
        }
        let objective = |object: &Value| object["objective"].as_f64().expect("a number");
        let difference = (objective(&alone) - objective(&object)).abs();
        // Which shows, as it sums in another order: that this can fail.
        assert!(case > 0 || difference > 0.0, "any order has these bits");
        assert!(difference <= 1e-6 * objective(&alone), "case {case}: {difference:e}");
        let samples = |object: &Value| -> f64 {
            let classes = object["metrics"]["classes"].as_array().expect("classes");
            classes.iter().map(|class| class["samples"].as_f64().expect("a number")).sum()
        };
        assert_eq!(samples(&alone), samples(&object), "not each is predicted once");
    }
}

/// Rank 0 takes the steps, the others evaluate with it.
#[test]
fn solvers_of_one_sample_after_the_other() {
    if !available() {
        return;
    }
    let folder = data();
    let [x, wide, y, sparse] =
        ["x.npy", "wide.npy", "y.npy", "sparse.svm"].map(|name| path(&folder, name));
    let dual = ["--data", &x, "--labels", &y, "--loss", "hinge", "--tolerance", "1e-2"];
    let dual = [&dual[..], &["--l2", "1e-2"]].concat();
    let of_wide = ["--data", &wide, "--labels", &y, "--solver", "dual", "--standardize"];
    let of_wide = [&of_wide[..], &["--loss", "crammer-singer", "--l2", "1e-2"]].concat();
    let sgd = ["--data", &wide, "--labels", &y, "--solver", "sgd", "--epochs", "3"];
    let lazy = ["--data", &sparse, "--solver", "sgd", "--epochs", "3", "--l2", "1e-3"];
    let held_out = ["--loss", "hinge", "--validation", "0.3", "--patience", "2"];
    let held_out = [&lazy[..], &held_out].concat();
    let folds = ["--data", &sparse, "--loss", "hinge", "--cv", "2", "--l2-path", "0.1,1"];
    let folds = [&folds[..], &["--epochs", "8"]].concat();
    for (case, (arguments, steps_alike)) in [
        (&dual[..], false),
        (&of_wide, false),
        (&folds, false),
        (&sgd, true),
        (&lazy, true),
        (&held_out, true),
    ]
    .into_iter()
    .enumerate()
    {
        let train = [&["train"], arguments].concat();
        let object = same_on_any_number(&folder, case, &train);
        let out = path(&folder, &format!("alone-{case}"));
        let alone = json(&[&train[..], &["--json", "--out", &out]].concat());
        let [here, there] = [&object, &alone].map(|object| object["objective"].as_f64().unwrap());
        let difference = (here - there).abs();
        if steps_alike {
            assert!(difference <= 1e-6 * there, "case {case}: {difference:e}");
            let parameters = |model: &str| {
                let file = fs::read(model).expect("a model");
                file[file.len() - 4 * C as usize * (D + 1)..].to_vec()
            };
            let model = path(&folder, &format!("model-{case}-3"));
            assert!(parameters(&model) == parameters(&out), "case {case}: other bits");
        } else {
            let gaps = [&object, &alone].map(|object| object["gap"].as_f64().expect("a bound"));
            assert_eq!(object["l2"], alone["l2"], "case {case}");
            assert_eq!(object["stop_reason"], alone["stop_reason"], "case {case}");
            assert!(difference <= gaps[0] + gaps[1], "case {case}: {difference:e}");
        }
    }
}

/// Of three chunks, so that some of seven ranks have no rows.
#[test]
fn early_stopping_on_any_number_of_ranks() {
    if !available() {
        return;
    }
    let folder = folder();
    let samples = Samples::new(5000, 96, 4);
    let x = write(&folder, "x.npy", samples.f32(96));
    let wide = write(&folder, "wide.npy", samples.f64(96));
    let y = write(&folder, "y.npy", samples.labels());
    let mut stopped = 0;
    for (case, (x, more)) in [
        (&x, &["--standardize"][..]),
        (&wide, &["--class-weight", "balanced", "--loss", "squared-hinge"]),
        (&x, &["--solver", "newton"]),
    ]
    .into_iter()
    .enumerate()
    {
        let train = ["train", "--data", x, "--labels", &y, "--l2", "1e-6", "--seed", "5"];
        let train = [&train[..], &["--validation", "0.4", "--patience", "1"], more].concat();
        let object = same_on_any_number(&folder, case, &train);
        stopped += usize::from(object["stop_reason"] == "early_stopping");
        // The rows are those that one process holds out, and so is what becomes of them.
        let alone = json(&[&train[..], &["--json"]].concat());
        let number = |object: &Value, name: &str| object[name].as_f64().expect("a number");
        for name in ["validation_loss", "validation_accuracy", "train_accuracy"] {
            let [here, there] = [&object, &alone].map(|object| number(object, name));
            assert!((here - there).abs() < 2e-3, "case {case}, {name}: {here} and {there}");
        }
        let samples = |object: &Value| -> f64 {
            let classes = object["metrics"]["classes"].as_array().expect("classes");
            classes.iter().map(|class| number(class, "samples")).sum()
        };
        assert_eq!((samples(&object), samples(&alone)), (2000.0, 2000.0));
    }
    assert!(stopped > 0, "nothing is stopped early");
}

/// Each λ from the one before, and the best one by what is held out.
#[test]
fn a_path_on_any_number_of_ranks() {
    if !available() {
        return;
    }
    let folder = data();
    let [x, wide, y] = ["x.npy", "wide.npy", "y.npy"].map(|name| path(&folder, name));
    for (case, (x, solver)) in [(&x, "lbfgs"), (&wide, "newton")].into_iter().enumerate() {
        let train = ["train", "--data", x, "--labels", &y, "--solver", solver];
        let train = [&train[..], &["--validation", "0.2", "--l2-path", "1e-4,1,1e-2"]].concat();
        let object = same_on_any_number(&folder, case, &train);
        let alone = json(&[&train[..], &["--json"]].concat());
        let points = |object: &Value| object["l2_path"].as_array().expect("a path").clone();
        let pairs = points(&object).into_iter().zip(points(&alone));
        for ((here, there), l2) in pairs.zip([1.0, 1e-2, 1e-4]) {
            assert_eq!((&here["l2"], &there["l2"]), (&l2.into(), &l2.into()));
            for name in ["validation_loss", "validation_accuracy"] {
                let [here, there] = [&here, &there].map(|point| point[name].as_f64().expect("one"));
                assert!((here - there).abs() < 1e-3, "case {case}, {name}: {here} and {there}");
            }
        }
    }
}

/// The folds are those of one process, by the numbers of their rows, and what is held out says the same of each λ.
#[test]
fn cross_validation_on_any_number_of_ranks() {
    if !available() {
        return;
    }
    let folder = data();
    let [x, wide, y, sparse] =
        ["x.npy", "wide.npy", "y.npy", "sparse.svm"].map(|name| path(&folder, name));
    for (case, more) in [
        &["--data", &x, "--labels", &y, "--standardize", "--seed", "3"][..],
        &["--data", &wide, "--labels", &y, "--solver", "newton", "--class-weight", "balanced"],
        &["--data", &sparse, "--loss", "squared-hinge"],
    ]
    .into_iter()
    .enumerate()
    {
        let train = ["train", "--cv", "3", "--l2-path", "1e-3,1,3e-2"];
        let train = [&train[..], more].concat();
        let object = same_on_any_number(&folder, case, &train);
        let alone = json(&[&train[..], &["--json"]].concat());
        assert_eq!(object["converged"], true);
        assert_eq!(object["l2"], alone["l2"], "case {case}");
        let points = |object: &Value| object["cross_validation"]["path"].as_array().cloned();
        let pairs = points(&object).into_iter().flatten().zip(points(&alone).expect("a path"));
        let mut compared = 0;
        for ((here, there), l2) in pairs.zip([1.0, 3e-2, 1e-3]) {
            assert_eq!((&here["l2"], &there["l2"]), (&l2.into(), &l2.into()));
            let folds = |point: &Value| point["folds"].as_array().expect("folds").clone();
            for (here, there) in folds(&here).into_iter().zip(folds(&there)) {
                for (name, most) in [("loss", 1e-3), ("accuracy", 2e-3), ("weight", 1e-3)] {
                    let [here, there] = [&here, &there].map(|fold| fold[name].as_f64());
                    let (here, there) = here.zip(there).expect("numbers");
                    let difference = (here - there).abs() / there;
                    assert!(difference < most, "case {case}, {name}: {here} and {there}");
                    compared += 1;
                }
            }
        }
        assert_eq!(compared, 27, "case {case}");
    }
}

/// Whether it is trained on or held out, the row of one rank ends all, as does what all see.
#[test]
fn what_goes_wrong_in_cross_validation_ends_all() {
    if !available() {
        return;
    }
    let folder = data();
    let y = path(&folder, "y.npy");
    let mut samples = Samples::new(N, D, 1);
    samples.x[15_000 * D + 3] = f64::NAN;
    let out = write(&folder, "model", "precious");
    let options = ["--cv", "3", "--l2-path", "1,0.1", "--out", &out];
    for (name, bytes) in [("bad.npy", samples.f32(D)), ("bad-wide.npy", samples.f64(D))] {
        let x = write(&folder, name, bytes);
        let train = [&["train", "--data", &x, "--labels", &y], &options[..]].concat();
        for ranks in [1, 4] {
            let words = [name, "row 15000, feature 3", "NaN is not finite"];
            fails(&[(ranks, &train)], &words);
        }
    }
    let x = path(&folder, "x.npy");
    let train = [&["train", "--data", &x, "--labels", &y], &options[..]].concat();
    let other = [&train[..], &["--seed", "1"]].concat();
    fails(&[(2, &train), (1, &other)], &["rank 2 has", "held-out rows", "rank 0"]);
    let many = ["train", "--data", &x, "--labels", &y, "--cv", "20001", "--out", &out];
    fails(&[(3, &many)], &["20001 folds"]);
    assert_eq!(fs::read(&out).expect("a file"), b"precious");
}

/// Saved on some ranks, on others to its end; but not without `mpirun`, which has other bits.
#[test]
fn a_checkpoint_is_of_any_number_of_ranks() {
    if !available() {
        return;
    }
    let folder = data();
    let [x, wide, y, whole] = ["x.npy", "wide.npy", "y.npy", "whole"].map(|n| path(&folder, n));
    let held_out = ["--validation", "0.3", "--patience", "3"];
    for (case, (x, more)) in
        [(&x, &[][..]), (&wide, &[]), (&x, &held_out), (&wide, &held_out)].into_iter().enumerate()
    {
        let train =
            ["train", "--data", x, "--labels", &y, "--l2", "1e-4", "--relative-decrease", "0"];
        let train = [&train[..], &["--gradient-tolerance", "0"], more].concat();
        let expected = trained(2, &[&train[..], &["--out", &whole]].concat());
        let model = fs::read(&whole).expect("a model");
        for (first, then) in [(3, 1), (1, 4), (2, 2)] {
            let [out, checkpoint] =
                ["out", "checkpoint"].map(|n| path(&folder, &format!("{n}-{case}-{first}")));
            let saved = [&train[..], &["--out", &out, "--checkpoint", &checkpoint]].concat();
            let part = trained(first, &[&saved[..], &["--max-iter", "3"]].concat());
            assert_eq!(part["iterations"], 3);
            if first == 1 {
                common::fails(1, &saved, &["its sums: under mpirun"]);
            }
            let object = trained(then, &saved);
            assert_eq!(object["resumed_at"], 3);
            for same in ["objective", "iterations", "evaluations", "stop_reason", "metrics"] {
                assert_eq!(object[same], expected[same], "{same} of {first} and {then} ranks");
            }
            assert_eq!(object["validation_loss"], expected["validation_loss"]);
            assert!(fs::read(&out).expect("a model") == model, "{first}, {then}: other bits");
            let other = [&saved[..], &["--loss", "squared-hinge"]].concat();
            fails(&[(2, &other)], &["checkpoint", "loss was cross_entropy"]);
        }
    }
}

/// Lines of an SVMlight file of five chunks, of many blocks, and of all that is decided from the whole file: the number of
/// features by the first sample; what indices count from, and a label, by the last one.
fn sparse_lines() -> Vec<String> {
    let samples = Samples::new(9000, D, 6);
    let rows = samples.x.chunks(D).zip(&samples.labels);
    let line = |(row, label): (&[f64], &u8)| {
        let [a, b, c] = [0, 2, 1].map(|i| row[i] as f32);
        format!("{label} 1:{a} 5:{b} 12:{c} # a sample")
    };
    let mut lines: Vec<String> = rows.map(line).collect();
    lines[0] += " \r# and a comment";
    lines[0].insert_str(0, "4 30:0.5\n");
    lines[4000] += "\n\n# more";
    lines.push("other 0:1.5 2:0.25".to_owned());
    lines
}

/// Each rank reads its rows only, and of a gzipped file all of them.
#[test]
fn a_sparse_file_is_divided() {
    if !available() {
        return;
    }
    let folder = folder();
    let contents = sparse_lines().join("\r\n");
    let plain = write(&folder, "plain.svm", &contents);
    let gzipped = write(&folder, "gzipped.svm.gz", gzip(contents.as_bytes()));
    for (case, more) in [
        &["--standardize", "--validation", "0.2", "--patience", "2"][..],
        &["--solver", "newton", "--scale", "0.5", "--class-weight", "balanced"],
    ]
    .into_iter()
    .enumerate()
    {
        let train = |data| [&["train", "--data", data, "--l2", "1e-3"], more].concat();
        let object = same_on_any_number(&folder, case, &train(&plain));
        assert_eq!(object["metrics"]["classes"].as_array().expect("classes").len(), 6);
        let out = path(&folder, "of-all");
        trained(3, &[&train(&gzipped)[..], &["--out", &out]].concat());
        let [whole, divided] = [out, path(&folder, &format!("model-{case}-3"))]
            .map(|path| fs::read(path).expect("a model"));
        assert!(whole == divided, "case {case}: other bits");
    }
}

#[test]
fn a_bad_line_of_one_rank_ends_all() {
    if !available() {
        return;
    }
    let folder = folder();
    let mut lines = sparse_lines();
    let good = write(&folder, "good.svm", lines.join("\n"));
    lines[7000] = "1 1:0.5 5:one".to_owned();
    lines[8999] = "1 2:1 2:1".to_owned();
    let bad = write(&folder, "bad.svm", lines.join("\n"));
    let train = |data| ["train", "--data", data, "--l2", "1e-3"];
    // The first of the two, by its line: before it, four lines are no samples or not among `lines`.
    for ranks in [1, 2, 4, 7] {
        fails(&[(ranks, &train(&bad))], &["bad.svm", "line 7005", "\"5:one\" is no index:value"]);
    }
    let missing = path(&folder, "missing.svm");
    fails(
        &[(2, &train(&good)), (1, &train(&missing))],
        &["rank 2: ", "missing.svm", "No such file"],
    );
    fails(&[(1, &train(&missing)), (1, &train(&good))], &["missing.svm", "No such file"]);
    let words = ["rank 1 has an SVMlight file of", "but rank 0 an SVMlight file of"];
    fails(&[(1, &train(&good)), (2, &train(&bad))], &words);
    let other = write(&folder, "good.svm.gz", gzip(lines.join("\n").as_bytes()));
    fails(&[(1, &train(&good)), (1, &train(&other))], &["rank 1 has data that each rank reads"]);
    let of_one_number = write(&folder, "numbers.svm", "1 1:1\n1.5 2:1\n");
    fails(&[(3, &train(&of_one_number))], &["numbers.svm", "line 2: \"1.5\" is no class"]);
    fails(&[(2, &train(&write(&folder, "none.svm", "# nothing\n")))], &["there are no samples"]);
}

/// Row 15000 is of the fourth rank of four.
#[test]
fn a_bad_value_of_one_rank_ends_all() {
    if !available() {
        return;
    }
    let folder = data();
    let mut samples = Samples::new(N, D, 1);
    samples.x[15_000 * D + 3] = f64::NAN;
    samples.x[19_000 * D] = f64::INFINITY;
    let y = path(&folder, "y.npy");
    let out = write(&folder, "model", "precious");
    for (name, bytes) in [("bad.npy", samples.f32(D)), ("bad-wide.npy", samples.f64(D))] {
        let x = write(&folder, name, bytes);
        let train = ["train", "--data", &x, "--labels", &y, "--out", &out];
        for ranks in [1, 2, 4] {
            let words = [name, "row 15000, feature 3", "NaN is not finite"];
            fails(&[(ranks, &train)], &words);
            for more in [&["--standardize"][..], &["--solver", "sgd"], &["--loss", "hinge"]] {
                fails(&[(ranks, &[&train[..], more].concat())], &words);
            }
        }
    }
    assert_eq!(fs::read(&out).expect("a file"), b"precious");
    let left: Vec<_> = fs::read_dir(folder.path()).expect("a folder").collect();
    assert_eq!(left.len(), 7, "something is left behind");

    // Whether it is trained on or held out.
    let mut samples = Samples::new(N, D, 1);
    samples.x[15_000 * D + 3] = f64::NAN;
    let x = write(&folder, "bad.npy", samples.f32(D));
    let train = ["train", "--data", &x, "--labels", &y, "--out", &out, "--validation", "0.5"];
    let mut places = [0, 0];
    for seed in 0..4 {
        let (_, held_out) = softmargin::train::split(N as u32, 0.5, seed);
        places[usize::from(held_out.contains(&15_000))] += 1;
        let seed = seed.to_string();
        let train = [&train[..], &["--seed", &seed]].concat();
        fails(&[(3, &train)], &["bad.npy", "row 15000, feature 3", "NaN is not finite"]);
    }
    assert!(places[0] > 0 && places[1] > 0, "{places:?}");
}

#[test]
fn ranks_that_differ() {
    if !available() {
        return;
    }
    let folder = data();
    let [x, y, out, missing] = ["x.npy", "y.npy", "model", "missing.npy"].map(|n| path(&folder, n));
    let others = write(&folder, "others.npy", Samples::new(N, D, 2).labels());
    let train = ["train", "--data", &x, "--labels", &y, "--out", &out];
    let missing = ["train", "--data", &missing, "--labels", &y, "--out", &out];
    fails(&[(2, &train), (1, &missing), (1, &train)], &["rank 2: ", "missing.npy", "No such file"]);
    fails(&[(1, &missing), (2, &train)], &["missing.npy", "No such file"]);
    let others = ["train", "--data", &x, "--labels", &others, "--out", &out];
    fails(&[(3, &train), (1, &others)], &["rank 3 has", "labels that hash to", "rank 0"]);
    let held_out = [&train[..], &["--validation", "0.1"]].concat();
    let of_other_seed = [&held_out[..], &["--seed", "1"]].concat();
    fails(&[(2, &held_out), (1, &of_other_seed)], &["rank 2 has", "held-out rows", "rank 0"]);
    if softmargin::Isa::available().len() > 1 {
        let portable = [&train[..], &["--isa", "portable"]].concat();
        fails(&[(1, &train), (1, &portable)], &["rank 1 has", "portable", "--isa"]);
    }
    assert!(!Path::new(&out).exists());
}

#[test]
fn what_is_not_for_many_is_said_before_anything_is_read() {
    if !available() {
        return;
    }
    let missing = ["--data", "missing.npy", "--labels", "missing.npy"];
    let path = ["--solver", "sgd", "--cv", "3"];
    fails(&[(2, &[&["train"], &missing[..], &path].concat())], &["--cv", "sgd does not"]);
    fails(&[(2, &["train", "--data", "-", "--labels", "y.npy"])], &["standard input"]);
    fails(&[(2, &["predict", "--model", "missing"])], &["only train", "2"]);
}

/// Without an end that would come soon.
fn long(folder: &TempDir) -> [String; 2] {
    let samples = Samples::new(60_000, 96, 3);
    [write(folder, "long.npy", samples.f32(96)), write(folder, "long-y.npy", samples.labels())]
}

/// Whether a process is there, and is not only waiting to be forgotten.
fn runs(process: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains("(zombie)"))
}

#[test]
fn a_rank_that_is_killed_ends_all() {
    if !available() {
        return;
    }
    let folder = folder();
    let [x, y] = long(&folder);
    let out = write(&folder, "model", "precious");
    let train = ["train", "--data", &x, "--labels", &y, "--out", &out, "--max-iter", "100000"];
    let train = [&train[..], &["--relative-decrease", "0", "--gradient-tolerance", "0"]].concat();
    for victim in [0, 3] {
        let mut mpirun = Process::new("mpirun")
            .args(on_ranks(&[(4, &train)]))
            .env("RAYON_NUM_THREADS", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("mpirun");
        let stderr = BufReader::new(mpirun.stderr.take().expect("a pipe"));
        let mut lines = stderr.lines().map_while(Result::ok);
        assert!(lines.any(|line| line.starts_with("iteration 0/")), "nothing was begun");
        let id = mpirun.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let ranks: Vec<String> =
            children.expect("Linux").split_whitespace().map(str::to_owned).collect();
        assert_eq!(ranks.len(), 4, "{ranks:?}");
        let killed = Process::new("kill").args(["-9", &ranks[victim]]).status();
        assert!(killed.expect("kill").success());
        let (start, limit) = (Instant::now(), Duration::from_secs(60));
        lines.for_each(drop);
        let status = mpirun.wait().expect("ended");
        assert!(!status.success() && start.elapsed() < limit, "{status}");
        while ranks.iter().any(|rank| runs(rank)) {
            assert!(start.elapsed() < limit, "ranks are left");
            sleep(Duration::from_millis(10));
        }
        assert_eq!(fs::read(&out).expect("a file"), b"precious");
    }
}

/// Each of the processes would do the whole work, and write the same file.
#[test]
#[cfg(not(feature = "mpi"))]
fn a_program_without_mpi_says_so() {
    let of_processes = |n: &str| {
        let mut command = common::softmargin(&["train", "--max-iter", "1"]);
        command.env("OMPI_COMM_WORLD_SIZE", n).assert()
    };
    let assert = of_processes("4").code(1);
    let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(stderr.contains("started this program 4 times") && stderr.contains("without MPI"));
    of_processes("1").success();
}

#[test]
fn one_process_without_a_launcher() {
    assert_eq!(json(&["train", "--max-iter", "1", "--json"])["processes"], 1);
}
