//! What comes with the crate: few dependencies, from the registry, under permissive licences; and `unsafe`
//! only where the README says, as often as it says.

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Licences that ask for no more than their text. Of `A OR B` one is enough, of `A AND B` all are needed.
const LICENCES: [&str; 10] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "BSL-1.0",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn metadata() -> Value {
    let arguments = ["metadata", "--format-version", "1", "--locked", "--all-features"];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output();
    let output = output.expect("cargo metadata");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

/// The packages that `name` is built from, itself included, by id: with all features, or without the crates
/// that only the features in `but` bring.
fn closure(metadata: &Value, name: &str, but: &[&str]) -> BTreeSet<String> {
    let packages = metadata["packages"].as_array().expect("packages");
    let nodes = metadata["resolve"]["nodes"].as_array().expect("nodes");
    let of = |id: &str| packages.iter().find(|p| p["id"] == id).expect("a package");
    let start = packages.iter().find(|p| p["name"] == name).expect("the package");
    let mut found = BTreeSet::new();
    let mut todo = vec![text(&start["id"]).to_owned()];
    while let Some(id) = todo.pop() {
        if !found.insert(id.clone()) {
            continue;
        }
        let node = nodes.iter().find(|node| node["id"] == *id).expect("a node");
        for dependency in node["deps"].as_array().expect("dependencies") {
            let kinds = dependency["dep_kinds"].as_array().expect("kinds");
            // Neither for tests nor for other systems.
            let counts = kinds.iter().any(|k| k["kind"] != "dev" && k["target"].is_null());
            let target = text(&dependency["pkg"]);
            let ours = text(&of(&id)["name"]).starts_with("softmargin");
            let left_out = ours && but.contains(&text(&of(target)["name"]));
            if counts && !left_out {
                todo.push(target.to_owned());
            }
        }
    }
    found
}

#[test]
fn few_crates_by_default() {
    let of_train = ["argmin", "argmin-math", "matrixmultiply", "rand_xoshiro"];
    let of_safetensors = ["half", "safetensors", "serde_json", "tempfile"];
    let of_features = [&of_train[..], &of_safetensors, &["faer", "ndarray"]].concat();
    let all = closure(&metadata(), "softmargin", &of_features);
    // Itself is one of them.
    assert!(all.len() <= 16, "{} crates: {all:#?}", all.len());
}

#[test]
fn permissive_licences_from_the_registry() {
    let metadata = metadata();
    let all = closure(&metadata, "softmargin-cli", &["faer", "ndarray"]);
    let packages = metadata["packages"].as_array().expect("packages");
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages.iter().filter(|package| all.contains(text(&package["id"]))) {
        let name = text(&package["name"]);
        versions.entry(name).or_default().push(text(&package["version"]));
        let licence = text(&package["license"]).replace('/', " OR ");
        let allowed = |part: &str| LICENCES.contains(&part.trim_matches(['(', ')', ' ']));
        let fine = licence.split(" AND ").all(|all| all.split(" OR ").any(allowed));
        assert!(fine, "{name} is under {licence}");
        let ours = name.starts_with("softmargin");
        let source = package["source"].as_str().unwrap_or_default();
        assert!(ours || source.starts_with("registry+"), "{name} comes from {source:?}");
    }
    // One version of each, but for what others have not caught up with yet.
    versions.retain(|_, versions| versions.len() > 1);
    let accepted = BTreeSet::from(ACCEPTED_TWICE);
    let twice: BTreeSet<&str> = versions.keys().copied().collect();
    assert!(twice.is_subset(&accepted), "in more than one version: {versions:?}");
}

/// Crates of which the program has two versions: `argmin` is one behind with random numbers, `png` with
/// unpacking, and `shlex` and `syn` run when the program is compiled, not in it.
const ACCEPTED_TWICE: [&str; 5] = ["miniz_oxide", "rand_core", "rand_xoshiro", "shlex", "syn"];

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("one").path());
    entries.flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] }).collect()
}

#[test]
fn unsafe_is_where_the_readme_says() {
    let source = root().join("src");
    let mut blocks = 0;
    for path in rust_files(&source) {
        let code = fs::read_to_string(&path).expect("UTF-8");
        let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let here = code.map(|line| line.matches("unsafe {").count()).sum::<usize>();
        let inside = path.strip_prefix(&source).expect("inside");
        let allowed = ["simd", "kernel", "view.rs"].iter().any(|room| inside.starts_with(room));
        assert!(here == 0 || allowed, "unsafe in {}", inside.display());
        blocks += here;
    }
    let readme = fs::read_to_string(root().join("README.md")).expect("a README");
    let claim = format!("{blocks} `unsafe` blocks");
    assert!(readme.contains(&claim), "the README does not say {claim:?}");
}

/// Where a README is shown, relative links lead nowhere; and absolute ones are to lead to what is there.
#[test]
fn links_of_the_readme_lead_somewhere() {
    let readme = fs::read_to_string(root().join("README.md")).expect("a README");
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
    let repository = manifest.lines().find_map(|line| line.strip_prefix("repository = "));
    let repository = repository.expect("a repository").trim_matches('"');
    let name = repository.rsplit("github.com/").next().expect("a name");
    let raw = format!("https://raw.githubusercontent.com/{name}/main/");
    let (blob, tree) = (format!("{repository}/blob/main/"), format!("{repository}/tree/main/"));
    let markdown = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let html = readme.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let mut ours = 0;
    for link in markdown.chain(html) {
        assert!(link.starts_with("https://"), "{link} is relative");
        let prefix =
            [&raw, &blob, &tree].into_iter().find_map(|prefix| link.strip_prefix(&**prefix));
        if let Some(path) = prefix {
            assert!(root().join(path).exists(), "{link}: there is no {path}");
            ours += 1;
        }
    }
    assert!(ours > 10, "only {ours} links into the repository");
}
