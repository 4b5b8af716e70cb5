//! The real binary, and real files for it.

#![allow(dead_code, reason = "each test file uses some of it")]

use assert_cmd::Command;
use flate2::{Compression, write::GzEncoder};
use std::{
    fs,
    io::{Cursor, Write},
    path::Path,
};
use tempfile::TempDir;

pub(crate) const LOSSES: [&str; 4] = ["cross-entropy", "hinge", "squared-hinge", "crammer-singer"];

pub(crate) fn softmargin(arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("softmargin").expect("the binary");
    command.args(arguments).timeout(std::time::Duration::from_secs(300));
    command
}

/// Runs a command that must succeed, and returns what it prints.
pub(crate) fn output(arguments: &[&str]) -> String {
    let assert = softmargin(arguments).assert().success();
    String::from_utf8(assert.get_output().stdout.clone()).expect("UTF-8")
}

/// Runs a command that must print a JSON object.
pub(crate) fn json(arguments: &[&str]) -> serde_json::Value {
    serde_json::from_str(&output(arguments)).expect("one JSON object")
}

/// Runs a command that must fail with the given exit code and one line that has all of `words`.
pub(crate) fn fails(code: i32, arguments: &[&str], words: &[&str]) {
    let assert = softmargin(arguments).assert().code(code);
    let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "not one error line: {stderr}");
    for word in words {
        assert!(errors[0].contains(word), "no {word:?} in: {stderr}");
    }
    assert!(assert.get_output().stdout.is_empty(), "a failure printed a result");
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

pub(crate) fn write(folder: &TempDir, name: &str, contents: impl AsRef<[u8]>) -> String {
    let path = folder.path().join(name);
    fs::write(&path, contents).expect("written");
    text(&path)
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("compressed");
    encoder.finish().expect("compressed")
}

/// An IDX file: magic number, sizes, bytes.
pub(crate) fn idx(magic: u32, sizes: &[u32], bytes: &[u8]) -> Vec<u8> {
    let header = [magic].into_iter().chain(sizes.iter().copied());
    header.flat_map(u32::to_be_bytes).chain(bytes.iter().copied()).collect()
}

/// Six images of 2 × 2 pixels of two classes, one dark, one bright.
pub(crate) fn images() -> Vec<u8> {
    let pixels: Vec<u8> = (0..24).map(|i| if i / 4 % 2 == 0 { i } else { 255 - i }).collect();
    idx(0x803, &[6, 2, 2], &pixels)
}

/// Their labels.
pub(crate) fn labels() -> Vec<u8> {
    idx(0x801, &[6], &[0, 1, 0, 1, 0, 1])
}

/// An NPY file as NumPy writes it, in the order of C or, by columns, in that of Fortran.
pub(crate) fn npy(element: &str, columns: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if columns { "True" } else { "False" };
    let mut header =
        format!("{{'descr': '{element}', 'fortran_order': {order}, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
}

/// An NPZ file.
pub(crate) fn npz(arrays: &[(&str, Vec<u8>)], packed: bool) -> Vec<u8> {
    use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};
    let method = if packed { CompressionMethod::Deflated } else { CompressionMethod::Stored };
    let options = SimpleFileOptions::default().compression_method(method);
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        archive.start_file(format!("{name}.npy"), options).expect("an archive");
        archive.write_all(bytes).expect("an archive");
    }
    archive.finish().expect("an archive").into_inner()
}
