//! For few classes and column-major features: both products read the columns of X where they lie, one sample
//! a lane. Of every column a block has a stretch, and each lies far from the next: stretches are long, so that
//! the way to them is worth it.

mod gradient;
mod scores;

pub(crate) use gradient::accumulate;
pub(crate) use scores::scores;
