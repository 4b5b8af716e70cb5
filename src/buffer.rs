//! Scratch memory: a growing buffer whose first element starts a cache line.

/// 64 bytes: a cache line, and a vector of AVX-512.
const ALIGNMENT: usize = 64;

/// Reused from evaluation to evaluation; allocates only when asked for more than ever before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffer<T> {
    data: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Copy + Default> Buffer<T> {
    /// `len` elements with unspecified values.
    #[inline(always)]
    pub(crate) fn resize(&mut self, len: usize) {
        if self.start + len > self.data.len() {
            self.grow(len);
        }
        self.len = len;
    }

    #[cold]
    fn grow(&mut self, len: usize) {
        self.data = vec![T::default(); len + ALIGNMENT / size_of::<T>()];
        // Should the address not be known (in a constant, say), alignment is lost but nothing else.
        let offset = self.data.as_ptr().align_offset(ALIGNMENT);
        self.start = if offset > ALIGNMENT / size_of::<T>() { 0 } else { offset };
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[T] {
        &self.data[self.start..][..self.len]
    }

    #[inline]
    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.data[self.start..][..self.len]
    }
}
