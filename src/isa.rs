//! Instruction sets by name.

use crate::{Error, Isa};
use core::fmt;
use core::str::FromStr;

impl FromStr for Isa {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let available = Self::available();
        if let Some(isa) = available.iter().find(|isa| isa.name() == name) {
            return Ok(*isa);
        }
        match Self::NAMES.iter().find(|known| **known == name) {
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
