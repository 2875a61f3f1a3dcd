//! `[upstream_defaults]` and `[upstream.NAME]`.

use std::time::Duration;

use http::Uri;

use crate::config::fault::{Checked, Fault};
use crate::config::raw::Value;
use crate::config::schema::{Key, keys};
use crate::config::sketch;
use crate::config::units::Refused;
use crate::upstream::{Config, Identity, RetryReused, UnknownTransferCoding, Version};

/// Names of upstreams, as far as a pattern can say it.
pub(in crate::config) const NAME: &str = "^[-_.A-Za-z0-9]{1,64}$";

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// An origin's place, from its URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whether it is `https`.
    pub tls: bool,
    /// The host, without brackets around an IPv6 address.
    pub host: String,
    /// The port, the scheme's own where the URL has none.
    pub port: u16,
}

/// What `[upstream.NAME]` says beside its manners.
pub(in crate::config) const PLACE: &[Key<Config>] = keys! {
    "url" = Required("\"http://127.0.0.1:9000\""), "The origin: `http` or `https`, a host name or address, and a port. All addresses of a name are tried in turn." => |draft, value| {
        let origin = value.formed(|| sketch::text("^[Hh][Tt][Tt][Pp][Ss]?://[^/@]+/?$"), origin)?;
        (draft.tls, draft.host, draft.port) = (origin.tls, origin.host, origin.port);
        Ok(())
    };
};

/// How to talk to an origin: keys of `[upstream_defaults]` and of `[upstream.NAME]`.
pub(in crate::config) const MANNERS: &[Key<Config>] = keys! {
    "host" = Default("\"preserve\""), "The `Host` that the origin sees: `\"preserve\"` (the client's), `\"upstream\"` (the URL's), or a fixed name." => |draft, value| {
        draft.identity = match value.string()? {
            "preserve" => Identity::Preserve,
            "upstream" => Identity::Upstream,
            _ => Identity::Name(value.parsed(authority)?),
        };
        Ok(())
    };
    "sni" = Example("\"origin.example.com\""), "The name for SNI and for certificate verification. Follows `host` where that is a name, else the URL." => |draft, value| {
        draft.sni = Some(value.parsed(host_name)?);
        Ok(())
    };
    "version" = Default("\"1.1\""), "HTTP version to the origin: `\"1.1\"`, `\"2\"` (ALPN, or prior knowledge on cleartext), or `\"auto\"` (HTTP/2 where ALPN offers it)." => |draft, value| {
        draft.version = value.one_of(&[
            ("1.1", Version::Http1),
            ("2", Version::Http2),
            ("auto", Version::Auto),
        ])?;
        Ok(())
    };
    "verify" = Default("true"), "Whether an `https` origin's certificate is verified." => |draft, value| {
        draft.verify = value.boolean()?;
        Ok(())
    };
    "ca" = Example("\"ca.pem\""), "PEM file of the authorities to trust instead of the system's." => |draft, value| {
        draft.ca = Some(value.certificate_file()?);
        Ok(())
    };
    "connect_timeout" = Default("\"5s\""), "Connecting, TLS handshake included, over all addresses of the name." => |draft, value| {
        draft.connect_timeout = value.duration(MILLISECOND..=HOUR)?;
        Ok(())
    };
    "first_byte_timeout" = Default("\"60s\""), "From the request's last byte to the end of the response's header section." => |draft, value| {
        draft.first_byte_timeout = value.duration(MILLISECOND..=DAY)?;
        Ok(())
    };
    "between_bytes_timeout" = Default("\"60s\""), "Between two reads of a response body." => |draft, value| {
        draft.between_bytes_timeout = value.duration(MILLISECOND..=DAY)?;
        Ok(())
    };
    "total_timeout" = Default("\"off\""), "The whole exchange; `\"off\"` for no bound." => |draft, value| {
        draft.total_timeout = value.optional_duration()?;
        Ok(())
    };
    "idle_timeout" = Default("\"4s\""), "How long an idle connection is kept. Shorter than the origin's own, or requests meet closing connections; its `Keep-Alive: timeout` is honoured where that is shorter." => |draft, value| {
        draft.idle_timeout = value.duration(MILLISECOND..=HOUR)?;
        Ok(())
    };
    "max_idle" = Default("256"), "Idle connections kept for each thread." => |draft, value| {
        draft.max_idle = value.count(0..=65_536)?;
        Ok(())
    };
    "max_requests" = Default("10000"), "Requests with this origin at once, until their responses have been read (tunnels don't count); more wait for a place." => |draft, value| {
        draft.max_requests = value.count(1..=1_000_000)?;
        Ok(())
    };
    "queue_timeout" = Default("\"1s\""), "How long a request waits for a place among `max_requests`; then it is answered 503, or stale where that is allowed." => |draft, value| {
        draft.queue_timeout = value.duration(Duration::ZERO..=HOUR)?;
        Ok(())
    };
    "resolve_interval" = Default("\"30s\""), "How long a resolved name is used before it is resolved again." => |draft, value| {
        draft.resolve_interval = value.duration(Duration::from_secs(1)..=DAY)?;
        Ok(())
    };
    "retry_reused" = Default("\"idempotent\""), "What is sent again when a kept connection turns out dead: `\"idempotent\"` (and without a body, once, where no byte came back), or only what is known to be `\"unsent\"`." => |draft, value| {
        draft.retry_reused = value.one_of(&[
            ("idempotent", RetryReused::Idempotent),
            ("unsent", RetryReused::Unsent),
        ])?;
        Ok(())
    };
    "unknown_transfer_coding" = Default("\"reject\""), "A response in a transfer coding that Seawall does not know: `\"reject\"` (502), or `\"read-to-close\"` (passed on as it is)." => |draft, value| {
        draft.unknown_transfer_coding = value.one_of(&[
            ("reject", UnknownTransferCoding::Reject),
            ("read-to-close", UnknownTransferCoding::ReadToClose),
        ])?;
        Ok(())
    };
    "max_response_head" = Default("\"128KiB\""), "A response's header section; a larger one is a 502. Half of it is for tags." => |draft, value| {
        draft.max_response_head = value.memory(8 * KIB..=MIB)?;
        Ok(())
    };
};

/// What only all keys of an upstream together show.
pub(in crate::config) fn contradictions(value: &Value<'_>, config: &Config) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |key: &str, title: &str, help: &str| {
        faults.push(Fault::at(value.key_span(key), title).help(help));
    };
    let given = |key: &str| value.has_key(key);
    if !config.tls && given("sni") {
        fault(
            "sni",
            "SNI is part of TLS, and this origin is plain http",
            "write an https:// URL or leave sni out",
        );
    }
    if !config.tls && given("ca") {
        fault(
            "ca",
            "this origin is plain http: it has no certificate",
            "write an https:// URL or leave ca out",
        );
    }
    if !config.verify && given("ca") {
        fault(
            "ca",
            "authorities are named, but verify = false ignores them",
            "leave one of the two out",
        );
    }
    if let Some(total) = config.total_timeout
        && total < config.connect_timeout
        && given("total_timeout")
    {
        fault(
            "total_timeout",
            "the whole exchange has less time than connecting",
            "make total_timeout longer, or connect_timeout shorter",
        );
    }
    faults
}

/// An origin's URL: scheme, host and perhaps a port, nothing else.
///
/// # Errors
/// [`Refused`] for other schemes, user names, paths, queries, and names that DNS cannot hold.
pub fn origin(text: &str) -> Result<Origin, Refused> {
    let example = "write it like \"http://127.0.0.1:9000\" or \"https://origin.example.com\"";
    if !text.contains("://") {
        return Err(Refused::new(
            "the scheme is missing",
            format!("write \"http://{text}\" or \"https://{text}\""),
        ));
    }
    let uri: Uri = text
        .parse()
        .map_err(|error| Refused::new(format!("this is not a URL: {error}"), example))?;
    let tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(Refused::new("only http and https are spoken to an origin", example)),
    };
    let authority = uri.authority().ok_or_else(|| Refused::new("the host is missing", example))?;
    if authority.as_str().contains('@') {
        return Err(Refused::new("a user name or password cannot be used here", example));
    }
    if uri.path_and_query().is_some_and(|path| path.as_str() != "/") || text.contains('#') {
        return Err(Refused::new(
            "an origin has no path: paths are passed on as they are",
            example,
        ));
    }
    let bracketed = authority.host();
    let host = host_name(bracketed.trim_start_matches('[').trim_end_matches(']'))?;
    let port = match authority.as_str()[bracketed.len()..].strip_prefix(':') {
        None => {
            if tls {
                443
            } else {
                80
            }
        }
        Some(digits) => digits.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
            Refused::new(format!("\"{digits}\" is not a port"), "write a number from 1 to 65535")
        })?,
    };
    Ok(Origin { tls, host, port })
}

/// A host name or address literal, in lower case and without a trailing dot.
pub(super) fn host_name(text: &str) -> Result<String, Refused> {
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Ok(text.to_ascii_lowercase());
    }
    if !text.is_ascii() {
        return Err(Refused::new(
            "a host name is written in ASCII",
            "write its punycode form (xn--…)",
        ));
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let label_is_good = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if name.len() <= 253 && name.split('.').all(label_is_good) {
        return Ok(name);
    }
    Err(Refused::new(
        format!("\"{text}\" is not a host name"),
        "write a name like \"www.example.com\"",
    ))
}

/// A host with perhaps a port, for `Host`.
fn authority(text: &str) -> Result<String, Refused> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(Refused::new(
            "the port is not a number",
            "write \"example.com\" or \"example.com:8443\"",
        ));
    }
    let bare = host_name(host.trim_start_matches('[').trim_end_matches(']'))?;
    let host = if bare.contains(':') { format!("[{bare}]") } else { bare };
    Ok(port.map_or(host.clone(), |port| format!("{host}:{port}")))
}

/// Checks what the URL alone cannot: that it was given at all.
pub(in crate::config) fn require_url(value: &Value<'_>, name: &str) -> Checked<()> {
    if value.has_key("url") {
        return Ok(());
    }
    Err(value
        .fault(format!("[upstream.{name}] has no url"))
        .help("add url = \"http://127.0.0.1:9000\"")
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn origins_have_default_ports() {
        let expect = |tls, host: &str, port| Ok(Origin { tls, host: host.to_owned(), port });
        assert_eq!(origin("http://Example.COM."), expect(false, "example.com", 80));
        assert_eq!(origin("https://[::1]/"), expect(true, "::1", 443));
        assert_eq!(origin("https://10.0.0.1:8443"), expect(true, "10.0.0.1", 8443));
    }

    #[test]
    fn origins_are_a_place_and_nothing_more() {
        for text in [
            "127.0.0.1:9000",
            "ftp://a",
            "http://a/b",
            "http://u@a",
            "http://a:0",
            "http://a:99999",
            "http://",
            "http://a?b",
            "http://a/#b",
        ] {
            assert!(origin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn host_names_may_carry_a_port() {
        assert_eq!(authority("Example.com:8443"), Ok("example.com:8443".to_owned()));
        assert_eq!(authority("[::1]:80"), Ok("[::1]:80".to_owned()));
        assert_eq!(authority("::1"), Ok("[::1]".to_owned()));
        assert!(authority("a b").is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = (origin(&text), origin(&format!("http://{text}")), authority(&text));
        }
    }
}
