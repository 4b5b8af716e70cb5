//! What may go wrong around a run: it is killed, interrupted, the disk is full, the place cannot be written.
//! The earlier model file is intact or the new one is whole, and the message says what happened.

#![cfg(unix)]

mod common;

use common::{fails, folder, softmargin, text, write};
use safetensors::SafeTensors;
use std::{
    fs,
    io::Write,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_softmargin");

fn spawn(arguments: &[&str]) -> Child {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("started")
}

fn is_whole(model: &Path) -> bool {
    let bytes = fs::read(model).expect("a file");
    SafeTensors::deserialize(&bytes).is_ok_and(|tensors| tensors.tensor("bias").is_ok())
}

/// At moments all over the few milliseconds of a run.
#[test]
fn killed_at_any_moment() {
    let folder = folder();
    let mut data = String::new();
    (0..200).for_each(|i| data += &format!("{},{},{}\n", i % 7, i % 11, i % 2));
    let data = write(&folder, "data.csv", data);
    let model = folder.path().join("model.safetensors");
    let arguments = ["train", "--data", &data, "--max-iter", "20", "--out", &text(&model)];
    let start = Instant::now();
    assert!(spawn(&arguments).wait().expect("ended").success());
    let whole_run = start.elapsed();

    let (mut old, mut new) = (0, 0);
    for i in 0..100 {
        fs::write(&model, "precious").expect("written");
        let mut child = spawn(&arguments);
        sleep(whole_run.mul_f64(f64::from(i) / 80.0));
        child.kill().expect("killed, or over");
        let status = child.wait().expect("ended");
        assert!(status.success() || status.signal() == Some(9), "{status}");
        if fs::read(&model).expect("a model") == b"precious" {
            assert!(!status.success(), "a run that succeeded left the old model");
            old += 1;
        } else {
            assert!(is_whole(&model), "killed after {i}/80 of a run: half a model");
            new += 1;
        }
    }
    println!("killed: {old} times the old model stayed, {new} times the new one was there");
    assert!(old > 0 && new > 0, "not all over the run: {old} and {new}");
}

/// Ctrl-C, and the signals by which batch systems and closed terminals end a job.
#[test]
fn interrupted_it_saves_the_best_model() {
    for signal in ["-INT", "-TERM", "-HUP"] {
        let folder = folder();
        let model = folder.path().join("model.safetensors");
        let out = text(&model);
        let endless =
            ["train", "--solver", "sgd", "--epochs", "100000000", "--json", "--out", &out];
        // Whatever the tests themselves were started with: under `nohup`, SIGHUP would be ignored.
        let mut command = Command::new("env");
        command.args(["--default-signal=INT,TERM,HUP", PROGRAM]).args(endless);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
        sleep(Duration::from_secs(1));
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill").success());
        let output = child.wait_with_output().expect("ended");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{signal}: {stderr}");
        assert!(
            stderr.lines().last().is_some_and(|line| line.starts_with("interrupted")),
            "{stderr}"
        );
        let result: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(result["stop_reason"], "interrupted");
        assert_eq!(result["converged"], false);
        assert!(result["train_accuracy"].as_f64() > Some(0.5), "{result}");
        assert!(is_whole(&model));
    }
}

/// `nohup` says that a closed terminal is not to end the program.
#[test]
fn nohup_is_respected() {
    let mut command = Command::new("nohup");
    command.args([PROGRAM, "train", "--solver", "sgd", "--epochs", "100000000"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("nohup");
    sleep(Duration::from_secs(1));
    let send = |signal: &str| {
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill").success());
        sleep(Duration::from_millis(500));
    };
    send("-HUP");
    assert!(child.try_wait().expect("a child").is_none(), "SIGHUP ended it");
    child.kill().expect("killed");
    child.wait().expect("ended");
}

/// Whatever ends a run, no file is left beside the model; not even by an abort, which no program survives.
#[test]
fn nothing_is_left_behind() {
    for signal in ["-ABRT", "-KILL"] {
        let folder = folder();
        let out = text(&folder.path().join("model"));
        let mut child =
            spawn(&["train", "--solver", "sgd", "--epochs", "100000000", "--out", &out]);
        sleep(Duration::from_millis(700));
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill").success());
        assert!(!child.wait().expect("ended").success());
        let left: Vec<_> = fs::read_dir(folder.path()).expect("a folder").collect();
        assert!(left.is_empty(), "{signal}: {left:?}");
    }
}

/// A file that is ready has a hidden name for a moment. What a process that was killed left there is taken away by the
/// next run, and what another process is about to put in its place is waited for.
#[cfg(target_os = "linux")]
#[test]
fn a_hidden_file_is_taken_away_or_waited_for() {
    let folder = folder();
    let (model, hidden) = (folder.path().join("model"), folder.path().join(".softmargin-model"));
    let out = text(&model);
    let train = ["train", "--max-iter", "1", "--out", &out];
    let names = || {
        let entries = fs::read_dir(folder.path()).expect("a folder");
        entries.map(|entry| entry.expect("an entry").file_name()).collect::<Vec<_>>()
    };
    fs::write(&hidden, "half").expect("written");
    assert!(spawn(&train).wait().expect("ended").success());
    assert!(is_whole(&model));
    assert_eq!(names(), ["model"]);

    fs::write(&model, "old").expect("written");
    let other = fs::File::create(&hidden).expect("a file");
    other.lock().expect("locked");
    let mut waiting = spawn(&train);
    sleep(Duration::from_millis(700));
    assert!(waiting.try_wait().expect("a child").is_none(), "it took away another's file");
    assert!(hidden.exists());
    fs::rename(&hidden, &model).expect("renamed");
    drop(other);
    assert!(waiting.wait().expect("ended").success());
    assert!(is_whole(&model));
    assert_eq!(names(), ["model"]);

    // One that cannot be taken away is named, before anything is done.
    fs::create_dir(&hidden).expect("a folder");
    fails(1, &train, &["cannot write", &out, ".softmargin-model is in the way"]);
    assert!(is_whole(&model));
}

/// Runs a shell script as root of a name space of its own, in which it may mount file systems; `$0` is the
/// program. None where the system does not grant that.
fn in_name_space(script: &str) -> Option<(Option<i32>, String, String)> {
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, PROGRAM]);
        command.output()
    };
    let test = unshare("mount -t tmpfs -o size=16k none /mnt");
    if !test.is_ok_and(|output| output.status.success()) {
        let required = std::env::var_os("SOFTMARGIN_REQUIRE_MOUNTS").is_some();
        assert!(!required, "SOFTMARGIN_REQUIRE_MOUNTS is set, but nothing can be mounted");
        let _ = writeln!(std::io::stderr(), "SKIPPED: no file system can be mounted here");
        return None;
    }
    let output = unshare(script).expect("a shell");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Some((output.status.code(), text(output.stdout), text(output.stderr)))
}

#[test]
fn disk_full() {
    let script =
        "mount -t tmpfs -o size=16k none /mnt && cd /mnt && printf precious > model || exit 9
        \"$0\" train --max-iter 2 --out model > /dev/null; code=$?; cat model; ls -A; exit $code";
    let Some((code, stdout, stderr)) = in_name_space(script) else { return };
    assert_eq!(code, Some(1), "{stderr}");
    // The old model, and nothing else in the folder.
    assert_eq!(stdout, "preciousmodel\n");
    assert!(stderr.contains("error: cannot write model: No space left on device"), "{stderr}");
}

/// The fit is worth more than its checkpoint.
#[test]
fn disk_full_for_checkpoints() {
    let script = "mount -t tmpfs -o size=16k none /mnt && cd /mnt || exit 9
        \"$0\" train --max-iter 3 --checkpoint fit --checkpoint-every 1 --json; code=$?; ls -A; exit $code";
    let Some((code, stdout, stderr)) = in_name_space(script) else { return };
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.ends_with("}\n") && stdout.contains("\"iterations\":3,"), "{stdout}");
    let warning = "warning: the checkpoint is not saved: cannot write fit: No space left on device";
    assert!(stderr.contains(warning), "{stderr}");
}

/// A limit on the size of files, in KiB, of whatever is written.
#[test]
fn files_that_may_not_grow() {
    let folder = folder();
    let place = text(folder.path());
    let run = |script: &str| {
        let script = format!("cd {place} && ulimit -f 4 && exec {PROGRAM} {script}");
        let output = Command::new("bash").args(["-c", &script]).output().expect("bash");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{script}: {stderr}");
        stderr.lines().last().unwrap_or_default().to_owned()
    };
    common::output(&["train", "--max-iter", "1", "--out", &format!("{place}/model")]);
    fs::write(folder.path().join("old"), "precious").expect("written");
    for script in [
        "train --max-iter 1 --out old",
        "train --max-iter 1 --out new",
        "train --max-iter 1 --report report",
        "predict --model model --out old --proba",
        "predict --model model --proba > rows",
        "convert --to npy --model model --weight old --bias new",
    ] {
        let error = run(script);
        assert!(error.starts_with("error: ") && error.contains("too large"), "{script}: {error}");
        assert_eq!(fs::read(folder.path().join("old")).expect("a file"), b"precious", "{script}");
        assert!(!folder.path().join("new").exists(), "{script}");
    }
}

#[test]
fn read_only_folder() {
    let script = "mount -t tmpfs none /mnt && cd /mnt && printf precious > model || exit 9
        mount -o remount,ro /mnt || exit 9
        \"$0\" train --max-iter 2 --out model > /dev/null; code=$?; cat model; exit $code";
    let Some((code, stdout, stderr)) = in_name_space(script) else { return };
    assert_eq!((code, &*stdout), (Some(1), "precious"), "{stderr}");
    assert!(stderr.contains("error: cannot write model: read-only"), "{stderr}");
}

/// A rename would put a file in their place.
#[test]
fn devices_and_pipes_are_no_place_for_a_model() {
    let folder = folder();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    for place in ["/dev/full", "/dev/null", &text(&pipe)] {
        let before = fs::metadata(place).expect("there").file_type();
        fails(1, &["train", "--max-iter", "1", "--out", place], &[place, "no regular file"]);
        assert_eq!(fs::metadata(place).expect("still there").file_type(), before);
    }
    // Behind a link that names no path.
    #[cfg(target_os = "linux")]
    fails(
        1,
        &["train", "--max-iter", "1", "--out", "/dev/stdout"],
        &["/dev/stdout", "no regular file"],
    );
    let below = format!("{}/model", write(&folder, "file", ""));
    fails(
        1,
        &["train", "--max-iter", "1", "--out", &below],
        &["cannot write", &below, "not a directory"],
    );
}

#[test]
fn a_link_stays_a_link() {
    let folder = folder();
    let target = write(&folder, "target", "earlier");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&target, &link).expect("a link");
    softmargin(&["train", "--max-iter", "1", "--out", &text(&link)]).assert().success();
    assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
    assert!(is_whole(Path::new(&target)));
}

/// A link to what is not there yet is followed, too.
#[test]
fn a_dangling_link_is_followed() {
    let folder = folder();
    let target = folder.path().join("not yet there");
    let link = folder.path().join("link");
    // By its name alone, as links mostly are.
    std::os::unix::fs::symlink("not yet there", &link).expect("a link");
    softmargin(&["train", "--max-iter", "1", "--out", &text(&link)]).assert().success();
    assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
    assert!(is_whole(&target));
    let round = folder.path().join("round");
    std::os::unix::fs::symlink("round", &round).expect("a link");
    let round = text(&round);
    fails(1, &["train", "--max-iter", "1", "--out", &round], &["cannot write", &round]);
}

#[test]
fn permissions_stay() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let out = write(&folder, "model", "earlier");
    let mode = |path: &str| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    for bits in [0o640, 0o600, 0o664] {
        fs::set_permissions(&out, fs::Permissions::from_mode(bits)).expect("set");
        softmargin(&["train", "--max-iter", "1", "--out", &out]).assert().success();
        assert_eq!(mode(&out), bits, "{bits:o}");
    }
    // A new file is as accessible as any.
    let (new, plain) = (text(&folder.path().join("new")), write(&folder, "plain", ""));
    softmargin(&["train", "--max-iter", "1", "--out", &new]).assert().success();
    assert_eq!(mode(&new), mode(&plain));
}

#[test]
fn full_standard_output() {
    let folder = folder();
    let model = text(&folder.path().join("model"));
    softmargin(&["train", "--max-iter", "1", "--out", &model]).assert().success();
    for command in [
        &["train", "--max-iter", "1"][..],
        &["train", "--max-iter", "1", "--json"],
        &["evaluate", "--model", &model],
        &["predict", "--model", &model],
        &["predict", "--model", &model, "--proba", "--json"],
        &["info", &model],
        &["completions", "bash"],
        &["--help"],
        &["train", "-h"],
        &["--version"],
    ] {
        let full = fs::File::options().write(true).open("/dev/full").expect("a full device");
        let output = Command::new(PROGRAM).args(command).stdout(full).output().expect("ended");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        let message = "error: cannot write to standard output: No space left on device";
        assert!(stderr.contains(message), "{command:?}: {stderr}");
    }
}

/// Whether standard output is closed, or can only be read: the standard library takes what is written there for written.
#[cfg(target_os = "linux")]
#[test]
fn no_standard_output() {
    let folder = folder();
    let path = |name: &str| text(&folder.path().join(name));
    let (model, labels) = (path("model"), path("labels.csv"));
    let (weight, bias) = (path("weight.npy"), path("bias.npy"));
    softmargin(&["train", "--max-iter", "1", "--out", &model]).assert().success();
    let run = |arguments: &[&str], stdout: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec \"$0\" \"$@\" {stdout}"), PROGRAM]).args(arguments);
        command.output().expect("a shell")
    };
    for stdout in [">&-", "1</dev/null"] {
        for command in [
            &["train", "--max-iter", "1", "--out", &path("new")][..],
            &["evaluate", "--model", &model],
            &["predict", "--model", &model],
            &["info", &model],
            &["gradcheck"],
            &["bench"],
            &["completions", "bash"],
            &[
                "convert", "--to", "npy", "--model", &model, "--weight", &weight, "--bias", &bias,
                "--json",
            ],
            &["--help"],
            &["--version"],
        ] {
            let output = run(command, stdout);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{command:?} {stdout}: {stderr}");
            let message = "error: cannot write to standard output: it is not open for writing";
            assert!(stderr.contains(message), "{command:?} {stdout}: {stderr}");
        }
        // Before any work, so that nothing is written.
        assert!(!Path::new(&path("new")).exists() && !Path::new(&weight).exists());
        // What goes to a file alone needs none.
        for command in [
            &["predict", "--model", &model, "--out", &labels][..],
            &["convert", "--to", "npy", "--model", &model, "--weight", &weight, "--bias", &bias],
        ] {
            let output = run(command, stdout);
            assert_eq!(output.status.code(), Some(0), "{command:?} {stdout}: {output:?}");
        }
        assert!(fs::read(&labels).expect("labels").starts_with(b"label\n"));
        for file in [&labels, &weight, &bias] {
            fs::remove_file(file).expect("written");
        }
    }
    // It is no failure that nobody looks.
    let (null, command) = (Stdio::null(), ["train", "--max-iter", "1"]);
    let status = Command::new(PROGRAM).args(command).stdout(null).status().expect("ended");
    assert_eq!(status.code(), Some(0));
    let output = run(&command, "<>/dev/null 1>&0");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// What is said there is worth less than the result: `train 2>&1 | head -1`, and a full disk for the log.
#[test]
fn standard_error_that_cannot_be_written() {
    let folder = folder();
    let data = write(&folder, "data.csv", "a,label\n1,0\n2,1\n3,1\n");
    let model = folder.path().join("model");
    let out = text(&model);
    let train = ["train", "--data", &data, "--solver", "sgd", "--out", &out];
    let predict = ["predict", "--data", &data, "--model", &out];
    let full = || Stdio::from(fs::File::options().write(true).open("/dev/full").expect("full"));
    let closed = || {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        Stdio::from(writer)
    };
    for stderr in [full as fn() -> Stdio, closed] {
        let run = |arguments: &[&str]| {
            let mut command = Command::new(PROGRAM);
            let output = command.args(arguments).stdout(Stdio::piped()).stderr(stderr()).spawn();
            output.expect("started").wait_with_output().expect("ended")
        };
        assert_eq!(run(&train).status.code(), Some(0));
        assert!(is_whole(&model));
        assert!(run(&predict).stdout.starts_with(b"label\n"));
        assert_eq!(run(&["info", "/no/such/model"]).status.code(), Some(1));
        fs::remove_file(&model).expect("removed");
    }
}
