//! What arrays and tensors of features and labels are called where a file has several.

use super::options::Split;
use anyhow::{Result, bail};

const FEATURES: [&str; 6] = ["features", "x", "data", "embeddings", "images", "arr_0"];
const LABELS: [&str; 6] = ["labels", "y", "label", "target", "targets", "arr_1"];

/// The names of the features and of the labels among `names`, in any case; with a part of its own for
/// training and for test, that of `split`.
///
/// # Errors
/// If there are no features, or several arrays could be they.
pub(super) fn find<'a>(names: &[&'a str], split: Split) -> Result<(&'a str, Option<&'a str>)> {
    let part = match split {
        Split::Train => "train",
        Split::Test => "test",
    };
    let of = |wanted: &[&str], suffix: &str| -> Vec<&'a str> {
        let is = |name: &str, wanted: &str| name.eq_ignore_ascii_case(&format!("{wanted}{suffix}"));
        let found = names.iter().filter(|name| wanted.iter().any(|wanted| is(name, wanted)));
        // The first of the usual names comes before all others.
        let best = names.iter().find(|name| is(name, wanted[0]));
        best.map_or_else(|| found.copied().collect(), |best| vec![*best])
    };
    for suffix in [format!("_{part}"), String::new()] {
        match (&*of(&FEATURES, &suffix), &*of(&LABELS, &suffix)) {
            ([features], []) => return Ok((features, None)),
            ([features], [labels]) => return Ok((features, Some(labels))),
            ([], _) => {}
            (features, labels) => bail!(
                "several arrays could be the features or the labels: {}",
                [features, labels].concat().join(", ")
            ),
        }
    }
    bail!("there are no features ({} or {}); there are {names:?}", FEATURES[0], FEATURES[1])
}

/// The name of the labels among `names`, if there are any.
///
/// # Errors
/// If several arrays could be they.
pub(super) fn labels<'a>(names: &[&'a str]) -> Result<Option<&'a str>> {
    let is_label = |name: &&&str| LABELS.iter().any(|wanted| name.eq_ignore_ascii_case(wanted));
    match &*names.iter().filter(is_label).copied().collect::<Vec<_>>() {
        [] => Ok(None),
        [name] => Ok(Some(name)),
        several => bail!("several arrays could be the labels: {}", several.join(", ")),
    }
}

/// What was found, for the user to see.
pub(super) fn note(what: &str, features: &str, labels: Option<&str>) -> String {
    match labels {
        Some(labels) => format!("features: the {what} {features:?}, labels: {labels:?}"),
        None => format!("features: the {what} {features:?}, without labels"),
    }
}

/// Whether there are features of their own for `split`.
pub(super) fn has_split(names: &[&str], split: Split) -> bool {
    let own = if split == Split::Train { "_train" } else { "_test" };
    find(names, split).is_ok_and(|(features, _)| features.to_ascii_lowercase().ends_with(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_and_labels() {
        for (names, expected) in [
            (&["X", "y"][..], ("X", Some("y"))),
            (&["labels", "features", "ids"], ("features", Some("labels"))),
            (&["labels", "features", "x", "y"], ("features", Some("labels"))),
            (&["arr_0", "arr_1"], ("arr_0", Some("arr_1"))),
            (&["data", "target"], ("data", Some("target"))),
            (&["x"], ("x", None)),
            (&["x_test", "x_train", "y_train"], ("x_train", Some("y_train"))),
        ] {
            assert_eq!(find(names, Split::Train).unwrap(), expected);
        }
        assert_eq!(find(&["x_test", "x_train"], Split::Test).unwrap(), ("x_test", None));
        for names in [&["a", "b"][..], &["X", "data"], &["x_test"], &["X", "y", "target"]] {
            let error = find(names, Split::Train).unwrap_err().to_string();
            assert!(error.contains(names[0]), "{error}");
        }
        assert!(has_split(&["X_test", "X_train"], Split::Test));
        assert!(!has_split(&["X"], Split::Test));
    }
}
