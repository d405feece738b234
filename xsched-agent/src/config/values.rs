//! Values as people write them: times with units, one or several patterns,
//! users by name or number.

use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{StrDeserializer, U64Deserializer};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use xsched_common::api::SharingMode;
use xsched_common::page::HintPolicy;
use xsched_common::units::{Class, Nanos, PciAddress, Weight};

use super::agent::MetricsAt;
use crate::rules;

/// A time with its unit: `"30ms"`, `"500us"`, `"1s 500ms"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Nanos);

impl std::str::FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Time, String> {
        let duration = humantime::parse_duration(text).map_err(|_| {
            format!("not a time: \"{text}\"; write it as \"30ms\", \"500us\" or \"2s\"")
        })?;
        u64::try_from(duration.as_nanos())
            .map(|ns| Time(Nanos(ns)))
            .map_err(|_| format!("a time of more than 500 years: \"{text}\""))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        parsed(deserializer, "a time with its unit, as \"30ms\"")
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["30ms", "500us", "2s"] })
    }
}

/// Reads a string and parses it; a parsing error keeps its own words.
pub(super) fn parsed<'de, D, T>(deserializer: D, expected: &'static str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr<Err: fmt::Display>,
{
    struct Parsed<T>(&'static str, PhantomData<T>);
    impl<T: std::str::FromStr<Err: fmt::Display>> Visitor<'_> for Parsed<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }
    deserializer.deserialize_str(Parsed(expected, PhantomData))
}

/// A [`rules::Pattern`].
#[derive(Clone, Debug)]
pub struct Pattern(pub rules::Pattern);

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pattern, D::Error> {
        parsed(deserializer, "a pattern").map(Pattern)
    }
}

impl JsonSchema for Pattern {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Pattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "description": "A glob over the whole text (* is anything, slashes too), or re: and a regular expression."
        })
    }
}

/// A user or group: its name or its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// To be looked up on this machine.
    Name(String),
    /// As it is.
    Id(u32),
}

impl<'de> Deserialize<'de> for Account {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Account, D::Error> {
        struct NameOrId;
        impl Visitor<'_> for NameOrId {
            type Value = Account;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name or a number")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Account, E> {
                match text.parse() {
                    _ if text.is_empty() => Err(E::custom("an empty name")),
                    Ok(id) => Ok(Account::Id(id)),
                    Err(_) => Ok(Account::Name(text.to_owned())),
                }
            }

            fn visit_u64<E: de::Error>(self, id: u64) -> Result<Account, E> {
                u32::try_from(id)
                    .map(Account::Id)
                    .map_err(|_| E::custom(format!("{id} is more than any user or group number")))
            }

            fn visit_i64<E: de::Error>(self, id: i64) -> Result<Account, E> {
                match u64::try_from(id) {
                    Ok(id) => self.visit_u64(id),
                    Err(_) => Err(E::custom(format!("{id} is no user or group number"))),
                }
            }
        }
        deserializer.deserialize_any(NameOrId)
    }
}

impl JsonSchema for Account {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Account".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A user or group: its name or its number.",
            "anyOf": [{ "type": "string", "minLength": 1 }, { "type": "integer", "minimum": 0 }]
        })
    }
}

/// One value, or a list of which one must fit.
#[derive(Clone, Debug)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T> Default for OneOrMany<T> {
    fn default() -> OneOrMany<T> {
        OneOrMany(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OneOrMany<T>, D::Error> {
        struct Values<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Values<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one value or a list of values")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany<T>, E> {
                T::deserialize(StrDeserializer::new(text)).map(|one| OneOrMany(vec![one]))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<OneOrMany<T>, E> {
                T::deserialize(U64Deserializer::new(number)).map(|one| OneOrMany(vec![one]))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<OneOrMany<T>, E> {
                match u64::try_from(number) {
                    Ok(number) => self.visit_u64(number),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
                }
            }

            fn visit_seq<A: de::SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> Result<OneOrMany<T>, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = seq.next_element()? {
                    values.push(value);
                }
                // None of no patterns would fit: a rule that applies to nobody.
                if values.is_empty() {
                    return Err(de::Error::custom(
                        "an empty list: leave the key out instead",
                    ));
                }
                Ok(OneOrMany(values))
            }
        }
        deserializer.deserialize_any(Values(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("OneOrMany{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }
}

/// A device's bus address as a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(pub PciAddress);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
        parsed(deserializer, "a PCI address, as \"0000:03:00.0\"").map(Address)
    }
}

impl JsonSchema for Address {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Address".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^([0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\\.[0-7]$"
        })
    }
}

/// A [`MetricsAt`].
#[derive(Clone, Copy, Debug)]
pub struct Metrics(pub MetricsAt);

impl<'de> Deserialize<'de> for Metrics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Metrics, D::Error> {
        parsed(
            deserializer,
            "an address, as \"127.0.0.1:9464\", or \"off\"",
        )
        .map(Metrics)
    }
}

impl JsonSchema for Metrics {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Metrics".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["127.0.0.1:9464", "off"] })
    }
}

/// The schema of [`Class`].
pub(super) fn class(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": Class::ALL.map(Class::name) })
}

/// The schema of [`HintPolicy`].
pub(super) fn hints(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": HintPolicy::ALL.map(HintPolicy::name) })
}

/// The schema of [`SharingMode`].
pub(super) fn mode(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": SharingMode::ALL.map(SharingMode::name) })
}

/// The schema of [`Weight`].
pub(super) fn weight(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "integer",
        "minimum": Weight::MIN.get(),
        "maximum": Weight::MAX.get(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_have_units() {
        for (text, ns) in [
            ("30ms", 30_000_000),
            ("500us", 500_000),
            ("2s", 2_000_000_000),
            ("1m 30s", 90_000_000_000),
            ("0s", 0),
        ] {
            assert_eq!(text.parse(), Ok(Time(Nanos(ns))), "{text}");
        }
        for bad in ["", "30", "ms", "30 parsecs", "-1s", "99999999999y"] {
            assert!(bad.parse::<Time>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_time_or_an_error(text in "\\PC{0,30}") {
            let _ = text.parse::<Time>();
        }
    }
}
