//! A template as a tree.

use super::table::Function;
use std::collections::BTreeMap;

/// A parsed text: what is written outside of every `define`, and the templates that are defined in it.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) root: Block,
    pub(super) named: BTreeMap<Box<str>, Block>,
}

pub(super) type Block = Vec<Node>;

#[derive(Debug)]
pub(super) enum Node {
    Text(Box<str>),
    /// A pipeline whose value is printed, unless it is given to a variable.
    Action(Pipe),
    Branch(Box<Branch>),
    /// `{{template "name" pipeline}}`; a `block` is one as well.
    Call {
        line: u32,
        name: Box<str>,
        dot: Option<Pipe>,
    },
    Break,
    Continue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BranchKind {
    If,
    With,
    Range,
}

#[derive(Debug)]
pub(super) struct Branch {
    pub(super) kind: BranchKind,
    pub(super) pipe: Pipe,
    pub(super) then: Block,
    pub(super) otherwise: Block,
}

/// What a pipeline's value is given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// New variables: `:=`.
    Declared,
    /// Old ones: `=`.
    Assigned,
}

/// Commands, each of which gets the value of the one before as its last argument.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) line: u32,
    pub(super) target: Target,
    /// Names with their `$`. At most one, or two in a `range`.
    pub(super) variables: Vec<Box<str>>,
    /// At least one.
    pub(super) commands: Vec<Command>,
}

/// What is called, or stands there, and its arguments: at least one.
pub(super) type Command = Vec<Operand>;

/// Names of fields, one below the other.
pub(super) type Fields = Vec<Box<str>>;

#[derive(Debug)]
pub(super) enum Operand {
    Dot,
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Box<str>),
    Function(&'static Function),
    /// Fields of dot.
    Field(Fields),
    /// A variable with its `$`, and fields of it.
    Variable(Box<str>, Fields),
    Pipe(Box<Pipe>),
    /// Fields of something in parentheses, or of what a function answers.
    Chain(Box<Operand>, Fields),
}
