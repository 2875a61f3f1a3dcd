//! Names and values of fields (RFC 9110 §5, RFC 9112 §5), `Expect` (RFC 9110 §10.1.1).

use super::*;

#[tokio::test]
async fn a_field_that_is_none_is_refused() {
    let fields = [
        ("empty name", ": x⏎"),
        ("only a colon", ":⏎"),
        ("no colon", "X⏎"),
        ("no colon, a space", "X y⏎"),
        ("space before the colon", "X : y⏎"),
        ("tab before the colon", "X\t: y⏎"),
        ("space in the name", "X Y: z⏎"),
        ("space first", " X: y⏎"),
        ("tab first", "\tX: y⏎"),
        ("folded", "X: y⏎ z⏎"),
        ("folded with a tab", "X: y⏎\tz⏎"),
        ("folded and empty", "X:⏎ ⏎"),
        ("NUL in the name", "X\u{0}Y: z⏎"),
        ("CR in the name", "X\rY: z⏎"),
        ("parentheses in the name", "X(Y): z⏎"),
        ("brackets in the name", "X[Y]: z⏎"),
        ("braces in the name", "{X}: z⏎"),
        ("quotes in the name", "\"X\": z⏎"),
        ("slash in the name", "X/Y: z⏎"),
        ("at sign in the name", "X@Y: z⏎"),
        ("semicolon in the name", "X;Y: z⏎"),
        ("equals sign in the name", "X=Y: z⏎"),
        ("comma in the name", "X,Y: z⏎"),
        ("high byte in the name", "X\u{ff}: z⏎"),
        ("UTF-8 in the name", "\u{c3}\u{a4}: z⏎"),
        ("DEL in the name", "X\u{7f}: z⏎"),
        ("NUL in the value", "X: a\u{0}b⏎"),
        ("NUL as the value", "X: \u{0}⏎"),
        ("bell in the value", "X: a\u{7}b⏎"),
        ("escape in the value", "X: \u{1b}[2J⏎"),
        ("vertical tab in the value", "X: a\u{b}b⏎"),
        ("form feed in the value", "X: a\u{c}b⏎"),
        ("backspace in the value", "X: a\u{8}b⏎"),
        ("DEL in the value", "X: a\u{7f}b⏎"),
        ("unit separator in the value", "X: a\u{1f}b⏎"),
        ("high byte in Connection", "Connection: a\u{ff}, close⏎"),
        ("bare CR in the value", "X: a\rb⏎"),
        ("bare CR before CRLF", "X: a\r⏎"),
        ("bare LF after the value", "X: a\n"),
        ("bare LF, then a field", "X: a\nY: b⏎"),
        ("LF CR", "X: a\n\rY: b⏎"),
        ("a second request line", "GET /x HTTP/1.1⏎"),
        ("a response line", "HTTP/1.1 200 OK⏎"),
    ];
    let cases = fields.map(|(name, field)| (name, format!("GET / HTTP/1.1⏎◊{field}⏎")));
    let cases: Vec<_> = cases.iter().map(|(name, case)| (*name, &**case)).collect();
    expect_refusals(refused, &cases).await;
    let first = fields.map(|(name, field)| (name, format!("GET / HTTP/1.1⏎{field}◊⏎")));
    let first: Vec<_> = first.iter().map(|(name, case)| (*name, &**case)).collect();
    expect_refusals(refused, &first).await;
}

#[tokio::test]
async fn the_end_of_a_head_is_an_empty_line_and_nothing_else() {
    expect_refusals(
        refused,
        &[
            ("bare LF", "GET / HTTP/1.1⏎◊\n"),
            ("bare LF twice", "GET / HTTP/1.1⏎Host: example.test\n\n"),
            ("a space", "GET / HTTP/1.1⏎◊ ⏎⏎"),
            ("a tab", "GET / HTTP/1.1⏎◊\t⏎⏎"),
            ("CR CR LF", "GET / HTTP/1.1⏎◊\r\r\n⏎"),
            ("LF CR LF", "GET / HTTP/1.1⏎◊\n⏎"),
            ("NUL", "GET / HTTP/1.1⏎◊\u{0}⏎⏎"),
        ],
    )
    .await;
}

#[tokio::test]
async fn too_much_is_refused() {
    let target = format!("GET /{} HTTP/1.1⏎◊⏎", "x".repeat(20_000));
    let field = format!("GET / HTTP/1.1⏎◊X: {}⏎⏎", "x".repeat(100_000));
    let name = format!("GET / HTTP/1.1⏎◊{}: x⏎⏎", "x".repeat(100_000));
    let fields = format!("GET / HTTP/1.1⏎◊{}⏎", "X: y⏎".repeat(1000));
    let method = format!("{} / HTTP/1.1⏎◊⏎", "X".repeat(100_000));
    expect_refusals(
        refused,
        &[
            ("a long target", &target),
            ("a long value", &field),
            ("a long name", &name),
            ("many fields", &fields),
            ("a long method", &method),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_is_unusual_and_clear_is_forwarded() {
    let fields = [
        ("an empty value", "X:⏎"),
        ("no space", "X:y⏎"),
        ("many spaces", "X: \t y \t ⏎"),
        ("a tab in the value", "X: a\tb⏎"),
        ("high bytes in the value", "X: \u{e4}\u{ff}⏎"),
        ("a colon in the value", "X: a:b⏎"),
        ("odd characters in the name", "!$%&'*+-.^_`|~9: y⏎"),
        ("an underscore", "X_Y: z⏎"),
        ("Keep-Alive", "Keep-Alive: timeout=5⏎"),
        ("Proxy-Connection", "Proxy-Connection: close⏎"),
    ];
    let cases = fields.map(|(name, field)| (name, format!("GET / HTTP/1.1⏎◊{field}⏎")));
    let cases: Vec<_> = cases.iter().map(|(name, case)| (*name, &**case, "GET / - ")).collect();
    expect_forwarded(&cases).await;
}

#[tokio::test]
async fn an_expectation_other_than_100_continue_is_refused() {
    let values = [
        "",
        "x",
        "100",
        "100-continu",
        "100-continuee",
        "100 continue",
        "100-continue, x",
        "x, 100-continue",
        "100-continue=1",
        "100-continue;a=b",
        "y 100-continue",
        "\"100-continue\"",
        "100-continue,",
        ",100-continue",
        "100-continue, 100-continue",
        "200-ok",
    ];
    let mut cases = Vec::new();
    for value in values {
        cases.push((
            format!("{value:?}"),
            format!("POST / HTTP/1.1⏎◊Expect: {value}⏎Content-Length: 2⏎⏎ok"),
        ));
        cases.push((format!("{value:?} on GET"), format!("GET / HTTP/1.1⏎◊Expect: {value}⏎⏎")));
    }
    for (name, fields) in [
        ("twice", "Expect: 100-continue⏎Expect: 100-continue⏎"),
        ("another first", "Expect: x⏎Expect: 100-continue⏎"),
        ("another second", "Expect: 100-continue⏎Expect: x⏎"),
        ("folded", "Expect:⏎ 100-continue⏎"),
        ("folded and a length", "Expect: 100-continue⏎ Content-Length: 50⏎"),
        ("space before the colon", "Expect : 100-continue⏎"),
    ] {
        cases.push((name.to_owned(), format!("POST / HTTP/1.1⏎◊{fields}Content-Length: 2⏎⏎ok")));
    }
    let cases: Vec<_> = cases.iter().map(|(name, case)| (&**name, &**case)).collect();
    expect_refusals(refused, &cases).await;
}

#[tokio::test]
async fn an_expectation_changes_no_framing() {
    expect_forwarded(&[
        ("without content", "GET / HTTP/1.1⏎◊Expect: 100-continue⏎⏎", "GET / - "),
        (
            "an empty one",
            "POST / HTTP/1.1⏎◊Expect: 100-continue⏎Content-Length: 0⏎⏎",
            "POST / length ",
        ),
    ])
    .await;
}

#[tokio::test]
async fn no_connection_option_removes_what_frames_a_message() {
    let wire = Wire::start().await;
    let options = "content-length, transfer-encoding, host, connection, close2, expect, te";
    for case in [
        format!("POST / HTTP/1.1⏎◊Connection: {options}⏎Content-Length: 2⏎⏎ok"),
        format!("POST / HTTP/1.1⏎Connection: {options}⏎◊Content-Length: 2⏎⏎ok"),
    ] {
        let outcome = wire.send(&case, false).await;
        assert_eq!(outcome.forwarded[0].to_string(), "POST / length ok");
        assert_eq!(outcome.forwarded[0].all("host"), ["example.test"]);
        assert_eq!(outcome.statuses, [200, 200]);
    }
}
