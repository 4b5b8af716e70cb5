//! Sums that have the same bits whoever adds them up. Floating-point sums depend on their order; the order here is that
//! of a binary tree over the numbers of the chunks, and of nothing else.

use crate::{Element, Error, Partial};
use core::ops::Range;

/// The [`Partial`]s of the chunks 0, 1, 2, … of a data set, joined in a fixed order: first those of the chunks 2k and
/// 2k + 1, then those of four chunks, and so on. So the [`total`](Self::total) has the same bits on one process or
/// many, whichever has which chunks, and whenever they come; as long as the chunks are the same, and so is the
/// instruction set ([`Isa`](crate::Isa)).
///
/// Each process [pushes](Self::push) the partials of its chunks, and what it can join is joined: of n neighbouring
/// chunks there are no more than 2 log₂ n nodes left. It sends those ([`nodes`](Self::nodes),
/// [`Partial::sums`]) to whoever joins all, who [pushes](Self::push) them in turn.
///
/// ```
/// use softmargin::{Batch, Evaluator, LinearModel, MatrixView, Objective, Partial, PartialTree};
///
/// # fn main() -> Result<(), softmargin::Error> {
/// let features: Vec<f32> = (0..70).map(|i| (i * i % 17) as f32 / 7.0).collect();
/// let labels: Vec<u32> = (0..70).map(|i| i % 3).collect();
/// let model = LinearModel::<f32>::zeros(3, 1);
///
/// // A process that has some of seven chunks of ten rows.
/// let process = |chunks: std::ops::Range<u64>| -> Result<PartialTree<f32>, softmargin::Error> {
///     let mut evaluator = Evaluator::new(Objective::cross_entropy());
///     let mut tree = PartialTree::new();
///     for chunk in chunks {
///         let rows = 10 * chunk as usize..10 * (chunk as usize + 1);
///         let x = MatrixView::new(&features[rows.clone()], 10, 1)?;
///         let mut partial = Partial::new(3, 1);
///         evaluator.accumulate(&model, &Batch::new(x, &labels[rows])?, &mut partial)?;
///         tree.push(chunk..chunk + 1, partial)?;
///     }
///     Ok(tree)
/// };
/// let alone = process(0..7)?.total(7)?;
///
/// let mut joined = process(5..7)?;
/// for (chunks, partial) in process(0..5)?.into_nodes() {
///     joined.push(chunks, partial)?;
/// }
/// assert_eq!(joined.total(7)?, alone); // to the last bit
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PartialTree<T> {
    /// Neither do any two of them overlap nor are any two the halves of a larger one; in the order of their chunks.
    nodes: Vec<(Range<u64>, Partial<T>)>,
}

impl<T> Default for PartialTree<T> {
    fn default() -> Self {
        Self { nodes: Vec::new() }
    }
}

impl<T: Element> PartialTree<T> {
    /// Of no chunks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the sums over a chunk, `i..i + 1`, or over a node of another tree; in any order.
    ///
    /// # Errors
    /// [`Error::Chunks`] for chunks that are no node (2ⁿ of them, from a multiple of 2ⁿ on) or that are there already;
    /// [`Error::Shape`] if the partial is for models of another shape. The tree is as it was then.
    pub fn push(&mut self, chunks: Range<u64>, partial: Partial<T>) -> Result<(), Error> {
        let fault = |what| Err(Error::Chunks { start: chunks.start, end: chunks.end, what });
        if !is_node(&chunks) {
            return fault("are no node of the tree (2ⁿ chunks, from a multiple of 2ⁿ on)");
        }
        let place = self.nodes.partition_point(|(other, _)| other.start < chunks.start);
        let (before, after) = self.nodes.split_at(place);
        if before.last().is_some_and(|(other, _)| other.end > chunks.start)
            || after.first().is_some_and(|(other, _)| other.start < chunks.end)
        {
            return fault("are there already");
        }
        if let Some((_, other)) = self.nodes.first() {
            other.check_same_shape(&partial)?;
        }
        self.nodes.insert(place, (chunks, partial));
        self.join_upwards(place)
    }

    /// Joins a node with its sibling, if that is there, and the node that they make up with its own.
    fn join_upwards(&mut self, mut place: usize) -> Result<(), Error> {
        loop {
            let chunks = &self.nodes[place].0;
            let length = chunks.end - chunks.start;
            let is_left = (chunks.start / length).is_multiple_of(2);
            let left = if is_left { Some(place) } else { place.checked_sub(1) };
            let halves = left.and_then(|left| Some((left, self.nodes.get(left..left + 2)?)));
            let Some((left, [(a, _), (b, _)])) = halves else { return Ok(()) };
            let meet = a.end == b.start && a.end - a.start == b.end - b.start;
            if !meet {
                return Ok(());
            }
            let (right, other) = self.nodes.remove(left + 1);
            let (chunks, partial) = &mut self.nodes[left];
            chunks.end = right.end;
            partial.merge(&other)?;
            place = left;
        }
    }

    /// The nodes that what was pushed makes up, in the order of their chunks: what another process needs.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = (Range<u64>, &Partial<T>)> {
        self.nodes.iter().map(|(chunks, partial)| (chunks.clone(), partial))
    }

    /// The same, to be kept.
    pub fn into_nodes(self) -> impl ExactSizeIterator<Item = (Range<u64>, Partial<T>)> {
        self.nodes.into_iter()
    }

    /// The sums over the chunks `0..n_chunks`: those of the root of the tree. A node without a sibling, as there are on
    /// the right of a tree whose chunks are no power of two, goes up as it is.
    ///
    /// # Errors
    /// [`Error::Chunks`] if chunks are missing, or there are others; [`Error::NoSamples`] of no chunks.
    pub fn total(self, n_chunks: u64) -> Result<Partial<T>, Error> {
        if n_chunks == 0 {
            return Err(Error::NoSamples);
        }
        let fault = |start, end, what| Err(Error::Chunks { start, end, what });
        let mut end = 0;
        for (chunks, _) in &self.nodes {
            if chunks.start > end {
                return fault(end, chunks.start, "are missing");
            }
            end = chunks.end;
        }
        if end < n_chunks {
            return fault(end, n_chunks, "are missing");
        }
        if end > n_chunks {
            return fault(n_chunks, end, "are beyond the last one");
        }
        // Each of the nodes that are left is larger than all behind it together.
        let mut from_the_right = self.nodes.into_iter().rev();
        let (_, mut total) = from_the_right.next().expect("some chunks");
        for (_, mut partial) in from_the_right {
            partial.merge(&total)?;
            total = partial;
        }
        Ok(total)
    }
}

fn is_node(chunks: &Range<u64>) -> bool {
    let length = chunks.end.saturating_sub(chunks.start);
    length.is_power_of_two() && chunks.start.is_multiple_of(length)
}
