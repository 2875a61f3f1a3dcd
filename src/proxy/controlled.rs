//! Request fields that are not a client's to send: origins believe them, or reflect them, and none
//! is in the key. From whoever is not trusted they go no further, so that nobody can write into a
//! response that others get.

use http::{HeaderMap, HeaderName};
use smallvec::SmallVec;

use crate::headers;

/// What proxies say of whom they speak for, of the target before a rewrite, and what frameworks say
/// to themselves. All begin with [`EXTENSION`], which is left out.
const PREFIXES: [&str; 7] =
    ["appengine-", "envoy-", "forwarded-", "invoke-", "middleware-", "original-", "rewrite-"];

const EXTENSION: &str = "x-";

/// The same by name, sorted.
const NAMES: [&str; 76] = [
    "ali-cdn-real-ip",
    "base-url",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-ipcountry",
    "cf-pseudo-ipv4",
    "cf-visitor",
    "client-ip",
    "cluster-client-ip",
    "disguised-host",
    "fastly-client-ip",
    "fastly-ssl",
    "forwarded",
    "forwarded-for",
    "forwarded-host",
    "forwarded-proto",
    "front-end-https",
    "http-host",
    "http-url",
    "incap-client-ip",
    "proxy",
    "proxy-client-ip",
    "proxy-host",
    "proxy-url",
    "real-ip",
    "remote-addr",
    "remote-user",
    "request-uri",
    "surrogate-capability",
    "true-client-ip",
    "wl-proxy-client-ip",
    "wl-proxy-ssl",
    "x-accel-mapping",
    "x-arr-ssl",
    "x-astro-locals",
    "x-astro-path",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-backend-host",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-custom-ip-authorization",
    "x-disguised-host",
    "x-forwarded",
    "x-forwarder-for",
    "x-host",
    "x-http-destinationurl",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-http-path-override",
    "x-https",
    "x-matched-path",
    "x-method-override",
    "x-nextjs-data",
    "x-now-route-matches",
    "x-nuxt-no-ssr",
    "x-originating-ip",
    "x-override-url",
    "x-php-ob-level",
    "x-proto",
    "x-proxy-url",
    "x-proxyuser-ip",
    "x-react-router-prerender-data",
    "x-react-router-spa-mode",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-remote-user",
    "x-scheme",
    "x-script-name",
    "x-sendfile-type",
    "x-ssl",
    "x-url-scheme",
    "x-wap-profile",
    "x-waws-unencoded-url",
];

/// Removes what the peer may not say. Whoever it is: names that many origins read as another one
/// on which something depends (`X_Forwarded_Host`, `Content_Length`), for to CGI and its heirs all
/// punctuation is an underscore.
pub(super) fn strip(headers: &mut HeaderMap, trusted: bool) {
    let is_foul = |name: &&HeaderName| match read_by_cgi(name) {
        Some(other) => {
            let essential = HeaderName::from_bytes(other.as_bytes())
                .is_ok_and(|name| headers::is_essential(&name));
            essential || is_controlled(&other)
        }
        None => !trusted && is_controlled(name.as_str()),
    };
    let foul: SmallVec<[HeaderName; 4]> = headers.keys().filter(is_foul).cloned().collect();
    for name in foul {
        headers.remove(name);
    }
}

fn is_controlled(name: &str) -> bool {
    let extension = name.strip_prefix(EXTENSION);
    extension.is_some_and(|rest| PREFIXES.iter().any(|prefix| rest.starts_with(prefix)))
        || (may_be_named(name) && NAMES.binary_search(&name).is_ok())
}

/// Whether one of [`NAMES`] has this first letter and this length. Every miss asks it of every field,
/// and nearly no field of an honest client comes further.
fn may_be_named(name: &str) -> bool {
    const LENGTHS: [u32; 26] = lengths();
    let letter = name.bytes().next().and_then(|first| first.checked_sub(b'a'));
    let lengths = letter.and_then(|letter| LENGTHS.get(usize::from(letter)));
    lengths.is_some_and(|lengths| lengths.checked_shr(name.len() as u32).unwrap_or(0) & 1 == 1)
}

/// For each letter that begins a name, a bit for each length of those.
const fn lengths() -> [u32; 26] {
    let mut lengths = [0; 26];
    let mut index = 0;
    while index < NAMES.len() {
        let name = NAMES[index].as_bytes();
        lengths[(name[0] - b'a') as usize] |= 1 << name.len();
        index += 1;
    }
    lengths
}

/// The name without odd punctuation; `None` if it has none.
fn read_by_cgi(name: &HeaderName) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let name = name.as_str();
    let odd = |char: char| !u8::try_from(char).is_ok_and(plain);
    (!name.bytes().all(plain)).then(|| name.replace(odd, "-"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn left(names: &[&'static str], trusted: bool) -> Vec<String> {
        let value = || HeaderValue::from_static("x");
        let mut headers =
            names.iter().map(|name| (HeaderName::from_static(name), value())).collect();
        strip(&mut headers, trusted);
        let mut left: Vec<_> = headers.keys().map(ToString::to_string).collect();
        left.sort();
        left
    }

    #[test]
    fn names_are_sorted_and_each_is_found() {
        assert!(NAMES.is_sorted());
        assert!(NAMES.iter().all(|name| is_controlled(name)));
        for prefix in PREFIXES {
            assert!(is_controlled(&format!("x-{prefix}any")) && !is_controlled(prefix));
        }
        for longer in ["forwardedx", "proxyx", "x-hosts", &"x".repeat(64), "", "-", "1"] {
            assert!(!is_controlled(longer), "{longer}");
        }
    }

    #[test]
    fn only_trusted_peers_say_whom_they_speak_for() {
        let names = ["forwarded", "x-forwarded-any", "x-forwarded-host", "x-original-url"];
        assert_eq!(left(&names, false), [""; 0]);
        assert_eq!(left(&names, true), names);
        let own = ["accept", "cookie", "x-forwardedhost", "x-original", "x-requested-with"];
        assert_eq!(left(&own, false), own);
    }

    #[test]
    fn what_an_origin_may_read_as_another_name_comes_from_nobody() {
        let names = ["x_forwarded_host", "x.host", "content_length", "authorization!", "te_"];
        let kept = ["te_", "under_score"];
        for trusted in [false, true] {
            assert_eq!(left(&names, trusted), ["authorization!", "te_"]);
            assert_eq!(left(&kept, trusted), kept);
        }
    }
}
