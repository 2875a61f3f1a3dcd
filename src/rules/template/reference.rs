//! Whether a template leads where it is written to lead, as a URI reference.

use super::part::Part;
use super::{Piece, Template};

impl Template {
    /// Whether a client can choose the host that this leads to, as a URI reference: something
    /// other than the request's own host stands where a host may.
    #[must_use]
    pub fn leaves_host_open(&self) -> bool {
        let mut written = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => written.push_str(text),
                Piece::Part(Part::Host) => written.push('h'),
                Piece::Part(Part::Scheme) if written.is_empty() => written.push_str("http"),
                // It begins with a slash.
                Piece::Part(Part::Path) => written.push('/'),
                // Anything may stand here, so it must be behind the host.
                Piece::Part(_) => return !has_host_behind_it(&written),
            }
        }
        !has_host_behind_it(&written) && !ends_with_host(&written)
    }
}

/// Whether what is written so far is a reference whose host has ended.
fn has_host_behind_it(written: &str) -> bool {
    let after = |rest: &str| rest.find(['/', '?', '#']).is_some_and(|at| at > 0);
    match written.split_once("://") {
        Some((_, rest)) => after(rest),
        None => match written.strip_prefix("//") {
            Some(rest) => after(rest),
            // A single slash: a path on this host, unless another slash may follow.
            None => written.starts_with('/'),
        },
    }
}

/// Whether it ends with its host, like `https://shop.example`.
fn ends_with_host(written: &str) -> bool {
    let rest = written.split_once("://").map(|(_, rest)| rest);
    rest.or_else(|| written.strip_prefix("//"))
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', '?', '#']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_never_chooses_the_host_of_a_reference() {
        for (template, open) in [
            ("/new{path}", false),
            // Slashes at its beginning become one.
            ("/{query.to}", false),
            ("{path}", false),
            ("https://shop.example", false),
            ("https://shop.example{path}", false),
            ("https://shop.example/{path.1}", false),
            ("https://www.{host}{path}", false),
            ("{scheme}://{host}/?{query}", false),
            ("//cdn.example/{path.1}", false),
            ("https://shop.example{path.1}", true),
            ("https://{header.x}/", true),
            ("https://{path}", true),
            ("//{query.to}/", true),
            ("{query.to}", true),
            ("{header.x}://h/", true),
            ("relative", true),
            ("/a/{path.1}", false),
        ] {
            let template_read = Template::parse(template).unwrap();
            assert_eq!(template_read.leaves_host_open(), open, "{template}");
        }
    }
}
