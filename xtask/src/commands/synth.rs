//! `cargo xtask synth`: a GGUF file with the shapes of a published model and random weights.
//!
//! Speed does not depend on the values, so such a file stands in for the model where it cannot be had, and every engine
//! loads it. The formats of the tensors are those of llama.cpp's Q4_K_M (`llama_tensor_get_type` in `src/llama-quant.cpp`),
//! the vocabulary is the 256 bytes and padding. A shape is one row of [`SHAPES`]. The same seed gives the same file.
//!
//! Blocks of weights are drawn from a pool of a few thousand that were quantized from random numbers: what is in a block
//! only `kernels` knows, and quantizing billions of weights would take an hour.

use anyhow::{Context, bail};
use formats::{Array, ElementType, GgufWriter, Metadata, TensorPlan};
use kernels::Format;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::process::ExitCode;

/// Which shapes, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model whose shapes to write
    #[arg(value_name = "MODEL")]
    model: String,
    /// The file to write; it must not exist
    #[arg(value_name = "FILE")]
    out: PathBuf,
    /// Seed of the weights
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// The published dimensions of a model (its `config.json`).
#[derive(Debug, Clone, Copy)]
struct Shape {
    name: &'static str,
    architecture: &'static str,
    layers: usize,
    width: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    feed_forward: usize,
    vocabulary: usize,
    context: u32,
    rope_base: f32,
    norm_eps: f32,
    /// Positions that a query sees.
    window: Option<u32>,
    /// Whether the embedding table is the head too.
    tied: bool,
    /// Whether query, key and value have biases.
    bias: bool,
    /// Whether query, key and value, and gate and up, are one tensor each.
    fused: bool,
}

const SHAPES: &[Shape] = &[
    Shape {
        name: "phi3-mini",
        architecture: "phi3",
        layers: 32,
        width: 3072,
        heads: 32,
        kv_heads: 32,
        head_dim: 96,
        feed_forward: 8192,
        vocabulary: 32_064,
        context: 4096,
        rope_base: 1e4,
        norm_eps: 1e-5,
        window: Some(2047),
        tied: false,
        bias: false,
        fused: true,
    },
    Shape {
        name: "qwen2.5-0.5b",
        architecture: "qwen2",
        layers: 24,
        width: 896,
        heads: 14,
        kv_heads: 2,
        head_dim: 64,
        feed_forward: 4864,
        vocabulary: 151_936,
        context: 32_768,
        rope_base: 1e6,
        norm_eps: 1e-6,
        window: None,
        tied: true,
        bias: true,
        fused: false,
    },
    Shape {
        name: "qwen2.5-1.5b",
        architecture: "qwen2",
        layers: 28,
        width: 1536,
        heads: 12,
        kv_heads: 2,
        head_dim: 128,
        feed_forward: 8960,
        vocabulary: 151_936,
        context: 32_768,
        rope_base: 1e6,
        norm_eps: 1e-6,
        window: None,
        tied: true,
        bias: true,
        fused: false,
    },
    Shape {
        name: "mistral-7b",
        architecture: "llama",
        layers: 32,
        width: 4096,
        heads: 32,
        kv_heads: 8,
        head_dim: 128,
        feed_forward: 14_336,
        vocabulary: 32_768,
        context: 32_768,
        rope_base: 1e6,
        norm_eps: 1e-5,
        window: None,
        tied: false,
        bias: false,
        fused: false,
    },
];

/// Writes the file.
///
/// # Errors
/// A model that is not in the table, or a file that cannot be written.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let shape = SHAPES.iter().find(|shape| shape.name == args.model).with_context(|| {
        let names: Vec<_> = SHAPES.iter().map(|shape| shape.name).collect();
        format!("expected one of {}, got {}", names.join(", "), args.model)
    })?;
    let file = File::create_new(&args.out).with_context(|| format!("cannot create {}", args.out.display()))?;
    let out = BufWriter::with_capacity(1 << 20, file);
    shape.write(out, &args.out.display().to_string(), args.seed)?;
    let bytes = std::fs::metadata(&args.out)?.len();
    super::say(&format!("{}: {:.2} GB with the shapes of {}", args.out.display(), bytes as f64 / 1e9, shape.name));
    Ok(ExitCode::SUCCESS)
}

/// What is stored in a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Content {
    /// Of a norm.
    Ones,
    /// Of a matrix, or of a bias where the format is [`Format::F32`].
    Random(Format),
}

/// A tensor to be written; the shape is outermost first.
type Planned = (String, Vec<usize>, Content);

impl Shape {
    fn write<W: std::io::Write>(&self, out: W, file: &str, seed: u64) -> anyhow::Result<W> {
        let tensors = self.tensors();
        let plan = |(name, shape, content): &Planned| {
            let element = ElementType::from_name(content.format().name());
            let element = element.context("every block format is an element type; this is a bug")?;
            Ok(TensorPlan { name: name.clone(), shape: shape.clone(), element })
        };
        let plans = tensors.iter().map(plan).collect::<anyhow::Result<Vec<_>>>()?;
        let mut writer = GgufWriter::create(out, file, &self.metadata(), &plans)?;
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let mut pools = BTreeMap::new();
        for (_, shape, content) in &tensors {
            let (&cols, outer) = shape.split_last().context("a tensor has a shape; this is a bug")?;
            let rows: usize = outer.iter().product();
            match *content {
                Content::Ones => writer.write(&1.0_f32.to_le_bytes().repeat(cols))?,
                Content::Random(format) => {
                    let name = format.name();
                    if !pools.contains_key(name) {
                        pools.insert(name, Pool::new(format, &mut random)?);
                    }
                    let blocks = cols / format.block_len();
                    let mut row = Vec::new();
                    for _ in 0..rows {
                        row.clear();
                        (0..blocks).for_each(|_| row.extend_from_slice(pools[name].draw(&mut random)));
                        writer.write(&row)?;
                    }
                }
            }
        }
        Ok(writer.finish()?)
    }

    fn tensors(&self) -> Vec<Planned> {
        let (width, query, key) = (self.width, self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let matrix = |name: &str, rows: usize, cols: usize, wanted: Format| {
            (format!("{name}.weight"), vec![rows, cols], Content::Random(whole_blocks(wanted, cols)))
        };
        let norm = |name: &str| (format!("{name}.weight"), vec![width], Content::Ones);
        let base = Format::Q4K;
        let mut tensors =
            vec![matrix("token_embd", self.vocabulary, width, if self.tied { Format::Q6K } else { base })];
        for layer in 0..self.layers {
            let name = |part: &str| format!("blk.{layer}.{part}");
            let sensitive = if gets_more_bits(layer, self.layers) { Format::Q6K } else { base };
            tensors.push(norm(&name("attn_norm")));
            if self.fused {
                tensors.push(matrix(&name("attn_qkv"), query + 2 * key, width, Format::Q5K));
            } else {
                tensors.push(matrix(&name("attn_q"), query, width, base));
                tensors.push(matrix(&name("attn_k"), key, width, base));
                tensors.push(matrix(&name("attn_v"), key, width, sensitive));
            }
            if self.bias {
                for (part, len) in [("attn_q", query), ("attn_k", key), ("attn_v", key)] {
                    tensors.push((format!("{}.bias", name(part)), vec![len], Content::Random(Format::F32)));
                }
            }
            tensors.push(matrix(&name("attn_output"), width, query, base));
            tensors.push(norm(&name("ffn_norm")));
            if self.fused {
                tensors.push(matrix(&name("ffn_up"), 2 * self.feed_forward, width, base));
            } else {
                tensors.push(matrix(&name("ffn_gate"), self.feed_forward, width, base));
                tensors.push(matrix(&name("ffn_up"), self.feed_forward, width, base));
            }
            tensors.push(matrix(&name("ffn_down"), width, self.feed_forward, sensitive));
        }
        tensors.push(norm("output_norm"));
        if !self.tied {
            tensors.push(matrix("output", self.vocabulary, width, Format::Q6K));
        }
        tensors
    }

    fn metadata(&self) -> Metadata {
        const Q4_K_M: u32 = 15;
        let mut metadata = Metadata::new();
        metadata.insert("general.architecture", self.architecture);
        // Without the name of the family, by which engines would look for its special tokens.
        metadata.insert("general.name", "random weights");
        metadata.insert("general.file_type", Q4_K_M);
        metadata.insert("general.quantization_version", 2_u32);
        let numbers = [
            ("context_length", self.context),
            ("embedding_length", self.width as u32),
            ("block_count", self.layers as u32),
            ("feed_forward_length", self.feed_forward as u32),
            ("attention.head_count", self.heads as u32),
            ("attention.head_count_kv", self.kv_heads as u32),
            ("attention.key_length", self.head_dim as u32),
            ("attention.value_length", self.head_dim as u32),
            ("rope.dimension_count", self.head_dim as u32),
            ("vocab_size", self.vocabulary as u32),
        ];
        let window = self.window.map(|window| ("attention.sliding_window", window));
        for (key, value) in numbers.into_iter().chain(window) {
            metadata.insert(format!("{}.{key}", self.architecture), value);
        }
        metadata.insert(format!("{}.attention.layer_norm_rms_epsilon", self.architecture), self.norm_eps);
        metadata.insert(format!("{}.rope.freq_base", self.architecture), self.rope_base);
        self.add_tokenizer(&mut metadata);
        metadata
    }

    /// The 256 bytes and tokens that nothing becomes.
    fn add_tokenizer(&self, metadata: &mut Metadata) {
        // `llama_token_type` in llama.cpp's `include/llama.h`.
        let (unknown, control, unused_kind, byte_kind) = (2, 3, 5, 6);
        let ends = [("<unk>", unknown), ("<s>", control), ("</s>", control)];
        let ends = ends.into_iter().map(|(text, kind)| (text.to_owned(), kind));
        let bytes = (0..=255_u8).map(|byte| (format!("<0x{byte:02X}>"), byte_kind));
        let unused = (0..).map(|number| (format!("<unused_{number}>"), unused_kind));
        let tokens = ends.chain(bytes).chain(unused).take(self.vocabulary);
        let (texts, kinds): (Vec<String>, Vec<i32>) = tokens.unzip();
        metadata.insert("tokenizer.ggml.model", "llama");
        metadata.insert("tokenizer.ggml.pre", "default");
        metadata.insert("tokenizer.ggml.scores", Array::from_f32s(&vec![0.0; texts.len()]));
        metadata.insert("tokenizer.ggml.tokens", Array::from_strings(&texts));
        metadata.insert("tokenizer.ggml.token_type", Array::from_i32s(&kinds));
        for (name, id) in [("unknown", 0_u32), ("bos", 1), ("eos", 2)] {
            metadata.insert(format!("tokenizer.ggml.{name}_token_id"), id);
        }
    }
}

impl Content {
    fn format(self) -> Format {
        match self {
            Content::Ones => Format::F32,
            Content::Random(format) => format,
        }
    }
}

/// The first and the last eighth of the layers, and every third between.
fn gets_more_bits(layer: usize, layers: usize) -> bool {
    let eighth = layers / 8;
    layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
}

/// The format, or what is used instead for rows that are not whole blocks of it.
fn whole_blocks(wanted: Format, cols: usize) -> Format {
    match wanted {
        _ if cols.is_multiple_of(wanted.block_len()) => wanted,
        Format::Q4K => Format::Q5_0,
        Format::Q5K => Format::Q5_1,
        _ => Format::Q8_0,
    }
}

/// A generator of random numbers: SplitMix64 (Steele, Lea, Flood 2014).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Uniform from 0 to below 1.
    pub(super) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A weight: nearly normal, of mean 0 and deviation 0.02.
    fn weight(&mut self) -> f32 {
        // Four uniform numbers of 16 bits; their sum has the variance 4 / 12 of their range.
        let bits = self.next();
        let sum: f32 = (0..4).map(|part| ((bits >> (16 * part)) & 0xFFFF) as f32 / 65536.0 - 0.5).sum();
        0.02 * 3.0_f32.sqrt() * sum
    }
}

/// Quantized blocks to draw from.
struct Pool {
    block_bytes: usize,
    bytes: Vec<u8>,
}

impl Pool {
    const BLOCKS: usize = 4096;

    fn new(format: Format, random: &mut Random) -> anyhow::Result<Pool> {
        let weights: Vec<f32> = (0..Self::BLOCKS * format.block_len()).map(|_| random.weight()).collect();
        let mut bytes = Vec::new();
        kernels::quantize(format, &weights, format.block_len(), None, &mut bytes)?;
        if bytes.len() != Self::BLOCKS * format.block_bytes() {
            bail!("{}: expected {} whole blocks, got {} bytes", format.name(), Self::BLOCKS, bytes.len());
        }
        Ok(Pool { block_bytes: format.block_bytes(), bytes })
    }

    fn draw(&self, random: &mut Random) -> &[u8] {
        let block = random.next() as usize % Self::BLOCKS;
        &self.bytes[block * self.block_bytes..][..self.block_bytes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_the_tensors_that_were_published() {
        let phi = &SHAPES[0];
        let tensors = phi.tensors();
        let count = |format| tensors.iter().filter(|(.., content)| *content == Content::Random(format)).count();
        // As in Microsoft's own file of this mix.
        assert_eq!((count(Format::Q4K), count(Format::Q5K), count(Format::Q6K)), (81, 32, 17));
        let weights: usize = tensors.iter().map(|(_, shape, _)| shape.iter().product::<usize>()).sum();
        assert_eq!(weights, 3_821_079_552);
    }

    #[test]
    fn a_small_shape_is_written_and_read_back() {
        let shape = Shape { layers: 2, width: 64, feed_forward: 256, heads: 2, vocabulary: 300, ..SHAPES[1] };
        let bytes = shape.write(Vec::new(), "tiny", 7).unwrap();
        assert_eq!(bytes, shape.write(Vec::new(), "tiny", 7).unwrap(), "the seed decides");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        std::fs::write(&path, bytes).unwrap();
        let gguf = formats::Gguf::open(&path).unwrap();
        assert_eq!(gguf.metadata.str("general.architecture").unwrap(), Some("qwen2"));
        assert_eq!(gguf.tensors.get("blk.0.attn_q.bias").unwrap().shape, [128]);
        let down = gguf.tensors.get("blk.1.ffn_down.weight").unwrap();
        let mut weights = vec![0.0; 64 * 256];
        kernels::dequantize(Format::from_name(down.element.name).unwrap(), &down.data, &mut weights).unwrap();
        let deviation = (weights.iter().map(|weight| weight * weight).sum::<f32>() / weights.len() as f32).sqrt();
        assert!((0.015..0.025).contains(&deviation), "{deviation}");
    }
}
