//! What a control group's path says: the systemd unit and the container.
//!
//! The path is the kernel's word, written by whoever may create control
//! groups there: root, or a user below the part delegated to it.

/// Endings of systemd units that hold processes (systemd.unit(5)).
const UNIT_SUFFIXES: [&str; 3] = [".service", ".scope", ".slice"];

/// Container ids are SHA-256 in hexadecimal; tools show the first twelve.
const ID_LEN: usize = 64;
/// What people copy from `docker ps`.
const SHORT_ID_LEN: usize = 12;

/// The units that a path leads through, innermost first.
pub fn units(path: &str) -> impl Iterator<Item = &str> {
    path.rsplit('/').filter(|part| {
        UNIT_SUFFIXES
            .iter()
            .any(|suffix| part.len() > suffix.len() && part.ends_with(suffix))
    })
}

/// The innermost container's id or name, by the forms that Docker, containerd,
/// CRI-O, Podman, LXC and systemd-nspawn give their control groups.
pub fn container(path: &str) -> Option<&str> {
    let mut parts = path.rsplit('/').peekable();
    while let Some(part) = parts.next() {
        // docker-ID.scope, cri-containerd-ID.scope, crio-ID.scope, libpod-ID.scope
        let scope = part.strip_suffix(".scope").unwrap_or(part);
        let id = scope.rsplit_once('-').map_or(scope, |(_, id)| id);
        if is_id(id) {
            return Some(id);
        }
        // libpod-conmon and crio-conmon hold the monitor, not the container.
        if let Some(name) = part
            .strip_prefix("lxc.payload.")
            .or_else(|| scope.strip_prefix("machine-").filter(|_| scope != part))
        {
            return Some(name).filter(|name| !name.is_empty());
        }
        if parts.peek() == Some(&"lxc") && !part.is_empty() {
            return Some(part);
        }
    }
    None
}

fn is_id(text: &str) -> bool {
    text.len() == ID_LEN && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether `text` is an id, or the beginning of one that is long enough to be
/// meant as such.
pub fn is_short_id(text: &str) -> bool {
    (SHORT_ID_LEN..=ID_LEN).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "4f1a2b3c4d5e6f708192a3b4c5d6e7f84f1a2b3c4d5e6f708192a3b4c5d6e7f8";

    #[test]
    fn units_are_found_at_every_level() {
        let path = "/system.slice/system-vllm.slice/vllm@7.service/worker";
        let found: Vec<_> = units(path).collect();
        assert_eq!(
            found,
            ["vllm@7.service", "system-vllm.slice", "system.slice"]
        );
        assert_eq!(units("/user/.slice/a").count(), 0);
    }

    #[test]
    fn containers_of_the_usual_runtimes() {
        for path in [
            format!("/docker/{ID}"),
            format!("/system.slice/docker-{ID}.scope"),
            format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-{ID}.scope"
            ),
            format!("/kubepods/besteffort/pod7d1b/{ID}"),
            format!("/kubepods.slice/kubepods-pod1.slice/crio-{ID}.scope"),
            format!("/machine.slice/libpod-{ID}.scope/container"),
        ] {
            assert_eq!(container(&path), Some(ID), "{path}");
        }
        assert_eq!(container("/lxc/web/init"), Some("web"));
        assert_eq!(container("/lxc.payload.web/system.slice"), Some("web"));
        assert_eq!(container("/machine.slice/machine-web.scope"), Some("web"));
        for path in ["/", "", "/user.slice/user-1000.slice", "/docker/abc"] {
            assert_eq!(container(path), None, "{path}");
        }
        let inner = format!("/docker/{ID}/docker/{}", ID.replace('4', "5"));
        assert_eq!(
            container(&inner),
            Some(&*ID.replace('4', "5")),
            "the innermost"
        );
    }

    proptest! {
        #[test]
        fn any_path_is_read(path in "\\PC{0,80}") {
            let _ = (units(&path).count(), container(&path));
        }
    }
}
