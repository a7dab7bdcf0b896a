//! From a tree and a context to text, by the rules of Go's `text/template`, within a budget.

use super::meter::{Fault, Meter, TOO_DEEP, TOO_MUCH_OUTPUT};
use super::moment::Moment;
use super::number::{self, Number};
use super::table::{Body, Function};
use super::tree::{Branch, BranchKind, Command, Node, Operand, Pipe, Target, Tree};
use super::value::{Text, Value};
use super::{BYTES_A_STEP, MAX_DEPTH, MAX_OUTPUT_BYTES, print};
use crate::time::Timestamp;

/// What a function may use besides its arguments.
pub(super) struct Tools<'m> {
    pub(super) meter: &'m mut Meter,
    /// The instant of the rendering.
    pub(super) now: Moment,
}

/// One rendering.
pub(super) struct Run<'a> {
    tree: &'a Tree,
    out: Vec<u8>,
    /// What is declared, with its `$`; the last of a name counts.
    variables: Vec<(&'a str, Value<'a>)>,
    meter: Meter,
    now: Moment,
    depth: u32,
    /// Where it is in the text.
    line: u32,
}

/// How a block ended.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    Through,
    Break,
    Continue,
}

impl<'a> Run<'a> {
    pub(super) fn new(tree: &'a Tree, now: Timestamp, meter: Meter) -> Self {
        let now = Moment::at(now);
        Run { tree, out: Vec::new(), variables: Vec::new(), meter, now, depth: 0, line: 1 }
    }

    pub(super) fn into_output(self) -> Vec<u8> {
        self.out
    }

    pub(super) fn line(&self) -> u32 {
        self.line
    }

    /// Renders all of it.
    pub(super) fn whole(&mut self, dot: Value<'a>) -> Result<(), Fault> {
        self.variables.push(("$", dot.clone()));
        self.block(&self.tree.root, &dot).map(|_| ())
    }

    fn put(&mut self, piece: &str) -> Result<(), Fault> {
        if piece.len() > MAX_OUTPUT_BYTES - self.out.len() {
            return Err(TOO_MUCH_OUTPUT);
        }
        self.out.extend_from_slice(piece.as_bytes());
        Ok(())
    }

    fn deeper<T>(&mut self, inside: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth == MAX_DEPTH {
            return Err(TOO_DEEP);
        }
        self.depth += 1;
        let found = inside(self)?;
        self.depth -= 1;
        Ok(found)
    }

    fn block(&mut self, nodes: &'a [Node], dot: &Value<'a>) -> Result<Flow, Fault> {
        for node in nodes {
            self.meter.step(1)?;
            match node {
                Node::Text(text) => self.put(text)?,
                Node::Action(pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    if pipe.variables.is_empty() {
                        self.print(&value)?;
                    }
                }
                Node::Branch(branch) => {
                    let declared = self.variables.len();
                    let flow = self.deeper(|run| run.branch(branch, dot))?;
                    self.variables.truncate(declared);
                    if flow != Flow::Through {
                        return Ok(flow);
                    }
                }
                Node::Call { line, name, dot: pipe } => self.call_template(*line, name, pipe.as_ref(), dot)?,
                Node::Break => return Ok(Flow::Break),
                Node::Continue => return Ok(Flow::Continue),
            }
        }
        Ok(Flow::Through)
    }

    fn print(&mut self, value: &Value<'a>) -> Result<(), Fault> {
        match value {
            Value::Missing | Value::Nil => self.put("<no value>"),
            Value::Text(text) => self.put(text.as_str()),
            Value::Number(Number::Spelled(text)) => self.put(text),
            Value::Number(Number::Float(value)) => self.put(&number::float(*value)),
            other => {
                let text = print::shown(other, &mut self.meter)?;
                self.put(&text)
            }
        }
    }

    fn branch(&mut self, branch: &'a Branch, dot: &Value<'a>) -> Result<Flow, Fault> {
        if branch.kind == BranchKind::Range {
            return self.range(branch, dot);
        }
        let value = self.pipe(&branch.pipe, dot)?;
        match (value.is_true(), branch.kind) {
            (true, BranchKind::With) => self.block(&branch.then, &value),
            (true, _) => self.block(&branch.then, dot),
            (false, _) => self.block(&branch.otherwise, dot),
        }
    }

    fn range(&mut self, branch: &'a Branch, dot: &Value<'a>) -> Result<Flow, Fault> {
        let value = self.pipe(&branch.pipe, dot)?;
        let mark = self.variables.len() - self.declared(&branch.pipe);
        let mut passes = 0usize;
        let wrong = |value: &Value<'a>| Fault::failed(format!("range can't iterate over a value of type {}", value.type_name()));
        match &value {
            Value::Missing | Value::Nil => {}
            Value::List(list) => {
                for (n, item) in list.items.iter().enumerate() {
                    passes += 1;
                    if self.pass(branch, mark, Value::count(n), item.clone())? == Flow::Break {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                for (name, item) in &map.entries {
                    passes += 1;
                    if self.pass(branch, mark, Value::Text(name.clone()), item.clone())? == Flow::Break {
                        break;
                    }
                }
            }
            Value::Number(number) => {
                for n in 0..number.as_int().ok_or_else(|| wrong(&value))? {
                    passes += 1;
                    if self.pass(branch, mark, Value::int(n), Value::int(n))? == Flow::Break {
                        break;
                    }
                }
            }
            other => return Err(wrong(other)),
        }
        if passes > 0 {
            return Ok(Flow::Through);
        }
        // As in Go, a `break` there leaves this range and no other one around it.
        let flow = self.block(&branch.otherwise, dot)?;
        Ok(if flow == Flow::Break { Flow::Through } else { flow })
    }

    /// How many variables a pipeline has left on the stack.
    fn declared(&self, pipe: &Pipe) -> usize {
        if pipe.target == Target::Declared { pipe.variables.len() } else { 0 }
    }

    /// One pass of a `range`. The variable that its pipeline gave its value to, if there is one, holds the element; the first of two the key.
    fn pass(&mut self, branch: &'a Branch, mark: usize, key: Value<'a>, item: Value<'a>) -> Result<Flow, Fault> {
        self.meter.step(1)?;
        self.variables.truncate(mark);
        let pipe = &branch.pipe;
        let values = if pipe.variables.len() == 2 { vec![key, item.clone()] } else { vec![item.clone()] };
        for (name, value) in pipe.variables.iter().zip(values) {
            self.give(pipe.target, name, value)?;
        }
        self.block(&branch.then, &item)
    }

    fn give(&mut self, target: Target, name: &'a str, value: Value<'a>) -> Result<(), Fault> {
        if target == Target::Declared {
            // There are never more than a template declares, times how deep it can nest.
            self.meter.step(1)?;
            self.variables.push((name, value));
            return Ok(());
        }
        let place = self.place_of(name)?;
        self.variables[place].1 = value;
        Ok(())
    }

    fn place_of(&mut self, name: &str) -> Result<usize, Fault> {
        let from_end = self.variables.iter().rev().position(|(known, _)| *known == name);
        let from_end = from_end.ok_or_else(|| Fault::failed(format!("undefined variable: {name}")))?;
        // Many variables make a long way to the first of them.
        self.meter.step(from_end / 16)?;
        Ok(self.variables.len() - 1 - from_end)
    }

    fn call_template(&mut self, line: u32, name: &str, pipe: Option<&'a Pipe>, dot: &Value<'a>) -> Result<(), Fault> {
        let value = match pipe {
            Some(pipe) => self.pipe(pipe, dot)?,
            None => Value::Nil,
        };
        self.line = line;
        let Some(nodes) = self.tree.named.get(name) else {
            return Err(Fault::failed(format!("template {name:?} not defined")));
        };
        let outside = std::mem::replace(&mut self.variables, vec![("$", value.clone())]);
        self.deeper(|run| run.block(nodes, &value))?;
        self.variables = outside;
        Ok(())
    }

    /// A pipeline's value, which its variables have then as well.
    fn pipe(&mut self, pipe: &'a Pipe, dot: &Value<'a>) -> Result<Value<'a>, Fault> {
        self.line = pipe.line;
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(command, value, dot)?);
        }
        let value = value.unwrap_or(Value::Missing);
        for name in &pipe.variables {
            self.give(pipe.target, name, value.clone())?;
        }
        Ok(value)
    }

    fn command(&mut self, command: &'a Command, last: Option<Value<'a>>, dot: &Value<'a>) -> Result<Value<'a>, Fault> {
        let (first, rest) = command.split_first().ok_or_else(|| Fault::failed("empty command"))?;
        match first {
            Operand::Function(function) => self.call(function, rest, last, dot),
            Operand::Field(fields) => self.field(dot.clone(), fields, rest, last, dot),
            Operand::Variable(name, fields) => {
                let place = self.place_of(name)?;
                let value = self.variables[place].1.clone();
                self.field(value, fields, rest, last, dot)
            }
            Operand::Chain(base, fields) => {
                let value = self.operand(base, dot)?;
                if value.is_nil() && matches!(value, Value::Nil) {
                    return Err(Fault::failed("nil pointer evaluating interface {}"));
                }
                self.field(value, fields, rest, last, dot)
            }
            _ if !rest.is_empty() || last.is_some() => Err(Fault::failed("can't give argument to non-function")),
            Operand::Nil => Err(Fault::failed("nil is not a command")),
            other => self.operand(other, dot),
        }
    }

    /// An operand where it stands as an argument.
    fn operand(&mut self, operand: &'a Operand, dot: &Value<'a>) -> Result<Value<'a>, Fault> {
        self.meter.step(1)?;
        match operand {
            Operand::Dot => Ok(dot.clone()),
            Operand::Nil => Ok(Value::Nil),
            Operand::Bool(value) => Ok(Value::Bool(*value)),
            Operand::Int(value) => Ok(Value::int(*value)),
            Operand::Float(value) => Ok(Value::Number(Number::Float(*value))),
            Operand::Text(text) => Ok(Value::Text(Text::Borrowed(text))),
            Operand::Function(function) => self.call(function, &[], None, dot),
            Operand::Field(fields) => self.field(dot.clone(), fields, &[], None, dot),
            Operand::Pipe(pipe) => self.deeper(|run| {
                let declared = run.variables.len();
                let line = run.line;
                let value = run.pipe(pipe, dot)?;
                run.variables.truncate(declared);
                run.line = line;
                Ok(value)
            }),
            Operand::Variable(name, fields) => {
                let place = self.place_of(name)?;
                let value = self.variables[place].1.clone();
                self.field(value, fields, &[], None, dot)
            }
            Operand::Chain(base, fields) => {
                let value = self.operand(base, dot)?;
                self.field(value, fields, &[], None, dot)
            }
        }
    }

    /// A field of a field of a value. Only the last one can take arguments, and only where it is a method.
    fn field(
        &mut self,
        base: Value<'a>,
        fields: &'a [Box<str>],
        rest: &'a [Operand],
        last: Option<Value<'a>>,
        dot: &Value<'a>,
    ) -> Result<Value<'a>, Fault> {
        let mut value = base;
        for (n, name) in fields.iter().enumerate() {
            let Value::Time(moment) = value else {
                value = value.field(name, &mut self.meter)?;
                continue;
            };
            let is_last = n + 1 == fields.len();
            let mut arguments = Vec::new();
            if is_last {
                for operand in rest {
                    arguments.push(self.operand(operand, dot)?);
                }
                arguments.extend(last.clone());
            }
            value = moment.method(name, &arguments, &mut self.meter)?;
            if is_last {
                return Ok(value);
            }
        }
        if rest.is_empty() && last.is_none() {
            return Ok(value);
        }
        let name = fields.last().map_or("a value", |name| name);
        Err(Fault::failed(format!("{name} is not a method but has arguments")))
    }

    fn call(
        &mut self,
        function: &'static Function,
        rest: &'a [Operand],
        last: Option<Value<'a>>,
        dot: &Value<'a>,
    ) -> Result<Value<'a>, Fault> {
        self.meter.step(1)?;
        let given = rest.len() + usize::from(last.is_some());
        function.check_count(given)?;
        if let Body::And | Body::Or = function.body {
            return self.junction(matches!(function.body, Body::And), rest, last, dot);
        }
        let mut arguments = Vec::with_capacity(given);
        for operand in rest {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(last);
        let read: usize = arguments.iter().map(|argument| if let Value::Text(text) = argument { text.as_str().len() } else { 0 }).sum();
        self.meter.step(read / BYTES_A_STEP)?;
        let Body::Plain(body) = function.body else { return Ok(Value::Missing) };
        let mut tools = Tools { meter: &mut self.meter, now: self.now };
        body(&mut tools, &arguments).map_err(|fault| match fault {
            Fault::Failed(message) => Fault::Failed(format!("{}: {message}", function.name)),
            bound => bound,
        })
    }

    /// `and` and `or`: the first argument that decides, and nothing behind it is evaluated.
    fn junction(&mut self, is_and: bool, rest: &'a [Operand], last: Option<Value<'a>>, dot: &Value<'a>) -> Result<Value<'a>, Fault> {
        let mut value = Value::Missing;
        for operand in rest {
            value = self.operand(operand, dot)?;
            if value.is_true() != is_and {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }
}
