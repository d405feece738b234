//! `cdi`: the specification by which container runtimes bring the shim into
//! containers.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use xsched_common::platform::Platform;

use super::{run_dir, shim_path};

/// What a container sees: the same path whatever the host's is.
const INSIDE: &str = "/usr/lib/xsched";

/// Its device `all` sets LD_PRELOAD and mounts the shim's folder and the agent's; a
/// device for each platform preloads that one's shim. Containers ask for it by `--device xsched.io/shim=all` (Podman) or the annotation
/// `cdi.k8s.io/xsched: xsched.io/shim=all` (containerd with enable_cdi, CRI-O).
/// An LD_PRELOAD of the image's own is replaced: such an image names the shim itself.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  xsched-agent cdi | sudo tee /etc/cdi/xsched.json
  xsched-agent cdi --shims /var/lib/xsched >/etc/cdi/xsched.json

Exit codes: 0 written, 2 there are no shims")]
pub struct Options {
    /// The folder on the host with the shim's libraries [default: where they
    /// are found]
    #[arg(long, value_name = "DIR")]
    shims: Option<PathBuf>,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let shims = match &options.shims {
        Some(dir) => dir.clone(),
        None => found()?,
    };
    ensure!(
        shims.is_absolute(),
        "{}: name the folder by its whole path, as the container runtime needs it",
        shims.display()
    );
    super::print(&format!("{:#}\n", specification(&shims, &run_dir().0)))?;
    Ok(ExitCode::SUCCESS)
}

/// The folder that has all shims.
fn found() -> anyhow::Result<PathBuf> {
    let mut folders = Vec::new();
    for platform in Platform::ALL {
        let shim = shim_path::of(platform)?;
        folders.push(shim.parent().context("a folder")?.to_owned());
    }
    folders.dedup();
    match folders.as_slice() {
        [one] => Ok(one.clone()),
        _ => anyhow::bail!("the shims are in several folders: put them into one, named by --shims"),
    }
}

/// Of version 0.6 (https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md),
/// which containerd 1.7, CRI-O 1.28 and Podman 4.7 read.
fn specification(shims: &Path, run_dir: &Path) -> Value {
    let preload = |platforms: &[Platform]| {
        let paths: Vec<String> = platforms
            .iter()
            .map(|platform| format!("{INSIDE}/{}", platform.names().shim))
            .collect();
        json!({ "env": [format!("LD_PRELOAD={}", paths.join(":"))] })
    };
    let mut devices = vec![json!({ "name": "all", "containerEdits": preload(&Platform::ALL) })];
    devices.extend(Platform::ALL.map(
        |platform| json!({ "name": platform.name(), "containerEdits": preload(&[platform]) }),
    ));
    let mount = |host: &Path, inside: &Path| {
        json!({
            "hostPath": host, "containerPath": inside,
            "options": ["bind", "ro", "nosuid", "nodev"],
        })
    };
    // The agent's folder, not a socket in it: a new agent makes new ones. It may
    // be mounted read-only: to connect takes the socket's own permission.
    let inside_run = Path::new(xsched_common::run_dir::SYSTEM_RUN_DIR);
    json!({
        "cdiVersion": "0.6.0",
        "kind": "xsched.io/shim",
        "devices": devices,
        "containerEdits": { "mounts": [
            mount(shims, Path::new(INSIDE)),
            mount(run_dir, inside_run),
        ] },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_gets_shim_and_socket() {
        let spec = specification(Path::new("/var/lib/xsched"), Path::new("/run/xsched"));
        let all = &spec["devices"][0];
        assert_eq!(all["name"], "all");
        assert_eq!(
            all["containerEdits"]["env"][0],
            "LD_PRELOAD=/usr/lib/xsched/libxsched_shim.so:/usr/lib/xsched/libxsched_shim_cuda.so"
        );
        let names = spec["devices"].as_array().expect("devices").iter();
        let names: Vec<&str> = names.filter_map(|device| device["name"].as_str()).collect();
        assert_eq!(names, ["all", "hip", "cuda"]);
        let mounts = &spec["containerEdits"]["mounts"];
        assert_eq!(mounts[0]["hostPath"], "/var/lib/xsched");
        assert_eq!(mounts[0]["containerPath"], INSIDE);
        assert_eq!(mounts[1]["containerPath"], "/run/xsched");
        for mount in mounts.as_array().expect("mounts") {
            let options = mount["options"].as_array().expect("options");
            assert!(options.contains(&json!("ro")), "{mount}");
        }
    }

    /// Root in most containers is the machine's root: it could put sockets of its
    /// own in place of the agent's.
    #[test]
    fn nobody_is_told_to_mount_the_agent_s_folder_writable() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let read = |path: &Path| std::fs::read_to_string(path).expect("readable");
        let docs = std::fs::read_dir(root.join("docs")).expect("a folder");
        let mut texts: Vec<PathBuf> = docs.map(|entry| entry.expect("readable").path()).collect();
        texts.retain(|path| path.extension().is_some_and(|ext| ext == "md"));
        texts.extend(["README.md", "deploy/kubernetes/README.md"].map(|file| root.join(file)));
        let mut found = 0;
        for path in &texts {
            let text = read(path);
            for (at, mount) in text.match_indices("/run/xsched:/run/xsched") {
                found += 1;
                let rest = &text[at + mount.len()..];
                assert!(rest.starts_with(":ro"), "{}", path.display());
            }
        }
        assert!(found > 0);
        let policy = read(&root.join("deploy/kubernetes/mutating-policy.yaml"));
        let mounts = policy.matches("mountPath:");
        assert_eq!(mounts.count(), policy.matches("readOnly: true}").count());
        // The agent's own pod is the only other one.
        let plain = read(&root.join("deploy/kubernetes/manifests.yaml"));
        assert_eq!(plain.matches("mountPath: /run/xsched }").count(), 1);
        assert!(
            !plain.contains("livenessProbe:"),
            "whoever delays it would kill the agent"
        );
    }
}
