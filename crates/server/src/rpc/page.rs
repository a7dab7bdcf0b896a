//! Pages of lists, the same in every service (contract, section 5).

use crate::http::Problem;
use postrider_proto::{Message, webhook as w};

/// Entries of a page where the request does not say.
const DEFAULT_LIMIT: usize = 50;

/// Most entries of a page.
const MAX_LIMIT: usize = 1_000;

/// Most entries at the beginning of a list of the store that a page may leave out: each is walked over (some 0.1 s for all of these).
const MAX_OFFSET: u32 = 100_000;

/// What the entries of a page of which each may be large are to sum up to, in bytes: gRPC clients read messages of 4 MiB, and in binary an
/// object may be longer than its text. The page ends before the entry that would pass this, with one entry at the least, and says so by its
/// limit.
pub(super) const MAX_PAGE_BYTES: usize = 2 << 20;

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

    /// That part of the whole list, and how many entries the list has.
    pub(super) fn cut<T>(self, all: Vec<T>) -> (Vec<T>, u64) {
        let total = all.len() as u64;
        (all.into_iter().skip(self.offset).take(self.limit).collect(), total)
    }

    /// The entries of a page, of a list of so many, as far as they fit into [`MAX_PAGE_BYTES`], and what the answer says of them. Those
    /// beyond are not made.
    pub(super) fn fit<M: Message>(self, total: u64, entries: impl IntoIterator<Item = M>) -> (Vec<M>, w::PaginationResponse) {
        let (mut shown, mut bytes) = (Vec::new(), 0_usize);
        for entry in entries {
            bytes = bytes.saturating_add(entry.encoded_len() as usize);
            if bytes > MAX_PAGE_BYTES && !shown.is_empty() {
                let answer = self.answer(total, Some(shown.len()));
                return (shown, answer);
            }
            shown.push(entry);
        }
        (shown, self.answer(total, None))
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
            let page = Page::of(&w::PaginationRequest { limit, offset });
            let (cut, total) = page.cut((0..1_200).collect::<Vec<_>>());
            let said = page.answer(total, None);
            (cut.first().copied(), cut.len(), said.total_count, said.limit, said.offset)
        };
        assert_eq!(cut(0, 0), (Some(0), 50, 1_200, 50, 0));
        assert_eq!(cut(-1, -1), (Some(0), 50, 1_200, 50, 0));
        assert_eq!(cut(20, 10), (Some(10), 20, 1_200, 20, 10));
        assert_eq!(cut(5_000, 1_190), (Some(1_190), 10, 1_200, 1_000, 1_190));
        assert_eq!(cut(20, i32::MAX), (None, 0, 1_200, 20, i32::MAX));
        let window = |limit, offset| Page::of(&w::PaginationRequest { limit, offset }).window().map_err(|problem| problem.status.as_u16());
        assert_eq!((window(0, -1), window(5_000, 100_000), window(1, 100_001)), (Ok((0, 50)), Ok((100_000, 1_000)), Err(400)));
    }

    #[test]
    fn a_page_ends_where_its_entries_are_too_large() {
        let page = Page::of(&w::PaginationRequest { limit: 10, offset: 0 });
        let fit = |lengths: &[usize]| {
            let entries = lengths.iter().map(|length| w::GetEventRequest { name: "x".repeat(*length), ..Default::default() });
            let (shown, said) = page.fit(9, entries);
            (shown.len(), said.limit, said.total_count)
        };
        // A name of 1 MiB takes some bytes more than that, for what it is and how long.
        let mebibyte = 1 << 20;
        assert_eq!((fit(&[]), fit(&[1, 2, 3])), ((0, 10, 9), (3, 10, 9)));
        assert_eq!((fit(&[mebibyte, mebibyte - 16, 1]), fit(&[mebibyte, mebibyte, 1])), ((3, 10, 9), (1, 1, 9)));
        assert_eq!((fit(&[3 * mebibyte]), fit(&[3 * mebibyte, 1])), ((1, 10, 9), (1, 1, 9)), "one that is too large stands alone");
    }
}
