//! The JSON Schema: what is good is good by it, and what it refuses is refused.

use std::path::PathBuf;

use jsonschema::Validator;
use serde_json::{Value as Json, json};

use super::every_key::CHANGES;
use super::*;
use crate::config::compile::{ERROR_PAGES, SECTIONS};
use crate::config::json_schema::{json_schema, schema};
use crate::config::sections;

fn as_json(text: &str) -> Json {
    toml::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn validator(schema: &Json) -> Validator {
    jsonschema::draft202012::new(schema).unwrap()
}

#[track_caller]
fn assert_valid(validator: &Validator, text: &str) {
    let instance = as_json(text);
    let errors: Vec<_> = validator
        .iter_errors(&instance)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{}\n{text}", errors.join("\n"));
}

#[test]
fn it_is_a_schema() {
    jsonschema::meta::validate(&schema()).unwrap();
}

#[test]
fn the_shipped_schema_is_the_generated_one() {
    let shipped = include_str!("../../../config/schema.json");
    assert_eq!(shipped, json_schema(), "run: seawall config schema > config/schema.json");
}

#[test]
fn every_shipped_file_is_good_by_it() {
    let validator = validator(&schema());
    let examples = std::fs::read_dir("config/examples").unwrap();
    let mut files: Vec<PathBuf> = examples.map(|entry| entry.unwrap().path()).collect();
    files.push("config/seawall.toml".into());
    assert!(files.len() > 7);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        assert_valid(&validator, &text);
        // Editors find it by the first line.
        let named = text.lines().next().unwrap().strip_prefix("#:schema ").unwrap();
        assert!(file.with_file_name(named).exists(), "{}: {named}", file.display());
    }
}

#[test]
fn every_key_has_its_place_and_takes_what_is_said_of_it() {
    let schema = schema();
    let known: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
    let mut sections: Vec<_> = SECTIONS.into_iter().chain([ERROR_PAGES]).collect();
    sections.sort_unstable();
    assert_eq!(known, sections);
    for section in sections::all() {
        let table = &schema["$defs"][section.name];
        assert_eq!(table["additionalProperties"], false, "[{}]", section.name);
        assert_eq!(table["description"], section.about);
        for key in &section.keys {
            let property = &table["properties"][key.name];
            let described = property["description"].as_str().unwrap_or_default();
            assert!(described.starts_with(key.meaning), "[{}] {}", section.name, key.name);
            let typed =
                ["type", "enum", "anyOf", "$ref"].iter().any(|it| property.get(it).is_some());
            assert!(typed, "[{}] {} may be anything: {property}", section.name, key.name);
            // The default, or the example: the file with every comment taken away, key by key.
            let mut alone = property.clone();
            alone["$defs"] = schema["$defs"].clone();
            let value = &as_json(&format!("it = {}", key.absent.text()))["it"];
            assert!(validator(&alone).is_valid(value), "[{}] {}", section.name, key.name);
        }
    }
}

#[test]
fn whatever_the_readers_take_it_takes() {
    let validator = validator(&schema());
    for (header, lines) in CHANGES {
        for line in *lines {
            assert_valid(&validator, &format!("{ORIGIN}{header}\n{line}\n"));
        }
    }
    for more in [
        "[server]\nthreads = 3\nwatch = \"none\"",
        "[limits]\nmax_body_bytes = \"1.5 GiB\"\nmin_rate = \"off\"\nidle_timeout = \"1h30m 5sec\"",
        "[[listener]]\naddress = \"[::1]:0\"",
        "[[rule]]\nredirect = \"off\"\nrespond = \"off\"\nrequest.path = \"off\"",
        "[[rule]]\nkey.cookies = \"all\"\nkey.host = \"as-is\"\naccess.users = \"off\"",
        "[[rule]]\ncache.keep = \"1h\"\nmatch.not = { any = [{ not = { path = \"**/a\" } }] }",
        "[[rule]]\ncache.keep = \"1h\"\nmatch.header = { a = [\"b\", \"c\"], d = { regex = \"e\" } }",
        "[error_pages]\n502 = \"502.html\"",
    ] {
        assert_valid(&validator, &format!("{ORIGIN}{more}\n"));
    }
}

#[test]
fn what_it_refuses_is_refused() {
    let validator = validator(&schema());
    for (text, place) in [
        ("[cahce]", ""),
        ("[cache]\nmemroy = \"1GiB\"", "/cache"),
        ("[cache]\nmemory = 512", "/cache/memory"),
        ("[cache]\nmemory = \"512M\"", "/cache/memory"),
        ("[cache]\nkeep = \"30\"", "/cache/keep"),
        ("[cache]\nkeep = \"5M\"", "/cache/keep"),
        ("[cache]\nenabled = \"yes\"", "/cache/enabled"),
        ("[cache]\njitter = 2", "/cache/jitter"),
        ("[cache]\nheuristic_fraction = 0", "/cache/heuristic_fraction"),
        ("[cache]\nrequest_directives = \"yes\"", "/cache/request_directives"),
        ("[cache]\nnegative = { 200 = \"1s\" }", "/cache/negative"),
        ("[limits]\nmax_streams = 0", "/limits/max_streams"),
        ("[limits]\nmax_streams = 1.5", "/limits/max_streams"),
        ("[server]\nthreads = \"many\"", "/server/threads"),
        ("[trust]\nproxies = \"10.0.0.0/8\"", "/trust/proxies"),
        ("[trust]\nproxies = [\"everybody\"]", "/trust/proxies/0"),
        ("[[listener]]\nhttp2 = true", "/listener/0"),
        ("[[listener]]\naddress = \"localhost:80\"", "/listener/0/address"),
        ("[listener]\naddress = \"127.0.0.1:80\"", "/listener"),
        ("[upstream.other]\nverify = true", "/upstream/other"),
        ("[upstream.other]\nurl = \"127.0.0.1:9000\"", "/upstream/other/url"),
        ("[upstream.\"a b\"]\nurl = \"http://127.0.0.1:9000\"", "/upstream"),
        ("[[route]]\npath = \"api\"", "/route/0/path"),
        ("[route]\npath = \"/\"", "/route"),
        ("[[rule]]\ncache = { kep = \"1h\" }", "/rule/0/cache"),
        ("[[rule]]\ncache = { memory = \"1GiB\" }", "/rule/0/cache"),
        ("[[rule]]\nmatch.any = [{ pth = \"/\" }]", "/rule/0/match/any/0"),
        ("[[rule]]\nmatch.method = \"get\"", "/rule/0/match/method"),
        ("[[rule]]\nmatch.path = \"a/*\"", "/rule/0/match/path"),
        ("[[rule]]\nmatch.header = { a = 1 }", "/rule/0/match/header/a"),
        ("[[rule]]\nmatch.header = { \"a b\" = true }", "/rule/0/match/header"),
        ("[[rule]]\nmatch_response.status = \"4xx\"", "/rule/0/match_response/status"),
        ("[[rule]]\nredirect = { status = 301 }", "/rule/0/redirect"),
        ("[[rule]]\nrespond = \"on\"", "/rule/0/respond"),
        ("[[rule]]\nrequest.set = { x = 1 }", "/rule/0/request/set/x"),
        ("[[test]]\nexpect = { hit = true }", "/test/0"),
        (
            "[[test]]\nrequest = \"http://a.test/\"\nexpect = { reason = \"privat\" }",
            "/test/0/expect/reason",
        ),
        (
            "[[test]]\nrequest = \"http://a.test/\"\nexpect = { hit = true }\nresponse = \"conect-failed\"",
            "/test/0/response",
        ),
        (
            "[[test]]\nrequest = \"http://a.test/\"\nexpect = { hit = true }\nthen = [{ aftr = \"1s\" }]",
            "/test/0/then/0",
        ),
    ] {
        let text = format!("{ORIGIN}{text}\n");
        let instance = as_json(&text);
        let places: Vec<_> = validator
            .iter_errors(&instance)
            .map(|error| error.instance_path().to_string())
            .collect();
        assert_eq!(places, [place], "{text}");
        assert!(read_with(&text, &CliOverrides::default()).is_err(), "{text}");
    }
}

#[test]
fn a_default_is_where_there_is_one_and_what_has_to_be_there_is_told() {
    let schema = schema();
    let listener = &schema["$defs"]["listener"];
    assert_eq!(listener["required"], json!(["address"]));
    assert_eq!(listener["properties"]["http2"]["default"], true);
    assert_eq!(listener["properties"]["address"].get("default"), None);
    assert_eq!(listener["properties"]["address"]["examples"], json!(["127.0.0.1:8080"]));
    let limits = &schema["$defs"]["limits"]["properties"];
    assert!(limits["idle_timeout"]["description"].as_str().unwrap().ends_with("From 1s to 1day."));
    assert_eq!(limits["max_streams"]["maximum"], 10_000);
}
