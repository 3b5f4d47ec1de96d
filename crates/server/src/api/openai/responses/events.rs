//! The events of a streamed response, numbered in order.

use super::output::{ItemStatus, Output};
use super::response::{ResponseObject, ResponseStatus};
use crate::failure::Failure;
use crate::stream::{Writer, put_event};
use chat::ChatEvent;
use serde_json::{Value, json};

/// Writes the events.
pub(super) struct Events {
    response: ResponseObject,
    output: Output,
    /// The number of the next event.
    sequence: usize,
}

impl Events {
    pub(super) fn new(response: ResponseObject, output: Output) -> Events {
        Events { response, output, sequence: 0 }
    }

    fn put_response(&mut self, name: &str, out: &mut String) {
        put(&mut self.sequence, json!({"type": name, "response": self.response}), out);
    }
}

fn put(sequence: &mut usize, mut event: Value, out: &mut String) {
    event["sequence_number"] = json!(*sequence);
    *sequence += 1;
    let name = event["type"].as_str().map(str::to_owned);
    put_event(out, name.as_deref(), &event);
}

impl Writer for Events {
    fn begin(&mut self, _: usize, out: &mut String) {
        self.put_response("response.created", out);
        self.put_response("response.in_progress", out);
    }

    fn event(&mut self, _: usize, event: ChatEvent, out: &mut String) {
        let sequence = &mut self.sequence;
        self.output.take(event, &mut |step| put(sequence, step, out));
    }

    fn end(&mut self, out: &mut String) {
        self.response.end(&self.output);
        let name = match self.response.status() {
            ResponseStatus::Incomplete => "response.incomplete",
            _ => "response.completed",
        };
        self.put_response(name, out);
    }

    fn failure(&mut self, failure: &Failure, out: &mut String) {
        let sequence = &mut self.sequence;
        self.output.close(ItemStatus::Incomplete, &mut |step| put(sequence, step, out));
        self.response.fail(&self.output, failure);
        self.put_response("response.failed", out);
    }
}
