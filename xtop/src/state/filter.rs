//! What the table leaves out; README.md documents the words.

use std::borrow::Cow;

use xsched_client::filter;
pub use xsched_client::filter::FilterError;

use super::cells::Value;
use super::row::Row;
use crate::column::Column;

/// Terms that a row must all meet.
pub type Filter = filter::Filter<Column>;

impl filter::Column for Column {
    type Row = Row;

    fn all() -> impl Iterator<Item = Column> {
        Column::ALL.into_iter()
    }

    fn has_words(self) -> bool {
        matches!(
            self,
            Column::Command | Column::Pid | Column::User | Column::Class | Column::Workload
        )
    }

    fn name(self) -> Cow<'static, str> {
        Column::name(self).into()
    }

    fn is_numeric(self) -> bool {
        Column::is_numeric(self)
    }

    fn value(self, row: &Row) -> impl filter::Value {
        Column::value(self, row)
    }
}

impl filter::Value for Value<'_> {
    fn text(&self) -> Cow<'_, str> {
        Value::text(self)
    }

    fn number(&self) -> f64 {
        Value::number(self)
    }

    fn is_unknown(&self) -> bool {
        *self == Value::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{row, service};

    fn admits(filter: &str, row: &Row) -> bool {
        filter.parse::<Filter>().expect("a filter").admits(row)
    }

    #[test]
    fn words_and_columns() {
        let service = service();
        for (filter, expected) in [
            ("", true),
            ("PYTHON", true),
            ("python serve", true),
            ("python batch", false),
            ("class:high", true),
            ("class:low", false),
            ("gate:open", true),
            ("pid:4242", true),
            ("pid:42", false),
            ("42", true),
            ("p99:>3ms", true),
            ("p99:>3.3ms", false),
            ("p99:<1s", true),
            ("bypass:<1%", true),
            ("launches:>5k", false),
            ("p99:", true),
            ("p99:>=3.21ms", true),
            ("p99:<=3.2ms", false),
            ("pid:=4242", true),
            ("!python", false),
            ("!train !class:low", true),
            ("!p99:-", true),
            ("/^python3?\\sserve\\.py/", true),
            ("/^serve/", false),
            ("!/a:b/", true),
            ("command:/RESNET\\d+$/", true),
            ("class:/^(high|low)$/", true),
            ("pid:/^42/", true),
            ("/", true),
            ("p99:-", false),
        ] {
            assert_eq!(admits(filter, &service), expected, "{filter}");
        }
        let unjoined = row(9, "python3");
        assert!(admits("p99:- gate:-", &unjoined));
        assert!(!admits("p99:<1s", &unjoined), "the unknown is not small");
    }

    #[test]
    fn mistakes_are_named() {
        let error = "foo:1".parse::<Filter>().expect_err("no such column");
        assert!(
            error
                .to_string()
                .starts_with("no column 'foo': use one of pid, user")
        );
        assert!("p99:>fast".parse::<Filter>().is_err());
        assert!("p99:inf".parse::<Filter>().is_err());
        for regex in ["/(/", "command:/a{1000}{1000}{1000}/", "!/[/"] {
            let error = regex.parse::<Filter>().expect_err(regex);
            assert!(matches!(error, FilterError::NoRegex { .. }));
        }
    }
}
