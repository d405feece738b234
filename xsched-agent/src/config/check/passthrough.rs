//! `[passthrough]`: which work no gate holds back.

use toml::Spanned;
use xsched_common::page::ListMeaning;

use crate::config::problems::Problems;
use crate::config::{file, gated};
use crate::control::{NameList, Passthrough};

/// One list, or the reverse of it, of each kind.
pub(super) fn convert(
    given: &Spanned<file::Passthrough>,
    problems: &mut Problems<'_>,
) -> Passthrough {
    let file::Passthrough {
        libraries,
        gate_only_libraries,
        apis,
        gate_only_apis,
    } = given.get_ref();
    for api in apis.iter().chain(gate_only_apis) {
        if let Some(message) = gated::not_gated(api.get_ref()) {
            problems.error(api.span(), message);
        }
    }
    let mut one_of = |passing: Vec<String>, only: Vec<String>, key: &str| {
        if !passing.is_empty() && !only.is_empty() {
            let message = format!("{key} and gate_only_{key} exclude each other: keep one");
            problems.error(given.span(), message);
        }
        match only.is_empty() {
            true => NameList::passing(passing),
            false => NameList {
                names: only,
                meaning: ListMeaning::OnlyGated,
            },
        }
    };
    let plain = |names: &[Spanned<String>]| names.iter().map(|n| n.get_ref().clone()).collect();
    let libraries = one_of(libraries.clone(), gate_only_libraries.clone(), "libraries");
    let apis = one_of(plain(apis), plain(gate_only_apis), "apis");
    Passthrough::new(libraries, apis).unwrap_or_else(|e| {
        problems.error(given.span(), e.to_string());
        Passthrough::default()
    })
}
