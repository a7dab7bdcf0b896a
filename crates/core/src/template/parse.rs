//! From tokens to a checked tree.

use super::MAX_DEPTH;
use super::lex::{Kind, Token, Wrong, tokens};
use super::table;
use super::tree::{Block, Branch, BranchKind, Command, Fields, Node, Operand, Pipe, Target, Tree};
use std::collections::BTreeMap;

mod literal;

/// Parses a template; the error is a line and what is wrong in it.
pub(super) fn parse(text: &str) -> Result<Tree, Wrong> {
    let tokens = tokens(text)?;
    let last = u32::try_from(1 + text.bytes().filter(|b| *b == b'\n').count()).unwrap_or(u32::MAX);
    let mut parser = Parser { tokens: &tokens, at: 0, last, depth: 0, loops: 0, variables: vec!["$"], named: BTreeMap::new() };
    match parser.block(true)? {
        (root, Ender::Nothing) => Ok(Tree { root, named: parser.named }),
        (_, Ender::End) => parser.wrong("unexpected {{end}}"),
        (_, Ender::Else(_)) => parser.wrong("unexpected {{else}}"),
    }
}

struct Parser<'t> {
    tokens: &'t [Token<'t>],
    at: usize,
    /// The text's last line.
    last: u32,
    depth: u32,
    /// How many `range`s the parser is in.
    loops: u32,
    /// What is declared at this point, with its `$`.
    variables: Vec<&'t str>,
    named: BTreeMap<Box<str>, Block>,
}

/// What ended a block.
#[derive(PartialEq)]
enum Ender {
    /// The text's end.
    Nothing,
    End,
    /// `else`, with what it is the `else` of where a condition follows.
    Else(Option<BranchKind>),
}

fn branch_kind(name: &str) -> Option<BranchKind> {
    match name {
        "if" => Some(BranchKind::If),
        "with" => Some(BranchKind::With),
        "range" => Some(BranchKind::Range),
        _ => None,
    }
}

/// What follows a name of this kind is no pipeline, so no function can have it.
const KEYWORDS: [&str; 10] = ["if", "else", "end", "range", "with", "define", "template", "block", "break", "continue"];

impl<'t> Parser<'t> {
    fn wrong<T>(&self, message: impl Into<String>) -> Result<T, Wrong> {
        let before = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        Err((before.map_or(self.last, |token| token.line), message.into()))
    }

    fn unfinished<T>(&self) -> Result<T, Wrong> {
        Err((self.last, "unexpected end of the template: {{end}} is missing".to_owned()))
    }

    fn peek(&self) -> Option<Kind<'t>> {
        self.tokens.get(self.at).map(|token| token.kind)
    }

    fn next(&mut self) -> Option<Kind<'t>> {
        let kind = self.peek();
        self.at += usize::from(kind.is_some());
        kind
    }

    fn skip_space(&mut self) {
        if self.peek() == Some(Kind::Space) {
            self.at += 1;
        }
    }

    /// The next one that is no space, left where it is.
    fn peek_past_space(&mut self) -> Option<Kind<'t>> {
        self.skip_space();
        self.peek()
    }

    fn line(&self) -> u32 {
        self.tokens.get(self.at).map_or(self.last, |token| token.line)
    }

    /// Takes the end of an action.
    fn right(&mut self, context: &str) -> Result<(), Wrong> {
        match self.peek_past_space() {
            Some(Kind::Right) => {
                self.at += 1;
                Ok(())
            }
            _ => self.wrong(format!("unexpected operand in {context}")),
        }
    }

    fn deeper<T>(&mut self, inside: impl FnOnce(&mut Self) -> Result<T, Wrong>) -> Result<T, Wrong> {
        if self.depth == MAX_DEPTH {
            return self.wrong(format!("nested more than {MAX_DEPTH} levels deep"));
        }
        self.depth += 1;
        let found = inside(self);
        self.depth -= 1;
        found
    }

    /// Nodes up to `end`, `else` or the end of the text.
    fn block(&mut self, is_top: bool) -> Result<(Block, Ender), Wrong> {
        let mut nodes = Block::new();
        while let Some(kind) = self.next() {
            if let Kind::Outside(text) = kind {
                nodes.push(Node::Text(text.into()));
                continue;
            }
            let Some(Kind::Name(name)) = self.peek_past_space().filter(|kind| matches!(kind, Kind::Name(name) if KEYWORDS.contains(name)))
            else {
                nodes.push(Node::Action(self.pipeline("command", Kind::Right)?));
                continue;
            };
            self.at += 1;
            match name {
                "end" => {
                    self.right("end")?;
                    return Ok((nodes, Ender::End));
                }
                "else" => return Ok((nodes, self.otherwise()?)),
                "define" if is_top => self.define()?,
                "define" => return self.wrong("define is for the top level, not for the inside of a block"),
                "template" => nodes.push(self.template()?),
                "block" => nodes.push(self.deeper(Self::block_definition)?),
                "break" | "continue" => nodes.push(self.jump(name)?),
                _ => {
                    let Some(kind) = branch_kind(name) else { return self.wrong(format!("unexpected {name}")) };
                    nodes.push(self.deeper(|parser| parser.branch(kind))?);
                }
            }
        }
        nodes.shrink_to_fit();
        Ok((nodes, Ender::Nothing))
    }

    /// What follows `else`.
    fn otherwise(&mut self) -> Result<Ender, Wrong> {
        match self.peek_past_space() {
            Some(Kind::Name(name @ ("if" | "with"))) => {
                self.at += 1;
                Ok(Ender::Else(branch_kind(name)))
            }
            _ => {
                self.right("else")?;
                Ok(Ender::Else(None))
            }
        }
    }

    fn jump(&mut self, name: &str) -> Result<Node, Wrong> {
        self.right(name)?;
        if self.loops == 0 {
            return self.wrong(format!("{{{{{name}}}}} outside {{{{range}}}}"));
        }
        Ok(if name == "break" { Node::Break } else { Node::Continue })
    }

    /// `if`, `with` or `range`, behind that word.
    fn branch(&mut self, kind: BranchKind) -> Result<Node, Wrong> {
        let outer = self.variables.len();
        let pipe = self.pipeline(if kind == BranchKind::Range { "range" } else { "condition" }, Kind::Right)?;
        let inner = self.variables.len();
        self.loops += u32::from(kind == BranchKind::Range);
        let (mut then, ender) = self.block(false)?;
        then.shrink_to_fit();
        self.loops -= u32::from(kind == BranchKind::Range);
        self.variables.truncate(inner);
        let otherwise = match ender {
            Ender::End => Block::new(),
            Ender::Else(None) => match self.block(false)? {
                (nodes, Ender::End) => nodes,
                (_, Ender::Else(_)) => return self.wrong("expected end; found {{else}}"),
                (_, Ender::Nothing) => return self.unfinished(),
            },
            // The `end` closes this one and all that follow such an `else`.
            Ender::Else(Some(_)) if kind == BranchKind::Range => return self.wrong("else of a range takes no condition"),
            Ender::Else(Some(next)) => vec![self.deeper(|parser| parser.branch(next))?],
            Ender::Nothing => return self.unfinished(),
        };
        self.variables.truncate(outer);
        Ok(Node::Branch(Box::new(Branch { kind, pipe, then, otherwise })))
    }

    /// The body of a template of its own, in which nothing of the outside is declared.
    fn body(&mut self, name: Box<str>, context: &str) -> Result<(), Wrong> {
        let outside = std::mem::replace(&mut self.variables, vec!["$"]);
        let loops = std::mem::take(&mut self.loops);
        let (nodes, ender) = self.block(false)?;
        self.variables = outside;
        self.loops = loops;
        if ender != Ender::End {
            return self.wrong(format!("{context} must end with {{{{end}}}}"));
        }
        let is_empty = |nodes: &Block| nodes.iter().all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()));
        match self.named.get(&name) {
            Some(before) if !is_empty(before) => {
                if is_empty(&nodes) {
                    return Ok(());
                }
                return self.wrong(format!("multiple definition of template {name:?}"));
            }
            _ => self.named.insert(name, nodes),
        };
        Ok(())
    }

    fn define(&mut self) -> Result<(), Wrong> {
        let name = self.name("define")?;
        self.right("define")?;
        self.deeper(|parser| parser.body(name, "define"))
    }

    fn block_definition(&mut self) -> Result<Node, Wrong> {
        let line = self.line();
        let name = self.name("block")?;
        let dot = Some(self.pipeline("block", Kind::Right)?);
        self.body(name.clone(), "block")?;
        Ok(Node::Call { line, name, dot })
    }

    fn template(&mut self) -> Result<Node, Wrong> {
        let line = self.line();
        let name = self.name("template")?;
        if self.peek_past_space() == Some(Kind::Right) {
            self.at += 1;
            return Ok(Node::Call { line, name, dot: None });
        }
        let dot = Some(self.pipeline("template", Kind::Right)?);
        Ok(Node::Call { line, name, dot })
    }

    /// The quoted name of a template.
    fn name(&mut self, context: &str) -> Result<Box<str>, Wrong> {
        self.skip_space();
        match self.next() {
            Some(Kind::Quoted(text)) => self.unquoted(text),
            Some(Kind::Raw(text)) => Ok(text.into()),
            _ => self.wrong(format!("{context} wants a name in quotes")),
        }
    }

    fn unquoted(&self, text: &str) -> Result<Box<str>, Wrong> {
        literal::text(text).map_or_else(|| self.wrong(format!("invalid string {text}")), |text| Ok(text.into()))
    }

    /// Commands up to `end`, which is taken.
    fn pipeline(&mut self, context: &str, end: Kind<'_>) -> Result<Pipe, Wrong> {
        self.skip_space();
        let line = self.line();
        let (target, variables) = self.variables(context)?;
        let mut commands: Vec<Command> = Vec::new();
        let mut expects_more = false;
        loop {
            match self.peek_past_space() {
                Some(kind) if kind == end => break,
                Some(Kind::Right | Kind::Close | Kind::Pipe | Kind::Declare | Kind::Assign | Kind::Comma) => {
                    return self.wrong(format!("unexpected sign in {context}"));
                }
                Some(_) if commands.is_empty() || expects_more => {
                    let (mut command, more) = self.command()?;
                    command.shrink_to_fit();
                    commands.push(command);
                    expects_more = more;
                }
                _ => return self.wrong(format!("unclosed {context}")),
            }
        }
        self.at += 1;
        if commands.is_empty() {
            return self.wrong(format!("missing value for {context}"));
        }
        let is_value = |command: &Command| {
            matches!(command[0], Operand::Bool(_) | Operand::Dot | Operand::Nil | Operand::Int(_) | Operand::Float(_) | Operand::Text(_))
        };
        if let Some(n) = commands.iter().skip(1).position(is_value) {
            return self.wrong(format!("non executable command in pipeline stage {}", n + 2));
        }
        commands.shrink_to_fit();
        if target == Target::Declared {
            self.variables.extend(variables.iter());
        }
        Ok(Pipe { line, target, variables: variables.into_iter().map(Into::into).collect(), commands })
    }

    /// The variables that a pipeline's value is given to.
    fn variables(&mut self, context: &str) -> Result<(Target, Vec<&'t str>), Wrong> {
        let begin = self.at;
        let mut names = Vec::new();
        while let Some(Kind::Variable(name)) = self.peek_past_space() {
            self.at += 1;
            names.push(name);
            let target = match self.peek_past_space() {
                Some(Kind::Declare) => Target::Declared,
                Some(Kind::Assign) => Target::Assigned,
                Some(Kind::Comma) if context == "range" && names.len() == 1 => {
                    self.at += 1;
                    continue;
                }
                Some(Kind::Comma) => return self.wrong(format!("too many declarations in {context}")),
                _ => break,
            };
            self.at += 1;
            if target == Target::Assigned && !names.iter().all(|name| self.variables.contains(name)) {
                return self.wrong(format!("undefined variable {:?}", name));
            }
            return Ok((target, names));
        }
        if names.len() > 1 {
            return self.wrong("range can only initialize variables");
        }
        self.at = begin;
        Ok((Target::Declared, Vec::new()))
    }

    /// One command, and whether another one must follow.
    fn command(&mut self) -> Result<(Command, bool), Wrong> {
        let mut command = Command::new();
        loop {
            match self.peek_past_space() {
                Some(Kind::Right | Kind::Close) => return Ok((command, false)),
                Some(Kind::Pipe) => {
                    self.at += 1;
                    return Ok((command, true));
                }
                _ => command.push(self.operand()?),
            }
            if !matches!(self.peek(), Some(Kind::Space | Kind::Right | Kind::Close | Kind::Pipe)) {
                return self.wrong("operands must be separated by spaces");
            }
        }
    }

    fn operand(&mut self) -> Result<Operand, Wrong> {
        let term = self.term()?;
        let mut fields = Fields::new();
        while let Some(Kind::Field(name)) = self.peek() {
            self.at += 1;
            fields.push(name.into());
        }
        if fields.is_empty() {
            return Ok(term);
        }
        fields.shrink_to_fit();
        match term {
            Operand::Field(mut first) => {
                first.append(&mut fields);
                first.shrink_to_fit();
                Ok(Operand::Field(first))
            }
            Operand::Variable(name, _) => Ok(Operand::Variable(name, fields)),
            Operand::Function(_) | Operand::Pipe(_) => Ok(Operand::Chain(Box::new(term), fields)),
            _ => self.wrong("unexpected . after a constant"),
        }
    }

    fn term(&mut self) -> Result<Operand, Wrong> {
        let Some(kind) = self.next() else { return self.wrong("unclosed action") };
        Ok(match kind {
            Kind::Dot => Operand::Dot,
            Kind::Name("nil") => Operand::Nil,
            Kind::Name("true") => Operand::Bool(true),
            Kind::Name("false") => Operand::Bool(false),
            Kind::Name(name) => match table::find(name) {
                Some(function) => Operand::Function(function),
                None => return self.wrong(format!("function {name:?} not defined")),
            },
            Kind::Field(name) => Operand::Field(vec![name.into()]),
            Kind::Variable(name) if self.variables.contains(&name) => Operand::Variable(name.into(), Fields::new()),
            Kind::Variable(name) => return self.wrong(format!("undefined variable {name:?}")),
            Kind::Number(text) => match literal::number(text) {
                Some(number) => number,
                None => return self.wrong(format!("bad number syntax: {text:?}")),
            },
            Kind::Char(text) => match literal::character(text) {
                Some(c) => Operand::Int(i64::from(u32::from(c))),
                None => return self.wrong(format!("malformed character constant: {text}")),
            },
            Kind::Quoted(text) => Operand::Text(self.unquoted(text)?),
            Kind::Raw(text) => Operand::Text(text.into()),
            Kind::Open => Operand::Pipe(Box::new(self.deeper(|parser| parser.pipeline("parenthesized pipeline", Kind::Close))?)),
            _ => return self.wrong("unexpected sign in operand"),
        })
    }
}
