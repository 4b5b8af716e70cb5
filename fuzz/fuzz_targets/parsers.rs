//! The program's readers on any bytes: CSV, SVMlight, NPY, NPZ, safetensors and IDX, plain and gzipped, labels of
//! their own, and models. Never a panic, and never more memory than a small multiple of what there is to read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use softmargin_cli::{
    data::{
        Classes, Dataset, Format, Header, LabelColumn, ReadOptions, Schema, Split, npy,
        parse_labels,
    },
    model_file::ModelFile,
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    path::Path,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

/// What a gzipped file may unpack to here.
const MAX_UNPACKED: u64 = 1 << 20;

/// For each byte that is read: the shortest cell of a CSV file, a digit and a comma, is four bytes of
/// features, and of a place in the record; vectors grow by doubling.
const BYTES_PER_BYTE: usize = 64;

/// Buffers of the readers, whatever they read, and what an error message is made of.
const BYTES_ANYWAY: usize = 4 << 20;

/// The system's allocator, with a count of the bytes in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is left to the system's allocator; counting has no influence on it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = IN_USE.fetch_add(layout.size(), SeqCst) + layout.size();
        MOST.fetch_max(now, SeqCst);
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), SeqCst);
        // SAFETY: the caller keeps the promises of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn parse(kind: u8, file: &[u8]) {
    let schema = Schema {
        n_features: 3,
        columns: Some(["a", "b", "c"].map(str::to_owned).to_vec()),
        label_column: Some(LabelColumn::Name("class".to_owned())),
        ..Schema::default()
    };
    let by_order = Schema { label_column: Some(LabelColumn::Index(1)), ..Schema::of_features(3) };
    let options = ReadOptions { max_unpacked: MAX_UNPACKED, ..ReadOptions::default() };
    let read = |options: &ReadOptions<'_>, name: &str| check(file, Path::new(name), options);
    match kind % 16 {
        0 => read(&options, "file"),
        1 => read(&options, "file.svm"),
        2 => {
            let _ = ModelFile::parse(file);
        }
        3 => read(&options, "file.csv"),
        4 => {
            let label_column = Some(LabelColumn::Name("class".to_owned()));
            let weight_column = Some(LabelColumn::Index(0));
            read(&ReadOptions { label_column, weight_column, ..options }, "file.csv");
        }
        5 => read(&ReadOptions { schema: Some(&schema), ..options }, "file.csv"),
        6 => read(&ReadOptions { schema: Some(&by_order), ..options }, "file.csv"),
        7 => read(&ReadOptions { schema: Some(&by_order), ..options }, "file.svm"),
        8 => {
            let _ = npy::parse_values(file);
        }
        9 => read(&ReadOptions { format: Format::Safetensors, ..options }, "file"),
        10 => read(&ReadOptions { format: Format::Npy, max_memory: 0, ..options }, "file"),
        11 => read(&ReadOptions { split: Split::Test, ..options }, "file.npz"),
        12 => read(&ReadOptions { format: Format::Idx, ..options }, "file"),
        13 => {
            let header = Header::Yes;
            read(&ReadOptions { header, separator: Some(b' '), ..options }, "file.csv");
        }
        _ => {
            if let Ok(labels) = parse_labels(file, Path::new("file"), 4, &options)
                && let Ok(classes) = Classes::of(&labels, 1000)
            {
                let encoded = classes.encode(&labels).expect("the classes of these labels");
                assert_eq!(encoded.len(), labels.len());
            }
        }
    }
}

/// Data that was read has a value for every sample and feature.
fn check(file: &[u8], name: &Path, options: &ReadOptions<'_>) {
    let Ok(data) = Dataset::parse(file, name, options) else { return };
    let (mut rows, d) = (0, data.n_features);
    let pass = data.for_each_chunk::<f32>(|range, chunk| {
        assert_eq!((chunk.rows(), chunk.cols()), (range.len(), d));
        rows += chunk.rows();
        Ok(())
    });
    assert!(pass.is_err() || rows == data.n_samples);
    assert!(data.labels.is_none_or(|labels| labels.len() == data.n_samples));
    assert!(data.weights.is_none_or(|weights| weights.len() == data.n_samples));
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, file)) = data.split_first() else { return };
    let before = IN_USE.load(SeqCst);
    MOST.store(before, SeqCst);
    parse(*kind, file);
    let taken = MOST.load(SeqCst) - before;
    // Gzipped, or somewhere in an archive.
    let packed = file.starts_with(&[0x1f, 0x8b]) || file.starts_with(b"PK");
    let unpacked = if packed { BYTES_PER_BYTE * MAX_UNPACKED as usize } else { 0 };
    let most = BYTES_PER_BYTE * file.len() + unpacked + BYTES_ANYWAY;
    assert!(taken <= most, "{taken} bytes for a file of {}", file.len());
});
