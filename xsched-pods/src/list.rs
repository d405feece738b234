//! The list of pods, and its file.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use kube::core::ObjectMeta;
use serde::Serialize;

/// Annotations with this beginning are for the agent; others may hold
/// anything, and are nobody's business.
const OURS: &str = "xsched.io/";

/// A pod as the agent wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    uid: String,
    namespace: String,
    name: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

impl Listed {
    /// From what the API server tells; `None` where that is not whole.
    fn of(meta: ObjectMeta) -> Option<Listed> {
        // Kubelet names the control group of a static pod by the hash of its file,
        // not by the uid of the API server's mirror of it
        // (pkg/kubelet/types/pod_update.go: ConfigHashAnnotationKey,
        // ConfigMirrorAnnotationKey).
        const MIRROR: &str = "kubernetes.io/config.mirror";
        let mut annotations = meta.annotations.unwrap_or_default();
        let uid = annotations.get(MIRROR).cloned().or(meta.uid)?;
        annotations.retain(|key, _| key.starts_with(OURS));
        Some(Listed {
            uid,
            namespace: meta.namespace?,
            name: meta.name?,
            labels: meta.labels.unwrap_or_default(),
            annotations,
        })
    }
}

/// All pods of a node.
#[derive(Debug, Default)]
pub struct List {
    /// By the API server's uid.
    pods: BTreeMap<String, Listed>,
    /// Those of a list that is still coming.
    coming: Option<BTreeMap<String, Listed>>,
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
    pub fn changed(&mut self, meta: ObjectMeta) {
        put(&mut self.pods, meta);
    }

    /// A pod is gone.
    pub fn gone(&mut self, meta: &ObjectMeta) {
        if let Some(uid) = &meta.uid {
            self.pods.remove(uid);
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// Replaces the file, whole or not at all.
    ///
    /// # Errors
    /// The folder is missing, full or not ours.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        #[derive(Serialize)]
        struct File<'l> {
            version: u32,
            pods: Vec<&'l Listed>,
        }
        let list = File {
            version: 1,
            pods: self.pods.values().collect(),
        };
        let text = serde_json::to_vec(&list)?;
        let new = file.with_extension("new");
        std::fs::write(&new, text)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(&new, mode)?;
        std::fs::rename(&new, file)
    }
}

fn put(to: &mut BTreeMap<String, Listed>, meta: ObjectMeta) {
    let uid = meta.uid.clone();
    if let (Some(uid), Some(listed)) = (uid, Listed::of(meta)) {
        to.insert(uid, listed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn only_our_annotations_leave_the_program() {
        let listed = Listed::of(meta("u", &[("secret", "x"), ("xsched.io/class", "low")]));
        let listed = listed.expect("whole");
        assert_eq!(listed.annotations.len(), 1);
        let fixed = Listed::of(meta("u", &[("kubernetes.io/config.mirror", "0b2d")]));
        assert_eq!(fixed.expect("whole").uid, "0b2d", "as its control group");
        assert_eq!(Listed::of(ObjectMeta::default()), None);
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
