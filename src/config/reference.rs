//! All keys, written out from their tables: as a file to start from, and for the documentation.

use std::fmt::Write;

use super::schema::{Absent, Described};
use super::sections::{self, Section};

const HEAD: &str = "\
#:schema ./schema.json
# Seawall's configuration: every key with its default.
#
# A line that begins with `#` and holds a key is an example: without it, the key is unset.
# Durations are written \"250ms\", \"30s\", \"1h 30m\"; sizes \"64KiB\", \"256MiB\".
# Relative paths start at this file's directory.
#
# Print this file:      seawall config default
# For editors (line 1): seawall config schema > schema.json
# Check yours:          seawall check --config seawall.toml
# What is in force:     seawall config show --config seawall.toml
";

const WIDTH: usize = 96;

/// Whether a section with its defaults means something else than none.
fn is_optional(section: &str) -> bool {
    let top = section.split('.').next();
    matches!(section, "listener.tls" | "redis.sentinel") || matches!(top, Some("rule" | "test"))
}

/// The contents of `config/seawall.toml`: every key with its default and meaning.
///
/// The file means the same as `serve --origin http://127.0.0.1:9000` without any file.
#[must_use]
pub fn default_file() -> String {
    let mut file = HEAD.to_owned();
    for section in sections::all() {
        let unset = is_optional(section.name);
        file.push('\n');
        comment(&mut file, section.about);
        let header = match section.name {
            "listener" | "route" | "rule" | "test" => format!("[[{}]]", section.name),
            "upstream.NAME" => "[upstream.origin]".to_owned(),
            name => format!("[{name}]"),
        };
        let _ = writeln!(file, "{}{header}", if unset { "# " } else { "" });
        for (index, key) in section.keys.iter().enumerate() {
            if index > 0 {
                file.push('\n');
            }
            comment(&mut file, key.meaning);
            let active = matches!(key.absent, Absent::Default(_) | Absent::Required(_)) && !unset;
            let _ = writeln!(
                file,
                "{}{} = {}",
                if active { "" } else { "# " },
                key.name,
                key.absent.text()
            );
        }
    }
    file.push('\n');
    comment(&mut file, sections::ERROR_PAGES);
    file.push_str("[error_pages]\n# 502 = \"502.html\"\n");
    file
}

/// The tables of `docs/configuration.md`, one a section, in Markdown: name and table.
#[must_use]
pub fn key_tables() -> Vec<(&'static str, String)> {
    sections::all().into_iter().map(|section| (section.name, table(&section))).collect()
}

fn table(section: &Section) -> String {
    let mut table = "| key | default | meaning |\n|---|---|---|\n".to_owned();
    for Described { name, absent, meaning } in &section.keys {
        let default = match absent {
            Absent::Default(text) => format!("`{text}`"),
            Absent::Example(text) => format!("unset (like `{text}`)"),
            Absent::Required(text) => format!("required (like `{text}`)"),
        };
        let _ = writeln!(table, "| `{name}` | {default} | {meaning} |");
    }
    table
}

/// Comment lines of bounded width; what stands in backticks stays on one line.
fn comment(file: &mut String, text: &str) {
    let mut line = "#".to_owned();
    let mut quoted = false;
    for word in text.split(' ') {
        if line.len() + word.len() >= WIDTH && !quoted {
            let _ = writeln!(file, "{line}");
            line.truncate(1);
        }
        line.push(' ');
        line.push_str(word);
        quoted ^= word.matches('`').count() % 2 == 1;
    }
    let _ = writeln!(file, "{line}");
}
