//! What a control group's path says: the systemd unit and the container.
//!
//! How far such a path can be believed says [`super::placement`].

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
        let parent = parts.peek().copied().unwrap_or_default();
        if let Some(id) = container_at(parent, part) {
            return Some(id);
        }
    }
    None
}

/// Slice and id of a container whose name containerd and runc write as
/// `SLICE:PREFIX:ID`: that is systemd's form, taken as a directory's name by who
/// has no systemd.
pub fn packed(name: &str) -> Option<(&str, &str)> {
    let (rest, id) = name.rsplit_once(':')?;
    let (slice, _) = rest.split_once(':')?;
    is_id(id).then_some((slice, id))
}

/// The id or name of the container whose control group is called `name`.
pub fn container_at<'n>(parent: &str, name: &'n str) -> Option<&'n str> {
    if let Some((_, id)) = packed(name) {
        return Some(id);
    }
    // docker-ID.scope, cri-containerd-ID.scope, crio-ID.scope, libpod-ID.scope;
    // libpod-conmon and crio-conmon hold the monitor.
    let scope = name.strip_suffix(".scope").unwrap_or(name);
    let (kind, id) = scope.rsplit_once('-').unwrap_or(("", scope));
    if is_id(id) && !kind.ends_with("conmon") {
        return Some(id);
    }
    let named = name
        .strip_prefix("lxc.payload.")
        .or_else(|| scope.strip_prefix("machine-").filter(|_| scope != name))
        .or_else(|| (parent == "lxc").then_some(name));
    named.filter(|name| !name.is_empty())
}

/// The user whose service manager a unit of the system is (`user@1000.service`).
pub fn user_manager(unit: &str) -> Option<u32> {
    user_id(unit.strip_prefix("user@")?.strip_suffix(".service")?)
}

/// The user whose slice a unit of the system is (`user-1000.slice` in
/// `user.slice`).
pub fn user_slice(parent: &str, unit: &str) -> Option<u32> {
    let uid = unit.strip_prefix("user-")?.strip_suffix(".slice")?;
    user_id(uid).filter(|_| parent == "user.slice")
}

/// As systemd writes it: neither `+1000` nor `01000`.
fn user_id(text: &str) -> Option<u32> {
    text.parse()
        .ok()
        .filter(|number: &u32| number.to_string() == text)
}

/// Whether a unit of the system is that in which Slurm's daemon, which is root,
/// makes the control groups of jobs (its cgroup/v2 plugin): `slurmstepd.scope`, or
/// `NODE_slurmstepd.scope` where several run on one machine.
pub fn is_slurm(parent: &str, unit: &str) -> bool {
    let node = unit.strip_suffix("slurmstepd.scope");
    parent == "system.slice" && node.is_some_and(|node| node.is_empty() || node.ends_with('_'))
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
            format!("/system.slice/kubepods-besteffort-pod1_2.slice:cri-containerd:{ID}"),
            format!("/system.slice:docker:{ID}/inside"),
        ] {
            assert_eq!(container(&path), Some(ID), "{path}");
        }
        assert_eq!(container("/lxc/web/init"), Some("web"));
        assert_eq!(container("/lxc.payload.web/system.slice"), Some("web"));
        assert_eq!(container("/machine.slice/machine-web.scope"), Some("web"));
        for path in ["/", "", "/user.slice/user-1000.slice", "/docker/abc"] {
            assert_eq!(container(path), None, "{path}");
        }
        let monitor = format!("/machine.slice/libpod-conmon-{ID}.scope");
        assert_eq!(container(&monitor), None);
        let inner = format!("/docker/{ID}/docker/{}", ID.replace('4', "5"));
        assert_eq!(
            container(&inner),
            Some(&*ID.replace('4', "5")),
            "the innermost"
        );
    }

    #[test]
    fn user_managers_are_told_by_their_names() {
        assert_eq!(user_manager("user@1000.service"), Some(1000));
        for other in [
            "user@.service",
            "user@01.service",
            "user@+1.service",
            "user@1.slice",
        ] {
            assert_eq!(user_manager(other), None, "{other}");
        }
        assert_eq!(user_slice("user.slice", "user-1000.slice"), Some(1000));
        assert_eq!(user_slice("a.slice", "user-1000.slice"), None);
        assert_eq!(user_slice("user.slice", "user-01.slice"), None);
    }

    proptest! {
        #[test]
        fn any_path_is_read(path in "\\PC{0,80}") {
            let _ = (units(&path).count(), container(&path));
        }
    }
}
