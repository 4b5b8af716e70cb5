//! The sample of Fashion-MNIST that is compiled into the program.

use super::{Dataset, Split, idx};
use anyhow::Result;

/// 2000 training or 500 test images.
pub fn sample(split: Split) -> Result<Dataset> {
    let (images, labels): (&[u8], &[u8]) = match split {
        Split::Train => (
            include_bytes!("../../../data/train-images-idx3-ubyte.gz"),
            include_bytes!("../../../data/train-labels-idx1-ubyte.gz"),
        ),
        Split::Test => (
            include_bytes!("../../../data/t10k-images-idx3-ubyte.gz"),
            include_bytes!("../../../data/t10k-labels-idx1-ubyte.gz"),
        ),
    };
    idx::parse(images, Some(labels), u64::MAX)
}
