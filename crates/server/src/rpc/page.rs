//! Pages of lists, the same in every service (contract, section 5).

use crate::http::Problem;
use postrider_proto::webhook as w;

/// Entries of a page where the request does not say.
const DEFAULT_LIMIT: usize = 50;

/// Most entries of a page.
const MAX_LIMIT: usize = 1_000;

/// Most entries at the beginning of a list of the store that a page may leave out: each is walked over (some 0.1 s for all of these).
const MAX_OFFSET: u32 = 100_000;

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    limit: usize,
    offset: usize,
}

impl Page {
    /// What a request says. Numbers that make no sense stand for the default.
    pub(super) fn of(request: &w::PaginationRequest) -> Self {
        let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0).unwrap_or(DEFAULT_LIMIT);
        Page { limit: limit.min(MAX_LIMIT), offset: usize::try_from(request.offset).unwrap_or_default() }
    }

    /// How many entries to leave out, and how many to show, of a list that the store has.
    pub(super) fn window(self) -> Result<(u32, u32), Problem> {
        let offset = u32::try_from(self.offset).ok().filter(|offset| *offset <= MAX_OFFSET);
        let message = || format!("pagination.offset: at most {MAX_OFFSET} of such a list can be left out: narrow it, by time for instance");
        Ok((offset.ok_or_else(|| Problem::bad_request(message()))?, u32::try_from(self.limit).unwrap_or(u32::MAX)))
    }

    /// What the answer says of a list of so many entries. `shown` is how many the page has, where it has fewer than it might for their size.
    pub(super) fn answer(self, total: u64, shown: Option<usize>) -> w::PaginationResponse {
        w::PaginationResponse { total_count: count(total), limit: count(shown.unwrap_or(self.limit)), offset: count(self.offset) }
    }

    /// That part of the whole list, and what the answer says of it.
    pub(super) fn cut<T>(self, all: Vec<T>) -> (Vec<T>, w::PaginationResponse) {
        let answer = self.answer(all.len() as u64, None);
        (all.into_iter().skip(self.offset).take(self.limit).collect(), answer)
    }
}

/// A number as the contract has it: what is more than fits is the largest that does.
pub(super) fn count(of: impl TryInto<i32>) -> i32 {
    of.try_into().unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_offsets_are_what_was_applied() {
        let cut = |limit, offset| {
            let (page, said) = Page::of(&w::PaginationRequest { limit, offset }).cut((0..1_200).collect::<Vec<_>>());
            (page.first().copied(), page.len(), said.total_count, said.limit, said.offset)
        };
        assert_eq!(cut(0, 0), (Some(0), 50, 1_200, 50, 0));
        assert_eq!(cut(-1, -1), (Some(0), 50, 1_200, 50, 0));
        assert_eq!(cut(20, 10), (Some(10), 20, 1_200, 20, 10));
        assert_eq!(cut(5_000, 1_190), (Some(1_190), 10, 1_200, 1_000, 1_190));
        assert_eq!(cut(20, i32::MAX), (None, 0, 1_200, 20, i32::MAX));
        let window = |limit, offset| Page::of(&w::PaginationRequest { limit, offset }).window().map_err(|problem| problem.status.as_u16());
        assert_eq!((window(0, -1), window(5_000, 100_000), window(1, 100_001)), (Ok((0, 50)), Ok((100_000, 1_000)), Err(400)));
    }
}
