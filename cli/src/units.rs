//! Numbers and names as people read them.

/// A duration with three digits: `830 µs`, `4.21 ms`, `43.4 ms`, `434 ms`, `1.55 s`, `2 min 05 s`, `1 h 02 min`.
pub(crate) fn seconds(value: f64) -> String {
    match value {
        v if v < 1e-3 => format!("{:.0} µs", v * 1e6),
        v if v < 10e-3 => format!("{:.2} ms", v * 1e3),
        v if v < 100e-3 => format!("{:.1} ms", v * 1e3),
        v if v < 1.0 => format!("{:.0} ms", v * 1e3),
        v if v < 60.0 => format!("{v:.2} s"),
        v if v < 3600.0 => format!("{} min {:02} s", (v / 60.0) as u64, (v % 60.0) as u64),
        v => format!("{} h {:02} min", (v / 3600.0) as u64, (v % 3600.0 / 60.0) as u64),
    }
}

/// A rate or a count with a prefix: `950`, `12.3 k`, `4.56 M`.
pub(crate) fn count(value: f64) -> String {
    match value {
        v if v < 1e3 => format!("{v:.0}"),
        v if v < 1e6 => format!("{:.1} k", v / 1e3),
        v if v < 1e9 => format!("{:.2} M", v / 1e6),
        v => format!("{:.2} G", v / 1e9),
    }
}

/// A number with all its digits and few zeros: `0.0001`, `2`, `1e-300`.
pub(crate) fn number(value: f64) -> String {
    let text = format!("{value:?}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// A loss to six places, or to as many digits where these would be hundreds, or hardly any.
pub(crate) fn loss(value: f64) -> String {
    match value.abs() {
        0.0 | 1e-4..1e9 => format!("{value:.6}"),
        _ => format!("{value:.6e}"),
    }
}

/// A share: `84.39 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// A name from a file without what would break a line, or what a terminal would obey.
pub(crate) fn one_line(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_few_zeros() {
        for (value, text) in [
            (0.0, "0"),
            (1e-4, "0.0001"),
            (3e-5, "3e-5"),
            (1e-300, "1e-300"),
            (2.5, "2.5"),
            (100.0, "100"),
            (1e300, "1e300"),
        ] {
            assert_eq!(number(value), text);
        }
        for (value, text) in [
            (0.0, "0.000000"),
            (0.25, "0.250000"),
            (1234.5, "1234.500000"),
            (1e-9, "1.000000e-9"),
            (1e300, "1.000000e300"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(loss(value), text);
        }
    }

    #[test]
    fn names_stay_on_their_line() {
        assert_eq!(one_line("a\nb\r\tc \u{1b}[31mé"), "a b  c  [31mé");
    }
}
