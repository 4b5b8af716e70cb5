//! A fit that is killed and started again ends with the same bits as one that never was; its checkpoint is whole at any
//! moment, and one of another run is refused before anything is written.

#![cfg(unix)]

mod common;

use common::{fails, folder, json, npy, output, softmargin, text, write};
use rand_xoshiro::{
    Xoshiro256PlusPlus,
    rand_core::{Rng, SeedableRng},
};
use safetensors::SafeTensors;
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::Instant,
};
use tempfile::TempDir;

/// A folder with `x.npy` and `y.npy`, `wide.npy` with the same features as `f64`, and `other.npy` with others.
fn data(n: usize, d: usize) -> TempDir {
    let folder = folder();
    let mut random = Xoshiro256PlusPlus::seed_from_u64(3);
    let mut unit = || (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    let x: Vec<f32> =
        (0..n * d).map(|i| (unit() + unit() - 1.0) as f32 * (i % d.min(20)) as f32).collect();
    let weights: Vec<f32> = (0..6 * d).map(|_| unit() as f32 - 0.5).collect();
    let mut label = |row: &[f32]| {
        let score = |of_class: &[f32]| of_class.iter().zip(row).map(|(w, x)| w * x).sum::<f32>();
        let scores = weights.chunks(d).map(|of_class| score(of_class) + 8.0 * unit() as f32);
        let best = scores.enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b));
        best.map_or(0, |(class, _)| class as u8)
    };
    let labels: Vec<u8> = x.chunks(d).map(&mut label).collect();
    let shape = format!("({n}, {d})");
    let narrow = |x: &[f32]| x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let wide: Vec<u8> = x.iter().flat_map(|x| f64::from(*x).to_le_bytes()).collect();
    write(&folder, "x.npy", npy("<f4", false, &shape, &narrow(&x)));
    write(&folder, "wide.npy", npy("<f8", false, &shape, &wide));
    write(&folder, "y.npy", npy("|u1", false, &format!("({n},)"), &labels));
    let mut other = x;
    other[d + 1] += 0.5;
    write(&folder, "other.npy", npy("<f4", false, &shape, &narrow(&other)));
    folder
}

fn path(folder: &TempDir, name: &str) -> String {
    text(&folder.path().join(name))
}

/// What is the same of a fit that was never interrupted and of one that was.
fn lasting(mut object: Value) -> Value {
    for other in ["seconds", "resumed_at"] {
        object[other] = Value::Null;
    }
    object
}

#[test]
fn killed_and_started_again() {
    killed_again_and_again(&[]);
}

/// Patience does not end it, so that there are moments before and after the best model.
#[test]
fn killed_and_started_again_with_samples_held_out() {
    let expected = killed_again_and_again(&["--validation", "0.3", "--patience", "1000"]);
    assert!(expected["validation_loss"].as_f64() > Some(0.0), "{expected}");
}

/// At moments all over the run, again and again, until it comes to its end. Returns what that is.
fn killed_again_and_again(arguments: &[&str]) -> Value {
    let folder = data(3000, 20);
    let [x, y, whole, out, checkpoint] =
        ["x.npy", "y.npy", "whole", "out", "checkpoint"].map(|name| path(&folder, name));
    let train = ["train", "--data", &x, "--labels", &y, "--l2", "1e-4", "--json"];
    let train = [&train[..], arguments].concat();
    let train = [&train[..], &["--relative-decrease", "0", "--gradient-tolerance", "0"]].concat();
    let train = [&train[..], &["--max-iter", "60"]].concat();
    let expected = json(&[&train[..], &["--out", &whole]].concat());
    assert!(expected["iterations"].as_u64() > Some(10), "{expected}");
    assert_eq!(expected["resumed_at"], Value::Null);

    let saved = ["--out", &out, "--checkpoint", &checkpoint, "--checkpoint-every", "1"];
    let saved = [&train[..], &saved].concat();
    let start = Instant::now();
    json(&saved);
    let time = start.elapsed();
    for result in [&out, &checkpoint] {
        fs::remove_file(result).expect("removed");
    }
    let (mut killed, mut begun, mut last) = (0, 0, 0);
    let object: Value = loop {
        let mut command = Command::new(env!("CARGO_BIN_EXE_softmargin"));
        command.args(&saved).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("started");
        // The first kill comes so early that enough is left for the next.
        let part = if killed == 0 { 0.1 } else { 0.3 + 0.05 * f64::from(killed % 7) };
        sleep(time.mul_f64(part));
        child.kill().expect("killed, or over");
        let output = child.wait_with_output().expect("ended");
        let Ok(bytes) = fs::read(&checkpoint) else {
            killed += 1;
            continue;
        };
        assert!(SafeTensors::deserialize(&bytes).is_ok(), "half a checkpoint");
        if output.status.success() {
            break serde_json::from_slice(&output.stdout).expect("JSON");
        }
        killed += 1;
        begun += usize::from(bytes.len() > last);
        last = bytes.len();
        assert!(killed < 200, "it does not come to an end");
    };
    println!("killed {killed} times");
    assert!(killed > 1 && begun > 0, "killed {killed} times, with a checkpoint {begun} times");
    assert!(object["resumed_at"].as_u64() > Some(0), "{object}");
    assert_eq!(lasting(object), lasting(expected.clone()));
    assert!(fs::read(&out).expect("a model") == fs::read(&whole).expect("a model"), "other bits");
    let mut left: Vec<_> = fs::read_dir(folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    left.sort();
    let all = ["checkpoint", "other.npy", "out", "whole", "wide.npy", "x.npy", "y.npy"];
    assert_eq!(left, all, "something is left behind");
    expected
}

/// A fit that is to end by patience goes on from before its best model, from there, and from where it ended; however the
/// data is read.
#[test]
fn goes_on_to_where_patience_ends_it() {
    let folder = data(240, 40);
    let [x, wide, other, y] =
        ["x.npy", "wide.npy", "other.npy", "y.npy"].map(|name| path(&folder, name));
    for (case, arguments) in [
        &["--data", &x, "--standardize"][..],
        &["--data", &wide, "--max-memory", "0", "--loss", "squared-hinge"],
        &["--data", &x, "--loss", "hinge", "--solver", "lbfgs", "--class-weight", "balanced"],
    ]
    .into_iter()
    .enumerate()
    {
        let train = ["train", "--labels", &y, "--l2", "0", "--json", "--relative-decrease", "0"];
        let held_out = ["--gradient-tolerance", "0", "--validation", "0.5", "--patience", "5"];
        let train = [&train[..], &held_out, arguments].concat();
        let [whole, out, first] =
            ["whole", "out", "first"].map(|name| path(&folder, &format!("{name}-{case}")));
        let expected = json(&[&train[..], &["--out", &whole]].concat());
        assert_eq!(expected["stop_reason"], "early_stopping", "case {case}: {expected}");
        let last = expected["iterations"].as_u64().expect("a count");
        let best = last - 5;
        assert!(best > 1, "case {case}: the best is iteration {best}");
        for at in 1..=last {
            let checkpoint = path(&folder, &format!("checkpoint-{case}-{at}"));
            let saved = [&train[..], &["--checkpoint", &checkpoint, "--out"]].concat();
            let limit = ["--max-iter", &at.to_string()];
            let part = json(&[&saved[..], &[&first], &limit[..]].concat());
            assert_eq!(part["iterations"], at, "case {case}");
            if !Path::new(&checkpoint).exists() {
                // The first iteration of a fit from zero may be one that is not saved.
                assert_eq!(at, 1);
                continue;
            }
            let object = json(&[&saved[..], &[&out]].concat());
            assert_eq!(object["resumed_at"], at, "case {case}");
            assert_eq!(lasting(object), lasting(expected.clone()), "case {case}, from {at}");
            let model = fs::read(&whole).expect("a model");
            assert!(fs::read(&out).expect("a model") == model, "case {case}: other bits");
        }
        if case > 0 {
            continue;
        }
        // With other samples held out, with another patience, or without any.
        let checkpoint = path(&folder, &format!("checkpoint-{case}-{best}"));
        let cannot = ["cannot go on from the checkpoint", &checkpoint];
        let refused = |arguments: &[&str], words: &[&str]| {
            fs::write(&out, "precious").expect("written");
            let saved = ["train", "--labels", &y, "--l2", "0", "--relative-decrease", "0"];
            let saved = [&saved[..], &["--gradient-tolerance", "0", "--standardize"]].concat();
            let saved = [&saved[..], &["--checkpoint", &checkpoint, "--out", &out]].concat();
            fails(1, &[&saved[..], arguments].concat(), &[&cannot, words].concat());
            assert_eq!(fs::read(&out).expect("a file"), b"precious");
        };
        let of = ["--data", &x, "--validation", "0.5"];
        refused(&[&of[..], &["--patience", "6"]].concat(), &["patience", "was 5, and is 6 now"]);
        let rows = ["held-out rows that hash to", "of this run"];
        refused(&[&of[..], &["--patience", "5", "--seed", "1"]].concat(), &rows);
        refused(&["--data", &x, "--validation", "0.4", "--patience", "5"], &rows);
        refused(&["--data", &x], &rows);
        refused(&["--data", &other, "--validation", "0.5", "--patience", "5"], &["was", "now"]);
    }
}

/// However the data is read, by whichever loss, and wherever the run before came to its end.
#[test]
fn goes_on_where_a_limit_ended_it() {
    let folder = data(3000, 20);
    let [x, wide, y] = ["x.npy", "wide.npy", "y.npy"].map(|name| path(&folder, name));
    for (case, arguments) in [
        &["--data", &x, "--labels", &y, "--standardize"][..],
        // Converted on the way.
        &["--data", &wide, "--labels", &y, "--max-memory", "0", "--loss", "squared-hinge"],
        &["--data", &x, "--labels", &y, "--loss", "hinge", "--solver", "lbfgs", "--scale", "2"],
    ]
    .into_iter()
    .enumerate()
    {
        let [whole, out, checkpoint] =
            ["whole", "out", "checkpoint"].map(|name| path(&folder, &format!("{name}-{case}")));
        let exact = ["--relative-decrease", "0", "--gradient-tolerance", "0"];
        let train = [&["train", "--l2", "1e-4", "--json"], arguments, &exact].concat();
        let expected = json(&[&train[..], &["--out", &whole]].concat());
        let saved = [&train[..], &["--out", &out, "--checkpoint", &checkpoint]].concat();
        let part = json(&[&saved[..], &["--max-iter", "4"]].concat());
        assert_eq!((&part["iterations"], &part["resumed_at"]), (&4.into(), &Value::Null));
        assert_eq!(part["stop_reason"], "max_iterations");

        let object = json(&saved);
        assert_eq!(object["resumed_at"], 4, "case {case}");
        assert_eq!(lasting(object), lasting(expected.clone()), "case {case}");
        let model = fs::read(&whole).expect("a model");
        assert!(fs::read(&out).expect("a model") == model, "case {case}: other bits");
        // It stays, and leads there again.
        fs::remove_file(&out).expect("removed");
        let again = json(&saved);
        assert!(again["resumed_at"].as_u64() >= Some(4), "{again}");
        assert_eq!(lasting(again), lasting(expected), "case {case}");
        assert!(fs::read(&out).expect("a model") == model, "case {case}: other bits");
    }
}

#[test]
fn interrupted_it_is_saved() {
    // So large that there is time for a signal.
    let folder = data(40_000, 64);
    let [x, y, out, checkpoint] =
        ["x.npy", "y.npy", "out", "checkpoint"].map(|name| path(&folder, name));
    let train = ["train", "--data", &x, "--labels", &y, "--out", &out, "--json"];
    let long = ["--relative-decrease", "0", "--gradient-tolerance", "0", "--checkpoint"];
    let train = [&train[..], &long, &[&checkpoint]].concat();
    let mut command = Command::new("env");
    command.args(["--default-signal=INT", env!("CARGO_BIN_EXE_softmargin")]).args(&train);
    command.args(["--max-iter", "60", "--checkpoint-every", "1000"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut lines = stderr.lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("iteration 6/60")), "it has not begun");
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
    lines.for_each(drop);
    let output = child.wait_with_output().expect("ended");
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let result: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    // With no more iterations, it is where it was.
    let again = json(&[&train[..], &["--max-iter", "1"]].concat());
    assert_eq!(again["resumed_at"], result["iterations"]);
    assert_eq!(again["objective"], result["objective"]);
}

/// Wherever in the file.
#[test]
fn a_byte_that_is_another_one() {
    let folder = data(200, 5);
    let (x, y) = (path(&folder, "x.npy"), path(&folder, "y.npy"));
    let checkpoint = path(&folder, "checkpoint");
    let train =
        ["train", "--data", &x, "--labels", &y, "--max-iter", "3", "--checkpoint", &checkpoint];
    output(&train);
    let whole = fs::read(&checkpoint).expect("a checkpoint");
    for at in [whole.len() - 1, whole.len() - 200, whole.len() / 2] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&checkpoint, damaged).expect("written");
        fails(1, &train, &["cannot go on from the checkpoint", &checkpoint]);
    }
    fs::write(&checkpoint, &whole).expect("written");
    output(&train);
}

#[test]
fn what_is_of_another_run() {
    let folder = data(3000, 20);
    let [x, other, y, out, checkpoint] =
        ["x.npy", "other.npy", "y.npy", "out", "checkpoint"].map(|name| path(&folder, name));
    let train = ["train", "--labels", &y, "--out", &out, "--checkpoint", &checkpoint];
    output(&[&train[..], &["--data", &x, "--l2", "1e-3", "--max-iter", "12"]].concat());
    fs::write(&out, "precious").expect("written");
    let saved = fs::read(&checkpoint).expect("a checkpoint");
    let refused = |arguments: &[&str], words: &[&str]| {
        let words = [&["cannot go on from the checkpoint", &checkpoint], words].concat();
        fails(1, &[&train[..], arguments].concat(), &words);
        assert_eq!(fs::read(&out).expect("a file"), b"precious");
    };
    let of = ["--data", &x, "--l2", "1e-3"];
    refused(&["--data", &x, "--l2", "2e-3"], &["L2 coefficient λ was 0.001, and is 0.002 now"]);
    refused(&["--data", &other, "--l2", "1e-3"], &["of its model was", "now"]);
    for (arguments, words) in [
        (
            &["--loss", "squared-hinge"][..],
            &["loss was cross_entropy, and is squared_hinge now"][..],
        ),
        (&["--gradient-tolerance", "1e-3"], &["gradient tolerance", "0.001"]),
        (&["--standardize"], &["its --standardize: false; of this run: true"]),
        (&["--scale", "2"], &["its --scale: none; of this run: 2"]),
        (&["--class-weight", "1=2"], &["its data: 3000 samples", "of this run: 3000 samples"]),
        (&["--class-names", "a,b,c,d,e,f,g"], &["6 classes", "7 classes"]),
    ] {
        refused(&[&of[..], arguments].concat(), words);
    }
    if softmargin::Isa::available().len() > 1 {
        refused(&[&of[..], &["--isa", "portable"]].concat(), &["portable"]);
    }
    assert!(fs::read(&checkpoint).expect("a checkpoint") == saved, "it is changed");

    // Of no run at all.
    let model = path(&folder, "model");
    json(&["train", "--max-iter", "1", "--json", "--out", &model]);
    let model = fs::read(&model).expect("a model");
    for (contents, word) in [
        (&saved[..saved.len() - 1], "incomplete"),
        (&saved[..100], "header"),
        (&saved[..3], "no Safetensors file"),
        (b"", "no Safetensors file"),
        (b"a,b,c\n1,2,3\n", "no Safetensors file"),
        (&model, "it is no checkpoint"),
    ] {
        fs::write(&checkpoint, contents).expect("written");
        let assert = softmargin(&[&train[..], &of].concat()).assert().code(1);
        let stderr = String::from_utf8_lossy(&assert.get_output().stderr).to_lowercase();
        assert!(stderr.contains(&word.to_lowercase()), "no {word:?} in: {stderr}");
        assert!(fs::read(&checkpoint).expect("there") == contents, "it is changed");
    }
    assert_eq!(fs::read(&out).expect("a file"), b"precious");
}

#[test]
fn what_has_no_checkpoints() {
    let folder = folder();
    let data = write(&folder, "data.csv", "a,label\n1,0\n2,1\n3,1\n4,0\n");
    let checkpoint = path(&folder, "checkpoint");
    let train = ["train", "--data", &data, "--checkpoint", &checkpoint];
    for solver in ["sgd", "newton", "dual"] {
        let arguments = [&train[..], &["--solver", solver, "--l2", "1e-2"]].concat();
        fails(1, &arguments, &["--checkpoint is for --solver lbfgs", solver]);
    }
    let dual = [&train[..], &["--loss", "hinge", "--l2", "1e-2"]].concat();
    fails(1, &dual, &["--checkpoint is for --solver lbfgs", "dual"]);
    for choice in [&["--validation", "0.5", "--l2-path", "1,0.1"][..], &["--cv", "2"]] {
        fails(2, &[&train[..], choice].concat(), &["--checkpoint"]);
    }
    fails(2, &["train", "--checkpoint-every", "5"], &["required arguments"]);
    fails(2, &[&train[..], &["--checkpoint-every", "0"]].concat(), &["at least 1"]);
    let out = [&train[..], &["--out", &checkpoint]].concat();
    fails(1, &out, &["is given for two files"]);
    fails(1, &["train", "--data", &data, "--checkpoint", &data], &["is given for two files"]);
    let nowhere = path(&folder, "no/such/folder");
    fails(1, &["train", "--data", &data, "--checkpoint", &nowhere], &["cannot write", "folder"]);
    assert!(!Path::new(&checkpoint).exists());
}
