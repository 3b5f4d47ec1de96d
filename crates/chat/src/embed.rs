//! Texts as vectors, and documents by how well they answer a query.

use crate::Prompt;

/// A request for a vector of each text.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbedRequest {
    /// The texts; at least one.
    pub inputs: Vec<Prompt>,
    /// Whether a text longer than the model reads is cut there, which the response tells; else it is refused.
    pub truncate: bool,
    /// Keep so many of the first components and normalize again, for models that are made for it.
    pub dimensions: Option<usize>,
}

/// The answer to an [`EmbedRequest`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EmbedResponse {
    /// A vector of length 1 for each text, in the order of the request.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens that were read.
    pub prompt_tokens: usize,
    /// Which texts were cut, as indices into the request's.
    pub truncated: Vec<usize>,
}

/// A request for the relevance of documents to a query, judged by a model that reads both at once (a cross-encoder).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelevanceRequest {
    /// The query.
    pub query: String,
    /// The documents; at least one.
    pub documents: Vec<String>,
    /// As in [`EmbedRequest::truncate`].
    pub truncate: bool,
}

/// The answer to a [`RelevanceRequest`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RelevanceResponse {
    /// The relevance of each document, in the order of the request; larger is better.
    pub scores: Vec<f32>,
    /// Tokens that were read.
    pub prompt_tokens: usize,
    /// Which documents were cut, as indices into the request's.
    pub truncated: Vec<usize>,
}
