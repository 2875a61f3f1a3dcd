//! Request fields that are not a client's to send: origins believe them, or reflect them, and none
//! is in the key. From whoever is not trusted they go no further, so that nobody can write into a
//! response that others get.

use http::{HeaderMap, HeaderName};
use smallvec::SmallVec;

use crate::headers;

/// What proxies say of whom they speak for, of the target before a rewrite, and what frameworks say
/// to themselves.
const PREFIXES: [&str; 7] = [
    "x-appengine-",
    "x-envoy-",
    "x-forwarded-",
    "x-invoke-",
    "x-middleware-",
    "x-original-",
    "x-rewrite-",
];

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
    NAMES.binary_search(&name).is_ok() || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The name without odd punctuation; `None` if it has none.
fn read_by_cgi(name: &HeaderName) -> Option<String> {
    let plain = |byte: char| byte.is_ascii_alphanumeric() || byte == '-';
    let name = name.as_str();
    (!name.chars().all(plain)).then(|| name.replace(|byte| !plain(byte), "-"))
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
    fn names_are_sorted() {
        assert!(NAMES.is_sorted());
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
