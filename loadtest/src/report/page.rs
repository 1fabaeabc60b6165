//! One page of HTML that needs nothing but itself: no script, no font, no picture from elsewhere. All text that is put
//! in is escaped.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use super::plot::{COLOURS, FAINT, INK, Plot};

/// The same series on a dark page.
const DARK_COLOURS: [&str; 7] = ["#4DA9E0", "#FF8A3D", "#33C79E", "#E6A3C6", "#D9B13B", "#8FD3F8", "#A8A8A8"];
const DARK_INK: &str = "#E4E4E4";
const DARK_FAINT: &str = "#3A3D42";

const STYLE: &str = "\
:root{color-scheme:light dark;--ground:#fff;--ink:#262626;--soft:#666;--line:#dedede;--card:#f6f7f8;--good:#0a7a43;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--ground:#16181b;--ink:#e4e4e4;--soft:#a0a4aa;--line:#3a3d42;--card:#1f2226;--good:#4ccb8a;--bad:#ff7b72}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:980px;padding:32px 24px 64px;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
h1{font-size:26px;margin:0 0 4px}h2{font-size:19px;margin:40px 0 10px}
p{margin:8px 0;color:var(--soft)}p.good,p.bad{font-weight:600}p.good{color:var(--good)}p.bad{color:var(--bad)}
.tiles{display:flex;flex-wrap:wrap;gap:12px;margin:20px 0}
.tile{flex:1 1 140px;background:var(--card);border-radius:8px;padding:12px 16px}
.tile b{display:block;font-size:22px;font-variant-numeric:tabular-nums}.tile span{color:var(--soft);font-size:13px}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:5px 10px;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{font-weight:600;color:var(--soft)}
table.facts td{text-align:left;white-space:normal;overflow-wrap:anywhere}table.facts td:first-child{color:var(--soft);width:190px}
figure{margin:22px 0}figcaption{font-weight:600;margin-bottom:4px}svg{display:block;width:100%;height:auto}
";

/// A page that is being written from top to bottom.
#[derive(Debug)]
pub(crate) struct Page {
    title: String,
    body: String,
}

impl Page {
    /// A page with its title and a line under it.
    pub(crate) fn new(title: &str, under: &str) -> Self {
        let mut page = Self { title: title.into(), body: String::new() };
        page.element("h1", "", title);
        page.text(under);
        page
    }

    fn element(&mut self, tag: &str, class: &str, text: &str) {
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        let _ = writeln!(self.body, "<{tag}{class}>{}</{tag}>", escaped(text));
    }

    /// Begins a section.
    pub(crate) fn section(&mut self, heading: &str) {
        self.element("h2", "", heading);
    }

    /// A paragraph.
    pub(crate) fn text(&mut self, text: &str) {
        self.element("p", "", text);
    }

    /// A paragraph that says whether all is well.
    pub(crate) fn verdict(&mut self, is_good: bool, text: &str) {
        self.element("p", if is_good { "good" } else { "bad" }, text);
    }

    /// The few figures that come first: name and value.
    pub(crate) fn tiles(&mut self, figures: &[(&str, String)]) {
        self.body.push_str("<div class=\"tiles\">");
        for (what, figure) in figures {
            let (what, figure) = (escaped(what), escaped(figure));
            let _ = write!(self.body, "<div class=\"tile\"><b>{figure}</b><span>{what}</span></div>");
        }
        self.body.push_str("</div>\n");
    }

    /// A table of two columns: name and value.
    pub(crate) fn facts(&mut self, rows: &[(String, String)]) {
        self.body.push_str("<table class=\"facts\">");
        for (what, value) in rows {
            let _ = write!(self.body, "<tr><td>{}</td><td>{}</td></tr>", escaped(what), escaped(value));
        }
        self.body.push_str("</table>\n");
    }

    /// A table with a head.
    pub(crate) fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        let cells = |tag: &str, texts: &mut dyn Iterator<Item = &str>| {
            let cells: String = texts.map(|text| format!("<{tag}>{}</{tag}>", escaped(text))).collect();
            format!("<tr>{cells}</tr>")
        };
        let head = cells("th", &mut head.iter().copied());
        let rows: String = rows.iter().map(|row| cells("td", &mut row.iter().map(String::as_str))).collect();
        let _ = writeln!(self.body, "<div class=\"wide\"><table>{head}{rows}</table></div>");
    }

    /// A plot with its title.
    ///
    /// # Errors
    /// It cannot be drawn.
    pub(crate) fn plot(&mut self, plot: &Plot) -> Result<()> {
        let title = escaped(&plot.title);
        // In a page the namespace is not needed.
        let svg = plot.svg()?.replacen(r#" xmlns="http://www.w3.org/2000/svg""#, "", 1);
        let svg = svg.replacen("<svg", &format!("<svg role=\"img\" aria-label=\"{title}\""), 1);
        let _ = writeln!(self.body, "<figure><figcaption>{title}</figcaption>{svg}</figure>");
        Ok(())
    }

    /// The whole page.
    pub(crate) fn html(&self) -> String {
        let (title, body) = (escaped(&self.title), &self.body);
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
             <style>\n{STYLE}{}</style>\n{body}</html>\n",
            dark_plots()
        )
    }

    /// Writes it to a file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, self.html()).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Rules that give the plots other colours on a dark page: style sheets override colours that are set in SVG.
fn dark_plots() -> String {
    let light = COLOURS.iter().chain([&INK, &FAINT]);
    let dark = DARK_COLOURS.iter().chain([&DARK_INK, &DARK_FAINT]);
    let rules = light.zip(dark).map(|(from, to)| {
        format!("svg [fill=\"{from}\"]{{fill:{to}}}svg [stroke=\"{from}\"]{{stroke:{to}}}\n")
    });
    format!("@media(prefers-color-scheme:dark){{\n{}}}\n", rules.collect::<String>())
}

/// Text that is shown as it is, in elements and in attributes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::plot::{Axis, Line, Scale};

    const EVIL: &str = "<script src=\"https://example.org/x.js\">&'";

    #[test]
    fn nothing_that_is_put_in_becomes_markup_and_nothing_comes_from_elsewhere() {
        let mut page = Page::new(EVIL, EVIL);
        page.section(EVIL);
        page.verdict(false, EVIL);
        page.tiles(&[(EVIL, EVIL.into())]);
        page.facts(&[(EVIL.into(), EVIL.into())]);
        page.table(&[EVIL], &[vec![EVIL.into()]]);
        let lines = vec![Line::new(EVIL, vec![(0.0, 1.0), (1.0, 2.0)]), Line::new("b", vec![(0.0, 1.0)])];
        let axis = || Axis::new(EVIL, Scale::Linear);
        page.plot(&Plot { title: EVIL.into(), x: axis(), y: axis(), lines }).unwrap();
        let html = page.html();
        for markup in ["<script", "src=\"", "href", "url(", "@import", "<link", "<img"] {
            assert!(!html.contains(markup), "{markup}");
        }
        assert_eq!(html.matches("&lt;script").count(), html.matches("script").count());
        assert!(html.contains("<svg role=\"img\" aria-label=\"&lt;script"));
        // Changes of the plots' colours must be repeated here.
        for colour in COLOURS[..2].iter().chain([&INK, &FAINT]) {
            assert!(html.matches(&format!("=\"{colour}\"")).count() > 2, "{colour} is not in the plot");
        }
    }
}
