//! The format of data: what its first bytes say, or else its suffix, or else its first lines.

use super::{
    options::{Format, ReadOptions},
    source::BOM,
};
use anyhow::{Result, bail};
use std::path::Path;

/// The first bytes of what cannot be read, and what it is.
const FOREIGN: [(&[u8], &str); 18] = [
    (b"\x1f\x8b", "compressed with gzip twice"),
    (b"BZh", "compressed with bzip2"),
    (b"\xfd7zXZ\0", "compressed with xz"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"PAR1", "a Parquet file"),
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"ARROW1", "an Arrow file"),
    (b"\xff\xfe", "UTF-16 text; save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text; save it as UTF-8"),
    (b"\x80\x04\x95", "a pickle of Python"),
    (b"version https://git-lfs", "a pointer of Git LFS; git lfs pull puts the file in its place"),
    (b"<!DOCTYPE", HTML),
    (b"<!doctype", HTML),
    (b"<html", HTML),
    (b"{\"", "JSON"),
    (b"[{", "JSON"),
    (b"@relation", "an ARFF file"),
    (b"@RELATION", "an ARFF file"),
];

const HTML: &str = "a page of HTML, as a server sends it in place of a file";

/// The format that is asked for, or that of data that begins with `head`.
pub(super) fn format(head: &[u8], path: &Path, options: &ReadOptions<'_>) -> Result<Format> {
    if options.format == Format::Auto { detect(head, path) } else { Ok(options.format) }
}

/// The format of data that begins with `head`.
pub(super) fn detect(head: &[u8], path: &Path) -> Result<Format> {
    if let Some(format) = by_magic(head) {
        return Ok(format);
    }
    let text = head.strip_prefix(BOM).unwrap_or(head);
    if let Some((_, what)) = FOREIGN.iter().find(|(magic, _)| text.starts_with(magic)) {
        bail!("it is {what}");
    }
    let said = by_suffix(path);
    if head.contains(&0) && matches!(said, None | Some(Format::Csv | Format::Svmlight)) {
        bail!("it is binary, and of no known format");
    }
    if let Some(format) = said {
        return Ok(format);
    }
    Ok(if is_svmlight(head) { Format::Svmlight } else { Format::Csv })
}

/// What the first bytes say.
pub(super) fn by_magic(head: &[u8]) -> Option<Format> {
    match head {
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Some(Format::Npy),
        [b'P', b'K', 3 | 5, 4 | 6, ..] => Some(Format::Npz),
        // The types of elements, and one to four sizes.
        [0, 0, 0x08..=0x0e, 1..=4, ..] => Some(Format::Idx),
        // A length that is not absurd, and the start of a JSON object.
        [_, _, _, _, 0, 0, 0, 0, b'{', ..] => Some(Format::Safetensors),
        _ => None,
    }
}

/// What the contents say, if they can be nothing else.
pub(super) fn by_contents(head: &[u8]) -> Option<Format> {
    by_magic(head).or_else(|| is_svmlight(head).then_some(Format::Svmlight))
}

fn by_suffix(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    match name.rsplit_once('.')?.1 {
        "npy" => Some(Format::Npy),
        "npz" => Some(Format::Npz),
        "safetensors" => Some(Format::Safetensors),
        "svm" | "libsvm" | "svmlight" => Some(Format::Svmlight),
        "csv" | "tsv" => Some(Format::Csv),
        _ => None,
    }
}

/// Whether the first lines are `label index:value …`: at least one has such pairs, and none has anything else.
pub(super) fn is_svmlight(head: &[u8]) -> bool {
    const LINES: usize = 50;
    let text = String::from_utf8_lossy(head.strip_prefix(BOM).unwrap_or(head));
    // The last line may be cut off.
    let end = text.rfind(['\n', '\r']).unwrap_or(text.len());
    let lines =
        text[..end].split(['\n', '\r']).map(|line| line.split('#').next().unwrap_or_default());
    let mut pairs = 0;
    for line in lines.filter(|line| !line.trim().is_empty()).take(LINES) {
        for word in line.split_ascii_whitespace().skip(1) {
            let is_pair = word.split_once(':').is_some_and(|(index, value)| {
                index == "qid" || index.parse::<u64>().is_ok() && value.parse::<f64>().is_ok()
            });
            if !is_pair {
                return false;
            }
            pairs += 1;
        }
    }
    pairs > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_come_before_suffixes() {
        let safetensors = b"\x40\0\0\0\0\0\0\0{\"x\":";
        for (head, path, expected) in [
            (&b"\x93NUMPY\x01\0"[..], "a.csv", Format::Npy),
            (b"PK\x03\x04", "a.npy", Format::Npz),
            (b"\0\0\x08\x03\0\0", "images", Format::Idx),
            (safetensors, "a.bin", Format::Safetensors),
            (b"1,2", "a.npy", Format::Npy),
            (b"1,2", "A.NPZ", Format::Npz),
            (b"1 1:2\n", "a.csv", Format::Csv),
            (b"1,2\n", "a.svm", Format::Svmlight),
            (b"1,2\n", "a.svm.gz", Format::Svmlight),
            (b"+1 3:1 11:1 \n-1 5:1\n", "a1a", Format::Svmlight),
            (b"\xef\xbb\xbf# c\n\n1\n2 qid:3 1:2 # 4,5\n", "a1a.t", Format::Svmlight),
            (b"setosa 1:2\r2 1:2", "a", Format::Svmlight),
            (b"1 2 3\n4 5 6\n", "a.txt", Format::Csv),
            (b"1\n0\n", "a.txt", Format::Csv),
            (b"a b:c\n", "a.txt", Format::Csv),
            (b"a,10:30,11:30\n", "a.txt", Format::Csv),
            (b"", "a", Format::Csv),
        ] {
            assert_eq!(detect(head, Path::new(path)).unwrap(), expected, "{path} {head:?}");
        }
        for (head, word) in [
            (&[0_u8; 100][..], "binary"),
            (b"BZh91AY", "bzip2"),
            (b"\xff\xfea\0", "UTF-16"),
            (b"PAR1\0\0", "Parquet"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "git lfs pull"),
            (b"<!DOCTYPE html>\n", "HTML"),
            (b"{\"a\": 1}\n", "JSON"),
            (b"@relation iris\n", "ARFF"),
        ] {
            let error = detect(head, Path::new("a.csv")).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
