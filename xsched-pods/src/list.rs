//! The list of pods, and its file.
//!
//! Whoever may create pods writes their names, labels and annotations, and how
//! many there are: only what the agent asks for is kept, no text is longer than
//! Kubernetes's own, and each namespace has an equal part of the file.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use kube::core::ObjectMeta;
use serde::Serialize;

/// What the agent asks for; other annotations are nobody's business.
const ASKS: [&str; 3] = ["xsched.io/class", "xsched.io/weight", "xsched.io/slo-p99"];

/// Names have 253 bytes, and keys of labels a prefix of as many and 63 more.
const LONGEST_TEXT: usize = 320;

/// Labels of one pod.
const MOST_LABELS: usize = 128;

/// Pods in the file: the agent reads no more. Kubelet's own limit is 110
/// unless an administrator raises it.
const MOST_PODS: usize = 10_000;

/// Bytes of the file: half of what the agent reads, and with the one that is
/// being written no more than the chart's volume holds.
const LARGEST_FILE: usize = 8 << 20;

/// A pod as the agent wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    uid: String,
    namespace: String,
    name: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    /// That of a static pod's file, as the pod itself says.
    #[serde(skip)]
    hash: Option<String>,
}

impl Listed {
    /// From what the API server tells; `None` where that is not whole.
    fn of(meta: ObjectMeta) -> Option<Listed> {
        // Kubelet names the control group of a static pod by the hash of its file,
        // not by the uid of the API server's mirror of it
        // (pkg/kubelet/types/pod_update.go: ConfigHashAnnotationKey,
        // ConfigMirrorAnnotationKey).
        const MIRROR: &str = "kubernetes.io/config.mirror";
        let fits = |text: &String| text.len() <= LONGEST_TEXT;
        let both_fit = |(key, value): &(String, String)| fits(key) && fits(value);
        let mut annotations = meta.annotations.unwrap_or_default();
        let hash = annotations.remove(MIRROR).filter(|text| is_hash(text));
        let asks = annotations.into_iter().filter(both_fit);
        let labels = meta.labels.unwrap_or_default().into_iter();
        let listed = Listed {
            uid: meta.uid?,
            namespace: meta.namespace?,
            name: meta.name?,
            labels: labels.filter(both_fit).take(MOST_LABELS).collect(),
            annotations: asks.filter(|(key, _)| ASKS.contains(&&**key)).collect(),
            hash,
        };
        let is_whole = [&listed.uid, &listed.namespace, &listed.name]
            .into_iter()
            .all(fits);
        is_whole.then_some(listed)
    }

    /// Under the uid that its control group has. Whoever creates a pod may write
    /// any hash; the agent believes one only by kubelet's folder of its logs.
    fn placed(&self, all: &BTreeMap<String, Listed>) -> Listed {
        let hash = self.hash.as_ref().filter(|hash| !all.contains_key(*hash));
        Listed {
            uid: hash.unwrap_or(&self.uid).clone(),
            ..self.clone()
        }
    }
}

/// MD5, as kubelet writes it.
fn is_hash(text: &str) -> bool {
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.len() == 32 && text.bytes().all(is_hex)
}

/// All pods of a node.
#[derive(Debug, Default)]
pub struct List {
    /// By the API server's uid.
    pods: BTreeMap<String, Listed>,
    /// Those of a list that is still coming.
    coming: Option<BTreeMap<String, Listed>>,
}

/// What became of a change, or of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The file would be the same.
    None,
    /// It has to be written.
    Some,
}

/// What is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Pods in it.
    pub pods: usize,
    /// Pods that had no room in their namespace's part.
    pub left_out: usize,
}

impl List {
    /// A list begins; until its end the old one counts.
    pub fn begin(&mut self) {
        self.coming = Some(BTreeMap::new());
    }

    /// The list is whole.
    pub fn end(&mut self) {
        if let Some(coming) = self.coming.take() {
            self.pods = coming;
        }
    }

    /// A pod of the list that is coming.
    pub fn listed(&mut self, meta: ObjectMeta) {
        let to = self.coming.as_mut().unwrap_or(&mut self.pods);
        put(to, meta);
    }

    /// A pod is new or another.
    pub fn changed(&mut self, meta: ObjectMeta) -> Change {
        put(&mut self.pods, meta)
    }

    /// A pod is gone.
    pub fn gone(&mut self, meta: &ObjectMeta) -> Change {
        let before = meta.uid.as_ref().and_then(|uid| self.pods.remove(uid));
        before.map_or(Change::None, |_| Change::Some)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// The file's text, and what is in it.
    fn text(&self) -> serde_json::Result<(Vec<u8>, Written)> {
        let mut by_namespace: BTreeMap<&str, Vec<&Listed>> = BTreeMap::new();
        for pod in self.pods.values() {
            by_namespace.entry(&pod.namespace).or_default().push(pod);
        }
        // Nobody's pods push out those of another namespace.
        let parts = by_namespace.len().max(1);
        let mut text = br#"{"version":1,"pods":["#.to_vec();
        let mut written = Written {
            pods: 0,
            left_out: 0,
        };
        for pods in by_namespace.into_values() {
            let (mut room, mut places) = (LARGEST_FILE / parts, MOST_PODS / parts);
            for pod in pods {
                let pod = serde_json::to_vec(&pod.placed(&self.pods))?;
                if places == 0 || pod.len() + 1 > room {
                    written.left_out += 1;
                    continue;
                }
                (room, places) = (room - pod.len() - 1, places - 1);
                if written.pods > 0 {
                    text.push(b',');
                }
                text.extend_from_slice(&pod);
                written.pods += 1;
            }
        }
        text.extend_from_slice(b"]}");
        Ok((text, written))
    }

    /// Replaces the file, whole or not at all.
    ///
    /// # Errors
    /// The folder is missing, full or not ours.
    pub fn write(&self, file: &Path) -> io::Result<Written> {
        let (text, written) = self.text()?;
        let new = file.with_extension("new");
        std::fs::write(&new, text)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(&new, mode)?;
        std::fs::rename(&new, file)?;
        Ok(written)
    }
}

fn put(to: &mut BTreeMap<String, Listed>, meta: ObjectMeta) -> Change {
    let Some(listed) = Listed::of(meta) else {
        return Change::None;
    };
    match to.insert(listed.uid.clone(), listed.clone()) {
        Some(before) if before == listed => Change::None,
        _ => Change::Some,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0b2d1a54c3f6e7890b2d1a54c3f6e789";
    const MIRROR: &str = "kubernetes.io/config.mirror";

    fn meta(uid: &str, annotations: &[(&str, &str)]) -> ObjectMeta {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        ObjectMeta {
            uid: Some(uid.to_owned()),
            name: Some(format!("pod-{uid}")),
            namespace: Some("web".to_owned()),
            annotations: Some(annotations.iter().map(own).collect()),
            ..ObjectMeta::default()
        }
    }

    /// Uids in the file.
    fn uids(list: &List) -> Vec<String> {
        let (text, written) = list.text().expect("a text");
        let file: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        let pods = file["pods"].as_array().expect("a list");
        assert_eq!(pods.len(), written.pods);
        let uid = |pod: &serde_json::Value| pod["uid"].as_str().expect("text").to_owned();
        pods.iter().map(uid).collect()
    }

    #[test]
    fn only_what_the_agent_asks_for_leaves_the_program() {
        let long = "x".repeat(LONGEST_TEXT + 1);
        let annotations = [
            ("secret", "x"),
            ("xsched.io/class", "low"),
            ("xsched.io/other", "x"),
            ("xsched.io/weight", &long),
        ];
        let mut meta = meta("u", &annotations);
        let label = |n: usize| (format!("l{n:04}"), "x".to_owned());
        let mut labels: BTreeMap<String, String> = (0..1_000).map(label).collect();
        labels.insert("a".to_owned(), long);
        meta.labels = Some(labels);
        let listed = Listed::of(meta).expect("whole");
        let keys: Vec<&String> = listed.annotations.keys().collect();
        assert_eq!(keys, ["xsched.io/class"]);
        assert_eq!(listed.labels.len(), MOST_LABELS);
        assert!(!listed.labels.contains_key("a"));
        assert_eq!(Listed::of(ObjectMeta::default()), None);
    }

    #[test]
    fn a_pod_says_a_static_pod_s_hash_and_no_other_pod_s_uid() {
        let mut list = List::default();
        list.changed(meta("victim", &[]));
        for (uid, mirror) in [("thief", "victim"), ("odd", "0b2d"), ("fixed", HASH)] {
            list.changed(meta(uid, &[(MIRROR, mirror)]));
        }
        assert_eq!(uids(&list), [HASH, "odd", "thief", "victim"]);
        // Whatever the API server gives as uids.
        list.changed(meta(HASH, &[]));
        assert_eq!(uids(&list), [HASH, "fixed", "odd", "thief", "victim"]);
    }

    #[test]
    fn a_namespace_without_end_takes_its_own_part() {
        let mut list = List::default();
        let big = "x".repeat(LONGEST_TEXT);
        for pod in 0..3_000 {
            let mut meta = meta(&format!("{pod:04}"), &[]);
            let labels = (0..20).map(|n| (format!("{n}{}", &big[3..]), big.clone()));
            meta.labels = Some(labels.collect());
            list.changed(meta);
        }
        for pod in 0..110 {
            let mut meta = meta(&format!("victim-{pod}"), &[("xsched.io/class", "low")]);
            meta.namespace = Some("other".to_owned());
            list.changed(meta);
        }
        let (text, written) = list.text().expect("a text");
        assert!(text.len() <= LARGEST_FILE + 64, "{}", text.len());
        assert_eq!(written.pods + written.left_out, 3_110);
        assert!(written.left_out > 2_000, "{written:?}");
        let listed = uids(&list);
        let victims = listed.iter().filter(|uid| uid.starts_with("victim"));
        assert_eq!(victims.count(), 110);
    }

    #[test]
    fn what_is_not_ours_changes_nothing() {
        let mut list = List::default();
        assert_eq!(list.changed(meta("a", &[])), Change::Some);
        assert_eq!(list.changed(meta("a", &[("other", "x")])), Change::None);
        let asks = [("xsched.io/class", "low")];
        assert_eq!(list.changed(meta("a", &asks)), Change::Some);
        assert_eq!(list.gone(&meta("b", &[])), Change::None);
        assert_eq!(list.gone(&meta("a", &[])), Change::Some);
    }

    #[test]
    fn a_list_counts_when_it_is_whole() {
        let mut list = List::default();
        list.changed(meta("a", &[]));
        list.begin();
        list.listed(meta("b", &[]));
        assert!(list.pods.contains_key("a") && list.len() == 1);
        list.end();
        assert!(list.pods.contains_key("b") && list.len() == 1);
        list.gone(&meta("b", &[]));
        assert_eq!(list.len(), 0);
    }
}
