//! Ranges of ids: subuid(5) and subgid(5), and what of them can be mapped.

use std::fmt;
use std::fs;

/// Where ranges of users are.
pub(crate) const USERS: &str = "/etc/subuid";
/// Where ranges of groups are.
pub(crate) const GROUPS: &str = "/etc/subgid";
/// user_namespaces(7): a map has at most 340 lines, of which one is the user's own.
const MAXIMUM_LINES: usize = 339;
/// The last id of all is no id, credentials(7).
const MAXIMUM_ID: u64 = u32::MAX as u64 - 1;
/// login.defs(5), SUB_UID_MIN: where ranges begin.
const FIRST_SUBORDINATE: u64 = 100_000;

/// Ids one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The lowest.
    pub first: u32,
    /// How many, at least one.
    pub count: u32,
}

impl Range {
    fn between(first: u64, end: u64) -> Option<Self> {
        let count = u32::try_from(end.checked_sub(first)?).ok().filter(|count| *count > 0)?;
        Some(Self { first: u32::try_from(first).ok()?, count })
    }

    fn start(self) -> u64 {
        self.first.into()
    }

    fn end(self) -> u64 {
        self.start() + u64::from(self.count)
    }

    pub(crate) fn holds(self, id: u32) -> bool {
        (self.start()..self.end()).contains(&id.into())
    }

    /// What is left of it, before and after another.
    fn without(self, other: Self) -> impl Iterator<Item = Self> {
        let before = Self::between(self.start(), self.end().min(other.start()));
        let after = Self::between(self.start().max(other.end()), self.end());
        before.into_iter().chain(after)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} to {}", self.first, self.end() - 1)
    }
}

/// A file of ranges; one that is not there has none.
pub(crate) fn read(path: &str) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// All lines that are ranges, with whose they are.
fn lines(text: &str) -> impl Iterator<Item = (&str, Range)> {
    text.lines().filter_map(|line| {
        let mut words = line.trim().splitn(3, ':');
        let (owner, first, count) = (words.next()?, words.next()?, words.next()?);
        let (first, count): (u64, u64) = (first.trim().parse().ok()?, count.trim().parse().ok()?);
        let end = first.checked_add(count)?.min(MAXIMUM_ID + 1);
        Some((owner, Range::between(first, end)?))
    })
}

/// Ranges of a user, whom lines call by name or number, in their order.
pub(crate) fn of(text: &str, name: &str, user: u32) -> Vec<Range> {
    let number = user.to_string();
    lines(text).filter(|(owner, _)| *owner == name || *owner == number).map(|(_, range)| range).collect()
}

/// Where a range for somebody else may begin.
pub(crate) fn first_free(texts: &[&str]) -> u64 {
    let ends = texts.iter().flat_map(|text| lines(text)).map(|(_, range)| range.end());
    ends.fold(FIRST_SUBORDINATE, u64::max)
}

/// The ids that there are in a user namespace.
#[derive(Clone, Debug)]
pub(crate) struct Extents(Vec<Range>);

impl Extents {
    /// Those of this process, by its map; all if that cannot be read.
    pub(crate) fn of_this_namespace(map: &str) -> Self {
        let all = || vec![Range { first: 0, count: u32::MAX }];
        Self(fs::read_to_string(map).map_or_else(|_| all(), |text| Self::parse(&text)))
    }

    fn parse(map: &str) -> Vec<Range> {
        let line = |line: &str| {
            let numbers: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
            let [inside, _, count] = numbers[..] else { return None };
            Range::between(inside, inside.checked_add(count)?)
        };
        map.lines().filter_map(line).collect()
    }

    /// What of ranges the kernel maps: what is there, each id once and the own one not at all, and no line across two
    /// extents, which it refuses before Linux 5.17.
    pub(crate) fn usable(&self, ranges: &[Range], own: u32) -> Vec<Range> {
        let mut usable: Vec<Range> = Vec::new();
        for range in ranges {
            for extent in &self.0 {
                let common = Range::between(range.start().max(extent.start()), range.end().min(extent.end()));
                let mut left: Vec<Range> = common.into_iter().collect();
                for taken in usable.iter().chain(&[Range { first: own, count: 1 }]) {
                    left = left.into_iter().flat_map(|range| range.without(*taken)).collect();
                }
                usable.extend(left);
            }
        }
        usable.truncate(MAXIMUM_LINES);
        usable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u32, count: u32) -> Range {
        Range { first, count }
    }

    #[test]
    fn lines_name_their_owner_by_name_or_number() {
        let text = "# a comment\nann:100000:65536\nbob:165536:65536\n\n1000:300000:10\nann:x:5\nann:7\nann:9:0\n\
                    ann:4294967290:4294967290\nann:99999999999:5\nannabel:1:2\n ann:500000:1 \n";
        let expected =
            [range(100_000, 65_536), range(300_000, 10), range(4_294_967_290, 5), range(500_000, 1)];
        assert_eq!(of(text, "ann", 1000), expected);
        assert_eq!(of(text, "eve", 1), []);
        assert_eq!(range(100_000, 65_536).to_string(), "100000 to 165535");
        assert_eq!([4, 5, 9, 10].map(|id| range(5, 5).holds(id)), [false, true, true, false]);
        assert_eq!(first_free(&["ann:100000:65536\n", "bob:200000:5\n"]), 200_005);
        assert_eq!(first_free(&["", "x:5:5"]), 100_000);
    }

    #[test]
    fn the_kernel_takes_each_id_once() {
        let all = Extents(vec![range(0, u32::MAX)]);
        let of_host = |ranges: &[Range]| all.usable(ranges, 1000);
        assert_eq!(of_host(&[range(5000, 10), range(100, 10)]), [range(5000, 10), range(100, 10)]);
        // The user's own, as some tools write it there.
        assert_eq!(of_host(&[range(1000, 1)]), []);
        assert_eq!(of_host(&[range(998, 5)]), [range(998, 2), range(1001, 2)]);
        assert_eq!(
            of_host(&[range(10, 10), range(15, 10), range(5, 30)]),
            [range(10, 10), range(20, 5), range(5, 5), range(25, 10)]
        );
    }

    #[test]
    fn only_ids_of_this_namespace_are_mapped() {
        let extents =
            Extents(Extents::parse("         0       1000          1\n         1     100000      65536\n"));
        assert_eq!(extents.usable(&[range(100_000, 65_536)], 500), []);
        assert_eq!(
            extents.usable(&[range(0, 100_000)], 500),
            [range(0, 1), range(1, 499), range(501, 65_036)]
        );
    }
}
