//! What an entry of the stream says. Anybody may write one, so it is read as the input that it is.
//!
//! Fields are what `XADD` takes, in order, any number of them:
//! `url U`, `prefix U`, `host H`, `tag T`, `origin U` and then `group G`, `all 1`; and `mode hard`
//! `mode refresh` or `mode soft`, which it is without one. An entry is understood as a whole or not at all.

use crate::key::Target;
use crate::store::{Mode, Scope, ScopeError};

use super::log::Publisher;

/// Fields of one entry, and bytes of names and values. The script that reads leaves larger ones out.
pub(super) const MOST_FIELDS: usize = 2048;
pub(super) const MOST_BYTES: usize = 256 * 1024;

/// Things that a node puts into one entry, and bytes of them before another is begun.
const SCOPES_TOGETHER: usize = 256;
const BYTES_TOGETHER: usize = 32 * 1024;

/// An entry that makes sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) what: What,
    /// The process that published it; nobody's who wrote it otherwise.
    pub(super) by: Option<Publisher>,
}

/// What it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// These are purged.
    Purge(Vec<Scope>, Mode),
    /// Somebody had more purges than could be kept: anything may have been purged.
    Doubt,
    /// A stream has begun.
    Beginning,
}

/// Why an entry is skipped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("it is larger than {MOST_BYTES} bytes or has more than {MOST_FIELDS} fields")]
    TooLarge,
    #[error("a field is neither what to purge nor `mode`, `origin`, `note`, `by` or `number`")]
    Field,
    #[error("a name or value is no text")]
    Text,
    #[error("{0}")]
    Scope(#[from] ScopeError),
    #[error("`group` has no `origin` before it")]
    NoOrigin,
    #[error("`mode` is neither soft nor hard")]
    Mode,
    #[error("it says nothing to purge")]
    Nothing,
}

impl Notice {
    /// Reads an entry's fields: names and values in turn.
    pub(super) fn read(fields: &[Vec<u8>]) -> Result<Self, Malformed> {
        let (mut scopes, mut mode, mut origin) = (Vec::new(), Mode::Soft, None);
        let (mut doubt, mut beginning) = (false, false);
        let (mut process, mut number) = (None, None);
        let (pairs, odd) = fields.as_chunks::<2>();
        if !odd.is_empty() {
            return Err(Malformed::Field);
        }
        for [name, value] in pairs {
            match name.to_ascii_lowercase().as_slice() {
                b"url" => scopes.push(Scope::url(text(value)?)?),
                b"prefix" => scopes.push(Scope::prefix(text(value)?)?),
                b"host" => scopes.extend(Scope::host(text(value)?)?),
                b"tag" => scopes.push(Scope::tag(value)?),
                b"origin" => origin = Some(Target::parse(text(value)?).map_err(ScopeError::from)?),
                b"group" => {
                    let origin = origin.as_ref().ok_or(Malformed::NoOrigin)?;
                    scopes.push(Scope::group(origin, value)?);
                }
                b"all" => scopes.push(Scope::All),
                b"mode" => mode = read_mode(value)?,
                b"doubt" => doubt = true,
                b"beginning" => beginning = true,
                b"by" => {
                    process = text(value).ok().and_then(|it| u128::from_str_radix(it, 16).ok());
                }
                b"number" => number = text(value).ok().and_then(|it| it.parse().ok()),
                b"note" => {}
                _ => return Err(Malformed::Field),
            }
        }
        let what = match (doubt, beginning) {
            (true, _) => What::Doubt,
            (false, true) => What::Beginning,
            _ if scopes.is_empty() => return Err(Malformed::Nothing),
            _ => What::Purge(scopes, mode),
        };
        Ok(Self { what, by: process.zip(number) })
    }

    /// As it is read again: names and values in turn.
    pub(super) fn write(&self) -> Vec<Vec<u8>> {
        let mut fields = Vec::new();
        let mut put = |name: &str, value: &[u8]| fields.extend([name.into(), value.to_vec()]);
        match &self.what {
            What::Purge(scopes, mode) => {
                for scope in scopes {
                    put_scope(&mut put, scope);
                }
                put("mode", mode.word().as_bytes());
            }
            What::Doubt => put("doubt", b"1"),
            What::Beginning => put("beginning", b"1"),
        }
        if let Some((process, number)) = self.by {
            put("by", format!("{process:032x}").as_bytes());
            put("number", number.to_string().as_bytes());
        }
        fields
    }
}

/// The same scopes, in groups that fit into an entry each.
pub(super) fn parcels(scopes: Vec<Scope>) -> Vec<Vec<Scope>> {
    let (mut parcels, mut last, mut bytes) = (Vec::new(), Vec::new(), 0);
    for scope in scopes {
        if !last.is_empty() && (last.len() >= SCOPES_TOGETHER || bytes >= BYTES_TOGETHER) {
            parcels.push(std::mem::take(&mut last));
            bytes = 0;
        }
        bytes += size(&scope);
        last.push(scope);
    }
    if !last.is_empty() {
        parcels.push(last);
    }
    parcels
}

/// Bytes that a scope takes, about.
pub(super) fn size(scope: &Scope) -> usize {
    const OVERHEAD: usize = 64;
    OVERHEAD
        + match scope {
            Scope::Url(text) | Scope::Prefix(text) => text.len(),
            Scope::Label(label) => label.as_bytes().len(),
            Scope::All => 0,
        }
}

fn put_scope(put: &mut impl FnMut(&str, &[u8]), scope: &Scope) {
    match scope {
        Scope::Url(url) => put("url", url.as_bytes()),
        Scope::Prefix(prefix) => put("prefix", prefix.as_bytes()),
        Scope::Label(label) => match label.origin_and_name() {
            (Some(origin), name) => {
                put("origin", origin);
                put("group", name);
            }
            (None, name) => put("tag", name),
        },
        Scope::All => put("all", b"1"),
    }
}

fn read_mode(value: &[u8]) -> Result<Mode, Malformed> {
    let named = |mode: &Mode| value.eq_ignore_ascii_case(mode.word().as_bytes());
    Mode::ALL.into_iter().find(named).ok_or(Malformed::Mode)
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed::Text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(words: &str) -> Result<What, Malformed> {
        let fields: Vec<_> = words.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        Notice::read(&fields).map(|notice| notice.what)
    }

    fn url(url: &str) -> Scope {
        Scope::url(url).expect("a URL")
    }

    #[test]
    fn people_write_what_they_mean() {
        let (soft, hard) = (Mode::Soft, Mode::Hard);
        let tag = |name: &str| Scope::tag(name.as_bytes()).expect("a tag");
        let origin = Target::parse("http://a.test").expect("a URL");
        let group = Scope::group(&origin, b"g").expect("a group");
        for (words, scopes, mode) in [
            ("url HTTP://A.test:80/x/../y", vec![url("http://a.test/y")], soft),
            ("tag a tag b mode hard", vec![tag("a"), tag("b")], hard),
            ("MODE Soft all 1 note because", vec![Scope::All], soft),
            ("all 1 mode refresh", vec![Scope::All], Mode::Refresh),
            ("origin http://a.test group g", vec![group], soft),
            ("host a.test", Scope::host("a.test").expect("a host").to_vec(), soft),
        ] {
            assert_eq!(read(words), Ok(What::Purge(scopes, mode)), "{words}");
        }
        assert_eq!(read("doubt 1"), Ok(What::Doubt));
    }

    #[test]
    fn what_is_not_understood_as_a_whole_is_not_at_all() {
        for words in [
            "",
            "mode hard",
            "url",
            "url /x",
            "url http://a.test/ tga x",
            "tag a mode hrad",
            "group g",
            "host a.test/x",
            "tag \u{1} tag b",
        ] {
            assert!(read(words).is_err(), "{words:?}");
        }
        let invalid = [b"url".to_vec(), b"http://a.test/\xff".to_vec()];
        assert_eq!(Notice::read(&invalid), Err(Malformed::Text));
    }

    #[test]
    fn large_purges_go_in_parcels() {
        let scopes: Vec<_> = (0..1000).map(|it| url(&format!("http://a.test/{it}"))).collect();
        let split = parcels(scopes.clone());
        assert_eq!(split.len(), 4);
        assert_eq!(split.concat(), scopes);
        let long = vec![url(&format!("http://a.test/{}", "x".repeat(60_000))); 3];
        let split = parcels(long);
        assert_eq!(split.len(), 3);
        let notice = Notice { what: What::Purge(split[0].clone(), Mode::Hard), by: Some((1, 2)) };
        assert!(notice.write().concat().len() < MOST_BYTES);
    }

    proptest! {
        #[test]
        fn what_a_node_writes_is_read_as_it_was(
            paths in prop::collection::vec("/[a-z0-9/?&=%]{0,20}", 0..4),
            tags in prop::collection::vec("[ -~]{1,12}", 0..4),
            mode in prop::sample::select(Mode::ALL.to_vec()),
            by in prop::option::of(any::<(u128, u64)>()),
        ) {
            let mut scopes = vec![Scope::All];
            scopes.extend(paths.iter().filter_map(|it| Scope::url(&format!("http://h{it}")).ok()));
            scopes.extend(paths.iter().filter_map(|it| Scope::prefix(&format!("https://h{it}")).ok()));
            scopes.extend(tags.iter().filter_map(|it| Scope::tag(it.as_bytes()).ok()));
            let origin = Target::parse("http://h:81").expect("a URL");
            scopes.extend(tags.iter().filter_map(|it| Scope::group(&origin, it.as_bytes()).ok()));
            let notice = Notice { what: What::Purge(scopes, mode), by };
            prop_assert_eq!(Notice::read(&notice.write()), Ok(notice));
        }

        #[test]
        fn nothing_that_is_read_is_a_panic(fields in prop::collection::vec(
            prop_oneof![
                prop::sample::select(vec!["url", "tag", "host", "mode", "group", "origin", "by"])
                    .prop_map(|word| word.as_bytes().to_vec()),
                prop::collection::vec(any::<u8>(), 0..30),
            ], 0..12)) {
            let _ = Notice::read(&fields);
        }
    }
}
