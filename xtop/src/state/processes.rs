//! The list of processes: filtered, sorted, with a cursor.

use std::collections::BTreeSet;

use super::filter::Filter;
use super::lines::{Line, Lines};
use super::row::{Identity, Row};
use super::sort::Sort;
use super::tree;
use super::verdict::Tally;
use crate::action::Step;
use crate::column::Column;

/// How the order treats processes that belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arrangement {
    /// As everybody else.
    #[default]
    Flat,
    /// They stand below their parents.
    Tree,
    /// Those of one container or unit stand together.
    Units,
}

/// The list. `shown` holds indices of `rows`, and how deep each stands.
#[derive(Debug, Default)]
pub struct Processes {
    rows: Vec<Row>,
    tally: Tally,
    plain: Vec<Column>,
    hidden: Vec<Column>,
    shown: Vec<usize>,
    lines: Lines,
    depths: Vec<u16>,
    arrangement: Arrangement,
    sort: Sort,
    filter: Filter,
    cursor: usize,
    pinned: Option<Identity>,
    offset: usize,
}

impl Processes {
    /// An empty list.
    pub fn new(sort: Sort, filter: Filter) -> Processes {
        Processes {
            sort,
            filter,
            ..Processes::default()
        }
    }

    /// Replaces the processes by newer ones.
    pub fn replace(&mut self, rows: Vec<Row>) {
        self.tally = Tally::of(&rows);
        let platforms: BTreeSet<_> = rows.iter().filter_map(|row| row.process.platform).collect();
        let devices: BTreeSet<_> = rows
            .iter()
            .filter_map(|row| row.device.as_deref())
            .collect();
        self.plain = Column::ALL
            .into_iter()
            .filter(|column| match column {
                Column::Platform => platforms.len() < 2,
                Column::Device => devices.len() < 2,
                _ => rows.iter().all(|row| column.is_plain(row)),
            })
            .collect();
        self.rows = rows;
        self.arrange();
    }

    /// How many processes, shown or not, fare how.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Whether `column` says nothing about any process that would not be so
    /// without it.
    pub fn is_plain(&self, column: Column) -> bool {
        self.plain.contains(&column)
    }

    /// Whether the user wants to see `column`, where there is room.
    pub fn is_wanted(&self, column: Column) -> bool {
        !self.hidden.contains(&column)
    }

    /// The columns that the user does not want to see.
    pub fn hidden(&self) -> &[Column] {
        &self.hidden
    }

    /// Hides these and no others.
    pub fn hide(&mut self, columns: Vec<Column>) {
        self.hidden = columns;
        // Without it a row would have no name.
        self.hidden.retain(|column| *column != Column::Pid);
    }

    /// Shows a column, or hides it.
    pub fn toggle(&mut self, column: Column) {
        let mut hidden = std::mem::take(&mut self.hidden);
        match hidden.iter().position(|c| *c == column) {
            Some(place) => drop(hidden.remove(place)),
            None => hidden.push(column),
        }
        self.hide(hidden);
    }

    /// Changes the order.
    pub fn set_sort(&mut self, sort: Sort) {
        self.sort = sort;
        self.arrange();
    }

    /// Changes what is shown.
    pub fn set_filter(&mut self, filter: Filter) {
        self.filter = filter;
        self.arrange();
    }

    /// Changes how the order treats processes that belong together.
    pub fn next_arrangement(&mut self) {
        self.arrangement = match self.arrangement {
            Arrangement::Flat => Arrangement::Tree,
            Arrangement::Tree => Arrangement::Units,
            Arrangement::Units => Arrangement::Flat,
        };
        self.arrange();
    }

    /// How the order treats processes that belong together.
    pub fn arrangement(&self) -> Arrangement {
        self.arrangement
    }

    /// How many parents of the row at `position` stand above it.
    pub fn depth(&self, position: usize) -> u16 {
        self.depths.get(position).copied().unwrap_or(0)
    }

    /// The order.
    pub fn sort(&self) -> Sort {
        self.sort
    }

    /// What is shown.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// All processes, shown or not.
    pub fn total(&self) -> usize {
        self.rows.len()
    }

    /// Rows shown.
    pub fn len(&self) -> usize {
        self.shown.len()
    }

    /// Whether no row is shown.
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// The rows shown, in order.
    pub fn shown(&self) -> impl ExactSizeIterator<Item = &Row> {
        self.shown.iter().map(|&index| &self.rows[index])
    }

    /// All processes, shown or not, in no order.
    pub fn all(&self) -> impl ExactSizeIterator<Item = &Row> {
        self.rows.iter()
    }

    /// The process with this identity, shown or not.
    pub fn find(&self, identity: Identity) -> Option<&Row> {
        self.rows.iter().find(|row| row.identity() == identity)
    }

    /// Position of the cursor among the rows shown.
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    /// First line on screen when `height` lines fit.
    pub fn offset(&self, height: usize) -> usize {
        let last_full = self.lines.len().saturating_sub(height);
        let (first, end) = self.lines.of_process(self.cursor);
        let lowest = end.saturating_sub(height.max(1)).min(first);
        self.offset.min(last_full).clamp(lowest, first)
    }

    /// The lines of the list: a process's place among those shown, the row,
    /// and whether it is that of one of its class groups.
    pub fn lines(&self) -> impl Iterator<Item = (Line, &Row)> {
        self.lines.iter().filter_map(|line| {
            let row = &self.rows[*self.shown.get(line.position)?];
            let row = match line.group {
                Some(group) => row.groups.get(group)?,
                None => row,
            };
            Some((line, row))
        })
    }

    /// How many lines there are.
    pub fn height(&self) -> usize {
        self.lines.len()
    }

    /// The place of the process on this line.
    pub fn at_line(&self, line: usize) -> Option<usize> {
        Some(self.lines.get(line)?.position)
    }

    /// The row under the cursor.
    pub fn selected(&self) -> Option<&Row> {
        self.shown.get(self.cursor).map(|&index| &self.rows[index])
    }

    /// Moves the cursor; from here on it follows the process it stands on.
    pub fn step(&mut self, step: Step) {
        let last = self.shown.len().saturating_sub(1);
        self.cursor = match step {
            Step::Rows(n) => self.cursor.saturating_add_signed(n).min(last),
            Step::First => 0,
            Step::Last => last,
        };
        self.pin();
    }

    /// Makes the cursor follow the process it stands on.
    pub fn pin(&mut self) {
        self.pinned = self.selected().map(Row::identity);
    }

    /// Leaves the cursor on the first row, whichever process that is.
    pub fn unpin(&mut self) {
        self.pinned = None;
        self.cursor = 0;
        self.offset = 0;
    }

    /// Scrolls as far as the cursor asks on a screen of `height` lines.
    pub fn scroll(&mut self, height: usize) {
        self.offset = self.offset(height);
    }

    fn arrange(&mut self) {
        let rows = &self.rows;
        let Sort { column, direction } = self.sort;
        self.shown.clear();
        self.shown
            .extend((0..rows.len()).filter(|&index| self.filter.admits(&rows[index])));
        self.shown.sort_by(|&a, &b| {
            let (a, b) = (&rows[a], &rows[b]);
            let order = column.value(a).compare(&column.value(b), direction);
            order.then_with(|| a.process.pid.cmp(&b.process.pid))
        });
        self.depths = match self.arrangement {
            Arrangement::Flat => vec![0; self.shown.len()],
            Arrangement::Tree => tree::arrange(&self.rows, &mut self.shown),
            Arrangement::Units => {
                tree::gather_units(&self.rows, &mut self.shown);
                vec![0; self.shown.len()]
            }
        };
        let groups = self
            .shown
            .iter()
            .map(|&index| self.rows[index].groups.len());
        self.lines = Lines::of(groups);
        self.cursor = match self.pinned {
            None => 0,
            Some(pinned) => {
                let place = self.shown().position(|row| row.identity() == pinned);
                // The process left: the cursor stays where it was.
                place.unwrap_or(self.cursor.min(self.shown.len().saturating_sub(1)))
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::column::Direction;
    use crate::fixture::row;

    fn list() -> Processes {
        let mut list = Processes::new(Sort::default(), Filter::default());
        list.replace(rows(&[(1, 10.0), (2, 30.0), (3, 20.0)]));
        list
    }

    fn rows(processes: &[(u32, f64)]) -> Vec<Row> {
        let with_rate = |&(pid, rate)| {
            let mut row = row(pid, "python3");
            row.process.launches_per_s = rate;
            row
        };
        processes.iter().map(with_rate).collect()
    }

    fn pids(list: &Processes) -> Vec<u32> {
        list.shown().map(|row| row.process.pid).collect()
    }

    #[test]
    fn busiest_first_and_inverted() {
        let mut list = list();
        assert_eq!(pids(&list), [2, 3, 1]);
        list.set_sort(list.sort().inverted());
        assert_eq!(pids(&list), [1, 3, 2]);
    }

    #[test]
    fn the_unknown_comes_last_either_way() {
        let mut list = list();
        let mut joined = crate::fixture::service();
        joined.process.pid = 4;
        let mut rows = rows(&[(1, 10.0), (2, 30.0)]);
        rows.push(joined);
        list.replace(rows);
        list.set_sort(Sort::by(Column::BurstP99));
        assert_eq!(pids(&list), [4, 1, 2]);
        list.set_sort(list.sort().inverted());
        assert_eq!(pids(&list), [4, 1, 2]);
    }

    #[test]
    fn the_cursor_follows_the_process_not_the_row() {
        let mut list = list();
        list.step(Step::Rows(1));
        assert_eq!(list.selected().map(|row| row.process.pid), Some(3));
        list.replace(rows(&[(1, 10.0), (2, 30.0), (3, 99.0)]));
        assert_eq!((list.cursor(), pids(&list)[0]), (0, 3));
        list.set_filter("pid:3".parse().expect("a filter"));
        assert_eq!(list.selected().map(|row| row.process.pid), Some(3));
    }

    #[test]
    fn a_reused_pid_is_another_process() {
        let mut list = list();
        list.step(Step::Rows(1));
        let identity = list.selected().expect("a row").identity();
        let mut next = rows(&[(1, 10.0), (2, 30.0), (3, 99.0)]);
        next[2].process.start_time += 1;
        list.replace(next);
        assert_eq!(list.cursor(), 1, "stays on its row");
        assert!(list.find(identity).is_none());
    }

    #[test]
    fn an_untouched_cursor_stays_on_the_first_row() {
        let mut list = list();
        list.replace(rows(&[(1, 99.0), (2, 30.0)]));
        assert_eq!(list.selected().map(|row| row.process.pid), Some(1));
    }

    #[test]
    fn the_cursor_is_always_on_screen() {
        let mut list = Processes::default();
        list.replace((0..100).map(|pid| row(pid, "x")).collect());
        list.step(Step::Last);
        list.scroll(10);
        assert_eq!((list.cursor(), list.offset(10)), (99, 90));
        list.step(Step::Rows(-3));
        list.scroll(10);
        assert_eq!(list.offset(10), 90, "no scrolling within the screen");
        list.step(Step::First);
        assert_eq!(list.offset(10), 0);
        list.step(Step::Rows(-1));
        assert_eq!(list.cursor(), 0);
        list.replace(vec![row(1, "x")]);
        assert_eq!((list.cursor(), list.offset(10), list.offset(0)), (0, 0, 0));
        list.replace(Vec::new());
        list.step(Step::Rows(1));
        assert_eq!((list.cursor(), list.offset(10)), (0, 0));
    }

    #[test]
    fn sorts_are_parsed() {
        assert_eq!("p99".parse(), Ok(Sort::by(Column::BurstP99)));
        assert_eq!(
            "p99:asc".parse::<Sort>().map(|s| s.direction),
            Ok(Direction::Ascending)
        );
        assert!("p99:up".parse::<Sort>().is_err());
        assert!(
            "foo"
                .parse::<Sort>()
                .is_err_and(|e| e.contains("use one of pid"))
        );
    }
}
