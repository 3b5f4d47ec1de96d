//! Rust files as tokens with their lines: comments are gone, docs are left out, macros are seen into.

use std::ops::RangeInclusive;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// Attributes that hold texts for people: docs, helps of the command line, messages of errors.
const TEXT_ATTRIBUTES: &[&str] = &["doc", "arg", "command", "error"];

/// One identifier, literal or punctuation mark.
pub(super) struct Token {
    pub(super) text: String,
    /// From 1.
    pub(super) line: usize,
}

/// All tokens of a file but its texts for people; a group is its opening mark and its content.
///
/// # Errors
/// What is wrong with the file, if it is no Rust.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let stream: TokenStream = text.parse().map_err(|error: proc_macro2::LexError| error.to_string())?;
    let mut tokens = Vec::new();
    flatten(stream, &mut tokens);
    Ok(tokens)
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => {
                let mark = match group.delimiter() {
                    Delimiter::Parenthesis => "(",
                    Delimiter::Brace => "{",
                    Delimiter::Bracket => "[",
                    Delimiter::None => "",
                };
                let first = group.stream().into_iter().next().map(|first| first.to_string());
                if mark == "[" && first.is_some_and(|first| TEXT_ATTRIBUTES.contains(&first.as_str())) {
                    continue;
                }
                tokens.push(Token { text: mark.to_string(), line });
                flatten(group.stream(), tokens);
            }
            leaf => tokens.push(Token { text: leaf.to_string(), line }),
        }
    }
}

/// A function and the lines it takes, from its signature to its closing brace.
pub(super) struct Function {
    pub(super) name: String,
    pub(super) lines: RangeInclusive<usize>,
}

/// What the syntax tree of a file tells.
#[derive(Default)]
pub(super) struct Outline {
    pub(super) functions: Vec<Function>,
    /// The lines of items that are compiled for tests alone.
    pub(super) tests: Vec<RangeInclusive<usize>>,
    /// Modules in files of their own that are compiled for tests alone.
    pub(super) test_modules: Vec<String>,
}

impl Outline {
    /// # Errors
    /// What is wrong with the file, if it is no Rust.
    pub(super) fn of(text: &str) -> Result<Outline, String> {
        let file = syn::parse_file(text).map_err(|error| error.to_string())?;
        let mut outline = Outline::default();
        outline.visit_file(&file);
        Ok(outline)
    }

    pub(super) fn is_test(&self, line: usize) -> bool {
        self.tests.iter().any(|lines| lines.contains(&line))
    }

    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let lines = signature.span().start().line..=block.span().end().line;
        self.functions.push(Function { name: signature.ident.to_string(), lines });
    }
}

impl<'ast> Visit<'ast> for Outline {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.attrs.iter().any(is_cfg_test) {
            self.tests.push(item.span().start().line..=item.span().end().line);
            if item.content.is_none() {
                self.test_modules.push(item.ident.to_string());
            }
        }
        visit::visit_item_mod(self, item);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if item.attrs.iter().any(is_cfg_test) {
            self.tests.push(item.span().start().line..=item.span().end().line);
        }
        self.function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if item.attrs.iter().any(is_cfg_test) {
            self.tests.push(item.span().start().line..=item.span().end().line);
        }
        self.function(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

fn is_cfg_test(attribute: &syn::Attribute) -> bool {
    attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
}

/// The beginning of the paths of a module's files, without `.rs`, that the file at `path` declares.
pub(super) fn module_path(path: &str, module: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    match name.trim_end_matches(".rs") {
        "lib" | "main" | "mod" => format!("{folder}/{module}"),
        stem => format!("{folder}/{stem}/{module}"),
    }
}

/// Whether a whole file is compiled for tests or measurements alone: by its folder, or by the name that a file of tests
/// beside its module has.
pub(super) fn is_test_file(path: &str) -> bool {
    let is_in_tests = path.split('/').any(|folder| folder == "tests" || folder == "benches");
    is_in_tests || path.ends_with("_tests.rs") || path.starts_with("xtask/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docs_and_comments_are_left_out_and_macros_are_seen_into() {
        let text = "//! head\n/// doc\n// comment\nfn f() {\n    m!(inside \"text\");\n}\n";
        let tokens = tokens(text).unwrap();
        let of = |wanted: &str| tokens.iter().find(|token| token.text == wanted).map(|token| token.line);
        assert_eq!((of("f"), of("inside"), of("\"text\"")), (Some(4), Some(5), Some(5)));
        assert!(tokens.iter().all(|token| !["head", "doc", "comment"].iter().any(|word| token.text.contains(word))));
    }

    #[test]
    fn test_modules_in_files_of_their_own_are_named() {
        let outline = Outline::of("#[cfg(test)]\nmod tests;\nmod other;\n").unwrap();
        assert_eq!(outline.test_modules, ["tests"]);
        assert_eq!(module_path("crates/a/src/lib.rs", "tests"), "crates/a/src/tests");
        assert_eq!(module_path("crates/a/src/x.rs", "tests"), "crates/a/src/x/tests");
    }

    #[test]
    fn functions_and_tests_have_their_lines() {
        let text = "fn a() {\n}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nimpl X {\n    #[inline]\n    fn c() {\n    }\n}\n";
        let outline = Outline::of(text).unwrap();
        let functions: Vec<_> = outline.functions.iter().map(|f| (f.name.as_str(), f.lines.clone())).collect();
        assert_eq!(functions, [("a", 1..=2), ("b", 5..=5), ("c", 9..=10)]);
        assert!(outline.is_test(5) && !outline.is_test(2) && !outline.is_test(9));
    }
}
