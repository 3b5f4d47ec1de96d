//! `/evals` and what is below it: the evaluations of the ledger, one of them, its rows, two of them beside each other, and
//! the rows of a task's test that wait for an answer.
//!
//! The pages have nothing in them but names; their scripts ask `/v1/evaluations` and `/v1/tasks/{name}/labels` with the
//! reader's key. Read next: `eval_run.js`, `eval_label.js`.

use super::{POLICY, SCRIPT, page, text};
use crate::api::{Endpoint, Scope};
use crate::app::App;
use axum::extract::Path;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::http::{Method, Uri};
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use eval::render;
use minijinja::context;
use std::sync::Arc;

/// Something that everybody may read.
const fn open(path: &'static str, summary: &'static str, route: fn() -> MethodRouter<Arc<App>>) -> Endpoint {
    Endpoint { method: Method::GET, path, scope: Scope::Open, summary, request: None, response: None, route }
}

pub(super) static LIST: Endpoint = open("/evals", "The evaluations", || get(async || page("evals.html", context! {})));
pub(super) static COMPARE: Endpoint =
    open("/evals/compare", "Two evaluations", || get(async || page("eval_compare.html", context! {})));
pub(super) static LABEL: Endpoint = open("/evals/label/{task}", "Test rows to answer", || get(label));
pub(super) static RUN: Endpoint = open("/evals/{run}", "One evaluation", || get(run));
pub(super) static ROWS: Endpoint = open("/evals/{run}/rows", "The rows of an evaluation", || get(rows));

pub(super) static STYLE: Endpoint = open("/pages/evals.css", "How pages of evaluations look", || {
    get(async || text("text/css; charset=utf-8", include_str!("evals.css")))
});
pub(super) static ASK_SCRIPT: Endpoint =
    open("/pages/ask.js", "What pages of evaluations share", || get(async || text(SCRIPT, include_str!("ask.js"))));
pub(super) static LIST_SCRIPT: Endpoint = open("/pages/evals.js", "What the list of evaluations does", || {
    get(async || text(SCRIPT, include_str!("evals.js")))
});
pub(super) static COMPARE_SCRIPT: Endpoint =
    open("/pages/eval_compare.js", "What the page of two evaluations does", || {
        get(async || text(SCRIPT, include_str!("eval_compare.js")))
    });
pub(super) static LABEL_SCRIPT: Endpoint = open("/pages/eval_label.js", "What the page of rows to answer does", || {
    get(async || text(SCRIPT, include_str!("eval_label.js")))
});
pub(super) static ANSWERS_SCRIPT: Endpoint = open("/pages/eval_answers.js", "How a row is answered", || {
    get(async || text(SCRIPT, include_str!("eval_answers.js")))
});
pub(super) static RUN_SCRIPT: Endpoint = open("/pages/eval_run.js", "What the page of an evaluation does", || {
    get(async || text(SCRIPT, include_str!("eval_run.js")))
});
pub(super) static ROWS_SCRIPT: Endpoint = open("/pages/eval_rows.js", "What the page of rows does", || {
    get(async || text(SCRIPT, include_str!("eval_rows.js")))
});

async fn label(Path(name): Path<String>) -> Response {
    page("eval_label.html", context! { name })
}

/// Shows the report as a frame whose text its script has fetched: the frame may have the style of reports, and nothing else.
async fn run(Path(name): Path<String>, uri: Uri) -> Response {
    let mut response = page("eval_run.html", context! { name, at => uri.path() });
    let policy = format!("{POLICY}; style-src 'self' {}; frame-src blob:", render::style_source());
    let policy = policy.parse().expect("a digest is plain text; this is a bug");
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    response
}

async fn rows(Path(name): Path<String>, uri: Uri) -> Response {
    let at = uri.path().strip_suffix("/rows").unwrap_or(uri.path());
    page("eval_rows.html", context! { name, at })
}

#[cfg(test)]
mod tests {
    use crate::testing::Running;

    #[tokio::test]
    async fn a_name_is_text_and_links_keep_it_as_it_was_asked_for() {
        let server = Running::start().await;
        let page = server.get("/evals/a%2F%22%3E%3Cscript%3E/rows").await;
        assert_eq!(page.status, 200, "{}", page.text);
        assert!(page.text.contains("<h1>a&#x2f;&quot;&gt;&lt;script&gt;</h1>"), "{}", page.text);
        assert!(page.text.contains("href=\"&#x2f;evals&#x2f;a%2F%22%3E%3Cscript%3E\""), "{}", page.text);
    }

    #[tokio::test]
    async fn the_frame_of_a_report_may_have_the_style_of_reports_and_nothing_else() {
        let server = Running::start().await;
        let page = server.get("/evals/triage-1").await;
        let policy = page.header("content-security-policy");
        assert!(policy.contains("; style-src 'self' 'sha256-") && policy.ends_with("; frame-src blob:"), "{policy}");
        assert!(policy.starts_with("default-src 'self'; ") && !policy.contains("unsafe"), "{policy}");
        assert!(page.text.contains("sandbox=\"allow-same-origin\""), "{}", page.text);
    }
}
