//! The results as one self-contained HTML page.

mod charts;

use std::fmt::Write as _;

use crate::json::Results;
use crate::table;

/// The page: tables, histograms, pictures of the heap; nothing is loaded from elsewhere.
pub(crate) fn html(results: &Results) -> String {
    let mut out = String::from(HEAD);
    let _ = writeln!(
        out,
        "<h1>gc-demo: {}</h1>\n<p>Kernel {}, seed {}, heap limit {} MiB.</p>",
        escape(&results.workload),
        escape(&results.kernel),
        results.seed,
        results.heap_limit_bytes >> 20
    );
    for part in table::parts(results) {
        let _ = writeln!(out, "<h2>{}</h2>\n<table><tr>", escape(part.title));
        for head in part.heads {
            let _ = write!(out, "<th>{}</th>", escape(head));
        }
        out.push_str("</tr>\n");
        for row in &part.rows {
            out.push_str("<tr>");
            for (column, cell) in row.iter().enumerate() {
                // A remark instead of figures takes the rest of the row.
                let span = if column == 1 && row.len() == 2 { part.heads.len() - 1 } else { 1 };
                let _ = write!(out, "<td colspan=\"{span}\">{}</td>", escape(cell));
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</table>\n");
    }
    section(
        &mut out,
        "Pauses",
        "From the request to the last thread's resumption.",
        charts::pauses(results),
    );
    section(&mut out, "Faults", "Service time on the faulting thread.", charts::faults(results));
    for row in &results.transports {
        section(
            &mut out,
            &format!("The heap's pages, {}", row.name),
            "From left to right: the heap's addresses. From top to bottom: the cycles.",
            charts::pages(row),
        );
    }
    out.push_str(LEGEND);
    out.push_str("</body></html>\n");
    out
}

/// A chart with its heading, or a word on why there is none.
fn section(out: &mut String, title: &str, note: &str, chart: Option<String>) {
    let chart = chart.unwrap_or_else(|| "<p>Nothing was recorded.</p>".into());
    let _ = writeln!(out, "<h2>{}</h2>\n<p>{}</p>\n{chart}", escape(title), escape(note));
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const HEAD: &str = "<!DOCTYPE html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><title>gc-demo</title><style>
body { font: 15px sans-serif; margin: 2em; max-width: 70em; }
table { border-collapse: collapse; } th, td { padding: 0.2em 0.7em; text-align: right; }
th { border-bottom: 1px solid; } th:first-child, td:first-child { text-align: left; }
tr:nth-child(even) { background: #f2f2f2; } svg { max-width: 100%; }
</style></head><body>
";

const LEGEND: &str = "<p>Pages: <span style=\"color:#2a6fbb\">&#9632;</span> compacted object by object, \
<span style=\"color:#3a9d5d\">&#9632;</span> slid as a whole, \
<span style=\"color:#e0a030\">&#9632;</span> fresh, <span style=\"color:#dddddd\">&#9632;</span> free.</p>
";

#[cfg(test)]
mod tests {
    #[test]
    fn text_is_escaped() {
        assert_eq!(super::escape("a<b> & \"c\""), "a&lt;b&gt; &amp; &quot;c&quot;");
    }
}
