//! The live table: drawn in place on a terminal, line by line elsewhere.

use super::board::{Board, Cell, Party, Row};
use crossterm::style::Stylize;
use crossterm::{cursor, queue, terminal};
use std::io::{self, Write};

/// Rows shown at once, where the terminal has room for them; older ones scroll away upwards.
const ROWS: usize = 12;
/// Lines besides the rows: heading, progress.
const FRAME_LINES: usize = 2;
/// Lines of a terminal that does not say how many it has.
const USUAL_LINES: u16 = 24;

pub(super) struct Table {
    live: bool,
    /// Lines of the last frame, to draw over.
    drawn: u16,
    /// What was said line by line of each delivery.
    told: Vec<[Cell; 3]>,
}

impl Table {
    pub(super) fn new(live: bool) -> Self {
        Table { live, drawn: 0, told: Vec::new() }
    }

    /// A line of talk.
    pub(super) fn say(&self, text: &str) {
        // Nobody is left to tell if stderr is gone.
        let _ = writeln!(io::stderr(), "{text}");
    }

    pub(super) fn draw(&mut self, board: &Board) {
        // A terminal that is gone is noticed by its signal.
        let out = io::stdout().lock();
        let _ = if self.live {
            self.frame(out, board, terminal::size().map_or(USUAL_LINES, |(_, lines)| lines))
        } else {
            self.lines(out, board)
        };
    }

    /// Draws for the last time, unless it has.
    pub(super) fn end(&mut self, board: &Board) {
        if self.live && self.drawn == 0 {
            return;
        }
        self.draw(board);
        self.drawn = 0;
    }

    pub(super) fn summary(&mut self, board: &Board) {
        self.end(board);
        let attempts: u32 = board.cells().map(|cell| cell.attempts).sum();
        let deliveries = board.cells().count();
        let recovered = board.cells().filter(|cell| cell.attempts > 1).count();
        let verified = if board.cells().all(|cell| cell.verified) { "every signature verified" } else { "SOME SIGNATURES WERE WRONG" };
        self.say(&format!(
            "{} events, {deliveries} deliveries in {attempts} attempts, {recovered} of them failed first and recovered; {verified}",
            board.rows.len()
        ));
    }

    /// Draws over the last frame, on a terminal of so many lines.
    fn frame(&mut self, mut out: impl Write, board: &Board, screen: u16) -> io::Result<()> {
        // A line that wrapped would take two rows of the screen, and the next frame would not find its beginning.
        queue!(out, terminal::DisableLineWrap)?;
        if self.drawn > 0 {
            queue!(out, cursor::MoveUp(self.drawn), terminal::Clear(terminal::ClearType::FromCursorDown))?;
        }
        writeln!(out, "{}", heading().bold())?;
        let begun = board.rows.iter().rposition(|row| row.accepted).map_or(0, |last| last + 1);
        let first = begun.saturating_sub(rows_for(screen));
        for (number, row) in board.rows.iter().enumerate().take(begun).skip(first) {
            writeln!(out, "{}", line(number, row, true))?;
        }
        let done = board.cells().filter(|cell| cell.delivered).count();
        let all = board.cells().count();
        writeln!(out, "{} {done} of {all} delivered", bar(done, all))?;
        queue!(out, terminal::EnableLineWrap)?;
        self.drawn = u16::try_from(begun - first + FRAME_LINES).unwrap_or(u16::MAX);
        out.flush()
    }

    /// Says only what is new.
    fn lines(&mut self, mut out: impl Write, board: &Board) -> io::Result<()> {
        self.told.resize(board.rows.len(), Default::default());
        for (number, (row, told)) in board.rows.iter().zip(&mut self.told).enumerate() {
            for party in Party::ALL {
                let (now, before) = (&row.cells[party as usize], &mut told[party as usize]);
                if now != before {
                    writeln!(out, "event {:>4}  {:<16}  {:<16}  {}", number + 1, row.event_type, party.name(), cell(now, row.accepted))?;
                    *before = now.clone();
                }
            }
        }
        out.flush()
    }
}

/// The line where the next frame begins counts too.
fn rows_for(lines: u16) -> usize {
    usize::from(lines).saturating_sub(FRAME_LINES + 1).clamp(1, ROWS)
}

/// 80 columns, which is what a terminal usually has.
fn heading() -> String {
    let [shop, billing, analytics] = Party::ALL.map(Party::name);
    format!("{:>5}  {:<16}  {:<17}  {:<17}  {:<17}", "event", "type", shop, billing, analytics)
}

fn line(number: usize, row: &Row, colours: bool) -> String {
    let mut text = format!("{:>5}  {:<16}", number + 1, row.event_type);
    for c in &row.cells {
        let padded = format!("  {:<17}", cell(c, row.accepted));
        let coloured = match c {
            Cell { delivered: true, .. } => padded.green(),
            Cell { answer: Some(_), .. } => padded.yellow(),
            _ => padded.dim(),
        };
        text.push_str(&if colours { coloured.to_string() } else { coloured.content().clone() });
    }
    text
}

fn cell(cell: &Cell, accepted: bool) -> String {
    let tries = if cell.attempts == 1 { "try" } else { "tries" };
    match (cell.answer, cell.delivered) {
        (Some(answer), true) => format!("{answer} in {} {tries}", cell.attempts),
        (Some(answer), false) => format!("{answer} {}x, retrying", cell.attempts),
        (None, _) if accepted => String::from("on its way"),
        (None, _) => String::new(),
    }
}

fn bar(done: usize, all: usize) -> String {
    const WIDTH: usize = 40;
    let filled = (done * WIDTH).checked_div(all).unwrap_or(0);
    format!("[{}{}]", "#".repeat(filled), " ".repeat(WIDTH - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_became_of_each_delivery() {
        let mut board = Board::new(1);
        assert_eq!(bar(0, 0), format!("[{}]", " ".repeat(40)));
        board.accepted(0, "order.created");
        board.received(Party::Shop, 0, 200, true);
        board.received(Party::Billing, 0, 503, true);
        let text = line(0, &board.rows[0], false);
        assert!(text.contains("200 in 1 try "), "{text}");
        assert!(text.contains("503 1x, retrying"), "{text}");
        assert!(text.contains("on its way"), "{text}");
        assert_eq!((text.chars().count(), heading().chars().count()), (80, 80));
    }

    /// What a frame puts on a terminal of 6 lines.
    fn drawn(table: &mut Table, board: &Board) -> String {
        let mut out = Vec::new();
        table.frame(&mut out, board, 6).expect("memory takes all");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn each_frame_is_drawn_over_the_last_one() {
        let (mut table, mut board) = (Table::new(true), Board::new(5));
        let empty = drawn(&mut table, &board);
        assert!(empty.contains("0 of 15 delivered") && !empty.contains("\u{1b}[2A"), "nothing to draw over: {empty:?}");
        for event in 0..4 {
            board.accepted(event, "order.created");
            board.received(Party::Billing, event, 503, true);
        }
        let first = drawn(&mut table, &board);
        // Heading and progress; then those and the three rows that a terminal of 6 lines has room for.
        assert!(first.contains("\u{1b}[2A\u{1b}[J"), "{first:?}");
        assert_eq!(first.matches("503 1x, retrying").count(), 3);
        board.received(Party::Billing, 3, 200, true);
        let second = drawn(&mut table, &board);
        assert!(second.contains("\u{1b}[5A\u{1b}[J") && second.contains("200 in 2 tries"), "{second:?}");
        assert!(second.contains("1 of 15 delivered"), "{second:?}");
        assert!(!second.contains("    1  order.created") && second.contains("    2  order.created"), "the oldest scrolls away: {second:?}");
    }

    #[test]
    fn line_by_line_only_news_is_told() {
        let (mut table, mut board) = (Table::new(false), Board::new(1));
        let mut told = |board: &Board| {
            let mut out = Vec::new();
            table.lines(&mut out, board).expect("memory takes all");
            String::from_utf8(out).expect("text")
        };
        board.accepted(0, "order.created");
        board.received(Party::Billing, 0, 503, true);
        let news = told(&board);
        assert_eq!((news.lines().count(), news.contains("billing (flaky)   503 1x, retrying")), (1, true), "{news}");
        assert_eq!(told(&board), "");
        board.received(Party::Shop, 0, 200, true);
        assert!(told(&board).contains("shop              200 in 1 try"));
    }

    #[test]
    fn a_frame_fits_the_terminal() {
        assert_eq!([0, 3, 4, 5, 14, 15, 60].map(rows_for), [1, 1, 1, 2, 11, 12, 12]);
    }
}
