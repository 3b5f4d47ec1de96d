//! A GGUF file into a smaller one: tensor by tensor, a piece of rows at a time, so that memory holds neither model.
//!
//! With a calibration text the model first reads that text, and how large each input of each matrix gets decides
//! where rounding matters. Read next: `quantize_mix`, the rules of which tensor gets which format.

use crate::memory::STEP_LOGIT_ROWS;
use crate::quantize_mix::{Choice, Mix, Role, layer_of};
use formats::{Checkpoint, ElementType, FormatError, Gguf, GgufWriter, Tensor, TensorPlan};
use kernels::{Format, KernelError, KvArena, KvElement, PAGE_LEN, Runtime};
use model::{Batch, LogitRows, Model, ModelError, RopeRegime, Segment, Workspace};
use serde::Serialize;
use std::collections::HashMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use tokenizer::{Encode, Tokenizer, TokenizerError};

/// Weights that one thread takes at a time: 4 MiB of f32.
const PIECE_WEIGHTS: usize = 1 << 20;

/// Tokens of a calibration text that are read together, as one sequence.
const CALIBRATION_TOKENS: usize = 512;

/// Why a model was not quantized.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// Not a GGUF file.
    #[error(
        "{path} is a folder of safetensors, expected a GGUF file\n\
         hint: convert it first, for example with convert_hf_to_gguf.py of llama.cpp"
    )]
    NotGguf {
        /// The folder.
        path: PathBuf,
    },
    /// A tensor is stored in a way that cannot be read.
    #[error("tensor {tensor}: {element} cannot be read\nhint: start from an f16, bf16 or f32 file of the model")]
    UnreadableElement {
        /// The tensor.
        tensor: String,
        /// Its element type.
        element: &'static str,
    },
    /// The calibration text says too little.
    #[error("the calibration text has {tokens} tokens, expected at least {least}\nhint: give a longer text")]
    ShortCalibration {
        /// Tokens of the text.
        tokens: usize,
        /// Tokens that are needed.
        least: usize,
    },
    /// A file could not be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A tensor could not be converted.
    #[error("tensor {tensor}: {source}")]
    Kernel {
        /// The tensor, or what else was being made.
        tensor: String,
        /// Why.
        source: KernelError,
    },
    /// The container is at fault.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The model cannot be run for calibration.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The calibration text cannot be tokenized.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

/// A text to find out by which inputs matter.
pub struct Calibration<'a> {
    /// The text; a few thousand words of the kind that the model will meet.
    pub text: &'a str,
    /// What to compute with.
    pub runtime: &'a Runtime,
}

/// How far a quantization is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuantizeProgress<'a> {
    /// This many of all tokens of the calibration text were read.
    Calibrating {
        /// Tokens read.
        done: usize,
        /// Tokens to read.
        total: usize,
    },
    /// A tensor is being written.
    Writing {
        /// Its name.
        tensor: &'a str,
        /// Bytes of the source's tensors that are done.
        done: u64,
        /// Bytes of the source's tensors.
        total: u64,
    },
}

/// What became of one tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QuantizedTensor {
    /// Its name.
    pub name: String,
    /// How it was stored.
    pub from: String,
    /// How it is stored now.
    pub to: String,
    /// What the mix asks for, where its rows are not whole blocks of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<String>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QuantizeReport {
    /// Every tensor, in the order of the file.
    pub tensors: Vec<QuantizedTensor>,
    /// Bytes of the tensors before.
    pub bytes_before: u64,
    /// Bytes of the tensors after.
    pub bytes_after: u64,
    /// Whether some tensors were quantized already, so that errors of two roundings add up.
    pub requantized: bool,
}

/// A tensor and what is to become of it.
struct Job<'a> {
    tensor: &'a Tensor,
    /// None: copied as it is.
    choice: Option<Choice>,
    element: &'static ElementType,
}

/// Writes `target`, the model of `source` in another mix, with `threads` threads. The target appears only when it is
/// complete.
///
/// # Errors
/// Any [`QuantizeError`]; then nothing is left at `target`.
pub fn quantize(
    source: &Path,
    target: &Path,
    mix: &Mix,
    calibration: Option<&Calibration<'_>>,
    threads: usize,
    progress: &mut dyn FnMut(QuantizeProgress<'_>),
) -> Result<QuantizeReport, QuantizeError> {
    let checkpoint = Checkpoint::open(source)?;
    let Checkpoint::Gguf(gguf) = &checkpoint else {
        return Err(QuantizeError::NotGguf { path: source.to_owned() });
    };
    let jobs = jobs(gguf, mix)?;
    let importance = match calibration {
        Some(calibration) => importance(&checkpoint, gguf, calibration, progress)?,
        None => HashMap::new(),
    };
    let mut partial = target.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let wrote = write(gguf, &partial, mix, &jobs, &importance, threads.max(1), progress);
    let moved = wrote.and_then(|()| {
        std::fs::rename(&partial, target).map_err(|source| QuantizeError::Write { path: target.to_owned(), source })
    });
    if let Err(error) = moved {
        // The error that stopped us says more than one of the clearing up.
        let _ = std::fs::remove_file(&partial);
        return Err(error);
    }
    Ok(report(&jobs))
}

/// Decides for every tensor.
fn jobs<'a>(gguf: &'a Gguf, mix: &Mix) -> Result<Vec<Job<'a>>, QuantizeError> {
    let layers = gguf.tensors.names().filter_map(layer_of).max().map_or(0, |last| last + 1);
    let is_tied = gguf.tensors.get("output.weight").is_none();
    let mut jobs = Vec::with_capacity(gguf.tensors.len());
    for tensor in gguf.tensors.iter() {
        let role = Role { name: &tensor.name, shape: &tensor.shape, layers, is_tied };
        let choice = mix.choose(role);
        let element = match choice {
            Some(choice) => element_of(choice.given),
            None => tensor.element,
        };
        if element != tensor.element && format_of(tensor.element).is_none() {
            return Err(QuantizeError::UnreadableElement { tensor: tensor.name.clone(), element: tensor.element.name });
        }
        jobs.push(Job { tensor, choice, element });
    }
    Ok(jobs)
}

fn element_of(format: Format) -> &'static ElementType {
    ElementType::from_name(&format.name().to_uppercase()).expect("every format is an element type; this is a bug")
}

fn format_of(element: &ElementType) -> Option<Format> {
    Format::from_name(element.name)
}

fn report(jobs: &[Job<'_>]) -> QuantizeReport {
    let name = |element: &ElementType| element.name.to_lowercase();
    let tensors = jobs.iter().map(|job| QuantizedTensor {
        name: job.tensor.name.clone(),
        from: name(job.tensor.element),
        to: name(job.element),
        instead_of: job.choice.filter(|choice| choice.wanted != choice.given).map(|choice| choice.wanted.name().into()),
    });
    let after = |job: &Job<'_>| job.element.data_len(&job.tensor.shape).map_or(0, |bytes| bytes as u64);
    QuantizeReport {
        tensors: tensors.collect(),
        bytes_before: jobs.iter().map(|job| job.tensor.data.len() as u64).sum(),
        bytes_after: jobs.iter().map(after).sum(),
        requantized: jobs.iter().any(|job| job.element != job.tensor.element && job.tensor.element.block_len > 1),
    }
}

fn write(
    gguf: &Gguf,
    path: &Path,
    mix: &Mix,
    jobs: &[Job<'_>],
    importance: &HashMap<String, Vec<f32>>,
    threads: usize,
    progress: &mut dyn FnMut(QuantizeProgress<'_>),
) -> Result<(), QuantizeError> {
    let failed = |source| QuantizeError::Write { path: path.to_owned(), source };
    let mut metadata = gguf.metadata.clone();
    metadata.insert("general.file_type", mix.file_type);
    metadata.insert("general.quantization_version", 2_u32);
    for key in ["split.no", "split.count", "split.tensors.count"] {
        metadata.remove(key);
    }
    let plan = |job: &Job<'_>| TensorPlan {
        name: job.tensor.name.clone(),
        shape: job.tensor.shape.clone(),
        element: job.element,
    };
    let plans: Vec<TensorPlan> = jobs.iter().map(plan).collect();
    let file = BufWriter::new(File::create(path).map_err(failed)?);
    let mut writer = GgufWriter::create(file, &path.display().to_string(), &metadata, &plans)?;
    let total = jobs.iter().map(|job| job.tensor.data.len() as u64).sum();
    let mut done = 0;
    for job in jobs {
        progress(QuantizeProgress::Writing { tensor: &job.tensor.name, done, total });
        match job.choice.filter(|_| job.element != job.tensor.element) {
            Some(choice) => {
                let importance = importance.get(&job.tensor.name).map(Vec::as_slice);
                convert(job.tensor, choice.given, importance, threads, &mut writer)?;
            }
            None => writer.write(&job.tensor.data)?,
        }
        done += job.tensor.data.len() as u64;
    }
    let file = writer.finish()?.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)
}

/// Converts a tensor, a round of pieces at a time, one for each thread.
fn convert(
    tensor: &Tensor,
    format: Format,
    importance: Option<&[f32]>,
    threads: usize,
    writer: &mut GgufWriter<BufWriter<File>>,
) -> Result<(), QuantizeError> {
    let failed = |source| QuantizeError::Kernel { tensor: tensor.name.clone(), source };
    let from = format_of(tensor.element).expect("checked when the jobs were made; this is a bug");
    let cols = tensor.shape.last().copied().expect("a matrix has columns; this is a bug");
    let row_bytes = from.row_bytes(cols).expect("the reader has checked whole blocks; this is a bug");
    let piece_bytes = (PIECE_WEIGHTS / cols).max(1) * row_bytes;
    let importance = importance.filter(|importance| importance.len() == cols);
    let one = |bytes: &[u8]| -> Result<Vec<u8>, KernelError> {
        let mut weights = vec![0.0; bytes.len() / row_bytes * cols];
        kernels::dequantize(from, bytes, &mut weights)?;
        let mut out = Vec::new();
        kernels::quantize(format, &weights, cols, importance, &mut out)?;
        Ok(out)
    };
    let pieces: Vec<&[u8]> = tensor.data.chunks(piece_bytes).collect();
    for round in pieces.chunks(threads) {
        let made: Vec<Result<Vec<u8>, KernelError>> = std::thread::scope(|scope| {
            let others: Vec<_> = round[1..].iter().map(|&piece| scope.spawn(move || one(piece))).collect();
            let mut made = vec![one(round[0])];
            made.extend(others.into_iter().map(|other| match other.join() {
                Ok(piece) => piece,
                Err(panic) => std::panic::resume_unwind(panic),
            }));
            made
        });
        for piece in made {
            writer.write(&piece.map_err(failed)?)?;
        }
    }
    Ok(())
}

/// For each matrix the mean square of each of its inputs `[K]` while the model reads the calibration text.
fn importance(
    checkpoint: &Checkpoint,
    gguf: &Gguf,
    calibration: &Calibration<'_>,
    progress: &mut dyn FnMut(QuantizeProgress<'_>),
) -> Result<HashMap<String, Vec<f32>>, QuantizeError> {
    let model = Model::load(checkpoint, &model::LoadOptions::default())?;
    let tokenizer = Tokenizer::from_gguf(&gguf.metadata)?;
    let tokens = tokenizer.encode(calibration.text, Encode { add_bos_eos: false, parse_special: false });
    let length = CALIBRATION_TOKENS.min(model.spec().context);
    let least = length.min(64);
    if tokens.len() < least {
        return Err(QuantizeError::ShortCalibration { tokens: tokens.len(), least });
    }
    let pages = length.div_ceil(PAGE_LEN);
    let mut arena = KvArena::new(model.kv_shape(pages, KvElement::F32))
        .map_err(|source| QuantizeError::Kernel { tensor: "the calibration's memory".to_owned(), source })?;
    let mut workspace = Workspace::default();
    let mut sums: HashMap<String, (Vec<f64>, u64)> = HashMap::new();
    let mut done = 0;
    for sequence in tokens.chunks(length) {
        // In steps, as the output matrix takes part only where logits are wanted, and they take memory.
        for (step, piece) in sequence.chunks(STEP_LOGIT_ROWS).enumerate() {
            progress(QuantizeProgress::Calibrating { done, total: tokens.len() });
            let segment = Segment {
                position: step * STEP_LOGIT_ROWS,
                len: piece.len(),
                pages: (0..pages as u32).collect(),
                regime: RopeRegime::Short,
                logits: LogitRows::All,
                adapter: None,
            };
            let batch = Batch { tokens: piece.to_vec(), segments: vec![segment], ..Batch::default() };
            let rows = piece.len();
            let mut observe = |name: &str, inputs: &[f32]| add_squares(&mut sums, name, inputs, rows);
            model.forward_observed(calibration.runtime, &batch, &mut arena, &mut workspace, &mut observe);
            done += rows;
        }
    }
    let mean = |(squares, rows): (Vec<f64>, u64)| squares.iter().map(|sum| (sum / rows as f64) as f32).collect();
    Ok(sums.into_iter().map(|(name, sum)| (name, mean(sum))).collect())
}

/// Adds the squares of `inputs` `[rows, K]`, column by column, to those of a tensor.
fn add_squares(sums: &mut HashMap<String, (Vec<f64>, u64)>, name: &str, inputs: &[f32], rows: usize) {
    let cols = inputs.len() / rows;
    if !sums.contains_key(name) {
        sums.insert(name.to_owned(), (vec![0.0; cols], 0));
    }
    let (squares, count) = sums.get_mut(name).expect("just inserted; this is a bug");
    for row in inputs.chunks_exact(cols) {
        for (sum, &input) in squares.iter_mut().zip(row) {
            *sum += f64::from(input) * f64::from(input);
        }
    }
    *count += rows as u64;
}
