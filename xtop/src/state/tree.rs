//! Children below their parents; containers and units together.

use std::collections::HashMap;

use super::row::Row;

/// The deepest level that is told apart on screen.
const MAX_DEPTH: u16 = 16;

/// Moves each of `shown`, indices of `rows` in their order, below its parent
/// if that is among them; siblings keep their order. Returns the depths.
pub(super) fn arrange(rows: &[Row], shown: &mut Vec<usize>) -> Vec<u16> {
    let by_pid: HashMap<u32, usize> = shown.iter().map(|&i| (rows[i].process.pid, i)).collect();
    let mut children: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut roots = Vec::new();
    for &index in shown.iter() {
        let parent = rows[index].process.parent;
        match parent.and_then(|pid| by_pid.get(&pid)) {
            Some(&parent) if parent != index => children.entry(parent).or_default().push(index),
            _ => roots.push(index),
        }
    }
    let mut depths = Vec::with_capacity(shown.len());
    let mut ordered = Vec::with_capacity(shown.len());
    let mut placed = vec![false; rows.len()];
    let mut place_below = |roots: Vec<usize>| {
        let mut stack: Vec<(usize, u16)> = roots.into_iter().rev().map(|root| (root, 0)).collect();
        while let Some((index, depth)) = stack.pop() {
            if std::mem::replace(&mut placed[index], true) {
                continue;
            }
            ordered.push(index);
            depths.push(depth);
            let below = children.get(&index).into_iter().flatten().rev();
            stack.extend(below.map(|&child| (child, (depth + 1).min(MAX_DEPTH))));
        }
    };
    place_below(roots);
    // Those whose parents stand in a circle, which only a reused pid or a
    // broken agent makes.
    place_below(shown.clone());
    *shown = ordered;
    depths
}

/// Moves those of one container or unit together, where the first of them
/// stands; those without stay in place among the groups.
pub(super) fn gather_units(rows: &[Row], shown: &mut [usize]) {
    let mut groups: HashMap<&str, usize> = HashMap::new();
    let mut group_of = HashMap::new();
    for (place, &index) in shown.iter().enumerate() {
        let group = match rows[index].unit.as_deref() {
            Some(unit) => *groups.entry(unit).or_insert(place),
            None => place,
        };
        group_of.insert(index, group);
    }
    shown.sort_by_key(|index| group_of.get(index).copied());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::row;

    fn arranged(parents: &[(u32, u32)]) -> Vec<(u32, u16)> {
        let with_parent = |&(pid, parent)| {
            let mut row = row(pid, "python3");
            row.process.parent = Some(parent);
            row
        };
        let rows: Vec<Row> = parents.iter().map(with_parent).collect();
        let mut shown: Vec<usize> = (0..rows.len()).collect();
        let depths = arrange(&rows, &mut shown);
        let pids = shown.iter().map(|&index| rows[index].process.pid);
        pids.zip(depths).collect()
    }

    #[test]
    fn children_stand_below_their_parents() {
        let tree = arranged(&[(5, 3), (1, 99), (3, 1), (4, 1), (2, 99)]);
        assert_eq!(tree, [(1, 0), (3, 1), (5, 2), (4, 1), (2, 0)]);
    }

    #[test]
    fn units_stand_together() {
        let units = [Some("a"), None, Some("b"), Some("a"), None, Some("b")];
        let with_unit = |(unit, pid): (Option<&str>, u32)| {
            let mut row = row(pid, "python3");
            row.unit = unit.map(str::to_owned);
            row
        };
        let rows: Vec<Row> = units.into_iter().zip(0..).map(with_unit).collect();
        let mut shown: Vec<usize> = (0..rows.len()).collect();
        gather_units(&rows, &mut shown);
        assert_eq!(shown, [0, 3, 1, 2, 5, 4]);
    }

    #[test]
    fn circles_lose_nobody() {
        let mut tree = arranged(&[(1, 2), (2, 1), (3, 3), (4, 2)]);
        tree.sort();
        let pids: Vec<u32> = tree.iter().map(|(pid, _)| *pid).collect();
        assert_eq!(pids, [1, 2, 3, 4]);
    }
}
