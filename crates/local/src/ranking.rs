//! How likely each of several continuations of one prompt is.
//!
//! ```text
//! tokens:   prompt and continuation are tokenized together, as they would be read. Where the result begins with the tokens
//!           of the prompt, the rest is scored; where the seam fell inside a token, all from the first token that differs
//! ids:      a prompt of ids stays as it is, and the tokens of the continuation alone follow it
//! reading:  each continuation is a sequence of its own; the engine reads what all begin with once
//! ```
//!
//! A score is the log-probability of each token given all before it; whoever compares continuations of different lengths
//! decides how. Read next: `scoring`, the listener; `engine::PromptScores` for what is computed.

use crate::LocalModel;
use crate::local_model::{text_ids, thread_gone};
use crate::scoring::Scoring;
use chat::{ChatError, ChatModel, Prompt, RankRequest, RankResponse, ScoredToken};
use engine::{PromptScores, Refused};
use futures::channel::oneshot;
use futures::{StreamExt, TryStreamExt, stream};

/// Most continuations of one request.
const MOST_CONTINUATIONS: usize = 1_000;

/// So many of them are under way at once; others who ask have a turn in between.
const AT_ONCE: usize = 16;

/// A continuation behind its prompt.
struct Continued {
    ids: Vec<u32>,
    /// The first position that counts as the continuation's.
    from: usize,
}

impl LocalModel {
    /// As [`ChatModel::rank`].
    pub(crate) async fn rank_continuations(&self, request: RankRequest) -> Result<RankResponse, ChatError> {
        let count = request.continuations.len();
        if count == 0 || count > MOST_CONTINUATIONS {
            return Err(ChatError::InvalidRequest(format!(
                "there are {count} continuations, expected 1 to {MOST_CONTINUATIONS}"
            )));
        }
        let prompt = self.prompt_ids(request.prompt.clone())?;
        let context = self.info().context;
        if prompt.len() > context {
            // Before it is tokenized once for each continuation.
            return Err(self.refusal(Refused::PromptTooLong { tokens: prompt.len(), context }));
        }
        if let Some(index) = request.continuations.iter().position(String::is_empty) {
            return Err(ChatError::InvalidRequest(format!("continuation {index} is empty, expected text")));
        }
        // Each is tokenized with the prompt when its turn comes: all at once would hold the prompt that many times.
        let score = |(index, text): (usize, String)| {
            let asked = self.continued(&request.prompt, &prompt, index, &text);
            async move { self.score_continued(asked?).await }
        };
        let continuations = request.continuations.iter().cloned().enumerate();
        let scored = stream::iter(continuations).map(score).buffered(AT_ONCE);
        Ok(RankResponse { continuations: scored.try_collect().await?, prompt_tokens: prompt.len() })
    }

    /// The tokens of a prompt, which are `prompt_ids`, with a continuation.
    fn continued(&self, prompt: &Prompt, prompt_ids: &[u32], index: usize, text: &str) -> Result<Continued, ChatError> {
        let refuse = |reason: &str| Err(ChatError::InvalidRequest(format!("continuation {index} {reason}")));
        if text.is_empty() {
            return refuse("is empty, expected text");
        }
        let ids = match prompt {
            Prompt::Text(prompt) => self.plain_ids(&format!("{prompt}{text}"))?,
            Prompt::Ids(ids) => {
                let own = text_ids(&self.info().name, self.tokenizer(), text)?;
                ids.iter().copied().chain(own).collect()
            }
        };
        let from = ids.iter().zip(prompt_ids).take_while(|(one, other)| one == other).count();
        if from == ids.len() {
            return refuse("adds no token to the prompt");
        }
        if from == 0 {
            return refuse("begins at the first token, which has nothing before it\nhint: give a prompt");
        }
        Ok(Continued { ids, from })
    }

    async fn score_continued(&self, Continued { ids, from }: Continued) -> Result<Vec<ScoredToken>, ChatError> {
        let (reply, outcome) = oneshot::channel();
        let sequence = Self::score_request(ids.clone(), PromptScores::Tokens { from, top: 0 });
        self.submit(sequence, Box::new(Scoring::new(Box::new(|_| {}), reply))).await?;
        let logprobs = outcome.await.map_err(|_| thread_gone())??;
        let token = |(&id, &logprob): (&u32, &f32)| {
            let text = self.tokenizer().token_text(id);
            ScoredToken { id, text, logprob: Some(logprob) }
        };
        Ok(ids[from..].iter().zip(&logprobs).map(token).collect())
    }
}
