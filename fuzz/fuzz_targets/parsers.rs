//! The program's readers on any bytes: IDX, plain and gzipped, CSV, SVMlight, NPY, safetensors and models. Never a panic, and never more
//! memory than a small multiple of what there is to read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use softmargin_cli::{
    data::{
        Dataset, LabelColumn, ReadOptions, idx, npy, parse_csv, parse_safetensors, parse_svmlight,
    },
    model_file,
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
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
    match kind % 10 {
        0 => {
            if let Ok(images) = idx::parse_images(file, MAX_UNPACKED) {
                let _ = idx::dataset(images, None);
            }
        }
        1 => {
            let _ = idx::parse_labels(file, MAX_UNPACKED);
        }
        2 => {
            let _ = model_file::parse(file);
        }
        6 => {
            let options = ReadOptions { max_unpacked: MAX_UNPACKED, ..ReadOptions::default() };
            check(parse_svmlight(file, &options));
        }
        7 => {
            let _ = npy::parse_labels(file);
        }
        8 => {
            let _ = npy::parse_values(file);
        }
        9 => check(parse_safetensors(file)),
        kind => {
            let column = match kind {
                3 => LabelColumn::Default,
                4 => LabelColumn::Name("class".to_owned()),
                _ => LabelColumn::BeyondFeatures(3),
            };
            check(parse_csv(file, &column));
        }
    }
}

/// Data that was read has a value for every sample and feature.
fn check<E>(data: Result<Dataset, E>) {
    if let Ok(data) = data {
        let view = data.view().expect("values in memory");
        assert_eq!((view.rows(), view.cols()), (data.n_samples, data.n_features));
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, file)) = data.split_first() else { return };
    let before = IN_USE.load(SeqCst);
    MOST.store(before, SeqCst);
    parse(*kind, file);
    let taken = MOST.load(SeqCst) - before;
    let gzipped = file.starts_with(&[0x1f, 0x8b]);
    let unpacked = if gzipped { 8 * MAX_UNPACKED as usize } else { 0 };
    let most = BYTES_PER_BYTE * file.len() + unpacked + BYTES_ANYWAY;
    assert!(taken <= most, "{taken} bytes for a file of {}", file.len());
});
