//! What has become of the demonstration's deliveries so far, as the receivers see it.

/// One receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Party {
    /// Answers well.
    Shop,
    /// Fails for a while, then recovers.
    Billing,
    /// Answers well but slowly.
    Analytics,
}

impl Party {
    pub(super) const ALL: [Party; 3] = [Party::Shop, Party::Billing, Party::Analytics];

    pub(super) fn name(self) -> &'static str {
        match self {
            Party::Shop => "shop",
            Party::Billing => "billing (flaky)",
            Party::Analytics => "analytics (slow)",
        }
    }
}

/// One delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    /// Attempts that arrived.
    pub(super) attempts: u32,
    /// The status of the latest answer.
    pub(super) answer: Option<u16>,
    /// Whether every signature of the latest attempt was right.
    pub(super) verified: bool,
    /// Whether the receiver took it.
    pub(super) delivered: bool,
}

/// One event and its three deliveries.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) event_type: &'static str,
    pub(super) accepted: bool,
    pub(super) cells: [Cell; 3],
}

/// All events.
#[derive(Clone, Debug)]
pub(super) struct Board {
    pub(super) rows: Vec<Row>,
}

impl Board {
    pub(super) fn new(events: u32) -> Self {
        Board { rows: vec![Row::default(); events as usize] }
    }

    pub(super) fn accepted(&mut self, event: usize, event_type: &'static str) {
        if let Some(row) = self.rows.get_mut(event) {
            row.event_type = event_type;
            row.accepted = true;
        }
    }

    pub(super) fn received(&mut self, party: Party, event: usize, answer: u16, verified: bool) {
        if let Some(row) = self.rows.get_mut(event) {
            let cell = &mut row.cells[party as usize];
            cell.attempts += 1;
            cell.answer = Some(answer);
            cell.verified = verified;
            cell.delivered |= (200..300).contains(&answer);
        }
    }

    /// Whether every delivery arrived.
    pub(super) fn is_done(&self) -> bool {
        self.cells().all(|cell| cell.delivered)
    }

    pub(super) fn cells(&self) -> impl Iterator<Item = &Cell> {
        self.rows.iter().flat_map(|row| &row.cells)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_is_done_when_every_receiver_took_every_event() {
        let mut board = Board::new(1);
        board.accepted(0, "order.created");
        for party in [Party::Shop, Party::Analytics] {
            board.received(party, 0, 200, true);
        }
        board.received(Party::Billing, 0, 503, true);
        assert!(!board.is_done());
        board.received(Party::Billing, 0, 200, true);
        assert!(board.is_done());
        assert_eq!(board.rows[0].cells[Party::Billing as usize].attempts, 2);
        board.received(Party::Shop, 99, 200, true);
    }
}
