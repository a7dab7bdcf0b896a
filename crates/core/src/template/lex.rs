//! A template's text as tokens.

/// A token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind<'t> {
    /// What is outside of `{{` and `}}`, trimmed where a marker says so.
    Outside(&'t str),
    /// `{{`
    Left,
    /// `}}`
    Right,
    /// White space inside; it tells `.a.b` from `.a .b`.
    Space,
    /// `.name`, without the dot.
    Field(&'t str),
    /// `$name`, with its `$`.
    Variable(&'t str),
    /// A name; keywords too.
    Name(&'t str),
    /// `.`
    Dot,
    /// A number, not looked at.
    Number(&'t str),
    /// `'c'`, with its quotes.
    Char(&'t str),
    /// `"text"`, with its quotes.
    Quoted(&'t str),
    /// What stands between backquotes.
    Raw(&'t str),
    Open,
    Close,
    Pipe,
    Declare,
    Assign,
    Comma,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'t> {
    pub(super) kind: Kind<'t>,
    pub(super) line: u32,
}

/// The line and what is wrong in it.
pub(super) type Wrong = (u32, String);

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

fn is_space(c: char) -> bool {
    SPACES.contains(&c)
}

fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    line: u32,
    /// Open parentheses of the action.
    parens: u32,
    tokens: Vec<Token<'t>>,
}

/// All tokens of a template.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, Wrong> {
    let mut lexer = Lexer { text, at: 0, line: 1, parens: 0, tokens: Vec::new() };
    let mut trims = false;
    while let Some(to) = lexer.rest().find("{{") {
        trims = lexer.outside(to, trims)?;
    }
    let last = lexer.rest();
    let shown = if trims { last.trim_start_matches(SPACES) } else { last };
    lexer.emit(Kind::Outside(shown));
    Ok(lexer.tokens)
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn emit(&mut self, kind: Kind<'t>) {
        if kind != Kind::Outside("") {
            self.tokens.push(Token { kind, line: self.line });
        }
    }

    /// Goes on by so many bytes.
    fn skip(&mut self, bytes: usize) -> &'t str {
        let passed = &self.rest()[..bytes];
        let lines = passed.bytes().filter(|b| *b == b'\n').count();
        self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.at += bytes;
        passed
    }

    fn wrong<T>(&self, message: impl Into<String>) -> Result<T, Wrong> {
        Err((self.line, message.into()))
    }

    /// The text up to an action `to` bytes ahead, and that action or comment. Answers whether the text behind it begins trimmed.
    fn outside(&mut self, to: usize, trims: bool) -> Result<bool, Wrong> {
        let text = &self.rest()[..to];
        let text = if trims { text.trim_start_matches(SPACES) } else { text };
        let behind = &self.rest()[to + 2..];
        let trims_before = behind.strip_prefix('-').is_some_and(|rest| rest.starts_with(is_space));
        self.emit(Kind::Outside(if trims_before { text.trim_end_matches(SPACES) } else { text }));
        self.skip(to + 2 + if trims_before { 2 } else { 0 });
        let inside = if trims_before { self.rest().trim_start_matches(SPACES) } else { self.rest() };
        if inside.starts_with("/*") {
            return self.comment();
        }
        self.emit(Kind::Left);
        self.parens = 0;
        loop {
            if let Some(trims) = self.right() {
                return if self.parens == 0 { Ok(trims) } else { self.wrong("unclosed left parenthesis") };
            }
            self.inside()?;
        }
    }

    fn comment(&mut self) -> Result<bool, Wrong> {
        let Some(end) = self.rest().find("*/") else { return self.wrong("unclosed comment") };
        self.skip(end + 2);
        for (end, trims) in [("}}", false), (" -}}", true), ("\t-}}", true), ("\n-}}", true), ("\r-}}", true)] {
            if self.rest().starts_with(end) {
                self.skip(end.len());
                return Ok(trims);
            }
        }
        self.wrong("comment ends before closing delimiter")
    }

    /// Takes `}}` if it is next, with the marker that trims if there is one.
    fn right(&mut self) -> Option<bool> {
        let rest = self.rest();
        let trims = rest.starts_with(is_space) && rest[1..].starts_with("-}}");
        if !trims && !rest.starts_with("}}") {
            return None;
        }
        let bytes = if trims { 4 } else { 2 };
        self.emit(Kind::Right);
        self.skip(bytes);
        Some(trims)
    }

    /// One token of an action.
    fn inside(&mut self) -> Result<(), Wrong> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return self.wrong("unclosed action") };
        match first {
            c if is_space(c) => self.spaces(),
            '"' => return self.quoted('"', Kind::Quoted),
            '\'' => return self.quoted('\'', Kind::Char),
            '`' => return self.raw(),
            '$' => return self.word(1, Kind::Variable),
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => return self.dot(),
            '+' | '-' | '.' | '0'..='9' => return self.number(),
            c if is_name(c) => return self.word(0, Kind::Name),
            ':' if rest.starts_with(":=") => self.mark(2, Kind::Declare),
            '=' => self.mark(1, Kind::Assign),
            '|' => self.mark(1, Kind::Pipe),
            ',' => self.mark(1, Kind::Comma),
            '(' => {
                self.parens += 1;
                self.mark(1, Kind::Open);
            }
            ')' => {
                let Some(parens) = self.parens.checked_sub(1) else { return self.wrong("unexpected right parenthesis") };
                self.parens = parens;
                self.mark(1, Kind::Close);
            }
            ':' => return self.wrong("expected :="),
            other => return self.wrong(format!("unexpected {other:?} in an action")),
        }
        Ok(())
    }

    fn mark(&mut self, bytes: usize, kind: Kind<'t>) {
        self.emit(kind);
        self.skip(bytes);
    }

    fn spaces(&mut self) {
        let rest = self.rest();
        let mut bytes = rest.len() - rest.trim_start_matches(SPACES).len();
        // The last one belongs to the marker that trims.
        if rest[bytes..].starts_with("-}}") {
            bytes -= 1;
        }
        if bytes > 0 {
            self.emit(Kind::Space);
            self.skip(bytes);
        }
    }

    fn quoted(&mut self, quote: char, kind: fn(&'t str) -> Kind<'t>) -> Result<(), Wrong> {
        let mut escaped = false;
        for (n, c) in self.rest().char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                c if c == quote => {
                    self.mark(n + 1, kind(&self.rest()[..=n]));
                    return Ok(());
                }
                _ => {}
            }
        }
        self.wrong(if quote == '"' { "unterminated quoted string" } else { "unterminated character constant" })
    }

    fn raw(&mut self) -> Result<(), Wrong> {
        let Some(end) = self.rest()[1..].find('`') else { return self.wrong("unterminated raw quoted string") };
        self.mark(end + 2, Kind::Raw(&self.rest()[1..=end]));
        Ok(())
    }

    /// `.` or `.name`.
    fn dot(&mut self) -> Result<(), Wrong> {
        let rest = &self.rest()[1..];
        let bytes = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        if bytes == 0 {
            self.mark(1, Kind::Dot);
            return Ok(());
        }
        self.mark(1 + bytes, Kind::Field(&rest[..bytes]));
        self.ends_well()
    }

    /// A name behind a prefix of so many bytes.
    fn word(&mut self, prefix: usize, kind: fn(&'t str) -> Kind<'t>) -> Result<(), Wrong> {
        let rest = self.rest();
        let bytes = prefix + rest[prefix..].find(|c| !is_name(c)).unwrap_or(rest.len() - prefix);
        self.mark(bytes, kind(&rest[..bytes]));
        self.ends_well()
    }

    fn number(&mut self) -> Result<(), Wrong> {
        let rest = self.rest();
        let mut last = ' ';
        let mut bytes = 0;
        for c in rest.chars() {
            let is_sign = matches!(c, '+' | '-') && (bytes == 0 || matches!(last, 'e' | 'E' | 'p' | 'P'));
            if !(is_sign || c == '.' || is_name(c)) {
                break;
            }
            bytes += c.len_utf8();
            last = c;
        }
        self.mark(bytes, Kind::Number(&rest[..bytes]));
        Ok(())
    }

    /// A name must not run into something else.
    fn ends_well(&self) -> Result<(), Wrong> {
        let rest = self.rest();
        let ends = rest.is_empty()
            || rest.starts_with(is_space)
            || rest.starts_with("}}")
            || rest.starts_with(['.', ',', '|', ':', ')', '(', '=']);
        if ends { Ok(()) } else { self.wrong(format!("bad character {:?} behind a name", rest.chars().next().unwrap_or(' '))) }
    }
}
