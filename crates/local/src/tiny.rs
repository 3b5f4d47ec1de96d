//! A tiny model with random weights and a byte vocabulary, written as a GGUF file where a test wants it.

use formats::{Array, ElementType, GgufWriter, Metadata, TensorPlan};
use std::path::{Path, PathBuf};

/// Words beside the 256 bytes; ids from 259 on. The last three are control tokens.
pub(crate) const WORDS: [&str; 8] = ["\u{2581}", "a", "b", "yes", "語", "<|im_start|>", "<|im_end|>", "<|odd|>"];

/// `V`: unknown, begin, end, the bytes, the words.
pub(crate) const VOCABULARY: usize = 3 + 256 + WORDS.len();

const WIDTH: usize = 64;
const HEADS: usize = 2;
const KV_HEADS: usize = 1;
const HEAD_DIM: usize = 32;
const FEED_FORWARD: usize = 256;
const LAYERS: usize = 8;

/// What a test may want of the file.
pub(crate) struct Tiny {
    pub(crate) template: Option<&'static str>,
    pub(crate) context: u32,
    /// A weight that is no number, in the output norm.
    pub(crate) is_broken: bool,
    /// A byte-level vocabulary without merges, in which `U+0004` has no token.
    pub(crate) lacks_a_byte: bool,
    /// Control tokens in the places of the last three [`WORDS`].
    pub(crate) controls: [&'static str; 3],
}

/// A template of ChatML's form.
pub(crate) const TEMPLATE: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}\
     <|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

impl Default for Tiny {
    fn default() -> Tiny {
        Tiny {
            template: Some(TEMPLATE),
            context: 256,
            is_broken: false,
            lacks_a_byte: false,
            controls: [WORDS[5], WORDS[6], WORDS[7]],
        }
    }
}

impl Tiny {
    /// Writes the file into a folder.
    pub(crate) fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("tiny.gguf");
        let element = ElementType::from_name("F32").unwrap();
        let tensors = tensors();
        let plan =
            |(name, shape): &(String, Vec<usize>)| TensorPlan { name: name.clone(), shape: shape.clone(), element };
        let plans: Vec<TensorPlan> = tensors.iter().map(plan).collect();
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = GgufWriter::create(file, "tiny", &self.metadata(), &plans).unwrap();
        let mut state = 1_u64;
        for (name, shape) in &tensors {
            let is_norm = name.contains("norm");
            for _ in 0..shape.iter().product::<usize>() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let random = (state >> 40) as f32 / (1 << 24) as f32 - 0.5;
                let weight = if is_norm { 1.0 + 0.1 * random } else { 0.5 * random };
                let weight = if self.is_broken && name == "output_norm.weight" { f32::NAN } else { weight };
                writer.write(&weight.to_le_bytes()).unwrap();
            }
        }
        writer.finish().unwrap();
        path
    }

    pub(crate) fn metadata(&self) -> Metadata {
        let mut metadata = Metadata::new();
        metadata.insert("general.architecture", "llama");
        metadata.insert("general.file_type", 0_u32);
        let numbers = [
            ("context_length", self.context),
            ("embedding_length", WIDTH as u32),
            ("block_count", LAYERS as u32),
            ("feed_forward_length", FEED_FORWARD as u32),
            ("attention.head_count", HEADS as u32),
            ("attention.head_count_kv", KV_HEADS as u32),
            ("rope.dimension_count", HEAD_DIM as u32),
            ("vocab_size", VOCABULARY as u32),
        ];
        for (key, value) in numbers {
            metadata.insert(format!("llama.{key}"), value);
        }
        metadata.insert("llama.attention.layer_norm_rms_epsilon", 1e-5_f32);
        metadata.insert("llama.rope.freq_base", 10_000.0_f32);
        let bytes = (0..=255_u8).map(|byte| match byte {
            _ if !self.lacks_a_byte => format!("<0x{byte:02X}>"),
            4 => "no text".to_owned(),
            // GPT-2's letters for bytes: itself where it can be printed, else the next from U+0100.
            b'!'..=b'~' => char::from(byte).to_string(),
            0..=b' ' => char::from_u32(0x100 + u32::from(byte)).unwrap().to_string(),
            _ => format!("<0x{byte:02X}>"),
        });
        let tokens = ["<unk>", "<s>", "</s>"].map(str::to_owned).into_iter().chain(bytes);
        let words = WORDS[..5].iter().chain(&self.controls).map(|&word| word.to_owned());
        let tokens: Vec<String> = tokens.chain(words).collect();
        let kind = |token: &String| match token.as_str() {
            "<unk>" => 2,
            "<s>" | "</s>" => 3,
            text if text.starts_with("<0x") => 6,
            text if self.controls.contains(&text) => 3,
            _ => 1,
        };
        let kinds: Vec<i32> = tokens.iter().map(kind).collect();
        let scores: Vec<f32> = (0..tokens.len()).map(|id| -(id as f32)).collect();
        if self.lacks_a_byte {
            metadata.insert("tokenizer.ggml.pre", "gpt-2");
            metadata.insert("tokenizer.ggml.merges", Array::from_strings(Vec::<String>::new()));
        }
        metadata.insert("tokenizer.ggml.model", if self.lacks_a_byte { "gpt2" } else { "llama" });
        metadata.insert("tokenizer.ggml.tokens", Array::from_strings(&tokens));
        metadata.insert("tokenizer.ggml.scores", Array::from_f32s(&scores));
        metadata.insert("tokenizer.ggml.token_type", Array::from_i32s(&kinds));
        metadata.insert("tokenizer.ggml.bos_token_id", 1_u32);
        metadata.insert("tokenizer.ggml.eos_token_id", 2_u32);
        metadata.insert("tokenizer.ggml.add_space_prefix", false);
        if let Some(template) = self.template {
            metadata.insert("tokenizer.chat_template", template);
        }
        metadata
    }
}

/// Names and shapes, outermost length first.
fn tensors() -> Vec<(String, Vec<usize>)> {
    let mut tensors = vec![("token_embd.weight".to_owned(), vec![VOCABULARY, WIDTH])];
    for layer in 0..LAYERS {
        let rows = [
            ("attn_norm", vec![WIDTH]),
            ("attn_q", vec![HEADS * HEAD_DIM, WIDTH]),
            ("attn_k", vec![KV_HEADS * HEAD_DIM, WIDTH]),
            ("attn_v", vec![KV_HEADS * HEAD_DIM, WIDTH]),
            ("attn_output", vec![WIDTH, HEADS * HEAD_DIM]),
            ("ffn_norm", vec![WIDTH]),
            ("ffn_gate", vec![FEED_FORWARD, WIDTH]),
            ("ffn_up", vec![FEED_FORWARD, WIDTH]),
            ("ffn_down", vec![WIDTH, FEED_FORWARD]),
        ];
        tensors.extend(rows.map(|(name, shape)| (format!("blk.{layer}.{name}.weight"), shape)));
    }
    tensors.push(("output_norm.weight".to_owned(), vec![WIDTH]));
    tensors.push(("output.weight".to_owned(), vec![VOCABULARY, WIDTH]));
    tensors
}
