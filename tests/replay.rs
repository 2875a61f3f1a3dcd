//! `seawall replay`: the program as it is run, on small logs whose outcome was worked out by hand.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// `site.toml` on the log of which there is one in every form, line by line: `/` and the style
/// sheet and the logo are asked for the first time; `/` and the style sheet are hits; `/missing`
/// comes, and is a hit a second later; `/cart` is off, twice; `/?utm_source=mail` is `/`. A minute
/// later logo and `/` (by HEAD, then by GET) are stale; a part of the video is passed on; after an
/// hour the origin fails.
const FRESH: u64 = 4;
const MISSED: u64 = 8;
const UNCACHEABLE: u64 = 3;
const ALL: u64 = FRESH + MISSED + UNCACHEABLE;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/replay").join(name)
}

fn seawall(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    command.arg("replay").args(arguments).current_dir(data("")).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SEAWALL_")) {
        command.env_remove(name);
    }
    command.output().unwrap()
}

#[track_caller]
fn json(arguments: &[&str]) -> Value {
    let output = seawall(&[&["--json"], arguments].concat());
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{complaint}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn requests(report: &Value, outcome: &str) -> u64 {
    report["outcomes"][outcome]["requests"].as_u64().unwrap()
}

/// Hits of each setting that was tried.
fn fresh_of_each(report: &Value) -> Vec<u64> {
    report["what_if"].as_array().unwrap().iter().map(|it| requests(it, "fresh")).collect()
}

fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("seawall-replay-{}-{name}", std::process::id()))
}

#[test]
fn every_form_of_a_log_says_the_same() {
    let nginx = "$msec $request_time $scheme://$host$request_uri $request_method $status \
                 $body_bytes_sent";
    for (log, more) in [
        ("combined.log", &[][..]),
        ("common.log", &[]),
        ("vhost.log", &[]),
        ("seawall.json", &[]),
        ("traefik.json", &["--format", "traefik"]),
        ("nginx.log", &["--format", nginx]),
    ] {
        let arguments = [&["--log", log, "--config", "site.toml"], more].concat();
        let report = json(&arguments);
        assert_eq!(report["requests"], ALL, "{log}");
        let outcomes = ["fresh", "missed", "uncacheable"].map(|word| requests(&report, word));
        assert_eq!(outcomes, [FRESH, MISSED, UNCACHEABLE], "{log}: {report}");
        assert_eq!(report["origin"]["requests"], MISSED + UNCACHEABLE, "{log}");
        let ratio = report["hit_ratio"].as_f64().unwrap();
        assert!((ratio - 4.0 / 15.0).abs() < 1e-9, "{log}: {ratio}");
        let bytes = report["byte_hit_ratio"].as_f64().unwrap();
        assert!((bytes - 4300.0 / 19_100.0).abs() < 1e-9, "{log}: {bytes}");
        assert_eq!(report["assumed_ratio"], 0.0, "the file says what a log can't know");
    }
}

#[test]
fn what_the_origin_said_goes_before_what_the_file_makes_up() {
    let report = json(&["--log", "caddy.json", "--config", "site.toml"]);
    // By max-age=30 the error is stored too; all else is as above.
    assert_eq!(requests(&report, "fresh"), FRESH);
    assert_eq!(requests(&report, "missed"), MISSED + 1);
    assert_eq!(report["assumed_ratio"], 0.0);
    // The log says how long things took: 40, 2, 9 and 40 ms were not waited for.
    assert_eq!(report["seconds_saved"], 0.091);
}

#[test]
fn why_requests_were_lost_is_told_by_its_word_and_what_would_win_them() {
    let report = json(&["--log", "combined.log", "--config", "site.toml"]);
    let reasons: Vec<_> = report["reasons"].as_array().unwrap().iter().collect();
    let of = |word: &str| {
        let row = reasons.iter().find(|row| row["reason"] == word);
        row.map_or(0, |row| row["requests"].as_u64().unwrap())
    };
    assert_eq!((of("first-request"), of("stale"), of("cache-off")), (4, 3, 2));
    assert_eq!((of("partial-miss"), of("status")), (1, 1));
    assert!(reasons.iter().all(|row| !row["advice"].as_str().unwrap().is_empty()));
    let rules = report["rules"].as_array().unwrap();
    assert!(rules.iter().any(|row| row["name"] == "tracking + cart" && row["requests"] == 2));
}

#[test]
fn what_no_cache_can_win_hides_no_url_that_could_be_won() {
    let report = json(&["--log", "combined.log"]);
    let words = |part: &str| -> Vec<_> {
        let rows = report[part].as_array().unwrap().iter();
        rows.map(|row| row["reason"].as_str().unwrap().to_owned()).collect()
    };
    assert!(words("reasons").contains(&"method".to_owned()));
    assert!(!words("lost").is_empty());
    assert!(!words("lost").contains(&"method".to_owned()));
}

#[test]
fn what_is_assumed_is_said() {
    let ratios = |more: &[&str]| {
        let report = json(&[&["--log", "combined.log"], more].concat());
        let ratio = |name: &str| report[name].as_f64().unwrap();
        ((ratio("hit_ratio") * 15.0).round(), ratio("assumed_ratio") > 0.5)
    };
    // Everything stays fresh: also logo, `/` by HEAD and by GET, and `/` as the origin fails; not
    // `/?utm_source=mail`, and the style sheet has a validator.
    assert_eq!(ratios(&[]), (7.0, true));
    assert_eq!(ratios(&["--assume", "none"]), (0.0, false));
    assert_eq!(ratios(&["--assume", "none", "--assume", "*=1m"]), (3.0, true));
    assert_eq!(ratios(&["--assume", "*=no-store"]), (0.0, true));
    assert_eq!(ratios(&["--assume", "*=1d", "--assume", "image/*=no-store"]), (6.0, true));
}

#[test]
fn a_trace_is_replayed_as_objects_that_never_change() {
    let report = json(&["--trace", "trace.csv", "--memory", "1000", "--weigh", "body"]);
    assert_eq!((&report["requests"], requests(&report, "fresh")), (&Value::from(8), 4));
    assert_eq!(report["byte_hit_ratio"], 350.0 / 700.0);
    assert_eq!(report["resident_bytes_max"], 350);
    // Two of the bodies fit.
    let small = json(&["--trace", "trace.csv", "--memory", "200B", "--weigh", "body", "--compare"]);
    assert!(small["resident_bytes_max"].as_u64().unwrap() <= 200);
    let peers = small["peers"].as_array().unwrap();
    let ratio = |name: &str| {
        let row = peers.iter().find(|row| row["policy"] == name).unwrap();
        (row["hit_ratio"].as_f64().unwrap() * 8.0).round()
    };
    assert_eq!((ratio("LRU"), ratio("FIFO"), ratio("unbounded memory")), (3.0, 2.0, 4.0));
    assert_eq!((ratio("Belady"), ratio("W-TinyLFU")), (4.0, 3.0));
    let bound = peers.iter().find(|row| row["policy"] == "upper bound").unwrap();
    assert_eq!(bound["is_bound"], true);
}

#[test]
fn requests_that_vary_ask_for_different_objects() {
    let log = temporary("vary.json");
    let line = |second: u32, method: &str, language: &str| {
        format!(
            r#"{{"ts":17000000{second:02},"method":"{method}","uri":"/a","status":200,"size":100,"request":{{"headers":{{"Accept-Language":["{language}"]}}}},"resp_headers":{{"Vary":["Accept-Language"],"Cache-Control":["max-age=600"]}}}}"#
        ) + "\n"
    };
    let mut lines: Vec<_> = ["en", "de", "en", "de"]
        .into_iter()
        .zip(0..)
        .map(|(language, second)| line(second, "GET", language))
        .collect();
    // A write makes both variants invalid.
    lines.extend([line(4, "POST", "en"), line(5, "GET", "de"), line(6, "GET", "en")]);
    lines.push(line(7, "GET", "en"));
    std::fs::write(&log, lines.concat()).unwrap();
    let report = json(&["--log", log.to_str().unwrap()]);
    assert_eq!((requests(&report, "fresh"), requests(&report, "missed")), (3, 4), "{report}");
    assert_eq!((&report["log"]["urls"], &report["log"]["keys"]), (&1.into(), &3.into()));
    assert_eq!(report["assumed_ratio"], 0.0);
    std::fs::remove_file(&log).unwrap();
    // Of a log that tells no `Vary` it can be assumed; what it does not tell of requests is absent.
    let assumed =
        ["--log", "combined.log", "-c", "site.toml", "--assume", "*=vary: accept-language"];
    let report = json(&assumed);
    assert_eq!(requests(&report, "fresh"), FRESH);
    assert!(report["assumed_ratio"].as_f64().unwrap() > 0.5);
}

#[test]
fn compressed_logs_and_standard_input_are_read_too() {
    let text = std::fs::read(data("combined.log")).unwrap();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, &text).unwrap();
    let forms = [
        ("a.log.gz", gz.finish().unwrap()),
        ("a.log.zst", zstd::encode_all(&text[..], 1).unwrap()),
    ];
    for (name, bytes) in forms {
        let file = temporary(name);
        std::fs::write(&file, bytes).unwrap();
        let report = json(&["--log", file.to_str().unwrap()]);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(report["requests"], ALL, "{name}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_seawall"))
        .args(["replay", "--log", "-", "--json"])
        .stdin(std::fs::File::open(data("combined.log")).unwrap())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["requests"], ALL);
}

#[test]
fn broken_lines_are_counted_by_kind_and_shown() {
    let report = json(&["--log", "broken.log"]);
    assert_eq!(report["requests"], 2);
    let broken = report["log"]["broken"].as_object().unwrap();
    let kinds: Vec<_> = broken
        .iter()
        .map(|(kind, row)| {
            (kind.as_str(), row["lines"].as_u64().unwrap(), row["first"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(
        kinds,
        [("form", 1, 2), ("request", 1, 4), ("size", 1, 6), ("status", 1, 5), ("time", 1, 3)]
    );
    let shown = said(&seawall(&["--log", "broken.log"]));
    assert!(
        shown.contains("1 line is not a request of HTTP (request); the first is line 4"),
        "{shown}"
    );
}

#[test]
fn budgets_decide_the_exit_code() {
    let code = |budget: &str| {
        let output = seawall(&["--log", "combined.log", "-c", "site.toml", "--budget", budget]);
        (output.status.code(), said(&output))
    };
    assert_eq!(code("hit>=26%,origin_rps_peak<=5").0, Some(0));
    let (exit, said) = code("hit>=27%,byte_hit>=20%");
    assert_eq!(exit, Some(1));
    assert!(said.contains("hit>=27% is demanded, it is 26.7 %"), "{said}");
    assert_eq!(code("hits>=1").0, Some(64));
}

#[test]
fn other_settings_are_compared() {
    let sweep = "cache.default_lifetime=10s|1d";
    let report = json(&["--log", "combined.log", "-c", "site.toml", "--what-if", sweep]);
    // Of ten seconds the last visit of `/` within the minute is too late; of a day none is.
    assert_eq!(fresh_of_each(&report), [3, 8]);
    let rule = json(&[
        "--log",
        "combined.log",
        "-c",
        "site.toml",
        "--set",
        "rule.cart.cache.enabled=true",
    ]);
    assert_eq!(requests(&rule, "uncacheable"), 2, "the POST and the error are left");
    for wrong in ["cache.default_lifetme=1s", "cache", "rule.none.cache.enabled=true"] {
        let output = seawall(&["--log", "combined.log", "-c", "site.toml", "--set", wrong]);
        assert_eq!(output.status.code(), Some(64), "{wrong}: {}", said(&output));
    }
}

#[test]
fn a_sweep_over_memory_goes_before_the_memory_that_all_is_compared_with() {
    // Fifty megabytes, twice.
    let lines = (0..1000).map(|at| format!("{at},{},100000\n", at % 500)).collect::<Vec<_>>();
    let trace = temporary("twice.csv");
    std::fs::write(&trace, lines.concat()).unwrap();
    let sweep = "cache.memory=4MiB|256MiB";
    for weigh in ["full", "body"] {
        let of = ["--log", trace.to_str().unwrap(), "--memory", "16MiB", "--weigh", weigh];
        let report = json(&[&of[..], &["--what-if", sweep]].concat());
        let hits = fresh_of_each(&report);
        assert!(hits[0] < 100, "{weigh}: {hits:?}");
        assert_eq!(hits[1], 500, "{weigh}");
    }
    std::fs::remove_file(&trace).unwrap();
}

#[test]
fn one_configuration_is_compared_with_another() {
    let after = temporary("after.toml");
    let text = std::fs::read_to_string(data("site.toml")).unwrap();
    std::fs::write(&after, text.replace("\"1m\"", "\"1d\"")).unwrap();
    let report = json_of_diff("site.toml", after.to_str().unwrap());
    let shown = seawall(&["diff", "site.toml", after.to_str().unwrap(), "--log", "combined.log"]);
    std::fs::remove_file(&after).unwrap();
    assert_eq!(requests(&report, "fresh"), FRESH);
    assert_eq!(fresh_of_each(&report), [8]);
    let shown = String::from_utf8_lossy(&shown.stdout);
    let rows: Vec<Vec<_>> =
        shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert!(rows.iter().any(|row| row.last() == Some(&"site.toml")), "{shown}");
    let (before, more) = (FRESH.to_string(), format!("+{}", 8 - FRESH));
    assert!(rows.contains(&vec!["fresh", &before, "8", &more]), "{shown}");
}

fn json_of_diff(before: &str, after: &str) -> Value {
    let output = seawall(&["diff", before, after, "--log", "combined.log", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)))
}

#[test]
fn the_report_is_one_file_that_nothing_in_a_log_breaks_out_of() {
    let (log, page) = (temporary("hostile.log"), temporary("report.html"));
    let time = "[14/Nov/2023:22:13:20 +0000]";
    let line = |url: &str, status: u16| {
        format!("192.0.2.1 - - {time} \"GET {url} HTTP/1.1\" {status} 5 \"-\" \"-\"\n")
    };
    let hostile = "/a\\x22><script>alert(1)</script>";
    std::fs::write(&log, [line("/", 200), line(hostile, 500), line(hostile, 500)].concat())
        .unwrap();
    let arguments = ["--log", log.to_str().unwrap(), "--html", page.to_str().unwrap()];
    let output = seawall(&arguments);
    let html = std::fs::read_to_string(&page).unwrap();
    std::fs::remove_file(&log).unwrap();
    std::fs::remove_file(&page).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(html.contains("<svg viewBox") && html.contains("prefers-color-scheme:dark"));
    assert!(!html.contains("<script") && !html.contains("src=") && !html.contains("href="));
    assert!(!said(&output).contains('\x1b'));
}

#[test]
fn what_can_not_be_read_is_said_with_the_right_exit_code() {
    for (arguments, code, word) in [
        (&["--log", "nowhere.log"][..], 70, "cannot read nowhere.log"),
        (&["--log", "site.toml"], 64, "no known format"),
        (&["--log", "combined.log", "--format", "nonsense"], 64, "neither a format"),
        (&["--log", "combined.log", "--format", "json"], 70, "not a JSON object"),
        (&["--log", "combined.log", "--config", "combined.log"], 64, ""),
        (&[], 64, "--log"),
    ] {
        let output = seawall(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(word), "{arguments:?}: {}", said(&output));
    }
}
