//! Pods: the list of a file, and names from folders of logs.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use serde::Deserialize;

use super::asks::Asks;

/// The largest list that is read, bytes: 10,000 pods with many labels.
const MAX_FILE: u64 = 16 << 20;

/// Pods that are taken from one source: kubelet's own limit is 110 unless an
/// administrator raises it.
const MAX_PODS: usize = 10_000;

/// Longer texts are none of Kubernetes's: names have 253 bytes, and keys of
/// labels a prefix of as many and 63 more.
const MAX_TEXT: usize = 320;

/// Labels of one pod that are looked at.
const MAX_LABELS: usize = 128;

/// A pod, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its labels; `None` where only its name is known.
    pub labels: Option<BTreeMap<String, String>>,
    /// What it asks for.
    pub asks: Asks,
}

impl Pod {
    /// One of which no more is known.
    pub(super) fn named(namespace: &str, name: &str) -> Pod {
        Pod {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..Pod::default()
        }
    }
}

/// The list as `xsched-pods` writes it.
#[derive(Deserialize)]
struct List {
    pods: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    uid: String,
    namespace: String,
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

pub(super) type Pods = HashMap<String, Arc<Pod>>;

/// What the list says, in its order: of one uid perhaps several pods.
pub(super) type Listing = Vec<(String, Arc<Pod>)>;

/// Reads the list.
///
/// # Errors
/// Why it is not believed, for people.
pub(super) fn listed(path: &Path) -> Result<Listing, String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| e.to_string())?;
    let stat = rustix::fs::fstat(&file).map_err(|e| e.to_string())?;
    if stat.st_mode & 0o170_000 != 0o100_000 {
        return Err("it is no regular file".to_owned());
    }
    if stat.st_mode & 0o022 != 0 {
        let mode = stat.st_mode & 0o7777;
        return Err(format!(
            "others may write to it (mode {mode:04o}): chmod go-w"
        ));
    }
    let mut text = Vec::new();
    let file = File::from(file);
    let read = file.take(MAX_FILE + 1).read_to_end(&mut text);
    read.map_err(|e| e.to_string())?;
    if text.len() as u64 > MAX_FILE {
        return Err("it is larger than 16 MiB".to_owned());
    }
    parse(&text)
}

fn parse(text: &[u8]) -> Result<Listing, String> {
    let list: List =
        serde_json::from_slice(text).map_err(|e| format!("not a list of pods: {e}"))?;
    let fits = |text: &String| text.len() <= MAX_TEXT && !text.chars().any(char::is_control);
    let whole = |pod: &Listed| {
        let texts = [&pod.uid, &pod.namespace, &pod.name];
        texts.into_iter().all(|text| fits(text) && !text.is_empty())
    };
    // Further ones are left out, as they are by whoever writes the list.
    let pods = list.pods.into_iter().filter(whole).take(MAX_PODS);
    let pods = pods.map(|pod| {
        let asks = Asks::of_pod(&pod.annotations, &pod.labels);
        let labels = pod.labels.into_iter().take(MAX_LABELS);
        let known = Pod {
            namespace: pod.namespace,
            name: pod.name,
            labels: Some(
                labels
                    .filter(|(key, value)| fits(key) && fits(value))
                    .collect(),
            ),
            asks,
        };
        (pod.uid, Arc::new(known))
    });
    Ok(pods.collect())
}

/// Names from kubelet's folders: `NAMESPACE_NAME_UID`. No name has a `_`.
pub(super) fn logged(dir: &Path) -> Pods {
    let Ok(entries) = fs::read_dir(dir) else {
        return Pods::new();
    };
    let entries = entries.take(MAX_PODS).filter_map(Result::ok);
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| of_folder(&name)).collect()
}

fn of_folder(name: &str) -> Option<(String, Arc<Pod>)> {
    let mut parts = name.split('_');
    let (namespace, pod, uid) = (parts.next()?, parts.next()?, parts.next()?);
    let is_whole = parts.next().is_none() && [namespace, pod, uid].iter().all(|p| !p.is_empty());
    is_whole.then(|| (uid.to_owned(), Arc::new(Pod::named(namespace, pod))))
}

/// What is believed of both: kubelet's folders, which root makes, say which
/// pod a uid is, and the list says more of that very pod. A static pod's hash
/// is an annotation, which whoever creates a pod may write: it counts only with
/// the folder. Of several pods with one uid none is believed. Beside it what
/// was not believed, for people.
pub(super) fn believed(listed: &[(String, Arc<Pod>)], logged: &Pods) -> (Pods, Vec<String>) {
    let mut claims: HashMap<&str, Vec<&Arc<Pod>>> = HashMap::new();
    let mut doubts = Vec::new();
    for (uid, pod) in listed {
        let same =
            |known: &Arc<Pod>| (&known.namespace, &known.name) == (&pod.namespace, &pod.name);
        match logged.get(uid) {
            Some(known) if !same(known) => doubts.push(format!(
                "the list calls the pod {uid} {}/{}, and kubelet's folder of its logs {}/{}",
                pod.namespace, pod.name, known.namespace, known.name
            )),
            // Its folder may come later.
            None if is_hash(uid) => {}
            _ => claims.entry(uid).or_default().push(pod),
        }
    }
    let mut all = logged.clone();
    for (uid, pods) in claims {
        match *pods {
            [pod] => {
                all.insert(uid.to_owned(), Arc::clone(pod));
            }
            _ => doubts.push(format!(
                "{} pods of the list have the uid {uid}",
                pods.len()
            )),
        }
    }
    (all, doubts)
}

/// That of a static pod's file: MD5, where others have UUIDs.
fn is_hash(uid: &str) -> bool {
    uid.len() == 32 && uid.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt as _;
    use xsched_common::units::Class;

    const LIST: &str = r#"{"version":1,"pods":[
        {"uid":"u1","namespace":"web","name":"api-0","labels":{"app":"api"},
         "annotations":{"xsched.io/class":"high","other":"x"}},
        {"uid":"","namespace":"web","name":"bad"},
        {"uid":"u2","namespace":"web\n","name":"forged"},
        {"uid":"u3","namespace":"batch","name":"train","unknown":1}]}"#;

    #[test]
    fn a_list_is_read_without_what_is_no_pod() {
        let pods = parse(LIST.as_bytes()).expect("a list");
        let (pods, doubts) = believed(&pods, &Pods::new());
        assert_eq!((pods.len(), doubts), (2, Vec::new()));
        let api = &pods["u1"];
        assert_eq!(
            (api.namespace.as_str(), api.name.as_str()),
            ("web", "api-0")
        );
        let labels = api.labels.as_ref().expect("known");
        assert_eq!(labels["app"], "api");
        assert_eq!(api.asks.class, Some(Class::High));
    }

    #[test]
    fn too_many_pods_are_left_out_and_take_nothing_from_the_others() {
        let pod = |n: usize| format!(r#"{{"uid":"u{n}","namespace":"n","name":"p"}}"#);
        let pods: Vec<String> = (0..MAX_PODS + 5).map(pod).collect();
        let list = format!(r#"{{"pods":[{}]}}"#, pods.join(","));
        let pods = parse(list.as_bytes()).expect("a list");
        assert_eq!((pods.len(), pods[0].0.as_str()), (MAX_PODS, "u0"));
    }

    #[test]
    fn nobody_is_a_pod_that_kubelet_calls_otherwise() {
        const HASH: &str = "0b2d1a54c3f6e7890b2d1a54c3f6e789";
        let pod = |uid: &str, namespace: &str, name: &str, class: Class| {
            let asks = Asks {
                class: Some(class),
                ..Asks::default()
            };
            let pod = Pod {
                asks,
                ..Pod::named(namespace, name)
            };
            (uid.to_owned(), Arc::new(pod))
        };
        let folder = |name: &str| of_folder(name).expect("a pod's");
        let logged = Pods::from([folder(&format!("kube-system_proxy-n1_{HASH}"))]);
        let forged = pod(HASH, "team", "mine", Class::High);
        let true_one = pod(HASH, "kube-system", "proxy-n1", Class::Low);
        // Both say the hash: the one that has the folder is it.
        let (pods, doubts) = believed(&[forged.clone(), true_one.clone()], &logged);
        assert_eq!(pods[HASH], true_one.1);
        assert!(doubts[0].contains("team/mine"), "{doubts:?}");
        let (pods, _) = believed(std::slice::from_ref(&forged), &logged);
        assert_eq!(*pods[HASH], Pod::named("kube-system", "proxy-n1"));
        // Without a folder nobody knows whose hash it is.
        assert!(believed(&[forged], &Pods::new()).0.is_empty());
        // A list with the same uid twice is wrong in one of them.
        let twice = [
            pod("u1", "web", "a", Class::Low),
            pod("u1", "web", "b", Class::High),
            pod("u2", "web", "c", Class::Low),
        ];
        let (pods, doubts) = believed(&twice, &Pods::new());
        assert!(pods.len() == 1 && pods.contains_key("u2"));
        assert!(doubts[0].contains("2 pods"), "{doubts:?}");
        let named = Pods::from([folder("web_a_u1")]);
        assert_eq!(
            believed(&twice, &named).0["u1"].asks.class,
            Some(Class::Low)
        );
    }

    #[test]
    fn a_list_that_others_may_write_is_not_believed() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("pods.json");
        fs::write(&file, LIST).expect("written");
        let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode));
        mode(0o644).expect("chmod");
        assert_eq!(listed(&file).map(|pods| pods.len()), Ok(2));
        for bad in [0o666, 0o664] {
            mode(bad).expect("chmod");
            assert!(listed(&file).expect_err("refused").contains("go-w"));
        }
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&file, &link).expect("linked");
        assert!(listed(&link).is_err() && listed(dir.path()).is_err());
    }

    #[test]
    fn folders_of_logs_name_pods() {
        let dir = tempfile::tempdir().expect("a folder");
        for name in [
            "web_api-0_u1",
            "kube-system_proxy_0b2d",
            "a_b",
            "a_b_c_d",
            "__",
        ] {
            fs::create_dir(dir.path().join(name)).expect("made");
        }
        let pods = logged(dir.path());
        assert_eq!(pods.len(), 2);
        assert_eq!(*pods["u1"], Pod::named("web", "api-0"));
        assert!(logged(&dir.path().join("none")).is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200), name in "\\PC{0,40}") {
            let _ = (parse(&bytes), of_folder(&name));
        }
    }
}
