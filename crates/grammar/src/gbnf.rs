//! Turns a grammar in GBNF (llama.cpp's `grammars/README.md` describes the language) into the Lark dialect of
//! `llguidance`. [`to_lark`] is the door: parse into flat rules, check them, write them out.
//!
//! GBNF has no lexer: a grammar matches one character after another. `llguidance` has one, and it is greedy: of
//! the terminals allowed at a place the longest match wins, so `"a" "b" | "abc"` written as it stands would lose `ab`.
//! Two ways of writing avoid that, and both keep the language exactly:
//! - a grammar in which no rule reaches itself is regular, and becomes one single terminal: the fastest form;
//! - any other grammar becomes rules over terminals of exactly one character: none is a prefix of another.
//!
//! Groups and stacked repetitions become rules of their own, so nothing in the Lark text nests, and everything
//! after the parser walks the rules without recursion: a hostile grammar can exhaust a limit, not the stack.
//!
//! What this file does not know: tokens, vocabularies, and how a Lark grammar is compiled or limited. The
//! tests that compile the result are in `gbnf/language.rs`.

#[cfg(test)]
mod language;

use std::collections::HashMap;

/// The longest grammar taken, in bytes: compiling may take time that grows with the square of it.
const TEXT_BYTES_MAX: usize = 128 * 1024;
/// How many groups may stand one inside the other: the parser recurses once per group.
const GROUP_DEPTH_MAX: usize = 64;
/// The greatest count in `{m,n}`, the same as llama.cpp's.
const REPETITION_COUNT_MAX: u32 = 2000;
/// How many rules may stand on a path from `root`: the compiler of `llguidance` recurses once per rule, and an
/// unoptimised build of 1.9.1 runs out of a stack of 2 MiB at 150.
const RULE_DEPTH_MAX: usize = 100;
/// The greatest size of a grammar written as one terminal, counted with every rule put where it is used.
const TERMINAL_SIZE_MAX: usize = 100_000;
/// The greatest size of a grammar written as rules: `llguidance` numbers what it makes of it in 16 bits.
const RULES_SIZE_MAX: usize = 60_000;
/// What `*`, `+` and `?` add to the size of a grammar written as rules, and what `{m,n}` adds at most.
const OPERATOR_SIZE: usize = 2;
const BRACES_SIZE: usize = 120;
/// The name of the rule that the whole output must match.
const ROOT: &str = "root";

/// Why a text is not a grammar that can be used, and where in it the reason lies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {reason}")]
pub(crate) struct GbnfError {
    /// The line, from 1.
    pub(crate) line: usize,
    /// The column in characters, from 1.
    pub(crate) column: usize,
    /// What was expected and what was there.
    pub(crate) reason: String,
}

/// Writes the GBNF grammar `text` as a Lark grammar of the same language.
///
/// The result has the entry `start`; whether `llguidance` finds it within its own limits is for the caller to see.
pub(crate) fn to_lark(text: &str) -> Result<String, GbnfError> {
    if text.len() > TEXT_BYTES_MAX {
        let reason = format!("expected a grammar of at most {TEXT_BYTES_MAX} bytes, got {}", text.len());
        return Err(Position::START.error(reason));
    }
    let mut parser = Parser { rest: text, position: Position::START, rules: Vec::new(), names: HashMap::new() };
    parser.grammar()?;
    let root = parser.names.get(ROOT).copied();
    let root = root.filter(|&root| parser.rules[root].defined.is_some());
    let Some(root) = root else {
        return Err(Position::START.error(format!("expected a rule named `{ROOT}`, got none")));
    };
    let grammar = Grammar { rules: parser.rules, root };
    let form = grammar.check()?;
    Ok(grammar.write(form))
}

/// A place in the text.
#[derive(Debug, Clone, Copy)]
struct Position {
    line: usize,
    column: usize,
}

impl Position {
    const START: Position = Position { line: 1, column: 1 };

    fn error(self, reason: impl Into<String>) -> GbnfError {
        GbnfError { line: self.line, column: self.column, reason: reason.into() }
    }
}

/// A rule of the grammar, or a group or an inner repetition, which are rules without a name.
struct Rule {
    /// The name in the text; empty for a group.
    name: String,
    /// Where its definition stands, once that has been read.
    defined: Option<Position>,
    /// Where it is named first.
    first_use: Position,
    /// The alternatives, each a sequence; a sequence of no items matches the empty text.
    alternatives: Vec<Vec<Item>>,
}

/// One item of a sequence: a symbol and how often it stands there.
struct Item {
    symbol: Symbol,
    count: Count,
}

/// What an item matches.
enum Symbol {
    /// These characters, one after the other.
    Literal(String),
    /// One character within (or, `negated`, outside) the ranges; both ends belong to a range.
    Class { ranges: Vec<(char, char)>, negated: bool },
    /// One token of the vocabulary, in Lark's own words: `<[17]>`, `<[^17]>` or `<think>`.
    Token(String),
    /// What the rule of this index matches.
    Rule(usize),
}

/// How often an item may stand: at least `least` times, at most `most` times, without bound if that is `None`.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Count {
    least: u32,
    most: Option<u32>,
}

impl Count {
    const ONCE: Count = Count { least: 1, most: Some(1) };
}

/// A cursor over the text, and the rules read so far.
struct Parser<'text> {
    rest: &'text str,
    position: Position,
    rules: Vec<Rule>,
    /// The index in `rules` of each name met.
    names: HashMap<&'text str, usize>,
}

impl<'text> Parser<'text> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    /// Takes the next character and moves the position past it.
    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let character = characters.next()?;
        self.rest = characters.as_str();
        if character == '\n' {
            self.position = Position { line: self.position.line + 1, column: 1 };
        } else {
            self.position.column += 1;
        }
        Some(character)
    }

    /// Takes the next characters if they are `wanted`.
    fn take(&mut self, wanted: &str) -> bool {
        let found = self.rest.starts_with(wanted);
        if found {
            wanted.chars().for_each(|_| {
                self.next();
            });
        }
        found
    }

    /// Takes `wanted`, or says what stands there instead.
    fn expect(&mut self, wanted: &str) -> Result<(), GbnfError> {
        if self.take(wanted) { Ok(()) } else { Err(self.expected(&format!("`{wanted}`"))) }
    }

    /// The error of finding something other than `wanted` at the cursor.
    fn expected(&self, wanted: &str) -> GbnfError {
        let got = match self.peek() {
            None => "the end of the grammar".to_string(),
            Some('\n' | '\r') => "the end of the line".to_string(),
            Some(character @ ('"' | '\'' | '\\')) => format!("`{character}`"),
            Some(character) => format!("`{}`", character.escape_debug()),
        };
        self.position.error(format!("expected {wanted}, got {got}"))
    }

    /// Takes the longest run of characters of which `belongs` is true.
    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'text str {
        let from = self.rest;
        while self.peek().is_some_and(&belongs) {
            self.next();
        }
        &from[..from.len() - self.rest.len()]
    }

    /// Skips blanks and comments, and the ends of lines too where `newlines` may stand.
    fn skip_space(&mut self, newlines: bool) {
        loop {
            self.take_while(|character| {
                matches!(character, ' ' | '\t') || newlines && matches!(character, '\r' | '\n')
            });
            if self.peek() != Some('#') {
                return;
            }
            self.take_while(|character| !matches!(character, '\r' | '\n'));
        }
    }

    /// grammar: rule*
    fn grammar(&mut self) -> Result<(), GbnfError> {
        self.skip_space(true);
        while self.peek().is_some() {
            self.rule()?;
            self.skip_space(true);
        }
        match self.rules.iter().find(|rule| rule.defined.is_none()) {
            None => Ok(()),
            Some(rule) => {
                Err(rule.first_use.error(format!("expected a defined rule, got `{}`, which is not", rule.name)))
            }
        }
    }

    /// rule: name "::=" alternatives, to the end of the line
    fn rule(&mut self) -> Result<(), GbnfError> {
        let position = self.position;
        let index = self.name("the name of a rule")?;
        if let Some(earlier) = self.rules[index].defined {
            let name = &self.rules[index].name;
            let reason = format!("expected a new rule, got `{name}`, which line {} defines already", earlier.line);
            return Err(position.error(reason));
        }
        self.rules[index].defined = Some(position);
        self.skip_space(false);
        self.expect("::=")?;
        self.skip_space(true);
        self.rules[index].alternatives = self.alternatives(0)?;
        match self.peek() {
            None | Some('\r' | '\n') => Ok(()),
            Some('*' | '+' | '?' | '{') => Err(self.expected("an item before a repetition")),
            Some(_) => Err(self.expected("an item, `|` or the end of the line")),
        }
    }

    /// name: (letter | digit | "-" | "_")+, as the index of the rule of that name
    fn name(&mut self, wanted: &str) -> Result<usize, GbnfError> {
        let position = self.position;
        let name = self.take_while(is_name_character);
        if name.is_empty() {
            return Err(self.expected(wanted));
        }
        if let Some(&index) = self.names.get(name) {
            return Ok(index);
        }
        let index = self.rules.len();
        self.names.insert(name, index);
        self.rules.push(Rule { name: name.to_string(), defined: None, first_use: position, alternatives: Vec::new() });
        Ok(index)
    }

    /// alternatives: sequence ("|" sequence)*
    ///
    /// `depth` counts the groups around; inside one, lines may end anywhere.
    fn alternatives(&mut self, depth: usize) -> Result<Vec<Vec<Item>>, GbnfError> {
        let mut alternatives = vec![self.sequence(depth)?];
        loop {
            // A rule may go on with a `|` on a line of its own: no rule begins with one.
            let (rest, position) = (self.rest, self.position);
            self.skip_space(true);
            if !self.take("|") {
                (self.rest, self.position) = (rest, position);
                return Ok(alternatives);
            }
            self.skip_space(true);
            alternatives.push(self.sequence(depth)?);
        }
    }

    /// sequence: (symbol repetition*)*
    fn sequence(&mut self, depth: usize) -> Result<Vec<Item>, GbnfError> {
        let mut items = Vec::new();
        let nested = depth > 0;
        loop {
            let position = self.position;
            let Some(symbol) = self.symbol(depth)? else { return Ok(items) };
            let mut item = Item { symbol, count: Count::ONCE };
            self.skip_space(nested);
            while let Some(count) = self.repetition(nested)? {
                if item.count != Count::ONCE {
                    item = Item { symbol: self.group(vec![vec![item]], position), count: Count::ONCE };
                }
                item.count = count;
                self.skip_space(nested);
            }
            items.push(item);
        }
    }

    /// Makes a rule without a name, and the symbol that stands for it.
    fn group(&mut self, alternatives: Vec<Vec<Item>>, position: Position) -> Symbol {
        let (name, defined) = (String::new(), Some(position));
        self.rules.push(Rule { name, defined, first_use: position, alternatives });
        Symbol::Rule(self.rules.len() - 1)
    }

    /// symbol: literal | class | "." | token | name | "(" alternatives ")", or `None` if none of them begins here
    fn symbol(&mut self, depth: usize) -> Result<Option<Symbol>, GbnfError> {
        let position = self.position;
        let symbol = match self.peek() {
            Some('"') => self.literal()?,
            Some('[') => self.class()?,
            Some('<' | '!') => self.token()?,
            Some('.') => {
                self.next();
                Symbol::Class { ranges: vec![('\0', char::MAX)], negated: false }
            }
            Some('(') if depth == GROUP_DEPTH_MAX => {
                return Err(position.error(format!("expected at most {GROUP_DEPTH_MAX} nested groups, got one more")));
            }
            Some('(') => {
                self.next();
                self.skip_space(true);
                let alternatives = self.alternatives(depth + 1)?;
                self.skip_space(true);
                if matches!(self.peek(), Some('*' | '+' | '?' | '{')) {
                    return Err(self.expected("an item before a repetition"));
                }
                if !self.take(")") {
                    return Err(self.expected("an item, `|` or `)`"));
                }
                self.group(alternatives, position)
            }
            Some(character) if is_name_character(character) => Symbol::Rule(self.name("the name of a rule")?),
            _ => return Ok(None),
        };
        Ok(Some(symbol))
    }

    /// literal: '"' character* '"'
    fn literal(&mut self) -> Result<Symbol, GbnfError> {
        let wanted = format!("the closing `\"` of the literal that opens in line {}", self.position.line);
        self.expect("\"")?;
        let mut characters = String::new();
        while !self.take("\"") {
            characters.push(self.character(&wanted)?);
        }
        Ok(Symbol::Literal(characters))
    }

    /// class: "[" "^"? (character ("-" character)?)+ "]", where a "-" before the "]" is itself a character
    fn class(&mut self) -> Result<Symbol, GbnfError> {
        let wanted = format!("the closing `]` of the class that opens in line {}", self.position.line);
        self.expect("[")?;
        let negated = self.take("^");
        let mut ranges = Vec::new();
        while ranges.is_empty() || !self.take("]") {
            let position = self.position;
            if ranges.is_empty() && self.peek() == Some(']') {
                return Err(self.expected("a character in the class"));
            }
            let low = self.character(&wanted)?;
            let is_range = self.rest.starts_with('-') && !self.rest.starts_with("-]");
            let high = if is_range {
                self.next();
                self.character("the last character of the range")?
            } else {
                low
            };
            if high < low {
                let (low, high) = (low.escape_debug(), high.escape_debug());
                return Err(position.error(format!("expected a range that goes up, got `{low}-{high}`")));
            }
            ranges.push((low, high));
        }
        Ok(Symbol::Class { ranges, negated })
    }

    /// character: any but "\", or one of the escapes \n \r \t \\ \" \[ \] \- \xHH \uHHHH \UHHHHHHHH
    fn character(&mut self, wanted: &str) -> Result<char, GbnfError> {
        let position = self.position;
        let Some(character) = self.next() else { return Err(self.expected(wanted)) };
        if character != '\\' {
            return Ok(character);
        }
        let (itself, digits) = match self.peek() {
            Some('n') => ('\n', 0),
            Some('r') => ('\r', 0),
            Some('t') => ('\t', 0),
            Some(itself @ ('\\' | '"' | '[' | ']' | '-')) => (itself, 0),
            Some(kind @ 'x') => (kind, 2),
            Some(kind @ 'u') => (kind, 4),
            Some(kind @ 'U') => (kind, 8),
            _ => return Err(self.expected("one of n, r, t, x, u, U, \\, \", [, ], - after `\\`")),
        };
        self.next();
        if digits == 0 {
            return Ok(itself);
        }
        let mut value = 0;
        for _ in 0..digits {
            let Some(digit) = self.peek().and_then(|character| character.to_digit(16)) else {
                return Err(self.expected(&format!("{digits} hexadecimal digits")));
            };
            self.next();
            value = value << 4 | digit;
        }
        char::from_u32(value).ok_or_else(|| {
            position.error(format!("expected a Unicode character, got the number {value:X} in hexadecimal"))
        })
    }

    /// token: "!"? "<[" number "]>" | "<" text ">"
    fn token(&mut self) -> Result<Symbol, GbnfError> {
        let negated = self.take("!");
        self.expect("<")?;
        if self.take("[") {
            let number = self.number(u32::MAX, "the number of a token")?;
            self.expect("]>")?;
            return Ok(Symbol::Token(format!("<[{}{number}]>", if negated { "^" } else { "" })));
        }
        if negated {
            return Err(self.expected("`[` and the number of a token after `!<`"));
        }
        let text = self.take_while(|character| !matches!(character, '<' | '>') && !character.is_whitespace());
        if text.is_empty() {
            return Err(self.expected("the text of a token"));
        }
        self.expect(">")?;
        Ok(Symbol::Token(format!("<{text}>")))
    }

    /// repetition: "*" | "+" | "?" | "{" m "}" | "{" m "," "}" | "{" "," n "}" | "{" m "," n "}"
    fn repetition(&mut self, nested: bool) -> Result<Option<Count>, GbnfError> {
        let position = self.position;
        let count = match self.peek() {
            Some('*') => Count { least: 0, most: None },
            Some('+') => Count { least: 1, most: None },
            Some('?') => Count { least: 0, most: Some(1) },
            Some('{') => {
                self.next();
                return self.braces(nested, position).map(Some);
            }
            _ => return Ok(None),
        };
        self.next();
        Ok(Some(count))
    }

    /// What follows the "{" of a repetition, which stands at `position`.
    fn braces(&mut self, nested: bool, position: Position) -> Result<Count, GbnfError> {
        self.skip_space(nested);
        let least = match self.peek() {
            Some(',') => None,
            _ => Some(self.number(REPETITION_COUNT_MAX, "a count")?),
        };
        self.skip_space(nested);
        let mut most = least;
        if self.take(",") {
            self.skip_space(nested);
            // Without a first count there must be a second.
            most = match self.peek() {
                Some('}') if least.is_some() => None,
                _ => Some(self.number(REPETITION_COUNT_MAX, "a count")?),
            };
            self.skip_space(nested);
            if !self.take("}") {
                return Err(self.expected("`}`"));
            }
        } else if !self.take("}") {
            return Err(self.expected("`,` or `}`"));
        }
        let least = least.unwrap_or(0);
        match most {
            Some(most) if most < least => {
                Err(position.error(format!("expected a count that goes up, got `{{{least},{most}}}`")))
            }
            _ => Ok(Count { least, most }),
        }
    }

    /// number: digit+, at most `most`
    fn number(&mut self, most: u32, wanted: &str) -> Result<u32, GbnfError> {
        let position = self.position;
        let digits = self.take_while(|character| character.is_ascii_digit());
        if digits.is_empty() {
            return Err(self.expected(wanted));
        }
        let number = digits.parse().ok().filter(|&number: &u32| number <= most);
        number.ok_or_else(|| {
            let shown: String = digits.chars().take(20).collect();
            position.error(format!("expected {wanted} of at most {most}, got {shown}"))
        })
    }
}

fn is_name_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_')
}

/// How a grammar is written in Lark; the head of this file says why there are two.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Every rule is a terminal, so that the whole grammar is one.
    Terminal,
    /// Every rule is a rule, over terminals of one character each.
    Rules,
}

/// Rules that are all defined, and the index of `root`.
struct Grammar {
    rules: Vec<Rule>,
    root: usize,
}

impl Grammar {
    /// Refuses left recursion and paths too long to compile, and finds the form in which to write the grammar.
    fn check(&self) -> Result<Form, GbnfError> {
        let nullable = self.nullable();
        let leftmost: Vec<Vec<usize>> = self.edges(|sequence| {
            let first_kept = sequence.iter().position(|item| !item_is_nullable(item, &nullable));
            &sequence[..first_kept.map_or(sequence.len(), |first_kept| first_kept + 1)]
        });
        if let Some(cycle) = walk(&leftmost, 0..self.rules.len()).cycle {
            return Err(self.left_recursion(&cycle));
        }
        let walk = walk(&self.edges(|sequence| sequence), [self.root]);
        if walk.depth_max > RULE_DEPTH_MAX {
            let position = self.rules[walk.deepest].first_use;
            let reason = format!("expected at most {RULE_DEPTH_MAX} rules and groups, one using the next, got more");
            return Err(position.error(reason));
        }
        if walk.cycle.is_none() && self.size_as_terminal(&walk.finished).is_some_and(|size| size <= TERMINAL_SIZE_MAX) {
            return Ok(Form::Terminal);
        }
        match self.size_as_rules() {
            size if size > RULES_SIZE_MAX => Err(Position::START.error(format!(
                "expected a grammar of at most {RULES_SIZE_MAX} characters, items and alternatives, got {size}"
            ))),
            _ => Ok(Form::Rules),
        }
    }

    /// How large the terminal of `root` would be, where `order` has each rule after all that it uses. `None` if a
    /// rule names a token: a terminal cannot.
    fn size_as_terminal(&self, order: &[usize]) -> Option<usize> {
        let mut sizes = vec![0_usize; self.rules.len()];
        for &rule_index in order {
            let mut size = 1_usize;
            for item in self.rules[rule_index].alternatives.iter().flatten() {
                size = size.saturating_add(match &item.symbol {
                    Symbol::Literal(characters) => characters.len(),
                    Symbol::Class { ranges, .. } => ranges.len(),
                    Symbol::Token(_) => return None,
                    Symbol::Rule(index) => sizes[*index],
                });
            }
            sizes[rule_index] = size;
        }
        Some(sizes[self.root])
    }

    /// How many symbols `llguidance` makes of the rules, at most.
    fn size_as_rules(&self) -> usize {
        let item_size = |item: &Item| {
            let symbol_size = match &item.symbol {
                Symbol::Literal(characters) => characters.chars().count() + 1,
                _ => 1,
            };
            let count_size = match item.count {
                Count::ONCE => 0,
                Count { least: 0 | 1, most: None } | Count { least: 0, most: Some(1) } => OPERATOR_SIZE,
                _ => BRACES_SIZE,
            };
            symbol_size + count_size
        };
        let sequence_size = |sequence: &Vec<Item>| 1 + sequence.iter().map(item_size).sum::<usize>();
        self.rules.iter().map(|rule| 1 + rule.alternatives.iter().map(sequence_size).sum::<usize>()).sum()
    }

    /// For each rule, the rules named in the `part` of its sequences.
    fn edges<'a>(&'a self, part: impl Fn(&'a [Item]) -> &'a [Item]) -> Vec<Vec<usize>> {
        let referred = |item: &Item| if let Symbol::Rule(index) = item.symbol { Some(index) } else { None };
        let of_rule = |rule: &'a Rule| {
            rule.alternatives.iter().flat_map(|sequence| part(sequence).iter().filter_map(referred)).collect()
        };
        self.rules.iter().map(of_rule).collect()
    }

    /// For each rule, whether it matches the empty text.
    fn nullable(&self) -> Vec<bool> {
        let mut nullable = vec![false; self.rules.len()];
        // Each sequence waits for the references that must become nullable before it is; a sequence with a
        // character waits for ever, and is left out.
        let mut waiting: Vec<(usize, usize)> = Vec::new();
        let mut waiting_for: Vec<Vec<usize>> = vec![Vec::new(); self.rules.len()];
        let mut found = Vec::new();
        for (rule_index, rule) in self.rules.iter().enumerate() {
            for sequence in &rule.alternatives {
                let needed: Vec<&Item> = sequence.iter().filter(|item| !item_is_nullable(item, &nullable)).collect();
                if needed.is_empty() {
                    found.push(rule_index);
                } else if needed.iter().all(|item| matches!(item.symbol, Symbol::Rule(_))) {
                    for item in &needed {
                        if let Symbol::Rule(index) = item.symbol {
                            waiting_for[index].push(waiting.len());
                        }
                    }
                    waiting.push((rule_index, needed.len()));
                }
            }
        }
        while let Some(rule_index) = found.pop() {
            if std::mem::replace(&mut nullable[rule_index], true) {
                continue;
            }
            for &sequence_index in &waiting_for[rule_index] {
                let (owner, missing) = &mut waiting[sequence_index];
                *missing -= 1;
                if *missing == 0 {
                    found.push(*owner);
                }
            }
        }
        nullable
    }

    /// The error for rules each of which begins with the next, the last with the first.
    fn left_recursion(&self, cycle: &[usize]) -> GbnfError {
        // Every cycle has a named rule: a group is not referred to from inside itself.
        let mut named: Vec<&Rule> = cycle.iter().map(|&index| &self.rules[index]).collect();
        named.retain(|rule| !rule.name.is_empty());
        let Some(first) = named.first() else { return Position::START.error("expected no left recursion, got one") };
        let path: Vec<String> = named.iter().chain([first]).map(|rule| format!("`{}`", rule.name)).take(10).collect();
        let position = first.defined.unwrap_or(first.first_use);
        position.error(format!("expected no left recursion, got a rule that begins with itself: {}", path.join(" -> ")))
    }

    /// Writes the Lark text.
    fn write(&self, form: Form) -> String {
        let mut lark = format!("start: {}\n", self.lark_name(self.root, form));
        for (index, rule) in self.rules.iter().enumerate() {
            let sequences: Vec<String> =
                rule.alternatives.iter().map(|sequence| self.sequence(sequence, form)).collect();
            lark.push_str(&format!("{}: {}\n", self.lark_name(index, form), sequences.join(" | ")));
        }
        lark
    }

    /// The name of a rule in Lark: numbered, since names that differ only in case would become the same.
    fn lark_name(&self, index: usize, form: Form) -> String {
        let rule = &self.rules[index];
        let name = if rule.name.is_empty() { format!("r{index}") } else { format!("r{index}_{}", rule.name) };
        match form {
            Form::Terminal => name.to_ascii_uppercase(),
            Form::Rules => name.to_ascii_lowercase(),
        }
    }

    fn sequence(&self, sequence: &[Item], form: Form) -> String {
        let items: Vec<String> = sequence.iter().map(|item| self.item(item, form)).collect();
        if items.is_empty() { "\"\"".to_string() } else { items.join(" ") }
    }

    fn item(&self, item: &Item, form: Form) -> String {
        let symbol = match &item.symbol {
            Symbol::Literal(characters) => literal_in_lark(characters, form),
            Symbol::Class { ranges, negated } => class_in_lark(ranges, *negated),
            Symbol::Token(token) => token.clone(),
            Symbol::Rule(index) => self.lark_name(*index, form),
        };
        match item.count {
            Count { most: Some(0), .. } => "\"\"".to_string(),
            Count::ONCE => symbol,
            Count { least: 0, most: None } => format!("{symbol}*"),
            Count { least: 1, most: None } => format!("{symbol}+"),
            Count { least: 0, most: Some(1) } => format!("{symbol}?"),
            Count { least, most: None } => format!("{symbol}{{{least},}}"),
            Count { least, most: Some(most) } => format!("{symbol}{{{least},{most}}}"),
        }
    }
}

fn item_is_nullable(item: &Item, nullable: &[bool]) -> bool {
    let symbol_is = match &item.symbol {
        Symbol::Literal(characters) => characters.is_empty(),
        Symbol::Class { .. } | Symbol::Token(_) => false,
        Symbol::Rule(index) => nullable[*index],
    };
    item.count.least == 0 || symbol_is
}

/// A literal as one terminal, or as a group of terminals of one character each.
fn literal_in_lark(characters: &str, form: Form) -> String {
    let single = characters.chars().nth(1).is_none();
    if form == Form::Terminal || single {
        return format!("\"{}\"", characters.chars().map(string_character).collect::<String>());
    }
    let each: Vec<String> =
        characters.chars().map(|character| format!("\"{}\"", string_character(character))).collect();
    format!("({})", each.join(" "))
}

/// A character inside a Lark string, which is a JSON string: what JSON or Lark's lexer refuses is escaped.
fn string_character(character: char) -> String {
    match character {
        '"' | '\\' => format!("\\{character}"),
        '\0'..'\u{20}' | '\u{7f}' => format!("\\u{:04x}", u32::from(character)),
        _ => character.to_string(),
    }
}

/// A class as a regular expression; all but letters and digits is escaped, for no character then has a meaning.
fn class_in_lark(ranges: &[(char, char)], negated: bool) -> String {
    let end = |character: char| {
        if character.is_ascii_alphanumeric() {
            character.to_string()
        } else {
            format!("\\u{{{:x}}}", u32::from(character))
        }
    };
    let ranges =
        ranges.iter().map(|&(low, high)| if low == high { end(low) } else { format!("{}-{}", end(low), end(high)) });
    format!("/[{}{}]/", if negated { "^" } else { "" }, ranges.collect::<String>())
}

/// What a walk over a graph finds.
struct Walk {
    /// A cycle, as the nodes on it in order, if there is one.
    cycle: Option<Vec<usize>>,
    /// The greatest number of nodes on the path of the walk, and the node where it was reached first.
    depth_max: usize,
    deepest: usize,
    /// The nodes reached, each after all that it reaches where no cycle prevents that.
    finished: Vec<usize>,
}

/// Walks depth first, without recursion, from each of `roots` along `edges` in their order: the way in which the
/// compiler of `llguidance` goes through the rules.
fn walk(edges: &[Vec<usize>], roots: impl IntoIterator<Item = usize>) -> Walk {
    let mut found = Walk { cycle: None, depth_max: 0, deepest: 0, finished: Vec::new() };
    // For each node, its place on the path while it is there.
    let mut place_on_path: Vec<Option<usize>> = vec![None; edges.len()];
    let mut seen = vec![false; edges.len()];
    for root in roots {
        let mut path: Vec<(usize, usize)> = Vec::new();
        let mut entering = (!seen[root]).then_some(root);
        loop {
            if let Some(node) = entering.take() {
                seen[node] = true;
                place_on_path[node] = Some(path.len());
                path.push((node, 0));
                if path.len() > found.depth_max {
                    (found.depth_max, found.deepest) = (path.len(), node);
                }
            }
            let Some((node, edge)) = path.last_mut() else { break };
            let Some(&next) = edges[*node].get(*edge) else {
                place_on_path[*node] = None;
                found.finished.push(*node);
                path.pop();
                continue;
            };
            *edge += 1;
            if let Some(place) = place_on_path[next] {
                found.cycle.get_or_insert_with(|| path[place..].iter().map(|&(node, _)| node).collect());
            } else if !seen[next] {
                entering = Some(next);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_lark(gbnf: &str, lark: &str) {
        assert_eq!(to_lark(gbnf).as_deref(), Ok(lark), "{gbnf}");
    }

    #[track_caller]
    fn check_error(gbnf: &str, message: &str) {
        let error = to_lark(gbnf).map_err(|error| error.to_string());
        assert_eq!(error.as_ref().map_err(String::as_str), Err(message), "{gbnf}");
    }

    #[test]
    fn a_grammar_without_recursion_becomes_one_terminal() {
        check_lark(
            "root ::= \"ab\" list-Item* | # all\n  [^\\n/-]{2,3}\nlist-Item ::= (\"x\" | . \"\\\"\\t\\x7F\")? {,7}\n",
            concat!(
                "start: R0_ROOT\n",
                "R0_ROOT: \"ab\" R1_LIST-ITEM* | /[^\\u{a}\\u{2f}\\u{2d}]/{2,3}\n",
                "R1_LIST-ITEM: R3{0,7}\n",
                "R2: \"x\" | /[\\u{0}-\\u{10ffff}]/ \"\\\"\\u0009\\u007f\"\n",
                "R3: R2?\n",
            ),
        );
    }

    #[test]
    fn a_grammar_with_recursion_becomes_rules_over_characters() {
        check_lark(
            "root ::= \"ab\"+ | | [a-z] Root\nRoot ::= \"(\" root{0} root{2} root{3,} \")\"",
            concat!(
                "start: r0_root\n",
                "r0_root: (\"a\" \"b\")+ | \"\" | /[a-z]/ r1_root\n",
                "r1_root: \"(\" \"\" r0_root{2,2} r0_root{3,} \")\"\n",
            ),
        );
    }

    #[test]
    fn tokens_keep_their_words() {
        check_lark(
            "root ::= <think> !<[17]>* <[18]> \"ok\"",
            "start: r0_root\nr0_root: <think> <[^17]>* <[18]> (\"o\" \"k\")\n",
        );
    }

    #[test]
    fn escapes_name_characters() {
        check_lark(
            r#"root ::= "\n\r\t\\\"\[\]\-\x41\u00e9\U0001F600" [\]\-\\a-]"#,
            "start: R0_ROOT\nR0_ROOT: \"\\u000a\\u000d\\u0009\\\\\\\"[]-Aé😀\" /[\\u{5d}\\u{2d}\\u{5c}a\\u{2d}]/\n",
        );
    }

    #[test]
    fn errors_name_the_place_and_both_sides() {
        for (gbnf, message) in [
            ("", "line 1, column 1: expected a rule named `root`, got none"),
            ("a ::= \"x\"", "line 1, column 1: expected a rule named `root`, got none"),
            ("root \"x\"", "line 1, column 6: expected `::=`, got `\"`"),
            ("root ::= \"x\"\n\n  = ", "line 3, column 3: expected the name of a rule, got `=`"),
            ("root ::= \"x\" )", "line 1, column 14: expected an item, `|` or the end of the line, got `)`"),
            ("root ::= (\"x\"\n", "line 2, column 1: expected an item, `|` or `)`, got the end of the grammar"),
            ("root ::= (a\na ::= \"x\"", "line 2, column 3: expected an item, `|` or `)`, got `:`"),
            ("root ::= \"x\"\n\"y\"", "line 2, column 1: expected the name of a rule, got `\"`"),
            ("root ::= | *", "line 1, column 12: expected an item before a repetition, got `*`"),
            ("root ::= (+)", "line 1, column 11: expected an item before a repetition, got `+`"),
            ("root ::= é", "line 1, column 10: expected an item, `|` or the end of the line, got `é`"),
        ] {
            check_error(gbnf, message);
        }
    }

    #[test]
    fn errors_in_characters() {
        let escapes = "expected one of n, r, t, x, u, U, \\, \", [, ], - after `\\`";
        check_error(r#"root ::= "\q""#, &format!("line 1, column 12: {escapes}, got `q`"));
        check_error("root ::= \"\\", &format!("line 1, column 12: {escapes}, got the end of the grammar"));
        for (gbnf, message) in [
            (
                "root ::= \"é\nx",
                "line 2, column 2: expected the closing `\"` of the literal that opens in line 1, got the end of the grammar",
            ),
            (
                "root ::= [a-z",
                "line 1, column 14: expected the closing `]` of the class that opens in line 1, got the end of the grammar",
            ),
            ("root ::= [a-", "line 1, column 13: expected the last character of the range, got the end of the grammar"),
            ("root ::= []", "line 1, column 11: expected a character in the class, got `]`"),
            ("root ::= [^]", "line 1, column 12: expected a character in the class, got `]`"),
            ("root ::= [z-a]", "line 1, column 11: expected a range that goes up, got `z-a`"),
            (r#"root ::= "\x4g""#, "line 1, column 14: expected 2 hexadecimal digits, got `g`"),
            (r#"root ::= "é\u12""#, "line 1, column 16: expected 4 hexadecimal digits, got `\"`"),
            (
                r#"root ::= "\uD800""#,
                "line 1, column 11: expected a Unicode character, got the number D800 in hexadecimal",
            ),
            (
                r#"root ::= "\UFFFFFFFF""#,
                "line 1, column 11: expected a Unicode character, got the number FFFFFFFF in hexadecimal",
            ),
        ] {
            check_error(gbnf, message);
        }
    }

    #[test]
    fn errors_in_counts_and_tokens() {
        for (gbnf, message) in [
            ("root ::= \"x\"{", "line 1, column 14: expected a count, got the end of the grammar"),
            ("root ::= \"x\"{,}", "line 1, column 15: expected a count, got `}`"),
            ("root ::= \"x\"{2;", "line 1, column 15: expected `,` or `}`, got `;`"),
            ("root ::= \"x\"{2,3", "line 1, column 17: expected `}`, got the end of the grammar"),
            ("root ::= \"x\"{3,2}", "line 1, column 13: expected a count that goes up, got `{3,2}`"),
            ("root ::= \"x\"{2001}", "line 1, column 14: expected a count of at most 2000, got 2001"),
            (
                "root ::= \"x\"{0,99999999999999999999999}",
                "line 1, column 16: expected a count of at most 2000, got 99999999999999999999",
            ),
            (
                "root ::= <[4294967296]>",
                "line 1, column 12: expected the number of a token of at most 4294967295, got 4294967296",
            ),
            ("root ::= <[1>", "line 1, column 13: expected `]>`, got `>`"),
            ("root ::= <a b>", "line 1, column 12: expected `>`, got ` `"),
            ("root ::= <>", "line 1, column 11: expected the text of a token, got `>`"),
            ("root ::= !<a>", "line 1, column 12: expected `[` and the number of a token after `!<`, got `a`"),
            ("root ::= !\"a\"", "line 1, column 11: expected `<`, got `\"`"),
        ] {
            check_error(gbnf, message);
        }
    }

    #[test]
    fn errors_between_rules() {
        let recursion = "expected no left recursion, got a rule that begins with itself";
        for (gbnf, message) in [
            (
                "root ::= \"x\"\n\troot ::= \"y\"",
                "line 2, column 2: expected a new rule, got `root`, which line 1 defines already",
            ),
            ("root ::= \"x\" |\n  lost | lost", "line 2, column 3: expected a defined rule, got `lost`, which is not"),
            ("a ::= root", "line 1, column 7: expected a defined rule, got `root`, which is not"),
            ("root ::= root \"x\" | \"y\"", &format!("line 1, column 1: {recursion}: `root` -> `root`")),
            (
                "root ::= \"x\"\na ::= (b)\nb ::= \"y\"? [a]* c\nc ::= empty a \"z\"\nempty ::= |",
                &format!("line 2, column 1: {recursion}: `a` -> `b` -> `c` -> `a`"),
            ),
        ] {
            check_error(gbnf, message);
        }
    }

    #[test]
    fn limits_are_errors() {
        let nested = |depth| format!("root ::= {}\"x\"{}", "(".repeat(depth), ")".repeat(depth));
        assert!(to_lark(&nested(GROUP_DEPTH_MAX)).is_ok());
        check_error(&nested(100_000 / 2), "line 1, column 74: expected at most 64 nested groups, got one more");
        check_error(
            &format!("root ::= \"x\"{}", "?".repeat(100_000)),
            "line 1, column 10: expected at most 100 rules and groups, one using the next, got more",
        );
        let links: String = (0..100).map(|index| format!("c{index} ::= c{}\n", index + 1)).collect();
        check_error(
            &format!("root ::= c0\n{links}c100 ::= \"x\""),
            "line 101, column 9: expected at most 100 rules and groups, one using the next, got more",
        );
        check_error(
            &format!("root ::= {} | \"(\" root \")\"", "\"x\"{2} ".repeat(1000)),
            "line 1, column 1: expected a grammar of at most 60000 characters, items and alternatives, got 122008",
        );
        check_error(&"#".repeat(200_000), "line 1, column 1: expected a grammar of at most 131072 bytes, got 200000");
    }
}
