//! Models as files: they come back bit by bit, from other programs, too; what is no model is refused, with the
//! reason; and a file is either as it was or whole.

#![cfg(feature = "safetensors")]

use crate::common::Random;
use crate::common::failure::says;
use softmargin::{Error, LinearModel, Scalar};
use std::{collections::HashMap, fs, path::Path};

fn random_model<T: Scalar>(c: usize, d: usize) -> LinearModel<T> {
    let mut random = Random::new(3);
    let parameters = (0..c * (d + 1)).map(|_| T::from_f64(random.normal() / 3.0)).collect();
    LinearModel::from_parameters(c, d, parameters).unwrap()
}

fn metadata() -> HashMap<String, String> {
    let entry = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let entries =
        [("loss", "hinge"), ("l2", "1e-4"), ("class_names", "[\"Katze\",\"\\\"犬\\\"\"]")];
    entries.map(entry).into()
}

/// A file of tensors of these names, types and shapes.
fn tensors(tensors: &[(&str, &str, &[usize], Vec<u8>)]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let start = data.len();
        data.extend_from_slice(bytes);
        let offsets = [start, data.len()];
        let entry = serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets });
        header.insert((*name).to_owned(), entry);
    }
    let header = serde_json::to_vec(&header).unwrap();
    [&(header.len() as u64).to_le_bytes(), &header[..], &data].concat()
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn f64s(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn bits(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn refused(bytes: &[u8], fragments: &[&str]) {
    let error = LinearModel::<f32>::from_safetensors(bytes).unwrap_err();
    assert!(matches!(error, Error::Safetensors { .. }), "{error:?}");
    says(&error, fragments);
}

fn there_and_back<T: Scalar>() {
    let folder = tempfile::tempdir().unwrap();
    for (c, d) in [(1, 1), (3, 7), (100, 20)] {
        let (model, path) = (random_model::<T>(c, d), folder.path().join("model.safetensors"));
        model.save(&path, &metadata()).unwrap();
        assert_eq!(LinearModel::<T>::load(&path).unwrap(), model);
        let (loaded, said) = LinearModel::<T>::load_with_metadata(&path).unwrap();
        assert_eq!((loaded, said), (model.clone(), metadata()));
        let bytes = fs::read(&path).unwrap();
        for _ in 0..10 {
            assert_eq!(model.to_safetensors(&metadata()).unwrap(), bytes, "another file");
        }
        let plain = model.to_safetensors(&HashMap::new()).unwrap();
        assert_eq!(LinearModel::<T>::from_safetensors(&plain), Ok((model, HashMap::new())));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something is left behind");
}

#[test]
fn models_come_back_bit_by_bit() {
    there_and_back::<f32>();
    there_and_back::<f64>();
}

#[test]
fn one_type_as_another() {
    let model = random_model::<f64>(3, 2);
    let bytes = model.to_safetensors(&HashMap::new()).unwrap();
    let (rounded, _) = LinearModel::<f32>::from_safetensors(&bytes).unwrap();
    let expected: Vec<f32> = model.parameters().iter().map(|p| *p as f32).collect();
    assert_eq!(rounded.parameters(), expected);
    let bytes = rounded.to_safetensors(&HashMap::new()).unwrap();
    let (widened, _) = LinearModel::<f64>::from_safetensors(&bytes).unwrap();
    assert!(widened.parameters().iter().zip(expected).all(|(a, b)| *a == f64::from(b)));

    // 1, −2, the smallest normal and subnormal numbers, and the largest one; then those of bf16.
    let f16 = bits(&[0x3c00, 0xc000, 0x0400, 0x0001, 0x7bff, 0x3555]);
    let file = tensors(&[
        ("weight", "F16", &[2, 2], f16[..8].into()),
        ("bias", "F16", &[2], f16[8..].into()),
    ]);
    let (model, _) = LinearModel::<f64>::from_safetensors(&file).unwrap();
    let expected = [1.0, -2.0, 2f64.powi(-14), 2f64.powi(-24), 65504.0, 0.333251953125];
    assert_eq!(model.parameters(), expected);
    let bf16 = bits(&[0x3f80, 0xc000, 0x0080, 0x0001, 0x7f7f, 0x3eab]);
    let file = tensors(&[
        ("weight", "BF16", &[2, 2], bf16[..8].into()),
        ("bias", "BF16", &[2], bf16[8..].into()),
    ]);
    let (model, _) = LinearModel::<f64>::from_safetensors(&file).unwrap();
    let expected =
        [1.0, -2.0, 2f64.powi(-126), 2f64.powi(-133), 255.0 * 2f64.powi(120), 0.333984375];
    assert_eq!(model.parameters(), expected);
}

#[test]
fn names_of_other_programs() {
    let (weight, bias) = (f32s(&[1.0, 2.0, 3.0, 4.0]), f32s(&[5.0, 6.0]));
    for prefix in ["", "fc.", "classifier.", "model.head.0."] {
        let names = [format!("{prefix}weight"), format!("{prefix}bias")];
        let both = [
            (&*names[1], "F32", &[2][..], bias.clone()),
            (&*names[0], "F32", &[2, 2][..], weight.clone()),
        ];
        let load = |file: &[u8]| LinearModel::<f32>::from_safetensors(file).unwrap().0;
        assert_eq!(load(&tensors(&both)).parameters(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        // Without a bias, or with that of another layer.
        assert_eq!(load(&tensors(&both[1..])).bias(), [0.0, 0.0]);
        let other = ("other.bias", "F32", &[2][..], bias.clone());
        assert_eq!(load(&tensors(&[other, both[1].clone()])).bias(), [0.0, 0.0]);
    }
    let two = |a, b| {
        let weights =
            [(a, "F32", &[2, 2][..], weight.clone()), (b, "F32", &[2, 2], weight.clone())];
        tensors(&weights)
    };
    refused(&two("fc1.weight", "fc2.weight"), &["several", "fc1.weight", "fc2.weight"]);
    refused(&two("weight", "norm.weight"), &["several", "\"weight\"", "norm.weight"]);
    refused(&two("coef_", "intercept_"), &["weight", "coef_", "intercept_"]);
    refused(&two("weight_g", "myweight"), &["weight_g", "myweight"]);
}

#[test]
fn what_is_no_model() {
    let (weight, bias) = (f32s(&[1.0; 6]), f32s(&[0.0; 2]));
    let file = |shape: &[usize], of_bias: &[usize], weight: &[u8], bias: &[u8]| {
        tensors(&[("weight", "F32", shape, weight.into()), ("bias", "F32", of_bias, bias.into())])
    };
    refused(&file(&[6], &[2], &weight, &bias), &["\"weight\"", "1 dimensions, not 2"]);
    refused(&file(&[1, 2, 3], &[2], &weight, &bias), &["3 dimensions"]);
    refused(&file(&[3, 2], &[2], &weight, &bias), &["\"bias\"", "[2], not [3]"]);
    refused(&file(&[2, 3], &[2, 1], &weight, &bias), &["\"bias\"", "[2, 1], not [2]"]);
    refused(&file(&[0, 3], &[2], &[], &bias), &["no values", "0 classes", "3 features"]);
    refused(&tensors(&[("weight", "I64", &[1, 1], vec![0; 8])]), &["\"weight\"", "I64", "BF16"]);
    for (i, named) in [(4, "class 1, feature 1"), (0, "class 0, feature 0")] {
        for (value, said) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf")] {
            let mut weight = [1.0; 6];
            weight[i] = value;
            refused(&file(&[2, 3], &[2], &f32s(&weight), &bias), &["weight", named, said]);
            // Nor is it written.
            let mut model = LinearModel::<f32>::zeros(2, 3);
            model.weights_mut()[i] = value;
            says(&model.to_safetensors(&HashMap::new()).unwrap_err(), &[named, said]);
        }
    }
    refused(&file(&[2, 3], &[2], &weight, &f32s(&[0.0, f32::NAN])), &["bias", "class 1", "NaN"]);
    let large = tensors(&[("weight", "F64", &[1, 2], f64s(&[0.0, -4e38]))]);
    refused(&large, &["class 0, feature 1", "-4e38", "beyond the range of f32"]);
    assert!(LinearModel::<f64>::from_safetensors(&large).is_ok());
    for model in [LinearModel::<f32>::zeros(0, 3), LinearModel::zeros(3, 0)] {
        let error = model.to_safetensors(&HashMap::new()).unwrap_err();
        assert!(matches!(error, Error::NoClasses | Error::NoFeatures), "{error}");
    }
    // Cut off anywhere, or longer than it says.
    let whole = LinearModel::<f32>::zeros(2, 3).to_safetensors(&metadata()).unwrap();
    for length in 0..whole.len() {
        assert!(LinearModel::<f32>::from_safetensors(&whole[..length]).is_err(), "{length} bytes");
    }
    assert!(LinearModel::<f32>::from_safetensors(&[&whole[..], &[0]].concat()).is_err());
    // Of another kind.
    for other in [&b"\x93NUMPY\x01\0v\0{'descr': '<f4'}"[..], b"a,b,label\n1,2,0\n", b""] {
        refused(other, &["no valid safetensors file"]);
    }
}

fn of_file(result: Result<impl std::fmt::Debug, Error>, path: &Path, fragments: &[&str]) {
    let error = result.unwrap_err();
    assert!(matches!(&error, Error::File { path: named, .. } if named == path), "{error:?}");
    says(&error, &[&[&*path.to_string_lossy()], fragments].concat());
}

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    let load = || LinearModel::<f32>::load(&path);
    of_file(load(), &path, &["No such file"]);
    for (bytes, said) in
        [(&b""[..], "short"), (b"0123456", "short"), (b"\x89PNG\r\n\x1a\n....", "header")]
    {
        fs::write(&path, bytes).unwrap();
        of_file(load(), &path, &["no safetensors file", said]);
    }
    fs::write(&path, tensors(&[("x", "F32", &[1], f32s(&[1.0]))])).unwrap();
    of_file(load(), &path, &["weight", "\"x\""]);
    of_file(LinearModel::<f32>::load(folder.path()), folder.path(), &["directory"]);
    #[cfg(unix)]
    of_file(
        LinearModel::<f32>::load("/dev/zero"),
        Path::new("/dev/zero"),
        &["no safetensors file"],
    );
}

#[test]
fn files_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let (model, none) = (random_model::<f32>(2, 2), HashMap::new());
    let nowhere = folder.path().join("no").join("model");
    of_file(model.save(&nowhere, &none), &nowhere, &["the folder does not exist"]);
    of_file(model.save(folder.path(), &none), folder.path(), &["no regular file"]);
    // What is refused leaves the old file alone.
    let path = folder.path().join("model");
    model.save(&path, &none).unwrap();
    let mut bad = model.clone();
    bad.bias_mut()[1] = f32::NAN;
    of_file(bad.save(&path, &none), &path, &["bias of class 1 is NaN"]);
    assert_eq!(LinearModel::load(&path), Ok(model));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something is left behind");
}

#[cfg(unix)]
#[test]
fn permissions_stay_and_links_are_followed() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (model, none) = (random_model::<f32>(2, 2), HashMap::new());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;

    fs::write(at("plain"), "").unwrap();
    model.save(at("new"), &none).unwrap();
    assert_eq!(mode(&at("new")), mode(&at("plain")), "not as any new file");
    for permissions in [0o600, 0o640, 0o664] {
        fs::set_permissions(at("new"), fs::Permissions::from_mode(permissions)).unwrap();
        model.save(at("new"), &none).unwrap();
        assert_eq!(mode(&at("new")), permissions);
    }

    fs::create_dir(at("elsewhere")).unwrap();
    symlink("elsewhere/target", at("first")).unwrap();
    symlink("first", at("link")).unwrap();
    // There is no target yet; then there is.
    for value in [1.0, 2.0] {
        let mut model = model.clone();
        model.bias_mut()[0] = value;
        model.save(at("link"), &none).unwrap();
        assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
        assert!(fs::symlink_metadata(at("elsewhere/target")).unwrap().is_file());
        assert_eq!(LinearModel::load(at("elsewhere/target")), Ok(model));
    }
    symlink("loop", at("loop")).unwrap();
    of_file(model.save(at("loop"), &none), &at("loop"), &["symbolic links"]);
}
