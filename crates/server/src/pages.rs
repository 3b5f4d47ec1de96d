//! Pages for people: a playground, the state of the server, the description of its endpoints.
//!
//! ```text
//! /        ask a model, watch the answer come      playground.html, playground.js
//! /evals   what evaluations found, and how far they are; test rows to answer     eval*.html, eval*.js
//! /status  models, queue, pages, speeds            status.html, status.js, /status.json
//! /docs    every endpoint with an example          docs.html, from the OpenAPI document
//! ```
//!
//! They need nothing from elsewhere and run nothing that is not this server's own. Whoever reaches the server may see
//! them; what they show needs the key of whoever looks. Read next: `docs`, `status`, `evals`.

mod docs;
mod evals;
mod status;

use crate::api::{Dialect, DialectRow, Endpoint, Scope};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use minijinja::{Environment, Value, context};

/// The dialect, for signatures.
struct Pages;

impl Dialect for Pages {
    fn row() -> &'static DialectRow {
        &DIALECT
    }
}

pub(crate) static DIALECT: DialectRow = DialectRow {
    name: "Pages",
    prefixes: &["/evals", "/status", "/docs", "/pages/"],
    error: crate::api::openai::error,
    endpoints: &[
        &PLAYGROUND,
        &evals::LIST,
        &evals::COMPARE,
        &evals::LABEL,
        &evals::RUN,
        &evals::ROWS,
        &status::PAGE,
        &status::DATA,
        &docs::PAGE,
        &STYLE,
        &PLAYGROUND_SCRIPT,
        &STATUS_SCRIPT,
        &evals::STYLE,
        &evals::ASK_SCRIPT,
        &evals::LIST_SCRIPT,
        &evals::COMPARE_SCRIPT,
        &evals::LABEL_SCRIPT,
        &evals::ANSWERS_SCRIPT,
        &evals::RUN_SCRIPT,
        &evals::ROWS_SCRIPT,
        &ICON,
    ],
};

static PLAYGROUND: Endpoint = Endpoint {
    method: Method::GET,
    path: "/",
    scope: Scope::Open,
    summary: "The playground",
    request: None,
    response: None,
    route: || get(async || page("playground.html", context! {})),
};

static STYLE: Endpoint = Endpoint {
    method: Method::GET,
    path: "/pages/style.css",
    scope: Scope::Open,
    summary: "How pages look",
    request: None,
    response: None,
    route: || get(async || text("text/css; charset=utf-8", include_str!("pages/style.css"))),
};

static PLAYGROUND_SCRIPT: Endpoint = Endpoint {
    method: Method::GET,
    path: "/pages/playground.js",
    scope: Scope::Open,
    summary: "What the playground does",
    request: None,
    response: None,
    route: || get(async || text(SCRIPT, include_str!("pages/playground.js"))),
};

static STATUS_SCRIPT: Endpoint = Endpoint {
    method: Method::GET,
    path: "/pages/status.js",
    scope: Scope::Open,
    summary: "What the status page does",
    request: None,
    response: None,
    route: || get(async || text(SCRIPT, include_str!("pages/status.js"))),
};

static ICON: Endpoint = Endpoint {
    method: Method::GET,
    path: "/pages/icon.svg",
    scope: Scope::Open,
    summary: "The icon of pages",
    request: None,
    response: None,
    route: || get(async || text("image/svg+xml", include_str!("pages/icon.svg"))),
};

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Scripts, styles and data from this server alone; nobody may put the page into a frame.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";

/// The templates by their names.
const TEMPLATES: &[(&str, &str)] = &[
    ("layout.html", include_str!("pages/layout.html")),
    ("playground.html", include_str!("pages/playground.html")),
    ("evals.html", include_str!("pages/evals.html")),
    ("eval_compare.html", include_str!("pages/eval_compare.html")),
    ("eval_label.html", include_str!("pages/eval_label.html")),
    ("eval_run.html", include_str!("pages/eval_run.html")),
    ("eval_rows.html", include_str!("pages/eval_rows.html")),
    ("status.html", include_str!("pages/status.html")),
    ("docs.html", include_str!("pages/docs.html")),
];

/// A template with its values. What is put into it is text: it can become no markup.
fn page(name: &str, values: Value) -> Response {
    let mut templates = Environment::new();
    for (name, source) in TEMPLATES {
        templates.add_template(name, source).expect("the templates are our own; this is a bug");
    }
    let values = context! { version => env!("CARGO_PKG_VERSION"), here => name, ..values };
    let rendered = templates.get_template(name).and_then(|template| template.render(values));
    text("text/html; charset=utf-8", rendered.expect("the templates are our own; this is a bug"))
}

fn text(content_type: &'static str, body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, content_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Running;

    #[tokio::test]
    async fn pages_need_no_key_and_nothing_from_elsewhere() {
        let keys = crate::keys::KeysFile("/nowhere/keys.toml".into());
        let server = Running::with(|options| options.access = crate::options::Access::Keys(keys)).await;
        for (path, has) in [
            ("/", "<title>Playground"),
            ("/status", "<title>Status"),
            ("/evals", "<title>Evaluations"),
            ("/evals/compare?a=x&b=y", "<title>Two evaluations"),
            ("/evals/label/triage", "<title>Answer triage"),
            ("/evals/triage-1", "<title>triage-1"),
            ("/evals/triage-1/rows", "<title>Rows of triage-1"),
            ("/pages/evals.css", "prefers-color-scheme"),
            ("/pages/ask.js", "authorization"),
            ("/pages/evals.js", "/v1/evaluations"),
            ("/pages/eval_compare.js", "/changes/"),
            ("/pages/eval_label.js", "/labels"),
            ("/pages/eval_answers.js", "schema"),
            ("/pages/eval_run.js", "/report.html"),
            ("/pages/eval_rows.js", "/rows?"),
            ("/docs", "<title>Endpoints"),
            ("/pages/style.css", "prefers-color-scheme"),
            ("/pages/playground.js", "/v1/chat/completions"),
            ("/pages/status.js", "/status.json"),
        ] {
            let answer = server.get(path).await;
            assert_eq!(answer.status, 200, "{path}");
            assert!(answer.text.contains(has), "{path}: {}", answer.text);
            assert!(answer.header("content-security-policy").starts_with("default-src 'self';"), "{path}");
            for foreign in ["src=\"http", "href=\"http", "url(http", "@import", " style=\"", "onclick="] {
                assert!(!answer.text.contains(foreign), "{path} has {foreign}");
            }
        }
        for path in ["/status.json", "/v1/evaluations", "/v1/evaluations/triage-1/rows", "/v1/tasks/triage/labels"] {
            assert_eq!(server.get(path).await.status, 401, "what they show needs a key: {path}");
        }
    }

    #[test]
    fn what_is_put_into_a_page_is_text() {
        let values = context! { groups => vec![context! { name => "<script>" }] };
        let response = page("docs.html", values);
        let body = futures::executor::block_on(axum::body::to_bytes(response.into_body(), 1 << 20)).unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(body.contains("&lt;script&gt;") && !body.contains("<script>\n"), "{body}");
    }
}
