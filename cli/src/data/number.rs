//! Numbers as they are written in text, and what to say of those that cannot be features.

use std::fmt;

/// Why a cell is no feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    NoNumber,
    NotFinite,
    TooLarge,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoNumber => "is no number",
            Self::NotFinite => "is not finite",
            Self::TooLarge => "is too large for f32",
        })
    }
}

/// A feature. `True` and `False`, as pandas writes indicators, are 1 and 0.
pub(super) fn parse(cell: &str) -> Result<f32, Unfit> {
    match cell.parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(value) if value.is_nan() || !cell.contains(|c: char| c.is_ascii_digit()) => {
            Err(Unfit::NotFinite)
        }
        Ok(_) => Err(Unfit::TooLarge),
        Err(_) => boolean(cell).map(f32::from).ok_or(Unfit::NoNumber),
    }
}

/// The same for a number that is in memory already.
pub(super) fn unfit(value: f64) -> Unfit {
    if value.is_finite() { Unfit::TooLarge } else { Unfit::NotFinite }
}

/// Whether what [`parse`] takes for zero is zero as it is written, and not a number that is too small for f32.
pub(super) fn is_zero(cell: &str) -> bool {
    let digits = cell.split(['e', 'E']).next().unwrap_or_default();
    is_boolean(cell) || !digits.contains(|c: char| matches!(c, '1'..='9'))
}

/// Whether a cell is a truth value, as [`parse`] takes it for 0 or 1.
pub(super) fn is_boolean(cell: &str) -> bool {
    boolean(cell).is_some()
}

fn boolean(cell: &str) -> Option<bool> {
    match cell {
        "True" | "true" | "TRUE" => Some(true),
        "False" | "false" | "FALSE" => Some(false),
        _ => None,
    }
}

/// Whether a cell has a number, however large.
pub(super) fn is_number(cell: &str) -> bool {
    !is_missing(cell) && parse(cell) != Err(Unfit::NoNumber)
}

/// Whether a cell says that its value is missing.
pub(super) fn is_missing(cell: &str) -> bool {
    const MARKERS: [&str; 10] =
        ["NA", "N/A", "NaN", "-NaN", "#N/A", "#NA", "<NA>", "NULL", "?", ""];
    cell == "None" || MARKERS.iter().any(|marker| cell.eq_ignore_ascii_case(marker))
}

/// Whether a cell is a number with a comma for its point.
pub(super) fn has_decimal_comma(cell: &str) -> bool {
    let mut parts = cell.splitn(2, ',');
    let whole = parts.next().unwrap_or_default().trim_start_matches(['-', '+']);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    parts.next().is_some_and(|rest| {
        !rest.is_empty()
            && digits(whole)
            && rest.starts_with(|c: char| c.is_ascii_digit())
            && parse(&format!("{whole}.{rest}")).is_ok()
    })
}

/// Whether a cell is a number with commas between its thousands.
pub(super) fn has_groups(cell: &str) -> bool {
    let cell = cell.trim_start_matches(['-', '+']);
    let whole = cell.split_once('.').map_or(cell, |(whole, _)| whole);
    let mut groups = whole.split(',');
    let digits = |group: &str| group.bytes().all(|byte| byte.is_ascii_digit());
    let first = groups.next().is_some_and(|first| (1..=3).contains(&first.len()) && digits(first));
    first
        && whole.contains(',')
        && groups.all(|group| group.len() == 3 && digits(group))
        && parse(&cell.replace(',', "")) != Err(Unfit::NoNumber)
}

/// A cell in quotes, shortened so that a message stays readable.
pub(super) fn quoted(cell: &str) -> String {
    const MOST: usize = 40;
    match cell.char_indices().nth(MOST) {
        Some((end, _)) => format!("{:?}…", &cell[..end]),
        None => format!("{cell:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_what_is_none() {
        for (cell, expected) in [
            ("1.5", Ok(1.5)),
            ("+1e2", Ok(100.0)),
            ("3.4e38", Ok(3.4e38)),
            ("1e-60", Ok(0.0)),
            ("True", Ok(1.0)),
            ("false", Ok(0.0)),
            ("1e39", Err(Unfit::TooLarge)),
            ("-1e999", Err(Unfit::TooLarge)),
            ("inf", Err(Unfit::NotFinite)),
            ("-Infinity", Err(Unfit::NotFinite)),
            ("nan", Err(Unfit::NotFinite)),
            ("1,5", Err(Unfit::NoNumber)),
            ("", Err(Unfit::NoNumber)),
            ("oops", Err(Unfit::NoNumber)),
        ] {
            assert_eq!(parse(cell), expected, "{cell}");
        }
    }

    #[test]
    fn zeros() {
        for cell in ["0", "-0", "0.000", "0e9", "+0.0E-5", "False", "FALSE"] {
            assert!(is_zero(cell) && parse(cell) == Ok(0.0), "{cell}");
        }
        for cell in ["1e-60", "-0.1E-500", "0.0000000000000000000000000000000000000000000000007"] {
            assert!(!is_zero(cell) && parse(cell) == Ok(0.0), "{cell}");
        }
    }

    #[test]
    fn thousands() {
        for cell in ["1,234", "-12,345.6", "1,234,567", "999,000"] {
            assert!(has_groups(cell), "{cell}");
        }
        for cell in ["1234", "1,23", "1234,567", ",123", "1,234,", "a,bcd", "1,234.x", "12", ""] {
            assert!(!has_groups(cell), "{cell}");
        }
    }

    #[test]
    fn missing_values() {
        for cell in ["", "NA", "NaN", "nan", "null", "NULL", "None", "N/A", "n/a", "?"] {
            assert!(is_missing(cell) && !is_number(cell), "{cell}");
        }
        for cell in ["0", "none", "unknown", "Na+", "-"] {
            assert!(!is_missing(cell), "{cell}");
        }
    }

    #[test]
    fn long_cells_are_shortened() {
        assert_eq!(quoted("a\"b"), r#""a\"b""#);
        assert_eq!(quoted(&"é".repeat(1000)).chars().count(), 43);
    }
}
