//! The softmargin program.
fn main() {}
