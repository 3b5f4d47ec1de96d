//! Scratch.
#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used)]
use chat::*;
use futures::StreamExt;
use std::sync::Arc;
use std::time::Instant;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let data: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&args[2]).unwrap()).unwrap();
    let labels: Vec<String> =
        data["labels"].as_array().unwrap().iter().map(|l| l.as_str().unwrap().to_owned()).collect();
    let count: usize = args[3].parse().unwrap();
    let at_once: usize = args[4].parse().unwrap();
    let rows: Vec<(String, String)> = data["rows"]
        .as_array()
        .unwrap()
        .iter()
        .take(count)
        .map(|r| (r["prompt"].as_str().unwrap().to_owned(), r["label"].as_str().unwrap().to_owned()))
        .collect();
    let source = local::ModelSource { name: "m".into(), path: args[1].clone().into(), ..Default::default() };
    let runtime = Arc::new(kernels::Runtime::new(kernels::Isa::detect(), 2).unwrap());
    let options = local::LoadOptions { sequences: 32, context: Some(4096), ..Default::default() };
    let model = local::LocalModel::load(&source, &options, runtime).unwrap();
    let ask = |row: &(String, String)| {
        let request = ChooseRequest {
            context: ChoiceContext::Chat(ChatRequest {
                messages: vec![Message::new(Role::User, row.0.clone())],
                ..Default::default()
            }),
            options: labels.clone(),
            scoring: OptionScoring::Tree,
            all: false,
        };
        let label = row.1.clone();
        let (model, labels) = (&model, &labels);
        async move {
            let r = model.choose(request).await.unwrap();
            (labels[r.scores[0].option] == label, r)
        }
    };
    futures::executor::block_on(async {
        ask(&rows[0]).await;
        let before = model.activity();
        let began = Instant::now();
        let done: Vec<_> = futures::stream::iter(rows.iter()).map(ask).buffer_unordered(at_once).collect().await;
        let seconds = began.elapsed().as_secs_f64();
        let after = model.activity();
        let n = done.len() as f64;
        let right = done.iter().filter(|d| d.0).count();
        println!(
            "{at_once} at once: {:.1} rows/s, right {:.1} %, prompt {:.1} cached {:.1} option tokens {:.1} a row, steps {}",
            n / seconds,
            100.0 * right as f64 / n,
            done.iter().map(|d| d.1.prompt_tokens).sum::<usize>() as f64 / n,
            done.iter().map(|d| d.1.cached_tokens).sum::<usize>() as f64 / n,
            done.iter().map(|d| d.1.option_tokens).sum::<usize>() as f64 / n,
            after.steps - before.steps
        );
        let mut times: Vec<f64> = Vec::new();
        for row in rows.iter().rev().take(100) {
            let t = Instant::now();
            ask(row).await;
            times.push(t.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        println!("alone: median {:.1} ms, p95 {:.1} ms", times[50], times[95]);
    });
}
