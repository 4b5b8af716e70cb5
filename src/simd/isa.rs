//! Which instruction sets this machine has. An [`Isa`] exists only for one that it has, so whatever
//! takes an `Isa` may use its instructions without asking again.

#[cfg(target_arch = "x86_64")]
use super::x86::{Avx2, Avx512};
use crate::Error;
use core::fmt;
use core::str::FromStr;

/// An instruction set that this machine was found to have.
///
/// | name | lanes of f32 | needs |
/// |---|---|---|
/// | `portable` | 8, in whatever registers the build has | nothing |
/// | `avx2` | 8 | AVX2 and FMA |
/// | `avx512` | 16 | AVX-512 F, BW, DQ and VL: Skylake-X and later |
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
pub struct Isa(pub(super) Kind);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

impl Isa {
    /// The best instruction set of this machine.
    pub fn detect() -> Self {
        *Self::available().last().expect("portable is always there")
    }

    /// Every instruction set of this machine, the best one last.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "only x86-64 has more than one")]
        let mut available = vec![Self(Kind::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            available.extend(Avx2::detect().map(|proof| Self(Kind::Avx2(proof))));
            available.extend(Avx512::detect().map(|proof| Self(Kind::Avx512(proof))));
        }
        available
    }

    /// `portable`, `avx2` or `avx512`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_) => "avx512",
        }
    }
}

impl FromStr for Isa {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let available = Self::available();
        if let Some(isa) = available.iter().find(|isa| isa.name() == name) {
            return Ok(*isa);
        }
        match ["avx2", "avx512"].into_iter().find(|known| *known == name) {
            Some(name) => {
                let available =
                    available.iter().map(|isa| isa.name()).collect::<Vec<_>>().join(", ");
                Err(Error::IsaUnavailable { name, available })
            }
            None => Err(Error::UnknownIsa { name: name.to_owned() }),
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
