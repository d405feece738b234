//! Which functions can be named in a passthrough list: those that the shim
//! gates, by the table that the shim itself is made from.

use xsched_common::platform::{Action, ENTRY_POINTS, Platform, entry_point, symbol_node};

use super::schema::alike;

/// Gated functions that are named in place of one that is not.
const HINTS: usize = 3;

/// Why a list that names this function does nothing for it, if so.
pub(super) fn not_gated(symbol: &str) -> Option<String> {
    let known = entry_point(symbol).map(|(_, entry)| entry.action);
    let never = match known {
        Some(Some(Action::Gate)) => return None,
        Some(Some(Action::Drain)) => "is never gated, since the program waits in it",
        Some(_) => "is never gated",
        None if symbol_node(symbol).is_some() => "is never gated",
        None => {
            return Some(format!(
                "no function `{symbol}` is gated: {}",
                match nearest(symbol).first() {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => examples(),
                }
            ));
        }
    };
    let nearest: Vec<String> = nearest(symbol)
        .iter()
        .map(|name| format!("`{name}`"))
        .collect();
    let hint = match nearest.is_empty() {
        true => examples(),
        false => format!("gated functions like it: {}", nearest.join(", ")),
    };
    Some(format!("`{symbol}` {never}: leave it out; {hint}"))
}

fn examples() -> String {
    let names: Vec<&str> = Platform::ALL
        .iter()
        .map(|platform| platform.names())
        .flat_map(|names| [names.launch, names.copy])
        .collect();
    format!("use a name as {}", names.join(" or "))
}

/// The gated functions that look like `symbol`, the likest first.
fn nearest(symbol: &str) -> Vec<&'static str> {
    let gated = ENTRY_POINTS.iter().filter(|entry| entry.is_gated());
    let mut nearest = alike(symbol, gated.map(|entry| entry.symbol));
    nearest.truncate(HINTS);
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every name that is accepted is one that the shim gates, and each that
    /// is refused comes with what to write instead.
    #[test]
    fn what_is_accepted_is_gated_and_the_rest_is_told_what_is() {
        let mut accepted = 0;
        for entry in ENTRY_POINTS {
            match not_gated(entry.symbol) {
                None => {
                    assert!(entry.is_gated(), "{}", entry.symbol);
                    accepted += 1;
                }
                Some(why) => {
                    let begins = ["hip", "cu", "_Z"];
                    let names =
                        |start: &&str| why.contains(&format!("gated functions like it: `{start}"));
                    let instead = begins.iter().any(names) || why.ends_with(&examples());
                    assert!(instead, "{why}");
                }
            }
        }
        let gated = ENTRY_POINTS.iter().filter(|entry| entry.is_gated());
        assert_eq!(accepted, gated.count());
    }

    #[test]
    fn the_nearest_gated_functions_are_named() {
        let copy = not_gated("hipMemcpy").expect("it waits");
        assert!(
            copy.starts_with(
                "`hipMemcpy` is never gated, since the program waits in it: leave it out"
            ),
            "{copy}"
        );
        assert!(copy.contains("`hipMemcpyAsync`"), "{copy}");
        let graph = not_gated("hipGraphAddMemcpyNode").expect("it only builds");
        assert!(graph.contains("is never gated: leave it out"), "{graph}");
        let slip = not_gated("hipGraphLanch").expect("unknown");
        assert!(slip.ends_with("did you mean `hipGraphLaunch`?"), "{slip}");
    }
}
