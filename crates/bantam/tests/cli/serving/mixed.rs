//! Batched equals alone: many mixed requests at once say what the same requests say one after the other.

use super::{BASE, CHAT, TOOLS, borrowed, is_whole, serving, store};
use crate::serve::{Serving, client};
use crate::{bantam, run};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::tempdir;

/// A small generator of the mix, the same in every run (SplitMix64).
struct Mix(u64);

impl Mix {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ (mixed >> 31)) >> 16) as usize % bound
    }
}

struct Asked {
    path: &'static str,
    body: Value,
    /// Leave after so many bytes of the stream, instead of waiting for the end.
    leaves: Option<usize>,
}

fn requests(count: usize, models: &[&str]) -> Vec<Asked> {
    let mut mix = Mix(7);
    let shared = "You are a careful assistant who answers in short sentences and never guesses. ".repeat(6);
    let topics = ["rain", "bread", "the moon", "a long road", "glass", "an old clock", "bees", "iron"];
    (0..count)
        .map(|index| {
            let model = models[mix.below(models.len())];
            let own = format!("{} Tell me about {} and {}.", index, topics[mix.below(8)], topics[mix.below(8)]);
            let prompt = if mix.below(2) == 0 { format!("{shared}{own}") } else { own };
            let tokens = 8 + mix.below(40);
            let leaves = (mix.below(6) == 0).then(|| 100 + mix.below(400));
            let options = json!({"model": model, "max_tokens": tokens, "temperature": 0, "stream": leaves.is_some()});
            let mut body = options;
            let path = if model == BASE || mix.below(3) == 0 {
                body["prompt"] = json!(prompt);
                "/v1/completions"
            } else {
                body["messages"] = json!([{"role": "user", "content": prompt}]);
                "/v1/chat/completions"
            };
            Asked { path, body, leaves }
        })
        .collect()
}

/// The text of an answer; none where the request left before its end.
fn ask(server: &Serving, asked: &Asked) -> Option<String> {
    if let Some(bytes) = asked.leaves {
        let request = client().post(format!("{}{}", server.url, asked.path)).header("content-type", "application/json");
        let mut response = request.body(asked.body.to_string()).send().unwrap();
        assert_eq!(response.status(), 200);
        let mut read = vec![0; bytes];
        let _ = response.read_exact(&mut read);
        return None;
    }
    let (status, answer) = server.post(asked.path, &asked.body);
    assert_eq!(status, 200, "{answer}");
    let choice = &answer["choices"][0];
    let text = choice["message"]["content"].as_str().or_else(|| choice["text"].as_str());
    Some(text.unwrap().to_owned())
}

/// Writes an adapter for `CHAT`, as the PEFT library saves one, whose numbers follow from a seed; adds it to the store.
fn import_adapter(home: &Path, name: &str, seed: u64) {
    const RANK: usize = 8;
    const COLS: usize = 576;
    let mut header = serde_json::Map::new();
    let mut numbers: Vec<u8> = Vec::new();
    let mut state = seed;
    for layer in 0..30 {
        for (module, rows) in [("self_attn.q_proj", 576), ("self_attn.v_proj", 192), ("mlp.up_proj", 1536)] {
            for (half, shape) in [("A", [RANK, COLS]), ("B", [rows, RANK])] {
                let begin = numbers.len();
                for _ in 0..shape[0] * shape[1] {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let random = (state >> 40) as f32 / (1 << 24) as f32 - 0.5;
                    numbers.extend_from_slice(&(0.1 * random).to_le_bytes());
                }
                let tensor = format!("base_model.model.model.layers.{layer}.{module}.lora_{half}.weight");
                header.insert(tensor, json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, numbers.len()]}));
            }
        }
    }
    let header = Value::Object(header).to_string();
    let folder = tempdir().unwrap();
    let file = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &numbers].concat();
    std::fs::write(folder.path().join("adapter_model.safetensors"), file).unwrap();
    let config = json!({"peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK,
        "target_modules": ["q_proj", "v_proj", "up_proj"]});
    std::fs::write(folder.path().join("adapter_config.json"), config.to_string()).unwrap();
    let (code, _, err) = run(bantam(home).arg("import").arg(folder.path()).args(["--name", name]));
    assert_eq!(code, 0, "{err}");
}

#[test]
fn batched_equals_alone() {
    let (count, models): (usize, &[&str]) = if is_whole() { (200, &[CHAT, BASE, TOOLS]) } else { (48, &[CHAT, BASE]) };
    let Some(home) = store(models) else { return };
    let home = borrowed(&home);
    let home = home.path();
    let adapted = ["first", "second"].map(|adapter| format!("{CHAT}+{adapter}"));
    import_adapter(home, "first", 1);
    import_adapter(home, "second", 2);
    let models: Vec<&str> = models.iter().copied().chain(adapted.iter().map(String::as_str)).collect();
    let requests = requests(count, &models);
    let together = {
        let server = serving(home, &[]);
        let next = AtomicUsize::new(0);
        let mut answers: Vec<(usize, Option<String>)> = std::thread::scope(|scope| {
            let client = || {
                let mut own = Vec::new();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(asked) = requests.get(index) else { return own };
                    own.push((index, ask(&server, asked)));
                }
            };
            let clients: Vec<_> = (0..16).map(|_| scope.spawn(client)).collect();
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
        });
        answers.sort_by_key(|(index, _)| *index);
        answers
    };
    let server = serving(home, &[]);
    for (index, said) in together {
        let Some(said) = said else { continue };
        let alone = ask(&server, &requests[index]).unwrap();
        assert_eq!(said, alone, "request {index} said something else among others: {}", requests[index].body);
    }
    // The adapters have a say.
    let said = |model: &str| {
        let body = json!({"model": model, "max_tokens": 16, "temperature": 0, "prompt": "The history of bread begins"});
        ask(&server, &Asked { path: "/v1/completions", body, leaves: None }).unwrap()
    };
    let texts: BTreeSet<String> = [CHAT, &adapted[0], &adapted[1]].into_iter().map(said).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
}
