//! The processes of a run that `mpirun` started. All that is known of MPI is in this file: who one is, and how messages
//! go from one to another, from the first one to all, or from each to all. Without the feature `mpi` it says that it is
//! missing.

use anyhow::{Result, bail};
use bytemuck::Pod;
use serde::{Serialize, de::DeserializeOwned};
use std::{env, iter};

/// What launchers tell the processes that they start of how many there are: Open MPI, MPICH and its relatives,
/// MVAPICH.
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"];

/// The number of processes that a launcher says it has started, if one has started this one.
fn launched() -> Option<usize> {
    SIZES.iter().find_map(|name| env::var(name).ok()?.parse().ok())
}

#[cfg(feature = "mpi")]
mod world {
    use super::launched;
    use anyhow::{Result, bail};
    use bytemuck::{Pod, cast_slice, cast_slice_mut};
    use mpi::{
        Threading,
        environment::Universe,
        request::{Request, Scope, scope},
        topology::SimpleCommunicator,
        traits::{Communicator, Destination, Root, Source},
    };
    use std::{
        thread,
        time::{Duration, Instant},
    };

    /// All processes of the run. MPI ends with it.
    pub(crate) struct World(#[expect(dead_code, reason = "is dropped")] Universe);

    /// Bytes sent at a time: MPI counts them in an `i32`.
    const BLOCK: usize = 1 << 30;

    /// Waits for another process, which may compute for long. MPI itself waits in a loop that takes a whole core, of
    /// which ranks that share a machine have better use. The length of a message is waited for so; what follows it is
    /// on its way.
    fn wait<'a, D: ?Sized>(mut request: Request<'a, D, impl Scope<'a>>) {
        let start = Instant::now();
        while let Err(pending) = request.test() {
            request = pending;
            if start.elapsed() > SOON {
                thread::sleep(NAP);
            }
        }
    }

    /// What comes sooner is waited for without sleep.
    const SOON: Duration = Duration::from_micros(50);

    const NAP: Duration = Duration::from_micros(50);

    impl World {
        /// The processes among which this one is, if a launcher started it.
        ///
        /// # Errors
        /// If MPI cannot be used.
        pub(crate) fn start() -> Result<Option<Self>> {
            if launched().is_none() {
                return Ok(None);
            }
            // Messages come from whichever thread of the pool runs the command.
            match mpi::initialize_with_threading(Threading::Serialized) {
                Some((universe, Threading::Serialized | Threading::Multiple)) => {
                    Ok(Some(Self(universe)))
                }
                _ => bail!("this MPI library cannot be used from several threads"),
            }
        }

        fn all() -> SimpleCommunicator {
            SimpleCommunicator::world()
        }

        /// The number of this process, from 0.
        pub(crate) fn rank(&self) -> usize {
            Self::all().rank() as usize
        }

        /// How many processes there are.
        pub(crate) fn size(&self) -> usize {
            Self::all().size() as usize
        }

        /// Makes the message of rank 0 that of all. Every rank must take part.
        pub(crate) fn broadcast<T: Pod>(&self, message: &mut Vec<T>) {
            let all = Self::all();
            let root = all.process_at_rank(0);
            let mut length = message.len() as u64;
            scope(|scope| wait(root.immediate_broadcast_into(scope, &mut length)));
            message.resize(length as usize, T::zeroed());
            for block in cast_slice_mut::<T, u8>(message).chunks_mut(BLOCK) {
                root.broadcast_into(block);
            }
        }

        /// Sends a message to a rank, which must receive it.
        pub(crate) fn send<T: Pod>(&self, to: usize, message: &[T]) {
            let all = Self::all();
            let process = all.process_at_rank(to as i32);
            let length = message.len() as u64;
            // Synchronous: it is done once the other process has begun to receive.
            scope(|scope| wait(process.immediate_synchronous_send(scope, &length)));
            for block in cast_slice::<T, u8>(message).chunks(BLOCK) {
                process.send(block);
            }
        }

        /// The next message of a rank, which must be one of such numbers.
        pub(crate) fn receive<T: Pod>(&self, from: usize) -> Vec<T> {
            let all = Self::all();
            let process = all.process_at_rank(from as i32);
            let mut length = 0_u64;
            scope(|scope| wait(process.immediate_receive_into(scope, &mut length)));
            let mut message = vec![T::zeroed(); length as usize];
            for block in cast_slice_mut::<T, u8>(&mut message).chunks_mut(BLOCK) {
                process.receive_into(block);
            }
            message
        }
    }

    impl Drop for World {
        fn drop(&mut self) {
            // The others may wait for what will never come.
            if thread::panicking() {
                Self::all().abort(101);
            }
        }
    }
}

#[cfg(not(feature = "mpi"))]
mod world {
    use super::launched;
    use anyhow::{Result, bail};
    use bytemuck::Pod;

    /// There is none.
    pub(crate) enum World {}

    impl World {
        /// # Errors
        /// If this is one of several processes: each would do the work of all.
        pub(crate) fn start() -> Result<Option<Self>> {
            match launched() {
                Some(size) if size > 1 => bail!(
                    "mpirun started this program {size} times, but it was built without MPI (cargo build --features mpi)"
                ),
                _ => Ok(None),
            }
        }

        pub(crate) fn rank(&self) -> usize {
            match *self {}
        }

        pub(crate) fn size(&self) -> usize {
            match *self {}
        }

        pub(crate) fn broadcast<T: Pod>(&self, _: &mut Vec<T>) {
            match *self {}
        }

        pub(crate) fn send<T: Pod>(&self, _: usize, _: &[T]) {
            match *self {}
        }

        pub(crate) fn receive<T: Pod>(&self, _: usize) -> Vec<T> {
            match *self {}
        }
    }
}

pub(crate) use world::World;

impl World {
    /// Sends a message to a rank, or what went wrong. It must receive it as an answer.
    pub(crate) fn send_answer<T: Pod>(&self, to: usize, answer: Result<Vec<T>>) {
        let rank = self.rank();
        let error =
            answer.as_ref().err().map_or(String::new(), |error| format!("rank {rank}: {error:#}"));
        self.send(to, error.as_bytes());
        self.send(to, &answer.unwrap_or_default());
    }

    pub(crate) fn receive_answer<T: Pod>(&self, from: usize) -> Result<Vec<T>> {
        let error = self.receive(from);
        let answer = self.receive(from);
        match error.is_empty() {
            true => Ok(answer),
            false => bail!(String::from_utf8_lossy(&error).into_owned()),
        }
    }

    /// What all ranks have, in their order, for each of them. Every rank must take part, with whatever went wrong before.
    ///
    /// # Errors
    /// For all alike, what went wrong on the first rank where something did.
    pub(crate) fn exchange<T>(&self, own: Result<T>) -> Result<Vec<T>>
    where
        T: Serialize + DeserializeOwned,
    {
        let own = own.and_then(|own| Ok(serde_json::to_vec(&own)?));
        let all: Vec<Result<Vec<u8>>> = if self.rank() == 0 {
            let others = (1..self.size()).map(|rank| self.receive_answer(rank));
            iter::once(own).chain(others).collect()
        } else {
            self.send_answer(0, own);
            Vec::new()
        };
        let all: Result<Vec<_>> = all.into_iter().collect();
        let mut error =
            all.as_ref().err().map_or(Vec::new(), |error| format!("{error:#}").into_bytes());
        self.broadcast(&mut error);
        let mut all = all?;
        if !error.is_empty() {
            bail!(String::from_utf8_lossy(&error).into_owned());
        }
        all.resize(self.size(), Vec::new());
        all.iter_mut().for_each(|message| self.broadcast(message));
        all.iter().map(|message| Ok(serde_json::from_slice(message)?)).collect()
    }
}
