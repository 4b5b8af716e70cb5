//! Checkpoints as safetensors files. Numbers are kept bit by bit, and no tensor has the name of a model's weights, so that
//! a checkpoint is not taken for a model.

use super::{Checkpoint, VERSION, differs};
use crate::{
    Error, LinearModel, Scalar,
    file::{dtype, parse, refusal, serialize, to_bytes, values},
    train::{Progress, curvature::Source, secants::Secant, validation::Stopping},
};
use safetensors::{Dtype, tensor::TensorView};
use std::collections::HashMap;

/// The key of the metadata that has the properties, as JSON.
const PROPERTIES: &str = "softmargin_checkpoint";

/// The key of the metadata that has the checksum of the file, with zeros in its own place.
const CHECKSUM: &str = "softmargin_checksum";
const NO_CHECKSUM: &str = "0000000000000000";

impl<T: Scalar> Checkpoint<T> {
    /// What a safetensors file of this checkpoint has, with other metadata. The same checkpoint with the same metadata is
    /// the same file, byte by byte.
    ///
    /// # Errors
    /// [`Error::Safetensors`] for more than 100 MB of metadata.
    pub fn to_safetensors(&self, metadata: &HashMap<String, String>) -> Result<Vec<u8>, Error> {
        let Progress { iteration, objective, gradient_norm, evaluations, samples } = self.progress;
        let (source, learnt_at) = match &self.source {
            Source::Nothing => (0, None),
            Source::Zeros => (1, None),
            Source::Model { model, apart } => (2 + u64::from(*apart), Some(model)),
        };
        let (c, d) = (self.model.n_classes(), self.model.n_features());
        let sizes = [c, d, iteration, evaluations].map(|size| size as u64);
        let counts: Vec<u8> = sizes
            .into_iter()
            .chain([samples, self.n_samples, source])
            .flat_map(u64::to_le_bytes)
            .collect();
        let [before, last] = self.decreases;
        let numbers = to_bytes(&[objective, gradient_norm, before, last, self.slope]);
        let products = self.secants.iter().flat_map(|secant| {
            [&secant.with_gradient].into_iter().chain(&secant.with_differences).flatten()
        });
        let products = to_bytes(products);
        let models = [&self.model, &self.gradient].into_iter().chain(learnt_at);
        let models = to_bytes(models.flat_map(LinearModel::parameters));
        let steps = to_bytes(self.secants.iter().flat_map(|secant| &secant.s));
        let images = to_bytes(self.secants.iter().flat_map(|secant| &secant.z));

        // Empty without early stopping.
        let stopping = self.stopping.as_ref();
        let counts_of_best: Vec<u8> = stopping
            .into_iter()
            .flat_map(|Stopping { patience, best, .. }| {
                [*patience as u64, best.iteration as u64, best.evaluations as u64, best.samples]
            })
            .flat_map(u64::to_le_bytes)
            .collect();
        let numbers_of_best: Vec<f64> = stopping
            .into_iter()
            .flat_map(|Stopping { best, best_loss, last_loss, .. }| {
                [best.objective, best.gradient_norm, *best_loss, *last_loss]
            })
            .collect();
        let numbers_of_best = to_bytes(&numbers_of_best);
        let best = to_bytes(stopping.into_iter().flat_map(|known| known.best_model.parameters()));

        let mut tensors = Vec::new();
        for (name, dtype, bytes) in [
            ("counts", Dtype::U64, &counts),
            ("numbers", Dtype::F64, &numbers),
            ("products", Dtype::F64, &products),
            ("models", dtype::<T>(), &models),
            ("steps", dtype::<T>(), &steps),
            ("images", dtype::<T>(), &images),
            ("counts of best", Dtype::U64, &counts_of_best),
            ("numbers of best", Dtype::F64, &numbers_of_best),
            ("best", dtype::<T>(), &best),
        ] {
            let length = 8 * bytes.len() / dtype.bitsize();
            tensors.push((name, TensorView::new(dtype, vec![length], bytes).map_err(refusal)?));
        }
        let mut metadata = metadata.clone();
        let properties = serde_json::to_string(&self.properties).map_err(refusal)?;
        metadata.insert(PROPERTIES.to_owned(), properties);
        metadata.insert(CHECKSUM.to_owned(), NO_CHECKSUM.to_owned());
        let mut bytes = serialize(tensors, metadata)?;
        let at = place_of_checksum(&bytes).ok_or_else(|| refusal("its header has no checksum"))?;
        let checksum = checksum(&bytes, at);
        bytes[at..at + NO_CHECKSUM.len()].copy_from_slice(checksum.as_bytes());
        Ok(bytes)
    }

    /// A checkpoint from what [`to_safetensors`](Self::to_safetensors) made of it, and the other metadata.
    ///
    /// # Errors
    /// [`Error::Safetensors`] for anything else: what is cut off, or has a byte that is another one; a checkpoint of another
    /// element type, a model;
    /// [`Error::Checkpoint`] for one of another version of this crate.
    pub fn from_safetensors(bytes: &[u8]) -> Result<(Self, HashMap<String, String>), Error> {
        let (tensors, mut metadata) = parse(bytes)?;
        metadata.remove(CHECKSUM);
        let properties = metadata.remove(PROPERTIES);
        let properties = properties.ok_or_else(|| refusal("it is no checkpoint"))?;
        let properties: Vec<(String, String)> =
            serde_json::from_str(&properties).map_err(refusal)?;
        // It may have other tensors.
        if let Some((what, version)) = properties.first().filter(|(_, version)| version != VERSION)
        {
            return Err(differs(what, version, &VERSION));
        }

        let tensor = |name: &str, dtype: Dtype| {
            let tensor = tensors.tensor(name).map_err(refusal)?;
            match tensor.dtype() {
                found if found == dtype => Ok(tensor),
                found => Err(refusal(format!("the tensor {name:?} is {found:?}, not {dtype:?}"))),
            }
        };
        let of_f64 = |name| values(name, &tensor(name, Dtype::F64)?);
        let of_t = |name| -> Result<Vec<T>, Error> {
            let values = values(name, &tensor(name, dtype::<T>())?)?;
            Ok(values.into_iter().map(T::from_f64).collect())
        };
        let of_u64 = |name| -> Result<Vec<u64>, Error> {
            let numbers = tensor(name, Dtype::U64)?.data().as_chunks().0;
            Ok(numbers.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect())
        };
        let (counts, counts_of_best) = (of_u64("counts")?, of_u64("counts of best")?);
        let (numbers, products) = (of_f64("numbers")?, of_f64("products")?);
        let numbers_of_best = of_f64("numbers of best")?;
        let (models, steps, images) = (of_t("models")?, of_t("steps")?, of_t("images")?);
        let best = of_t("best")?;

        let other_lengths = || refusal("its tensors have not the lengths of a checkpoint");
        let (
            &[c, d, iteration, evaluations, samples, n_samples, source],
            &[objective, gradient_norm, before, last, slope],
        ) = (&*counts, &*numbers)
        else {
            return Err(other_lengths());
        };
        let [c, d, iteration, evaluations] =
            [c, d, iteration, evaluations].map(|size| size as usize);
        let length = d.checked_add(1).and_then(|m| m.checked_mul(c)).filter(|m| *m > 0);
        let length = length.ok_or_else(other_lengths)?;
        let known = steps.len() / length;
        // The products of each with the gradient, and with the differences of those after it.
        let n_products = known + known * (known + 1) / 2;
        let n_models = if source < 2 { 2 } else { 3 };
        if models.len() != length.saturating_mul(n_models)
            || [steps.len(), images.len()] != [known * length; 2]
            || products.len() != 2 * n_products
            || source > 3
        {
            return Err(other_lengths());
        }
        let mut models = models
            .chunks_exact(length)
            .map(|parameters| LinearModel::from_parameters(c, d, parameters.to_vec()));
        let mut model = || models.next().unwrap_or_else(|| Err(other_lengths()));
        let mut products = products.as_chunks().0.iter().copied();
        let vectors = steps.chunks_exact(length).zip(images.chunks_exact(length)).enumerate();
        let stopping = match (&*counts_of_best, &*numbers_of_best, best.len()) {
            ([], [], 0) => None,
            (
                &[patience, at, evaluations, samples],
                &[objective, gradient_norm, best_loss, last_loss],
                parameters,
            ) if parameters == length => {
                let (iteration, evaluations) = (at as usize, evaluations as usize);
                Some(Stopping {
                    patience: patience as usize,
                    best: Progress { iteration, objective, gradient_norm, evaluations, samples },
                    best_model: LinearModel::from_parameters(c, d, best)?,
                    best_loss,
                    last_loss,
                })
            }
            _ => return Err(other_lengths()),
        };
        let checkpoint = Self {
            properties,
            stopping,
            progress: Progress { iteration, objective, gradient_norm, evaluations, samples },
            n_samples,
            decreases: [before, last],
            slope,
            model: model()?,
            gradient: model()?,
            source: match source {
                0 => Source::Nothing,
                1 => Source::Zeros,
                _ => Source::Model { model: model()?, apart: source == 3 },
            },
            secants: vectors
                .map(|(i, (s, z))| Secant {
                    s: s.to_vec(),
                    z: z.to_vec(),
                    with_gradient: products.next().unwrap_or_default(),
                    with_differences: products.by_ref().take(known - i).collect(),
                })
                .collect(),
        };
        // What is wrong otherwise has been said in more words.
        let at = place_of_checksum(bytes).ok_or_else(|| refusal("it has no checksum"))?;
        if bytes.get(at..at + NO_CHECKSUM.len()) != Some(checksum(bytes, at).as_bytes()) {
            return Err(refusal("its checksum is not that of its contents: the file is damaged"));
        }
        Ok((checkpoint, metadata))
    }
}

/// Where in a file its checksum is. In what others have put into the header, quotes are escaped.
fn place_of_checksum(bytes: &[u8]) -> Option<usize> {
    let key = format!("\"{CHECKSUM}\":\"");
    let at = bytes.windows(key.len()).position(|window| window == key.as_bytes())?;
    Some(at + key.len())
}

/// The checksum of a file, whatever is in its place: FNV-1a in 64 bits, of which no single byte that is another one leaves
/// the same.
fn checksum(bytes: &[u8], at: usize) -> String {
    let (before, rest) = bytes.split_at(at.min(bytes.len()));
    let after = rest.get(NO_CHECKSUM.len()..).unwrap_or_default();
    let all = before.iter().chain(NO_CHECKSUM.as_bytes()).chain(after);
    let add = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", all.fold(0xcbf2_9ce4_8422_2325, add))
}
