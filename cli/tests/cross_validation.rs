//! `train --cv`: λ is chosen by samples that were held out, all of it is told, and all samples are fitted.

mod common;

use common::{fails, folder, json, output, softmargin, text, write};
use std::fs;

/// Sixty samples of two classes that overlap: a small λ fits what there is by chance.
fn table() -> String {
    let mut rows = "a,b,c,d,class\n".to_owned();
    for i in 0..60_i32 {
        let noise = |k: i32| f64::from((i * i * k + i * k) % 41 - 20) / 10.0;
        let side = if i % 2 == 0 { 0.8 } else { -0.8 };
        let class = if i % 2 == 0 { "yes" } else { "no" };
        let (a, b, c, d) = (side + noise(7), side + noise(11), noise(5), noise(3));
        rows += &format!("{a:.4},{b:.4},{c:.4},{d:.4},{class}\n");
    }
    rows
}

#[test]
fn lambda_is_chosen_and_all_samples_are_fitted() {
    let folder = folder();
    let data = write(&folder, "data.csv", table());
    let [model, alone] = ["model", "alone"].map(|name| text(&folder.path().join(name)));
    let path = ["--cv", "4", "--l2-path", "1e-6,10,0.1,10"];
    let train = ["train", "--json", "--data", &data];
    let fit = json(&[&train[..], &path, &["--out", &model]].concat());
    let cv = &fit["cross_validation"];
    let points = cv["path"].as_array().unwrap();
    let l2s: Vec<f64> = points.iter().map(|point| point["l2"].as_f64().unwrap()).collect();
    assert_eq!(l2s, [10.0, 0.1, 1e-6]);
    let least = points
        .iter()
        .min_by(|a, b| a["loss"].as_f64().unwrap().total_cmp(&b["loss"].as_f64().unwrap()));
    assert_eq!(least.unwrap()["l2"], cv["l2"]);
    assert_eq!((&fit["l2"], cv["l2"].as_f64()), (&cv["l2"], Some(0.1)));
    assert!(cv["l2_one_standard_error"].as_f64() >= cv["l2"].as_f64());
    for point in points {
        let folds = point["folds"].as_array().unwrap();
        let losses: Vec<f64> = folds.iter().map(|fold| fold["loss"].as_f64().unwrap()).collect();
        // Folds of fifteen samples each.
        assert!(folds.iter().all(|fold| fold["weight"] == 15.0) && losses.len() == 4);
        let mean = losses.iter().sum::<f64>() / 4.0;
        assert!((mean - point["loss"].as_f64().unwrap()).abs() < 1e-12);
        assert!(point["loss_standard_error"].as_f64().unwrap() > 0.0);
        assert!(folds.iter().all(|fold| fold["converged"] == true));
    }
    // As if that λ had been given.
    let same = json(&[&train[..], &["--l2", "0.1", "--out", &alone]].concat());
    assert_eq!((&fit["objective"], &fit["iterations"]), (&same["objective"], &same["iterations"]));
    assert_eq!(fs::read(model).unwrap(), fs::read(alone).unwrap());
    // The same folds on any number of threads, others by another seed.
    let again = |extra: &[&str]| {
        json(&[&train[..], &path, extra].concat())["cross_validation"]["path"].clone()
    };
    assert_eq!(again(&["--threads", "1"]), again(&["--threads", "3"]));
    assert_eq!(again(&["--threads", "1"]), cv["path"]);
    assert_ne!(again(&["--seed", "1"]), cv["path"]);
}

#[test]
fn a_table_progress_and_warnings() {
    let folder = folder();
    let data = write(&folder, "data.csv", table());
    let train = softmargin(&["train", "--data", &data, "--cv", "5"]).assert().success();
    let output = train.get_output();
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    for words in [
        "the best of 10 in 5 folds",
        "cross-validation accuracy",
        "mean ± standard error of what was held out",
        "the least loss",
    ] {
        assert!(stdout.contains(words), "no {words:?} in {stdout}");
    }
    // A line for each λ, and a few of progress.
    assert_eq!(stdout.lines().filter(|line| line.matches(" ± ").count() == 2).count(), 10);
    assert_eq!(stderr.lines().filter(|line| line.contains("/50  λ = ")).count(), 10, "{stderr}");
    assert!(!stderr.contains("warning"), "{stderr}");
    // The choice at an end of what was tried.
    let path = ["train", "--data", &data, "--cv", "5", "--l2-path", "10,1"];
    let train = softmargin(&path).assert().success();
    let stderr = String::from_utf8_lossy(&train.get_output().stderr).into_owned();
    assert!(stderr.contains("warning: the best λ, 1, is the smallest"), "{stderr}");
    // A fit with no time to converge.
    let path = ["train", "--data", &data, "--cv", "5", "--max-iter", "1"];
    let train = softmargin(&path).assert().success();
    let stderr = String::from_utf8_lossy(&train.get_output().stderr).into_owned();
    assert!(stderr.contains("of the 50 fits of the cross-validation did not converge"), "{stderr}");
}

#[test]
fn other_solvers_and_losses() {
    let folder = folder();
    let data = write(&folder, "data.csv", table());
    let train = ["train", "--json", "--data", &data, "--cv", "3", "--l2-path", "10,0.1"];
    for extra in [
        &["--solver", "newton"][..],
        &["--loss", "hinge"],
        &["--loss", "crammer-singer", "--standardize"],
        &["--loss", "squared-hinge", "--class-weight", "balanced"],
        &["--loss", "squared-hinge", "--solver", "dual"],
    ] {
        let fit = json(&[&train[..], extra].concat());
        assert_eq!((&fit["converged"], fit["l2"].as_f64()), (&true.into(), Some(0.1)), "{extra:?}");
        assert!(fit["gap"].as_f64().is_some());
    }
}

#[test]
fn a_picture_of_it() {
    let folder = folder();
    let data = write(&folder, "data.csv", table());
    let report = folder.path().join("report");
    let train = ["train", "--data", &data, "--report", &text(&report)];
    output(&[&train[..], &["--cv", "3", "--l2-path", "1,0.1,0.01,0"]].concat());
    let svg = fs::read_to_string(report.join("cross_validation.svg")).unwrap();
    for words in ["loss", "accuracy in %", "chosen: λ = ", "1e-1"] {
        assert!(svg.contains(words), "no {words:?}");
    }
    let page = fs::read_to_string(report.join("index.html")).unwrap();
    assert!(page.contains("cross_validation.svg") && page.contains("The choice of λ"));
    // It is none of a report without.
    output(&train);
    assert!(!report.join("cross_validation.svg").exists());
    assert!(!fs::read_to_string(report.join("index.html")).unwrap().contains("cross_validation"));
}

/// Before anything is read: there is no such file.
#[test]
fn arguments_that_do_not_go_with_it() {
    let train = ["train", "--data", "no-such-file", "--cv"];
    let with = |extra: &[&'static str]| [&train[..], extra].concat();
    fails(2, &with(&["1"]), &["at least 2"]);
    fails(2, &with(&["many"]), &["whole number"]);
    fails(2, &with(&["5", "--validation", "0.1"]), &["--validation", "--cv"]);
    fails(2, &with(&["5", "--l2", "0.1"]), &["--l2", "--cv"]);
    fails(2, &with(&["5", "--patience", "3"]), &["--cv", "--patience"]);
    fails(1, &with(&["5", "--solver", "sgd"]), &["--cv", "lbfgs, newton or dual"]);
    let zero = ["5", "--solver", "dual", "--l2-path", "1,0"];
    fails(1, &with(&zero), &["λ = 0", "--solver dual"]);
    let folder = folder();
    let data = write(&folder, "data.csv", "1,0\n-1,1\n2,0\n");
    fails(1, &["train", "--data", &data, "--cv", "4"], &["4 folds of 3 samples"]);
    fails(2, &["train", "--data", &data, "--l2-path", "1,2"], &["required arguments"]);
}
