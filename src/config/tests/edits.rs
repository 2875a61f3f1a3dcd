//! Edits, answers and access: what is refused, and what is said of it.

use super::*;

/// What a rule on responses would say in vain is refused, whichever key it is.
#[test]
fn a_rule_on_responses_sets_only_what_can_wait_for_one() {
    let before = [
        "enabled",
        "lookup",
        "collapse",
        "wait",
        "ranges",
        "protect",
        "request_directives",
        "complete_partial_without_validator",
        "accept_encoding",
        "normalize_accept_language",
        "compress",
        "compress_levels",
        "compress_min_size",
        "compress_types",
    ];
    let of_the_node = ["memory", "preallocate", "optimise", "max_variants"];
    let changes = every_key::CHANGES.iter().find(|(section, _)| section.starts_with("[cache]"));
    let mut refused = Vec::new();
    for change in changes.unwrap().1 {
        let (key, _) = change.split_once(' ').unwrap();
        let text = format!("{ORIGIN}[[rule]]\nmatch_response.status = 200\ncache.{change}\n");
        if of_the_node.contains(&key) {
            continue;
        }
        if before.contains(&key) {
            only_fault(&text, 5, &format!("`cache.{key}` is decided before there is"), "move it");
            refused.push(key);
        } else {
            assert!(read_with(&text, &CliOverrides::default()).is_ok(), "{change}");
        }
    }
    // Some keys have more than one change.
    refused.dedup();
    assert_eq!(refused, before);
}

#[test]
fn faulty_edits_are_placed_and_explained() {
    let cases = [
        ("request.set = { x-a = \"{hots}\" }", "`{hots}` stands for nothing", "names"),
        ("request.set = { x-a = \"a}\" }", "no other half", "twice"),
        ("request.set = { x-a = \"a\\r\\nb\" }", "control character", "one short line"),
        ("request.set = { host = \"a\" }", "`host` can't be edited", "[upstream.NAME]"),
        ("request.add = { content-length = \"1\" }", "`content-length` can't be", "leave it out"),
        ("request.remove = [\"Transfer-Encoding\"]", "`transfer-encoding` can't be", "leave it"),
        ("request.set = { \"a b\" = \"1\" }", "not a field name", "name"),
        ("request.set = { x-a = [] }", "empty list", ""),
        ("request.sett = {}", "no key `sett`", "did you mean `set`?"),
        ("request = { set.x-a = \"1\", remove = [\"x-a\"] }", "decided twice", "leave one"),
        ("request.path = { strip = \"app\" }", "not a path", "slash"),
        ("request.path = { strip = \"/a/../b\" }", "not a path", "dots"),
        ("request.path = { prefix = \"/a\" }", "not rewritten", "with"),
        ("request.path = { prefix = \"/a\", with = \"b\" }", "is a path", "/v2"),
        ("request.path = { strip = \"/a\", regex = \"b\" }", "in one way", ""),
        ("request.path = { regex = \"(\", with = \"/\" }", "unclosed group", ""),
        ("request.path = { regex = \"a\", with = \"/$1\" }", "no group `1`", ""),
        ("request.path = { regex = \"a\", with = \"/?a\" }", "no query", "query is the client's"),
        ("response.set = { age = \"1\" }", "`age` can't be edited", "leave it out"),
        ("response.remove = \"connection\"", "`connection` can't be edited", ""),
        ("redirect = { status = 301 }", "leads somewhere", "to ="),
        ("redirect = { to = \"/a\", status = 304 }", "304 is no redirection", "308"),
        ("redirect = { to = \"{query.to}\" }", "choose the host", "slash"),
        ("redirect = { to = \"https://a.test{path.1}\" }", "choose the host", "https://"),
        ("redirect.to = \"/a\"\nrespond.status = 404", "decided twice", "leave one"),
        ("respond = { status = 100 }", "out of range", "200 to 599"),
        ("respond = { status = 204, body = \"a\" }", "204 has no content", "body"),
        ("respond = { body = \"a\", body_file = \"a\" }", "cannot read", ""),
        ("respond = { content_type = \"text\" }", "not a media type", "text/html"),
        ("access.allow = [\"all\"]", "neither a network", "10.0.0.0/8"),
        ("access.realm = \"a\\\"b\"", "no name for a realm", "quotes"),
        ("access.users = \"missing\"", "cannot read", "relative paths"),
        (
            "match_response.status = 200\nrequest.set = { x-a = \"1\" }",
            "before there is",
            "move it",
        ),
        ("match_response.status = 200\naccess.realm = \"a\"", "before there is", "move it"),
    ];
    for (text, title, advice) in cases {
        let line = ORIGIN.lines().count() + 1 + text.lines().count();
        only_fault(&format!("{ORIGIN}[[rule]]\n{text}\n"), line, title, advice);
    }
}
