//! An explanation, as people and programs read it.

use std::fmt::{self, Display, Write};

use seawall::trial::{
    Copy, Decision, Effective, Explanation, Freshness, Keyed, Live, MatchedRule, Message, Varying,
};

/// The explanation as it is printed.
pub(crate) fn render(explained: &Explanation, json: bool) -> String {
    if json {
        return serde_json::to_string_pretty(explained).unwrap_or_default();
    }
    let file = explained.file.as_deref().unwrap_or_default();
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = Human { explained, file }.write(&mut text);
    text.trim_end().to_owned()
}

struct Human<'a> {
    explained: &'a Explanation,
    file: &'a str,
}

impl Human<'_> {
    fn write(&self, f: &mut String) -> fmt::Result {
        let all = self.explained;
        let (method, url) = (plain(&all.method), plain(&all.url));
        writeln!(f, "{method} {url}  from {}\n", plain(&all.client))?;
        if let Some(live) = &all.live {
            now(f, live, all.decision.as_ref())?;
        }
        match (&all.route, &all.upstream) {
            (Some(route), upstream) => {
                let upstream = upstream.as_deref().unwrap_or("?");
                line(f, "route", format_args!("{route}, to upstream {upstream}"))?;
            }
            (None, _) => line(f, "route", "none")?,
        }
        self.rules(f, &all.rules)?;
        self.settings(f, &all.settings)?;
        if let Some(key) = &all.key {
            keyed(f, key)?;
        }
        if let Some(live) = &all.live {
            in_memory(f, live)?;
        }
        self.messages(f)?;
        varying(f, "variant", all.variant.as_deref().unwrap_or_default())?;
        labels(f, all)?;
        if let (None, Some(decision)) = (&all.live, &all.decision) {
            decided(f, decision)?;
        }
        if let Some(freshness) = &all.freshness {
            fresh(f, freshness)?;
        }
        if let Some(live) = &all.live {
            circumstances(f, live)?;
        }
        if let Some(next) = &all.next {
            line(f, "next time", Next(next))?;
        }
        if !all.otherwise.is_empty() {
            line(f, "otherwise", &all.otherwise)?;
        }
        if all.response.is_none() && all.live.is_none() {
            let more = "give the origin's answer with --response to see what becomes of it";
            line(f, "more", more)?;
        }
        Ok(())
    }

    fn messages(&self, f: &mut String) -> fmt::Result {
        let Explanation { origin, response, .. } = self.explained;
        for (what, message) in [("to the origin", origin), ("to the client", response)] {
            if let Some(Message { start, headers }) = message {
                line(f, what, start)?;
                fields(f, headers)?;
            }
        }
        Ok(())
    }

    fn place(&self, line: usize) -> String {
        // Without a file all of it comes from flags.
        if self.file.is_empty() { format!("line {line}") } else { format!("{}:{line}", self.file) }
    }

    fn rules(&self, f: &mut String, rules: &[MatchedRule]) -> fmt::Result {
        if rules.is_empty() {
            return line(f, "rules", "none matches");
        }
        for rule in rules {
            let waits = if rule.counts { "" } else { " does not count: match_response" };
            line(f, "rule", format_args!("{}  {}{waits}", rule.name, self.place(rule.line)))?;
            for (key, value) in &rule.sets {
                line(f, "", format_args!("  {key} = {value}"))?;
            }
        }
        Ok(())
    }

    fn settings(&self, f: &mut String, settings: &[Effective]) -> fmt::Result {
        for Effective { key, value, by, line: at } in settings {
            line(f, "setting", format_args!("{key} = {value}  by {by}  {}", self.place(*at)))?;
        }
        line(f, "setting", "all others: the defaults")
    }
}

fn line(f: &mut String, what: &str, text: impl Display) -> fmt::Result {
    writeln!(f, "{what:<14} {}", plain(&text.to_string()))
}

/// On one line, and nothing that steers the terminal: networks and files are full of surprises.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            plain.extend(letter.escape_default());
        } else {
            plain.push(letter);
        }
    }
    plain
}

fn fields(f: &mut String, fields: &[(String, String)]) -> fmt::Result {
    for (name, value) in fields {
        line(f, "", format_args!("  {name}: {value}"))?;
    }
    Ok(())
}

fn varying(f: &mut String, what: &str, varying: &[Varying]) -> fmt::Result {
    for Varying { field, value } in varying {
        let value = value.as_deref().unwrap_or("(absent)");
        line(f, what, format_args!("{field}: {value}"))?;
    }
    Ok(())
}

fn keyed(f: &mut String, keyed: &Keyed) -> fmt::Result {
    line(f, "asked for", &keyed.asked)?;
    line(f, "key", &keyed.url)?;
    for Varying { field, value } in &keyed.parts {
        let value = value.as_deref().unwrap_or("(absent)");
        line(f, "", format_args!("  and {field}: {value}"))?;
    }
    if let Some(shared) = &keyed.shared {
        let why = "shared by all URLs that differ in nothing that counts: No-Vary-Search";
        line(f, "", format_args!("  stored as {shared}, {why}"))?;
    }
    for (what, by) in &keyed.dropped {
        line(f, "", format_args!("  {what} does not count: {by}"))?;
    }
    Ok(())
}

fn labels(f: &mut String, all: &Explanation) -> fmt::Result {
    for (what, names) in [("tags", &all.tags), ("groups", &all.groups)] {
        if !names.is_empty() {
            line(f, what, names.join(", "))?;
        }
    }
    match all.more_tags {
        0 => Ok(()),
        more => line(f, "", format_args!("  and {more} more")),
    }
}

/// What would be done, in a sentence, and why.
fn now(f: &mut String, live: &Live, decision: Option<&Decision>) -> fmt::Result {
    let joins = live.flight.is_some();
    let what = match &*live.would {
        "hit" => "hit: answered from memory",
        "stale" => "stale: answered from memory past its lifetime",
        "decode" => {
            "decode: stored compressed, in codings the client does not accept; decoded first, then judged"
        }
        "revalidate" if joins => "revalidate: waits for the validation under way",
        "revalidate" => "revalidate: the origin is asked whether what is stored is still good",
        "complete" if joins => "complete: waits for the fetch under way",
        "complete" => "complete: the origin is asked for what is missing of it",
        "miss" if joins => "miss: waits for the fetch under way, and shares what comes",
        "miss" => "miss: the origin is asked",
        "pass" => "pass: the origin is asked for this client alone",
        "answer" => "answer: a rule answers by itself",
        "refuse" => "refuse: it gets an error",
        other => other,
    };
    line(f, "now", format_args!("{what}; configuration {}", live.generation))?;
    let Some(decision) = decision else { return Ok(()) };
    if let (Some(word), Some(meaning)) = (&decision.reason, &decision.meaning) {
        line(f, "reason", format_args!("{word}: {meaning}"))?;
    }
    match live.refresh.as_deref() {
        Some("begins") => line(f, "refresh", "it would be refreshed in the background"),
        Some("under-way") => line(f, "refresh", "it is being refreshed"),
        Some("left-alone") => line(f, "refresh", "not yet: the last try has just failed"),
        Some("no-room") => line(f, "refresh", "not now: too many requests wait for origins"),
        Some("by-chance") => {
            let percent = (live.chance * 100.0).round();
            line(f, "refresh", format_args!("early, by a chance of {percent} %: early_refresh"))
        }
        _ => Ok(()),
    }
}

/// What is stored.
fn in_memory(f: &mut String, live: &Live) -> fmt::Result {
    let others = live.variants - usize::from(live.found.is_some()).min(live.variants);
    let Some(Message { start, headers }) = &live.stored else {
        line(f, "in memory", if others == 0 { "nothing" } else { "nothing for this request" })?;
        return stored_for_others(f, live, others);
    };
    let part = match (live.whole, live.as_it_came) {
        (false, _) => ", which is not all of it",
        (true, false) if !live.copies.is_empty() => ", in other codings alone",
        (true, _) => "",
    };
    line(f, "in memory", format_args!("{start}, {} bytes{part}", live.bytes))?;
    fields(f, headers)?;
    for Copy { coding, level, bytes, etag } in &live.copies {
        let tag = etag.as_deref().map(|etag| format!(", {etag}")).unwrap_or_default();
        line(f, "", format_args!("  a copy in {coding}, level {level}: {bytes} bytes{tag}"))?;
    }
    stored_for_others(f, live, others)?;
    let latest = live.purge_sequence;
    match live.purged.as_deref() {
        Some("soft") => {
            line(f, "purged", format_args!("softly: it is stale; the latest purge is {latest}"))
        }
        Some("hard") => {
            line(f, "purged", format_args!("hard: it is gone; the latest purge is {latest}"))
        }
        _ => line(f, "purged", "no"),
    }
}

fn stored_for_others(f: &mut String, live: &Live, others: usize) -> fmt::Result {
    if others == 0 {
        return Ok(());
    }
    let plural = if others == 1 { "" } else { "s" };
    line(f, "", format_args!("  and {others} variant{plural} for other requests:"))?;
    for other in &live.others {
        let told = other.iter().map(|Varying { field, value }| match value {
            Some(value) => format!("{field}: {value}"),
            None => format!("{field} absent"),
        });
        line(f, "", format_args!("    {}", told.collect::<Vec<_>>().join("; ")))?;
    }
    if others > live.others.len() {
        line(f, "", format_args!("    and {} more", others - live.others.len()))?;
    }
    Ok(())
}

/// What is known of fetches for it.
fn circumstances(f: &mut String, live: &Live) -> fmt::Result {
    if let Some(known) = &live.hit_for_miss {
        let (reason, meaning) = (&known.reason, &known.meaning);
        line(f, "last answer", format_args!("it was not shared: {reason}: {meaning}"))?;
        match known.seconds {
            0 => line(f, "", "  that was a while ago: the next request is waited for again")?,
            left => line(f, "", format_args!("  nobody waits for the next one for {left} s yet"))?,
        }
    }
    if let Some(setback) = &live.setback {
        let (reason, meaning) = (&setback.reason, &setback.meaning);
        line(f, "setback", format_args!("the last fetch failed: {reason}: {meaning}"))?;
        let (patient, quiet) = (setback.patient, setback.quiet);
        let text =
            format_args!("  stale is served at once for {patient} s yet, no refresh for {quiet} s");
        line(f, "", text)?;
    }
    let Some(flight) = &live.flight else { return Ok(()) };
    let answered = if flight.answered { "its answer is coming" } else { "no answer yet" };
    let waiting = match flight.followers {
        0 => "nobody else waits for it".to_owned(),
        1 => "1 more request waits for it".to_owned(),
        many => format!("{many} more requests wait for it"),
    };
    line(f, "under way", format_args!("a fetch: {answered}, {waiting}"))
}

fn decided(f: &mut String, decision: &Decision) -> fmt::Result {
    let stored = match decision.stored {
        Some(true) => "yes",
        Some(false) => "no",
        None => "that depends on the origin's answer",
    };
    line(f, "stored", stored)?;
    if let (Some(word), Some(meaning)) = (&decision.reason, &decision.meaning) {
        line(f, "reason", format_args!("{word}: {meaning}"))?;
    }
    Ok(())
}

fn fresh(f: &mut String, freshness: &Freshness) -> fmt::Result {
    let Freshness { source, given, lifetime, until, .. } = freshness;
    line(f, "lifetime", format_args!("{given} s from `{source}`"))?;
    if given != lifetime {
        line(f, "", format_args!("  made {lifetime} s by min_lifetime or max_lifetime"))?;
    }
    let here = Seconds(freshness.age_ms.saturating_sub(freshness.initial_age_ms));
    let (age, initial) = (Seconds(freshness.age_ms), Seconds(freshness.initial_age_ms));
    let lifetime = Seconds(freshness.lifetime_ms);
    if here.0 == 0 {
        line(f, "age", format_args!("{age} s when it came"))?;
    } else {
        line(f, "age", format_args!("{initial} s when it came + {here} s here = {age} s"))?;
    }
    let left = Seconds(lifetime.0.abs_diff(age.0));
    if age.0 < lifetime.0 {
        line(f, "fresh", format_args!("for {lifetime} - {age} = {left} s, until {until}"))?;
    } else {
        line(f, "stale", format_args!("for {age} - {lifetime} = {left} s, since {until}"))?;
    }
    for (seconds, how) in [
        (freshness.stale_while_revalidate, "while it is refreshed (stale-while-revalidate)"),
        (freshness.stale_if_error, "in place of an error (stale-if-error)"),
        (freshness.stale_when_disconnected, "while the origin can't be reached"),
    ] {
        if seconds > 0 {
            line(f, "then stale", format_args!("{seconds} s more {how}"))?;
        }
    }
    if freshness.stale_forbidden {
        let which = "never: `must-revalidate`, `proxy-revalidate` or `s-maxage` forbids it";
        line(f, "then stale", which)?;
    }
    let validator = if freshness.validator {
        "it can be validated by its entity tag or date of change"
    } else {
        "it can't be validated: it has neither entity tag nor date of change"
    };
    line(f, "validator", validator)
}

/// Milliseconds, as seconds: none is lost, so that sums are right.
struct Seconds(u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1000, self.0 % 1000);
        if rest == 0 { write!(f, "{whole}") } else { write!(f, "{whole}.{rest:03}") }
    }
}

struct Next<'a>(&'a Decision);

impl Display for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Decision { hit, ttl, forwarded, reason, .. } = self.0;
        match (*hit, forwarded) {
            (true, _) => f.write_str("a hit")?,
            (false, Some(forwarded)) => write!(f, "to the origin again (fwd={forwarded})")?,
            (false, None) => f.write_str("the same")?,
        }
        if let Some(ttl) = ttl {
            write!(f, ", ttl={ttl}")?;
        }
        if let Some(reason) = reason {
            write!(f, ", {reason}")?;
        }
        Ok(())
    }
}
