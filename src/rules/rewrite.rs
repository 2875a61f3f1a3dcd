//! Another path for the origin than the client's.

use http::uri::PathAndQuery;
use regex::{Regex, RegexBuilder};

use super::pattern::{MAX_COMPILED, PatternError, one_line};
use crate::key::normalize_path;

/// Bytes of a rewritten path: an expression can repeat what it has found.
const MOST_BYTES: usize = 32 * 1024;

/// What the origin's path is made of. The client's stays what is matched, keyed and purged.
#[derive(Clone, Debug)]
pub enum Rewrite {
    /// A prefix, on a segment boundary, gives way to another; both without a slash at the end.
    Prefix {
        /// What goes.
        from: Box<str>,
        /// What comes.
        to: Box<str>,
    },
    /// The first match of an expression gives way to a text with `$1` and its kin.
    Regex {
        /// What goes.
        regex: Regex,
        /// What comes.
        with: Box<str>,
    },
}

/// A path came out that is not one, or one that leads out of where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rewritten path is not in normal form")]
pub struct NotAPath;

impl Rewrite {
    /// A prefix for another; `/` or nothing is the whole path's.
    #[must_use]
    pub fn prefix(from: &str, to: &str) -> Self {
        let bare = |prefix: &str| prefix.trim_end_matches('/').into();
        Self::Prefix { from: bare(from), to: bare(to) }
    }

    /// An expression, and what takes the place of its first match.
    ///
    /// # Errors
    /// When it is none, too large, or has not the groups that `with` names.
    pub fn regex(source: &str, with: &str) -> Result<Self, PatternError> {
        let regex = RegexBuilder::new(source)
            .size_limit(MAX_COMPILED)
            .build()
            .map_err(|error| PatternError(one_line(&error.to_string())))?;
        if let Some(group) = groups(with).find(|group| !has_group(&regex, group)) {
            return Err(PatternError(format!(
                "it has no group `{group}`; where a letter follows, write ${{1}}"
            )));
        }
        Ok(Self::Regex { regex, with: with.into() })
    }

    /// The origin's path for the client's, which is in normal form; `None` if it stays the same.
    /// The query is the client's.
    ///
    /// # Errors
    /// When what comes out is no path in normal form: it would lead elsewhere than it seems to.
    pub fn apply(&self, path: &PathAndQuery) -> Result<Option<PathAndQuery>, NotAPath> {
        if !path.path().starts_with('/') {
            // `OPTIONS *` has no path.
            return Ok(None);
        }
        let Some(mut rewritten) = self.rewritten(path.path()) else { return Ok(None) };
        if rewritten.len() > MOST_BYTES || !is_path(&rewritten) {
            return Err(NotAPath);
        }
        if let Some(query) = path.query() {
            rewritten.push('?');
            rewritten.push_str(query);
        }
        PathAndQuery::try_from(rewritten).map(Some).map_err(|_| NotAPath)
    }

    fn rewritten(&self, path: &str) -> Option<String> {
        match self {
            Self::Prefix { from, to } => {
                let rest = path.strip_prefix(&**from)?;
                let rest = match rest {
                    "" if to.is_empty() => "/",
                    _ if rest.is_empty() || rest.starts_with('/') => rest,
                    _ => return None,
                };
                Some(format!("{to}{rest}"))
            }
            Self::Regex { regex, with } => {
                let found = regex.captures(path)?;
                let whole = found.get(0)?;
                let mut rewritten = path[..whole.start()].to_owned();
                found.expand(with, &mut rewritten);
                rewritten.push_str(&path[whole.end()..]);
                Some(rewritten)
            }
        }
    }
}

/// Sources say what an expression is; compiled ones can't be compared.
impl PartialEq for Rewrite {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Prefix { from, to }, Self::Prefix { from: other, to: by }) => {
                from == other && to == by
            }
            (Self::Regex { regex, with }, Self::Regex { regex: other, with: by }) => {
                regex.as_str() == other.as_str() && with == by
            }
            _ => false,
        }
    }
}

/// Whether it is a path in the one form that the client's was brought into, so that no dot segment
/// leads out of where it begins.
fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && !path.contains(['?', '#'])
        && normalize_path(path).is_ok_and(|normal| normal == path)
}

/// The groups that a replacement names, as the `regex` crate reads them.
fn groups(with: &str) -> impl Iterator<Item = &str> {
    let mut rest = with;
    std::iter::from_fn(move || {
        loop {
            let (_, after) = rest.split_once('$')?;
            rest = after;
            if let Some(after) = rest.strip_prefix('$') {
                // Two of them mean one.
                rest = after;
                continue;
            }
            if let Some((name, after)) =
                rest.strip_prefix('{').and_then(|braced| braced.split_once('}'))
            {
                rest = after;
                return Some(name);
            }
            let of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            let end = rest.bytes().position(|byte| !of_name(byte)).unwrap_or(rest.len());
            let name = &rest[..end];
            rest = &rest[end..];
            return Some(name);
        }
    })
}

fn has_group(regex: &Regex, group: &str) -> bool {
    match group.parse::<usize>() {
        Ok(number) => number < regex.captures_len(),
        Err(_) => regex.capture_names().flatten().any(|name| name == group),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::Target;

    fn apply(rewrite: &Rewrite, path: &str) -> Option<String> {
        let target = Target::parse(&format!("http://h{path}")).unwrap();
        let rewritten = rewrite.apply(&target.path_and_query);
        rewritten.unwrap().map(|path| path.as_str().to_owned())
    }

    #[test]
    fn prefixes_end_where_segments_do() {
        for (from, to, path, expected) in [
            ("/app", "", "/app/x?y", Some("/x?y")),
            ("/app/", "", "/app/x", Some("/x")),
            ("/app", "", "/app", Some("/")),
            ("/app", "", "/app/", Some("/")),
            ("/app", "", "/apple", None),
            ("/app", "", "/x/app", None),
            ("/app", "/v2", "/app/x", Some("/v2/x")),
            ("/app", "/v2/", "/app", Some("/v2")),
            ("/", "/base", "/x?y", Some("/base/x?y")),
            ("/", "/base", "/", Some("/base/")),
            ("/app", "", "/app//x", Some("//x")),
        ] {
            assert_eq!(
                apply(&Rewrite::prefix(from, to), path).as_deref(),
                expected,
                "{from} {to} {path}"
            );
        }
    }

    #[test]
    fn expressions_take_what_they_name() {
        for (regex, with, path, expected) in [
            ("^/p/([0-9]+)$", "/product/$1/", "/p/7?x", Some("/product/7/?x")),
            ("^/p/(?<id>[0-9]+)$", "/${id}x", "/p/7", Some("/7x")),
            ("^/p/([0-9]+)$", "/product/$1", "/p/x", None),
            (r"\.php$", "", "/a.php", Some("/a")),
            ("/", "/$$/", "/a", Some("/$/a")),
        ] {
            assert_eq!(apply(&Rewrite::regex(regex, with).unwrap(), path).as_deref(), expected);
        }
        for (regex, with) in [("(", "/"), ("a", "/$1"), ("(a)", "/$1x"), ("(a)", "/${id}")] {
            assert!(Rewrite::regex(regex, with).is_err(), "{regex} {with}");
        }
    }

    #[test]
    fn what_would_lead_elsewhere_is_refused() {
        for (regex, with, path) in [
            ("^/a/(.*)$", "/b/.$1", "/a//x"),
            ("^/a/(.)x(.*)$", "/b/$1.$2", "/a/.x/secret"),
            ("25", "", "/a/%252e%252e/x"),
            ("^/a(.*)$", "$1", "/a"),
            ("^/a/", "", "/a/x"),
            ("F", "", "/a%2F"),
        ] {
            let target = Target::parse(&format!("http://h{path}")).unwrap();
            let rewrite = Rewrite::regex(regex, with).unwrap();
            let rewritten = rewrite.apply(&target.path_and_query);
            assert!(matches!(rewritten, Err(NotAPath) | Ok(None)), "{regex} {rewritten:?}");
        }
        let wide = Rewrite::regex("^(.*)$", &"$1".repeat(100)).unwrap();
        let long = PathAndQuery::try_from(format!("/{}", "a".repeat(1000))).unwrap();
        assert_eq!(wide.apply(&long), Err(NotAPath));
    }

    proptest! {
        #[test]
        fn a_rewritten_path_never_escapes(path in "(/[a.%2eE/]{0,4}){0,5}", to in "(/[ab]){0,2}") {
            let Ok(target) = Target::parse(&format!("http://h{path}")) else { return Ok(()) };
            let rewrites = [
                Rewrite::prefix("/a", &to),
                Rewrite::prefix("/", &to),
                Rewrite::regex("a(.*)", &format!("{to}/$1.")).unwrap(),
                Rewrite::regex("(%|2|e|/)+", "/").unwrap(),
            ];
            for (index, rewrite) in rewrites.iter().enumerate() {
                if let Ok(Some(rewritten)) = rewrite.apply(&target.path_and_query) {
                    let normal = normalize_path(rewritten.as_str()).unwrap();
                    prop_assert_eq!(&*normal, rewritten.as_str());
                    if index < 2 && !to.is_empty() {
                        let below = rewritten.path().strip_prefix(&*to);
                        let below = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
                        prop_assert!(below, "{} {}", to, rewritten);
                    }
                }
            }
        }
    }
}
