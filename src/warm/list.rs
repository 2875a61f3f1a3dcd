//! What is to be asked for: lists and sitemaps, as they are read.

use std::io::{self, Read};

use http::uri::{Authority, PathAndQuery};
use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::Event;
use seawall::config::{self, Origin};
use seawall::forecast::Source;

use crate::cli::Site;

/// Bytes of a sitemap, unpacked, that are read: sitemaps.org allows 50 MiB.
const MOST_XML: u64 = 64 * 1024 * 1024;

/// Bytes that a URL may have.
const MOST_URL: usize = 64 * 1024;

/// Something to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Where the server is that is asked.
    pub(super) server: Server,
    /// The host to ask for.
    pub(super) authority: Authority,
    /// What to ask for.
    pub(super) path: PathAndQuery,
}

/// A server, and the name that it has to have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Server {
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// What its certificate is for.
    pub(super) name: String,
}

/// What a list has next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Wanted(Wanted),
    /// Something that names no URL.
    Broken {
        line: u64,
        text: String,
    },
}

/// Why a list is not read to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListError {
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error("no XML that can be read: {0}")]
    Xml(#[from] quick_xml::Error),
    #[error("this is an index of other sitemaps: give those")]
    Index,
}

/// Reads all of `source`, and calls `take` with what it has, until that says no.
///
/// # Errors
/// [`ListError`], after what comes before the fault.
pub(super) fn read(
    source: Source,
    to: Option<&Site>,
    mut take: impl FnMut(Item) -> bool,
) -> Result<(), ListError> {
    let mark = source.beginning().trim_ascii_start();
    let is_xml = mark.strip_prefix(b"\xef\xbb\xbf").unwrap_or(mark).starts_with(b"<");
    if is_xml {
        return sitemap(source, to, take);
    }
    let mut number = 0;
    source.lines(|line| {
        number += 1;
        let Some(line) = line else { return take(broken(number, b"a line that is too long")) };
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            return true;
        }
        take(item(number, line, to))
    })?;
    Ok(())
}

/// The `<loc>` of each `<url>` (sitemaps.org, protocol 0.9).
fn sitemap(
    source: Source,
    to: Option<&Site>,
    mut take: impl FnMut(Item) -> bool,
) -> Result<(), ListError> {
    let mut reader = Reader::from_reader(io::BufReader::new(source.into_text().take(MOST_XML)));
    let (mut event, mut number, mut within) = (Vec::new(), 0, None::<Vec<u8>>);
    loop {
        event.clear();
        match reader.read_event_into(&mut event)? {
            Event::Start(tag) if tag.local_name().as_ref() == b"sitemapindex" => {
                return Err(ListError::Index);
            }
            Event::Start(tag) if tag.name().as_ref() == b"loc" => within = Some(Vec::new()),
            Event::End(tag) if tag.name().as_ref() == b"loc" => {
                let Some(text) = within.take() else { continue };
                number += 1;
                if !take(item(number, text.trim_ascii(), to)) {
                    return Ok(());
                }
            }
            Event::Text(text) => gather(&mut within, &text),
            Event::CData(text) => gather(&mut within, &text),
            Event::GeneralRef(name) => {
                let written = [b"&".as_slice(), &name, b";"].concat();
                let plain = std::str::from_utf8(&written).ok().and_then(|it| unescape(it).ok());
                // What XML does not define stays as it is: then it is no URL.
                gather(&mut within, plain.as_deref().map_or(&written, str::as_bytes));
            }
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

/// Adds to the text of an element, as far as it may become a URL.
fn gather(within: &mut Option<Vec<u8>>, more: &[u8]) {
    if let Some(text) = within.as_mut().filter(|text| text.len() <= MOST_URL) {
        text.extend_from_slice(more);
    }
}

fn item(number: u64, text: &[u8], to: Option<&Site>) -> Item {
    let read = std::str::from_utf8(text).ok().filter(|text| text.len() <= MOST_URL);
    let wanted = read.and_then(|text| wanted(text, to));
    wanted.map_or_else(|| broken(number, text), Item::Wanted)
}

fn broken(line: u64, text: &[u8]) -> Item {
    let text = text.get(..400).unwrap_or(text);
    Item::Broken { line, text: crate::units::harmless(&String::from_utf8_lossy(text), 200) }
}

/// A URL, or a path below that of the server that is asked for all.
fn wanted(text: &str, to: Option<&Site>) -> Option<Wanted> {
    // No server is told of a fragment.
    let text = text.split('#').next()?;
    if let Some(below) = text.strip_prefix('/') {
        let Site { authority, base, .. } = to?;
        let path = format!("{base}/{below}").parse().ok()?;
        return Some(Wanted { server: at(to?, authority), authority: authority.clone(), path });
    }
    let (scheme, rest) = text.split_once("://")?;
    let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let Origin { tls, host: name, port } = config::origin(&format!("{scheme}://{host}")).ok()?;
    let authority: Authority = host.parse().ok()?;
    let path = if path.starts_with('/') { path.parse() } else { format!("/{path}").parse() };
    let server = match to {
        Some(to) => at(to, &authority),
        None => Server { tls, host: name.clone(), port, name },
    };
    Some(Wanted { server, authority, path: path.ok()? })
}

/// The one server, under the name of whom is asked for.
fn at(to: &Site, authority: &Authority) -> Server {
    let Origin { tls, host, port } = to.origin.clone();
    // Without TLS there is no name, and so one connection does for all hosts.
    let name = if tls { authority.host() } else { host.as_str() };
    let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    Server { tls, host, port, name }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn site(text: &str) -> Site {
        let origin = config::origin(text).expect("an origin");
        let authority = text.split_once("://").expect("a scheme").1.parse().expect("a host");
        Site { text: text.to_owned(), origin, authority, base: "/shop".to_owned() }
    }

    fn all(text: &[u8], to: Option<&Site>) -> (Vec<Item>, Result<(), ListError>) {
        let source = Source::new(io::Cursor::new(text.to_vec()), None).expect("readable");
        let mut items = Vec::new();
        let read = read(source, to, |item| {
            items.push(item);
            true
        });
        (items, read)
    }

    fn shown(text: &str, to: Option<&Site>) -> Vec<String> {
        let show = |item| match item {
            Item::Wanted(Wanted { server, authority, path }) => {
                let scheme = if server.tls { "https" } else { "http" };
                format!("{scheme}://{}:{} {authority} {path}", server.host, server.port)
            }
            Item::Broken { line, text } => format!("{line}: {text}"),
        };
        all(text.as_bytes(), to).0.into_iter().map(show).collect()
    }

    #[test]
    fn lines_name_urls_and_what_does_not_is_counted() {
        let text = "# pages\nhttps://a.test/x?y#z\r\n\n  http://b.test:81\n/path\nnonsense\x1b[1m\n\
                    ftp://a.test/\nhttp://u:p@a.test/\nhttp://a.test/a b\nhttp://c.test?q";
        assert_eq!(
            shown(text, None),
            [
                "https://a.test:443 a.test /x?y",
                "http://b.test:81 b.test:81 /",
                "5: /path",
                "6: nonsense\u{fffd}[1m",
                "7: ftp://a.test/",
                "8: http://u:p@a.test/",
                "9: http://a.test/a b",
                "http://c.test:80 c.test /?q",
            ]
        );
    }

    #[test]
    fn one_server_may_be_asked_for_all_hosts() {
        let to = site("http://127.0.0.1:8080");
        assert_eq!(
            shown("https://a.test/x\n/y", Some(&to)),
            ["http://127.0.0.1:8080 a.test /x", "http://127.0.0.1:8080 127.0.0.1:8080 /shop/y"]
        );
        let to = site("https://10.0.0.7");
        let (items, _) = all(b"https://a.test:8443/x", Some(&to));
        let Some(Item::Wanted(Wanted { server, .. })) = items.first() else { panic!("{items:?}") };
        assert_eq!((server.host.as_str(), server.name.as_str()), ("10.0.0.7", "a.test"));
    }

    #[test]
    fn a_sitemap_names_what_its_elements_say() {
        let text = "\u{feff}<?xml version=\"1.0\"?><urlset xmlns=\"x\" xmlns:image=\"y\"><url><loc>\n \
                    https://a.test/?a=1&amp;b=2 </loc><lastmod>2020</lastmod><image:image>\
                    <image:loc>https://a.test/image</image:loc></image:image></url>\
                    <url><loc><![CDATA[https://a.test/c&d]]></loc></url>\
                    <url><loc>https://a.test/&evil;</loc></url></urlset>";
        assert_eq!(
            shown(text, None),
            [
                "https://a.test:443 a.test /?a=1&b=2",
                "https://a.test:443 a.test /c&d",
                "https://a.test:443 a.test /&evil;",
            ]
        );
        let (_, read) = all(b"<sitemapindex><sitemap><loc>x</loc></sitemap></sitemapindex>", None);
        assert!(matches!(read, Err(ListError::Index)));
        let (items, read) = all(b"<urlset><loc>http://a.test/</loc></url>", None);
        assert!(matches!(read, Err(ListError::Xml(_))) && items.len() == 1, "{read:?}");
    }

    proptest! {
        #[test]
        fn nothing_is_too_strange(text in prop::collection::vec(any::<u8>(), 0..200), xml: bool) {
            let text = if xml { [b"<a><loc>".as_slice(), &text].concat() } else { text };
            let _ = all(&text, None);
        }
    }
}
