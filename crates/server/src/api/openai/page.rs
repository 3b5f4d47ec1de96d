//! Pages of lists: which part of a list is asked for, and what is said of the part that comes.

use crate::api::{Dialect, Reject};
use crate::failure::{Failure, FailureKind, nearest_hint};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Serialize;
use std::marker::PhantomData;
use utoipa::ToSchema;

/// The parameters that a list takes.
const PARAMETERS: [&str; 4] = ["after", "limit", "order", "purpose"];
/// Entries of a page where nobody says, and at most.
const ENTRIES: usize = 20;
const MOST_ENTRIES: usize = 10_000;

/// Which part of a list is asked for; a refusal has the shape of the dialect `D`.
pub(super) struct Page<D> {
    after: Option<String>,
    limit: usize,
    is_ascending: bool,
    /// Only files of this purpose.
    pub(super) purpose: Option<String>,
    dialect: PhantomData<D>,
}

/// What is said of a part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Paged {
    /// Always `list`.
    object: &'static str,
    first_id: Option<String>,
    last_id: Option<String>,
    /// Whether there is more after it: ask again with `after` and the last id.
    has_more: bool,
}

impl<S: Send + Sync, D: Dialect> FromRequestParts<S> for Page<D> {
    type Rejection = Reject<D>;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Page<D>, Reject<D>> {
        Ok(Page::parse(parts.uri.query().unwrap_or_default())?)
    }
}

impl<D> Page<D> {
    /// Values are ids, words and numbers: what is percent-encoded is none of them, and refused as such.
    fn parse(query: &str) -> Result<Page<D>, Failure> {
        let mut page = Page { after: None, limit: ENTRIES, is_ascending: false, purpose: None, dialect: PhantomData };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let expected = |what: &str| {
                let shown: String = value.chars().take(64).collect();
                Failure::field(name, format!("{name}: expected {what}, got {shown:?}"))
            };
            match name {
                "after" => page.after = Some(value.to_owned()),
                "purpose" => page.purpose = Some(value.to_owned()),
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=MOST_ENTRIES).contains(limit));
                    page.limit = limit.ok_or_else(|| expected(&format!("1 to {MOST_ENTRIES}")))?;
                }
                "order" => {
                    page.is_ascending = match value {
                        "asc" => true,
                        "desc" => false,
                        _ => return Err(expected("asc or desc")),
                    };
                }
                _ => {
                    let shown: String = name.chars().take(64).collect();
                    let names = PARAMETERS.map(|name| format!("`{name}`")).join(", ");
                    let hint = nearest_hint(&shown, PARAMETERS.into_iter()).unwrap_or_default();
                    let message = format!("{shown}: unknown parameter `{shown}`, expected {names}{hint}");
                    return Err(Failure::field(shown, message));
                }
            }
        }
        Ok(page)
    }

    /// Refuses a purpose where entries have none.
    pub(super) fn refuse_purpose(&self) -> Result<(), Failure> {
        match self.purpose {
            Some(_) => Err(Failure::field("purpose", "purpose: expected none, files alone have one")),
            None => Ok(()),
        }
    }

    /// The part of a list that is asked for; the list has the newest first.
    pub(super) fn of<T>(self, mut all: Vec<T>, id: impl Fn(&T) -> &String) -> Result<(Vec<T>, Paged), Failure> {
        if self.is_ascending {
            all.reverse();
        }
        if let Some(after) = self.after {
            let Some(at) = all.iter().position(|one| *id(one) == after) else {
                let shown: String = after.chars().take(64).collect();
                let message = format!("after: there is no {shown:?} in the list\nhint: begin without `after`");
                return Err(Failure { field: Some("after".to_owned()), ..Failure::new(FailureKind::Invalid, message) });
            };
            all.drain(..=at);
        }
        let has_more = all.len() > self.limit;
        all.truncate(self.limit);
        let (first_id, last_id) = (all.first().map(&id).cloned(), all.last().map(&id).cloned());
        Ok((all, Paged { object: "list", first_id, last_id, has_more }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::openai::OpenAi;

    fn check(query: &str, expected: &[&str], has_more: bool) {
        let all = ["c", "b", "a"].map(str::to_owned).to_vec();
        let (page, told) = Page::<OpenAi>::parse(query).unwrap().of(all, |id| id).unwrap();
        assert_eq!(page, expected, "{query}");
        assert_eq!((told.has_more, told.last_id.as_deref()), (has_more, expected.last().copied()), "{query}");
    }

    #[test]
    fn a_list_comes_in_pages() {
        check("", &["c", "b", "a"], false);
        check("limit=2", &["c", "b"], true);
        check("limit=2&after=b", &["a"], false);
        check("order=asc&limit=1&after=a", &["b"], true);
        check("after=a", &[], false);
    }

    #[test]
    fn what_is_no_page_is_refused_by_name() {
        let refused = |query: &str| Page::<OpenAi>::parse(query).err().unwrap().message;
        assert_eq!(refused("limit=0"), "limit: expected 1 to 10000, got \"0\"");
        assert_eq!(refused("order=up"), "order: expected asc or desc, got \"up\"");
        let expected = "limt: unknown parameter `limt`, expected `after`, `limit`, `order`, `purpose`\n\
                        hint: did you mean `limit`?";
        assert_eq!(refused("limt=1"), expected);
        let page = Page::<OpenAi>::parse("after=x").unwrap().of(vec!["c".to_owned()], |id| id).unwrap_err();
        assert_eq!(page.message, "after: there is no \"x\" in the list\nhint: begin without `after`");
    }
}
