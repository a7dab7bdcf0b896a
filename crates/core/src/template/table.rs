//! The functions that templates may call.

use super::eval::Tools;
use super::meter::Fault;
use super::value::Value;
use super::{data, escape, logic, math, moment, text};

/// What a function does: its arguments are as many as [`Function`] says.
#[derive(Clone, Copy)]
pub(super) enum Body {
    Plain(for<'m, 'v, 'a> fn(&'m mut Tools<'_>, &'v [Value<'a>]) -> Result<Value<'a>, Fault>),
    /// These do not evaluate more of their arguments than they need.
    And,
    Or,
}

/// A function.
pub(super) struct Function {
    pub(super) name: &'static str,
    description: &'static str,
    /// The fewest and the most arguments; as in Go, what is piped into it is the last of them.
    count: (usize, usize),
    pub(super) body: Body,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Function {
    pub(super) fn check_count(&self, given: usize) -> Result<(), Fault> {
        let (least, most) = self.count;
        if (least..=most).contains(&given) {
            return Ok(());
        }
        let wanted = if most == MANY { format!("at least {least}") } else { least.to_string() };
        Err(Fault::failed(format!("wrong number of args for {}: want {wanted} got {given}", self.name)))
    }
}

/// A function's name and what it does, for people who write templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionInfo {
    /// Its name.
    pub name: &'static str,
    /// What it does, in Markdown, with an example.
    pub description: &'static str,
}

/// Every function, by name.
pub fn functions() -> impl Iterator<Item = FunctionInfo> {
    FUNCTIONS.iter().map(|function| FunctionInfo { name: function.name, description: function.description })
}

/// The function of that name.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// No bound of its own: a template's length is one.
const MANY: usize = usize::MAX;

macro_rules! table {
    ($($name:literal, $least:expr, $most:expr, $body:expr, $description:literal;)*) => {
        static FUNCTIONS: &[Function] = &[$(Function { name: $name, description: $description, count: ($least, $most), body: $body },)*];
    };
}

table! {
    "add", 1, MANY, Body::Plain(math::add), "The sum of all numbers: `{{add .payload.net .payload.tax}}`. Whole numbers stay whole.";
    "and", 1, MANY, Body::And, "The first argument that is empty, or else the last one; what comes behind it is not evaluated: `{{if and .payload.a .payload.b}}…{{end}}`.";
    "append", 1, MANY, Body::Plain(data::append), "A list with more elements at its end: `{{append .payload.tags \"new\"}}`.";
    "base64", 1, 1, Body::Plain(escape::base64), "Base64 of a text's bytes, standard alphabet, padded: `{{base64 \"hi\"}}` is `aGk=`.";
    "base64decode", 1, 1, Body::Plain(escape::base64decode), "The text that base64 stands for: `{{base64decode \"aGk=\"}}` is `hi`.";
    "call", 1, MANY, Body::Plain(logic::call), "Go's `call`. No value of an event is a function, so it always fails.";
    "contains", 2, 2, Body::Plain(text::contains), "Whether a text contains another: `{{contains \"oo\" \"foot\"}}` is `true`.";
    "default", 2, 2, Body::Plain(data::default), "A value, or another one where it is missing or empty: `{{.payload.name | default \"nobody\"}}`.";
    "dict", 0, MANY, Body::Plain(data::dict), "An object of keys and values: `{{json (dict \"id\" .event_id \"n\" 1)}}`.";
    "dig", 3, MANY, Body::Plain(data::dig), "A field below fields, or a default where one of them is not there: `{{dig \"user\" \"name\" \"nobody\" .payload}}`.";
    "div", 2, 2, Body::Plain(math::div), "The first number divided by the second: `{{div 7 2}}` is `3`, `{{div 7.0 2}}` is `3.5`.";
    "ellipsis", 2, 2, Body::Plain(text::ellipsis), "A text cut to so many bytes, the last three of them dots where something is left out: `{{ellipsis 8 .payload.title}}`.";
    "eq", 2, MANY, Body::Plain(logic::eq), "Whether the first argument equals any of the others: `{{if eq .payload.kind \"a\" \"b\"}}…{{end}}`.";
    "formatTime", 2, 2, Body::Plain(moment::format_time), "A time, or a text in RFC 3339, in a layout of Go's: `{{formatTime \"Jan 2, 2006\" .timestamp}}`.";
    "ge", 2, 2, Body::Plain(logic::ge), "Whether the first of two numbers or texts is greater than or equal to the second.";
    "gt", 2, 2, Body::Plain(logic::gt), "Whether the first of two numbers or texts is greater than the second.";
    "hasPrefix", 2, 2, Body::Plain(text::has_prefix), "Whether a text begins with another: `{{hasPrefix \"order.\" .event_name}}`.";
    "hasSuffix", 2, 2, Body::Plain(text::has_suffix), "Whether a text ends with another: `{{hasSuffix \".created\" .event_name}}`.";
    "html", 1, MANY, Body::Plain(escape::html), "All arguments as text that can stand in HTML.";
    "index", 1, MANY, Body::Plain(logic::index), "An element of a list or an object, by place or key: `{{index .payload.items 0 \"sku\"}}`.";
    "join", 2, 2, Body::Plain(text::join), "The elements of a list with a text between them: `{{join \", \" .payload.tags}}`.";
    "js", 1, MANY, Body::Plain(escape::js), "All arguments as text that can stand in a string of JavaScript.";
    "json", 1, 1, Body::Plain(escape::json), "A value as JSON: `{{json .payload}}`. Numbers keep their digits.";
    "le", 2, 2, Body::Plain(logic::le), "Whether the first of two numbers or texts is less than or equal to the second.";
    "len", 1, 1, Body::Plain(logic::len), "How many elements a list or an object has, or bytes a text: `{{len .payload.items}}`.";
    "list", 0, MANY, Body::Plain(data::list), "A list of its arguments: `{{json (list 1 2 3)}}`.";
    "lower", 1, 1, Body::Plain(text::lower), "A text in lower case.";
    "lt", 2, 2, Body::Plain(logic::lt), "Whether the first of two numbers or texts is less than the second.";
    "merge", 1, MANY, Body::Plain(data::merge), "One object of several; of fields with the same name the first one counts: `{{json (merge (dict \"a\" 1) .payload)}}`.";
    "mod", 2, 2, Body::Plain(math::modulo), "The remainder of a division: `{{mod 7 2}}` is `1`.";
    "mul", 1, MANY, Body::Plain(math::mul), "The product of all numbers.";
    "ne", 2, 2, Body::Plain(logic::ne), "Whether two values differ.";
    "not", 1, 1, Body::Plain(logic::not), "Whether a value is empty: null, false, zero, or without elements.";
    "now", 0, 0, Body::Plain(moment::now), "The time of this attempt: `{{now | formatTime \"2006-01-02\"}}`.";
    "or", 1, MANY, Body::Or, "The first argument that is not empty, or else the last one; what comes behind it is not evaluated.";
    "parseTime", 2, 2, Body::Plain(moment::parse_time), "The time that a text is in a layout of Go's: `{{parseTime \"02.01.2006\" .payload.day | formatTime \"2006-01-02\"}}`.";
    "print", 0, MANY, Body::Plain(logic::print), "All arguments as text, with a space between two that are both no text.";
    "printf", 1, MANY, Body::Plain(logic::printf), "A text with values in it, by Go's verbs: `{{printf \"%05d %q\" 42 \"a\"}}` is `00042 \"a\"`.";
    "println", 0, MANY, Body::Plain(logic::println), "All arguments as text, with spaces between them and a new line at the end.";
    "repeat", 2, 2, Body::Plain(text::repeat), "A text several times, at most 1,000: `{{repeat 3 \"ab\"}}` is `ababab`.";
    "replace", 3, 3, Body::Plain(text::replace), "A text with every occurrence of one part replaced: `{{replace \"a\" \"b\" \"banana\"}}` is `bbnbnb`.";
    "slice", 3, 3, Body::Plain(text::slice), "The bytes of a text from a place up to another, -1 being its end: `{{slice 0 3 \"abcdef\"}}` is `abc`.";
    "split", 2, 2, Body::Plain(text::split), "The parts of a text between separators, as a list: `{{split \",\" \"a,b\"}}`.";
    "sub", 2, 2, Body::Plain(math::sub), "The first number less the second.";
    "title", 1, 1, Body::Plain(text::title), "A text with the first letter of each word in upper case.";
    "trim", 2, 2, Body::Plain(text::trim), "A text without certain characters at its ends: `{{trim \"-\" \"--a--\"}}` is `a`.";
    "trimSpace", 1, 1, Body::Plain(text::trim_space), "A text without white space at its ends.";
    "truncate", 2, 2, Body::Plain(text::truncate), "The first bytes of a text, at most so many: `{{truncate 3 \"abcdef\"}}` is `abc`.";
    "upper", 1, 1, Body::Plain(text::upper), "A text in upper case.";
    "urlencode", 1, 1, Body::Plain(escape::urlencode), "A text as it can stand in the query of a URL: `{{urlencode \"a b&c\"}}` is `a+b%26c`.";
    "urlquery", 1, MANY, Body::Plain(escape::urlquery), "All arguments as text that can stand in the query of a URL.";
}
