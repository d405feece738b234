//! Events that could not be counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

/// Events that are missing from the counts, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Drops {
    /// All of them.
    pub total: u64,
    /// By reason; reasons without drops are left out.
    pub by_reason: Vec<DropCount>,
}

/// A reason and its count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DropCount {
    /// [`crate::bpf::Drop::name`].
    pub reason: String,
    /// Events.
    pub count: u64,
    /// The same by CPU; CPUs without are left out.
    #[serde(default, deserialize_with = "numbered")]
    pub by_cpu: BTreeMap<u32, u64>,
}

/// A map whose keys are numbers. JSON has them as text; serde_json turns that
/// into numbers only where it reads the map itself, not within a tagged enum
/// such as [`super::Response`], whose content is read twice
/// (<https://github.com/serde-rs/json/issues/560>).
fn numbered<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<u32, u64>, D::Error> {
    let parse = |(key, count): (String, u64)| match key.parse() {
        Ok(cpu) => Ok((cpu, count)),
        Err(_) => Err(serde::de::Error::custom(format_args!(
            "no number of a CPU: {key}"
        ))),
    };
    BTreeMap::<String, u64>::deserialize(from)?
        .into_iter()
        .map(parse)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Response, Snapshot};
    use super::*;

    #[test]
    fn drops_by_cpu_survive_the_way_to_a_client() {
        let mut snapshot = Snapshot::default();
        snapshot.agent.drops.by_reason = vec![DropCount {
            reason: "map_full".into(),
            count: 12,
            by_cpu: BTreeMap::from([(0, 5), (11, 7)]),
        }];
        let sent = Response::Snapshot(Box::new(snapshot));
        let text = serde_json::to_string(&sent).expect("serialises");
        assert!(text.contains(r#""by_cpu":{"0":5,"11":7}"#), "{text}");
        let got: Response = serde_json::from_str(&text).expect("parses");
        assert_eq!(got, sent);
        let wrong = text.replace("\"11\"", "\"x\"");
        assert!(serde_json::from_str::<Response>(&wrong).is_err());
    }
}
