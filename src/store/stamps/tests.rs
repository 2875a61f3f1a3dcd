//! Purges against a plain list of them.

use proptest::prelude::*;

use super::*;

const KEY: &str = "https://a.example/x/1";

fn url(url: &str) -> Scope {
    Scope::Url(url.to_owned())
}

fn label(tag: &str) -> Scope {
    Scope::Label(Label::tag(tag.as_bytes()).expect("a tag"))
}

/// The stamp of a response with these tags whose fetch begins now.
fn tagged(stamps: &Stamps, tags: &str) -> Stamp {
    let line = http::HeaderValue::from_str(tags).expect("a value");
    let target = crate::key::Target::parse(KEY).expect("a URL");
    let rules = crate::rules::TagRules::default();
    let lines = |name: &http::HeaderName| (*name == "xkey").then(|| line.clone()).into_iter();
    let labels = rules.labels(&target, lines).expect("few enough");
    Stamp::new(stamps.sequence(), labels.map(Arc::new))
}

fn prefix(prefix: &str) -> Scope {
    Scope::Prefix(prefix.to_owned())
}

#[test]
fn a_purge_of_a_url_covers_whatever_is_keyed_beside_it() {
    let key = format!("{KEY}\naccept-language=de");
    for mode in [Mode::Soft, Mode::Hard] {
        let stamps = Stamps::with_capacity(3, 1024);
        stamps.expect_parts();
        let stamp = Stamp::new(stamps.sequence(), None);
        assert_eq!(stamps.admit(&key, &stamp), Standing::Valid);
        stamps.purge(url("https://a.example/x"), mode);
        assert_eq!(stamps.standing(&key, &stamp), Standing::Valid);
        stamps.purge(url(KEY), mode);
        // Nothing is forgotten in its favour.
        for other in 0..9 {
            stamps.purge(url(&format!("https://a.example/{other}")), mode);
        }
        assert_eq!(stamps.standing(&key, &stamp), mode.into());
    }
}

#[test]
fn what_was_fetched_before_a_doubt_is_doubted_and_what_was_purged_hard_is_gone() {
    let stamps = Stamps::new();
    let stamp = || Stamp::new(stamps.sequence(), None);
    let (before, soft, gone) = (stamp(), stamp(), stamp());
    assert_eq!(stamps.admit(KEY, &before), Standing::Valid);
    let sequence = stamps.doubt();
    assert_eq!((sequence, stamps.sequence()), (1, 1));
    assert_eq!(stamps.standing(KEY, &before), Standing::Doubtful);
    let after = stamp();
    assert_eq!(stamps.admit(KEY, &after), Standing::Valid);
    stamps.purge(prefix("https://a.example/"), Mode::Soft);
    assert_eq!(stamps.outside(KEY, &soft), Standing::Doubtful);
    assert_eq!(stamps.standing(KEY, &after), Standing::Soft);
    stamps.purge(prefix("https://a.example/"), Mode::Hard);
    assert_eq!(stamps.outside(KEY, &gone), Standing::Hard);
}

#[test]
fn a_purge_covers_what_was_fetched_before_it_and_nothing_fetched_after() {
    for (scope, mode, expected) in [
        (url(KEY), Mode::Soft, Standing::Soft),
        (url(KEY), Mode::Hard, Standing::Hard),
        (prefix("https://a.example/x/"), Mode::Soft, Standing::Soft),
        (prefix("https://a.example/x/"), Mode::Hard, Standing::Hard),
        (Scope::All, Mode::Soft, Standing::Soft),
        (Scope::All, Mode::Hard, Standing::Hard),
        (url("https://a.example/x/2"), Mode::Hard, Standing::Valid),
        (prefix("https://a.example/y"), Mode::Hard, Standing::Valid),
    ] {
        let stamps = Stamps::new();
        let before = Stamp::new(stamps.sequence(), None);
        assert_eq!(stamps.admit(KEY, &before), Standing::Valid);
        stamps.purge(scope, mode);
        assert_eq!(stamps.admit(KEY, &before), expected);
        let after = Stamp::new(stamps.sequence(), None);
        assert_eq!(stamps.admit(KEY, &after), Standing::Valid);
    }
}

#[test]
fn a_soft_purge_does_not_undo_a_hard_one() {
    let stamps = Stamps::new();
    let stamp = Stamp::new(stamps.sequence(), None);
    stamps.purge(url(KEY), Mode::Hard);
    stamps.purge(url(KEY), Mode::Soft);
    assert_eq!(stamps.admit(KEY, &stamp), Standing::Hard);
}

#[test]
fn records_are_bounded_and_what_is_forgotten_is_at_least_stale() {
    let stamps = Stamps::with_capacity(8, 1024);
    let stamp = Stamp::new(stamps.sequence(), None);
    for n in 0..100 {
        stamps.purge(url(&format!("https://a.example/{n}")), Mode::Soft);
    }
    assert!(stamps.records.read().expect("no panic").stale.len() <= 8);
    assert_eq!(stamps.standing("https://a.example/0", &stamp), Standing::Soft);
}

#[test]
fn a_forgotten_hard_purge_of_a_prefix_stays_hard() {
    let stamps = Stamps::with_capacity(8, 1024);
    let stamp = Stamp::new(stamps.sequence(), None);
    stamps.purge(prefix("https://a.example/"), Mode::Hard);
    for n in 0..100 {
        stamps.purge(prefix(&format!("https://b.example/{n}")), Mode::Soft);
    }
    assert_eq!(stamps.standing(KEY, &stamp), Standing::Hard);
}

#[test]
fn purges_of_tags_cost_responses_without_tags_no_check() {
    let stamps = Stamps::new();
    let (plain, with) = (Stamp::new(0, None), tagged(&stamps, "a"));
    stamps.purge(label("b"), Mode::Hard);
    assert_eq!(stamps.standing(KEY, &plain), Standing::Valid);
    assert_eq!(plain.checked().to, 0, "not even looked at");
    assert_eq!(stamps.standing(KEY, &with), Standing::Valid);
    assert_eq!(with.checked().to, 1, "once for every purge");
}

#[test]
fn records_of_tags_are_bounded_and_what_is_forgotten_counts_for_what_has_tags() {
    for (mode, forgotten) in [(Mode::Soft, Standing::Soft), (Mode::Hard, Standing::Hard)] {
        let stamps = Stamps::with_capacity(8, 1024);
        let (plain, with) = (Stamp::new(0, None), tagged(&stamps, "a"));
        let current = tagged(&stamps, "a");
        stamps.purge(label("0"), mode);
        for n in 1..100 {
            assert_eq!(stamps.standing(KEY, &current), Standing::Valid, "checked in time");
            stamps.purge(label(&n.to_string()), Mode::Soft);
        }
        assert!(stamps.records.read().expect("no panic").labels.bytes() <= 1024);
        assert_eq!(stamps.admit(KEY, &plain), Standing::Valid);
        assert_eq!(stamps.standing(KEY, &with), forgotten);
    }
}

#[test]
fn hard_purges_of_other_urls_cost_stored_responses_no_check() {
    let stamps = Stamps::new();
    let stamp = Stamp::new(stamps.sequence(), None);
    stamps.purge(url("https://a.example/other"), Mode::Hard);
    assert_eq!(stamps.standing(KEY, &stamp), Standing::Valid);
    assert_eq!(stamp.checked().to, 0, "not even looked at");
}

#[test]
fn forgotten_hard_purges_of_urls_concern_only_what_was_being_fetched() {
    let stamps = Stamps::with_capacity(8, 1024);
    let (stored, fetching) = (Stamp::new(0, None), Stamp::new(0, None));
    for n in 0..100 {
        stamps.purge(url(&format!("https://a.example/{n}")), Mode::Hard);
    }
    assert!(stamps.records.read().expect("no panic").gone.len() <= 8);
    assert_eq!(stamps.standing(KEY, &stored), Standing::Valid);
    assert_eq!(stamps.admit("https://a.example/0", &fetching), Standing::Soft);
}

proptest! {
    /// Against a list of all purges that is walked every time.
    #[test]
    fn standings_are_those_of_the_plain_list(
        steps in prop::collection::vec((0..4_usize, any::<bool>(), any::<bool>()), 1..40),
    ) {
        let keys = ["http://a/1", "http://a/2", "http://b/1"];
        let scopes = [url(keys[0]), prefix("http://a/"), prefix("http://b/1"), Scope::All];
        let stamps = Stamps::new();
        let old: Vec<_> = keys.iter().map(|_| Stamp::new(0, None)).collect();
        let mut purges: Vec<(u64, Scope, Mode)> = Vec::new();
        for (scope, hard, check) in steps {
            let mode = if hard { Mode::Hard } else { Mode::Soft };
            let sequence = stamps.purge(scopes[scope].clone(), mode);
            purges.push((sequence, scopes[scope].clone(), mode));
            if check {
                for (key, stamp) in keys.iter().zip(&old) {
                    let plain = purges.iter().filter(|(_, scope, _)| scope.covers(key));
                    let plain = plain.map(|(_, _, mode)| *mode).max();
                    let expected = plain.map_or(Standing::Valid, Standing::from);
                    prop_assert_eq!(stamps.admit(key, stamp), expected);
                }
            }
        }
    }

    /// Against a list of all purges that is walked every time: responses with few tags and with
    /// many, checked often or seldom, fetched before, between and after the purges.
    #[test]
    fn standings_of_tagged_responses_are_those_of_the_plain_list(
        steps in prop::collection::vec((0..14_usize, any::<bool>(), 0..6_usize), 1..60),
    ) {
        let many: Vec<_> = (0..9).map(|n| n.to_string()).collect();
        let sets = ["1", "2 3", "1 2 3 4", &many.join(" "), "a"];
        let stamps = Stamps::new();
        let mut stored: Vec<(Stamp, &str)> = Vec::new();
        let mut purges: Vec<(u64, String, Mode)> = Vec::new();
        for (tag, hard, then) in steps {
            let mode = if hard { Mode::Hard } else { Mode::Soft };
            let (scope, tag) = match tag {
                13 => (Scope::All, "*".to_owned()),
                tag => (label(&tag.to_string()), tag.to_string()),
            };
            purges.push((stamps.purge(scope, mode), tag, mode));
            if let Some(set) = sets.get(then) {
                stored.push((tagged(&stamps, set), set));
            }
            for (stamp, set) in stored.iter().filter(|_| then > 2) {
                let covers = |tag: &str| tag == "*" || set.split(' ').any(|has| has == tag);
                let later = purges.iter().filter(|purge| purge.0 > stamp.fetched_at);
                let plain = later.filter(|purge| covers(&purge.1)).map(|purge| purge.2).max();
                let expected = plain.map_or(Standing::Valid, Standing::from);
                prop_assert_eq!(stamps.standing(KEY, stamp), expected);
            }
        }
    }
}
