//! A model for tests that answers what it is told to: a word is a token, each of probability one half.

use chat::{
    AnswerFormat, Capabilities, ChatError, ChatEvent, ChatFuture, ChatModel, ChatRequest, ChatStream, ChoiceContext,
    ChooseRequest, ChooseResponse, CompletionRequest, FinishReason, GenerationOptions, ModelInfo, OptionScore, Prompt,
    Role, TokenLogprob, Usage,
};
use futures::stream;
use std::sync::{Arc, Mutex};

type Answering = Box<dyn Fn(&str) -> String + Send + Sync>;
type Choosing = Box<dyn Fn(&str, &[String]) -> Vec<f64> + Send + Sync>;

/// What the model was asked, as one text.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    pub prompt: String,
    pub suffix: Option<String>,
    pub format: Option<AnswerFormat>,
    pub options: GenerationOptions,
}

/// A model that follows a script and remembers what it was asked.
pub struct Scripted {
    info: ModelInfo,
    answer: Answering,
    choose: Option<Choosing>,
    format_warnings: Vec<String>,
    /// Of each token that it says.
    probability: f32,
    asked: Mutex<Vec<Asked>>,
    /// Tokens that a reader took before it left.
    pub read_tokens: Arc<Mutex<usize>>,
}

impl Scripted {
    /// Answers every prompt by a function of it.
    pub fn new(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Scripted {
        let capabilities = Capabilities { template: true, complete: true, insert: true, ..Capabilities::default() };
        let info = ModelInfo {
            name: "scripted".into(),
            family: "none".into(),
            parameters: 0,
            weight_bytes: 0,
            quantization: "f32".into(),
            context: 4096,
            maximum_context: 4096,
            vocabulary: 100,
            capabilities,
        };
        Scripted {
            info,
            answer: Box::new(answer),
            choose: None,
            format_warnings: Vec::new(),
            probability: 0.5,
            asked: Mutex::default(),
            read_tokens: Arc::default(),
        }
    }

    pub fn saying(answer: &'static str) -> Scripted {
        Scripted::new(move |_| answer.to_owned())
    }

    /// Scores given answers by a function of the prompt and them.
    pub fn choosing(choose: impl Fn(&str, &[String]) -> Vec<f64> + Send + Sync + 'static) -> Scripted {
        let mut model = Scripted::saying("unused");
        model.info.capabilities.choose = true;
        Scripted { choose: Some(Box::new(choose)), ..model }
    }

    pub fn without_template(mut self) -> Scripted {
        self.info.capabilities.template = false;
        self
    }

    pub fn without(mut self, change: impl Fn(&mut Capabilities)) -> Scripted {
        change(&mut self.info.capabilities);
        self
    }

    pub fn with_context(mut self, context: usize) -> Scripted {
        self.info.context = context;
        self.info.maximum_context = context;
        self
    }

    pub fn warning(mut self, warning: &str) -> Scripted {
        self.format_warnings.push(warning.to_owned());
        self
    }

    pub fn with_probability(mut self, probability: f32) -> Scripted {
        self.probability = probability;
        self
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn stream(&self, asked: Asked) -> Result<ChatStream, ChatError> {
        let prompt_tokens = words(&asked.prompt);
        if prompt_tokens > self.info.context {
            let (context, maximum_context) = (self.info.context, self.info.maximum_context);
            return Err(ChatError::ContextTooLong { prompt_tokens, context, maximum_context });
        }
        let answer = (self.answer)(&asked.prompt);
        let (limit, logprobs) = (asked.options.max_tokens.unwrap_or(usize::MAX), asked.options.top_logprobs.is_some());
        self.asked.lock().unwrap().push(asked);
        let mut pieces: Vec<String> = answer.split_inclusive([' ', '\n']).map(str::to_owned).collect();
        let reason = if pieces.len() > limit { FinishReason::Length } else { FinishReason::Stop };
        pieces.truncate(limit);
        let usage = Usage { prompt_tokens, completion_tokens: pieces.len(), ..Usage::default() };
        let (read, logprob) = (Arc::clone(&self.read_tokens), self.probability.ln());
        let texts = pieces.into_iter().map(move |text| {
            *read.lock().unwrap() += 1;
            let bytes = text.as_bytes().to_vec();
            let token = TokenLogprob { id: 0, text: text.clone(), bytes, logprob, top: Vec::new() };
            ChatEvent::Text { text, tokens: 1, logprobs: if logprobs { vec![token] } else { Vec::new() } }
        });
        let started = std::iter::once(ChatEvent::Started { prompt_tokens });
        let finished = std::iter::once(ChatEvent::Finished { reason, usage });
        Ok(Box::pin(stream::iter(started.chain(texts).chain(finished).map(Ok))))
    }
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

fn conversation(request: &ChatRequest) -> String {
    let say = |message: &chat::Message| match message.role {
        Role::Assistant => format!("<assistant> {}", message.content),
        _ => message.content.clone(),
    };
    request.messages.iter().map(say).collect::<Vec<_>>().join("\n")
}

fn text_of(prompt: Prompt) -> String {
    match prompt {
        Prompt::Text(text) => text,
        Prompt::Ids(_) => String::new(),
    }
}

impl ChatModel for Scripted {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn chat(&self, request: ChatRequest) -> ChatFuture<'_, ChatStream> {
        let prompt = conversation(&request);
        let asked = Asked { prompt, suffix: None, format: request.format, options: request.options };
        Box::pin(async move { self.stream(asked) })
    }

    fn count_tokens<'a>(&'a self, request: &'a ChatRequest) -> ChatFuture<'a, usize> {
        Box::pin(async move { Ok(words(&conversation(request))) })
    }

    fn complete(&self, request: CompletionRequest) -> ChatFuture<'_, ChatStream> {
        let CompletionRequest { prompt, suffix, format, options, .. } = request;
        let asked = Asked { prompt: text_of(prompt), suffix, format, options };
        Box::pin(async move { self.stream(asked) })
    }

    fn prepare_format<'a>(&'a self, _: &'a AnswerFormat) -> ChatFuture<'a, Vec<String>> {
        Box::pin(async move { Ok(self.format_warnings.clone()) })
    }

    fn choose(&self, request: ChooseRequest) -> ChatFuture<'_, ChooseResponse> {
        Box::pin(async move {
            let Some(choose) = &self.choose else {
                return Err(ChatError::Unsupported { model: self.info.name.clone(), what: "scores of given answers" });
            };
            let prompt = match request.context {
                ChoiceContext::Chat(chat) => conversation(&chat),
                ChoiceContext::Plain(prompt) => text_of(prompt),
            };
            let probabilities = choose(&prompt, &request.options);
            let score = |(option, probability): (usize, f64)| OptionScore { option, logprob: probability.ln() };
            let mut scores: Vec<_> = probabilities.into_iter().enumerate().map(score).collect();
            scores.sort_by(|a, b| b.logprob.total_cmp(&a.logprob));
            if !request.all {
                scores.truncate(1);
            }
            let prompt_tokens = words(&prompt);
            let asked = Asked { prompt, suffix: None, format: None, options: GenerationOptions::default() };
            self.asked.lock().unwrap().push(asked);
            Ok(ChooseResponse { scores, prompt_tokens, cached_tokens: 1, option_tokens: request.options.len() })
        })
    }
}
