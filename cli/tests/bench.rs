//! `softmargin bench`: the table, JSON and the picture, for small shapes.

use assert_cmd::Command;
use predicates::str::contains;

fn bench() -> Command {
    let mut command = Command::cargo_bin("softmargin").unwrap();
    command.args(["bench", "--shapes", "minibatch,letters", "--seconds", "1", "--threads", "1"]);
    command
}

#[test]
fn table() {
    let output = bench().assert().success();
    let output = output
        .stdout(contains("GFLOP/s in registers"))
        .stdout(contains("minibatch   cross-entropy"))
        .stdout(contains("letters     hinge"));
    output.stderr(contains("5/5  letters hinge"));
}

#[test]
fn json_and_picture() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("roofline.svg");
    let output = bench().args(["--json", "--f64", "--plot"]).arg(&picture).assert().success();
    let report: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(report["element"], "f64");
    let measurements = report["measurements"].as_array().unwrap();
    assert_eq!(measurements.len(), 4);
    for m in measurements {
        assert!(m["median_seconds"].as_f64().unwrap() >= m["fastest_seconds"].as_f64().unwrap());
        let limit = m["limit_seconds"].as_f64().unwrap();
        let efficiency = limit / m["median_seconds"].as_f64().unwrap();
        assert!((m["efficiency"].as_f64().unwrap() / efficiency - 1.0).abs() < 1e-12);
    }
    let svg = std::fs::read_to_string(&picture).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("letters") && svg.contains("minibatch"));
}

/// What is counted is what is stored.
#[test]
fn storage() {
    for (storage, density, bytes, flop) in [
        ("u8", "1", 256.0 * 784.0, 4.0 * 256.0 * 784.0 * 10.0),
        ("bf16", "1", 2.0 * 256.0 * 784.0, 4.0 * 256.0 * 784.0 * 10.0),
        ("csr", "0.25", 8.0 * (256.0 * 196.0 + 257.0), 256.0 * 784.0 * 10.0),
    ] {
        let mut command = Command::cargo_bin("softmargin").unwrap();
        command.args(["bench", "--shapes", "minibatch", "--losses", "hinge", "--seconds", "1"]);
        let output = command.args(["--json", "--storage", storage, "--density", density]).assert();
        let output = output.success().get_output().stdout.clone();
        let report: serde_json::Value = serde_json::from_slice(&output).unwrap();
        assert_eq!(report["storage"], storage);
        let m = &report["measurements"][0];
        let of = |what: &str| m[what].as_f64().unwrap() * m["median_seconds"].as_f64().unwrap();
        assert!((of("bytes") / bytes - 1.0).abs() < 1e-9, "{storage}: {}", of("bytes"));
        assert!((of("flops") / flop - 1.0).abs() < 1e-9, "{storage}: {}", of("flops"));
    }
}

#[test]
fn other_losses() {
    let output = bench().args(["--losses", "squared-hinge,crammer-singer"]).assert().success();
    output.stdout(contains("letters     squared-hinge")).stderr(contains("crammer-singer"));
}

#[test]
fn a_picture_that_cannot_be_written_fails_before_the_work() {
    bench()
        .args(["--plot", "/nowhere/roofline.svg"])
        .assert()
        .failure()
        .stderr(contains("cannot write /nowhere/roofline.svg: the folder does not exist"));
}
