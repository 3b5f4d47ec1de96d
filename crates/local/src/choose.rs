//! Which of several texts a model would answer with: one prompt, and a walk over the trie of the texts' tokens.
//!
//! ```text
//! trie:      the options' tokens, and an end for each; a node where several branches part needs logits, others need none
//! frontier:  branches that were met and not gone along, each with the probability of all that leads to it
//! walk:      take the likeliest of the frontier: is it an option, it is the best, since no probability grows along a path;
//!            is it a node, read the tokens that lead there, share its probability out among its branches
//! ```
//!
//! So only branches are computed that can still win. Many rows that ask with the same options share the prompt's pages and
//! the trie. Read next: `engine::Walk`, the seam; `ranking` for continuations as they are.

use crate::LocalModel;
use crate::answer::broken;
use crate::local_model::{text_ids, thread_gone};
use crate::worker::{Listener, Next};
use chat::{ChatError, ChatModel, ChoiceContext, ChooseRequest, ChooseResponse, ModelInfo, OptionScore, OptionScoring};
use engine::{BrokenLogits, Counts, FinishReason, PromptScores, Refused, SequenceRequest, Walk, WalkStep};
use futures::channel::oneshot;
use hub::Sha256;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Most options of one request.
const MOST_OPTIONS: usize = 10_000;

/// Most bytes of all options of a request together.
const MOST_BYTES: usize = 1 << 20;

/// Most tries that are kept, those asked for last.
const MOST_KEPT: usize = 16;

/// Larger ones are made anew each time: nodes, some 80 bytes each.
const MOST_KEPT_NODES: usize = 200_000;

/// A place in the trie.
#[derive(Default)]
struct Node {
    /// The token that leads here; any at the root.
    token: u32,
    parent: usize,
    depth: usize,
    /// The tokens that may follow, ascending, and where they lead.
    children: Vec<(u32, usize)>,
    /// The option whose tokens end here.
    option: Option<usize>,
}

/// The tokens of all options of a request.
pub(crate) struct Trie {
    nodes: Vec<Node>,
    /// Whether an option's end is a branch as its other tokens are: the end of a turn.
    has_ends: bool,
}

/// Where a branch leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// The end of this option.
    Option(usize),
    /// A node whose branches are to be told apart.
    Node(usize),
}

impl Trie {
    /// The trie of options of these tokens, which are not empty.
    ///
    /// # Errors
    /// Two options that are the same tokens, or one that is the beginning of another where nothing ends it.
    fn new(options: &[String], ids: Vec<Vec<u32>>, has_ends: bool) -> Result<Trie, String> {
        let mut trie = Trie { nodes: vec![Node::default()], has_ends };
        let mut sorted: Vec<(Vec<u32>, usize)> = ids.into_iter().zip(0..).collect();
        sorted.sort_unstable();
        for (ids, option) in sorted {
            let mut at = 0;
            for token in ids {
                at = trie.child(at, token);
            }
            if let Some(same) = trie.nodes[at].option.replace(option) {
                return Err(format!("{:?} and {:?} are the same tokens to this model", options[same], options[option]));
            }
        }
        let begins = trie.nodes.iter().find(|node| !has_ends && node.option.is_some() && !node.children.is_empty());
        match begins.and_then(|node| node.option) {
            Some(option) => Err(format!(
                "{:?} is the beginning of another option, and nothing ends it\nhint: end each with a line break",
                options[option]
            )),
            None => Ok(trie),
        }
    }

    fn child(&mut self, at: usize, token: u32) -> usize {
        // Tokens come in ascending order, so what is known is the last.
        if let Some(&(last, child)) = self.nodes[at].children.last()
            && last == token
        {
            return child;
        }
        let child = self.nodes.len();
        let depth = self.nodes[at].depth + 1;
        self.nodes.push(Node { token, parent: at, depth, ..Node::default() });
        self.nodes[at].children.push((token, child));
        child
    }

    /// Whether the option that ends at a node ends by a branch of its own.
    fn ends_by_branch(&self, node: usize) -> bool {
        self.has_ends && self.nodes[node].option.is_some()
    }

    /// Where one gets from a node without a choice.
    fn follow(&self, mut at: usize) -> Target {
        loop {
            let node = &self.nodes[at];
            match (node.option, node.children.as_slice()) {
                (Some(option), []) => return Target::Option(option),
                (None, &[(_, child)]) => at = child,
                _ => return Target::Node(at),
            }
        }
    }

    /// The tokens from `from` down to `to`, which lies below it.
    fn tokens_between(&self, from: usize, to: usize) -> Vec<u32> {
        let mut tokens = Vec::new();
        let mut at = to;
        while at != from {
            tokens.push(self.nodes[at].token);
            at = self.nodes[at].parent;
        }
        tokens.reverse();
        tokens
    }

    /// The lowest node above both.
    fn common(&self, mut one: usize, mut other: usize) -> usize {
        while one != other {
            let (lower, upper) =
                if self.nodes[one].depth >= self.nodes[other].depth { (one, other) } else { (other, one) };
            (one, other) = (self.nodes[lower].parent, upper);
        }
        one
    }

    fn depth(&self) -> usize {
        self.nodes.iter().map(|node| node.depth).max().unwrap_or(0)
    }
}

/// A branch that was met, with the log-probability of all that leads to it.
#[derive(Debug, Clone, Copy)]
struct Branch {
    target: Target,
    logprob: f64,
}

/// What a search found.
struct Found {
    scores: Vec<OptionScore>,
    /// Tokens that it had read.
    read_tokens: usize,
}

/// Looks for the likeliest option, or for the scores of all.
struct Search {
    trie: Arc<Trie>,
    scoring: OptionScoring,
    all: bool,
    /// Tokens that end a turn.
    ends: Vec<u32>,
    /// The node that the sequence began at, and the one whose logits come next.
    start: usize,
    at: usize,
    frontier: Vec<Branch>,
    found: Vec<OptionScore>,
    read_tokens: usize,
    reply: Option<oneshot::Sender<Found>>,
}

impl Search {
    /// What there is to know of branches of a node: under [`OptionScoring::Likelihood`] each token counts.
    fn target(&self, child: usize) -> Target {
        let node = &self.trie.nodes[child];
        match (self.scoring, node.option) {
            (OptionScoring::Tree, _) => self.trie.follow(child),
            (OptionScoring::Likelihood, Some(option)) if !self.trie.ends_by_branch(child) => Target::Option(option),
            (OptionScoring::Likelihood, _) => Target::Node(child),
        }
    }

    /// Shares the probability `logprob` of the node out among its branches by the logits `[V]` that follow it.
    fn expand(&mut self, logprob: f64, logits: &[f32]) -> Result<(), BrokenLogits> {
        let node = &self.trie.nodes[self.at];
        let mut branches: Vec<(Target, f64)> = Vec::with_capacity(node.children.len() + 1);
        for &(token, child) in &node.children {
            branches.push((self.target(child), f64::from(logits[token as usize])));
        }
        if let Some(option) = node.option.filter(|_| self.trie.has_ends) {
            let ends: Vec<f64> = self.ends.iter().map(|&end| f64::from(logits[end as usize])).collect();
            branches.push((Target::Option(option), log_sum_exp(&ends)));
        }
        let normaliser = match self.scoring {
            OptionScoring::Tree => log_sum_exp(&branches.iter().map(|(_, logit)| *logit).collect::<Vec<_>>()),
            OptionScoring::Likelihood => log_sum_exp(&logits.iter().map(|&logit| f64::from(logit)).collect::<Vec<_>>()),
        };
        if !normaliser.is_finite() {
            return Err(BrokenLogits);
        }
        // The last is taken up first where all are wanted: the first branch, so that paths are gone along in order.
        let branch = |(target, logit): (Target, f64)| Branch { target, logprob: logprob + logit - normaliser };
        self.frontier.extend(branches.into_iter().rev().map(branch));
        Ok(())
    }

    /// Takes the branch up that is next: the likeliest, or the last where all are wanted.
    fn next_branch(&mut self) -> Option<Branch> {
        if self.all {
            return self.frontier.pop();
        }
        let better = |best: usize, next: usize| {
            if self.frontier[next].logprob > self.frontier[best].logprob { next } else { best }
        };
        let best = (0..self.frontier.len()).rev().reduce(better)?;
        Some(self.frontier.remove(best))
    }

    /// Goes on to the next node whose logits are needed; none where what is wanted is known.
    fn go_on(&mut self) -> Option<(Branch, usize)> {
        while let Some(branch) = self.next_branch() {
            match branch.target {
                Target::Node(node) => return Some((branch, node)),
                Target::Option(option) => {
                    self.found.push(OptionScore { option, logprob: branch.logprob });
                    if !self.all {
                        return None;
                    }
                }
            }
        }
        None
    }

    fn tell(&mut self) {
        // Options that were scored on the way to the best.
        let scored = self.frontier.drain(..).filter_map(|branch| match branch.target {
            Target::Option(option) => Some(OptionScore { option, logprob: branch.logprob }),
            Target::Node(_) => None,
        });
        self.found.extend(scored);
        let mut scores = std::mem::take(&mut self.found);
        scores.sort_by(|one, other| other.logprob.total_cmp(&one.logprob).then(one.option.cmp(&other.option)));
        if let Some(reply) = self.reply.take() {
            // Whoever asked may have gone.
            drop(reply.send(Found { scores, read_tokens: self.read_tokens }));
        }
    }
}

/// A search under way, with the probability of the node that it is at.
struct Walking {
    search: Search,
    logprob: f64,
}

impl Walk for Walking {
    fn step(&mut self, logits: &[f32]) -> Result<WalkStep, BrokenLogits> {
        let search = &mut self.search;
        search.expand(self.logprob, logits)?;
        let Some((branch, node)) = search.go_on() else {
            search.tell();
            return Ok(WalkStep::Done);
        };
        let trie = &search.trie;
        let turn = trie.common(search.at, node);
        let tokens = trie.tokens_between(turn, node);
        let kept = trie.nodes[turn].depth - trie.nodes[search.start].depth;
        search.at = node;
        search.read_tokens += tokens.len();
        self.logprob = branch.logprob;
        Ok(WalkStep::Read { kept, tokens })
    }
}

/// `ln Σ exp(x)`; not finite where an `x` is NaN or all are -infinity.
fn log_sum_exp(values: &[f64]) -> f64 {
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !most.is_finite() {
        return most;
    }
    most + values.iter().map(|value| (value - most).exp()).sum::<f64>().ln()
}

/// The tries of the options that were asked for last, by the hash of the options.
#[derive(Default)]
pub(crate) struct Tries(Mutex<VecDeque<(Sha256, Arc<Trie>)>>);

impl Tries {
    fn kept(&self) -> MutexGuard<'_, VecDeque<(Sha256, Arc<Trie>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &Sha256) -> Option<Arc<Trie>> {
        let mut kept = self.kept();
        let place = kept.iter().position(|(known, _)| known == key)?;
        let entry = kept.remove(place)?;
        let trie = Arc::clone(&entry.1);
        kept.push_back(entry);
        Some(trie)
    }

    fn of(&self, key: Sha256, make: impl FnOnce() -> Result<Trie, ChatError>) -> Result<Arc<Trie>, ChatError> {
        if let Some(trie) = self.find(&key) {
            return Ok(trie);
        }
        let trie = Arc::new(make()?);
        // Somebody else may have made it meanwhile.
        if trie.nodes.len() <= MOST_KEPT_NODES && self.find(&key).is_none() {
            let mut kept = self.kept();
            kept.push_back((key, Arc::clone(&trie)));
            if kept.len() > MOST_KEPT {
                kept.pop_front();
            }
        }
        Ok(trie)
    }
}

/// Waits for the end of a walk.
struct Waiting(Option<oneshot::Sender<Result<Counts, ChatError>>>);

impl Listener for Waiting {
    fn started(&mut self, _: Instant) {}

    fn token(&mut self, _: u32, _: Option<f32>, _: &[engine::TokenLogprob]) -> Next {
        Next::GoOn
    }

    fn reading(&mut self, _: usize, _: usize) {}

    fn scored(&mut self, _: &[engine::TokenLogprob], _: &[Vec<engine::TokenLogprob>]) {}

    fn finished(&mut self, end: Result<FinishReason, ChatError>, counts: Counts) {
        let outcome = match end {
            Ok(FinishReason::Complete) => Ok(counts),
            Ok(reason) => Err(broken(&reason)),
            Err(error) => Err(error),
        };
        if let Some(reply) = self.0.take() {
            drop(reply.send(outcome));
        }
    }

    fn is_gone(&self) -> bool {
        self.0.as_ref().is_none_or(oneshot::Sender::is_canceled)
    }
}

impl LocalModel {
    /// As [`ChatModel::choose`].
    pub(crate) async fn choose_option(&self, request: ChooseRequest) -> Result<ChooseResponse, ChatError> {
        check_options(&request.options)?;
        let has_ends = matches!(request.context, ChoiceContext::Chat(_));
        let mut prompt = match request.context {
            ChoiceContext::Chat(chat) => self.ids_without_thought(&chat)?,
            ChoiceContext::Plain(prompt) => self.prompt_ids(prompt)?,
        };
        let vocabulary = self.info().vocabulary;
        let ends: Vec<u32> =
            self.tokenizer().stop_ids().iter().copied().filter(|&end| (end as usize) < vocabulary).collect();
        if has_ends && ends.is_empty() {
            let what = "scores of given answers: it has no token that ends a turn";
            return Err(ChatError::Unsupported { model: self.info().name.clone(), what });
        }
        let prompt_tokens = prompt.len();
        let trie = self.trie(&request.options, has_ends)?;
        self.check_prompt(&prompt, trie.depth())?;
        let start = match (request.scoring, trie.follow(0)) {
            (OptionScoring::Likelihood, _) => 0,
            (OptionScoring::Tree, Target::Node(start)) => start,
            (OptionScoring::Tree, Target::Option(option)) => {
                // The only one.
                let scores = vec![OptionScore { option, logprob: 0.0 }];
                return Ok(ChooseResponse { scores, prompt_tokens, ..ChooseResponse::default() });
            }
        };
        prompt.extend(trie.tokens_between(0, start));
        let shared_tokens = trie.nodes[start].depth;
        let max_tokens = trie.depth() - shared_tokens + 1;
        let (reply, found) = oneshot::channel();
        let search = Search {
            scoring: request.scoring,
            all: request.all,
            ends,
            start,
            at: start,
            frontier: Vec::new(),
            found: Vec::new(),
            read_tokens: shared_tokens,
            reply: Some(reply),
            trie,
        };
        let walk = Walking { search, logprob: 0.0 };
        let sequence = SequenceRequest {
            max_tokens: Some(max_tokens),
            walk: Some(Box::new(walk)),
            ..Self::score_request(prompt, PromptScores::None)
        };
        let (ended, end) = oneshot::channel();
        self.submit(sequence, Box::new(Waiting(Some(ended)))).await?;
        let counts = end.await.map_err(|_| thread_gone())??;
        let Found { scores, read_tokens } = found.await.map_err(|_| thread_gone())?;
        Ok(ChooseResponse {
            scores,
            prompt_tokens,
            cached_tokens: counts.cached_tokens.min(prompt_tokens),
            option_tokens: read_tokens,
        })
    }

    /// Refuses a prompt that no option fits behind, or that no engine would take.
    fn check_prompt(&self, prompt: &[u32], depth: usize) -> Result<(), ChatError> {
        let ModelInfo { context, maximum_context, vocabulary, .. } = *self.info();
        let tokens = prompt.len() + depth;
        if tokens > context {
            return Err(ChatError::ContextTooLong { prompt_tokens: tokens, context, maximum_context });
        }
        match prompt.iter().find(|&&token| token as usize >= vocabulary) {
            _ if prompt.is_empty() => Err(self.refusal(Refused::EmptyPrompt)),
            Some(&token) => Err(self.refusal(Refused::TokenOutOfRange { token, vocabulary })),
            None => Ok(()),
        }
    }

    fn trie(&self, options: &[String], has_ends: bool) -> Result<Arc<Trie>, ChatError> {
        let key = serde_json::to_vec(&(has_ends, options)).map_err(|error| ChatError::Internal(error.to_string()))?;
        self.tries.of(Sha256::of(&key), || {
            let mut ids = Vec::with_capacity(options.len());
            for option in options {
                let own = text_ids(&self.info().name, self.tokenizer(), option)?;
                let is_known = |&id: &u32| (id as usize) < self.info().vocabulary;
                if own.is_empty() || !own.iter().all(is_known) {
                    let text = format!("the option {option:?} has no tokens that the model can say");
                    return Err(ChatError::InvalidRequest(text));
                }
                ids.push(own);
            }
            Trie::new(options, ids, has_ends).map_err(ChatError::InvalidRequest)
        })
    }
}

/// Refuses options among which there is no choice to make, or too many.
fn check_options(options: &[String]) -> Result<(), ChatError> {
    let refuse = |text: String| Err(ChatError::InvalidRequest(text));
    let bytes: usize = options.iter().map(String::len).sum();
    if options.is_empty() || options.len() > MOST_OPTIONS {
        return refuse(format!("there are {} options, expected 1 to {MOST_OPTIONS}", options.len()));
    }
    if bytes > MOST_BYTES {
        return refuse(format!("the options have {bytes} bytes together, expected at most {MOST_BYTES}"));
    }
    if let Some(index) = options.iter().position(String::is_empty) {
        return refuse(format!("option {index} is empty, expected text"));
    }
    let mut sorted: Vec<&String> = options.iter().collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => refuse(format!("the option {:?} is there twice", pair[0])),
        None => Ok(()),
    }
}
