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

/// What never ends is no data.
#[test]
fn endless_input_ends() {
    for (input, extra) in [("/dev/zero", &[][..]), ("/dev/zero", &["--format", "csv"])] {
        let train = [&["train", "--data", input], extra].concat();
        let (ok, stderr) = limited(2_000_000, &train);
        assert!(!ok && stderr.starts_with("error: /dev/zero"), "{stderr}");
    }
}
