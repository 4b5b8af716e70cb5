//! Arguments about classes: their names, and what their samples weigh.

use super::{cells, is_written_finite};
use crate::data::Classes;
use anyhow::{Result, bail};
use std::str::FromStr;

/// Names separated by commas, quoted as in CSV where they have commas themselves.
#[derive(Clone, Debug)]
pub(super) struct ClassNames(pub(super) Vec<String>);

impl FromStr for ClassNames {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = cells(text)?;
        for (i, name) in names.iter().enumerate() {
            if name.is_empty() {
                return Err(format!("name {} is empty", i + 1));
            }
            if names[..i].contains(name) {
                return Err(format!("the name {name:?} is there twice"));
            }
        }
        Ok(Self(names))
    }
}

/// What the samples of each class count.
#[derive(Clone, Debug)]
pub(super) enum ClassWeight {
    /// As many in all for each class.
    Balanced,
    /// These factors; 1 for classes that are not named.
    Named(Vec<(String, f32)>),
}

impl FromStr for ClassWeight {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "balanced" {
            return Ok(Self::Balanced);
        }
        let mut named: Vec<(String, f32)> = Vec::new();
        for cell in cells(text)? {
            let Some((name, weight)) = cell.rsplit_once('=') else {
                return Err(format!("{cell:?} is neither \"balanced\" nor NAME=WEIGHT"));
            };
            let text = weight.trim();
            let weight: f32 = text.parse().map_err(|_| format!("{weight:?} is no weight"))?;
            if weight.is_infinite() && is_written_finite(text) {
                return Err(format!("the weight {text} of {name:?} is too large for f32"));
            }
            if weight == 0.0 && text.parse::<f64>().is_ok_and(|weight| weight != 0.0) {
                return Err(format!("the weight {text} of {name:?} is too small for f32"));
            }
            if !(weight >= 0.0 && weight.is_finite()) {
                return Err(format!(
                    "the weight {weight} of {name:?} must be finite and at least 0"
                ));
            }
            let name = name.trim();
            if named.iter().any(|(earlier, _)| earlier == name) {
                return Err(format!("the class {name:?} is there twice"));
            }
            named.push((name.to_owned(), weight));
        }
        Ok(Self::Named(named))
    }
}

impl ClassWeight {
    /// A factor for each class. Those that are balanced are N / (C n) for a class with n of the N samples, as in
    /// scikit-learn: the samples of every class count as many in all, and all of them as many as there are.
    pub(super) fn weights(
        &self,
        classes: &Classes,
        labels: &[u32],
        sample_weights: Option<&[f32]>,
    ) -> Result<Vec<f32>> {
        match self {
            Self::Balanced => {
                let mut totals = vec![0.0_f64; classes.n()];
                for (i, label) in labels.iter().enumerate() {
                    totals[*label as usize] += sample_weights.map_or(1.0, |w| f64::from(w[i]));
                }
                let present = totals.iter().filter(|total| **total > 0.0).count();
                let share = totals.iter().sum::<f64>() / present as f64;
                // A class without samples has nothing to weigh.
                let weight = |total: f64| if total > 0.0 { (share / total) as f32 } else { 0.0 };
                Ok(totals.into_iter().map(weight).collect())
            }
            Self::Named(named) => {
                let mut weights = vec![1.0; classes.n()];
                for (name, weight) in named {
                    let Some(class) = (0..classes.n()).find(|class| classes.name(*class) == name)
                    else {
                        let known: Vec<&str> =
                            (0..classes.n()).take(10).map(|class| classes.name(class)).collect();
                        bail!("--class-weight: there is no class {name:?}; there are {known:?}");
                    };
                    weights[class] = *weight;
                }
                Ok(weights)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_as_in_csv() {
        let names = |text: &str| text.parse::<ClassNames>().map(|names| names.0);
        assert_eq!(names("a,\"b, c\",d e").unwrap(), ["a", "b, c", "d e"]);
        assert_eq!(names("\"say \"\"hi\"\"\",ü").unwrap(), ["say \"hi\"", "ü"]);
        assert!(names("a,,b").unwrap_err().contains("name 2 is empty"));
        assert!(names("a,b,a").unwrap_err().contains("\"a\" is there twice"));
        assert!(names("").is_err());
    }

    #[test]
    fn weights_by_name() {
        let ClassWeight::Named(named) = "a=2,\"b=c, d\"=0.5".parse().unwrap() else { panic!() };
        assert_eq!(named, [("a".to_owned(), 2.0), ("b=c, d".to_owned(), 0.5)]);
        for bad in ["a", "a=", "a=-1", "a=nan", "a=1,a=2", ""] {
            assert!(bad.parse::<ClassWeight>().is_err(), "{bad:?}");
        }
        let error = "a=1e39".parse::<ClassWeight>().unwrap_err();
        assert_eq!(error, "the weight 1e39 of \"a\" is too large for f32");
        let error = "a=1e-50".parse::<ClassWeight>().unwrap_err();
        assert_eq!(error, "the weight 1e-50 of \"a\" is too small for f32");
        assert!("a=0".parse::<ClassWeight>().is_ok());
        assert!("a=inf".parse::<ClassWeight>().unwrap_err().contains("must be finite"));
    }
}
