//! Lines of logs and traces: what each form says of a request. Pure; any bytes may come.

mod csv;
mod detect;
mod entry;
mod fields;
mod json;
mod layout;
mod moment;
mod request_line;
mod slot;

pub use detect::detect;
pub use entry::{Entry, Fields};
pub use fields::{FieldMap, FieldMapError};
pub use layout::{Layout, LayoutError};

/// How a log's lines are read.
#[derive(Clone, Debug)]
pub enum Format {
    /// Fields at their places: Common, Combined, and whatever a format string says.
    Layout(Layout),
    /// An object a line.
    Json(FieldMap),
    /// `timestamp,key,size`: a trace of requests for objects that never change.
    Csv,
}

/// What is wrong with a line. The word stands in reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Broken {
    /// Longer than is read.
    TooLong,
    /// It has not the form of the others.
    Form,
    /// It is no JSON object.
    Json,
    /// What was asked for is no request of HTTP: bytes of another protocol, or nothing.
    Request,
    /// The time is none.
    Time,
    /// The status is none from 100 to 599.
    Status,
    /// The size is no number.
    Size,
}

impl Broken {
    /// All kinds, for tables.
    pub const ALL: [Self; 7] = [
        Self::TooLong,
        Self::Form,
        Self::Json,
        Self::Request,
        Self::Time,
        Self::Status,
        Self::Size,
    ];

    /// The stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::TooLong => "too-long",
            Self::Form => "form",
            Self::Json => "json",
            Self::Request => "request",
            Self::Time => "time",
            Self::Status => "status",
            Self::Size => "size",
        }
    }

    /// What it means, in a sentence for operators.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::TooLong => "longer than 1 MiB",
            Self::Form => "not of the form of the log",
            Self::Json => "not a JSON object",
            Self::Request => "not a request of HTTP",
            Self::Time => "without a time that can be read",
            Self::Status => "without a status from 100 to 599",
            Self::Size => "with a size that is no number",
        }
    }
}

impl Format {
    /// By its name: `common`, `combined`, `vhost`, `seawall`, `json`, `csv`, or a name that another
    /// program has for one of these (`clf`, `ncsa`, `varnish`, `nginx`, `apache`, `caddy`,
    /// `traefik`); or else by a format string of nginx or Apache.
    ///
    /// # Errors
    /// [`LayoutError`], where it is neither.
    pub fn named(text: &str) -> Result<Self, LayoutError> {
        Ok(match text {
            "common" | "clf" => Self::Layout(Layout::common()),
            "combined" | "ncsa" | "varnish" | "varnishncsa" | "nginx" | "apache" => {
                Self::Layout(Layout::combined())
            }
            "vhost" | "vhost-combined" | "vhost_combined" => Self::Layout(Layout::vhost()),
            "seawall" | "text" => Self::Layout(Layout::seawall()),
            "json" | "caddy" | "traefik" => Self::Json(FieldMap::default()),
            "csv" => Self::Csv,
            layout => Self::Layout(Layout::parse(layout)?),
        })
    }

    /// Reads a line, without its end; `None` for one that says nothing: an empty one, a comment, a
    /// header.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read<'a>(&self, line: &'a [u8]) -> Result<Option<Entry<'a>>, Broken> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        match self {
            Self::Layout(layout) => layout.read(line).map(Some),
            Self::Json(fields) => json::read(fields, line).map(Some),
            Self::Csv => csv::read(line),
        }
    }

    /// Whether it would tell what the origin says of a response's lifetime, if it said something.
    #[must_use]
    pub fn tells_lifetimes(&self) -> bool {
        match self {
            Self::Layout(layout) => layout.tells_lifetimes(),
            Self::Json(_) | Self::Csv => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn every_format() -> Vec<Format> {
        let strings = [
            "$remote_addr [$time_local] \"$request\" $status $body_bytes_sent",
            "%h %l %u %t \"%r\" %>s %b %D \"%{Cache-Control}o\"",
            "$msec|$request_method|$scheme://$host$request_uri|$status|$bytes_sent",
        ];
        let names = ["common", "combined", "vhost", "seawall", "json", "csv"];
        strings.iter().chain(&names).map(|text| Format::named(text).unwrap()).collect()
    }

    /// Bytes that get far: the marks of the formats, and whatever else.
    fn line() -> impl Strategy<Value = Vec<u8>> {
        let marks = prop::sample::select(vec![
            "127.0.0.1",
            " - - ",
            "[10/Oct/2000:13:55:36 -0700]",
            "[",
            "]",
            "\"",
            "\\",
            "\\x",
            " ",
            "GET ",
            "/a?b",
            " HTTP/1.1",
            "200",
            "99999999999999999999",
            ",",
            "{",
            "}",
            ":",
            "|",
            "\"ts\":",
            "\"status\":",
            "\"request\":",
            "1e300",
            "-1",
            "http://",
            "\u{e9}",
            "\0",
        ]);
        let piece = prop_oneof![
            4 => marks.prop_map(|mark| mark.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..6),
        ];
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn no_line_is_too_strange(line in line()) {
            for format in every_format() {
                if let Ok(Some(entry)) = format.read(&line) {
                    prop_assert!((100..600).contains(&entry.status));
                    prop_assert!(!entry.target.is_empty());
                }
            }
            let _ = detect(&line);
        }

        #[test]
        fn no_format_string_is_too_strange(text in "[$%{}a-z>\"! \\\\\\[\\]|]{0,40}", line in line()) {
            if let Ok(layout) = Layout::parse(&text) {
                let _ = layout.read(&line);
            }
        }
    }
}
