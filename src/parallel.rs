//! Threads: rayon's where the feature is on, the caller's alone where it is not.

/// The threads that there are to share work.
pub(crate) fn n_threads() -> usize {
    #[cfg(feature = "rayon")]
    return rayon::current_num_threads();
    #[cfg(not(feature = "rayon"))]
    return 1;
}

/// Calls `f(i, chunk)` for the i-th chunk of `chunk_len` items (the last one may be shorter), in
/// parallel on the current rayon pool. By halving with `join`, which allocates nothing.
#[cfg(feature = "rayon")]
pub(crate) fn for_each_chunk<T: Send>(
    items: &mut [T],
    chunk_len: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    fn halve<T: Send>(
        items: &mut [T],
        chunk_len: usize,
        first: usize,
        f: &(impl Fn(usize, &mut [T]) + Sync),
    ) {
        let chunks = items.len().div_ceil(chunk_len);
        if chunks <= 1 {
            return f(first, items);
        }
        let half = chunks / 2;
        let (left, right) = items.split_at_mut(half * chunk_len);
        rayon::join(
            || halve(left, chunk_len, first, f),
            || halve(right, chunk_len, first + half, f),
        );
    }
    // With one thread, `join` is pure overhead.
    if items.len() <= chunk_len || n_threads() == 1 {
        items.chunks_mut(chunk_len).enumerate().for_each(|(i, chunk)| f(i, chunk));
    } else {
        halve(items, chunk_len, 0, &f);
    }
}

/// Calls `f(i, chunk)` for the i-th chunk of `chunk_len` items; the last one may be shorter.
#[cfg(not(feature = "rayon"))]
pub(crate) fn for_each_chunk<T: Send>(
    items: &mut [T],
    chunk_len: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    items.chunks_mut(chunk_len).enumerate().for_each(|(i, chunk)| f(i, chunk));
}
