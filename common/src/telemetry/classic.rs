//! Metrics in Prometheus' older text format, for what does not ask for OpenMetrics.

/// Rewrites OpenMetrics text. There a counter's family has no `_total` and there are families of kind `info`, and the
/// text has an end.
#[must_use]
pub fn classic(open: &str) -> String {
    let mut text = String::with_capacity(open.len() + 1024);
    let mut help = None;
    for line in open.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            text.extend([line, "\n"]);
            continue;
        };
        let mut words = comment.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("HELP"), Some(name), Some(words)) => help = Some((name, words)),
            (Some("TYPE"), Some(name), Some(kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", kind),
                    "info" => ("_info", "gauge"),
                    _ => ("", kind),
                };
                if let Some((_, words)) = help.take().filter(|(of, _)| *of == name) {
                    text.extend(["# HELP ", name, suffix, " ", words, "\n"]);
                }
                text.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
            }
            // UNIT and EOF.
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_named_as_their_samples() {
        let open = "# HELP build which build.\n# TYPE build info\nbuild_info{version=\"1\"} 1\n\
                    # HELP sent what was sent.\n# TYPE sent counter\n# UNIT sent bytes\nsent_total{to=\"a b\"} 7\n\
                    # HELP open now.\n# TYPE open gauge\nopen 3\n# EOF\n";
        let expected = "# HELP build_info which build.\n# TYPE build_info gauge\nbuild_info{version=\"1\"} 1\n\
                        # HELP sent_total what was sent.\n# TYPE sent_total counter\nsent_total{to=\"a b\"} 7\n\
                        # HELP open now.\n# TYPE open gauge\nopen 3\n";
        assert_eq!(classic(open), expected);
    }
}
