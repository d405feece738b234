//! Names of kernels as programs wrote them.

/// The unqualified name of a C++ function from its mangled name; other names as they are.
///
/// Only the start of the Itanium grammar is needed: `_Z`, an optional nested name, and length-prefixed identifiers.
pub fn plain_name(name: &str) -> &str {
    let Some(mut rest) = name.strip_prefix("_Z") else {
        return name;
    };
    let nested = rest.strip_prefix('N');
    rest = nested.unwrap_or(rest).trim_start_matches(['L', 'K']);
    let mut last = name;
    loop {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let Ok(length) = rest[..digits].parse::<usize>() else {
            return last;
        };
        let Some(identifier) = rest.get(digits..digits.saturating_add(length)) else {
            return last;
        };
        last = identifier;
        if nested.is_none() {
            return last;
        }
        rest = &rest[digits + length..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
