//! Memory that does not depend on the number of samples and classes: under a limit of what a process may have.

#![cfg(target_os = "linux")]

mod common;

use common::{folder, npy, text, write};
use std::process::{Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_softmargin");

/// Runs the program with so many KiB of address space.
fn limited(kib: u64, arguments: &[&str]) -> (bool, String) {
    let script = format!("ulimit -v {kib}; exec \"$0\" \"$@\"");
    let mut command = Command::new("bash");
    command.args(["-c", &script, PROGRAM]).args(arguments).stdout(Stdio::null());
    let output = command.output().expect("bash");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// 150 000 samples of 500 classes: their scores alone are 300 MB, which is all that the process may have.
#[test]
fn many_samples_of_many_classes() {
    let (folder, n, c) = (folder(), 150_000_usize, 500);
    let features: Vec<u8> = (0..n * 4)
        .flat_map(|i| ((i * 2_654_435_761) as u32 as f32 / u32::MAX as f32).to_le_bytes())
        .collect();
    let labels: Vec<u8> = (0..n).flat_map(|i| ((i % c) as u16).to_le_bytes()).collect();
    let x = write(&folder, "x.npy", npy("<f4", false, &format!("({n}, 4)"), &features));
    let y = write(&folder, "y.npy", npy("<u2", false, &format!("({n},)"), &labels));
    let out = text(&folder.path().join("model"));
    for command in [
        &["train", "--data", &x, "--labels", &y, "--max-iter", "2", "--out", &out][..],
        &["evaluate", "--model", &out, "--data", &x, "--labels", &y],
        &["predict", "--model", &out, "--data", &x],
        &["predict", "--proba", "--model", &out, "--data", &x],
    ] {
        let (ok, stderr) = limited(300_000, &[command, &["--threads", "2"]].concat());
        assert!(ok, "{command:?}: {stderr}");
    }
}

/// Bytes that are read where they are in the file take no memory of the program, scaled or not: beside the 47 MB that
/// are mapped, a fit has 64 MiB. One of `f32` would take 188 MB.
#[test]
fn bytes_are_not_converted() {
    let (folder, n, d) = (folder(), 60_000_usize, 784);
    let pixels: Vec<u8> = (0..n * d)
        .map(|i| if i % 10 == i / d % 10 { 255 } else { ((i * 2_654_435_761) >> 24) as u8 })
        .collect();
    let labels: Vec<u8> = (0..n).map(|i| (i % 10) as u8).collect();
    let x = write(&folder, "x.npy", npy("|u1", false, &format!("({n}, {d})"), &pixels));
    let y = write(&folder, "y.npy", npy("|u1", false, &format!("({n},)"), &labels));
    for scaling in [&[][..], &["--scale", "0.004"], &["--standardize"]] {
        let train = ["train", "--data", &x, "--labels", &y, "--max-iter", "3", "--threads", "2"];
        let script = "ulimit -d 65536; exec \"$0\" \"$@\"";
        let mut command = Command::new("bash");
        command.args(["-c", script, PROGRAM]).args(train).args(scaling).stdout(Stdio::null());
        let output = command.output().expect("bash");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{scaling:?}: {stderr}");
    }
}

/// Zeros that would fill 20 GB.
#[test]
fn sparse_data_stays_sparse() {
    let (folder, d) = (folder(), 250_000);
    let row = |i: usize| {
        let mut features: Vec<usize> =
            (0..20).map(|k| (i * 7919 + k * k * 104_729) % (d - 9)).collect();
        features.sort_unstable();
        features.dedup();
        let cells: String = features.iter().map(|l| format!(" {}:1", l + 10)).collect();
        format!("{} {}:2{cells}\n", i % 4, i % 4 + 1)
    };
    let data = write(&folder, "data.svm", (0..20_000).map(row).collect::<String>());
    let out = text(&folder.path().join("model"));
    for command in [
        &["train", "--data", &data, "--max-iter", "3", "--standardize", "--out", &out][..],
        &["train", "--data", &data, "--solver", "sgd", "--epochs", "1"],
        &["evaluate", "--model", &out, "--data", &data],
        &["predict", "--model", &out, "--data", &data],
    ] {
        let (ok, stderr) = limited(1_000_000, &[command, &["--threads", "2"]].concat());
        assert!(ok, "{command:?}: {stderr}");
    }
}

/// What never ends is no data.
#[test]
fn endless_input_ends() {
    for (input, extra) in [("/dev/zero", &[][..]), ("/dev/zero", &["--format", "csv"])] {
        let train = [&["train", "--data", input], extra].concat();
        let (ok, stderr) = limited(2_000_000, &train);
        assert!(!ok && stderr.starts_with("error: /dev/zero"), "{stderr}");
    }
}
