//! Which libraries' and functions' launches pass, as clients are told.

use std::fmt;

use xsched_common::Abi;
use xsched_common::page::{
    ControlPage, GateScope, ListMeaning, PassthroughError, PassthroughList, TooManyApis,
};

/// Which work no gate holds back, as every client is told, or those of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passthrough {
    libraries: NameList,
    apis: NameList,
}

/// Names, and whether what they name passes or is all that is gated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameList {
    /// Beginnings of libraries' file names, or functions.
    pub names: Vec<String>,
    /// How they are meant.
    pub meaning: ListMeaning,
}

impl NameList {
    /// What these name passes.
    pub fn passing(names: Vec<String>) -> NameList {
        NameList {
            names,
            meaning: ListMeaning::Passes,
        }
    }
}

/// Names that fit into no control page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPassthrough {
    /// Of libraries.
    #[error(transparent)]
    Libraries(#[from] PassthroughError),
    /// Of functions.
    #[error(transparent)]
    Apis(#[from] TooManyApis),
}

/// The first version of the pages that lists can be turned round in.
const SCOPES_SINCE: u16 = 2;

impl Passthrough {
    /// # Errors
    /// The names do not fit in a control page, or one is none.
    pub fn new(libraries: NameList, apis: NameList) -> Result<Passthrough, BadPassthrough> {
        PassthroughList::new().set(&libraries.names)?;
        GateScope::new().set_apis(apis.meaning, &apis.names)?;
        Ok(Passthrough { libraries, apis })
    }

    /// By library.
    pub fn libraries(&self) -> &NameList {
        &self.libraries
    }

    /// By function.
    pub fn apis(&self) -> &NameList {
        &self.apis
    }

    /// Whether all is gated that can be.
    pub fn is_empty(&self) -> bool {
        *self == Passthrough::default()
    }

    /// Tells a shim of version `abi`. One that would take a list for its
    /// contrary gets none, and gates everything.
    pub(super) fn write_to(&self, page: &ControlPage, abi: Abi) {
        let Passthrough { libraries, apis } = self;
        let turned = libraries.meaning == ListMeaning::OnlyGated;
        let names = match turned && abi.minor < SCOPES_SINCE {
            true => &[],
            false => libraries.names.as_slice(),
        };
        page.scope.set_libraries(libraries.meaning);
        let written = page.passthrough.set(names);
        debug_assert!(written.is_ok(), "checked when it was made");
        let written = page.scope.set_apis(apis.meaning, &apis.names);
        debug_assert!(written.is_ok(), "checked when it was made");
    }
}

impl fmt::Display for Passthrough {
    /// For people: `libraries a, b pass; only functions c, d are gated`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Passthrough { libraries, apis } = self;
        let part = |what: &str, list: &NameList| {
            let names = list.names.join(", ");
            match list.meaning {
                ListMeaning::Passes if list.names.is_empty() => None,
                ListMeaning::Passes => Some(format!("{what} {names} pass")),
                ListMeaning::OnlyGated => Some(format!("only {what} {names} are gated")),
            }
        };
        let parts = [part("libraries", libraries), part("functions", apis)];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        match parts.is_empty() {
            true => f.write_str("everything is gated"),
            false => f.write_str(&parts.join("; ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_shim_is_not_told_a_list_that_it_would_take_for_its_contrary() {
        let page = ControlPage::new(1, 1);
        let old = Abi { major: 1, minor: 1 };
        let only = NameList {
            names: vec!["libtorch".to_owned()],
            meaning: ListMeaning::OnlyGated,
        };
        let turned = Passthrough::new(only, NameList::default()).expect("fits");
        turned.write_to(&page, old);
        assert!(page.passthrough.is_empty(), "it gates everything");
        turned.write_to(&page, xsched_common::ABI);
        assert!(page.passthrough.passes(b"libtorch_hip.so"));
        assert_eq!(page.scope.libraries(), ListMeaning::OnlyGated);
        let passing = NameList::passing(vec!["libfoo".to_owned()]);
        let passing = Passthrough::new(passing, NameList::default()).expect("fits");
        passing.write_to(&page, old);
        assert!(page.passthrough.passes(b"libfoo.so"));
        assert_eq!(page.scope.libraries(), ListMeaning::Passes);
    }
}
