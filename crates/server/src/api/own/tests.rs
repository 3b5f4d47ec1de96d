//! Score, rerank and tokens through HTTP.

use crate::testing::{Asked, Running, ScriptedModel};
use chat::{Capabilities, Prompt};
use serde_json::json;
use std::sync::Arc;

#[tokio::test]
async fn continuations_are_scored() {
    let server = Running::start().await;
    let body = json!({"model": "small", "prompt": "The sky is", "continuations": [" blue", " a b"]});
    let answer = server.post("/v1/score", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let answer = answer.json();
    let logprobs: Vec<f64> =
        answer["continuations"].as_array().unwrap().iter().map(|one| one["logprob"].as_f64().unwrap()).collect();
    assert_eq!(logprobs, [-4.0, -2.0]);
    let probability = |index: usize| answer["continuations"][index]["probability"].as_f64().unwrap();
    assert!((probability(0) + probability(1) - 1.0).abs() < 1e-12);
    assert!((probability(1) / probability(0) - 2f64.exp()).abs() < 1e-9);
    assert_eq!(answer["continuations"][0]["tokens"][1], json!({"id": 4, "text": "blue", "logprob": -4.0}));
    let [Asked::Rank(request)] = &server.model.asked()[..] else { panic!() };
    assert_eq!(request.prompt, Prompt::Text("The sky is".to_owned()));
    let ids = json!({"model": "small", "prompt": [72, 105], "continuations": ["x"]});
    assert_eq!(server.post("/v1/score", ids).await.json()["continuations"][0]["probability"], 1.0);
}

#[tokio::test]
async fn scores_are_refused_by_name() {
    let server = Running::start().await;
    for (continuations, param, message) in [
        (json!([]), "continuations", "continuations: expected 1 to 1024, got 0"),
        (json!(["a", ""]), "continuations[1]", "continuations[1]: expected a text, got an empty one"),
    ] {
        let body = json!({"model": "small", "prompt": "x", "continuations": continuations});
        let answer = server.post("/v1/score", body).await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.json()["error"]["param"], param);
        assert_eq!(answer.json()["error"]["message"], message);
    }
    let body = json!({"model": "small", "prompt": {"text": "x"}, "continuations": ["a"]});
    let answer = server.post("/v1/score", body).await;
    let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("prompt: invalid type: map, expected a text or a list of token ids"), "{message}");
}

#[tokio::test]
async fn documents_are_ranked_by_cosine() {
    let server = Running::start().await;
    let body = json!({
        "model": "small", "query": "aaa", "documents": ["ooo", {"text": "banana"}, "ae"], "top_n": 2,
        "return_documents": true,
    });
    let answer = server.post("/v1/rerank", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let answer = answer.json();
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.iter().map(|one| one["index"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(results[0]["relevance_score"], 1.0);
    assert_eq!(results[0]["document"], json!({"text": "banana"}));
    assert_eq!(answer["usage"], json!({"prompt_tokens": 4, "total_tokens": 4}));
}

#[tokio::test]
async fn a_cross_encoder_judges_itself() {
    let server = Running::start().await;
    let able = Capabilities { relevance: true, embed: true, ..Capabilities::default() };
    let judge = Arc::new(ScriptedModel::able("judge", able));
    server.host.add(Arc::clone(&judge));
    let body = json!({"model": "judge", "query": "blue sky", "documents": ["red", "blue sky", "a sky"]});
    let answer = server.post("/v1/rerank", body).await.json();
    let scores: Vec<(u64, f64)> = answer["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["index"].as_u64().unwrap(), one["relevance_score"].as_f64().unwrap()))
        .collect();
    assert_eq!(scores, [(1, 2.0), (2, 1.0), (0, 0.0)]);
    assert!(matches!(judge.asked()[..], [Asked::Relevance(_)]));
    let body = json!({"model": "judge", "query": "q", "documents": ["d"], "max_tokens_per_doc": 5});
    let answer = server.post("/v1/rerank", body).await;
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!("max_tokens_per_doc")));
}

#[tokio::test]
async fn text_becomes_tokens_and_back() {
    let server = Running::start().await;
    let body = json!({"model": "small", "prompt": "Hé", "add_special_tokens": false, "return_token_strs": true});
    let answer = server.post("/tokenize", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(
        answer.json(),
        json!({"count": 3, "max_model_len": 2048, "tokens": [72, 195, 169], "token_strs": ["H", "\u{fffd}", "\u{fffd}"]})
    );
    let answer = server.post("/detokenize", json!({"model": "small", "tokens": [72, 195, 169]})).await;
    assert_eq!(answer.json(), json!({"prompt": "Hé"}));
    let answer = server.post("/detokenize", json!({"model": "small", "tokens": [72, 300]})).await;
    assert_eq!(answer.status, 400);
    let answer = server.post("/tokenize", json!({"model": "small", "prompt": "x", "add_special_tokens": true})).await;
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!("add_special_tokens")));
    let answer = server.post("/tokenize", json!({"model": "none", "prompt": "x"})).await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (404, &json!("model_not_found")));
}
