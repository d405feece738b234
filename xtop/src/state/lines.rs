//! The lines of the list: each process that is shown, and below it its class
//! groups, which the cursor passes over.

/// What is on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The process's place among those shown.
    pub position: usize,
    /// One of its groups, if it is not the process itself.
    pub group: Option<usize>,
}

/// All lines, in order.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    lines: Vec<Line>,
    /// Of each process: its own line.
    first: Vec<usize>,
}

impl Lines {
    /// Of processes with so many groups each.
    pub fn of(groups: impl Iterator<Item = usize>) -> Lines {
        let mut all = Lines::default();
        for (position, groups) in groups.enumerate() {
            all.first.push(all.lines.len());
            let below = (0..groups).map(Some);
            let lines = std::iter::once(None).chain(below);
            all.lines
                .extend(lines.map(|group| Line { position, group }));
        }
        all
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// From the first to the last.
    pub fn iter(&self) -> impl Iterator<Item = Line> {
        self.lines.iter().copied()
    }

    /// What is on this line, if there is such a line.
    pub fn get(&self, line: usize) -> Option<Line> {
        self.lines.get(line).copied()
    }

    /// The lines of the process at this place: the first, and behind the last.
    pub fn of_process(&self, position: usize) -> (usize, usize) {
        let first = |position: usize| self.first.get(position).copied();
        let end = first(position + 1).unwrap_or(self.len());
        (first(position).unwrap_or(end), end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_stand_below_their_process() {
        let lines = Lines::of([0, 2, 1].into_iter());
        let places: Vec<_> = lines
            .iter()
            .map(|line| (line.position, line.group))
            .collect();
        let own = |position| (position, None);
        let group = |position, group| (position, Some(group));
        assert_eq!(
            places,
            [
                own(0),
                own(1),
                group(1, 0),
                group(1, 1),
                own(2),
                group(2, 0)
            ]
        );
        assert_eq!(lines.of_process(1), (1, 4));
        assert_eq!(lines.of_process(2), (4, 6));
        assert_eq!(lines.of_process(9), (6, 6), "none");
        assert_eq!(lines.get(2).map(|line| line.position), Some(1));
        assert_eq!(lines.get(6), None);
    }
}
