//! The two formats that Prometheus reads.

/// How a page of metrics is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0, for whoever asks for it.
    OpenMetrics,
    /// Prometheus's text format 0.0.4, which everybody reads.
    Text,
}

impl Format {
    /// What an `Accept` header asks for. Prometheus itself lists OpenMetrics
    /// where it prefers it; the weights of both are not compared.
    pub fn of_accept(accept: &str) -> Format {
        if accept.contains("application/openmetrics-text") {
            Format::OpenMetrics
        } else {
            Format::Text
        }
    }

    /// Its content type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// A page of OpenMetrics in the text format. The difference lies in what
/// the comments say: in OpenMetrics a family's name has no `_total` or `_info`, its
/// unit is said, and the page ends with a mark.
pub(super) fn text(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len());
    // HELP comes before TYPE, which tells how the family is called.
    let mut help: Option<(&str, &str)> = None;
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "untyped"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                other => ("", other),
            };
            if let Some((name, help)) = help.take() {
                out += &format!("# HELP {name}{suffix} {help}\n");
            }
            out += &format!("# TYPE {name}{suffix} {kind}\n");
        } else if !line.starts_with('#') {
            out += line;
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_get_the_names_that_their_series_have() {
        let page = "\
# HELP x_launches Launches.
# TYPE x_launches counter
x_launches_total{a=\"# TYPE\"} 1
# HELP x_wait_seconds Waits.
# TYPE x_wait_seconds gauge
# UNIT x_wait_seconds seconds
x_wait_seconds 2.0
# EOF
";
        let expected = "\
# HELP x_launches_total Launches.
# TYPE x_launches_total counter
x_launches_total{a=\"# TYPE\"} 1
# HELP x_wait_seconds Waits.
# TYPE x_wait_seconds gauge
x_wait_seconds 2.0
";
        assert_eq!(text(page), expected);
    }

    #[test]
    fn who_does_not_ask_gets_text() {
        assert_eq!(Format::of_accept("*/*"), Format::Text);
        let prometheus =
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::of_accept(prometheus), Format::OpenMetrics);
    }
}
