//! Targeted fields (RFC 9213) and `Surrogate-Control`, which replace `Cache-Control`.

use http::HeaderMap;
use http::header::HeaderName;
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use super::age::delta_seconds;
use super::directives::{CacheControl, Directive, Flag, Source, flag_of, seconds_of};
use super::overrides::Overrides;
use crate::headers::{CDN_CACHE_CONTROL, SEAWALL_CACHE_CONTROL, SURROGATE_CONTROL, list_members};

/// The directives of the first targeted field that is valid and not empty, if there is one.
pub(super) fn parse(headers: &HeaderMap, overrides: &Overrides) -> Option<CacheControl> {
    let targets = [
        (&SEAWALL_CACHE_CONTROL, Source::SeawallCacheControl),
        (&CDN_CACHE_CONTROL, Source::CdnCacheControl),
    ];
    let targeted = || {
        let mut enabled = targets.into_iter().filter(|_| overrides.targeted);
        enabled.find_map(|(name, source)| dictionary(headers, name, source))
    };
    let surrogate = || overrides.surrogate_control.then(|| surrogate_control(headers)).flatten();
    targeted().or_else(surrogate)
}

/// A Dictionary Structured Field (RFC 9213 §2.1). Any fault, a directive of the wrong type
/// included, and the whole field is ignored.
fn dictionary(headers: &HeaderMap, name: &HeaderName, source: Source) -> Option<CacheControl> {
    let mut lines = headers.get_all(name).iter().peekable();
    lines.peek()?;
    let mut text = Vec::new();
    for line in lines {
        if !text.is_empty() {
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(line.as_bytes());
    }
    let members: Dictionary = Parser::new(&text).parse().ok()?;
    if members.is_empty() {
        return None;
    }
    let mut control = CacheControl::from_source(source);
    for (key, member) in &members {
        add(&mut control, key.as_str(), member)?;
    }
    Some(control)
}

/// `None` if the type is not the directive's.
fn add(control: &mut CacheControl, key: &str, member: &ListEntry) -> Option<()> {
    let flag = flag_of(|name| name == key);
    let seconds = seconds_of(|name| name == key);
    if flag.is_none() && seconds.is_none() {
        return Some(());
    }
    let ListEntry::Item(item) = member else { return None };
    match (flag, seconds, &item.bare_item) {
        (Some(flag), _, BareItem::Boolean(true)) => control.directives.set(flag),
        (Some(_), _, BareItem::Boolean(false)) => {}
        (Some(flag @ (Flag::Private | Flag::NoCache)), _, BareItem::String(list)) => {
            control.set_qualified(flag, list.as_str().as_bytes());
        }
        (_, Some(name), BareItem::Integer(value)) => {
            // A negative lifetime is stale; a huge one is clamped.
            let value = i64::from(*value).clamp(0, i64::from(super::age::OVERFLOW));
            control.directives.set_seconds(name, u32::try_from(value).ok()?);
        }
        _ => return None,
    }
    Some(())
}

/// `max-age=fresh+stale` and `no-store`. A field without either is for somebody else.
fn surrogate_control(headers: &HeaderMap) -> Option<CacheControl> {
    let mut control = CacheControl::from_source(Source::SurrogateControl);
    let mut understood = false;
    for member in list_members(headers, &SURROGATE_CONTROL) {
        let directive = Directive::parse(member);
        if directive.is("max-age") {
            understood = true;
            let argument = directive.unquoted().unwrap_or_default();
            let mut parts = argument.splitn(2, |&byte| byte == b'+');
            let fresh = parts.next().and_then(delta_seconds).unwrap_or(0);
            control.directives.set_seconds("max-age", fresh);
            if let Some(stale) = parts.next().and_then(delta_seconds) {
                control.directives.set_seconds("stale-while-revalidate", stale);
                control.directives.set_seconds("stale-if-error", stale);
            }
        } else if directive.is("no-store") || directive.is("private") || directive.is("no-cache") {
            understood = true;
            control.add(&directive);
        }
    }
    understood.then_some(control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::ResponseDirectives;
    use crate::policy::testing::headers;

    fn parse(fields: &[(&str, &str)]) -> ResponseDirectives {
        CacheControl::parse(&headers(fields), &Overrides::default()).directives
    }

    /// RFC 9213 §2.2.
    #[test]
    fn the_first_valid_target_replaces_cache_control() {
        let plain = ("cache-control", "no-store, max-age=1");
        let cdn = ("cdn-cache-control", "max-age=2");
        let own = ("seawall-cache-control", "max-age=3");
        let found = |fields: &[_]| (parse(fields).max_age(), parse(fields).source);
        assert_eq!(found(&[plain]), (Some(1), Source::CacheControl));
        assert_eq!(found(&[plain, cdn]), (Some(2), Source::CdnCacheControl));
        assert_eq!(found(&[plain, cdn, own]), (Some(3), Source::SeawallCacheControl));
        assert!(!parse(&[plain, cdn]).no_store());
        let off = Overrides { targeted: false, ..Overrides::default() };
        let directives = CacheControl::parse(&headers(&[plain, cdn]), &off).directives;
        assert_eq!(directives.source, Source::CacheControl);
    }

    /// RFC 9213 §2.1.
    #[test]
    fn an_invalid_or_empty_target_is_ignored() {
        for value in [
            "",
            "max-age=10000, &&&&&",
            "max-age=\"10000\"",
            "max-age=1.5",
            "max-age",
            "max-age=(1 2)",
            "MaX-aGe=3600",
            "max-age =100",
            "no-store=1",
        ] {
            let directives = parse(&[("cdn-cache-control", value), ("cache-control", "max-age=1")]);
            assert_eq!(directives.source, Source::CacheControl, "{value}");
        }
    }

    #[test]
    fn values_are_clamped_and_lines_joined() {
        for (value, max_age) in [("99999999999", 1 << 31), ("-1", 0), ("1;x=y", 1)] {
            let value = format!("foobar, max-age={value}");
            assert_eq!(parse(&[("cdn-cache-control", &value)]).max_age(), Some(max_age));
        }
        let lines = [("cdn-cache-control", "max-age=1"), ("cdn-cache-control", "private")];
        assert!(parse(&lines).private());
        assert!(!parse(&[("cdn-cache-control", "private=\"x-a\", no-store=?0")]).private());
    }

    #[test]
    fn surrogate_control_counts_where_configured() {
        let overrides = Overrides { surrogate_control: true, ..Overrides::default() };
        let parse = |value| {
            let fields = [("surrogate-control", value), ("cache-control", "max-age=1")];
            CacheControl::parse(&headers(&fields), &overrides).directives
        };
        let directives = parse("content=\"ESI/1.0\", max-age=60+30");
        assert_eq!(directives.max_age(), Some(60));
        assert_eq!(directives.stale_while_revalidate(), Some(30));
        assert!(parse("no-store").no_store());
        assert_eq!(parse("content=\"ESI/1.0\"").max_age(), Some(1));
    }
}
