//! Names of kernels as programs wrote them.

/// The unqualified name of a C++ function from its mangled name; other names as they are.
///
/// Only the start of the Itanium grammar is needed: `_Z`, an optional nested name, and length-prefixed identifiers.
pub fn plain_name(name: &str) -> &str {
    split(name).0
}

/// The mangled types of a C++ function's parameters; none for other names, and for templates, whose name has more in it.
pub fn parameters(name: &str) -> Option<&str> {
    let (_, rest) = split(name);
    match name.strip_prefix("_ZN") {
        Some(_) => rest?.strip_prefix('E'),
        None => rest.filter(|rest| !rest.starts_with('I')),
    }
}

/// The unqualified name, and what follows it in a mangled name.
fn split(name: &str) -> (&str, Option<&str>) {
    let Some(mut rest) = name.strip_prefix("_Z") else {
        return (name, None);
    };
    let nested = rest.strip_prefix('N');
    rest = nested.unwrap_or(rest).trim_start_matches(['L', 'K']);
    let mut found = (name, None);
    loop {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let Ok(length) = rest[..digits].parse::<usize>() else {
            return found;
        };
        let Some(identifier) = rest.get(digits..digits.saturating_add(length)) else {
            return found;
        };
        rest = &rest[digits + length..];
        found = (identifier, Some(rest));
        if nested.is_none() {
            return found;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_follow_the_name() {
        assert_eq!(parameters("_Z4fillPjjm"), Some("Pjjm"));
        assert_eq!(parameters("_ZN3foo3bar4fillEPj"), Some("Pj"));
        assert_eq!(parameters("_Z4fillIfEvPT_m"), None);
        for none in ["fill", "_Z", "_Z99x", "_ZN3foo"] {
            assert_eq!(parameters(none), None, "{none}");
        }
    }

    #[test]
    fn plain_names() {
        assert_eq!(plain_name("_Z10vector_addPKfS0_Pfm"), "vector_add");
        assert_eq!(plain_name("_ZN3foo3bar4fillEPj"), "fill");
        assert_eq!(plain_name("_ZL5saxpyfPKfPfm"), "saxpy");
        assert_eq!(plain_name("hipsim_spin"), "hipsim_spin");
        for broken in ["_Z", "_Z99x", "_ZN", "_ZN99999999999999999999999a", "_Z3é"] {
            assert_eq!(plain_name(broken), broken);
        }
    }
}
