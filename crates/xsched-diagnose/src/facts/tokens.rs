//! Dynamic string tokens (ld.so(8)) in paths.

/// What `path` may stand for. What $LIB and $PLATFORM mean differs between
/// distributions and processors, so every known value is a candidate.
/// `origin` is the directory of the object that names the path.
pub fn expand(path: &str, origin: &str) -> Vec<String> {
    if !path.contains('$') {
        return vec![path.to_owned()];
    }
    let path = path
        .replace("${ORIGIN}", "$ORIGIN")
        .replace("${LIB}", "$LIB")
        .replace("${PLATFORM}", "$PLATFORM")
        .replace("$ORIGIN", origin);
    let mut out = Vec::new();
    for lib in ["lib/x86_64-linux-gnu", "lib64", "lib"] {
        for platform in ["x86_64", "haswell", "xeon_phi"] {
            let path = path.replace("$LIB", lib).replace("$PLATFORM", platform);
            if !out.contains(&path) {
                out.push(path);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_become_every_path_they_may_mean() {
        assert_eq!(expand("/opt/x", "/a"), ["/opt/x"]);
        assert_eq!(expand("${ORIGIN}/../lib", "/a/bin"), ["/a/bin/../lib"]);
        let of_lib = expand("/usr/$LIB/x.so", "/");
        assert!(of_lib.contains(&"/usr/lib64/x.so".to_owned()), "{of_lib:?}");
        assert_eq!(of_lib.len(), 3);
    }
}
