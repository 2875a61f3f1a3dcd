//! What rules tell the origin, and of whom.
//!
//! A rule may be for some only of the requests that have one key: for those with a cookie, or from
//! one network. What it tells the origin of these is then as unkeyed as the cookie itself, however
//! constant the text, and an answer to it must not be given to the others.

use std::collections::HashMap;

use crate::config::sections::rule::{Class, Finished};
use crate::rules::{Condition, KeyRules};

/// Of all rules.
#[derive(Debug, Default)]
pub(super) struct Tellings {
    /// By their numbers.
    rules: Vec<Option<Telling>>,
    /// How many rules put requests into a class.
    classes: HashMap<Class, usize>,
}

/// Of one rule that changes requests.
#[derive(Debug)]
struct Telling {
    condition: Condition,
    /// What it changes, and whether that tells the origin something.
    edits: Vec<(String, bool)>,
    classes: Vec<Class>,
}

impl Tellings {
    /// Adds the next rule.
    pub(super) fn add(&mut self, rule: &Finished) {
        let telling = (!rule.request_edits.is_empty()).then(|| Telling {
            condition: rule.condition.clone(),
            edits: rule.request_edits.clone(),
            classes: rule.classes.clone(),
        });
        self.rules.push(telling);
        for class in &rule.classes {
            *self.classes.entry(class.clone()).or_default() += 1;
        }
    }

    /// Whether the origin is told something by `rules`, in the order of the file, that others with
    /// the same `key` would not have it told.
    pub(super) fn are_for_some(&self, rules: &[u16], key: &KeyRules) -> bool {
        // Of each thing only the last word counts; but where a later rule takes it back for some,
        // the origin is told it of the others.
        let mut last: HashMap<&str, (&Telling, bool)> = HashMap::new();
        let tellings = rules.iter().filter_map(|rule| self.rules.get(usize::from(*rule))?.as_ref());
        for telling in tellings {
            for (edit, tells) in &telling.edits {
                let word = last.entry(edit).or_insert((telling, false));
                *word = (telling, word.1 || *tells);
            }
        }
        let for_some = |telling: &Telling| {
            telling.condition.reads_unkeyed(key) && !self.is_its_own(&telling.classes, key)
        };
        last.values().any(|(telling, tells)| *tells && for_some(telling))
    }

    /// Whether whoever has the key was put into one of the classes of a rule, by that rule and by
    /// no other.
    fn is_its_own(&self, classes: &[Class], key: &KeyRules) -> bool {
        let only = |class: &&Class| self.classes.get(*class) == Some(&1);
        classes.iter().filter(only).any(|(name, class)| key.is_in(name, class))
    }
}
