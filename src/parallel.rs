//! Threads: rayon's where the feature is on, the caller's alone where it is not.

/// The threads that there are to share work.
pub(crate) fn n_threads() -> usize {
    #[cfg(feature = "rayon")]
    return rayon::current_num_threads();
    #[cfg(not(feature = "rayon"))]
    return 1;
}

/// Calls `f(i, chunk)` for the i-th chunk of `chunk_len` items (the last one may be shorter), in
/// parallel on the current rayon pool.
pub(crate) fn for_each_chunk<T: Send>(
    items: &mut [T],
    chunk_len: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    for_each_pair((items, chunk_len), (&mut [(); 0], 0), |i, chunk, _| f(i, chunk));
}

/// Calls `f(i, chunk, other)` for the i-th chunks of two slices, each with its length of a chunk. There are as many
/// as the first slice has; those of the other may be shorter, or empty. By halving with `join`, which allocates
/// nothing.
pub(crate) fn for_each_pair<T: Send, U: Send>(
    (items, chunk_len): (&mut [T], usize),
    (others, other_len): (&mut [U], usize),
    f: impl Fn(usize, &mut [T], &mut [U]) + Sync,
) {
    // With one thread, `join` is pure overhead.
    #[cfg(feature = "rayon")]
    if items.len() > chunk_len && n_threads() > 1 {
        return halve(items, chunk_len, others, other_len, 0, &f);
    }
    let mut rest = others;
    for (i, chunk) in items.chunks_mut(chunk_len).enumerate() {
        let (other, others) = rest.split_at_mut(other_len.min(rest.len()));
        f(i, chunk, other);
        rest = others;
    }
}

#[cfg(feature = "rayon")]
fn halve<T: Send, U: Send>(
    items: &mut [T],
    chunk_len: usize,
    others: &mut [U],
    other_len: usize,
    first: usize,
    f: &(impl Fn(usize, &mut [T], &mut [U]) + Sync),
) {
    let chunks = items.len().div_ceil(chunk_len);
    if chunks <= 1 {
        return f(first, items, others);
    }
    let half = chunks / 2;
    let (left, right) = items.split_at_mut(half * chunk_len);
    let (other_left, other_right) = others.split_at_mut((half * other_len).min(others.len()));
    rayon::join(
        || halve(left, chunk_len, other_left, other_len, first, f),
        || halve(right, chunk_len, other_right, other_len, first + half, f),
    );
}
