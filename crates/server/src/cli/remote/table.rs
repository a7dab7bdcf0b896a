//! Tables whose columns fit the terminal: ids stay whole, long texts are cut.

use super::{Output, Tone, clean};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What is between two columns.
const GAP: usize = 2;

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    title: &'static str,
    right: bool,
    /// To how many places it may be cut; none where it stays whole.
    least: Option<usize>,
}

impl Column {
    /// One that stays whole, as ids and times do.
    pub const fn whole(title: &'static str) -> Self {
        Column { title, right: false, least: None }
    }

    /// One of numbers: whole, and to the right.
    pub const fn number(title: &'static str) -> Self {
        Column { title, right: true, least: None }
    }

    /// One that may be cut to this many places where the terminal has no more room.
    pub const fn text(title: &'static str, least: usize) -> Self {
        Column { title, right: false, least: Some(least) }
    }
}

/// What is in one place of a table.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// Text that may come from anybody.
    pub fn new(text: &str) -> Self {
        Cell::toned(text, Tone::Plain)
    }

    /// The same in a colour.
    pub fn toned(text: &str, tone: Tone) -> Self {
        let text = if text.is_empty() { String::from("-") } else { clean(text) };
        Cell { text, tone }
    }

    /// A state, in the colour of that.
    pub fn state(state: &str) -> Self {
        Cell::toned(state, Tone::of_state(state))
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell::new(&text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::new(text)
    }
}

impl From<&String> for Cell {
    fn from(text: &String) -> Self {
        Cell::new(text)
    }
}

/// A table that is printed piece by piece: what comes later keeps to the widths of what came before, as far as it fits them.
#[derive(Debug)]
pub struct Table {
    columns: &'static [Column],
    rows: Vec<Vec<Cell>>,
    widths: Option<Vec<usize>>,
}

impl Table {
    /// Without rows.
    pub fn new(columns: &'static [Column]) -> Self {
        Table { columns, rows: Vec::new(), widths: None }
    }

    /// Puts a row behind the others.
    pub fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// How many rows wait to be printed.
    pub fn waiting(&self) -> usize {
        self.rows.len()
    }

    /// Takes the rows that wait, as text; with the head before the first ones.
    pub fn take(&mut self, out: &Output) -> String {
        let rows = std::mem::take(&mut self.rows);
        let is_first = self.widths.is_none();
        let mut widths = self.natural(&rows);
        if let Some(before) = &self.widths {
            widths = widths.into_iter().zip(before).map(|(now, before)| now.max(*before)).collect();
        }
        if let Some(room) = out.width() {
            self.fit(&mut widths, room);
        }
        let mut text = String::new();
        if is_first {
            let head: Vec<Cell> = self.columns.iter().map(|column| Cell { text: column.title.to_owned(), tone: Tone::Dim }).collect();
            self.write(&mut text, &head, &widths, out);
        }
        for row in &rows {
            self.write(&mut text, row, &widths, out);
        }
        self.widths = Some(widths);
        text
    }

    /// How wide each column would like to be.
    fn natural(&self, rows: &[Vec<Cell>]) -> Vec<usize> {
        let of_column = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.text.width()).max().unwrap_or(0);
        self.columns.iter().enumerate().map(|(at, column)| of_column(at).max(column.title.width())).collect()
    }

    /// Takes from the widest that can be cut, until all of it fits or nothing can be cut any more.
    fn fit(&self, widths: &mut [usize], room: usize) {
        let gaps = GAP * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > room {
            let can_be_cut =
                |at: &usize| self.columns[*at].least.is_some_and(|least| widths[*at] > least.max(self.columns[*at].title.width()));
            let Some(widest) = (0..widths.len()).filter(can_be_cut).max_by_key(|at| widths[*at]) else { return };
            widths[widest] -= 1;
        }
    }

    fn write(&self, text: &mut String, row: &[Cell], widths: &[usize], out: &Output) {
        let last = row.len().saturating_sub(1);
        for (at, cell) in row.iter().enumerate() {
            let (width, right) = (widths.get(at).copied().unwrap_or(0), self.columns.get(at).is_some_and(|column| column.right));
            let is_cut = out.width().is_some() && self.columns.get(at).is_some_and(|column| column.least.is_some());
            let shown = if is_cut { cut(&cell.text, width) } else { cell.text.clone() };
            let blanks = " ".repeat(width.saturating_sub(shown.width()));
            let shown = out.paint(cell.tone, &shown);
            match (right, at == last) {
                (true, _) => text.extend([blanks.as_str(), shown.as_str()]),
                (false, true) => text.push_str(&shown),
                (false, false) => text.extend([shown.as_str(), blanks.as_str()]),
            }
            if at < last {
                text.push_str(&" ".repeat(GAP));
            }
        }
        text.push('\n');
    }
}

/// Text of at most this many places, with `…` where something was cut off.
pub fn cut(text: &str, places: usize) -> String {
    if text.width() <= places {
        return text.to_owned();
    }
    let (mut kept, mut used) = (String::new(), 0);
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used >= places {
            break;
        }
        kept.push(c);
    }
    kept + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [Column::whole("ID"), Column::text("URL", 6), Column::number("N")];

    fn row(id: &str, url: &str, n: &str) -> Vec<Cell> {
        vec![id.into(), url.into(), n.into()]
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let mut table = Table::new(&COLUMNS);
        table.push(row("a1", "http://h/", "7"));
        table.push(row("b", "", "12"));
        assert_eq!(table.take(&Output::plain(false)), "ID  URL         N\na1  http://h/   7\nb   -          12\n");
        table.push(row("c", "x", "3"));
        assert_eq!((table.waiting(), table.take(&Output::plain(false))), (1, String::from("c   x           3\n")));
    }

    #[test]
    fn the_widest_that_can_be_cut_is_cut() {
        let mut widths = vec![10, 40, 5];
        Table::new(&COLUMNS).fit(&mut widths, 30);
        assert_eq!(widths, [10, 11, 5]);
        Table::new(&COLUMNS).fit(&mut widths, 10);
        assert_eq!(widths, [10, 6, 5]);
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!((cut("abcdef", 4), cut("abcd", 4), cut("大大大", 4)), (String::from("abc…"), String::from("abcd"), String::from("大…")));
    }

    #[test]
    fn foreign_text_stays_on_its_line() {
        let mut table = Table::new(&COLUMNS);
        table.push(row("a\nb", "\x1b[2J", "1"));
        assert_eq!(table.take(&Output::plain(false)).lines().count(), 2);
    }
}
