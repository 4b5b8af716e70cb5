//! What tells the values of a feature apart and is lost where they are read in `f32`; and features that tell nothing but
//! which row it is. By the first rows alone: to look at all would take as long as to read them.

/// Features of which something is to be said, by their numbers.
#[derive(Debug, Default)]
pub struct Lost {
    /// Values above zero in size that are all zero in `f32`.
    pub vanished: Vec<usize>,
    /// Values that differ, but are all the same in `f32`.
    pub collapsed: Vec<usize>,
    /// Whole numbers of as many digits, each once, of which some are others in `f32`.
    pub identifiers: Vec<usize>,
    /// Each value is the one before and 1.
    pub counting: Vec<usize>,
}

/// Rows that count, at least: fewer may do so by chance.
const COUNTING: usize = 20;

impl Lost {
    /// Of features of which `first` has the first values, or none if some are no numbers.
    pub(super) fn of(n_features: usize, first: impl Fn(usize) -> Vec<f64>) -> Self {
        let mut lost = Self::default();
        for feature in 0..n_features {
            let values = first(feature);
            let kinds = [
                (&mut lost.vanished, vanish as fn(&[f64]) -> bool),
                (&mut lost.collapsed, collapse),
                (&mut lost.counting, count),
                (&mut lost.identifiers, identify),
            ];
            if let Some((features, _)) = kinds.into_iter().find(|(_, is_so)| is_so(&values)) {
                features.push(feature);
            }
        }
        lost
    }
}

fn vanish(values: &[f64]) -> bool {
    values.iter().any(|value| *value != 0.0) && values.iter().all(|value| *value as f32 == 0.0)
}

fn collapse(values: &[f64]) -> bool {
    let Some(first) = values.first() else { return false };
    values.iter().any(|value| value != first)
        && values.iter().all(|value| *value as f32 == *first as f32)
}

fn count(values: &[f64]) -> bool {
    values.len() >= COUNTING && values.windows(2).all(|pair| pair[1] - pair[0] == 1.0)
}

fn identify(values: &[f64]) -> bool {
    let digits = |value: f64| value.log10().floor();
    // Beyond, every number is whole.
    let is_whole = |value: f64| value.fract() == 0.0 && value > 0.0 && value < u64::MAX as f64;
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    values.len() > 1
        && values.iter().all(|value| is_whole(*value))
        && digits(sorted[0]) == digits(sorted[sorted.len() - 1])
        && sorted.windows(2).all(|pair| pair[0] < pair[1])
        && values.iter().any(|value| f64::from(*value as f32) != *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_columns() {
        let kind = |values: &[f64]| {
            let lost = Lost::of(1, |_| values.to_vec());
            let kinds = [&lost.vanished, &lost.collapsed, &lost.identifiers, &lost.counting];
            let found: Vec<usize> = (0..4).filter(|kind| !kinds[*kind].is_empty()).collect();
            assert!(found.len() <= 1, "{values:?}: {found:?}");
            found.first().map(|kind| ["vanished", "collapsed", "identifiers", "counting"][*kind])
        };
        let from = |start: u64, n: u64| (start..start + n).map(|i| i as f64).collect::<Vec<_>>();
        for (values, expected) in [
            (&[1e-50, 0.0, -3e-60][..], Some("vanished")),
            (&[0.0, 0.0], None),
            (&[1e-50, 1e-30], None),
            (&[7e9, 7e9 + 1.0], Some("collapsed")),
            (&[1.0, 1.0 + 1e-12], Some("collapsed")),
            (&[7e9, 7e9], None),
            (&[1_000_000_001.0, 9_000_000_001.0, 9_000_000_002.0], Some("identifiers")),
            // One that recurs, one of other length, fractions, and those that f32 has.
            (&[1_000_000_001.0, 9_000_000_001.0, 9_000_000_001.0], None),
            (&[1_000_000_001.0, 900_000_001.0], None),
            (&[1_000_000_001.5, 9_000_000_001.5], None),
            (&[1_000_001.0, 9_000_001.0], None),
            (&[1e37, 3e37], None),
            (&from(1, 20), Some("counting")),
            (&from(0, 100), Some("counting")),
            (&from(1, 19), None),
            (&[1e19; 50], None),
            (&[1.0; 50], None),
            (&[], None),
            (&[5.0], None),
        ] {
            assert_eq!(kind(values), expected, "{values:?}");
        }
    }
}
