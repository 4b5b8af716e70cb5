//! Which instruction sets there are, and which of them this machine has: the list that names, errors and
//! dispatch follow. An [`Isa`] exists only for one that the machine has, so whatever takes an `Isa` may use
//! its instructions without asking again.

#[cfg(target_arch = "aarch64")]
use super::neon;
#[cfg(target_arch = "x86_64")]
use super::x86;
use super::{Lanes, Run, math::Elementary, portable};

/// An instruction set that this machine was found to have.
///
/// | name | lanes of f32 | needs |
/// |---|---|---|
/// | `portable` | 8, in whatever registers the build has | nothing |
/// | `avx2` | 8 | AVX2, FMA and F16C |
/// | `avx512` | 16 | AVX-512 F, BW, DQ and VL: Skylake-X and later |
/// | `neon` | 8, in two registers | AArch64 |
///
/// ```
/// use softmargin::{Error, Evaluator, Isa, Objective};
///
/// // The best one is the default; another one is asked for by its name.
/// let isa = "avx2".parse::<Isa>().unwrap_or_else(|error| {
///     assert!(matches!(error, Error::IsaUnavailable { .. }));
///     Isa::detect()
/// });
/// let evaluator = Evaluator::<f32>::new(Objective::hinge(1.0)).with_isa(isa);
/// assert_eq!(evaluator.isa(), isa);
/// assert!(Isa::available().contains(&isa));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Isa(Kind);

macro_rules! isas {
    ($($(#[$only:meta])? $kind:ident($proof:ty): $name:literal, $detect:expr, $f32:ty, $f64:ty;)*) => {
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        enum Kind {
            $($(#[$only])? $kind($proof),)*
        }

        impl Isa {
            /// The names of all instruction sets that the crate has kernels for, on some machine.
            pub const NAMES: &[&str] = &[$($name),*];

            /// Every instruction set of this machine, the best one last.
            pub fn available() -> Vec<Self> {
                let mut available = Vec::new();
                $($(#[$only])? available.extend($detect.map(|proof| Self(Kind::$kind(proof))));)*
                available
            }

            /// One of [`NAMES`](Self::NAMES).
            pub fn name(self) -> &'static str {
                match self.0 {
                    $($(#[$only])? Kind::$kind(_) => $name,)*
                }
            }

            /// Runs a kernel with this instruction set.
            pub(crate) fn run<T: Backends, R: Run<T>>(self, kernel: R) -> R::Output {
                match self.0 {
                    $($(#[$only])? Kind::$kind(proof) => T::$kind::call(proof, kernel),)*
                }
            }
        }

        /// The lanes of an element type on each instruction set.
        pub trait Backends: Elementary {
            $($(#[$only])? #[doc = $name] type $kind: Lanes<Elem = Self, Proof = $proof>;)*
        }

        impl Backends for f32 {
            $($(#[$only])? type $kind = $f32;)*
        }

        impl Backends for f64 {
            $($(#[$only])? type $kind = $f64;)*
        }
    };
}

// Variant(proof): name, detection, lanes of f32, lanes of f64; the best one last.
isas! {
    Portable(()): "portable", Some(()), portable::F32x8, portable::F64x4;
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2): "avx2", x86::Avx2::detect(), x86::F32x8, x86::F64x4;
    #[cfg(target_arch = "x86_64")]
    Avx512(x86::Avx512): "avx512", x86::Avx512::detect(), x86::F32x16, x86::F64x8;
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Neon): "neon", neon::Neon::detect(), neon::F32x8, neon::F64x4;
}

impl Isa {
    /// The best instruction set of this machine.
    pub fn detect() -> Self {
        *Self::available().last().expect("portable is always there")
    }
}
