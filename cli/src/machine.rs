//! What this machine can do at most: the two measurements that a roofline is made of.

use rayon::prelude::*;
use softmargin::Isa;
use std::{hint::black_box, time::Instant};

/// Bytes that are read, far more than any cache holds.
const READ_BYTES: usize = 1 << 28;

/// Streams that each thread reads.
const STREAMS: usize = 4;

/// Rounds of multiplications in each measurement.
const ROUNDS: usize = 1_000_000;

/// The name of the processor, as far as the system tells.
pub(crate) fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// The resident memory of this process in bytes, where the system tells.
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// Measures what limits an evaluation, in some ten milliseconds: what other work on the machine leaves of it changes
/// within seconds, so that limits are measured again and again, between the evaluations.
pub(crate) struct Limits {
    isa: Isa,
    /// Bytes of an element.
    element: usize,
    data: Vec<u64>,
}

impl Limits {
    pub(crate) fn new(isa: Isa, element: usize) -> Self {
        Self { isa, element, data: vec![1; READ_BYTES / 8] }
    }

    /// Bytes a second that all threads of the current pool read from memory, each in several streams: one alone does
    /// not keep enough requests on their way.
    pub(crate) fn read_bandwidth(&self) -> f64 {
        const LINE: usize = 8;
        let threads = rayon::current_num_threads();
        let start = Instant::now();
        self.data.par_chunks(self.data.len().div_ceil(threads)).for_each(|part| {
            let streams: [&[u64]; STREAMS] = {
                let mut streams = part.chunks(part.len().div_ceil(STREAMS).next_multiple_of(LINE));
                std::array::from_fn(|_| streams.next().unwrap_or_default())
            };
            let mut sums = [[0_u64; LINE]; STREAMS];
            for at in (0..streams[0].len()).step_by(LINE) {
                for (sums, stream) in sums.iter_mut().zip(streams) {
                    if let Some(line) = stream.get(at..at + LINE) {
                        sums.iter_mut().zip(line).for_each(|(sum, x)| *sum = sum.wrapping_add(*x));
                    }
                }
            }
            black_box(sums);
        });
        READ_BYTES as f64 / start.elapsed().as_secs_f64()
    }

    /// Operations a second (two for a fused multiplication and addition) of all threads of the current pool, when
    /// nothing is read or written.
    pub(crate) fn flop_rate(&self) -> f64 {
        // One turn on each thread: a parallel iterator might give one of them two.
        let rates = rayon::broadcast(|_| {
            let start = Instant::now();
            multiply(self.isa) as f64 / start.elapsed().as_secs_f64()
        });
        // Half as many lanes fit a register, and take as long.
        rates.into_iter().sum::<f64>() * 4.0 / self.element as f64
    }
}

/// Multiplies and adds `f32` in registers, and returns the number of operations.
fn multiply(isa: Isa) -> usize {
    #[cfg(target_arch = "x86_64")]
    match isa.name() {
        // SAFETY: an `Isa` of this name exists only where the machine has the instructions.
        "avx512" => return unsafe { x86::multiply_avx512() },
        // SAFETY: as above.
        "avx2" => return unsafe { x86::multiply_avx2() },
        _ => {}
    }
    let _ = isa;
    // What the other kernels can hope for: vectors of the baseline, one multiplication and one addition, fused where
    // the baseline has that. Half of its registers have the sums.
    const NEON: bool = cfg!(target_arch = "aarch64");
    const FUSED: bool = NEON || cfg!(target_feature = "fma");
    const LANES: usize = if NEON { 64 } else { 32 };
    let (x, y) = (black_box(0.999_f32), black_box(0.001));
    let mut sums = [0.5_f32; LANES];
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = if FUSED { sum.mul_add(x, y) } else { *sum * x + y };
        }
    }
    black_box(sums);
    2 * LANES * ROUNDS
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{ROUNDS, black_box};
    use core::arch::x86_64::*;

    /// Enough sums to hide the latency of an instruction, and few enough for the registers.
    const SUMS: usize = 12;

    macro_rules! multiply {
        ($name:ident, $features:literal, $lanes:literal, $splat:ident, $fma:ident) => {
            #[target_feature(enable = $features)]
            pub(super) fn $name() -> usize {
                let (x, y) = (black_box($splat(0.999)), black_box($splat(0.001)));
                let mut sums = [x; SUMS];
                for _ in 0..ROUNDS {
                    for sum in &mut sums {
                        *sum = $fma(*sum, x, y);
                    }
                }
                black_box(sums);
                2 * $lanes * SUMS * ROUNDS
            }
        };
    }

    multiply!(multiply_avx512, "avx512f", 16, _mm512_set1_ps, _mm512_fmadd_ps);
    multiply!(multiply_avx2, "avx2,fma", 8, _mm256_set1_ps, _mm256_fmadd_ps);
}
